import contextlib
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tocsin.domain.instant import MAX_INSTANT, MIN_INSTANT, format_instant, parse_instant

CHRISTMAS_EVE = 1_798_135_200_000


@pytest.mark.parametrize(
    ("text", "instant"),
    [
        ("1970-01-01T00:00:00Z", 0),
        ("2026-12-24T18:00:00Z", CHRISTMAS_EVE),
        ("2026-12-24T19:00:00+01:00", CHRISTMAS_EVE),
        ("2026-12-24T12:30:00-05:30", CHRISTMAS_EVE),
        ("2026-12-24t18:00:00z", CHRISTMAS_EVE),
        ("2026-12-24 18:00:00Z", CHRISTMAS_EVE),
        ("2026-12-24T18:00:00.5Z", CHRISTMAS_EVE + 500),
        ("2026-12-24T18:00:00.123999999Z", CHRISTMAS_EVE + 123),
        ("1970-01-01T01:00:00+01:00", 0),
        ("9999-12-31T23:59:59.999Z", MAX_INSTANT),
        ("2028-02-29T00:00:00Z", 1_835_395_200_000),
    ],
)
def test_reads_rfc_3339(text: str, instant: int) -> None:
    assert parse_instant(text) == instant


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("2026-12-24T18:00:00", "no offset"),
        ("2026-12-24", "RFC 3339"),
        ("tomorrow", "RFC 3339"),
        ("", "RFC 3339"),
        ("2026-12-24T18:00Z", "RFC 3339"),
        ("2026-12-24T24:00:00Z", "RFC 3339"),
        ("2026-12-24T18:00:60Z", "RFC 3339"),
        ("2026-12-24T18:00:00+25:00", "RFC 3339"),
        ("\uff12\uff10\uff12\uff16-12-24T18:00:00Z", "RFC 3339"),
        (" 2026-12-24T18:00:00Z", "RFC 3339"),
        ("2026-12-24T18:00:00Z\n", "RFC 3339"),
        ("2027-02-29T00:00:00Z", "does not exist"),
        ("0000-01-01T00:00:00Z", "does not exist"),
        ("1969-12-31T23:59:59.999Z", "1970 to 9999"),
        ("1970-01-01T00:00:00+01:00", "1970 to 9999"),
        ("9999-12-31T23:59:59-01:00", "1970 to 9999"),
        ("0001-01-01T00:00:00+23:59", "1970 to 9999"),
        ("2026-12-24T18:00:00." + "1" * 100 + "Z", "too long"),
    ],
)
def test_refuses_what_is_not_an_instant_and_says_what_is(text: str, reason: str) -> None:
    with pytest.raises(ValueError, match=reason):
        parse_instant(text)


@pytest.mark.parametrize(
    ("instant", "text"),
    [
        (0, "1970-01-01T00:00:00Z"),
        (CHRISTMAS_EVE, "2026-12-24T18:00:00Z"),
        (CHRISTMAS_EVE + 1, "2026-12-24T18:00:00.001Z"),
        (CHRISTMAS_EVE + 120, "2026-12-24T18:00:00.120Z"),
        (MAX_INSTANT, "9999-12-31T23:59:59.999Z"),
    ],
)
def test_writes_milliseconds_only_where_there_are_any(instant: int, text: str) -> None:
    assert format_instant(instant) == text


@pytest.mark.parametrize("instant", [-1, MAX_INSTANT + 1, 10**30, -(10**30)])
def test_refuses_to_write_what_is_out_of_range(instant: int) -> None:
    with pytest.raises(ValueError, match="1970 to 9999"):
        format_instant(instant)


@given(st.integers(0, MAX_INSTANT))
@settings(max_examples=300, deadline=None)
def test_what_is_written_is_read_back_and_agrees_with_datetime(instant: int) -> None:
    text = format_instant(instant)
    assert parse_instant(text) == instant
    expected = datetime(1970, 1, 1, tzinfo=UTC) + timedelta(milliseconds=instant)
    assert datetime.fromisoformat(text) == expected


@given(st.text(max_size=80))
@settings(max_examples=300, deadline=None)
def test_garbage_raises_nothing_but_value_error(text: str) -> None:
    with contextlib.suppress(ValueError):
        assert 0 <= parse_instant(text) <= MAX_INSTANT


@given(st.integers(MIN_INSTANT // 1_000, MAX_INSTANT // 1_000))
def test_full_seconds_are_read_back(second: int) -> None:
    assert parse_instant(format_instant(second * 1_000)) == second * 1_000


@pytest.mark.parametrize(
    "text",
    [
        "2026-02-30T10:00:00Z",
        "1969-12-31T23:59:59Z",
        "0000-01-01T00:00:00Z",
        "2026-1-01T010:00:00Z",
        "2026-12-24T24:00:00Z",
        "2026-12-24T23:60:00Z",
        "2026-12-24T23:59:60Z",
        "\uff12026-12-24T23:59:00Z",
        "2026-12-24T23:59:00ZZ",
    ],
)
def test_what_looks_plain_is_looked_at_all_the_same(text: str) -> None:
    with pytest.raises(ValueError, match=r"instant|exist|range"):
        parse_instant(text)
