"""The nodes of the cluster, as the store knows them."""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal, TypeAlias

from tocsin.domain.instant import Millis
from tocsin.domain.job import Json
from tocsin.store.port import Node, Store

DatabaseKind: TypeAlias = Literal["sqlite", "postgresql"]

Coordination: TypeAlias = Literal["database"]
"""How nodes agree on who runs what.

``database``: they are equal, and claim from one database under its locks. A cluster that
replicates its store by itself will be another one, and has a leader.
"""

_MOST = 2**53
"""What a node may say of itself at most: beyond it JSON's numbers lose their last digits."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Load:
    """What a node had on hand at its last heartbeat; ``None``: it did not say."""

    held: int | None = None
    max_held: int | None = None
    in_flight: int | None = None
    max_in_flight: int | None = None
    waiting_results: int | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class Member:
    """A node with what follows from the time."""

    node: Node
    held: bool
    """Whether its lease has not ended yet."""
    remaining: Millis
    """Until the end of its lease; negative since."""
    uptime: Millis
    """From its start until now; where its lease lapsed, until its last heartbeat."""
    load: Load
    clock_offset: float | None
    """Milliseconds that the database's clock is ahead of the node's own."""
    round_trip: float | None
    """Milliseconds that the measurement of it took."""
    this: bool
    """Whether it is the node that answers."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Cluster:
    """All nodes at an instant."""

    now: Millis
    this_name: str
    this_incarnation: str
    """Of the node that answers; empty where it holds no lease."""
    members: Sequence[Member]
    held: int
    """Nodes whose lease is held."""
    load: Load
    """The sums over these; what a node did not say counts as nothing."""
    database: DatabaseKind
    schema_revision: str
    coordination: Coordination = "database"
    leader: str | None = None
    """The incarnation that leads; ``None`` where none does, as with a database."""

    @property
    def lapsed(self) -> int:
        """Nodes whose lease has ended and that nobody has revoked yet."""
        return len(self.members) - self.held


class ClusterService:
    """Reads the nodes; the time is that of the node that is asked."""

    def __init__(
        self,
        *,
        store: Store,
        now: Callable[[], Millis],
        node_name: str,
        incarnation: Callable[[], str],
        database: DatabaseKind,
        schema_revision: str,
    ) -> None:
        self._store = store
        self._now = now
        self._node_name = node_name
        self._incarnation = incarnation
        self._database = database
        self._schema_revision = schema_revision

    async def look(self) -> Cluster:
        """All nodes that have joined and were neither stopped nor revoked, by name and start."""
        nodes = await self._store.nodes()
        now, this = self._now(), self._incarnation()
        members = [_member(node, now=now, this=this) for node in nodes]
        alive = [member for member in members if member.held]
        return Cluster(
            now=now,
            this_name=self._node_name,
            this_incarnation=this,
            members=members,
            held=len(alive),
            load=_sum([member.load for member in alive]),
            database=self._database,
            schema_revision=self._schema_revision,
        )

    async def count(self) -> int:
        """How many nodes hold their lease."""
        nodes = await self._store.nodes()
        now = self._now()
        return sum(_held(node, now) for node in nodes)


def _held(node: Node, now: Millis) -> bool:
    # As `revoke_lapsed` compares: what is not held by this may be revoked.
    return node.lease_until >= now


def _member(node: Node, *, now: Millis, this: str) -> Member:
    held = _held(node, now)
    return Member(
        node=node,
        held=held,
        remaining=node.lease_until - now,
        uptime=max(0, (now if held else node.heartbeat_at) - node.started_at),
        load=_load(node.load),
        clock_offset=_measured(node.load, "clock_offset_ms"),
        round_trip=_measured(node.load, "round_trip_ms"),
        this=node.incarnation == this,
    )


def _load(said: Json) -> Load:
    return Load(
        held=_counted(said, "held"),
        max_held=_counted(said, "max_held"),
        in_flight=_counted(said, "in_flight"),
        max_in_flight=_counted(said, "max_in_flight"),
        waiting_results=_counted(said, "waiting_results"),
    )


def _counted(said: Json, name: str) -> int | None:
    value = _said(said, name)
    return value if isinstance(value, int) and 0 <= value <= _MOST else None


def _measured(said: Json, name: str) -> float | None:
    value = _said(said, name)
    if not isinstance(value, int | float) or abs(value) > _MOST or math.isnan(value):
        return None
    return float(value)


def _said(said: Json, name: str) -> Json:
    """What a node of whatever version said; ``None`` where it is no number."""
    value = said.get(name) if isinstance(said, dict) else None
    return None if isinstance(value, bool) else value


def _sum(loads: Sequence[Load]) -> Load:
    return Load(
        held=sum(load.held or 0 for load in loads),
        max_held=sum(load.max_held or 0 for load in loads),
        in_flight=sum(load.in_flight or 0 for load in loads),
        max_in_flight=sum(load.max_in_flight or 0 for load in loads),
        waiting_results=sum(load.waiting_results or 0 for load in loads),
    )
