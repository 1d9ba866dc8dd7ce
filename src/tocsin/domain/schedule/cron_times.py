"""The fire times of a cron expression in a time zone.

The rule for clock changes is Debian cron's. An expression of five fields whose minute and hour
do not start with ``*`` names times of the day, and each fires once: where the clocks skip it, at
the change; where they repeat it, the first time only. Any other expression is compared with local
time as it goes by: it does not fire in what is skipped, and again in what is repeated.

cronsim decides what an expression matches, but the walk through time is done here, on integers.
Where cronsim's iterator arrives depends on where it starts: around clock changes it may return
instants before its start, and miss some (in Australia/Lord_Howe, whose clocks change by half an
hour, ``* 8 * * *`` starts at 08:30 on the day of a change). A scheduler needs the same answer
from every start, or a restart would lose fires. Away from clock changes both agree, which a
property test holds; and this is ten times faster.
"""

from bisect import bisect_right
from calendar import monthrange
from datetime import date
from functools import lru_cache

from tocsin.domain.instant import MAX_INSTANT, Millis
from tocsin.domain.schedule.cron_syntax import CronFields, read_cron
from tocsin.domain.schedule.zones import ZoneOffsets, zone_offsets

_DAY = 86_400
_TWO_DAYS = 2 * _DAY
_EPOCH_ORDINAL = date(1970, 1, 1).toordinal()
_LAST_DAY = date.max.toordinal() - _EPOCH_ORDINAL
_LAST_SECOND = MAX_INSTANT // 1_000
# The rarest dates, such as a Monday that is the 29th of February, are at most 40 years apart.
# cronsim gives up after 50 years, too.
_HORIZON_DAYS = 50 * 366
_WINDOW = 4  # fire times
_AHEAD = 3_600  # seconds


class CronTimes:
    """The fire times of one expression in one zone. They lie on whole seconds.

    It keeps a short run of consecutive fire times, so that jobs that fire together, and the
    repeated questions about one fire, are answered by a bisection.
    """

    __slots__ = (
        "_all_days",
        "_days",
        "_fixed",
        "_hours",
        "_minutes",
        "_offsets",
        "_seconds",
        "_start",
        "_window",
    )

    def __init__(self, fields: CronFields, offsets: ZoneOffsets) -> None:
        self._offsets = offsets
        self._fixed = fields.fixed
        self._days = fields.day_rule
        self._all_days = fields.day_rule.every_day and len(fields.day_rule.months) == 12
        self._hours = _ceilings(fields.hour.values, 24)
        self._minutes = _ceilings(fields.minute.values, 60)
        self._seconds = _ceilings(fields.second.values, 60)
        self._start = self._minutes[0] * 60 + self._seconds[0]
        self._window: list[int] = []

    def next_after(self, instant: Millis) -> Millis | None:
        """The smallest fire time after an instant, or None if there is none within 50 years.

        There are no fire times before 1970 or after 9999.
        """
        second = instant // 1_000
        window = self._window  # one read: a thread may put another in its place meanwhile
        index = bisect_right(window, second)
        if 0 < index < len(window):
            return window[index] * 1_000
        found = self._next_second(second)
        if found is None:
            return None
        # Jobs ask for what follows on their last fire time: then it pays to work ahead, but no
        # further than the near future, which another job may share. Someone who asks about
        # another time altogether gets one answer.
        fresh = [second, found]
        if window and second == window[-1]:
            while len(fresh) <= _WINDOW and fresh[-1] < second + _AHEAD:
                following = self._next_second(fresh[-1])
                if following is None:
                    break
                fresh.append(following)
        self._window = fresh
        return found * 1_000

    def _next_second(self, second: int) -> int | None:
        """The smallest fire time after `second`, both in seconds since the epoch."""
        at = max(second + 1, 0)
        horizon = at + _HORIZON_DAYS * _DAY
        while at <= min(horizon, _LAST_SECOND):
            start, end, offset, before = self._offsets.stretch(at)
            # Walls are local times, as seconds since 1970-01-01 on the local clock.
            wall = at + offset
            if self._fixed:
                # Those before `start + before` have been on the clock already. At the change
                # itself those that it skips are made up for.
                fresh = start + before
                wall = fresh if at == start else max(wall, fresh)
            match = self._next_wall(wall)
            if match is None:
                return None
            found = max(match - offset, at)
            if found < end:
                return found if found <= _LAST_SECOND else None
            # Offsets are shorter than a day, so they differ by less than two. From two days after
            # `at`, until two days before `found`, no local time lies outside of the run
            # that was just seen to be empty.
            at = end if end <= at + _TWO_DAYS else max(end, found - _TWO_DAYS)
        return None

    def _next_wall(self, wall: int) -> int | None:
        """The first local time from `wall` on that the expression matches."""
        day, second = divmod(wall, _DAY)
        if self._matches(day):
            time = self._time_from(second)
            if time is not None:
                return day * _DAY + time
        next_day = self._day_after(day)
        if next_day is None:
            return None
        return next_day * _DAY + self._hours[0] * 3_600 + self._start

    def _time_from(self, second: int) -> int | None:
        """The first matching time of the day from `second` of the day on."""
        minute, s = divmod(second, 60)
        h, m = divmod(minute, 60)
        hour = self._hours[h]
        if hour == h:
            minute = self._minutes[m]
            if minute == m:
                found = self._seconds[s]
                if found >= 0:
                    return h * 3_600 + m * 60 + found
                minute = self._minutes[m + 1]
            if minute >= 0:
                return h * 3_600 + minute * 60 + self._seconds[0]
            hour = self._hours[h + 1]
        return None if hour < 0 else hour * 3_600 + self._start

    def _matches(self, day: int) -> bool:
        if self._all_days:
            return True
        if day > _LAST_DAY:
            return False
        as_date = date.fromordinal(day + _EPOCH_ORDINAL)
        rule = self._days
        return as_date.month in rule.months and (rule.every_day or rule.matches(as_date))

    def _day_after(self, day: int) -> int | None:
        """The first matching day after `day`, both in days since 1970-01-01."""
        if self._all_days:
            return day + 1
        rule = self._days
        last = min(day + _HORIZON_DAYS, _LAST_DAY)
        day += 1
        while day <= last:
            as_date = date.fromordinal(day + _EPOCH_ORDINAL)
            if as_date.month not in rule.months:
                # To the first of the next month.
                day += monthrange(as_date.year, as_date.month)[1] - as_date.day + 1
            elif rule.every_day or rule.matches(as_date):
                return day
            else:
                day += 1
        return None


@lru_cache(maxsize=1024)
def _ceilings(values: tuple[int, ...], size: int) -> tuple[int, ...]:
    """For each number up to `size`, the first value that is not below it, or -1."""
    found: list[int] = []
    for i in range(size, -1, -1):
        found.append(i if i in values else found[-1] if found else -1)
    return tuple(reversed(found))


@lru_cache(maxsize=8192)
def cron_times(expression: str, timezone: str) -> CronTimes:
    """The fire times of an expression in a zone, shared by all that ask for them.

    Raises ``ValueError`` for an expression that `read_cron` refuses and for an unknown zone.
    """
    return CronTimes(read_cron(expression), zone_offsets(timezone))
