"""The audit log: added to by whoever changes something, read by whoever asks, and forgotten."""

from collections.abc import Sequence

from sqlalchemy import ColumnElement, Connection, delete, or_, select

from tocsin.domain.audit import AuditEntry
from tocsin.domain.instant import Millis
from tocsin.store.access import AuditQuery
from tocsin.store.access_rows import audit_of, audit_row
from tocsin.store.rows import storable
from tocsin.store.sql.ids import first_id
from tocsin.store.sql.statements import Statements
from tocsin.store.tables import audit


def note(conn: Connection, statements: Statements, entries: Sequence[AuditEntry]) -> None:
    """Add entries, in the transaction of what they tell of."""
    if entries:
        statements.insert_audit(conn, [audit_row(entry) for entry in entries])


def delete_audit(
    conn: Connection, statements: Statements, before: Millis, limit: int, entry: AuditEntry
) -> int:
    """Delete the oldest entries, and tell of it."""
    oldest = (
        select(audit.c.id).where(audit.c.id < first_id(before)).order_by(audit.c.id).limit(limit)
    )
    count = conn.execute(delete(audit).where(audit.c.id.in_(oldest))).rowcount
    if count:
        note(conn, statements, [entry.counting(count)])
    return count


def list_audit(conn: Connection, query: AuditQuery) -> list[AuditEntry]:
    """The newest entries that match."""
    table = audit.c
    wanted: list[ColumnElement[bool]] = []
    if query.namespace is not None:
        wanted.append(table.namespace == query.namespace)
    if query.actor is not None:
        actor = storable(query.actor)
        wanted.append(or_(table.actor_id == actor, table.actor_name == actor))
    if query.action is not None:
        action = storable(query.action)
        # From "job." to just before "job/": whatever begins so, without LIKE and its patterns.
        below = (table.action >= f"{action}.") & (table.action < f"{action}/")
        wanted.append(or_(table.action == action, below))
    if query.subject is not None:
        subject = storable(query.subject)
        wanted.append(or_(table.subject_id == subject, table.subject_name == subject))
    # Ids begin with their instant, so the log is entered at the right place.
    if query.since is not None:
        wanted.append(table.id >= first_id(query.since))
    if query.until is not None:
        wanted.append(table.id < first_id(query.until))
    if query.before is not None:
        wanted.append(table.id < query.before)
    page = select(audit).where(*wanted).order_by(table.id.desc()).limit(query.limit)
    return [audit_of(row._asdict()) for row in conn.execute(page)]
