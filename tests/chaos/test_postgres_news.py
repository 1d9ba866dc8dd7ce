"""What is asked of one node while another holds the claim."""

import json
from typing import Any

import pytest

from tests.chaos.conftest import ClusterFactory
from tests.chaos.evidence import leads, soon
from tests.support.cluster import Cluster, ClusterNode
from tests.support.process import Receiver, rfc3339, wait_until

pytestmark = pytest.mark.chaos

RARELY = 30
"""Seconds between two looks of a node that is told of everything: the longest that may be set."""

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


def _hourly(url: str, at: int) -> dict[str, Any]:
    # A job with one fire time is completed by its claim: it could not be paused any more.
    return {"schedule": {"every": "1h", "anchor": rfc3339(at)}, "target": {"url": url}}


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
        TOCSIN_CLAIM_HORIZON="1m",
        # With notifications it need not look.
        TOCSIN_POLL_INTERVAL=f"{RARELY}s" if notify else "500ms",
        TOCSIN_ADOPT_INTERVAL="10m" if notify else "1s",
    )
    second = them.nodes[1]
    late = _lateness_of_new_jobs(
        first, receiver, due_in=0.2 if notify else 0, count=8 if notify else 4
    )
    rows = them.rows.executions("job_name LIKE 'soon-%'")
    nodes = {attempt["node"] for row in rows for attempt in row.attempts}
    assert nodes <= {second.name}, "the wrong node made the call"
    if notify:
        # Each is created after the one before was called: looking alone would take whole intervals.
        assert late[len(late) // 2] < 1_000 * RARELY / 2, late

    aborted_after = _cancel_a_call(them, first, second, receiver)
    _change_what_is_held(them, first, second, receiver)
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


def _cancel_a_call(
    them: Cluster, first: ClusterNode, second: ClusterNode, receiver: Receiver
) -> int:
    """Returns after how many milliseconds it was aborted."""
    before = receiver.count()
    hanging = first.post("/jobs", _job("hanging", receiver.url("/hang"), soon(0), timeout="10m"))
    receiver.wait_for(before + 1)
    # What the other node says of itself with each heartbeat.
    wait_until(lambda: _in_flight(them, second) == 1, "it tells of the call")
    (call,) = them.rows.executions(f"job_id = '{hanging['id']}'")
    _done(first.client.post(f"/api/v1/executions/{call.id}/cancel"))
    cancelled_at = soon(0)
    wait_until(lambda: _in_flight(them, second) == 0, "it has aborted the call")
    aborted_after = soon(0) - cancelled_at
    (call,) = them.rows.executions(f"job_id = '{hanging['id']}'")
    assert (call.state, call.reason) == ("cancelled", "requested")
    return aborted_after


def _change_what_is_held(
    them: Cluster, first: ClusterNode, second: ClusterNode, receiver: Receiver
) -> None:
    api = first.client
    for seconds in leads():
        due = soon(seconds)
        ids = {
            name: first.post("/jobs", _hourly(receiver.url(f"/ok?{name}"), due))["id"]
            for name in ("kept", "changed", "paused", "deleted", "moved")
        }
        wait_until(
            lambda ids=ids: {row.job_id for row in second.claimed().values()}.issuperset(
                ids.values()
            ),
            "the other node holds them all",
            poll=0.05,
        )
        # This one first: nobody sees in the database that its owner has heard of it.
        changed = {"target": {"url": receiver.url("/ok?new")}}
        _done(api.patch(f"/api/v1/jobs/{ids['changed']}", json=changed))
        _done(api.post(f"/api/v1/jobs/{ids['paused']}/pause"))
        _done(api.delete(f"/api/v1/jobs/{ids['deleted']}"))
        later = {"schedule": {"every": "1h", "anchor": rfc3339(due + 600_000)}}
        _done(api.patch(f"/api/v1/jobs/{ids['moved']}", json=later))
        given_up = {ids[name] for name in ("paused", "deleted", "moved")}
        wait_until(
            lambda given_up=given_up: _ended(them).keys() >= given_up,
            "their owner has given them up",
            poll=0.05,
        )
        if soon(0) < due:
            break
    wait_until(lambda: _ended(them).keys() >= set(ids.values()), "the others have ended", poll=0.05)
    wait_until(lambda: soon(-0.5) > due, "nothing else comes")
    calls = [call for call in receiver.arrivals() if call.job_id in ids.values()]
    assert sorted(call.path for call in calls) == ["/ok?kept", "/ok?new"], calls
    ended = _ended(them)
    assert {name: ended[id_] for name, id_ in ids.items()} == {
        "kept": ("succeeded", None),
        "paused": ("cancelled", "paused"),
        "deleted": ("cancelled", "deleted"),
        "changed": ("succeeded", None),
        "moved": ("cancelled", "changed"),
    }
    (hanging,) = them.rows.executions("job_name = 'hang'")
    assert hanging.state == "claimed"


def _ended(them: Cluster) -> dict[str, tuple[str, str | None]]:
    """State and reason of what has ended, by job."""
    rows = them.rows.executions("finished_at IS NOT NULL")
    return {row.job_id: (row.state, row.reason) for row in rows}


def _done(answer: Any) -> None:
    assert answer.is_success, answer.text


def _in_flight(them: Cluster, node: ClusterNode) -> int | None:
    found = them.rows.query("SELECT load FROM nodes WHERE name = %s", node.name)
    return json.loads(found[0][0])["in_flight"] if found else None
