"""Which store a database URL names."""

from typing import Literal

from tocsin.domain.errors import InvalidInput
from tocsin.domain.instant import Millis
from tocsin.store import postgres, sqlite
from tocsin.store.port import Store

_FILE = "sqlite:///"
_SERVER = ("postgresql://", "postgres://")


def kind_of(database: str) -> Literal["sqlite", "postgresql"]:
    """The kind of database; raises ``InvalidInput`` (field ``database``) for what is none."""
    if database.startswith(_SERVER):
        return "postgresql"
    if not database.startswith(_FILE) or database == _FILE:
        secret = "@" in database or "password" in database.lower()
        scheme, colon, _ = database.partition(":")
        shown = database if not secret else f"{scheme}://…" if colon else "…"
        raise _unknown(
            f"{shown!r} is not a database; write sqlite:///FILE or "
            "postgresql://USER:PASSWORD@HOST:5432/NAME"
        )
    if database == f"{_FILE}:memory:":
        raise _unknown(
            "a database in memory would forget everything at the end; write sqlite:///FILE"
        )
    return "sqlite"


def file_of(database: str) -> str | None:
    """The file of an embedded database; ``None`` where a server keeps it."""
    return database.removeprefix(_FILE) if kind_of(database) == "sqlite" else None


def make_store(database: str, *, prepare: bool, lease_ttl: Millis) -> Store:
    """The store, not open yet; its tables must be there: ``migrate``."""
    if kind_of(database) == "sqlite":
        return sqlite.SqliteStore(database.removeprefix(_FILE))
    return postgres.PostgresStore(database, prepare=prepare, stall=lease_ttl)


def make_notices(database: str) -> postgres.Notices | None:
    """What carries messages between the nodes of a database; ``None`` where it cannot."""
    return postgres.Notices(database) if kind_of(database) == "postgresql" else None


def migrate(database: str) -> bool:
    """Bring the tables to the version of this program; whether anything was changed.

    Raises a ``StoreError``.
    """
    if kind_of(database) == "sqlite":
        return sqlite.migrate(database.removeprefix(_FILE))
    return postgres.migrate(database)


def check(database: str) -> None:
    """Raise ``SchemaMismatch`` where a migration is due; changes nothing."""
    if kind_of(database) == "sqlite":
        sqlite.check(database.removeprefix(_FILE))
    else:
        postgres.check(database)


def _unknown(message: str) -> InvalidInput:
    return InvalidInput.of("database", message, "unknown_database")
