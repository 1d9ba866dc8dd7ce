"""Recording: what came of claimed executions."""

from collections.abc import Sequence
from typing import NamedTuple

from sqlalchemy import Connection, select

from tocsin.domain.errors import Revoked
from tocsin.domain.execution import Attempt, Execution, State, closed
from tocsin.domain.instant import Millis
from tocsin.domain.job import Job
from tocsin.store.port import Recorded, Voider
from tocsin.store.rows import execution_of
from tocsin.store.sql.executions import write_attempts
from tocsin.store.sql.ids import CHUNK, is_id
from tocsin.store.sql.job_cache import JobCache
from tocsin.store.sql.outcomes import note_ended
from tocsin.store.sql.statements import Result, Statements, Stored
from tocsin.store.tables import executions, jobs


def record(
    conn: Connection,
    statements: Statements,
    cache: JobCache,
    incarnation: str,
    results: Sequence[Execution],
    *,
    now: Millis,
    void: Voider,
) -> Recorded:
    """Store what came of executions that this node owns."""
    if not statements.node_exists(conn, incarnation):
        raise Revoked(incarnation)
    batch = _voided(conn, statements, cache, results, now=now, void=void)
    outcomes = statements.store_results(conn, [_of(incarnation, result) for result in batch])
    if outcomes.count(_YES) == len(outcomes):
        note_ended(conn, statements, batch, node=incarnation)
        return Recorded(stored=batch, rejected=[])
    missed = [
        result
        for result, outcome in zip(batch, outcomes, strict=True)
        if outcome is not _YES and outcome is Stored.NOT_OURS
    ]
    rows = _rows_of(conn, missed) if missed else {}
    stored: list[Execution] = []
    ended: list[Execution] = []
    rejected: list[str] = []
    for result, outcome in zip(batch, outcomes, strict=True):
        if outcome is _YES:
            stored.append(result)
            if result.finished_at is not None:
                ended.append(result)
            continue
        row = rows.get(result.id)
        if outcome is Stored.NOT_OURS and row is not None and _is_found(row, result):
            stored.append(row)
            continue
        rejected.append(result.id)
        if outcome is Stored.BAD:
            continue
        if (
            row is not None
            and row.state is State.CANCELLED
            and row.owner == incarnation
            and len(result.attempts) > len(row.attempts)
        ):
            write_attempts(conn, result)
    if ended:
        note_ended(conn, statements, ended, node=incarnation)
    return Recorded(stored=stored, rejected=rejected)


# In Python 3.11 it takes as long to look up a member of an enumeration as to call a function.
_YES = Stored.YES
_PENDING = State.PENDING


def _of(incarnation: str, result: Execution) -> Result:
    """A result adds one attempt to its row; one that ends it may add none."""
    count = len(result.attempts)
    return Result(incarnation, count - 1, count if result.state.final else count - 1, result)


def _voided(
    conn: Connection,
    statements: Statements,
    cache: JobCache,
    results: Sequence[Execution],
    *,
    now: Millis,
    void: Voider,
) -> list[Execution]:
    """The results, those that are to be tried again ended where their job forbids that."""
    again = [result for result in results if result.state is _PENDING]
    if not again:
        return list(results)
    present = _jobs_of(conn, statements, cache, again)
    after = []
    for result in results:
        if result.state is State.PENDING and result.job_id not in present.unreadable:
            reason = void(result, present.jobs.get(result.job_id))
            if reason is not None:
                after.append(closed(result, State.CANCELLED, reason, now))
                continue
        after.append(result)
    return after


class _Present(NamedTuple):
    """The jobs of some executions as they are now, and those that cannot be read."""

    jobs: dict[str, Job]
    unreadable: set[str]


def _jobs_of(
    conn: Connection, statements: Statements, cache: JobCache, results: Sequence[Execution]
) -> _Present:
    ids = [one for one in dict.fromkeys(result.job_id for result in results) if is_id(one)]
    versions: list[tuple[str, int]] = []
    for start in range(0, len(ids), CHUNK):
        found = conn.execute(
            select(jobs.c.id, jobs.c.version).where(jobs.c.id.in_(ids[start : start + CHUNK]))
        )
        versions += [(row.id, row.version) for row in found]
    loaded = cache.load(conn, statements, versions)
    return _Present(loaded, {job_id for job_id, _ in versions if job_id not in loaded})


def _rows_of(conn: Connection, results: Sequence[Execution]) -> dict[str, Execution]:
    ids = [one for one in dict.fromkeys(result.id for result in results) if is_id(one)]
    found = {}
    for start in range(0, len(ids), CHUNK):
        for row in conn.execute(
            select(executions)
            .where(executions.c.id.in_(ids[start : start + CHUNK]))
            .with_for_update()
        ):
            found[row.id] = execution_of(row)
    return found


def _is_found(row: Execution, result: Execution) -> bool:
    """Whether a row holds a result already: its last attempt is one of the row's."""
    return bool(result.attempts) and any(
        _mark(attempt) == _mark(result.attempts[-1]) for attempt in row.attempts
    )


def _mark(attempt: Attempt) -> tuple[int, Millis, str]:
    return attempt.number, attempt.started_at, attempt.node
