"""What the audit log shows of definitions."""

import json
import re
from typing import Any

import pytest
from tests.support.build import NOW

from tocsin.domain.audit import JsonText
from tocsin.domain.codec import spec_text
from tocsin.services.definitions import JobDefaults, read_definition
from tocsin.services.masking import (
    MASK,
    MAX_SHOWN,
    changed,
    masked,
    masked_definition,
    masked_text,
)


@pytest.mark.parametrize(
    "name",
    ["Authorization", "X-Api-Key", "api_key", "apikey", "access_token", "Cookie", "client-secret",
     "password", "Passwd", "private_key", "X-Signature", "key", "pwd", "sig", "credentials"],
)  # fmt: skip
def test_names_that_tell(name: str) -> None:
    assert masked({name: "x"}) == {name: MASK}
    assert masked({"deep": [{name: ["x", {"y": "z"}]}]}) == {"deep": [{name: [MASK, {"y": "z"}]}]}


@pytest.mark.parametrize("name", ["X-Team", "keyboard", "monkey", "customer", "assignee", "id"])
def test_names_that_do_not(name: str) -> None:
    assert masked({name: "x"}) == {name: "x"}


@pytest.mark.parametrize("value", [None, "", True, "{{ secret.TOKEN }}", "Bearer {{ secret.A }}"])
def test_what_is_no_secret_stays(value: Any) -> None:
    assert masked({"token": value}) == {"token": value}


@pytest.mark.parametrize(
    "target",
    [
        {"url": "https://a.test/x?page=2", "body": {"customer": 5, "monkey": "x"}},
        {"url": "https://a.test/x?api_key=hidden"},
        {"url": "https://a.test/x?SIG=hidden&key=hidden&pwd=hidden"},
        {"url": "https://a.test/x/hidden1a2b3c4d5e6f7"},
        {"url": "https://a.test/x?%61uth=hidden"},
        {"url": "https://a.test/", "headers": {"Authorization": "hidden"}},
        {"url": "https://a.test/", "headers": {"X-Team": "ops"}},
        {"url": "https://a.test/", "body": {"deep": [{"Key": "hidden", "Sig": "hidden"}]}},
        {"url": "https://a.test/", "body": {"PassWord": "hidden", "pass\u0057ord": "hidden"}},
        {"url": "https://a.test/", "body_text": "hidden"},
        {"url": "https://a.test/", "body_base64": "aGlkZGVu"},
        {"url": "https://a.test/", "body": {"private": "hidden", "accessKey": "hidden"}},
    ],
)
def test_the_short_way_shows_what_the_long_one_does(target: dict[str, Any]) -> None:
    data = {"schedule": {"every": "1h"}, "target": target}
    spec = read_definition(data, defaults=JobDefaults(), now=NOW).spec
    text = spec_text(spec)
    for written in (text, text.replace("PassWord", "Pass\\u0057ord"), None):
        shown = masked_text(spec, written)
        found = json.loads(shown) if isinstance(shown, JsonText) else shown
        assert found == masked_definition(json.loads(text))
    assert "hidden" not in str(shown)
    assert "aGlkZGVu" not in str(shown)


def test_a_placeholder_hides_nothing_beside_it() -> None:
    assert masked({"token": "{{ secret.A }}hidden"}) == {"token": MASK}


def test_numbers_are_masked_too() -> None:
    assert masked({"password": 1234}) == {"password": MASK}


def test_parameters_of_urls() -> None:
    url = "https://a.test/x?page=2&api_key=hidden&token=&sig=a%3Db"
    shown = masked_definition({"target": {"url": url}})["target"]["url"]
    assert shown == f"https://a.test/x?page=2&api_key={MASK}&token=&sig={MASK}"


@pytest.mark.parametrize(
    "url",
    [
        "https://hooks.test/services/<T024BE7LH>/<B02F4A1K9>/<a8Xk2LmQ0pR7sT4uV9wY1zB3>",
        "https://api.test/<bot110201543:AAHdqTcvCH1vGWJxfSeofSAs0K5PALDsaw>/send",
        "https://ping.test/<0f1c9b8e-7d2a-4c3b-9e1f-5a6b7c8d9e0f>",
        "https://a.test/h/<9f86d081884c7d659a2feaa0c55ad015>",
        "https://a.test/x?k=<a8Xk2LmQ0pR7sT4uV9wY1zB3>&page=2",
        "https://a.test?<a8Xk2LmQ0pR7sT4uV9wY1zB3>",
        "https://a.test/x?%74oken=<hidden>;pwd=<hidden>",
        "https://a.test/x#<a8Xk2LmQ0pR7sT4uV9wY1zB3>",
    ],
)
def test_what_looks_random_in_a_url_is_masked(url: str) -> None:
    written = url.replace("<", "").replace(">", "")
    shown = masked_definition({"target": {"url": written}})["target"]["url"]
    assert shown == re.sub("<.*?>", MASK, url)


@pytest.mark.parametrize(
    "path",
    [
        "api/v2/jobs:batch",
        "reports/nightly-report-2026-11-01/run",
        "teams/platform-eu-west-1/hooks/deploy-finished",
        "x?since=2026-11-01T00:00:00Z&limit=100",
        "x/{{ execution_id }}?at={{ fire_time }}&k={{ secret.HOOK2KEY9 }}",
        "2026/11/27/index.html",
        "customers/1234567890/export.csv",
        "SendTheReportToEverybody",
    ],
)
def test_what_people_name_things_stays(path: str) -> None:
    url = f"https://a8x2b9c4d.internal.test:8443/{path}"
    assert masked_definition({"target": {"url": url}})["target"]["url"] == url


def test_only_what_differs_is_shown() -> None:
    before = {"a": 1, "b": 2, "target": {"headers": {"Authorization": "old"}}}
    after = {"a": 1, "b": 3, "target": {"headers": {"Authorization": "new"}}, "c": 4}
    hidden = {"headers": {"Authorization": MASK}}
    assert changed(before, after) == (
        {"b": 2, "target": hidden, "c": None},
        {"b": 3, "target": hidden, "c": 4},
    )


def test_what_is_large_is_told_by_its_size() -> None:
    big = {"rows": ["x" * 100] * 1_000}
    shown = masked_definition({"target": {"url": "u", "body": big}, "metadata": big, "tags": []})
    assert len(str(shown)) < MAX_SHOWN
    assert shown["target"]["body"].endswith("bytes of JSON)")
    assert shown["metadata"].endswith("bytes of JSON)")
    text = masked_definition({"target": {"body_text": "x" * 5_000}})
    assert text["target"]["body_text"] == "(5,000 characters)"


def test_the_definition_itself_is_left_alone() -> None:
    given = {"target": {"headers": {"Authorization": "x"}, "body": {"token": "y"}}}
    masked_definition(given)
    assert given == {"target": {"headers": {"Authorization": "x"}, "body": {"token": "y"}}}
