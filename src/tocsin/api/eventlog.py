"""The last events in a bounded ring, for readers that come, go and come back.

Nothing is written as JSON before somebody reads it: most of the time nobody does, and there are
several events per fire.
"""

import asyncio
from bisect import bisect_right
from collections import deque
from collections.abc import (
    AsyncGenerator,
    Awaitable,
    Callable,
    Collection,
    Iterator,
    Mapping,
    Sequence,
)
from contextlib import contextmanager
from dataclasses import dataclass
from operator import attrgetter
from typing import Any, TypeAlias, assert_never

import orjson

from tocsin.domain.execution import Execution, State
from tocsin.domain.instant import format_instant
from tocsin.services.places import Places
from tocsin.store.bus import (
    Bus,
    CallsStarted,
    ExecutionsChanged,
    JobsChanged,
    News,
    NewsLost,
    WorkDue,
)

HEARTBEAT = 15.0
"""Seconds of silence after which a comment is sent, so that proxies keep the connection."""

GATHER = 0.02
"""Seconds that a reader waits after an event for more of them: a burst is one write."""

SLICE = 500
"""Events in one write at most."""

MAX_READERS = 256
MAX_READERS_EACH = 64
"""Of these, with one key."""

MAX_ERROR = 500
"""Characters of an error that an event shows."""

JOB_TYPES = tuple(
    f"job.{word}"
    for word in ("created", "updated", "paused", "resumed", "cancelled", "completed", "deleted")
)
EXECUTION_TYPES = (*(f"execution.{state.value}" for state in State), "execution.started")
TYPES = (*JOB_TYPES, *EXECUTION_TYPES)
"""Every type of event."""

Row: TypeAlias = tuple[Any, ...] | Execution
"""What an event is written from, if anybody asks for it."""

Visible: TypeAlias = Callable[[Sequence[str]], Awaitable[Collection[str]]]

MAX_KNOWN = 10_000
"""Jobs of which a reader that is limited to some remembers whether it may know of them."""

_STARTED = "execution.started"
_RESET = "reset"
_SHARED = 100


@dataclass(frozen=True, kw_only=True, slots=True)
class Wanted:
    """Which events a reader is told of."""

    types: frozenset[str] | None = None
    """``None``: all."""
    job: str | None = None
    """The id or name of the one job."""
    namespace: str | None = None
    """``None``: all."""
    visible: Visible | None = None
    """Which of some jobs the reader may know of, by their ids; ``None``: all of them."""
    reader: str | None = None
    """The id of the key that is read with."""


@dataclass(frozen=True, slots=True)
class _Event:
    kind: str
    namespace: str
    job_id: str
    job_name: str
    data: bytes


class _Batch:
    """Events that were published together."""

    __slots__ = ("_events", "_kind", "_rows", "first")

    def __init__(self, first: int, kind: str, rows: list[Row]) -> None:
        self.first = first
        self._kind = kind
        self._rows = rows
        self._events: list[_Event] | None = None

    def __len__(self) -> int:
        return len(self._rows)

    def take(self, kind: str, rows: list[Row]) -> bool:
        """Add more of the same kind, where nobody has read these yet and there is room."""
        room = _SHARED - len(self._rows)
        if self._kind != kind or self._events is not None or len(rows) > room:
            return False
        self._rows += rows
        return True

    def events(self) -> list[_Event]:
        """The events, written at the first time of asking and then kept for other readers."""
        if self._events is None:
            if self._kind == _RESET:
                render = _reset_event
            else:
                render = _job_event if self._kind.startswith("job.") else _execution_event
            self._events = [render(self._kind, row) for row in self._rows]
        return self._events


class EventLog:
    """Listens on the bus and remembers the last ``capacity`` events.

    Event ids are ``<incarnation>-<n>``, so that an id of another process is never taken for one
    of this.
    """

    def __init__(self, bus: Bus, *, incarnation: str, capacity: int = 10_000) -> None:
        self._incarnation = incarnation
        self._capacity = capacity
        self._batches: deque[_Batch] = deque()
        self._next = 1
        self._wakers: set[asyncio.Event] = set()
        self._places = Places(whole=MAX_READERS, each=MAX_READERS_EACH)
        self._closed = False
        self._stop = bus.listen(self._hear)
        self.on_reader: Callable[[], None] = lambda: None
        """Called before a reader begins, so that the news of other nodes is asked for."""

    def close(self) -> None:
        """End every reader; a server that stops does not wait for them then."""
        self._stop()
        self._closed = True
        self._wake()

    @property
    def readers(self) -> int:
        """How many are reading."""
        return len(self._wakers)

    def refusal(self, reader: str | None) -> str | None:
        """How many are reading, and with which keys, where another one has to be turned away."""
        return self._places.refusal(reader)

    @property
    def last_id(self) -> str:
        """The id of the newest event."""
        return f"{self._incarnation}-{self._next - 1}"

    def _hear(self, news: News) -> None:
        match news:
            case ExecutionsChanged(executions=executions):
                if executions:
                    self._add("execution", [_kept_of(execution) for execution in executions])
            case CallsStarted(executions=executions):
                self._add_started([_kept_of(execution) for execution in executions])
            case JobsChanged(change=change, jobs=jobs):
                if jobs:
                    self._add(f"job.{change}", [_JOB_ROW(job) for job in jobs])
            case NewsLost():
                self._add(_RESET, [(f"{self._incarnation}-{self._next}",)])
            case WorkDue():
                pass
            case _:
                assert_never(news)

    def _add(self, kind: str, rows: list[Row]) -> None:
        dropped = max(0, len(rows) - self._capacity)
        if dropped:
            rows = rows[dropped:]
        batches = self._batches
        batches.append(_Batch(self._next + dropped, kind, rows))
        self._next += dropped + len(rows)
        # A batch goes when what follows it fills the ring alone.
        oldest = self._next - self._capacity
        while len(batches) > 1 and batches[1].first <= oldest:
            batches.popleft()
        if self._wakers:
            self._wake()

    def _add_started(self, rows: list[Row]) -> None:
        """Calls leave a few at a time, so they share a batch while nobody has read it."""
        last = self._batches[-1] if self._batches else None
        if last is None or not last.take(_STARTED, rows):
            self._add(_STARTED, rows)
            return
        self._next += len(rows)
        if self._wakers:
            self._wake()

    def _wake(self) -> None:
        for waker in self._wakers:
            waker.set()

    def _position(self, last_event_id: str | None) -> int | None:
        """Where a reader goes on who has seen this id; ``None`` where it is not known any more."""
        if last_event_id is None:
            return self._next
        incarnation, _, number = last_event_id.rpartition("-")
        if incarnation != self._incarnation or not number.isdecimal() or len(number) > 18:
            return None
        position = int(number) + 1
        oldest = self._batches[0].first if self._batches else self._next
        return position if oldest <= position <= self._next else None

    async def read(self, last_event_id: str | None, wanted: Wanted) -> AsyncGenerator[bytes, None]:
        """What a reader is sent, in the format of server-sent events, until ``close``.

        From the event after ``last_event_id``, or from now on. Where that id is not known any
        more, and where a reader is so slow that what it has not read is gone, it is told to
        ``reset``; then one goes on from the present, and the slow one's stream ends. Readers are
        also told so where news of other nodes was lost on the way here.
        """
        known: dict[str, bool] = {}
        with self._reading(wanted.reader) as waker:
            position = self._position(last_event_id)
            yield b"retry: 2000\n\n"
            if position is None:
                position = self._next
                yield self._reset("unknown_id")
            while not self._closed:
                waker.clear()
                oldest = self._batches[0].first if self._batches else self._next
                if position < oldest:
                    yield self._reset("too_slow")
                    return
                end = min(self._next, position + SLICE)
                if wanted.visible is not None:
                    await self._look(position, end, wanted, wanted.visible, known)
                    if position < (self._batches[0].first if self._batches else self._next):
                        continue  # it took so long that they are gone
                text, position = self._collect(position, end, wanted, known)
                if text:
                    yield text
                elif position == self._next and not await _set_within(waker, HEARTBEAT):
                    yield b": heartbeat\n\n"
                else:
                    await asyncio.sleep(GATHER)

    @contextmanager
    def _reading(self, reader: str | None) -> Iterator[asyncio.Event]:
        waker = asyncio.Event()
        with self._places.take(reader):
            self._wakers.add(waker)
            try:
                self.on_reader()
                yield waker
            finally:
                self._wakers.discard(waker)

    async def _look(
        self, position: int, end: int, wanted: Wanted, visible: Visible, known: dict[str, bool]
    ) -> None:
        """Find out which jobs of some events a reader may know of."""
        ids: set[str] = set()
        for _, event in self._events(position, end):
            if event.job_id and event.namespace == wanted.namespace:
                if event.kind.startswith("job."):
                    known.pop(event.job_id, None)  # it may have other tags now
                ids.add(event.job_id)
        if len(known) > MAX_KNOWN:
            known.clear()
        unknown = sorted(ids - known.keys())
        if unknown:
            seen = await visible(unknown)
            known.update((one, one in seen) for one in unknown)

    def _events(self, position: int, end: int) -> Iterator[tuple[int, _Event]]:
        """The events from one position to another, numbered."""
        index = bisect_right(self._batches, position, key=_first_of) - 1
        while position < end:
            batch = self._batches[index]
            events = batch.events()
            stop = min(end - batch.first, len(events))
            yield from enumerate(events[position - batch.first : stop], position)
            position = batch.first + stop
            index += 1

    def _collect(
        self, position: int, end: int, wanted: Wanted, known: Mapping[str, bool]
    ) -> tuple[bytes, int]:
        """What a reader is sent of some events, and the position after them."""
        parts = [
            b"id: %b-%d\nevent: %b\ndata: %b\n\n"
            % (self._incarnation.encode(), number, event.kind.encode(), event.data)
            for number, event in self._events(position, end)
            if _fits(event, wanted, known)
        ]
        return b"".join(parts), max(position, end)

    def _reset(self, reason: str) -> bytes:
        data = orjson.dumps({"reason": reason, "last_event_id": self.last_id})
        return b"id: %b\nevent: reset\ndata: %b\n\n" % (self.last_id.encode(), data)


def _first_of(batch: _Batch) -> int:
    return batch.first


async def _set_within(waker: asyncio.Event, seconds: float) -> bool:
    try:
        async with asyncio.timeout(seconds):
            await waker.wait()
    except TimeoutError:
        return False
    return True


def _fits(event: _Event, wanted: Wanted, known: Mapping[str, bool]) -> bool:
    if event.kind == _RESET:
        return True
    if wanted.namespace is not None and wanted.namespace != event.namespace:
        return False
    if wanted.visible is not None and not known.get(event.job_id, False):
        return False
    if wanted.job is not None and wanted.job not in {event.job_id, event.job_name}:
        return False
    return wanted.types is None or event.kind in wanted.types


KEPT_EXCERPT = 200
"""Characters of an answer with which an execution is kept as it is."""

_JOB_ROW: Callable[[Any], tuple[Any, ...]] = attrgetter(
    "id", "namespace", "name", "status", "version", "updated_at"
)
_EXECUTION_ROW: Callable[[Any], tuple[Any, ...]] = attrgetter(
    "id",
    "job_id",
    "job_name",
    "namespace",
    "trigger",
    "fire_time",
    "due",
    "state",
    "reason",
    "available_at",
    "finished_at",
    "skipped_until",
    "skipped_count",
    "retry_of",
)


def _kept_of(execution: Execution) -> Row:
    """What is kept of an execution; nearly all of it goes before anybody has read it.

    Itself, which costs nothing, where it is small; else what an event shows of it: it may hold the
    body that a trigger brought along, and the excerpts of its answers.
    """
    attempts = execution.attempts
    if execution.input is None and (
        not attempts
        or (
            len(attempts) == 1
            and attempts[0].error is None
            and (
                (response := attempts[0].response) is None or len(response.excerpt) <= KEPT_EXCERPT
            )
        )
    ):
        return execution
    return _row_of(execution)


def _row_of(execution: Execution) -> tuple[Any, ...]:
    attempts = execution.attempts
    if not attempts:
        return (*_EXECUTION_ROW(execution), 0, None, None, None, None, None)
    first, last = attempts[0], attempts[-1]
    started = first.started_at
    return (
        *_EXECUTION_ROW(execution),
        len(attempts),
        started,
        last.started_at - started + last.duration_ms,
        last.http_status,
        last.error_kind,
        last.error,
    )


def _reset_event(kind: str, row: Any) -> _Event:
    """News of other nodes was lost: what a reader shows may be behind."""
    data = {"reason": "news_lost", "last_event_id": row[0]}
    return _Event(kind, "", "", "", orjson.dumps(data))


def _job_event(kind: str, row: Any) -> _Event:
    job_id, namespace, name, status, version, updated_at = row
    data = {
        "id": job_id,
        "name": name,
        "status": status,
        "version": version,
        "updated_at": format_instant(updated_at),
    }
    return _Event(kind, namespace, job_id, name, orjson.dumps(data))


def _execution_event(kind: str, row: Row) -> _Event:
    (
        execution_id, job_id, job_name, namespace, trigger, fire_time, due, state, reason,
        available_at, finished_at, skipped_until, skipped_count, retry_of, attempts, started_at,
        duration, http_status, error_kind, error,
    ) = _row_of(row) if isinstance(row, Execution) else row  # fmt: skip
    final = state.final
    data = {
        "id": execution_id,
        "job_id": job_id,
        "job_name": job_name,
        "trigger": trigger,
        "fire_time": format_instant(fire_time),
        "due": format_instant(due),
        "state": state,
        "reason": reason,
        "available_at": None if available_at is None else format_instant(available_at),
        "skipped_until": None if skipped_until is None else format_instant(skipped_until),
        "skipped_count": skipped_count,
        "retry_of": retry_of,
        "attempt_count": attempts,
        "started_at": None if started_at is None else format_instant(started_at),
        "finished_at": None if finished_at is None else format_instant(finished_at),
        "duration_ms": None if duration is None or not final else round(duration, 3),
        "lateness_ms": None if started_at is None else max(0, started_at - due),
        "http_status": http_status,
        "error_kind": error_kind,
        "error": None if error is None else error[:MAX_ERROR],
    }
    if kind == "execution":
        kind = f"execution.{state.value}"
    return _Event(kind, namespace, job_id, job_name, orjson.dumps(data))


def words_to_types(words: Sequence[str]) -> frozenset[str]:
    """The types that some words name: a type, or ``job`` or ``execution`` for all of that kind.

    Raises ``ValueError`` with the word that names none.
    """
    types: set[str] = set()
    for word in words:
        if word == "job":
            types.update(JOB_TYPES)
        elif word == "execution":
            types.update(EXECUTION_TYPES)
        elif word in TYPES:
            types.add(word)
        else:
            raise ValueError(word)
    return frozenset(types)
