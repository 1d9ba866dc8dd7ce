"""What a fire costs the event loop: each part of it alone, without a network and without a store.

The parts are those of the program; what is replaced is the transport below a connection, which
takes what is written and is answered by hand. Each figure is the least of many rounds over claims
that are new in each: what else the machine does can only add to it.
"""

import asyncio
import gc
import time
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stderr
from pathlib import Path
from typing import cast

from tests.support.build import at, execution, job

from bench import load
from bench.context import Bench
from bench.report import Figure, Figures
from tocsin.api.eventlog import EventLog
from tocsin.delivery.deliver import Deliver
from tocsin.delivery.http import EgressGuard, HttpClient
from tocsin.delivery.http.answer import KnownAnswers
from tocsin.delivery.http.connection import Connection
from tocsin.delivery.http.deadline import Deadlines
from tocsin.delivery.http.url import parse_url
from tocsin.domain.egress import EgressRules
from tocsin.domain.execution import Execution, State
from tocsin.domain.job import BodyKind, HttpTarget
from tocsin.engine.clock import SystemClock
from tocsin.engine.dispatch import Dispatcher
from tocsin.engine.lease import Lease
from tocsin.engine.outcomes import log_outcomes
from tocsin.services.vault import Opened, Vault
from tocsin.store.bus import Bus, ExecutionsChanged
from tocsin.store.port import Claim
from tocsin.telemetry.logging import close_logging, configure_logging, flush_logging
from tocsin.telemetry.metrics import Metrics

FIRES = 1_000
AHEAD = 200
"""Milliseconds for which claims are held."""
CONNECTIONS = 250
URL = "http://127.0.0.1:8099/ok"
ANSWER = (
    b"HTTP/1.1 200 OK\r\nServer: nginx\r\nDate: Fri, 27 Nov 2026 22:00:34 GMT\r\n"
    b"Content-Type: text/plain\r\nContent-Length: 2\r\nConnection: keep-alive\r\n\r\nok"
)
VALUE = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"


class _Wire:
    """A transport that takes everything at once."""

    def __init__(self, written: list[Connection], connection: Connection) -> None:
        self._written = written
        self._connection = connection

    def write(self, _: bytes) -> None:
        self._written.append(self._connection)

    def get_write_buffer_size(self) -> int:
        return 0

    def abort(self) -> None:
        """Nothing is open."""

    def get_extra_info(self, _: str) -> None:
        return None


class _OneKey:
    """A vault with the signing key of every namespace."""

    changes = 0

    def get(self, namespace: str, name: str) -> Opened:
        del namespace
        return Opened(name=name, version=1, value=VALUE, previous=None, previous_until=0)


class _Results(list[Execution]):
    put = list.append


class Parts:
    """The least CPU time of each part, in seconds per fire."""

    def __init__(self) -> None:
        self.least: dict[str, float] = {}

    @contextmanager
    def part(self, name: str) -> Iterator[None]:
        """Measure the block."""
        began = time.thread_time()
        yield
        spent = (time.thread_time() - began) / FIRES
        self.least[name] = min(spent, self.least.get(name, spent))


def run(bench: Bench) -> list[Figure]:
    """Hold claims, make their calls, answer them, and do what follows a record."""
    rounds = 10 if bench.quick else 60
    figures = Figures("loop, alone")
    for number in range(bench.runs):
        bench.say(f"loop {number + 1}/{bench.runs}: {rounds} times {FIRES:,} fires")
        with bench.directory() as directory:
            parts = load.run(lambda directory=directory: _measure(directory, rounds))  # type: ignore[misc]
        for name, seconds in parts.least.items():
            figures.add(f"CPU per fire: {name}", "µs", seconds * 1e6)
        figures.add("CPU per fire: all of it", "µs", sum(parts.least.values()) * 1e6)
    return figures.all()


async def _measure(directory: Path, rounds: int) -> Parts:
    with redirect_stderr(None):
        configure_logging(
            level="info", format="json", file=str(directory / "log"), file_bytes=2**30, file_count=1
        )
    clock, bus, parts = SystemClock(), Bus(), Parts()
    lease = Lease(clock=clock, ttl=600_000)
    lease.begin("bench", clock.monotonic())
    metrics = Metrics(version="0", node="bench")
    events = EventLog(bus, incarnation="bench")
    client = HttpClient(
        guard=EgressGuard(EgressRules.read(allow="127.0.0.0/8")),
        max_connections_per_origin=CONNECTIONS,
        idle_timeout=600.0,
    )
    written: list[Connection] = []
    _connect(client, written)
    results = _Results()
    dispatcher = Dispatcher(
        caller=Deliver(
            client=client,
            clock=clock,
            node_name="bench",
            max_response=1 << 20,
            excerpt=4_096,
            may_send=lambda: lease.held,
            vault=cast("Vault", _OneKey()),
        ),
        results=results,
        lease=lease,
        clock=clock,
        bus=bus,
        node_name="bench",
        max_held=FIRES,
        max_in_flight=1_000,
        max_per_lane=CONNECTIONS,
        max_per_job=100,
    )
    gc.collect()
    gc.freeze()
    gc.disable()
    try:
        for _ in range(rounds):
            await _round(parts, dispatcher, results, written, metrics, bus, clock)
            gc.collect()
    finally:
        gc.enable()
        gc.unfreeze()
        events.close()
        close_logging()
    return parts


async def _round(
    parts: Parts,
    dispatcher: Dispatcher,
    results: _Results,
    written: list[Connection],
    metrics: Metrics,
    bus: Bus,
    clock: SystemClock,
) -> None:
    instant = clock.now() + AHEAD
    claims = list(_claims(instant))
    with parts.part("take over"):
        dispatcher.hold(claims)
    del claims
    while clock.now() <= instant:
        await asyncio.sleep(0.01)
    with parts.part("call, answer, settle"):
        while len(results) < FIRES:
            dispatcher.pump()
            answered = written[:]
            written.clear()
            for connection in answered:
                connection.data_received(ANSWER)
    ended = list(results)
    results.clear()
    with parts.part("let go"):
        dispatcher.forget([execution.id for execution in ended])
    with parts.part("metrics"):
        metrics.recorded(ended, seconds=0.01)
    with parts.part("log"):
        log_outcomes(ended)
    with parts.part("events"):
        bus.publish(ExecutionsChanged(executions=ended))
    flush_logging()


def _connect(client: HttpClient, written: list[Connection]) -> None:
    """Put connections into the pool as if each had answered before."""
    url, loop = parse_url(URL), asyncio.get_running_loop()
    deadlines, known = Deadlines(), KnownAnswers()
    for _ in range(CONNECTIONS):
        client.pool.place(url.origin, fresh=False)
        connection = Connection(loop, url, "127.0.0.1", deadlines, client.pool, known=known)
        connection.connection_made(cast("asyncio.Transport", _Wire(written, connection)))
        connection.used = 1
        connection.reader.begin(to_head=False, max_body=10, excerpt=0)
        connection.reader.feed(ANSWER)
        client.pool.release(connection)


def _claims(instant: int) -> Iterator[Claim]:
    for number in range(FIRES):
        target = HttpTarget(url=URL, body_kind=BodyKind.JSON, body={"hello": "world"})
        one = job(f"burst-{number}", at(instant), target=target)
        yield Claim(
            execution=execution(
                one, instant, state=State.CLAIMED, owner="bench", available_at=None
            ),
            job=one,
        )
