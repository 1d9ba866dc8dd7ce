"""One claim: asking the store, and handing over what it gave."""

import asyncio
from collections.abc import Callable, Sequence
from typing import NamedTuple

from tocsin.domain.errors import Revoked
from tocsin.domain.instant import Millis
from tocsin.domain.job import Job, completed
from tocsin.domain.planning import plan_fires
from tocsin.engine.clock import Clock
from tocsin.engine.dispatch import Dispatcher, Taking
from tocsin.engine.lease import Lease
from tocsin.engine.meter import Meter
from tocsin.engine.outcomes import log_outcomes
from tocsin.store.bus import Bus, ExecutionsChanged, JobsChanged
from tocsin.store.port import Claim, Claimed, ClaimRequest, Store

HOLD_AT_ONCE = 250
"""Claims that the dispatcher takes over in one go: a millisecond of work."""


class Came(NamedTuple):
    """What a claim came to."""

    claimed: Claimed
    need_slots: int
    """How many of the claims came at their instant."""
    turned_away: int
    """How many of these found no slot, and were given back."""


class Claiming:
    """Claims for the loops that ask for some; several may be under way at once."""

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
    ) -> None:
        self._store = store
        self.dispatcher = dispatcher
        self.lease = lease
        self.clock = clock
        self._bus = bus
        self.meter = meter
        self.horizon = horizon
        """How far ahead of their instant fires are claimed, in milliseconds."""
        self._under_way: set[asyncio.Future[None]] = set()
        self.on_unknown: Callable[[], None] = lambda: None
        """Called when a claim failed: its commit may have happened all the same."""

    async def claim(
        self,
        now: Millis,
        *,
        ahead: int = 0,
        exact: int = 0,
        busy_lanes: frozenset[int],
    ) -> Came:
        """Claim so many ahead and so many at their instant, at most.

        Raises ``Revoked`` and whatever the store raises.
        """
        over: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._under_way.add(over)
        request = ClaimRequest(
            incarnation=self.lease.incarnation,
            now=now,
            ahead_until=now + self.horizon,
            ahead_limit=ahead,
            exact_limit=exact,
            busy_lanes=busy_lanes,
            busy_jobs=self.dispatcher.busy_jobs(),
        )
        try:
            return await self._claim(request)
        except Revoked:
            raise
        except Exception:
            # The commit may have happened: what was claimed is found by adopting.
            self.dispatcher.doubt(ahead + exact)
            self.on_unknown()
            raise
        finally:
            self._under_way.remove(over)
            over.set_result(None)

    async def settled(self) -> None:
        """Wait until every claim that is under way now is over, and what it took is held."""
        if self._under_way:
            await asyncio.wait(tuple(self._under_way))

    async def _claim(self, request: ClaimRequest) -> Came:
        started = self.clock.monotonic()
        incarnation = request.incarnation
        with self.dispatcher.taking(expected=request.ahead_limit + request.exact_limit) as taking:
            claimed = await self._store.claim(request, plan_fires)
            if incarnation != self.lease.incarnation:
                raise Revoked(incarnation)
            if claimed.closed:
                # Before what replaces them may start.
                self._bus.publish(ExecutionsChanged(executions=claimed.closed))
            await self._hold(incarnation, claimed.claims, taking)
        self.meter.claimed(claims=len(claimed.claims), seconds=self.clock.monotonic() - started)
        if claimed.closed:
            self.meter.closed(claimed.closed)
            log_outcomes(claimed.closed)
        if claimed.completed:
            await self._tell_completed(claimed)
        if not request.exact_limit:
            return Came(claimed, 0, 0)
        need_slots = [claim for claim in claimed.claims if claim.execution.exact]
        turned_away = self.dispatcher.turn_away(need_slots)
        if turned_away:
            await self._store.give_back(incarnation, turned_away, now=self.clock.now())
        return Came(claimed, len(need_slots), len(turned_away))

    async def _hold(self, incarnation: str, claims: Sequence[Claim], taking: Taking) -> None:
        """Take claims over, some at a time, so that calls leave on time meanwhile."""
        for start in range(0, len(claims), HOLD_AT_ONCE):
            if start:
                await asyncio.sleep(0)
                if incarnation != self.lease.incarnation:
                    raise Revoked(incarnation)
            part = claims[start : start + HOLD_AT_ONCE]
            taking.expected = len(claims) - start - len(part)
            self.dispatcher.hold(part)

    async def _tell_completed(self, claimed: Claimed) -> None:
        known: dict[str, Job] = {claim.job.id: claim.job for claim in claimed.claims}
        missing = [job_id for job_id in claimed.completed if job_id not in known]
        if missing:
            known |= await self._store.get_jobs(missing)
        jobs: Sequence[Job] = [
            completed(known[job_id]) for job_id in claimed.completed if job_id in known
        ]
        self._bus.publish(JobsChanged(change="completed", jobs=jobs))
