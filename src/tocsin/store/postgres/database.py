"""Connections to PostgreSQL, and transactions on them, in threads.

What a transaction computes (a claim plans a thousand fires) must not hold up the calls that leave
meanwhile, so it runs in a thread, as on SQLite: docs/adr/0005-psycopg-in-threads.md.

Everything that a transaction needs to be set is set within it. So a pooler between this program
and the server may hand out another session for each of them.
"""

import asyncio
import os
import select
import socket
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from threading import Lock, Timer
from typing import Any, TypeVar

import psycopg
from psycopg.conninfo import conninfo_to_dict, make_conninfo
from psycopg.pq import TransactionStatus
from psycopg.types.string import TextLoader
from sqlalchemy import Connection, Engine, create_engine
from sqlalchemy.pool import NullPool

from tocsin.domain.errors import InvalidInput, StoreError, StoreUnavailable
from tocsin.domain.instant import Millis
from tocsin.store import migrations
from tocsin.store.postgres.errors import is_conflict, wrapped
from tocsin.store.postgres.statements import database_time, raw

T = TypeVar("T")

THREADS = {"write": 2, "engine": 2, "at_once": 1, "read": 3, "lease": 1}
"""How many work for whom: for users that write, for the engine that writes, for its claims at their
instant, for all that read, and for the lease."""

CLOSE_WITHIN = 5.0
"""Seconds until a close cuts off what is under way: a server that stands still never answers."""

REPEAT_AT_MOST = 5
"""Tries of a transaction that PostgreSQL ends for the sake of another."""

CONNECT: dict[str, Any] = {
    "connect_timeout": 5,
    # A server that is gone without a word is noticed within about five seconds: no longer than a
    # lease lasts.
    "keepalives_idle": 2,
    "keepalives_interval": 1,
    "keepalives_count": 3,
    "tcp_user_timeout": 5_000,
    "application_name": "tocsin",
}
"""Parameters of a connection where the URL does not say otherwise."""

_EACH = """
    SET LOCAL statement_timeout = {timeout};
    SET LOCAL enable_seqscan = off; SET LOCAL enable_bitmapscan = off;
    SET LOCAL enable_mergejoin = off; SET LOCAL jit = off;
    SET LOCAL max_parallel_workers_per_gather = 0"""
"""The queries are written to go from index to index, as SQLite executes them; statistics that are
older than a burst of work must not talk PostgreSQL into reading whole tables in their order."""

STALL: Millis = 5_000


def begin_write(stall: Millis = STALL) -> str:
    """The beginning of a transaction that may write.

    A node that stops in the middle of one must not keep its locks for longer than a lease: after
    ``stall`` the server ends its session.
    """
    return f"""BEGIN ISOLATION LEVEL READ COMMITTED;
    SET LOCAL synchronous_commit = on;
    SET LOCAL lock_timeout = 5000;
    SET LOCAL idle_in_transaction_session_timeout = {stall};
    SET LOCAL plan_cache_mode = force_generic_plan;{_EACH.format(timeout=20_000)}"""


BEGIN_READ = f"""BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY;
    SET LOCAL idle_in_transaction_session_timeout = 30000;
    SET LOCAL enable_hashjoin = off;{_EACH.format(timeout=30_000)}"""


def shown(url: str) -> str:
    """A URL without what is secret, for messages."""
    parts = parts_of(url)
    host = parts.get("host") or parts.get("hostaddr") or "localhost"
    port = parts.get("port") or "5432"
    return f"postgresql://{host}:{port}/{parts.get('dbname') or ''}"


def parts_of(url: str) -> dict[str, Any]:
    """The parameters in a URL; raises ``InvalidInput`` (field ``database``)."""
    try:
        return conninfo_to_dict(url)
    except psycopg.ProgrammingError as error:
        # What it quotes may be the password.
        problem = str(error).partition('"')[0].strip(" :")
        raise InvalidInput.of(
            "database",
            f"is no URL of a PostgreSQL database ({problem}); "
            "write postgresql://USER:PASSWORD@HOST:5432/NAME",
            "unknown_database",
        ) from None


def conninfo(url: str) -> str:
    """What to connect with: the URL, and ``CONNECT`` where it says nothing."""
    return make_conninfo("", **(CONNECT | parts_of(url)))


def make_engine(url: str, *, prepare: bool = True) -> Engine:
    """An engine whose connections are in autocommit mode: transactions are begun by hand."""
    parameters = conninfo(url)

    def connect() -> psycopg.Connection[Any]:
        made = psycopg.connect(
            parameters, autocommit=True, prepare_threshold=1 if prepare else None
        )
        # Ids are text in this program.
        made.adapters.register_loader("uuid", TextLoader)
        return made

    return create_engine(
        "postgresql+psycopg://",
        creator=connect,
        poolclass=NullPool,
        isolation_level="AUTOCOMMIT",
    )


@contextmanager
def transaction(conn: Connection, begin: str) -> Iterator[None]:
    """Commit what is done in the block, or undo it where the block or the commit raises."""
    driver = raw(conn)
    driver.execute(begin)
    try:
        yield
        driver.execute("COMMIT")
    except BaseException:
        with suppress(psycopg.Error):
            if driver.info.transaction_status is not TransactionStatus.IDLE:
                driver.execute("ROLLBACK")
        raise


class PostgresDatabase:
    """``Database`` on PostgreSQL.

    As many connections as threads at most: some that write for users, some for the engine, some
    that read, and one that keeps the lease, however busy the others are. A connection that
    reported trouble is closed, and the next call opens another.
    """

    def __init__(self, url: str, *, prepare: bool = True, stall: Millis = STALL) -> None:
        self._begin_write = begin_write(stall)
        self._engine = make_engine(url, prepare=prepare)
        self.name = shown(url)
        self._idle: list[Connection] = []
        self._busy: set[Connection] = set()
        self._is_cut_off = False
        self._lock = Lock()
        self._threads: dict[str, ThreadPoolExecutor] = {}

    async def open(self) -> None:
        """Make the threads; they and the connections start when they are needed."""
        if not self._threads:
            self._is_cut_off = False
            self._threads = {
                name: ThreadPoolExecutor(count, f"tocsin-store-{name}")
                for name, count in THREADS.items()
            }

    async def close(self) -> None:
        """Finish what was begun, as far as the server answers, and let go of the connections."""
        threads, self._threads = self._threads, {}

        def finish() -> None:
            impatience = Timer(CLOSE_WITHIN, self._cut_off)
            impatience.start()
            for pool in threads.values():
                pool.shutdown(wait=True)
            impatience.cancel()
            with self._lock:
                idle, self._idle = self._idle, []
            for conn in idle:
                _close(conn)
            self._engine.dispose()

        # Whoever waits for the end may be cancelled; the end itself may not.
        await asyncio.shield(asyncio.get_running_loop().run_in_executor(None, finish))

    def prepare(self, conn: Connection) -> None:
        """Check the schema."""
        migrations.require_head(conn, self.name)

    async def write(self, work: Callable[[Connection], T]) -> T:
        """Run work that may write."""
        return await self._run("write", lambda: self._repeated(work))

    async def write_first(self, work: Callable[[Connection], T]) -> T:
        """Run work of the engine that may write."""
        return await self._run("engine", lambda: self._repeated(work))

    async def write_at_once(self, work: Callable[[Connection], T]) -> T:
        """Run short work for which calls wait, on a connection of its own."""
        return await self._run("at_once", lambda: self._repeated(work))

    async def read(self, work: Callable[[Connection], T]) -> T:
        """Run work that only reads, and sees one state of the database."""
        return await self._run("read", lambda: self._once(BEGIN_READ, work))

    async def renew(self, work: Callable[[Connection], T]) -> T:
        """Run work that keeps a lease, on a connection of its own."""
        return await self._run("lease", lambda: self._repeated(work))

    async def time(self) -> Millis:
        """The server's clock, in one round trip: how long that takes is how well it is known."""
        return await self._run("lease", lambda: self._on_connection(database_time))

    async def _run(self, name: str, work: Callable[[], T]) -> T:
        if not self._threads:
            raise StoreUnavailable(f"the database {self.name} is not open")
        return await asyncio.get_running_loop().run_in_executor(self._threads[name], work)

    def _repeated(self, work: Callable[[Connection], T]) -> T:
        for _ in range(REPEAT_AT_MOST - 1):
            try:
                return self._once(self._begin_write, work)
            except StoreError as error:
                if error.__cause__ is None or not is_conflict(error.__cause__):
                    raise
        return self._once(self._begin_write, work)

    def _once(self, begin: str, work: Callable[[Connection], T]) -> T:
        def whole(conn: Connection) -> T:
            with transaction(conn, begin):
                return work(conn)

        return self._on_connection(whole)

    def _on_connection(self, work: Callable[[Connection], T]) -> T:
        conn: Connection | None = None
        try:
            conn = self._connection()
            result = work(conn)
        except BaseException as error:
            if conn is not None:
                self._put_back(conn)
            better = wrapped(error, self.name) if isinstance(error, Exception) else None
            if better is None:
                raise
            raise better from error
        self._put_back(conn)
        return result

    def _connection(self) -> Connection:
        conn = self._idle_connection() or self._engine.connect()
        with self._lock:
            if not self._is_cut_off:
                self._busy.add(conn)
                return conn
        _close(conn)
        raise StoreUnavailable(f"the database {self.name} is closed")

    def _idle_connection(self) -> Connection | None:
        while True:
            with self._lock:
                if not self._idle:
                    return None
                idle = self._idle.pop()
            if not _has_news(idle):
                return idle
            _close(idle)

    def _cut_off(self) -> None:
        """Wake threads that wait for an answer: the stream ends by which it would come."""
        with self._lock:
            self._is_cut_off = True
            for conn in self._busy:
                with suppress(Exception), socket.socket(fileno=os.dup(raw(conn).fileno())) as ours:
                    ours.shutdown(socket.SHUT_RDWR)

    def _put_back(self, conn: Connection) -> None:
        with self._lock:
            self._busy.discard(conn)
        # Where SQLAlchemy has seen that it is broken, asking it for the driver's would raise.
        driver = None if conn.invalidated else conn.connection.driver_connection
        if (
            driver is None
            or driver.closed
            or driver.info.transaction_status is not TransactionStatus.IDLE
        ):
            _close(conn)
            return
        with self._lock:
            self._idle.append(conn)


def _has_news(conn: Connection) -> bool:
    """Whether the server has said something unasked, which is nearly always that it hangs up."""
    with suppress(Exception):
        waiting = select.poll()
        waiting.register(raw(conn).fileno(), select.POLLIN)
        return bool(waiting.poll(0))
    return True


def _close(conn: Connection) -> None:
    with suppress(Exception):
        conn.invalidate()
    with suppress(Exception):
        conn.close()
