"""Many nodes on one database at once: each fire once, one at a time, nothing lost, no deadlock."""

import asyncio
import random
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import replace

import pytest

from tests.postgres.conftest import Sql
from tests.postgres.test_leases import Held
from tests.postgres.waiting import until_waiting
from tests.support.build import (
    MINUTE,
    NO_LIMITS,
    NOW,
    SECOND,
    at,
    changed,
    claim_request,
    every,
    execution,
    fail,
    job,
    new_job,
    node,
    request,
    succeed,
    timer,
    triggered,
)
from tests.support.drive import add, claim, claim_all, executions, join, record, rescue_all, trigger
from tests.support.postgres import shared_server
from tocsin.domain.errors import CapacityExceeded
from tocsin.domain.execution import Execution, Reason, State
from tocsin.domain.job import Job, JobStatus, Overlap
from tocsin.domain.planning import plan_fires
from tocsin.domain.retry import RetryPolicy
from tocsin.domain.tally import Tally
from tocsin.store.port import Claim, Limits, NewJob, Request
from tocsin.store.postgres import PostgresStore
from tocsin.store.postgres.database import begin_write, make_engine, transaction
from tocsin.store.postgres.statements import TRUSTING, PostgresStatements, raw
from tocsin.store.tables import PRESENT_STATUS

_RECOUNT = f"""
    SELECT 'jobs.' || {PRESENT_STATUS}, count(*)::bigint FROM jobs WHERE status <> 'deleted'
    GROUP BY 1
    UNION ALL SELECT 'bytes', coalesce(sum(size), 0)::bigint FROM jobs WHERE status <> 'deleted'"""
_COUNTED = "SELECT name, sum(value)::bigint FROM counters WHERE name <> 'ping' GROUP BY name"
_ENDED = """
    SELECT state, sum(coalesce(skipped_count, 1))::bigint FROM executions
    WHERE finished_at IS NOT NULL GROUP BY state"""


@pytest.fixture
def deadlocks() -> Callable[[], int]:
    """How many there were during the test, by the log of the server."""
    log = shared_server()._base / "log"

    def count() -> int:
        return log.read_text().count("deadlock detected")

    before = count()
    return lambda: count() - before


def counted(sql: Sql) -> dict[object, object]:
    return {name: value for name, value in sql(_COUNTED) if value}


def recounted(sql: Sql) -> dict[object, object]:
    return {name: value for name, value in sql(_RECOUNT) if value}


async def check_tallies(store: PostgresStore, sql: Sql) -> None:
    tally: Tally = (await store.stats(since=NOW - MINUTE, now=NOW)).tally
    told = {one.value: getattr(tally, one.value) for one in State if one.final}
    ended = {state: count for state, count, *_ in sql(_ENDED)}
    assert {state: count for state, count in told.items() if count} == ended


# --- claims -------------------------------------------------------------------------------------


async def test_eight_nodes_claim_five_thousand_fires_once_each(
    stores: list[PostgresStore], sql: Sql
) -> None:
    due = [job(f"job-{number}", at(NOW)) for number in range(5_000)]
    for start in range(0, len(due), 1_000):
        await add(stores[0], *due[start : start + 1_000])
    names = [f"inc-{number}" for number in range(len(stores))]
    await join(stores[0], *names)
    claims: list[Claim] = []

    async def claim_on(one: PostgresStore, name: str) -> None:
        idle = 0
        while idle < 3:
            found = (await claim(one, incarnation=name, limit=100)).claims
            claims.extend(found)
            idle = 0 if found else idle + 1

    await asyncio.gather(*map(claim_on, stores, names))
    assert len(claims) == 5_000
    assert {one.execution.job_id for one in claims} == {one.id for one in due}
    owners = Counter(one.execution.owner for one in claims)
    assert len(owners) > 4, owners
    stored = {one.id: one.owner for one in await executions(stores[0], page=5_000)}
    assert stored == {one.execution.id: one.execution.owner for one in claims}
    assert sql("SELECT count(*) FROM timers") == [(0,)]
    assert counted(sql) == recounted(sql)
    assert (await stores[0].usage()).by_status == {JobStatus.COMPLETED: 5_000}


async def test_two_that_add_many_of_the_same_executions_add_each_once(
    url: str, deadlocks: Callable[[], int]
) -> None:
    of = job()
    rows = [
        execution(of, NOW + number, state=State.CLAIMED, owner="inc-a", available_at=NOW + number)
        for number in range(2 * TRUSTING)
    ]
    half = TRUSTING // 2
    statements = PostgresStatements()

    def add_last() -> set[str]:
        with (
            make_engine(url).connect() as conn,
            transaction(conn, begin_write()),
        ):
            return statements.insert_executions(conn, rows[half:][::-1])

    with make_engine(url).connect() as conn:
        with transaction(conn, begin_write()):
            assert statements.insert_executions(conn, rows[:-half]) == set()
            second = asyncio.create_task(asyncio.to_thread(add_last))
            await until_waiting(url)
        assert await second == {one.id for one in rows[half:-half]}
        found = raw(conn).execute("SELECT count(*) FROM executions").fetchone()
    assert found == (len(rows),)
    assert deadlocks() == 0


async def test_retries_are_claimed_once_each(stores: list[PostgresStore], sql: Sql) -> None:
    names = [f"inc-{number}" for number in range(len(stores))]
    await join(stores[0], *names)
    of = job("many", at(NOW + MINUTE))
    await add(stores[0], of)
    wanted = [triggered(of, salt=str(number)) for number in range(150)]
    for one in wanted:
        await trigger(stores[0], one)
    claims: list[str] = []

    async def claim_on(one: PostgresStore, name: str) -> None:
        idle = 0
        while idle < 5:
            found = await claim(one, incarnation=name, limit=10)
            claims.extend(each.execution.id for each in found.claims)
            idle = 0 if found.claims else idle + 1
            await asyncio.sleep(0)

    await asyncio.gather(*map(claim_on, stores, names))
    assert sorted(claims) == sorted(one.id for one in wanted)


# --- change and claim ---------------------------------------------------------------------------


async def test_a_timer_that_a_claim_moves_meanwhile_is_not_the_one_that_was_read(
    stores: list[PostgresStore], url: str
) -> None:
    one = job("one")
    await add(stores[0], one)
    await join(stores[0])
    held = Held()
    claiming = asyncio.create_task(stores[0].claim(claim_request(NOW), held))
    await held.reached()
    changing = asyncio.create_task(
        stores[1].change_job(
            changed(one, now=NOW, status=JobStatus.PAUSED),
            if_version=1,
            if_fire_at=NOW,
            timer=None,
            limits=NO_LIMITS,
            now=NOW,
        )
    )
    await until_waiting(url)
    held.go_on.set()
    assert len((await claiming).claims) == 1
    assert await changing is None


async def test_a_change_of_a_job_that_a_claim_completes_waits_without_a_deadlock(
    stores: list[PostgresStore], url: str, deadlocks: Callable[[], int]
) -> None:
    once = job("once", at(NOW))
    await add(stores[0], once)
    await join(stores[0])
    held = Held()
    claiming = asyncio.create_task(stores[0].claim(claim_request(NOW), held))
    await held.reached()
    changing = asyncio.create_task(
        stores[1].change_job(
            changed(once, now=NOW, status=JobStatus.PAUSED),
            if_version=1,
            if_fire_at=NOW,
            timer=None,
            limits=NO_LIMITS,
            now=NOW,
        )
    )
    await until_waiting(url)
    held.go_on.set()
    assert (await claiming).completed == [once.id]
    assert await changing is None, "the claim has taken its timer"
    assert deadlocks() == 0


async def test_a_change_that_waits_for_a_claimed_retry_holds_no_counters(
    stores: list[PostgresStore], url: str, deadlocks: Callable[[], int]
) -> None:
    # The same process, so the same shard of the counters.
    store = stores[0]
    retried, once = job("retried", every(MINUTE, anchor=NOW + MINUTE)), job("once", at(NOW))
    await add(store, retried, once)
    await join(store)
    await trigger(store, triggered(retried))
    held = Held()
    claiming = asyncio.create_task(store.claim(claim_request(NOW), held))
    await held.reached()
    pausing = asyncio.create_task(
        store.change_job(
            changed(retried, now=NOW, status=JobStatus.PAUSED),
            if_version=1,
            timer=None,
            limits=NO_LIMITS,
            cancel_waiting=Reason.PAUSED,
            now=NOW,
        )
    )
    await until_waiting(url)
    held.go_on.set()
    claimed = await claiming
    assert claimed.completed == [once.id]
    assert len(claimed.claims) == 2
    assert await pausing == [], "what it would have cancelled is claimed"
    assert deadlocks() == 0


async def test_after_a_pause_nothing_of_the_job_is_claimed(
    stores: list[PostgresStore], sql: Sql
) -> None:
    """Fires and retries: no claim that begins after the pause has returned takes any."""
    quick = RetryPolicy(max_attempts=1_000, initial=1, factor=1.0, max=1, jitter=0.0)
    of = [job(f"job-{number}", every(SECOND), retry=quick) for number in range(12)]
    await add(stores[0], *of)
    names = [f"inc-{number}" for number in range(4)]
    await join(stores[0], *names)
    paused_at: dict[str, float] = {}
    late: list[str] = []
    finished = asyncio.Event()
    started = time.monotonic()

    def now() -> int:
        return NOW + int((time.monotonic() - started) * 5_000)

    async def work_on(one: PostgresStore, name: str) -> None:
        while not finished.is_set():
            at_once, began = now(), time.monotonic()
            found = (await claim(one, at_once, incarnation=name, ahead=0)).claims
            late.extend(
                each.job.name for each in found if paused_at.get(each.job.id, began) < began
            )
            failed = [fail(each, at_once) for each in found]
            if failed:
                await record(one, *failed, now=at_once, incarnation=name)

    async def pause_one(of: Job) -> None:
        await asyncio.sleep(0.2 + random.random())
        while True:
            view = await stores[5].get_job("default", of.id, now=now())
            assert view is not None
            ended = await stores[5].change_job(
                changed(view.job, now=now(), status=JobStatus.PAUSED),
                if_version=view.job.version,
                if_fire_at=view.next_fire_at,
                timer=None,
                limits=NO_LIMITS,
                cancel_waiting=Reason.PAUSED,
                now=now(),
            )
            if ended is not None:
                break
        paused_at[of.id] = time.monotonic()

    workers = [asyncio.create_task(work_on(*pair)) for pair in zip(stores, names, strict=False)]
    await asyncio.gather(*map(pause_one, of))
    finished.set()
    await asyncio.gather(*workers)
    # A result that was recorded just when its job was paused waits; the next claim ends that.
    left = await claim(stores[0], now() + MINUTE, incarnation=names[0])
    assert list(left.claims) == []
    for one in await executions(stores[0]):
        assert one.state.final, one
    assert late == []
    assert sql("SELECT count(*) FROM timers") == [(0,)]


# --- keys and capacity --------------------------------------------------------------------------


async def test_a_key_that_comes_many_times_at_once_creates_once(
    stores: list[PostgresStore],
) -> None:
    for number in range(5):
        new = [new_job(job(f"{number}-{one}")) for one in range(3)]
        with_key = request(f"key-{number}")
        answers = await asyncio.gather(
            *(one.create_jobs(new, limits=NO_LIMITS, request=with_key) for one in stores)
        )
        assert sorted(answers, key=str) == sorted([None] + [with_key] * 7, key=str)
    assert (await stores[0].usage()).jobs == 15


async def test_a_trigger_that_comes_many_times_at_once_runs_once(
    stores: list[PostgresStore],
) -> None:
    of = job("one", at(NOW + MINUTE), overlap=Overlap.REPLACE)
    await add(stores[0], of)
    for number in range(5):
        wanted = triggered(of, salt=f"key-{number}")
        with_key = request(f"key-{number}", operation="jobs.trigger")
        answers = await asyncio.gather(*(trigger(one, wanted, request=with_key) for one in stores))
        assert sum(isinstance(one, Request) for one in answers) == 7
        wanted = triggered(of, salt=f"without-{number}")
        plain = await asyncio.gather(*(trigger(one, wanted) for one in stores))
        (known,) = {one[0].id for one in plain if not isinstance(one, Request)}
        assert known == wanted.id
        # Only one of them has replaced what was there.
        assert sum(len(one[1]) for one in plain if not isinstance(one, Request)) == 1
    assert len(await executions(stores[0])) == 10


async def test_a_name_that_comes_many_times_at_once_is_taken_once(
    stores: list[PostgresStore], sql: Sql, deadlocks: Callable[[], int]
) -> None:
    def new(round_: int, number: int) -> list[NewJob]:
        return [
            new_job(replace(job(f"{round_}-{number}-{name}"), name=f"{round_}-{name}"))
            for name in random.sample("abcdefgh", 8)
        ]

    for round_ in range(10):
        answers = await asyncio.gather(
            *(
                one.create_jobs(new(round_, number), limits=NO_LIMITS)
                for number, one in enumerate(stores)
            ),
            return_exceptions=True,
        )
        assert answers.count(None) == 1
        refused = {getattr(one, "code", one) for one in answers if one is not None}
        assert refused == {"invalid_input"}
    assert deadlocks() == 0
    assert counted(sql) == recounted(sql)


@pytest.mark.parametrize("batch", [1, 7])
async def test_creators_at_once_stay_within_the_limit(
    stores: list[PostgresStore], sql: Sql, batch: int
) -> None:
    limits = Limits(max_jobs=50, max_bytes=NO_LIMITS.max_bytes)

    async def create(one: PostgresStore, number: int) -> None:
        for again in range(60 // batch):
            new = [new_job(job(f"j-{number}-{again}-{index}")) for index in range(batch)]
            try:
                await one.create_jobs(new, limits=limits)
            except CapacityExceeded:
                return

    await asyncio.gather(*(create(one, number) for number, one in enumerate(stores)))
    assert (await stores[0].usage()).jobs == 50 // batch * batch
    assert counted(sql) == recounted(sql)


async def test_changes_at_once_stay_within_the_limit(stores: list[PostgresStore]) -> None:
    of = [job(f"job-{number}") for number in range(8)]
    await add(stores[0], *of)
    used = (await stores[0].usage()).bytes
    limits = Limits(max_jobs=100, max_bytes=used + 2_500)

    async def grow(one: PostgresStore, old: Job) -> bool:
        try:
            await one.change_job(
                changed(old, now=NOW, description="x" * 1_000),
                if_version=1,
                timer=timer(old),
                limits=limits,
                now=NOW,
            )
        except CapacityExceeded:
            return False
        return True

    grown = await asyncio.gather(*map(grow, stores, of))
    assert sum(grown) == 2
    assert (await stores[0].usage()).bytes <= limits.max_bytes


# --- everything at once -------------------------------------------------------------------------


@pytest.mark.parametrize("seed", range(2))
async def test_everything_at_once_leaves_the_books_in_order(
    stores: list[PostgresStore], sql: Sql, seed: int, deadlocks: Callable[[], int]
) -> None:
    chance = random.Random(seed)
    of = [
        job(f"{overlap}-{number}", every(SECOND), overlap=overlap, tags=("a",))
        for overlap in Overlap
        for number in range(5)
    ]
    await add(stores[0], *of)
    started = time.monotonic()
    claims: Counter[tuple[str, int]] = Counter()
    overlapping: list[object] = []
    over = False

    def now() -> int:
        return NOW + int((time.monotonic() - started) * 4_000)

    async def fire(one: PostgresStore, name: str) -> None:
        """A node that is revoked now and then with whatever it has."""
        turn = 0
        while not over:
            turn += 1
            inc = f"{name}-{turn}"
            await one.register(node(inc))
            for _ in range(chance.randrange(10, 40)):
                at_once = now()
                found = (await claim(one, at_once, incarnation=inc, limit=20, ahead=0)).claims
                claims.update((each.execution.id, len(each.execution.attempts)) for each in found)
                ends = chance.choice([succeed, fail])
                results = [ends(each, at_once) for each in found]
                if results:
                    await record(one, *results, now=at_once, incarnation=inc)
                await asyncio.sleep(0)
            found = (await claim(one, now(), incarnation=inc, ahead=0)).claims
            claims.update((each.execution.id, len(each.execution.attempts)) for each in found)
            await one.leave(inc)

    async def ask(one: PostgresStore) -> None:
        number = 0
        while not over:
            number += 1
            which = chance.choice(of)
            await trigger(one, triggered(which, now(), salt=f"{id(one)}-{number}"), now=now())
            if number % 5 == 0:
                await one.cancel_executions(
                    reason=Reason.REQUESTED, now=now(), job_id=chance.choice(of).id
                )
            await asyncio.sleep(0.002)

    async def edit(one: PostgresStore) -> None:
        while not over:
            which = chance.choice(of)
            view = await one.get_job("default", which.id, now=now())
            assert view is not None
            to_pause = view.job.status is JobStatus.ACTIVE
            after = changed(
                view.job,
                now=now(),
                status=JobStatus.PAUSED if to_pause else JobStatus.ACTIVE,
                description="x" * chance.randrange(100),
                tags=tuple(chance.sample("abc", chance.randrange(3))),
            )
            await one.change_job(
                after,
                if_version=view.job.version,
                if_fire_at=view.next_fire_at,
                timer=None if to_pause else timer(after, after=now()),
                limits=NO_LIMITS,
                cancel_waiting=Reason.PAUSED if to_pause else None,
                now=now(),
            )
            await asyncio.sleep(0.002)

    async def mind(one: PostgresStore) -> None:
        while not over:
            await rescue_all(one, now(), clock=now)
            await one.delete_history(before=NOW - MINUTE, limit=100)
            await asyncio.sleep(0.02)

    async def watch() -> None:
        """No job but those that allow it has two that run, at any time."""
        while not over:
            overlapping.extend(
                sql(
                    "SELECT j.name, count(*) FROM executions e JOIN jobs j ON j.id = e.job_id "
                    "WHERE e.finished_at IS NULL AND NOT e.queued AND j.name NOT LIKE 'allow%' "
                    "GROUP BY 1 HAVING count(*) > 1"
                )
            )
            await asyncio.sleep(0.01)

    loops = [asyncio.create_task(fire(one, f"n{n}")) for n, one in enumerate(stores[:4])]
    loops += [asyncio.create_task(ask(one)) for one in stores[3:6]]
    loops += [asyncio.create_task(edit(one)) for one in stores[5:7]]
    loops += [asyncio.create_task(mind(stores[7])), asyncio.create_task(watch())]
    done, _ = await asyncio.wait(loops, timeout=4, return_when=asyncio.FIRST_EXCEPTION)
    over = True
    await asyncio.gather(*loops)
    assert not done
    assert overlapping == []
    assert deadlocks() == 0

    # All that is left comes to its end, whoever had it: nothing waits for ever.
    end = now() + MINUTE
    await stores[0].register(node("last"))
    for view in of:
        known = await stores[0].get_job("default", view.id, now=end)
        assert known is not None
        await stores[0].change_job(
            changed(known.job, now=end, status=JobStatus.COMPLETED),
            if_version=known.job.version,
            timer=None,
            limits=NO_LIMITS,
            now=end,
        )
    for _ in range(100):
        await rescue_all(stores[0], end)
        found = await claim_all(stores[0], end, incarnation="last")
        claims.update((each.execution.id, len(each.execution.attempts)) for each in found)
        await record(stores[0], *(succeed(one, end) for one in found), incarnation="last", now=end)
        if not found:
            break
        end += MINUTE
    rows = await executions(stores[0], page=5_000)
    assert [one for one in rows if one.live] == []
    assert len(rows) > 100
    # Each attempt had one owner.
    assert {key: times for key, times in claims.items() if times > 1} == {}
    assert counted(sql) == recounted(sql)
    await check_tallies(stores[0], sql)


async def test_a_queue_is_worked_off_in_order_by_many_nodes(stores: list[PostgresStore]) -> None:
    of = [job(f"q-{number}", at(NOW + MINUTE), overlap=Overlap.QUEUE) for number in range(3)]
    await add(stores[0], *of)
    names = [f"inc-{number}" for number in range(6)]
    await join(stores[0], *names)
    order: dict[str, list[str]] = {one.id: [] for one in of}
    asked: dict[str, list[str]] = {one.id: [] for one in of}
    asking = len(of)

    async def work_on(one: PostgresStore, name: str) -> None:
        idle = 0
        while asking or idle < 10:
            found = (await claim(one, NOW + SECOND, incarnation=name)).claims
            for each in found:
                order[each.execution.job_id].append(each.execution.id)
            results: list[Execution] = [succeed(each, NOW + SECOND) for each in found]
            if results:
                await record(one, *results, incarnation=name, now=NOW + SECOND)
            idle = 0 if found else idle + 1
            await asyncio.sleep(0)

    async def ask(one: PostgresStore, which: Job) -> None:
        nonlocal asking
        for number in range(25):
            added = await trigger(one, triggered(which, NOW + number))
            assert not isinstance(added, Request)
            if added[0].live:
                asked[which.id].append(added[0].id)
        asking -= 1

    await asyncio.gather(*map(work_on, stores, names), *map(ask, stores[5:], of))
    assert order == asked
    assert all(len(one) > 10 for one in asked.values())


async def test_many_replaced_calls_that_are_being_recorded_meet_no_deadlock(
    stores: list[PostgresStore], deadlocks: Callable[[], int]
) -> None:
    """One node records what the next claim of another replaces, job by job, in another order."""
    of = [job(f"r-{number}", every(SECOND), overlap=Overlap.REPLACE) for number in range(60)]
    await add(stores[0], *of)
    await join(stores[0], "inc-a", "inc-b")
    for turn in range(10):
        now = NOW + 2 * turn * SECOND
        claims = (await stores[0].claim(claim_request(now), plan_fires)).claims
        assert len(claims) == 60
        results = [succeed(one, now + SECOND) for one in claims]
        recorded, claimed = await asyncio.gather(
            record(stores[0], *results, now=now + SECOND),
            stores[1].claim(claim_request(now + SECOND, incarnation="inc-b"), plan_fires),
        )
        assert len(recorded.stored) + len(recorded.rejected) == 60
        assert len(recorded.rejected) == len(claimed.closed)
        assert len(claimed.claims) == 60
    assert deadlocks() == 0
