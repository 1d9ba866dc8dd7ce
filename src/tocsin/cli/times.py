"""Instants and lengths of time as people read and write them."""

import re
import time
from datetime import UTC, datetime, timedelta, tzinfo
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from tocsin.domain.duration import parse_duration
from tocsin.domain.instant import Millis, format_instant, parse_instant

_RELATIVE = re.compile(r"(?:in\s+|\+\s*)(.+)", re.IGNORECASE)
_CLOCK = re.compile(r"(\d{1,2}):(\d\d)(?::(\d\d))?")
_DATE = re.compile(r"(\d{4}-\d\d-\d\d)(?:[T ](\d{1,2}):(\d\d)(?::(\d\d))?)?")
_STEPS = (("d", 86_400_000), ("h", 3_600_000), ("m", 60_000), ("s", 1_000))


def now_ms() -> Millis:
    """The present instant."""
    return time.time_ns() // 1_000_000


def read_instant(text: str, *, now: Millis, zone: tzinfo | None = None) -> Millis:
    """An instant as people write it.

    RFC 3339 (``2026-12-24T18:00:00Z``), a date and time without an offset (``2026-12-24 18:00``) or
    a time of day (``18:00``: the next one), both in ``zone`` (by default that of this machine),
    and a distance (``in 15m``, ``+1h30m``, ``now``). Raises ``ValueError``, saying what is
    accepted.
    """
    text = text.strip()
    if text.lower() == "now":
        return now
    if relative := _RELATIVE.fullmatch(text):
        return now + parse_duration(relative[1])
    if clock := _CLOCK.fullmatch(text):
        hour, minute, second = (int(part or 0) for part in clock.groups())
        today = datetime.fromtimestamp(now / 1_000, zone).replace(tzinfo=None)
        day = _moment(today.year, today.month, today.day, hour, minute, second)
        instant = _resolve(day, zone)
        return instant if instant > now else _resolve(day + timedelta(days=1), zone)
    if date := _DATE.fullmatch(text):
        year, month, day_of_month = (int(part) for part in date[1].split("-"))
        hour, minute, second = (int(part or 0) for part in date.groups()[1:])
        return _resolve(_moment(year, month, day_of_month, hour, minute, second), zone)
    try:
        return parse_instant(text)
    except ValueError:
        raise ValueError(
            f"{text!r} is not an instant such as 2026-12-24T18:00:00Z, '2026-12-24 18:00', "
            "18:00 or 'in 15m'"
        ) from None


def read_zone(name: str | None) -> tzinfo | None:
    """The time zone of that name; ``None`` for that of this machine. Raises ``ValueError``."""
    if name is None:
        return None
    try:
        return ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError, OSError):
        raise ValueError(f"{name!r} is not a time zone such as Europe/Berlin or UTC") from None


def short_span(ms: float) -> str:
    """A length of time in at most two units, for tables: ``3m``, ``2h 5m``, ``12d``, ``0s``."""
    whole = int(abs(ms))
    for index, (unit, size) in enumerate(_STEPS):
        count, rest = divmod(whole, size)
        if count == 0:
            continue
        if count < 10 and unit in "dh":
            small_unit, small = _STEPS[index + 1]
            if rest >= small:
                return f"{count}{unit} {rest // small}{small_unit}"
        return f"{count}{unit}"
    return "0s"


def relative(instant: str | None, now: Millis) -> str:
    """How far away an instant of the API is: ``in 3m``, ``2h 5m ago``, ``now``."""
    if instant is None:
        return ""
    distance = parse_instant(instant) - now
    if abs(distance) < 1_000:
        return "now"
    span = short_span(distance)
    return f"in {span}" if distance > 0 else f"{span} ago"


def in_zone(instant: str, zone: tzinfo | None) -> str:
    """An instant of the API as a local time with its weekday and the zone's abbreviation."""
    moment = datetime.fromtimestamp(parse_instant(instant) / 1_000, UTC).astimezone(zone)
    fraction = f".{moment.microsecond // 1_000:03}" if moment.microsecond else ""
    return f"{moment:%a %Y-%m-%d %H:%M:%S}{fraction} {moment:%Z}"


def milliseconds(ms: float | None) -> str:
    """A measured length of time: ``0.8 ms``, ``12 ms``, ``1.25 s``, ``3m 20s``."""
    if ms is None:
        return ""
    if ms < 10:
        return f"{ms:.1f} ms"
    if ms < 1_000:
        return f"{ms:.0f} ms"
    if ms < 60_000:
        return f"{ms / 1_000:.2f} s"
    minutes, rest = divmod(int(ms), 60_000)
    return f"{minutes}m {rest // 1_000}s"


def _moment(*parts: int) -> datetime:
    try:
        return datetime(*parts)  # type: ignore[arg-type]  # noqa: DTZ001  # the zone is given later
    except ValueError as error:
        raise ValueError(f"no such date or time: {error}") from None


def _resolve(moment: datetime, zone: tzinfo | None) -> Millis:
    """The instant of a local time; refuses those that a clock change leaves out or repeats."""
    first, second = (moment.replace(fold=fold, tzinfo=zone).timestamp() for fold in (0, 1))
    if first != second:
        back = datetime.fromtimestamp(first, zone).replace(tzinfo=None)
        where = f"in {zone}" if zone is not None else "here"
        if back != moment:
            raise ValueError(f"{moment} does not exist {where}: the clocks go forward then")
        raise ValueError(f"{moment} happens twice {where}: add an offset, such as +02:00")
    instant = int(first * 1_000)
    format_instant(instant)  # raises where it is out of range
    return instant
