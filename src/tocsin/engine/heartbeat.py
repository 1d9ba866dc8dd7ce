"""Joining the cluster, renewing the lease, and hearing of what was taken away meanwhile."""

from collections.abc import Callable

from tocsin.domain.errors import Revoked
from tocsin.domain.instant import Millis
from tocsin.engine.clock import Clock
from tocsin.engine.dispatch import Dispatcher
from tocsin.engine.lease import Lease
from tocsin.engine.timekeeper import Timekeeper
from tocsin.store.port import Node, Store

CHECK_AT_MOST = 1_000
"""Calls whose ownership is checked with one heartbeat at most; the oldest first."""


class Heartbeat:
    """Keeps a node's lease."""

    def __init__(
        self,
        *,
        store: Store,
        lease: Lease,
        dispatcher: Dispatcher,
        clock: Clock,
        timekeeper: Timekeeper,
        ttl: Millis,
        interval: Millis,
        introduce: Callable[[Millis], Node],
    ) -> None:
        self._store = store
        self._lease = lease
        self._dispatcher = dispatcher
        self._clock = clock
        self._timekeeper = timekeeper
        self._ttl = ttl
        self._interval = interval
        self._introduce = introduce
        """Describes this node as it is at an instant, with a new incarnation id."""

    async def step(self, now: Millis) -> None:
        """Renew, or join where there is no lease; abort calls that this node no longer owns.

        A node joins only where it knows the time. Raises ``Revoked`` where the lease was ended
        by another node.
        """
        if not self._lease.held:
            # It has just started, or stood still, and perhaps its clock with it.
            now = await self._timekeeper.step(now)
            if not self._lease.incarnation and not self._clock.ready:
                return
        asked_at = self._clock.monotonic()
        incarnation = self._lease.incarnation
        node = self._introduce(now)
        if not incarnation:
            await self._store.register(node)
            self._lease.begin(node.incarnation, asked_at)
            return
        until = await self._store.renew(incarnation, now=now, ttl=self._ttl, load=node.load)
        if until is None:
            raise Revoked(incarnation)
        if incarnation != self._lease.incarnation:
            return  # The answer was slow: others have revoked it meanwhile, and that is known.
        was_held = self._lease.held
        self._lease.renewed(asked_at)
        if not was_held:
            self._dispatcher.pump()
        await self._check_long_calls(incarnation, asked_at)

    async def _check_long_calls(self, incarnation: str, asked_at: float) -> None:
        """Abort calls whose executions were ended elsewhere; the news of it may have been lost."""
        long_ones = self._dispatcher.calling_since(asked_at - self._interval / 1_000)
        ids = [held.claim.execution.id for held in long_ones[:CHECK_AT_MOST]]
        if ids:
            owned = await self._store.still_owned(incarnation, ids)
            self._dispatcher.abort_calls(
                held for one, held in zip(ids, long_ones, strict=False) if one not in owned
            )
