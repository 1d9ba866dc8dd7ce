"""Health, readiness, metrics, figures, previews and the demo's echo."""

from typing import Any

import pytest

from tests.api.harness import JOBS, Api, serving
from tests.support import build
from tests.support.build import DAY, HOUR, MINUTE, NOW
from tests.support.memory_store import MemoryStore
from tocsin.api.context import Check
from tocsin.domain.errors import StoreUnavailable
from tocsin.domain.instant import format_instant
from tocsin.services.definitions import JobDefaults

REPORT = f"{JOBS}/report"


async def run_some(api: Api, *, failed: int, succeeded: int) -> None:
    """Executions that end now, one per minute."""
    await api.create(name="report", schedule={"every": "1m"}, retry={"max_attempts": 1})
    for number in range(failed + succeeded):
        api.clock.now += MINUTE
        for claim in await api.claim():
            settle = build.fail if number < failed else build.succeed
            await api.record(
                settle(claim, api.clock.now, started_at=api.clock.now + 10 * (number + 1))
            )


class TestHealth:
    async def test_of_an_idle_service(self, api: Api) -> None:
        assert await api.get("/healthz") == {
            "status": "ok",
            "version": "0.0.test",
            "window": "10m",
            "succeeded": 0,
            "failed": 0,
            "failed_ratio": None,
            "threshold": 0.1,
            "reason": None,
        }

    async def test_degraded_where_too_many_failed(self, api: Api) -> None:
        await run_some(api, failed=1, succeeded=4)
        health = await api.get("/healthz")
        assert (health["status"], health["failed_ratio"]) == ("degraded", 0.2)
        assert health["reason"] == "1 of 5 executions failed within the last 10m"

    async def test_the_threshold_itself_is_fine(self) -> None:
        async with serving(MemoryStore(), degraded_ratio=0.2) as api:
            await run_some(api, failed=1, succeeded=4)
            assert (await api.get("/healthz"))["status"] == "ok"

    async def test_failures_are_forgotten(self, api: Api) -> None:
        await run_some(api, failed=1, succeeded=1)
        api.clock.now += 11 * MINUTE
        assert (await api.get("/healthz"))["status"] == "ok"

    async def test_figures_are_kept_for_a_second(self, api: Api) -> None:
        assert (await api.get("/healthz"))["failed"] == 0
        await run_some(api, failed=1, succeeded=0)
        api.clock.now = NOW + 999
        assert (await api.get("/healthz"))["failed"] == 0
        api.clock.now = NOW + MINUTE
        assert (await api.get("/healthz"))["failed"] == 1

    async def test_a_store_that_does_not_answer(self) -> None:
        async def fail(_: str) -> None:
            raise StoreUnavailable("gone")

        async with serving(MemoryStore(before=fail)) as api:
            health = await api.get("/healthz")
        assert health["status"] == "degraded"
        assert health["reason"] == "the store does not answer (store_unavailable)"


class TestReadiness:
    async def test_with_reasons(self, api: Api) -> None:
        assert await api.get("/readyz") == {
            "ready": True,
            "checks": [{"name": "store", "ok": True, "detail": ""}],
        }
        api.checks.append(Check(name="engine", ok=False, detail="no lease"))
        answer = await api.ask("GET", "/readyz", status=503)
        assert answer.headers["content-type"] == "application/json"
        assert answer.json()["ready"] is False
        assert answer.json()["checks"][1] == {"name": "engine", "ok": False, "detail": "no lease"}


class TestMetrics:
    async def test_levels_of_the_store(self, api: Api) -> None:
        await api.create(name="report")
        await api.create(name="other")
        await api.ask("POST", f"{REPORT}/pause")
        await api.ask("POST", f"{JOBS}/other/trigger", status=202)
        for incarnation, ttl in (("inc-a", 5_000), ("inc-b", 5_000), ("inc-c", 500)):
            await api.store.register(build.node(incarnation, ttl=ttl))
        api.clock.now = (await api.store.nodes())[2].lease_until + 1
        answer = await api.ask("GET", "/metrics")
        assert answer.headers["content-type"].startswith("text/plain; version=")
        lines = answer.text.splitlines()
        for line in (
            'tocsin_jobs{status="active"} 1.0',
            'tocsin_jobs{status="paused"} 1.0',
            'tocsin_queue_depth{state="pending"} 1.0',
            'tocsin_queue_depth{state="claimed"} 0.0',
            'tocsin_capacity_used{limit="jobs"} 2.0',
            'tocsin_capacity_limit{limit="jobs"} 10000.0',
            "tocsin_store_up 1.0",
            "tocsin_nodes 2.0",
            "tocsin_lease_held 0.0",
            "tocsin_in_flight 0.0",
            'tocsin_fires_total{state="succeeded"} 0.0',
            'tocsin_build_info{node="node-a",version="0.0.test"} 1.0',
        ):
            assert line in lines

    async def test_a_store_that_does_not_answer(self) -> None:
        async def fail(_: str) -> None:
            raise StoreUnavailable("gone")

        async with serving(MemoryStore(before=fail)) as api:
            text = (await api.ask("GET", "/metrics")).text
        assert "tocsin_store_up 0.0" in text
        assert "tocsin_jobs{" not in text
        assert "tocsin_nodes" not in text


class TestStats:
    async def test_of_an_idle_service(self, api: Api) -> None:
        stats = await api.get("/api/v1/stats")
        assert stats == {
            "window": "1h",
            "since": format_instant(NOW - HOUR),
            "jobs": {"active": 0, "paused": 0, "completed": 0, "cancelled": 0},
            "executions": {
                "pending": 0,
                "claimed": 0,
                "succeeded": 0,
                "failed": 0,
                "cancelled": 0,
                "skipped": 0,
            },
            "success_ratio": None,
            "rates": {
                "ended_per_minute": 0.0,
                "failed_per_minute": 0.0,
                "attempts_per_minute": 0.0,
            },
            "lateness_ms": {"p50": None, "p95": None, "p99": None},
            "minutes": [],
            "next_fires": [],
            "capacity": {
                "jobs": {"used": 0, "limit": 10_000},
                "definition_bytes": {"used": 0, "limit": 100_000_000},
            },
        }

    async def test_of_a_busy_one(self, api: Api) -> None:
        await run_some(api, failed=1, succeeded=3)
        await api.create(name="later", schedule={"every": "1h"})
        await api.ask("POST", f"{REPORT}/trigger", status=202)
        stats = await api.get("/api/v1/stats", window="10m")
        assert stats["jobs"]["active"] == 2
        assert stats["executions"] == {
            "pending": 1,
            "claimed": 0,
            "succeeded": 3,
            "failed": 1,
            "cancelled": 0,
            "skipped": 0,
        }
        assert stats["success_ratio"] == 0.75
        assert stats["rates"]["ended_per_minute"] == 0.4
        assert 10 <= stats["lateness_ms"]["p50"] <= 30 <= stats["lateness_ms"]["p99"] <= 50
        assert [one["minute"] for one in stats["minutes"]] == [
            format_instant(NOW + minute * MINUTE) for minute in (1, 2, 3, 4)
        ]
        assert stats["minutes"][0]["failed"] == 1
        assert [(one["job_name"], one["due"]) for one in stats["next_fires"]] == [
            ("report", format_instant(NOW + 5 * MINUTE)),
            ("later", format_instant(NOW + 4 * MINUTE + HOUR)),
        ]
        assert stats["capacity"]["jobs"]["used"] == 2


class TestJobStats:
    async def test_over_a_window(self, api: Api) -> None:
        await run_some(api, failed=1, succeeded=4)
        stats = await api.get(f"{REPORT}/stats", window="10m")
        assert stats["complete"] is True
        assert stats["executions"]["succeeded"] == 4
        assert stats["executions"]["failed"] == 1
        assert (stats["attempts"], stats["success_ratio"]) == (5, 0.8)
        assert stats["lateness_ms"] == {"p50": 30, "p95": 50, "p99": 50, "max": 50}
        assert stats["duration_ms"] == {"p50": 12.5, "p95": 12.5, "p99": 12.5, "max": 12.5}
        later = await api.get(f"{REPORT}/stats", window="2m")
        assert later["executions"]["succeeded"] == 3
        assert later["since"] == format_instant(NOW + 3 * MINUTE)

    async def test_without_any(self, api: Api) -> None:
        await api.create(name="report")
        stats = await api.get(f"{REPORT}/stats")
        assert stats["success_ratio"] is None
        assert stats["duration_ms"] == dict.fromkeys(("p50", "p95", "p99", "max"))

    async def test_a_skipped_range_counts_each_fire_time(self, api: Api) -> None:
        await api.create(name="report", schedule={"every": "1m"})
        api.clock.now += 5 * MINUTE
        await api.ask("POST", f"{REPORT}/pause")
        stats = await api.get(f"{REPORT}/stats")
        assert stats["executions"]["skipped"] == 5

    async def test_a_long_history_is_cut(self, api: Api, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr("tocsin.services.stats.SAMPLE", 3)
        monkeypatch.setattr("tocsin.services.stats._PAGE", 2)
        await run_some(api, failed=0, succeeded=6)
        stats = await api.get(f"{REPORT}/stats")
        assert stats["complete"] is False
        assert stats["executions"]["succeeded"] == 4
        assert stats["since"] == format_instant(NOW + 3 * MINUTE)


class TestPreview:
    async def test_of_a_job(self, api: Api) -> None:
        schedule = {"cron": "30 1 * * *", "timezone": "Europe/Berlin"}
        await api.create(name="report", schedule=schedule)
        shown = await api.get(f"{REPORT}/preview", count=2, after="2026-03-27T12:00:00+01:00")
        assert shown == {
            "description": "At 01:30 every day, Europe/Berlin",
            "timezone": "Europe/Berlin",
            "items": [
                {
                    "fire_time": "2026-03-28T00:30:00Z",
                    "local": "2026-03-28T01:30:00+01:00",
                    "offset_changed": False,
                },
                {
                    "fire_time": "2026-03-29T00:30:00Z",
                    "local": "2026-03-29T01:30:00+01:00",
                    "offset_changed": False,
                },
            ],
            "errors": [],
        }

    async def test_ten_from_now_on_where_nothing_is_said(self, api: Api) -> None:
        await api.create(name="report")
        items = (await api.get(f"{REPORT}/preview"))["items"]
        assert len(items) == 10
        assert items[0]["fire_time"] == format_instant(NOW + 15 * MINUTE)

    async def test_of_a_schedule_that_is_not_saved(self, api: Api) -> None:
        body = {"schedule": {"cron": "0 3 * * *", "timezone": "Europe/Berlin"}, "count": 2,
                "after": "2026-03-28T12:00:00Z"}  # fmt: skip
        shown = (await api.ask("POST", "/api/v1/schedules:preview", json=body)).json()
        assert [one["offset_changed"] for one in shown["items"]] == [True, False]
        assert api.news == []

    async def test_a_one_time_schedule_shows_one(self, api: Api) -> None:
        body = {"schedule": {"at": format_instant(NOW + DAY)}}
        shown = (await api.ask("POST", "/api/v1/schedules:preview", json=body)).json()
        assert len(shown["items"]) == 1
        assert shown["errors"] == []

    async def test_what_is_too_often_for_a_new_job_is_shown_and_told(self) -> None:
        store = MemoryStore()
        body = {"schedule": {"cron": "* * * * * *"}, "count": 3}
        async with serving(store) as api:
            await api.create(name="report", schedule=body["schedule"])
        async with serving(store, defaults=JobDefaults(min_interval=MINUTE)) as api:
            shown = (await api.ask("POST", "/api/v1/schedules:preview", json=body)).json()
            assert len(shown["items"]) == 3
            found = [(one["field"], one["code"]) for one in shown["errors"]]
            assert found == [("schedule.cron", "too_often")]
            assert "TOCSIN_MIN_INTERVAL" in shown["errors"][0]["message"]
            # The job keeps what it has.
            assert (await api.get(f"{REPORT}/preview"))["errors"] == []

    @pytest.mark.parametrize(
        ("body", "problem"),
        [
            ({}, ("schedule", "required")),
            ({"schedule": {"cron": "x x"}}, ("schedule.cron", "cron_syntax")),
            ({"schedule": {"every": "1m"}, "count": 0}, ("count", "out_of_range")),
            ({"schedule": {"every": "1m"}, "count": 101}, ("count", "out_of_range")),
            ({"schedule": {"every": "1m"}, "after": "x"}, ("after", "invalid")),
            ({"schedule": {"every": "1m"}, "after": 5}, ("after", "type")),
            ({"schedule": {"every": "1m"}, "cnt": 5}, ("cnt", "unknown_field")),
        ],
    )
    async def test_what_is_refused(self, api: Api, body: Any, problem: tuple[str, str]) -> None:
        found = await api.problems("POST", "/api/v1/schedules:preview", json=body)
        assert [field for field, _ in found] == [problem[0]]


class TestEcho:
    PATH = "/api/v1/demo/echo"

    async def test_it_answers_what_it_was_sent(self) -> None:
        async with serving(MemoryStore(), demo=True) as api:
            answer = await api.ask(
                "POST", f"{self.PATH}?fail=0", content=b"hi \xff", headers={"X-A": "b"}
            )
            echo = answer.json()
            assert (echo["method"], echo["path"], echo["query"]) == (
                "POST",
                self.PATH,
                {"fail": "0"},
            )
            assert echo["headers"]["x-a"] == "b"
            assert echo["body"] == "hi \ufffd"
            assert (await api.get(self.PATH))["method"] == "GET"

    @pytest.mark.parametrize(("attempt", "status"), [("1", 503), ("2", 503), ("3", 200)])
    async def test_first_attempts_fail(self, attempt: str, status: int) -> None:
        async with serving(MemoryStore(), demo=True) as api:
            sent = {"headers": {"Tocsin-Attempt": attempt}}
            await api.ask("POST", f"{self.PATH}?fail=2", status=status, **sent)

    async def test_its_delay_is_bounded(self) -> None:
        async with serving(MemoryStore(), demo=True) as api:
            await api.ask("GET", f"{self.PATH}?delay=1ms")
            answer = await api.ask("GET", f"{self.PATH}?delay=11s", status=422)
            assert answer.json()["errors"][0]["field"] == "delay"

    async def test_it_is_only_there_for_the_demo(self, api: Api) -> None:
        await api.ask("POST", self.PATH, status=404)
        await api.ask("GET", f"{JOBS}?limit=1", status=200)
