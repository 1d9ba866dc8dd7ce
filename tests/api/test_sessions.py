"""Sessions of browsers: cookies that scripts cannot read and other sites cannot use."""

from collections.abc import AsyncIterator
from http.cookies import SimpleCookie
from typing import Any

import httpx
import pytest

from tests.api.access import ADMIN, Guarded, guarded
from tests.api.harness import JOB, JOBS, KEYS
from tests.support.build import HOUR, NOW
from tocsin.domain.instant import format_instant
from tocsin.store.port import Store

SESSION = "/api/v1/session"


@pytest.fixture
async def api(store: Store) -> AsyncIterator[Guarded]:
    async with guarded(store) as made:
        yield made


async def sign_in(api: Guarded, key: str = ADMIN) -> tuple[httpx.AsyncClient, dict[str, Any]]:
    """A browser that is signed in, and what it was told."""
    browser = api.client()
    answer = await browser.post(SESSION, json={"key": key})
    assert answer.status_code == 200, answer.text
    return browser, answer.json()


async def test_a_browser_signs_in_and_out(api: Guarded) -> None:
    browser, told = await sign_in(api)
    first = (await api.api.get(KEYS))["items"][0]
    assert told == {
        "auth": "on",
        "role": "admin",
        "namespace": "*",
        "namespaces": ["default"],
        "tags": None,
        "actions": [
            "read", "trigger", "pause", "resume", "retry", "cancel", "ping", "define", "admin",
        ],
        "key": {"id": first["id"], "name": "first-admin", "prefix": first["prefix"]},
        "csrf_token": told["csrf_token"],
        "expires_at": format_instant(NOW + HOUR),
    }  # fmt: skip
    assert (await browser.get(SESSION)).json() == told
    assert (await browser.get(JOBS)).status_code == 200
    token = browser.cookies["tocsin_session"]
    csrf = {"Tocsin-CSRF": told["csrf_token"]}
    assert (await browser.delete(SESSION, headers=csrf)).status_code == 204
    assert "tocsin_session" not in browser.cookies
    # Not only the browser has forgotten it.
    stolen = api.client(Cookie=f"tocsin_session={token}")
    assert (await stolen.get(SESSION)).status_code == 401


async def test_the_cookie_is_for_this_server_alone(api: Guarded) -> None:
    for scheme in ("http", "https"):
        answer = await api.anonymous.post(f"{scheme}://tocsin.test{SESSION}", json={"key": ADMIN})
        (cookie,) = SimpleCookie(answer.headers["set-cookie"]).values()
        assert cookie.key == ("__Host-" if scheme == "https" else "") + "tocsin_session"
        assert cookie["httponly"]
        assert cookie["samesite"] == "strict"
        assert cookie["path"] == "/"
        assert cookie["domain"] == ""
        assert bool(cookie["secure"]) is (scheme == "https")
        assert cookie["max-age"] == "3600"
        assert answer.headers["cache-control"] == "no-store"
        assert ADMIN not in answer.text


async def test_over_tls_a_session_that_another_site_of_the_domain_planted_is_none(
    api: Guarded,
) -> None:
    """`sub.tocsin.test` can set cookies for `tocsin.test`, but none that is called `__Host-…`."""
    answer = await api.anonymous.post(f"https://tocsin.test{SESSION}", json={"key": ADMIN})
    (cookie,) = SimpleCookie(answer.headers["set-cookie"]).values()
    planted = f"tocsin_session={cookie.value}"
    for scheme, sent, status in (
        ("https", f"__Host-{planted}", 200),
        ("https", planted, 401),
        ("https", f"{planted}; __Host-tocsin_session=other", 401),
        ("https", f"__Host-{planted}; tocsin_session=other", 200),
        ("http", f"__Host-{planted}", 401),
    ):
        client = api.client(Cookie=sent)
        found = await client.get(f"{scheme}://tocsin.test{SESSION}")
        assert found.status_code == status, (scheme, sent)
    csrf = {"Tocsin-CSRF": answer.json()["csrf_token"]}
    out = await api.client(Cookie=f"__Host-{planted}", **csrf).delete(
        f"https://tocsin.test{SESSION}"
    )
    assert out.status_code == 204
    (gone,) = SimpleCookie(out.headers["set-cookie"]).values()
    assert (gone.key, gone["max-age"]) == ("__Host-tocsin_session", "0")
    assert gone["secure"]


async def test_a_wrong_key_signs_nobody_in(api: Guarded) -> None:
    answer = await api.anonymous.post(SESSION, json={"key": "tcs_nobodies_key"})
    assert answer.status_code == 401
    assert "set-cookie" not in answer.headers
    for body in ({}, {"key": ""}, {"key": 5}, {"key": "x" * 201}, {"key": ADMIN, "more": 1}):
        assert (await api.anonymous.post(SESSION, json=body)).status_code == 422


async def test_a_change_needs_the_token_that_other_sites_cannot_read(api: Guarded) -> None:
    browser, told = await sign_in(api)
    _, other = await sign_in(api)
    for headers in ({}, {"Tocsin-CSRF": "wrong"}, {"Tocsin-CSRF": other["csrf_token"]}):
        answer = await browser.post(JOBS, json=JOB, headers=headers)
        assert answer.status_code == 403
        assert answer.json()["code"] == "csrf"
    assert (await api.api.get(JOBS))["items"] == []
    csrf = {"Tocsin-CSRF": told["csrf_token"]}
    assert (await browser.post(JOBS, json=JOB, headers=csrf)).status_code == 201


@pytest.mark.parametrize(
    ("headers", "taken"),
    [
        ({"Origin": "http://tocsin.test", "Sec-Fetch-Site": "same-origin"}, True),
        ({"Origin": "https://TOCSIN.test"}, True),
        ({"Sec-Fetch-Site": "none"}, True),
        ({"Origin": "http://evil.test"}, False),
        ({"Origin": "http://tocsin.test:81"}, False),
        ({"Origin": "http://tocsin.test.evil.test"}, False),
        ({"Origin": "null"}, False),
        ({"Origin": "http://[", "Host": "["}, False),
        ({"Origin": "null", "Host": ""}, False),
        ({"Sec-Fetch-Site": "cross-site"}, False),
        ({"Sec-Fetch-Site": "same-site"}, False),
    ],
)
async def test_pages_of_other_sites_neither_change_anything_nor_sign_in(
    api: Guarded, headers: dict[str, str], taken: bool
) -> None:
    browser, told = await sign_in(api)
    given = {**headers, "Tocsin-CSRF": told["csrf_token"]}
    changed = await browser.post(JOBS, json=JOB, headers=given)
    signed_in = await api.anonymous.post(SESSION, json={"key": ADMIN}, headers=headers)
    assert (changed.status_code, signed_in.status_code) == ((201, 200) if taken else (403, 403))
    # With a key there is nothing that a browser adds by itself.
    assert (await api.client(ADMIN).post(JOBS, json=JOB, headers=headers)).status_code == 201


@pytest.mark.parametrize(
    "others",
    ['a={"x":[1,2]}', "a=b c", "flag", "a[b]=1", 'a="unfinished', "a=\xfc", "tocsin_session_=x"],
)
async def test_cookies_of_other_programs_on_this_host_do_not_end_a_session(
    api: Guarded, others: str
) -> None:
    """Browsers send those of every port of a host along."""
    browser, _ = await sign_in(api)
    own = f"tocsin_session={browser.cookies['tocsin_session']}"
    for sent in (f"{others}; {own}", f"{own}; {others}"):
        answer = await api.anonymous.get(SESSION, headers={"Cookie": sent.encode("latin-1")})
        assert answer.status_code == 200, sent


async def test_nobody_signs_in_with_a_large_body(api: Guarded) -> None:
    """It would be kept for whoever sends it, a key or not."""
    answer = await api.anonymous.post(SESSION, content=b'{"key":"' + b"x" * 5_000)
    assert answer.status_code == 413


async def test_a_key_in_a_header_counts_and_not_the_cookie_beside_it(api: Guarded) -> None:
    browser, _ = await sign_in(api)
    viewer = (await api.make(role="viewer"))["key"]
    headers = {"Authorization": f"Bearer {viewer}"}
    assert (await browser.get(SESSION, headers=headers)).json()["role"] == "viewer"
    assert (await browser.post(JOBS, json=JOB, headers=headers)).json()["code"] == "forbidden"
    wrong = {"Authorization": "Bearer wrong"}
    assert (await browser.get(JOBS, headers=wrong)).status_code == 401


async def test_a_session_ends_with_its_time(api: Guarded) -> None:
    browser, _ = await sign_in(api)
    api.api.clock.now += HOUR - 1
    assert (await browser.get(SESSION)).status_code == 200
    api.api.clock.now += 1
    assert (await browser.get(SESSION)).status_code == 401


async def test_a_session_ends_with_its_key(api: Guarded) -> None:
    revoked, expiring = await api.make(), await api.make(expires_in="1m")
    first, _ = await sign_in(api, revoked["key"])
    second, _ = await sign_in(api, expiring["key"])
    await api.api.ask("DELETE", f"{KEYS}/{revoked['id']}", status=204)
    assert (await first.get(SESSION)).status_code == 401
    api.api.clock.now += 60_000
    assert (await second.get(SESSION)).status_code == 401


async def test_a_session_ends_with_the_secret_that_opened_it(api: Guarded) -> None:
    made = await api.make()
    old, _ = await sign_in(api, made["key"])
    path = f"{KEYS}/{made['id']}/rotate"
    rotated = (await api.api.ask("POST", path, json={"overlap": "1m"})).json()
    new, _ = await sign_in(api, rotated["key"])
    assert (await old.get(SESSION)).status_code == 200
    api.api.clock.now += 60_000
    assert (await old.get(SESSION)).status_code == 401
    assert (await new.get(SESSION)).status_code == 200


async def test_a_session_works_on_every_node(api: Guarded, store: Store) -> None:
    browser, told = await sign_in(api)
    async with guarded(store) as other:
        there = other.client(Cookie=f"tocsin_session={browser.cookies['tocsin_session']}")
        assert (await there.get(SESSION)).json() == told


async def test_a_session_may_do_what_its_key_may(api: Guarded) -> None:
    made = await api.make(role="operator", namespace="team", tags=["a"], actions=["read", "ping"])
    browser, told = await sign_in(api, made["key"])
    assert told["role"] == "operator"
    assert (told["namespace"], told["namespaces"]) == ("team", ["team"])
    assert (told["tags"], told["actions"]) == (["a"], ["read", "ping"])
    csrf = {"Tocsin-CSRF": told["csrf_token"]}
    assert (await browser.post(JOBS, json=JOB, headers=csrf)).json()["code"] == "forbidden"


async def test_signing_in_and_out_is_in_the_audit_log_without_the_token(api: Guarded) -> None:
    browser, told = await sign_in(api)
    token = browser.cookies["tocsin_session"]
    await browser.delete(SESSION, headers={"Tocsin-CSRF": told["csrf_token"]})
    answer = await api.api.ask("GET", "/api/v1/audit", params={"action": "session"})
    assert [entry["action"] for entry in answer.json()["items"]] == [
        "session.delete",
        "session.create",
    ]
    assert token not in answer.text
