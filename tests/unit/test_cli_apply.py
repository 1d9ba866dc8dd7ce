"""``tocsin jobs apply``: created, updated, unchanged, refused."""

import json
import threading
from pathlib import Path
from typing import Any

import pytest
from fake_api import Answer, Asked, FakeApi, a_job, api_fixture, problem

from tocsin.cli import apply as applying

api = api_fixture
Captured = pytest.CaptureFixture[str]


def definition(name: str, **more: Any) -> dict[str, Any]:
    return {"name": name, "schedule": {"every": "1m"}, "target": {"log": "hi"}} | more


def file_of(tmp_path: Path, *jobs: dict[str, Any]) -> str:
    path = tmp_path / "jobs.json"
    path.write_text(json.dumps(list(jobs)))
    return str(path)


class Jobs:
    """A store of jobs behind the API: a PUT of the same definition changes nothing."""

    def __init__(self, api: FakeApi, names: list[str]) -> None:
        self.jobs: dict[str, dict[str, Any]] = {}
        self.lock = threading.Lock()
        self.batches: list[int] = []
        for name in names:
            api.on("GET", f"/jobs/{name}", self.get)
            api.on("PUT", f"/jobs/{name}", self.put)
        api.on("POST", "/jobs:batch", self.batch)
        api.on("GET", "/jobs", self.list)

    def get(self, asked: Asked) -> Answer:
        job = self.jobs.get(asked.path.removeprefix("/jobs/"))
        return problem(404, "There is no such thing") if job is None else Answer(job)

    def list(self, asked: Asked) -> Answer:
        return Answer({"items": list(self.jobs.values()), "next_cursor": None})

    def put(self, asked: Asked) -> Answer:
        with self.lock:
            return self._put(asked.path.removeprefix("/jobs/"), asked.body)

    def _put(self, name: str, body: dict[str, Any]) -> Answer:
        if "bad" in name:
            return problem(422, "The request is not valid", ("schedule.every", "is odd"))
        before = self.jobs.get(name)
        if before is None:
            self.jobs[name] = {**body, "version": 1}
            return Answer(self.jobs[name], 201)
        if {**body, "version": before["version"]} != before:
            self.jobs[name] = {**body, "version": before["version"] + 1}
        return Answer(self.jobs[name])

    def batch(self, asked: Asked) -> Answer:
        jobs = asked.body["jobs"]
        self.batches.append(len(jobs))
        bad = [index for index, job in enumerate(jobs) if "bad" in job["name"]]
        if bad:
            errors = [(f"jobs.{index}.schedule.every", "is odd") for index in bad]
            return problem(422, "The request is not valid", *errors)
        for job in jobs:
            self.jobs[job["name"]] = {**job, "version": 1}
        return Answer({"items": []}, 201)


def test_each_job_is_created_updated_or_left_as_it_is(
    api: FakeApi, tmp_path: Path, capsys: Captured
) -> None:
    jobs = Jobs(api, ["a", "b", "c"])
    assert api.tocsin("jobs", "apply", "-f", file_of(tmp_path, *map(definition, "ab"))) == 0
    assert capsys.readouterr().out == "created    a\ncreated    b\n2 created\n"
    changed = file_of(tmp_path, definition("a"), definition("b", tags=["x"]), definition("c"))
    assert api.tocsin("jobs", "apply", "-f", changed) == 0
    assert capsys.readouterr().out == (
        "unchanged  a\nupdated    b\ncreated    c\n1 created, 1 updated, 1 unchanged\n"
    )
    assert {name: job["version"] for name, job in jobs.jobs.items()} == {"a": 1, "b": 2, "c": 1}


def test_a_refused_job_does_not_stop_the_others(
    api: FakeApi, tmp_path: Path, capsys: Captured
) -> None:
    Jobs(api, ["a", "bad", "c"])
    path = file_of(tmp_path, *map(definition, ["a", "bad", "c"]))
    assert api.tocsin("jobs", "apply", "-f", path) == 2
    assert capsys.readouterr().out == (
        "created    a\n"
        "failed     bad\n"
        "           schedule.every: is odd\n"
        "created    c\n"
        "2 created, 1 failed\n"
    )


def test_many_new_jobs_go_in_batches_and_the_bad_ones_are_sorted_out(
    api: FakeApi, tmp_path: Path, capsys: Captured, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(applying, "BATCH", 20)
    names = [f"bad-{n}" if n in (3, 27) else f"job-{n}" for n in range(45)]
    jobs = Jobs(api, names)
    jobs.jobs["job-5"] = {**definition("job-5"), "version": 7}
    path = file_of(tmp_path, *map(definition, names))
    assert api.tocsin("jobs", "apply", "-f", path, "--json") == 2
    results = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [one["name"] for one in results] == names
    by_result = {word: {one["name"] for one in results if one["result"] == word}
                 for word in ("created", "unchanged", "failed")}  # fmt: skip
    assert by_result["failed"] == {"bad-3", "bad-27"}
    assert by_result["unchanged"] == {"job-5"}
    assert len(by_result["created"]) == 42
    assert results[3]["error"]["errors"] == [
        {"field": "schedule.every", "message": "is odd", "code": "invalid"}
    ]
    assert jobs.batches == [20, 19, 20, 19, 4]


def test_a_job_that_somebody_else_creates_meanwhile_is_put(
    api: FakeApi, tmp_path: Path, capsys: Captured
) -> None:
    names = [f"job-{n}" for n in range(12)]
    jobs = Jobs(api, names)

    def taken(asked: Asked) -> Answer:
        jobs.jobs["job-4"] = {**definition("job-4", tags=["theirs"]), "version": 1}
        error = {"field": "jobs.4.name", "message": "is taken", "code": "name_taken"}
        return Answer({"title": "The name is taken", "errors": [error]}, 409)

    api.on("POST", "/jobs:batch", taken, jobs.batch)
    assert api.tocsin("jobs", "apply", "-f", file_of(tmp_path, *map(definition, names))) == 0
    assert "11 created, 1 updated" in capsys.readouterr().out


def test_where_a_batch_is_refused_as_a_whole_each_job_says_why(
    api: FakeApi, tmp_path: Path, capsys: Captured
) -> None:
    names = [f"job-{n}" for n in range(12)]
    Jobs(api, names)
    full = problem(507, "A limit is reached", detail="10 jobs is the limit")
    api.on("POST", "/jobs:batch", full)
    for name in names[10:]:
        api.on("PUT", f"/jobs/{name}", full)
    assert api.tocsin("jobs", "apply", "-f", file_of(tmp_path, *map(definition, names))) == 1
    shown = capsys.readouterr().out
    assert "failed     job-10\n           10 jobs is the limit\n" in shown
    assert "10 created, 2 failed" in shown


def test_with_many_jobs_what_exists_is_listed_and_only_failures_are_shown(
    api: FakeApi, tmp_path: Path, capsys: Captured, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(applying, "SHOWN", 60)
    names = ["bad", *(f"job-{n}" for n in range(60))]
    jobs = Jobs(api, names)
    jobs.jobs["job-5"] = {**definition("job-5"), "version": 7}
    path = file_of(tmp_path, *map(definition, names))
    assert api.tocsin("jobs", "apply", "-f", path) == 2
    assert capsys.readouterr().out == (
        "failed     bad\n           schedule.every: is odd\n59 created, 1 unchanged, 1 failed\n"
    )
    assert api.calls() == ["GET /jobs", "POST /jobs:batch", "POST /jobs:batch", "PUT /jobs/job-5"]


def test_few_jobs_are_not_looked_for_among_a_million_others(
    api: FakeApi, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(applying, "MANY", 2)
    monkeypatch.setattr(applying, "LISTED_AT_MOST", 3)
    jobs = Jobs(api, ["a", "b"])
    jobs.jobs = {f"x-{n}": {"name": f"x-{n}"} for n in range(9)}
    assert api.tocsin("jobs", "apply", "-f", file_of(tmp_path, *map(definition, "ab"))) == 0
    assert sorted(api.calls()[:3]) == ["GET /jobs", "GET /jobs/a", "GET /jobs/b"]


def test_it_ends_where_the_server_goes_away(api: FakeApi, tmp_path: Path) -> None:
    api.url = "http://127.0.0.1:1"
    assert api.tocsin("jobs", "apply", "-f", file_of(tmp_path, definition("a"))) == 3


def test_an_unusable_file_is_refused_before_anything_is_sent(
    api: FakeApi, capsys: Captured, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert api.tocsin("jobs", "apply", "-f", "/missing.yaml") == 2
    assert capsys.readouterr().err == (
        "Error: cannot read /missing.yaml: No such file or directory\n"
    )
    assert api.tocsin("jobs", "apply") == 2
    assert api.asked == []


def dry_run(
    api: FakeApi, tmp_path: Path, capsys: Captured, before: dict[str, Any], **more: Any
) -> str:
    api.on("GET", "/jobs/nightly-report", before)
    wanted = {
        "name": "nightly-report",
        "description": "Sends the report",
        "schedule": {"cron": "0 2 * * *", "timezone": "Europe/Berlin"},
        "target": {
            "url": "https://example.com/hook",
            "headers": {"X-Team": "ops"},
            "body": {"any": "json"},
        },
        "tags": ["reports"],
    }
    path = file_of(tmp_path, wanted | more)
    api.tocsin("jobs", "apply", "-f", path, "--dry-run")
    assert {one.method for one in api.asked} == {"GET"}
    return capsys.readouterr().out


def test_a_dry_run_shows_what_would_change(api: FakeApi, tmp_path: Path, capsys: Captured) -> None:
    shown = dry_run(
        api,
        tmp_path,
        capsys,
        a_job(),
        schedule={"cron": "0 3 * * *", "timezone": "Europe/Berlin"},
        retry={"max_attempts": 3, "initial": "60"},
        overlap="skip",
        metadata={"a": 1},
    )
    assert shown == (
        "updated    nightly-report  metadata, overlap, retry.initial, schedule.cron\n"
        "1 updated (nothing was changed: --dry-run)\n"
    )


def test_a_dry_run_knows_different_spellings_and_defaults(
    api: FakeApi, tmp_path: Path, capsys: Captured
) -> None:
    """The server may have defaults of its own, so a field that is left out is no change."""
    before = a_job()
    before["target"]["timeout"] = "7s"
    before["retry"]["initial"] = "5s"
    shown = dry_run(api, tmp_path, capsys, before, retry={"max": "300", "max_attempts": 3})
    assert shown.startswith("unchanged  nightly-report\n")


def test_a_dry_run_checks_definitions(api: FakeApi, tmp_path: Path, capsys: Captured) -> None:
    shown = dry_run(api, tmp_path, capsys, a_job(), schedule={"cron": "0 2 * *"})
    assert shown.startswith("failed     nightly-report\n           schedule.cron: ")
