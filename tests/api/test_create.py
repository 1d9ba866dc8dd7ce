"""Creating jobs, one and many."""

import re
from typing import Any

import pytest

from tests.api.harness import JOB, JOBS, Api, serving
from tests.support.build import HOUR, MINUTE, NOW, SECOND
from tests.support.memory_store import MemoryStore
from tocsin.domain.codes import CodeRule
from tocsin.domain.instant import format_instant
from tocsin.domain.job import Misfire, MisfirePolicy
from tocsin.domain.retry import RetryPolicy
from tocsin.services.definitions import JobDefaults
from tocsin.store.bus import JobsChanged
from tocsin.store.port import Limits

FULL: dict[str, Any] = {
    "name": "nightly-report",
    "description": "Sends the report",
    "schedule": {
        "cron": "0 2 * * *",
        "timezone": "Europe/Berlin",
        "starts_at": None,
        "ends_at": None,
        "jitter": "0s",
    },
    "target": {
        "url": "https://example.com/hook",
        "method": "POST",
        "headers": {"X-Team": "ops"},
        "body": {"any": "json"},
        "timeout": "30s",
        "redirects": 0,
    },
    "retry": {
        "max_attempts": 3,
        "initial": "1s",
        "factor": 2,
        "max": "5m",
        "jitter": 0.1,
        "on": ["connection", "dns", "timeout", "408", "425", "429", "5xx"],
    },
    "misfire": {"policy": "latest", "grace": "1m", "max": 100},
    "overlap": "allow",
    "delivery": "at_least_once",
    "success": ["2xx"],
    "tags": ["reports"],
    "metadata": {},
}
"""The job of the design document, every field written out."""


async def test_the_least_job_is_answered_with_every_default(api: Api) -> None:
    answer = await api.ask("POST", JOBS, status=201, json=JOB)
    job = answer.json()
    assert re.fullmatch(r"[0-9a-f]{8}-[0-9a-f]{4}-7[0-9a-f]{3}-[89ab][0-9a-f]{3}-.{12}", job["id"])
    assert job == {
        "id": job["id"],
        "name": job["id"],
        "description": "",
        "schedule": {
            "every": "15m",
            "anchor": "2026-01-01T00:00:00Z",
            "timezone": "UTC",
            "starts_at": None,
            "ends_at": None,
            "jitter": "0s",
            "description": "Every 15 minutes",
        },
        "target": {
            "url": "https://example.com/hook",
            "method": "POST",
            "headers": {},
            "timeout": "30s",
            "redirects": 0,
        },
        "retry": {
            "max_attempts": 3,
            "initial": "1s",
            "factor": 2.0,
            "max": "5m",
            "jitter": 0.1,
            "on": ["connection", "dns", "timeout", "408", "425", "429", "5xx"],
        },
        "misfire": {"policy": "latest", "grace": None, "max": 100},
        "overlap": "allow",
        "delivery": "at_least_once",
        "success": ["2xx"],
        "tags": [],
        "metadata": {},
        "status": "active",
        "version": 1,
        "created_at": "2026-01-01T00:00:00Z",
        "updated_at": "2026-01-01T00:00:00Z",
        "next_fire_at": "2026-01-01T00:15:00Z",
        "last_execution": None,
    }
    assert answer.headers["etag"] == '"1"'
    assert answer.headers["location"] == f"{JOBS}/{job['id']}"
    assert await api.get(f"{JOBS}/{job['id']}") == job


async def test_the_whole_job_comes_back_as_it_was_sent(api: Api) -> None:
    job = await api.create(**FULL)
    words = {"description": "At 02:00 every day, Europe/Berlin"}
    assert {name: job[name] for name in FULL} == {**FULL, "schedule": FULL["schedule"] | words}
    assert job["next_fire_at"] == "2026-01-01T01:00:00Z"
    assert await api.get(f"{JOBS}/nightly-report") == job


async def test_what_is_null_has_its_default(api: Api) -> None:
    nulls = dict.fromkeys(
        ("name", "description", "retry", "misfire", "overlap", "delivery", "success", "tags",
         "metadata")
    )  # fmt: skip
    target = {
        "url": "https://example.com/hook",
        **dict.fromkeys(("method", "headers", "body", "body_text", "body_base64", "timeout")),
        "redirects": None,
        "log": None,
    }
    one = await api.create(**nulls, target=target)
    other = await api.create()
    same = {"id", "name"}
    assert {k: v for k, v in one.items() if k not in same} == {
        k: v for k, v in other.items() if k not in same
    }


async def test_a_service_has_defaults_of_its_own() -> None:
    defaults = JobDefaults(
        timeout=5 * SECOND,
        retry=RetryPolicy(max_attempts=7),
        misfire=Misfire(policy=MisfirePolicy.SKIP),
        success=CodeRule(["200"]),
    )
    async with serving(MemoryStore(), defaults=defaults) as api:
        job = await api.create(retry={"factor": 3}, misfire={"grace": "2m"})
    assert job["target"]["timeout"] == "5s"
    assert job["retry"]["max_attempts"] == 7
    assert job["retry"]["factor"] == 3.0
    assert job["misfire"] == {"policy": "skip", "grace": "2m", "max": 100}
    assert job["success"] == ["200"]


@pytest.mark.parametrize(
    ("schedule", "field"),
    [
        ({"cron": "* * * * * *"}, "schedule.cron"),
        ({"cron": "*/30 * * * * *", "timezone": "Europe/Berlin"}, "schedule.cron"),
        ({"cron": "0,30 0 12 * * MON", "jitter": "10m"}, "schedule.cron"),
        ({"every": "59s"}, "schedule.every"),
    ],
)
async def test_what_fires_more_often_than_the_server_takes_is_refused(
    schedule: dict[str, Any], field: str
) -> None:
    store = MemoryStore()
    async with serving(store) as api:
        before = await api.create(name="before", schedule=schedule)
    async with serving(store, defaults=JobDefaults(min_interval=MINUTE)) as api:
        refused = [(field, "too_often")]
        assert await api.problems("POST", JOBS, json={**JOB, "schedule": schedule}) == refused
        await api.create(name="seldom", schedule={"cron": "0 * * * * *"})
        assert await api.problems("PATCH", f"{JOBS}/seldom", json={"schedule": schedule}) == refused
        batch = {"jobs": [JOB, {**JOB, "schedule": schedule}, JOB]}
        assert await api.problems("POST", f"{JOBS}:batch", json=batch) == [
            (f"jobs.1.{field}", "too_often")
        ]
        # What was there before can still be edited.
        changed = await api.ask("PATCH", f"{JOBS}/before", json={"description": "as it was"})
        assert changed.json()["schedule"] == before["schedule"]


@pytest.mark.parametrize(
    ("given", "shown"),
    [("90s", "1m30s"), ("PT1H", "1h"), (0.25, "250ms"), (45, "45s"), ("2", "2s")],
)
async def test_durations_are_normalised(api: Api, given: Any, shown: str) -> None:
    job = await api.create(
        target={"url": "https://example.com", "timeout": given}, retry={"initial": given}
    )
    assert job["target"]["timeout"] == shown
    assert job["retry"]["initial"] == shown


@pytest.mark.parametrize(
    "target",
    [
        {"url": "http://[::1]:8080/x", "body_text": "hello"},
        {"url": "https://münchen.example/ä?ö=ü", "body_base64": "aGVsbG8="},
        {"url": "HTTPS://Example.com", "method": "m-search", "body": [1, None, "x"]},
        {"url": "https://example.com/{{ job_name }}", "body": {"at": "{{ fire_time }}"}},
        {"url": "https://example.com", "headers": {"X-Id": "{{ execution_id }}", "x-y": "é\t1"}},
        {"url": "https://example.com", "body": False},
        {"log": "{{ job_name }} is due"},
    ],
)
async def test_targets(api: Api, target: dict[str, Any]) -> None:
    job = await api.create(target=target)
    expected = {**target, "method": target["method"].upper()} if "method" in target else target
    assert {name: job["target"][name] for name in target} == expected


async def test_a_one_time_job_within_its_grace_still_fires(api: Api) -> None:
    job = await api.create(schedule={"at": format_instant(NOW - 30 * SECOND)})
    assert job["next_fire_at"] == format_instant(NOW - 30 * SECOND)
    late = {"at": format_instant(NOW - 30 * SECOND)}
    strict = {**JOB, "schedule": late, "misfire": {"grace": "1s"}}
    assert await api.problems("POST", JOBS, json=strict) == [("schedule.at", "in_the_past")]


async def test_a_job_without_a_fire_to_come_is_refused(api: Api) -> None:
    over = {"every": "1m", "anchor": format_instant(NOW - HOUR), "ends_at": format_instant(NOW)}
    answer = await api.ask("POST", JOBS, status=422, json={**JOB, "schedule": over})
    assert answer.json()["errors"][0]["code"] == "never_fires"
    assert "no fire to come" in answer.json()["detail"]


async def test_others_hear_of_it(api: Api) -> None:
    job = await api.create(schedule={"every": "1h", "jitter": "30m"}, name="jittery")
    (news,) = api.news
    assert isinstance(news, JobsChanged)
    assert news.change == "created"
    assert [one.id for one in news.jobs] == [job["id"]]
    assert news.due_at is not None
    assert NOW + HOUR <= news.due_at <= NOW + HOUR + 30 * MINUTE


async def test_a_taken_name_is_a_conflict(api: Api) -> None:
    await api.create(name="report")
    answer = await api.ask("POST", JOBS, status=409, json={**JOB, "name": "report"})
    assert answer.json()["code"] == "name_taken"
    assert answer.json()["errors"][0]["field"] == "name"


async def test_ids_grow_with_time(api: Api) -> None:
    ids = [(await api.create())["id"] for _ in range(20)]
    api.clock.now += 1
    ids.append((await api.create())["id"])
    assert ids == sorted(ids)


class TestBatch:
    async def test_jobs_come_back_in_order(self, api: Api) -> None:
        jobs = [{**JOB, "name": f"job-{9 - n}"} for n in range(10)]
        answer = await api.ask("POST", f"{JOBS}:batch", status=201, json={"jobs": jobs})
        items = answer.json()["items"]
        assert [item["name"] for item in items] == [job["name"] for job in jobs]
        assert items[3] == await api.get(f"{JOBS}/job-6")
        (news,) = api.news
        assert isinstance(news, JobsChanged)
        assert (len(news.jobs), news.due_at) == (10, NOW + 15 * MINUTE)

    async def test_a_job_of_a_batch_is_answered_as_it_is_shown_later(self, api: Api) -> None:
        jobs = [
            JOB | {"name": "plain"},
            JOB | {"name": "quoted", "description": 'say "{}"'},
            {"schedule": {"at": "2100-01-01T00:00:00Z"}, "target": {"log": "\u00e9 {{ job_id }}"}},
        ]
        answer = await api.ask("POST", f"{JOBS}:batch", status=201, json={"jobs": jobs})
        for item in answer.json()["items"]:
            assert await api.get(f"{JOBS}/{item['id']}") == item

    async def test_more_than_one_slice(self, api: Api) -> None:
        jobs = [{**JOB, "name": f"job-{n}"} for n in range(451)]
        answer = await api.ask("POST", f"{JOBS}:batch", status=201, json={"jobs": jobs})
        assert [item["name"] for item in answer.json()["items"]] == [j["name"] for j in jobs]

    async def test_all_or_nothing_with_problems_by_index(self, api: Api) -> None:
        jobs = [
            {**JOB, "name": "fine"},
            {**JOB, "name": "Not Fine"},
            {"schedule": {"cron": "x"}, "target": {"url": "ftp://h"}},
        ]
        answer = await api.ask("POST", f"{JOBS}:batch", status=422, json={"jobs": jobs})
        fields = [one["field"] for one in answer.json()["errors"]]
        assert fields == ["jobs.1.name", "jobs.2.schedule.cron", "jobs.2.target.url"]
        assert (await api.get(JOBS))["items"] == []
        assert api.news == []

    async def test_taken_and_repeated_names(self, api: Api) -> None:
        await api.create(name="taken")
        jobs = [{**JOB, "name": name} for name in ("new", "taken", "twice", "twice")]
        answer = await api.ask("POST", f"{JOBS}:batch", status=409, json={"jobs": jobs})
        assert answer.json()["code"] == "name_taken"
        fields = [one["field"] for one in answer.json()["errors"]]
        assert fields == ["jobs.1.name", "jobs.3.name"]
        assert len((await api.get(JOBS))["items"]) == 1

    async def test_a_flood_of_problems_is_cut(self, api: Api) -> None:
        jobs = [{**JOB, "x": 1} for _ in range(1_000)]
        answer = await api.ask("POST", f"{JOBS}:batch", status=422, json={"jobs": jobs})
        assert len(answer.json()["errors"]) == 100

    @pytest.mark.parametrize(
        ("body", "problem"),
        [
            ({}, ("jobs", "required")),
            ([], ("jobs", "required")),
            ({"jobs": {}}, ("jobs", "required")),
            ({"jobs": []}, ("jobs", "too_short")),
            ({"jobs": [], "job": 1}, ("job", "unknown_field")),
            ({"jobs": [1]}, ("jobs.0", "type")),
        ],
    )
    async def test_the_shape_of_a_batch(
        self, api: Api, body: Any, problem: tuple[str, str]
    ) -> None:
        assert await api.problems("POST", f"{JOBS}:batch", json=body) == [problem]

    async def test_its_length_is_bounded(self) -> None:
        async with serving(MemoryStore(), max_batch=3) as api:
            problems = await api.problems("POST", f"{JOBS}:batch", json={"jobs": [JOB] * 4})
        assert problems == [("jobs", "too_long")]


class TestCapacity:
    async def test_too_many_jobs(self) -> None:
        limits = Limits(max_jobs=1, max_bytes=1_000_000)
        async with serving(MemoryStore(), limits=limits) as api:
            await api.create()
            answer = await api.ask("POST", JOBS, status=507, json=JOB)
            assert answer.json()["code"] == "capacity_exceeded"
            text = (await api.ask("GET", "/metrics")).text
        assert 'tocsin_capacity_rejections_total{limit="jobs"} 1.0' in text
        assert 'tocsin_capacity_used{limit="jobs"} 1.0' in text

    async def test_too_many_bytes_by_an_edit(self) -> None:
        limits = Limits(max_jobs=10, max_bytes=1_000)
        async with serving(MemoryStore(), limits=limits) as api:
            job = await api.create()
            patch = {"description": "x" * 1_000}
            await api.ask("PATCH", f"{JOBS}/{job['id']}", status=507, json=patch)
            assert (await api.get(f"{JOBS}/{job['id']}"))["version"] == 1
