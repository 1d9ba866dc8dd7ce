"""The checks of many nodes themselves: each breach of a promise is seen."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import pytest

from tests.chaos.cluster_evidence import check_shots
from tests.chaos.evidence import OneShot
from tests.chaos.test_evidence import ANSWERED, FIRE, ID, JOB, ROW, SECOND
from tests.support.cluster import Disturbance, Life
from tests.support.process import Row, rfc3339
from tests.support.receiver import Arrival

LIVES = [
    Life(incarnation="1234567890", node="node-0", began_ns=0, ended_ns=None),
    Life(incarnation="abcdefabcd", node="node-1", began_ns=0, ended_ns=None),
]
LOST = {
    "number": 1,
    "http_status": None,
    "error_kind": "lost",
    "node": "node-0",
    "started_at": rfc3339(FIRE),
    "duration_ms": 3_000.0,
}
OK = {**ANSWERED, "node": "node-1"}
RESCUED = replace(ROW, attempts=[LOST, {**SECOND, "node": "node-1"}])
KILL = Disturbance(
    kind="killed",
    node="node-0",
    began_ns=(FIRE + 100) * 1_000_000,
    over_ns=(FIRE + 2_000) * 1_000_000,
    in_hands={ID: replace(ROW, state="claimed", available_at=FIRE, attempts=[])},
)


def _call(after_ms: int, **changes: Any) -> Arrival:
    at = (FIRE + after_ms) * 1_000_000
    return Arrival(at, ID, 1, "job", "once", rfc3339(FIRE), "/ok", ID)._replace(**changes)


def test_what_is_right_passes() -> None:
    check_shots([JOB], [replace(ROW, attempts=[OK])], [_call(1)], [], LIVES)
    counts = check_shots([JOB], [RESCUED], [_call(1), _call(3_000)], [KILL], LIVES)
    assert (counts.repeats, counts.lost_attempts, counts.rejected) == (1, 1, 1)
    # Who rescues may know no more of the dead than its incarnation.
    unnamed = replace(RESCUED, attempts=[{**LOST, "node": "with incarnation 12345678"}, SECOND])
    check_shots([JOB], [unnamed], [_call(1), _call(3_000)], [KILL], LIVES)


@pytest.mark.parametrize(
    ("job", "rows", "calls", "disturbances", "why"),
    [
        (JOB, [], [], [], "without an execution"),
        (JOB, [ROW, replace(ROW, id="other")], [_call(1)], [], "two executions"),
        (JOB, [ROW], [], [], "never arrived"),
        (JOB, [ROW], [_call(1), _call(2)], [], "without a reason"),
        (JOB, [ROW], [_call(1), _call(2, execution_id="other")], [], "do not exist"),
        (JOB, [ROW], [_call(1, key="other")], [], "two different keys"),
        (JOB, [replace(ROW, state="pending")], [_call(1)], [], "pending"),
        (JOB, [ROW], [_call(1)], [KILL], "not in the history"),
        # Lost, although nothing was done to any node, or to another one only, or later.
        (JOB, [RESCUED], [_call(1), _call(3_000)], [], "which nothing was done to"),
        (
            JOB,
            [RESCUED],
            [_call(1), _call(3_000)],
            [replace(KILL, node="node-1")],
            "which nothing was done to",
        ),
        (
            JOB,
            [RESCUED],
            [_call(1), _call(3_000)],
            [replace(KILL, began_ns=(FIRE + 9_000) * 1_000_000)],
            "which nothing was done to",
        ),
        # Both calls before the kill: it is no reason.
        (JOB, [RESCUED], [_call(1), _call(2)], [KILL], "in between"),
        (
            replace(JOB, at_most_once=True),
            [RESCUED],
            [_call(1), _call(3_000)],
            [KILL],
            "at most once, but repeated",
        ),
        (
            JOB,
            [replace(ROW, state="failed", reason="lost", attempts=[LOST])],
            [_call(1)],
            [KILL],
            "failed",
        ),
    ],
)
def test_each_breach_is_seen(
    job: OneShot,
    rows: Sequence[Row],
    calls: Sequence[Arrival],
    disturbances: Sequence[Disturbance],
    why: str,
) -> None:
    with pytest.raises(AssertionError, match=why):
        check_shots([job], rows, calls, disturbances, LIVES)
