"""Random sequences of port calls, on a store and on the memory model: the same results, the same
rows, and the promises that hold whatever happens.

``TOCSIN_TEST_SCALE=50 pytest tests/conformance/test_state_machine.py`` searches for longer.
"""

import asyncio
import shutil
import tempfile
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, ClassVar

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.internal.conjecture import engine
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

from tests.support.build import NO_LIMITS, NOW, claim_request, failed_attempt, new_job, node
from tests.support.build import attempt as good_attempt
from tests.support.build import job as make_job
from tests.support.drive import by_overlap, executions, jobs
from tests.support.memory_store import MemoryStore
from tests.support.scale import SCALE
from tests.support.stores import STORES, make_store
from tocsin.domain.errors import InvalidInput, TocsinError
from tocsin.domain.execution import (
    ErrorKind,
    Execution,
    Reason,
    State,
    TriggerKind,
    closed,
    execution_id,
)
from tocsin.domain.instant import HOUR, MINUTE, SECOND, Millis
from tocsin.domain.job import (
    DeliveryMode,
    HttpTarget,
    Job,
    JobStatus,
    Json,
    LogTarget,
    Misfire,
    MisfirePolicy,
    Overlap,
)
from tocsin.domain.planning import FirePlan, Live, Timer, Window, first_timer, plan_fires
from tocsin.domain.retry import RetryPolicy
from tocsin.domain.schedule import At, Cron, Every, Schedule
from tocsin.domain.settle import rescue, settle, void
from tocsin.domain.tally import tally_of
from tocsin.store.port import (
    Claim,
    Claimed,
    JobSort,
    JobView,
    NewJobs,
    Recorded,
    Request,
    Stats,
    Store,
)

NODES = ("inc-a", "inc-b", "inc-c")
NAMES = ("alpha", "beta", "gamma", "delta")
TTL = 5_000

choices = st.integers(0, 10_000)
"""Which of the things that there are; taken modulo their number."""

schedules = st.builds(
    Schedule,
    kind=st.builds(
        Every,
        interval=st.sampled_from([SECOND, 3 * SECOND, 20 * SECOND, 5 * MINUTE]),
        anchor=st.integers(NOW, NOW + 5_000),
    )
    | st.builds(At, instant=st.integers(NOW, NOW + 60_000))
    | st.builds(Cron, expression=st.sampled_from(["*/2 * * * * *", "* * * * *"])),
    jitter=st.sampled_from([0, 0, 1_500]),
    ends_at=st.none() | st.integers(NOW, NOW + 10 * MINUTE),
)
definitions = st.fixed_dictionaries(
    {
        "schedule": schedules,
        "target": st.sampled_from(
            [
                LogTarget(text="tick"),
                HttpTarget(url="https://a.example"),
                HttpTarget(url="https://b.example"),
            ]
        ),
        "overlap": st.sampled_from([Overlap.ALLOW, Overlap.QUEUE, *Overlap]),
        "delivery": st.sampled_from([*[DeliveryMode.AT_LEAST_ONCE] * 3, DeliveryMode.AT_MOST_ONCE]),
        "misfire": st.builds(
            Misfire,
            policy=st.sampled_from(MisfirePolicy),
            grace=st.sampled_from([None, 0, 2_000]),
            max=st.sampled_from([1, 3]),
        ),
        "retry": st.builds(
            RetryPolicy,
            max_attempts=st.sampled_from([3, 6, 1]),
            initial=st.sampled_from([0, 1, 700, 10_000]),
            jitter=st.sampled_from([0.0, 0.5]),
        ),
        "description": st.sampled_from(["", "short", "longer than that"]),
        "tags": st.sampled_from([(), ("x",), ("x", "y")]),
    }
)
waits = st.sampled_from(["until due", "until due", "until due", 0, 1, SECOND, 10 * SECOND])
LANES = [LogTarget(text=""), HttpTarget(url="https://a.example")]
requests = st.none() | st.sampled_from(["key-1", "key-2", "key-3"])


@dataclass(frozen=True)
class Raised:
    """What a call raised, as far as the port says."""

    kind: type[TocsinError]
    problems: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True)
class Sent:
    """A batch of results, to be sent again."""

    incarnation: str
    results: tuple[Execution, ...]


def raised(error: TocsinError) -> Raised:
    """What an error has in common on all stores."""
    if isinstance(error, InvalidInput):
        problems = tuple((problem.field, problem.code) for problem in error.problems)
        return Raised(InvalidInput, problems)
    return Raised(type(error))


def comparable(value: Any) -> object:
    """A result without the order that the port leaves open."""
    match value:
        case TocsinError():
            return raised(value)
        case [*outcomes] if any(isinstance(one, TocsinError) for one in outcomes):
            return [comparable(one) for one in outcomes]
        case Claimed():
            claims = {
                claim.execution.id: (claim.execution, _as_claimed(claim.job))
                for claim in value.claims
            }
            assert len(claims) == len(value.claims), "claimed twice in one claim"
            ended = _by_id(value.closed)
            assert not claims.keys() & ended.keys(), "both claimed and ended"
            wakes = (value.wake_at, value.exact_at)
            return claims, ended, sorted(value.completed), value.more, wakes
        case Recorded():
            return _by_id(value.stored), sorted(value.rejected)
        case Stats():
            by_status = {status: count for status, count in value.jobs.items() if count}
            return (
                by_status,
                value.pending,
                value.claimed,
                value.tally,
                list(value.minutes),
                list(value.next_fires),
            )
        case tuple((Execution() as first, list() | tuple() as replaced)):
            return first, _by_id(replaced)
        case [Execution(), *_]:
            return _by_id(value)
        case [Claim(), *_]:
            return {
                claim.execution.id: (claim.execution, _as_claimed(claim.job)) for claim in value
            }
        case list() | tuple():
            return list(value)
        case _:
            return value


def _as_claimed(job: Job) -> Job:
    """With a claim a job may be told as it was before its last fire was planned."""
    return replace(job, status=JobStatus.ACTIVE) if job.status is JobStatus.COMPLETED else job


def _by_id(some: Sequence[Execution]) -> dict[str, Execution]:
    found = {one.id: one for one in some}
    assert len(found) == len(some), "told twice"
    return found


class Witness:
    """The real planner, noting what it was asked and what it said."""

    def __init__(self) -> None:
        self.plans: list[tuple[Job, Timer, Window, FirePlan]] = []

    def __call__(self, job: Job, timer: Timer, live: Live, window: Window) -> FirePlan:
        plan = plan_fires(job, timer, live, window)
        self.plans.append((job, timer, window, plan))
        return plan


class StoreMachine(RuleBasedStateMachine):
    """A store, the model, and what is known from outside of both."""

    kind: ClassVar[str]

    def __init__(self) -> None:
        super().__init__()
        self.loop = asyncio.new_event_loop()
        self.directory = Path(tempfile.mkdtemp(prefix="tocsin-machine-"))
        self.model = MemoryStore()
        self.real: Store = make_store(self.kind, self.directory, inline=True)
        self.run(self.real.open())
        self.now = NOW
        self.counter = 0
        self.ids: list[str] = []
        """Of all jobs ever created."""
        self.versions: dict[str, Job] = {}
        """As they were last read or written."""
        self.timers: dict[str, Timer] = {}
        """As they were last set."""
        self.to_cover: dict[str, set[Millis]] = {}
        """The fire times that were planned, by the schedule."""
        self.held: dict[str, dict[str, Claim]] = {one: {} for one in NODES}
        self.sent: list[Sent] = []
        self.ended: dict[str, Execution] = {}
        """Every execution that was ever seen to have ended."""
        self.rows: dict[str, Execution] = {}
        """The last dump."""
        self.forgotten_before: Millis = 0

    def run(self, awaitable: Awaitable[Any]) -> Any:
        return self.loop.run_until_complete(awaitable)

    def teardown(self) -> None:
        self.run(self.real.close())
        self.loop.close()
        shutil.rmtree(self.directory)

    def both(self, call: Callable[[Store], Awaitable[Any]]) -> Any:
        """Do the same on both and compare; returns the result of the store."""

        async def outcome(store: Store) -> Any:
            try:
                return await call(store)
            except TocsinError as error:
                return raised(error)

        expected = self.run(outcome(self.model))
        got = self.run(outcome(self.real))
        assert comparable(got) == comparable(expected)
        return got

    # --- jobs

    @initialize(some=st.lists(definitions, min_size=1, max_size=3))
    def begin(self, some: list[dict[str, Any]]) -> None:
        for name, definition in zip(NAMES, some, strict=False):
            self.create([name], definition, None)

    @rule(
        names=st.lists(st.sampled_from(NAMES), min_size=1, max_size=2),
        free=st.sampled_from([True, True, True, False]),
        definition=definitions,
        key=requests,
    )
    def create_jobs(
        self, names: list[str], free: bool, definition: dict[str, Any], key: str | None
    ) -> None:
        if free:
            names = [f"job-{self.counter}"]
        self.create(names, definition, key)

    def create(self, names: list[str], definition: dict[str, Any], key: str | None) -> None:
        new = self.new_jobs(names, definition, key)
        done = self.both(
            lambda store: store.create_jobs(new.jobs, limits=NO_LIMITS, request=new.request)
        )
        if done is None:
            self.created(new)

    @rule(
        names=st.lists(st.lists(st.sampled_from(NAMES), max_size=2), max_size=4),
        definition=definitions,
        keys=st.lists(requests, min_size=4, max_size=4),
    )
    def create_sets(
        self, names: list[list[str]], definition: dict[str, Any], keys: list[str | None]
    ) -> None:
        sets = [
            self.new_jobs(some, definition, key) for some, key in zip(names, keys, strict=False)
        ]
        outcomes = self.both(lambda store: store.create_sets(sets, limits=NO_LIMITS))
        for new, outcome in zip(sets, outcomes, strict=True):
            if outcome is None:
                self.created(new)

    def new_jobs(self, names: list[str], definition: dict[str, Any], key: str | None) -> NewJobs:
        news = []
        for name in names:
            self.counter += 1
            job_id = f"00000000-0000-7000-8000-{self.counter:012}"
            job = make_job(name, id=job_id, created_at=self.now, updated_at=self.now, **definition)
            new = new_job(job, after=self.now - 1)
            if new.timer is None:
                new = replace(new, job=replace(job, status=JobStatus.COMPLETED))
            news.append(new)
        request = self.request("create", key, [new.job.id for new in news])
        return NewJobs(jobs=news, request=request)

    def created(self, some: NewJobs) -> None:
        for new in some.jobs:
            self.ids.append(new.job.id)
            self.written(new.job, new.timer)

    @precondition(lambda self: self.ids)
    @rule(
        which=choices,
        definition=definitions,
        name=st.none() | st.sampled_from(NAMES),
        late=st.sampled_from([False, False, False, True]),
    )
    def edit(self, which: int, definition: dict[str, Any], name: str | None, late: bool) -> None:
        job = self.job(which)
        if late:
            self.edit_a_version_that_moved_on(job)
        elif job.status not in {JobStatus.DELETED, JobStatus.CANCELLED}:
            spec = replace(job.spec, **definition)
            self.change(replace(job, spec=spec, name=name or job.name))

    def edit_a_version_that_moved_on(self, job: Job) -> None:
        done = self.both(
            lambda store: store.change_job(
                replace(job, version=job.version + 1, updated_at=self.now),
                if_version=job.version - 1,
                timer=None,
                limits=NO_LIMITS,
                cancel_waiting=Reason.CHANGED,
                now=self.now,
            )
        )
        assert done is None

    @precondition(lambda self: self.ids)
    @rule(
        which=choices,
        status=st.sampled_from([s for s in JobStatus if s is not JobStatus.COMPLETED]),
    )
    def set_status(self, which: int, status: JobStatus) -> None:
        job = self.job(which)
        if job.status is JobStatus.DELETED:
            return
        if status is JobStatus.PAUSED and job.status is not JobStatus.ACTIVE:
            return
        reasons = {
            JobStatus.PAUSED: Reason.PAUSED,
            JobStatus.CANCELLED: Reason.REQUESTED,
            JobStatus.DELETED: Reason.DELETED,
        }
        self.change(replace(job, status=status), reasons.get(status))

    def change(self, after: Job, cancel_waiting: Reason | None = None) -> None:
        """Change a job as the service does: planned from now, never behind what was planned."""
        before = self.versions[after.id]
        after = replace(after, version=before.version + 1, updated_at=self.now)
        planned = self.both(lambda store: store.last_planned(after.id))
        timer, closing = None, []
        if after.status in {JobStatus.ACTIVE, JobStatus.COMPLETED}:
            timer = first_timer(after.id, after.spec, max(self.now, planned or 0))
            status = JobStatus.COMPLETED if timer is None else JobStatus.ACTIVE
            kind = after.spec.schedule.kind
            if (
                before.status is JobStatus.PAUSED
                and isinstance(kind, At)
                and after.spec.schedule.next_after(kind.instant - 1) == kind.instant
                and timer is None
            ):
                closing = [self.passed_while_paused(after, kind.instant)]
            after = replace(after, status=status)
        done = self.both(
            lambda store: store.change_job(
                after,
                if_version=before.version,
                timer=timer,
                limits=NO_LIMITS,
                cancel_waiting=cancel_waiting,
                closing=closing,
                now=self.now,
            )
        )
        assert done is not None
        if not isinstance(done, Raised):
            self.written(after, timer)

    def passed_while_paused(self, job: Job, fire_time: Millis) -> Execution:
        return Execution(
            id=execution_id(job.id, fire_time),
            job_id=job.id,
            job_name=job.name,
            job_version=job.version,
            fire_time=fire_time,
            due=fire_time,
            state=State.SKIPPED,
            reason=Reason.PAUSED,
            lane=job.spec.lane,
            exact=job.spec.exact,
            finished_at=self.now,
        )

    def written(self, job: Job, timer: Timer | None) -> None:
        self.versions[job.id] = job
        self.timers.pop(job.id, None)
        if timer is not None:
            self.timers[job.id] = timer

    def job(self, which: int) -> Job:
        return self.versions[self.ids[which % len(self.ids)]]

    def request(self, operation: str, key: str | None, result: Any) -> Request | None:
        if key is None:
            return None
        return Request(
            namespace="default",
            operation=operation,
            key=key,
            fingerprint=str(self.counter),
            result=result,
            created_at=self.now,
        )

    # --- executions

    @precondition(lambda self: self.ids)
    @rule(which=choices, key=requests, salt=st.sampled_from(["a", "b"]))
    def trigger(self, which: int, key: str | None, salt: str) -> None:
        job = self.job(which)
        one = Execution(
            id=execution_id(job.id, self.now, salt),
            job_id=job.id,
            job_name=job.name,
            job_version=job.version,
            trigger=TriggerKind.MANUAL,
            fire_time=self.now,
            due=self.now,
            state=State.PENDING,
            available_at=self.now,
            lane=job.spec.lane,
            exact=job.spec.exact,
            input={"salt": salt},
        )
        request = self.request("trigger", key, one.id)
        self.both(
            lambda store: store.add_execution(one, admit=by_overlap, now=self.now, request=request)
        )

    @precondition(lambda self: self.rows)
    @rule(which=choices, whole_job=st.booleans())
    def cancel(self, which: int, whole_job: bool) -> None:
        one = self.rows[sorted(self.rows)[which % len(self.rows)]]
        target = {"job_id": one.job_id} if whole_job else {"execution_id": one.id}
        self.both(
            lambda store: store.cancel_executions(reason=Reason.REQUESTED, now=self.now, **target)
        )

    # --- nodes

    def join(self, incarnation: str) -> None:
        present = {one.incarnation for one in self.run(self.model.nodes())}
        if incarnation not in present:
            self.both(lambda store: store.register(node(incarnation, now=self.now, ttl=TTL)))

    @rule(
        incarnation=st.sampled_from(NODES),
        event=st.sampled_from(["renew", "renew", "leave", "revoke others"]),
    )
    def node_event(self, incarnation: str, event: str) -> None:
        load: Json = {"held": len(self.held[incarnation])}

        async def revoke(store: Store) -> list[Any]:
            revoked = await store.revoke_lapsed(now=self.now, by=incarnation)
            return sorted(revoked, key=lambda one: one.incarnation)

        match event:
            case "renew":
                self.both(lambda store: store.renew(incarnation, now=self.now, ttl=TTL, load=load))
            case "leave":
                self.both(lambda store: store.leave(incarnation))
            case _:
                self.both(revoke)

    @rule(limit=st.sampled_from([1, 1_000]))
    def rescue(self, limit: int) -> None:
        def decide(one: Execution, job: Job | None) -> Execution:
            return rescue(one, job, node="gone", now=self.now)

        # Which ones a limit leaves out is open.
        present = {one.incarnation for one in self.run(self.model.nodes())}
        orphans = sum(
            one.state is State.CLAIMED and one.owner not in present for one in self.rows.values()
        )
        size = limit if orphans <= limit else 1_000
        self.both(lambda store: store.rescue(now=self.now, decide=decide, limit=size))

    # --- the life of a fire

    @rule(
        incarnation=st.sampled_from(NODES),
        wait=waits,
        outcome=st.sampled_from(["none yet", "well", "badly", "badly, and told twice"]),
    )
    def fire(self, incarnation: str, wait: str | Millis, outcome: str) -> None:
        """As in quiet times: a node claims whatever is due, and all calls end alike."""
        self.wait(wait)
        self.join(incarnation)
        self.claim(incarnation, 1_000, 1_000, 1_000, (), 0)
        count = len(self.held[incarnation])
        if not count or outcome == "none yet":
            return
        kind = None if outcome == "well" else ErrorKind.HTTP_STATUS
        self.record_some(incarnation, [kind] * count, 0, 503, True)
        if outcome == "badly, and told twice":
            self.send(self.sent[-1])

    @rule(
        incarnation=st.sampled_from(NODES),
        wait=waits,
        joined=st.sampled_from([True, True, True, False]),
        ahead=st.sampled_from([0, 1_000, 5_000]),
        limit=st.sampled_from([0, 1, 3, 4, 9, 1_000]),
        exact_limit=st.sampled_from([0, 1, 3, 4, 9, 1_000]),
        busy=st.sampled_from([(), (), (0,), (0, 1)]),
        busy_jobs=st.sampled_from([0, 0, 0, 2]),
    )
    def claim_some(self, incarnation: str, wait: str | Millis, joined: bool, **limits: Any) -> None:
        self.wait(wait)
        if joined:
            self.join(incarnation)
        self.claim(incarnation, **limits)

    def wait(self, how: str | Millis) -> None:
        if isinstance(how, int):
            self.now += how
            return
        due = [timer.due_at for timer in self.timers.values()]
        due += [one.available_at for one in self.rows.values() if one.available_at is not None]
        self.now = max(self.now, min((one for one in due if one > self.now), default=0))

    def claim(
        self,
        incarnation: str,
        ahead: int,
        limit: int,
        exact_limit: int,
        busy: tuple[int, ...],
        busy_jobs: int,
    ) -> None:
        lanes = frozenset(make_job(target=LANES[one]).spec.lane for one in busy)
        asked = claim_request(
            self.now,
            incarnation=incarnation,
            ahead=ahead,
            limit=limit,
            exact_limit=exact_limit,
            busy_lanes=lanes,
            busy_jobs=frozenset(sorted(self.timers)[:busy_jobs]),
        )
        witness = Witness()
        claimed = self.both(
            lambda store: store.claim(asked, witness if store is self.real else plan_fires)
        )
        if isinstance(claimed, Raised):
            return
        for claim in claimed.claims:
            self.held[incarnation][claim.execution.id] = claim
        ahead_of = [c for c in claimed.claims if not c.execution.exact]
        assert len(ahead_of) <= limit
        assert len(claimed.claims) - len(ahead_of) <= exact_limit
        for job, timer, window, plan in witness.plans:
            assert timer == self.timers[job.id], "a timer moved between two plans"
            self.note_planned(job, timer, window, plan)

    def note_planned(self, job: Job, timer: Timer, window: Window, plan: FirePlan) -> None:
        schedule = job.spec.schedule
        covers = self.to_cover.setdefault(job.id, set())
        end = plan.next.fire_at if plan.next is not None else None
        fire_time: Millis | None = timer.fire_at
        while fire_time is not None and (end is None or fire_time < end):
            assert schedule.due(fire_time, job.id) <= window.until
            covers.add(fire_time)
            fire_time = schedule.next_after(fire_time)
        if plan.next is None:
            del self.timers[job.id]
            self.versions[job.id] = replace(job, status=JobStatus.COMPLETED)
        else:
            self.timers[job.id] = plan.next

    @precondition(lambda self: any(self.held.values()))
    @rule(
        which=choices,
        outcomes=st.lists(st.sampled_from([None, *ErrorKind]), min_size=1, max_size=4),
        status=st.sampled_from([404, 503]),
        written=st.booleans(),
    )
    def record(
        self, which: int, outcomes: list[ErrorKind | None], status: int, written: bool
    ) -> None:
        self.record_some(self.holder(which), outcomes, which, status, written)

    def record_some(
        self,
        incarnation: str,
        outcomes: Sequence[ErrorKind | None],
        which: int,
        status: int,
        written: bool,
    ) -> None:
        held = self.held[incarnation]
        results = []
        for outcome in outcomes:
            if held:
                claim = held.pop(sorted(held)[which % len(held)])
                results.append(self.result(claim, outcome, status, written))
        sent = Sent(incarnation, tuple(results))
        self.sent.append(sent)
        self.send(sent)

    @precondition(lambda self: self.sent)
    @rule(which=choices)
    def record_again(self, which: int) -> None:
        self.send(self.sent[which % len(self.sent)])

    def send(self, sent: Sent) -> None:
        self.both(
            lambda store: store.record(sent.incarnation, sent.results, now=self.now, void=void)
        )

    def result(
        self, claim: Claim, outcome: ErrorKind | None, status: int, written: bool
    ) -> Execution:
        number = len(claim.execution.attempts) + 1
        # No two calls of an execution start at once.
        self.now += 1
        attempt = good_attempt(number, started_at=self.now, http_status=200)
        if outcome is not None:
            attempt = failed_attempt(
                number,
                started_at=self.now,
                error_kind=outcome,
                http_status=status if outcome is ErrorKind.HTTP_STATUS else None,
            )
        return settle(
            claim.execution,
            attempt,
            claim.job.spec,
            now=self.now,
            request_written=written,
        )

    def holder(self, which: int) -> str:
        holders = [one for one in NODES if self.held[one]]
        return holders[which % len(holders)]

    @precondition(lambda self: any(self.held.values()))
    @rule(
        which=choices,
        reason=st.sampled_from([None, None, Reason.CHANGED, Reason.PAUSED]),
    )
    def let_go(self, which: int, reason: Reason | None) -> None:
        """Give a claim back, or end it where there is a reason."""
        incarnation = self.holder(which)
        held = self.held[incarnation]
        claim = held.pop(sorted(held)[which % len(held)])
        if reason is None:
            self.both(
                lambda store: store.give_back(incarnation, [claim.execution.id], now=self.now)
            )
        else:
            given_up = closed(claim.execution, State.CANCELLED, reason, self.now)
            self.send(Sent(incarnation, (given_up,)))

    @rule(incarnation=st.sampled_from(NODES))
    def adopt(self, incarnation: str) -> None:
        owned = self.both(lambda store: store.owned(incarnation))
        known = {claim.execution.id for claim in owned}
        asked = sorted({*self.held[incarnation], *known})
        still = self.both(lambda store: store.still_owned(incarnation, asked))
        assert still == known
        versions = self.both(lambda store: store.owned_versions(incarnation))
        assert versions == {claim.execution.id: claim.job.version for claim in owned}
        some = asked[::2]
        self.both(lambda store: store.owned(incarnation, ids=some))
        self.held[incarnation] = {claim.execution.id: claim for claim in owned}

    # --- time

    @rule(by=st.sampled_from([1, SECOND, 30 * SECOND, 3 * MINUTE, HOUR]))
    def time_passes(self, by: Millis) -> None:
        self.now += by

    @rule(keep=st.sampled_from([MINUTE, HOUR]), limit=st.sampled_from([1, 5, 1_000]))
    def forget(self, keep: Millis, limit: int) -> None:
        before = self.now - keep
        # Ties are open: which of several at one fire time go first.
        old = sorted(
            one.fire_time
            for one in self.rows.values()
            if one.state.final and one.fire_time < before
        )
        if limit < len(old) and old[limit - 1] == old[limit]:
            limit = 1_000
        self.forgotten_before = max(self.forgotten_before, before)
        self.both(lambda store: store.delete_history(before=before, limit=limit))
        self.both(executions)
        # How many tombstones go with how many executions is open; in the end all do.
        self.both(lambda store: store.delete_history(before=before, limit=1_000))

    # --- what must hold after each step

    @invariant()
    def everything_is_the_same(self) -> None:
        listed = self.both(executions)
        every_status = tuple(JobStatus)
        views = self.both(lambda store: jobs(store, statuses=every_status, now=self.now))
        self.both(lambda store: store.stats(since=0, now=self.now))
        self.both(lambda store: store.nodes())
        usage = self.both(_usage)
        self.check_rows({one.id: one for one in listed})
        self.check_jobs(views, usage)
        self.check_statistics()

    @rule(
        sort=st.sampled_from(JobSort),
        descending=st.booleans(),
        text=st.sampled_from([None, "a", "EXAMPLE", "longer"]),
        tags=st.sampled_from([(), ("y",)]),
        kind=st.sampled_from([None, "cron", "every", "at"]),
        last_state=st.sampled_from([None, State.SUCCEEDED, State.FAILED]),
        page=st.sampled_from([1, 2, 100]),
    )
    def jobs_are_listed(self, page: int, **query: Any) -> None:
        self.both(lambda store: jobs(store, page=page, now=self.now, **query))

    @rule(
        state=st.none() | st.sampled_from(State),
        error_kind=st.none() | st.sampled_from([ErrorKind.LOST, ErrorKind.HTTP_STATUS]),
        since=st.none() | st.integers(NOW, NOW + 5 * MINUTE),
        until=st.none() | st.integers(NOW, NOW + 5 * MINUTE),
        ascending=st.booleans(),
        page=st.sampled_from([1, 3, 100]),
        which=st.none() | choices,
    )
    def executions_are_listed(
        self, state: State | None, which: int | None, page: int, **query: Any
    ) -> None:
        if which is not None and self.ids:
            query["job_id"] = self.job(which).id
        states = () if state is None else (state,)
        self.both(lambda store: executions(store, page=page, states=states, **query))

    def check_rows(self, rows: dict[str, Execution]) -> None:
        gone = [self.rows[one] for one in self.rows.keys() - rows.keys()]
        for one in gone:
            assert one.state.final, "a live execution disappeared"
            assert one.fire_time < self.forgotten_before, "an execution disappeared too early"
            self.to_cover[one.job_id] = self.to_cover.get(one.job_id, set()) - _covered(
                one, self.to_cover.get(one.job_id, set())
            )
        changed = [one for one in rows.values() if self.rows.get(one.id) != one]
        for one in changed:
            before = self.ended.get(one.id)
            if before is not None:
                assert _without_attempts(one) == _without_attempts(before), "it had ended"
                kept = before.state is State.CANCELLED
                assert one.attempts == before.attempts or kept, "its history changed"
            if one.state.final:
                self.ended.setdefault(one.id, one)
                assert one.finished_at is not None
                assert one.available_at is None
                assert not one.queued
            else:
                assert one.finished_at is None
                assert one.available_at is not None
                assert (one.state is State.CLAIMED) == (one.owner is not None)
        if changed or gone:
            self.rows = rows
            self.check_cover({one.job_id for one in (*changed, *gone)})

    def check_cover(self, job_ids: set[str]) -> None:
        """Each planned fire time has one execution, or lies in one skipped range."""
        for job_id in job_ids:
            planned = self.to_cover.get(job_id, set())
            found: list[Millis] = []
            for one in self.rows.values():
                if one.job_id != job_id or one.trigger is not TriggerKind.SCHEDULE:
                    continue
                covered = _covered(one, planned)
                found += covered
                if one.reason is not Reason.PAUSED or one.fire_time in planned:
                    assert len(covered) == (one.skipped_count or 1), "a range counts wrongly"
            assert len(found) == len(set(found)), "a fire time exists twice"
            assert set(found) == planned, "a fire time is missing"

    def check_jobs(self, views: list[JobView], usage: Any) -> None:
        for view in views:
            assert view.job == self.versions[view.job.id]
            timer = self.timers.get(view.job.id)
            assert view.next_fire_at == (None if timer is None else timer.fire_at)
            assert (timer is not None) == (view.job.status is JobStatus.ACTIVE)
        counted: dict[JobStatus, int] = {}
        for view in views:
            if view.job.status is not JobStatus.DELETED:
                counted[view.job.status] = counted.get(view.job.status, 0) + 1
        assert usage[:2] == (sum(counted.values()), counted)
        listed = {view.job.id for view in views}
        for job_id in set(self.ids) - listed:
            assert self.versions[job_id].status is JobStatus.DELETED, "a job disappeared"
            self.ids.remove(job_id)

    def check_statistics(self) -> None:
        stats = self.run(self.real.stats(since=0, now=self.now))
        assert stats.pending == sum(one.state is State.PENDING for one in self.rows.values())
        assert stats.claimed == sum(one.state is State.CLAIMED for one in self.rows.values())
        kept = [minute for minute, _ in stats.minutes]
        counted = tally_of(
            one
            for one in self.ended.values()
            if one.finished_at is not None and one.finished_at - one.finished_at % MINUTE in kept
        )
        assert _counts(stats.tally) == _counts(counted)
        assert all(minute < self.forgotten_before for minute in self.minutes() - set(kept))

    def minutes(self) -> set[Millis]:
        return {
            one.finished_at - one.finished_at % MINUTE
            for one in self.ended.values()
            if one.finished_at is not None
        }


async def _usage(store: Store) -> tuple[int, dict[JobStatus, int], int]:
    usage = await store.usage()
    by_status = {status: count for status, count in usage.by_status.items() if count}
    return usage.jobs, by_status, usage.bytes


def _covered(one: Execution, planned: set[Millis]) -> set[Millis]:
    """Which of the planned fire times an execution stands for."""
    if one.trigger is not TriggerKind.SCHEDULE:
        return set()
    if one.skipped_until is None:
        return {one.fire_time} & planned
    return {each for each in planned if one.fire_time <= each <= one.skipped_until}


def _without_attempts(one: Execution) -> Execution:
    return replace(one, attempts=())


def _counts(tally: Any) -> tuple[int, int, int, int]:
    return tally.succeeded, tally.failed, tally.cancelled, tally.skipped


SHRINK_SECONDS = 120
"""A failure is made smaller for so long, times the scale. Hypothesis would go on for five minutes;
what is left by then is kept, and made smaller still by the next run."""


@pytest.mark.parametrize("store_kind", STORES)
def test_random_calls_keep_the_promises_and_agree_with_the_model(
    store_kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    # There is no setting for it; it is meant to be patched.
    limit = min(engine.MAX_SHRINKING_SECONDS, round(SHRINK_SECONDS * SCALE))
    monkeypatch.setattr(engine, "MAX_SHRINKING_SECONDS", limit)
    machine = type(f"{store_kind.title()}Machine", (StoreMachine,), {"kind": store_kind})
    run_state_machine_as_test(
        machine,
        settings=settings(
            # Each step looks at everything: on a server that is a second per example.
            max_examples=max(1, round((10 if store_kind == "postgres" else 50) * SCALE)),
            stateful_step_count=40,
            deadline=None,
            suppress_health_check=list(HealthCheck),
        ),
    )
