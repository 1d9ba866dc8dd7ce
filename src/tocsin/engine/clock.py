"""Where the engine gets the time from."""

import time
from typing import Protocol

from tocsin.domain.instant import Millis

MAX_ROUND_TRIP = 0.2
"""Seconds that a sample of the store's time may take at most to count."""

COUNTS_FOR = 600.0
"""Seconds for which a sample that counts keeps a clock ready, while no other one does.

A monotonic clock goes on well without: after these ten minutes it is off by 0.12 s at the very
most (``DRIFT``). To stop earlier would turn a slow database into an outage of all nodes.
"""

DRIFT = 200e-6
"""How far two clocks may drift apart: more than quartz does (100 ppm at worst), less than
``COUNTS_FOR`` could bear. Where they do drift faster, or jump, the newest sample holds."""


LEAN = 5.0
"""Milliseconds by which a shared clock leans to the late side of what is known, at most.

Within these a call that leaves late is better than one that leaves early. Where more is unknown the
store is far away, and the middle is the better guess: there delays are alike in both directions.
"""


class Clock(Protocol):
    """Two clocks: the one people agree on, and one that never jumps."""

    @property
    def ready(self) -> bool:
        """Whether ``now`` is known well enough to claim and to rescue by it."""

    def now(self) -> Millis:
        """Milliseconds since the epoch, UTC, rounded down."""

    def monotonic(self) -> float:
        """Seconds since some instant; goes on while the machine sleeps, where it can tell."""


class SystemClock:
    """The clocks of this machine."""

    ready = True

    def now(self) -> Millis:
        """The wall clock."""
        return time.time_ns() // 1_000_000

    if hasattr(time, "CLOCK_BOOTTIME"):

        def monotonic(self) -> float:
            """Time since boot.

            Unlike CLOCK_MONOTONIC it counts the sleep of a suspended machine, so that a lease
            does not look valid after it.
            """
            return time.clock_gettime(time.CLOCK_BOOTTIME)

    else:

        def monotonic(self) -> float:
            """Time since some instant."""
            return time.monotonic()


class SharedClock:
    """The time of the store that several nodes share: this machine's monotonic clock, shifted.

    Each sample of the store's time says between which two values the shift lies: the store read
    its clock after it was asked and before it answered, however unevenly the delay was divided.
    What all samples agree on (widened by what two clocks may have drifted apart since) is known,
    and the shift is the middle of it, less ``LEAN``: so ``now`` is early by half the best round
    trip at most, and not at all where that is short; and one noisy sample moves nothing. A sample
    that contradicts what is known says that a clock has jumped (the database's, at a failover
    perhaps, or this machine's, which was paused): then it alone holds.

    The wall clock of this machine plays no part, but for the time before the first sample.

    A correction is applied at once, backwards too. Those of clocks that do not jump stay within
    the known error: less than the best round trip, usually some microseconds. Whoever uses
    ``now`` bears any jump: an instant that has come stays come, and planning goes on from the
    stored timers.
    """

    def __init__(self, local: Clock) -> None:
        self._local = local
        self._monotonic = local.monotonic
        self._low = float("-inf")
        self._high = float("inf")
        self._known_at = local.monotonic()
        self._shift = local.now() - 1_000 * self._known_at
        self._counted_at: float | None = None
        self.round_trip_ms: float | None = None
        """How long the last sample took, whether or not it counts; ``None`` before the first."""

    def now(self) -> Millis:
        """The store's time, rounded down."""
        return int(1_000 * self._monotonic() + self._shift)

    def monotonic(self) -> float:
        """That of this machine."""
        return self._monotonic()

    @property
    def ready(self) -> bool:
        """Whether a sample counted, and not too long ago."""
        return self._counted_at is not None and self._monotonic() - self._counted_at <= COUNTS_FOR

    @property
    def error_ms(self) -> float:
        """How far ``now`` may be off, rather late than early; infinite before the first sample."""
        drift = DRIFT * (self._monotonic() - self._known_at)
        half = (self._high - self._low) / 2
        return half + min(half, LEAN) + 1_000 * drift

    @property
    def offset_ms(self) -> Millis:
        """What must be added to the wall clock of this machine for the store's time."""
        return self.now() - self._local.now()

    def learn(self, *, asked_at: float, store_time: Millis, answered_at: float) -> float:
        """Take a sample: the store's time, rounded down, and when it was asked for and answered.

        The latter two are monotonic. Returns by how many milliseconds ``now`` moved.

        One with too long a round trip does not count. It is only taken for want of a better one:
        where none counted yet, or where it proves that what is known is wrong.
        """
        self.round_trip_ms = 1_000 * (answered_at - asked_at)
        counts = answered_at - asked_at <= MAX_ROUND_TRIP
        low = store_time - 1_000 * answered_at
        high = store_time + 1 - 1_000 * asked_at
        drift = 1_000 * DRIFT * (answered_at - self._known_at)
        known_low, known_high = self._low - drift, self._high + drift
        if low > known_high or high < known_low:
            self._counted_at = None
        elif counts or self._counted_at is None:
            low, high = max(low, known_low), min(high, known_high)
        else:
            return 0.0
        if counts:
            self._counted_at = answered_at
        before = self._shift
        self._low, self._high, self._known_at = low, high, answered_at
        half = (high - low) / 2
        self._shift = low + half - min(half, LEAN)
        return self._shift - before
