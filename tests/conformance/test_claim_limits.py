"""The port, part 7: how much a claim takes, and when the next one should come."""

from typing import Any

import pytest

from tests.support.build import (
    HOUR,
    MINUTE,
    NOW,
    SECOND,
    at,
    claim_request,
    every,
    fail,
    job,
    log_job,
    timer,
    triggered,
)
from tests.support.drive import (
    Spy,
    add,
    change,
    claim,
    claim_all,
    claim_one,
    executions,
    ids,
    join,
    pause,
    record,
    stored,
    trigger,
    view,
)
from tocsin.domain.execution import State
from tocsin.domain.instant import Millis
from tocsin.domain.job import HttpTarget, Job, JobStatus, Misfire, MisfirePolicy, Overlap
from tocsin.domain.planning import LOOK_AT_MOST
from tocsin.domain.retry import RetryPolicy
from tocsin.store.port import Store

EXACT = {"overlap": Overlap.SKIP}


def resting(name: str | None = None, **fields: Any) -> Job:
    """A job whose next fire is far away."""
    return job(name, every(HOUR, anchor=NOW + 10 * HOUR), **fields)


async def pending(store: Store, of: Job, available_at: Millis, *, salt: str = "") -> str:
    """Add an execution that is available at an instant."""
    by_hand = triggered(of, NOW, salt=f"{available_at}{salt}", available_at=available_at)
    await trigger(store, by_hand)
    return by_hand.id


# --- limits -------------------------------------------------------------------------------------


@pytest.mark.parametrize("fields", [{}, EXACT])
async def test_no_more_fires_than_the_limit_are_claimed(
    store: Store, fields: dict[str, Any]
) -> None:
    await add(store, *(job(schedule=every(HOUR), **fields) for _ in range(5)))
    await join(store)
    sizes = []
    for _ in range(4):
        claimed = await claim(store, limit=2, exact_limit=2)
        sizes.append(len(claimed.claims))
    assert sizes == [2, 2, 1, 0]


async def test_the_two_limits_do_not_count_for_each_other(store: Store) -> None:
    await add(store, *(job(schedule=at(NOW)) for _ in range(3)))
    await add(store, *(job(schedule=at(NOW), **EXACT) for _ in range(3)))
    await join(store)
    claimed = await claim(store, limit=2, exact_limit=1)
    assert sorted(one.execution.exact for one in claimed.claims) == [False, False, True]


@pytest.mark.parametrize("exact", [False, True])
async def test_a_limit_of_zero_takes_nothing_of_its_kind(store: Store, exact: bool) -> None:
    ahead_of, exact_of = resting(), resting(**EXACT)
    await add(store, ahead_of, exact_of, job(schedule=at(NOW)), job(schedule=at(NOW), **EXACT))
    await join(store)
    await pending(store, ahead_of, NOW)
    await pending(store, exact_of, NOW)
    claimed = await claim(store, limit=0 if exact else 9, exact_limit=9 if exact else 0)
    assert [one.execution.exact for one in claimed.claims] == [exact, exact]


async def test_a_limit_counts_over_fires_and_pending_executions(store: Store) -> None:
    of = resting()
    await add(store, of, job(schedule=at(NOW)), job(schedule=at(NOW)))
    await join(store)
    await pending(store, of, NOW, salt="a")
    await pending(store, of, NOW, salt="b")
    sizes = [len((await claim(store, limit=3)).claims) for _ in range(3)]
    assert sizes == [3, 1, 0]


async def test_the_oldest_due_have_the_limit_whether_fire_or_retry(store: Store) -> None:
    of = resting()
    await add(store, of, job("fire-1", at(NOW + 1)), job("fire-3", at(NOW + 3)))
    await join(store)
    retry_2 = await pending(store, of, NOW + 2)
    retry_4 = await pending(store, of, NOW + 4)
    taken = []
    for _ in range(4):
        (one,) = (await claim(store, NOW + 5, limit=1)).claims
        taken.append(one.execution.id if one.job.id == of.id else one.job.name)
    assert taken == ["fire-1", retry_2, "fire-3", retry_4]


async def test_the_oldest_due_go_first_after_the_newest_however_many_are_due(store: Store) -> None:
    # Ids do not sort by due instant.
    await add(store, *(job(f"job-{n * 7 % 400}", at(NOW + n * 7 % 400)) for n in range(400)))
    await join(store)
    claimed = await claim(store, limit=3)
    assert [one.job.name for one in claimed.claims] == ["job-399", "job-0", "job-1"]


async def test_the_oldest_retries_go_first_after_the_newest_however_many_are_due(
    store: Store,
) -> None:
    of = resting()
    await add(store, of)
    await join(store)
    wanted = {n: await pending(store, of, NOW + n * 7 % 400) for n in range(400)}
    in_order = [wanted[n] for n in sorted(wanted, key=lambda n: n * 7 % 400)]
    claimed = await claim(store, NOW + 400, limit=3)
    assert [one.execution.id for one in claimed.claims] == [in_order[-1], *in_order[:2]]


async def test_what_a_plan_cannot_claim_for_lack_of_room_is_claimed_next(store: Store) -> None:
    await add(store, job(schedule=every(SECOND)))
    await join(store, "inc-a", "inc-b")
    first = await claim(store, NOW, ahead=3_000, limit=2)
    assert [one.execution.fire_time - NOW for one in first.claims] == [0, 1_000]
    assert first.more
    left = await executions(store, states=(State.PENDING,), ascending=True)
    assert [one.available_at for one in left] == [NOW + 2_000, NOW + 3_000]
    second = await claim(store, NOW, ahead=3_000, limit=2, incarnation="inc-b")
    assert [one.execution.fire_time - NOW for one in second.claims] == [2_000, 3_000]


async def test_the_room_of_a_plan_is_what_is_left(store: Store) -> None:
    await add(store, *(job(f"job-{n}", at(NOW + n)) for n in range(3)))
    await join(store)
    spy = Spy()
    await store.claim(claim_request(NOW + 5, limit=10), spy)
    assert [window.room for _, _, _, window in spy.asked] == [10, 9, 8]


async def test_skipped_fires_take_no_room(store: Store) -> None:
    skipping = Misfire(policy=MisfirePolicy.SKIP)
    await add(store, *(job(schedule=at(NOW), misfire=skipping) for _ in range(3)))
    await add(store, job(schedule=at(NOW + HOUR)))
    await join(store)
    claims = await claim_all(store, NOW + HOUR, limit=1)
    assert [one.execution.fire_time for one in claims] == [NOW + HOUR]


async def test_fires_that_take_no_room_are_bounded_too(store: Store) -> None:
    """Otherwise the claim after an outage would hold up every other transaction."""
    skipping = Misfire(policy=MisfirePolicy.SKIP)
    await add(store, *(job(schedule=at(NOW), misfire=skipping) for _ in range(1_500)))
    await join(store)
    sizes, more = [], True
    while more:
        claimed = await claim(store, NOW + HOUR, limit=1)
        sizes.append(len(claimed.closed))
        more = claimed.more
    assert sum(sizes) == 1_500
    assert max(sizes) <= 1_100


# --- more ---------------------------------------------------------------------------------------


async def test_there_is_no_more_where_everything_was_taken(store: Store) -> None:
    await add(store, job(schedule=every(HOUR)), job(schedule=every(HOUR), **EXACT))
    await join(store)
    assert not (await claim(store)).more
    assert not (await claim(store)).more


@pytest.mark.parametrize("fields", [{}, EXACT])
async def test_there_is_more_where_the_limit_left_a_fire(
    store: Store, fields: dict[str, Any]
) -> None:
    await add(store, *(job(schedule=at(NOW), **fields) for _ in range(2)))
    await join(store)
    assert (await claim(store, limit=1, exact_limit=1)).more


async def test_there_is_more_where_the_limit_left_a_pending_execution(store: Store) -> None:
    of = resting()
    await add(store, of)
    await join(store)
    await pending(store, of, NOW, salt="a")
    await pending(store, of, NOW, salt="b")
    assert (await claim(store, limit=1)).more


async def test_claims_that_go_on_while_there_is_more_take_everything(store: Store) -> None:
    of = resting()
    await add(store, of, *(job(schedule=every(SECOND)) for _ in range(4)))
    await add(store, *(job(schedule=at(NOW), **EXACT) for _ in range(3)))
    await join(store)
    for n in range(5):
        await pending(store, of, NOW, salt=str(n))
    claims = await claim_all(store, NOW, ahead=2_000, limit=3, exact_limit=1)
    assert len(claims) == len(ids(claims)) == 4 * 3 + 3 + 5


async def test_fires_that_are_not_due_yet_are_not_more(store: Store) -> None:
    await add(store, job(schedule=at(NOW)), job(schedule=at(NOW + 1), **EXACT))
    await join(store)
    assert not (await claim(store, NOW, ahead=1_000)).more


@pytest.mark.parametrize("fields", [{}, EXACT])
async def test_what_was_not_asked_for_is_not_more(store: Store, fields: dict[str, Any]) -> None:
    """A node without room for a kind must not come back at once for more of it, in vain."""
    of = resting(**fields)
    await add(store, of, job(schedule=at(NOW), **fields))
    await join(store)
    await pending(store, of, NOW)
    claimed = await claim(store, limit=9 if fields else 0, exact_limit=0 if fields else 9)
    assert (list(claimed.claims), claimed.more) == ([], False)


async def test_what_waits_in_a_queue_is_not_more(store: Store) -> None:
    of = job(schedule=every(SECOND), overlap=Overlap.QUEUE)
    await add(store, of)
    await join(store)
    await claim(store, NOW)
    assert not (await claim(store, NOW + SECOND, exact_limit=1)).more


async def test_there_is_more_where_a_plan_could_not_look_at_everything(store: Store) -> None:
    of = job(schedule=every(SECOND), misfire=Misfire(policy=MisfirePolicy.SKIP))
    await add(store, of)
    await join(store)
    claimed = await claim(store, NOW + 2 * LOOK_AT_MOST * SECOND)
    assert claimed.more
    assert sum(one.skipped_count or 1 for one in claimed.closed) == LOOK_AT_MOST


# --- lanes --------------------------------------------------------------------------------------


def slow(name: str | None = None, **fields: Any) -> Job:
    return job(name, at(NOW), target=HttpTarget(url="https://slow.example/x"), **fields)


def quick(name: str | None = None, **fields: Any) -> Job:
    return job(name, at(NOW), target=HttpTarget(url="https://quick.example/x"), **fields)


BUSY = frozenset({slow().spec.lane})


@pytest.mark.parametrize("fields", [{}, EXACT])
async def test_fires_in_a_busy_lane_are_left_alone(store: Store, fields: dict[str, Any]) -> None:
    waits, goes = slow("waits", **fields), quick("goes", **fields)
    await add(store, waits, goes)
    await join(store)
    claimed = await claim(store, busy_lanes=BUSY)
    assert [one.job.name for one in claimed.claims] == ["goes"]
    assert not claimed.more
    assert (await view(store, waits)).next_fire_at == NOW
    assert [one.job.name for one in (await claim(store)).claims] == ["waits"]


async def test_pending_executions_in_a_busy_lane_are_left_alone(store: Store) -> None:
    waits = resting(target=HttpTarget(url="https://slow.example/x"))
    await add(store, waits)
    await join(store)
    await pending(store, waits, NOW)
    claimed = await claim(store, busy_lanes=BUSY)
    assert (list(claimed.claims), claimed.more) == ([], False)
    assert len((await claim(store)).claims) == 1


async def test_a_queued_execution_in_a_busy_lane_is_left_alone(store: Store) -> None:
    of = slow(overlap=Overlap.QUEUE)
    await add(store, of)
    await join(store)
    first = await claim_one(store)
    await trigger(store, triggered(of, NOW + 1))
    await record(store, fail(first, NOW, http_status=404), now=NOW)
    claimed = await claim(store, NOW + SECOND, busy_lanes=BUSY)
    assert (list(claimed.claims), claimed.more) == ([], False)
    assert len((await claim(store, NOW + SECOND)).claims) == 1


async def test_a_busy_lane_does_not_use_up_the_limit(store: Store) -> None:
    await add(store, *(slow() for _ in range(5)), *(quick() for _ in range(2)))
    await join(store)
    claimed = await claim(store, limit=2, busy_lanes=BUSY)
    assert len(claimed.claims) == 2
    assert {one.job.spec.target for one in claimed.claims} == {quick().spec.target}


@pytest.mark.parametrize("fields", [{}, EXACT])
async def test_what_is_due_of_a_busy_job_is_left_alone(
    store: Store, fields: dict[str, Any]
) -> None:
    waits, goes = job("waits", at(NOW), **fields), job("goes", at(NOW), **fields)
    asked = resting("asked", **fields)
    await add(store, waits, goes, asked)
    await join(store)
    await pending(store, asked, NOW)
    busy = frozenset({waits.id, asked.id})
    claimed = await claim(store, limit=2, exact_limit=2, busy_jobs=busy)
    assert [one.job.name for one in claimed.claims] == ["goes"]
    assert not claimed.more
    assert (await view(store, waits)).next_fire_at == NOW
    assert {one.job.name for one in (await claim(store)).claims} == {"waits", "asked"}


async def test_a_queued_execution_of_a_busy_job_is_left_alone(store: Store) -> None:
    of = slow(overlap=Overlap.QUEUE)
    await add(store, of)
    await join(store)
    first = await claim_one(store)
    await trigger(store, triggered(of, NOW + 1))
    await record(store, fail(first, NOW, http_status=404), now=NOW)
    claimed = await claim(store, NOW + SECOND, busy_jobs=frozenset({of.id}), busy_lanes=BUSY)
    assert (list(claimed.claims), claimed.more) == ([], False)
    claimed = await claim(store, NOW + SECOND, busy_jobs=frozenset({of.id}))
    assert (list(claimed.claims), claimed.more) == ([], False)
    assert len((await claim(store, NOW + SECOND)).claims) == 1


# --- what comes after a backlog -----------------------------------------------------------------


@pytest.mark.parametrize("fields", [{}, EXACT])
async def test_a_backlog_leaves_a_part_of_each_claim_to_what_came_due_last(
    store: Store, fields: dict[str, Any]
) -> None:
    """One in four; the rest goes to what has waited longest."""
    late = [job(f"late-{number:03}", at(NOW), **fields) for number in range(120)]
    await add(store, *late, job("lone", at(NOW + 2), **fields), job("other", at(NOW + 1), **fields))
    await join(store)
    names = [
        [one.job.name for one in (await claim(store, NOW + 2, limit=8, exact_limit=8)).claims]
        for _ in range(2)
    ]
    assert set(names[0][:2]) == {"lone", "other"}
    assert len(names[0]) == len(names[1]) == 8
    in_order = sorted(late, key=lambda one: one.id)
    assert set(names[0][2:]) == {one.name for one in in_order[:6]}
    expected = [*in_order[6:12], *in_order[-2:]]
    assert set(names[1]) == {one.name for one in expected}


async def test_an_execution_that_was_just_asked_for_does_not_wait_behind_a_backlog(
    store: Store,
) -> None:
    asked = resting("asked")
    await add(store, asked, *(job(schedule=at(NOW)) for _ in range(150)))
    await join(store)
    execution_id = await pending(store, asked, NOW + 1)
    claimed = await claim(store, NOW + 1, limit=4)
    assert execution_id in {one.execution.id for one in claimed.claims}
    assert len(claimed.claims) == 4


async def test_a_fire_does_not_wait_behind_a_backlog_of_retries(store: Store) -> None:
    asked = resting("asked")
    await add(store, asked, job("lone", at(NOW + 5)))
    await join(store)
    for number in range(130):
        await pending(store, asked, NOW, salt=str(number))
    claimed = await claim(store, NOW + 5, limit=4)
    assert [one.job.name for one in claimed.claims].count("lone") == 1
    assert len(claimed.claims) == 4


async def test_many_lanes_can_be_busy(store: Store) -> None:
    await add(store, slow(), log_job("free", at(NOW)))
    await join(store)
    claimed = await claim(store, busy_lanes=frozenset(range(1, 1_024)))
    assert [one.job.name for one in claimed.claims] == ["free"]


# --- wake_at ------------------------------------------------------------------------------------


async def test_with_nothing_to_come_there_is_no_need_to_wake(store: Store) -> None:
    await join(store)
    assert (await claim(store)).wake_at is None
    await add(store, job(schedule=at(NOW)))
    assert (await claim(store)).wake_at is None


@pytest.mark.parametrize("fields", [{}, EXACT])
async def test_a_node_wakes_for_the_earliest_fire(store: Store, fields: dict[str, Any]) -> None:
    await add(
        store,
        job(schedule=at(NOW + 2 * HOUR), **fields),
        job(schedule=at(NOW + HOUR), **fields),
        job(schedule=at(NOW + 3 * HOUR), **fields),
    )
    await join(store)
    assert (await claim(store)).wake_at == NOW + HOUR


async def test_a_node_wakes_for_the_fire_that_follows_the_claimed_one(store: Store) -> None:
    await add(store, job(schedule=every(MINUTE)))
    await join(store)
    assert (await claim(store)).wake_at == NOW + MINUTE


async def test_a_node_wakes_for_a_fire_at_its_due_instant(store: Store) -> None:
    of = job("spread", every(HOUR, anchor=NOW + HOUR, jitter=MINUTE))
    first = timer(of)
    assert first is not None
    assert first.due_at != first.fire_at
    await add(store, of)
    await join(store)
    assert (await claim(store)).wake_at == first.due_at


async def test_a_node_wakes_for_an_exact_fire_within_the_horizon(store: Store) -> None:
    await add(store, job(schedule=at(NOW + 300), **EXACT))
    await join(store)
    claimed = await claim(store, NOW, ahead=1_000)
    assert (list(claimed.claims), claimed.wake_at) == ([], NOW + 300)


async def test_a_node_wakes_for_the_kind_that_it_asked_for(store: Store) -> None:
    await add(store, resting(target=HttpTarget(url="https://slow.example/x")))
    await add(store, job(schedule=at(NOW + HOUR)), job(schedule=at(NOW + 2 * HOUR), **EXACT))
    await join(store)
    for busy_lanes in (frozenset[int](), BUSY):
        ahead = await claim(store, exact_limit=0, busy_lanes=busy_lanes)
        exact = await claim(store, limit=0, busy_lanes=busy_lanes)
        neither = await claim(store, limit=0, exact_limit=0, busy_lanes=busy_lanes)
        assert (ahead.wake_at, exact.wake_at) == (NOW + HOUR, NOW + 2 * HOUR)
        assert neither.wake_at is None
        both = await claim(store, busy_lanes=busy_lanes)
        assert (both.wake_at, both.exact_at) == (NOW + HOUR, NOW + 2 * HOUR)
        assert (ahead.exact_at, exact.exact_at) == (None, NOW + 2 * HOUR)
        assert neither.exact_at is None


async def test_a_node_wakes_for_a_retry(store: Store) -> None:
    await add(store, job(schedule=at(NOW), retry=RetryPolicy(initial=MINUTE, jitter=0)))
    await join(store)
    await record(store, fail(await claim_one(store), NOW))
    assert (await claim(store)).wake_at == NOW + MINUTE


async def test_a_node_wakes_for_an_exact_retry(store: Store) -> None:
    await add(store, job(schedule=at(NOW), retry=RetryPolicy(initial=700, jitter=0), **EXACT))
    await join(store)
    await record(store, fail(await claim_one(store), NOW))
    assert (await claim(store)).wake_at == NOW + 700


async def test_a_node_does_not_wake_for_what_waits_in_a_queue(store: Store) -> None:
    of = resting(overlap=Overlap.QUEUE)
    await add(store, of)
    await join(store)
    await trigger(store, triggered(of))
    await claim_one(store)
    await trigger(store, triggered(of, NOW + 1, available_at=NOW + MINUTE))
    assert (await claim(store)).wake_at == NOW + 10 * HOUR


async def test_a_node_does_not_wake_for_busy_lanes(store: Store) -> None:
    of = resting(target=HttpTarget(url="https://slow.example/x"))
    await add(store, of, log_job(None, at(NOW + 2 * HOUR)))
    await join(store)
    await pending(store, of, NOW + HOUR)
    assert (await claim(store, busy_lanes=BUSY)).wake_at == NOW + 2 * HOUR
    assert (await claim(store)).wake_at == NOW + HOUR


async def test_a_node_does_not_wake_for_jobs_that_do_not_fire(store: Store) -> None:
    of = job(schedule=at(NOW + HOUR))
    await add(store, of, job(schedule=at(NOW + 2 * HOUR)))
    await join(store)
    await pause(store, of)
    assert (await claim(store)).wake_at == NOW + 2 * HOUR


async def test_a_node_does_not_wake_for_a_timer_of_a_job_that_is_not_active(store: Store) -> None:
    of = job(schedule=at(NOW + HOUR))
    await add(store, of)
    await join(store)
    await change(store, of, status=JobStatus.PAUSED, timer=timer(of))
    assert (await claim(store)).wake_at is None


async def test_a_node_wakes_later_than_now(store: Store) -> None:
    """What is due already and was left is told by ``more``."""
    await add(store, *(job(schedule=at(NOW)) for _ in range(2)), job(schedule=at(NOW + HOUR)))
    await join(store)
    claimed = await claim(store, limit=1)
    assert (claimed.more, claimed.wake_at) == (True, NOW + HOUR)


async def test_a_node_wakes_for_what_the_limit_left_for_later(store: Store) -> None:
    await add(store, job(schedule=every(200, ends_at=NOW + 800)))
    await join(store)
    claimed = await claim(store, NOW, ahead=1_000, limit=2)
    assert (len(claimed.claims), claimed.more) == (2, True)
    assert claimed.wake_at == NOW + 400


async def test_what_others_claimed_does_not_wake_a_node(store: Store) -> None:
    await add(store, job(schedule=at(NOW + 500)))
    await join(store, "inc-a", "inc-b")
    claimed = await claim_one(store, NOW, ahead=1_000, incarnation="inc-b")
    assert (await claim(store, NOW, ahead=0)).wake_at is None
    assert (await stored(store, claimed)).state is State.CLAIMED
