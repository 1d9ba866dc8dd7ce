"""Where the store's synchronous functions run.

SQLite blocks its caller for as long as a statement or an fsync takes. In the service that must be
a thread, so that calls leave on time meanwhile; in a simulation it must be the caller itself, so
that nothing depends on how threads are scheduled. See docs/adr/0003-sqlite-in-threads.md.
"""

import asyncio
from collections import deque
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from functools import partial
from typing import Protocol, TypeAlias, TypeVar

from tocsin.domain.errors import StoreUnavailable

T = TypeVar("T")

READERS = 3

NOT_OPEN = "the store is not open"

_Turn: TypeAlias = Callable[[], None]


class Runner(Protocol):
    """Runs functions, those that write one after the other."""

    def open(self) -> None:
        """Get ready."""

    async def write(self, work: Callable[[], T], *, first: bool = False) -> T:
        """Run work that writes, after all such work before it; ``first``: before what waits."""

    async def read(self, work: Callable[[], T]) -> T:
        """Run work that only reads, beside all other work."""

    async def close(self, last: Callable[[], None]) -> None:
        """Finish what was begun, run ``last`` and let go."""


class Inline:
    """Runs everything at once in the calling thread, without a single suspension."""

    def open(self) -> None:
        """Get ready."""

    async def write(self, work: Callable[[], T], *, first: bool = False) -> T:
        """Run work that writes."""
        del first  # nothing ever waits
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
        self._first: deque[_Turn] = deque()
        self._waiting: deque[_Turn] = deque()
        self._reading: ThreadPoolExecutor | None = None

    def open(self) -> None:
        """Make the threads; they start when they are needed."""
        if self._writing is None:
            self._writing = ThreadPoolExecutor(1, "tocsin-store-write")
            self._reading = ThreadPoolExecutor(self._readers, "tocsin-store-read")

    async def write(self, work: Callable[[], T], *, first: bool = False) -> T:
        """Run work that writes."""
        if self._writing is None:
            raise StoreUnavailable(NOT_OPEN)
        done: Future[T] = Future()

        def turn() -> None:
            if done.set_running_or_notify_cancel():
                try:
                    result = work()
                except BaseException as error:  # noqa: BLE001  # its caller gets to see it
                    done.set_exception(error)
                else:
                    done.set_result(result)

        (self._first if first else self._waiting).append(turn)
        self._writing.submit(self._take_turn)
        return await asyncio.wrap_future(done)

    def _take_turn(self) -> None:
        """Do what should be done next, which may have come later than what this was asked for."""
        turn = self._first.popleft() if self._first else self._waiting.popleft()
        turn()

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
            raise StoreUnavailable(NOT_OPEN)
        return await asyncio.get_running_loop().run_in_executor(threads, partial(work))
