"""The short way to routes with a fixed path: the same checks, the same errors."""

import pytest
from fastapi import FastAPI

from tests.api.access import guarded
from tests.api.harness import JOB, JOBS, make_api, serving
from tests.support.memory_store import MemoryStore
from tocsin.api.app import create_api
from tocsin.api.direct import Direct, direct_routes


def application() -> FastAPI:
    return create_api(make_api(MemoryStore()).context)


def test_it_leads_to_fixed_paths_only() -> None:
    routes = direct_routes(application())
    assert ("POST", JOBS) in routes
    assert ("POST", f"{JOBS}:batch") in routes
    assert ("GET", f"{JOBS}/{{ref}}") not in routes
    # It takes query parameters, which FastAPI reads.
    assert ("GET", JOBS) not in routes


async def test_what_is_asked_for_by_its_path_never_sees_the_router(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    passed: list[str] = []
    original = Direct.__init__

    def watched(self: Direct, app, *, routes) -> None:  # type: ignore[no-untyped-def]
        async def noting(scope, receive, send) -> None:  # type: ignore[no-untyped-def]
            passed.append(scope["path"])
            await app(scope, receive, send)

        original(self, noting, routes=routes)

    monkeypatch.setattr(Direct, "__init__", watched)
    async with serving(MemoryStore()) as api:
        job = await api.create()
        await api.get(f"{JOBS}/{job['id']}")
        await api.get(JOBS)
    assert passed == [f"{JOBS}/{job['id']}", JOBS]


async def test_errors_are_answered_the_same() -> None:
    async with guarded(MemoryStore()) as api:
        refused = await api.anonymous.post(JOBS, json=JOB)
        assert refused.status_code == 401
        assert refused.json()["code"] == "unauthorized"
        assert refused.headers["www-authenticate"].startswith("Bearer")
        unknown = await api.api.client.post(f"{JOBS}?colour=red", json=JOB)
        assert unknown.status_code == 422
        assert unknown.json()["errors"][0]["code"] == "unknown_parameter"
        broken = await api.api.client.post(JOBS, content=b"{")
        assert (broken.status_code, broken.json()["code"]) == (400, "invalid_json")
        elsewhere = await api.api.client.post(f"{JOBS}/", json=JOB)
        assert elsewhere.status_code in {404, 405}


async def test_a_surprise_is_logged_and_tells_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    async with guarded(MemoryStore()) as api:

        async def broken(*_: object, **__: object) -> None:
            raise RuntimeError("the password is swordfish")

        monkeypatch.setattr(type(api.api.store), "create_sets", broken)
        answer = await api.api.client.post(JOBS, json=JOB)
    assert answer.status_code == 500
    assert answer.json()["code"] == "internal_error"
    assert "swordfish" not in answer.text
