"""Fires per second: one-shot jobs that are all due at one instant."""

import contextlib
import time

from tests.support.process import Receiver, Tocsin, now_ms, rfc3339, wait_until

from bench import baselines
from bench.context import Bench
from bench.report import Figure, Figures

AHEAD = 2.5
"""Seconds before the instant by which all jobs must be there, and CPU time is counted from."""


def run(bench: Bench) -> list[Figure]:
    """Create the jobs, wait for the instant, measure until the last result is durable."""
    jobs = 2_000 if bench.quick else 10_000
    figures = Figures(f"burst of {jobs:,}")
    for number in range(bench.runs):
        bench.say(f"burst {number + 1}/{bench.runs}: {jobs:,} jobs due at one instant")
        with bench.receiver() as receiver:
            ceiling = baselines.raw_calls(receiver, jobs)
            client = baselines.client_calls(receiver, jobs)
        with bench.directory() as directory:
            rows = baselines.sqlite_executions(directory, jobs)
        with bench.receiver() as receiver, bench.node() as tocsin:
            _one_run(figures, tocsin, receiver, jobs, ceiling=ceiling, client=client, rows=rows)
    return figures.all()


def _one_run(
    figures: Figures,
    tocsin: Tocsin,
    receiver: Receiver,
    jobs: int,
    *,
    ceiling: float,
    client: float,
    rows: float,
) -> None:
    lead = 5.0
    while True:
        instant = now_ms() + round(lead * 1_000)
        created = tocsin.create(definitions(receiver, jobs, instant, f"burst-{instant}"))
        if now_ms() < instant - AHEAD * 1_000:
            break
        for job in created:  # too slow for this lead: they would be claimed late
            tocsin.client.delete(f"/api/v1/jobs/{job['id']}")
        lead *= 2
    time.sleep(max(0.0, instant / 1_000 - AHEAD - time.time()))
    seen = receiver.count()
    cpu = tocsin.cpu_seconds()
    receiver_cpu = receiver.cpu_seconds()
    time.sleep(max(0.0, instant / 1_000 - time.time()))
    with contextlib.closing(_live_connection(tocsin)) as count_left:
        wait_until(lambda: count_left() == 0, "all fires are recorded", timeout=300, poll=0.01)
    recorded = time.time()
    cpu = tocsin.cpu_seconds() - cpu
    arrivals = receiver.arrivals()[seen:]
    receiver_cpu = receiver.cpu_seconds() - receiver_cpu
    ids = {arrival.execution_id for arrival in arrivals}
    if not len(ids) == len(arrivals) == jobs:
        raise RuntimeError(f"{jobs} jobs, {len(arrivals)} arrivals, {len(ids)} of them distinct")
    took = recorded - instant / 1_000
    last = max(arrival.at_ns for arrival in arrivals) / 1e9 - instant / 1_000
    figures.add("durable fires", "/s", jobs / took, baseline_name="raw sockets", baseline=ceiling)
    figures.add(
        "durable fires, against the client",
        "/s",
        jobs / took,
        baseline_name="own HTTP client alone",
        baseline=client,
    )
    figures.add(
        "durable fires, against the store",
        "/s",
        jobs / took,
        baseline_name="raw sqlite3 rows",
        baseline=rows,
    )
    figures.add("calls until the last arrival", "/s", jobs / last)
    figures.add("CPU per fire, node", "µs", cpu / jobs * 1e6)
    figures.add("CPU per arrival, receiver", "µs", receiver_cpu / jobs * 1e6)
    figures.add(
        "first call after the instant",
        "ms",
        min(arrival.at_ns for arrival in arrivals) / 1e6 - instant,
    )


class _live_connection:  # noqa: N801  # used like a function
    """Counts what is left, with one connection: opening one each time would cost CPU."""

    def __init__(self, tocsin: Tocsin) -> None:
        self._stack = contextlib.ExitStack()
        self._connection = self._stack.enter_context(tocsin.rows().connection())

    def __call__(self) -> int:
        (left,) = self._connection.execute(
            "SELECT (SELECT count(*) FROM timers) + "
            "(SELECT count(*) FROM executions WHERE state IN ('pending', 'claimed'))"
        ).fetchone()
        return int(left)

    def close(self) -> None:
        """Let go of the file."""
        self._stack.close()


def definitions(
    receiver: Receiver, jobs: int, instant: int, prefix: str
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
