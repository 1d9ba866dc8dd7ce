"""The nodes as the API shows them, and figures that many nodes make together."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import pytest
from pydantic import TypeAdapter

from tests.api.harness import Api, serving
from tests.support import build
from tests.support.build import MINUTE, NOW, SECOND
from tests.support.memory_store import MemoryStore
from tocsin.api.cluster import EXAMPLE, ClusterOut
from tocsin.domain.errors import StoreUnavailable
from tocsin.domain.instant import format_instant
from tocsin.domain.planning import plan_fires
from tocsin.domain.settle import void
from tocsin.store.port import Claim, Node

CLUSTER = "/api/v1/cluster"
NOTHING = {
    "held": 0,
    "max_held": 0,
    "in_flight": 0,
    "max_in_flight": 0,
    "waiting_results": 0,
}
UNSAID = dict.fromkeys(NOTHING)


def a_node(incarnation: str, **more: Any) -> Node:
    return replace(build.node(incarnation), **more)


async def join(api: Api, *nodes: Node) -> Sequence[Node]:
    """The nodes as stored: where the store has a clock of its own, leases go by that."""
    for node in nodes:
        await api.store.register(node)
    return await api.store.nodes()


async def test_before_any_node_has_joined(api: Api) -> None:
    assert await api.get(CLUSTER) == {
        "now": format_instant(NOW),
        "this": {"name": "node-a", "incarnation": "inc-a"},
        "database": {"kind": "sqlite", "schema_revision": "0001"},
        "coordination": "database",
        "leader": None,
        "totals": {"nodes": 0, "leases": {"held": 0, "lapsed": 0}, "load": NOTHING},
        "nodes": [],
    }


async def test_a_node_with_all_it_says(api: Api) -> None:
    load = {
        "held": 431,
        "max_held": 20_000,
        "in_flight": 12,
        "max_in_flight": 1_000,
        "waiting_results": 3,
    }
    measured = {"clock_offset_ms": -1.0, "round_trip_ms": 0.5}
    (one,) = await join(api, a_node("inc-a", load={**load, **measured}))
    api.clock.now = one.heartbeat_at + 1_250
    assert (await api.get(CLUSTER))["nodes"] == [
        {
            "incarnation": "inc-a",
            "name": "node of inc-a",
            "this": True,
            "address": "127.0.0.1:8080",
            "version": "0.1.0",
            "started_at": format_instant(NOW),
            "uptime_ms": api.clock.now - NOW,
            "heartbeat_at": format_instant(one.heartbeat_at),
            "lease": {
                "state": "held",
                "until": format_instant(one.heartbeat_at + 5 * SECOND),
                "remaining_ms": 3_750,
            },
            "load": load,
            **measured,
        }
    ]


async def test_many_nodes_by_name_with_one_that_has_lapsed(api: Api) -> None:
    load = {"held": 10, "max_held": 100, "in_flight": 2, "max_in_flight": 50, "waiting_results": 1}
    *_, c = await join(
        api,
        a_node("inc-b", name="b", load=load),
        a_node("inc-a", name="a", load=load),
        a_node("inc-c", name="c", load=load, lease_until=NOW + 500),
    )
    api.clock.now = c.lease_until + 1
    shown = await api.get(CLUSTER)
    found = [(one["name"], one["this"], one["lease"]["state"]) for one in shown["nodes"]]
    assert found == [("a", True, "held"), ("b", False, "held"), ("c", False, "lapsed")]
    assert shown["totals"] == {
        "nodes": 3,
        "leases": {"held": 2, "lapsed": 1},
        "load": {name: 2 * value for name, value in load.items()},
    }
    dead = shown["nodes"][2]
    assert dead["lease"]["remaining_ms"] == -1
    assert dead["load"] == load
    assert dead["uptime_ms"] == c.heartbeat_at - NOW, "nobody knows whether it ran after that"


async def test_a_lease_lapses_at_the_instant_at_which_others_may_revoke_it() -> None:
    async with serving(MemoryStore()) as api:
        await join(api, a_node("inc-a", lease_until=NOW))
        assert (await api.get(CLUSTER))["nodes"][0]["lease"]["state"] == "held"
        assert not await api.store.revoke_lapsed(now=NOW, by="inc-b")
        api.clock.now += 1
        assert (await api.get(CLUSTER))["nodes"][0]["lease"]["state"] == "lapsed"
        assert await api.store.revoke_lapsed(now=api.clock.now, by="inc-b")
        assert (await api.get(CLUSTER))["nodes"] == []


@pytest.mark.parametrize(
    "load",
    [
        None,
        [],
        "busy",
        7,
        {},
        {"held": "many", "in_flight": None, "max_held": [1], "waiting_results": {}},
        {"held": -1, "in_flight": True, "max_in_flight": 2.5, "max_held": 2**70},
        {"clock_offset_ms": "fast", "round_trip_ms": False},
        {"clock_offset_ms": 1e300, "round_trip_ms": [0.1]},
        {"a_word_of_a_later_version": 1},
    ],
)
async def test_a_load_of_another_version_harms_nobody(api: Api, load: Any) -> None:
    await join(api, a_node("inc-a", load=load), a_node("inc-b", load={"held": 3}))
    shown = await api.get(CLUSTER)
    first = shown["nodes"][0]
    assert first["load"] == UNSAID
    assert (first["clock_offset_ms"], first["round_trip_ms"]) == (None, None)
    assert shown["totals"]["load"] == {**NOTHING, "held": 3}


async def test_an_uptime_is_never_negative(api: Api) -> None:
    await join(api, a_node("inc-a", started_at=NOW + MINUTE))
    assert (await api.get(CLUSTER))["nodes"][0]["uptime_ms"] == 0


async def test_a_node_without_a_lease_says_so() -> None:
    async with serving(MemoryStore(), incarnation="") as api:
        await join(api, a_node("inc-b"))
        shown = await api.get(CLUSTER)
    assert shown["this"] == {"name": "node-a", "incarnation": None}
    assert [one["this"] for one in shown["nodes"]] == [False]


async def test_a_store_that_does_not_answer() -> None:
    async def fail(_: str) -> None:
        raise StoreUnavailable("gone")

    async with serving(MemoryStore(before=fail)) as api:
        answer = await api.ask("GET", CLUSTER, status=503)
    assert answer.json()["code"] == "store_unavailable"
    assert answer.headers["retry-after"]


async def test_it_takes_no_parameters(api: Api) -> None:
    assert await api.problems("GET", f"{CLUSTER}?name=a") == [("name", "unknown_parameter")]


async def test_the_example_is_one(api: Api) -> None:
    TypeAdapter(ClusterOut).validate_python(EXAMPLE, strict=True, extra="forbid")
    operation = (await api.get("/api/openapi.json"))["paths"][CLUSTER]["get"]
    # FastAPI leaves out of examples what is null.
    said = {name: value for name, value in EXAMPLE.items() if value is not None}
    assert operation["responses"]["200"]["content"]["application/json"]["example"] == said
    assert EXAMPLE.keys() - said.keys() == {"leader"}
    held, lapsed = EXAMPLE["nodes"]
    assert EXAMPLE["totals"]["load"] == held["load"] != lapsed["load"]


class TestFiguresOfManyNodes:
    async def claim(self, api: Api, incarnation: str, limit: int) -> Sequence[Claim]:
        request = build.claim_request(
            api.clock.now, incarnation=incarnation, ahead=0, limit=limit, exact_limit=0
        )
        return (await api.store.claim(request, plan_fires)).claims

    async def test_each_writes_its_own_and_all_are_shown(self, api: Api) -> None:
        await join(api, a_node("inc-a"), a_node("inc-b"))
        for number in range(5):
            await api.create(name=f"job-{number}", schedule={"every": "1m"},
                             retry={"max_attempts": 1})  # fmt: skip
        api.clock.now += MINUTE
        of_a = await self.claim(api, "inc-a", 2)
        of_b = await self.claim(api, "inc-b", 10)
        assert (len(of_a), len(of_b)) == (2, 3)
        stats = await api.get("/api/v1/stats")
        assert stats["executions"]["claimed"] == 5
        results = {
            "inc-a": [build.succeed(one, api.clock.now) for one in of_a],
            "inc-b": [build.succeed(one, api.clock.now) for one in of_b[:2]]
            + [build.fail(of_b[2], api.clock.now)],
        }
        for incarnation, some in results.items():
            await api.store.record(incarnation, some, now=api.clock.now, void=void)
        stats = await api.get("/api/v1/stats")
        ended = {name: stats["executions"][name] for name in ("claimed", "succeeded", "failed")}
        assert ended == {"claimed": 0, "succeeded": 4, "failed": 1}
        assert [(one["succeeded"], one["failed"]) for one in stats["minutes"]] == [(4, 1)]
        assert (await api.get("/healthz"))["failed"] == 1

    async def test_what_a_node_has_done_stays_when_it_is_gone(self, api: Api) -> None:
        await join(api, a_node("inc-a"), a_node("inc-b"))
        await api.create(name="report", schedule={"every": "1m"})
        for incarnation in ("inc-a", "inc-b"):
            api.clock.now += MINUTE
            (claim,) = await self.claim(api, incarnation, 10)
            done = [build.succeed(claim, api.clock.now)]
            await api.store.record(incarnation, done, now=api.clock.now, void=void)
        await api.store.leave("inc-a")
        stats = await api.get("/api/v1/stats")
        assert stats["executions"]["succeeded"] == 2
        assert [one["succeeded"] for one in stats["minutes"]] == [1, 1]
