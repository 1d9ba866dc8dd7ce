"""Keys and sessions, and the part of the port that is about them and the audit log."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from sqlalchemy import (
    Connection,
    bindparam,
    delete,
    insert,
    or_,
    select,
    text,
    union,
    update,
)
from sqlalchemy.exc import IntegrityError

from tocsin.domain.access import EVERYWHERE
from tocsin.domain.audit import AuditEntry
from tocsin.domain.instant import Millis
from tocsin.domain.key import ApiKey, KeyOrigin, Session
from tocsin.store.access import AuditQuery
from tocsin.store.access_rows import key_of, key_row, session_of, session_row
from tocsin.store.sql import counters
from tocsin.store.sql.audit import list_audit, note
from tocsin.store.sql.ids import is_id
from tocsin.store.sql.statements import Statements
from tocsin.store.tables import ROTATED, api_keys, sessions

if TYPE_CHECKING:
    from tocsin.store.sql.store import Database

# Two look-ups, one in each index: to ask for either in one would read the whole table.
_BY_HASH = union(
    select(api_keys).where(api_keys.c.hash == bindparam("hashed")),
    select(api_keys).where(text(ROTATED), api_keys.c.old_hash == bindparam("hashed")),
)
_ANY_KEY = select(api_keys.c.id).limit(1)
_NOTE_USE = (
    update(api_keys)
    .where(
        api_keys.c.id == bindparam("key_id"),
        or_(api_keys.c.last_used_at.is_(None), api_keys.c.last_used_at < bindparam("at")),
    )
    .values(last_used_at=bindparam("at"))
)


class SqlAccess:
    """The methods of ``AccessStore``."""

    _db: "Database"
    _statements: Statements

    async def add_key(self, key: ApiKey, *, audit: Sequence[AuditEntry] = ()) -> bool:
        """Store a new key."""

        def work(conn: Connection) -> bool:
            if not _insert_key(conn, key):
                return False
            note(conn, self._statements, audit)
            return True

        return await self._db.write(work)

    async def find_key(self, hashed: str) -> ApiKey | None:
        """The key whose present or previous secret has this hash."""
        return await self._db.read(lambda conn: _find_key(conn, hashed))

    async def get_key(self, key_id: str) -> ApiKey | None:
        """One key."""
        return await self._db.read(lambda conn: _get_key(conn, key_id))

    async def list_keys(self, namespace: str | None = None) -> Sequence[ApiKey]:
        """All keys, or those of one namespace."""
        return await self._db.read(lambda conn: _list_keys(conn, namespace))

    async def replace_key(
        self, key: ApiKey, *, if_hash: str, audit: Sequence[AuditEntry] = ()
    ) -> bool:
        """Replace a key that is not revoked."""

        def work(conn: Connection) -> bool:
            row = key_row(key)
            del row["last_used_at"]
            done = conn.execute(
                update(api_keys)
                .where(
                    api_keys.c.id == key.id,
                    api_keys.c.hash == if_hash,
                    api_keys.c.revoked_at.is_(None),
                )
                .values(row)
            )
            if not done.rowcount:
                return False
            note(conn, self._statements, audit)
            return True

        return await self._db.write(work)

    async def note_key_use(self, used: Mapping[str, Millis]) -> None:
        """Move ``last_used_at`` of keys forward."""
        rows = [
            {"key_id": key_id, "at": at} for key_id, at in sorted(used.items()) if is_id(key_id)
        ]
        if rows:
            await self._db.write(lambda conn: conn.execute(_NOTE_USE, rows))

    async def add_session(self, session: Session, *, audit: Sequence[AuditEntry] = ()) -> None:
        """Store a new session, and delete those that had expired."""

        def work(conn: Connection) -> None:
            conn.execute(delete(sessions).where(sessions.c.expires_at <= session.created_at))
            conn.execute(insert(sessions), session_row(session))
            note(conn, self._statements, audit)

        await self._db.write(work)

    async def find_session(self, hashed: str) -> Session | None:
        """The session whose token has this hash."""

        def work(conn: Connection) -> Session | None:
            row = conn.execute(select(sessions).where(sessions.c.hash == hashed)).first()
            return None if row is None else session_of(row._asdict())

        return await self._db.read(work)

    async def delete_session(self, hashed: str, *, audit: Sequence[AuditEntry] = ()) -> bool:
        """Delete a session."""

        def work(conn: Connection) -> bool:
            done = conn.execute(delete(sessions).where(sessions.c.hash == hashed))
            if not done.rowcount:
                return False
            note(conn, self._statements, audit)
            return True

        return await self._db.write(work)

    async def add_audit(self, audit: Sequence[AuditEntry]) -> None:
        """Store entries of the audit log."""
        await self._db.write(lambda conn: note(conn, self._statements, audit))

    async def list_audit(self, query: AuditQuery) -> Sequence[AuditEntry]:
        """The newest entries that match."""
        return await self._db.read(lambda conn: list_audit(conn, query))

    async def namespaces(self) -> Sequence[str]:
        """The namespaces that have jobs or keys."""

        def work(conn: Connection) -> Sequence[str]:
            with_keys = conn.scalars(select(api_keys.c.namespace).distinct())
            return sorted({*counters.jobs_by_namespace(conn), *with_keys} - {EVERYWHERE})

        return await self._db.read(work)


def _insert_key(conn: Connection, key: ApiKey) -> bool:
    if key.origin is KeyOrigin.FIRST and conn.execute(_ANY_KEY).first() is not None:
        return False
    try:
        with conn.begin_nested():
            conn.execute(insert(api_keys), key_row(key))
    except IntegrityError:
        # Another node was as quick, and its first key is the first.
        if key.origin is KeyOrigin.FIRST:
            return False
        raise
    return True


def _find_key(conn: Connection, hashed: str) -> ApiKey | None:
    row = conn.execute(_BY_HASH, {"hashed": hashed}).first()
    return None if row is None else key_of(row._asdict())


def _get_key(conn: Connection, key_id: str) -> ApiKey | None:
    if not is_id(key_id):
        return None
    row = conn.execute(select(api_keys).where(api_keys.c.id == key_id)).first()
    return None if row is None else key_of(row._asdict())


def _list_keys(conn: Connection, namespace: str | None) -> list[ApiKey]:
    found = select(api_keys).order_by(api_keys.c.created_at, api_keys.c.id)
    if namespace is not None:
        found = found.where(api_keys.c.namespace == namespace)
    return [key_of(row._asdict()) for row in conn.execute(found)]
