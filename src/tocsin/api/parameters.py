"""Query parameters: their types, bounds and meaning."""

from typing import Annotated, Literal, TypeAlias

from fastapi import Path, Query
from pydantic import BaseModel, Field, WithJsonSchema

from tocsin.api.paging import DEFAULT_LIMIT, MAX_CURSOR, MAX_LIMIT
from tocsin.domain.duration import parse_duration
from tocsin.domain.errors import InvalidInput
from tocsin.domain.execution import ErrorKind, State
from tocsin.domain.instant import DAY, MINUTE, Millis, parse_instant
from tocsin.domain.job import JobStatus
from tocsin.services.previews import DEFAULT_COUNT, MAX_COUNT

MAX_WINDOW: Millis = 7 * DAY

JobRef: TypeAlias = Annotated[
    str, Path(description="Id or name of a job.", min_length=1, max_length=100)
]
ExecutionRef: TypeAlias = Annotated[
    str, Path(description="Id of an execution.", min_length=1, max_length=100)
]

KeyRef: TypeAlias = Annotated[str, Path(description="Id of a key.", min_length=1, max_length=100)]

InstantText: TypeAlias = Annotated[
    str,
    Field(max_length=64),
    WithJsonSchema({"type": "string", "format": "date-time", "maxLength": 64}),
]
WindowText: TypeAlias = Annotated[
    str, Field(max_length=64, description="1m to 7d, such as `1h`.", examples=["1h"])
]

Limit: TypeAlias = Annotated[int, Field(ge=1, le=MAX_LIMIT, description="Entries of a page.")]
CursorText: TypeAlias = Annotated[
    str | None,
    Field(max_length=MAX_CURSOR, description="`next_cursor` of the page before; opaque."),
]
SortWord: TypeAlias = Literal[
    "name",
    "-name",
    "created_at",
    "-created_at",
    "updated_at",
    "-updated_at",
    "next_fire_at",
    "-next_fire_at",
    "last_result",
    "-last_result",
]


_NO_NUL = "^[^\\x00]*$"  # Databases cannot keep U+0000, and SQLite ends a text there.


class JobFilter(BaseModel):
    """Which jobs, in which order."""

    status: Annotated[
        list[JobStatus],
        Field(max_length=5, description="One of these; by default all but deleted ones."),
    ] = []
    tag: Annotated[
        list[Annotated[str, Field(min_length=1, max_length=50, pattern=_NO_NUL)]],
        Field(max_length=20, description="Carries each of these."),
    ] = []
    text: Annotated[
        str | None,
        Field(
            min_length=1,
            max_length=200,
            pattern=_NO_NUL,
            description="Is part of the name, the description or the target, whatever the case.",
        ),
    ] = None
    kind: Annotated[
        Literal["cron", "every", "at"] | None, Field(description="Kind of schedule.")
    ] = None
    last_result: Annotated[
        Literal["succeeded", "failed"] | None, Field(description="How the last execution ended.")
    ] = None
    sort: Annotated[
        SortWord,
        Field(
            description="With a minus: descending. `last_result` puts those that failed last "
            "first; those that never ran come last in either direction, as those without a next "
            "fire do."
        ),
    ] = "name"
    limit: Limit = DEFAULT_LIMIT
    cursor: CursorText = None


class HistoryFilter(BaseModel):
    """Which executions of a job."""

    state: Annotated[list[State], Field(max_length=6, description="One of these.")] = []
    error_kind: Annotated[ErrorKind | None, Field(description="Of the last attempt.")] = None
    since: Annotated[InstantText | None, Field(description="Earliest fire time, included.")] = None
    until: Annotated[InstantText | None, Field(description="Latest fire time, excluded.")] = None
    sort: Annotated[
        Literal["fire_time", "-fire_time"], Field(description="By default the newest first.")
    ] = "-fire_time"
    limit: Limit = DEFAULT_LIMIT
    cursor: CursorText = None


class ExecutionFilter(HistoryFilter):
    """Which executions."""

    job: Annotated[
        str | None,
        Field(min_length=1, max_length=100, description="Id or name; a deleted one by id only."),
    ] = None


class PreviewQuery(BaseModel):
    """How much of a schedule is shown."""

    count: Annotated[int, Field(ge=1, le=MAX_COUNT)] = DEFAULT_COUNT
    after: Annotated[
        InstantText | None, Field(description="Look from this instant on; by default now.")
    ] = None


class WindowQuery(BaseModel):
    """How far back figures go."""

    window: WindowText = "1h"


class StatsQuery(WindowQuery):
    """How far back the figures of the service go, and how they are grouped."""

    step: Annotated[
        str,
        Field(
            max_length=64,
            description="Minutes are added up to steps of this length, whole minutes up to 1d.",
            examples=["10m"],
        ),
    ] = "1m"


class RecentQuery(BaseModel):
    """Whose newest executions are shown, and how many of each."""

    job: Annotated[
        list[Annotated[str, Field(min_length=36, max_length=36)]],
        Field(max_length=100, description="Ids of jobs."),
    ] = []
    count: Annotated[int, Field(ge=1, le=50, description="Executions of each.")] = 20


class CalendarQuery(BaseModel):
    """Which days of a job."""

    days: Annotated[int, Field(ge=1, le=92, description="Today included.")] = 35
    timezone: Annotated[
        str, Field(max_length=64, pattern=_NO_NUL, description="Whose days: an IANA name.")
    ] = "UTC"


class TimelineQuery(BaseModel):
    """Which stretch of time, in which steps."""

    since: Annotated[
        InstantText | None,
        Field(description="Included; up to 14 days ago. By default an hour ago."),
    ] = None
    until: Annotated[
        InstantText | None,
        Field(description="Excluded; up to 60 days ahead. By default in an hour."),
    ] = None
    step: Annotated[
        str,
        Field(
            max_length=64,
            description="Length of a step: whole minutes, at most 500 of them in all.",
            examples=["5m"],
        ),
    ] = "1m"


class EventFilter(BaseModel):
    """Which events."""

    types: Annotated[
        str | None,
        Field(
            max_length=500,
            description="Comma-separated: `job`, `execution`, or single types such as "
            "`execution.failed`.",
        ),
    ] = None
    job: Annotated[
        str | None, Field(min_length=1, max_length=100, description="Id or name of the one job.")
    ] = None
    last_event_id: Annotated[
        str | None,
        Field(max_length=100, description="As the header, for clients that cannot send it."),
    ] = None


class PageQuery(BaseModel):
    """Which part of a list."""

    limit: Limit = DEFAULT_LIMIT
    cursor: CursorText = None


class AuditFilter(PageQuery):
    """Which entries of the audit log."""

    actor: Annotated[
        str | None, Field(min_length=1, max_length=100, pattern=_NO_NUL, description="Id or name.")
    ] = None
    action: Annotated[
        str | None,
        Field(
            min_length=1,
            max_length=50,
            pattern=_NO_NUL,
            description="`job.create`, or `job` for whatever was done to jobs.",
        ),
    ] = None
    subject: Annotated[
        str | None, Field(min_length=1, max_length=100, pattern=_NO_NUL, description="Id or name.")
    ] = None
    since: Annotated[InstantText | None, Field(description="The earliest, included.")] = None
    until: Annotated[InstantText | None, Field(description="The latest, excluded.")] = None


class EchoQuery(BaseModel):
    """How the demo endpoint behaves."""

    fail: Annotated[
        int, Field(ge=0, le=100, description="Answer so many first attempts with 503.")
    ] = 0
    delay: Annotated[str, Field(max_length=64, description="Answer after so long; up to 10 s.")] = (
        "0s"
    )


JobFilterQuery: TypeAlias = Annotated[JobFilter, Query()]
HistoryFilterQuery: TypeAlias = Annotated[HistoryFilter, Query()]
ExecutionFilterQuery: TypeAlias = Annotated[ExecutionFilter, Query()]
PreviewParameters: TypeAlias = Annotated[PreviewQuery, Query()]
WindowParameters: TypeAlias = Annotated[WindowQuery, Query()]
StatsParameters: TypeAlias = Annotated[StatsQuery, Query()]
RecentParameters: TypeAlias = Annotated[RecentQuery, Query()]
CalendarParameters: TypeAlias = Annotated[CalendarQuery, Query()]
TimelineParameters: TypeAlias = Annotated[TimelineQuery, Query()]
EventParameters: TypeAlias = Annotated[EventFilter, Query()]
PageParameters: TypeAlias = Annotated[PageQuery, Query()]
AuditParameters: TypeAlias = Annotated[AuditFilter, Query()]
EchoParameters: TypeAlias = Annotated[EchoQuery, Query()]


def read_instant(text: str | None, field: str) -> Millis | None:
    """An instant of a query; raises ``InvalidInput``."""
    if text is None:
        return None
    try:
        return parse_instant(text)
    except ValueError as error:
        raise InvalidInput.of(field, str(error)) from None


def read_window(text: str) -> Millis:
    """A window of figures; raises ``InvalidInput``."""
    return read_bounded(text, "window", MINUTE, MAX_WINDOW, "1m to 7d")


def read_step(text: str) -> Millis:
    """The length of a step of figures, in whole minutes; raises ``InvalidInput``."""
    step = read_bounded(text, "step", MINUTE, DAY, "1m to 1d")
    if step % MINUTE:
        raise InvalidInput.of("step", f"{text!r} is not a whole number of minutes")
    return step


def read_bounded(text: str, field: str, low: Millis, high: Millis, bounds: str) -> Millis:
    """A duration within bounds; raises ``InvalidInput``."""
    try:
        duration = parse_duration(text)
    except ValueError as error:
        raise InvalidInput.of(field, str(error)) from None
    if not low <= duration <= high:
        raise InvalidInput.of(field, f"{text!r} is not in {bounds}", "out_of_range")
    return duration
