"""The checks themselves: each breach of a promise is seen."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import pytest

from tests.chaos.evidence import (
    Interruption,
    OneShot,
    check_gapless,
    check_once,
    check_one_shots,
)
from tests.support.process import Row, rfc3339
from tests.support.receiver import Arrival

FIRE = 1_800_000_000_000
ID = f"{FIRE:012x}"[:8] + "-" + f"{FIRE:012x}"[8:] + "-8000-8000-000000000001"
JOB = OneShot(name="once", fire_time=FIRE, url="http://127.0.0.1:9/ok")
ANSWERED = {"number": 1, "http_status": 200, "error_kind": None}
LOST = {"number": 1, "http_status": None, "error_kind": "lost"}
ROW = Row(
    id=ID,
    job_id="job",
    job_name="once",
    fire_time=FIRE,
    due=FIRE,
    available_at=None,
    state="succeeded",
    reason=None,
    owner="first",
    skipped_until=None,
    skipped_count=None,
    attempts=[ANSWERED],
)
SECOND = {**ANSWERED, "number": 2}
KILL = Interruption(
    began_ns=(FIRE + 100) * 1_000_000,
    over_ns=(FIRE + 2_000) * 1_000_000,
    in_hands={ID: replace(ROW, state="claimed", available_at=FIRE, attempts=[])},
)


def _call(after_ms: int, **changes: Any) -> Arrival:
    call = Arrival((FIRE + after_ms) * 1_000_000, ID, 1, "job", "once", rfc3339(FIRE), "/ok")
    return call._replace(**changes)


def test_what_is_right_passes() -> None:
    check_one_shots([JOB], [ROW], [_call(1)])
    counts = check_one_shots(
        [JOB], [replace(ROW, attempts=[LOST, SECOND])], [_call(1), _call(5_000)], [KILL]
    )
    assert (counts.repeats, counts.in_flight, counts.lost_attempts) == (1, 1, 1)


@pytest.mark.parametrize(
    ("job", "rows", "calls", "kills", "why"),
    [
        (JOB, [], [], [], "without an execution"),
        (JOB, [ROW, replace(ROW, id="other")], [_call(1)], [], "two executions"),
        (JOB, [ROW], [], [], "never arrived"),
        (JOB, [ROW], [_call(1), _call(2)], [], "without a reason"),
        (JOB, [ROW], [_call(1), _call(2, execution_id="other")], [], "do not exist"),
        (JOB, [replace(ROW, state="failed", attempts=[LOST])], [_call(1)], [], "without a reason"),
        (JOB, [replace(ROW, state="pending")], [_call(1)], [], "pending"),
        (JOB, [ROW], [_call(1)], [KILL], "not in the history"),
        # Both calls before the kill: it is no reason.
        (
            JOB,
            [replace(ROW, attempts=[LOST, SECOND])],
            [_call(1), _call(2)],
            [KILL],
            "not because its node was interrupted",
        ),
        (
            replace(JOB, at_most_once=True),
            [replace(ROW, attempts=[LOST, SECOND])],
            [_call(1), _call(5_000)],
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
    kills: Sequence[Interruption],
    why: str,
) -> None:
    with pytest.raises(AssertionError, match=why):
        check_one_shots([job], rows, calls, kills)


def test_gaps_are_seen() -> None:
    def at(second: int, **changes: Any) -> Row:
        return replace(ROW, fire_time=FIRE + second * 1_000, **changes)

    skipped = at(1, state="skipped", skipped_until=FIRE + 3_000, skipped_count=3)
    assert check_gapless([at(0), at(4), skipped], step=1_000, until=FIRE + 4_000) == 5
    for rows, until in (
        ([at(0), at(2)], None),
        ([at(0), at(0)], None),
        ([at(0), skipped, at(3)], None),
        ([at(0), replace(skipped, skipped_count=2), at(4)], None),
        ([at(0)], FIRE + 1_000),
    ):
        with pytest.raises(AssertionError):
            check_gapless(rows, step=1_000, until=until)


def test_repeats_and_silence_are_seen() -> None:
    check_once([ROW], [_call(1)])
    with pytest.raises(AssertionError):
        check_once([ROW], [_call(1), _call(2)])
    with pytest.raises(AssertionError):
        check_once([ROW], [])
