"""The schema of a SQLite file: creating it, bringing it up to date, checking it."""

import contextlib
import os
import time
from functools import cache

from sqlalchemy import Connection
from sqlalchemy.dialects import sqlite as dialect
from sqlalchemy.schema import CreateIndex, CreateTable, DDLElement

from tocsin.domain.errors import StoreUnavailable
from tocsin.store import migrations
from tocsin.store.sqlite.engine import BUSY_TIMEOUT, MEMORY, connect, transaction
from tocsin.store.sqlite.errors import wrapped
from tocsin.store.sqlite.statements import raw
from tocsin.store.tables import metadata

PAUSE = 0.05
"""Seconds between two tries to open a file that another process is creating."""


def migrate(path: str) -> bool:
    """Create the file where there is none and bring its tables up to date.

    Returns whether anything was changed. All steps are one transaction, and a process that comes
    second waits for the first. Raises ``SchemaMismatch`` where the file is newer than this
    program, ``StoreCorrupt``, ``StoreFull`` or ``StoreUnavailable``.
    """
    try:
        _make_private(path)
        conn = _connect_patiently(path)
        try:
            with transaction(conn, "BEGIN IMMEDIATE"):
                return migrations.upgrade(conn, path)
        finally:
            conn.close()
    except Exception as error:
        better = wrapped(error, path)
        if better is None:
            raise
        raise better from error


def _make_private(path: str) -> None:
    """Make an empty file that only its owner may read; it holds what jobs send, and to whom.

    SQLite would make one as the umask has it. What it puts beside it has the mode of the file.
    """
    if path == MEMORY:
        return
    # Whatever is wrong with the place is said by SQLite.
    with contextlib.suppress(OSError):
        os.close(os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600))


def check(path: str) -> None:
    """Raise ``SchemaMismatch`` unless the tables of a file are those of this program."""
    try:
        conn = connect(path, "rw")
        try:
            migrations.require_head(conn, path)
        finally:
            conn.close()
    except Exception as error:
        better = wrapped(error, path)
        if better is None:
            raise
        raise better from error


def create_tables(conn: Connection) -> None:
    """Create all tables at once, for a database in memory: no history, no Alembic."""
    for statement in _statements():
        raw(conn).execute(statement)


@cache
def _statements() -> tuple[str, ...]:
    made: list[DDLElement] = []
    for table in metadata.sorted_tables:
        made.append(CreateTable(table))
        made += [CreateIndex(index) for index in table.indexes]
    return tuple(str(statement.compile(dialect=dialect.dialect())) for statement in made)


def _connect_patiently(path: str) -> Connection:
    """Connect; a change of the journal mode does not wait for locks as other statements do."""
    give_up = time.monotonic() + BUSY_TIMEOUT / 1_000
    while True:
        try:
            return connect(path, "rwc")
        except Exception as error:
            locked = isinstance(wrapped(error, path), StoreUnavailable)
            if not (locked and "lock" in str(error)) or time.monotonic() >= give_up:
                raise
        time.sleep(PAUSE)
