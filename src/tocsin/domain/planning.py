"""Which fire times become executions, and of what kind."""

from dataclasses import dataclass
from typing import assert_never

from tocsin.domain.execution import (
    Execution,
    Reason,
    State,
    TriggerKind,
    execution_id,
    make_execution,
)
from tocsin.domain.instant import Millis
from tocsin.domain.job import Job, JobSpec, MisfirePolicy, Overlap
from tocsin.domain.quick import maker, quick
from tocsin.domain.schedule.model import MAX_GRACE, MIN_GRACE

LOOK_AT_MOST = 1_000
"""How many fire times of a job one plan looks at; the rest is planned by the next claim."""

QUEUE_AT_MOST = 10
"""How many executions of a job wait with overlap ``queue``; what comes after is skipped."""


@quick
@dataclass(frozen=True, kw_only=True, slots=True)
class Timer:
    """The next fire of a job that no plan has looked at."""

    job_id: str
    fire_at: Millis
    due_at: Millis
    lane: int
    exact: bool


@quick
@dataclass(frozen=True, kw_only=True, slots=True)
class Live:
    """How many executions of a job are neither ended nor skipped."""

    running: int = 0
    """Claimed, or free to be claimed at their instant."""
    queued: int = 0
    """Waiting for older ones to end."""


@quick
@dataclass(frozen=True, kw_only=True, slots=True)
class Window:
    """What one claim looks at, and for whom."""

    now: Millis
    until: Millis
    """The latest due instant that is planned; later than ``now`` by the claim horizon at most."""
    owner: str
    """The incarnation that claims."""
    room: int
    """How many executions may be claimed; others that should run are left pending."""


make_timer = maker(Timer)
make_window = maker(Window)
"""Each from all of its fields, in their order: a claim makes one of both per fire."""


@quick
@dataclass(frozen=True, kw_only=True, slots=True)
class FirePlan:
    """What becomes of a timer; applied as a whole, or dropped where the timer has moved."""

    job_id: str
    job_version: int
    fire_at: Millis
    """The timer that was read: with ``job_version`` the condition under which the plan holds."""
    executions: tuple[Execution, ...]
    """New rows: claimed, pending or skipped."""
    replaces: bool
    """Whether whatever is live of the job is cancelled before (overlap ``replace``)."""
    next: Timer | None
    """The timer afterwards; ``None`` ends it, and an active job is completed."""


@quick
@dataclass(frozen=True, kw_only=True, slots=True)
class Admission:
    """How an execution enters the store."""

    state: State
    reason: Reason | None = None
    queued: bool = False
    replaces: bool = False


def admit(overlap: Overlap, live: Live) -> Admission:
    """Decide what becomes of an execution that is called for while ``live`` exist."""
    busy = live.running + live.queued > 0
    match overlap:
        case Overlap.ALLOW:
            return Admission(state=State.PENDING)
        case Overlap.SKIP:
            if busy:
                return Admission(state=State.SKIPPED, reason=Reason.OVERLAP)
            return Admission(state=State.PENDING)
        case Overlap.QUEUE:
            if live.queued >= QUEUE_AT_MOST:
                return Admission(state=State.SKIPPED, reason=Reason.QUEUE_FULL)
            return Admission(state=State.PENDING, queued=busy)
        case Overlap.REPLACE:
            return Admission(state=State.PENDING, replaces=busy)
    assert_never(overlap)


def first_timer(job_id: str, spec: JobSpec, after: Millis) -> Timer | None:
    """The timer of a job whose next fire time is the first one later than ``after``."""
    fire_at = spec.schedule.next_after(after)
    return None if fire_at is None else timer_at(job_id, spec, fire_at)


def timer_at(job_id: str, spec: JobSpec, fire_at: Millis) -> Timer:
    """The timer of a job at a known fire time."""
    return Timer(
        job_id=job_id,
        fire_at=fire_at,
        due_at=spec.schedule.due(fire_at, job_id),
        lane=spec.lane,
        exact=spec.exact,
    )


def plan_fires(job: Job, timer: Timer, live: Live, window: Window) -> FirePlan:
    """Decide what becomes of the fire times that are due by the end of the window.

    Fire times noticed later than their grace go by the misfire policy, the others all run;
    what runs goes by the overlap policy. Looks at ``LOOK_AT_MOST`` fire times.
    """
    plan = _plan_one(job, timer, window)
    return _plan_any(job, timer, live, window) if plan is None else plan


def _plan_one(job: Job, timer: Timer, window: Window) -> FirePlan | None:
    """The plan where one fire time is due, is not missed and runs whatever else is live.

    That is nearly every fire, and this takes a third of the time of ``_plan_any``, which would
    come to the same. ``None`` where it is not that simple.
    """
    spec, due = job.spec, timer.due_at
    if spec.overlap is not _ALLOW or due > window.until or window.room <= 0:
        return None
    grace = spec.misfire.grace
    if window.now - due > max(0, MIN_GRACE if grace is None else grace):
        return None
    schedule, lane, exact = spec.schedule, spec.lane, spec.exact
    fire_at, job_id = timer.fire_at, job.id
    next_fire = schedule.next_after(fire_at)
    following = None
    if next_fire is not None:
        next_due = schedule.due(next_fire, job_id)
        if next_due <= window.until:
            return None
        following = make_timer(job_id, next_fire, next_due, lane, exact)
    execution = make_execution(
        execution_id(job_id, fire_at),
        job_id,
        job.name,
        job.namespace,
        job.version,
        _SCHEDULE,
        fire_at,
        due,
        _CLAIMED,
        None,  # reason
        False,  # queued
        due,  # available_at
        lane,
        exact,
        window.owner,
        None,  # retry_of
        None,  # input
        None,  # skipped_until
        None,  # skipped_count
        (),  # attempts
        None,  # finished_at
    )
    return _make_plan(job_id, job.version, fire_at, (execution,), False, following)


_make_plan = maker(FirePlan)
# In Python 3.11 it takes as long to look up a member of an enumeration as to call a function.
_ALLOW = Overlap.ALLOW
_SCHEDULE = TriggerKind.SCHEDULE
_CLAIMED = State.CLAIMED


def _plan_any(job: Job, timer: Timer, live: Live, window: Window) -> FirePlan:
    seen, next_fire = _fire_times(job, timer, window)
    missed = [fire for fire in seen if fire.missed]
    run_anyway = _runs_of_missed(job.spec, len(missed))
    if next_fire is not None and len(seen) == LOOK_AT_MOST and run_anyway and seen[-1].missed:
        # Which missed ones are the newest is not known before all are seen: these wait for the
        # next plan, which starts with them.
        held_back = missed[-run_anyway].fire_time
        seen = [fire for fire in seen if fire.fire_time < held_back]
        missed = [fire for fire in seen if fire.missed]
        next_fire = held_back
        run_anyway = 0
    skipped = {fire.fire_time for fire in missed[: len(missed) - run_anyway]}

    replaces = False
    running, queued, claimed = live.running, live.queued, 0
    last_run = max((fire.fire_time for fire in seen if fire.fire_time not in skipped), default=0)
    rows = _Rows(job, window.now)
    for fire in seen:
        if fire.fire_time in skipped:
            rows.skip(fire, Reason.MISFIRE)
            continue
        admission = admit(job.spec.overlap, Live(running=running, queued=queued))
        if admission.state is State.SKIPPED and admission.reason is not None:
            rows.skip(fire, admission.reason)
            continue
        if job.spec.overlap is Overlap.REPLACE and fire.fire_time != last_run:
            rows.skip(fire, Reason.REPLACED)
            continue
        replaces = replaces or admission.replaces
        claim = not admission.queued and claimed < window.room
        claimed += claim
        running += not admission.queued
        queued += admission.queued
        rows.run(fire, owner=window.owner if claim else None, queued=admission.queued)
    return FirePlan(
        job_id=job.id,
        job_version=job.version,
        fire_at=timer.fire_at,
        executions=rows.all(),
        replaces=replaces,
        next=None if next_fire is None else timer_at(job.id, job.spec, next_fire),
    )


@dataclass(frozen=True, slots=True)
class _Fire:
    fire_time: Millis
    due: Millis
    missed: bool


def _fire_times(job: Job, timer: Timer, window: Window) -> tuple[list[_Fire], Millis | None]:
    """The due fire times, oldest first, and the first one after them."""
    seen: list[_Fire] = []
    schedule = job.spec.schedule
    fixed_grace = job.spec.misfire.grace
    fire_time: Millis | None = timer.fire_at
    due = timer.due_at
    while fire_time is not None and due <= window.until and len(seen) < LOOK_AT_MOST:
        late = window.now - due
        # To find the default grace takes as long as all the rest; its bound spares most of that.
        missed = late > 0 and (
            late > MAX_GRACE or late > schedule.default_grace(fire_time)
            if fixed_grace is None
            else late > fixed_grace
        )
        seen.append(_Fire(fire_time, due, missed))
        fire_time = schedule.next_after(fire_time)
        if fire_time is not None:
            due = schedule.due(fire_time, job.id)
    return seen, fire_time


def _runs_of_missed(spec: JobSpec, missed: int) -> int:
    match spec.misfire.policy:
        case MisfirePolicy.LATEST:
            return min(missed, 1)
        case MisfirePolicy.ALL:
            return min(missed, spec.misfire.max)
        case MisfirePolicy.SKIP:
            return 0
    assert_never(spec.misfire.policy)


class _Rows:
    """The rows of a plan, in the order of their fire times.

    Neighbouring skips for the same reason are one row, made when the last of them is known: an
    outage skips a thousand at a time.
    """

    def __init__(self, job: Job, now: Millis) -> None:
        self._job = job
        self._now = now
        self._rows: list[Execution] = []
        self._skips: list[_Fire] = []
        self._reason: Reason | None = None

    def skip(self, fire: _Fire, reason: Reason) -> None:
        """Add a fire time that does not run."""
        if reason is not self._reason:
            self._close_range()
            self._reason = reason
        self._skips.append(fire)

    def run(self, fire: _Fire, *, owner: str | None, queued: bool) -> None:
        """Add a fire time that runs, claimed where it has an owner."""
        self._close_range()
        state = State.PENDING if owner is None else State.CLAIMED
        self._rows.append(_row(self._job, fire, state, owner=owner, queued=queued))

    def all(self) -> tuple[Execution, ...]:
        """Whatever was added."""
        self._close_range()
        return tuple(self._rows)

    def _close_range(self) -> None:
        if not self._skips:
            return
        count = len(self._skips)
        self._rows.append(
            _row(
                self._job,
                self._skips[0],
                State.SKIPPED,
                reason=self._reason,
                skipped_until=self._skips[-1].fire_time if count > 1 else None,
                skipped_count=count if count > 1 else None,
                finished_at=self._now,
            )
        )
        self._skips, self._reason = [], None


def _row(
    job: Job,
    fire: _Fire,
    state: State,
    *,
    owner: str | None = None,
    queued: bool = False,
    reason: Reason | None = None,
    skipped_until: Millis | None = None,
    skipped_count: int | None = None,
    finished_at: Millis | None = None,
) -> Execution:
    return Execution(
        id=execution_id(job.id, fire.fire_time),
        job_id=job.id,
        job_name=job.name,
        namespace=job.namespace,
        job_version=job.version,
        trigger=TriggerKind.SCHEDULE,
        fire_time=fire.fire_time,
        due=fire.due,
        state=state,
        reason=reason,
        queued=queued,
        available_at=None if state is State.SKIPPED else fire.due,
        lane=job.spec.lane,
        exact=job.spec.exact,
        owner=owner,
        skipped_until=skipped_until,
        skipped_count=skipped_count,
        finished_at=finished_at,
    )
