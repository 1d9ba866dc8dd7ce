"""Rows of a batch as PostgreSQL's ``COPY`` takes them.

The server reads such rows for two thirds of the cost of arrays, and adds them to their table many
at once. But it takes two round trips, and knows no ``ON CONFLICT``.
See https://www.postgresql.org/docs/current/sql-copy.html, "Text Format".
"""

from collections.abc import Sequence
from typing import Any, Final

from tocsin.store.postgres.arrays import checked_integers, checked_texts

ENOUGH: Final = 100
"""Rows for which it pays."""

_ESCAPES: Final = (("\\", "\\\\"), ("\n", "\\n"), ("\r", "\\r"), ("\t", "\\t"))
"""The backslash first, since the others bring their own."""


def copied(rows: Sequence[Sequence[Any]]) -> bytes:
    """Rows, which are equally long and at least one; ``None`` is null.

    Raises ``ValueError`` for a text that PostgreSQL cannot hold and ``OverflowError`` for an
    integer that no column can.
    """
    shown = map(_column, zip(*rows, strict=True))
    return ("\n".join(map("\t".join, zip(*shown, strict=True))) + "\n").encode()


def _column(values: tuple[Any, ...]) -> Sequence[str]:
    kinds = set(map(type, values))
    if len(kinds) == 1:
        (kind,) = kinds
        # The jobs of a batch have the same in half of their columns.
        if values.count(values[0]) == len(values):
            return (_field(values[0]),) * len(values)
        if issubclass(kind, str):
            return _texts(values)
        if kind is int:
            checked_integers(values)
            return tuple(map(str, values))
    return tuple(map(_field, values))


def _texts(values: tuple[str, ...]) -> Sequence[str]:
    whole = joined = checked_texts(values)
    for plain, escaped in _ESCAPES:
        if plain in joined:
            joined = joined.replace(plain, escaped)
    return values if joined is whole else joined.split("\0")


def _field(value: Any) -> str:
    if value is None:
        return "\\N"
    if value is True:
        return "t"
    if value is False:
        return "f"
    if isinstance(value, int):
        checked_integers((value,))
        return str(value)
    return _texts((value,))[0]
