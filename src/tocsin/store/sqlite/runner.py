"""Where the store's synchronous functions run.

SQLite blocks its caller for as long as a statement or an fsync takes. In the service that must be
a thread, so that calls leave on time meanwhile; in a simulation it must be the caller itself, so
that nothing depends on how threads are scheduled. See docs/adr/0003-sqlite-in-threads.md.
"""

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Protocol, TypeVar

from tocsin.domain.errors import StoreUnavailable

T = TypeVar("T")

READERS = 3


class Runner(Protocol):
    """Runs functions, those that write one after the other."""

    def open(self) -> None:
        """Get ready."""

    async def write(self, work: Callable[[], T]) -> T:
        """Run work that writes, after all such work before it."""

    async def read(self, work: Callable[[], T]) -> T:
        """Run work that only reads, beside all other work."""

    async def close(self, last: Callable[[], None]) -> None:
        """Finish what was begun, run ``last`` and let go."""


class Inline:
    """Runs everything at once in the calling thread, without a single suspension."""

    def open(self) -> None:
        """Get ready."""

    async def write(self, work: Callable[[], T]) -> T:
        """Run work that writes."""
        return work()

    async def read(self, work: Callable[[], T]) -> T:
        """Run work that only reads."""
        return work()

    async def close(self, last: Callable[[], None]) -> None:
        """Run ``last``."""
        last()


class Threads:
    """One thread that writes, some that read.

    A caller that is cancelled leaves its work to be finished by the thread: a transaction is
    never cut in two, and it is committed or not, as after any commit of unknown outcome.
    """

    def __init__(self, readers: int = READERS) -> None:
        self._readers = readers
        self._writing: ThreadPoolExecutor | None = None
        self._reading: ThreadPoolExecutor | None = None

    def open(self) -> None:
        """Make the threads; they start when they are needed."""
        if self._writing is None:
            self._writing = ThreadPoolExecutor(1, "tocsin-store-write")
            self._reading = ThreadPoolExecutor(self._readers, "tocsin-store-read")

    async def write(self, work: Callable[[], T]) -> T:
        """Run work that writes."""
        return await self._run(self._writing, work)

    async def read(self, work: Callable[[], T]) -> T:
        """Run work that only reads."""
        return await self._run(self._reading, work)

    async def close(self, last: Callable[[], None]) -> None:
        """Finish what was begun, run ``last`` and let go."""
        writing, reading = self._writing, self._reading
        self._writing = self._reading = None
        if writing is None or reading is None:
            last()
            return

        def finish() -> None:
            reading.shutdown(wait=True)
            last()

        # The thread that writes comes to this after everything that it was given before.
        done = asyncio.get_running_loop().run_in_executor(writing, finish)
        writing.shutdown(wait=False)
        # Whoever waits for the end may be cancelled; the end itself may not.
        await asyncio.shield(done)

    async def _run(self, threads: ThreadPoolExecutor | None, work: Callable[[], T]) -> T:
        if threads is None:
            raise StoreUnavailable("the store is not open")
        return await asyncio.get_running_loop().run_in_executor(threads, partial(work))
