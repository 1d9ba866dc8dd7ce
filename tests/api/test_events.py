"""Server-sent events: what is told, resumed, filtered and dropped."""

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import replace
from typing import Any

import httpx
import pytest

from tests.api.access import guarded
from tests.api.harness import JOBS, Api, serving
from tests.support import build
from tests.support.build import MINUTE, NOW
from tests.support.memory_store import MemoryStore
from tocsin.api import eventlog
from tocsin.api.eventlog import TYPES, EventLog, Wanted, words_to_types
from tocsin.api.routes import events as route
from tocsin.domain.execution import ResponseExcerpt, State
from tocsin.domain.instant import format_instant
from tocsin.store.bus import Bus, CallsStarted, ExecutionsChanged, JobsChanged

EVENTS = "/api/v1/events"
JOB = build.job("report", id="019b5144-0000-7abc-8def-0123456789ab")
Event = dict[str, str]


def parse(text: bytes) -> list[Event]:
    """The events in a piece of stream, as dicts of their fields; comments are left out."""
    found = []
    for block in text.decode().split("\n\n"):
        fields = [line.partition(": ")[::2] for line in block.split("\n") if line[:1] != ":"]
        event = {name: value for name, value in fields if name in {"id", "event", "data"}}
        if event:
            found.append(event)
    return found


def started(number: int = 0) -> CallsStarted:
    return CallsStarted(executions=(build.execution(JOB, NOW + number),))


async def pass_turns() -> None:
    """Let everything that can go on go on."""
    for _ in range(100):
        await asyncio.sleep(0)


class Reader:
    """Reads a log in pieces."""

    def __init__(self, log: EventLog, last_id: str | None = None, **wanted: Any) -> None:
        self._stream = log.read(last_id, Wanted(**wanted))
        self.chunks: list[bytes] = []

    async def next(self) -> list[Event]:
        """The next events; empty where the stream has ended."""
        async with asyncio.timeout(60):
            async for chunk in self._stream:
                self.chunks.append(chunk)
                found = parse(chunk)
                if found:
                    return found
        return []

    async def begin(self) -> None:
        """Wait until the stream has begun, so that what comes now is not missed."""
        await anext(self._stream)

    async def close(self) -> None:
        await self._stream.aclose()


@pytest.fixture
def bus() -> Bus:
    return Bus()


@pytest.fixture
def log(bus: Bus) -> EventLog:
    return EventLog(bus, incarnation="boot", capacity=10)


@pytest.fixture(autouse=True)
def _at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(eventlog, "GATHER", 0.0)


class TestLog:
    async def test_from_now_on(self, bus: Bus, log: EventLog) -> None:
        bus.publish(started())
        reader = Reader(log)
        await reader.begin()
        bus.publish(JobsChanged(change="created", jobs=[JOB]))
        (event,) = await reader.next()
        assert (event["id"], event["event"]) == ("boot-2", "job.created")
        assert json.loads(event["data"]) == {
            "id": JOB.id,
            "name": "report",
            "status": "active",
            "version": 1,
            "updated_at": format_instant(NOW),
        }
        await reader.close()

    async def test_what_an_execution_shows(self, bus: Bus, log: EventLog) -> None:
        failed = build.execution(
            JOB,
            state=State.FAILED,
            finished_at=NOW + 40,
            attempts=(build.failed_attempt(started_at=NOW + 5, duration_ms=30.5),),
        )
        bus.publish(ExecutionsChanged(executions=[failed]))
        (event,) = await Reader(log, "boot-0").next()
        assert event["event"] == "execution.failed"
        assert json.loads(event["data"]) == {
            "id": failed.id,
            "job_id": JOB.id,
            "job_name": "report",
            "trigger": "schedule",
            "fire_time": format_instant(NOW),
            "due": format_instant(NOW),
            "state": "failed",
            "reason": None,
            "available_at": format_instant(NOW),
            "skipped_until": None,
            "skipped_count": None,
            "retry_of": None,
            "attempt_count": 1,
            "started_at": format_instant(NOW + 5),
            "finished_at": format_instant(NOW + 40),
            "duration_ms": 30.5,
            "lateness_ms": 5,
            "http_status": 503,
            "error_kind": "http_status",
            "error": "answered 503",
        }

    async def test_ids_count_up_over_every_kind(self, bus: Bus, log: EventLog) -> None:
        bus.publish(started())
        bus.publish(started())
        bus.publish(ExecutionsChanged(executions=[build.execution(JOB)] * 2))
        bus.publish(JobsChanged(change="paused", jobs=[JOB]))
        bus.publish(ExecutionsChanged(executions=[]))
        bus.publish(JobsChanged(change="paused", jobs=[]))
        found = await Reader(log, "boot-0").next()
        assert [(one["id"], one["event"]) for one in found] == [
            ("boot-1", "execution.started"),
            ("boot-2", "execution.started"),
            ("boot-3", "execution.pending"),
            ("boot-4", "execution.pending"),
            ("boot-5", "job.paused"),
        ]
        assert log.last_id == "boot-5"

    @pytest.mark.parametrize("seen", range(6))
    async def test_it_goes_on_after_the_last_one_seen(
        self, bus: Bus, log: EventLog, seen: int
    ) -> None:
        for number in range(5):
            bus.publish(started(number) if number % 2 else JobsChanged(change="x", jobs=[JOB]))
        reader = Reader(log, f"boot-{seen}")
        await reader.begin()
        bus.publish(started(9))
        found: list[Event] = []
        while len(found) < 6 - seen:
            found += await reader.next()
        assert [one["id"] for one in found] == [f"boot-{n}" for n in range(seen + 1, 7)]
        await reader.close()

    @pytest.mark.parametrize(
        "last_id", ["boot-99", "other-3", "boot--1", "boot-x", "", "3", "boot-" + "9" * 40]
    )
    async def test_an_unknown_id_is_a_reset(self, bus: Bus, log: EventLog, last_id: str) -> None:
        bus.publish(started())
        reader = Reader(log, last_id)
        (event,) = await reader.next()
        assert (event["event"], event["id"]) == ("reset", "boot-1")
        assert json.loads(event["data"]) == {"reason": "unknown_id", "last_event_id": "boot-1"}
        bus.publish(started())
        (event,) = await reader.next()
        assert event["id"] == "boot-2"
        await reader.close()

    async def test_the_ring_is_bounded(self, bus: Bus, log: EventLog) -> None:
        for number in range(1_000):
            bus.publish(JobsChanged(change="updated", jobs=[JOB] * (1 + number % 3)))
        held = sum(len(batch) for batch in log._batches)
        assert 10 <= held <= 12
        last = int(log.last_id.rpartition("-")[2])
        found = await Reader(log, f"boot-{last - 10}").next()
        assert len(found) == 10
        (event,) = await Reader(log, f"boot-{last - 13}").next()
        assert event["event"] == "reset"

    async def test_started_calls_share_what_is_bounded(self, bus: Bus, log: EventLog) -> None:
        for number in range(1_000):
            bus.publish(started(number))
        assert sum(len(batch) for batch in log._batches) <= 10 + 2 * eventlog._SHARED
        found = await Reader(log, "boot-990").next()
        assert [one["id"] for one in found] == [f"boot-{n}" for n in range(991, 1_001)]

    async def test_a_batch_larger_than_the_ring(self, bus: Bus, log: EventLog) -> None:
        bus.publish(JobsChanged(change="created", jobs=[JOB] * 25))
        assert log.last_id == "boot-25"
        assert len(await Reader(log, "boot-15").next()) == 10
        (event,) = await Reader(log, "boot-14").next()
        assert event["event"] == "reset"

    async def test_a_slow_reader_is_told_and_dropped(self, bus: Bus, log: EventLog) -> None:
        reader = Reader(log)
        await reader.begin()
        for _ in range(30):
            bus.publish(JobsChanged(change="updated", jobs=[JOB]))
        (event,) = await reader.next()
        assert (event["event"], event["id"]) == ("reset", "boot-30")
        assert json.loads(event["data"])["reason"] == "too_slow"
        assert await reader.next() == []

    async def test_long_backlogs_come_in_slices(
        self, bus: Bus, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(eventlog, "SLICE", 4)
        log = EventLog(bus, incarnation="boot", capacity=10)
        bus.publish(JobsChanged(change="created", jobs=[JOB] * 10))
        reader = Reader(log, "boot-0")
        assert [len(await reader.next()) for _ in range(3)] == [4, 4, 2]
        await reader.close()

    @pytest.mark.parametrize(
        ("wanted", "expected"),
        [
            ({}, ["job.created", "execution.started", "execution.succeeded", "job.created"]),
            ({"types": words_to_types(["job"])}, ["job.created", "job.created"]),
            (
                {"types": words_to_types(["execution"])},
                ["execution.started", "execution.succeeded"],
            ),
            ({"types": words_to_types(["execution.succeeded"])}, ["execution.succeeded"]),
            ({"job": "other"}, ["job.created"]),
            ({"job": JOB.id, "types": words_to_types(["job"])}, ["job.created"]),
        ],
    )
    async def test_filters(
        self, bus: Bus, log: EventLog, wanted: dict[str, Any], expected: list[str]
    ) -> None:
        bus.publish(JobsChanged(change="created", jobs=[JOB]))
        bus.publish(started())
        bus.publish(
            ExecutionsChanged(
                executions=[build.execution(JOB, state=State.SUCCEEDED, finished_at=NOW)]
            )
        )
        bus.publish(JobsChanged(change="created", jobs=[build.job("other")]))
        found = await Reader(log, "boot-0", **wanted).next()
        assert [one["event"] for one in found] == expected

    async def test_silence_is_broken_by_comments(
        self, log: EventLog, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(eventlog, "HEARTBEAT", 0.001)
        stream = log.read(None, Wanted())
        assert [await anext(stream) for _ in range(3)] == [
            b"retry: 2000\n\n",
            b": heartbeat\n\n",
            b": heartbeat\n\n",
        ]
        await stream.aclose()

    async def test_closing_ends_every_reader(self, bus: Bus, log: EventLog) -> None:
        readers = [Reader(log), Reader(log)]
        for reader in readers:
            await reader.begin()
        waiting = [asyncio.create_task(reader.next()) for reader in readers]
        await asyncio.sleep(0)
        log.close()
        assert await asyncio.gather(*waiting) == [[], []]
        bus.publish(started())
        assert log.last_id == "boot-0"

    async def test_nothing_is_written_as_json_before_it_is_read(
        self, bus: Bus, log: EventLog, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        written = []
        monkeypatch.setattr(eventlog, "_job_event", lambda *row: written.append(row))
        bus.publish(JobsChanged(change="created", jobs=[JOB]))
        assert written == []


@asynccontextmanager
async def streaming(
    api: Api, path: str, client: httpx.AsyncClient | None = None, **headers: str
) -> AsyncIterator[asyncio.Task[Any]]:
    """A request for events that is under way; ends with the log."""
    request = asyncio.create_task((client or api.client).get(path, headers=headers))
    await pass_turns()
    yield request
    if not request.done():
        api.context.events.close()
        await request


class TestRoute:
    async def test_a_stream(self) -> None:
        async with serving(MemoryStore()) as api:
            async with streaming(api, EVENTS) as request:
                job = await api.create(name="report", schedule={"every": "1m"})
                await api.ask("POST", f"{JOBS}/report/trigger", status=202)
                api.clock.now += MINUTE
                await pass_turns()
            answer = request.result()
            assert answer.status_code == 200
            assert answer.headers["content-type"].startswith("text/event-stream")
            assert answer.headers["cache-control"] == "no-store"
            assert "content-length" not in answer.headers
            found = parse(answer.content)
            assert [one["event"] for one in found] == ["job.created", "execution.pending"]
            assert json.loads(found[0]["data"])["id"] == job["id"]

    @pytest.mark.parametrize("by_query", [True, False])
    async def test_resuming(self, by_query: bool) -> None:
        async with serving(MemoryStore()) as api:
            for name in ("a", "b", "c"):
                await api.create(name=name)
            path = f"{EVENTS}?types=job&last_event_id=boot-1" if by_query else EVENTS
            headers = {} if by_query else {"Last-Event-ID": "boot-1"}
            async with streaming(api, path, **headers) as request:
                await pass_turns()
            names = [json.loads(one["data"])["name"] for one in parse(request.result().content)]
            assert names == ["b", "c"]

    async def test_a_reader_that_left_is_forgotten(self) -> None:
        async with serving(MemoryStore()) as api, streaming(api, EVENTS) as request:
            assert len(api.context.events._wakers) == 1
            request.cancel()
            await asyncio.gather(request, return_exceptions=True)
            assert len(api.context.events._wakers) == 0

    async def test_readers_are_bounded(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(eventlog, "MAX_READERS", 1)
        async with serving(MemoryStore()) as api, streaming(api, EVENTS):
            answer = await api.ask("GET", EVENTS, status=503)
            assert answer.json()["code"] == "too_many_readers"
            assert "retry-after" in answer.headers

    async def test_one_key_cannot_take_the_places_of_all(
        self, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(eventlog, "MAX_READERS_EACH", 2)
        async with guarded(MemoryStore()) as gate, AsyncExitStack() as stack:
            greedy, other = await gate.of(), await gate.of()
            reading = [
                await stack.enter_async_context(streaming(gate.api, EVENTS, client=greedy))
                for _ in range(2)
            ]
            answer = await greedy.get(EVENTS)
            assert (answer.status_code, answer.json()["code"]) == (503, "too_many_readers")
            assert "2 with this key" in answer.json()["detail"]
            await stack.enter_async_context(streaming(gate.api, EVENTS, client=other))
            # One that left makes room, and for no more than itself.
            reading[0].cancel()
            await asyncio.gather(reading[0], return_exceptions=True)
            await stack.enter_async_context(streaming(gate.api, EVENTS, client=greedy))
            assert (await greedy.get(EVENTS)).status_code == 503

    async def test_a_reader_that_does_not_read_is_dropped(
        self, bus: Bus, log: EventLog, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(route, "SEND_TIMEOUT", 0.01)
        sent = []

        async def send(message: Any) -> None:
            sent.append(message)
            if len(sent) > 2:
                await asyncio.Event().wait()

        async def receive() -> Any:
            await asyncio.Event().wait()

        stream = route.EventStream(log.read(None, Wanted()))
        serving_it = asyncio.create_task(stream({"type": "http"}, receive, send))
        await asyncio.sleep(0)
        while len(sent) < 2:
            await asyncio.sleep(0)
        bus.publish(started())
        async with asyncio.timeout(60):
            await serving_it
        assert [one["type"] for one in sent] == ["http.response.start"] + ["http.response.body"] * 2
        assert len(log._wakers) == 0

    async def test_a_disconnect_ends_the_stream(self, log: EventLog) -> None:
        async def send(_: Any) -> None:
            pass

        gone = asyncio.Event()

        async def receive() -> Any:
            await gone.wait()
            return {"type": "http.disconnect"}

        stream = route.EventStream(log.read(None, Wanted()))
        serving_it = asyncio.create_task(stream({"type": "http"}, receive, send))
        await asyncio.sleep(0)
        gone.set()
        async with asyncio.timeout(60):
            await serving_it
        assert len(log._wakers) == 0


def test_words() -> None:
    assert words_to_types(["job", "execution"]) == frozenset(TYPES)
    with pytest.raises(ValueError, match="jobs"):
        words_to_types(["job", "jobs"])


SMALL = build.attempt(1, http_status=200, response=ResponseExcerpt(excerpt="ok", truncated=False))
LARGE = replace(SMALL, response=ResponseExcerpt(excerpt="x" * 4_096, truncated=True))


@pytest.mark.parametrize(
    ("fields", "as_it_is"),
    [
        ({}, True),
        ({"attempts": (SMALL,)}, True),
        ({"attempts": (replace(SMALL, response=None),)}, True),
        ({"attempts": (LARGE,)}, False),
        ({"attempts": (SMALL, SMALL)}, False),
        ({"attempts": (build.failed_attempt(1),)}, False),
        ({"input": {"brought": "along"}}, False),
    ],
)
def test_what_is_kept_for_an_event_is_small_and_tells_the_same(
    fields: dict[str, Any], as_it_is: bool
) -> None:
    execution = build.execution(JOB, NOW, state=State.SUCCEEDED, **fields)
    kept = eventlog._kept_of(execution)
    assert (kept is execution) is as_it_is
    if not as_it_is:
        assert isinstance(kept, tuple)
        assert not any(isinstance(value, dict | tuple) for value in kept)
    for kind in ("execution", "execution.started"):
        told = eventlog._execution_event(kind, kept)
        assert told == eventlog._execution_event(kind, eventlog._row_of(execution))
