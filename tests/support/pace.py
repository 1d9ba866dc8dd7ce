"""How evenly the machine itself runs, so that its stops are not laid to what is measured on it."""

import threading
import time
from typing import Self

STEP = 0.01
"""Seconds between two looks at the clock."""

STOP = 0.03
"""Seconds by which a look may be late before it counts as a stop."""


class Pace:
    """A thread that does nothing but look at the clock: when it is late, so is everybody else."""

    def __init__(self) -> None:
        self._stops: list[tuple[int, int]] = []
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._watch, daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self._thread.join()

    def _watch(self) -> None:
        before = time.time_ns()
        while not self._over.is_set():
            time.sleep(STEP)
            now = time.time_ns()
            if now - before > (STEP + STOP) * 1e9:
                self._stops.append((before, now))
            before = now

    def stopped(self, began_ns: int, ended_ns: int) -> float:
        """Seconds within this time in which the machine stood still."""
        return (
            sum(max(0, min(until, ended_ns) - max(since, began_ns)) for since, until in self._stops)
            / 1e9
        )

    def seconds(self, began_ns: int, ended_ns: int) -> float:
        """The length of this time, in seconds, without those stops."""
        return (ended_ns - began_ns) / 1e9 - self.stopped(began_ns, ended_ns)
