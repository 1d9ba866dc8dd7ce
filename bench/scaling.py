"""Whether a fire costs more where more jobs are in the store, and what more processes bring.

A store is filled with jobs whose fires are far away, by SQL, and each time the same burst is
measured, several times. The smallest store is measured in the same run, to compare with; the law
is a straight line through all sizes. ``--size`` and ``--processes`` choose a part of it, for a
machine that is not to be had for long.
"""

import contextlib
import math
import sqlite3
import time
from collections.abc import Mapping, Sequence
from functools import partial
from statistics import linear_regression

import psycopg
from tests.support.process import now_ms, rfc3339

from bench import burst
from bench.context import Bench
from bench.nodes import Cluster
from bench.report import Figure, Figures
from tocsin.domain.instant import HOUR

SIZES = (1_000, 10_000, 100_000, 1_000_000)
PROCESSES = (1, 2, 4)
FIRES = 10_000
WARM_UP = 2_000
BURSTS = 3
"""Bursts on each store: one alone may meet what the server does by the way."""

APART = 30_000
"""Milliseconds between the fires of the standing jobs: a million of them take a year."""

_FILL = (
    """
    INSERT INTO jobs (id, namespace, name, kind, status, version, created_at, updated_at, size,
        search, spec)
    SELECT {id}, namespace, name || '-' || number, kind, status, version, created_at + number,
        updated_at + number, size, search, spec
    FROM jobs, {numbers} WHERE name = 'standing'""",
    """
    INSERT INTO timers (job_id, fire_at, due_at, lane, exact)
    SELECT {id}, {start} + number * {apart}, {start} + number * {apart}, lane, exact
    FROM timers, {numbers} WHERE job_id = (SELECT id FROM jobs WHERE name = 'standing')""",
)
_DIALECTS = {
    "sqlite": {
        "id": "printf('00000000-0000-7000-8000-%012x', number)",
        "numbers": "(WITH RECURSIVE series(number) AS (SELECT 1 UNION ALL SELECT number + 1 "
        "FROM series WHERE number < {count}) SELECT number FROM series) AS numbers",
    },
    "postgres": {
        "id": "('00000000-0000-7000-8000-' || lpad(to_hex(number), 12, '0'))::uuid",
        "numbers": "generate_series(1::bigint, {count}) AS number",
    },
}


def run(bench: Bench, *, postgres: bool = False) -> list[Figure]:
    """Measure the burst at each size, on PostgreSQL with 1, 2 and 4 processes."""
    sizes = bench.sizes or (SIZES[:2] if bench.quick else SIZES)
    counts = (bench.processes or PROCESSES) if postgres else PROCESSES[:1]
    by_case = {
        (size, count): Figures(_title(size, count, postgres=postgres))
        for count in counts
        for size in (SIZES[0], *(size for size in sizes if size > SIZES[0]))
    }
    came: dict[tuple[int, int], list[burst.Burst]] = {case: [] for case in by_case}
    for number in range(bench.runs):
        for size in dict.fromkeys(size for size, _ in by_case):
            bench.say(f"scaling {number + 1}/{bench.runs}: {size:,} jobs")
            with bench.cluster(postgres=postgres) as cluster:
                fill(bench, cluster, size)
                for count in counts:
                    came[size, count] += _measure(bench, cluster, count)
    for (size, count), figures in by_case.items():
        _note(figures, came[size, count], came[SIZES[0], count], postgres=postgres)
    laws = [
        _law(count, {size: bursts for (size, of), bursts in came.items() if of == count}, postgres)
        for count in counts
    ]
    return [figure for figures in (*by_case.values(), *laws) for figure in figures.all()]


on_postgres = partial(run, postgres=True)


def _title(size: int, count: int, *, postgres: bool) -> str:
    where = f"PostgreSQL, {count} process{'es' if count > 1 else ''}" if postgres else "SQLite"
    return f"burst of {FIRES:,} among {size:,} jobs, {where}"


def _measure(bench: Bench, cluster: Cluster, processes: int) -> list[burst.Burst]:
    node = cluster.first
    if processes > 1:
        node.options = ("--processes", str(processes))
    node.start()
    if cluster.server is not None:
        cluster.wait_for_nodes(processes)
    with bench.receiver() as receiver:
        burst.measure(cluster, receiver, WARM_UP)
        count = 1 if bench.quick else BURSTS
        came = [burst.measure(cluster, receiver, FIRES) for _ in range(count)]
    if node.terminate() != 0:
        raise RuntimeError("the node did not end well")
    return came


def _costs(burst: burst.Burst, *, postgres: bool) -> dict[str, float]:
    """Microseconds of CPU per fire, by who spends them."""
    costs = {"CPU per fire, nodes": burst.node_cpu * 1e6}
    if postgres:
        costs["CPU per fire, PostgreSQL"] = burst.database_cpu * 1e6
    return costs


def _note(
    figures: Figures,
    came: Sequence[burst.Burst],
    base: Sequence[burst.Burst],
    *,
    postgres: bool,
) -> None:
    name = f"{SIZES[0]:,} jobs"
    for one, first in zip(came, base, strict=True):
        rate, base_rate = FIRES / one.recorded, FIRES / first.recorded
        figures.add("durable fires", "/s", rate, baseline_name=name, baseline=base_rate)
        before = _costs(first, postgres=postgres)
        for measure, cost in _costs(one, postgres=postgres).items():
            figures.add(measure, "µs", cost, baseline_name=name, baseline=before[measure])


def _law(count: int, by_size: Mapping[int, Sequence[burst.Burst]], postgres: bool) -> Figures:
    """What a fire costs more with each tenfold of jobs: the slope through all bursts."""
    processes = f", {count} process{'es' if count > 1 else ''}" if postgres else ""
    law = Figures(f"scaling law, {'PostgreSQL' if postgres else 'SQLite'}{processes}")
    if len(by_size) < 2:
        return law
    points = [
        (math.log10(size), _costs(one, postgres=postgres))
        for size, bursts in by_size.items()
        for one in bursts
    ]
    for measure in points[0][1]:
        found = linear_regression(
            [tenfolds for tenfolds, _ in points], [costs[measure] for _, costs in points]
        )
        at_least = found.intercept + found.slope * math.log10(SIZES[0])
        law.add(f"{measure}: more per tenfold jobs", "µs", found.slope)
        law.add(f"{measure}: the same in percent", "%", 100 * found.slope / at_least)
    return law


def fill(bench: Bench, cluster: Cluster, count: int) -> None:
    """Fill the store of a node, which is stopped by that, with jobs like one of its own."""
    start = now_ms() + HOUR
    cluster.create(
        [
            {
                "name": "standing",
                "schedule": {"every": "24h", "anchor": rfc3339(start)},
                "target": {"url": "http://127.0.0.1:9/hook", "body": {"hello": "world"}},
            }
        ]
    )
    if cluster.first.terminate() != 0:
        raise RuntimeError("the node did not end well")
    dialect = _DIALECTS["sqlite" if cluster.server is None else "postgres"]
    parts = {
        "id": dialect["id"],
        "numbers": dialect["numbers"].format(count=count - 1),
        "start": start,
        "apart": APART,
    }
    statements = [statement.format(**parts) for statement in _FILL]
    began = time.monotonic()
    if cluster.server is None:
        with contextlib.closing(sqlite3.connect(cluster.first.database)) as connection:
            connection.execute("PRAGMA synchronous = OFF")
            for statement in statements:
                connection.execute(statement)
            connection.commit()
            connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    else:
        with psycopg.connect(cluster.url, autocommit=True) as postgres:
            for statement in (*statements, "VACUUM (ANALYZE) jobs, timers", "CHECKPOINT"):
                postgres.execute(statement.encode())
    bench.say(f"scaling: filled within {time.monotonic() - began:.1f} s")
