"""Group commit: what several callers want stored at the same time shares one transaction."""

import asyncio
from collections import deque
from collections.abc import Sequence

from tocsin.store.port import Created, Limits, NewJobs, Request, Store

MOST_JOBS = 4_000
"""New jobs in one transaction, unless a single caller brings more: the engine waits meanwhile."""


class GroupCommit:
    """Stores new jobs for many callers, each of whom waits for the commit that holds theirs.

    While one transaction is under way, whoever comes waits for the next. So a lone caller does not
    wait for company, and under load the price of a commit is shared by all that came meanwhile.
    """

    def __init__(self, store: Store, limits: Limits) -> None:
        self._store = store
        self._limits = limits
        self._waiting: deque[tuple[NewJobs, asyncio.Future[Request | None]]] = deque()
        self._writing: asyncio.Task[None] | None = None

    async def store(self, new: NewJobs) -> Request | None:
        """Store new jobs, all or none; returns and raises what ``Store.create_jobs`` does."""
        stored: asyncio.Future[Request | None] = asyncio.get_running_loop().create_future()
        self._waiting.append((new, stored))
        if self._writing is None:
            self._writing = asyncio.create_task(self._write())
        return await stored

    async def _write(self) -> None:
        try:
            while self._waiting:
                await self._write_next()
        finally:
            self._writing = None

    async def _write_next(self) -> None:
        callers = self._next()
        outcomes: Sequence[Created]
        try:
            outcomes = await self._store.create_sets(
                [new for new, _ in callers], limits=self._limits
            )
        except Exception as error:  # noqa: BLE001  # it is that of each caller
            outcomes = [error] * len(callers)
        except BaseException:
            for _, stored in (*callers, *self._waiting):
                stored.cancel()
            self._waiting.clear()
            raise
        for (_, stored), outcome in zip(callers, outcomes, strict=True):
            if stored.done():
                continue  # The caller has gone.
            if isinstance(outcome, Exception):
                stored.set_exception(outcome)
            else:
                stored.set_result(outcome)

    def _next(self) -> list[tuple[NewJobs, "asyncio.Future[Request | None]"]]:
        """Those whose turn it is, in the order in which they came."""
        callers = [self._waiting.popleft()]
        jobs = len(callers[0][0].jobs)
        while self._waiting and jobs + len(self._waiting[0][0].jobs) <= MOST_JOBS:
            callers.append(self._waiting.popleft())
            jobs += len(callers[-1][0].jobs)
        return callers
