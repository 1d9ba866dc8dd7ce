"""Cron expressions in words.

cronsim can explain an expression, but not the way people would say it: "every 15th minute of
every hour", "the 22th day of month", "every second minute" (the unit or the ordinal?), and "on
the 13th day of month and on Friday" where either of them is enough.
"""

from collections.abc import Sequence

from tocsin.domain.schedule.cron_field import LAST_WEEKDAY, CronField
from tocsin.domain.schedule.cron_syntax import CronFields

MONTH_NAMES = (
    "January",
    "February",
    "March",
    "April",
    "May",
    "June",
    "July",
    "August",
    "September",
    "October",
    "November",
    "December",
)
_DAY_NAMES = ("Sunday", "Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday")
_NTH = {-1: "last", 1: "first", 2: "second", 3: "third", 4: "fourth", 5: "fifth"}
_SIZES = {"second": 60, "minute": 60, "hour": 24}
_MAX_CLOCK_TIMES = 5
_MAX_LISTED_DAYS = 8


def cron_words(fields: CronFields) -> str:
    """What an expression means, starting in lower case: ``at 02:00 on Monday``."""
    date = _date(fields)
    if (times := _clock_times(fields)) is not None:
        return f"at {times} {date or 'every day'}"
    return f"{_time(fields)} {date}".rstrip()


# --- the time of the day


def _clock_times(fields: CronFields) -> str | None:
    """``02:00, 02:30 and 14:00``, where the times are few."""
    hours, minutes, seconds = fields.hour.values, fields.minute.values, fields.second.values
    if len(hours) * len(minutes) * len(seconds) > _MAX_CLOCK_TIMES:
        return None
    return _join([_clock(h, m, s) for h in hours for m in minutes for s in seconds])


def _clock(hour: int, minute: int, second: int = 0) -> str:
    return f"{hour:02}:{minute:02}" + (f":{second:02}" if second else "")


def _time(fields: CronFields) -> str:
    second, minute, hour = fields.second, fields.minute, fields.hour
    window = _window(minute, hour)
    steady_minutes = _steady("minute", minute)
    if second.values == (0,):
        if minute.values == (0,) and (steady_hours := _steady("hour", hour)):
            return steady_hours
        if minute.values == (0,) and _is_run(hour):
            return f"every hour from {_clock(hour.values[0], 0)} to {_clock(hour.values[-1], 0)}"
        if window:
            return f"every minute {window}"
        if not steady_minutes:
            return f"{_moments('minute', minute)} of {_spans('hour', hour)}"
        if _is_all("hour", hour):
            return steady_minutes
        if _is_run(hour):
            return f"{steady_minutes} {_hours_window(hour)}"
        return f"{steady_minutes} of {_spans('hour', hour)}"

    steady_seconds = _steady("second", second)
    text = steady_seconds or _moments("second", second)
    if window:
        return f"{text} {window}" if steady_seconds else f"{text} of every minute {window}"
    if not (steady_seconds and _is_all("minute", minute)):
        text += f" of {_spans('minute', minute)}"
    if steady_minutes and _is_all("hour", hour):
        return text
    return f"{text} of {_spans('hour', hour)}"


def _window(minute: CronField, hour: CronField) -> str | None:
    """``from 09:00 to 17:59``, where minutes and hours make one unbroken run."""
    if _is_all("minute", minute) and _is_run(hour) and not _is_all("hour", hour):
        return _hours_window(hour)
    if _is_run(minute) and len(minute.values) > 1 and len(hour.values) == 1:
        start, end = (_clock(hour.values[0], m) for m in (minute.values[0], minute.values[-1]))
        return f"from {start} to {end}"
    return None


def _hours_window(hour: CronField) -> str:
    return f"from {_clock(hour.values[0], 0)} to {_clock(hour.values[-1], 59)}"


def _steady(unit: str, field: CronField) -> str | None:
    """``every 15 minutes``, where the steps also fit across the end of the larger unit."""
    if _is_all(unit, field):
        return f"every {unit}"
    step = field.terms[0].step
    if len(field.terms) == 1 and field.terms[0].star and _SIZES[unit] % step == 0:
        # A step as long as the unit leaves a single value, which reads better as a moment.
        return f"every {step} {unit}s" if step < _SIZES[unit] else None
    return None


def _moments(unit: str, field: CronField) -> str:
    spans = _spans(unit, field)
    return spans if spans.startswith("every ") else f"at {spans}"


def _spans(unit: str, field: CronField) -> str:
    """``minute 5``, ``every minute from 10 to 15``, ``minutes 1, 2 and 30 to 40``."""
    if _is_all(unit, field):
        return f"every {unit}"
    if len(field.values) == 1:
        return f"{unit} {field.values[0]}"
    first = field.terms[0]
    if len(field.terms) == 1:
        which = f"every {unit}" if first.step == 1 else f"every {_ordinal(first.step)} {unit}"
        return which if first.star else f"{which} from {first.start} to {first.stop}"
    items = []
    for term in field.terms:
        text = str(term.start) if term.start == term.stop else f"{term.start} to {term.stop}"
        items.append(text if term.step == 1 else f"every {_ordinal(term.step)} from {text}")
    return f"{unit}s {_join(items)}"


def _is_all(unit: str, field: CronField) -> bool:
    return len(field.values) == _SIZES[unit]


def _is_run(field: CronField) -> bool:
    return field.values[-1] - field.values[0] == len(field.values) - 1


# --- the date


def _date(fields: CronFields) -> str:
    months = _months(fields.month)
    rule = fields.day_rule
    if rule.every_day:
        # With clock times this reads "at 02:00 every day in January".
        return f"{'every day ' if _clock_times(fields) else ''}in {months}" if months else ""
    any_day = len(fields.day.values) == 31
    any_weekday = len({value % 7 for value in fields.weekday.values}) == 7
    if any_weekday:
        return f"on {_days(fields.day)} of {months or 'the month'}"
    if any_day:
        return f"on {_weekdays(fields.weekday)}" + (f" in {months}" if months else "")
    if rule.both:
        weekdays = _weekdays(fields.weekday, last="or")
        return f"on {_days(fields.day)} of {months or 'the month'} when that is {weekdays}"
    text = f"on {_days(fields.day)} of the month or on {_weekdays(fields.weekday)}"
    return text + (f", in {months}" if months else "")


def _months(field: CronField) -> str:
    """``January``, ``March through May``; nothing where all months match."""
    if len(field.values) == 12:
        return ""
    if len(field.values) > 2 and _is_run(field):
        return f"{MONTH_NAMES[field.values[0] - 1]} through {MONTH_NAMES[field.values[-1] - 1]}"
    return _join([MONTH_NAMES[month - 1] for month in field.values])


def _days(field: CronField) -> str:
    """``the 1st, the 15th and the last day``."""
    values = field.values
    special = [
        "the last weekday" if term.nth == LAST_WEEKDAY else "the last day"
        for term in dict.fromkeys(field.terms)
        if term.nth
    ]
    if len(values) > 2 and _is_run(field):
        return _join([f"the {_ordinal(values[0])} through the {_ordinal(values[-1])}", *special])
    if len(values) > _MAX_LISTED_DAYS and len(field.terms) == 1:
        first = field.terms[0]
        return (
            f"every {_ordinal(first.step)} day from the {_ordinal(values[0])} to the "
            f"{_ordinal(values[-1])}"
        )
    return _join([*(f"the {_ordinal(day)}" for day in values), *special])


def _weekdays(field: CronField, *, last: str = "and") -> str:
    """``Monday through Friday``, ``the first Monday of the month``."""
    values = sorted({value % 7 or 7 for value in field.values})  # Sunday ends the week
    special = [
        f"the {_NTH[term.nth]} {_DAY_NAMES[term.start % 7]} of the month"
        for term in dict.fromkeys(field.terms)
        if term.nth
    ]
    names = [_DAY_NAMES[value % 7] for value in values]
    if len(values) > 2 and values[-1] - values[0] == len(values) - 1:
        names = [f"{names[0]} through {names[-1]}"]
    return _join([*names, *special], last)


def _join(words: Sequence[str], last: str = "and") -> str:
    return words[0] if len(words) == 1 else f"{', '.join(words[:-1])} {last} {words[-1]}"


def _ordinal(number: int) -> str:
    suffix = "th" if number in {11, 12, 13} else {1: "st", 2: "nd", 3: "rd"}.get(number % 10, "th")
    return f"{number}{suffix}"
