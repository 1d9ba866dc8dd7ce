"""Keys and sessions, and the part of the port that is about them and the audit log."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from sqlalchemy import (
    ColumnElement,
    Connection,
    bindparam,
    delete,
    func,
    insert,
    or_,
    select,
    text,
    union,
    update,
)
from sqlalchemy.exc import IntegrityError

from tocsin.domain.access import EVERYWHERE, UNLIMITED
from tocsin.domain.audit import AuditEntry
from tocsin.domain.instant import Millis
from tocsin.domain.key import ApiKey, KeyOrigin, Session
from tocsin.store.access import AuditQuery, KeyCount
from tocsin.store.access_rows import key_of, key_row, session_of, session_row
from tocsin.store.sql import counters
from tocsin.store.sql.audit import delete_audit, list_audit, note
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
# Locked where a database has locks of rows: of two that each leave it to the other, the second one
# waits, and then sees what the first one did. In one order, so that they do not wait in a circle.
_LASTING = (
    select(api_keys.c.id)
    .where(
        api_keys.c.role == UNLIMITED.role.value,
        api_keys.c.namespace == UNLIMITED.namespace,
        api_keys.c.tags.is_(None),
        api_keys.c.actions.is_(None),
        api_keys.c.expires_at.is_(None),
        api_keys.c.revoked_at.is_(None),
    )
    .order_by(api_keys.c.id)
    .with_for_update()
)
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

    async def count_keys(self, now: Millis) -> KeyCount:
        """How many keys work, and how many do not any more."""

        def work(conn: Connection) -> KeyCount:
            ended = conn.scalar(select(func.count()).where(_ended(now))) or 0
            every = conn.scalar(select(func.count()).select_from(api_keys)) or 0
            return KeyCount(working=every - ended, ended=ended)

        return await self._db.read(work)

    async def delete_ended_keys(self, now: Millis, *, keep: int) -> int:
        """Delete keys that have ended, but for the last created of them."""
        newest = (
            select(api_keys.c.id)
            .where(_ended(now))
            .order_by(api_keys.c.created_at.desc(), api_keys.c.id.desc())
            .limit(keep)
        )
        gone = delete(api_keys).where(_ended(now), api_keys.c.id.not_in(newest))
        return await self._db.write(lambda conn: conn.execute(gone).rowcount)

    async def replace_key(
        self,
        key: ApiKey,
        *,
        if_hash: str,
        if_another: bool = False,
        audit: Sequence[AuditEntry] = (),
    ) -> bool:
        """Replace a key that is not revoked."""

        def work(conn: Connection) -> bool:
            if if_another and not set(conn.scalars(_LASTING)) - {key.id}:
                return False
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

    async def delete_audit(self, *, before: Millis, limit: int, entry: AuditEntry) -> int:
        """Delete the oldest entries, and tell of it."""
        return await self._db.write(
            lambda conn: delete_audit(conn, self._statements, before, limit, entry)
        )

    async def namespaces(self) -> Sequence[str]:
        """The namespaces that have jobs or keys."""

        def work(conn: Connection) -> Sequence[str]:
            with_keys = conn.scalars(select(api_keys.c.namespace).distinct())
            return sorted({*counters.jobs_by_namespace(conn), *with_keys} - {EVERYWHERE})

        return await self._db.read(work)


def _ended(now: Millis) -> ColumnElement[bool]:
    return or_(api_keys.c.revoked_at.is_not(None), api_keys.c.expires_at <= now)


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
