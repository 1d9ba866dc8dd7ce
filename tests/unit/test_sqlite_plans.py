"""Each statement goes the way it was meant to: by the intended index, without reading a table."""

import re
import shutil
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from sqlalchemy import Connection
from tests.support.build import (
    NO_LIMITS,
    NOW,
    attempt,
    changed,
    claim_request,
    job,
    new_job,
    node,
    triggered,
)
from tests.support.build import request as keyed
from tests.support.drive import by_overlap

from tocsin.domain.execution import ErrorKind, Reason, State, closed
from tocsin.domain.job import JobStatus, Overlap
from tocsin.domain.planning import plan_fires
from tocsin.domain.settle import void
from tocsin.store.port import ExecutionQuery, JobQuery, JobSort
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
from tocsin.store.sql.statements import Busy
from tocsin.store.sql.stats import stats
from tocsin.store.sqlite import migrate
from tocsin.store.sqlite.batches import Batch
from tocsin.store.sqlite.engine import connect, transaction
from tocsin.store.sqlite.queries import (
    END_TIMERS,
    MOVE_TIMERS,
    STORE_RESULTS,
    STORE_SUCCESSES,
)
from tocsin.store.sqlite.statements import SqliteStatements, raw

STATEMENTS = SqliteStatements()
SMALL = {
    "nodes", "counters", "tallies", "json_each", "alembic_version", "CONSTANT", "waiting", "v",
}  # fmt: skip
"""What may be read whole: small tables, lists of parameters, intermediate results."""

OLD = job("old", id="019b7e00-0000-7000-8000-000000000001", tags=("few",))
QUEUEING = job("queueing", id="019b7e00-0000-7000-8000-000000000002", overlap=Overlap.QUEUE)

Work = Callable[[Connection], object]


class Plans:
    """Runs work on a database and tells how each of its statements was executed."""

    def __init__(self, conn: Connection) -> None:
        self._conn = conn

    def prepare(self, work: Work) -> None:
        """Run work of which nobody asks how it was executed."""
        with transaction(self._conn, "BEGIN IMMEDIATE"):
            work(self._conn)

    def of(self, work: Work) -> list[str]:
        driver = raw(self._conn)
        seen: list[str] = []
        driver.set_trace_callback(seen.append)
        with transaction(self._conn, "BEGIN IMMEDIATE"):
            work(self._conn)
        driver.set_trace_callback(None)
        lines = []
        for statement in seen:
            if re.match(r"\s*(SELECT|INSERT|UPDATE|DELETE|WITH)\b", statement):
                rows = driver.execute(f"EXPLAIN QUERY PLAN {statement}").fetchall()
                lines += [row[3] for row in rows]
        assert lines, "nothing was executed"
        return lines


@pytest.fixture(scope="module")
def empty(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("empty") / "tocsin.db"
    migrate(str(path))
    return path


@pytest.fixture
def plans(tmp_path: Path, empty: Path) -> Iterator[Plans]:
    conn = connect(str(shutil.copy(empty, tmp_path)), "rw")
    made = Plans(conn)
    made.of(
        lambda conn: (
            jobs.create_jobs(conn, STATEMENTS, [new_job(OLD), new_job(QUEUEING)], limits=NO_LIMITS),
            ownership.register(conn, STATEMENTS, node()),
        )
    )
    yield made
    conn.close()


def without_full_reads(lines: list[str]) -> list[str]:
    """The lines, after a check that no large table is read whole."""
    for line in lines:
        scanned = re.match(r"SCAN (\w+)( USING (COVERING )?INDEX (\w+))?", line)
        is_small = line.endswith("CONSTANT ROWS") or (scanned is not None and scanned[1] in SMALL)
        if scanned is not None and not is_small:
            by_index = scanned[4]
            # A partial index may be read whole, because it holds little.
            assert by_index is not None, line
            assert by_index in {
                "executions_live",
                "executions_owned",
                "executions_queued",
                "health_failing",
                "jobs_deleted",
                "requests_created",
                "timers_fire",
            }, line
    return lines


def without_sorting(lines: list[str]) -> list[str]:
    """The lines, after a check that nothing is sorted either."""
    sorting = [line for line in without_full_reads(lines) if "TEMP B-TREE" in line]
    # The few counters are summed up by name.
    assert not [line for line in sorting if "GROUP BY" not in line], lines
    return lines


def uses(lines: list[str], *indexes: str) -> None:
    for index in indexes:
        assert any(re.search(rf"INDEX {index}\b", line) for line in lines), (index, lines)


# --- the statements that run per fire -----------------------------------------------------------


def test_timers_and_retries_are_claimed_by_their_indexes(plans: Plans) -> None:
    request = claim_request(NOW - 1_000_000)
    lines = plans.of(lambda conn: claim(conn, STATEMENTS, JobCache(10), request, plan_fires))
    uses(
        without_full_reads(lines),
        "timers_due",
        "executions_waiting",
        "executions_queued",
        "executions_live",
    )
    assert any(
        "SEARCH t USING COVERING INDEX timers_due (exact=? AND due_at<?)" in x for x in lines
    )
    # Only the heads of queues are sorted, which are few.
    assert sum("TEMP B-TREE" in line for line in lines) <= 1, lines


@pytest.mark.parametrize(
    "statement",
    [MOVE_TIMERS, END_TIMERS, STORE_RESULTS, STORE_SUCCESSES],
    ids=["move", "end", "results", "successes"],
)
@pytest.mark.parametrize("count", [1, 25, 300])
def test_a_batch_goes_to_each_of_its_rows(empty: Path, statement: str, count: int) -> None:
    lines: list[str] = []

    class Explained:
        def execute(self, text: str, values: tuple[object, ...]) -> Any:
            rows = conn.execute(f"EXPLAIN QUERY PLAN {text}", values)
            lines.extend(row[3] for row in rows)
            return SimpleNamespace(rowcount=0)

    with closing(sqlite3.connect(empty)) as conn:
        row = (None,) * statement.count("?")
        Batch(statement).run(Explained(), [row] * count)  # type: ignore[arg-type]
    without_full_reads(lines)
    assert not [line for line in lines if line.startswith("SCAN timers")], lines
    assert any(line.startswith(("SEARCH timers", "SEARCH executions")) for line in lines), lines


def test_busy_lanes_are_passed_over_within_the_indexes(plans: Plans) -> None:
    request = claim_request(NOW - 1_000_000, busy_lanes=frozenset({3, 4}))
    lines = plans.of(lambda conn: claim(conn, STATEMENTS, JobCache(10), request, plan_fires))
    uses(without_full_reads(lines), "timers_due", "executions_waiting")
    assert sum("TEMP B-TREE" in line for line in lines) <= 1, lines


@pytest.mark.parametrize("jobs", [frozenset[str](), frozenset({OLD.id})])
def test_the_newest_are_found_from_the_other_end_of_the_indexes(
    plans: Plans, jobs: frozenset[str]
) -> None:
    busy = Busy(frozenset(), jobs)

    def work(conn: Connection) -> None:
        for find in (STATEMENTS.due_timers, STATEMENTS.due_executions):
            find(conn, exact=False, until=NOW, busy=busy, limit=5, newest=True)

    lines = without_sorting(without_full_reads(plans.of(work)))
    uses(lines, "timers_due", "executions_waiting")


def test_a_claim_and_its_record_write_by_key(plans: Plans) -> None:
    cache = JobCache(10)

    def work(conn: Connection) -> None:
        claimed = claim(conn, STATEMENTS, cache, claim_request(NOW), plan_fires)
        assert len(claimed.claims) == 2
        results = [closed(one.execution, State.FAILED, None, NOW) for one in claimed.claims]
        record(conn, STATEMENTS, cache, "inc-a", results, now=NOW, void=void)
        record(conn, STATEMENTS, cache, "inc-a", results, now=NOW, void=void)

    uses(
        without_full_reads(plans.of(work)),
        "executions_live",
        "sqlite_autoindex_jobs_1",
        "sqlite_autoindex_executions_1",
    )


def test_what_a_node_owns_is_found_by_owner(plans: Plans) -> None:
    cache = JobCache(10)

    plans.of(lambda conn: claim(conn, STATEMENTS, cache, claim_request(NOW), plan_fires))

    def work(conn: Connection) -> None:
        owned = ownership.owned(conn, STATEMENTS, cache, "inc-a")
        ownership.still_owned(conn, "inc-a", [one.execution.id for one in owned])
        ownership.leave(conn, "inc-a")
        ownership.rescue(conn, STATEMENTS, cache, decide=lambda one, _job: one, limit=10)
        ownership.give_back(conn, "inc-a", [one.execution.id for one in owned])

    uses(without_full_reads(plans.of(work)), "executions_owned")


# --- what people ask for ------------------------------------------------------------------------


def test_jobs_are_created_read_changed_and_triggered_by_key(plans: Plans) -> None:
    cache = JobCache(10)
    new = job("new", tags=("a", "b"))

    def work(conn: Connection) -> None:
        jobs.create_jobs(conn, STATEMENTS, [new_job(new)], limits=NO_LIMITS, request=keyed())
        jobs.get_job(conn, cache, "default", new.id, now=NOW)
        jobs.get_job(conn, cache, "default", "new", now=NOW)
        jobs.get_jobs(conn, STATEMENTS, cache, [new.id, OLD.id])
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
            conn, STATEMENTS, reason=Reason.REQUESTED, now=NOW, execution_id=triggered(new).id
        )
        executions.cancel_executions(
            conn, STATEMENTS, reason=Reason.REQUESTED, now=NOW, job_id=new.id
        )
        counters.usage(conn)

    uses(
        without_sorting(plans.of(work)),
        "jobs_name",
        "sqlite_autoindex_jobs_1",
        "executions_job",
        "executions_live",
    )


@pytest.mark.parametrize("descending", [False, True])
@pytest.mark.parametrize("later_page", [False, True])
@pytest.mark.parametrize(
    ("sort", "index", "value"),
    [
        (JobSort.NAME, "jobs_name", "m"),
        (JobSort.CREATED, "jobs_created", NOW),
        (JobSort.UPDATED, "jobs_updated", NOW),
        (JobSort.NEXT_FIRE, "timers_fire", NOW),
    ],
)
def test_a_list_of_jobs_is_read_in_its_order(
    plans: Plans, sort: JobSort, index: str, value: str | int, later_page: bool, descending: bool
) -> None:
    if isinstance(value, int):
        value += 1 if descending else -1
    query = JobQuery(
        sort=sort,
        descending=descending,
        limit=1,
        now=NOW,
        cursor=(value, OLD.id) if later_page else None,
    )
    uses(without_sorting(plans.of(lambda c: job_list.list_jobs(c, JobCache(10), query))), index)


@pytest.mark.parametrize("descending", [False, True])
@pytest.mark.parametrize(
    ("state", "way"),
    [(State.FAILED, "SCAN health USING INDEX health_failing"), (State.SUCCEEDED, "SCAN health")],
)
def test_jobs_by_their_last_result_are_read_in_the_order_of_their_ids(
    plans: Plans, state: State, way: str, descending: bool
) -> None:
    def note(conn: Connection) -> None:
        STATEMENTS.set_health(conn, [(one.id, state, NOW) for one in (OLD, QUEUEING)])

    plans.prepare(note)
    query = JobQuery(sort=JobSort.LAST_RESULT, descending=descending, limit=1, now=NOW)
    lines = plans.of(lambda c: job_list.list_jobs(c, JobCache(10), query))
    assert way in lines
    assert not [line for line in lines if "ORDER BY" in line]


@pytest.mark.parametrize(
    ("query", "index"),
    [
        (JobQuery(statuses=(JobStatus.PAUSED,)), "jobs_set_aside"),
        (JobQuery(tags=("few",)), "sqlite_autoindex_jobs_1"),
        (JobQuery(tags=("few",), sort=JobSort.NEXT_FIRE), "sqlite_autoindex_jobs_1"),
        (JobQuery(last_state=State.FAILED), "sqlite_autoindex_jobs_1"),
    ],
)
def test_few_jobs_among_many_are_looked_up(plans: Plans, query: JobQuery, index: str) -> None:
    def work(conn: Connection) -> None:
        STATEMENTS.add_to_counters(conn, {counters.jobs_counter(JobStatus.PAUSED): 1})
        job_list.list_jobs(conn, JobCache(10), query)

    uses(without_full_reads(plans.of(work)), index)


@pytest.mark.parametrize("ascending", [False, True])
@pytest.mark.parametrize("later_page", [False, True])
@pytest.mark.parametrize(
    ("filters", "index"),
    [
        ({}, "sqlite_autoindex_executions_1"),
        ({"since": NOW, "until": NOW + 1}, "sqlite_autoindex_executions_1"),
        ({"job_id": OLD.id}, "executions_job"),
        ({"job_id": OLD.id, "since": NOW, "until": NOW + 1}, "executions_job"),
        ({"states": (State.FAILED,)}, "executions_notable"),
        ({"states": (State.FAILED, State.SKIPPED)}, "executions_notable"),
        ({"states": (State.FAILED,), "job_id": OLD.id}, "executions_notable_job"),
        ({"states": (State.PENDING, State.CLAIMED), "job_id": OLD.id}, "executions_live"),
    ],
)
def test_a_list_of_executions_is_read_in_its_order(
    plans: Plans, filters: dict[str, object], index: str, later_page: bool, ascending: bool
) -> None:
    query = ExecutionQuery(
        **filters,  # type: ignore[arg-type]
        limit=1,
        ascending=ascending,
        cursor=(triggered(OLD).id,) if later_page else None,
    )
    lines = plans.of(lambda conn: execution_list.list_executions(conn, query))
    if not filters and not later_page:
        # Read from one end, so there is nothing to look for.
        assert lines == [f"SCAN executions USING INDEX {index}"]
    else:
        uses(without_sorting(lines), index)


@pytest.mark.parametrize(
    ("filters", "indexes"),
    [
        ({"states": (State.CLAIMED,)}, ["executions_owned"]),
        ({"states": (State.PENDING,)}, ["executions_live"]),
        (
            {"error_kind": ErrorKind.TIMEOUT},
            ["executions_owned", "executions_live", "executions_notable"],
        ),
    ],
)
def test_live_executions_are_found_among_millions(
    plans: Plans, filters: dict[str, object], indexes: list[str]
) -> None:
    query = ExecutionQuery(**filters)  # type: ignore[arg-type]
    lines = plans.of(lambda conn: execution_list.list_executions(conn, query))
    uses(without_full_reads(lines), *indexes)


# --- upkeep -------------------------------------------------------------------------------------


def test_history_is_deleted_from_its_old_end(plans: Plans) -> None:
    lines = plans.of(lambda conn: history.delete_history(conn, before=NOW, limit=10))
    uses(without_sorting(lines), "sqlite_autoindex_executions_1", "jobs_deleted")


def test_statistics_read_little(plans: Plans) -> None:
    lines = plans.of(lambda conn: stats(conn, JobCache(10), since=NOW, next_fires=10))
    uses(without_sorting(lines), "timers_due")
    # Counting what is live looks at no row.
    assert "SCAN executions USING COVERING INDEX executions_live" in lines
    assert "SCAN executions USING COVERING INDEX executions_owned" in lines


def test_an_attempt_of_a_cancelled_execution_is_kept_by_key(plans: Plans) -> None:
    lines = plans.of(
        lambda conn: executions.write_attempts(conn, triggered(OLD, attempts=(attempt(),)))
    )
    uses(without_sorting(lines), "sqlite_autoindex_executions_1")
