"""How long the event loop stands still when very many claims are due at one instant.

Only the dispatcher is measured: its calls end at once, its results are forgotten at once.
"""

import asyncio
import gc
import time
from collections.abc import Iterator
from dataclasses import dataclass, replace

from tests.support.build import attempt
from tests.support.engine_lab import INCARNATION, claim, target_job

from bench import load
from bench.context import Bench
from bench.report import Figure, Figures
from tocsin.domain.execution import Execution, State
from tocsin.engine.caller import CallResult, CallUnderWay, Ended
from tocsin.engine.clock import SystemClock
from tocsin.engine.dispatch import Dispatcher
from tocsin.engine.lease import Lease
from tocsin.node import GC_THRESHOLDS
from tocsin.store.bus import Bus
from tocsin.store.port import Claim

BATCH = 1_000
"""Claims that are handed over at once, as the fire loop does."""

AHEAD = 1.5
"""Seconds from the first claim until the instant, and more where making them takes longer."""


@dataclass(slots=True)
class Stalls:
    """The longest turn of the loop since it was last asked, in seconds."""

    wall: float = 0.0
    cpu: float = 0.0

    async def watch(self) -> None:
        """Look at the clocks in each turn of the loop, for ever."""
        while True:
            wall, cpu = time.perf_counter(), time.thread_time()
            await asyncio.sleep(0)
            self.wall = max(self.wall, time.perf_counter() - wall)
            self.cpu = max(self.cpu, time.thread_time() - cpu)


class _Call:
    def __init__(self, handle: asyncio.Handle) -> None:
        self.abort = handle.cancel


class _Ends:
    """A caller whose calls succeed, and a recorder that has stored everything."""

    def __init__(self) -> None:
        self.stored: list[str] = []
        self._answer = CallResult(attempt=attempt(http_status=200), request_written=True)

    def begin(self, claim: Claim, ended: Ended) -> CallUnderWay:
        return _Call(asyncio.get_running_loop().call_soon(ended, self._answer))

    async def call(self, claim: Claim) -> CallResult:
        raise NotImplementedError

    def put(self, execution: Execution) -> None:
        if execution.state is not State.SUCCEEDED:
            raise RuntimeError(f"the call was not made: {execution}")
        self.stored.append(execution.id)


def run(bench: Bench) -> list[Figure]:
    """Hold the claims, let their instant come, and wait until all calls have ended."""
    claims = 10_000 if bench.quick else 100_000
    figures = Figures(f"{claims:,} claims due at one instant")
    for number in range(bench.runs):
        bench.say(f"wake {number + 1}/{bench.runs}: {claims:,} claims")
        holding, calling, seconds, cpu = load.run(lambda: _measure(claims))
        figures.add("longest turn of the loop, while they are taken", "ms", holding.wall * 1e3)
        figures.add("of CPU, while they are taken", "ms", holding.cpu * 1e3)
        figures.add("longest turn of the loop, from the instant on", "ms", calling.wall * 1e3)
        figures.add("of CPU, from the instant on", "ms", calling.cpu * 1e3)
        figures.add("until all have been called", "ms", seconds * 1e3)
        figures.add("CPU per claim", "µs", cpu / claims * 1e6)
    return figures.all()


async def _measure(count: int) -> tuple[Stalls, Stalls, float, float]:
    clock, ends = SystemClock(), _Ends()
    lease = Lease(clock=clock, ttl=600_000)
    lease.begin(INCARNATION, clock.monotonic())
    dispatcher = Dispatcher(
        caller=ends,
        results=ends,
        lease=lease,
        clock=clock,
        bus=Bus(),
        node_name="bench",
        max_held=count,
        max_in_flight=1_000,
        max_per_lane=250,
        max_per_job=100,
    )
    instant = clock.now() + round(AHEAD * 1_000) + count // 10
    claims = list(_claims(count, instant))
    # As a node does it, see node.py: the collector would walk all claims again and again.
    gc.collect()
    gc.freeze()
    thresholds = gc.get_threshold()
    gc.set_threshold(*GC_THRESHOLDS)
    holding, calling = Stalls(), Stalls()
    watch = asyncio.create_task(holding.watch())
    for start in range(0, count, BATCH):
        dispatcher.hold(claims[start : start + BATCH])
        await asyncio.sleep(0)
    watch.cancel()
    if clock.now() >= instant:
        raise RuntimeError("the claims were made too late for their instant")
    await asyncio.sleep((instant - clock.now()) / 1_000 - 0.05)
    cpu, done = time.process_time(), 0
    watch = asyncio.create_task(calling.watch())
    while done < count:
        done += len(ends.stored)
        stored, ends.stored = ends.stored, []
        for start in range(0, len(stored), BATCH):
            dispatcher.forget(stored[start : start + BATCH])
            await asyncio.sleep(0)
        await asyncio.sleep(0.002)
    seconds, cpu = time.time() - instant / 1_000, time.process_time() - cpu
    watch.cancel()
    gc.set_threshold(*thresholds)
    gc.unfreeze()
    return holding, calling, seconds, cpu


def _claims(count: int, instant: int) -> Iterator[Claim]:
    """Claims of as many jobs, at eight origins."""
    jobs = [target_job(f"job-{number}", f"http://{number}.example") for number in range(8)]
    for number in range(count):
        one = claim(jobs[number % len(jobs)], instant, salt=str(number))
        yield replace(one, execution=replace(one.execution, job_id=one.execution.id))
