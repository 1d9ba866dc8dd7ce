"""Triggering, finding, cancelling and retrying executions."""

import re
from typing import Any

import pytest

from tests.api.harness import EXECUTIONS, JOBS, Api
from tests.support import build
from tests.support.build import HOUR, MINUTE, NOW, SECOND
from tocsin.domain.execution import (
    ResponseExcerpt,
    Timings,
    execution_id,
)
from tocsin.domain.instant import format_instant
from tocsin.store.bus import ExecutionsChanged

REPORT = f"{JOBS}/report"
TRIGGER = f"{REPORT}/trigger"


class TestTrigger:
    async def test_it_is_answered_with_the_new_execution(self, api: Api) -> None:
        job = await api.create(name="report")
        answer = await api.ask("POST", TRIGGER, status=202)
        execution = answer.json()
        assert re.fullmatch(r"[0-9a-f-]{36}", execution["id"])
        assert answer.headers["location"] == f"{EXECUTIONS}/{execution['id']}"
        assert execution == {
            "id": execution["id"],
            "job_id": job["id"],
            "job_name": "report",
            "job_version": 1,
            "fire_time": format_instant(NOW),
            "due": format_instant(NOW),
            "trigger": "manual",
            "state": "pending",
            "reason": None,
            "queued": False,
            "available_at": format_instant(NOW),
            "skipped_until": None,
            "skipped_count": None,
            "retry_of": None,
            "attempt_count": 0,
            "started_at": None,
            "finished_at": None,
            "duration_ms": None,
            "lateness_ms": None,
            "http_status": None,
            "error_kind": None,
            "error": None,
            "node": None,
            "attempts": [],
        }
        assert await api.get(f"{EXECUTIONS}/{execution['id']}") == execution
        news = api.news[-1]
        assert isinstance(news, ExecutionsChanged)
        assert [one.id for one in news.executions] == [execution["id"]]

    async def test_the_schedule_goes_on_as_before(self, api: Api) -> None:
        job = await api.create(name="report")
        await api.ask("POST", TRIGGER, status=202)
        after = await api.get(REPORT)
        assert (after["next_fire_at"], after["version"]) == (job["next_fire_at"], 1)
        assert after["last_execution"]["trigger"] == "manual"

    async def test_each_is_another_execution(self, api: Api) -> None:
        await api.create(name="report")
        ids = {(await api.ask("POST", TRIGGER, status=202)).json()["id"] for _ in range(3)}
        assert len(ids) == 3

    async def test_it_may_bring_a_body(self, api: Api) -> None:
        await api.create(name="report")
        body = {"body": {"rows": [1, 2], "text": "{{ not a placeholder }}"}}
        execution = (await api.ask("POST", TRIGGER, status=202, json=body)).json()
        stored = await api.store.get_execution(execution["id"])
        assert stored is not None
        assert stored.input == body["body"]

    @pytest.mark.parametrize(
        ("body", "problem"),
        [
            ([], ("", "type")),
            ({"bdy": 1}, ("bdy", "unknown_field")),
            ({"body": "x" * 262_143}, ("body", "too_long")),
        ],
    )
    async def test_its_body_is_checked(self, api: Api, body: Any, problem: tuple[str, str]) -> None:
        await api.create(name="report")
        assert await api.problems("POST", TRIGGER, json=body) == [problem]

    async def test_an_empty_body_needs_no_type(self, api: Api) -> None:
        await api.create(name="report")
        sent = {"content": b"", "headers": {"content-type": "text/plain"}}
        await api.ask("POST", TRIGGER, status=202, **sent)

    @pytest.mark.parametrize("action", ["pause", None])
    async def test_a_paused_job_may_be_triggered(self, api: Api, action: str | None) -> None:
        await api.create(name="report")
        await api.ask("POST", f"{REPORT}/pause")
        execution = (await api.ask("POST", TRIGGER, status=202)).json()
        (claim,) = await api.claim()
        assert claim.execution.id == execution["id"]

    async def test_a_completed_job_may_be_triggered(self, api: Api) -> None:
        await api.create(name="report", schedule={"at": format_instant(NOW + SECOND)})
        api.clock.now += SECOND
        await api.run()
        assert (await api.get(REPORT))["status"] == "completed"
        await api.ask("POST", TRIGGER, status=202)

    async def test_a_cancelled_one_may_not(self, api: Api) -> None:
        await api.create(name="report")
        await api.ask("POST", f"{REPORT}/cancel")
        answer = await api.ask("POST", TRIGGER, status=409)
        assert answer.json()["code"] == "wrong_status"

    @pytest.mark.parametrize(
        ("overlap", "state", "reason", "queued"),
        [
            ("allow", "pending", None, False),
            ("skip", "skipped", "overlap", False),
            ("queue", "pending", None, True),
            ("replace", "pending", None, False),
        ],
    )
    async def test_overlap(
        self, api: Api, overlap: str, state: str, reason: str | None, queued: bool
    ) -> None:
        await api.create(name="report", overlap=overlap)
        first = (await api.ask("POST", TRIGGER, status=202)).json()
        second = (await api.ask("POST", TRIGGER, status=202)).json()
        assert (second["state"], second["reason"], second["queued"]) == (state, reason, queued)
        found = await api.get(f"{EXECUTIONS}/{first['id']}")
        expected = ("cancelled", "replaced") if overlap == "replace" else ("pending", None)
        assert (found["state"], found["reason"]) == expected
        if overlap == "replace":
            news = api.news[-1]
            assert isinstance(news, ExecutionsChanged)
            assert [one.id for one in news.executions] == [first["id"], second["id"]]


class TestShown:
    async def test_an_execution_with_its_attempts(self, api: Api) -> None:
        await api.create(name="report", schedule={"every": "1m"})
        api.clock.now = NOW + MINUTE
        (claim,) = await api.claim()
        failed = build.fail(
            claim,
            NOW + MINUTE + 120,
            started_at=NOW + MINUTE + 20,
            duration_ms=100.5,
            response=ResponseExcerpt(excerpt="busy", truncated=True),
        )
        await api.record(failed)
        api.clock.now += 10 * SECOND
        (claim,) = await api.claim()
        done = build.succeed(
            claim,
            api.clock.now,
            started_at=NOW + MINUTE + 5_020,
            duration_ms=30.25,
            timings=Timings(connect_ms=1.5, total_ms=30.25),
        )
        await api.record(done)

        shown = await api.get(f"{EXECUTIONS}/{done.id}")
        assert shown["attempts"] == [
            {
                "number": 1,
                "started_at": format_instant(NOW + MINUTE + 20),
                "duration_ms": 100.5,
                "http_status": 503,
                "error_kind": "http_status",
                "error": "answered 503",
                "node": "node-a",
                "timings": None,
                "response": {"excerpt": "busy", "truncated": True},
            },
            {
                "number": 2,
                "started_at": format_instant(NOW + MINUTE + 5_020),
                "duration_ms": 30.25,
                "http_status": 200,
                "error_kind": None,
                "error": None,
                "node": "node-a",
                "timings": {
                    "dns_ms": None,
                    "connect_ms": 1.5,
                    "tls_ms": None,
                    "first_byte_ms": None,
                    "total_ms": 30.25,
                },
                "response": None,
            },
        ]
        assert (shown["state"], shown["attempt_count"], shown["trigger"]) == (
            "succeeded",
            2,
            "schedule",
        )
        assert shown["lateness_ms"] == 20
        assert shown["duration_ms"] == 5_030.25
        assert shown["started_at"] == format_instant(NOW + MINUTE + 20)
        assert shown["finished_at"] == format_instant(NOW + MINUTE + 10_000)
        assert (shown["http_status"], shown["node"]) == (200, "node-a")
        last = (await api.get(REPORT))["last_execution"]
        assert last == {name: value for name, value in shown.items() if name != "attempts"}

    async def test_an_id_in_capitals(self, api: Api) -> None:
        await api.create(name="report")
        made = (await api.ask("POST", TRIGGER, status=202)).json()
        assert await api.get(f"{EXECUTIONS}/{made['id'].upper()}") == made
        job = await api.get(REPORT)
        assert await api.get(f"{JOBS}/{job['id'].upper()}") == job


class TestCancel:
    async def test_a_pending_one(self, api: Api) -> None:
        await api.create(name="report")
        made = (await api.ask("POST", TRIGGER, status=202)).json()
        path = f"{EXECUTIONS}/{made['id']}"
        ended = (await api.ask("POST", f"{path}/cancel")).json()
        assert (ended["state"], ended["reason"]) == ("cancelled", "requested")
        assert ended["finished_at"] == format_instant(NOW)
        assert await api.get(path) == ended
        assert (await api.ask("POST", f"{path}/cancel")).json() == ended

    async def test_a_claimed_one_is_told_with_its_owner(self, api: Api) -> None:
        await api.create(name="report")
        made = (await api.ask("POST", TRIGGER, status=202)).json()
        await api.claim()
        await api.ask("POST", f"{EXECUTIONS}/{made['id']}/cancel")
        news = api.news[-1]
        assert isinstance(news, ExecutionsChanged)
        assert [(one.id, one.owner) for one in news.executions] == [(made["id"], "inc-a")]

    async def test_one_that_has_ended(self, api: Api) -> None:
        await api.create(name="report")
        await api.ask("POST", TRIGGER, status=202)
        (run,) = await api.run()
        answer = await api.ask("POST", f"{EXECUTIONS}/{run.id}/cancel", status=409)
        assert answer.json()["code"] == "already_ended"


class TestRetry:
    async def test_the_same_again_as_a_new_one(self, api: Api) -> None:
        await api.create(name="report", retry={"max_attempts": 1})
        await api.ask("POST", TRIGGER, status=202, json={"body": {"n": 1}})
        (run,) = await api.run(ok=False)
        api.clock.now += HOUR
        answer = await api.ask("POST", f"{EXECUTIONS}/{run.id}/retry", status=202)
        again = answer.json()
        assert again["id"] != run.id
        assert (again["trigger"], again["retry_of"]) == ("retry", run.id)
        assert again["fire_time"] == format_instant(NOW + HOUR)
        assert answer.headers["location"] == f"{EXECUTIONS}/{again['id']}"
        stored = await api.store.get_execution(again["id"])
        assert stored is not None
        assert stored.input == {"n": 1}
        assert (await api.get(f"{EXECUTIONS}/{run.id}"))["state"] == "failed"

    async def test_one_that_has_not_ended(self, api: Api) -> None:
        await api.create(name="report")
        made = (await api.ask("POST", TRIGGER, status=202)).json()
        answer = await api.ask("POST", f"{EXECUTIONS}/{made['id']}/retry", status=409)
        assert answer.json()["code"] == "not_final"

    async def test_of_a_cancelled_job(self, api: Api) -> None:
        await api.create(name="report")
        await api.ask("POST", TRIGGER, status=202)
        (run,) = await api.run()
        await api.ask("POST", f"{REPORT}/cancel")
        answer = await api.ask("POST", f"{EXECUTIONS}/{run.id}/retry", status=409)
        assert answer.json()["code"] == "wrong_status"

    async def test_a_skipped_one(self, api: Api) -> None:
        await api.create(name="report", overlap="skip")
        await api.ask("POST", TRIGGER, status=202)
        skipped = (await api.ask("POST", TRIGGER, status=202)).json()
        await api.run()
        again = await api.ask("POST", f"{EXECUTIONS}/{skipped['id']}/retry", status=202)
        assert again.json()["state"] == "pending"


class TestLists:
    @pytest.fixture
    async def history(self, api: Api) -> list[str]:
        """Ten minutes of a job, with failures at the odd ones, and two of another."""
        await api.create(name="report", schedule={"every": "1m"}, retry={"max_attempts": 1})
        await api.create(name="other", schedule={"every": "5m"})
        ids = []
        for minute in range(1, 11):
            api.clock.now = NOW + minute * MINUTE
            for claim in await api.claim():
                settle = build.fail if minute % 2 and claim.job.name == "report" else build.succeed
                await api.record(settle(claim, api.clock.now))
                ids.append(claim.execution.id)
        return sorted(ids, reverse=True)

    async def ids(self, api: Api, path: str = EXECUTIONS, **params: Any) -> list[str]:
        """The ids of a list over all its pages."""
        found: list[str] = []
        cursor = None
        while True:
            more = {"cursor": cursor} if cursor else {}
            page = await api.get(path, **params, **more)
            found += [one["id"] for one in page["items"]]
            cursor = page["next_cursor"]
            if cursor is None:
                return found

    async def test_newest_first_page_by_page(self, api: Api, history: list[str]) -> None:
        assert await self.ids(api) == history
        for limit in (1, 5, 12, 13):
            assert await self.ids(api, limit=limit) == history
        assert await self.ids(api, limit=5, sort="fire_time") == history[::-1]

    async def test_of_a_job(self, api: Api, history: list[str]) -> None:
        job = await api.get(REPORT)
        of_report = await self.ids(api, f"{REPORT}/executions", limit=3)
        assert len(of_report) == 10
        assert await self.ids(api, job="report") == of_report
        assert await self.ids(api, job=job["id"]) == of_report
        assert set(of_report) < set(history)
        await api.ask("GET", f"{EXECUTIONS}?job=nope", status=404)

    async def test_by_state_and_error(self, api: Api, history: list[str]) -> None:
        failed = await self.ids(api, state="failed")
        assert len(failed) == 5
        assert await self.ids(api, error_kind="http_status", limit=2) == failed
        assert await self.ids(api, error_kind="timeout") == []
        assert await self.ids(api, state=["failed", "succeeded"]) == history
        assert await self.ids(api, state="succeeded", job="report", limit=2) == await self.ids(
            api, f"{REPORT}/executions", state="succeeded"
        )

    async def test_by_fire_time(self, api: Api, history: list[str]) -> None:
        span = {
            "since": format_instant(NOW + 3 * MINUTE),
            "until": format_instant(NOW + 6 * MINUTE),
        }
        assert len(await self.ids(api, f"{REPORT}/executions", **span)) == 3
        assert len(await self.ids(api, **span)) == 4

    async def test_a_cursor_fits_its_order_only(self, api: Api, history: list[str]) -> None:
        cursor = (await api.get(EXECUTIONS, limit=5))["next_cursor"]
        path = f"{EXECUTIONS}?cursor={cursor}&sort=fire_time"
        assert await api.problems("GET", path) == [("cursor", "bad_cursor")]


class TestStatus:
    async def test_of_a_job(self, api: Api) -> None:
        await api.create(name="report", schedule={"every": "1m"}, retry={"max_attempts": 1})
        api.clock.now += MINUTE
        (failed,) = await api.run(ok=False)
        api.clock.now += MINUTE
        (succeeded,) = await api.run()
        live = (await api.ask("POST", TRIGGER, status=202)).json()
        status = await api.get(f"{REPORT}/status")
        assert status["name"] == "report"
        assert (status["status"], status["version"]) == ("active", 1)
        assert status["next_fire_at"] == format_instant(NOW + 3 * MINUTE)
        assert [one["id"] for one in status["live"]["items"]] == [live["id"]]
        assert status["live"]["more"] is False
        assert "attempts" not in status["live"]["items"][0]
        assert status["last_succeeded"]["id"] == succeeded.id
        assert status["last_failed"]["id"] == failed.id


async def test_ids_by_hand_come_from_job_time_and_key(api: Api) -> None:
    job = await api.create(name="report")
    sent = {"headers": {"Idempotency-Key": "k"}}
    made = (await api.ask("POST", TRIGGER, status=202, **sent)).json()
    assert made["id"] == execution_id(job["id"], NOW, "k")
