"""What pages of other sites, and people with a keyboard full of Unicode, can try."""

import json
from collections.abc import AsyncIterator
from typing import Any

import pytest
from fastapi.routing import APIRoute

from tests.api.access import ADMIN, Guarded, guarded
from tests.api.harness import JOB, JOBS, KEYS
from tests.support.memory_store import MemoryStore
from tocsin.api.app import create_api

SESSION = "/api/v1/session"


@pytest.fixture
async def api() -> AsyncIterator[Guarded]:
    async with guarded(MemoryStore(), demo=False) as made:
        yield made


async def test_a_form_of_another_site_reaches_no_route(api: Guarded) -> None:
    """Forms can send these three kinds without asking, with whatever text in them."""
    browser = api.anonymous
    told = (await browser.post(SESSION, json={"key": ADMIN})).json()
    job = (await api.api.create(name="job"))["id"]
    state: Any = api.api.store.state  # type: ignore[attr-defined]
    before = len(state.jobs), len(state.keys), len(state.executions), len(state.secrets)
    tried = 0
    for route in create_api(api.api.context).routes:
        if not isinstance(route, APIRoute) or route.path == SESSION:
            continue
        for method in sorted(route.methods - {"GET", "HEAD"}):
            path = route.path.replace("{ref}", job).replace("{name}", "X")
            for kind in (
                "text/plain",
                "application/x-www-form-urlencoded",
                "multipart/form-data; boundary=x",
            ):
                for given in ({}, {"Tocsin-CSRF": told["csrf_token"], "Origin": "http://a.test"}):
                    headers = {"Content-Type": kind, **given}
                    answer = await browser.request(
                        method, path, content=b'{"name": "x"}', headers=headers
                    )
                    assert answer.status_code == 403, (method, path, kind, answer.text)
                    tried += 1
    assert tried > 60
    after = len(state.jobs), len(state.keys), len(state.executions), len(state.secrets)
    assert after == before


@pytest.mark.parametrize("kind", ["text/plain", "application/x-www-form-urlencoded", "text/json"])
async def test_nobody_is_signed_in_by_a_form(api: Guarded, kind: str) -> None:
    """Not even to an account of the attacker's, who would then see what the user does."""
    content = json.dumps({"key": ADMIN}).encode()
    answer = await api.anonymous.post(SESSION, content=content, headers={"Content-Type": kind})
    assert answer.status_code == 415
    assert "set-cookie" not in answer.headers


async def test_to_sign_in_makes_a_new_session_whatever_was_there(api: Guarded) -> None:
    """A session that somebody planted before is not the one that is signed in."""
    planted = "attackers-choice-of-a-token"
    victim = api.client(Cookie=f"tocsin_session={planted}")
    answer = await victim.post(SESSION, json={"key": ADMIN})
    assert answer.status_code == 200
    assert planted not in answer.headers["set-cookie"]
    thief = api.client(Cookie=f"tocsin_session={planted}")
    assert (await thief.get(SESSION)).status_code == 401
    one, two = [(await api.anonymous.post(SESSION, json={"key": ADMIN})) for _ in range(2)]
    assert one.cookies["tocsin_session"] != two.cookies["tocsin_session"]


async def test_a_key_in_the_address_of_a_page_opens_nothing(api: Guarded) -> None:
    """It would stay in histories, logs of proxies and Referer headers."""
    for name in ("key", "api_key", "access_token", "token", "X-API-Key", "authorization"):
        answer = await api.anonymous.get(JOBS, params={name: ADMIN})
        assert answer.status_code == 401
        assert ADMIN not in answer.text
        # Beside a key in a header it is refused, so that nobody gets used to it.
        beside = await api.api.client.get(JOBS, params={name: ADMIN})
        assert beside.status_code == 422
        assert ADMIN not in beside.text


LOOKALIKES = [
    "rep\u043ert",  # a Cyrillic o
    "re\u200bport",  # a space without width
    "re\u00adport",  # a soft hyphen
    "\u202etroper",  # from right to left
    "report\u2066",
    "\uff52eport",  # full width
    "repo\u0301rt",
    "report\n",
    "report\0",
    "report\t",
    "report ",
    " report",
    "re\u2028port",
    "r\ud800",
    "\ufeffreport",
]


@pytest.mark.parametrize("name", LOOKALIKES, ids=ascii)
async def test_no_name_looks_like_another(api: Guarded, name: str) -> None:
    await api.api.create(name="report", tags=["report"])
    await api.api.ask("PUT", "/api/v1/secrets/report", status=201, json={"value": "abcd"})
    written = f'"{name}"'.encode("utf-8", "surrogatepass")
    for character in "\n\0\t":
        escaped = f"\\u{ord(character):04x}".encode()
        written = written.replace(character.encode(), escaped)
    job = b'{"schedule": {"every": "1h"}, "target": {"log": "x"}, '
    headers = {"Content-Type": "application/json"}
    for path, body in (
        (JOBS, job + b'"name": ' + written + b"}"),
        (JOBS, job + b'"tags": [' + written + b"]}"),
        (KEYS, b'{"role": "viewer", "name": "k", "tags": [' + written + b"]}"),
        (KEYS, b'{"role": "viewer", "name": "k", "namespace": ' + written + b"}"),
    ):
        answer = await api.api.client.post(path, content=body, headers=headers)
        mixed = b"\xd0\xbe" in written or b"\xef\xbd" in written
        if b"tags" in body and mixed:
            continue  # tags are words of any script, and decide nothing by their looks
        assert answer.status_code in {400, 422}, (path, body, answer.text)
    answer = await api.api.client.put(
        f"/api/v1/secrets/{name.encode('utf-8', 'surrogatepass').hex('%', 1)}",
        json={"value": "abcd"},
    )
    assert answer.status_code >= 400
    for place in ("namespace", "Tocsin-Namespace"):
        asked: dict[str, Any] = (
            {"params": {place: name.encode("utf-8", "replace").decode()}}
            if place == "namespace"
            else {"headers": {place: name.encode("utf-8", "replace").strip(b"\n\0\t ")}}
        )
        if place != "namespace" and name.strip("\n\0\t ") == "report":
            continue
        answer = await api.api.client.get(JOBS, **asked)
        assert answer.status_code == 422, (place, answer.text)


@pytest.mark.parametrize(
    "header",
    ["X-\u00dcmlaut", "Content\u2010Length", "\uff23ontent-Length", "X\u200b", "X\u017f", "\u212a"],
)
async def test_names_of_headers_are_ascii(api: Guarded, header: str) -> None:
    """`\u017f` is an s and `\u212a` a k, for whoever changes them to lower case."""
    target = {"url": "https://example.com/", "headers": {header: "x"}}
    problems = await api.api.problems("POST", JOBS, json={**JOB, "target": target})
    assert problems == [(f"target.headers.{header}", "invalid")]


@pytest.mark.parametrize("value", ["a\r\nX: y", "a\nX: y", "a\rb", "a\0b", "a\x0bb", "a\u2028b"])
async def test_values_of_headers_are_of_one_line(api: Guarded, value: str) -> None:
    target = {"url": "https://example.com/", "headers": {"X-A": value}}
    answer = await api.api.client.post(JOBS, json={**JOB, "target": target})
    if value == "a\u2028b":
        # A character like others: it leaves as the bytes of its UTF-8, none of which ends a line.
        assert answer.status_code == 201
    else:
        assert answer.status_code == 422
