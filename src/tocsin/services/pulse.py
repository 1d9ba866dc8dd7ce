"""Whether the store can be written to, found out once for all who ask at the same time."""

import asyncio
import time
from collections.abc import Callable

from tocsin.domain.errors import StoreError
from tocsin.store.port import Store

KEPT = 0.5
"""Seconds that the answer counts. To find out takes a durable write that goes before all others,
and everybody may ask, as often as they like."""


class Pulse:
    """Feels it when asked, never twice at once."""

    def __init__(self, store: Store, *, monotonic: Callable[[], float] = time.monotonic) -> None:
        self._store = store
        self._monotonic = monotonic
        self._feeling: asyncio.Task[str] | None = None
        self._last: tuple[float, str] | None = None

    async def problem(self) -> str:
        """What is wrong with the store; an empty text where nothing is."""
        last = self._last
        if last is not None and self._monotonic() - last[0] < KEPT:
            return last[1]
        if self._feeling is None:
            self._feeling = asyncio.create_task(self._feel())
        # Who asked first may leave before the others know.
        return await asyncio.shield(self._feeling)

    async def _feel(self) -> str:
        try:
            await self._store.ping()
            found = ""
        except StoreError as error:
            found = str(error)
        finally:
            self._feeling = None
        self._last = (self._monotonic(), found)
        return found
