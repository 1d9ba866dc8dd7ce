"""A world for the engine: nodes on one store, targets, users, and whatever goes wrong with them."""

import asyncio
import hashlib
import logging
import random
from collections import Counter
from collections.abc import Awaitable, Callable, Coroutine, Mapping
from dataclasses import dataclass
from typing import Any, TypeVar

import structlog

from tests.simulation.faults import Faults, SimStore
from tests.simulation.receiver import OK, Call, Receiver, SimCaller
from tests.simulation.state import Commit, SimState
from tests.support.virtual_loop import Process, VirtualLoop
from tocsin.domain.errors import CapacityExceeded, Conflict, InvalidInput, NotFound, StoreError
from tocsin.domain.execution import ErrorKind, Execution, State
from tocsin.domain.instant import Millis
from tocsin.domain.job import Job
from tocsin.domain.settle import void
from tocsin.engine.clock import LEAN, SharedClock
from tocsin.engine.engine import Engine, EngineOptions
from tocsin.engine.meter import NoMeter
from tocsin.services.definitions import JobDefaults
from tocsin.services.executions import ExecutionService
from tocsin.services.jobs import JobService
from tocsin.store.bus import Bus, ExecutionsChanged, JobsChanged, News
from tocsin.store.port import Claim, Limits

T = TypeVar("T")

EPOCH: Millis = 1_767_225_600_000 - 1_000_000
"""The true wall clock at virtual second 0; a loop starts at second 1,000, so at midnight of
2026-01-01, UTC."""

SETTLES_WITHIN = 1_200.0
"""Virtual seconds after which a healed world must have come to rest."""


class SimClock:
    """The clocks of one machine: true time at a rate of its own, plus an error that jumps."""

    ready = True

    def __init__(self, world: "World", host: str) -> None:
        self._world = world
        self._host = host

    def now(self) -> Millis:
        world = self._world
        common = 0 if world.store_clock else world.wall_error
        return world.instant(self.monotonic()) + common + world.skews.get(self._host, 0)

    def monotonic(self) -> float:
        return self._world.loop.time() * (1 + self._world.rates.get(self._host, 0.0))


class SimSharedClock(SharedClock):
    """The clock of one node that goes by the store's; the world knows how right it is."""

    def __init__(self, world: "World", host: str) -> None:
        super().__init__(SimClock(world, host))
        self._world = world
        self.worst_lead = 0.0
        """How far ahead of the store's it may have been at most while it was ready."""
        self.latest: Millis = 0
        """The latest instant that it has shown before it was set back."""
        self.unsure_since = float("-inf")
        """When a sample last proved it wrong, or since ever."""

    def learn(self, *, asked_at: float, store_time: Millis, answered_at: float) -> float:
        was_ready = self.ready
        if was_ready:
            self.latest = max(self.latest, self.now())
            self._note_lead()
        moved = super().learn(asked_at=asked_at, store_time=store_time, answered_at=answered_at)
        if self.ready:
            self._note_lead()
            self.check()
        elif was_ready:
            self.unsure_since = self._world.loop.time()
        return moved

    def _note_lead(self) -> None:
        half = (self._high - self._low) / 2
        lead = self.error_ms - 2 * min(half, LEAN)
        self.worst_lead = max(self.worst_lead, lead)

    def check(self) -> None:
        """It must be as right as it says."""
        off = abs(self.now() - self._world.store_now())
        if self.ready and not self._world.jumped and off > self.error_ms + 1:
            self._world.violate(f"a clock is off by {off} ms, it admits {self.error_ms:.3f}")


@dataclass(kw_only=True, slots=True)
class Incarnation:
    """What the world knows of one lease."""

    node: "SimNode"
    proven_until: float = float("-inf")
    """Until when the node can prove its lease, by the answers that it was given."""
    ended_at: float | None = None
    """When its row went away."""
    revoked: bool = False
    """Whether another node ended it."""


class SimNode(Process):
    """One start of a node, until it stops or dies."""

    def __init__(self, world: "World", name: str, options: Mapping[str, Any]) -> None:
        super().__init__(world.loop, name)
        self.world = world
        self.options = EngineOptions(node_name=name, **options)
        self.clock = SimSharedClock(world, name) if world.store_clock else SimClock(world, name)
        self.store = SimStore(world, self)
        self.bus = Bus()
        self.stopped = False
        self.started_at = world.loop.time()
        self.known_over: dict[str, float] = {}
        """Executions of which news said that they have ended, and when it said so."""
        self.known_jobs: dict[str, tuple[Job, float]] = {}
        self.number = world.next_number("node")
        self._new_ids = 0
        self._latest: Millis = 0
        self.open_calls: dict[int, int] = {}
        """Calls under way by lane."""
        self.open_of_job: Counter[str] = Counter()

        def build() -> Engine:
            return Engine(
                store=self.store,  # type: ignore[arg-type]  # its methods are made by a loop
                caller=SimCaller(world, self),
                clock=self.clock,
                bus=self.bus,
                meter=NoMeter(),
                new_id=self._new_id,
                new_entry_id=lambda: "none is as old as that",
                options=self.options,
            )

        self.engine = self.context.run(build)
        self.bus.listen(self._hear)
        services: dict[str, Any] = {
            "store": self.store,
            "bus": self.bus,
            "now": self.clock.now,
            "limits": Limits(max_jobs=1_000_000, max_bytes=2**40),
        }
        self.jobs = JobService(**services, new_id=world.new_job_id, defaults=JobDefaults())
        del services["limits"]
        self.executions = ExecutionService(**services, new_id=world.new_job_id)
        self.spawn(self.engine.start())

    def _new_id(self) -> str:
        self._new_ids += 1
        return f"{self.name}{self.number}-{self._new_ids:05}"

    @property
    def incarnation(self) -> str:
        return self.engine.lease.incarnation

    @property
    def latest_wall(self) -> Millis:
        """The latest instant that its clock has shown before it was set back."""
        of_clock = self.clock.latest if isinstance(self.clock, SimSharedClock) else 0
        return max(self._latest, of_clock)

    def note_latest(self) -> None:
        """Its clock is about to be set."""
        self._latest = max(self._latest, self.clock.now())

    async def stop(self) -> None:
        """Let it leave as on SIGTERM, and end the process."""
        await self.ask(self.engine.stop)
        self.stopped = True
        left = self.world.left_in(self)
        # What the store did not take, and instants that nobody waits for any more, die with it.
        if not left.keys() <= {"instants", "leaving"} and not left.get("results"):
            self.world.violate(f"{self.name} still has {left} after its stop")
        self.kill()

    def kill(self) -> None:
        if self.alive:
            self.world.note("died" if not self.stopped else "exited", self.name)
        super().kill()

    def pause(self) -> None:
        self.world.calm = False
        self.world.note("paused", self.name)
        super().pause()

    def resume(self) -> None:
        if self.paused:
            self.world.note("resumed", self.name)
            super().resume()

    def _hear(self, news: News) -> None:
        self.world.heard(self, news)


class World:
    """The whole of a simulation. ``run`` it once.

    Whatever promise is seen broken on the way is in ``violations``; ``checks.py`` looks for the
    rest at the end.
    """

    def __init__(
        self,
        seed: int = 0,
        *,
        shuffled: bool = False,
        trace: bool = False,
        store_clock: bool = False,
    ) -> None:
        self.seed = seed
        self.store_clock = store_clock
        """Whether the store has a clock, which the nodes go by instead of their own."""
        self.rng = self.random("world")
        self.loop = VirtualLoop(self.random("order") if shuffled else None)
        self.state = SimState(self._committed)
        self.acting: tuple[Process | None, str, tuple[Any, ...], dict[str, Any]]
        self.acting = (None, "", (), {})
        self.faults = Faults()
        self.receiver = Receiver()
        self.nodes: list[SimNode] = []
        self.wall_error: Millis = 0
        """How far the clock that all nodes go by has jumped: the store's, or their walls."""
        self.skews: dict[str, Millis] = {}
        """How far the wall clock of each machine is beside the common one: little where it
        matters, any amount where the store has a clock."""
        self.rates: dict[str, float] = {}
        """By what part the clocks of each machine go too fast."""
        self.jumped = False
        """Whether the clock that nodes go by ever jumped."""
        self.incarnations: dict[str, Incarnation] = {}
        self.commits: list[Commit] = []
        self.history: dict[str, list[tuple[Commit, Execution]]] = {}
        """All rows that an execution ever had."""
        self.definitions: dict[str, list[tuple[Commit, Job]]] = {}
        self.unknown: list[tuple[float, str, str]] = []
        """Commits of unknown outcome: when, whose, which."""
        self.violations: list[str] = []
        self.news_delay: Callable[[], float | None] = lambda: 0.001
        """How long news takes to another node; ``None``: it is lost."""
        self.claims_asked = 0
        self.over = False
        self.trace: list[str] | None = [] if trace else None
        self._digest = hashlib.blake2b(digest_size=16)
        self._numbers: dict[str, int] = {}
        self._forwarding = False
        self._seen_timers: dict[tuple[asyncio.Task[Any] | None, str], Millis | None] = {}
        """What a user's request has read of a job's timer."""
        self.calm = True
        """Whether nothing ever went wrong, so that lateness means something."""

    # --- numbers

    def random(self, purpose: str) -> random.Random:
        """A stream of random numbers of its own."""
        return random.Random(f"{self.seed}/{purpose}")

    def next_number(self, kind: str) -> int:
        self._numbers[kind] = self._numbers.get(kind, 0) + 1
        return self._numbers[kind]

    def new_job_id(self) -> str:
        """An id in the form of a UUIDv7, in order."""
        return f"019b0000-0000-7000-8000-{self.next_number('job'):012x}"

    # --- time

    def now(self) -> Millis:
        """True wall-clock time."""
        return self.instant(self.loop.time())

    def instant(self, at: float) -> Millis:
        """The true wall-clock time at a virtual second."""
        return EPOCH + int(at * 1_000 + 1e-6)

    def store_now(self) -> Millis:
        """The time that all nodes agree on."""
        return self.now() + self.wall_error

    async def sleep(self, seconds: float) -> None:
        await asyncio.sleep(seconds)

    async def until(self, condition: Callable[[], bool], *, within: float = 60.0) -> None:
        """Wait for something, looking every millisecond."""
        end = self.loop.time() + within
        while not condition():
            if self.loop.time() >= end:
                raise AssertionError(f"not within {within} s: {condition}")
            await asyncio.sleep(0.001)

    def jump(self, by: Millis) -> None:
        """Set the clock that all nodes go by: those on one database agree on the time."""
        self.jumped, self.calm = True, False
        for node in self.living:
            node.note_latest()
        self.wall_error += by
        self.note("clock jumped", by)

    def jump_of(self, host: str, by: Millis) -> None:
        """Set the wall clock of one machine, where nodes go by the store's."""
        assert self.store_clock
        self.skews[host] = self.skews.get(host, 0) + by
        self.note("wall clock jumped", host, by)

    # --- nodes

    def start_node(self, name: str = "a", **options: Any) -> SimNode:
        """Start a node; times of the options are in milliseconds."""
        self.note("start", name)
        if options.get("max_in_flight", 1_000) < 1_000 or any(
            one.name == name for one in self.nodes
        ):
            self.calm = False  # It has limits to wait for, or was away.
        node = SimNode(self, name, options)
        self.nodes.append(node)
        return node

    @property
    def living(self) -> list[SimNode]:
        return [node for node in self.nodes if node.alive]

    def heard(self, node: SimNode, news: News) -> None:
        """News reached a node's bus: remember what it knows, and pass on its own to the others."""
        at = self.loop.time()
        match news:
            case ExecutionsChanged(executions=executions):
                for execution in executions:
                    if execution.state.final:
                        node.known_over.setdefault(execution.id, at)
            case JobsChanged(jobs=jobs):
                # That the last fire is planned changes nothing for those that are.
                for job in jobs if news.change != "completed" else ():
                    known = node.known_jobs.get(job.id)
                    if known is None or known[0].version < job.version:
                        node.known_jobs[job.id] = (job, at)
            case _:
                return
        if self._forwarding:
            return
        for other in self.living:
            if other is not node:
                delay = self.news_delay()
                if delay is not None:
                    self.loop.call_later(delay, self._deliver, other, news, context=other.context)

    def _deliver(self, node: SimNode, news: News) -> None:
        self._forwarding = True
        try:
            node.bus.publish(news)
        finally:
            self._forwarding = False

    # --- what the store's stand-in tells

    def store_asked(self, process: Process, method: str, args: tuple[Any, ...]) -> None:
        assert isinstance(process, SimNode)
        self.check_limits(process)
        if method in {"claim", "rescue", "revoke_lapsed"}:
            self.claims_asked += method == "claim"
            if isinstance(process.clock, SimSharedClock):
                process.clock.check()
                # (A step of several requests may have begun when it was sure.)
                unsure_for = self.loop.time() - process.clock.unsure_since
                if not process.clock.ready and unsure_for > 10:
                    self.violate(f"{process.name} asks to {method} without knowing the time")
        elif method == "register":
            self.incarnations[args[0].incarnation] = Incarnation(node=process)

    def store_answered(
        self,
        process: Process,
        method: str,
        args: tuple[Any, ...],
        kwargs: dict[str, Any],
        result: Any,
        asked_at: float,
    ) -> None:
        if method == "get_job" and result is not None:
            self._seen_timers[asyncio.current_task(), result.job.id] = result.next_fire_at
        elif method == "register":
            node = args[0]
            ttl = node.lease_until - node.heartbeat_at
            self.incarnations[node.incarnation].proven_until = asked_at + ttl / 1_000
        elif method == "renew" and result is not None:
            self.incarnations[args[0]].proven_until = asked_at + kwargs["ttl"] / 1_000

    def store_left_unknown(self, process: Process, method: str) -> None:
        self.unknown.append((self.loop.time(), process.name, method))
        self.note("unknown outcome", process.name, method)

    def _committed(self, before: dict[str, dict[str, Any]]) -> None:
        process, method, args, _ = self.acting
        at = self.loop.time()
        for incarnation, node in before["nodes"].items():
            if node is not None and incarnation not in self.state.nodes:
                known = self.incarnations[incarnation]
                known.ended_at = at
                known.revoked = method == "revoke_lapsed"
                self.note(method, process.name if process else "", incarnation)
        if not (before["executions"] or before["jobs"] or before["timers"]):
            return
        commit = Commit(
            at=at,
            process=process,
            method=method,
            now=args[0].now if method == "claim" else self._wall_of(process),
            executions={
                one: (row, self.state.executions.get(one))
                for one, row in before["executions"].items()
            },
            jobs={one: (row, self.state.jobs.get(one)) for one, row in before["jobs"].items()},
            timers={
                one: (row, self.state.timers.get(one)) for one, row in before["timers"].items()
            },
            incarnation=args[0] if method == "record" else None,
        )
        self.commits.append(commit)
        if method == "change_job":
            self._look_for_stale_decision(commit)
        for one, (old, row) in commit.executions.items():
            if row is not None:
                self.history.setdefault(one, []).append((commit, row))
                self._check_transition(commit, old, row)
                self.note(
                    f"{process.name if process else ''}.{method}",
                    one,
                    old.state.value if old else "-",
                    row.state.value,
                    row.reason.value if row.reason else "",
                    row.owner or "",
                    len(row.attempts),
                )
        for one, (_, job) in commit.jobs.items():
            if job is not None:
                self.definitions.setdefault(one, []).append((commit, job))
                self.note(f"{process.name if process else ''}.{method}", job.name, job.status.value)

    def _wall_of(self, process: Process | None) -> Millis:
        return process.clock.now() if isinstance(process, SimNode) else self.now()

    def _look_for_stale_decision(self, commit: Commit) -> None:
        for job_id in commit.jobs:
            timer = commit.timers[job_id][0] if job_id in commit.timers else None
            stood_at = None if timer is None else timer.fire_at
            if self._seen_timers.get((asyncio.current_task(), job_id), stood_at) != stood_at:
                self.violate(f"a change was decided on a timer that had moved: {job_id}")

    # --- what the receiver tells

    def call_left(self, call: Call, claim: Claim) -> None:
        """A call is about to leave: it must be allowed to."""
        if self.over:
            return
        self.receiver.calls.append(call)
        node = call.process
        node.open_calls[call.lane] = node.open_calls.get(call.lane, 0) + 1
        node.open_of_job[call.job_id] += 1
        self.note("call", node.name, call.execution_id, call.number, call.version)
        at = self.loop.time()
        execution = claim.execution
        incarnation = self.incarnations[call.incarnation]
        if call.incarnation != node.incarnation:
            self.violate(f"{node.name} calls for {call.incarnation}, which it no longer is", call)
        if at > incarnation.proven_until:
            late = at - incarnation.proven_until
            self.violate(f"{node.name} calls {late:.3f} s after the lease that it can prove", call)
        leaves_at = execution.due if execution.available_at is None else execution.available_at
        if call.number == 1:
            leaves_at = max(leaves_at, execution.due)
        # What was due once stays due where the clock is set back after it.
        latest = max(call.left_wall, node.latest_wall)
        if latest < leaves_at:
            self.violate(f"a call leaves {leaves_at - latest} ms early", call)
        if isinstance(node.clock, SimSharedClock) and not self.jumped:
            early = leaves_at - self.store_now()
            if early > node.clock.worst_lead + 1:
                self.violate(f"a call leaves {early} ms early by the store's clock", call)
        known_over = node.known_over.get(call.execution_id)
        if known_over is not None:
            self.violate(f"{node.name} had heard at {known_over:.3f} that it is over", call)
        known_job = node.known_jobs.get(call.job_id)
        if known_job is not None and claim.job.version < known_job[0].version:
            self.violate(
                f"{node.name} calls with version {claim.job.version} but had heard of "
                f"{known_job[0].version} at {known_job[1]:.3f}",
                call,
            )
        if void(execution, claim.job) is not None:
            self.violate(f"a call for a job that is {claim.job.status}", call)
        if sum(node.open_calls.values()) > node.options.max_in_flight:
            self.violate("more calls under way than max_in_flight", call)
        if node.open_calls[call.lane] > node.options.max_per_lane:
            self.violate("more calls of one lane under way than max_per_lane", call)
        if node.open_of_job[call.job_id] > node.options.max_per_job:
            self.violate("more calls of one job under way than max_per_job", call)
        self.check_limits(node)

    def call_ended(self, call: Call, kind: ErrorKind | None, status: int | None) -> None:
        """A call is over on the node's side."""
        if self.over:
            return
        self.note(
            "ended", call.process.name, call.execution_id, call.number, kind, status, call.aborted
        )
        node = call.process
        node.open_of_job[call.job_id] -= 1
        node.open_calls[call.lane] -= 1
        if not node.open_calls[call.lane]:
            del node.open_calls[call.lane]

    # --- promises that are checked on the way

    def violate(self, what: str, call: Call | None = None) -> None:
        """Note a broken promise."""
        where = "" if call is None else f" [{call.execution_id} attempt {call.number}]"
        self.violations.append(f"{self.loop.time():.3f} {what}{where}")
        self.note("VIOLATION", what)

    def check_limits(self, node: SimNode) -> None:
        dispatcher = node.engine.dispatcher
        if dispatcher.held > node.options.max_held:
            self.violate(f"{node.name} holds {dispatcher.held} of {node.options.max_held} claims")
        if dispatcher.in_flight > node.options.max_in_flight:
            self.violate(f"{node.name} has {dispatcher.in_flight} calls in flight")

    def _check_transition(self, commit: Commit, old: Execution | None, row: Execution) -> None:
        if old is None:
            return
        name = f"{commit.method}: {row.id} {old.state} -> {row.state}"
        if old.state.final and (row.state is not old.state or row.reason is not old.reason):
            self.violate(f"an ended execution changes: {name}")
        if row.attempts[: len(old.attempts)] != old.attempts:
            self.violate(f"an attempt is gone: {name}")
        if old.state is State.PENDING and row.state in {State.SUCCEEDED, State.FAILED}:
            self.violate(f"a result without a claim: {name}")

    def left_in(self, node: SimNode) -> dict[str, int]:
        """What is left in the memory of a node."""
        engine = node.engine
        dispatcher, lanes, claims = (
            engine.dispatcher,
            engine.dispatcher._lanes,
            engine.dispatcher._claims,
        )
        left = {
            "held": dispatcher.held,
            "in_flight": dispatcher.in_flight,
            "under way": len(dispatcher._under_way),
            "takings": len(dispatcher._takings),
            "by_job": len(claims._by_job),
            "instants": len(claims._instants),
            "leaving": len(claims._leaving),
            "due": claims.due,
            "lanes ready": len(lanes._ready),
            "lanes calling": len(lanes._calling),
            "turns": len(lanes._turns),
            "in_turns": len(lanes._in_turns),
            "results": engine.recorder.waiting,
            "open calls": len(node.open_calls),
        }
        if self.jumped:
            # Instants that nobody waits for any more pass in their time, which may be far ahead.
            left["instants"] = left["leaving"] = 0
        return {name: count for name, count in left.items() if count}

    async def check_idle(self, node: SimNode) -> None:
        """Nothing may be left in the memory of a node that has nothing to do."""
        left = self.left_in(node)
        for _ in range(50):
            if not left:
                return
            # It may be in the middle of a look at the store.
            await asyncio.sleep(0.0071)
            left = self.left_in(node)
        self.violate(f"{node.name} still has {left} at rest")

    # --- running

    def note(self, *what: object) -> None:
        """Add to the trace; its digest tells whether two runs were the same."""
        line = f"{self.loop.time():.6f} {' '.join(map(str, what))}"
        self._digest.update(line.encode())
        if self.trace is not None:
            self.trace.append(line)

    @property
    def fingerprint(self) -> str:
        return self._digest.hexdigest()

    def run(self, story: Callable[["World"], Coroutine[Any, Any, T]], *, settle: bool = True) -> T:
        """Run a story, let the world come to rest, and look whether every promise was kept.

        Raises ``AssertionError`` with all that was broken.
        """
        from tests.simulation.checks import check_all

        async def main() -> T:
            result = await story(self)
            if settle:
                await self.settle()
                for node in self.living:
                    await self.check_idle(node)
            self.over = True
            return result

        before = structlog.get_config()
        structlog.configure(
            processors=[self._logged],
            wrapper_class=structlog.make_filtering_bound_logger(logging.NOTSET),
            cache_logger_on_first_use=False,
        )
        try:
            result = self.loop.run(main(), lambda: list(self.nodes))
        finally:
            self.over = True
            structlog.configure(**before)
        for context in self.loop.errors:
            self.violations.append(f"unhandled: {context.get('message')} {context!r}")
        if settle:
            check_all(self)
        if self.violations:
            raise AssertionError("\n".join(["promises broken:", *self.violations[:20]]))
        return result

    def _logged(self, _logger: Any, method: str, event: Any) -> Any:
        lines = event.get("lines", [(event.get("event"), event)])
        for name, fields in [] if self.over else lines:
            if name in {"loop.failed", "call.broken"}:
                error = fields.get("exc_info")
                self.violate(f"a bug was logged: {name} {error!r}")
            elif self.trace is not None and name != "execution.succeeded":
                self.note("log", name, {k: v for k, v in fields.items() if k != "event"})
        raise structlog.DropEvent

    async def settle(self) -> None:
        """Heal everything and wait until nothing is left to do."""
        self.faults.heal()
        self.receiver.script = lambda _claim: OK
        self.receiver.by_job.clear()
        for node in self.living:
            node.never_mind()
            if node.paused:
                node.resume()
        if not self.living:
            self.start_node(self.nodes[-1].name if self.nodes else "a")
        end = self.loop.time() + SETTLES_WITHIN
        while not self.at_rest():
            if self.loop.time() > end:
                live = self.state.all_live()
                self.violate(
                    f"the world does not come to rest: {len(live)} live {live[:3]}, timers "
                    f"{[t for t in self.state.timers.values() if t.due_at <= self.now()][:3]}"
                )
                return
            await asyncio.sleep(0.5)
        # Longer than every loop of an engine, and than what is thrown away late.
        await asyncio.sleep(12)

    def at_rest(self) -> bool:
        """Whether nothing lives and nothing is due soon, by any node's clock."""
        latest = self.now() + max(0, self.wall_error) + 14_000
        return not self.state.all_live() and not any(
            timer.due_at <= latest for timer in self.state.timers.values()
        )

    # --- users

    async def tell(self, work: Callable[[SimNode], Awaitable[T]], node: SimNode) -> T | None:
        """A user asks a node for something; ``None`` where there was no (good) answer."""
        try:
            return await node.ask(lambda: work(node))
        except (
            ConnectionResetError,
            StoreError,
            Conflict,
            NotFound,
            InvalidInput,
            CapacityExceeded,
        ) as error:
            self.note("user", node.name, type(error).__name__, error)
        except Exception as error:
            self.violate(f"a user's request broke: {error!r}")
        return None

    # --- shortcuts for scenarios

    async def create(self, definition: Mapping[str, Any], *, node: SimNode | None = None) -> Job:
        """Store a job as a user would."""
        target = node or self.living[0]
        saved = await target.ask(lambda: target.jobs.create(definition))
        return saved.view.job

    def row(self, execution_id: str) -> Execution:
        return self.state.executions[execution_id]

    def rows(self, job_id: str) -> list[Execution]:
        """The executions of a job, oldest first."""
        return sorted(
            (row for row in self.state.executions.values() if row.job_id == job_id),
            key=lambda row: row.id,
        )
