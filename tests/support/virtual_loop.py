"""An asyncio event loop whose time is a number: it jumps to the next timer when nothing is ready.

No sockets, no threads, no sleeping: a simulated hour costs what its callbacks cost. The same
program with the same seed runs the same callbacks in the same order, in any process.

Callbacks can belong to a ``Process``, through the context that asyncio carries along: whatever a
process starts (tasks, timers, futures that it awaits) is its own. A killed process runs no further
callback, as after ``kill -9``; those of a paused one wait until it goes on, as after SIGSTOP.
"""

import asyncio
import contextvars
import gc
import heapq
import random
from collections.abc import Awaitable, Callable, Coroutine
from typing import Any, TypeVar

T = TypeVar("T")

PROCESS: contextvars.ContextVar["Process | None"] = contextvars.ContextVar("process", default=None)
"""The simulated process that the running callback belongs to; ``None`` is the world outside."""

SPIN = 200_000
"""Callbacks without any progress of time after which the program is taken to spin."""


class Deadlock(RuntimeError):
    """Nothing is ready, no timer is set, and the awaited result is not there."""


class Spinning(RuntimeError):
    """Callbacks beget callbacks and time stands still."""


class Process:
    """Callbacks that live, pause and die together."""

    def __init__(self, loop: "VirtualLoop", name: str) -> None:
        self.loop = loop
        self.name = name
        self.alive = True
        self.paused = False
        self.died_at: float | None = None
        self.steps = 0
        """Callbacks run so far: each ends at an await, so each count is a place to die at."""
        self._at_step: tuple[int, Callable[[], None]] | None = None
        self.parked: list[asyncio.Handle] = []
        """Callbacks that are to run when it goes on; those of a dead one never do."""
        self.context = contextvars.copy_context()
        self.context.run(PROCESS.set, self)
        self._tasks: list[asyncio.Task[Any]] = []
        self._outside: list[asyncio.Future[Any]] = []

    def spawn(self, coroutine: Coroutine[Any, Any, T]) -> asyncio.Task[T]:
        """Start a task that belongs to the process."""
        return self.loop.create_task(coroutine, context=self.context)

    async def ask(self, work: Callable[[], Awaitable[T]]) -> T:
        """From outside: have the process do something, and wait for the answer.

        Raises ``ConnectionResetError`` where the process dies before it answers.
        """
        if not self.alive:
            raise ConnectionResetError(self.name)
        answer: asyncio.Future[T] = self.loop.create_future()
        self._outside.append(answer)

        async def serve() -> None:
            try:
                result = await work()
            except Exception as error:
                if not answer.done():
                    answer.set_exception(error)
            else:
                if not answer.done():
                    answer.set_result(result)

        self.spawn(serve())
        try:
            return await answer
        finally:
            self._outside.remove(answer)

    def kill(self) -> None:
        """End it here: nothing of it runs any more."""
        if not self.alive:
            return
        self.alive = False
        self.died_at = self.loop.time()
        for answer in tuple(self._outside):
            if not answer.done():
                answer.set_exception(ConnectionResetError(self.name))

    def after_steps(self, count: int, action: Callable[[], None]) -> None:
        """Do something to it from outside as soon as it has run so many more callbacks."""
        self._at_step = (self.steps + count, action)

    def never_mind(self) -> None:
        """Forget ``after_steps``."""
        self._at_step = None

    def stepped(self) -> None:
        """One more callback of it has run."""
        if self._at_step is not None and self.steps >= self._at_step[0]:
            action = self._at_step[1]
            self._at_step = None
            action()

    def pause(self) -> None:
        """Let nothing of it run until ``resume``."""
        self.paused = True

    def resume(self) -> None:
        """Go on; what came due meanwhile runs now, in the order in which it came due."""
        self.paused = False
        if self.alive:
            self.loop.add_ready(self.parked)
            self.parked = []

    def own(self, task: asyncio.Task[Any]) -> None:
        """Keep a task: what a dead process left behind must not be collected at some moment."""
        if len(self._tasks) > 256:
            self._tasks = [known for known in self._tasks if not known.done()]
        self._tasks.append(task)

    def left_behind(self) -> list[asyncio.Task[Any]]:
        """Tasks that have not ended."""
        return [task for task in self._tasks if not task.done()]


class VirtualLoop(asyncio.BaseEventLoop):
    """The loop. With ``rng`` the next callback is any of the ready ones, as the seed has it.

    A shuffled loop also lets a little time pass now and then while callbacks are ready, as a
    busy machine would.
    """

    def __init__(self, rng: random.Random | None = None) -> None:
        super().__init__()
        self._rng = rng
        self._time = 1_000.0
        self._since_progress = 0
        self._cleaning = False
        self.steps = 0
        self.errors: list[dict[str, Any]] = []
        """What reached the loop's exception handler: always somebody's bug."""
        self.set_exception_handler(lambda _loop, context: self.errors.append(context))
        self.set_task_factory(self._make_task)

    # --- what asyncio asks of a loop

    def time(self) -> float:
        """Virtual seconds."""
        return self._time

    def _process_events(self, event_list: object) -> None:
        """There are no sockets."""

    def _write_to_self(self) -> None:
        """There are no threads."""

    def _run_once(self) -> None:
        scheduled, ready = self._scheduled, self._ready  # type: ignore[attr-defined]
        if not ready and not self._stopping:  # type: ignore[attr-defined]
            while scheduled and scheduled[0]._cancelled:
                heapq.heappop(scheduled)._scheduled = False
                self._timer_cancelled_count -= 1  # type: ignore[attr-defined]
            if not scheduled:
                raise Deadlock("nothing is ready and no timer is set")
            if scheduled[0]._when > self._time:
                self._time = scheduled[0]._when
                self._since_progress = 0
        while scheduled and scheduled[0]._when <= self._time:
            handle = heapq.heappop(scheduled)
            handle._scheduled = False
            if handle._cancelled:
                self._timer_cancelled_count -= 1  # type: ignore[attr-defined]
            else:
                ready.append(handle)
        if self._rng is None:
            for _ in range(len(ready)):
                self._run(ready.popleft())
            return
        if ready:
            index = self._rng.randrange(len(ready))
            ready[index], ready[-1] = ready[-1], ready[index]
            self._run(ready.pop())
            if self._rng.random() < 0.01:
                self._time += self._rng.choice((0.0001, 0.001, 0.004))
                self._since_progress = 0

    def _run(self, handle: asyncio.Handle) -> None:
        if handle._cancelled:
            return
        process = handle._context.get(PROCESS)  # type: ignore[attr-defined]
        if process is not None and not self._cleaning:
            if process.paused or not process.alive:
                process.parked.append(handle)
                return
            process.steps += 1
        self.steps += 1
        self._since_progress += 1
        if self._since_progress > SPIN:
            raise Spinning(f"{SPIN} callbacks ran at {self._time}; the last was {handle!r}")
        handle._run()
        if process is not None and process.alive:
            process.stepped()

    def _make_task(
        self, loop: asyncio.AbstractEventLoop, coroutine: Any, **options: Any
    ) -> asyncio.Task[Any]:
        task: asyncio.Task[Any] = asyncio.Task(coroutine, loop=loop, **options)
        context = options.get("context")
        process = PROCESS.get() if context is None else context.get(PROCESS)
        if process is not None:
            process.own(task)
        return task

    # --- what a simulation asks of it

    def add_ready(self, handles: list[asyncio.Handle]) -> None:
        """Run these callbacks as soon as the others that are ready."""
        self._ready.extend(handles)  # type: ignore[attr-defined]

    def run(self, main: Coroutine[Any, Any, T], processes: Callable[[], list[Process]]) -> T:
        """Run ``main`` to its end, then end whatever is left, and close.

        The garbage collector rests meanwhile: it would close forgotten coroutines, and so run
        parts of the program, at moments that no seed decides.
        """
        collected = gc.isenabled()
        gc.disable()
        try:
            try:
                return self.run_until_complete(main)
            finally:
                self._clean(processes())
                self.close()
        finally:
            if collected:
                gc.enable()

    def _clean(self, processes: list[Process]) -> None:
        """Cancel every task, those of dead and paused processes too."""
        self._cleaning = True
        known = len(self.errors)
        for process in processes:
            # Without these callbacks some tasks could not even be cancelled.
            self.add_ready(process.parked)
            process.parked = []
        for _ in range(20):
            left = [task for process in processes for task in process.left_behind()]
            left += [task for task in asyncio.all_tasks(self) if task not in left]
            if not left:
                break
            for task in left:
                task.cancel()
            self.run_until_complete(asyncio.wait(left, timeout=1))
        # What breaks while everything is torn down says nothing.
        del self.errors[known:]
