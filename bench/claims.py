"""Claims per second: nodes that compete for the same timers."""

import json
import subprocess
import sys
import time
from dataclasses import dataclass

from tests.support.process import clean_environment, die_together, now_ms, rfc3339

from bench.context import Bench
from bench.nodes import tree_cpu_seconds
from bench.report import Figure, Figures

CLAIMERS = 8


@dataclass(frozen=True, kw_only=True, slots=True)
class Claims:
    """What claiming everything came to; CPU time in seconds per claim."""

    rate: float
    claimer_cpu: float
    database_cpu: float
    calls: int
    """Claims of a batch, those that found nothing included."""


def run(bench: Bench) -> list[Figure]:
    """One claimer, then eight at once, on copies of the same database."""
    timers = 4_000 if bench.quick else 20_000
    figures = Figures(f"{CLAIMERS} claimers, {timers:,} due timers")
    instant = now_ms() + 86_400_000
    template = _template(bench, timers, instant)
    for number in range(bench.runs):
        bench.say(f"pg-claims {number + 1}/{bench.runs}: 1 and {CLAIMERS} claimers")
        one = _measure(bench, template, timers, instant, 1)
        many = _measure(bench, template, timers, instant, CLAIMERS)
        for name, unit, value, bare in (
            ("claims", "/s", many.rate, one.rate),
            ("CPU per claim, claimers", "µs", many.claimer_cpu * 1e6, one.claimer_cpu * 1e6),
            ("CPU per claim, PostgreSQL", "µs", many.database_cpu * 1e6, one.database_cpu * 1e6),
            ("claims per batch", "", timers / many.calls, timers / one.calls),
        ):
            figures.add(name, unit, value, baseline_name="one claimer", baseline=bare)
    return figures.all()


def _template(bench: Bench, timers: int, instant: int) -> str:
    """The name of a database with jobs that are due at an instant, and daily from then on."""
    bench.say(f"pg-claims: {timers:,} jobs")
    with bench.cluster(postgres=True) as cluster:
        cluster.create(
            [
                {
                    "name": f"claim-{number}",
                    "schedule": {"every": "24h", "anchor": rfc3339(instant)},
                    "target": {"url": "http://127.0.0.1:9/hook", "body": {"hello": "world"}},
                }
                for number in range(timers)
            ]
        )
        if cluster.first.terminate() != 0:
            raise RuntimeError("the node did not end well")
        name = cluster.url.rpartition("/")[2]
        return bench.server.create(template=name).rpartition("/")[2]


def _measure(bench: Bench, template: str, timers: int, instant: int, count: int) -> Claims:
    url = bench.server.create(template=template)
    claimers = [
        subprocess.Popen(
            [
                *die_together(),
                sys.executable,
                "-m",
                "bench.claimer",
                url,
                f"claimer-{number}",
                str(instant),
            ],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env=clean_environment(),
        )
        for number in range(count)
    ]
    try:
        for claimer in claimers:
            assert claimer.stdout is not None
            if claimer.stdout.readline() != "ready\n":
                raise RuntimeError("a claimer did not start")
        cpu, began = tree_cpu_seconds(bench.server.pid), time.time()
        for claimer in claimers:
            assert claimer.stdin is not None
            claimer.stdin.write("go\n")
            claimer.stdin.flush()
        results = [json.loads(claimer.communicate(timeout=300)[0]) for claimer in claimers]
        cpu = tree_cpu_seconds(bench.server.pid) - cpu
    finally:
        for claimer in claimers:
            claimer.kill()
            claimer.wait()
    ids = [one for result in results for one in result["ids"]]
    stored = bench.server.execute(
        "SELECT count(*) FROM executions WHERE state = 'claimed'", url.rpartition("/")[2]
    )
    if not (len(ids) == len(set(ids)) == timers and stored == [(timers,)]):
        raise RuntimeError(
            f"{timers} timers, {len(ids)} claims, {len(set(ids))} of them distinct, stored {stored}"
        )
    bench.server.drop(url)
    return Claims(
        rate=timers / (max(result["ended"] for result in results) - began),
        claimer_cpu=sum(result["cpu"] for result in results) / timers,
        database_cpu=cpu / timers,
        calls=sum(result["calls"] for result in results),
    )
