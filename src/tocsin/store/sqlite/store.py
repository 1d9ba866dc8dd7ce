"""The store in a SQLite file."""

from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

from sqlalchemy import Connection

from tocsin.domain.instant import Millis
from tocsin.store import migrations
from tocsin.store.sql.store import CACHED_JOBS, SqlStore
from tocsin.store.sqlite.engine import MEMORY, Connections
from tocsin.store.sqlite.runner import Runner, Threads
from tocsin.store.sqlite.schema import create_tables
from tocsin.store.sqlite.statements import SqliteStatements

T = TypeVar("T")


class SqliteStore(SqlStore):
    """A ``Store`` on a SQLite file, or in memory (``:memory:``) for tests and simulations.

    The file must exist and be of the present schema: ``migrate(path)`` sees to both. A database
    in memory is created by ``open`` and lost by ``close``.
    """

    def __init__(
        self, path: str | Path, *, runner: Runner | None = None, cached_jobs: int = CACHED_JOBS
    ) -> None:
        super().__init__(
            _File(str(path), Threads() if runner is None else runner),
            SqliteStatements(),
            cached_jobs=cached_jobs,
        )

    async def time(self) -> Millis | None:
        """None: all processes on one file run on one machine, whose clock it is."""
        return None


class _File:
    """``Database`` on a file: one connection that writes, some that read, each in its thread."""

    def __init__(self, path: str, runner: Runner) -> None:
        self._connections = Connections(path)
        self._runner = runner

    async def open(self) -> None:
        """Get ready to connect."""
        self._connections.open()
        self._runner.open()

    async def close(self) -> None:
        """Let go of everything."""
        await self._runner.close(self._connections.close)

    def prepare(self, conn: Connection) -> None:
        """Check the schema; a database in memory gets its tables."""
        if self._connections.path == MEMORY:
            create_tables(conn)
        else:
            migrations.require_head(conn, self._connections.path)

    async def write(self, work: Callable[[Connection], T]) -> T:
        """Run work that may write."""
        return await self._runner.write(lambda: self._connections.write(work))

    async def write_first(self, work: Callable[[Connection], T]) -> T:
        """Run work of the engine: there is one writer, and its turns are short."""
        return await self.write(work)

    async def write_at_once(self, work: Callable[[Connection], T]) -> T:
        """Run work for which calls wait, after nothing but what has begun."""
        return await self._runner.write(lambda: self._connections.write(work), first=True)

    async def read(self, work: Callable[[Connection], T]) -> T:
        """Run work that only reads."""
        return await self._runner.read(lambda: self._connections.read(work))

    async def renew(self, work: Callable[[Connection], T]) -> T:
        """Run work that keeps a lease, after nothing but what has begun."""
        return await self.write_at_once(work)
