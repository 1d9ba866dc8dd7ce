"""Ids of jobs and executions as the database compares them."""

import re
from collections import Counter
from collections.abc import Iterable
from typing import Final

from tocsin.domain.instant import Millis

CHUNK: Final = 500
"""Values in one IN list."""

_UUID = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")
_LAST = "ffffffff-ffff-ffff-ffff-ffffffffffff"


def is_id(text: str) -> bool:
    """Whether this can be an id: PostgreSQL raises an error where another text is compared."""
    return _UUID.fullmatch(text) is not None


def repeated(ids: Iterable[str]) -> set[str]:
    """Those that come more than once."""
    return {one for one, count in Counter(ids).items() if count > 1}


def first_id(instant: Millis) -> str:
    """The smallest id that an execution with this fire time or a later one can have."""
    if instant >= 1 << 48:
        return _LAST
    time = format(max(instant, 0), "012x")
    return f"{time[:8]}-{time[8:]}-0000-0000-000000000000"
