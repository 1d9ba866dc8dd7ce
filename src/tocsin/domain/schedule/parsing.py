"""Schedules as JSON: what people send, checked; and what the store keeps, trusted."""

from collections.abc import Callable, Mapping
from difflib import get_close_matches
from functools import lru_cache
from typing import Any, TypeVar

from tocsin.domain.duration import format_duration, parse_duration
from tocsin.domain.errors import FieldProblem, InvalidInput
from tocsin.domain.instant import DAY, SECOND, Millis, format_instant, parse_instant
from tocsin.domain.schedule.cron_field import CronSyntaxError
from tocsin.domain.schedule.cron_syntax import read_cron
from tocsin.domain.schedule.cron_times import cron_times
from tocsin.domain.schedule.kinds import At, Cron, Every, Kind
from tocsin.domain.schedule.model import Schedule
from tocsin.domain.schedule.zones import check_zone

MIN_INTERVAL: Millis = SECOND
MAX_INTERVAL: Millis = 3_653 * DAY  # ten years
MAX_JITTER: Millis = DAY

_KINDS = ("cron", "every", "at")
_FIELDS = (*_KINDS, "timezone", "anchor", "starts_at", "ends_at", "jitter")
# The description is part of answers, so it is part of what people send back.
_KNOWN = frozenset({*_FIELDS, "description"})
_MAX_UNKNOWN = 20
_T = TypeVar("_T")


def parse_schedule(
    data: Mapping[str, object],
    *,
    now: Millis,
    at_grace: Millis = 60_000,
    previous: Schedule | None = None,
) -> Schedule:
    """Check a schedule as people write it, ``{"cron": "0 2 * * *", "timezone": "Europe/Berlin"}``.

    Fields that are missing or null have their defaults; the anchor of ``every`` is `now`. An
    ``at`` that is more than `at_grace` before `now` is refused. `previous` is the schedule that
    is being edited: its anchor is kept, and an ``at`` that does not change is not refused.

    Raises `InvalidInput` with every problem found. Fields are named as in `data`; the field is
    empty where the problem is the schedule as a whole.
    """
    if not isinstance(data, Mapping):
        raise InvalidInput.of("", 'is not an object such as {"every": "15m"}')
    reader = _Reader(data)
    timezone = reader.read("timezone", _read_timezone, default="UTC")
    starts_at = reader.read("starts_at", _read_instant)
    ends_at = reader.read("ends_at", _read_instant)
    jitter = reader.read("jitter", _read_jitter, default=0)
    if starts_at is not None and ends_at is not None and ends_at < starts_at:
        reader.refuse("ends_at", f"lies before starts_at, {format_instant(starts_at)}")
    kind = _read_kind(reader, now=now, at_grace=at_grace, previous=previous)
    if reader.problems or kind is None or timezone is None or jitter is None:
        raise InvalidInput(reader.problems)
    schedule = Schedule(
        kind=kind, timezone=timezone, starts_at=starts_at, ends_at=ends_at, jitter=jitter
    )
    _check_that_it_fires(schedule, now=now)
    return schedule


def schedule_from_json(data: Mapping[str, Any]) -> Schedule:
    """Read what `Schedule.to_json` wrote. Nothing is checked, so it is for the store only."""
    if "cron" in data:
        kind = ("cron", data["cron"], None)
    elif "every" in data:
        kind = ("every", data["every"], data["anchor"])
    else:
        kind = ("at", data["at"], None)
    return _schedule_of(*kind, data["timezone"], data["starts_at"], data["ends_at"], data["jitter"])


@lru_cache(maxsize=4_096)  # A node reads each job that it has not created, and many are alike.
def _schedule_of(*fields: Any) -> Schedule:
    word, what, anchor, timezone, starts_at, ends_at, jitter = fields
    kind: Kind
    if word == "cron":
        kind = Cron(expression=what)
    elif word == "every":
        kind = Every(interval=parse_duration(what), anchor=parse_instant(anchor))
    else:
        kind = At(instant=parse_instant(what))
    return Schedule(
        kind=kind,
        timezone=timezone,
        starts_at=None if starts_at is None else parse_instant(starts_at),
        ends_at=None if ends_at is None else parse_instant(ends_at),
        jitter=parse_duration(jitter),
    )


class _Reader:
    """Reads fields one by one and collects what is wrong with them."""

    def __init__(self, data: Mapping[str, object]) -> None:
        self.problems: list[FieldProblem] = []
        self._refuse_unknown(data)
        self.data = {name: value for name, value in data.items() if value is not None}

    def refuse(self, field: str, message: str, code: str = "invalid") -> None:
        self.problems.append(FieldProblem(field=field, message=message, code=code))

    def read(
        self, field: str, convert: Callable[[object], _T], default: _T | None = None
    ) -> _T | None:
        if field not in self.data:
            return default
        try:
            return convert(self.data[field])
        except CronSyntaxError as error:
            for reason in error.reasons:
                self.refuse(field, reason, error.code)
        except _Refused as error:
            self.refuse(field, str(error), error.code)
        except ValueError as error:
            self.refuse(field, str(error))
        return None

    def _refuse_unknown(self, data: Mapping[str, object]) -> None:
        unknown = [str(name) for name in data if name not in _KNOWN]
        for name in unknown[:_MAX_UNKNOWN]:
            near = get_close_matches(name[:64].lower(), _FIELDS, n=1)
            hint = f"did you mean {near[0]}?" if near else f"known are {', '.join(_FIELDS)}"
            self.refuse(name[:64], f"is not a field of a schedule; {hint}", "unknown_field")


class _Refused(Exception):
    def __init__(self, message: str, code: str) -> None:
        super().__init__(message)
        self.code = code


def _read_kind(
    reader: _Reader, *, now: Millis, at_grace: Millis, previous: Schedule | None
) -> Kind | None:
    before = None if previous is None else previous.kind
    given = [name for name in _KINDS if name in reader.data]
    if len(given) != 1:
        found = f"; found {' and '.join(given)}" if given else ""
        reader.refuse("", f"needs exactly one of cron, every and at{found}", "one_of")
    if "anchor" in reader.data and given and "every" not in given:
        reader.refuse("anchor", "only goes with every", "conflict")

    # Each is read even where there are too many, to tell all problems at once.
    expression = reader.read("cron", _read_expression)
    interval = reader.read("every", _read_interval)
    kept = before.anchor if isinstance(before, Every) else now
    anchor = reader.read("anchor", _read_instant, default=kept)
    instant = reader.read("at", _read_instant)
    unchanged = isinstance(before, At) and before.instant == instant
    if instant is not None and instant < now - at_grace and not unchanged:
        reader.refuse(
            "at",
            f"{format_instant(instant)} has passed; it is {format_instant(now)}",
            "in_the_past",
        )
    if expression is not None:
        return Cron(expression=expression)
    if interval is not None and anchor is not None:
        return Every(interval=interval, anchor=anchor)
    if instant is not None:
        return At(instant=instant)
    return None


def _check_that_it_fires(schedule: Schedule, *, now: Millis) -> None:
    kind, starts_at = schedule.kind, schedule.starts_at
    if isinstance(kind, Cron):
        field, after = "cron", now if starts_at is None else starts_at - 1
        times = cron_times(kind.expression, schedule.timezone)
        if times.next_after(after) is None:
            raise InvalidInput.of(
                field, "would never fire: no such date and time within 50 years", "never_fires"
            )
        if starts_at is None:
            return  # that it has ended by now is not a mistake
    else:
        field, after = ("every" if isinstance(kind, Every) else "at"), -1
    if schedule.next_after(after) is None:
        raise InvalidInput.of(field, "does not fire between starts_at and ends_at", "never_fires")


def _read_text(value: object, example: str) -> str:
    if not isinstance(value, str):
        raise ValueError(f"is not text such as {example!r}")  # noqa: TRY004 - one error for callers
    return value


def _read_expression(value: object) -> str:
    expression = " ".join(_read_text(value, "0 2 * * *").split())
    read_cron(expression)
    return expression


def _read_timezone(value: object) -> str:
    name = _read_text(value, "Europe/Berlin")
    try:
        check_zone(name)
    except ValueError as error:
        raise _Refused(str(error), "unknown_timezone") from None
    return name


def _read_instant(value: object) -> Millis:
    return parse_instant(_read_text(value, "2026-12-24T18:00:00Z"))


def _read_duration(value: object, low: Millis, high: Millis) -> Millis:
    if not isinstance(value, str | int | float):
        raise ValueError("is not a duration such as 15m, or a number of seconds")  # noqa: TRY004
    duration = parse_duration(value)
    if not low <= duration <= high:
        raise _Refused(
            f"{format_duration(duration)} is not in {format_duration(low)} to "
            f"{format_duration(high)}",
            "out_of_range",
        )
    return duration


def _read_interval(value: object) -> Millis:
    return _read_duration(value, MIN_INTERVAL, MAX_INTERVAL)


def _read_jitter(value: object) -> Millis:
    return _read_duration(value, 0, MAX_JITTER)
