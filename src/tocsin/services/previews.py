"""What a schedule calls for, whether it is saved or not."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

from tocsin.domain.errors import FieldProblem, InvalidInput
from tocsin.domain.instant import Millis, parse_instant
from tocsin.domain.schedule import LocalFire, Schedule, parse_schedule
from tocsin.services.checking import check
from tocsin.services.definitions import AT_GRACE
from tocsin.services.frequency import require_seldom
from tocsin.services.shapes import PREVIEW, PREVIEW_FIELDS

DEFAULT_COUNT = 10
MAX_COUNT = 100


@dataclass(frozen=True, kw_only=True, slots=True)
class Preview:
    """The next fire times of a schedule."""

    schedule: Schedule
    fires: Sequence[LocalFire]
    problems: Sequence[FieldProblem] = ()
    """Why a job is refused that does not have this schedule already."""


def preview(schedule: Schedule, *, after: Millis, count: int) -> Preview:
    """The next ``count`` (1 .. ``MAX_COUNT``) fire times later than an instant."""
    return Preview(schedule=schedule, fires=schedule.preview_local(after, count))


def preview_unsaved(data: object, *, now: Callable[[], Millis], least: Millis) -> Preview:
    """The same for ``{"schedule": {...}, "count": 10, "after": "..."}``.

    Fires closer than ``least`` milliseconds are shown all the same, and what is wrong with them:
    a job that has the schedule already keeps it. Raises ``InvalidInput``; an ``at`` in the past is
    fine if ``after`` lies before it.
    """
    asked = check(PREVIEW, data, PREVIEW_FIELDS)
    problems: list[FieldProblem] = []
    instant = now()
    after = instant
    text: object = asked.get("after")
    if text is not None:
        if not isinstance(text, str):
            problems.append(FieldProblem(field="after", message="is not text", code="type"))
        else:
            try:
                after = parse_instant(text)
            except ValueError as error:
                problems.append(FieldProblem(field="after", message=str(error)))
    schedule = None
    try:
        schedule = parse_schedule(
            asked["schedule"], now=instant, at_grace=max(AT_GRACE, instant - after)
        )
    except InvalidInput as error:
        problems.extend(error.under("schedule").problems)
    if problems or schedule is None:
        raise InvalidInput(problems)
    return replace(
        preview(schedule, after=after, count=asked.get("count") or DEFAULT_COUNT),
        problems=_too_often(schedule, least),
    )


def _too_often(schedule: Schedule, least: Millis) -> Sequence[FieldProblem]:
    try:
        require_seldom(schedule, least)
    except InvalidInput as error:
        return error.under("schedule").problems
    return ()
