"""Jobs created per second: single calls, and batches."""

import time
from pathlib import Path

import orjson
from tests.support.process import Tocsin

from bench import baselines, load
from bench.context import Bench
from bench.report import Figure, Figures

CONCURRENCY = 32
BATCH = 1_000
BATCHES_AT_ONCE = (1, 4)


def singles(bench: Bench) -> list[Figure]:
    """``POST /api/v1/jobs`` from 32 connections at once, each answered after its commit."""
    count = 1_000 if bench.quick else 5_000
    figures = Figures(f"create, {CONCURRENCY} at once")
    with bench.node() as tocsin:
        _warm_up(tocsin)
        for number in range(bench.runs):
            bench.say(f"create {number + 1}/{bench.runs}: {count:,} single POSTs")
            with bench.directory() as directory:
                bare = baselines.sqlite_jobs(directory, min(count, 1_000), batch=1)
            requests = [
                load.request("POST", "/api/v1/jobs", tocsin.port, orjson.dumps(job))
                for job in definitions(count, f"single-{number}")
            ]
            cpu = tocsin.cpu_seconds()
            result = _send(tocsin, requests, concurrency=CONCURRENCY)
            cpu = tocsin.cpu_seconds() - cpu
            figures.add(
                "jobs created",
                "/s",
                result.rate,
                baseline_name="raw sqlite3, a commit each",
                baseline=bare,
            )
            figures.add("CPU per job, node", "µs", cpu / count * 1e6)
    return figures.all()


def batches(bench: Bench) -> list[Figure]:
    """``POST /api/v1/jobs:batch`` with 1,000 jobs each: one call after the other, then 4 at once.

    A client that waits for each answer leaves the node idle while it reads it, and the node's
    thread that computes idle while the other one commits; several clients do not.
    """
    count = 8_000 if bench.quick else 50_000
    figures = Figures(f"create, batches of {BATCH:,}")
    for kind in ("at", "cron"):
        with bench.node() as tocsin:
            _warm_up(tocsin)
            for number in range(bench.runs):
                bench.say(f"create {number + 1}/{bench.runs}: {count:,} {kind} jobs in batches")
                for at_once in BATCHES_AT_ONCE:
                    what = f"{kind} jobs, {at_once} at once"
                    prefix = f"{kind}-{number}-{at_once}"
                    requests = batch_requests(tocsin, count, prefix, kind=kind)
                    cpu, own = tocsin.cpu_seconds(), time.process_time()
                    result = _send(tocsin, requests, concurrency=at_once)
                    cpu, own = tocsin.cpu_seconds() - cpu, time.process_time() - own
                    figures.add(
                        what,
                        "/s",
                        count / result.seconds,
                        baseline_name="raw sqlite3, same rows",
                        baseline=_bare(bench, tocsin.database, f"{prefix}-"),
                    )
                    figures.add(f"{what}: CPU per job, node", "µs", cpu / count * 1e6)
                    figures.add(f"{what}: CPU per job, client", "µs", own / count * 1e6)
    return figures.all()


def _bare(bench: Bench, database: Path, prefix: str) -> float:
    with bench.directory() as directory:
        return baselines.sqlite_same_jobs(directory, database, prefix, batch=BATCH)


def _send(tocsin: Tocsin, requests: list[bytes], *, concurrency: int) -> load.Load:
    result = load.run(lambda: load.send(tocsin.port, requests, concurrency=concurrency))
    result.check(201)
    return result


def _warm_up(tocsin: Tocsin) -> None:
    """The first requests pay for imports and caches."""
    _send(tocsin, batch_requests(tocsin, 200, "warm", batch=100), concurrency=1)


def batch_requests(
    tocsin: Tocsin, count: int, prefix: str, *, kind: str = "at", batch: int = BATCH
) -> list[bytes]:
    """Batch calls that create so many jobs."""
    jobs = definitions(count, prefix, kind=kind)
    return [
        load.request(
            "POST",
            "/api/v1/jobs:batch",
            tocsin.port,
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
