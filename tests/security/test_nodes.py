"""Two nodes on one database: keys and sessions begin and end on both."""

from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from tests.support.process import AUTHORIZED, Tocsin, wait_until


@pytest.fixture
def nodes(tmp_path: Path) -> Iterator[list[Tocsin]]:
    made = [
        Tocsin(tmp_path, name=f"node-{number}", database=tmp_path / "tocsin.db")
        for number in range(2)
    ]
    for one in made:
        one.start(ready=False)
    for one in made:
        one.wait_listening()
        wait_until(one.is_ready, "the node is ready")
    yield made
    for one in made:
        one.close()


def client(node: Tocsin, **headers: str) -> httpx.Client:
    return httpx.Client(
        base_url=f"http://127.0.0.1:{node.port}", headers=headers, trust_env=False, timeout=30
    )


def test_what_is_revoked_on_one_node_ends_on_the_other(nodes: list[Tocsin]) -> None:
    one, other = nodes
    made = one.post("/keys", {"name": "ci", "role": "editor"})
    with (
        client(other, **{"X-API-Key": made["key"]}) as keyed,
        client(other) as browser,
        client(other, **AUTHORIZED) as admin,
    ):
        signed_in = browser.post("/api/v1/session", json={"key": made["key"]})
        assert signed_in.json()["key"]["id"] == made["id"]
        assert keyed.get("/api/v1/jobs").status_code == 200
        with keyed.stream("GET", "/api/v1/events") as stream:
            assert stream.status_code == 200
            assert one.client.delete(f"/api/v1/keys/{made['id']}").status_code == 204
            # It ends by itself; otherwise the client gives up after its timeout.
            for _ in stream.iter_raw():
                pass
        for ended in (keyed, browser):
            wait_until(
                lambda ended=ended: ended.get("/api/v1/jobs").status_code == 401,  # type: ignore[misc]
                "the other node has noticed",
            )
        assert admin.get("/api/v1/jobs").status_code == 200
    # The use of the key was noted without anybody waiting for it.
    wait_until(lambda: one.get(f"/keys/{made['id']}")["last_used_at"], "the last use is noted")


def test_a_session_that_is_signed_out_on_one_node_ends_on_the_other(nodes: list[Tocsin]) -> None:
    one, other = nodes
    with client(one) as browser:
        told = browser.post("/api/v1/session", json={"key": AUTHORIZED["Authorization"][7:]})
        cookie = {"Cookie": f"tocsin_session={browser.cookies['tocsin_session']}"}
        with client(other, **cookie) as there:
            assert there.get("/api/v1/session").json()["role"] == "admin"
            csrf = {"Tocsin-CSRF": told.json()["csrf_token"]}
            assert browser.delete("/api/v1/session", headers=csrf).status_code == 204
            wait_until(
                lambda: there.get("/api/v1/session").status_code == 401, "the session has ended"
            )
