"""Failover: how long what a killed node had in hands waits until another one calls it."""

import random
import time

from tests.support.process import Receiver, Tocsin, now_ms, rfc3339, wait_until

from bench.context import Bench
from bench.nodes import Cluster, PostgresNode
from bench.report import Figure, Figures

JOBS = 100
"""Each fires every second, and its call takes ``CALL_MS``: some are always in flight."""

CALL_MS = 300

IN_SOCKETS = 0.25
"""Seconds after its death in which a call of the dead node may still be read by the receiver."""


def run(bench: Bench) -> list[Figure]:
    """Kill one of two nodes, again and again, in the midst of calls."""
    rounds = 2 if bench.quick else 10
    figures = Figures(f"failover, {JOBS} per-second jobs")
    with bench.slow_receiver() as receiver, bench.cluster(postgres=True, nodes=2) as cluster:
        base = (now_ms() // 1_000 + 2) * 1_000
        cluster.create(
            [
                {
                    "name": f"failover-{number}",
                    "schedule": {
                        "every": "1s",
                        "anchor": rfc3339(base + number * 1_000 // JOBS),
                    },
                    "target": {"url": receiver.url(f"/slow?ms={CALL_MS}")},
                }
                for number in range(JOBS)
            ]
        )
        time.sleep(8)  # Longer than a lease: before that the other one may not revoke it.
        for number in range(rounds):
            bench.say(f"failover {number + 1}/{rounds}")
            _one_round(figures, cluster, receiver)
            cluster.nodes[1].start()
            cluster.wait_for_nodes(2)
    return figures.all()


def _one_round(figures: Figures, cluster: Cluster, receiver: Receiver) -> None:
    # Its heartbeat is every second: at some moment between two of them.
    time.sleep(1 + random.random())
    victim = cluster.nodes[1]
    incarnation = _incarnation(cluster, victim)
    wait_until(lambda: _in_flight(cluster, incarnation), "it has calls in flight", poll=0.001)
    victim.kill()
    killed = time.time()
    time.sleep(IN_SOCKETS)
    # Nobody may take them as long as its lease lasts; so this is what it had in hands.
    in_hands = {
        row[0]
        for row in cluster.query(
            "SELECT id::text FROM executions WHERE state = 'claimed' AND owner = %s", incarnation
        )
    }
    seen = receiver.count()
    called: dict[str, float] = {}

    def all_called() -> bool:
        for arrival in receiver.arrivals()[seen:]:
            if arrival.execution_id in in_hands:
                called.setdefault(arrival.execution_id, arrival.at_ns / 1e9 - killed)
        return called.keys() == in_hands

    wait_until(all_called, "the other node has called what the dead one had in hands", poll=0.2)
    figures.add("until the first is called", "s", min(called.values()))
    figures.add("until all are called", "s", max(called.values()))
    figures.add("in hands of the killed node", "fires", len(in_hands))


def _incarnation(cluster: Cluster, node: Tocsin) -> str:
    """The present incarnation of a node, by its address."""
    assert isinstance(node, PostgresNode)
    ((incarnation,),) = cluster.query(
        "SELECT incarnation FROM nodes WHERE address LIKE %s", f"%:{node.port}"
    )
    return str(incarnation)


def _in_flight(cluster: Cluster, incarnation: str) -> bool:
    ((count,),) = cluster.query(
        "SELECT count(*) FROM executions WHERE state = 'claimed' AND owner = %s AND due <= %s",
        incarnation,
        now_ms(),
    )
    return bool(count)
