"""Claiming what is due: ahead of its instant where that is safe, at the instant otherwise."""

import asyncio
from collections.abc import Callable, Sequence

from tocsin.domain.errors import Revoked
from tocsin.domain.instant import Millis
from tocsin.domain.job import Job, completed
from tocsin.domain.planning import plan_fires
from tocsin.engine.clock import Clock
from tocsin.engine.dispatch import Dispatcher
from tocsin.engine.lease import Lease
from tocsin.engine.loop import Troubles
from tocsin.engine.meter import Meter
from tocsin.engine.outcomes import log_outcomes
from tocsin.store.bus import Bus, ExecutionsChanged, JobsChanged
from tocsin.store.port import Claim, Claimed, ClaimRequest, Store

BATCH = 1_000
"""Executions in one claim at most."""

HOLD_AT_ONCE = 250
"""Claims that the dispatcher takes over in one go: a millisecond of work."""

LEAD: Millis = 100
"""How long before its instant a claim should begin, so that the call leaves on time."""

GATHER = 0.002
"""Seconds between two claims at least, so that a stream of hints is one claim, not many."""


class FireLoop:
    """Claims due fires and retries and hands them to the dispatcher."""

    def __init__(
        self,
        *,
        store: Store,
        dispatcher: Dispatcher,
        lease: Lease,
        clock: Clock,
        bus: Bus,
        meter: Meter,
        horizon: Millis,
        poll: Millis,
        adopt_interval: Millis,
    ) -> None:
        self._store = store
        self._dispatcher = dispatcher
        self._lease = lease
        self._clock = clock
        self._bus = bus
        self._meter = meter
        self._horizon = horizon
        self._poll = poll
        self._adopt_interval = adopt_interval / 1_000
        self._adopt_at = float("-inf")
        self._wake = asyncio.Event()
        self._troubles = Troubles("fire", meter)
        self.last_step = float("-inf")
        """When a claim last succeeded, on the monotonic clock."""
        self._slots = BATCH
        """How many call slots are filled with one claim; few where a lane turns most away."""
        self._looks_at = float("inf")
        """When the next claim begins; while one is under way it may have missed anything."""
        self._stopping = False
        dispatcher.on_room = self._wake.set
        dispatcher.on_stray = self._adopt_soon
        self.on_revoked: Callable[[str], None] = lambda _incarnation: None

    def nudge(self, due_at: Millis) -> None:
        """Say that something is due at an instant; looks at once where the next look is too late.

        Where that comes in time anyway there is no hurry: each node hears of all that is due soon,
        and most of it another one has claimed by then.
        """
        soon = self._clock.now() + max(self._horizon, self._poll)
        if due_at <= min(self._looks_at, soon) + LEAD:
            self._wake.set()

    def stop(self) -> None:
        """Let ``run`` end after the claim that is under way, if any."""
        self._stopping = True
        self._wake.set()

    def _adopt_soon(self) -> None:
        self._adopt_at = float("-inf")
        self._wake.set()

    async def step(self, now: Millis) -> Millis:
        """Claim what can be taken on; returns when to look again at the latest."""
        if not (self._lease.held and self._clock.ready):
            return now + self._poll
        dispatcher = self._dispatcher
        ahead, slots = min(BATCH, dispatcher.ahead_limit), min(self._slots, dispatcher.free_slots)
        full, saturated = dispatcher.full_lanes(), dispatcher.saturated_lanes()
        busy_jobs = dispatcher.busy_jobs()
        claimed: list[Claimed] = []
        if full == saturated and ahead + slots <= dispatcher.room:
            if ahead or slots:
                claimed.append(await self._claim(now, ahead, slots, full, busy_jobs))
        else:
            # What must go at its instant first, because that is now.
            if slots:
                claimed.append(await self._claim(now, 0, slots, full, busy_jobs))
            if dispatcher.room:
                ahead = min(BATCH, dispatcher.ahead_limit)
                claimed.append(await self._claim(now, ahead, 0, saturated, busy_jobs))
        self.last_step = self._clock.monotonic()
        no_room = not dispatcher.room or not dispatcher.free_slots
        if full or saturated or busy_jobs or no_room:
            dispatcher.note_limited(by_room=no_room)
        look_again = now + self._poll
        for part in claimed:
            # Where nothing was done although there is more, the dispatcher says when.
            if part.more and (part.claims or part.closed):
                return now
            if part.wake_at is not None:
                look_again = min(look_again, max(part.wake_at, now + 1))
        return look_again

    async def _claim(
        self,
        now: Millis,
        ahead: int,
        exact: int,
        busy_lanes: frozenset[int],
        busy_jobs: frozenset[str],
    ) -> Claimed:
        started = self._clock.monotonic()
        incarnation = self._lease.incarnation
        with self._dispatcher.taking():
            claimed = await self._store.claim(
                ClaimRequest(
                    incarnation=incarnation,
                    now=now,
                    ahead_until=now + self._horizon,
                    ahead_limit=ahead,
                    exact_limit=exact,
                    busy_lanes=busy_lanes,
                    busy_jobs=busy_jobs,
                ),
                plan_fires,
            )
            if incarnation != self._lease.incarnation:
                raise Revoked(incarnation)
            if claimed.closed:
                # Before what replaces them may start.
                self._bus.publish(ExecutionsChanged(executions=claimed.closed))
            await self._hold(incarnation, claimed.claims)
        self._meter.claimed(claims=len(claimed.claims), seconds=self._clock.monotonic() - started)
        if claimed.closed:
            self._meter.closed(claimed.closed)
            log_outcomes(claimed.closed)
        if claimed.completed:
            await self._tell_completed(claimed)
        need_slots = [claim for claim in claimed.claims if claim.execution.exact]
        turned_away = self._dispatcher.turn_away(need_slots)
        if need_slots and not turned_away:
            self._slots = min(BATCH, 2 * self._slots)
        if turned_away:
            # They crowd into a lane with few free slots: claiming many of them again and again,
            # for each slot that gets free, would only be to give them back.
            self._slots = max(1, 2 * (len(need_slots) - len(turned_away)))
            await self._store.give_back(incarnation, turned_away, now=self._clock.now())
        return claimed

    async def _hold(self, incarnation: str, claims: Sequence[Claim]) -> None:
        """Take claims over, some at a time, so that calls leave on time meanwhile."""
        self._dispatcher.hold(claims[:HOLD_AT_ONCE])
        for start in range(HOLD_AT_ONCE, len(claims), HOLD_AT_ONCE):
            await asyncio.sleep(0)
            if incarnation != self._lease.incarnation:
                raise Revoked(incarnation)
            self._dispatcher.hold(claims[start : start + HOLD_AT_ONCE])

    async def _tell_completed(self, claimed: Claimed) -> None:
        known: dict[str, Job] = {claim.job.id: claim.job for claim in claimed.claims}
        missing = [job_id for job_id in claimed.completed if job_id not in known]
        if missing:
            known |= await self._store.get_jobs(missing)
        jobs: Sequence[Job] = [
            completed(known[job_id]) for job_id in claimed.completed if job_id in known
        ]
        self._bus.publish(JobsChanged(change="completed", jobs=jobs))

    async def adopt(self) -> int:
        """Hold whatever this node owns but does not hold: a claim whose commit looked failed.

        By the way what it holds follows the definitions as they are now. Returns how many were
        adopted.
        """
        incarnation = self._lease.incarnation
        with self._dispatcher.taking(all_owned=True) as taking:
            versions = await self._store.owned_versions(incarnation)
            unfamiliar = self._dispatcher.unfamiliar(taking, versions)
            claims: Sequence[Claim] = ()
            if unfamiliar:
                claims = await self._store.owned(incarnation, ids=unfamiliar)
            if incarnation != self._lease.incarnation:
                return 0
            strays = self._dispatcher.reconcile(taking, versions, claims)
            self._dispatcher.hold(strays)
        return len(strays)

    async def run(self) -> None:
        """Claim until ``stop``."""
        while not self._stopping:
            self._wake.clear()
            try:
                if self._lease.held and self._clock.monotonic() >= self._adopt_at:
                    await self.adopt()
                    self._adopt_at = self._clock.monotonic() + self._adopt_interval
                look_again = await self.step(self._clock.now())
            except Revoked as error:
                self.on_revoked(error.incarnation)
                await asyncio.sleep(self._poll / 1_000)
                continue
            except Exception as error:  # noqa: BLE001  # a loop outlives every error
                # The commit may have happened: what it claimed is found by adopting.
                self._adopt_at = float("-inf")
                await asyncio.sleep(self._troubles.failed(error))
                continue
            self._troubles.passed()
            await asyncio.sleep(GATHER)
            # Never longer than a poll: the wall clock may have been set back meanwhile.
            delay = min(look_again - self._clock.now(), self._poll) / 1_000
            if delay > 0 and not self._wake.is_set():
                self._looks_at = self._clock.now() + delay * 1_000
                waker = asyncio.get_running_loop().call_later(delay, self._wake.set)
                await self._wake.wait()
                waker.cancel()
                self._looks_at = float("inf")
