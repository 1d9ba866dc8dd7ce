"""Connections to one SQLite file, and transactions on them."""

import sqlite3
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from threading import Lock
from typing import Literal, TypeAlias, TypeVar

from sqlalchemy import Connection, Engine, FromClause, create_engine
from sqlalchemy.dialects.sqlite.base import SQLiteCompiler
from sqlalchemy.pool import NullPool

from tocsin.domain.errors import StoreError, StoreUnavailable
from tocsin.store.sqlite.errors import wrapped

MEMORY = ":memory:"

BUSY_TIMEOUT = 5_000
"""Milliseconds that a statement waits for another program's lock."""

CHECKPOINT_PAGES = 4_000
"""Pages of 4 KiB in the write-ahead log at which it is copied into the file: the default of 1,000
would copy each page of a busy index several times as often."""

JOURNAL_BYTES = 64 * 1024 * 1024
"""What the log is cut down to after a peak."""

WRITER_CACHE_KIB = 32 * 1024
READER_CACHE_KIB = 8 * 1024

Mode: TypeAlias = Literal["rw", "rwc"]
T = TypeVar("T")


class _Compiler(SQLiteCompiler):
    """Passes on hints of the kind ``INDEXED BY``, which SQLAlchemy's dialect leaves out."""

    def get_from_hint_text(self, table: FromClause, text: str | None) -> str | None:  # noqa: ARG002
        """The text of a hint, as it stands after its table."""
        return text


def connect(path: str, mode: Mode, *, reader: bool = False) -> Connection:
    """Open a connection in autocommit mode; ``rw`` refuses to create the file.

    Transactions are begun by hand: what the driver and SQLAlchemy do by themselves would begin
    one that writes with a read lock, which cannot be upgraded while another program writes.
    """
    name = MEMORY if path == MEMORY else f"{Path(path).absolute().as_uri()}?mode={mode}"

    def make() -> sqlite3.Connection:
        made = sqlite3.connect(
            name,
            uri=path != MEMORY,
            timeout=BUSY_TIMEOUT / 1_000,
            isolation_level=None,
            # A connection is used by one thread at a time, but closed by another.
            check_same_thread=False,
            cached_statements=512,
        )
        try:
            _configure(made, path, reader=reader)
        except BaseException:
            made.close()
            raise
        return made

    engine: Engine = create_engine(
        "sqlite://", creator=make, poolclass=NullPool, isolation_level="AUTOCOMMIT"
    )
    engine.dialect.statement_compiler = _Compiler
    return engine.connect()


def _configure(made: sqlite3.Connection, path: str, *, reader: bool) -> None:
    # Once in a file, the mode stays.
    mode = made.execute("PRAGMA journal_mode = WAL").fetchone()[0]
    if mode not in {"wal", "memory"}:
        raise StoreUnavailable(
            f"the file system of {path} does not support a write-ahead log (the mode is {mode}); "
            "put the database on a local disk"
        )
    # A commit is on the disk when it returns.
    made.execute("PRAGMA synchronous = FULL")
    made.execute(f"PRAGMA cache_size = -{READER_CACHE_KIB if reader else WRITER_CACHE_KIB}")
    made.execute("PRAGMA temp_store = MEMORY")
    if reader:
        made.execute("PRAGMA query_only = ON")
    else:
        made.execute(f"PRAGMA wal_autocheckpoint = {CHECKPOINT_PAGES}")
        made.execute(f"PRAGMA journal_size_limit = {JOURNAL_BYTES}")


@contextmanager
def transaction(conn: Connection, begin: str) -> Iterator[None]:
    """Commit what is done in the block, or undo it where the block or the commit raises."""
    driver = conn.connection.driver_connection
    assert isinstance(driver, sqlite3.Connection)  # noqa: S101  # tells the type
    driver.execute(begin)
    try:
        yield
        driver.execute("COMMIT")
    except BaseException:
        # After some errors SQLite has rolled back by itself.
        if driver.in_transaction:
            with suppress(sqlite3.Error):
                driver.execute("ROLLBACK")
        raise


class Connections:
    """One connection that writes and some that read, opened when they are needed.

    ``write`` must not be called by two threads at once, ``read`` may be. A connection that
    reported an error of the database is closed, and the next call opens another: so whatever was
    wrong (a full disk, a replaced file) is over as soon as its cause is.
    """

    def __init__(self, path: str) -> None:
        self.path = path
        self._writer: Connection | None = None
        self._idle: list[Connection] = []
        self._lock = Lock()
        self._closed = True

    def open(self) -> None:
        """Allow connections."""
        self._closed = False

    def close(self) -> None:
        """Close all connections; nobody may be using one."""
        self._closed = True
        with self._lock:
            idle, self._idle = self._idle, []
        writer, self._writer = self._writer, None
        for conn in (*idle, writer):
            if conn is not None:
                _close(conn)

    def write(self, work: Callable[[Connection], T]) -> T:
        """Run work in a transaction that may write."""
        with self._errors():
            conn = self._writer
            if conn is None:
                conn = self._writer = connect(self.path, "rw")
            try:
                with transaction(conn, "BEGIN IMMEDIATE"):
                    return work(conn)
            except Exception as error:
                if _is_of_database(error) and self.path != MEMORY:
                    self._writer = None
                    _close(conn)
                raise

    def read(self, work: Callable[[Connection], T]) -> T:
        """Run work in a transaction that sees one state of the database and cannot write."""
        if self.path == MEMORY:
            return self.write(work)
        with self._errors():
            with self._lock:
                conn = self._idle.pop() if self._idle else None
            if conn is None:
                conn = connect(self.path, "rw", reader=True)
            try:
                with transaction(conn, "BEGIN"):
                    result = work(conn)
            except BaseException as error:
                if isinstance(error, Exception) and _is_of_database(error):
                    _close(conn)
                else:
                    self._put_back(conn)
                raise
            self._put_back(conn)
            return result

    def _put_back(self, conn: Connection) -> None:
        with self._lock:
            self._idle.append(conn)

    @contextmanager
    def _errors(self) -> Iterator[None]:
        if self._closed:
            raise StoreUnavailable(f"the database {self.path} is not open")
        try:
            yield
        except Exception as error:
            better = wrapped(error, self.path)
            if better is None:
                raise
            raise better from error


def _is_of_database(error: Exception) -> bool:
    """Whether a connection is better not used again."""
    return isinstance(wrapped(error, ""), StoreError)


def _close(conn: Connection) -> None:
    with suppress(sqlite3.Error):
        conn.close()
