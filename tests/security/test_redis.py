"""Two nodes on PostgreSQL with a real Redis, which dies in between."""

import base64
import os
from collections.abc import Iterator

import pytest

from tests.chaos.conftest import ClusterFactory
from tests.support.process import Receiver, wait_until
from tests.support.redis import RedisServer
from tocsin.engine.relay_codec import WantTold, encode_item

WANTED = encode_item(WantTold())
"""What a node says that has readers of events, as it stands in a message."""

KEY = base64.b64encode(os.urandom(32)).decode()


@pytest.fixture
def redis() -> Iterator[RedisServer]:
    made = RedisServer(password="geheim")
    yield made.start()
    made.close()


def test_limits_and_events_are_shared_and_its_death_stops_no_fire(
    cluster: ClusterFactory, receiver: Receiver, redis: RedisServer
) -> None:
    env = {"TOCSIN_REDIS": redis.url, "TOCSIN_RATE_LIMIT": "6/day", "TOCSIN_SECRET_KEY": KEY}
    them = cluster(env=env)
    one, two = them.add(), them.add()

    # What is done on one node is told by the other, by way of Redis.
    listener = redis.client().pubsub()
    listener.psubscribe("tocsin:news:*")
    with one.client.stream("GET", "/api/v1/events", timeout=60) as events:
        lines = events.iter_lines()
        next(lines)
        # Nothing is told before the other node has heard that somebody listens.
        by_redis = iter(lambda: listener.get_message(timeout=60), None)
        assert any(WANTED in bytes(str(message["data"]), "utf-8") for message in by_redis)
        body = {"name": "told", "schedule": {"every": "1d"}, "target": {"log": "x"}}
        assert two.client.post("/api/v1/jobs", json=body).status_code == 201
        assert any("job.created" in line for line in lines)
    assert any(b"created" in bytes(str(message["data"]), "utf-8") for message in by_redis)
    listener.close()

    # Writes to either node count against one limit.
    every = {
        "name": "tick",
        "schedule": {"every": "1s"},
        "target": {"url": receiver.url("/ok")},
    }
    with redis.client() as counting:

        def refused() -> list[bool]:
            """Where Redis took too long for a node, it counted for itself; then they begin anew."""
            counting.flushdb()
            before = sum(len(list(node.events("redis.lost"))) for node in (one, two))
            found = [
                node.client.put(f"/api/v1/jobs/tick-{n}", json={**every, "name": f"tick-{n}"})
                for n in range(4)
                for node in (one, two)
            ]
            if sum(len(list(node.events("redis.lost"))) for node in (one, two)) > before:
                return []
            return [answer.status_code == 429 for answer in found]

        found = wait_until(refused, "Redis is quick enough for both")
    assert found == [False] * 6 + [True] * 2, found

    # It dies: fires go on, limits are those of each node.
    redis.kill()
    before = receiver.count()
    receiver.wait_for(before + 6)
    statuses = [
        one.client.put(f"/api/v1/jobs/more-{n}", json={**every, "name": f"more-{n}"}).status_code
        for n in range(7)
    ]
    assert statuses == [201] * 6 + [429]
    wait_until(lambda: any(one.events("redis.lost")), "the log says that it is lost")
    assert "geheim" not in one.whole_log()

    redis.start()
    wait_until(lambda: any(one.events("redis.back")), "the log says that it is back")
    before = receiver.count()
    receiver.wait_for(before + 3)
