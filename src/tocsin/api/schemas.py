"""What answers look like; ``render`` makes them, the OpenAPI document describes them.

Clients accept fields and words that they do not know: both are added in later versions.
"""

from typing import Annotated, Any, Literal, NotRequired, TypeAlias

from pydantic import Field, WithJsonSchema
from typing_extensions import TypedDict

from tocsin.domain.execution import ErrorKind, Reason, State, TriggerKind
from tocsin.domain.job import DeliveryMode, JobStatus, MisfirePolicy, Overlap

Instant: TypeAlias = Annotated[
    str,
    WithJsonSchema({"type": "string", "format": "date-time", "examples": ["2026-12-24T18:00:00Z"]}),
]
"""RFC 3339 in UTC, with ``Z``."""

DurationText: TypeAlias = Annotated[str, Field(examples=["1h30m"])]


class FieldProblemOut(TypedDict):
    """One offending field."""

    field: Annotated[
        str, Field(description="Dotted path; empty where the whole is meant, in a batch by index.")
    ]
    message: str
    code: str


class Problem(TypedDict):
    """Problem details (RFC 9457)."""

    type: str
    title: str
    status: int
    detail: str
    code: Annotated[str, Field(description="Stable; what programs look at.")]
    errors: list[FieldProblemOut]


class AttemptTimings(TypedDict):
    """Phases of a call in milliseconds; null where the phase did not happen.

    `proxy_ms`, the wait for a proxy to connect, is there only where a call went through one.
    """

    dns_ms: float | None
    connect_ms: float | None
    proxy_ms: NotRequired[float | None]
    tls_ms: float | None
    first_byte_ms: float | None
    total_ms: float | None


class AttemptResponse(TypedDict):
    """The beginning of an answer's body."""

    excerpt: str
    truncated: bool


class AttemptOut(TypedDict):
    """One HTTP exchange of an execution."""

    number: int
    started_at: Instant
    duration_ms: float
    http_status: int | None
    error_kind: ErrorKind | None
    error: str | None
    node: str
    timings: AttemptTimings | None
    response: AttemptResponse | None


class ExecutionSummary(TypedDict):
    """An execution without its attempts."""

    id: str
    job_id: str
    job_name: str
    job_version: int
    fire_time: Instant
    due: Annotated[Instant, Field(description="When it was to leave; lateness counts from it.")]
    trigger: TriggerKind
    state: State
    reason: Reason | None
    queued: Annotated[bool, Field(description="Waits for older executions of its job to end.")]
    available_at: Annotated[
        Instant | None, Field(description="While pending: when it may be claimed.")
    ]
    skipped_until: Annotated[
        Instant | None, Field(description="The last fire time that a skipped one stands for.")
    ]
    skipped_count: Annotated[
        int | None, Field(description="How many fire times, where more than one.")
    ]
    retry_of: str | None
    attempt_count: int
    started_at: Annotated[Instant | None, Field(description="When the first call left.")]
    finished_at: Instant | None
    duration_ms: Annotated[
        float | None, Field(description="From the first call's start to the last one's end.")
    ]
    lateness_ms: int | None
    http_status: Annotated[int | None, Field(description="Of the last attempt.")]
    error_kind: Annotated[ErrorKind | None, Field(description="Of the last attempt.")]
    error: Annotated[str | None, Field(description="Of the last attempt.")]
    node: Annotated[str | None, Field(description="Of the last attempt.")]


class ExecutionOut(ExecutionSummary):
    """One fire of a job at one fire time."""

    attempts: list[AttemptOut]


class ScheduleOut(TypedDict):
    """One of `cron`, `every` and `at`, with every default written out."""

    cron: NotRequired[str]
    every: NotRequired[DurationText]
    anchor: NotRequired[Instant]
    at: NotRequired[Instant]
    timezone: str
    starts_at: Instant | None
    ends_at: Instant | None
    jitter: DurationText
    description: Annotated[str, Field(examples=["At 02:00 every day, Europe/Berlin"])]


class TargetOut(TypedDict):
    """An HTTP request (`url` and what follows it), or a line in the log."""

    url: NotRequired[str]
    method: NotRequired[str]
    headers: NotRequired[dict[str, str]]
    body: NotRequired[Any]
    body_text: NotRequired[str]
    body_base64: NotRequired[str]
    timeout: NotRequired[DurationText]
    redirects: NotRequired[int]
    log: NotRequired[str]


class RetryOut(TypedDict):
    """When a failed attempt is tried again."""

    max_attempts: int
    initial: DurationText
    factor: float
    max: DurationText
    jitter: float
    on: list[str]


class MisfireOut(TypedDict):
    """What becomes of fire times that were noticed too late."""

    policy: MisfirePolicy
    grace: Annotated[
        DurationText | None, Field(description="null: one interval, bounded to 5 s to 1 min.")
    ]
    max: int


class JobOut(TypedDict):
    """A job."""

    id: str
    name: str
    description: str
    schedule: ScheduleOut
    target: TargetOut
    retry: RetryOut
    misfire: MisfireOut
    overlap: Overlap
    delivery: DeliveryMode
    success: list[str]
    tags: list[str]
    metadata: dict[str, Any]
    status: JobStatus
    version: Annotated[int, Field(description="Grows with each change; also the ETag.")]
    created_at: Instant
    updated_at: Instant
    next_fire_at: Annotated[Instant | None, Field(description="null: none is to come.")]
    last_execution: ExecutionSummary | None


class JobPage(TypedDict):
    """A part of a list of jobs."""

    items: list[JobOut]
    next_cursor: Annotated[str | None, Field(description="Continues the list; null at its end.")]


class JobBatchOut(TypedDict):
    """The jobs of a batch, in its order."""

    items: list[JobOut]


class ExecutionPage(TypedDict):
    """A part of a list of executions."""

    items: list[ExecutionOut]
    next_cursor: Annotated[str | None, Field(description="Continues the list; null at its end.")]


class LiveExecutions(TypedDict):
    """What has not ended."""

    items: list[ExecutionSummary]
    more: Annotated[bool, Field(description="Whether there are more than are shown.")]


class JobStatusOut(TypedDict):
    """How a job is doing right now."""

    id: str
    name: str
    status: JobStatus
    version: int
    next_fire_at: Instant | None
    live: LiveExecutions
    last_execution: ExecutionSummary | None
    last_succeeded: ExecutionSummary | None
    last_failed: ExecutionSummary | None


class FireOut(TypedDict):
    """A fire time to come."""

    fire_time: Instant
    local: Annotated[str, Field(description="The same in the schedule's zone, with its offset.")]
    offset_changed: Annotated[
        bool, Field(description="The clocks were changed since the fire time before.")
    ]


class PreviewOut(TypedDict):
    """What a schedule calls for."""

    description: str
    timezone: str
    items: list[FireOut]
    errors: Annotated[
        list[FieldProblemOut],
        Field(
            description="Why a job is refused that does not have this schedule already: it fires "
            "more often than the server takes (`too_often`). Empty for that of a job."
        ),
    ]


class JobCounts(TypedDict):
    """Jobs by status."""

    active: int
    paused: int
    completed: int
    cancelled: int


class ExecutionCounts(TypedDict):
    """Executions: those that have not ended, and those that ended within the window."""

    pending: int
    claimed: int
    succeeded: int
    failed: int
    cancelled: int
    skipped: int


class LatenessOut(TypedDict):
    """Percentiles in milliseconds; null where nothing was called."""

    p50: float | None
    p95: float | None
    p99: float | None


class RatesOut(TypedDict):
    """Averages over the window."""

    ended_per_minute: float
    failed_per_minute: float
    attempts_per_minute: float


class MinuteOut(TypedDict):
    """What ended within one step; steps without anything are left out."""

    minute: Annotated[Instant, Field(description="The start of the step.")]
    succeeded: int
    failed: int
    cancelled: int
    skipped: int
    lateness_ms: LatenessOut


class NextFire(TypedDict):
    """A fire to come."""

    job_id: str
    job_name: str
    due: Instant


class CapacityOut(TypedDict):
    """What is used of a limit."""

    used: int
    limit: int


class CapacitiesOut(TypedDict):
    """What is used of the limits."""

    jobs: CapacityOut
    definition_bytes: CapacityOut


class StatsOut(TypedDict):
    """The state of the service."""

    window: DurationText
    since: Instant
    jobs: JobCounts
    executions: ExecutionCounts
    success_ratio: Annotated[
        float | None, Field(description="succeeded / (succeeded + failed); null without any.")
    ]
    rates: RatesOut
    lateness_ms: LatenessOut
    minutes: list[MinuteOut]
    next_fires: list[NextFire]
    capacity: Annotated[
        CapacitiesOut | None,
        Field(description="Of all namespaces; null for a key that is limited to one."),
    ]


class PercentilesOut(TypedDict):
    """Percentiles in milliseconds; null where there is nothing to count."""

    p50: float | None
    p95: float | None
    p99: float | None
    max: float | None


class JobStatsOut(TypedDict):
    """How a job did over a window."""

    window: DurationText
    since: Instant
    complete: Annotated[
        bool, Field(description="false: the window holds too many; these go back to `since`.")
    ]
    executions: ExecutionCounts
    attempts: int
    success_ratio: float | None
    duration_ms: PercentilesOut
    lateness_ms: PercentilesOut


class HealthOut(TypedDict):
    """Whether the service does what it is there for."""

    status: Literal["ok", "degraded"]
    version: str
    window: DurationText
    succeeded: Annotated[
        int | None,
        Field(description="null, as the others, without a key that holds in all namespaces."),
    ]
    failed: int | None
    failed_ratio: float | None
    threshold: float
    reason: str | None


class CheckOut(TypedDict):
    """One thing that must hold for the node to fire."""

    name: str
    ok: bool
    detail: Annotated[str, Field(description="Empty without a key that holds in all namespaces.")]


class ReadyOut(TypedDict):
    """Whether this node fires."""

    ready: bool
    checks: list[CheckOut]


class EchoOut(TypedDict):
    """What the demo endpoint was sent."""

    method: str
    path: str
    query: dict[str, str]
    headers: dict[str, str]
    body: str
