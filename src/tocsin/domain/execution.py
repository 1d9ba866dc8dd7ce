"""One fire of a job at one fire time, and the calls that it made."""

from dataclasses import dataclass
from enum import StrEnum
from functools import lru_cache
from hashlib import blake2b

from tocsin.domain.instant import Millis
from tocsin.domain.job import Json
from tocsin.domain.quick import maker, quick

LOST_IN_A_ROW = 5
"""After so many lost attempts in a row an execution ends as failed/lost."""


class State(StrEnum):
    """Where an execution is; the last four are final."""

    PENDING = "pending"
    CLAIMED = "claimed"
    SUCCEEDED = "succeeded"
    FAILED = "failed"
    CANCELLED = "cancelled"
    SKIPPED = "skipped"

    @property
    def final(self) -> bool:
        """Whether nothing can follow."""
        return self is not _PENDING and self is not _CLAIMED


# In Python 3.11 it takes as long to look up a member of an enumeration as to call a function.
_PENDING = State.PENDING
_CLAIMED = State.CLAIMED


class TriggerKind(StrEnum):
    """What asked for the execution."""

    SCHEDULE = "schedule"
    MANUAL = "manual"
    RETRY = "retry"


class Reason(StrEnum):
    """Why an execution was skipped, cancelled or failed without an answer."""

    MISFIRE = "misfire"
    OVERLAP = "overlap"
    QUEUE_FULL = "queue_full"
    PAUSED = "paused"
    DELETED = "deleted"
    CHANGED = "changed"
    REPLACED = "replaced"
    REQUESTED = "requested"
    LOST = "lost"


class ErrorKind(StrEnum):
    """How an attempt failed."""

    TIMEOUT = "timeout"
    CONNECTION = "connection"
    DNS = "dns"
    TLS = "tls"
    PROTOCOL = "protocol"
    HTTP_STATUS = "http_status"
    REDIRECT = "redirect"
    BLOCKED = "blocked"
    TOO_LARGE = "too_large"
    CANCELLED = "cancelled"
    LOST = "lost"


@quick
@dataclass(frozen=True, kw_only=True, slots=True)
class Timings:
    """Phases of a call in milliseconds; ``None`` where the phase did not happen."""

    dns_ms: float | None = None
    connect_ms: float | None = None
    proxy_ms: float | None = None
    tls_ms: float | None = None
    first_byte_ms: float | None = None
    total_ms: float | None = None


@quick
@dataclass(frozen=True, kw_only=True, slots=True)
class ResponseExcerpt:
    """The beginning of an answer's body."""

    excerpt: str
    truncated: bool


@quick
@dataclass(frozen=True, kw_only=True, slots=True)
class Attempt:
    """One HTTP exchange of an execution."""

    number: int
    started_at: Millis
    duration_ms: float
    http_status: int | None = None
    error_kind: ErrorKind | None = None
    error: str | None = None
    node: str
    """The name of the node that made the call."""
    timings: Timings | None = None
    response: ResponseExcerpt | None = None


@quick
@dataclass(frozen=True, kw_only=True, slots=True)
class Execution:
    """An execution as it is stored."""

    id: str
    job_id: str
    job_name: str
    namespace: str = "default"
    job_version: int
    trigger: TriggerKind = TriggerKind.SCHEDULE
    fire_time: Millis
    due: Millis
    """The instant at which the first call was to leave; lateness counts from it."""
    state: State
    reason: Reason | None = None
    queued: bool = False
    """Whether it waits for older executions of its job to end (overlap ``queue``)."""
    available_at: Millis | None = None
    """While pending: when it may be claimed."""
    lane: int
    exact: bool
    owner: str | None = None
    """The incarnation that claimed it last."""
    retry_of: str | None = None
    input: Json = None
    """The body that a trigger brought along; replaces the target's body where not ``None``."""
    skipped_until: Millis | None = None
    """The last fire time that a skipped execution stands for, where it is more than one."""
    skipped_count: int | None = None
    attempts: tuple[Attempt, ...] = ()
    finished_at: Millis | None = None

    @property
    def live(self) -> bool:
        """Whether it is claimed or still to be."""
        return not self.state.final


make_timings = maker(Timings)
make_excerpt = maker(ResponseExcerpt)
make_attempt = maker(Attempt)
make_execution = maker(Execution)
"""An execution from all of its fields, in their order; the others likewise."""


def execution_id(job_id: str, fire_time: Millis, salt: str = "") -> str:
    """The id of the one execution of a job at a fire time, laid out as a version-8 UUID.

    48 bits of the fire time in milliseconds, then a hash of the job id: so the same fire cannot
    exist twice, ids sort by time and receivers see a stable key. A trigger or a retry by hand
    salts the hash.
    """
    digest = blake2b(f"{job_id}{salt}".encode(), digest_size=10).hexdigest()
    return f"{_id_start(fire_time)}{digest[:3]}-{_VARIANT[digest[3]]}{digest[4:7]}-{digest[7:19]}"


_VARIANT = {digit: "89ab"[int(digit, 16) & 3] for digit in "0123456789abcdef"}
"""RFC 9562, section 5.8: the version nibble is 8, the two bits of the variant are 10."""


@lru_cache(maxsize=512)  # Of jobs that fire together.
def _id_start(fire_time: Millis) -> str:
    time = format(fire_time, "012x")
    return f"{time[:8]}-{time[8:]}-8"


def lost_attempt(execution: Execution, *, node: str, now: Millis) -> Attempt:
    """The attempt whose end nobody knows because its node went away."""
    started = min(execution.available_at or execution.due, now)
    return Attempt(
        number=len(execution.attempts) + 1,
        started_at=started,
        duration_ms=float(now - started),
        error_kind=ErrorKind.LOST,
        error=f"the node {node} went away with this call in its hands; it may have arrived",
        node=node,
    )


def counted_attempts(attempts: tuple[Attempt, ...]) -> int:
    """How many attempts count towards ``max_attempts``: all but the lost ones."""
    return sum(attempt.error_kind is not ErrorKind.LOST for attempt in attempts)


def lost_in_a_row(attempts: tuple[Attempt, ...]) -> int:
    """How many of the last attempts were lost, without another in between."""
    count = 0
    for attempt in reversed(attempts):
        if attempt.error_kind is not ErrorKind.LOST:
            break
        count += 1
    return count


def closed(
    execution: Execution,
    state: State,
    reason: Reason | None,
    now: Millis,
    *,
    attempts: tuple[Attempt, ...] | None = None,
) -> Execution:
    """The same execution, ended; with ``attempts`` in place of its own."""
    # ``replace`` would take eight times as long, once per fire.
    return make_execution(
        execution.id,
        execution.job_id,
        execution.job_name,
        execution.namespace,
        execution.job_version,
        execution.trigger,
        execution.fire_time,
        execution.due,
        state,
        reason,
        False,  # queued
        None,  # available_at
        execution.lane,
        execution.exact,
        execution.owner,
        execution.retry_of,
        execution.input,
        execution.skipped_until,
        execution.skipped_count,
        execution.attempts if attempts is None else attempts,
        now,  # finished_at
    )
