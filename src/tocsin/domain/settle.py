"""What follows from the end of an attempt, known or not."""

from dataclasses import replace

from tocsin.domain.execution import (
    LOST_IN_A_ROW,
    Attempt,
    ErrorKind,
    Execution,
    Reason,
    State,
    TriggerKind,
    closed,
    counted_attempts,
    lost_attempt,
    lost_in_a_row,
)
from tocsin.domain.instant import Millis
from tocsin.domain.job import DeliveryMode, Job, JobSpec, JobStatus


def settle(
    execution: Execution,
    attempt: Attempt,
    spec: JobSpec,
    *,
    now: Millis,
    request_written: bool,
    retry_after: Millis | None = None,
) -> Execution:
    """The execution after an attempt whose end is known.

    ``request_written`` says whether a single byte of the request may have left: with
    ``at_most_once`` such an attempt is never tried again, whatever came of it.
    """
    attempts = (*execution.attempts, attempt)
    if attempt.error_kind is None:
        return closed(execution, State.SUCCEEDED, None, now, attempts=attempts)
    if attempt.error_kind is ErrorKind.CANCELLED:
        return closed(execution, State.CANCELLED, Reason.REQUESTED, now, attempts=attempts)
    counted = counted_attempts(attempts)
    again = (
        counted < spec.retry.max_attempts
        and spec.retry.retries(attempt.error_kind, attempt.http_status)
        and not (spec.delivery is DeliveryMode.AT_MOST_ONCE and request_written)
    )
    if not again:
        return closed(execution, State.FAILED, None, now, attempts=attempts)
    delay = spec.retry.delay(counted, execution_id=execution.id, retry_after=retry_after)
    return waiting(execution, now + delay, attempts=attempts)


def waiting(
    execution: Execution, available_at: Millis, *, attempts: tuple[Attempt, ...] | None = None
) -> Execution:
    """The same execution, free to be claimed from an instant on; as ``closed`` does."""
    return replace(
        execution,
        state=State.PENDING,
        available_at=available_at,
        owner=None,
        finished_at=None,
        attempts=execution.attempts if attempts is None else attempts,
    )


def rescue(execution: Execution, job: Job | None, *, node: str, now: Millis) -> Execution:
    """The execution after its owner was revoked; ``job`` is ``None`` where it is gone for good.

    What was not due yet cannot have started, because a call leaves at its instant. Anything
    else may have, so it counts as lost: tried again, or ended where the job forbids that. So may
    what is exact, whatever the clock says now: it was claimed at its instant, and where that lies
    ahead the clock has been set back since.
    """
    leaves_at = execution.due if execution.available_at is None else execution.available_at
    started = execution.exact or leaves_at <= now
    after = execution
    if started:
        attempt = lost_attempt(execution, node=node, now=now)
        after = replace(execution, attempts=(*execution.attempts, attempt))
    reason = void(execution, job)
    if reason is not None:
        return closed(after, State.CANCELLED, reason, now)
    if not started:
        return waiting(after, leaves_at)
    at_most_once = job is not None and job.spec.delivery is DeliveryMode.AT_MOST_ONCE
    if at_most_once or lost_in_a_row(after.attempts) >= LOST_IN_A_ROW:
        return closed(after, State.FAILED, Reason.LOST, now)
    return waiting(after, now)


def void(execution: Execution, job: Job | None) -> Reason | None:
    """Why an execution that has yet to start (again) must not, by the state of its job.

    A paused job has no fire times, but what a person asked for by hand still runs.
    """
    if job is None or job.status is JobStatus.DELETED:
        return Reason.DELETED
    if job.status is JobStatus.CANCELLED:
        return Reason.REQUESTED
    if job.status is JobStatus.PAUSED and execution.trigger is TriggerKind.SCHEDULE:
        return Reason.PAUSED
    return None
