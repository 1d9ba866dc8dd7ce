"""All nodes are restarted, one after the other, under steady load: nobody notices."""

import random
from typing import Any

import pytest

from tests.chaos.cluster_evidence import (
    check_cluster,
    nothing_was_lost,
    quantile,
    wait_ended,
    wait_kept,
)
from tests.chaos.conftest import FULL, ClusterFactory, seeds
from tests.chaos.evidence import by_execution, check_gapless
from tests.chaos.shots import create, every_second, shots
from tests.support.cluster import Cluster
from tests.support.pace import Pace
from tests.support.process import Receiver, now_ms

pytestmark = pytest.mark.chaos

PER_SECOND = 200 if FULL else 100
JOBS, SECONDS = (5_000, 30) if FULL else (300, 6)
"""Of all kinds, while the nodes are restarted."""
ROUNDS = 3 if FULL else 1


@seeds(1)
def test_rolling_restart(
    seed: int, cluster: ClusterFactory, receiver: Receiver, record_property: Any
) -> None:
    """SIGTERM, start again, wait until it is ready, the next one: lateness stays under 100 ms at
    p99, nothing is tried twice, nothing is missing."""
    them: Cluster = cluster()
    them.start(3)
    jobs = shots(random.Random(seed), receiver, JOBS, seconds=SECONDS)
    create(them.any, jobs)
    ticking = them.any.create(every_second(receiver, PER_SECOND))
    receiver.wait_for(2 * PER_SECOND)  # until the load is steady
    since = now_ms()
    with Pace() as pace:
        for _ in range(ROUNDS):
            for node in them.nodes:
                assert node.terminate() == 0
                node.start()
        until = now_ms()
        receiver.wait_for(receiver.count() + PER_SECOND)
    wait_kept(them, until)
    wait_ended(them, JOBS)
    them.stop()

    counts = check_cluster(them, jobs, receiver)
    nothing_was_lost(counts, them)
    arrivals = receiver.arrivals()
    heard = by_execution(one for one in arrivals if one.job_name.startswith("tick-"))
    # What had not started at the end was given back.
    rows = them.rows.executions("job_name LIKE 'tick-%' AND state <> 'pending'")
    for row in rows:
        calls = heard.pop(row.id, [])
        assert row.state == "succeeded", row
        assert len(row.attempts) == len(calls) == 1, f"tried twice: {row}, arrivals {calls}"
    assert not heard, f"calls of executions that do not exist: {list(heard)[:3]}"
    by_job = {job["id"]: [row for row in rows if row.job_id == job["id"]] for job in ticking}
    fire_times = sum(check_gapless(mine, step=1_000, until=until) for mine in by_job.values())
    # What a machine that stands still delays, the nodes have not: that is not counted.
    late = sorted(
        1_000 * pace.seconds(min(1_000_000 * one.fire_ms, one.at_ns), one.at_ns)
        for one in arrivals
        # The other kinds are claimed at their instant, not ahead of it: they leave later anyway.
        if one.job_name.startswith("tick-") and since <= one.fire_ms <= until
    )
    p99 = quantile(late, 0.99)
    record_property(
        "counts",
        f"restarts {3 * ROUNDS}, fires {len(rows) + len(jobs)}, calls {len(arrivals)}, "
        f"repeats 0, lost attempts 0, fire times of ticking jobs {fire_times}, "
        f"lateness of {len(late)} calls while restarting: p50 {quantile(late, 0.5):.1f} ms, "
        f"p99 {p99:.1f} ms, max {late[-1]:.0f} ms",
    )
    assert p99 < 100, f"p99 of the lateness: {p99:.0f} ms"
