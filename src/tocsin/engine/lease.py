"""A node's time-bounded right to run what it claimed."""

from tocsin.domain.instant import Millis
from tocsin.engine.clock import Clock

MARGIN = 0.1
"""The part of a lease before its end in which no call is started any more."""


class Lease:
    """What this node can prove of its lease, on its own monotonic clock.

    A renewal counts from the moment at which it was asked for, which is earlier than the moment
    at which the store granted it: so this node always stops before others may revoke it.
    """

    def __init__(self, *, clock: Clock, ttl: Millis) -> None:
        self._clock = clock
        self._ttl = ttl / 1_000
        self._ends = float("-inf")
        self._gapless_since = float("inf")
        self.incarnation = ""
        """Whose lease it is; empty before the first and after the loss of one."""

    def begin(self, incarnation: str, asked_at: float) -> None:
        """Note that the store granted a lease to a new incarnation."""
        self.incarnation = incarnation
        self.renewed(asked_at)

    def renewed(self, asked_at: float) -> None:
        """Note a renewal that was asked for at a monotonic time."""
        if asked_at > self._ends:
            self._gapless_since = asked_at
        self._ends = asked_at + self._ttl

    def lost(self) -> None:
        """Note that the lease was revoked, and the incarnation with it."""
        self.incarnation = ""
        self._ends = float("-inf")
        self._gapless_since = float("inf")

    @property
    def held(self) -> bool:
        """Whether a call may start and a claim be made."""
        return self._clock.monotonic() < self._ends - MARGIN * self._ttl

    @property
    def settled(self) -> bool:
        """Whether it was renewed without a gap for one whole lease.

        Only then may this node revoke others: after an outage of the store all leases look
        lapsed to the first node that is back, and the others deserve the time to come back too.
        """
        return self.held and self._clock.monotonic() - self._gapless_since >= self._ttl
