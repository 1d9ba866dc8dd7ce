"""``tocsin executions`` against a server that answers as it is told."""

import json
from types import SimpleNamespace
from typing import Any

import pytest
from fake_api import (
    EXECUTION_ID,
    FakeApi,
    an_attempt,
    an_execution,
    api_fixture,
    problem,
    stream,
)

from tocsin.cli import sse

api = api_fixture
Captured = pytest.CaptureFixture[str]


def numbered(number: int, state: str = "succeeded", **more: Any) -> dict[str, Any]:
    finished = f"2026-03-01T01:00:{number:02}Z"
    return an_execution(state, id=f"execution-{number}", finished_at=finished) | more


def page(*executions: dict[str, Any]) -> dict[str, Any]:
    return {"items": list(executions), "next_cursor": None}


def event(number: int, execution: dict[str, Any]) -> str:
    data = json.dumps(execution)
    return f"id: x-{number}\nevent: execution.{execution['state']}\ndata: {data}\n\n"


def test_list_shows_a_table_that_fits(
    api: FakeApi, capsys: Captured, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "100")
    api.on(
        "GET",
        "/executions",
        page(
            an_execution(),
            an_execution("failed", error_kind="http_status", http_status=503, attempt_count=3),
            an_execution("failed", error_kind="timeout", http_status=None),
            an_execution(
                "skipped", reason="misfire", skipped_count=12, attempt_count=0, duration_ms=None
            ),
            an_execution("pending", available_at="2099-01-01T00:00:00Z", finished_at=None),
            an_execution("something_new", job_name="a" * 90),
        ),
    )
    assert api.tocsin("executions", "list") == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].split() == ["ID", "JOB", "FIRE", "TIME", "RESULT", "TRIES", "TOOK"]
    assert max(map(len, lines)) <= 100
    for line, text in zip(
        lines[1:],
        ("succeeded 200", "failed 503", "failed timeout", "skipped misfire ×12", "pending retry",  # noqa: RUF001
         "something_new"),
        strict=True,
    ):  # fmt: skip
        assert line.startswith(EXECUTION_ID)
        assert text[:15] in line


def test_list_passes_its_filters_on(api: FakeApi) -> None:
    api.on("GET", "/executions", page())
    args = ["nightly-report", "-s", "failed", "-s", "skipped", "--error-kind", "timeout", "-n", "5"]
    instants = ["--since", "2026-03-01T01:00:00Z", "--until", "2026-03-02T01:00:00Z"]
    assert api.tocsin("executions", "list", *args, *instants) == 0
    assert api.asked[0].query == {
        "job": ["nightly-report"],
        "state": ["failed", "skipped"],
        "error_kind": ["timeout"],
        "since": ["2026-03-01T01:00:00Z"],
        "until": ["2026-03-02T01:00:00Z"],
        "limit": ["5"],
    }


def test_show(api: FakeApi, capsys: Captured) -> None:
    first = an_attempt(error_kind="http_status", http_status=503, error="503 Busy")
    last = an_attempt(2, response={"excerpt": "bad\x1b[2J\nthings", "truncated": True})
    found = an_execution("failed", error="no answer within 30s", attempts=[first, last])
    api.on("GET", "/executions/e", found)
    assert api.tocsin("executions", "show", "e") == 0
    shown = capsys.readouterr().out
    assert "Started       2026-03-01T01:00:00.002Z (" in shown
    assert ", 2.0 ms late\n" in shown
    assert "Error         no answer within 30s\n" in shown
    assert "The last answer (its beginning):\nbad\N{REPLACEMENT CHARACTER}[2J\nthings\n" in shown
    assert "\x1b" not in shown
    assert [line.split()[:3] for line in shown.splitlines() if line.startswith(("1 ", "2 "))] == [
        ["1", "01:00:00.002Z", "503"],
        ["2", "01:00:00.002Z", "200"],
    ]


@pytest.mark.parametrize(
    ("trigger", "words"),
    [
        ("schedule", "its schedule"),
        ("manual", "a request"),
        ("retry", "a request to retry"),
        ("unheard-of", "unheard-of"),
    ],
)
def test_show_says_what_triggered_it(
    api: FakeApi, capsys: Captured, trigger: str, words: str
) -> None:
    api.on("GET", "/executions/e", an_execution("succeeded", trigger=trigger))
    assert api.tocsin("executions", "show", "e") == 0
    assert f"Triggered by  {words}\n" in capsys.readouterr().out


def test_show_of_skipped_fire_times(api: FakeApi, capsys: Captured) -> None:
    skipped = an_execution(
        "skipped",
        reason="misfire",
        skipped_until="2026-03-01T02:00:00Z",
        skipped_count=12,
        attempts=[],
        started_at=None,
        duration_ms=None,
    )
    api.on("GET", "/executions/e", skipped)
    assert api.tocsin("executions", "show", "e") == 0
    shown = capsys.readouterr().out
    assert "Stands for    12 fire times up to 2026-03-01T02:00:00Z\n" in shown
    assert "Started" not in shown


def test_cancel_and_retry(api: FakeApi, capsys: Captured) -> None:
    api.on("POST", "/executions/e/cancel", an_execution("cancelled"))
    again = an_execution("pending", finished_at=None, retry_of="e")
    api.on("POST", "/executions/e/retry", again, status=202)
    assert api.tocsin("executions", "cancel", "e") == 0
    assert api.tocsin("executions", "retry", "e", "--idempotency-key", "k") == 0
    assert capsys.readouterr().out == (
        "cancelled nightly-report: execution e\n"
        f"triggered nightly-report: execution {EXECUTION_ID}\n"
    )
    assert api.asked[1].headers["idempotency-key"] == "k"


def test_what_has_ended_cannot_be_cancelled(api: FakeApi) -> None:
    api.on("POST", "/executions/e/cancel", problem(409, "The execution has ended"))
    assert api.tocsin("executions", "cancel", "e") == 5


def ids(text: str) -> list[str]:
    return [word for word in text.split() if word.startswith("execution-")]


def test_tail_without_following_shows_the_last_ones_oldest_first(
    api: FakeApi, capsys: Captured
) -> None:
    api.on("GET", "/executions", page(numbered(3), numbered(1), numbered(2)))
    assert api.tocsin("executions", "tail", "--no-follow", "-n", "3") == 0
    assert ids(capsys.readouterr().out) == ["execution-1", "execution-2", "execution-3"]
    assert api.asked[0].query["limit"] == ["3"]
    assert "pending" not in api.asked[0].query["state"]


@pytest.fixture
def ctrl_c(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """Ctrl-C at the first wait for a new connection but one."""
    waits: list[float] = []

    def sleep(seconds: float) -> None:
        waits.append(seconds)
        if len(waits) > 1:
            raise KeyboardInterrupt

    monkeypatch.setattr(sse, "time", SimpleNamespace(sleep=sleep))
    return waits


def test_tail_follows_over_broken_connections_and_shows_each_outcome_once(
    api: FakeApi, capsys: Captured, ctrl_c: list[float]
) -> None:
    retrying = numbered(3, "pending", finished_at=None, attempt_count=1, duration_ms=None)
    api.on("GET", "/executions", page(numbered(1)))
    api.on(
        "GET",
        "/events",
        stream(
            "retry: 2000\n\n",
            event(1, numbered(1)),  # was in the history already
            event(2, numbered(2, "claimed", finished_at=None)),
            event(3, numbered(2)),
            event(4, retrying),
            event(5, retrying),
        ),
        stream(
            event(6, numbered(3, "failed", error_kind="timeout", attempt_count=2)),
            "event: job.created\nid: x-7\ndata: {}\n\n",
            "event: execution.odd\nid: x-8\ndata: not json\n\n",
            event(9, numbered(4, "skipped", reason="overlap", attempt_count=0)),
        ),
    )
    assert api.tocsin("executions", "tail", "nightly-report") == 0
    captured = capsys.readouterr()
    assert ids(captured.out) == [f"execution-{n}" for n in (1, 2, 3, 3, 4)]
    assert [line.split()[2] for line in captured.out.splitlines()] == [
        "succeeded", "succeeded", "retrying", "failed", "skipped",
    ]  # fmt: skip
    assert "connection lost (the server ended it)" in captured.err
    assert "connected again" in captured.err
    events = [one for one in api.asked if one.path == "/events"]
    assert [one.headers.get("last-event-id") for one in events] == [None, "x-5"]
    assert events[0].query == {"job": ["nightly-report"], "types": ["execution"]}


def test_tail_catches_up_where_events_were_missed(
    api: FakeApi, capsys: Captured, ctrl_c: list[float]
) -> None:
    api.on("GET", "/executions", page(numbered(1)), page(numbered(3), numbered(2), numbered(1)))
    reset = 'event: reset\nid: y-0\ndata: {"reason": "unknown_id"}\n\n'
    api.on("GET", "/events", stream(), stream(reset, event(4, numbered(4))))
    assert api.tocsin("executions", "tail") == 0
    captured = capsys.readouterr()
    assert ids(captured.out) == [f"execution-{n}" for n in (1, 2, 3, 4)]
    assert "some events were missed" in captured.err


def test_tail_shows_only_the_outcomes_that_were_asked_for(
    api: FakeApi, capsys: Captured, ctrl_c: list[float]
) -> None:
    retrying = numbered(3, "pending", finished_at=None)
    api.on(
        "GET",
        "/events",
        stream(event(1, numbered(1)), event(2, numbered(2, "failed")), event(3, retrying)),
    )
    args = ("-s", "failed", "-s", "retrying", "-n", "0", "--json")
    assert api.tocsin("executions", "tail", *args) == 0
    lines = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [(one["id"], one["state"]) for one in lines] == [
        ("execution-2", "failed"),
        ("execution-3", "pending"),
    ]


def test_the_lines_of_tail_fit_and_keep_the_id(
    api: FakeApi, capsys: Captured, monkeypatch: pytest.MonkeyPatch
) -> None:
    failed = an_execution(
        "failed", error_kind="timeout", error="no answer\nwithin 30s " * 20, job_name="j" * 60
    )
    api.on("GET", "/executions", page(an_execution(), failed))
    for columns, with_error in ((100, False), (160, True)):
        monkeypatch.setenv("COLUMNS", str(columns))
        assert api.tocsin("executions", "tail", "--no-follow") == 0
        lines = capsys.readouterr().out.splitlines()
        assert len(lines) == 2
        assert max(map(len, lines)) <= columns
        assert all(EXECUTION_ID in line for line in lines)
        assert ("no answer within" in lines[1]) is with_error
