"""Every store there is, by name, empty and open."""

import shutil
import tempfile
from functools import cache
from pathlib import Path

from sqlalchemy import Connection, delete

from tests.support.memory_store import MemoryStore
from tests.support.postgres import new_database
from tocsin.store.port import Store
from tocsin.store.postgres import PostgresStore
from tocsin.store.postgres.database import PostgresDatabase
from tocsin.store.postgres.statements import PostgresStatements
from tocsin.store.tables import metadata

STORES = ("memory", "sqlite", "postgres")


def make_store(kind: str, directory: Path, *, inline: bool = False) -> Store:
    """A new store, not open yet, whose files (if any) are in a directory of its own.

    ``inline`` runs everything in the calling thread, where the store has a choice.
    """
    if kind == "memory":
        return MemoryStore()
    if kind == "sqlite":
        from tocsin.store.sqlite import Inline, SqliteStore

        if inline:
            return SqliteStore(":memory:", runner=Inline())
        path = directory / "tocsin.db"
        shutil.copyfile(_migrated(), path)
        return SqliteStore(str(path))
    if kind == "postgres":
        return _OnSharedConnections()
    raise AssertionError(f"no such store: {kind}")


class _ByCallersClock(PostgresStatements):
    """Leases by the clock of the caller, as on the other stores: that the database's own counts
    is shown in tests/postgres/test_leases.py."""

    def time(self, conn: Connection) -> None:
        """Nothing."""


class _OnSharedConnections(PostgresStore):
    """A store on a database that is emptied, not closed, because that takes longer than a test."""

    def __init__(self) -> None:
        database = _databases.pop() if _databases else PostgresDatabase(new_database())
        super().__init__("postgresql:///unused", statements=_ByCallersClock())
        self._db = self._database = self._shared = database

    async def time(self) -> None:
        """Nothing, likewise."""

    async def close(self) -> None:
        """Empty the tables; safe to call twice."""
        if self._shared not in _databases:
            await self._shared.write(_empty)
            _databases.append(self._shared)


_databases: list[PostgresDatabase] = []


def _empty(conn: Connection) -> None:
    for table in metadata.tables.values():
        conn.execute(delete(table))


@cache
def _migrated() -> Path:
    """An empty database, migrated once: to migrate each anew takes longer than most tests."""
    from tocsin.store.sqlite import migrate

    path = Path(tempfile.mkdtemp(prefix="tocsin-test-")) / "empty.db"
    migrate(str(path))
    return path
