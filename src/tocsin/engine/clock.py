"""Where the engine gets the time from."""

import time
from typing import Protocol

from tocsin.domain.instant import Millis


class Clock(Protocol):
    """Two clocks: the one people agree on, and one that never jumps."""

    def now(self) -> Millis:
        """Milliseconds since the epoch, UTC, rounded down."""

    def monotonic(self) -> float:
        """Seconds since some instant; goes on while the machine sleeps, where it can tell."""


class SystemClock:
    """The clocks of this machine."""

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
