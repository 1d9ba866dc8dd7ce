"""How close two fires of a cron expression can be."""

from collections.abc import Iterable
from datetime import date, timedelta
from itertools import pairwise

from tocsin.domain.instant import SECOND, Millis
from tocsin.domain.schedule.cron_syntax import CronFields, DayRule

_DAY = 86_400
_ONE_DAY = timedelta(days=1)


def shortest_gap(fields: CronFields) -> Millis:
    """The shortest time between two fire times that follow each other on the clock of the wall.

    Changes of the clock are left out: what is called a day here is one of 24 hours.
    """
    seconds, minutes, hours = (
        sorted(field.values) for field in (fields.second, fields.minute, fields.hour)
    )
    of_minute = seconds[-1] - seconds[0]
    of_hour = of_minute + 60 * (minutes[-1] - minutes[0])
    of_day = of_hour + 3_600 * (hours[-1] - hours[0])
    gaps = [
        *_gaps(seconds),
        *(60 * gap - of_minute for gap in _gaps(minutes)),
        *(3_600 * gap - of_hour for gap in _gaps(hours)),
    ]
    over_night = _DAY - of_day
    if not gaps or over_night < min(gaps):
        gaps.append(over_night + _DAY * (_days_apart(fields.day_rule) - 1))
    return min(gaps) * SECOND


def _gaps(values: list[int]) -> Iterable[int]:
    return (later - earlier for earlier, later in pairwise(values))


def _days_apart(rule: DayRule) -> int:
    """The fewest days from one date that matches to the next one; 366 where more than a year."""
    if rule.every_day:
        return 1
    fewest, last = 366, None
    day = date(2001, 1, 1)
    # Four years that follow each other have every length of month, and dates on most weekdays.
    for number in range(4 * 366):
        if day.month in rule.months and rule.matches(day):
            if last is not None:
                fewest = min(fewest, number - last)
            if fewest == 1:
                break
            last = number
        day += _ONE_DAY
    return fewest
