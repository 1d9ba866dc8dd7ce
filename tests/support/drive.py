"""What tests do with a store, in few words: the real decisions of the domain, with defaults."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

from tests.support.build import (
    NO_LIMITS,
    NOW,
    changed,
    claim_request,
    new_job,
    node,
    timer,
)
from tocsin.domain.execution import Execution, Reason
from tocsin.domain.instant import Millis
from tocsin.domain.job import Job, JobStatus
from tocsin.domain.planning import (
    Admission,
    FirePlan,
    Live,
    Timer,
    Window,
    admit,
    plan_fires,
)
from tocsin.domain.settle import rescue, void
from tocsin.store.port import (
    Claim,
    Claimed,
    ExecutionQuery,
    JobQuery,
    JobView,
    NewJob,
    Recorded,
    Request,
    Store,
)


async def add(store: Store, *jobs: Job | NewJob, after: Millis = NOW - 1) -> None:
    """Store jobs with their timers."""
    await store.create_jobs(
        [one if isinstance(one, NewJob) else new_job(one, after=after) for one in jobs],
        limits=NO_LIMITS,
    )


async def join(store: Store, *incarnations: str, now: Millis = NOW) -> None:
    """Register nodes."""
    for incarnation in incarnations or ("inc-a",):
        await store.register(node(incarnation, now=now))


async def change(
    store: Store,
    old: Job,
    *,
    now: Millis = NOW,
    timer: Timer | None = None,
    cancel_waiting: Reason | None = None,
    closing: Sequence[Execution] = (),
    **fields: Any,
) -> Job:
    """Change a job and say that it worked; without a timer it has no fire any more.

    So an active one is completed then.
    """
    after = changed(old, now=now, **fields)
    if timer is None and after.status is JobStatus.ACTIVE:
        after = replace(after, status=JobStatus.COMPLETED)
    ended = await store.change_job(
        after,
        if_version=old.version,
        timer=timer,
        limits=NO_LIMITS,
        cancel_waiting=cancel_waiting,
        closing=closing,
        now=now,
    )
    assert ended is not None, "the version had moved on"
    return after


async def pause(store: Store, old: Job, *, now: Millis = NOW) -> Job:
    """Pause a job as the service does."""
    return await change(store, old, now=now, status=JobStatus.PAUSED, cancel_waiting=Reason.PAUSED)


async def resume(store: Store, old: Job, *, now: Millis = NOW) -> Job:
    """Resume a job: it is planned from now on."""
    return await change(
        store, old, now=now, status=JobStatus.ACTIVE, timer=timer(old, after=now - 1)
    )


async def delete(store: Store, old: Job, *, now: Millis = NOW) -> Job:
    """Delete a job as the service does."""
    return await change(
        store, old, now=now, status=JobStatus.DELETED, cancel_waiting=Reason.DELETED
    )


async def claim(store: Store, now: Millis = NOW, **fields: Any) -> Claimed:
    """Claim with the real planner."""
    return await store.claim(claim_request(now, **fields), plan_fires)


async def claim_all(store: Store, now: Millis = NOW, **fields: Any) -> list[Claim]:
    """Claim until nothing more comes at once."""
    claims: list[Claim] = []
    for _ in range(1_000):
        claimed = await claim(store, now, **fields)
        claims += claimed.claims
        if not claimed.more:
            return claims
    raise AssertionError("claims go on and on")


async def claim_one(store: Store, now: Millis = NOW, **fields: Any) -> Claim:
    """Claim, and expect exactly one."""
    (only,) = (await claim(store, now, **fields)).claims
    return only


async def record(
    store: Store, *results: Execution, now: Millis = NOW, incarnation: str = "inc-a"
) -> Recorded:
    """Record with the real decision on what is void."""
    return await store.record(incarnation, results, now=now, void=void)


async def trigger(
    store: Store,
    execution: Execution,
    *,
    now: Millis = NOW,
    request: Request | None = None,
) -> tuple[Execution, Sequence[Execution]] | Request:
    """Add an execution with the real admission."""
    return await store.add_execution(execution, admit=by_overlap, now=now, request=request)


def by_overlap(job: Job, live: Live) -> Admission:
    """The admission as the service decides it."""
    return admit(job.spec.overlap, live)


async def rescue_all(
    store: Store,
    now: Millis = NOW,
    *,
    clock: Callable[[], Millis] | None = None,
    limit: int = 1_000,
) -> list[Execution]:
    """One rescue with the real decision, made at ``now``, or when the clock says that it is."""

    def decide(execution: Execution, job: Job | None) -> Execution:
        return rescue(execution, job, node="a dead node", now=now if clock is None else clock())

    return list(await store.rescue(now=now, decide=decide, limit=limit))


async def executions(store: Store, *, page: int = 500, **query: Any) -> list[Execution]:
    """All executions that match, newest first, page by page."""
    wanted = ExecutionQuery(limit=page, **query)
    found: list[Execution] = []
    while True:
        part = await store.list_executions(wanted)
        found += part.items
        if part.next is None:
            return found
        wanted = replace(wanted, cursor=part.next)


async def jobs(store: Store, *, page: int = 500, **query: Any) -> list[JobView]:
    """All jobs that match, page by page."""
    wanted = JobQuery(limit=page, **query)
    found: list[JobView] = []
    while True:
        part = await store.list_jobs(wanted)
        found += part.items
        if part.next is None:
            return found
        wanted = replace(wanted, cursor=part.next)


async def stored(store: Store, execution: Execution | Claim) -> Execution:
    """An execution as it is stored now."""
    known = execution.execution if isinstance(execution, Claim) else execution
    found = await store.get_execution(known.id)
    assert found is not None, "the execution is gone"
    return found


async def view(store: Store, of: Job, *, now: Millis = NOW) -> JobView:
    """A job as it is stored now."""
    found = await store.get_job(of.namespace, of.id, now=now)
    assert found is not None, "the job is gone"
    return found


class Spy:
    """The real planner, remembering what it was asked."""

    def __init__(self) -> None:
        self.asked: list[tuple[Job, Timer, Live, Window]] = []

    def __call__(self, job: Job, timer: Timer, live: Live, window: Window) -> FirePlan:
        self.asked.append((job, timer, live, window))
        return plan_fires(job, timer, live, window)


def ids(claims: Sequence[Claim | Execution]) -> set[str]:
    """The ids of executions."""
    return {one.execution.id if isinstance(one, Claim) else one.id for one in claims}
