"""``tocsin jobs`` against a server that answers as it is told."""

import json
from pathlib import Path
from typing import Any

import pytest
from fake_api import (
    EXECUTION_ID,
    Answer,
    Asked,
    FakeApi,
    a_job,
    an_execution,
    api_fixture,
    problem,
)

api = api_fixture
Captured = pytest.CaptureFixture[str]

LONG = "a-name-that-somebody-made-up-for-a-job-that-does-really-many-things-at-the-same-time"


def test_list_shows_a_table_that_fits(
    api: FakeApi, capsys: Captured, monkeypatch: pytest.MonkeyPatch
) -> None:
    jobs = [
        a_job(),
        a_job(LONG, status="paused", next_fire_at=None),
        a_job("x", schedule={"every": "15m"}, target={"log": "Stretch\n\x1b[2Jlegs"}),
        a_job("y", schedule={"at": "2026-12-24T18:00:00Z"}, last_execution=None),
    ]
    api.on("GET", "/jobs", {"items": jobs, "next_cursor": None})
    monkeypatch.setenv("COLUMNS", "100")
    assert api.tocsin("jobs", "list") == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].split() == ["NAME", "STATUS", "SCHEDULE", "TARGET", "NEXT", "LAST"]
    assert len(lines) == 5
    assert max(map(len, lines)) <= 100
    assert "every 15m" in lines[3]
    assert "\x1b" not in lines[3]


def test_nothing_is_cut_off_where_no_person_reads(api: FakeApi, capsys: Captured) -> None:
    api.on("GET", "/jobs", {"items": [a_job(LONG)], "next_cursor": None})
    assert api.tocsin("jobs", "list") == 0
    shown = capsys.readouterr().out
    assert LONG in shown
    assert "POST https://example.com/hook" in shown
    assert "\x1b" not in shown


def test_list_passes_its_filters_on(api: FakeApi) -> None:
    api.on("GET", "/jobs", {"items": [], "next_cursor": None})
    args = "report -s active -s paused -t a -t b --kind cron --last-result failed --sort -name"
    assert api.tocsin("jobs", "list", *args.split()) == 0
    assert api.asked[0].query == {
        "text": ["report"],
        "status": ["active", "paused"],
        "tag": ["a", "b"],
        "kind": ["cron"],
        "last_result": ["failed"],
        "sort": ["-name"],
        "limit": ["100"],
    }


def test_list_goes_through_the_pages(api: FakeApi, capsys: Captured) -> None:
    def page(asked: Asked) -> Answer:
        start = int(asked.query.get("cursor", ["0"])[0])
        stop = min(start + int(asked.query["limit"][0]), 1150)
        items = [a_job(f"job-{number}") for number in range(start, stop)]
        return Answer({"items": items, "next_cursor": str(stop) if stop < 1150 else None})

    api.on("GET", "/jobs", page)
    assert api.tocsin("jobs", "list", "--all", "--json") == 0
    lines = capsys.readouterr().out.splitlines()
    assert [json.loads(line)["name"] for line in lines] == [f"job-{n}" for n in range(1150)]
    assert api.tocsin("jobs", "list", "-n", "510") == 0
    captured = capsys.readouterr()
    assert len(captured.out.splitlines()) == 511
    assert captured.err == "the first 510; --all shows all\n"


def test_an_empty_list_says_so(api: FakeApi, capsys: Captured) -> None:
    api.on("GET", "/jobs", {"items": [], "next_cursor": None})
    assert api.tocsin("jobs", "list") == 0
    assert capsys.readouterr() == ("", "there are no such jobs\n")


def test_show(api: FakeApi, capsys: Captured) -> None:
    api.on("GET", "/jobs/nightly-report", a_job())
    assert api.tocsin("jobs", "show", "nightly-report") == 0
    shown = capsys.readouterr().out
    for text in (
        "nightly-report  active\nSends the report\n",
        "Schedule   At 02:00 every day, Europe/Berlin\n           0 2 * * * Europe/Berlin\n",
        "Next fire  2099-01-01T01:00:00Z (in ",
        "           Thu 2099-01-01 02:00:00 CET\n",
        "Target     POST https://example.com/hook\n           X-Team: ops\n",
        'Body       {"any": "json"}\n',
        "Retry      up to 3 attempts, waiting 1s, ×2 up to 5m, ±10 %\n",  # noqa: RUF001
        "Delivery   at least once\n",
        f"  {EXECUTION_ID}\n",
    ):
        assert text in shown
    assert not [line for line in shown.splitlines() if line != line.rstrip()]


def test_show_as_json_is_what_the_server_said(api: FakeApi, capsys: Captured) -> None:
    job = a_job(description="ümläut", metadata={"n": 1.50})
    api.on("GET", "/jobs/a%2Fb", job)
    assert api.tocsin("jobs", "show", "a/b", "--json") == 0
    shown = capsys.readouterr().out
    assert json.loads(shown) == job
    assert "ümläut" in shown
    assert shown.count("\n") == 1


def created(api: FakeApi, *args: str) -> Any:
    api.on("POST", "/jobs", a_job(), status=201)
    assert api.tocsin("jobs", "create", *args) == 0
    return api.asked[-1].body


def test_create_sends_only_what_was_said(api: FakeApi, capsys: Captured) -> None:
    body = created(api, "--cron", "0 2 * * *", "--url", "https://example.com")
    assert body == {"schedule": {"cron": "0 2 * * *"}, "target": {"url": "https://example.com"}}
    shown = capsys.readouterr().out
    assert shown.startswith("created nightly-report  At 02:00 every day, Europe/Berlin\n")
    assert "next fire 2099-01-01T01:00:00Z (in " in shown


def test_create_knows_every_field(api: FakeApi, tmp_path: Path) -> None:
    (tmp_path / "body.json").write_text('{"hello": ["world"]}')
    args = [
        *("report", "--every", "15m", "--anchor", "2026-01-01T00:00:00Z"),
        *("--starts-at", "2026-02-01T00:00:00Z", "--ends-at", "2026-03-01T00:00:00Z"),
        *("--jitter", "10s", "--timezone", "Europe/Berlin"),
        *("--url", "https://example.com", "-X", "put", "-H", "X-A: b:c", "-H", "Accept:*/*"),
        *("--body", f"@{tmp_path / 'body.json'}", "--timeout", "5s", "--redirects", "2"),
        *("--max-attempts", "5", "--retry-initial", "2s", "--retry-factor", "1.5"),
        *("--retry-max", "1m", "--retry-jitter", "0", "--retry-on", "5xx,429"),
        *("--retry-on", "timeout", "--misfire", "all", "--misfire-grace", "30s"),
        *("--misfire-max", "7", "--overlap", "skip", "--delivery", "at-most-once"),
        *("--success", "2xx,404", "--description", "Hi", "-t", "a", "-t", "b"),
        *("--metadata", "team=ops", "--metadata", "url=http://x?a=b"),
        *("--idempotency-key", "k-1"),
    ]
    assert created(api, *args) == {
        "name": "report",
        "description": "Hi",
        "schedule": {
            "every": "15m",
            "timezone": "Europe/Berlin",
            "anchor": "2026-01-01T00:00:00Z",
            "starts_at": "2026-02-01T00:00:00Z",
            "ends_at": "2026-03-01T00:00:00Z",
            "jitter": "10s",
        },
        "target": {
            "url": "https://example.com",
            "method": "PUT",
            "headers": {"X-A": "b:c", "Accept": "*/*"},
            "body": {"hello": ["world"]},
            "timeout": "5s",
            "redirects": 2,
        },
        "retry": {
            "max_attempts": 5,
            "initial": "2s",
            "factor": 1.5,
            "max": "1m",
            "jitter": 0.0,
            "on": ["5xx", "429", "timeout"],
        },
        "misfire": {"policy": "all", "grace": "30s", "max": 7},
        "overlap": "skip",
        "delivery": "at_most_once",
        "success": ["2xx", "404"],
        "tags": ["a", "b"],
        "metadata": {"team": "ops", "url": "http://x?a=b"},
    }
    assert api.asked[0].headers["idempotency-key"] == "k-1"


def test_a_local_time_is_read_in_the_zone_of_the_job(api: FakeApi) -> None:
    args = ("--at", "2099-07-01 12:00", "--timezone", "Europe/Berlin", "--log", "lunch")
    assert created(api, *args)["schedule"] == {
        "at": "2099-07-01T10:00:00Z",
        "timezone": "Europe/Berlin",
    }


@pytest.mark.parametrize(
    ("args", "message"),
    [
        ("--cron x --every 1m --log x", "--cron and --every exclude each other"),
        ("--at yesterday --log x", "--at: 'yesterday' is not an instant"),
        ("--at 12:00 --timezone Mars --log x", "--timezone: 'Mars' is not a time zone"),
        ("--every 1m --url x --body {oops", "--body is not JSON"),
        ("--every 1m --url x --body @/missing", "--body: cannot read /missing: No such file"),
        ("--every 1m --url x -H nonsense", "--header 'nonsense': write it as NAME:VALUE"),
        ("--every 1m --url x --metadata a", "--metadata 'a': write it as NAME=VALUE"),
    ],
)
def test_create_refuses_what_it_cannot_send(
    api: FakeApi, args: str, message: str, capsys: Captured
) -> None:
    assert api.tocsin("jobs", "create", "x", *args.split()) == 2
    assert message in capsys.readouterr().err
    assert api.asked == []


def test_what_the_server_says_about_a_field_is_said_about_its_option(
    api: FakeApi, capsys: Captured
) -> None:
    errors = [
        ("schedule.cron", "has 2 fields; 5 or 6 are needed"),
        ("target.headers.Host", "is set by Tocsin"),
        ("target.weird", "is not a field"),
    ]
    refusal = problem(422, "The request is not valid", *errors, detail="schedule.cron: … (and 2)")
    api.on("POST", "/jobs", refusal)
    assert api.tocsin("jobs", "create", "x", "--cron", "* *", "--log", "x") == 2
    assert capsys.readouterr().err == (
        "Error: The request is not valid\n"
        "  --cron: has 2 fields; 5 or 6 are needed\n"
        "  --header (target.headers.Host): is set by Tocsin\n"
        "  target.weird: is not a field\n"
    )


@pytest.mark.parametrize(
    ("command", "done"), [("pause", "paused"), ("resume", "resumed"), ("cancel", "cancelled")]
)
def test_steering(api: FakeApi, command: str, done: str, capsys: Captured) -> None:
    api.on("POST", f"/jobs/a/{command}", a_job("a"))
    api.on("POST", f"/jobs/b/{command}", a_job("b"))
    assert api.tocsin("jobs", command, "a", "b") == 0
    shown = capsys.readouterr().out
    assert f"{done} a" in shown
    assert f"{done} b" in shown


def test_one_refusal_does_not_stop_the_others(api: FakeApi, capsys: Captured) -> None:
    api.on("POST", "/jobs/a/pause", problem(404, "x", detail="there is no job 'a'"))
    api.on("POST", "/jobs/b/pause", a_job("b"))
    assert api.tocsin("jobs", "pause", "a", "b") == 4
    captured = capsys.readouterr()
    assert captured.out.startswith("paused b")
    assert captured.err == "Error: 1 of 2 failed\n  a: there is no job 'a'\n"


def test_delete(api: FakeApi, capsys: Captured) -> None:
    api.on("DELETE", "/jobs/a", Answer(None, 204))
    assert api.tocsin("jobs", "delete", "a") == 0
    assert capsys.readouterr().out == "deleted a\n"


def test_trigger(api: FakeApi, capsys: Captured) -> None:
    api.on("POST", "/jobs/a/trigger", an_execution("claimed", finished_at=None), status=202)
    args = ("--body", '{"n": 1}', "--idempotency-key", "k")
    assert api.tocsin("jobs", "trigger", "a", *args) == 0
    assert capsys.readouterr().out == f"triggered nightly-report: execution {EXECUTION_ID}\n"
    assert api.asked[0].body == {"body": {"n": 1}}
    assert api.asked[0].headers["idempotency-key"] == "k"
    api.tocsin("jobs", "trigger", "a")
    assert api.asked[1].body == {}


@pytest.mark.parametrize(("state", "exit_code"), [("succeeded", 0), ("failed", 1), ("skipped", 1)])
def test_trigger_waits_for_the_end(
    api: FakeApi, state: str, exit_code: int, capsys: Captured
) -> None:
    live = an_execution("claimed", finished_at=None)
    api.on("POST", "/jobs/a/trigger", live, status=202)
    api.on("GET", f"/executions/{EXECUTION_ID}", live, live, an_execution(state))
    assert api.tocsin("jobs", "trigger", "a", "--wait", "--json") == exit_code
    assert json.loads(capsys.readouterr().out)["state"] == state


PREVIEW = {
    "description": "At 02:30 every day, Europe/Berlin",
    "timezone": "Europe/Berlin",
    "items": [
        {"fire_time": "2027-03-27T01:30:00Z", "local": "…", "offset_changed": False},
        {"fire_time": "2027-03-28T01:00:00Z", "local": "…", "offset_changed": True},
    ],
}


def test_preview_of_a_schedule_that_is_not_saved(api: FakeApi, capsys: Captured) -> None:
    api.on("POST", "/schedules:preview", PREVIEW)
    args = ("--cron", "30 2 * * *", "--tz", "Europe/Berlin", "-n", "2")
    assert api.tocsin("jobs", "preview", *args, "--after", "2027-03-27T00:00:00Z") == 0
    assert api.asked[0].body == {
        "schedule": {"cron": "30 2 * * *", "timezone": "Europe/Berlin"},
        "count": 2,
        "after": "2027-03-27T00:00:00Z",
    }
    captured = capsys.readouterr()
    lines = captured.out.splitlines()
    assert lines[0] == "At 02:30 every day, Europe/Berlin"
    assert lines[1].split() == ["Europe/Berlin", "UTC", "FROM", "NOW"]
    assert lines[2].startswith("Sat 2027-03-27 02:30:00 CET     2027-03-27T01:30:00Z  ")
    assert lines[3].startswith("Sun 2027-03-28 03:00:00 CEST *  2027-03-28T01:00:00Z  ")
    assert "the clocks have changed" in captured.err


def test_preview_tells_what_a_new_job_would_be_refused_for(api: FakeApi, capsys: Captured) -> None:
    wrong = {"field": "schedule.every", "message": "fires every 2s", "code": "too_often"}
    api.on("POST", "/schedules:preview", {**PREVIEW, "errors": [wrong]})
    assert api.tocsin("jobs", "preview", "--every", "2s") == 0
    captured = capsys.readouterr()
    assert "CEST" in captured.out
    assert "a new job would be refused: --every: fires every 2s" in captured.err


def test_preview_of_a_saved_job(api: FakeApi, capsys: Captured) -> None:
    fires = {**PREVIEW, "timezone": "UTC"}
    api.on("GET", "/jobs/nightly-report/preview", fires)
    assert api.tocsin("jobs", "preview", "nightly-report") == 0
    assert api.asked[0].query == {"count": ["10"]}
    lines = capsys.readouterr().out.splitlines()
    assert lines[1].split() == ["UTC", "FROM", "NOW"]
    assert lines[2].startswith("Sat 2027-03-27 01:30:00 UTC")


def test_preview_needs_one_of_both(api: FakeApi, capsys: Captured) -> None:
    assert api.tocsin("jobs", "preview") == 2
    assert api.tocsin("jobs", "preview", "a", "--every", "1m") == 2
    assert "a job or a schedule, not both" in capsys.readouterr().err


def test_colours_are_there_on_request_only(
    api: FakeApi, capsys: Captured, monkeypatch: pytest.MonkeyPatch
) -> None:
    api.on("GET", "/jobs", {"items": [a_job()], "next_cursor": None})
    monkeypatch.setenv("TERM", "xterm-256color")
    monkeypatch.setenv("FORCE_COLOR", "1")
    api.tocsin("jobs", "list")
    assert "\x1b[32mactive" in capsys.readouterr().out
    monkeypatch.setenv("NO_COLOR", "1")
    api.tocsin("jobs", "list")
    assert "\x1b[32m" not in capsys.readouterr().out
