"""How close two fires can be, and how close they may be."""

from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tocsin.domain.instant import DAY, HOUR, MINUTE, SECOND, Millis
from tocsin.domain.schedule import At, Every, Schedule, parse_schedule

START: Millis = 1_735_689_600_000  # 2025-01-01T00:00:00Z


def cron(expression: str) -> Schedule:
    return parse_schedule({"cron": expression}, now=START)


@pytest.mark.parametrize(
    ("expression", "gap"),
    [
        ("* * * * * *", SECOND),
        ("*/10 * * * * *", 10 * SECOND),
        ("0,50 * * * * *", 10 * SECOND),
        ("30 * * * * *", MINUTE),
        ("0,7,14 0 12 * * *", 7 * SECOND),
        ("59,0 0,59 0,23 * * *", SECOND),
        ("* * * * *", MINUTE),
        ("*/25 * * * *", 10 * MINUTE),
        ("0,59 * * * *", MINUTE),
        ("15,45 0-3 * * *", 30 * MINUTE),
        ("0 */7 * * *", 3 * HOUR),
        ("0 2 * * *", DAY),
        ("0 0,23 * * *", HOUR),
        ("59 23,0 * * MON", 23 * HOUR),
        ("0 0,23 * * MON,THU", 23 * HOUR),
        ("0 9 * * MON-FRI", DAY),
        ("0 9 * * MON,WED,FRI", 2 * DAY),
        ("0 9 * * MON", 7 * DAY),
        ("0 0 1,15 * *", 14 * DAY),
        ("0 0 1 * *", 28 * DAY),
        ("0 0 L,1 * *", DAY),
    ],
)
def test_gaps(expression: str, gap: Millis) -> None:
    assert cron(expression).shortest_gap() == gap


def test_the_gap_of_others() -> None:
    assert Schedule(kind=Every(interval=90_000, anchor=START)).shortest_gap() == 90_000
    assert Schedule(kind=At(instant=START)).shortest_gap() is None


def values(low: int, high: int) -> st.SearchStrategy[str]:
    listed = st.lists(st.integers(low, high), min_size=1, max_size=3, unique=True)
    stepped = st.integers(1, high).map(lambda step: f"*/{step}")
    return st.one_of(listed.map(lambda found: ",".join(map(str, found))), stepped, st.just("*"))


@given(values(0, 59), values(0, 59), values(0, 23), st.sampled_from(["*", "1", "1,2", "MON-FRI"]))
@settings(max_examples=60, deadline=None)
def test_the_gap_is_that_of_fires(second: str, minute: str, hour: str, weekday: str) -> None:
    """By what the schedule itself does from a Sunday to the Saturday after the next."""
    schedule = cron(f"{second} {minute} {hour} * * {weekday}")
    gap = schedule.shortest_gap()
    assert gap is not None
    fires = schedule.preview(START + 3 * DAY, 3_000)
    found = min(later - earlier for earlier, later in pairwise(fires))
    # What fires often does not come round to its closest fires within that many.
    ends = fires[-1] - fires[0] >= 14 * DAY
    assert found == gap if ends else found >= gap


@pytest.mark.parametrize(
    "schedule",
    [
        {"cron": "* * * * * *"},
        {"cron": "*/30 * * * * *"},
        {"cron": "0,59 0,59 * * * *"},
        {"every": "59s"},
    ],
)
def test_a_gap_is_described_by_its_own_words(schedule: dict[str, Any]) -> None:
    from tocsin.domain.errors import InvalidInput
    from tocsin.services.frequency import require_seldom

    read = parse_schedule(schedule, now=START)
    require_seldom(read, SECOND)
    require_seldom(read, MINUTE, previous=read)
    with pytest.raises(InvalidInput, match=r"TOCSIN_MIN_INTERVAL") as refused:
        require_seldom(read, MINUTE)
    (problem,) = refused.value.problems
    assert (problem.field, problem.code) == (next(iter(schedule)), "too_often")
    assert "takes 1m or more" in problem.message
