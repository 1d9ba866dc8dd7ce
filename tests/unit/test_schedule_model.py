"""What a schedule answers: the next fire, its due instant, its grace, and words for people."""

import subprocess
import sys
from dataclasses import replace

import pytest

from tocsin.domain.instant import MAX_INSTANT, Millis, parse_instant
from tocsin.domain.schedule import At, Cron, Every, LocalFire, Schedule, parse_schedule

NOW = parse_instant("2026-06-01T12:00:00Z")
MINUTE = 60_000


def cron(expression: str, timezone: str = "UTC") -> Schedule:
    return Schedule(kind=Cron(expression=expression), timezone=timezone)


def every(interval: Millis, anchor: Millis = NOW) -> Schedule:
    return Schedule(kind=Every(interval=interval, anchor=anchor))


class TestEvery:
    def test_counts_from_the_anchor_without_drift(self) -> None:
        schedule = every(15_000)
        assert schedule.next_after(NOW) == NOW + 15_000
        assert schedule.next_after(NOW + 14_999) == NOW + 15_000
        assert schedule.next_after(NOW + 15_001) == NOW + 30_000
        assert schedule.next_after(NOW + 1_000_000 * 15_000) == NOW + 1_000_001 * 15_000

    def test_begins_at_an_anchor_in_the_future(self) -> None:
        assert every(15_000).next_after(NOW - 100_000) == NOW
        assert every(15_000).next_after(-(10**40)) == NOW

    def test_ends_with_the_year_9999(self) -> None:
        assert every(MINUTE).next_after(MAX_INSTANT - 1) is None
        assert every(MINUTE).next_after(10**40) is None

    def test_an_interval_is_not_a_time_of_day(self) -> None:
        """A day of 24 hours moves on the local clock when the clocks change."""
        schedule = replace(
            every(86_400_000, parse_instant("2026-03-28T11:00:00Z")), timezone="Europe/Berlin"
        )
        assert [fire.local for fire in schedule.preview_local(0, 2)] == [
            "2026-03-28T12:00:00+01:00",
            "2026-03-29T13:00:00+02:00",
        ]


class TestAt:
    def test_fires_once(self) -> None:
        schedule = Schedule(kind=At(instant=NOW))
        assert schedule.next_after(NOW - 1) == NOW
        assert schedule.next_after(NOW) is None
        assert schedule.preview(0, 5) == [NOW]


class TestBounds:
    bounded = replace(every(MINUTE), starts_at=NOW + 5 * MINUTE, ends_at=NOW + 7 * MINUTE)

    def test_both_are_included(self) -> None:
        assert self.bounded.preview(0, 10) == [
            NOW + 5 * MINUTE,
            NOW + 6 * MINUTE,
            NOW + 7 * MINUTE,
        ]

    def test_a_start_between_two_fire_times_waits_for_the_next(self) -> None:
        schedule = replace(every(MINUTE), starts_at=NOW + 5 * MINUTE + 1)
        assert schedule.next_after(NOW) == NOW + 6 * MINUTE

    def test_an_end_between_two_fire_times(self) -> None:
        schedule = replace(every(MINUTE), ends_at=NOW + 7 * MINUTE - 1)
        assert schedule.next_after(NOW + 6 * MINUTE) is None

    def test_they_hold_for_cron_and_at(self) -> None:
        daily = replace(
            cron("0 2 * * *"),
            starts_at=parse_instant("2026-06-05T02:00:00Z"),
            ends_at=parse_instant("2026-06-06T02:00:00Z"),
        )
        assert daily.preview(NOW, 5) == [
            parse_instant("2026-06-05T02:00:00Z"),
            parse_instant("2026-06-06T02:00:00Z"),
        ]
        assert Schedule(kind=At(instant=NOW), starts_at=NOW + 1).next_after(0) is None
        assert Schedule(kind=At(instant=NOW), ends_at=NOW - 1).next_after(0) is None

    def test_they_may_have_milliseconds(self) -> None:
        schedule = replace(cron("* * * * * *"), starts_at=NOW + 1, ends_at=NOW + 1_999)
        assert schedule.preview(NOW - 5_000, 5) == [NOW + 1_000]


class TestJitter:
    def test_without_jitter_a_fire_is_due_at_its_fire_time(self) -> None:
        assert cron("not even read").due(NOW, "job") == NOW

    def test_it_is_the_same_after_a_restart(self) -> None:
        # Known values: to change them moves fires that are already planned.
        schedule = replace(every(MINUTE), jitter=30_000)
        assert [schedule.due(NOW + i * MINUTE, "job") - NOW - i * MINUTE for i in range(4)] == [
            18_539,
            4_129,
            27_477,
            16_859,
        ]

    def test_it_is_the_same_in_another_process(self) -> None:
        program = (
            "from tocsin.domain.schedule import *\n"
            f"s = Schedule(kind=Every(interval=60000, anchor={NOW}), jitter=30000)\n"
            f"print(s.due({NOW}, 'job'))"
        )
        found = subprocess.run(
            [sys.executable, "-c", program],
            capture_output=True,
            text=True,
            check=True,
            env={"PYTHONHASHSEED": "7"},
        )
        assert int(found.stdout) == replace(every(MINUTE), jitter=30_000).due(NOW, "job")

    def test_it_stays_below_the_gap_to_the_next_fire(self) -> None:
        schedule = replace(every(1_000), jitter=86_400_000)
        delays = [schedule.due(NOW + i * 1_000, "job") - NOW - i * 1_000 for i in range(500)]
        assert 0 <= min(delays) < 20
        assert 980 < max(delays) < 1_000

    def test_it_spreads_the_jobs(self) -> None:
        schedule = replace(cron("@hourly"), jitter=10_000)
        delays = [schedule.due(NOW, f"job-{i}") - NOW for i in range(2_000)]
        tenths = [sum(1 for d in delays if d // 1_000 == i) for i in range(10)]
        assert sum(tenths) == 2_000
        assert all(140 < count < 260 for count in tenths)

    def test_where_nothing_follows_it_is_bounded_by_itself(self) -> None:
        schedule = Schedule(kind=At(instant=NOW), jitter=5_000)
        assert NOW <= schedule.due(NOW, "job") < NOW + 5_000


class TestIntervalAndGrace:
    def test_the_interval_is_the_gap_to_the_next_fire(self) -> None:
        assert every(MINUTE).interval_at(NOW) == MINUTE
        assert cron("0 2 * * *").interval_at(parse_instant("2026-06-01T02:00:00Z")) == 86_400_000
        assert Schedule(kind=At(instant=NOW)).interval_at(NOW) is None

    def test_an_end_does_not_change_it(self) -> None:
        assert replace(every(MINUTE), ends_at=NOW).interval_at(NOW) == MINUTE

    def test_it_sees_the_clocks_change(self) -> None:
        schedule = cron("0 0 * * *", "Europe/Berlin")
        assert schedule.interval_at(parse_instant("2026-03-28T23:00:00Z")) == 23 * 3_600_000

    @pytest.mark.parametrize(
        ("schedule", "grace"),
        [
            (every(1_000), 5_000),
            (every(15_000), 15_000),
            (every(3_600_000), 60_000),
            (cron("*/30 * * * * *"), 30_000),
            (cron("@daily"), 60_000),
            (Schedule(kind=At(instant=NOW)), 60_000),
        ],
    )
    def test_the_grace_is_one_interval_within_bounds(
        self, schedule: Schedule, grace: Millis
    ) -> None:
        assert schedule.default_grace(NOW) == grace


class TestPreview:
    def test_has_as_many_as_asked_for(self) -> None:
        assert every(MINUTE).preview(NOW, 3) == [NOW + MINUTE, NOW + 2 * MINUTE, NOW + 3 * MINUTE]
        assert every(MINUTE).preview(NOW, 0) == []

    def test_shows_local_times_and_where_the_clocks_change(self) -> None:
        schedule = cron("30 2 * * *", "Europe/Berlin")
        assert schedule.preview_local(parse_instant("2026-03-28T00:00:00Z"), 3) == [
            LocalFire(
                fire_time=parse_instant("2026-03-28T01:30:00Z"),
                local="2026-03-28T02:30:00+01:00",
                offset_changed=False,
            ),
            LocalFire(
                fire_time=parse_instant("2026-03-29T01:00:00Z"),
                local="2026-03-29T03:00:00+02:00",
                offset_changed=True,
            ),
            LocalFire(
                fire_time=parse_instant("2026-03-30T00:30:00Z"),
                local="2026-03-30T02:30:00+02:00",
                offset_changed=False,
            ),
        ]

    def test_keeps_milliseconds(self) -> None:
        schedule = Schedule(kind=At(instant=NOW + 7), timezone="Asia/Kathmandu")
        (fire,) = schedule.preview_local(NOW, 5)
        assert fire.local == "2026-06-01T17:45:00.007+05:45"

    def test_does_not_run_over_the_year_9999(self) -> None:
        schedule = Schedule(kind=At(instant=MAX_INSTANT), timezone="Pacific/Kiritimati")
        (fire,) = schedule.preview_local(-5, 5)
        assert fire.local == "9999-12-31T23:59:59.999Z"
        assert "9999" in schedule.describe()


class TestDescribe:
    @pytest.mark.parametrize(
        ("expression", "words"),
        [
            ("* * * * *", "Every minute"),
            ("*/15 * * * *", "Every 15 minutes"),
            ("*/7 * * * *", "Every 7th minute of every hour"),
            ("1/2 * * * *", "Every 2nd minute from 1 to 59 of every hour"),
            (
                "1-5,10,20-30/2 * * * *",
                "At minutes 1 to 5, 10 and every 2nd from 20 to 30 of every hour",
            ),
            ("30 * * * *", "At minute 30 of every hour"),
            ("0 * * * *", "Every hour"),
            ("0 */2 * * *", "Every 2 hours"),
            ("*/5 */2 * * *", "Every 5 minutes of every 2nd hour"),
            (
                "*/15 9-17 * * MON-FRI",
                "Every 15 minutes from 09:00 to 17:59 on Monday through Friday",
            ),
            ("0 9-17 * * 1-5", "Every hour from 09:00 to 17:00 on Monday through Friday"),
            ("30 9-17 * * *", "At minute 30 of every hour from 9 to 17"),
            ("* 2 * * *", "Every minute from 02:00 to 02:59"),
            ("0 8,10,12,14,16,18 * * *", "At minute 0 of hours 8, 10, 12, 14, 16 and 18"),
            ("0 2 * * *", "At 02:00 every day"),
            ("15,45 2,14 * * *", "At 02:15, 02:45, 14:15 and 14:45 every day"),
            ("* * * * * *", "Every second"),
            ("*/10 * * * * *", "Every 10 seconds"),
            ("5 * * * * *", "At second 5 of every minute"),
            ("5 4 * * * *", "At second 5 of minute 4 of every hour"),
            ("15 10 0 * * *", "At 00:10:15 every day"),
            (
                "31 10-15 1 * * MON-FRI",
                "At second 31 of every minute from 01:10 to 01:15 on Monday through Friday",
            ),
            ("*/10 * 9-17 * * *", "Every 10 seconds from 09:00 to 17:59"),
            ("*/20 */5 * * * *", "Every 20 seconds of every 5th minute"),
            ("*/30 0 * * * *", "Every 30 seconds of minute 0 of every hour"),
            ("0 0 1 * *", "At 00:00 on the 1st of the month"),
            ("0 0 1 1 *", "At 00:00 on the 1st of January"),
            ("0 0 22 * *", "At 00:00 on the 22nd of the month"),
            ("0 0 L,15 * *", "At 00:00 on the 15th and the last day of the month"),
            ("0 0 LW * *", "At 00:00 on the last weekday of the month"),
            ("0 0 */2 * *", "At 00:00 on every 2nd day from the 1st to the 31st of the month"),
            ("0 0 1-14 6-8 *", "At 00:00 on the 1st through the 14th of June through August"),
            ("0 0 1 */3 *", "At 00:00 on the 1st of January, April, July and October"),
            ("0 0 * 1,7 *", "At 00:00 every day in January and July"),
            ("* * * 1 *", "Every minute in January"),
            ("0 12 * * 0,6", "At 12:00 on Saturday and Sunday"),
            ("0 0 * * 5L", "At 00:00 on the last Friday of the month"),
            ("0 9 * * MON#1", "At 09:00 on the first Monday of the month"),
            ("0 0 13 * 5", "At 00:00 on the 13th of the month or on Friday"),
            (
                "0 0 */12 * 5",
                "At 00:00 on the 1st, the 13th and the 25th of the month when that is Friday",
            ),
            ("0 0 1-31 * MON", "At 00:00 every day"),
            ("@hourly", "Every hour"),
            ("@daily", "At 00:00 every day"),
            ("@weekly", "At 00:00 on Sunday"),
            ("@monthly", "At 00:00 on the 1st of the month"),
            ("@yearly", "At 00:00 on the 1st of January"),
        ],
    )
    def test_cron(self, expression: str, words: str) -> None:
        assert cron(expression).describe() == f"{words}, UTC"

    @pytest.mark.parametrize(
        ("data", "words"),
        [
            ({"every": "15m"}, "Every 15 minutes"),
            ({"every": "1h"}, "Every hour"),
            ({"every": "90m"}, "Every 1 hour 30 minutes"),
            ({"every": "1.5s"}, "Every 1 second 500 milliseconds"),
            ({"at": "2026-12-24T18:00:00Z"}, "Once, on 24 December 2026 at 18:00 (UTC)"),
            (
                {"at": "2026-12-24T18:00:05.5Z", "timezone": "Europe/Berlin", "jitter": "5m"},
                "Once, on 24 December 2026 at 19:00:05.500 (Europe/Berlin), up to 5 minutes later",
            ),
            (
                {"cron": "0 2 * * *", "timezone": "Europe/Berlin", "jitter": 30},
                "At 02:00 every day, Europe/Berlin, up to 30 seconds later",
            ),
            (
                {
                    "every": "1h",
                    "timezone": "Europe/Berlin",
                    "starts_at": "2027-01-01T00:00:00Z",
                    "ends_at": "2027-12-31T22:59:59Z",
                },
                "Every hour, from 1 January 2027 at 01:00 until 31 December 2027 at 23:59:59 "
                "(Europe/Berlin)",
            ),
            (
                {"cron": "@daily", "ends_at": "2027-12-31T00:00:00Z"},
                "At 00:00 every day, UTC, until 31 December 2027 at 00:00",
            ),
        ],
    )
    def test_all_kinds(self, data: dict[str, object], words: str) -> None:
        assert parse_schedule(data, now=NOW).describe() == words
