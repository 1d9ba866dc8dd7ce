"""Schedules in words."""

from datetime import date
from functools import lru_cache
from typing import assert_never

from tocsin.domain.instant import DAY, MINUTE, Millis
from tocsin.domain.schedule.cron_syntax import read_cron
from tocsin.domain.schedule.cron_words import MONTH_NAMES, cron_words
from tocsin.domain.schedule.kinds import At, Cron, Every, Kind
from tocsin.domain.schedule.zones import local_moment

_UNITS = (
    ("day", 86_400_000),
    ("hour", 3_600_000),
    ("minute", 60_000),
    ("second", 1_000),
    ("millisecond", 1),
)

_EPOCH_ORDINAL = date(1970, 1, 1).toordinal()


def describe(
    kind: Kind,
    *,
    timezone: str,
    starts_at: Millis | None,
    ends_at: Millis | None,
    jitter: Millis,
) -> str:
    """A schedule as a sentence without a full stop. Times are in its zone, which is named."""
    match kind:
        case Cron(expression=expression):
            text = f"{_sentence(cron_words(read_cron(expression)))}, {timezone}"
        case Every(interval=interval):
            text = _sentence(_every(interval))
        case At(instant=instant):
            text = once(instant, timezone)
        case _:
            assert_never(kind)
    bounds = [
        f"{word} {_moment(instant, timezone)}"
        for word, instant in (("from", starts_at), ("until", ends_at))
        if instant is not None
    ]
    if bounds:
        zone = f" ({timezone})" if isinstance(kind, Every) else ""
        text += f", {' '.join(bounds)}{zone}"
    if jitter:
        text += f", up to {duration_words(jitter)} later"
    return text


def once(instant: Millis, timezone: str) -> str:
    """The sentence of a schedule that is nothing but an instant."""
    return f"Once, on {_moment(instant, timezone)} ({timezone})"


def duration_words(duration: Millis) -> str:
    """A duration in words: ``1 hour 30 minutes``."""
    words = []
    for unit, size in _UNITS:
        count, duration = divmod(duration, size)
        if count:
            words.append(f"{count} {unit}{'' if count == 1 else 's'}")
    return " ".join(words) or "0 seconds"


def _every(interval: Millis) -> str:
    words = duration_words(interval)
    first, _, rest = words.partition(" ")
    return f"every {rest}" if first == "1" and " " not in rest else f"every {words}"


# Jobs of a batch fire at thousands of instants, but on few days.
@lru_cache(maxsize=512)
def _date(day: int) -> str:
    one = date.fromordinal(_EPOCH_ORDINAL + day)
    return f"{one.day} {MONTH_NAMES[one.month - 1]} {one.year}"


def _moment(instant: Millis, timezone: str) -> str:
    if timezone == "UTC" and instant % MINUTE == 0:
        day, minute = instant // DAY, instant % DAY // MINUTE
        return f"{_date(day)} at {minute // 60:02}:{minute % 60:02}"
    local = local_moment(instant, timezone)
    on = f"{local.day} {MONTH_NAMES[local.month - 1]} {local.year}"
    text = f"{on} at {local.hour:02}:{local.minute:02}"
    if ms := instant % 1_000:
        return f"{text}:{local.second:02}.{ms:03}"
    return f"{text}:{local.second:02}" if local.second else text


def _sentence(text: str) -> str:
    return text[0].upper() + text[1:]
