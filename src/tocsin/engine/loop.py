"""How every loop of the engine keeps going."""

import asyncio
from collections.abc import Awaitable, Callable

import structlog

from tocsin.domain.errors import Revoked, StoreError
from tocsin.engine.meter import Meter

log = structlog.stdlib.get_logger("tocsin.engine")

LONGEST_PAUSE = 2.0
"""The longest wait between two tries while the store fails, in seconds."""


class Troubles:
    """Counts failures in a row, says how long to pause, and logs the first and the last."""

    def __init__(self, loop: str, meter: Meter) -> None:
        self._loop = loop
        self._meter = meter
        self._count = 0
        self.told = ""
        """What the store said that failed last, since the last success."""

    def failed(self, error: Exception) -> float:
        """Note a failure; returns the seconds to wait before the next try."""
        self._count += 1
        if isinstance(error, StoreError):
            self.told = str(error)
            self._meter.store_failed(error)
            if self._count == 1:
                log.error("store.failed", loop=self._loop, code=error.code, error=self.told)
        else:
            self.told = ""
            log.error("loop.failed", loop=self._loop, exc_info=error)
        return min(LONGEST_PAUSE, 0.05 * 2.0 ** min(self._count - 1, 10))

    def passed(self) -> None:
        """Note a success."""
        if self._count:
            log.info("store.recovered", loop=self._loop, failures=self._count)
            self._count = 0
            self.told = ""


async def every(
    interval: float | Callable[[], float],
    step: Callable[[], Awaitable[object]],
    troubles: Troubles,
    *,
    on_revoked: Callable[[str], None],
) -> None:
    """Run a step again and again, so many seconds apart; no error ends it.

    Where the interval varies it is asked for after each step.
    """
    while True:
        try:
            await step()
        except Revoked as error:
            on_revoked(error.incarnation)
        except Exception as error:  # noqa: BLE001  # a loop outlives every error
            longest = _seconds(interval) or LONGEST_PAUSE
            await asyncio.sleep(min(longest, troubles.failed(error)))
            continue
        else:
            troubles.passed()
        await asyncio.sleep(_seconds(interval))


def _seconds(interval: float | Callable[[], float]) -> float:
    return interval() if callable(interval) else interval
