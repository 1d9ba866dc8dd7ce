"""Instants and lengths of time as people write and read them."""

from zoneinfo import ZoneInfo

import pytest

from tocsin.cli.definition import past_instant
from tocsin.cli.failure import CommandFailed
from tocsin.cli.times import (
    in_zone,
    milliseconds,
    now_ms,
    read_instant,
    read_zone,
    relative,
    short_span,
)
from tocsin.domain.instant import format_instant, parse_instant

NOW = parse_instant("2026-11-21T01:00:00Z")
BERLIN = ZoneInfo("Europe/Berlin")


@pytest.mark.parametrize(
    ("text", "instant"),
    [
        ("now", "2026-11-21T01:00:00Z"),
        ("in 15m", "2026-11-21T01:15:00Z"),
        ("In 1h30m", "2026-11-21T02:30:00Z"),
        ("+90", "2026-11-21T01:01:30Z"),
        ("03:00", "2026-11-21T02:00:00Z"),
        ("02:00", "2026-11-22T01:00:00Z"),  # just now is not the next one
        ("1:30:15", "2026-11-22T00:30:15Z"),
        ("2026-12-24", "2026-12-23T23:00:00Z"),
        ("2026-12-24 18:00", "2026-12-24T17:00:00Z"),
        ("2026-12-24T18:00:30", "2026-12-24T17:00:30Z"),
        ("2026-07-01 12:00", "2026-07-01T10:00:00Z"),
        ("2026-12-24T18:00:00Z", "2026-12-24T18:00:00Z"),
        (" 2026-12-24T18:00:00-05:00 ", "2026-12-24T23:00:00Z"),
    ],
)
def test_an_instant_is_read_as_people_write_it(text: str, instant: str) -> None:
    assert format_instant(read_instant(text, now=NOW, zone=BERLIN)) == instant


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("tomorrow", "is not an instant such as"),
        ("25:00", "no such date or time"),
        ("2026-02-30", "no such date or time"),
        ("in a while", "is not a duration"),
        ("2027-03-28 02:30", "does not exist in Europe/Berlin: the clocks go forward"),
        ("2027-10-31 02:30", "happens twice in Europe/Berlin: add an offset"),
        ("", "is not an instant such as"),
    ],
)
def test_what_is_no_instant_is_refused_with_the_reason(text: str, reason: str) -> None:
    with pytest.raises(ValueError, match=reason):
        read_instant(text, now=NOW, zone=BERLIN)


def test_a_time_zone_that_does_not_exist_is_refused() -> None:
    assert read_zone(None) is None
    for name in ("Europe/Atlantis", "../etc/passwd", "", "Europe"):
        with pytest.raises(ValueError, match="is not a time zone such as"):
            read_zone(name)


def test_a_duration_is_counted_back_where_the_past_is_asked_for() -> None:
    text = past_instant("--since", "1h")
    assert text is not None
    assert abs(now_ms() - 3_600_000 - parse_instant(text)) < 10_000
    assert past_instant("--since", "2026-11-21T01:00:00Z") == "2026-11-21T01:00:00Z"
    with pytest.raises(CommandFailed, match="--since: 'yesterday' is not an instant"):
        past_instant("--since", "yesterday")


@pytest.mark.parametrize(
    ("ms", "text"),
    [
        (0, "0s"),
        (999, "0s"),
        (59_999, "59s"),
        (60_000, "1m"),
        (3_661_000, "1h 1m"),
        (36_000_000, "10h"),
        (2 * 86_400_000 + 3_600_000, "2d 1h"),
        (-90_000, "1m"),
        (400 * 86_400_000, "400d"),
    ],
)
def test_a_span_is_short(ms: int, text: str) -> None:
    assert short_span(ms) == text


def test_distances() -> None:
    assert relative("2026-11-21T01:05:00Z", NOW) == "in 5m"
    assert relative("2026-11-21T00:55:00Z", NOW) == "5m ago"
    assert relative("2026-11-21T01:00:00.400Z", NOW) == "now"
    assert relative(None, NOW) == ""


def test_an_instant_in_a_zone() -> None:
    assert in_zone("2026-12-24T18:00:00Z", BERLIN) == "Thu 2026-12-24 19:00:00 CET"
    assert in_zone("2026-07-01T10:00:00.250Z", BERLIN) == "Wed 2026-07-01 12:00:00.250 CEST"


@pytest.mark.parametrize(
    ("ms", "text"),
    [(None, ""), (0.84, "0.8 ms"), (12.3, "12 ms"), (1_254.0, "1.25 s"), (200_000, "3m 20s")],
)
def test_measured_times(ms: float | None, text: str) -> None:
    assert milliseconds(ms) == text
