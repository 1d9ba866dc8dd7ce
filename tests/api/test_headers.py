"""What browsers are told about answers, who may call from other pages, and switched-off keys."""

from dataclasses import replace

import httpx
import pytest

from tests.api.access import ADMIN, guarded
from tests.api.harness import JOB, JOBS, make_api, serving
from tests.support.memory_store import MemoryStore
from tocsin.api.open_gate import OpenGate

EVERYWHERE = {
    "x-content-type-options": "nosniff",
    "x-frame-options": "DENY",
    "referrer-policy": "no-referrer",
    "cross-origin-opener-policy": "same-origin",
    "cross-origin-resource-policy": "same-origin",
}


@pytest.mark.parametrize(
    "path", ["/healthz", JOBS, "/api/v1/nothing", "/nothing", "/api/docs", "/api/openapi.json"]
)
async def test_every_answer_says_what_browsers_must_not_do_with_it(path: str) -> None:
    async with guarded(MemoryStore()) as api:
        for client in (api.api.client, api.anonymous):
            answer = await client.get(path)
            assert {name: answer.headers.get(name) for name in EVERYWHERE} == EVERYWHERE
            assert "frame-ancestors 'none'" in answer.headers["content-security-policy"]
            assert "strict-transport-security" not in answer.headers
            stored = answer.headers.get("cache-control")
            assert (stored == "no-store") is path.startswith("/api/v1/")


async def test_an_error_inside_says_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    async with guarded(MemoryStore()) as api:

        async def broken(*_: object) -> None:
            raise RuntimeError("the password is swordfish")

        monkeypatch.setattr(type(api.api.store), "list_jobs", broken)
        answer = await api.api.client.get(JOBS)
    assert answer.status_code == 500
    assert "swordfish" not in answer.text
    assert answer.headers["x-frame-options"] == "DENY"


async def test_pages_may_load_their_own_files_only() -> None:
    async with guarded(MemoryStore()) as api:
        page = (await api.anonymous.get("/api/docs")).headers["content-security-policy"]
        data = (await api.anonymous.get("/healthz")).headers["content-security-policy"]
    assert "script-src 'self';" in page
    assert "object-src 'none'" in page
    assert data == "default-src 'none'; frame-ancestors 'none'"


async def test_tls_is_insisted_on_where_there_is_tls() -> None:
    async with guarded(MemoryStore()) as api:
        answer = await api.anonymous.get("https://tocsin.test/healthz")
    assert answer.headers["strict-transport-security"] == "max-age=31536000"


async def test_pages_of_other_origins_read_nothing_unless_they_are_named() -> None:
    origin = {"Origin": "https://tools.example.com"}
    ask = {**origin, "Access-Control-Request-Method": "POST"}
    async with guarded(MemoryStore()) as api:
        for answer in (
            await api.api.client.get(JOBS, headers=origin),
            await api.anonymous.options(JOBS, headers=ask),
        ):
            assert not [name for name in answer.headers if name.startswith("access-control")]
    async with guarded(MemoryStore(), cors_origins=("https://tools.example.com",)) as api:
        answer = await api.api.client.get(JOBS, headers=origin)
        assert answer.headers["access-control-allow-origin"] == "https://tools.example.com"
        assert "access-control-allow-credentials" not in answer.headers
        asked = {**ask, "Access-Control-Request-Headers": "authorization,content-type"}
        answer = await api.anonymous.options(JOBS, headers=asked)
        assert answer.status_code == 200
        assert "POST" in answer.headers["access-control-allow-methods"]
        answer = await api.api.client.get(JOBS, headers={"Origin": "https://evil.example.com"})
        assert "access-control-allow-origin" not in answer.headers


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({"Host": "127.0.0.1:8080"}, 201),
        ({"Host": "localhost"}, 201),
        ({"Host": "[::1]:8080"}, 201),
        ({"Host": "tocsin.localhost:8080"}, 201),
        ({"Host": "localhost:8080", "Origin": "http://localhost:8080"}, 201),
        ({"Host": "evil.example.com"}, 403),
        ({"Host": "127.0.0.1:8080", "X-Forwarded-For": "127.0.0.1"}, 403),
        ({"Host": "127.0.0.1:8080", "Forwarded": "for=203.0.113.9"}, 403),
        ({"Host": "127.0.0.1:8080", "Via": "1.1 caddy"}, 403),
        ({"Host": "127.0.0.1.example.com"}, 403),
        ({"Host": "localhost.example.com:8080"}, 403),
        ({"Host": "[::2]:8080"}, 403),
        ({"Host": "localhost:8080", "Origin": "http://evil.example.com"}, 403),
        ({"Host": "localhost:8080", "Origin": "null"}, 403),
        ({"Host": "localhost:8080", "Sec-Fetch-Site": "cross-site"}, 403),
    ],
)
async def test_with_keys_off_only_this_machine_is_answered_and_no_foreign_page(
    headers: dict[str, str], status: int
) -> None:
    async with serving(MemoryStore(), gate=OpenGate()) as api:
        answer = await api.client.post(JOBS, json=JOB, headers=headers)
        assert answer.status_code == status, answer.text
        assert len(api.store.state.jobs) == (status == 201)  # type: ignore[attr-defined]


async def test_with_keys_off_no_other_name_of_this_machine_is_told_more_than_the_verdict() -> None:
    async with serving(MemoryStore(), gate=OpenGate()) as api:
        api.checks[0] = replace(api.checks[0], ok=False, detail="db.internal is not reached")
        for host, told in (("localhost:8080", True), ("rebound.example.com", False)):
            ready = (await api.client.get("/readyz", headers={"Host": host})).json()
            assert ready["checks"][0]["detail"] == ("db.internal is not reached" if told else "")
            health = (await api.client.get("/healthz", headers={"Host": host})).json()
            assert (health["succeeded"] is not None) == told


async def test_with_keys_off_the_session_says_so_loudly() -> None:
    api = make_api(MemoryStore(), gate=OpenGate())
    async with httpx.AsyncClient(
        transport=api.client._transport,  # type: ignore[arg-type]
        base_url="http://localhost",
    ) as client:
        for answer in (
            await client.get("/api/v1/session"),
            await client.post("/api/v1/session", json={"key": ADMIN}),
        ):
            told = answer.json()
            assert (told["auth"], told["role"], told["namespace"]) == ("off", "admin", "*")
            assert told["key"] is None
            assert "set-cookie" not in answer.headers
        assert (await client.delete("/api/v1/session")).status_code == 204
        await client.post(JOBS, json=JOB)
        (entry,) = (await client.get("/api/v1/audit", params={"action": "job"})).json()["items"]
        assert entry["actor"] == {"type": "anonymous", "id": None, "name": "anonymous"}
