"""Each statement goes the way it was meant to: by the intended index, without reading a table."""

from collections.abc import Callable, Iterator
from typing import Any

import psycopg
import pytest
from psycopg._queries import PostgresQuery
from psycopg.adapt import Transformer
from sqlalchemy import Connection

from tests.postgres.test_partitions import OLD, ended, name
from tests.support.build import (
    DAY,
    NO_LIMITS,
    NOW,
    attempt,
    changed,
    claim_request,
    execution,
    job,
    new_job,
    node,
    triggered,
)
from tests.support.build import request as keyed
from tests.support.drive import by_overlap
from tests.support.postgres import new_database
from tocsin.domain.execution import Reason, State, closed
from tocsin.domain.job import JobStatus, Overlap
from tocsin.domain.planning import plan_fires, timer_at
from tocsin.domain.settle import void
from tocsin.store.port import ExecutionQuery, JobQuery, JobSort
from tocsin.store.postgres import database, partitions
from tocsin.store.postgres.arrays import array
from tocsin.store.postgres.database import make_engine, transaction
from tocsin.store.postgres.statements import PostgresStatements, raw
from tocsin.store.sql import (
    counters,
    execution_list,
    executions,
    history,
    job_list,
    jobs,
    ownership,
)
from tocsin.store.sql.claim import claim
from tocsin.store.sql.job_cache import JobCache
from tocsin.store.sql.record import record
from tocsin.store.sql.statements import Busy, Result
from tocsin.store.sql.stats import stats

STATEMENTS = PostgresStatements()
SMALL = {"nodes", "counters", "tallies", "alembic_version", "requests"}
KINDS = {"SELECT", "INSERT", "UPDATE", "DELETE", "WITH"}
MANY = 2_000
DAYS = 5

OLD_JOB = job("old", tags=("few",))
QUEUEING = job("queueing", overlap=Overlap.QUEUE)
REPLACING = job("replacing", overlap=Overlap.REPLACE)

WHOLE = (
    "timers_due", "timers_fire", "requests_created", "jobs_deleted", "health_failing",
    # On each day: what is live, what is claimed, what is queued.
    "job_id_id_finished_at", "owner_state", "job_id_id_idx",
)  # fmt: skip
"""Indexes that may be read from one end to the other."""

Work = Callable[[Connection], object]
Plan = dict[str, Any]

_seen: list[list[Plan]] = []


class Explaining(psycopg.Cursor[Any]):
    """Notes the plan of each statement before it is executed: the generic one in writers."""

    on = False
    generic = False

    def execute(self, query: Any, params: Any = None, **options: Any) -> Any:
        self._note(query, params)
        return super().execute(query, params, **options)

    def executemany(self, query: Any, params_seq: Any, **options: Any) -> None:
        rows = list(params_seq)
        self._note(query, rows[0])
        super().executemany(query, rows, **options)

    def _note(self, query: Any, params: Any) -> None:
        text = query.decode() if isinstance(query, bytes) else str(query)
        if not Explaining.on or text.split()[0] not in KINDS:
            return
        with psycopg.ClientCursor(self.connection) as beside:
            if Explaining.generic and params:
                prepared = PostgresQuery(Transformer(self.connection))
                prepared.convert(text, params)
                values = [params[one] for one in prepared._order] if prepared._order else params
                known = self.connection.adapters.types
                types = [known[one].name if one else "unknown" for one in prepared.types or ()]
                begin = f"PREPARE explained ({', '.join(types)}) AS "
                beside.execute(begin.encode() + prepared.query)
                run = f"EXPLAIN (FORMAT JSON) EXECUTE explained ({', '.join(['%s'] * len(values))})"
                beside.execute(run.encode(), values)
                plan = beside.fetchall()[0][0]
                beside.execute("DEALLOCATE explained")
            else:
                beside.execute(f"EXPLAIN (FORMAT JSON) {text}".encode(), params)
                plan = beside.fetchall()[0][0]
        _seen.append([{**each, "sql": text} for each in _nodes(plan[0]["Plan"])])


def _nodes(plan: Plan) -> Iterator[Plan]:
    yield plan
    for child in plan.get("Plans", ()):
        yield from _nodes(child)


class Plans:
    """Runs work on a database and tells how each of its statements is executed."""

    def __init__(self, conn: Connection, *, analyzed: bool) -> None:
        self.conn = conn
        self.analyzed = analyzed
        """Whether PostgreSQL knows what the tables hold, as it does a minute after a change."""

    def of(self, work: Work, *, read: bool = False) -> list[Plan]:
        _seen.clear()
        begin = database.BEGIN_READ if read else database.begin_write()
        Explaining.generic = not read
        with transaction(self.conn, begin):
            Explaining.on = True
            try:
                work(self.conn)
            finally:
                Explaining.on = False
        assert _seen, "nothing was executed"
        return [each for plan in _seen for each in plan]


@pytest.fixture(scope="module", params=["without statistics", "with statistics"])
def plans(request: pytest.FixtureRequest) -> Iterator[Plans]:
    url = new_database()
    with make_engine(url).connect() as conn:
        raw(conn).cursor_factory = Explaining
        for number in range(DAYS):
            with transaction(conn, "BEGIN"):
                partitions.make(conn, OLD + number * DAY)
        with transaction(conn, "BEGIN"):
            of = [new_job(one) for one in (OLD_JOB, QUEUEING, REPLACING)]
            of += [new_job(job(f"job-{n}", tags=("many",)), after=NOW + n) for n in range(MANY)]
            jobs.create_jobs(conn, STATEMENTS, of, limits=NO_LIMITS)
            for number in range(DAYS):
                rows = [ended(one.job, OLD + number * DAY + place) for place, one in enumerate(of)]
                STATEMENTS.insert_executions(conn, rows)
            ownership.register(conn, STATEMENTS, node())
        if request.param == "with statistics":
            # Also of the days to come, which are empty: so they look free to be read whole.
            raw(conn).execute("VACUUM ANALYZE")
        yield Plans(conn, analyzed=request.param == "with statistics")


def scans(plan: list[Plan]) -> list[Plan]:
    return [each for each in plan if "Scan" in each["Node Type"] and "Relation Name" in each]


def without_full_reads(plan: list[Plan]) -> list[Plan]:
    """The plan, after a check that no large table is read whole."""
    for each in scans(plan):
        if each["Relation Name"] in SMALL:
            continue
        index = each.get("Index Name", "no index")
        # A partial index may be read whole, because it holds little.
        assert "Index Cond" in each or any(part in index for part in WHOLE), (index, each["sql"])
    return plan


def without_sorting(plan: list[Plan]) -> list[Plan]:
    """The plan, after a check that nothing but a handful of parameters is sorted either."""
    for each in without_full_reads(plan):
        assert each["Node Type"] != "Sort", each
    return plan


def uses(plan: list[Plan], *indexes: str) -> None:
    used = {each.get("Index Name", "") for each in plan}
    for index in indexes:
        assert any(index in one for one in used), (index, used)


# --- the statements that run per fire -----------------------------------------------------------


@pytest.mark.parametrize("busy", [frozenset[int](), frozenset({3, 4})])
def test_timers_and_retries_are_claimed_by_their_indexes(
    plans: Plans, busy: frozenset[int]
) -> None:
    request = claim_request(NOW - 1_000_000, busy_lanes=busy)
    plan = plans.of(lambda conn: claim(conn, STATEMENTS, JobCache(10), request, plan_fires))
    uses(without_full_reads(plan), "timers_due", "exact_available_at_id_lane")


@pytest.mark.parametrize("jobs", [frozenset[str](), frozenset({REPLACING.id})])
def test_the_newest_are_found_from_the_other_end_of_the_indexes(
    plans: Plans, jobs: frozenset[str]
) -> None:
    busy = Busy(frozenset({3}), jobs)

    def work(conn: Connection) -> None:
        for find in (STATEMENTS.due_timers, STATEMENTS.due_executions):
            find(conn, exact=False, until=NOW - 1_000_000, busy=busy, limit=5, newest=True)

    plan = without_sorting(without_full_reads(plans.of(work)))
    uses(plan, "timers_due", "exact_available_at_id_lane")


def test_a_claim_and_its_record_write_by_key(plans: Plans) -> None:
    cache = JobCache(10)

    def work(conn: Connection) -> None:
        executions.add_execution(
            conn, STATEMENTS, cache, triggered(REPLACING), admit=by_overlap, now=NOW
        )
        executions.add_execution(
            conn, STATEMENTS, cache, triggered(QUEUEING), admit=by_overlap, now=NOW
        )
        claimed = claim(conn, STATEMENTS, cache, claim_request(NOW), plan_fires)
        assert len(claimed.claims) >= 3
        results = [closed(one.execution, State.FAILED, None, NOW) for one in claimed.claims]
        record(conn, STATEMENTS, cache, "inc-a", results, now=NOW, void=void)
        record(conn, STATEMENTS, cache, "inc-a", results, now=NOW, void=void)

    uses(without_full_reads(plans.of(work)), "jobs_pkey", "executions_p")


def test_results_are_looked_for_in_the_days_of_their_ids(plans: Plans) -> None:
    """The others are left out when the statement starts, whatever their number."""
    rows = [execution(OLD_JOB, OLD + n, state=State.CLAIMED, owner="inc-a") for n in range(3)]
    ids = [one.id for one in rows]
    stored = [Result("inc-a", 0, 1, closed(one, State.FAILED, None, NOW)) for one in rows]

    def work(conn: Connection) -> None:
        STATEMENTS.store_results(conn, stored)
        STATEMENTS.take(conn, "inc-a", ids)

    for each in scans(without_full_reads(plans.of(work))):
        assert "id = ANY" in each["Index Cond"], each
    # As it is executed: PostgreSQL tells only what it did not leave out.
    looked = "EXPLAIN SELECT FROM executions WHERE id = ANY (%s::uuid[])"
    with transaction(plans.conn, database.begin_write()):
        lines = raw(plans.conn).execute(looked, (array(ids),)).fetchall()
    assert {name(OLD) in line for (line,) in lines if " on " in line} == {True}


def test_no_row_of_a_batch_is_compared_with_all_others(plans: Plans) -> None:
    """PostgreSQL knows nothing of how many they are: it must join them by hashing all the same."""
    rows = [execution(OLD_JOB, OLD + n, state=State.CLAIMED, owner="inc-a") for n in range(3)]
    won = [closed(one, State.SUCCEEDED, None, NOW, attempts=(attempt(),)) for one in rows]
    lost = [closed(one, State.FAILED, None, NOW) for one in rows]
    timers = [timer_at(job(f"job-{n}").id, OLD_JOB.spec, NOW + n) for n in range(3)]

    def work(conn: Connection) -> None:
        STATEMENTS.store_results(conn, [Result("inc-a", 0, 1, one) for one in won])
        STATEMENTS.store_results(conn, [Result("inc-a", 0, 1, one) for one in lost])
        STATEMENTS.move_timers(conn, [(one, NOW) for one in timers])
        STATEMENTS.end_timers(conn, [one.job_id for one in timers])

    joins = [each for each in without_full_reads(plans.of(work)) if "Join Type" in each]
    assert len(joins) == 3
    for each in joins:
        assert each["Node Type"] == "Hash Join", (each["Node Type"], each["sql"])


def test_what_a_node_owns_is_found_by_owner(plans: Plans) -> None:
    cache = JobCache(10)

    def work(conn: Connection) -> None:
        owned = ownership.owned(conn, STATEMENTS, cache, "inc-a")
        ownership.owned_versions(conn, "inc-a")
        ids = [one.execution.id for one in owned] or [triggered(OLD_JOB).id]
        ownership.still_owned(conn, "inc-a", ids)
        ownership.rescue(conn, STATEMENTS, cache, decide=lambda one, _job: one, limit=10)
        ownership.give_back(conn, "inc-a", ids)

    uses(without_full_reads(plans.of(work)), "owner_state")


# --- what people ask for ------------------------------------------------------------------------


def test_jobs_are_created_read_changed_and_triggered_by_key(plans: Plans) -> None:
    cache = JobCache(10)
    new = job("new", tags=("a", "b"))

    def work(conn: Connection) -> None:
        jobs.create_jobs(conn, STATEMENTS, [new_job(new)], limits=NO_LIMITS, request=keyed())
        jobs.get_jobs(conn, STATEMENTS, cache, [new.id, OLD_JOB.id])
        jobs.change_job(
            conn,
            STATEMENTS,
            changed(new, now=NOW, tags=("b", "c")),
            if_version=1,
            timer=None,
            limits=NO_LIMITS,
            cancel_waiting=Reason.CHANGED,
            now=NOW,
        )
        executions.last_planned(conn, new.id)
        executions.add_execution(conn, STATEMENTS, cache, triggered(new), admit=by_overlap, now=NOW)
        executions.get_execution(conn, triggered(new).id)
        executions.cancel_executions(
            conn, STATEMENTS, reason=Reason.REQUESTED, now=NOW, job_id=new.id
        )
        executions.write_attempts(conn, triggered(new, attempts=(attempt(),)))
        counters.usage(conn)

    def look(conn: Connection) -> None:
        jobs.get_job(conn, cache, "default", OLD_JOB.id, now=NOW)
        jobs.get_job(conn, cache, "default", "old", now=NOW)

    uses(without_full_reads(plans.of(look, read=True)), "jobs_name", "jobs_pkey", "job_id_id")
    try:
        uses(without_full_reads(plans.of(work)), "jobs_pkey", "job_id_id")
    finally:
        plans.of(lambda conn: raw(conn).execute("DELETE FROM jobs WHERE name = 'new'"))
        plans.of(lambda conn: raw(conn).execute("DELETE FROM requests"))


@pytest.mark.parametrize("descending", [False, True])
@pytest.mark.parametrize("later_page", [False, True])
@pytest.mark.parametrize(
    ("sort", "index", "value"),
    [
        (JobSort.NAME, "jobs_name", "m"),
        (JobSort.CREATED, "jobs_created", NOW),
        (JobSort.UPDATED, "jobs_updated", NOW),
        (JobSort.NEXT_FIRE, "timers_fire", NOW),
        (JobSort.LAST_RESULT, "health_failing", 0),
        (JobSort.LAST_RESULT, "health_pkey", 1),
    ],
)
def test_a_list_of_jobs_is_read_in_its_order(
    plans: Plans, sort: JobSort, index: str, value: str | int, later_page: bool, descending: bool
) -> None:
    query = JobQuery(
        sort=sort,
        descending=descending,
        limit=10,
        now=NOW,
        cursor=(value, OLD_JOB.id) if later_page else None,
    )
    plan = plans.of(lambda c: job_list.list_jobs(c, JobCache(10), query), read=True)
    if plans.analyzed:
        uses(plan, index)


@pytest.mark.parametrize(
    ("query", "index"),
    [
        (JobQuery(statuses=(JobStatus.PAUSED,)), "jobs_set_aside"),
        (JobQuery(tags=("few",)), "job_tags_pkey"),
        (JobQuery(last_state=State.FAILED), "health"),
    ],
)
def test_few_jobs_among_many_are_looked_up(plans: Plans, query: JobQuery, index: str) -> None:
    def work(conn: Connection) -> None:
        job_list.list_jobs(conn, JobCache(10), query)

    plans.of(lambda c: STATEMENTS.add_to_counters(c, {counters.jobs_counter(JobStatus.PAUSED): 1}))
    plan = plans.of(work, read=True)
    if plans.analyzed:
        uses(plan, index)


@pytest.mark.parametrize("ascending", [False, True])
@pytest.mark.parametrize("later_page", [False, True])
@pytest.mark.parametrize(
    ("filters", "index"),
    [
        ({}, "pkey"),
        ({"since": OLD, "until": OLD + 2 * DAY}, "pkey"),
        ({"job_id": OLD_JOB.id}, "job_id_id"),
        ({"job_id": OLD_JOB.id, "since": OLD, "until": OLD + 1}, ""),
        ({"states": (State.FAILED,)}, "state_id"),
        ({"states": (State.FAILED, State.SKIPPED)}, "state_id"),
        ({"states": (State.FAILED,), "job_id": OLD_JOB.id}, "job_id"),
        ({"states": (State.PENDING, State.CLAIMED)}, ""),
    ],
)
def test_a_list_of_executions_is_read_in_its_order(
    plans: Plans, filters: dict[str, object], index: str, later_page: bool, ascending: bool
) -> None:
    query = ExecutionQuery(
        **filters,  # type: ignore[arg-type]
        limit=10,
        ascending=ascending,
        cursor=(triggered(OLD_JOB, OLD + DAY).id,) if later_page else None,
    )
    plan = plans.of(lambda conn: execution_list.list_executions(conn, query), read=True)
    if plans.analyzed:
        uses(plan, index)
    assert all(each["Node Type"] != "Seq Scan" for each in scans(plan)), plan


# --- upkeep -------------------------------------------------------------------------------------


def test_history_is_deleted_from_its_old_end(plans: Plans) -> None:
    plan = plans.of(lambda conn: history.delete_history(conn, before=OLD + 2, limit=10))
    uses(without_sorting(plan), "pkey", "jobs_deleted")


def test_statistics_read_little(plans: Plans) -> None:
    plan = plans.of(lambda c: stats(c, JobCache(10), since=NOW, next_fires=10), read=True)
    assert plan
    if plans.analyzed:
        uses(without_full_reads(plan), "timers_due", "owner_state")
