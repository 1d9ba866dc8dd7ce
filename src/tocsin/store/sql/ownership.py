"""Nodes, their leases, and what they own."""

from collections.abc import Collection, Sequence
from dataclasses import replace

import structlog
from sqlalchemy import Connection, Text, bindparam, cast, delete, insert, select, text, update

from tocsin.domain.errors import StoreCorrupt
from tocsin.domain.execution import Execution, State
from tocsin.domain.instant import Millis
from tocsin.domain.job import Job, Json
from tocsin.store.port import Claim, Node, Rescuer
from tocsin.store.rows import (
    EXECUTION_WIDTH,
    Row,
    execution_of,
    load_text,
    node_of,
    node_row,
)
from tocsin.store.sql.ids import CHUNK, is_id
from tocsin.store.sql.job_cache import JobCache
from tocsin.store.sql.outcomes import note_ended
from tocsin.store.sql.statements import Result, Statements, Stored
from tocsin.store.tables import CLAIMED, executions, jobs, nodes

log = structlog.stdlib.get_logger("tocsin.store")


# --- leases -------------------------------------------------------------------------------------


def register(conn: Connection, statements: Statements, node: Node) -> None:
    """Add a node's row; a repetition replaces it."""
    now = statements.time(conn)
    if now is not None:
        ttl = node.lease_until - node.heartbeat_at
        node = replace(node, heartbeat_at=now, lease_until=now + ttl)
    conn.execute(delete(nodes).where(nodes.c.incarnation == node.incarnation))
    conn.execute(insert(nodes).values(node_row(node)))


_RENEW = (
    update(nodes)
    .where(nodes.c.incarnation == bindparam("who"))
    .values(
        heartbeat_at=bindparam("now"), lease_until=bindparam("until"), load=bindparam("load_text")
    )
)


def renew(
    conn: Connection,
    statements: Statements,
    incarnation: str,
    *,
    now: Millis,
    ttl: Millis,
    load: Json = None,
) -> Millis | None:
    """Extend a lease; the new end, or ``None`` where it was revoked."""
    now = statements.time(conn) or now
    renewed = conn.execute(
        _RENEW, {"who": incarnation, "now": now, "until": now + ttl, "load_text": load_text(load)}
    )
    return now + ttl if renewed.rowcount else None


def leave(conn: Connection, incarnation: str) -> None:
    """Remove a node's own row."""
    conn.execute(delete(nodes).where(nodes.c.incarnation == incarnation))


def all_nodes(conn: Connection) -> list[Node]:
    """All nodes, by name and start."""
    rows = conn.execute(select(nodes).order_by(nodes.c.name, nodes.c.started_at))
    return [node_of(row._asdict()) for row in rows]


def revoke_lapsed(conn: Connection, statements: Statements, *, now: Millis, by: str) -> list[Node]:
    """Delete the rows of nodes, other than ``by``, whose lease ended before ``now``.

    One that is just being renewed, or is in the middle of a transaction, is left for next time.
    """
    now = statements.time(conn) or now
    rows = conn.execute(
        select(nodes)
        .where(nodes.c.lease_until < now, nodes.c.incarnation != by)
        .order_by(nodes.c.incarnation)
        .with_for_update(skip_locked=True)
    )
    lapsed = [node_of(row._asdict()) for row in rows]
    for node in lapsed:
        conn.execute(delete(nodes).where(nodes.c.incarnation == node.incarnation))
    return lapsed


# --- what they own ------------------------------------------------------------------------------


def owned_versions(conn: Connection, incarnation: str) -> dict[str, int]:
    """The ids of whatever is claimed by a node, each with its job's present version."""
    query = (
        select(executions.c.id, jobs.c.version)
        .select_from(executions.outerjoin(jobs, jobs.c.id == executions.c.job_id))
        .where(text(CLAIMED), executions.c.owner == incarnation)
    )
    return {one: version or 0 for one, version in conn.execute(query)}


def owned(
    conn: Connection,
    statements: Statements,
    cache: JobCache,
    incarnation: str,
    ids: Collection[str] | None = None,
) -> list[Claim]:
    """Whatever is claimed by a node; what cannot be read is left out, after a line in the log."""
    if ids is None:
        rows = _claimed_by(conn, incarnation)
    else:
        wanted = sorted(one for one in set(ids) if is_id(one))
        rows = []
        for start in range(0, len(wanted), CHUNK):
            rows += _claimed_by(conn, incarnation, ids=wanted[start : start + CHUNK])
    found = _jobs_of(conn, statements, cache, rows)
    claims = []
    for row in rows:
        job = found.get(row[1])
        execution = _readable(row)
        if job is not None and execution is not None:
            claims.append(Claim(execution=execution, job=job))
    return claims


def still_owned(conn: Connection, incarnation: str, ids: Sequence[str]) -> set[str]:
    """Those of ``ids`` that are still claimed by a node."""
    found: set[str] = set()
    wanted = [one for one in ids if is_id(one)]
    for start in range(0, len(wanted), CHUNK):
        found.update(
            conn.scalars(
                select(executions.c.id).where(
                    executions.c.id.in_(wanted[start : start + CHUNK]),
                    executions.c.state == State.CLAIMED.value,
                    executions.c.owner == incarnation,
                )
            )
        )
    return found


def give_back(conn: Connection, incarnation: str, ids: Sequence[str]) -> None:
    """Make claimed executions of this node pending again."""
    wanted = sorted(one for one in set(ids) if is_id(one))
    for start in range(0, len(wanted), CHUNK):
        conn.execute(
            update(executions)
            .where(
                executions.c.id.in_(wanted[start : start + CHUNK]),
                executions.c.state == State.CLAIMED.value,
                executions.c.owner == incarnation,
            )
            .values(state=State.PENDING.value, owner=None)
        )


def rescue(
    conn: Connection,
    statements: Statements,
    cache: JobCache,
    *,
    decide: Rescuer,
    limit: int,
) -> list[Execution]:
    """Apply ``decide`` to claimed executions whose owner has no row, oldest first."""
    rows: list[Row] = []
    for owner in _owners(conn):
        if not statements.node_exists(conn, owner):
            rows += _claimed_by(conn, owner, limit, lock=True)
    rows = sorted(rows, key=lambda row: str(row[0]))[:limit]
    found = _jobs_of(conn, statements, cache, rows)
    results: list[Result] = []
    for row in rows:
        execution = _readable(row)
        version = row[EXECUTION_WIDTH]
        job = found.get(row[1])
        if execution is None or (job is None and version is not None):
            # It, or its job, cannot be read: nothing can be decided. It stays, and is seen.
            continue
        count = len(execution.attempts)
        after = decide(execution, job)
        results.append(Result(execution.owner or "", count, count, after))
    outcomes = statements.store_results(conn, results)
    rescued = [
        result.after
        for result, outcome in zip(results, outcomes, strict=True)
        if outcome is Stored.YES
    ]
    note_ended(conn, statements, [after for after in rescued if after.state.final])
    return rescued


def _owners(conn: Connection) -> list[str]:
    """Who owns claimed executions: one look into the index for each, however much each owns."""
    owners: list[str] = []
    following = select(executions.c.owner).where(text(CLAIMED), executions.c.owner.is_not(None))
    following = following.order_by(executions.c.owner).limit(1)
    owner = conn.execute(following).scalar()
    while owner is not None:
        owners.append(owner)
        owner = conn.execute(following.where(executions.c.owner > owner)).scalar()
    return owners


_SORTED = cast(executions.c.id, Text)
"""By id, but sorted: the order of the primary key could be had by reading all of it."""


def _claimed_by(
    conn: Connection,
    incarnation: str,
    limit: int | None = None,
    ids: Sequence[str] | None = None,
    *,
    lock: bool = False,
) -> list[Row]:
    """Rows of ``EXECUTION_COLUMNS`` and the version of the job, by id."""
    query = (
        select(executions, jobs.c.version)
        .select_from(executions.outerjoin(jobs, jobs.c.id == executions.c.job_id))
        .where(text(CLAIMED), executions.c.owner == incarnation)
        .order_by(_SORTED)
        .limit(limit)
    )
    if lock:
        query = query.with_for_update(of=executions, skip_locked=True)
    if ids is not None:
        query = query.where(executions.c.id.in_(ids))
    return [tuple(row) for row in conn.execute(query)]


def _jobs_of(
    conn: Connection, statements: Statements, cache: JobCache, rows: Sequence[Row]
) -> dict[str, Job]:
    versions = {row[1]: row[EXECUTION_WIDTH] for row in rows if row[EXECUTION_WIDTH] is not None}
    return cache.load(conn, statements, list(versions.items()))


def _readable(row: Row) -> Execution | None:
    try:
        return execution_of(row)
    except StoreCorrupt as error:
        log.error("execution.unreadable", error=str(error))  # noqa: TRY400  # it says it all
        return None
