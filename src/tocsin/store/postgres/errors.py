"""What PostgreSQL and psycopg report, as errors of Tocsin that name the database and the remedy."""

import psycopg
from psycopg import errors as pg
from sqlalchemy.exc import DBAPIError

from tocsin.domain.errors import (
    InvalidInput,
    SchemaMismatch,
    StoreCorrupt,
    StoreError,
    StoreFull,
    StoreUnavailable,
    TocsinError,
)

# https://www.postgresql.org/docs/current/errcodes-appendix.html
_DISK_FULL = "53100"
_READ_ONLY = "25006"
_ENDED = ("25P03", "25P04")
"""Sessions that the server has ended because a transaction took too long."""
_CORRUPT = ("XX001", "XX002")
_NO_TABLE = ("42P01", "42703", "3F000")
_REFUSED = ("28", "42501", "3D000")
_CONFLICTS = (pg.DeadlockDetected, pg.SerializationFailure, pg.UniqueViolation)


def original(error: BaseException) -> BaseException:
    """The driver's error below one of SQLAlchemy."""
    if isinstance(error, DBAPIError) and isinstance(error.orig, psycopg.Error):
        return error.orig
    return error


def is_conflict(error: BaseException) -> bool:
    """Whether a transaction was ended for the sake of another, and may succeed if it is repeated.

    Two at once that add the same row are among them: the second finds it the next time.
    """
    return isinstance(original(error), _CONFLICTS)


def wrapped(error: Exception, name: str) -> TocsinError | None:
    """The error to raise instead; ``None`` where it is not one of the database."""
    found = original(error)
    if isinstance(found, UnicodeEncodeError):
        return InvalidInput.of("", "holds text that is not Unicode (a lone surrogate)")
    if not isinstance(found, psycopg.Error):
        return None
    if isinstance(found, psycopg.DataError) and not found.sqlstate:
        return InvalidInput.of("", f"holds what PostgreSQL cannot store: {found}")
    return _of_state(found.sqlstate or "", " ".join(str(found).split()), name, found)


def _of_state(state: str, message: str, name: str, error: psycopg.Error) -> StoreError:
    if state == _DISK_FULL:
        return StoreFull(
            f"the database {name} has no space left ({message}); free some on its server, and "
            "Tocsin goes on by itself"
        )
    if state in _CORRUPT:
        return StoreCorrupt(
            f"the database {name} reports damaged data ({message}); restore it from a backup"
        )
    if state in _NO_TABLE:
        return SchemaMismatch(
            f"the tables in {name} are not those of this program ({message}); run: tocsin migrate"
        )
    if state == _READ_ONLY:
        return StoreUnavailable(
            f"the database {name} is read-only ({message}): it is a standby, or an administrator "
            "has made it so; name the primary, or several hosts with target_session_attrs="
            "read-write"
        )
    if state.startswith(_REFUSED):
        return StoreUnavailable(
            f"the database {name} refuses this user ({message}); check the name and password in "
            "the URL, and that the user owns the database or may create tables in it"
        )
    if state in _ENDED or isinstance(error, psycopg.OperationalError | psycopg.InterfaceError):
        return StoreUnavailable(f"the database {name} cannot be reached or is busy: {message}")
    return StoreError(f"the database {name} refused a statement: {message}")
