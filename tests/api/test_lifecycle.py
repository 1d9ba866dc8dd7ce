"""Pausing, resuming, cancelling and deleting jobs."""

import pytest

from tests.api.harness import EXECUTIONS, JOB, JOBS, Api
from tests.support.build import HOUR, MINUTE, NOW, SECOND
from tocsin.domain.instant import format_instant
from tocsin.domain.planning import LOOK_AT_MOST
from tocsin.store.bus import ExecutionsChanged

REPORT = f"{JOBS}/report"


class TestPause:
    async def test_a_paused_job_has_no_fire_to_come(self, api: Api) -> None:
        await api.create(name="report")
        answer = await api.ask("POST", f"{REPORT}/pause")
        job = answer.json()
        assert (job["status"], job["next_fire_at"], job["version"]) == ("paused", None, 2)
        assert answer.headers["etag"] == '"2"'
        assert await api.get(REPORT) == job
        api.clock.now += HOUR
        assert await api.claim() == []

    async def test_twice_is_once(self, api: Api) -> None:
        await api.create(name="report")
        first = (await api.ask("POST", f"{REPORT}/pause")).json()
        assert (await api.ask("POST", f"{REPORT}/pause")).json() == first
        assert api.changes() == ["created", "paused"]

    async def test_pending_work_is_cancelled(self, api: Api) -> None:
        await api.create(name="report", schedule={"every": "1m"})
        api.clock.now += MINUTE
        (failed,) = await api.run(ok=False)  # waits for its retry
        job = (await api.ask("POST", f"{REPORT}/pause")).json()
        found = await api.get(f"{EXECUTIONS}/{failed.id}")
        assert (found["state"], found["reason"]) == ("cancelled", "paused")
        assert job["last_execution"]["state"] == "cancelled"
        news = api.news[-1]
        assert isinstance(news, ExecutionsChanged)
        assert [one.id for one in news.executions] == [failed.id]

    async def test_overdue_fires_are_skipped_in_the_open(self, api: Api) -> None:
        await api.create(name="report", schedule={"every": "1m"})
        api.clock.now += 2 * MINUTE
        await api.ask("POST", f"{REPORT}/pause")
        (skipped,) = (await api.get(f"{REPORT}/executions"))["items"]
        assert (skipped["state"], skipped["reason"]) == ("skipped", "paused")
        assert (skipped["skipped_count"], skipped["attempts"]) == (2, [])

    async def test_a_single_overdue_fire_is_no_range(self, api: Api) -> None:
        await api.create(name="report", schedule={"every": "1m"})
        api.clock.now += MINUTE
        await api.ask("POST", f"{REPORT}/pause")
        (skipped,) = (await api.get(f"{REPORT}/executions"))["items"]
        assert (skipped["skipped_until"], skipped["skipped_count"]) == (None, None)

    async def test_the_look_at_overdue_fires_is_bounded(self, api: Api) -> None:
        await api.create(name="report", schedule={"every": "1s"})
        api.clock.now += 2 * LOOK_AT_MOST * SECOND
        await api.ask("POST", f"{REPORT}/pause")
        (skipped,) = (await api.get(f"{REPORT}/executions"))["items"]
        assert skipped["skipped_count"] == LOOK_AT_MOST


class TestResume:
    async def test_it_fires_from_now_on(self, api: Api) -> None:
        await api.create(name="report", schedule={"every": "1m"})
        await api.ask("POST", f"{REPORT}/pause")
        api.clock.now += 10 * MINUTE + SECOND
        job = (await api.ask("POST", f"{REPORT}/resume")).json()
        assert (job["status"], job["version"]) == ("active", 3)
        assert job["next_fire_at"] == format_instant(NOW + 11 * MINUTE)
        assert (await api.get(f"{REPORT}/executions"))["items"] == []
        assert api.changes() == ["created", "paused", "resumed"]

    async def test_an_active_job_stays_as_it_is(self, api: Api) -> None:
        job = await api.create(name="report")
        assert (await api.ask("POST", f"{REPORT}/resume")).json() == job

    async def test_a_one_time_job_that_is_still_to_come(self, api: Api) -> None:
        at = format_instant(NOW + HOUR)
        await api.create(name="report", schedule={"at": at})
        await api.ask("POST", f"{REPORT}/pause")
        assert (await api.ask("POST", f"{REPORT}/resume")).json()["next_fire_at"] == at

    async def test_a_one_time_job_that_passed_meanwhile_ends_skipped(self, api: Api) -> None:
        at = format_instant(NOW + HOUR)
        await api.create(name="report", schedule={"at": at})
        await api.ask("POST", f"{REPORT}/pause")
        api.clock.now += HOUR
        job = (await api.ask("POST", f"{REPORT}/resume")).json()
        assert (job["status"], job["next_fire_at"]) == ("completed", None)
        (skipped,) = (await api.get(f"{REPORT}/executions"))["items"]
        assert (skipped["state"], skipped["reason"]) == ("skipped", "paused")
        assert (skipped["fire_time"], skipped["due"]) == (at, at)
        assert job["last_execution"]["id"] == skipped["id"]
        assert api.changes()[-1] == "completed"

    async def test_a_one_time_job_whose_fire_was_cancelled_by_the_pause(self, api: Api) -> None:
        at = NOW + HOUR
        await api.create(name="report", schedule={"at": format_instant(at)})
        await api.claim(at=at - SECOND, ahead=SECOND)
        api.clock.now = at - SECOND
        # The claim completed the job: there is nothing left to pause.
        answer = await api.ask("POST", f"{REPORT}/pause", status=409)
        assert answer.json()["code"] == "wrong_status"

    async def test_a_schedule_that_ended_meanwhile(self, api: Api) -> None:
        schedule = {"every": "1m", "ends_at": format_instant(NOW + HOUR)}
        await api.create(name="report", schedule=schedule)
        await api.ask("POST", f"{REPORT}/pause")
        api.clock.now += 2 * HOUR
        job = (await api.ask("POST", f"{REPORT}/resume")).json()
        assert job["status"] == "completed"
        assert (await api.get(f"{REPORT}/executions"))["items"] == []

    @pytest.mark.parametrize("action", ["pause", "resume"])
    async def test_what_has_ended_cannot_be(self, api: Api, action: str) -> None:
        await api.create(name="report")
        await api.ask("POST", f"{REPORT}/cancel")
        answer = await api.ask("POST", f"{REPORT}/{action}", status=409)
        assert answer.json()["code"] == "wrong_status"
        assert "is cancelled" in answer.json()["detail"]


class TestCancel:
    async def test_what_is_live_ends_with_it(self, api: Api) -> None:
        await api.create(name="report", schedule={"every": "1m"})
        api.clock.now += MINUTE
        (waiting,) = await api.run(ok=False)
        api.clock.now += MINUTE
        (claim,) = [one for one in await api.claim() if one.execution.id != waiting.id]
        job = (await api.ask("POST", f"{REPORT}/cancel")).json()
        assert (job["status"], job["next_fire_at"]) == ("cancelled", None)
        for execution_id in (waiting.id, claim.execution.id):
            found = await api.get(f"{EXECUTIONS}/{execution_id}")
            assert (found["state"], found["reason"]) == ("cancelled", "requested")
        told = [
            one
            for news in api.news
            if isinstance(news, ExecutionsChanged)
            for one in news.executions
        ]
        assert {one.id: one.owner for one in told}[claim.execution.id] == "inc-a"

    async def test_twice_is_once(self, api: Api) -> None:
        await api.create(name="report")
        first = (await api.ask("POST", f"{REPORT}/cancel")).json()
        assert (await api.ask("POST", f"{REPORT}/cancel")).json() == first
        assert api.changes() == ["created", "cancelled"]

    async def test_a_paused_or_completed_job_can_be(self, api: Api) -> None:
        await api.create(name="report")
        await api.ask("POST", f"{REPORT}/pause")
        assert (await api.ask("POST", f"{REPORT}/cancel")).json()["status"] == "cancelled"


class TestDelete:
    async def test_the_job_is_gone_and_its_history_stays(self, api: Api) -> None:
        job = await api.create(name="report", schedule={"every": "1m"})
        api.clock.now += MINUTE
        (run,) = await api.run()
        await api.ask("DELETE", REPORT, status=204)
        by_id = f"{JOBS}/{job['id']}"
        for path in (REPORT, by_id, f"{by_id}/status", f"{by_id}/preview"):
            await api.ask("GET", path, status=404)
        for path in (f"{by_id}/pause", f"{by_id}/trigger"):
            await api.ask("POST", path, status=404)
        await api.ask("DELETE", by_id, status=404)
        await api.ask("PUT", by_id, status=404, json=JOB)
        (kept,) = (await api.get(f"{by_id}/executions"))["items"]
        assert kept["id"] == run.id
        assert (await api.get(f"{by_id}/stats"))["executions"]["succeeded"] == 1
        assert (await api.get(EXECUTIONS, job=job["id"]))["items"] == [kept]
        assert (await api.get(JOBS))["items"] == []
        (tombstone,) = (await api.get(JOBS, status="deleted"))["items"]
        assert (tombstone["id"], tombstone["status"]) == (job["id"], "deleted")
        assert api.changes()[-1] == "deleted"

    async def test_its_name_is_free(self, api: Api) -> None:
        first = await api.create(name="report")
        await api.ask("DELETE", REPORT, status=204)
        second = await api.create(name="report")
        assert first["id"] != second["id"]
        assert (await api.get(REPORT))["id"] == second["id"]

    async def test_waiting_work_ends(self, api: Api) -> None:
        await api.create(name="report", schedule={"every": "1m"})
        api.clock.now += MINUTE
        (waiting,) = await api.run(ok=False)
        await api.ask("DELETE", REPORT, status=204)
        found = await api.get(f"{EXECUTIONS}/{waiting.id}")
        assert (found["state"], found["reason"]) == ("cancelled", "deleted")

    async def test_a_retry_of_a_deleted_job_is_refused(self, api: Api) -> None:
        await api.create(name="report", schedule={"every": "1m"})
        api.clock.now += MINUTE
        (run,) = await api.run()
        await api.ask("DELETE", REPORT, status=204)
        answer = await api.ask("POST", f"{EXECUTIONS}/{run.id}/retry", status=404)
        assert "deleted" in answer.json()["detail"]
