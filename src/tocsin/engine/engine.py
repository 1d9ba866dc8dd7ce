"""One node: all loops together, from joining to leaving."""

import asyncio
import contextlib
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import TypeVar

import structlog

from tocsin.domain.errors import StoreError, StoreUnavailable
from tocsin.domain.execution import State
from tocsin.domain.instant import Millis
from tocsin.engine.adopt import Adoption
from tocsin.engine.caller import Caller
from tocsin.engine.claiming import Claiming
from tocsin.engine.clock import Clock
from tocsin.engine.dispatch import Dispatcher
from tocsin.engine.fire import AheadLoop, ExactLoop
from tocsin.engine.heartbeat import Heartbeat
from tocsin.engine.lease import Lease
from tocsin.engine.loop import Troubles, every
from tocsin.engine.meter import Meter
from tocsin.engine.recorder import Recorder
from tocsin.engine.rescue import Rescue
from tocsin.engine.retention import AuditRetention, Retention
from tocsin.engine.timekeeper import Timekeeper
from tocsin.store.bus import Bus, ExecutionsChanged, JobsChanged, News, WorkDue
from tocsin.store.port import Node, Store

log = structlog.stdlib.get_logger("tocsin.engine")

T = TypeVar("T")

# In Python 3.11 it takes as long to look up a member of an enumeration as to call a function.
_PENDING, _CLAIMED, _SKIPPED = State.PENDING, State.CLAIMED, State.SKIPPED

STORE_PATIENCE = 5.0
"""Seconds that a stopping node gives its store beyond the grace of the calls."""


@dataclass(frozen=True, kw_only=True, slots=True)
class EngineOptions:
    """What a node may take on and how often it looks; times in milliseconds."""

    node_name: str
    address: str = ""
    version: str = ""
    horizon: Millis = 1_000
    poll: Millis = 500
    max_held: int = 20_000
    max_in_flight: int = 1_000
    max_per_lane: int = 250
    max_per_job: int = 100
    lease_ttl: Millis = 5_000
    heartbeat_interval: Millis = 1_000
    adopt_interval: Millis = 10_000
    shutdown_grace: Millis = 30_000
    retention: Millis = 30 * 86_400_000
    audit_retention: Millis = 400 * 86_400_000
    retention_interval: Millis = 60_000


class Engine:
    """Fires what is due, from ``start`` to ``stop``."""

    def __init__(
        self,
        *,
        store: Store,
        caller: Caller,
        clock: Clock,
        bus: Bus,
        meter: Meter,
        new_id: Callable[[], str],
        new_entry_id: Callable[[], str],
        options: EngineOptions,
    ) -> None:
        self._store = store
        self._clock = clock
        self._bus = bus
        self._options = options
        self._new_id = new_id
        self._meter = meter
        self._started_at: Millis | None = None
        self._stop_by = float("-inf")
        self._tasks: list[asyncio.Task[None]] = []
        self.lease = Lease(clock=clock, ttl=options.lease_ttl)
        self.recorder = Recorder(store=store, lease=self.lease, clock=clock, bus=bus, meter=meter)
        self.dispatcher = Dispatcher(
            caller=caller,
            results=self.recorder,
            lease=self.lease,
            clock=clock,
            bus=bus,
            node_name=options.node_name,
            max_held=options.max_held,
            max_in_flight=options.max_in_flight,
            max_per_lane=options.max_per_lane,
            max_per_job=options.max_per_job,
        )
        claiming = Claiming(
            store=store,
            dispatcher=self.dispatcher,
            lease=self.lease,
            clock=clock,
            bus=bus,
            meter=meter,
            horizon=options.horizon,
        )
        self.fire_exact = ExactLoop(claiming=claiming, poll=options.poll)
        self.fire = AheadLoop(claiming=claiming, poll=options.poll, exact=self.fire_exact)
        self.adoption = Adoption(
            store=store,
            claiming=claiming,
            interval=options.adopt_interval,
            poll=options.poll,
        )
        self.timekeeper = Timekeeper(store=store, clock=clock, on_moved=self.dispatcher.clock_moved)
        self.heartbeat = Heartbeat(
            store=store,
            lease=self.lease,
            dispatcher=self.dispatcher,
            clock=clock,
            timekeeper=self.timekeeper,
            ttl=options.lease_ttl,
            interval=options.heartbeat_interval,
            introduce=self._introduce,
        )
        self.rescue = Rescue(
            store=store,
            lease=self.lease,
            clock=clock,
            bus=bus,
            meter=meter,
            interval=options.heartbeat_interval,
        )
        self.retention = Retention(store=store, keep=options.retention)
        self.audit_retention = AuditRetention(
            store=store, keep=options.audit_retention, new_id=new_entry_id
        )
        self.recorder.forget = self.dispatcher.forget
        self.recorder.hurried = self.fire_exact.expecting
        claiming.on_unknown = self.dispatcher.on_stray = self.adoption.soon
        for revocable in (self.recorder, self.fire, self.fire_exact, self.adoption):
            revocable.on_revoked = self._revoked
        self._deaf = bus.listen(self._hear)

    async def start(self) -> None:
        """Join and start all loops; a store that is away delays them, but is no error."""
        options = self._options
        with contextlib.suppress(StoreError):
            await self.heartbeat.step(self._clock.now())
        self._tasks = [
            asyncio.create_task(self.fire.run(), name="fire"),
            asyncio.create_task(self.fire_exact.run(), name="fire_exact"),
            asyncio.create_task(self.adoption.run(), name="adopt"),
            asyncio.create_task(self.recorder.run(), name="recorder"),
            self._every("heartbeat", options.heartbeat_interval / 1_000, self.heartbeat.step),
            self._every("rescue", lambda: self.rescue.pause, self.rescue.step),
            self._every("retention", options.retention_interval / 1_000, self.retention.step),
            self._every("audit", options.retention_interval / 1_000, self.audit_retention.step),
        ]
        if self.timekeeper.active:
            # Apart from the heartbeat, which must not wait until one of several samples counts.
            interval = options.heartbeat_interval / 1_000
            self._tasks.append(self._every("clock", interval, self.timekeeper.step))

    def _every(
        self,
        name: str,
        interval: float | Callable[[], float],
        step: Callable[[Millis], Awaitable[object]],
    ) -> asyncio.Task[None]:
        return asyncio.create_task(
            every(
                interval,
                lambda: step(self._clock.now()),
                Troubles(name, self._meter),
                on_revoked=self._revoked,
            ),
            name=name,
        )

    async def stop(self) -> None:
        """Stop claiming, give back what has not started, finish the calls, record, leave.

        The calls have ``shutdown_grace``, and the store ``STORE_PATIENCE`` more for the results of
        the last ones. What it does not take by then is left to be rescued by others, or by the
        next start: a store that is away, or does not answer at all, holds up no stop.
        """
        grace = self._options.shutdown_grace / 1_000
        self._stop_by = self._clock.monotonic() + grace + STORE_PATIENCE
        by_name = {task.get_name(): task for task in self._tasks}
        if by_name:
            # A claim that is cut off in the middle would be committed and then held by nobody.
            self.fire.stop()
            self.fire_exact.stop()
            claims = [by_name["fire"], by_name["fire_exact"]]
            await asyncio.wait(claims, timeout=self._options.lease_ttl / 1_000)
        for name in ("fire", "fire_exact", "adopt", "rescue", "retention", "audit"):
            await _cancel(by_name.get(name))
        await self._hand_over()
        unstarted = self.dispatcher.take_unstarted()
        await asyncio.gather(
            self._give_back(self.lease.incarnation, unstarted),
            self.dispatcher.finish(max(0, round(1_000 * (self._time_left - STORE_PATIENCE)))),
        )
        try:
            await asyncio.wait_for(self.recorder.flush(), self._time_left)
        except TimeoutError:
            log.error(  # noqa: TRY400  # the traceback of a time-out says nothing
                "results.not_stored", count=self.recorder.waiting
            )
        await _cancel(by_name.get("recorder"))
        await _cancel(by_name.get("heartbeat"))
        await _cancel(by_name.get("clock"))
        await self._leave()
        self.lease.lost()
        self._deaf()

    @property
    def _time_left(self) -> float:
        """Seconds that the store still has while this node stops; one at least."""
        return max(1.0, self._stop_by - self._clock.monotonic())

    async def _answered(self, asked: Awaitable[T]) -> T:
        """The store's answer; raises ``StoreUnavailable`` where none comes in time."""
        try:
            return await asyncio.wait_for(asked, self._time_left)
        except TimeoutError:
            raise StoreUnavailable("the store did not answer in time") from None

    async def _hand_over(self) -> None:
        """Give back what others can have in time; what is due before that leaves from here.

        Others look again within a poll, or sooner where they hear of it. What is given back and
        due by then would be late.
        """
        options = self._options
        hold = min(options.poll * 3 // 2, options.horizon, options.shutdown_grace)
        later = self.dispatcher.take_unstarted(after=self._clock.now() + hold)
        give_back = asyncio.create_task(self._give_back(self.lease.incarnation, later))
        if self.dispatcher.unstarted:
            await asyncio.sleep(hold / 1_000)
        await give_back

    async def _give_back(self, incarnation: str, execution_ids: list[str]) -> None:
        """Let others have what has not started: rescued later, it would count as lost."""
        troubles = Troubles("give_back", self._meter)
        give_up_at = self._clock.monotonic() + self._time_left
        while execution_ids:
            try:
                await self._answered(
                    self._store.give_back(incarnation, execution_ids, now=self._clock.now())
                )
            except StoreError as error:
                pause = troubles.failed(error)
                if self._clock.monotonic() + pause > give_up_at:
                    log.error(  # noqa: TRY400  # an answer of the store, not a bug
                        "give_back.failed", count=len(execution_ids), error=str(error)
                    )
                    return
                await asyncio.sleep(pause)
            else:
                # At the next poll of the others it would be late.
                self._bus.publish(WorkDue(at=self._clock.now()))
                return

    async def _leave(self) -> None:
        incarnation = self.lease.incarnation
        if not incarnation or self.recorder.waiting:
            return
        try:
            # Claims whose commit looked failed: nobody adopted them, so none has started.
            owned = await self._answered(self._store.owned_versions(incarnation))
            await self._give_back(
                incarnation, [one for one in owned if not self.dispatcher.holds(one)]
            )
            await self._answered(self._store.leave(incarnation))
        except StoreError as error:
            log.warning("leave.failed", error=str(error))

    def problems(self) -> list[str]:
        """Why this node does not fire, as sentences; empty when it does."""
        found = []
        clock_problem = self.timekeeper.problem
        if clock_problem is not None:
            found.append(clock_problem)
        elif not self.lease.held:
            found.append("this node holds no lease: the store did not answer in time")
        loop = min((self.fire, self.fire_exact), key=lambda one: one.last_step)
        silent = self._clock.monotonic() - loop.last_step
        if silent > max(5.0, 10 * self._options.poll / 1_000):
            why = f": {loop.trouble}" if loop.trouble else "; see the log"
            found.append(f"no claim has succeeded for more than 5 s{why}")
        return found

    def _introduce(self, now: Millis) -> Node:
        if self._started_at is None:
            self._started_at = now
        return Node(
            incarnation=self._new_id(),
            name=self._options.node_name,
            address=self._options.address,
            version=self._options.version,
            started_at=self._started_at,
            heartbeat_at=now,
            lease_until=now + self._options.lease_ttl,
            load={
                "held": self.dispatcher.held,
                "max_held": self._options.max_held,
                "in_flight": self.dispatcher.in_flight,
                "max_in_flight": self._options.max_in_flight,
                "waiting_results": self.recorder.waiting,
                **self.timekeeper.load,
            },
        )

    def _revoked(self, incarnation: str) -> None:
        """Drop everything; the next heartbeat joins with a new incarnation."""
        if incarnation != self.lease.incarnation:
            return  # Late news: that one is dropped already.
        log.error(
            "lease.lost",
            incarnation=incarnation,
            held=self.dispatcher.held,
            remedy="others take over what it held; this node joins again",
        )
        self.lease.lost()
        self.dispatcher.abandon()
        self.recorder.clear()

    def _nudge(self, due_at: Millis) -> None:
        self.fire.nudge(due_at)
        self.fire_exact.nudge(due_at)

    def _hear(self, news: News) -> None:
        match news:
            case JobsChanged():
                if news.change not in {"created", "completed"}:
                    self.dispatcher.revise(news.jobs)
                if news.due_at is not None:
                    self._nudge(news.due_at)
            case ExecutionsChanged():
                # Whoever ended it: what is held of it is void. (Own results are forgotten before
                # they are told.)
                over = []
                for execution in news.executions:
                    state = execution.state
                    if state is _PENDING:
                        due_at = execution.available_at or execution.due
                        (self.fire_exact if execution.exact else self.fire).nudge(due_at)
                        continue
                    if state is not _CLAIMED:
                        over.append(execution.id)
                    if execution.exact and state is not _SKIPPED:
                        # One that was queued behind it may go.
                        self.fire_exact.nudge(execution.due)
                if over:
                    self.dispatcher.abort(over)
            case WorkDue(at=at):
                self._nudge(at)
            case _:
                pass


async def _cancel(task: asyncio.Task[None] | None) -> None:
    if task is not None:
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await task
