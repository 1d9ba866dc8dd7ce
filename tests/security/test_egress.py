"""The egress guard of a node as people start it."""

import json
from typing import Any

import httpx
import pytest

from tests.chaos.conftest import NodeFactory
from tests.support.listener import listening
from tests.support.process import Receiver, Tocsin, wait_until

DEFAULT = {"TOCSIN_EGRESS_ALLOW": ""}


def ended(tocsin: Tocsin, job: str) -> dict[str, Any]:
    """The execution of a job that fires once, when it has ended."""
    tocsin.post(f"/jobs/{job}/trigger", expect=202)

    def last() -> Any:
        found = tocsin.get(f"/jobs/{job}/executions")["items"]
        return found[0] if found and found[0]["finished_at"] else None

    execution: dict[str, Any] = wait_until(last, f"an execution of {job} has ended")
    return execution


def job(name: str, url: str, **fields: Any) -> dict[str, Any]:
    return {"name": name, "schedule": {"every": "30d"}, "target": {"url": url}, **fields}


def test_by_default_nothing_private_is_called(node: NodeFactory, receiver: Receiver) -> None:
    tocsin = node(env=DEFAULT).start()
    for url in (receiver.url(), f"http://0x7f.1:{receiver.port}/", "http://169.254.169.254/"):
        answer = tocsin.client.post("/api/v1/jobs", json=job("x", url))
        assert answer.status_code == 422
        [problem] = answer.json()["errors"]
        assert (problem["field"], problem["code"]) == ("target.url", "blocked")
        assert "TOCSIN_EGRESS_ALLOW" in problem["message"]
    assert tocsin.get("/jobs")["items"] == []
    assert receiver.count() == 0
    # The node's own API is as private as everything else.
    answer = tocsin.client.post("/api/v1/jobs", json=job("x", f"http://127.0.0.1:{tocsin.port}/"))
    assert answer.status_code == 422


def test_a_job_from_before_the_rule_ends_as_blocked_and_is_not_retried(
    node: NodeFactory, receiver: Receiver
) -> None:
    open_node = node().start()
    retry = {"max_attempts": 3, "initial": "0s", "on": ["blocked"]}
    open_node.post("/jobs", job("plain", receiver.url()))
    open_node.post("/jobs", job("stubborn", receiver.url(), retry=retry))
    open_node.terminate()
    tocsin = node(database=open_node.database, env=DEFAULT).start()
    plain, stubborn = ended(tocsin, "plain"), ended(tocsin, "stubborn")
    assert (plain["state"], plain["error_kind"], plain["attempt_count"]) == ("failed", "blocked", 1)
    assert "127.0.0.0/8 is loopback (RFC 1122)" in plain["error"]
    assert (stubborn["error_kind"], stubborn["attempt_count"]) == ("blocked", 3)
    assert receiver.count() == 0


def test_a_redirect_to_a_private_address_is_blocked(node: NodeFactory, receiver: Receiver) -> None:
    """The first place is allowed by its port, the second is not."""
    with listening() as open_door:
        tocsin = node(env={"TOCSIN_EGRESS_ALLOW": f"127.0.0.1:{open_door.port}"}).start()
        target = {"url": open_door.url(f"/redirect?to={receiver.url()}"), "redirects": 3}
        tocsin.post("/jobs", {**job("hop", ""), "target": target})
        execution = ended(tocsin, "hop")
        assert len(open_door.seen) == 1
    assert execution["error_kind"] == "blocked", json.dumps(execution)
    assert f"127.0.0.1:{receiver.port} is blocked" in execution["error"]
    assert receiver.count() == 0


def test_the_demonstration_may_call_its_own_node_and_nothing_beside_it(
    node: NodeFactory, receiver: Receiver
) -> None:
    tocsin = node(env=DEFAULT, options=("--demo",)).start()
    execution = ended(tocsin, "hello-every-5s")
    assert execution["state"] == "succeeded", json.dumps(execution)
    for url in (
        receiver.url(),
        f"http://127.0.0.2:{tocsin.port}/",
        f"http://[::1]:{tocsin.port}/",
        f"http://localhost:{tocsin.port + 1}/",
    ):
        assert tocsin.client.post("/api/v1/jobs", json=job("x", url)).status_code == 422, url


@pytest.mark.parametrize(
    ("variable", "value"),
    [
        ("TOCSIN_EGRESS_ALLOW", "10.0.0.1/8"),
        ("TOCSIN_EGRESS_DENY", "http://x"),
        ("TOCSIN_EGRESS_PORTS", "https"),
    ],
)
def test_rules_that_cannot_be_read_stop_the_start(
    node: NodeFactory, variable: str, value: str
) -> None:
    result = node(env={variable: value}).run_to_end()
    assert result.code == 2
    assert variable in result.output
    assert value in result.output


def test_the_health_endpoint_tells_that_it_listens(node: NodeFactory) -> None:
    """The guard is about calls that go out; who asks the node is none of its business."""
    tocsin = node(env=DEFAULT).start()
    assert httpx.get(f"http://127.0.0.1:{tocsin.port}/healthz", trust_env=False).status_code == 200
