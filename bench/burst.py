"""Fires per second: one-shot jobs that are all due at one instant."""

import time
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass

from tests.support.process import now_ms, rfc3339, wait_until

from bench import baselines, baselines_postgres
from bench.context import AnyReceiver, Bench
from bench.nodes import Cluster, knows_processes, sleep_until
from bench.report import Figure, Figures

AHEAD = 2.5
"""Seconds before the instant by which all jobs must be there, and CPU time is counted from."""

PROCESSES = (1, 2, 4)


@dataclass(frozen=True, kw_only=True, slots=True)
class Burst:
    """What one burst came to; times in seconds, CPU time per fire."""

    recorded: float
    """From the instant until the last result was committed."""
    last: float
    first: float
    node_cpu: float
    database_cpu: float
    receiver_cpu: float


def run(bench: Bench) -> list[Figure]:
    """Create the jobs, wait for the instant, measure until the last result is durable."""
    jobs = _size(bench)
    figures = Figures(f"burst of {jobs:,}")
    for number in range(bench.runs):
        bench.say(f"burst {number + 1}/{bench.runs}: {jobs:,} jobs due at one instant")
        with bench.receiver() as receiver:
            ceiling = baselines.raw_calls(receiver, jobs)
            client = baselines.client_calls(receiver, jobs)
        with bench.directory() as directory:
            rows = baselines.sqlite_executions(directory, jobs)
        with bench.receiver() as receiver, bench.cluster() as cluster:
            burst = measure(cluster, receiver, jobs)
        rate = jobs / burst.recorded
        figures.add("durable fires", "/s", rate, baseline_name="raw sockets", baseline=ceiling)
        figures.add(
            "durable fires, against the client",
            "/s",
            rate,
            baseline_name="own HTTP client alone",
            baseline=client,
        )
        figures.add(
            "durable fires, against the store",
            "/s",
            rate,
            baseline_name="raw sqlite3 rows",
            baseline=rows,
        )
        figures.add("calls until the last arrival", "/s", jobs / burst.last)
        figures.add("CPU per fire, node", "µs", burst.node_cpu * 1e6)
        figures.add("CPU per arrival, receiver", "µs", burst.receiver_cpu * 1e6)
        figures.add("first call after the instant", "ms", burst.first * 1e3)
    return figures.all()


def on_postgres(bench: Bench) -> list[Figure]:
    """The same on PostgreSQL, with more and more processes, after one on SQLite to compare."""
    jobs = _size(bench)
    word = "processes" if knows_processes() else "nodes"
    by_count = {
        count: Figures(f"burst of {jobs:,}, PostgreSQL, {count} {word if count > 1 else word[:-2]}")
        if word == "processes"
        else Figures(f"burst of {jobs:,}, PostgreSQL, {count} {word if count > 1 else 'node'}")
        for count in bench.processes or PROCESSES
    }
    for number in range(bench.runs):
        bench.say(f"pg-burst {number + 1}/{bench.runs}: the baselines")
        rows = baselines_postgres.executions(bench.database(), jobs)
        with bench.receiver() as receiver, bench.cluster() as cluster:
            sqlite = measure(cluster, receiver, jobs)
        for count, figures in by_count.items():
            bench.say(f"pg-burst {number + 1}/{bench.runs}: {jobs:,} jobs, {count} {word}")
            how = {word: count}
            with bench.receiver() as receiver, bench.cluster(postgres=True, **how) as cluster:
                burst = measure(cluster, receiver, jobs)
            rate = jobs / burst.recorded
            figures.add(
                "durable fires", "/s", rate, baseline_name="raw psycopg rows", baseline=rows.rate
            )
            figures.add(
                "durable fires, against SQLite",
                "/s",
                rate,
                baseline_name="burst on SQLite",
                baseline=jobs / sqlite.recorded,
            )
            figures.add("calls until the last arrival", "/s", jobs / burst.last)
            figures.add(
                "CPU per fire, nodes",
                "µs",
                burst.node_cpu * 1e6,
                baseline_name="burst on SQLite",
                baseline=sqlite.node_cpu * 1e6,
            )
            figures.add(
                "CPU per fire, PostgreSQL",
                "µs",
                burst.database_cpu * 1e6,
                baseline_name="raw psycopg rows",
                baseline=rows.database_cpu * 1e6,
            )
            figures.add("CPU per arrival, receiver", "µs", burst.receiver_cpu * 1e6)
            figures.add("first call after the instant", "ms", burst.first * 1e3)
    return [figure for figures in by_count.values() for figure in figures.all()]


def measure(
    cluster: Cluster,
    receiver: AnyReceiver,
    jobs: int,
    *,
    watch: AbstractContextManager[object] | None = None,
) -> Burst:
    """One burst, watched by ``watch``; fails where a call is missing or double."""
    lead = 5.0
    while True:
        instant = now_ms() + round(lead * 1_000)
        created = cluster.create(definitions(receiver, jobs, instant, f"burst-{instant}"))
        if now_ms() < instant - AHEAD * 1_000:
            break
        for job in created:  # too slow for this lead: they would be claimed late
            cluster.first.client.delete(f"/api/v1/jobs/{job['id']}")
        lead *= 2
    sleep_until(instant - AHEAD * 1_000)
    seen = receiver.count()
    cpu = cluster.cpu_seconds()
    database_cpu = cluster.database_cpu_seconds()
    receiver_cpu = receiver.cpu_seconds()
    with watch or nullcontext(), cluster.anything_left(instant) as left:
        sleep_until(instant)
        wait_until(lambda: not left(), "all fires are recorded", timeout=300, poll=0.01)
        recorded = time.time()
    cpu = cluster.cpu_seconds() - cpu
    database_cpu = cluster.database_cpu_seconds() - database_cpu
    arrivals = receiver.arrivals()[seen:]
    receiver_cpu = receiver.cpu_seconds() - receiver_cpu
    ids = {arrival.execution_id for arrival in arrivals}
    if not len(ids) == len(arrivals) == jobs:
        raise RuntimeError(f"{jobs} jobs, {len(arrivals)} arrivals, {len(ids)} of them distinct")
    return Burst(
        recorded=recorded - instant / 1_000,
        last=max(arrival.at_ns for arrival in arrivals) / 1e9 - instant / 1_000,
        first=min(arrival.at_ns for arrival in arrivals) / 1e9 - instant / 1_000,
        node_cpu=cpu / jobs,
        database_cpu=database_cpu / jobs,
        receiver_cpu=receiver_cpu / jobs,
    )


def _size(bench: Bench) -> int:
    return 2_000 if bench.quick else 10_000


def definitions(
    receiver: AnyReceiver, jobs: int, instant: int, prefix: str
) -> list[dict[str, object]]:
    """One-shot jobs with one fire time."""
    at = rfc3339(instant)
    return [
        {
            "name": f"{prefix}-{number}",
            "schedule": {"at": at},
            "target": {"url": receiver.url("/ok"), "body": {"hello": "world"}},
        }
        for number in range(jobs)
    ]
