"""What pages show beside the lists: the shapes of the answers, and how they are made."""

from collections.abc import Sequence
from typing import Annotated, Any, cast

from pydantic import Field
from typing_extensions import TypedDict

from tocsin.api.render import duration_of
from tocsin.api.schemas import AttemptOut, DurationText, Instant, PercentilesOut
from tocsin.domain.codec import attempts_to_json
from tocsin.domain.duration import format_duration
from tocsin.domain.execution import ErrorKind, Execution, Reason, State
from tocsin.domain.instant import format_instant
from tocsin.domain.tally import lateness
from tocsin.services.insights import CalendarDay, Recent, Timeline
from tocsin.services.trials import Sent, ShownRequest, Trial


class GlanceOut(TypedDict):
    """An execution at a glance."""

    id: str
    fire_time: Instant
    state: State
    reason: Reason | None
    skipped_count: int | None
    attempt_count: int
    duration_ms: float | None
    lateness_ms: int | None
    http_status: int | None
    error_kind: ErrorKind | None


class JobRecentOut(TypedDict):
    """The newest executions of a job, and what follows from them."""

    job_id: str
    executions: Annotated[list[GlanceOut], Field(description="Newest first.")]
    success_ratio: Annotated[
        float | None, Field(description="succeeded / (succeeded + failed) of these.")
    ]
    duration_ms: PercentilesOut


class RecentOut(TypedDict):
    """Several jobs at a glance, in the order asked for."""

    items: list[JobRecentOut]


class CalendarDayOut(TypedDict):
    """What became of the fire times of a local day."""

    date: Annotated[str, Field(examples=["2026-12-24"])]
    succeeded: int
    failed: int
    cancelled: int
    skipped: int
    live: int
    more: Annotated[bool, Field(description="There are more; the newest 100 are counted.")]
    any_failed: Annotated[bool, Field(description="Whether any failed, counted or not.")]


class CalendarOut(TypedDict):
    """A job day by day, oldest first."""

    timezone: str
    items: list[CalendarDayOut]


class PastStepOut(TypedDict):
    """What ended within a step."""

    start: Instant
    succeeded: int
    failed: int
    cancelled: int
    skipped: int


class AheadStepOut(TypedDict):
    """How many fires are to come within a step."""

    start: Instant
    fires: int


class FireAheadOut(TypedDict):
    """A fire to come."""

    job_id: str
    job_name: str
    fire_time: Instant


class TimelineOut(TypedDict):
    """Past and future on one axis; steps without anything are left out."""

    since: Instant
    until: Instant
    now: Instant
    step: DurationText
    past: list[PastStepOut]
    ahead: list[AheadStepOut]
    fires: Annotated[
        list[FireAheadOut], Field(description="The first of each job in each step; at most 1,000.")
    ]
    complete_since: Annotated[
        Instant,
        Field(
            description="All that ended from here on is counted; of what was before, some may be "
            "missing. That is only where a key is limited by tags: its past is counted from the "
            "newest 5,000 executions."
        ),
    ]
    complete_until: Annotated[
        Instant, Field(description="All fires before this are counted; later ones may be missing.")
    ]


class RequestHeaderOut(TypedDict):
    """A header of a request."""

    name: str
    value: str


class ShownRequestOut(TypedDict):
    """A request, filled in; what may be secret is masked."""

    method: str
    url: str
    headers: list[RequestHeaderOut]
    body: str
    truncated: bool


class TrialOut(TypedDict):
    """What came of a trial; nothing of it is stored."""

    request: ShownRequestOut | None
    attempt: AttemptOut


class SentOut(TypedDict):
    """The request of an execution."""

    request: Annotated[
        ShownRequestOut | None, Field(description="null: the target writes to the log.")
    ]
    current: Annotated[
        bool,
        Field(description="false: the job was changed since, and this is how it is defined now."),
    ]


def recent_json(found: Sequence[Recent]) -> RecentOut:
    """Several jobs at a glance."""
    return {"items": [_job(one) for one in found]}


def _job(one: Recent) -> JobRecentOut:
    ended = one.succeeded + one.failed
    return {
        "job_id": one.job_id,
        "executions": [_glance(execution) for execution in one.executions],
        "success_ratio": round(one.succeeded / ended, 6) if ended else None,
        "duration_ms": {
            "p50": one.duration.p50,
            "p95": one.duration.p95,
            "p99": one.duration.p99,
            "max": one.duration.max,
        },
    }


def _glance(execution: Execution) -> GlanceOut:
    last = execution.attempts[-1] if execution.attempts else None
    return {
        "id": execution.id,
        "fire_time": format_instant(execution.fire_time),
        "state": execution.state,
        "reason": execution.reason,
        "skipped_count": execution.skipped_count,
        "attempt_count": len(execution.attempts),
        "duration_ms": duration_of(execution),
        "lateness_ms": lateness(execution),
        "http_status": None if last is None else last.http_status,
        "error_kind": None if last is None else last.error_kind,
    }


def calendar_json(timezone: str, days: Sequence[CalendarDay]) -> CalendarOut:
    """A job day by day."""
    return {
        "timezone": timezone,
        "items": [
            {
                "date": one.day.isoformat(),
                "succeeded": one.counts[State.SUCCEEDED],
                "failed": one.counts[State.FAILED],
                "cancelled": one.counts[State.CANCELLED],
                "skipped": one.counts[State.SKIPPED],
                "live": one.counts[State.PENDING] + one.counts[State.CLAIMED],
                "more": one.more,
                "any_failed": one.failed,
            }
            for one in days
        ],
    }


def timeline_json(timeline: Timeline) -> TimelineOut:
    """Past and future on one axis."""
    return {
        "since": format_instant(timeline.since),
        "until": format_instant(timeline.until),
        "now": format_instant(timeline.now),
        "step": format_duration(timeline.step),
        "past": [
            {
                "start": format_instant(start),
                "succeeded": tally.succeeded,
                "failed": tally.failed,
                "cancelled": tally.cancelled,
                "skipped": tally.skipped,
            }
            for start, tally in timeline.past
        ],
        "ahead": [
            {"start": format_instant(start), "fires": count} for start, count in timeline.ahead
        ],
        "fires": [
            {
                "job_id": one.job.id,
                "job_name": one.job.name,
                "fire_time": format_instant(one.fire_time),
            }
            for one in timeline.fires
        ],
        "complete_since": format_instant(timeline.complete_since),
        "complete_until": format_instant(timeline.complete_until),
    }


def trial_json(trial: Trial) -> TrialOut:
    """What came of a trial."""
    (attempt,) = attempts_to_json([trial.attempt])
    return {"request": _request(trial.request), "attempt": cast("Any", attempt)}


def sent_json(sent: Sent) -> SentOut:
    """The request of an execution."""
    return {"request": _request(sent.request), "current": sent.current}


def _request(shown: ShownRequest | None) -> ShownRequestOut | None:
    if shown is None:
        return None
    return {
        "method": shown.method,
        "url": shown.url,
        "headers": [{"name": name, "value": value} for name, value in shown.headers],
        "body": shown.body,
        "truncated": shown.truncated,
    }
