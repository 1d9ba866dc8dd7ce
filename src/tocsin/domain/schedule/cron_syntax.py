"""Reading cron expressions: why one is refused, or what it matches.

The meaning of an expression is that of Debian's cron, as cronsim implements it, and cronsim
decides which days match.
"""

import re
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from difflib import get_close_matches
from functools import lru_cache

from cronsim import CronSim, CronSimError

from tocsin.domain.schedule.cron_field import (
    CronField,
    CronSyntaxError,
    quoted,
    read_field,
    write_term,
)

MAX_EXPRESSION = 256
"""The longest cron expression that is accepted, in characters."""

MACROS = {
    "@hourly": "0 * * * *",
    "@daily": "0 0 * * *",
    "@midnight": "0 0 * * *",
    "@weekly": "0 0 * * 0",
    "@monthly": "0 0 1 * *",
    "@yearly": "0 0 1 1 *",
    "@annually": "0 0 1 1 *",
}

_FIVE = "minute hour day-of-month month day-of-week"
_ONE_DAY = timedelta(days=1)


class NeverFiresError(CronSyntaxError):
    """An expression that is well formed and matches no date at all."""

    code = "never_fires"


@dataclass(frozen=True, kw_only=True, slots=True)
class DayRule:
    """Which dates match: a date of one of `months` (1-12) that `matches` agrees to.

    `every_day` says that `matches` always agrees, `both` that a date must match both day fields
    (one of them starts with ``*``) and not just one.
    """

    months: frozenset[int]
    matches: Callable[[date], bool]
    every_day: bool
    both: bool


@dataclass(frozen=True, kw_only=True, slots=True)
class CronFields:
    """What an expression matches.

    `fixed` is set for the expressions that get Debian's treatment of clock changes: five fields
    of which neither the minute nor the hour starts with ``*``.
    """

    second: CronField
    minute: CronField
    hour: CronField
    day: CronField
    month: CronField
    weekday: CronField
    day_rule: DayRule
    fixed: bool


def read_cron(expression: str) -> CronFields:
    """Read a cron expression of 5 fields, of 6 with seconds first, or a macro such as ``@daily``.

    Raises `CronSyntaxError` with a reason per mistake. An expression that is read may still
    never fire (see `tocsin.domain.schedule.cron_times`).
    """
    if len(expression) > MAX_EXPRESSION:
        raise CronSyntaxError(
            f"is {len(expression)} characters long; at most {MAX_EXPRESSION} are accepted"
        )
    if not expression.isascii():
        strange = next(char for char in expression if not char.isascii())
        raise CronSyntaxError(f"has the character {strange!a}, which is not plain ASCII")
    parts = _split(expression)
    fixed = len(parts) == 5 and not parts[0].startswith("*") and not parts[1].startswith("*")
    if len(parts) == 5:
        parts = ["0", *parts]
    try:
        second, minute, hour, day, month, weekday = map(read_field, range(6), parts)
    except CronSyntaxError:
        raise CronSyntaxError(*_all_reasons(parts)) from None
    day_rule = _day_rule(*parts[3:])
    if day_rule is None:
        raise NeverFiresError(
            "would never fire: no date matches its day-of-month, month and day-of-week"
        )
    return CronFields(
        second=second,
        minute=minute,
        hour=hour,
        day=day,
        month=month,
        weekday=weekday,
        day_rule=day_rule,
        fixed=fixed,
    )


def _all_reasons(parts: list[str]) -> list[str]:
    reasons: list[str] = []
    for number, part in enumerate(parts):
        try:
            read_field(number, part)
        except CronSyntaxError as error:
            reasons.extend(error.reasons)
    return reasons


@lru_cache(maxsize=1024)
def _day_rule(day_text: str, month_text: str, weekday_text: str) -> DayRule | None:
    """What the three fields mean together; None where no date matches."""
    days, months, weekdays = (
        read_field(number, text)
        for number, text in ((3, day_text), (4, month_text), (5, weekday_text))
    )
    written = " ".join(",".join(map(write_term, field.terms)) for field in (days, months, weekdays))
    both = days.starred or weekdays.starred
    try:
        sim = CronSim(f"0 0 {written}", datetime(2000, 1, 1, tzinfo=UTC))
    except CronSimError:
        return None  # its one check that spans fields: months too short for the days
    any_day = len(days.values) == 31
    any_weekday = {value % 7 for value in weekdays.values} == set(range(7))
    month_set = frozenset(months.values)
    if both and not any_day and not any_weekday and not _matches_ever(month_set, sim.match_day):
        return None
    return DayRule(
        months=month_set,
        matches=sim.match_day,
        every_day=(any_day and any_weekday) if both else (any_day or any_weekday),
        both=both,
    )


def _matches_ever(months: frozenset[int], matches: Callable[[date], bool]) -> bool:
    # Within 28 years without a skipped leap year, every kind of year comes by.
    day = date(2001, 1, 1)
    while day.year < 2029:
        if day.month in months and matches(day):
            return True
        day += _ONE_DAY
    return False


def _split(expression: str) -> list[str]:
    parts = expression.upper().split()
    if len(parts) >= 1 and parts[0].startswith("@"):
        macro = " ".join(parts).lower()
        if macro in MACROS:
            return MACROS[macro].split()
        if macro == "@reboot":
            raise CronSyntaxError("@reboot is not accepted: it names an event, not a time")
        if parts[0] == "@EVERY":
            raise CronSyntaxError(
                '@every is not cron: give an interval instead, as {"every": "5m"}'
            )
        near = get_close_matches(macro[:20], MACROS, n=1)
        hint = f"; did you mean {near[0]}?" if near else ""
        raise CronSyntaxError(
            f"{quoted(macro)} is not a macro: {', '.join(MACROS)} are accepted{hint}"
        )
    if parts and re.match(r"(CRON_)?TZ=", parts[0]):
        raise CronSyntaxError("a zone does not belong into the expression: give it as `timezone`")
    if len(parts) not in {5, 6}:
        raise CronSyntaxError(
            f"has {len(parts)} field{'' if len(parts) == 1 else 's'}: "
            f"expected 5 ({_FIVE}), or 6 with second first"
        )
    return parts
