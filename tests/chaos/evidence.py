"""What must be true after each scenario, checked from the receiver's log and the rows alone."""

import time
from collections import defaultdict
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any

from tests.support.process import Row, Tocsin, now_ms, rfc3339, wait_until
from tests.support.receiver import Arrival

LOST = "lost"


@dataclass(frozen=True, kw_only=True, slots=True)
class OneShot:
    """A job with one fire time, and what the receiver does with it."""

    name: str
    fire_time: int
    url: str
    at_most_once: bool = False
    overlap: str = "allow"
    failures: int = 0
    """How many of its calls are answered with an error that is worth a retry."""

    def definition(self) -> dict[str, Any]:
        """As the API takes it."""
        return {
            "name": self.name,
            "schedule": {"at": rfc3339(self.fire_time)},
            "target": {"url": self.url, "body": {"job": self.name}, "timeout": "20s"},
            "retry": {"max_attempts": 3 + self.failures, "initial": "200ms"},
            "delivery": "at_most_once" if self.at_most_once else "at_least_once",
            "overlap": self.overlap,
        }


@dataclass(kw_only=True, slots=True)
class Interruption:
    """A moment at which a node was killed or stopped."""

    began_ns: int
    in_hands: Mapping[str, Row]
    """What it had claimed and not finished, by id, as its database says."""
    over_ns: int = 0
    """When its successor was ready (or it went on)."""

    @property
    def in_flight(self) -> int:
        """How many calls can have been under way, or made and not yet recorded."""
        return sum(row.due <= self.began_ns // 1_000_000 for row in self.in_hands.values())


def kill(node: Tocsin) -> Interruption:
    """Kill a node and take note of what it had in hands."""
    began = time.time_ns()
    node.kill()
    return Interruption(began_ns=began, in_hands=_claimed(node))


def restart(node: Tocsin, interruption: Interruption) -> None:
    """Start it again."""
    node.start()
    interruption.over_ns = time.time_ns()


def _claimed(node: Tocsin) -> dict[str, Row]:
    return {row.id: row for row in node.rows().executions("state = 'claimed'")}


@dataclass(kw_only=True, slots=True)
class Counts:
    """What a scenario saw, for people."""

    executions: int = 0
    succeeded: int = 0
    lost_for_good: int = 0
    """``at_most_once`` executions that ended as failed/lost."""
    arrivals: int = 0
    repeats: int = 0
    in_flight: int = 0
    """At all interruptions together."""
    lost_attempts: int = 0
    others: dict[str, object] = field(default_factory=dict)

    def __str__(self) -> str:
        parts = {
            "executions": self.executions,
            "succeeded": self.succeeded,
            "failed/lost": self.lost_for_good,
            "arrivals": self.arrivals,
            "repeats": self.repeats,
            "in flight at the kills": self.in_flight,
            "lost attempts": self.lost_attempts,
        } | self.others
        return ", ".join(f"{name} {value}" for name, value in parts.items())


def check_one_shots(
    jobs: Sequence[OneShot],
    rows: Sequence[Row],
    arrivals: Sequence[Arrival],
    interruptions: Sequence[Interruption] = (),
) -> Counts:
    """Each fire time ran, nothing is missing, and only what was interrupted was repeated."""
    by_name = {row.job_name: row for row in rows}
    assert len(by_name) == len(rows), "a fire time has two executions"
    missing = [job.name for job in jobs if job.name not in by_name]
    assert not missing, f"{len(missing)} fire times without an execution: {missing[:5]}"
    heard = by_execution(arrivals)
    unknown = heard.keys() - {row.id for row in rows}
    assert not unknown, f"calls of executions that do not exist: {sorted(unknown)[:5]}"

    counts = Counts(
        executions=len(rows),
        arrivals=len(arrivals),
        in_flight=sum(one.in_flight for one in interruptions),
    )
    for job in jobs:
        row = by_name[job.name]
        calls = heard.get(row.id, [])
        what = f"{job}: {row}, arrivals {calls}"
        assert row.fire_time == job.fire_time, what
        assert all(call.fire_ms == job.fire_time for call in calls), what
        assert all(call.job_name == job.name and call.job_id == row.job_id for call in calls), what
        held_at = [one for one in interruptions if row.id in one.in_hands]
        counts.lost_attempts += row.lost
        numbers = [attempt["number"] for attempt in row.attempts]
        assert numbers == list(range(1, len(numbers) + 1)), what
        # Between two kills in a row it may not have been rescued: then it is the same call.
        owners = {one.in_hands[row.id].owner for one in held_at}
        assert row.lost <= len(owners), f"lost without a reason: {what}"
        # A call that may have been under way when its node died is in the history as lost.
        may_have_left = {
            one.in_hands[row.id].owner
            for one in held_at
            if _leaves_at(one.in_hands[row.id]) <= one.began_ns // 1_000_000
        }
        assert row.lost >= len(may_have_left), f"a lost attempt is not in the history: {what}"

        if row.state == "failed" and row.reason == LOST:
            assert job.at_most_once, what
            assert held_at, what
            counts.lost_for_good += 1
        else:
            assert row.state == "succeeded", what
            assert calls, f"succeeded, but never arrived: {what}"
            counts.succeeded += 1
        if job.at_most_once:
            assert len(calls) <= 1, f"at most once, but repeated: {what}"
            assert row.lost <= 1, what
        asked_for = 1 + sum(attempt.get("http_status") == 503 for attempt in row.attempts)
        assert len(calls) <= asked_for + len(owners), f"repeated without a reason: {what}"
        counts.repeats += max(0, len(calls) - asked_for)
        if not job.failures:
            for earlier, later in pairwise(calls):
                assert any(
                    earlier.at_ns < one.over_ns and later.at_ns > one.began_ns for one in held_at
                ), f"repeated, but not because its node was interrupted in between: {what}"
    assert counts.repeats <= counts.in_flight, "more repeats than calls in flight"
    return counts


def _leaves_at(row: Row) -> int:
    return row.due if row.available_at is None else row.available_at


def by_execution(arrivals: Iterable[Arrival]) -> dict[str, list[Arrival]]:
    """Arrivals by the id that they carried."""
    heard: dict[str, list[Arrival]] = defaultdict(list)
    for arrival in arrivals:
        heard[arrival.execution_id].append(arrival)
    return heard


def check_gapless(rows: Collection[Row], *, step: int, until: int | None = None) -> int:
    """Each fire time of a repeating job is an execution or lies in a skipped range, once.

    Returns how many fire times were looked at.
    """
    ordered = sorted(rows, key=lambda row: row.fire_time)
    assert ordered, "no fire time at all"
    expected = ordered[0].fire_time
    count = 0
    for row in ordered:
        assert row.fire_time == expected, (
            f"{row.job_name}: expected the fire time {rfc3339(expected)}, "
            f"found {rfc3339(row.fire_time)}"
        )
        last = row.fire_time if row.skipped_until is None else row.skipped_until
        stands_for = (last - row.fire_time) // step + 1
        assert (row.skipped_count or 1) == stands_for, row
        count += stands_for
        expected = last + step
    if until is not None:
        assert expected > until, f"{ordered[0].job_name}: nothing after {rfc3339(expected - step)}"
    return count


def delete_ticking(tocsin: Tocsin, jobs: Sequence[Mapping[str, Any]]) -> int:
    """Delete jobs that fire every second once all is planned that was due before, and wait until
    nothing is left to do; returns an instant until when each fire time must be accounted for.

    What a node that lags behind has not planned yet is gone with its job.
    """
    until = now_ms() - 1_000
    rows = tocsin.rows()
    wait_until(
        lambda: (
            rows.query(
                "SELECT count(*) FROM timers WHERE fire_at <= ? AND job_id IN "
                f"({', '.join('?' * len(jobs))})",
                until,
                *(job["id"] for job in jobs),
            )
            == [(0,)]
        ),
        "all fire times until now are planned",
    )
    for job in jobs:
        assert tocsin.client.delete(f"/api/v1/jobs/{job['id']}").status_code in {200, 204}
    wait_until(lambda: rows.unfinished() == 0, "nothing is left to do")
    return until


def check_once(rows: Iterable[Row], arrivals: Iterable[Arrival]) -> None:
    """What succeeded arrived exactly once, and nothing arrived twice."""
    heard = by_execution(arrivals)
    twice = {id_: calls for id_, calls in heard.items() if len(calls) > 1}
    assert not twice, f"{len(twice)} calls were repeated: {list(twice.items())[:3]}"
    unheard = [row for row in rows if row.state == "succeeded" and row.id not in heard]
    assert not unheard, f"{len(unheard)} succeeded but never arrived: {unheard[:3]}"


def soon(seconds: float) -> int:
    """An instant that many seconds from now, in milliseconds since the epoch."""
    return now_ms() + round(seconds * 1_000)


def leads() -> Iterator[float]:
    """How far ahead to set what must be prepared before it happens, in seconds: each try is given
    twice the time of the one before; leave the loop when one was in time."""
    for doubled in range(5):
        yield 2.5 * 2**doubled
    raise AssertionError("this machine is too slow to prove anything")
