"""Group commit of results: what ended within a few milliseconds is one transaction."""

import asyncio
from collections.abc import Callable
from dataclasses import replace

from tocsin.domain.errors import Revoked
from tocsin.domain.execution import Execution
from tocsin.domain.settle import void
from tocsin.engine.clock import Clock
from tocsin.engine.lease import Lease
from tocsin.engine.loop import Troubles
from tocsin.engine.meter import Meter
from tocsin.engine.outcomes import log, log_outcomes
from tocsin.store.bus import Bus, ExecutionsChanged
from tocsin.store.port import Store

BATCH = 1_000
"""Results in one transaction at most."""

SMALL_BATCH = 250
"""The same while claims at their instant are expected, which wait for the one under way."""

GATHER = 0.005
GATHER_MORE = 0.02
"""Seconds that the first result of a batch waits for company: few where the last one had none, more
where it had. So a lone result is stored at once, and at a steady rate a transaction, whose commit
costs as much as dozens of results, holds more of them; that costs no call its instant."""


class Recorder:
    """Stores results until the store has taken them, in batches, in order but for exact ones."""

    def __init__(self, *, store: Store, lease: Lease, clock: Clock, bus: Bus, meter: Meter) -> None:
        self._store = store
        self._lease = lease
        self._clock = clock
        self._bus = bus
        self._meter = meter
        self._first: list[Execution] = []
        """Results that go before the others: the next fire of such a job may wait for them, or be
        skipped without them."""
        self._waiting: list[Execution] = []
        self._some = asyncio.Event()
        self._idle = asyncio.Event()
        self._idle.set()
        self._troubles = Troubles("recorder", meter)
        self._last = 0
        """How many results the last batch had."""
        self._plain: set[str] = set()
        """Executions whose results the store refused once, and that are tried without details."""
        self.hurried: Callable[[], bool] = lambda: False
        """Whether somebody may want to write to the store soon and must not wait."""
        self.forget: Callable[[list[str]], None] = lambda _ids: None
        """Told the ids whose results need no more care."""
        self.on_revoked: Callable[[str], None] = lambda _incarnation: None

    @property
    def waiting(self) -> int:
        """Results that are not stored yet."""
        return len(self._first) + len(self._waiting)

    @property
    def _limit(self) -> int:
        return SMALL_BATCH if self.hurried() else BATCH

    def put(self, execution: Execution) -> None:
        """Store this soon."""
        waiting = self._first if execution.exact else self._waiting
        waiting.append(execution)
        if len(waiting) == 1:
            self._idle.clear()
            self._some.set()

    def clear(self) -> None:
        """Drop what is not stored: its incarnation was revoked."""
        self._first.clear()
        self._waiting.clear()
        self._plain.clear()
        self._some.clear()
        self._idle.set()

    async def flush(self) -> None:
        """Wait until everything is stored."""
        await self._idle.wait()

    async def step(self) -> int:
        """Store one batch; returns how many results it held.

        Raises a ``StoreError`` where it was not (or perhaps not) stored: it stays at the head,
        and to store it twice does no harm.
        """
        limit = self._limit
        first = self._first[:limit]
        batch = first + self._waiting[: limit - len(first)]
        if not batch:
            return 0
        started = self._clock.monotonic()
        incarnation = self._lease.incarnation
        try:
            recorded = await self._store.record(
                incarnation, batch, now=self._clock.now(), void=void
            )
        except Revoked:
            self.on_revoked(incarnation)
            return 0
        refused: set[str] = set()
        if recorded.rejected:
            # Most are not ours any more. What still is cannot be stored as it is: it must not be
            # forgotten, or its call would be made again.
            refused = await self._store.still_owned(incarnation, recorded.rejected)
        if incarnation != self._lease.incarnation:
            return 0  # Revoked meanwhile; `clear` has emptied the list.
        del self._first[: len(first)]
        del self._waiting[: len(batch) - len(first)]
        self.forget([execution.id for execution in batch if execution.id not in refused])
        if self._plain:
            self._plain.difference_update(execution.id for execution in recorded.stored)
        if refused:
            self._try_plain([execution for execution in batch if execution.id in refused])
        self._last = len(batch)
        self._meter.recorded(recorded.stored, seconds=self._clock.monotonic() - started)
        log_outcomes(recorded.stored)
        self._bus.publish(ExecutionsChanged(executions=recorded.stored))
        return len(batch)

    def _try_plain(self, refused: list[Execution]) -> None:
        for execution in refused:
            if execution.id in self._plain or not execution.attempts:
                # It stays held, so that it is not called again; a later start will rescue it.
                self._plain.discard(execution.id)
                log.error("result.not_storable", execution_id=execution.id)
                continue
            self._plain.add(execution.id)
            last = replace(
                execution.attempts[-1],
                error=None if execution.attempts[-1].error is None else "not storable",
                timings=None,
                response=None,
            )
            self.put(replace(execution, attempts=(*execution.attempts[:-1], last)))

    async def run(self) -> None:
        """Store results as they come, for ever."""
        while True:
            await self._some.wait()
            if self.waiting < self._limit:
                await asyncio.sleep(GATHER if self._last <= 1 else GATHER_MORE)
            try:
                await self.step()
            except Exception as error:  # noqa: BLE001  # a loop outlives every error
                await asyncio.sleep(self._troubles.failed(error))
                continue
            else:
                self._troubles.passed()
            if not self.waiting:
                self._some.clear()
                self._idle.set()
