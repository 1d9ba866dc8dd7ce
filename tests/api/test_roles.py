"""Every route times every role: the matrix is made from the application, so none is forgotten."""

import re
from collections.abc import AsyncIterator, Iterator
from itertools import pairwise
from typing import Any

import httpx
import pytest
from fastapi import FastAPI, Response
from fastapi.routing import APIRoute

from tests.api.access import Guarded, guarded
from tests.api.harness import JOB, JOBS, make_api
from tests.support.memory_store import MemoryStore
from tocsin.api.needs import Need, need_of, public
from tocsin.api.routing import Route
from tocsin.domain.access import ALLOWED, Action, Role

PUBLIC = {
    ("GET", "/healthz"),
    ("GET", "/readyz"),
    ("POST", "/api/v1/session"),
    ("GET", "/api/v1/demo/echo"),
    ("POST", "/api/v1/demo/echo"),
    ("GET", "/api/openapi.json"),
    ("GET", "/api/docs"),
    ("GET", "/api/docs/{name}"),
}
"""All that is answered without a key; whoever adds to this has to say why in docs/security.md."""

BEHIND = ("/api", "/metrics", "/healthz", "/readyz")

NEEDS = {
    ("POST", "/api/v1/jobs"): "define",
    ("POST", "/api/v1/jobs:batch"): "define",
    ("POST", "/api/v1/jobs:try"): "define",
    ("PUT", "/api/v1/jobs/{ref}"): "define",
    ("PATCH", "/api/v1/jobs/{ref}"): "define",
    ("DELETE", "/api/v1/jobs/{ref}"): "define",
    ("POST", "/api/v1/jobs/{ref}/pause"): "pause",
    ("POST", "/api/v1/jobs/{ref}/resume"): "resume",
    ("POST", "/api/v1/jobs/{ref}/cancel"): "cancel",
    ("POST", "/api/v1/jobs/{ref}/trigger"): "trigger",
    ("POST", "/api/v1/executions/{ref}/cancel"): "cancel",
    ("POST", "/api/v1/executions/{ref}/retry"): "retry",
    # It decides nothing and keeps nothing.
    ("POST", "/api/v1/schedules:preview"): "read",
    ("POST", "/api/v1/keys"): "admin",
    ("GET", "/api/v1/keys"): "admin",
    ("GET", "/api/v1/keys/{ref}"): "admin",
    ("POST", "/api/v1/keys/{ref}/rotate"): "admin",
    ("DELETE", "/api/v1/keys/{ref}"): "admin",
    ("GET", "/api/v1/audit"): "admin",
    ("PUT", "/api/v1/secrets/{name}"): "define",
    ("DELETE", "/api/v1/secrets/{name}"): "define",
    ("POST", "/api/v1/secrets:rekey"): "admin",
    ("POST", "/api/v1/signing:reveal"): "admin",
    ("POST", "/api/v1/signing:rotate"): "admin",
    ("GET", "/api/v1/session"): None,
    ("DELETE", "/api/v1/session"): None,
}
"""What is more than reading; every other route that is not public must be a GET that reads."""


def routes() -> Iterator[tuple[str, str, Need]]:
    app: FastAPI = make_api(MemoryStore(), demo=True).client._transport.app  # type: ignore[attr-defined]
    for route in app.routes:
        if isinstance(route, APIRoute):
            for method in sorted(route.methods):
                yield method, route.path, need_of(route.endpoint)
        else:
            # Files of pages, which are the same for everybody, and not behind the gate.
            path = getattr(route, "path", "")
            assert not path.startswith(BEHIND), f"{path} is not behind the gate"
            assert getattr(route, "methods", None) in ({"GET"}, {"GET", "HEAD"}), path


ROUTES = sorted(routes(), key=lambda one: one[:2])
GUARDED = [one for one in ROUTES if not one[2].public]


@pytest.fixture
async def api() -> AsyncIterator[Guarded]:
    async with guarded(MemoryStore(), demo=True) as made:
        yield made


async def call(client: httpx.AsyncClient, method: str, path: str, ref: str) -> httpx.Response:
    where = re.sub(r"\{\w+\}", ref, path)
    if path == "/api/v1/events":
        # It does not end; whether it may begin is known from its answer to a bad parameter.
        where += "?types=nonsense"
    return await client.request(method, where)


def test_what_is_public_is_what_is_listed_here() -> None:
    assert {one[:2] for one in ROUTES if one[2].public} == PUBLIC


def test_every_route_needs_what_is_listed_here() -> None:
    found = {one[:2]: one[2].action for one in GUARDED}
    assert {place: action for place, action in found.items() if action != "read"} == {
        place: None if word is None else Action(word)
        for place, word in NEEDS.items()
        if word != "read"
    }
    reading = {place for place, action in found.items() if action == "read"}
    assert all(method == "GET" or NEEDS.get((method, path)) == "read" for method, path in reading)
    assert len(GUARDED) >= 30


def test_a_route_that_declares_no_need_makes_no_application() -> None:
    app = FastAPI()
    app.router.route_class = Route

    async def forgotten() -> Response:
        return Response()

    with pytest.raises(TypeError, match=r"forgotten does not declare what it needs"):
        app.get("/forgotten")(forgotten)
    app.get("/remembered")(public()(forgotten))


@pytest.mark.parametrize(
    "headers",
    [
        {},
        {"Authorization": "Bearer tcs_adminkey_" + "b" * 43},
        {"X-API-Key": ""},
        {"Authorization": "Basic YTpi"},
        {"Authorization": "Bearer"},
        {"Cookie": "tocsin_session=nonsense"},
        {"Cookie": "tocsin_session=nonsense; a=\x7f; =;"},
    ],
)
async def test_nothing_is_told_to_who_has_no_key_or_a_wrong_one(
    api: Guarded, headers: dict[str, str]
) -> None:
    for method, path, _ in GUARDED:
        api.watch.now += 60  # or it would be taken for guessing
        answer = await call(api.client(**headers), method, path, "anything")
        assert answer.status_code == 401, f"{method} {path}: {answer.status_code} {answer.text}"
        assert answer.json()["code"] == "unauthorized"
        assert answer.headers["www-authenticate"].startswith("Bearer")


@pytest.mark.parametrize("role", list(Role))
async def test_each_role_may_do_what_it_is_for_and_no_more(api: Guarded, role: Role) -> None:
    for method, path, need in GUARDED:
        client = await api.of(role=role.value, namespace="*")
        job = (await api.api.create())["id"]
        state: Any = api.api.store.state  # type: ignore[attr-defined]
        before = len(state.jobs), len(state.executions), len(state.keys), len(state.audit)
        answer = await call(client, method, path, job)
        told = f"{method} {path}: {answer.status_code} {answer.text}"
        if need.action is None or need.action in ALLOWED[role]:
            assert answer.status_code not in {401, 403}, told
        else:
            assert answer.status_code == 403, told
            assert answer.json()["code"] == "forbidden", told
            assert f"may {need.action.value}" in answer.json()["detail"], told
            after = len(state.jobs), len(state.executions), len(state.keys), len(state.audit)
            assert after == before, told


def test_each_role_may_do_more_than_the_one_before() -> None:
    for lower, higher in pairwise(Role):
        assert ALLOWED[lower] < ALLOWED[higher]
    assert ALLOWED[Role.ADMIN] == set(Action)


@pytest.mark.parametrize("action", list(Action))
async def test_a_key_that_is_limited_to_an_action_does_nothing_else(
    api: Guarded, action: Action
) -> None:
    client = await api.of(role="admin", namespace="*", actions=[action.value])
    job = (await api.api.create(name="job"))["id"]
    for method, path, need in GUARDED:
        answer = await call(client, method, path, job)
        refused = need.action is not None and need.action is not action
        assert (answer.status_code == 403) is refused, f"{method} {path}: {answer.text}"


async def test_a_public_route_does_not_mind_a_wrong_key(api: Guarded) -> None:
    for client in (api.anonymous, api.client("wrong")):
        for path in ("/healthz", "/readyz", "/api/openapi.json", "/api/docs"):
            assert (await client.get(path)).status_code == 200


async def test_what_is_public_tells_no_figures(api: Guarded) -> None:
    api.api.checks[0] = type(api.api.checks[0])(name="store", ok=False, detail="host db1 is down")
    limited = await api.of(role="viewer")
    for client in (api.anonymous, limited):
        health = (await client.get("/healthz")).json()
        assert (health["succeeded"], health["failed"], health["failed_ratio"]) == (None,) * 3
        ready = await client.get("/readyz")
        assert (ready.status_code, ready.json()["ready"]) == (503, False)
        assert "db1" not in ready.text
    assert (await api.api.client.get("/healthz")).json()["succeeded"] == 0
    assert "db1" in (await api.api.client.get("/readyz")).text


async def test_the_echo_does_not_say_what_a_page_may_not_know(api: Guarded) -> None:
    client = api.client("secret-1", Cookie="tocsin_session=secret-2", X_API_Key="secret-1")
    answer = await client.get("/api/v1/demo/echo", headers={"X-Other": "shown"})
    assert "secret" not in answer.text
    assert "shown" in answer.text


async def test_metrics_can_be_made_public() -> None:
    async with guarded(MemoryStore(), public_metrics=True) as api:
        assert (await api.anonymous.get("/metrics")).status_code == 200
    async with guarded(MemoryStore()) as api:
        assert (await api.anonymous.get("/metrics")).status_code == 401
        # They are of all namespaces.
        assert (await (await api.of(role="admin")).get("/metrics")).status_code == 403
        assert (await (await api.of(role="viewer", namespace="*")).get("/metrics")).is_success


async def test_both_headers_carry_a_key(api: Guarded) -> None:
    key = (await api.make())["key"]
    for headers in (
        {"X-API-Key": key},
        {"Authorization": f"Bearer {key}"},
        {"Authorization": f"bearer  {key} "},
        {"Authorization": f"Bearer {key}", "X-API-Key": key},
    ):
        assert (await api.anonymous.get(JOBS, headers=headers)).status_code == 200
    both = {"Authorization": f"Bearer {key}", "X-API-Key": "other"}
    assert (await api.anonymous.get(JOBS, headers=both)).status_code == 401


async def test_a_refused_request_changes_nothing(api: Guarded) -> None:
    viewer: Any = await api.of(role="viewer")
    answer = await viewer.post(JOBS, json=JOB)
    assert answer.status_code == 403
    assert (await api.api.get(JOBS))["items"] == []
