"""Columns of a batch as PostgreSQL's array literals.

A statement that takes its rows as one array per column costs one round trip and one plan for any
number of rows. The driver would write these arrays too, at several times the cost per value.
See https://www.postgresql.org/docs/current/arrays.html#ARRAYS-INPUT.
"""

from collections.abc import Iterable, Sequence
from typing import Any


def array(values: Iterable[Any]) -> str:
    """An array of numbers, booleans, ids or texts; ``None`` is null."""
    return "{" + ",".join(map(_element, values)) + "}"


def columns(rows: Sequence[Sequence[Any]]) -> list[str]:
    """The rows of a batch, which are equally long and at least one, as one array per column."""
    return [array(column) for column in zip(*rows, strict=True)]


def _element(value: Any) -> str:
    if value is None:
        return "NULL"
    if value is True:
        return "t"
    if value is False:
        return "f"
    if isinstance(value, int):
        return str(value)
    if "\0" in value:
        raise ValueError("PostgreSQL holds no text with a NUL character")
    escaped: str = value.replace("\\", "\\\\").replace('"', '\\"')
    return f'"{escaped}"'
