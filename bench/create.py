"""Jobs created per second: single calls, and batches."""

import asyncio
import time
from functools import partial

import orjson

from bench import baselines, baselines_postgres, load
from bench.context import Bench
from bench.nodes import Cluster
from bench.report import Figure, Figures

CONCURRENCY = 32
BATCH = 1_000
BATCHES_AT_ONCE = (1, 4)
STREAMS_AT_ONCE = (1, 2)


def singles(bench: Bench, *, postgres: bool = False) -> list[Figure]:
    """``POST /api/v1/jobs`` from 32 connections at once, each answered after its commit."""
    count = 1_000 if bench.quick else 5_000
    figures = Figures(f"create{_where(postgres)}, {CONCURRENCY} at once")
    with bench.cluster(postgres=postgres) as cluster:
        _warm_up(cluster)
        for number in range(bench.runs):
            bench.say(f"create {number + 1}/{bench.runs}: {count:,} single POSTs")
            bare = _bare_singles(bench, min(count, 1_000), postgres=postgres)
            requests = [
                load.request("POST", "/api/v1/jobs", cluster.port, orjson.dumps(job))
                for job in definitions(count, f"single-{number}")
            ]
            cpu, database_cpu = cluster.cpu_seconds(), cluster.database_cpu_seconds()
            result = _send(cluster, requests, concurrency=CONCURRENCY)
            cpu = cluster.cpu_seconds() - cpu
            database_cpu = cluster.database_cpu_seconds() - database_cpu
            figures.add(
                "jobs created",
                "/s",
                result.rate,
                baseline_name=f"raw {_driver(postgres)}, a commit each",
                baseline=bare,
            )
            figures.add("CPU per job, node", "µs", cpu / count * 1e6)
            if postgres:
                figures.add("CPU per job, PostgreSQL", "µs", database_cpu / count * 1e6)
    return figures.all()


def batches(bench: Bench, *, postgres: bool = False) -> list[Figure]:
    """``POST /api/v1/jobs:batch`` with 1,000 jobs each: one call after the other, then 4 at once.

    A client that waits for each answer leaves the node idle while it reads it, and the node's
    thread that computes idle while the other one commits; several clients do not.
    """
    count = 8_000 if bench.quick else 50_000
    figures = Figures(f"create{_where(postgres)}, batches of {BATCH:,}")
    for kind in ("at", "cron"):
        with bench.cluster(postgres=postgres) as cluster:
            _warm_up(cluster)
            for number in range(bench.runs):
                bench.say(f"create {number + 1}/{bench.runs}: {count:,} {kind} jobs in batches")
                for at_once in BATCHES_AT_ONCE:
                    what = f"{kind} jobs, {at_once} at once"
                    prefix = f"{kind}-{number}-{at_once}"
                    requests = batch_requests(cluster.port, count, prefix, kind=kind)
                    database_cpu = cluster.database_cpu_seconds()
                    cpu, own = cluster.cpu_seconds(), time.process_time()
                    result = _send(cluster, requests, concurrency=at_once)
                    cpu, own = cluster.cpu_seconds() - cpu, time.process_time() - own
                    database_cpu = cluster.database_cpu_seconds() - database_cpu
                    figures.add(
                        what,
                        "/s",
                        count / result.seconds,
                        baseline_name=f"raw {_driver(postgres)}, same rows",
                        baseline=_bare(bench, cluster, f"{prefix}-"),
                    )
                    figures.add(f"{what}: CPU per job, node", "µs", cpu / count * 1e6)
                    figures.add(f"{what}: CPU per job, client", "µs", own / count * 1e6)
                    if postgres:
                        figures.add(
                            f"{what}: CPU per job, PostgreSQL", "µs", database_cpu / count * 1e6
                        )
    return figures.all()


def streams(bench: Bench, *, postgres: bool = False) -> list[Figure]:
    """``POST /api/v1/jobs:batch`` with a job on each line: one stream, then two at once.

    The client reads each answer, and checks that all jobs were created.
    """
    count = 8_000 if bench.quick else 50_000
    figures = Figures(f"create{_where(postgres)}, streams")
    for kind in ("at", "cron"):
        for number in range(bench.runs):
            for at_once in STREAMS_AT_ONCE:
                # An empty database each time: what is there already makes a row dearer.
                with bench.cluster(postgres=postgres) as cluster:
                    _warm_up(cluster)
                    bench.say(f"create {number + 1}/{bench.runs}: {count:,} {kind} jobs as lines")
                    jobs = [orjson.dumps(one) for one in definitions(count, "line", kind=kind)]
                    parts = [b"\n".join(jobs[start::at_once]) for start in range(at_once)]
                    database_cpu = cluster.database_cpu_seconds()
                    cpu, own = cluster.cpu_seconds(), time.process_time()
                    seconds = _stream(cluster, parts, count)
                    cpu, own = cluster.cpu_seconds() - cpu, time.process_time() - own
                    database_cpu = cluster.database_cpu_seconds() - database_cpu
                    what = f"{kind} jobs, {at_once} at once"
                    figures.add(
                        what,
                        "/s",
                        count / seconds,
                        baseline_name=f"raw {_driver(postgres)}, same rows",
                        baseline=_bare(bench, cluster, "line-"),
                    )
                    figures.add(f"{what}: CPU per job, node", "µs", cpu / count * 1e6)
                    figures.add(f"{what}: CPU per job, client", "µs", own / count * 1e6)
                    if postgres:
                        figures.add(
                            f"{what}: CPU per job, PostgreSQL", "µs", database_cpu / count * 1e6
                        )
    return figures.all()


def _stream(cluster: Cluster, parts: list[bytes], count: int) -> float:
    """Send streams at once; the seconds until the last was answered."""

    async def send() -> list[bytes]:
        return await asyncio.gather(
            *(load.stream(cluster.port, "/api/v1/jobs:batch", part) for part in parts)
        )

    began = time.perf_counter()
    answers = load.run(send)
    seconds = time.perf_counter() - began
    created = sum(answer.count(b'"status":201') for answer in answers)
    if created != count or not all(b'{"complete":true' in answer for answer in answers):
        raise RuntimeError(f"{created:,} of {count:,} created: {answers[0][-300:]!r}")
    return seconds


streams_on_postgres = partial(streams, postgres=True)
singles_on_postgres = partial(singles, postgres=True)
batches_on_postgres = partial(batches, postgres=True)


def _where(postgres: bool) -> str:
    return " on PostgreSQL" if postgres else ""


def _driver(postgres: bool) -> str:
    return "psycopg" if postgres else "sqlite3"


def _bare_singles(bench: Bench, count: int, *, postgres: bool) -> float:
    if postgres:
        return baselines_postgres.jobs(bench.database(), count, batch=1)
    with bench.directory() as directory:
        return baselines.sqlite_jobs(directory, count, batch=1)


def _bare(bench: Bench, cluster: Cluster, prefix: str) -> float:
    if cluster.server is not None:
        return baselines_postgres.same_jobs(bench.database(), cluster.url, prefix, batch=BATCH)
    with bench.directory() as directory:
        database = cluster.first.database
        return baselines.sqlite_same_jobs(directory, database, prefix, batch=BATCH)


def _send(cluster: Cluster, requests: list[bytes], *, concurrency: int) -> load.Load:
    result = load.run(lambda: load.send(cluster.port, requests, concurrency=concurrency))
    result.check(201)
    return result


def _warm_up(cluster: Cluster) -> None:
    """The first requests pay for imports and caches."""
    _send(cluster, batch_requests(cluster.port, 200, "warm", batch=100), concurrency=1)


def batch_requests(
    port: int, count: int, prefix: str, *, kind: str = "at", batch: int = BATCH
) -> list[bytes]:
    """Batch calls that create so many jobs."""
    jobs = definitions(count, prefix, kind=kind)
    return [
        load.request(
            "POST",
            "/api/v1/jobs:batch",
            port,
            orjson.dumps({"jobs": jobs[start : start + batch]}),
        )
        for start in range(0, count, batch)
    ]


def definitions(count: int, prefix: str, *, kind: str = "at") -> list[dict[str, object]]:
    """Jobs as people write them, whose fires are far away."""
    far = time.gmtime(time.time() + 400 * 86_400)
    return [
        {
            "name": f"{prefix}-{number}",
            "schedule": {"at": f"{far.tm_year}-06-15T{number % 24:02}:{number // 24 % 60:02}:00Z"}
            if kind == "at"
            # In a month that is neither this one nor the next: nothing fires while we measure.
            else {
                "cron": f"{number % 60} {number // 60 % 24} 1 {(far.tm_mon + 4) % 12 + 1} *",
                "timezone": "Europe/Berlin",
            },
            "target": {"url": "http://127.0.0.1:9/hook", "body": {"customer": number}},
            "tags": ["bench"],
        }
        for number in range(count)
    ]
