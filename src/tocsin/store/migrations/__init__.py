"""The history of the schema, and how a database is brought to its end.

``versions/`` holds one file per step, for both dialects. ``REVISIONS`` repeats their ids so that a
start need not load Alembic to see that there is nothing to do; a test compares the two, and
another the replayed steps with ``tables.metadata``.
"""

from pathlib import Path

from sqlalchemy import Connection, inspect, text

from tocsin.domain.errors import SchemaMismatch

REVISIONS = ("0001", "0003", "0004", "0005")
"""Oldest first."""

HEAD = REVISIONS[-1]

VERSION_TABLE = "alembic_version"


def current(conn: Connection) -> str | None:
    """The revision of a database; ``None`` where it has no tables of Tocsin."""
    if not inspect(conn).has_table(VERSION_TABLE):
        return None
    revision = conn.execute(
        text(f"SELECT version_num FROM {VERSION_TABLE}")  # noqa: S608  # a constant
    ).scalar()
    return None if revision is None else str(revision)


def require_head(conn: Connection, name: str) -> None:
    """Raise ``SchemaMismatch`` unless a database is at the newest revision."""
    revision = current(conn)
    if revision is None:
        raise SchemaMismatch(f"the database {name} has no tables yet; run: tocsin migrate")
    _refuse_newer(revision, name)
    if revision != HEAD:
        raise SchemaMismatch(
            f"the database {name} is at schema {revision}, this program needs {HEAD}; "
            "back it up, then run: tocsin migrate"
        )


def upgrade(conn: Connection, name: str) -> bool:
    """Bring a database to the newest revision, in the caller's transaction; whether it was not.

    Raises ``SchemaMismatch`` where it is newer than this program.
    """
    revision = current(conn)
    if revision == HEAD:
        return False
    if revision is not None:
        _refuse_newer(revision, name)
    # Loaded here: it takes longer than the rest of a start.
    from alembic import command
    from alembic.config import Config

    config = Config()
    config.set_main_option("script_location", str(Path(__file__).parent).replace("%", "%%"))
    config.attributes["connection"] = conn
    command.upgrade(config, "head")
    return True


def _refuse_newer(revision: str, name: str) -> None:
    if revision not in REVISIONS:
        raise SchemaMismatch(
            f"the database {name} is at schema {revision}, which this program does not know: a "
            "newer Tocsin has written it; update this program, or restore a backup"
        )
