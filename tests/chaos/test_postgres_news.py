"""What is asked of one node while another holds the claim."""

import json
from typing import Any

import pytest

from tests.chaos.conftest import ClusterFactory
from tests.chaos.evidence import soon
from tests.support.cluster import Cluster, ClusterNode
from tests.support.process import Receiver, rfc3339, wait_until

pytestmark = pytest.mark.chaos

FULL_HANDS = {
    "TOCSIN_MAX_HELD": "1",
    "TOCSIN_MAX_IN_FLIGHT": "1",
    "TOCSIN_MAX_IN_FLIGHT_PER_LANE": "1",
}
"""A node that can make one call only, and is busy with one that hangs: so it is the other one that
fires."""


def _pair(cluster: ClusterFactory, receiver: Receiver, **env: str) -> tuple[Cluster, ClusterNode]:
    """Two nodes: the first takes requests and can fire nothing, the second looks far ahead."""
    them: Cluster = cluster(env=env)
    first = them.add(env=FULL_HANDS)
    first.post("/jobs", _job("hang", receiver.url("/hang"), soon(0), timeout="10m"))
    receiver.wait_for(1)
    them.add()
    return them, first


def _job(name: str, url: str, at: int, *, timeout: str = "30s") -> dict[str, Any]:
    return {
        "name": name,
        "schedule": {"at": rfc3339(at)},
        "target": {"url": url, "timeout": timeout},
    }


def _hourly(name: str, url: str, at: int) -> dict[str, Any]:
    # A job with one fire time is completed by its claim: it could not be paused any more.
    return _job(name, url, at) | {"schedule": {"every": "1h", "anchor": rfc3339(at)}}


@pytest.mark.parametrize("notify", [True, False], ids=["notified", "polling"])
def test_news_reach_the_node_that_fires(
    notify: bool, cluster: ClusterFactory, receiver: Receiver, record_property: Any
) -> None:
    """Jobs are created on one node and fire on another; they are paused, deleted and changed while
    the other one has claimed their fires ahead; and its call is cancelled.

    Where nothing is notified, the other node finds out when it looks: for what is due, and at what
    it owns.
    """
    them, first = _pair(
        cluster,
        receiver,
        TOCSIN_NOTIFY=str(notify).lower(),
        TOCSIN_CLAIM_HORIZON="20s",
        # With notifications it need not look.
        TOCSIN_POLL_INTERVAL="10s" if notify else "500ms",
        TOCSIN_ADOPT_INTERVAL="60s" if notify else "1s",
    )
    second = them.nodes[1]
    late = _lateness_of_new_jobs(
        first, receiver, due_in=0.2 if notify else 0, count=8 if notify else 4
    )
    rows = them.rows.executions("job_name LIKE 'soon-%'")
    nodes = {attempt["node"] for row in rows for attempt in row.attempts}
    assert nodes <= {second.name}, "the wrong node made the call"
    if notify:
        assert late[len(late) // 2] < 50, late
    # A tenth of the poll with notifications, twice as much without.
    assert late[-1] < 1_000, late

    aborted_after = _change_what_is_held(them, first, second, receiver)
    record_property(
        "counts",
        f"lateness of jobs created on another node: p50 {late[len(late) // 2]:.1f} ms, "
        f"max {late[-1]:.1f} ms; a call cancelled on another node was aborted within "
        f"{aborted_after} ms (heartbeats tell, one each second)",
    )


def _lateness_of_new_jobs(
    first: ClusterNode, receiver: Receiver, *, due_in: float, count: int
) -> list[float]:
    """Milliseconds, sorted."""
    late = []
    for number in range(count):
        at = soon(due_in)
        before = receiver.count()
        first.post("/jobs", _job(f"soon-{number}", receiver.url(), at))
        receiver.wait_for(before + 1)
        late.append(receiver.arrivals()[-1].at_ns / 1e6 - at)
    return sorted(late)


def _change_what_is_held(
    them: Cluster, first: ClusterNode, second: ClusterNode, receiver: Receiver
) -> int:
    """Returns after how many milliseconds a call was aborted."""
    before = receiver.count()
    hanging = first.post("/jobs", _job("hanging", receiver.url("/hang"), soon(0), timeout="10m"))
    receiver.wait_for(before + 1)
    due = soon(2.5)
    names = ("kept", "paused", "deleted", "changed", "moved")
    ids = {
        name: first.post("/jobs", _hourly(name, receiver.url(f"/ok?{name}"), due))["id"]
        for name in names
    }
    wait_until(
        lambda: len(second.claimed()) == len(names) + 1, "the other node holds them all", poll=0.05
    )
    assert soon(1.2) < due, "too slow to prove anything"
    api = first.client
    _done(api.post(f"/api/v1/jobs/{ids['paused']}/pause"))
    _done(api.delete(f"/api/v1/jobs/{ids['deleted']}"))
    changed = {"target": {"url": receiver.url("/ok?new")}}
    _done(api.patch(f"/api/v1/jobs/{ids['changed']}", json=changed))
    later = {"schedule": {"every": "1h", "anchor": rfc3339(due + 600_000)}}
    _done(api.patch(f"/api/v1/jobs/{ids['moved']}", json=later))
    (call,) = them.rows.executions(f"job_id = '{hanging['id']}'")
    _done(api.post(f"/api/v1/executions/{call.id}/cancel"))
    cancelled_at = soon(0)
    # What the other node says of itself with each heartbeat.
    wait_until(lambda: _in_flight(them, second) == 0, "it has aborted the call", timeout=10)
    aborted_after = soon(0) - cancelled_at

    receiver.wait_for(before + 3)
    wait_until(lambda: soon(-0.5) > due, "nothing else comes")
    paths = sorted(call.path for call in receiver.arrivals()[before:])
    assert paths == ["/hang", "/ok?kept", "/ok?new"], paths
    ended = {
        row.job_name: (row.state, row.reason)
        for row in them.rows.executions("job_name NOT LIKE 'soon-%'")
    }
    assert ended == {
        "hang": ("claimed", None),
        "hanging": ("cancelled", "requested"),
        "kept": ("succeeded", None),
        "paused": ("cancelled", "paused"),
        "deleted": ("cancelled", "deleted"),
        "changed": ("succeeded", None),
        "moved": ("cancelled", "changed"),
    }
    return aborted_after


def _done(answer: Any) -> None:
    assert answer.is_success, answer.text


def _in_flight(them: Cluster, node: ClusterNode) -> int | None:
    found = them.rows.query("SELECT load FROM nodes WHERE name = %s", node.name)
    return json.loads(found[0][0])["in_flight"] if found else None
