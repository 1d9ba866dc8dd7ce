"""Columns of a batch as PostgreSQL's array literals.

A statement that takes its rows as one array per column costs one round trip and one plan for any
number of rows. The driver would write these arrays too, at many times the cost per value: here a
column of texts is escaped as one text.
See https://www.postgresql.org/docs/current/arrays.html#ARRAYS-INPUT.
"""

from collections.abc import Iterable, Sequence
from typing import Any, Final

_BIGGEST: Final = (1 << 63) - 1


def array(values: Iterable[Any]) -> str:
    """An array of numbers, booleans, ids or texts; ``None`` is null.

    Raises ``ValueError`` for a text that PostgreSQL cannot hold and ``OverflowError`` for an
    integer that no column can.
    """
    column = values if isinstance(values, tuple) else tuple(values)
    kinds = set(map(type, column))
    if len(kinds) == 1:
        (kind,) = kinds
        if issubclass(kind, str):
            return _texts(column)
        if kind is int:
            return _integers(column)
    return "{" + ",".join(map(_element, column)) + "}"


def columns(rows: Sequence[Sequence[Any]]) -> list[str]:
    """The rows of a batch, which are equally long and at least one, as one array per column."""
    return [array(column) for column in zip(*rows, strict=True)]


def checked_texts(column: tuple[str, ...]) -> str:
    """Texts, joined by what none may hold; raises ``ValueError`` where PostgreSQL cannot."""
    joined = "\0".join(column)
    if joined.count("\0") != len(column) - 1:
        raise ValueError("PostgreSQL holds no text with a NUL character")
    if not joined.isascii():
        joined.encode()  # A lone surrogate is no text.
    return joined


def checked_integers(column: tuple[int, ...]) -> None:
    """Raise ``OverflowError`` for an integer that no column can hold."""
    if min(column) < -_BIGGEST or max(column) > _BIGGEST:
        raise OverflowError("an integer beyond 64 bits")


def _texts(column: tuple[str, ...]) -> str:
    joined = checked_texts(column)
    if "\\" in joined:
        joined = joined.replace("\\", "\\\\")
    if '"' in joined:
        joined = joined.replace('"', '\\"')
    return '{"' + joined.replace("\0", '","') + '"}'


def _integers(column: tuple[int, ...]) -> str:
    checked_integers(column)
    return "{" + ",".join(map(str, column)) + "}"


def _element(value: Any) -> str:
    if value is None:
        return "NULL"
    if value is True:
        return "t"
    if value is False:
        return "f"
    if isinstance(value, int):
        return _integers((value,))[1:-1]
    return _texts((value,))[1:-1]
