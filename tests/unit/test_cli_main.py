"""The command line as a whole: help, errors, exit codes, and what it does not import."""

import json
import os
import subprocess
import sys

import pytest
from fake_api import Answer, FakeApi, an_execution, api_fixture, problem

from tocsin.cli.main import run

api = api_fixture


def test_help_names_the_commands_and_the_exit_codes(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["--help"]) == 0
    shown = capsys.readouterr().out
    names = ("serve", "migrate", "config", "version", "jobs", "executions", "nodes", "status")
    for command in names:
        assert f" {command} " in shown
    assert "Exit codes: 0 done" in shown


def test_without_a_command_there_is_help(capsys: pytest.CaptureFixture[str]) -> None:
    assert run([]) == 2
    captured = capsys.readouterr()
    assert "Usage: tocsin" in captured.out
    assert captured.err == ""


@pytest.mark.parametrize(
    ("args", "message"),
    [
        (["serv"], "No such command 'serv'. Did you mean 'serve'?\nTry 'tocsin --help'.\n"),
        (["jobs", "lst"], "Did you mean 'list'?\nTry 'tocsin jobs --help'.\n"),
        (["serve", "--prot", "1"], "No such option: --prot"),
        (["jobs", "show"], "Missing argument 'JOB'"),
        (["jobs", "list", "-n", "0"], "Invalid value for '--limit'"),
        (["jobs", "create", "x"], "say when: one of --cron, --every or --at"),
    ],
)
def test_wrong_usage_is_told_in_two_lines(
    args: list[str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(args) == 2
    captured = capsys.readouterr()
    assert captured.err.startswith("Error: ")
    assert message in captured.err
    assert captured.out == ""


def test_version(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["version"]) == 0
    assert capsys.readouterr().out.startswith("tocsin 0.")
    assert run(["version", "--json"]) == 0
    assert set(json.loads(capsys.readouterr().out)) == {"tocsin", "python", "sqlite"}
    assert run(["--version"]) == 0
    assert capsys.readouterr().out.startswith("tocsin 0.")


def test_the_server_may_be_named_before_the_command(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TOCSIN_SERVER", "127.0.0.1:2")
    assert run(["--server", "127.0.0.1:1", "jobs", "list"]) == 3
    assert "http://127.0.0.1:1:" in capsys.readouterr().err
    assert run(["--server", "127.0.0.1:1", "jobs", "list", "--server", "127.0.0.1:3"]) == 3
    assert "http://127.0.0.1:3:" in capsys.readouterr().err


def test_a_server_out_of_reach(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["jobs", "list", "--server", "127.0.0.1:1"]) == 3
    captured = capsys.readouterr()
    assert "cannot reach the server at http://127.0.0.1:1: connection refused" in captured.err
    assert "TOCSIN_SERVER" in captured.err


def test_the_server_comes_from_the_environment(
    api: FakeApi, monkeypatch: pytest.MonkeyPatch
) -> None:
    api.on("GET", "/jobs", {"items": [], "next_cursor": None})
    monkeypatch.setenv("TOCSIN_SERVER", f"{api.url}/")
    assert run(["jobs", "list"]) == 0
    assert api.calls() == ["GET /jobs"]


@pytest.mark.parametrize("server", ["ftp://x", "http://", "http://[::1", "a b"])
def test_an_address_that_is_none(server: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["jobs", "list", "--server", server]) == 2
    assert "address of a server" in capsys.readouterr().err


def test_a_proxy_is_not_asked_for_this_machine(
    api: FakeApi, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:1")
    monkeypatch.setenv("ALL_PROXY", "http://127.0.0.1:1")
    api.on("GET", "/jobs", {"items": [], "next_cursor": None})
    assert api.tocsin("jobs", "list") == 0


@pytest.mark.parametrize(
    ("answer", "exit_code", "message"),
    [
        (problem(404, "There is no such thing", detail="there is no job 'x'"), 4, "no job 'x'"),
        (problem(409, "The status of the job forbids it", detail="it ended"), 5, "it ended"),
        (problem(412, "The job has changed meanwhile"), 5, "changed meanwhile"),
        (problem(422, "The request is not valid", ("name", "is odd")), 2, "name: is odd"),
        (
            problem(422, "The idempotency key was used", code="idempotency_key_reused"),
            5,
            "was used",
        ),
        (problem(507, "A limit is reached", detail="1,000 jobs is the limit"), 1, "1,000 jobs"),
        (problem(500, "Something went wrong inside Tocsin"), 1, "Something went wrong"),
        (Answer("<h1>nginx</h1>", 404, "text/html"), 3, "does not look like a Tocsin server"),
        (Answer("<h1>hi</h1>", 200, "text/html"), 3, "is it a Tocsin server?"),
        (Answer([1], 404), 4, "the server answered 404"),
    ],
)
def test_what_the_server_refuses_has_its_exit_code(
    api: FakeApi,
    answer: Answer,
    exit_code: int,
    message: str,
    capsys: pytest.CaptureFixture[str],
) -> None:
    api.on("GET", "/jobs/x", answer)
    assert api.tocsin("jobs", "show", "x") == exit_code
    captured = capsys.readouterr()
    assert message in captured.err
    assert captured.out == ""


def test_a_refused_parameter_is_named_as_its_option(
    api: FakeApi, capsys: pytest.CaptureFixture[str]
) -> None:
    api.on("GET", "/jobs", problem(422, "The request is not valid", ("last_result", "is odd")))
    assert api.tocsin("jobs", "list", "--last-result", "x") == 2
    assert "--last-result: is odd" in capsys.readouterr().err


def test_status(api: FakeApi, capsys: pytest.CaptureFixture[str]) -> None:
    stats = {
        "window": "1h",
        "jobs": {"active": 3, "paused": 0},
        "executions": {"pending": 1, "claimed": 0, "succeeded": 12_345, "failed": 1},
        "success_ratio": 0.99992,
        "lateness_ms": {"p50": 0.5, "p95": None, "p99": 12.0},
        "next_fires": [{"job_id": "x", "job_name": "hello", "due": "2099-01-01T00:00:00Z"}],
    }
    ready = {"ready": True, "checks": [{"name": "store", "ok": True, "detail": ""}]}
    api.on("GET", "/readyz", ready)
    api.on("GET", "/stats", stats)
    assert api.tocsin("status") == 0
    shown = capsys.readouterr().out
    assert f"{api.url}  ready" in shown
    assert "Last 1h   12,345 succeeded   1 failed" in shown
    assert "p50 0.5 ms   p99 12 ms" in shown
    assert shown.rstrip().endswith("hello")
    assert api.tocsin("status", "--json") == 0
    assert json.loads(capsys.readouterr().out)["stats"] == stats


def test_status_fails_where_the_server_is_not_ready(
    api: FakeApi, capsys: pytest.CaptureFixture[str]
) -> None:
    checks = [{"name": "store", "ok": False, "detail": "the disk is full"}]
    api.on("GET", "/readyz", Answer({"ready": False, "checks": checks}, 503))
    api.on("GET", "/stats", {"jobs": {}, "executions": {}, "next_fires": []})
    assert api.tocsin("status") == 1
    shown = capsys.readouterr().out
    assert "not ready" in shown
    assert "store: the disk is full" in shown


PROGRAM = "from tocsin.cli.main import main; main()"

HEAVY = ("fastapi", "uvicorn", "sqlalchemy", "alembic", "tocsin.engine", "tocsin.api", "tocsin.app")


@pytest.mark.parametrize(
    ("args", "also"),
    [
        (["--help"], ("httpx", "pydantic", "structlog", "yaml")),
        (["jobs", "list"], ("pydantic_settings", "structlog", "yaml")),
        (["jobs", "create", "--help"], ("httpx", "pydantic_settings", "structlog", "yaml")),
        (["config", "show"], ("httpx", "structlog")),
        (["serve", "--help"], ("httpx", "structlog")),
    ],
)
def test_commands_import_only_what_they_need(args: list[str], also: tuple[str, ...]) -> None:
    """What makes ``tocsin --help`` and the commands for a server start quickly."""
    code = (
        "import sys\nfrom tocsin.cli.main import run\n"
        f"run({args!r})\n"
        f"print('loaded:', [n for n in {HEAVY + also!r} if n in sys.modules])"
    )
    environment = {**os.environ, "TOCSIN_SERVER": "http://127.0.0.1:1"}
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, env=environment
    )
    assert done.stdout.rstrip().endswith("loaded: []")


def test_a_pipe_that_is_closed_early_is_no_error(api: FakeApi) -> None:
    api.on("GET", "/executions", {"items": [an_execution()] * 5_000, "next_cursor": None})
    command = f'"{sys.executable}" -c "$PROGRAM" executions list --json -n 5000 | head -n 1'
    done = subprocess.run(
        ["bash", "-c", command],
        capture_output=True,
        text=True,
        check=True,
        env={**os.environ, "TOCSIN_SERVER": api.url, "PROGRAM": PROGRAM},
    )
    assert done.stdout.count("\n") == 1
    assert done.stderr == ""


@pytest.mark.parametrize(
    ("typed", "offered"),
    [
        ("tocsin ", ["serve", "jobs", "executions"]),
        ("tocsin jobs ", ["create", "apply", "trigger"]),
        ("tocsin serve --max-in", ["--max-in-flight", "--max-in-flight-per-lane"]),
        ("tocsin jobs list --kind ", ["cron", "every", "at"]),
        ("tocsin jobs show night", ["nightly-report"]),
    ],
)
def test_the_shell_completes(
    api: FakeApi, typed: str, offered: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    items = [{"name": "nightly-report"}]
    api.on("GET", "/jobs", {"items": items, "next_cursor": None})
    words = typed.split(" ")
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM],
        capture_output=True,
        text=True,
        check=False,
        env={
            **os.environ,
            "_TOCSIN_COMPLETE": "complete_bash",
            "COMP_WORDS": typed,
            "COMP_CWORD": str(len(words) - 1),
            "TOCSIN_SERVER": api.url,
        },
    )
    assert set(offered) <= set(done.stdout.split()), done
    assert done.stderr == ""


def test_the_completion_is_silent_where_the_server_is_away() -> None:
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM],
        capture_output=True,
        text=True,
        check=False,
        env={
            **os.environ,
            "_TOCSIN_COMPLETE": "complete_bash",
            "COMP_WORDS": "tocsin jobs show x",
            "COMP_CWORD": "3",
            "TOCSIN_SERVER": "http://127.0.0.1:1",
        },
    )
    assert (done.stdout.strip(), done.stderr) == ("", "")
