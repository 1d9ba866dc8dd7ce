"""Ids of jobs: UUIDs of version 7, which sort by the time of their making."""

import os
import re
from collections.abc import Callable, Iterator

from tocsin.domain.instant import Millis

_UUID = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}", re.IGNORECASE)
_NAME = re.compile(r"[a-z0-9][a-z0-9._-]{0,99}")
_DRAWN = 256
_TAIL_BITS = 74
_LOW_BITS = 62
_LOW = (1 << _LOW_BITS) - 1
_VARIANT = 2 << _LOW_BITS
_MIDDLE = (1 << _TAIL_BITS - _LOW_BITS) - 1


class Uuid7:
    """Makes ids, each greater than the one before (RFC 9562, sections 5.7 and 6.2 method 2)."""

    def __init__(
        self, now: Callable[[], Millis], entropy: Callable[[int], bytes] = os.urandom
    ) -> None:
        self._now = now
        self._entropy = entropy
        self._time = -1
        self._middle = 0
        """The first 12 of the bits that count up."""
        self._head = ""
        """The text of the time's 48 bits, the version, and the 12."""
        self._low = 0
        """The other 62."""
        self._steps: Iterator[int] = iter(())

    def __call__(self) -> str:
        """A new id."""
        now = self._now()
        if now > self._time:
            self._begin(now)
            low = self._low
        else:
            # Within a millisecond (or where the clock was set back): a random step upwards.
            step = next(self._steps, None)
            if step is None:
                step = self._draw()
            low = self._low + 1 + step
            if low > _LOW:
                low = self._carry(low)
            self._low = low
        text = f"{low + _VARIANT:016x}"
        return f"{self._head}{text[:4]}-{text[4:]}"

    def _begin(self, time: Millis) -> None:
        """Begin a millisecond anew."""
        self._time = time
        # The top bit is left free, so that there is room to count up from here.
        tail = int.from_bytes(self._entropy(10), "big") >> (80 - _TAIL_BITS + 1)
        self._middle, self._low = tail >> _LOW_BITS, tail & _LOW
        self._write_head()

    def _carry(self, low: int) -> int:
        """Count on in the bits above; returns what is left in those below."""
        if self._middle == _MIDDLE:
            self._begin(self._time + 1)
            return self._low
        self._middle += 1
        self._write_head()
        return low & _LOW

    def _write_head(self) -> None:
        time = f"{self._time:012x}"
        self._head = f"{time[:8]}-{time[8:]}-7{self._middle:03x}-"

    def _draw(self) -> int:
        """32 random bits, drawn in bulk: a batch makes thousands of ids in a millisecond."""
        self._steps = iter(memoryview(self._entropy(4 * _DRAWN)).cast("I").tolist())
        return next(self._steps)


def read_ref(text: str) -> str | None:
    """The id or name that a text can be, ids in lower case; ``None`` where it can be neither."""
    if looks_like_uuid(text):
        return text.lower()
    return text if _NAME.fullmatch(text) else None


def is_name(text: str) -> bool:
    """Whether a text can be the name of a job."""
    return _NAME.fullmatch(text) is not None and not looks_like_uuid(text)


def looks_like_uuid(text: str) -> bool:
    """Whether a text has the shape of an id, whatever its version."""
    return len(text) == 36 and _UUID.fullmatch(text) is not None
