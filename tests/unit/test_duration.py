import contextlib
import math
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tocsin.domain.duration import MAX_DURATION, format_duration, parse_duration


@pytest.mark.parametrize(
    ("value", "duration"),
    [
        ("30s", 30_000),
        ("1h30m", 5_400_000),
        ("1h 30m", 5_400_000),
        (" 5m ", 300_000),
        ("500ms", 500),
        ("1.5s", 1_500),
        ("0.25h", 900_000),
        ("2d", 172_800_000),
        ("1w", 604_800_000),
        ("1w2d3h4m5s6ms", 788_645_006),
        ("5M", 300_000),
        ("PT30S", 30_000),
        ("P1DT2H", 93_600_000),
        ("PT0.5S", 500),
        ("PT1,5S", 1_500),
        ("P2W", 1_209_600_000),
        ("pt1m", 60_000),
        ("0s", 0),
        ("0", 0),
        ("90", 90_000),
        ("0.5", 500),
        (90, 90_000),
        (0, 0),
        (1.5, 1_500),
        (0.1 + 0.2, 300),
        ("36525d", MAX_DURATION),
    ],
)
def test_reads_durations(value: str | float, duration: int) -> None:
    assert parse_duration(value) == duration


@pytest.mark.parametrize(
    ("value", "reason"),
    [
        ("", "a number of seconds"),
        ("soon", "a number of seconds"),
        ("30 x", "a number of seconds"),
        ("-5s", "a number of seconds"),
        ("30m1h", "a number of seconds"),
        ("1h1h", "a number of seconds"),
        ("1e3", "a number of seconds"),
        ("P", "a number of seconds"),
        ("PT", "a number of seconds"),
        ("P1DT", "a number of seconds"),
        ("٣s", "a number of seconds"),
        (math.nan, "a number of seconds"),
        (math.inf, "a number of seconds"),
        (True, "a number of seconds"),
        (None, "a number of seconds"),
        ([30], "a number of seconds"),
        ("P1M", "no fixed length"),
        ("P1Y2M3D", "no fixed length"),
        ("0.0001s", "finer than a millisecond"),
        ("0.5ms", "finer than a millisecond"),
        (-1, "out of range"),
        (-0.5, "out of range"),
        ("36526d", "out of range"),
        (1e300, "out of range"),
        (10**400, "out of range"),
        ("9" * 60, "out of range"),
        ("9" * 100, "too long"),
    ],
)
def test_refuses_what_is_not_a_duration_and_says_what_is(value: Any, reason: str) -> None:
    with pytest.raises(ValueError, match=reason):
        parse_duration(value)


@pytest.mark.parametrize(
    ("duration", "text"),
    [
        (0, "0s"),
        (1, "1ms"),
        (1_500, "1s500ms"),
        (30_000, "30s"),
        (5_400_000, "1h30m"),
        (604_800_000, "7d"),
        (90_061_001, "1d1h1m1s1ms"),
    ],
)
def test_writes_durations(duration: int, text: str) -> None:
    assert format_duration(duration) == text


def test_a_negative_duration_is_not_written() -> None:
    with pytest.raises(ValueError, match="never negative"):
        format_duration(-1)


@given(st.integers(0, MAX_DURATION))
@settings(max_examples=300, deadline=None)
def test_what_is_written_is_read_back(duration: int) -> None:
    assert parse_duration(format_duration(duration)) == duration


@given(st.integers(0, MAX_DURATION // 1_000))
@settings(max_examples=200, deadline=None)
def test_a_number_is_seconds(seconds: int) -> None:
    assert parse_duration(seconds) == parse_duration(str(seconds)) == seconds * 1_000
    assert parse_duration(float(seconds)) == seconds * 1_000
    assert parse_duration(f"PT{seconds}S") == seconds * 1_000


@given(st.text(max_size=80) | st.text("0123456789wdhmsPT.,- ", max_size=12) | st.floats())
@settings(max_examples=500, deadline=None)
def test_garbage_raises_nothing_but_value_error(value: str | float) -> None:
    with contextlib.suppress(ValueError):
        assert 0 <= parse_duration(value) <= MAX_DURATION
