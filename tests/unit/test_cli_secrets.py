"""``tocsin secrets`` and ``tocsin signing``, and a server that asks for patience."""

import io
import time
from pathlib import Path

import pytest
from fake_api import Answer, FakeApi, api_fixture, problem

api = api_fixture

SECRET = {
    "name": "TOKEN",
    "version": 1,
    "created_at": "2026-01-01T00:00:00Z",
    "updated_at": "2026-01-01T00:00:00Z",
    "previous_until": None,
    "used_by": 2,
}


def typed(monkeypatch: pytest.MonkeyPatch, text: str) -> None:
    monkeypatch.setattr("sys.stdin", io.StringIO(text))


@pytest.mark.parametrize("text", ["value", "value\n", "value\r\n"])
def test_a_value_is_read_from_standard_input(
    api: FakeApi, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], text: str
) -> None:
    api.on("PUT", "/secrets/TOKEN", SECRET, status=201)
    typed(monkeypatch, text)
    assert api.tocsin("secrets", "set", "TOKEN") == 0
    assert api.asked[0].body == {"value": "value"}
    out = capsys.readouterr().out
    assert "made TOKEN" in out
    assert "{{ secret.TOKEN }}" in out


def test_a_value_is_read_from_a_file(
    api: FakeApi, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    api.on("PUT", "/secrets/TOKEN", SECRET)
    (tmp_path / "value").write_text("from a file\n")
    words = ("secrets", "set", "TOKEN", "--overlap", "1h", "--file")
    assert api.tocsin(*words, str(tmp_path / "value")) == 0
    assert api.asked[0].body == {"value": "from a file", "overlap": "1h"}
    assert api.tocsin(*words, str(tmp_path / "absent")) == 2
    assert "cannot read" in capsys.readouterr().err


def test_secrets_are_listed_and_deleted(api: FakeApi, capsys: pytest.CaptureFixture[str]) -> None:
    api.on("GET", "/secrets", {"items": [SECRET], "next_cursor": None})
    api.on("DELETE", "/secrets/TOKEN", None, status=204)
    assert api.tocsin("secrets", "list") == 0
    assert "TOKEN" in capsys.readouterr().out
    assert api.tocsin("secrets", "delete", "TOKEN", "--force") == 0
    assert api.asked[-1].query == {"force": ["true"]}


def test_the_signing_key_is_the_first_line(
    api: FakeApi, capsys: pytest.CaptureFixture[str]
) -> None:
    shown = {**SECRET, "shown": True, "secret": "whsec_x"}
    api.on("POST", "/signing:reveal", shown)
    api.on("POST", "/signing:rotate", shown)
    assert api.tocsin("signing", "show") == 0
    assert api.tocsin("signing", "rotate", "--overlap", "2h") == 0
    assert capsys.readouterr().out == "whsec_x\nwhsec_x\n"
    assert api.asked[-1].body == {"overlap": "2h"}


def test_the_command_line_waits_where_it_asked_too_often(
    api: FakeApi, monkeypatch: pytest.MonkeyPatch
) -> None:
    waited: list[float] = []
    monkeypatch.setattr(time, "sleep", waited.append)
    refused = problem(429, "Too many requests", code="rate_limited")
    refused.headers["Retry-After"] = "7"
    answer = Answer({"items": [], "next_cursor": None})
    api.on("GET", "/secrets", refused, refused, answer)
    assert api.tocsin("secrets", "list") == 0
    assert waited == [7, 7]


def test_but_not_for_long(
    api: FakeApi, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(time, "sleep", lambda _: pytest.fail("it waits"))
    refused = problem(429, "Too many requests", detail="try again in 3600 s")
    refused.headers["Retry-After"] = "3600"
    api.on("GET", "/secrets", refused)
    assert api.tocsin("secrets", "list") == 1
    assert "3600" in capsys.readouterr().err


JOB = {"name": "x", "schedule": {"every": "1h"}, "target": {}, "next_fire_at": None}


@pytest.mark.parametrize(
    ("words", "target"),
    [
        (
            ("--bearer", "TOKEN"),
            {"auth": {"type": "bearer", "token": "{{ secret.TOKEN }}"}},
        ),
        (
            ("--basic", "a:b:PASS", "--sign-with", "HOOK"),
            {
                "auth": {"type": "basic", "username": "a:b", "password": "{{ secret.PASS }}"},
                "signing": {"secret": "HOOK"},
            },
        ),
    ],
)
def test_a_job_is_given_credentials_by_the_names_of_secrets(
    api: FakeApi, words: tuple[str, ...], target: dict[str, object]
) -> None:
    answered = {**JOB, "target": {"url": "https://x/", **target}}
    api.on("POST", "/jobs", answered, status=201)
    api.on("GET", "/jobs/x", answered)
    assert api.tocsin("jobs", "create", "--every", "1h", "--url", "https://x/", *words) == 0
    assert api.asked[0].body["target"] == {"url": "https://x/", **target}


@pytest.mark.parametrize(
    "words", [("--basic", "nobody"), ("--basic", "a:"), ("--basic", "a:B", "--bearer", "C")]
)
def test_credentials_that_cannot_be_are_refused(api: FakeApi, words: tuple[str, ...]) -> None:
    assert api.tocsin("jobs", "create", "--every", "1h", "--url", "https://x/", *words) == 2
    assert api.asked == []
