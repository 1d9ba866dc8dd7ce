"""What follows when executions end: they are counted, and jobs change their health."""

from collections.abc import Iterable

from sqlalchemy import Connection

from tocsin.domain.execution import Execution, State
from tocsin.domain.instant import Millis
from tocsin.domain.tally import Tally, minute_of
from tocsin.store.rows import dump_json, tally_of
from tocsin.store.sql.counters import of_namespace
from tocsin.store.sql.statements import Statements

NOBODY = ""
"""Stands for the node in tallies of what no node ended: by hand, by a change, by a rescue."""


# In Python 3.11 it takes as long to look up a member of an enumeration as to call a function.
_SUCCEEDED = State.SUCCEEDED
_FAILED = State.FAILED


def note_ended(
    conn: Connection,
    statements: Statements,
    executions: Iterable[Execution],
    *,
    node: str = NOBODY,
) -> None:
    """Count executions that have just ended and note the health of their jobs."""
    tallies: dict[tuple[Millis, str], Tally] = {}
    last: dict[str, tuple[str, State, Millis]] = {}
    for execution in executions:
        if execution.finished_at is None:
            continue
        place = (minute_of(execution.finished_at), execution.namespace)
        tally = tallies.get(place)
        if tally is None:
            tally = tallies[place] = Tally()
        tally.add(execution)
        state = execution.state
        if state is _SUCCEEDED or state is _FAILED:
            job_id = execution.job_id
            last[job_id] = (job_id, state, execution.finished_at)
    # In one order, so that two writers cannot lock each other out.
    for minute, namespace in sorted(tallies):
        counter = of_namespace(node, namespace)
        known = statements.read_tally(conn, minute, counter)
        tally = tallies[minute, namespace]
        if known is not None:
            tally.merge(tally_of(known))
        statements.write_tally(conn, minute, counter, dump_json(tally.to_json()))
    if last:
        statements.set_health(conn, [last[job_id] for job_id in sorted(last)])
