"""A server that dies, hangs up, refuses or is full: said clearly, and over by itself."""

import asyncio
from collections.abc import AsyncIterator, Iterator

import psycopg
import pytest
from sqlalchemy import Connection

from tests.postgres.conftest import Sql
from tests.postgres.waiting import until_waiting
from tests.support.build import MINUTE, NO_LIMITS, NOW, at, claim_request, job, new_job, succeed
from tests.support.build import request as keyed
from tests.support.drive import add, claim, claim_all, executions, join, record
from tests.support.postgres import PostgresServer
from tests.support.process import PATIENCE, wait_until
from tocsin.domain.errors import InvalidInput, StoreError, StoreFull, StoreUnavailable
from tocsin.domain.execution import State
from tocsin.domain.job import Job
from tocsin.domain.planning import FirePlan, Live, Timer, Window, plan_fires
from tocsin.store.port import Claim, JobQuery
from tocsin.store.postgres import PostgresStore, database, migrate
from tocsin.store.postgres.statements import raw


@pytest.fixture(scope="module")
def own() -> Iterator[PostgresServer]:
    """A durable server that a test may kill, with room for few."""
    made = PostgresServer(durable=True, settings={"max_connections": "30"}).start()
    yield made
    made.remove()


@pytest.fixture
async def on_own(own: PostgresServer) -> AsyncIterator[PostgresStore]:
    url = own.create()
    migrate(url)
    made = PostgresStore(url)
    await made.open()
    yield made
    await made.close()


FOR_EVER = "SET LOCAL statement_timeout = 0; SET LOCAL lock_timeout = 0"
"""So that what is under way is not ended by what the store itself sets."""


async def eventually(store: PostgresStore) -> None:
    """Wait until the store answers by itself."""
    async with asyncio.timeout(PATIENCE):
        while True:
            try:
                await store.ping()
            except StoreUnavailable:
                await asyncio.sleep(0.05)
            else:
                return


async def test_nothing_acknowledged_is_lost_when_the_server_is_killed(
    own: PostgresServer, on_own: PostgresStore
) -> None:
    store = on_own
    await join(store)
    created: set[str] = set()
    claimed: dict[str, Claim] = {}
    recorded: set[str] = set()
    over = False

    async def create(worker: int) -> None:
        number = 0
        while not over:
            number += 1
            one = job(f"job-{worker}-{number}", at(NOW))
            try:
                await add(store, one)
                created.add(one.id)
            except StoreUnavailable:
                await asyncio.sleep(0.05)

    async def fire() -> None:
        while not over:
            try:
                found = (await claim(store)).claims
                claimed.update((one.execution.id, one) for one in found)
                done = await record(store, *(succeed(one, NOW) for one in found))
                recorded.update(one.id for one in done.stored)
            except StoreUnavailable:
                await asyncio.sleep(0.05)

    workers = [asyncio.create_task(create(number)) for number in range(4)]
    workers.append(asyncio.create_task(fire()))
    for _ in range(3):
        before = len(recorded)
        async with asyncio.timeout(PATIENCE):
            while len(recorded) < before + 50:
                await asyncio.sleep(0.01)
        own.kill()
        await asyncio.sleep(0.1)
        own.start()
    over = True
    await asyncio.gather(*workers)
    await eventually(store)
    # What came before the kill is there, and what nobody heard of can be taken up.
    known = await store.get_jobs(sorted(created))
    assert set(known) == created
    rows = {one.id: one for one in await executions(store)}
    assert claimed.keys() <= rows.keys()
    assert {rows[one].state for one in recorded} == {State.SUCCEEDED}
    left = [*await store.owned("inc-a"), *await claim_all(store)]
    await record(store, *(succeed(one, NOW) for one in left))
    rows = {one.id: one for one in await executions(store)}
    assert {one.state for one in rows.values()} == {State.SUCCEEDED}
    assert created <= {one.job_id for one in rows.values()}
    assert all(len(one.attempts) == 1 for one in rows.values())


async def test_a_server_that_is_away_is_named_and_comes_back(
    own: PostgresServer, on_own: PostgresStore
) -> None:
    await on_own.ping()
    own.stop()
    for work in (on_own.ping, on_own.usage, on_own.time):
        with pytest.raises(StoreUnavailable, match="cannot be reached"):
            await work()
    with pytest.raises(StoreUnavailable, match="cannot be reached"):
        await on_own.renew("inc-a", now=NOW, ttl=5_000)
    own.start()
    # At once: no connection from before is in the way.
    for work in (on_own.ping, on_own.usage, on_own.time):
        await work()


async def test_connections_that_were_ended_meanwhile_are_replaced_unnoticed(
    store: PostgresStore, sql: Sql
) -> None:
    for _ in range(3):
        await asyncio.gather(*(store.ping() for _ in range(8)), *(store.usage() for _ in range(8)))
        sql(
            "SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity "
            "WHERE datname = current_database() AND pid <> pg_backend_pid()"
        )
        await asyncio.gather(*(store.ping() for _ in range(8)), *(store.usage() for _ in range(8)))
        assert await store.time() is not None


async def test_sessions_that_are_ended_in_the_middle_leave_nothing_half_done(
    store: PostgresStore, sql: Sql
) -> None:
    over = False
    created: set[str] = set()
    troubles: list[Exception] = []

    async def create(worker: int) -> None:
        number = 0
        while not over:
            number += 1
            one = job(f"job-{worker}-{number}", tags=("a",))
            try:
                await store.create_jobs(
                    [new_job(one)], limits=NO_LIMITS, request=keyed(f"{worker}-{number}")
                )
                created.add(one.id)
            except StoreUnavailable as error:
                troubles.append(error)

    workers = [asyncio.create_task(create(number)) for number in range(4)]
    rounds = 0
    while rounds < 15 or not troubles:
        rounds += 1
        before = len(created)
        async with asyncio.timeout(PATIENCE):
            while len(created) == before:
                await asyncio.sleep(0.01)
        await asyncio.to_thread(
            sql,
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
            "WHERE datname = current_database() AND pid <> pg_backend_pid()",
        )
    over = True
    await asyncio.gather(*workers)
    (numbers,) = sql(
        "SELECT (SELECT count(*) FROM jobs), (SELECT count(*) FROM timers), "
        "(SELECT count(*) FROM job_tags), (SELECT count(*) FROM requests), "
        "(SELECT sum(value) FROM counters WHERE name = 'jobs.active')"
    )
    assert len(set(numbers)) == 1
    assert set(await store.get_jobs(sorted(created))) == created


async def test_a_transaction_that_does_nothing_for_too_long_is_ended(url: str, sql: Sql) -> None:
    patient = PostgresStore(url)
    await patient.open()
    await add(patient, job("one"))
    await join(patient)
    await patient.close()
    idle = (
        "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() "
        "AND state LIKE 'idle in transaction%'"
    )

    def slow(job: Job, timer: Timer, live: Live, window: Window) -> FirePlan:
        wait_until(lambda: sql(idle) == [(0,)], "the server has ended the session")
        return plan_fires(job, timer, live, window)

    store = PostgresStore(url, stall=100)
    await store.open()
    for _ in range(2):
        with pytest.raises(StoreUnavailable):
            await store.claim(claim_request(NOW), slow)
    await eventually(store)
    await store.close()


async def test_a_server_that_is_read_only_is_called_so(store: PostgresStore, sql: Sql) -> None:
    (name,) = sql("SELECT current_database()")[0]
    await join(store)
    sql(f'ALTER DATABASE "{name}" SET default_transaction_read_only = on')
    sql(
        "SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity "
        "WHERE datname = current_database() AND pid <> pg_backend_pid()"
    )
    for work in (
        store.ping(),
        store.renew("inc-a", now=NOW, ttl=5_000),
        claim(store),
        add(store, job("one")),
    ):
        with pytest.raises(StoreUnavailable, match="is read-only"):
            await work
    assert (await store.usage()).jobs == 0
    sql("BEGIN READ WRITE; "
        f'ALTER DATABASE "{name}" RESET default_transaction_read_only; COMMIT')  # fmt: skip
    sql(
        "SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity "
        "WHERE datname = current_database() AND pid <> pg_backend_pid()"
    )
    await store.ping()


async def test_too_many_connections_are_called_so(
    own: PostgresServer, on_own: PostgresStore
) -> None:
    taken = []
    with pytest.raises(psycopg.OperationalError):
        while True:
            taken.append(psycopg.connect(own.url()))
    with pytest.raises(StoreUnavailable, match="too many clients"):
        await asyncio.gather(*(on_own.ping() for _ in range(8)))
    for conn in taken:
        conn.close()
    await eventually(on_own)


async def test_a_full_disk_is_called_so_and_gets_over_it(store: PostgresStore, sql: Sql) -> None:
    """As the server reports it; a trigger does here what the file system does there."""
    await store.ping()
    sql(
        "CREATE FUNCTION full_disk() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN "
        "RAISE EXCEPTION 'could not extend file \"base/1/2\": No space left on device' "
        "USING ERRCODE = 'disk_full'; END $$; "
    )
    sql("CREATE TRIGGER full_disk BEFORE INSERT ON jobs EXECUTE FUNCTION full_disk()")
    with pytest.raises(StoreFull, match="has no space left"):
        await add(store, job("one"))
    assert (await store.usage()).jobs == 0
    sql("DROP TRIGGER full_disk ON jobs")
    await add(store, job("one"))
    assert (await store.usage()).jobs == 1


async def test_a_connection_serves_many_transactions(store: PostgresStore, sql: Sql) -> None:
    sessions = "SELECT pid, backend_start FROM pg_stat_activity WHERE application_name = 'tocsin' "
    sessions += "AND datname = current_database()"
    await store.ping()
    before = sql(sessions)
    for _ in range(20):
        await store.ping()
        await store.usage()
        await store.time()
    assert sql(sessions) == before
    assert len(before) == 1


async def test_a_statement_that_is_refused_does_not_spoil_its_connection(
    store: PostgresStore, sql: Sql
) -> None:
    def refused(conn: Connection) -> None:
        raw(conn).execute("SELECT 1 / 0")

    for _ in range(20):
        with pytest.raises((StoreError, InvalidInput)):
            await store._database.write(refused)
        await store.ping()
    (connections,) = sql(
        "SELECT count(*) FROM pg_stat_activity "
        "WHERE datname = current_database() AND pid <> pg_backend_pid()"
    )[0]
    assert int(str(connections)) <= 3


async def test_what_the_caller_gives_up_is_finished_or_undone(
    store: PostgresStore, sql: Sql
) -> None:
    """A call that is cancelled keeps its thread until it is done; nobody else gets in its way."""
    calls = [asyncio.create_task(add(store, job(f"job-{n}"))) for n in range(40)]
    await asyncio.sleep(0.02)
    for call in calls:
        call.cancel()
    await asyncio.gather(*calls, return_exceptions=True)
    await asyncio.gather(*(store.ping() for _ in range(10)))
    # Nobody waits for them any more, but their threads may be at the last ones.
    busy = (
        "SELECT 1 FROM pg_stat_activity WHERE datname = current_database() "
        "AND pid <> pg_backend_pid() AND state <> 'idle'"
    )
    async with asyncio.timeout(PATIENCE):
        while sql(busy):
            await asyncio.sleep(0.05)
    usage = await store.usage()
    page = await store.list_jobs(JobQuery(limit=100))
    assert usage.jobs == len(page.items)


# --- poolers ------------------------------------------------------------------------------------


async def test_a_store_works_without_prepared_statements(url: str) -> None:
    """As behind a pooler that hands out another session for each transaction."""
    store = PostgresStore(url, prepare=False)
    await store.open()
    of: list[Job] = [job(f"job-{n}", at(NOW)) for n in range(30)]
    await join(store)
    for one in of:
        await add(store, one)
        for each in await claim_all(store):
            await record(store, succeed(each, NOW))
    assert {one.state for one in await executions(store)} == {State.SUCCEEDED}
    assert len(await executions(store)) == 30
    with psycopg.connect(url) as conn:
        assert conn.execute("SELECT count(*) FROM pg_prepared_statements").fetchone() == (0,)
    await store.close()


async def test_nothing_is_left_set_in_a_session(store: PostgresStore) -> None:
    """Each transaction sets what it needs for itself alone."""

    def changed_settings(conn: Connection) -> list[tuple[object, ...]]:
        return (
            raw(conn)
            .execute(
                "SELECT name, setting FROM pg_settings WHERE source = 'session' "
                "AND name NOT IN ('client_encoding', 'transaction_isolation', 'application_name', "
                "'transaction_read_only', 'transaction_deferrable')"
            )
            .fetchall()
        )

    await join(store)
    await add(store, job("one", at(NOW)))
    await claim_all(store, NOW + MINUTE)
    inside = await store._database.write(changed_settings)
    assert inside
    assert await store._database._run("write", lambda: store._database._on_connection(
        changed_settings)) == []  # fmt: skip


async def test_a_close_does_not_wait_for_an_answer_that_may_never_come(
    url: str, sql: Sql, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(database, "CLOSE_WITHIN", 0.3)
    store = PostgresStore(url)
    await store.open()
    slow = [
        asyncio.create_task(
            run(lambda conn: raw(conn).execute(f"{FOR_EVER}; SELECT pg_sleep(300)"))
        )
        for run in (store._database.write, store._database.read, store._database.renew)
        for _ in range(4)  # some wait for a thread
    ]
    threads = sum(database.THREADS[name] for name in ("write", "read", "lease"))
    sleeping = "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() "
    sleeping += "AND wait_event = 'PgSleep'"
    async with asyncio.timeout(PATIENCE):
        while sql(sleeping) != [(threads,)]:
            await asyncio.sleep(0.01)
    async with asyncio.timeout(PATIENCE):
        await store.close()
        ended = await asyncio.gather(*slow, return_exceptions=True)
    for one in ended:
        assert isinstance(one, StoreUnavailable), one
    await store.open()
    await store.ping()
    await store.close()


async def test_what_users_write_does_not_keep_the_engine_waiting(
    store: PostgresStore, url: str
) -> None:
    await join(store)
    with psycopg.connect(url) as conn:
        conn.execute("SELECT pg_advisory_xact_lock(1)")
        slow = [
            asyncio.create_task(
                store._database.write(
                    lambda conn: raw(conn).execute(f"{FOR_EVER}; SELECT pg_advisory_xact_lock(1)")
                )
            )
            for _ in range(2 * database.THREADS["write"])
        ]
        await until_waiting(url, database.THREADS["write"])
        await store.claim(claim_request(), plan_fires)
        await store.ping()
        assert not any(one.done() for one in slow)
        conn.commit()
    await asyncio.gather(*slow)
