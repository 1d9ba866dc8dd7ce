"""Schedules as JSON: every mistake is named, and what is written is read back."""

from typing import Any

import pytest

from tocsin.domain.errors import InvalidInput
from tocsin.domain.instant import parse_instant
from tocsin.domain.schedule import At, Cron, Every, Schedule, parse_schedule, schedule_from_json

NOW = parse_instant("2026-06-01T12:00:00Z")


def problems(data: Any, **options: Any) -> list[tuple[str, str, str]]:
    with pytest.raises(InvalidInput) as caught:
        parse_schedule(data, now=NOW, **options)
    return [(p.field, p.code, p.message) for p in caught.value.problems]


def only_problem(data: Any, **options: Any) -> tuple[str, str, str]:
    (problem,) = problems(data, **options)
    return problem


class TestKinds:
    def test_cron(self) -> None:
        assert parse_schedule({"cron": " 0  2 * * * "}, now=NOW) == Schedule(
            kind=Cron(expression="0 2 * * *")
        )

    def test_every_counts_from_its_creation(self) -> None:
        schedule = parse_schedule({"every": "15m"}, now=NOW)
        assert schedule == Schedule(kind=Every(interval=900_000, anchor=NOW))

    def test_every_with_an_anchor(self) -> None:
        schedule = parse_schedule({"every": 90, "anchor": "2026-01-01T00:00:00Z"}, now=NOW)
        anchor = parse_instant("2026-01-01T00:00:00Z")
        assert schedule.kind == Every(interval=90_000, anchor=anchor)

    def test_at(self) -> None:
        schedule = parse_schedule({"at": "2026-12-24T18:00:00Z"}, now=NOW)
        assert schedule.kind == At(instant=parse_instant("2026-12-24T18:00:00Z"))

    def test_everything_at_once(self) -> None:
        schedule = parse_schedule(
            {
                "cron": "@daily",
                "timezone": "Europe/Berlin",
                "starts_at": "2027-01-01T00:00:00+01:00",
                "ends_at": "2027-12-31T00:00:00Z",
                "jitter": "5m",
            },
            now=NOW,
        )
        assert schedule == Schedule(
            kind=Cron(expression="@daily"),
            timezone="Europe/Berlin",
            starts_at=parse_instant("2026-12-31T23:00:00Z"),
            ends_at=parse_instant("2027-12-31T00:00:00Z"),
            jitter=300_000,
        )

    def test_null_is_the_default(self) -> None:
        data = {
            "cron": None,
            "every": "1h",
            "at": None,
            "anchor": None,
            "timezone": None,
            "starts_at": None,
            "ends_at": None,
            "jitter": None,
        }
        assert parse_schedule(data, now=NOW) == parse_schedule({"every": "1h"}, now=NOW)

    def test_what_an_answer_adds_may_be_sent_back(self) -> None:
        data = {"every": "1h", "description": "Every hour"}
        assert parse_schedule(data, now=NOW) == parse_schedule({"every": "1h"}, now=NOW)


class TestRefusals:
    def test_exactly_one_kind(self) -> None:
        assert only_problem({}) == ("", "one_of", "needs exactly one of cron, every and at")
        assert only_problem({"cron": "* * * * *", "every": "1h"}) == (
            "",
            "one_of",
            "needs exactly one of cron, every and at; found cron and every",
        )

    def test_the_whole_schedule_is_named_below_a_prefix(self) -> None:
        with pytest.raises(InvalidInput) as caught:
            parse_schedule({}, now=NOW)
        assert [p.field for p in caught.value.under("schedule").problems] == ["schedule"]

    def test_all_problems_are_told_at_once(self) -> None:
        found = problems(
            {
                "cron": "75 25 * * *",
                "timezone": "Nowhere",
                "starts_at": "x",
                "ends_at": 5,
                "jitter": -1,
            }
        )
        assert sorted(field for field, _, _ in found) == [
            "cron",
            "cron",
            "ends_at",
            "jitter",
            "starts_at",
            "timezone",
        ]

    @pytest.mark.parametrize(
        ("name", "hint"),
        [
            ("crn", "did you mean cron?"),
            ("timezon", "did you mean timezone?"),
            ("Every", "did you mean every?"),
            ("start_at", "did you mean starts_at?"),
            ("colour", "known are cron, every, at, timezone, anchor, starts_at, ends_at, jitter"),
        ],
    )
    def test_an_unknown_field(self, name: str, hint: str) -> None:
        assert only_problem({"at": "2027-01-01T00:00:00Z", name: 1}) == (
            name,
            "unknown_field",
            f"is not a field of a schedule; {hint}",
        )

    def test_an_unknown_field_is_not_excused_by_being_null(self) -> None:
        assert only_problem({"every": "1h", "start": None})[:2] == ("start", "unknown_field")

    def test_a_flood_of_unknown_fields_is_cut_short(self) -> None:
        data: dict[str, object] = {"x" * 10_000 + str(i): 1 for i in range(1_000)}
        data["every"] = "1h"
        found = problems(data)
        assert len(found) == 20
        assert all(len(field) <= 64 for field, _, _ in found)

    @pytest.mark.parametrize(
        ("name", "near"),
        [
            ("Europe/Berln", "Europe/Berlin"),
            ("europe/berlin", "Europe/Berlin"),
            ("Berlin", "Europe/Berlin"),
            ("new york", "America/New_York"),
            ("utc", "UTC"),
        ],
    )
    def test_an_unknown_zone_names_the_nearest(self, name: str, near: str) -> None:
        field, code, message = only_problem({"every": "1h", "timezone": name})
        assert (field, code) == ("timezone", "unknown_timezone")
        assert f"did you mean {near}" in message

    @pytest.mark.parametrize(
        "name",
        [
            "",
            "Europe",
            "localtime",
            "Factory",
            "../etc/passwd",
            "/etc/localtime",
            "x" * 10_000,
            "right/Europe/Berlin",
            "Europe/Berlin\0",
            "\ud800",
            "UTC+2",
        ],
    )
    def test_what_is_no_zone(self, name: str) -> None:
        field, code, _ = only_problem({"every": "1h", "timezone": name})
        assert (field, code) == ("timezone", "unknown_timezone")

    @pytest.mark.parametrize(
        ("data", "field", "code", "message"),
        [
            ({"cron": 5}, "cron", "invalid", "is not text"),
            ({"cron": ["* * * * *"]}, "cron", "invalid", "is not text"),
            ({"cron": "0 0 30 2 *"}, "cron", "never_fires", "no date matches"),
            ({"cron": "@reboot"}, "cron", "invalid", "names an event"),
            ({"every": "500ms"}, "every", "out_of_range", "500ms is not in 1s to 3653d"),
            ({"every": 0}, "every", "out_of_range", "0s is not in 1s to 3653d"),
            ({"every": "3654d"}, "every", "out_of_range", "3654d is not in 1s to 3653d"),
            ({"every": True}, "every", "invalid", "number of seconds"),
            ({"every": {}}, "every", "invalid", "number of seconds"),
            ({"every": "15 minutes"}, "every", "invalid", "number of seconds"),
            ({"every": "1h", "anchor": "soon"}, "anchor", "invalid", "RFC 3339"),
            ({"every": "1h", "jitter": "25h"}, "jitter", "out_of_range", "1d1h is not in 0s to 1d"),
            ({"every": "1h", "timezone": 5}, "timezone", "invalid", "is not text"),
            ({"at": "2026-12-24T18:00:00"}, "at", "invalid", "no offset"),
            ({"at": 1798135200}, "at", "invalid", "is not text"),
            ({"at": "2026-06-01T11:58:59Z"}, "at", "in_the_past", "has passed"),
            (
                {"cron": "* * * * *", "anchor": "2026-06-01T11:58:59Z"},
                "anchor",
                "conflict",
                "only goes with every",
            ),
            (
                {
                    "every": "1h",
                    "starts_at": "2027-01-01T00:00:00Z",
                    "ends_at": "2026-12-31T00:00:00Z",
                },
                "ends_at",
                "invalid",
                "lies before starts_at, 2027-01-01T00:00:00Z",
            ),
            (
                {"at": "2027-01-01T00:00:00Z", "ends_at": "2026-12-31T00:00:00Z"},
                "at",
                "never_fires",
                "between starts_at and ends_at",
            ),
            (
                {
                    "cron": "0 0 5 * *",
                    "starts_at": "2027-01-01T00:00:00Z",
                    "ends_at": "2027-01-04T23:59:59Z",
                },
                "cron",
                "never_fires",
                "between starts_at and ends_at",
            ),
            (
                {"cron": "0 30 2 * 3 SUNL", "timezone": "Europe/Berlin"},
                "cron",
                "never_fires",
                "within 50 years",
            ),
        ],
    )
    def test_a_single_mistake(
        self, data: dict[str, object], field: str, code: str, message: str
    ) -> None:
        found_field, found_code, found_message = only_problem(data)
        assert (found_field, found_code) == (field, code)
        assert message in found_message

    @pytest.mark.parametrize("data", [None, "every 5 minutes", 5, ["every"]])
    def test_not_an_object(self, data: Any) -> None:
        field, _, message = only_problem(data)
        assert (field, message) == ("", 'is not an object such as {"every": "15m"}')

    def test_an_end_that_has_passed_is_no_mistake(self) -> None:
        parse_schedule({"cron": "@daily", "ends_at": "2026-01-01T00:00:00Z"}, now=NOW)

    def test_a_start_and_an_end_at_the_same_instant_are_fine(self) -> None:
        moment = "2027-01-01T00:00:00Z"
        schedule = parse_schedule(
            {"cron": "@daily", "starts_at": moment, "ends_at": moment}, now=NOW
        )
        assert schedule.preview(NOW, 5) == [parse_instant(moment)]


class TestAtGrace:
    def test_a_little_late_is_accepted(self) -> None:
        assert parse_schedule({"at": "2026-06-01T11:59:00Z"}, now=NOW)

    def test_the_grace_can_be_set(self) -> None:
        data = {"at": "2026-06-01T11:00:00Z"}
        assert parse_schedule(data, now=NOW, at_grace=3_600_000)
        assert only_problem(data, at_grace=3_599_999)[1] == "in_the_past"


class TestEdits:
    def test_the_anchor_is_kept(self) -> None:
        before = parse_schedule({"every": "15m"}, now=NOW - 1_000_000)
        after = parse_schedule({"every": "20m"}, now=NOW, previous=before)
        assert after.kind == Every(interval=1_200_000, anchor=NOW - 1_000_000)

    def test_the_anchor_can_be_changed(self) -> None:
        before = parse_schedule({"every": "15m"}, now=NOW - 1_000_000)
        data = {"every": "15m", "anchor": "2026-06-01T00:00:00Z"}
        after = parse_schedule(data, now=NOW, previous=before)
        assert after.kind == Every(interval=900_000, anchor=parse_instant("2026-06-01T00:00:00Z"))

    def test_another_kind_has_no_anchor_to_keep(self) -> None:
        before = parse_schedule({"cron": "@daily"}, now=NOW - 1_000_000)
        after = parse_schedule({"every": "15m"}, now=NOW, previous=before)
        assert after.kind == Every(interval=900_000, anchor=NOW)

    def test_an_instant_that_has_passed_may_stay_but_not_be_chosen(self) -> None:
        passed = {"at": "2026-05-01T00:00:00Z"}
        before = Schedule(kind=At(instant=parse_instant("2026-05-01T00:00:00Z")))
        assert parse_schedule(passed, now=NOW, previous=before) == before
        other = {"at": "2026-05-01T00:00:01Z"}
        assert only_problem(other, previous=before)[1] == "in_the_past"


class TestJson:
    def test_every_default_is_written_out(self) -> None:
        assert parse_schedule({"cron": "0 2 * * *"}, now=NOW).to_json() == {
            "cron": "0 2 * * *",
            "timezone": "UTC",
            "starts_at": None,
            "ends_at": None,
            "jitter": "0s",
        }
        assert parse_schedule({"every": 5400, "jitter": 1.5}, now=NOW).to_json() == {
            "every": "1h30m",
            "anchor": "2026-06-01T12:00:00Z",
            "timezone": "UTC",
            "starts_at": None,
            "ends_at": None,
            "jitter": "1s500ms",
        }
        assert parse_schedule({"at": "2026-12-24T19:00:00+01:00"}, now=NOW).to_json() == {
            "at": "2026-12-24T18:00:00Z",
            "timezone": "UTC",
            "starts_at": None,
            "ends_at": None,
            "jitter": "0s",
        }

    def test_an_answer_can_be_sent_back(self) -> None:
        schedule = parse_schedule({"every": "1h", "starts_at": "2027-01-01T00:00:00Z"}, now=NOW)
        assert parse_schedule(schedule.to_json(), now=NOW + 1_000) == schedule

    def test_the_store_reads_what_no_longer_passes_the_checks(self) -> None:
        schedule = Schedule(kind=At(instant=0), starts_at=5, ends_at=1)
        assert schedule_from_json(schedule.to_json()) == schedule

    def test_a_stored_zone_that_this_machine_does_not_know(self) -> None:
        schedule = Schedule(kind=Cron(expression="@daily"), timezone="Moon/Tranquility")
        with pytest.raises(ValueError, match="bring the tzdata package up to date"):
            schedule.next_after(NOW)
