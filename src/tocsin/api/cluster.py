"""What the cluster looks like in answers: its shapes, an example, and how it is made."""

from typing import Annotated, Any, Literal

from pydantic import Field
from typing_extensions import TypedDict

from tocsin.api.schemas import Instant
from tocsin.domain.instant import format_instant
from tocsin.services.cluster import Cluster, Coordination, DatabaseKind, Load, Member


class LeaseOut(TypedDict):
    """A node's right to run what it claimed, by the clock of the node that answers."""

    state: Annotated[
        Literal["held", "lapsed"],
        Field(
            description="`lapsed`: it was not renewed in time. The node starts no call; another "
            "one takes over what it holds, unless it renews before that."
        ),
    ]
    until: Instant
    remaining_ms: Annotated[int, Field(description="Until then; negative where it has lapsed.")]


class LoadOut(TypedDict):
    """What is on hand, as of the last heartbeat; null where a node did not say."""

    held: Annotated[int | None, Field(description="Executions that it has claimed.")]
    max_held: int | None
    in_flight: Annotated[int | None, Field(description="Calls under way.")]
    max_in_flight: int | None
    waiting_results: Annotated[
        int | None, Field(description="Results that the database has not taken yet.")
    ]


class NodeOut(TypedDict):
    """A running process."""

    incarnation: Annotated[str, Field(description="One start of one process; names are not.")]
    name: str
    this: Annotated[bool, Field(description="Whether it is the node that answers.")]
    address: Annotated[str, Field(description="Where its own API listens.")]
    version: str
    started_at: Instant
    uptime_ms: Annotated[
        int, Field(description="Until now; of a lapsed node until its last heartbeat.")
    ]
    heartbeat_at: Instant
    lease: LeaseOut
    load: LoadOut
    clock_offset_ms: Annotated[
        float | None,
        Field(description="The database's clock less the node's own; null where not measured."),
    ]
    round_trip_ms: Annotated[
        float | None, Field(description="How long the measurement of the offset took.")
    ]


class ThisNodeOut(TypedDict):
    """The node that answers."""

    name: str
    incarnation: Annotated[
        str | None, Field(description="null: it holds no lease, and is not among the nodes.")
    ]


class DatabaseOut(TypedDict):
    """Where everything is kept."""

    kind: DatabaseKind
    schema_revision: Annotated[
        str, Field(description="Of the tables as the node that answers knows them.")
    ]


class LeaseCounts(TypedDict):
    """Nodes by the state of their lease."""

    held: int
    lapsed: int


class TotalsOut(TypedDict):
    """The sums."""

    nodes: int
    leases: LeaseCounts
    load: Annotated[LoadOut, Field(description="Of the nodes whose lease is held.")]


class ClusterOut(TypedDict):
    """All nodes that have joined, and were neither stopped nor revoked."""

    now: Annotated[Instant, Field(description="The time that leases and uptimes were judged at.")]
    this: ThisNodeOut
    database: DatabaseOut
    coordination: Annotated[
        Coordination,
        Field(
            description="How the nodes agree on who runs what. `database`: they are equal, and "
            "each claims what is due from the one database, under its locks. Clients accept words "
            "that they do not know."
        ),
    ]
    leader: Annotated[
        str | None,
        Field(
            description="The incarnation of the node that leads; null where there is none, which "
            "is so wherever a database coordinates them."
        ),
    ]
    totals: TotalsOut
    nodes: Annotated[list[NodeOut], Field(description="By name, then by start.")]


def cluster_json(cluster: Cluster) -> ClusterOut:
    """The cluster as the API shows it."""
    return {
        "now": format_instant(cluster.now),
        "this": {
            "name": cluster.this_name,
            "incarnation": cluster.this_incarnation or None,
        },
        "database": {
            "kind": cluster.database,
            "schema_revision": cluster.schema_revision,
        },
        "coordination": cluster.coordination,
        "leader": cluster.leader,
        "totals": {
            "nodes": len(cluster.members),
            "leases": {"held": cluster.held, "lapsed": cluster.lapsed},
            "load": _load(cluster.load),
        },
        "nodes": [_node(member) for member in cluster.members],
    }


def _node(member: Member) -> NodeOut:
    node = member.node
    return {
        "incarnation": node.incarnation,
        "name": node.name,
        "this": member.this,
        "address": node.address,
        "version": node.version,
        "started_at": format_instant(node.started_at),
        "uptime_ms": member.uptime,
        "heartbeat_at": format_instant(node.heartbeat_at),
        "lease": {
            "state": "held" if member.held else "lapsed",
            "until": format_instant(node.lease_until),
            "remaining_ms": member.remaining,
        },
        "load": _load(member.load),
        "clock_offset_ms": member.clock_offset,
        "round_trip_ms": member.round_trip,
    }


def _load(load: Load) -> LoadOut:
    return {
        "held": load.held,
        "max_held": load.max_held,
        "in_flight": load.in_flight,
        "max_in_flight": load.max_in_flight,
        "waiting_results": load.waiting_results,
    }


EXAMPLE: dict[str, Any] = {
    "now": "2026-11-21T12:00:00.250Z",
    "this": {"name": "alpha", "incarnation": "5e0c2a4e-54f5-4c7d-9a3e-0f0d8f3b6c11"},
    "database": {"kind": "postgresql", "schema_revision": "0001"},
    "coordination": "database",
    "leader": None,
    "totals": {
        "nodes": 2,
        "leases": {"held": 1, "lapsed": 1},
        "load": {
            "held": 431,
            "max_held": 20_000,
            "in_flight": 12,
            "max_in_flight": 1_000,
            "waiting_results": 3,
        },
    },
    "nodes": [
        {
            "incarnation": "5e0c2a4e-54f5-4c7d-9a3e-0f0d8f3b6c11",
            "name": "alpha",
            "this": True,
            "address": "http://10.0.0.11:8080",
            "version": "0.1.0",
            "started_at": "2026-11-21T09:30:00Z",
            "uptime_ms": 9_000_250,
            "heartbeat_at": "2026-11-21T11:59:59.900Z",
            "lease": {
                "state": "held",
                "until": "2026-11-21T12:00:04.900Z",
                "remaining_ms": 4_650,
            },
            "load": {
                "held": 431,
                "max_held": 20_000,
                "in_flight": 12,
                "max_in_flight": 1_000,
                "waiting_results": 3,
            },
            "clock_offset_ms": -1.0,
            "round_trip_ms": 0.4,
        },
        {
            "incarnation": "b64c9d1c-6d0e-4b8f-8a52-7c1f2f0f9d22",
            "name": "beta",
            "this": False,
            "address": "http://10.0.0.12:8080",
            "version": "0.1.0",
            "started_at": "2026-11-21T09:31:00Z",
            "uptime_ms": 8_932_000,
            "heartbeat_at": "2026-11-21T11:59:52Z",
            "lease": {
                "state": "lapsed",
                "until": "2026-11-21T11:59:57Z",
                "remaining_ms": -3_250,
            },
            "load": {
                "held": 12,
                "max_held": 20_000,
                "in_flight": 0,
                "max_in_flight": 1_000,
                "waiting_results": 0,
            },
            "clock_offset_ms": 3.0,
            "round_trip_ms": 0.6,
        },
    ],
}
"""Two nodes, one of which has died a moment ago."""
