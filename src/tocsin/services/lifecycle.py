"""What becomes of a job when somebody edits, pauses, resumes, cancels or deletes it.

Pure decisions: a ``Change`` for the store to apply, or ``None`` where nothing is to be done.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

from tocsin.domain.codec import spec_text
from tocsin.domain.errors import Conflict, InvalidInput
from tocsin.domain.execution import Execution, Reason, State, execution_id
from tocsin.domain.instant import Millis
from tocsin.domain.job import Job, JobSpec, JobStatus
from tocsin.domain.planning import LOOK_AT_MOST, Timer, timer_at
from tocsin.domain.schedule import At, Schedule
from tocsin.services.definitions import AT_GRACE, Definition
from tocsin.store.port import JobView, NewJob


@dataclass(frozen=True, kw_only=True, slots=True)
class Change:
    """A job as it is to be, with its timer and what ends by the way."""

    job: Job
    timer: Timer | None
    word: str
    """What happened, for those who listen."""
    cancel_waiting: Reason | None = None
    closing: tuple[Execution, ...] = ()


def created(
    definition: Definition, *, job_id: str, namespace: str, now: Millis, name: str | None = None
) -> NewJob:
    """A new job; raises ``InvalidInput`` (``never_fires``) where no fire is to come."""
    spec = definition.spec
    fire_at = next_fire(spec, now=now, last_planned=None)
    if fire_at is None:
        raise _never_fires(spec.schedule)
    return NewJob(
        job=Job(
            id=job_id,
            namespace=namespace,
            name=definition.name or name or job_id,
            spec=spec,
            status=JobStatus.ACTIVE,
            version=1,
            created_at=now,
            updated_at=now,
        ),
        timer=timer_at(job_id, spec, fire_at),
        written=spec_text(spec),
    )


def next_fire(spec: JobSpec, *, now: Millis, last_planned: Millis | None) -> Millis | None:
    """The first fire time to come of a definition that starts to hold now.

    Never one that was planned before. An ``at`` within its grace is still to come.
    """
    after = _start(spec.schedule, spec.misfire.grace, now)
    if last_planned is not None:
        after = max(after, last_planned)
    return spec.schedule.next_after(after)


def first_fire(schedule: Schedule, grace: Millis | None, *, now: Millis) -> Millis | None:
    """The same of a new job, from the parts of its definition that say so."""
    return schedule.next_after(_start(schedule, grace, now))


def _start(schedule: Schedule, grace: Millis | None, now: Millis) -> Millis:
    kind = schedule.kind
    if isinstance(kind, At) and now - (AT_GRACE if grace is None else grace) <= kind.instant <= now:
        return kind.instant - 1
    return now


def edited(
    view: JobView,
    definition: Definition,
    *,
    now: Millis,
    last_planned: Millis | None,
    wake: bool,
) -> Change | None:
    """A job with another definition; ``None`` where it is the one it has.

    A completed or cancelled job becomes active again by a schedule that still fires, if that is
    another one than before or ``wake`` says that it was asked for. Raises ``InvalidInput``
    (``never_fires``) for another schedule that has no fire to come.
    """
    old, spec = view.job, definition.spec
    name = definition.name or old.name
    asleep = old.status in (JobStatus.COMPLETED, JobStatus.CANCELLED)
    rescheduled = spec.schedule != old.spec.schedule
    unchanged = spec == old.spec and name == old.name
    if unchanged and not (asleep and wake):
        return None

    # An unchanged schedule keeps its timer: what is overdue right now is still called for.
    fire_at = view.next_fire_at if old.status is JobStatus.ACTIVE and not rescheduled else None
    if fire_at is None or (last_planned is not None and fire_at <= last_planned):
        fire_at = next_fire(spec, now=now, last_planned=last_planned)
    if fire_at is None and rescheduled:
        raise _never_fires(spec.schedule)

    status = old.status
    if asleep and fire_at is not None and (wake or rescheduled):
        status = JobStatus.ACTIVE
    elif status is JobStatus.ACTIVE and fire_at is None:
        status = JobStatus.COMPLETED
    if unchanged and status is old.status:
        return None
    job = _next_version(replace(old, name=name, spec=spec, status=status), now)
    runs = status is JobStatus.ACTIVE and fire_at is not None
    return Change(
        job=job,
        timer=timer_at(job.id, spec, fire_at) if runs and fire_at is not None else None,
        word="updated",
        closing=overdue(view, Reason.CHANGED, now) if rescheduled else (),
    )


def paused(view: JobView, *, now: Millis) -> Change | None:
    """A job that fires no more until it is resumed; raises ``Conflict`` where it has ended."""
    old = view.job
    if old.status is JobStatus.PAUSED:
        return None
    if old.status is not JobStatus.ACTIVE:
        raise _wrong_status(old, "paused", "only an active job can be")
    return Change(
        job=_next_version(replace(old, status=JobStatus.PAUSED), now),
        timer=None,
        word="paused",
        cancel_waiting=Reason.PAUSED,
        closing=overdue(view, Reason.PAUSED, now),
    )


def resumed(view: JobView, *, now: Millis, last_planned: Millis | None) -> Change | None:
    """A paused job that fires again, from now on.

    An ``at`` that passed meanwhile ends skipped, and the job is completed.
    """
    old = view.job
    if old.status is JobStatus.ACTIVE:
        return None
    if old.status is not JobStatus.PAUSED:
        raise _wrong_status(old, "resumed", "only a paused job can be; give it a new schedule")
    after = now if last_planned is None else max(now, last_planned)
    fire_at = old.spec.schedule.next_after(after)
    closing: tuple[Execution, ...] = ()
    kind = old.spec.schedule.kind
    if fire_at is None and isinstance(kind, At):
        passed = old.spec.schedule.next_after(kind.instant - 1)
        if passed is not None and (last_planned is None or last_planned < passed):
            closing = (_skipped(old, passed, Reason.PAUSED, now),)
    status = JobStatus.COMPLETED if fire_at is None else JobStatus.ACTIVE
    return Change(
        job=_next_version(replace(old, status=status), now),
        timer=None if fire_at is None else timer_at(old.id, old.spec, fire_at),
        word="completed" if fire_at is None else "resumed",
        closing=closing,
    )


def cancelled(view: JobView, *, now: Millis) -> Change | None:
    """A job that has ended for good; what it has live ends too."""
    if view.job.status is JobStatus.CANCELLED:
        return None
    return Change(
        job=_next_version(replace(view.job, status=JobStatus.CANCELLED), now),
        timer=None,
        word="cancelled",
        cancel_waiting=Reason.REQUESTED,
        closing=overdue(view, Reason.REQUESTED, now),
    )


def deleted(view: JobView, *, now: Millis) -> Change:
    """A job that is gone but for its history."""
    return Change(
        job=_next_version(replace(view.job, status=JobStatus.DELETED), now),
        timer=None,
        word="deleted",
        cancel_waiting=Reason.DELETED,
        closing=overdue(view, Reason.DELETED, now),
    )


def overdue(view: JobView, reason: Reason, now: Millis) -> tuple[Execution, ...]:
    """Fire times that were due but that no claim has looked at, as one skipped execution.

    So that nothing due disappears when its job changes just then. Looks at ``LOOK_AT_MOST``.
    """
    job, first = view.job, view.next_fire_at
    if job.status is not JobStatus.ACTIVE or first is None or first > now:
        return ()
    last, count = first, 1
    while count < LOOK_AT_MOST:
        following = job.spec.schedule.next_after(last)
        if following is None or following > now:
            break
        last, count = following, count + 1
    skipped = _skipped(job, first, reason, now)
    if count > 1:
        skipped = replace(skipped, skipped_until=last, skipped_count=count)
    return (skipped,)


def view_after(view: JobView, change: Change, ended: Sequence[Execution]) -> JobView:
    """What a reader sees once a change is stored."""
    newest = view.last_execution
    for execution in ended:
        if newest is None or execution.id >= newest.id:
            newest = execution
    return JobView(
        job=change.job,
        next_fire_at=None if change.timer is None else change.timer.fire_at,
        last_execution=newest,
    )


def _skipped(job: Job, fire_time: Millis, reason: Reason, now: Millis) -> Execution:
    return Execution(
        id=execution_id(job.id, fire_time),
        job_id=job.id,
        job_name=job.name,
        namespace=job.namespace,
        job_version=job.version,
        fire_time=fire_time,
        due=job.spec.schedule.due(fire_time, job.id),
        state=State.SKIPPED,
        reason=reason,
        lane=job.spec.lane,
        exact=job.spec.exact,
        finished_at=now,
    )


def _next_version(job: Job, now: Millis) -> Job:
    return replace(job, version=job.version + 1, updated_at=max(now, job.updated_at))


def _never_fires(schedule: Schedule) -> InvalidInput:
    return InvalidInput.of(
        "schedule",
        f"has no fire to come ({schedule.describe()}); move it, or its ends_at, into the future",
        "never_fires",
    )


def _wrong_status(job: Job, verb: str, why: str) -> Conflict:
    return Conflict(
        f"job {job.name!r} is {job.status.value} and cannot be {verb}: {why}", code="wrong_status"
    )
