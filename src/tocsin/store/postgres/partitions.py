"""The days of ``executions``.

The table is partitioned by id, and an id begins with the fire time, so that each UTC day is a
table of its own: made some days ahead, dropped as a whole when its history is old enough. What no
day takes (a fire time of weeks ago, found after an outage) goes to ``executions_default``.

Attaching and dropping a day need a lock on the whole table for a moment. They wait for it only so
long that nobody behind them notices, and otherwise try again later.
"""

from datetime import UTC, datetime

import structlog
from psycopg.errors import LockNotAvailable, QueryCanceled
from sqlalchemy import Connection

from tocsin.domain.instant import DAY, Millis
from tocsin.store.postgres.errors import original
from tocsin.store.postgres.statements import database_time, raw
from tocsin.store.sql.ids import first_id

log = structlog.stdlib.get_logger("tocsin.store")

AHEAD = 7
"""Days that are made ahead."""

LOCK_FOR = 100
"""Milliseconds to wait for a lock on the table."""

SCAN_FOR = 1_000
"""Milliseconds to look through the default table for rows of a new day, with the lock held."""

DEFAULT = "executions_default"
_PREFIX = "executions_p"
_LOCK = 7_308_604_895_131_414  # "execs", so that two nodes do not do the same.

_DAYS = """
    SELECT c.relname FROM pg_inherits i JOIN pg_class c ON c.oid = i.inhrelid
    WHERE i.inhparent = 'executions'::regclass ORDER BY c.relname"""


def days(conn: Connection) -> list[Millis]:
    """The starts of all days that have a table, oldest first."""
    names = [str(row[0]) for row in raw(conn).execute(_DAYS)]
    return sorted(_start_of(name) for name in names if name.startswith(_PREFIX))


def missing(conn: Connection) -> list[Millis]:
    """The starts of days that should have a table by now."""
    now = database_time(conn)
    today = now - now % DAY
    known = set(days(conn))
    wanted = [today + number * DAY for number in range(-1, AHEAD + 1)]
    return [day for day in wanted if day not in known]


def make(conn: Connection, day: Millis) -> bool:
    """Add the table of a day, in a transaction of its own.

    ``False`` where it cannot be now: another node is at it, the lock is not to be had, or fires of
    this day lie in the default table already, where they stay.
    """
    driver = raw(conn)
    if not _mine(conn):
        return False
    name, start, end = _name(day), first_id(day), first_id(day + DAY)
    driver.execute(f"SET LOCAL lock_timeout = {LOCK_FOR}")
    found = driver.execute("SELECT to_regclass(%s)", (name,)).fetchone()
    strays = driver.execute(
        f"SELECT 1 FROM {DEFAULT} WHERE id >= %s AND id < %s LIMIT 1",  # noqa: S608
        (start, end),
    ).fetchone()
    if found != (None,) or strays is not None:
        return False
    # Attached empty: creating it as a partition would lock the table for all of that.
    driver.execute(f"CREATE TABLE {name} (LIKE executions INCLUDING ALL)")
    driver.execute(f"SET LOCAL statement_timeout = {SCAN_FOR}")
    driver.execute(
        f"ALTER TABLE executions ATTACH PARTITION {name} FOR VALUES FROM ('{start}') TO ('{end}')"
    )
    return True


def drop(conn: Connection, day: Millis) -> bool:
    """Drop the table of a day, in a transaction of its own; ``False`` where that cannot be now.

    Never while something of it is not finished.
    """
    driver = raw(conn)
    # Another node may have been faster.
    if not _mine(conn) or day not in days(conn) or _has_live(conn, day):
        return False
    name = _name(day)
    driver.execute(f"SET LOCAL lock_timeout = {LOCK_FOR}")
    driver.execute(f"ALTER TABLE executions DETACH PARTITION {name}")
    if _has_live(conn, day):
        # It came between the look and the lock.
        raise _StillLive
    driver.execute(f"DROP TABLE {name}")
    return True


class _StillLive(Exception):
    """Undoes a transaction."""


def is_passing(error: BaseException) -> bool:
    """Whether an error of ``make`` or ``drop`` only says: later."""
    return isinstance(original(error), LockNotAvailable | QueryCanceled | _StillLive)


def _mine(conn: Connection) -> bool:
    return raw(conn).execute("SELECT pg_try_advisory_xact_lock(%s)", (_LOCK,)).fetchone() == (True,)


def _has_live(conn: Connection, day: Millis) -> bool:
    query = f"SELECT 1 FROM {_name(day)} WHERE finished_at IS NULL LIMIT 1"  # noqa: S608
    return raw(conn).execute(query).fetchone() is not None


def _name(day: Millis) -> str:
    return f"{_PREFIX}{datetime.fromtimestamp(day / 1_000, UTC):%Y%m%d}"


def _start_of(name: str) -> Millis:
    day = datetime.strptime(name.removeprefix(_PREFIX), "%Y%m%d").replace(tzinfo=UTC)
    return int(day.timestamp()) * 1_000
