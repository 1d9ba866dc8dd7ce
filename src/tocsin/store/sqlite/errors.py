"""What SQLite reports, as errors of Tocsin that name the file and the remedy."""

import sqlite3

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

# https://www.sqlite.org/rescode.html
_BUSY, _LOCKED, _PROTOCOL = 5, 6, 15
_ERROR, _PERM, _NOMEM, _READONLY, _IOERR, _CORRUPT, _FULL, _CANTOPEN = 1, 3, 7, 8, 10, 11, 13, 14
_AUTH, _NOTADB = 23, 26
_IOERR_CORRUPTFS = _IOERR | (33 << 8)
_NO_ROOM = frozenset(
    # A quota or a limit on the size of files is reported as a failed write, a file system that
    # cannot lengthen the shared memory as the second, one that reserves space late as the third.
    _IOERR | (code << 8)
    for code in (3, 19, 6)  # IOERR_WRITE, IOERR_SHMSIZE, IOERR_TRUNCATE
)


def wrapped(error: Exception, path: str) -> TocsinError | None:
    """The error to raise instead; ``None`` where it is not one of the database."""
    if isinstance(error, DBAPIError) and isinstance(error.orig, Exception):
        error = error.orig
    if isinstance(error, UnicodeEncodeError):
        return InvalidInput.of("", "holds text that is not Unicode (a lone surrogate)")
    if isinstance(error, OverflowError):
        return InvalidInput.of("", "holds a number beyond 64 bits")
    if not isinstance(error, sqlite3.Error):
        return None
    code = getattr(error, "sqlite_errorcode", 0)
    return _of_code(code, str(error), path)


def _of_code(code: int, message: str, path: str) -> StoreError:
    primary = code & 0xFF
    if primary in {_BUSY, _LOCKED, _PROTOCOL}:
        return StoreUnavailable(
            f"the database {path} is locked by another program ({message}); "
            "close what else has it open, such as a shell or a backup"
        )
    if primary == _FULL or code in _NO_ROOM:
        return StoreFull(
            f"the database {path} cannot be written: no space is left on its file system, or a "
            f"quota is reached ({message}); free some space, and Tocsin goes on by itself"
        )
    if primary in {_CORRUPT, _NOTADB} or code == _IOERR_CORRUPTFS:
        return StoreCorrupt(
            f"the file {path} is damaged, or is no SQLite database ({message}); restore it from a "
            "backup, or save what can be read with: sqlite3 FILE .recover"
        )
    if primary == _IOERR:
        return StoreUnavailable(
            f"reading or writing the database {path} failed ({message}); "
            "check the disk and the system's log"
        )
    if primary in {_CANTOPEN, _READONLY, _PERM, _AUTH}:
        return StoreUnavailable(
            f"the database {path} cannot be opened for writing ({message}); check that its "
            "directory exists, and that this user may write to both the file and the directory"
        )
    if primary == _NOMEM:
        return StoreUnavailable(f"there is no memory left for the database {path} ({message})")
    if primary == _ERROR and "no such " in message:
        return SchemaMismatch(
            f"the tables in {path} are not those of this program ({message}); run: tocsin migrate"
        )
    if "closed database" in message:
        return StoreUnavailable(f"the database {path} is closed")
    return StoreError(f"the database {path} refused a statement: {message}")
