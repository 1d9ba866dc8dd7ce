"""What a node costs while it has nothing to do but wait for many future jobs."""

import dataclasses
import time
from collections.abc import Sequence

from tests.support.process import Tocsin

from bench import load
from bench.context import Bench
from bench.create import batch_requests
from bench.nodes import Cluster
from bench.peers.program import memory_mb
from bench.report import Figure, Figures
from bench.scaling import fill

BATCH = 5_000


def run(bench: Bench) -> list[Figure]:
    """Measure an empty node, then the same one with more and more jobs, then after a restart."""
    sizes = (10_000, 100_000) if bench.quick else (100_000, 1_000_000)
    seconds = 5 if bench.quick else 15
    with bench.node() as tocsin:
        empty_cpu = _idle_percent(bench, tocsin, seconds)
        empty_memory = tocsin.memory_bytes()
        results: list[Figure] = []
        have = 0
        for size in sizes:
            bench.say(f"idle: {size - have:,} more jobs")
            began = time.monotonic()
            _create(tocsin, size - have, f"idle-{size}")
            took = time.monotonic() - began
            figures = Figures(f"idle with {size:,} jobs")
            _measure(figures, "", bench, tocsin, seconds, empty_cpu, empty_memory)
            bench.say("idle: restart")
            if tocsin.terminate() != 0:
                raise RuntimeError("the node did not end well")
            restarted = time.monotonic()
            tocsin.start()
            figures.add("restart until ready", "s", time.monotonic() - restarted)
            _measure(figures, " after a restart", bench, tocsin, seconds, empty_cpu, empty_memory)
            figures.add("jobs created meanwhile", "/s", (size - have) / took)
            figures.add("database file", "MB", tocsin.database.stat().st_size / 1e6)
            results += figures.all()
            have = size
        return results


def on_postgres(bench: Bench) -> list[Figure]:
    """Measure an empty node and one among more and more jobs, that SQL has written."""
    sizes = (10_000, 100_000) if bench.quick else (100_000, 1_000_000)
    seconds = 5 if bench.quick else 15
    results: list[Figure] = []
    base: dict[str, float] = {}
    for size in (0, *sizes):
        # A server of its own each time: its memory holds what it has read and nothing else.
        own = dataclasses.replace(bench)
        bench.say(f"idle on PostgreSQL: {size:,} jobs")
        try:
            with own.cluster(postgres=True) as cluster:
                if size:
                    fill(bench, cluster, size)
                    cluster.first.start()
                found = _on_postgres(bench, cluster, seconds)
        finally:
            own.server.remove()
        base = base or found
        figures = Figures(f"idle with {size:,} jobs, PostgreSQL")
        for measure, value in found.items():
            unit = "%" if measure.startswith("CPU") else "MB"
            figures.add(measure, unit, value, baseline_name="empty node", baseline=base[measure])
        results += figures.all() if size else []
    return results


def _on_postgres(bench: Bench, cluster: Cluster, seconds: int) -> dict[str, float]:
    assert cluster.server is not None
    _settle(bench, cluster.first)
    nodes, server, began = (
        cluster.cpu_seconds(),
        cluster.database_cpu_seconds(),
        time.monotonic(),
    )
    time.sleep(seconds)
    took = time.monotonic() - began
    return {
        "CPU, node": 100 * (cluster.cpu_seconds() - nodes) / took,
        "CPU, PostgreSQL": 100 * (cluster.database_cpu_seconds() - server) / took,
        "resident memory, node": cluster.first.memory_bytes() / 1e6,
        "memory, PostgreSQL": memory_mb(cluster.server.pid),
    }


def _measure(
    figures: Figures,
    when: str,
    bench: Bench,
    tocsin: Tocsin,
    seconds: int,
    empty_cpu: float,
    empty_memory: int,
) -> None:
    figures.add(
        f"CPU{when}",
        "%",
        _idle_percent(bench, tocsin, seconds),
        baseline_name="empty node",
        baseline=empty_cpu,
    )
    figures.add(
        f"resident memory{when}",
        "MB",
        tocsin.memory_bytes() / 1e6,
        baseline_name="empty node",
        baseline=empty_memory / 1e6,
    )


def _create(tocsin: Tocsin, count: int, prefix: str) -> None:
    # In slices: the requests for a million jobs would fill the memory.
    for start in range(0, count, 50_000):
        requests: Sequence[bytes] = batch_requests(
            tocsin.port, min(50_000, count - start), f"{prefix}-{start}", batch=BATCH
        )

        async def send(requests: Sequence[bytes] = requests) -> load.Load:
            return await load.send(tocsin.port, requests, concurrency=1)

        load.run(send).check(201)


def _idle_percent(bench: Bench, tocsin: Tocsin, seconds: int) -> float:
    """CPU of one core, in percent, once it has settled."""
    _settle(bench, tocsin)
    return 100 * _cpu_over(tocsin, float(seconds))


def _settle(bench: Bench, tocsin: Tocsin) -> None:
    previous = 1.0
    for _ in range(30):
        used = _cpu_over(tocsin, 1.0)
        if used < 0.05 and abs(used - previous) <= 0.02:
            break
        previous = used
    else:
        bench.say("idle: it has not settled within 30 s; measuring all the same")


def _cpu_over(tocsin: Tocsin, seconds: float) -> float:
    """CPU seconds per second."""
    cpu, began = tocsin.cpu_seconds(), time.monotonic()
    time.sleep(seconds)
    return (tocsin.cpu_seconds() - cpu) / (time.monotonic() - began)
