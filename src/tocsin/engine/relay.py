"""News between the nodes of one database: what changed here is told to the others.

``Relay`` listens on the bus, gathers what it hears for some milliseconds, and hands messages to a
``Transport``. What the transport receives from others it gives to ``Relay.receive``, which puts it
on the bus of this process; that is not sent on. Polling stays the truth: everything here may be
lost, doubled or late, and only makes things faster.

A second transport needs no more than this:

- ``async send(message)`` hands a message (``MAX_MESSAGE`` bytes at most, UTF-8 without NUL) to all
  other nodes, by best effort. It may take its time: what waits meanwhile is bounded here. It may
  raise; the message is lost then, and the receivers see a gap in the numbers.
- Each message that arrives is given to ``relay.receive(message)``, in the event loop's thread.
  It returns at once and never raises. The sender's own messages may come back, and are ignored.
- ``relay.missed()`` says that messages may have been lost (a connection was cut).

What goes first, and is never left out before the rest: jobs that were changed, executions of other
nodes that were ended here (their owners abort the calls), and that something is due. All other
executions are only told while some node has a reader of its events (it says so every second), so
that a fire costs next to nothing otherwise; and of those the oldest are left out and counted where
there are too many.
"""

import asyncio
import time
import uuid
from collections import deque
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from itertools import groupby
from typing import Protocol, assert_never

import structlog

from tocsin.domain.execution import Execution, State
from tocsin.domain.instant import Millis
from tocsin.domain.job import Job
from tocsin.engine.relay_codec import (
    DueTold,
    ExecutionTold,
    Item,
    JobTold,
    LostTold,
    WantTold,
    decode,
    encode_item,
    fits,
    head_of,
    whole,
)
from tocsin.store.bus import (
    Bus,
    CallsStarted,
    ExecutionsChanged,
    JobsChanged,
    News,
    NewsLost,
    WorkDue,
)

log = structlog.stdlib.get_logger("tocsin.engine")

GATHER = 0.02
"""Seconds that news waits for more of it, so that a burst is few messages."""

MAX_PER_SECOND = 200
"""Messages in a second at most; a tenth of that may go at once."""

MAX_URGENT = 10_000
"""Job changes and ended executions that wait to be sent, or to be read from the store."""

MAX_WAITING = 2_000
"""Other executions that wait to be sent; beyond that the oldest are left out."""

SEND_TIMEOUT = 5.0
"""Seconds that a transport may take for a message."""

LOST_EVERY = 1.0
"""Seconds between two words of what was left out: readers look at the store for each."""

LAST_WORDS = 1.0
"""Seconds that the end of the relay takes to send what waits."""

WANT_EVERY = 1.0
"""Seconds between two words of a node that it has readers."""

WANT_LASTS = 3.5
"""Seconds that such a word counts."""

WANT_AFTER = 60.0
"""Seconds that a node goes on wanting after its last reader, who may come back."""

READ_AT_ONCE = 500
"""Jobs that are read from the store at once."""

READ_AGAIN = 0.1
"""Seconds until a job is read again whose change has not reached this node's store yet."""

MAX_READS = 20

MAX_SENDERS = 1_000


class Transport(Protocol):
    """Carries messages to all other nodes of the database."""

    async def send(self, message: bytes) -> None:
        """Hand over one message; raises where that is known to have failed."""


ReadJobs = Callable[[Sequence[str]], Awaitable[dict[str, Job]]]


class Relay:
    """Tells other nodes what changed here, and this one what changed there.

    ``own`` answers this node's incarnation, ``has_readers`` whether somebody reads its events now.
    """

    def __init__(
        self,
        *,
        bus: Bus,
        transport: Transport,
        read_jobs: ReadJobs,
        own: Callable[[], str],
        has_readers: Callable[[], bool] = lambda: False,
        max_per_second: float = MAX_PER_SECOND,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._bus = bus
        self._transport = transport
        self._read_jobs = read_jobs
        self._own = own
        self._has_readers = has_readers
        self._monotonic = monotonic
        self._sender = uuid.uuid4().hex[:12]
        self._number = 1
        self._urgent: deque[Item] = deque()
        self._waiting: deque[Item] = deque()
        self._left_out = 0
        self._lost_said = float("-inf")
        self._due: Millis | None = None
        self._want = False
        self._carry: bytes | None = None
        self._some = asyncio.Event()
        self._rate = max_per_second
        self._burst = max(1.0, max_per_second / 10)
        self._credit = self._burst
        self._credit_at = monotonic()
        # Until others have had the time to say that they want it, assume so.
        self._wanted_until = monotonic() + WANT_LASTS
        self._wanting_until = float("-inf")
        self._want_said = float("-inf")
        self._numbers: dict[str, int] = {}
        self._to_read: deque[tuple[JobTold, int]] = deque()
        self._some_to_read = asyncio.Event()
        self._telling = False
        self._at_transport = asyncio.Lock()
        self._failed = False
        self._tasks: list[asyncio.Task[None]] = []
        self._deaf: Callable[[], None] = lambda: None

    async def start(self) -> None:
        """Begin to listen and to send."""
        self._deaf = self._bus.listen(self._hear)
        self._tasks = [
            asyncio.create_task(self._send_all(), name="relay-send"),
            asyncio.create_task(self._read_all(), name="relay-read"),
        ]

    async def stop(self) -> None:
        """Send what waits, in ``LAST_WORDS`` at most, and end."""
        self._deaf()
        with suppress(TimeoutError):
            async with asyncio.timeout(LAST_WORDS):
                while (message := self.next_message()) is not None:
                    await self._send(message)
                async with self._at_transport:
                    pass  # What was under way is out.
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    def want(self) -> None:
        """Somebody begins to read this node's events: from now on hear of all executions."""
        now = self._monotonic()
        if self._wanting_until < now:
            # Nobody told this node of them until now.
            self._tell(NewsLost(count=None))
        self._wanting_until = now + WANT_AFTER
        self._want = True
        self._some.set()

    def missed(self) -> None:
        """Messages of others may have been lost."""
        self._tell(NewsLost(count=None))

    # --- from here to the others

    def _hear(self, news: News) -> None:
        if self._telling:
            return
        match news:
            case JobsChanged(change=change, jobs=jobs, due_at=due_at):
                if due_at is not None:
                    self._note_due(due_at)
                urgent = change not in {"created", "completed"}
                if urgent or self._wanted:
                    told = [JobTold(change, job.id, job.version) for job in jobs]
                    (self._put_urgent if urgent else self._put)(told)
            case ExecutionsChanged(executions=executions):
                self._hear_executions(executions)
            case CallsStarted(executions=executions):
                if self._wanted:
                    self._put([ExecutionTold(one, started=True) for one in executions])
            case WorkDue(at=at):
                self._note_due(at)
            case NewsLost():
                pass
            case _:
                assert_never(news)

    def _hear_executions(self, executions: Sequence[Execution]) -> None:
        own, wanted = self._own(), self._wanted
        urgent: list[Item] = []
        rest: list[Item] = []
        for execution in executions:
            if execution.state.final:
                # Somebody else may have it in their hands.
                if execution.owner is not None and execution.owner != own:
                    urgent.append(ExecutionTold(execution, started=False))
                    continue
            elif execution.state is State.PENDING:
                self._note_due(execution.available_at or execution.due)
            if wanted:
                rest.append(ExecutionTold(execution, started=False))
        if urgent:
            self._put_urgent(urgent)
        if rest:
            self._put(rest)

    @property
    def _wants(self) -> bool:
        """Whether this node shows the events of others, or did so a moment ago."""
        return self._monotonic() < self._wanting_until

    @property
    def _wanted(self) -> bool:
        return self._monotonic() < self._wanted_until

    def _note_due(self, at: Millis) -> None:
        self._due = at if self._due is None else min(self._due, at)
        self._some.set()

    def _put_urgent(self, items: Sequence[Item]) -> None:
        self._fill(self._urgent, items, MAX_URGENT)

    def _put(self, items: Sequence[Item]) -> None:
        self._fill(self._waiting, items, MAX_WAITING)

    def _fill(self, queue: deque[Item], items: Sequence[Item], limit: int) -> None:
        queue.extend(items)
        while len(queue) > limit:
            queue.popleft()
            self._left_out += 1
        self._some.set()

    def next_message(self) -> bytes | None:
        """What to send next, the most important first; ``None`` where there is nothing."""
        head = head_of(self._sender, self._number)
        parts: list[bytes] = []
        size = 0
        while (part := self._next_part()) is not None:
            if fits(head, size, part):
                parts.append(part)
                size += len(part) + 1
            elif parts:
                self._carry = part
                break
            else:
                self._left_out += 1  # too large for any message
        if not parts:
            return None
        self._number += 1
        return whole(head, parts)

    def _next_part(self) -> bytes | None:
        if self._want:
            self._want, self._want_said = False, self._monotonic()
            return encode_item(WantTold())
        if self._due is not None:
            due, self._due = self._due, None
            return encode_item(DueTold(due))
        if self._carry is not None:
            part, self._carry = self._carry, None
            return part
        now = self._monotonic()
        if self._left_out and now - self._lost_said >= LOST_EVERY:
            count, self._left_out, self._lost_said = self._left_out, 0, now
            return encode_item(LostTold(count))
        if self._urgent:
            return encode_item(self._urgent.popleft())
        if self._waiting:
            return encode_item(self._waiting.popleft())
        return None

    async def _send_all(self) -> None:
        while True:
            try:
                async with asyncio.timeout(WANT_EVERY):
                    await self._some.wait()
            except TimeoutError:
                pass
            if not self._want:
                await asyncio.sleep(GATHER)
            self._some.clear()
            self._go_on_wanting()
            while (message := self.next_message()) is not None:
                await self._send(message)
                await asyncio.sleep(self._pause())

    def _go_on_wanting(self) -> None:
        now = self._monotonic()
        if self._has_readers():
            self._wanting_until = now + WANT_AFTER
        if now < self._wanting_until and now - self._want_said >= WANT_EVERY:
            if not self._want and now - self._want_said >= WANT_LASTS:
                # This node stood still for longer than its word counts: nobody told it more.
                self._tell(NewsLost(count=None))
            self._want = True

    def _pause(self) -> float:
        """Seconds until the next message may go."""
        now = self._monotonic()
        refilled = self._credit + (now - self._credit_at) * self._rate
        self._credit, self._credit_at = min(self._burst, refilled) - 1, now
        return max(0.0, -self._credit / self._rate)

    async def _send(self, message: bytes) -> None:
        try:
            async with self._at_transport, asyncio.timeout(SEND_TIMEOUT):
                await self._transport.send(message)
        except Exception as error:  # noqa: BLE001  # a hint that is lost is lost
            if not self._failed:
                log.warning("relay.failed", error=str(error) or type(error).__name__)
            self._failed = True
        else:
            self._failed = False

    # --- from others to here

    def receive(self, message: bytes) -> None:
        """Take a message of another node; never raises."""
        try:
            told = decode(message, only_of=None if self._wants else self._own())
        except ValueError as error:
            log.debug("relay.not_understood", error=str(error))
            return
        if told.sender == self._sender:
            return
        expected = self._numbers.pop(told.sender, told.number)
        self._numbers[told.sender] = told.number + 1
        if len(self._numbers) > MAX_SENDERS:
            del self._numbers[next(iter(self._numbers))]
        if told.number > expected:
            self._tell(NewsLost(count=None))
        # What is alike and follows each other is one piece of news.
        for kind, items in groupby(told.items, key=_kind):
            self._take(kind, list(items))

    def _take(self, kind: object, items: list[Item]) -> None:
        if kind == (ExecutionTold, False):
            executions = [item.execution for item in items if isinstance(item, ExecutionTold)]
            self._tell(ExecutionsChanged(executions=executions))
            return
        for item in items:
            match item:
                case ExecutionTold(execution):
                    self._tell(CallsStarted(executions=(execution,)))
                case JobTold():
                    self._read_soon(item, 0)
                case DueTold(at):
                    self._tell(WorkDue(at=at))
                case LostTold(count):
                    self._tell(NewsLost(count=count))
                case WantTold():
                    self._wanted_until = self._monotonic() + WANT_LASTS
                case _:
                    assert_never(item)

    def _tell(self, news: News) -> None:
        self._telling = True
        try:
            self._bus.publish(news)
        finally:
            self._telling = False

    def _read_soon(self, told: JobTold, reads: int) -> None:
        if len(self._to_read) >= MAX_URGENT:
            self._tell(NewsLost(count=1))
            return
        self._to_read.append((told, reads))
        self._some_to_read.set()

    async def _read_all(self) -> None:
        while True:
            await self._some_to_read.wait()
            self._some_to_read.clear()
            while self._to_read:
                count = min(READ_AT_ONCE, len(self._to_read))
                await self._read([self._to_read.popleft() for _ in range(count)])

    async def _read(self, batch: Sequence[tuple[JobTold, int]]) -> None:
        try:
            jobs = await self._read_jobs([told.job_id for told, _ in batch])
        except Exception as error:  # noqa: BLE001  # the store says so itself, elsewhere
            log.debug("relay.not_read", error=str(error))
            self._tell(NewsLost(count=len(batch)))
            return
        for change, alike in groupby(batch, key=lambda one: one[0].change):
            found = []
            for told, reads in alike:
                job = jobs.get(told.job_id)
                if job is not None and job.version >= told.version:
                    found.append(job)
                elif reads < MAX_READS:
                    # A store that is a copy may be behind the one where the change was made.
                    loop = asyncio.get_running_loop()
                    loop.call_later(READ_AGAIN, self._read_soon, told, reads + 1)
            if found:
                self._tell(JobsChanged(change=change, jobs=found))


def _kind(item: Item) -> object:
    return (type(item), item.started) if isinstance(item, ExecutionTold) else type(item)
