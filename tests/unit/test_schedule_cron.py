"""Cron expressions: what is accepted, what they match, and what clock changes do to them."""

import time
from itertools import pairwise

import pytest

from tocsin.domain.instant import MAX_INSTANT, format_instant, parse_instant
from tocsin.domain.schedule.cron_field import CronSyntaxError
from tocsin.domain.schedule.cron_syntax import NeverFiresError, read_cron
from tocsin.domain.schedule.cron_times import CronTimes, cron_times
from tocsin.domain.schedule.zones import local_text, zone_offsets


def fires(expression: str, zone: str, after: str, count: int) -> list[str]:
    """The next fire times in local time, each asked of a fresh object that remembers nothing."""
    found = []
    instant = parse_instant(after)
    for _ in range(count):
        following = CronTimes(read_cron(expression), zone_offsets(zone)).next_after(instant)
        if following is None:
            break
        found.append(local_text(following, zone))
        instant = following
    return found


@pytest.mark.parametrize(
    ("expression", "after", "expected"),
    [
        ("* * * * *", "2026-01-01T00:00:00Z", "2026-01-01T00:01:00Z"),
        ("* * * * *", "2026-01-01T00:00:59.999Z", "2026-01-01T00:01:00Z"),
        ("* * * * * *", "2026-01-01T00:00:00.001Z", "2026-01-01T00:00:01Z"),
        ("0 2 * * *", "2026-01-01T02:00:00Z", "2026-01-02T02:00:00Z"),
        ("0 2 * * *", "2026-01-01T01:59:59.999Z", "2026-01-01T02:00:00Z"),
        ("31 10-15 1 * * MON-FRI", "2026-01-03T00:00:00Z", "2026-01-05T01:10:31Z"),
        ("31 10-15 1 * * mon-fri", "2026-01-05T01:15:31Z", "2026-01-06T01:10:31Z"),
        ("*/20 */15 * * * *", "2026-01-01T00:00:40Z", "2026-01-01T00:15:00Z"),
        ("5-5/2 * * * *", "2026-01-01T00:05:00Z", "2026-01-01T01:05:00Z"),
        ("50/5 * * * *", "2026-01-01T00:50:00Z", "2026-01-01T00:55:00Z"),
        ("0 0 L * *", "2026-02-01T00:00:00Z", "2026-02-28T00:00:00Z"),
        ("0 0 L,15 * *", "2026-02-01T00:00:00Z", "2026-02-15T00:00:00Z"),
        ("0 0 LW * *", "2026-01-31T00:00:00Z", "2026-02-27T00:00:00Z"),
        ("0 0 * * 5L", "2026-01-01T00:00:00Z", "2026-01-30T00:00:00Z"),
        ("0 0 * * friL", "2026-01-01T00:00:00Z", "2026-01-30T00:00:00Z"),
        ("0 0 * * MON#2", "2026-01-01T00:00:00Z", "2026-01-12T00:00:00Z"),
        ("0 0 * * 7", "2026-01-01T00:00:00Z", "2026-01-04T00:00:00Z"),
        ("0 0 * * sun", "2026-01-01T00:00:00Z", "2026-01-04T00:00:00Z"),
        ("0 0 * * 6-7", "2026-01-04T00:00:00Z", "2026-01-10T00:00:00Z"),
        ("0 0 1 JAN,jul *", "2026-01-01T00:00:00Z", "2026-07-01T00:00:00Z"),
        # Either day field is enough, unless one starts with a star.
        ("0 0 13 * FRI", "2026-01-03T00:00:00Z", "2026-01-09T00:00:00Z"),
        ("0 0 */12 * FRI", "2026-01-03T00:00:00Z", "2026-02-13T00:00:00Z"),
        ("0 0 29 2 *", "2026-01-01T00:00:00Z", "2028-02-29T00:00:00Z"),
        ("0 0 29 2 *", "2096-03-01T00:00:00Z", "2104-02-29T00:00:00Z"),
        ("0 0 * 2 MON#5", "2072-03-01T00:00:00Z", "2112-02-29T00:00:00Z"),
        ("@hourly", "2026-01-01T00:00:00Z", "2026-01-01T01:00:00Z"),
        ("@DAILY", "2026-01-01T00:00:00Z", "2026-01-02T00:00:00Z"),
        ("@midnight", "2026-01-01T00:00:00Z", "2026-01-02T00:00:00Z"),
        ("@weekly", "2026-01-01T00:00:00Z", "2026-01-04T00:00:00Z"),
        ("@monthly", "2026-01-01T00:00:00Z", "2026-02-01T00:00:00Z"),
        ("@yearly", "2026-01-01T00:00:00Z", "2027-01-01T00:00:00Z"),
        ("@Annually", "2026-01-01T00:00:00Z", "2027-01-01T00:00:00Z"),
    ],
)
def test_next_fire_time_in_utc(expression: str, after: str, expected: str) -> None:
    found = cron_times(expression, "UTC").next_after(parse_instant(after))
    assert found is not None
    assert format_instant(found) == expected


@pytest.mark.parametrize(
    ("expression", "reasons"),
    [
        ("75 * * * *", ["minute: 75 is not in 0-59"]),
        ("60 0 0 * * *", ["second: 60 is not in 0-59"]),
        (
            "60 24 0 13 8",
            [
                "minute: 60 is not in 0-59",
                "hour: 24 is not in 0-23",
                "day-of-month: 0 is not in 1-31",
                "month: 13 is not in 1-12 or JAN-DEC",
                "day-of-week: 8 is not in 0-7 or SUN-SAT",
            ],
        ),
        ("70,80 * * * *", ["minute: 70 is not in 0-59", "minute: 80 is not in 0-59"]),
        ("0 0 * FOO *", ["month: FOO is not in 1-12 or JAN-DEC"]),
        ("1,,2 * * * *", ["minute: there is an empty item in the list"]),
        ("* * ? * *", ["day-of-month: ? is not accepted; write *"]),
        ("*/0 * * * *", ["minute: 0 is not a step of 1-60"]),
        ("*/ * * * *", ["minute: '' is not a step of 1-60"]),
        (
            "*/90 * * * *",
            ['minute: 90 is not a step of 1-60; for longer intervals use {"every": …}'],
        ),
        ("50-10 * * * *", ["minute: 50-10 runs backwards; write it as 50-59,0-10"]),
        (
            "0 0 * * SAT-SUN",
            ["day-of-week: SAT-SUN runs backwards; write Sunday as 7 at the end of a range"],
        ),
        ("1- * * * *", ["minute: '' is not in 0-59"]),
        ("-1 * * * *", ["minute: -1 is not in 0-59"]),
        ("*-5 * * * *", ["minute: * is not in 0-59"]),
        ("1-2-3 * * * *", ["minute: 2-3 is not in 0-59"]),
        ("L * * * *", ["minute: L is only accepted in day-of-month and day-of-week"]),
        ("1#2 * * * *", ["minute: # is only accepted in day-of-week"]),
        ("0 0 15W * *", ["day-of-month: 15W is not accepted; only L and LW are, on their own"]),
        ("0 0 * * L", ["day-of-week: L needs a day in front of it, as in 5L for the last Friday"]),
        ("0 0 * * 5#6", ["day-of-week: 6 after # is not in 1-5"]),
        ("0 0 * * 1-5#2", ["day-of-week: 1-5 is not in 0-7 or SUN-SAT"]),
        (
            "* * * *",
            [
                "has 4 fields: expected 5 (minute hour day-of-month month day-of-week), "
                "or 6 with second first"
            ],
        ),
        ("@reboot", ["@reboot is not accepted: it names an event, not a time"]),
        ("@every 5m", ['@every is not cron: give an interval instead, as {"every": "5m"}']),
        (
            "@dialy",
            [
                "@dialy is not a macro: @hourly, @daily, @midnight, @weekly, @monthly, @yearly, "
                "@annually are accepted; did you mean @daily?"
            ],
        ),
        (
            "TZ=UTC 0 0 * * *",
            ["a zone does not belong into the expression: give it as `timezone`"],
        ),
        ("0 0 * * m\u00f3n", ["has the character '\\xf3', which is not plain ASCII"]),
        ("\uff10 0 * * *", ["has the character '\\uff10', which is not plain ASCII"]),
        ("0," * 128 + "0 * * * *", ["is 265 characters long; at most 256 are accepted"]),
    ],
)
def test_says_which_field_is_wrong_and_what_is_accepted(
    expression: str, reasons: list[str]
) -> None:
    with pytest.raises(CronSyntaxError) as caught:
        read_cron(expression)
    assert list(caught.value.reasons) == reasons


@pytest.mark.parametrize("expression", ["", " ", "@", "* * * * * * *", "a b c d e", "\0 * * * *"])
def test_refuses_garbage(expression: str) -> None:
    with pytest.raises(CronSyntaxError):
        read_cron(expression)


@pytest.mark.parametrize(
    "expression", ["0 0 30 2 *", "0 0 31 2,4,6,9,11 *", "0 0 */20 * MON#2", "0 0 */20 2 MON#2"]
)
def test_dates_that_never_come_are_found_out(expression: str) -> None:
    with pytest.raises(NeverFiresError):
        read_cron(expression)


def test_a_time_that_only_exists_while_clocks_skip_it_never_fires_within_bounded_work() -> None:
    # In Berlin the clocks skip 02:30 on the last Sunday of March, every year.
    times = cron_times("0 30 2 * MAR SUNL", "Europe/Berlin")
    started = time.process_time()
    assert times.next_after(parse_instant("2026-01-01T00:00:00Z")) is None
    assert time.process_time() - started < 1


class TestClockChangeForward:
    """Berlin, 2026-03-29: 02:00 to 03:00 does not exist."""

    zone, before = "Europe/Berlin", "2026-03-28T12:00:00Z"

    def test_a_skipped_time_of_day_fires_at_the_change(self) -> None:
        assert fires("30 2 * * *", self.zone, self.before, 2) == [
            "2026-03-29T03:00:00+02:00",
            "2026-03-30T02:30:00+02:00",
        ]

    def test_several_skipped_times_of_day_fire_once(self) -> None:
        assert fires("0,15,45 2,3 * * *", self.zone, self.before, 3) == [
            "2026-03-29T03:00:00+02:00",
            "2026-03-29T03:15:00+02:00",
            "2026-03-29T03:45:00+02:00",
        ]

    def test_steps_of_minutes_or_hours_go_with_the_clock(self) -> None:
        assert fires("*/30 * * * *", self.zone, "2026-03-29T00:00:00Z", 3) == [
            "2026-03-29T01:30:00+01:00",
            "2026-03-29T03:00:00+02:00",
            "2026-03-29T03:30:00+02:00",
        ]
        assert fires("15 */2 * * *", self.zone, self.before, 7)[-2:] == [
            "2026-03-29T00:15:00+01:00",
            "2026-03-29T04:15:00+02:00",
        ]

    def test_with_seconds_a_skipped_time_does_not_fire(self) -> None:
        assert fires("0 30 2 * * *", self.zone, self.before, 1) == ["2026-03-30T02:30:00+02:00"]


class TestClockChangeBack:
    """Berlin, 2026-10-25: 02:00 to 03:00 happens twice."""

    zone, before = "Europe/Berlin", "2026-10-24T12:00:00Z"

    def test_a_repeated_time_of_day_fires_the_first_time_only(self) -> None:
        assert fires("30 2 * * *", self.zone, self.before, 2) == [
            "2026-10-25T02:30:00+02:00",
            "2026-10-26T02:30:00+01:00",
        ]

    def test_it_is_not_late_when_asked_within_the_repetition(self) -> None:
        # cronsim answers 02:30+02:00 here, which lies before the question.
        assert fires("30 2 * * *", self.zone, "2026-10-25T01:10:00Z", 1) == [
            "2026-10-26T02:30:00+01:00"
        ]

    def test_steps_of_minutes_or_hours_go_with_the_clock(self) -> None:
        assert fires("*/30 * * * *", self.zone, "2026-10-25T00:00:00Z", 4) == [
            "2026-10-25T02:30:00+02:00",
            "2026-10-25T02:00:00+01:00",
            "2026-10-25T02:30:00+01:00",
            "2026-10-25T03:00:00+01:00",
        ]

    def test_with_seconds_a_repeated_time_fires_twice(self) -> None:
        assert fires("0 30 2 * * *", self.zone, self.before, 3) == [
            "2026-10-25T02:30:00+02:00",
            "2026-10-25T02:30:00+01:00",
            "2026-10-26T02:30:00+01:00",
        ]


class TestOddZones:
    def test_lord_howe_changes_by_half_an_hour(self) -> None:
        zone = "Australia/Lord_Howe"
        assert fires("15 2 * * *", zone, "2026-10-03T12:00:00Z", 2) == [
            "2026-10-04T02:30:00+11:00",
            "2026-10-05T02:15:00+11:00",
        ]
        assert fires("45 1 * * *", zone, "2026-04-04T12:00:00Z", 2) == [
            "2026-04-05T01:45:00+11:00",
            "2026-04-06T01:45:00+10:30",
        ]
        # cronsim begins at 08:30 that day.
        assert fires("* 8 * * *", zone, "2026-04-04T12:00:00Z", 1) == ["2026-04-05T08:00:00+10:30"]

    def test_samoa_skipped_a_day(self) -> None:
        assert fires("0 12 * * *", "Pacific/Apia", "2011-12-29T12:00:00Z", 3) == [
            "2011-12-29T12:00:00-10:00",
            "2011-12-31T00:00:00+14:00",
            "2011-12-31T12:00:00+14:00",
        ]
        assert fires("0 */12 * * *", "Pacific/Apia", "2011-12-29T12:00:00Z", 2) == [
            "2011-12-29T12:00:00-10:00",
            "2011-12-31T00:00:00+14:00",
        ]

    def test_midnight_can_be_skipped(self) -> None:
        # Cairo, 2026-04-24: 00:00 to 01:00 does not exist.
        assert fires("0 0 * * *", "Africa/Cairo", "2026-04-23T12:00:00Z", 2) == [
            "2026-04-24T01:00:00+03:00",
            "2026-04-25T00:00:00+03:00",
        ]
        assert fires("* 0 24 4 *", "Africa/Cairo", "2026-04-23T12:00:00Z", 1) == [
            "2027-04-24T00:00:00+02:00"
        ]

    def test_kathmandu_moved_by_a_quarter_of_an_hour(self) -> None:
        assert fires("*/5 * * * *", "Asia/Kathmandu", "1985-12-31T18:25:00Z", 2) == [
            "1986-01-01T00:15:00+05:45",
            "1986-01-01T00:20:00+05:45",
        ]


class TestTheEndsOfTime:
    def test_nothing_fires_before_1970(self) -> None:
        for instant in (-1, -1_000, -(10**15), -(10**40)):
            found = cron_times("*/5 * * * *", "America/New_York").next_after(instant)
            assert found == 0
        assert fires("0 19 31 12 *", "America/New_York", "1970-01-01T00:00:00Z", 1) == [
            "1970-12-31T19:00:00-05:00"
        ]

    @pytest.mark.parametrize("zone", ["UTC", "Pacific/Kiritimati", "America/New_York"])
    def test_nothing_fires_after_9999(self, zone: str) -> None:
        times = cron_times("* * * * *", zone)
        last = times.next_after(MAX_INSTANT - 60_000)
        assert last == parse_instant("9999-12-31T23:59:00Z")
        for instant in (last, MAX_INSTANT, MAX_INSTANT + 1, 10**40):
            assert times.next_after(instant) is None
        assert cron_times("0 0 1 1 *", zone).next_after(MAX_INSTANT - 86_400_000) is None

    def test_the_rules_of_a_zone_go_on_into_the_far_future(self) -> None:
        assert fires("0 12 1 1,7 *", "Europe/Berlin", "9000-02-01T00:00:00Z", 2) == [
            "9000-07-01T12:00:00+02:00",
            "9001-01-01T12:00:00+01:00",
        ]


def test_what_is_remembered_never_shows() -> None:
    """Jobs that share an expression ask in any order and get what a fresh object says."""
    times = CronTimes(read_cron("*/10 2 * * *"), zone_offsets("Europe/Berlin"))
    start = parse_instant("2026-03-27T00:00:00Z")
    asked = [start + minutes * 60_000 for minutes in range(0, 4_000, 7)]
    for instant in [*asked, *reversed(asked), *asked[::3], *asked[::-5]]:
        fresh = CronTimes(read_cron("*/10 2 * * *"), zone_offsets("Europe/Berlin"))
        expected = fresh.next_after(instant)
        assert times.next_after(instant) == expected
        assert expected is not None
        assert times.next_after(expected) == fresh.next_after(expected)


def test_a_year_of_minutes_has_each_minute_once() -> None:
    times = cron_times("*/15 * * * *", "Europe/Berlin")
    instant = parse_instant("2026-01-01T00:00:00Z")
    found = [instant]
    while found[-1] < parse_instant("2026-12-31T00:00:00Z"):
        following = times.next_after(found[-1])
        assert following is not None
        found.append(following)
    assert {later - earlier for earlier, later in pairwise(found)} == {15 * 60_000}
