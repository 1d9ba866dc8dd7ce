"""What pages show beside the lists: at a glance, day by day, on one axis; and calls tried out."""

import asyncio
from dataclasses import replace
from typing import Any

import pytest

from tests.api.access import guarded
from tests.api.harness import EXECUTIONS, JOBS, Api, serving
from tests.support import build
from tests.support.build import DAY, HOUR, MINUTE, NOW, SECOND
from tests.support.memory_store import MemoryStore
from tocsin.domain.execution import Attempt, ErrorKind
from tocsin.domain.instant import format_instant
from tocsin.services import insights
from tocsin.store.port import Claim

RECENT = f"{JOBS}:recent"
TIMELINE = "/api/v1/timeline"


async def fire(api: Api, job: dict[str, Any], results: str) -> None:
    """Let a job fire once a minute: `s` succeeds, `f` fails."""
    for result in results:
        api.clock.now += MINUTE
        for claim in await api.claim():
            settle = build.succeed if result == "s" else build.fail
            mine = claim.job.id == job["id"]
            await api.record((settle if mine else build.succeed)(claim, api.clock.now))


class TestRecent:
    async def test_newest_first_with_what_follows(self, api: Api) -> None:
        job = await api.create(schedule={"every": "1m"}, retry={"max_attempts": 1})
        await fire(api, job, "sssf")
        (one,) = (await api.get(RECENT, job=job["id"]))["items"]
        assert [execution["state"] for execution in one["executions"]] == [
            "failed",
            "succeeded",
            "succeeded",
            "succeeded",
        ]
        assert one["success_ratio"] == 0.75
        assert one["duration_ms"]["p95"] is not None
        assert one["executions"][0]["fire_time"] == format_instant(NOW + 4 * MINUTE)

    async def test_so_many_of_each_in_the_order_asked_for(self, api: Api) -> None:
        jobs = [await api.create(schedule={"every": "1m"}) for _ in range(2)]
        await fire(api, jobs[0], "sss")
        asked = [jobs[1]["id"], jobs[0]["id"], build.job().id]
        items = (await api.get(RECENT, job=asked, count=2))["items"]
        # One that does not exist is left out.
        assert [one["job_id"] for one in items] == asked[:2]
        assert [len(one["executions"]) for one in items] == [2, 2]

    @pytest.mark.parametrize(
        ("params", "field"),
        [({"job": ["x"]}, "job.0"), ({"job": ["0" * 36], "count": 51}, "count")],
    )
    async def test_what_is_refused(self, api: Api, params: dict[str, Any], field: str) -> None:
        found = await api.problems("GET", RECENT, params=params)
        assert [one for one, _ in found] == [field]


class TestCalendar:
    async def test_days_are_those_of_the_zone(self, api: Api) -> None:
        # NOW is midnight in UTC: one o'clock in Berlin, and still the day before in New York.
        job = await api.create(schedule={"every": "1m"}, retry={"max_attempts": 1})
        await fire(api, job, "sf")
        path = f"{JOBS}/{job['id']}/calendar"
        for zone, today in (("Europe/Berlin", "2026-01-01"), ("America/New_York", "2025-12-31")):
            found = await api.get(path, days=2, timezone=zone)
            assert found["timezone"] == zone
            before, last = found["items"]
            assert last == {
                "date": today,
                "succeeded": 1,
                "failed": 1,
                "cancelled": 0,
                "skipped": 0,
                "live": 0,
                "more": False,
                "any_failed": True,
            }
            assert (before["succeeded"], before["any_failed"]) == (0, False)

    async def test_a_day_with_too_many_still_tells_of_an_early_failure(
        self, api: Api, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(insights, "DAY_SAMPLE", 3)
        job = await api.create(schedule={"every": "1m"}, retry={"max_attempts": 1})
        await fire(api, job, "fsss")
        (day,) = (await api.get(f"{JOBS}/{job['id']}/calendar", days=1))["items"]
        assert (day["succeeded"], day["failed"]) == (3, 0)
        assert (day["more"], day["any_failed"]) == (True, True)

    async def test_a_deleted_job_keeps_its_days(self, api: Api) -> None:
        job = await api.create(schedule={"every": "1m"})
        await fire(api, job, "s")
        await api.ask("DELETE", f"{JOBS}/{job['id']}", status=204)
        (day,) = (await api.get(f"{JOBS}/{job['id']}/calendar", days=1))["items"]
        assert day["succeeded"] == 1

    async def test_what_is_refused(self, api: Api) -> None:
        job = await api.create()
        path = f"{JOBS}/{job['id']}/calendar"
        assert await api.problems("GET", path, params={"timezone": "Berlin"}) == [
            ("timezone", "invalid")
        ]
        assert [one for one, _ in await api.problems("GET", path, params={"days": 93})] == ["days"]
        await api.ask("GET", f"{JOBS}/nobody/calendar", status=404)


def window(since: int, until: int, **more: str) -> dict[str, str]:
    return {"since": format_instant(since), "until": format_instant(until), **more}


class TestTimeline:
    async def test_past_and_future_on_one_axis(self, api: Api) -> None:
        job = await api.create(name="often", schedule={"every": "1m"}, retry={"max_attempts": 1})
        await fire(api, job, "sf")
        found = await api.get(TIMELINE, **window(NOW, NOW + 10 * MINUTE, step="5m"))
        assert found["now"] == format_instant(NOW + 2 * MINUTE)
        assert found["past"] == [
            {
                "start": format_instant(NOW),
                "succeeded": 1,
                "failed": 1,
                "cancelled": 0,
                "skipped": 0,
            }
        ]
        # At 3 and 4 minutes in the first step; from 5 to 9 in the second.
        assert found["ahead"] == [
            {"start": format_instant(NOW), "fires": 2},
            {"start": format_instant(NOW + 5 * MINUTE), "fires": 5},
        ]
        # The first of each step by name.
        assert [(one["job_name"], one["fire_time"]) for one in found["fires"]] == [
            ("often", format_instant(NOW + 3 * MINUTE)),
            ("often", format_instant(NOW + 5 * MINUTE)),
        ]
        assert found["complete_until"] == format_instant(NOW + 10 * MINUTE)

    async def test_jobs_take_turns_in_the_order_of_time(self, api: Api) -> None:
        await api.create(name="a", schedule={"every": "2m"})
        await api.create(name="b", schedule={"cron": "3 * * * *"})
        await api.create(name="c", schedule={"at": format_instant(NOW + 5 * MINUTE)})
        paused = await api.create(name="d", schedule={"every": "1m"})
        await api.ask("POST", f"{JOBS}/{paused['id']}/pause")
        found = await api.get(TIMELINE, **window(NOW, NOW + 7 * MINUTE))
        assert [one["job_name"] for one in found["fires"]] == ["a", "b", "a", "c", "a"]

    async def test_it_says_how_far_it_looked(
        self, api: Api, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        await api.create(schedule={"every": "1s"})
        monkeypatch.setattr(insights, "FIRES", 90)
        found = await api.get(TIMELINE, **window(NOW, NOW + HOUR))
        assert sum(one["fires"] for one in found["ahead"]) == 90
        assert found["complete_until"] == format_instant(NOW + 91 * SECOND)

    async def test_jobs_that_it_did_not_look_at_bound_it_too(
        self, api: Api, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        for number in range(1, 5):
            await api.create(schedule={"at": format_instant(NOW + number * MINUTE)})
        monkeypatch.setattr(insights, "TIMERS", 2)
        found = await api.get(TIMELINE, **window(NOW, NOW + HOUR))
        assert found["complete_until"] == format_instant(NOW + 2 * MINUTE)
        assert [one["fire_time"] for one in found["fires"]] == [format_instant(NOW + MINUTE)]

    async def test_a_wider_window_is_not_answered_from_a_narrower_one(self, api: Api) -> None:
        await api.create(schedule={"every": "1m"})
        for until, fires in ((5, 4), (60, 59), (5, 4)):
            found = await api.get(TIMELINE, **window(NOW, NOW + until * MINUTE))
            assert sum(one["fires"] for one in found["ahead"]) == fires

    @pytest.mark.parametrize(
        ("since", "until", "step", "field"),
        [
            (NOW - 15 * DAY, NOW, "1h", "since"),
            (NOW, NOW + 61 * DAY, "1d", "until"),
            (NOW, NOW, "1m", "until"),
            (NOW, NOW + DAY, "1m", "step"),
            (NOW, NOW + HOUR, "90s", "step"),
            (NOW, NOW + HOUR, "soon", "step"),
        ],
    )
    async def test_what_is_refused(
        self, api: Api, since: int, until: int, step: str, field: str
    ) -> None:
        found = await api.problems("GET", TIMELINE, params=window(since, until, step=step))
        assert [one for one, _ in found] == [field]


async def test_minutes_of_the_figures_are_added_up(api: Api) -> None:
    job = await api.create(schedule={"every": "1m"}, retry={"max_attempts": 1})
    await fire(api, job, "ssfsss")
    found = (await api.get("/api/v1/stats", step="5m"))["minutes"]
    assert [(one["minute"], one["succeeded"], one["failed"]) for one in found] == [
        (format_instant(NOW), 3, 1),
        (format_instant(NOW + 5 * MINUTE), 2, 0),
    ]
    assert await api.problems("GET", "/api/v1/stats", params={"step": "30s"}) == [
        ("step", "out_of_range")
    ]


TRY = f"{JOBS}:try"
DEFINITION = {
    "name": "report",
    "schedule": {"every": "15m"},
    "target": {
        "url": "https://example.com/{{ job_name }}",
        "headers": {"Authorization": "Bearer abc", "X-Api-Key": "abc", "X-Team": "ops"},
        "body": {"attempt": "{{ attempt }}"},
        "timeout": "5m",
    },
}


class TestTrial:
    async def test_it_calls_and_stores_nothing(self) -> None:
        failed = build.failed_attempt(error_kind=ErrorKind.TIMEOUT)
        async with serving(MemoryStore(), attempt=failed) as api:
            found = (await api.ask("POST", TRY, json=DEFINITION)).json()
            assert found["attempt"]["error_kind"] == "timeout"
            (claim,) = api.tried
            assert claim.job.name == "report"
            # A page waits for it: not as long as a job may.
            assert claim.job.spec.target.timeout == 30 * SECOND  # type: ignore[union-attr]
            assert (await api.get(JOBS))["items"] == []
            assert (await api.get(EXECUTIONS))["items"] == []
            assert api.news == []

    async def test_the_request_is_shown_without_its_secrets(self) -> None:
        async with serving(MemoryStore(), attempt=build.attempt()) as api:
            request = (await api.ask("POST", TRY, json=DEFINITION)).json()["request"]
        assert (request["method"], request["url"]) == ("POST", "https://example.com/report")
        assert request["body"] == '{"attempt":"1"}'
        headers = {one["name"]: one["value"] for one in request["headers"]}
        assert headers["X-Team"] == "ops"
        assert headers["Authorization"] == "Bearer ••••••"
        assert headers["X-Api-Key"] == "••••••"
        assert headers["Tocsin-Job-Name"] == "report"
        assert "abc" not in str(request)

    async def test_what_could_not_be_saved_is_not_called(self) -> None:
        async with serving(MemoryStore(), attempt=build.attempt()) as api:
            wrong = DEFINITION | {"schedule": {"cron": "61 * * * *"}}
            found = await api.problems("POST", TRY, json=wrong)
            assert [field for field, _ in found] == ["schedule.cron"]
            assert api.tried == []

    async def test_a_node_without_a_lease_calls_nothing(self) -> None:
        async with serving(MemoryStore(), attempt=None) as api:
            answer = await api.ask("POST", TRY, status=409, json=DEFINITION)
            assert answer.json()["code"] == "not_ready"

    async def test_not_too_many_at_once(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr("tocsin.services.trials.AT_ONCE", 0)
        async with serving(MemoryStore(), attempt=build.attempt()) as api:
            answer = await api.ask("POST", TRY, status=409, json=DEFINITION)
            assert answer.json()["code"] == "too_many_trials"
            assert api.tried == []

    async def test_one_key_cannot_take_the_places_of_all(self) -> None:
        async with guarded(MemoryStore(), attempt=build.attempt()) as gate:
            answered = asyncio.Event()
            call = gate.api.context.trials._call

            async def hang(claim: Claim) -> Attempt | None:
                await call(claim)
                await answered.wait()
                return build.attempt()

            gate.api.context.trials._call = hang
            greedy = await gate.of(role="editor")
            trials = [asyncio.create_task(greedy.post(TRY, json=DEFINITION)) for _ in range(2)]
            while len(gate.api.tried) < 2:
                await asyncio.sleep(0)
            refused = await greedy.post(TRY, json=DEFINITION)
            assert (refused.status_code, refused.json()["code"]) == (409, "too_many_trials")
            assert "2 with this key" in refused.json()["detail"]
            other = await gate.of(role="editor")
            trials.append(asyncio.create_task(other.post(TRY, json=DEFINITION)))
            while len(gate.api.tried) < 3:
                await asyncio.sleep(0)
            answered.set()
            answers = [await one for one in trials]
            assert [one.status_code for one in answers] == [200] * 3
            assert (await greedy.post(TRY, json=DEFINITION)).status_code == 200

    async def test_a_line_for_the_log_has_no_request(self) -> None:
        async with serving(MemoryStore(), attempt=build.attempt()) as api:
            line = {"schedule": {"every": "1h"}, "target": {"log": "hello"}}
            assert (await api.ask("POST", TRY, json=line)).json()["request"] is None


class TestSent:
    async def test_the_request_of_an_execution(self, api: Api) -> None:
        job = await api.create(schedule={"every": "1m"}, target=DEFINITION["target"])
        await fire(api, job, "s")
        (ran,) = (await api.get(EXECUTIONS))["items"]
        found = await api.get(f"{EXECUTIONS}/{ran['id']}/request")
        assert found["current"] is True
        headers = {one["name"]: one["value"] for one in found["request"]["headers"]}
        assert headers["webhook-id"] == ran["id"]
        assert headers["Tocsin-Fire-Time"] == ran["fire_time"]
        trace = ran["id"].replace("-", "")
        assert headers["traceparent"] == f"00-{trace}-…-01"

    async def test_it_says_that_the_job_was_changed_since(self, api: Api) -> None:
        job = await api.create(schedule={"every": "1m"})
        await fire(api, job, "s")
        (ran,) = (await api.get(EXECUTIONS))["items"]
        change = {"target": {"url": "https://example.com/other"}}
        await api.ask("PATCH", f"{JOBS}/{job['id']}", json=change)
        found = await api.get(f"{EXECUTIONS}/{ran['id']}/request")
        assert found["current"] is False
        assert found["request"]["url"] == "https://example.com/other"

    async def test_the_body_of_a_trigger(self, api: Api) -> None:
        job = await api.create(schedule={"every": "1d"}, target=DEFINITION["target"])
        asked = await api.ask(
            "POST", f"{JOBS}/{job['id']}/trigger", status=202, json={"body": {"by": "hand"}}
        )
        found = await api.get(f"{EXECUTIONS}/{asked.json()['id']}/request")
        assert found["request"]["body"] == '{"by":"hand"}'

    async def test_nothing_is_left_of_a_deleted_job(self, api: Api) -> None:
        job = await api.create(schedule={"every": "1m"})
        await fire(api, job, "s")
        (ran,) = (await api.get(EXECUTIONS))["items"]
        await api.ask("DELETE", f"{JOBS}/{job['id']}", status=204)
        await api.ask("GET", f"{EXECUTIONS}/{ran['id']}/request", status=404)


def test_what_is_no_text_is_not_shown_as_text() -> None:
    from tocsin.delivery.shown import shown_request
    from tocsin.domain.job import BodyKind, HttpTarget

    target = HttpTarget(url="https://example.com", body_kind=BodyKind.BASE64, body="/w==")
    job = build.job()
    job = replace(job, spec=replace(job.spec, target=target))
    shown = shown_request(job, build.execution(job), 1, NOW)
    assert shown is not None
    assert shown.body == "(1 bytes that are not text)"
