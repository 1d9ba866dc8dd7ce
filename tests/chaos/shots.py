"""Jobs for scenarios on PostgreSQL: of all kinds, at random instants."""

import random
import time
from typing import Any

from tests.chaos.evidence import OneShot, soon
from tests.support.cluster import ClusterNode
from tests.support.process import Receiver


def shots(
    dice: random.Random, receiver: Receiver, count: int, *, seconds: float, slow_ms: int = 800
) -> list[OneShot]:
    """So many within so many seconds, beginning when they can all have been created."""
    start = soon(0.8 + count / 1_500)
    jobs = []
    for number in range(count):
        kind = dice.random()
        path, failures = "/ok", 0
        if kind < 0.10:
            path = f"/slow?ms={dice.randrange(20, slow_ms)}"
        elif kind < 0.15:
            failures = dice.choice((1, 2))
            path = f"/fail?n={failures}"
        jobs.append(
            OneShot(
                name=f"once-{number:05}",
                fire_time=start + dice.randrange(round(seconds * 1_000)),
                url=receiver.url(path),
                at_most_once=0.15 <= kind < 0.25,
                overlap="skip" if kind > 0.95 else "allow",
                failures=failures,
            )
        )
    return jobs


def create(node: ClusterNode, jobs: list[OneShot]) -> None:
    """Create them all, in the order of their instants: where that takes too long, the last ones
    are still in time, and the first ones fire at once."""
    node.create([job.definition() for job in sorted(jobs, key=lambda job: job.fire_time)])


def first(jobs: list[OneShot]) -> float:
    """The earliest instant, in seconds since the epoch."""
    return min(job.fire_time for job in jobs) / 1_000


def last(jobs: list[OneShot]) -> float:
    """The last instant, in seconds since the epoch."""
    return max(job.fire_time for job in jobs) / 1_000


def sleep_until(instant: float) -> None:
    """Wait for a moment of the scenario, in seconds since the epoch."""
    time.sleep(max(0.0, instant - time.time()))


def every_second(receiver: Receiver, count: int) -> list[dict[str, Any]]:
    """So many jobs that each fire every second, evenly spread over it."""
    return [
        {
            "name": f"tick-{number:04}",
            "schedule": {
                "every": "1s",
                "anchor": f"2026-01-01T00:00:00.{number * 1_000 // count:03}Z",
            },
            "target": {"url": receiver.url("/ok")},
        }
        for number in range(count)
    ]
