"""Time zones: finding them by name, and the stretches in which their offset does not change."""

from datetime import UTC, datetime
from difflib import get_close_matches
from functools import lru_cache
from typing import NamedTuple
from zoneinfo import ZoneInfo, available_timezones

from tocsin.domain.instant import MAX_INSTANT, Millis, format_instant

_DAY = 86_400
_CHUNK = 32 * _DAY
_MAX_CHUNKS = 64
# Local time must not run over the year 9999 either; nobody changes clocks on its last days.
_LAST_PROBE = MAX_INSTANT // 1_000 - 2 * _DAY
_NOT_ZONES = frozenset({"localtime", "Factory"})  # what they mean differs between machines
_MAX_NAME = 64


class Stretch(NamedTuple):
    """A stretch of time, in seconds since the epoch, in which a zone's offset stays the same.

    `end` is excluded; at `end` the next stretch starts, with the same offset or another.
    `before` is the offset that held until `start`, the same as `offset` where the clocks did not
    change at `start`.
    """

    start: int
    end: int
    offset: int
    before: int


class ZoneOffsets:
    """The offsets of one zone, found once and remembered for a bounded number of stretches."""

    def __init__(self, zone: ZoneInfo) -> None:
        self.zone = zone
        self._chunks: dict[int, tuple[Stretch, ...]] = {}

    def stretch(self, second: int) -> Stretch:
        """The stretch around an instant, given in seconds since the epoch (from 0).

        `Stretch.start` is exact where the clocks changed in the two days before `second`.
        """
        number = second // _CHUNK
        chunk = self._chunks.get(number)
        if chunk is None:
            chunk = self._explore(number)
            if len(self._chunks) >= _MAX_CHUNKS:
                self._chunks.clear()
            self._chunks[number] = chunk
        for stretch in chunk:
            if second < stretch.end:
                return stretch
        raise AssertionError("the stretches of a chunk reach to its end")

    def offset_at(self, instant: Millis) -> Millis:
        """How far local time is ahead of UTC at an instant."""
        return self._offset(max(0, instant // 1_000)) * 1_000

    def _offset(self, second: int) -> int:
        offset = datetime.fromtimestamp(min(second, _LAST_PROBE), self.zone).utcoffset()
        assert offset is not None  # noqa: S101 - a ZoneInfo always knows
        return offset.days * _DAY + offset.seconds

    def _explore(self, number: int) -> tuple[Stretch, ...]:
        # One look per day finds every change: since 1970 and in the rules for the future, no
        # zone of the tz database has changed its offset twice within six days. It starts two
        # days early, to know about a change shortly before.
        end = (number + 1) * _CHUNK
        start = max(0, number * _CHUNK - 2 * _DAY)
        offset = before = self._offset(start)
        found = []
        for day in range(start + _DAY, end + 1, _DAY):
            if self._offset(day) != offset:
                change = self._change_within(day - _DAY, day, offset)
                found.append(Stretch(start, change, offset, before))
                start, before = change, offset
                offset = self._offset(change)
        if start < end:
            found.append(Stretch(start, end, offset, before))
        return tuple(found)

    def _change_within(self, low: int, high: int, offset: int) -> int:
        while high - low > 1:
            middle = (low + high) // 2
            if self._offset(middle) == offset:
                low = middle
            else:
                high = middle
        return high


@lru_cache(maxsize=1)
def zone_names() -> frozenset[str]:
    """The names of all zones that this machine knows."""
    return frozenset(available_timezones() - _NOT_ZONES)


def check_zone(name: str) -> None:
    """Raise ``ValueError``, naming the nearest known zones, where there is no such zone."""
    if name in zone_names():
        return
    if len(name) > _MAX_NAME:
        raise ValueError(f"is longer than any time zone's name ({_MAX_NAME} characters)")
    hint = "" if not (near := _near_zones(name)) else f"; did you mean {' or '.join(near)}?"
    raise ValueError(f"{name!r} is not a time zone; an IANA name is, such as Europe/Berlin{hint}")


def _near_zones(name: str) -> list[str]:
    # People get the case wrong, or know the city and not the continent.
    wanted = name.strip().replace(" ", "_").lower()
    lowered = {known.lower(): known for known in sorted(zone_names())}
    if wanted in lowered:
        return [lowered[wanted]]
    cities = [known for low, known in lowered.items() if low.rpartition("/")[2] == wanted]
    if cities:
        return cities[:3]
    return [lowered[low] for low in get_close_matches(wanted, lowered, n=3, cutoff=0.7)]


@lru_cache(maxsize=1024)
def zone_offsets(name: str) -> ZoneOffsets:
    """The offsets of the zone with this name.

    Raises ``ValueError`` for a name that this machine does not know, which for a stored schedule
    means that its time zone database is older than that of the machine that stored it.
    """
    try:
        return ZoneOffsets(ZoneInfo(name))
    except (KeyError, OSError, ValueError):
        raise ValueError(
            f"the time zone {name!r} is not known here: bring the tzdata package up to date"
        ) from None


def local_text(instant: Millis, zone_name: str) -> str:
    """An instant as RFC 3339 in a zone's local time, with the offset: 2026-12-24T19:00:00+01:00.

    Where local time would run over the year 9999, it is given in UTC.
    """
    second, ms = divmod(instant, 1_000)
    if second > _LAST_PROBE:
        return format_instant(instant)
    local = datetime.fromtimestamp(second, zone_offsets(zone_name).zone)
    if ms:
        return local.replace(microsecond=ms * 1_000).isoformat(timespec="milliseconds")
    return local.isoformat()


def local_moment(instant: Millis, zone_name: str) -> datetime:
    """An instant as a local time, for people to read; in UTC at the very end of the year 9999."""
    second = instant // 1_000
    zone = UTC if second > _LAST_PROBE else zone_offsets(zone_name).zone
    return datetime.fromtimestamp(second, zone)
