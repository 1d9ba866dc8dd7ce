"""Taking over from the dead: ending lapsed leases, giving their executions to the living."""

from tocsin.domain.execution import Execution
from tocsin.domain.instant import Millis
from tocsin.domain.job import Job
from tocsin.domain.settle import rescue
from tocsin.engine.lease import Lease
from tocsin.engine.meter import Meter
from tocsin.engine.outcomes import log, log_outcomes
from tocsin.store.bus import Bus, ExecutionsChanged
from tocsin.store.port import Store

BATCH = 1_000
"""Executions rescued in one transaction at most."""


class Rescue:
    """Revokes nodes whose lease has lapsed and rescues what revoked nodes had claimed."""

    def __init__(self, *, store: Store, lease: Lease, bus: Bus, meter: Meter) -> None:
        self._store = store
        self._lease = lease
        self._bus = bus
        self._meter = meter
        self._names: dict[str, str] = {}

    async def step(self, now: Millis) -> int:
        """Revoke and rescue; returns how many executions were rescued."""
        if not self._lease.held:
            return 0
        if self._lease.settled:
            for node in await self._store.revoke_lapsed(now=now, by=self._lease.incarnation):
                self._names[node.incarnation] = node.name
                log.warning("node.revoked", node=node.name, incarnation=node.incarnation)

        def decide(execution: Execution, job: Job | None) -> Execution:
            owner = execution.owner or ""
            name = self._names.get(owner, f"with incarnation {owner[:8]}")
            return rescue(execution, job, node=name, now=now)

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
                return count
