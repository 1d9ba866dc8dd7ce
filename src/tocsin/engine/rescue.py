"""Taking over from the dead: ending lapsed leases, giving their executions to the living."""

from tocsin.domain.execution import Execution
from tocsin.domain.instant import Millis
from tocsin.domain.job import Job
from tocsin.domain.settle import rescue
from tocsin.engine.clock import Clock
from tocsin.engine.lease import Lease
from tocsin.engine.meter import Meter
from tocsin.engine.outcomes import log, log_outcomes
from tocsin.store.bus import Bus, ExecutionsChanged
from tocsin.store.port import Store

BATCH = 1_000
"""Executions rescued in one transaction at most."""

SHORTEST_PAUSE = 0.1
"""Seconds between two looks at least, however near the end of a lease is."""

UNSETTLED = 4
"""How many times as often a node looks that may not revoke yet: it may soon."""


class Rescue:
    """Revokes nodes whose lease has lapsed and rescues what revoked nodes had claimed."""

    def __init__(
        self,
        *,
        store: Store,
        lease: Lease,
        clock: Clock,
        bus: Bus,
        meter: Meter,
        interval: Millis,
    ) -> None:
        self._store = store
        self._lease = lease
        self._clock = clock
        self._bus = bus
        self._meter = meter
        self._interval = interval / 1_000
        self._next_lapse: Millis | None = None
        """When the first of the other leases ends, unless it is renewed."""
        self._names: dict[str, str] = {}

    @property
    def pause(self) -> float:
        """Seconds until the next step should come: at the end of a lease, not a second later."""
        if not self._lease.settled:
            return self._interval / UNSETTLED
        if self._next_lapse is None:
            return self._interval
        left = (self._next_lapse + 1 - self._clock.now()) / 1_000
        return min(self._interval, max(SHORTEST_PAUSE, left))

    async def step(self, now: Millis) -> int:
        """Revoke and rescue; returns how many executions were rescued."""
        if not (self._lease.held and self._clock.ready):
            return 0
        may_revoke = self._lease.settled
        if may_revoke:
            for node in await self._store.revoke_lapsed(now=now, by=self._lease.incarnation):
                self._names[node.incarnation] = node.name
                log.warning("node.revoked", node=node.name, incarnation=node.incarnation)

        def decide(execution: Execution, job: Job | None) -> Execution:
            owner = execution.owner or ""
            name = self._names.get(owner, f"with incarnation {owner[:8]}")
            # Not ``now``: this node may have stood still since, while the other one was calling.
            return rescue(execution, job, node=name, now=self._clock.now())

        count = 0
        while True:
            rescued = await self._store.rescue(now=now, decide=decide, limit=BATCH)
            count += len(rescued)
            if rescued:
                log.warning("executions.rescued", count=len(rescued))
                ended = [execution for execution in rescued if execution.state.final]
                self._meter.closed(ended)
                log_outcomes(ended)
                self._bus.publish(ExecutionsChanged(executions=rescued))
            if len(rescued) < BATCH:
                break
        if may_revoke:
            nodes = await self._store.nodes()
            self._next_lapse = min(
                (one.lease_until for one in nodes if one.incarnation != self._lease.incarnation),
                default=None,
            )
        return count
