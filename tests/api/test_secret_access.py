"""Who may do what with secrets; namespaces are apart; the audit log knows no value."""

from collections.abc import AsyncIterator
from typing import Any

import httpx
import pytest

from tests.api.access import Guarded, guarded
from tests.api.harness import JOB, JOBS
from tocsin.store.port import Store

SECRETS = "/api/v1/secrets"
SIGNING = "/api/v1/signing"
VALUE = "hunted-value-1"

MAY = {
    "viewer": {("GET", SECRETS), ("GET", SIGNING)},
    "operator": {("GET", SECRETS), ("GET", SIGNING)},
    "editor": {
        ("GET", SECRETS),
        ("GET", SIGNING),
        ("PUT", f"{SECRETS}/NEW"),
        ("DELETE", f"{SECRETS}/NEW"),
    },
}
ALL = [
    ("GET", SECRETS),
    ("GET", SIGNING),
    ("PUT", f"{SECRETS}/NEW"),
    ("DELETE", f"{SECRETS}/NEW"),
    ("POST", f"{SECRETS}:rekey"),
    ("POST", f"{SIGNING}:rotate"),
    ("POST", f"{SIGNING}:reveal"),
]


@pytest.fixture
async def gate(store: Store) -> AsyncIterator[Guarded]:
    async with guarded(store) as made:
        yield made


async def ask(client: httpx.AsyncClient, method: str, path: str) -> httpx.Response:
    body = {"value": VALUE} if method == "PUT" else None
    return await client.request(method, path, json=body)


def using() -> dict[str, Any]:
    return {**JOB, "target": {"url": "https://example.com/?k={{ secret.TOKEN }}"}}


@pytest.mark.parametrize("role", ["viewer", "operator", "editor"])
async def test_each_role_may_do_what_is_listed_here(gate: Guarded, role: str) -> None:
    async with await gate.of(role=role) as client:
        for method, path in ALL:
            status = (await ask(client, method, path)).status_code
            assert (status != 403) == ((method, path) in MAY[role]), f"{role} {method} {path}"


async def test_an_admin_of_one_namespace_may_not_encrypt_all_anew(gate: Guarded) -> None:
    async with await gate.of(role="admin", namespace="a") as client:
        assert (await ask(client, "POST", f"{SECRETS}:rekey")).status_code == 403
        assert (await ask(client, "POST", f"{SIGNING}:reveal")).status_code == 200
        assert (await ask(client, "POST", f"{SIGNING}:rotate")).status_code == 200


async def test_a_key_that_is_limited_to_tags_sees_no_secret(gate: Guarded) -> None:
    async with await gate.of(role="editor", tags=["mine"]) as client:
        for method, path in ALL:
            assert (await ask(client, method, path)).status_code == 403, f"{method} {path}"


async def test_namespaces_do_not_see_each_others_secrets(gate: Guarded) -> None:
    one = await gate.of(role="admin", namespace="one")
    two = await gate.of(role="admin", namespace="two")
    async with one, two:
        assert (await ask(one, "PUT", f"{SECRETS}/TOKEN")).status_code == 201
        assert (await one.post(JOBS, json=using())).status_code == 201
        assert (await ask(one, "GET", SECRETS)).json()["items"][0]["used_by"] == 1
        assert (await ask(two, "GET", SECRETS)).json()["items"] == []
        assert (await ask(two, "DELETE", f"{SECRETS}/TOKEN")).status_code == 404
        refused = await two.post(JOBS, json=using())
        assert refused.status_code == 422
        assert refused.json()["errors"][0]["code"] == "unknown_secret"
        # Theirs is another one, and so is the key that signs.
        assert (await ask(two, "PUT", f"{SECRETS}/TOKEN")).status_code == 201
        keys = {
            (await ask(client, "POST", f"{SIGNING}:reveal")).json()["secret"]
            for client in (one, two)
        }
        assert len(keys) == 2


async def test_the_audit_log_tells_who_did_it_and_no_value(gate: Guarded) -> None:
    await gate.api.ask("PUT", f"{SECRETS}/TOKEN", status=201, json={"value": VALUE})
    await gate.api.ask("PUT", f"{SECRETS}/TOKEN", json={"value": VALUE + "-2"})
    await gate.api.ask("PUT", f"{SECRETS}/TOKEN", status=422, json={"value": "x"})
    await gate.api.ask("DELETE", f"{SECRETS}/TOKEN", status=204)
    shown = (await gate.api.ask("POST", f"{SIGNING}:reveal")).json()["secret"]
    rotated = (await gate.api.ask("POST", f"{SIGNING}:rotate")).json()["secret"]
    answer = await gate.api.ask("GET", "/api/v1/audit")
    found = [(one["action"], one["subject"]["name"]) for one in answer.json()["items"]]
    assert found[:5] == [
        ("signing.rotate", ""),
        ("signing.reveal", ""),
        ("secret.delete", "TOKEN"),
        ("secret.set", "TOKEN"),
        ("secret.set", "TOKEN"),
    ]
    assert all(one["actor"]["name"] for one in answer.json()["items"][:5])
    for value in (VALUE, shown, rotated):
        assert value not in answer.text
