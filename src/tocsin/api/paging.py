"""Cursors: where a page ended, opaque to clients."""

import base64
import binascii

import orjson

from tocsin.domain.errors import InvalidInput
from tocsin.domain.instant import Millis
from tocsin.domain.key import ApiKey
from tocsin.services.ids import looks_like_uuid
from tocsin.store.port import Cursor, JobSort

DEFAULT_LIMIT = 100
MAX_LIMIT = 1_000
MAX_CURSOR = 1_000
"""Characters of a cursor."""

_EXECUTIONS = "executions"
_KEYS = "keys"
_AUDIT = "audit"
_MAX_INT = 2**53
_WITH_REST = frozenset({JobSort.NEXT_FIRE, JobSort.LAST_RESULT})
"""Orders in which some jobs have no place, and come last."""


def job_cursor(cursor: Cursor | None, sort: JobSort, *, descending: bool) -> str | None:
    """A cursor into a list of jobs; it fits lists of the same order only."""
    return None if cursor is None else _encode(_order(sort, descending=descending), cursor)


def read_job_cursor(text: str | None, sort: JobSort, *, descending: bool) -> Cursor | None:
    """The reverse of ``job_cursor``; raises ``InvalidInput`` for any other text."""
    if text is None:
        return None
    cursor = _decode(text, _order(sort, descending=descending))
    if len(cursor) != 2 or not isinstance(cursor[1], str) or not looks_like_uuid(cursor[1]):
        raise _bad_cursor()
    key = cursor[0]
    if sort is JobSort.NAME:
        fits = isinstance(key, str) and len(key) <= 100
    else:
        fits = _is_instant(key) or (sort in _WITH_REST and key is None)
    if not fits:
        raise _bad_cursor()
    return cursor


def execution_cursor(cursor: Cursor | None, *, ascending: bool) -> str | None:
    """A cursor into a list of executions."""
    return None if cursor is None else _encode(_by_id(ascending=ascending), cursor)


def read_execution_cursor(text: str | None, *, ascending: bool) -> Cursor | None:
    """The reverse of ``execution_cursor``; raises ``InvalidInput`` for any other text."""
    if text is None:
        return None
    cursor = _decode(text, _by_id(ascending=ascending))
    if len(cursor) != 1 or not isinstance(cursor[0], str) or not looks_like_uuid(cursor[0]):
        raise _bad_cursor()
    return cursor


def key_cursor(key: ApiKey) -> str:
    """A cursor into a list of keys, after one."""
    return _encode(_KEYS, (key.created_at, key.id))


def read_key_cursor(text: str | None) -> tuple[Millis, str] | None:
    """The creation and the id of a list's last key; raises ``InvalidInput`` for any other text."""
    if text is None:
        return None
    cursor = _decode(text, _KEYS)
    if len(cursor) != 2 or not _is_instant(cursor[0]) or not isinstance(cursor[1], str):
        raise _bad_cursor()
    return int(cursor[0] or 0), cursor[1]


def audit_cursor(last: str | None) -> str | None:
    """A cursor into the audit log, after an entry."""
    return None if last is None else _encode(_AUDIT, (last,))


def read_audit_cursor(text: str | None) -> str | None:
    """The id of a page's last entry; raises ``InvalidInput`` for any other text."""
    if text is None:
        return None
    cursor = _decode(text, _AUDIT)
    if len(cursor) != 1 or not isinstance(cursor[0], str) or not looks_like_uuid(cursor[0]):
        raise _bad_cursor()
    return cursor[0]


def _order(sort: JobSort, *, descending: bool) -> str:
    return f"-{sort.value}" if descending else sort.value


def _by_id(*, ascending: bool) -> str:
    return f"{_EXECUTIONS}+" if ascending else f"{_EXECUTIONS}-"


def _encode(order: str, cursor: Cursor) -> str:
    return base64.urlsafe_b64encode(orjson.dumps([order, *cursor])).decode().rstrip("=")


def _decode(text: str, order: str) -> Cursor:
    try:
        # The standard decoder skips what is not in its alphabet, so the way back is checked.
        raw = base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))
        if base64.urlsafe_b64encode(raw).decode().rstrip("=") != text:
            raise _bad_cursor()
        value = orjson.loads(raw)
    except (binascii.Error, ValueError):
        raise _bad_cursor() from None
    if not isinstance(value, list) or not value or value[0] != order:
        raise _bad_cursor()
    return tuple(value[1:])


def _is_instant(key: object) -> bool:
    return isinstance(key, int) and not isinstance(key, bool) and 0 <= key <= _MAX_INT


def _bad_cursor() -> InvalidInput:
    return InvalidInput.of(
        "cursor",
        "is not a next_cursor of this list in this order; start again without it",
        "bad_cursor",
    )
