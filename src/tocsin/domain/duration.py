"""Durations: lengths of time in milliseconds, and their text."""

import math
import re
from decimal import Decimal
from functools import lru_cache

from tocsin.domain.instant import Millis

MAX_DURATION: Millis = 36_525 * 86_400_000
"""The longest duration that can be written: 100 years of 365.25 days."""

_ACCEPTED = "a duration such as 30s, 1h30m, 500ms, 2d or PT30S, or a number of seconds"
_MAX_TEXT = 64
_NUMBER = r"(\d+(?:[.,]\d+)?)"
_UNITS = (("w", 604_800_000), ("d", 86_400_000), ("h", 3_600_000), ("m", 60_000), ("s", 1_000))
_WORDS = re.compile(
    r"\s*".join(f"(?:{_NUMBER}{unit})?" for unit, _ in _UNITS) + rf"\s*(?:{_NUMBER}ms)?",
    re.ASCII | re.IGNORECASE,
)
_ISO = re.compile(
    rf"P(?:{_NUMBER}W)?(?:{_NUMBER}D)?"
    rf"(?:T(?=\d)(?:{_NUMBER}H)?(?:{_NUMBER}M)?(?:{_NUMBER}S)?)?",
    re.ASCII | re.IGNORECASE,
)
_ISO_CALENDAR = re.compile(r"P[\d.,]*(\d+[YM])[^T]*(T.*)?", re.ASCII | re.IGNORECASE)
_SECONDS = re.compile(_NUMBER, re.ASCII)
_WORD_SIZES = (*(size for _, size in _UNITS), 1)
_ISO_SIZES = _WORD_SIZES[:5]
_FORMAT = tuple((unit, size) for unit, size in (*_UNITS[1:], ("ms", 1)))


def parse_duration(value: str | int | float) -> Millis:
    """Read a duration: ``1h30m`` (largest unit first), ISO 8601 (``P1DT2H``), or seconds.

    Units are ``w d h m s ms``; a day has 24 hours. Numbers, also written as text, are seconds,
    and a float is rounded to the millisecond. The result is 0 to `MAX_DURATION`. Raises
    ``ValueError``, saying what is accepted: for any other form, negative or longer durations,
    text that is finer than a millisecond, and the years and months of ISO 8601, which have no
    fixed length.
    """
    exact: Decimal | int
    if isinstance(value, str):
        if len(value) > _MAX_TEXT:
            raise ValueError(f"is too long: expected {_ACCEPTED}")
        exact = _from_text(value)
    elif isinstance(value, int) and not isinstance(value, bool):
        exact = value * 1_000
    elif isinstance(value, float) and math.isfinite(value):
        exact = round(value * 1_000) if abs(value) <= MAX_DURATION else -1
    else:
        raise ValueError(f"is not {_ACCEPTED}")
    if not 0 <= exact <= MAX_DURATION:
        raise ValueError(f"is out of range: 0s to {format_duration(MAX_DURATION)} is accepted")
    ms = int(exact)
    if ms != exact:
        raise ValueError(f"{value!r} is finer than a millisecond, the smallest step there is")
    return ms


@lru_cache(maxsize=1024)
def _from_text(text: str) -> Decimal:
    stripped = text.strip()
    if _SECONDS.fullmatch(stripped):
        return Decimal(stripped.replace(",", ".")) * 1_000
    for pattern, sizes in ((_WORDS, _WORD_SIZES), (_ISO, _ISO_SIZES)):
        match = pattern.fullmatch(stripped)
        if match is not None and any(match.groups()):
            return sum(
                (
                    Decimal(number.replace(",", ".")) * size
                    for number, size in zip(match.groups(), sizes, strict=True)
                    if number
                ),
                start=Decimal(0),
            )
    if _ISO_CALENDAR.fullmatch(stripped):
        raise ValueError(
            f"{text!r} has years or months, which have no fixed length: expected {_ACCEPTED}"
        )
    raise ValueError(f"{text!r} is not {_ACCEPTED}")


@lru_cache(maxsize=1_024)  # Millions of jobs share a handful of durations.
def format_duration(duration: Millis) -> str:
    """Write a duration in days and smaller units, such as ``1h30m`` or ``1s500ms``; 0 is ``0s``.

    `parse_duration` reads it back exactly. Raises ``ValueError`` where it is negative.
    """
    if duration < 0:
        raise ValueError("a duration is never negative")
    if duration == 0:
        return "0s"
    text = ""
    for unit, size in _FORMAT:
        count, duration = divmod(duration, size)
        if count:
            text += f"{count}{unit}"
    return text
