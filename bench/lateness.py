"""Lateness: jobs that each fire every second, measured where the calls arrive."""

from collections import Counter
from collections.abc import Sequence
from contextlib import AbstractContextManager
from functools import partial

from tests.support.process import now_ms, rfc3339, wait_until
from tests.support.receiver import Arrival

from bench import baselines
from bench.context import AnyReceiver, Bench
from bench.nodes import Cluster, sleep_until
from bench.report import Figure, Figures, percentile


def run(bench: Bench, *, spread: bool, nodes: int | None = None) -> list[Figure]:
    """``spread``: fire times evenly over the second; otherwise all at its beginning.

    On SQLite, or with so many ``nodes`` on PostgreSQL.
    """
    jobs, seconds = (1_000, 5) if bench.quick else (1_000, 20)
    where = "over the second" if spread else "at the full second"
    if nodes is not None:
        where += f", {nodes} nodes on PostgreSQL"
    figures = Figures(f"{jobs:,} per-second jobs, {where}")
    for number in range(bench.runs):
        bench.say(
            f"lateness {number + 1}/{bench.runs}: {jobs:,} jobs every second for {seconds} s, "
            f"{where}"
        )
        with bench.receiver() as receiver:
            bare, _ = baselines.timer_lateness(
                receiver, jobs=jobs, seconds=min(seconds, 5), spread=spread
            )
        with bench.receiver() as receiver, _cluster(bench, nodes) as cluster:
            _one_run(figures, cluster, receiver, jobs, seconds, bare, spread=spread)
    return figures.all()


even = partial(run, spread=True)
together = partial(run, spread=False)
on_postgres = partial(run, spread=True, nodes=2)


def _cluster(bench: Bench, nodes: int | None) -> AbstractContextManager[Cluster]:
    return bench.cluster() if nodes is None else bench.cluster(postgres=True, nodes=nodes)


def _one_run(
    figures: Figures,
    cluster: Cluster,
    receiver: AnyReceiver,
    jobs: int,
    seconds: int,
    bare: Sequence[float],
    *,
    spread: bool,
) -> None:
    base = (now_ms() // 1_000 + 2) * 1_000
    offsets = _offsets(jobs, spread=spread)
    created = cluster.create(definitions(receiver, jobs, base, spread=spread))
    start = (now_ms() // 1_000 + 3) * 1_000
    end = start + seconds * 1_000
    # As many seconds, shifted by the claim horizon.
    sleep_until(start - 1_000)
    cpu, database_cpu = cluster.cpu_seconds(), cluster.database_cpu_seconds()
    sleep_until(end - 1_000)
    cpu = cluster.cpu_seconds() - cpu
    database_cpu = cluster.database_cpu_seconds() - database_cpu
    # A call may be late; but when later ones are there it is missing.
    wait_until(
        lambda: now_ms() > end + 2_000 and receiver.count() >= jobs * seconds,
        "the calls have arrived",
        timeout=60,
    )
    arrivals = [arrival for arrival in receiver.arrivals() if start <= arrival.fire_ms < end]
    lateness = [(arrival.at_ns - arrival.fire_ms * 1_000_000) / 1e6 for arrival in arrivals]
    missing, double = _against_plan(
        arrivals, {job["id"]: offsets[n] for n, job in enumerate(created)}, start, end
    )
    for name, value, bare_value in (
        ("lateness p50", percentile(lateness, 0.5), percentile(bare, 0.5)),
        ("lateness p99", percentile(lateness, 0.99), percentile(bare, 0.99)),
        ("lateness max", max(lateness), max(bare)),
    ):
        figures.add(name, "ms", value, baseline_name="bare timers", baseline=bare_value)
    figures.add("earliest call", "ms", min(lateness))
    figures.add("missing", "fires", missing)
    figures.add("double", "fires", double)
    figures.add("CPU per fire, nodes", "µs", cpu / (jobs * seconds) * 1e6)
    if cluster.server is not None:
        figures.add("CPU per fire, PostgreSQL", "µs", database_cpu / (jobs * seconds) * 1e6)
        figures.add("fires of the busiest node", "%", 100 * _busiest(cluster))


def _offsets(jobs: int, *, spread: bool) -> list[int]:
    """Milliseconds from the full second to the fires of each job."""
    return [number * 1_000 // jobs if spread else 0 for number in range(jobs)]


def definitions(
    receiver: AnyReceiver, jobs: int, base: int, *, spread: bool
) -> list[dict[str, object]]:
    """Jobs that fire every second."""
    return [
        {
            "name": f"second-{number}",
            "schedule": {"every": "1s", "anchor": rfc3339(base + offset)}
            if spread
            else {"cron": "* * * * * *"},
            "target": {"url": receiver.url("/ok"), "body": {"hello": "world"}},
        }
        for number, offset in enumerate(_offsets(jobs, spread=spread))
    ]


def _busiest(cluster: Cluster) -> float:
    """Which part of all fires the node made that made most."""
    shares = [
        int(count) for (count,) in cluster.query("SELECT count(*) FROM executions GROUP BY owner")
    ]
    return max(shares) / sum(shares)


def _against_plan(
    arrivals: Sequence[Arrival], offsets: dict[str, int], start: int, end: int
) -> tuple[int, int]:
    """How many fire times did not arrive, and how many arrived more than once."""
    seen = Counter((arrival.job_id, arrival.fire_ms) for arrival in arrivals)
    planned = {
        (job_id, fire) for job_id, offset in offsets.items()
        for fire in range(start + offset, end, 1_000)
    }  # fmt: skip
    unplanned = seen.keys() - planned
    if unplanned:
        raise RuntimeError(f"fire times that no schedule calls for: {sorted(unplanned)[:3]}")
    return len(planned - seen.keys()), sum(count > 1 for count in seen.values())
