"""Comparing this node's clock with the store's, where the store has one for all nodes."""

from collections.abc import Callable

import structlog

from tocsin.domain.instant import Millis
from tocsin.domain.job import Json
from tocsin.engine.clock import MAX_ROUND_TRIP, Clock, SharedClock, SystemClock
from tocsin.store.port import Store

log = structlog.stdlib.get_logger("tocsin.engine")

TRIES = 5
"""Samples taken in a row at most until one counts."""

TRIES_WITHIN = 1.0
"""Seconds after whose end no further try is made: a lease may have to be renewed meanwhile."""

SKEWED: Millis = 1_000
"""From this offset on a machine's clock is called skewed, until it is less than half of it."""

STEPPED: Millis = 100
"""A correction from here on is worth a line in the log: a clock has jumped."""


async def clock_for(store: Store) -> Clock:
    """The clock to go by: that of an open store, or this machine's where it has none."""
    if await store.time() is None:
        return SystemClock()
    return SharedClock(SystemClock())


class Timekeeper:
    """Keeps a ``SharedClock`` right, and says what is wrong; with any other clock it does nothing.

    A skewed node fires at the right instants, but it says that it is skewed: logs carry the time
    of the machine, and certificates expire by it.
    """

    def __init__(self, *, store: Store, clock: Clock, on_moved: Callable[[], None]) -> None:
        self._store = store
        self._clock = clock
        self._shared = clock if isinstance(clock, SharedClock) else None
        self._on_moved = on_moved
        """Called when the clock was corrected by a millisecond or more."""
        self._skewed = False
        self._too_slow = False

    @property
    def active(self) -> bool:
        """Whether there is a clock to keep right."""
        return self._shared is not None

    async def step(self, now: Millis) -> Millis:
        """Take a sample, or some until one counts; returns ``now`` as it is after that."""
        shared = self._shared
        if shared is None:
            return now
        give_up_at = shared.monotonic() + TRIES_WITHIN
        moved = 0.0
        was_ready = shared.ready
        for _ in range(TRIES):
            asked_at = shared.monotonic()
            store_time = await self._store.time()
            if store_time is None:
                raise TypeError("this store has no clock; give the engine a SystemClock")
            moved += shared.learn(
                asked_at=asked_at, store_time=store_time, answered_at=shared.monotonic()
            )
            if shared.ready or shared.monotonic() >= give_up_at:
                break
        if was_ready and abs(moved) >= STEPPED:
            log.warning(
                "clock.stepped",
                by_ms=round(moved),
                reason="the database's clock was set, or this machine stood still",
            )
        self._look_for_slowness(shared)
        self._look_for_skew(shared)
        if abs(moved) >= 1:
            self._on_moved()
        return shared.now()

    @property
    def problem(self) -> str | None:
        """Why the time is not known well enough, as a sentence.

        ``None`` where it is, and where the store has not answered at all.
        """
        shared = self._shared
        if shared is None or shared.ready or shared.round_trip_ms is None:
            return None
        return (
            "the database answered too slowly to compare clocks: round trip "
            f"{shared.round_trip_ms:.0f} ms, at most {1_000 * MAX_ROUND_TRIP:.0f} ms count"
        )

    @property
    def load(self) -> dict[str, Json]:
        """What the node says of its clock."""
        shared = self._shared
        if shared is None or shared.round_trip_ms is None:
            return {}
        return {
            "clock_offset_ms": shared.offset_ms,
            "round_trip_ms": round(shared.round_trip_ms, 3),
        }

    def _look_for_slowness(self, shared: SharedClock) -> None:
        too_slow = not shared.ready
        if too_slow and not self._too_slow:
            log.warning(
                "clock.unknown",
                error=self.problem,
                remedy="this node claims nothing until the database answers faster",
            )
        elif self._too_slow and not too_slow:
            log.info("clock.known", round_trip_ms=round(shared.round_trip_ms or 0.0, 1))
        self._too_slow = too_slow

    def _look_for_skew(self, shared: SharedClock) -> None:
        offset = shared.offset_ms
        if not self._skewed and abs(offset) >= SKEWED:
            self._skewed = True
            log.warning(
                "clock.skewed",
                offset_ms=offset,
                skew=f"{abs(offset) / 1_000:.1f} s {'behind' if offset > 0 else 'ahead of'} "
                "the database's clock",
                remedy="set this machine's clock (NTP); until then the node corrects for it",
            )
        elif self._skewed and abs(offset) < SKEWED // 2:
            self._skewed = False
            log.info("clock.agrees", offset_ms=offset)
