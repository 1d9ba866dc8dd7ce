"""What must be true of many nodes after each scenario.

Checked from the receiver's log, the rows (by plain SQL) and what was done to the nodes; nothing
that a node says of itself counts.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime
from itertools import pairwise
from typing import Any

from tests.chaos.evidence import LOST, OneShot, by_execution
from tests.support.cluster import PATIENT_POLL, Cluster, Disturbance, Life
from tests.support.process import Receiver, Row, wait_until
from tests.support.receiver import Arrival
from tocsin.engine.clock import MAX_ROUND_TRIP
from tocsin.store.tables import PRESENT_STATUS

EARLY_MS = 1_000 * MAX_ROUND_TRIP / 2
"""Half of the longest round trip by which a node takes the database's time; without one that is as
short it does not fire."""


@dataclass(kw_only=True, slots=True)
class ClusterCounts:
    """What a scenario saw, for people."""

    executions: int = 0
    arrivals: int = 0
    repeats: int = 0
    lost_attempts: int = 0
    lost_for_good: int = 0
    """``at_most_once`` executions that ended as failed/lost."""
    rejected: int = 0
    """Answers that are in no history: their node died with them, or was revoked."""
    revoked: int = 0
    """Lives of nodes that were ended by another one."""
    rescued: int = 0
    p50_ms: float = 0
    p99_ms: float = 0
    """Of the lateness of first calls, by the receiver's clock."""
    early_ms: float = 0
    """The most that a call came before its instant."""
    others: dict[str, object] = field(default_factory=dict)

    def __str__(self) -> str:
        parts = {
            "fires": self.executions,
            "calls": self.arrivals,
            "repeats": self.repeats,
            "lost attempts": self.lost_attempts,
            "failed/lost": self.lost_for_good,
            "answers without a record": self.rejected,
            "nodes revoked": self.revoked,
            "rescued": self.rescued,
            "lateness p50/p99": f"{self.p50_ms:.1f}/{self.p99_ms:.0f} ms",
            "earliest": f"{self.early_ms:.1f} ms before its instant",
        } | self.others
        return ", ".join(f"{name} {value}" for name, value in parts.items())


def wait_ended(cluster: Cluster, count: int, *, like: str = "once-%") -> None:
    """Wait until so many executions have ended, and nothing of these jobs is left to do."""
    left = (
        "SELECT (SELECT count(*) FROM timers t JOIN jobs j ON j.id = t.job_id WHERE j.name LIKE %s)"
        " + (SELECT count(*) FROM executions WHERE finished_at IS NULL AND job_name LIKE %s)"
    )
    wait_until(
        lambda: cluster.rows.ended(like) >= count and cluster.rows.one(left, like, like) == 0,
        f"{count} executions have ended",
        poll=PATIENT_POLL,
    )


def wait_kept(cluster: Cluster, until: int, *, like: str = "tick-%") -> None:
    """Wait until all fire times until then of these repeating jobs are planned and have ended."""
    left = (
        "SELECT (SELECT count(*) FROM timers t JOIN jobs j ON j.id = t.job_id "
        "WHERE j.name LIKE %s AND t.fire_at <= %s) + (SELECT count(*) FROM executions "
        "WHERE finished_at IS NULL AND job_name LIKE %s AND fire_time <= %s)"
    )
    wait_until(
        lambda: cluster.rows.one(left, like, until, like, until) == 0,
        "all fire times until then have ended",
        poll=PATIENT_POLL,
    )


def check_cluster(
    cluster: Cluster,
    jobs: Sequence[OneShot],
    receiver: Receiver,
    *,
    like: str = "once-%",
) -> ClusterCounts:
    """Each fire time ran once, nothing is missing, and only what was disturbed was repeated.

    No call left before its instant, or not more than ``EARLY_MS``: nodes know the database's clock
    as well as they could measure it, half of the best round trip at worst.
    """
    stem = like.rstrip("%")
    arrivals = [one for one in receiver.arrivals() if one.job_name.startswith(stem)]
    check_database(cluster, like)
    rows = cluster.rows.executions(f"job_name LIKE '{like}'")
    counts = check_shots(jobs, rows, arrivals, cluster.disturbances, cluster.rows.lives())
    counts.early_ms = max(0.0, *(one.fire_ms - one.at_ns / 1e6 for one in arrivals))
    assert counts.early_ms <= EARLY_MS, f"a call {counts.early_ms:.0f} ms before its instant"
    counts.rescued = sum(int(line["count"]) for line in cluster.events("executions.rescued"))
    counts.revoked = len(cluster.events("node.revoked"))
    return counts


def check_database(cluster: Cluster, like: str) -> None:
    """What must be true of the rows alone."""
    rows = cluster.rows
    twice = rows.query(
        "SELECT job_id, fire_time, count(*) FROM executions WHERE trigger = 'schedule' "
        "GROUP BY job_id, fire_time HAVING count(*) > 1"
    )
    assert not twice, f"fire times with two executions: {twice[:5]}"
    never = rows.query(
        f"SELECT name, {PRESENT_STATUS} FROM jobs WHERE name LIKE %s "
        f"AND ({PRESENT_STATUS} <> 'completed' "
        "OR NOT EXISTS (SELECT FROM executions e WHERE e.job_id = jobs.id))",
        like,
    )
    assert not never, f"{len(never)} jobs that did not fire: {never[:5]}"
    left = rows.query(
        "SELECT j.name FROM timers t JOIN jobs j ON j.id = t.job_id WHERE j.name LIKE %s", like
    )
    assert not left, f"timers that are left: {left[:5]}"
    gone = rows.query(
        "SELECT id, owner FROM executions WHERE state = 'claimed' "
        "AND owner NOT IN (SELECT incarnation FROM nodes)"
    )
    assert not gone, f"executions in the hands of the dead: {gone[:5]}"
    counted = {
        name: value
        for name, value in rows.query("SELECT name, sum(value)::int FROM counters GROUP BY name")
        if name.startswith("jobs.")
    }
    for status, count in rows.query(f"SELECT {PRESENT_STATUS}, count(*) FROM jobs GROUP BY 1"):
        known = counted.get(f"jobs.{status}")
        assert known in {None, count}, f"{count} jobs are {status}, but the counters say {known}"


def check_shots(
    jobs: Sequence[OneShot],
    rows: Sequence[Row],
    arrivals: Sequence[Arrival],
    disturbances: Sequence[Disturbance],
    lives: Sequence[Life],
) -> ClusterCounts:
    """The promises, job by job."""
    by_name = {row.job_name: row for row in rows}
    assert len(by_name) == len(rows), "a fire time has two executions"
    missing = [job.name for job in jobs if job.name not in by_name]
    assert not missing, f"{len(missing)} fire times without an execution: {missing[:5]}"
    assert len(rows) == len(jobs), "executions that nobody asked for"
    heard = by_execution(arrivals)
    unknown = heard.keys() - {row.id for row in rows}
    assert not unknown, f"calls of executions that do not exist: {sorted(unknown)[:5]}"
    names = _Names(lives)

    counts = ClusterCounts(executions=len(rows), arrivals=len(arrivals))
    for job in jobs:
        row = by_name[job.name]
        calls = heard.get(row.id, [])
        what = f"{job}: {row}, arrivals {calls}"
        _check_identity(job, row, calls, what)
        counts.lost_attempts += row.lost
        numbers = [attempt["number"] for attempt in row.attempts]
        assert numbers == list(range(1, len(numbers) + 1)), what
        reasons = [_reason(one, disturbances, names, what) for one in _lost(row)]

        # A call that may have been under way when its node died is in the history as lost.
        may_have_left = {
            one.in_hands[row.id].owner
            for one in disturbances
            if row.id in one.in_hands
            and _leaves_at(one.in_hands[row.id]) <= one.began_ns // 1_000_000
        }
        assert row.lost >= len(may_have_left), f"a lost attempt is not in the history: {what}"

        if row.state == "failed" and row.reason == LOST:
            assert job.at_most_once, what
            counts.lost_for_good += 1
        else:
            assert row.state == "succeeded", what
            assert row.attempts[-1].get("http_status") == 200, what
            assert calls, f"succeeded, but never arrived: {what}"
        if job.at_most_once:
            assert len(calls) <= 1, f"at most once, but repeated: {what}"
            assert len(row.attempts) == 1, what
        refused = sum(attempt.get("http_status") == 503 for attempt in row.attempts)
        assert len(calls) <= 1 + refused + row.lost, f"repeated without a reason: {what}"
        counts.repeats += max(0, len(calls) - 1 - refused)
        counts.rejected += len(calls) - row.answered
        if not job.failures:
            for earlier, later in pairwise(calls):
                assert any(
                    earlier.at_ns < one.over_ns and later.at_ns > one.began_ns
                    for reason in reasons
                    for one in reason
                ), f"repeated, but not because its node was disturbed in between: {what}"
    _note_lateness(counts, by_name, heard)
    return counts


def _check_identity(job: OneShot, row: Row, calls: Sequence[Arrival], what: str) -> None:
    assert row.fire_time == job.fire_time, what
    for call in calls:
        assert call.key == call.execution_id, f"two different keys: {call}"
        assert call.fire_ms == job.fire_time, what
        assert (call.job_name, call.job_id) == (job.name, row.job_id), what


def _lost(row: Row) -> list[Any]:
    return [attempt for attempt in row.attempts if attempt.get("error_kind") == LOST]


class _Names:
    """Which node an attempt was lost with: rescuers know a name, or some of an incarnation."""

    def __init__(self, lives: Sequence[Life]) -> None:
        self._by_start = {life.incarnation[:8]: life.node for life in lives}
        self._names = {life.node for life in lives}

    def find(self, said: str) -> str | None:
        if said in self._names:
            return said
        return self._by_start.get(said.removeprefix("with incarnation "))


def _reason(
    attempt: Any, disturbances: Sequence[Disturbance], names: _Names, what: str
) -> list[Disturbance]:
    """What was done to the node that an attempt was lost with; there must be something."""
    node = names.find(attempt["node"])
    assert node is not None, f"lost by a node that never was: {what}"
    started = datetime.fromisoformat(attempt["started_at"])
    noticed_at = 1_000 * started.timestamp() + attempt["duration_ms"]
    found = [
        one for one in disturbances if one.node == node and one.began_ns // 1_000_000 <= noticed_at
    ]
    assert found, f"lost by {node}, which nothing was done to: {what}"
    return found


def _leaves_at(row: Row) -> int:
    return row.due if row.available_at is None else row.available_at


def _note_lateness(
    counts: ClusterCounts, by_name: dict[str, Row], heard: dict[str, list[Arrival]]
) -> None:
    due = {row.id: row.due for row in by_name.values()}
    late = sorted(calls[0].at_ns / 1e6 - due[id_] for id_, calls in heard.items())
    if late:
        counts.p50_ms, counts.p99_ms = quantile(late, 0.5), quantile(late, 0.99)


def quantile(ordered: Sequence[float], part: float) -> float:
    """The value below which this part of the (sorted) values lies."""
    return ordered[min(len(ordered) - 1, int(part * len(ordered)))]


def nothing_was_lost(counts: ClusterCounts, cluster: Cluster) -> None:
    """No node was taken for dead, so no call was repeated, and no answer went without a record."""
    assert not cluster.events("lease.lost"), cluster.events("lease.lost")
    assert (counts.repeats, counts.lost_attempts, counts.lost_for_good, counts.rejected) == (
        0, 0, 0, 0,
    ), str(counts)  # fmt: skip
    assert counts.revoked == 0, str(counts)
