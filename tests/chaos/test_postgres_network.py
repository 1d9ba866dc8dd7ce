"""Nodes that stand still, a database that is away, and a bad network in between."""

import random
import time
from collections.abc import Iterator
from typing import Any

import psycopg
import pytest

from tests.chaos.cluster_evidence import check_cluster, nothing_was_lost, wait_ended
from tests.chaos.conftest import FULL, ClusterFactory, seeds
from tests.chaos.shots import create, first, last, shots, sleep_until
from tests.support.cluster import SHORT_LEASES, Cluster, ClusterNode
from tests.support.postgres import PostgresServer
from tests.support.process import Receiver, wait_until
from tests.support.proxy import Proxy

pytestmark = pytest.mark.chaos

JOBS, SECONDS = (20_000, 20) if FULL else (2_000, 4)


@seeds(1)
def test_node_stands_still_past_its_lease(
    seed: int, cluster: ClusterFactory, receiver: Receiver, record_property: Any
) -> None:
    """SIGSTOP under load, SIGCONT after others have taken over: it joins again."""
    dice = random.Random(seed)
    them: Cluster = cluster(env=SHORT_LEASES)
    them.start(3)
    jobs = shots(dice, receiver, JOBS, seconds=SECONDS)
    create(them.any, jobs)
    at = first(jobs) + dice.uniform(0.1, 0.5)
    times = 0
    while at < last(jobs):
        sleep_until(at)
        them.wait_ready()  # the one before may have been joining again
        victim = dice.choice(them.living)
        (before,) = [
            life.incarnation
            for life in them.rows.lives()
            if life.node == victim.name and life.ended_ns is None
        ]
        freeze = them.freeze(victim)
        wait_until(
            lambda before=before: any(
                life.ended_ns for life in them.rows.lives() if life.incarnation == before
            ),
            "another one has revoked it",
            poll=0.1,
        )
        time.sleep(dice.uniform(0, 1))
        them.thaw(victim, freeze)
        times += 1
        at += 6
    wait_ended(them, JOBS)
    them.wait_ready()
    assert len(them.rows.lives()) == 3 + times, "it has not joined again, or others have"
    them.stop()

    counts = check_cluster(them, jobs, receiver)
    assert counts.revoked == times, str(counts)
    counts.others["stops"] = times
    record_property("counts", str(counts))


@seeds(1)
def test_database_goes_away(
    seed: int,
    cluster: ClusterFactory,
    postgres: PostgresServer,
    receiver: Receiver,
    record_property: Any,
) -> None:
    """Its sessions are ended again and again, whatever they are doing; then it is killed, once for
    a moment and once for longer than a lease: nobody is taken for dead for that, and no call is
    made twice."""
    dice = random.Random(seed)
    them: Cluster = cluster(env=SHORT_LEASES)
    them.start(3)
    jobs = shots(dice, receiver, JOBS, seconds=SECONDS)
    create(them.any, jobs)
    outages = (0.0, 4.5, *((0.5, 6.0) if FULL else ()))
    sleep_until(first(jobs))
    cut = 0
    for outage in outages:
        cut += _cut_connections(them, dice, 2.0 if FULL else 0.7)
        time.sleep(dice.uniform(0.1, 0.5))
        postgres.kill()
        time.sleep(outage)
        postgres.start()
    wait_ended(them, JOBS)
    them.wait_ready()
    them.stop()
    counts = check_cluster(them, jobs, receiver)
    nothing_was_lost(counts, them)
    assert cut > 10, "nothing was cut"
    counts.others |= {"outages": len(outages), "connections cut": cut}
    record_property("counts", str(counts))


def _cut_connections(them: Cluster, dice: random.Random, seconds: float) -> int:
    """End sessions of nodes for so long, some of them at a time; returns how many."""
    cut = 0
    ends = time.monotonic() + seconds
    with psycopg.connect(them.url, application_name="evidence", autocommit=True) as conn:
        while time.monotonic() < ends:
            ended = conn.execute(
                "SELECT count(*) FILTER (WHERE pg_terminate_backend(pid)) FROM pg_stat_activity "
                "WHERE application_name LIKE 'node-%%' AND random() < %s",
                (dice.choice((0.2, 0.5, 1.0)),),
            ).fetchone()
            assert ended is not None
            cut += ended[0]
            time.sleep(dice.uniform(0.05, 0.4))
    return cut


@pytest.fixture
def proxy(postgres: PostgresServer) -> Iterator[Proxy]:
    """A bad network before the database."""
    made = Proxy(postgres.port)
    yield made
    made.close()


@seeds(1)
def test_bad_network(
    seed: int, cluster: ClusterFactory, proxy: Proxy, receiver: Receiver, record_property: Any
) -> None:
    """Between one of three nodes and the database packets are slow and get lost, connections are
    reset, and twice nothing gets through: first for a moment, then for longer than a lease."""
    dice = random.Random(seed)
    them: Cluster = cluster(env=SHORT_LEASES)
    alone = them.add(port=proxy.port, ready=False)
    them.start(2)
    them.wait_ready()
    jobs = shots(dice, receiver, JOBS, seconds=SECONDS)
    create(them.any, jobs)
    sleep_until(first(jobs))
    for _ in range(3 if FULL else 1):
        with them.disturbed("cut off", alone):
            proxy.worsen(delay=0.01, jitter=0.02, loss=0.02)
            time.sleep(dice.uniform(0.5, 1))
            proxy.reset()
            time.sleep(dice.uniform(0.2, 0.5))
            proxy.hold()
            time.sleep(0.6)
            _mend(proxy, dice)
            time.sleep(0.5)
            ended = _ended(them, alone)
            proxy.hold()
            wait_until(
                lambda ended=ended: _ended(them, alone) > ended,
                "another one has revoked it",
                poll=0.1,
            )
            _mend(proxy, dice)
            time.sleep(0.5)
            proxy.worsen()
    wait_ended(them, JOBS)
    them.wait_ready()
    revoked = {life.node for life in them.rows.lives() if life.ended_ns is not None}
    assert revoked == {alone.name}, f"others were revoked as well: {revoked}"
    them.stop()
    counts = check_cluster(them, jobs, receiver)
    counts.others["connections through the proxy"] = proxy.connections
    record_property("counts", str(counts))


def _mend(proxy: Proxy, dice: random.Random) -> None:
    """Let everything through again; or what was on its way never arrives."""
    if dice.random() < 0.5:
        proxy.reset()
    proxy.release()


def _ended(them: Cluster, node: ClusterNode) -> int:
    """How many lives of a node have ended."""
    return sum(life.node == node.name and life.ended_ns is not None for life in them.rows.lives())
