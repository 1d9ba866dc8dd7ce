"""The schema of a PostgreSQL database: creating it, bringing it up to date, checking it."""

from collections.abc import Iterator
from contextlib import contextmanager

from sqlalchemy import Connection

from tocsin.store import migrations
from tocsin.store.postgres import partitions
from tocsin.store.postgres.database import make_engine, shown, transaction
from tocsin.store.postgres.errors import wrapped
from tocsin.store.postgres.statements import raw

_LOCK = 8_389_209_319_006_466_419
"""Who migrates holds this; who comes second waits, and finds nothing to do."""


def migrate(url: str) -> bool:
    """Bring the tables of a database, which must exist, up to date.

    Returns whether anything was changed. All steps are one transaction. Raises ``SchemaMismatch``
    where the database is newer than this program, and ``StoreUnavailable``.
    """
    with _connected(url) as conn:
        with transaction(conn, "BEGIN"):
            raw(conn).execute("SELECT pg_advisory_xact_lock(%s)", (_LOCK,))
            changed = migrations.upgrade(conn, shown(url))
        for day in partitions.missing(conn):
            try:
                with transaction(conn, "BEGIN"):
                    partitions.make(conn, day)
            except Exception as error:
                if not partitions.is_passing(error):
                    raise
        return changed


def check(url: str) -> None:
    """Raise ``SchemaMismatch`` unless the tables of a database are those of this program."""
    with _connected(url) as conn:
        migrations.require_head(conn, shown(url))


@contextmanager
def _connected(url: str) -> Iterator[Connection]:
    engine = make_engine(url)
    try:
        with engine.connect() as conn:
            yield conn
    except Exception as error:
        better = wrapped(error, shown(url))
        if better is None:
            raise
        raise better from error
    finally:
        engine.dispose()
