"""Replacing and changing definitions."""

import asyncio
from collections.abc import Sequence
from typing import Any

import pytest

from tests.api.harness import JOB, JOBS, Api, serving
from tests.support.build import DAY, HOUR, MINUTE, NOW, SECOND
from tests.support.memory_store import MemoryStore
from tocsin.domain.instant import format_instant
from tocsin.store.bus import ExecutionsChanged, JobsChanged

REPORT = f"{JOBS}/report"
NO_JOB = f"{JOBS}/019b5144-0000-7abc-8def-0123456789ab"


class TestPut:
    async def test_a_new_name_creates(self, api: Api) -> None:
        answer = await api.ask("PUT", REPORT, status=201, json=JOB)
        job = answer.json()
        assert (job["name"], job["version"]) == ("report", 1)
        assert answer.headers["location"] == f"{JOBS}/{job['id']}"
        assert answer.headers["etag"] == '"1"'
        assert api.changes() == ["created"]
        assert await api.get(REPORT) == job

    async def test_the_same_definition_changes_nothing(self, api: Api) -> None:
        first = (await api.ask("PUT", REPORT, status=201, json=JOB)).json()
        api.clock.now += HOUR
        again = await api.ask("PUT", REPORT, json={**JOB, "name": "report"})
        assert again.json() == first
        assert again.headers["etag"] == '"1"'
        assert api.changes() == ["created"]

    async def test_an_answer_may_be_sent_back_without_what_tocsin_sets(self, api: Api) -> None:
        job = await api.create()  # its name is its id
        own = {"id", "status", "version", "created_at", "updated_at", "next_fire_at",
               "last_execution"}  # fmt: skip
        sent = {name: value for name, value in job.items() if name not in own}
        assert (await api.ask("PUT", f"{JOBS}/{job['id']}", json=sent)).json() == job

    async def test_another_definition_replaces(self, api: Api) -> None:
        first = await api.create(name="report", tags=["a"], description="old")
        api.clock.now += 5 * MINUTE
        answer = await api.ask("PUT", REPORT, json={**JOB, "tags": ["b"]})
        job = answer.json()
        assert (job["tags"], job["description"]) == (["b"], "")
        assert (job["id"], job["version"]) == (first["id"], 2)
        assert job["created_at"] == first["created_at"]
        assert job["updated_at"] == format_instant(NOW + 5 * MINUTE)
        assert job["next_fire_at"] == first["next_fire_at"]
        assert answer.headers["etag"] == '"2"'
        assert await api.get(REPORT) == job
        assert api.changes() == ["created", "updated"]

    async def test_by_id_a_name_can_be_given_or_kept(self, api: Api) -> None:
        job = await api.create(name="report")
        path = f"{JOBS}/{job['id']}"
        kept = (await api.ask("PUT", path, json={**JOB, "tags": ["x"]})).json()
        assert kept["name"] == "report"
        renamed = (await api.ask("PUT", path, json={**JOB, "name": "other"})).json()
        assert (renamed["id"], renamed["name"], renamed["version"]) == (job["id"], "other", 3)
        await api.ask("GET", REPORT, status=404)

    async def test_an_id_that_does_not_exist(self, api: Api) -> None:
        await api.ask("PUT", NO_JOB, status=404, json=JOB)

    @pytest.mark.parametrize("exists", [True, False])
    async def test_path_and_body_must_name_the_same(self, api: Api, exists: bool) -> None:
        if exists:
            await api.create(name="report")
        body = {**JOB, "name": "other"}
        assert await api.problems("PUT", REPORT, json=body) == [("name", "conflict")]

    async def test_a_path_that_is_no_name(self, api: Api) -> None:
        assert await api.problems("PUT", f"{JOBS}/No%20Name", json=JOB) == [("name", "pattern")]

    async def test_a_one_time_job_that_has_fired_can_be_put_again(self, api: Api) -> None:
        body = {**JOB, "schedule": {"at": format_instant(NOW + MINUTE)}}
        await api.ask("PUT", REPORT, status=201, json=body)
        api.clock.now += MINUTE
        await api.run()
        before = await api.get(REPORT)
        assert before["status"] == "completed"
        api.clock.now += DAY
        assert (await api.ask("PUT", REPORT, json=body)).json() == before

    async def test_two_at_once(self) -> None:
        """Both look, find no such job, and create it: one of them replaces it then."""
        gate = asyncio.Barrier(2)
        looked: list[str] = []

        async def after(method: str) -> None:
            if method == "get_job" and len(looked) < 2:
                looked.append(method)
                await gate.wait()

        async with serving(MemoryStore(after=after)) as api:
            bodies = [{**JOB, "description": text} for text in ("one", "two")]
            answers = await asyncio.gather(*(api.client.put(REPORT, json=body) for body in bodies))
            assert sorted(answer.status_code for answer in answers) == [200, 201]
            assert (await api.get(REPORT))["version"] == 2


class TestPatch:
    async def test_only_what_is_named_changes(self, api: Api) -> None:
        before = await api.create(
            name="report", tags=["a"], metadata={"keep": 1, "drop": 2}, retry={"max_attempts": 5}
        )
        patch = {"metadata": {"drop": None, "new": {"x": 1}}, "retry": {"initial": 2}}
        after = (await api.ask("PATCH", REPORT, json=patch)).json()
        assert after["metadata"] == {"keep": 1, "new": {"x": 1}}
        assert after["retry"] == {**before["retry"], "initial": "2s"}
        same = set(before) - {"metadata", "retry", "version", "updated_at"}
        assert {name: after[name] for name in same} == {name: before[name] for name in same}
        assert after["version"] == 2

    async def test_null_sets_the_default(self, api: Api) -> None:
        await api.create(name="report", tags=["a"], retry={"max_attempts": 9}, overlap="skip")
        patch = {"tags": None, "retry": None, "overlap": None, "description": None}
        after = (await api.ask("PATCH", REPORT, json=patch)).json()
        assert (after["tags"], after["overlap"]) == ([], "allow")
        assert after["retry"]["max_attempts"] == 3

    async def test_nothing_changes_nothing(self, api: Api) -> None:
        before = await api.create(name="report", tags=["a"])
        assert (await api.ask("PATCH", REPORT, json={})).json() == before
        assert (await api.ask("PATCH", REPORT, json={"tags": ["a"]})).json() == before
        assert api.changes() == ["created"]

    @pytest.mark.parametrize(
        ("patch", "shown"),
        [
            ({"cron": "0 2 * * *"}, {"cron": "0 2 * * *"}),
            ({"at": "2026-06-01T00:00:00Z"}, {"at": "2026-06-01T00:00:00Z"}),
            ({"every": "1h"}, {"every": "1h", "anchor": "2025-01-01T00:00:07Z"}),
            (
                {"every": "1h", "anchor": "2025-01-01T00:00:00Z"},
                {"every": "1h", "anchor": "2025-01-01T00:00:00Z"},
            ),
            ({"jitter": "5s"}, {"every": "15m", "anchor": "2025-01-01T00:00:07Z", "jitter": "5s"}),
        ],
    )
    async def test_one_kind_of_schedule_replaces_another(
        self, api: Api, patch: dict[str, Any], shown: dict[str, Any]
    ) -> None:
        schedule = {"every": "15m", "anchor": "2025-01-01T00:00:07Z", "timezone": "Asia/Tokyo"}
        await api.create(name="report", schedule=schedule)
        job = (await api.ask("PATCH", REPORT, json={"schedule": patch})).json()
        found = {k: v for k, v in job["schedule"].items() if k != "description"}
        rest = {"timezone": "Asia/Tokyo", "starts_at": None, "ends_at": None, "jitter": "0s"}
        assert found == {**rest, **shown}

    @pytest.mark.parametrize(
        ("before", "patch", "shown"),
        [
            ({"body": {"a": 1}}, {"body": {"b": 2}}, {"body": {"a": 1, "b": 2}}),
            ({"body": {"a": 1}}, {"body_text": "x"}, {"body_text": "x"}),
            ({"body_text": "x"}, {"body": [1]}, {"body": [1]}),
            ({"body_text": "x"}, {"body_text": None}, {}),
            ({"headers": {"A": "1", "B": "2"}}, {"headers": {"A": None}}, {"headers": {"B": "2"}}),
        ],
    )
    async def test_bodies_and_headers(
        self, api: Api, before: Any, patch: Any, shown: dict[str, Any]
    ) -> None:
        await api.create(name="report", target={"url": "https://example.com", **before})
        job = (await api.ask("PATCH", REPORT, json={"target": patch})).json()
        rest = {"url": "https://example.com", "method": "POST", "headers": {}, "timeout": "30s",
                "redirects": 0}  # fmt: skip
        assert job["target"] == {**rest, **shown}

    async def test_a_call_becomes_a_line_in_the_log_and_back(self, api: Api) -> None:
        await api.create(name="report", target={"url": "https://example.com", "body": 1})
        job = (await api.ask("PATCH", REPORT, json={"target": {"log": "x"}})).json()
        assert job["target"] == {"log": "x"}
        job = (await api.ask("PATCH", REPORT, json={"target": {"url": "http://h"}})).json()
        assert (job["target"]["url"], "log" in job["target"]) == ("http://h", False)

    async def test_rename(self, api: Api) -> None:
        job = await api.create(name="report")
        await api.create(name="taken")
        assert (await api.ask("PATCH", REPORT, json={"name": "new"})).json()["name"] == "new"
        answer = await api.ask("PATCH", f"{JOBS}/new", status=409, json={"name": "taken"})
        assert answer.json()["code"] == "name_taken"
        assert (await api.get(f"{JOBS}/{job['id']}"))["name"] == "new"

    @pytest.mark.parametrize(
        ("patch", "problem"),
        [
            ({"schedule": None}, ("schedule", "required")),
            ({"target": None}, ("target", "required")),
            ({"schedule": {"cron": "x"}}, ("schedule.cron", "cron_syntax")),
            ({"status": "paused"}, ("status", "read_only")),
            ({"target": {"headers": {"Host": "x"}}}, ("target.headers.Host", "reserved")),
            ({"retry": {"max_attempts": 0}}, ("retry.max_attempts", "out_of_range")),
        ],
    )
    async def test_the_result_must_be_valid(
        self, api: Api, patch: Any, problem: tuple[str, str]
    ) -> None:
        before = await api.create(name="report")
        found = await api.problems("PATCH", REPORT, json=patch)
        assert [field for field, _ in found] == [problem[0]]
        assert await api.get(REPORT) == before

    async def test_an_absurdly_deep_patch(self, api: Api) -> None:
        await api.create(name="report")
        deep = b'{"metadata":' + b'{"a":' * 900 + b"1" + b"}" * 901
        assert await api.problems("PATCH", REPORT, content=deep) == [("", "too_deep")]


class TestConditions:
    @pytest.mark.parametrize("given", ['"1"', '"7", "1"', "1", "*", ' "1" '])
    async def test_that_hold(self, api: Api, given: str) -> None:
        await api.create(name="report")
        sent = {"headers": {"If-Match": given}, "json": {"tags": ["x"]}}
        assert (await api.ask("PATCH", REPORT, **sent)).json()["version"] == 2

    @pytest.mark.parametrize("given", ['"2"', '"x"', 'W/"1"', '"01"', '""', "2"])
    @pytest.mark.parametrize(
        ("method", "path"),
        [
            ("PATCH", ""),
            ("PUT", ""),
            ("DELETE", ""),
            ("POST", "/pause"),
            ("POST", "/resume"),
            ("POST", "/cancel"),
        ],
    )
    async def test_that_do_not(self, api: Api, method: str, path: str, given: str) -> None:
        before = await api.create(name="report")
        sent: dict[str, Any] = {"headers": {"If-Match": given}}
        if method in {"PUT", "PATCH"}:
            sent["json"] = {**JOB, "tags": ["x"]}
        answer = await api.ask(method, f"{REPORT}{path}", status=412, **sent)
        assert answer.json()["code"] == "version_mismatch"
        assert await api.get(REPORT) == before

    @pytest.mark.parametrize("given", ["abc", '"1', ",", ""])
    async def test_that_are_none(self, api: Api, given: str) -> None:
        await api.create(name="report")
        sent = {"headers": {"If-Match": given}, "json": {}}
        assert await api.problems("PATCH", REPORT, **sent) == [("If-Match", "pattern")]

    @pytest.mark.parametrize("given", ["*", '"1"'])
    async def test_if_match_of_a_job_that_is_not_there(self, api: Api, given: str) -> None:
        sent = {"headers": {"If-Match": given}, "json": JOB}
        answer = await api.ask("PUT", REPORT, status=412, **sent)
        assert answer.json()["detail"].startswith("there is no job 'report'")
        await api.ask("PATCH", REPORT, status=404, **sent)

    async def test_create_only(self, api: Api) -> None:
        sent = {"headers": {"If-None-Match": "*"}, "json": JOB}
        await api.ask("PUT", REPORT, status=201, **sent)
        answer = await api.ask("PUT", REPORT, status=412, **sent)
        assert answer.json()["code"] == "already_exists"
        sent["headers"] = {"If-None-Match": '"1"'}
        assert await api.problems("PUT", REPORT, **sent) == [("If-None-Match", "pattern")]

    async def test_a_change_in_between(self) -> None:
        """Without a condition the change is decided anew, with one it is refused."""
        racing: list[Api] = []

        async def before(method: str) -> None:
            if method == "change_job" and racing:
                rival = racing.pop()
                version = (await rival.get(REPORT))["version"]
                await rival.ask("PATCH", REPORT, json={"tags": [f"after-{version}"]})

        async with serving(MemoryStore(before=before)) as api:
            await api.create(name="report")
            racing.append(api)
            job = (await api.ask("PATCH", REPORT, json={"description": "mine"})).json()
            assert (job["tags"], job["description"], job["version"]) == (["after-1"], "mine", 3)
            racing.append(api)
            await api.ask(
                "PATCH",
                REPORT,
                status=412,
                json={"description": "again", "tags": []},
                headers={"If-Match": '"3"'},
            )

    async def test_changes_without_end(self) -> None:
        depth = 0

        async def before(method: str) -> None:
            nonlocal depth
            if method == "change_job" and depth == 0:
                depth = 1
                await api.ask("PATCH", REPORT, json={"metadata": {"n": api.clock.now}})
                api.clock.now += 1
                depth = 0

        async with serving(MemoryStore(before=before)) as api:
            await api.create(name="report")
            answer = await api.ask("PATCH", REPORT, status=409, json={"tags": ["x"]})
            assert answer.json()["code"] == "contended"


class TestTimers:
    """What an edit makes of the next fire time."""

    async def test_the_anchor_is_kept(self, api: Api) -> None:
        await api.create(name="report", schedule={"every": "15m"})
        api.clock.now += 7 * MINUTE
        job = (await api.ask("PUT", REPORT, json={**JOB, "schedule": {"every": "10m"}})).json()
        assert job["schedule"]["anchor"] == format_instant(NOW)
        assert job["next_fire_at"] == format_instant(NOW + 10 * MINUTE)

    async def test_planning_never_goes_behind_what_was_planned(self, api: Api) -> None:
        await api.create(name="report", schedule={"every": "1m"})
        # Claimed ahead: the fire at one minute is planned, though it has not come.
        await api.claim(at=NOW + MINUTE - SECOND, ahead=SECOND)
        api.clock.now = NOW + MINUTE - SECOND
        patch = {"schedule": {"every": "30s"}}
        job = (await api.ask("PATCH", REPORT, json=patch)).json()
        assert job["next_fire_at"] == format_instant(NOW + MINUTE + 30 * SECOND)

    async def test_an_overdue_fire_outlives_an_edit_of_something_else(self, api: Api) -> None:
        await api.create(name="report", schedule={"every": "1m"})
        api.clock.now = NOW + 2 * MINUTE + SECOND  # nothing has claimed for two minutes
        job = (await api.ask("PATCH", REPORT, json={"tags": ["x"]})).json()
        assert job["next_fire_at"] == format_instant(NOW + MINUTE)

    async def test_overdue_fires_of_another_schedule_are_skipped_in_the_open(
        self, api: Api
    ) -> None:
        await api.create(name="report", schedule={"every": "1m"})
        api.clock.now = NOW + 3 * MINUTE + SECOND
        job = (await api.ask("PATCH", REPORT, json={"schedule": {"every": "1h"}})).json()
        assert job["next_fire_at"] == format_instant(NOW + HOUR)
        (skipped,) = (await api.get(f"{REPORT}/executions"))["items"]
        assert (skipped["state"], skipped["reason"]) == ("skipped", "changed")
        assert skipped["fire_time"] == format_instant(NOW + MINUTE)
        assert skipped["skipped_until"] == format_instant(NOW + 3 * MINUTE)
        assert skipped["skipped_count"] == 3
        assert job["last_execution"]["id"] == skipped["id"]
        assert isinstance(api.news[-1], ExecutionsChanged)

    async def test_others_hear_when_it_is_due(self, api: Api) -> None:
        await api.create(name="report", schedule={"every": "1h"})
        await api.ask("PATCH", REPORT, json={"schedule": {"every": "1m"}})
        news = api.news[-1]
        assert isinstance(news, JobsChanged)
        assert (news.change, news.due_at) == ("updated", NOW + MINUTE)

    async def test_a_schedule_without_a_fire_to_come_is_refused(self, api: Api) -> None:
        await api.create(name="report")
        patch = {"schedule": {"ends_at": format_instant(NOW)}}
        answer = await api.ask("PATCH", REPORT, status=422, json=patch)
        assert answer.json()["errors"][0]["code"] == "never_fires"

    async def test_a_completed_job_fires_again_by_a_new_schedule(self, api: Api) -> None:
        at = format_instant(NOW + MINUTE)
        await api.create(name="report", schedule={"at": at})
        api.clock.now += MINUTE
        await api.run()
        job = (await api.ask("PATCH", REPORT, json={"tags": ["x"]})).json()
        assert (job["status"], job["next_fire_at"]) == ("completed", None)
        later = format_instant(NOW + HOUR)
        job = (await api.ask("PATCH", REPORT, json={"schedule": {"at": later}})).json()
        assert (job["status"], job["next_fire_at"]) == ("active", later)

    async def test_a_fire_time_that_was_run_is_not_run_again(self, api: Api) -> None:
        at = format_instant(NOW + MINUTE)
        await api.create(name="report", schedule={"at": at})
        api.clock.now += MINUTE
        await api.run()
        patch = {"schedule": {"every": "1h"}}
        await api.ask("PATCH", REPORT, json=patch)
        back = await api.ask("PATCH", REPORT, status=422, json={"schedule": {"at": at}})
        assert back.json()["errors"][0]["code"] == "never_fires"

    async def test_a_paused_job_stays_paused(self, api: Api) -> None:
        await api.create(name="report")
        await api.ask("POST", f"{REPORT}/pause")
        job = (await api.ask("PATCH", REPORT, json={"schedule": {"every": "1h"}})).json()
        assert (job["status"], job["next_fire_at"]) == ("paused", None)
        job = (await api.ask("POST", f"{REPORT}/resume")).json()
        assert job["next_fire_at"] == format_instant(NOW + HOUR)

    async def test_a_cancelled_job(self, api: Api) -> None:
        await api.create(name="report")
        await api.ask("POST", f"{REPORT}/cancel")
        still: Sequence[tuple[str, Any]] = [("PUT", JOB), ("PATCH", {"tags": ["x"]})]
        for method, body in still:
            assert (await api.ask(method, REPORT, json=body)).json()["status"] == "cancelled"
        patch = {"schedule": {"every": "15m"}}
        job = (await api.ask("PATCH", REPORT, json=patch)).json()
        assert (job["status"], job["next_fire_at"]) == ("active", format_instant(NOW + 15 * MINUTE))
        await api.ask("POST", f"{REPORT}/cancel")
        job = (await api.ask("PUT", REPORT, json={**JOB, "description": "back"})).json()
        assert job["status"] == "active"
