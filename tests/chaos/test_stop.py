"""A node that is asked to end, and one that is frozen for longer than its lease."""

import random
import signal
import time
from typing import Any

import pytest

from tests.chaos.conftest import NodeFactory, seeds
from tests.chaos.evidence import (
    OneShot,
    check_gapless,
    check_once,
    check_one_shots,
    delete_ticking,
    soon,
)
from tests.support.process import Receiver, wait_until

pytestmark = pytest.mark.chaos

JOBS = 3_000


def _jobs(dice: random.Random, receiver: Receiver, *, slow_ms: int) -> list[OneShot]:
    start = soon(3)
    return [
        OneShot(
            name=f"once-{number:05}",
            fire_time=start + dice.randrange(2_500),
            url=receiver.url(
                f"/slow?ms={dice.randrange(10, slow_ms)}" if number % 3 == 0 else "/ok"
            ),
            at_most_once=number % 10 == 0,
            overlap="queue" if number % 17 == 0 else "allow",
        )
        for number in range(JOBS)
    ]


@seeds(2)
def test_sigterm_under_load(
    seed: int, node: NodeFactory, receiver: Receiver, record_property: Any
) -> None:
    """It ends by itself with 0; nothing is lost, nothing is repeated, nothing counts as lost."""
    dice = random.Random(seed)
    tocsin = node(env={"TOCSIN_SHUTDOWN_GRACE": "20s"}).start()
    jobs = _jobs(dice, receiver, slow_ms=1_500)
    tocsin.create([job.definition() for job in jobs])
    receiver.wait_for(dice.randrange(JOBS // 10, JOBS // 2))

    began = time.monotonic()
    assert tocsin.terminate(timeout=60) == 0
    took = time.monotonic() - began
    rows = tocsin.rows()
    assert rows.executions("state = 'claimed'") == [], "it left something in its hands"
    assert rows.query("SELECT count(*) FROM nodes") == [(0,)], "it did not leave"
    before = {row.id for row in rows.executions("state = 'succeeded'")}

    tocsin.start()
    wait_until(lambda: rows.unfinished() == 0 and rows.timers() == 0, "every job has ended")
    ended = rows.executions()
    counts = check_one_shots(jobs, ended, receiver.arrivals())
    assert counts.repeats == counts.lost_attempts == counts.lost_for_good == 0
    record_property("counts", f"{counts}, before the stop {len(before)}, it took {took:.1f} s")


def test_second_sigterm(node: NodeFactory, receiver: Receiver) -> None:
    """Impatience does not corrupt: whatever the second signal does, a restart completes it."""
    tocsin = node().start()
    jobs = _jobs(random.Random(0), receiver, slow_ms=900)[:600]
    tocsin.create([job.definition() for job in jobs])
    receiver.wait_for(100)
    tocsin.send(signal.SIGTERM)
    tocsin.send(signal.SIGINT)
    tocsin.send(signal.SIGTERM)
    tocsin.wait()
    tocsin.start()
    rows = tocsin.rows()
    wait_until(lambda: rows.unfinished() == 0 and rows.timers() == 0, "every job has ended")
    ended = rows.executions()
    assert len(ended) == len(jobs)
    for row in ended:
        assert row.state == "succeeded" or row.reason == "lost", row


@seeds(1)
def test_frozen_past_its_lease(
    seed: int, node: NodeFactory, receiver: Receiver, record_property: Any
) -> None:
    """SIGSTOP for longer than the lease, then SIGCONT: it goes on, and repeats nothing.

    Nobody else was there to revoke it, so its results count.
    """
    dice = random.Random(seed)
    tocsin = node().start()
    jobs = _jobs(dice, receiver, slow_ms=800)
    tocsin.create([job.definition() for job in jobs])
    ticking = tocsin.create(
        [
            {
                "name": "tick",
                "schedule": {"cron": "* * * * * *"},
                "target": {"url": receiver.url("/ok")},
            }
        ]
    )
    receiver.wait_for(dice.randrange(JOBS // 10, JOBS // 2))
    tocsin.send(signal.SIGSTOP)
    time.sleep(3.5)  # the lease is 2 s: this outage is the scenario, nothing is waited for
    tocsin.send(signal.SIGCONT)

    rows = tocsin.rows()
    wait_until(
        lambda: (
            rows.query(
                "SELECT count(*) FROM executions WHERE job_name LIKE 'once-%' "
                "AND state IN ('succeeded', 'failed')"
            )[0][0]
            >= JOBS
        ),
        "every one-shot job has ended",
    )
    until = delete_ticking(tocsin, ticking)
    assert tocsin.is_ready()
    assert tocsin.terminate() == 0

    ended = rows.executions()
    arrivals = receiver.arrivals()
    check_once(ended, arrivals)
    counts = check_one_shots(
        jobs,
        [row for row in ended if row.job_name != "tick"],
        [arrival for arrival in arrivals if arrival.job_name != "tick"],
    )
    assert counts.lost_attempts == counts.lost_for_good == 0
    ticks = check_gapless([row for row in ended if row.job_name == "tick"], step=1_000, until=until)
    record_property("counts", f"{counts}, fire times of the ticking job {ticks}")
