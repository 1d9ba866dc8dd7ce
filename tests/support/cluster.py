"""Many nodes on one PostgreSQL database, each a process that can be killed, stopped or cut off."""

import contextlib
import functools
import json
import os
import signal
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psycopg

from tests.support.postgres import PostgresServer
from tests.support.process import Row, Tocsin, wait_until

SKEWED_CLOCK = Path(__file__).with_name("skewed_clock")
"""A directory for ``PYTHONPATH``: see the ``sitecustomize.py`` in it."""

SHORT_LEASES = {"TOCSIN_LEASE_TTL": "4s", "TOCSIN_HEARTBEAT_INTERVAL": "500ms"}
"""So that rescue comes soon, and a machine that is busy for some seconds still kills nobody.
Everything else is as it is by default."""

PATIENT_POLL = 0.1
"""Seconds between two questions to the database: each of them costs the nodes some."""

_COLUMNS = (
    "id, job_id, job_name, fire_time, due, available_at, state, reason, owner, "
    "skipped_until, skipped_count, attempts"
)

_AUDIT = """
    CREATE SCHEMA chaos;
    CREATE TABLE chaos.lives (
        incarnation text PRIMARY KEY, node text, began timestamptz, ended timestamptz);
    CREATE FUNCTION chaos.note() RETURNS trigger LANGUAGE plpgsql AS $$
    BEGIN
        IF TG_OP = 'INSERT' THEN
            INSERT INTO chaos.lives VALUES (NEW.incarnation, NEW.name, clock_timestamp(), NULL)
            ON CONFLICT (incarnation) DO UPDATE SET ended = NULL;
        ELSE
            UPDATE chaos.lives SET ended = clock_timestamp() WHERE incarnation = OLD.incarnation;
        END IF;
        RETURN NULL;
    END $$;
    CREATE TRIGGER chaos_note AFTER INSERT OR DELETE ON nodes
        FOR EACH ROW EXECUTE FUNCTION chaos.note();
"""
"""Who joined when and was revoked (or left) when: a trigger of ours, as evidence. It runs once per
life of a node, so that it disturbs nothing."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Life:
    """An incarnation, from its joining to its end."""

    incarnation: str
    node: str
    began_ns: int
    ended_ns: int | None


class PostgresRows:
    """A database, read by plain psycopg without Tocsin."""

    def __init__(self, url: str) -> None:
        self.url = url

    def query(self, sql: str, *values: Any) -> list[tuple[Any, ...]]:
        """All rows of a query."""
        with psycopg.connect(self.url, application_name="evidence", autocommit=True) as conn:
            return conn.execute(sql.encode(), values or None).fetchall()

    def one(self, sql: str, *values: Any) -> Any:
        """The only value of a query."""
        ((value,),) = self.query(sql, *values)
        return value

    def executions(self, where: str = "true") -> list[Row]:
        """All executions that meet a condition."""
        names = ("id::text", "job_id::text", *_COLUMNS.split(", ")[2:])
        found = self.query(f"SELECT {', '.join(names)} FROM executions WHERE {where}")
        keys = _COLUMNS.split(", ")
        return [
            Row(**{**dict(zip(keys, row, strict=True)), "attempts": json.loads(row[-1] or "[]")})
            for row in found
        ]

    def unfinished(self) -> int:
        """How many executions have not ended."""
        return int(self.one("SELECT count(*) FROM executions WHERE finished_at IS NULL"))

    def ended(self, like: str = "%") -> int:
        """How many executions have ended, of jobs with such names."""
        return int(
            self.one(
                "SELECT count(*) FROM executions WHERE finished_at IS NOT NULL "
                "AND job_name LIKE %s",
                like,
            )
        )

    def timers(self) -> int:
        """How many jobs have a fire to come."""
        return int(self.one("SELECT count(*) FROM timers"))

    def lives(self) -> list[Life]:
        """Every incarnation that ever joined."""
        found = self.query(
            "SELECT incarnation, node, (extract(epoch FROM began) * 1e9)::bigint, "
            "(extract(epoch FROM ended) * 1e9)::bigint FROM chaos.lives ORDER BY began"
        )
        return [Life(incarnation=row[0], node=row[1], began_ns=row[2], ended_ns=row[3])
                for row in found]  # fmt: skip

    def sessions(self, name: str) -> int:
        """How many connections of this name do something, or are in a transaction."""
        return int(
            self.one(
                "SELECT count(*) FROM pg_stat_activity WHERE application_name = %s "
                "AND state <> 'idle'",
                name,
            )
        )


class ClusterNode(Tocsin):
    """A ``tocsin serve`` on a PostgreSQL database."""

    def __init__(self, home: Path, *, url: str, rows: PostgresRows, **options: Any) -> None:
        super().__init__(home, **options)
        self.name = self.log_path.stem
        self.options = ("--node-name", self.name, *self.options)
        self.url = url
        self._rows = rows

    def database_url(self) -> str:
        """Its database; sessions there are named after the node."""
        return f"{self.url}?application_name={self.name}"

    def postgres_rows(self) -> PostgresRows:
        """The database, to be read, by a way that nobody disturbs."""
        return self._rows

    def claimed(self) -> dict[str, Row]:
        """What it owns, by id."""
        return {
            row.id: row
            for row in self._rows.executions(
                "state = 'claimed' AND owner IN "
                f"(SELECT incarnation FROM nodes WHERE name = '{self.name}')"
            )
        }


@dataclass(kw_only=True, slots=True)
class Disturbance:
    """What was done to a node, or to all."""

    kind: str
    node: str
    began_ns: int = field(default_factory=time.time_ns)
    over_ns: int = 0
    """When it could do no more harm."""
    in_hands: Mapping[str, Row] = field(default_factory=dict)
    """What the node had claimed and not finished, by id, where the database could be asked."""

    @property
    def in_flight(self) -> int:
        """How many calls can have been under way, or made and not yet recorded."""
        return sum(row.due <= self.began_ns // 1_000_000 for row in self.in_hands.values())


class Cluster:
    """Nodes on one database of a server; ``close`` ends them all."""

    def __init__(
        self,
        home: Path,
        server: PostgresServer,
        *,
        env: Mapping[str, str] | None = None,
        url: str | None = None,
    ) -> None:
        self.home = home
        self.server = server
        self.env = dict(env or {})
        self.url = url or server.create(template=template_of(server))
        self.rows = PostgresRows(self.url)
        self.nodes: list[ClusterNode] = []
        self.disturbances: list[Disturbance] = []

    # --- nodes

    def add(
        self,
        *,
        ready: bool = True,
        port: int | None = None,
        env: Mapping[str, str] | None = None,
        skew: float | None = None,
    ) -> ClusterNode:
        """Start another node: perhaps through a proxy on ``port``, or with a wrong clock
        (``skew``, in seconds)."""
        url = self.url if port is None else self.url.replace(f":{self.server.port}/", f":{port}/")
        environment = self.env | dict(env or {})
        if skew is not None:
            path = os.pathsep.join([str(SKEWED_CLOCK), os.environ.get("PYTHONPATH", "")])
            environment |= {"PYTHONPATH": path.rstrip(os.pathsep), "SKEWED_CLOCK_BY": str(skew)}
        node = ClusterNode(
            self.home, url=url, rows=self.rows, env=environment, name=f"node-{len(self.nodes)}"
        )
        self.nodes.append(node)
        node.start(ready=ready)
        return node

    def start(self, count: int, **options: Any) -> list[ClusterNode]:
        """Start some at the same time, and wait until all are ready."""
        made = [self.add(ready=False, **options) for _ in range(count)]
        self.wait_ready(made)
        return made

    def wait_ready(self, nodes: Sequence[ClusterNode] | None = None) -> None:
        """Wait until these nodes (or all that run) are ready."""
        for node in self.living if nodes is None else nodes:
            if not node.port:
                node.wait_listening()
            wait_until(node.is_ready, f"{node.name} is ready")

    @property
    def living(self) -> list[ClusterNode]:
        """Those that run."""
        return [node for node in self.nodes if node.alive]

    @property
    def any(self) -> ClusterNode:
        """One that answers: the oldest that runs."""
        return next(node for node in self.living if node.port)

    def close(self) -> None:
        """Kill what runs and drop the database."""
        for node in self.nodes:
            if node.alive:
                node.send(signal.SIGCONT)
            node.close()
        with contextlib.suppress(psycopg.Error):
            self.server.drop(self.url)

    def stop(self) -> None:
        """Ask all to end, at the same time; each must end with 0."""
        for node in self.living:
            node.send(signal.SIGTERM)
        codes = {node.name: node.wait() for node in self.living}
        assert set(codes.values()) <= {0}, codes

    # --- harm

    def kill(self, node: ClusterNode) -> Disturbance:
        """``kill -9``, and take note of what it had in hands."""
        disturbance = self._disturb("killed", node)
        node.kill()
        # What it had sent last may still be carried out.
        wait_until(lambda: self.rows.sessions(node.name) == 0, "its sessions have ended", poll=0.01)
        disturbance.in_hands = node.claimed()
        # What it has sent is with the receiver soon, however busy that is.
        disturbance.over_ns = time.time_ns() + 2_000_000_000
        return disturbance

    def freeze(self, node: ClusterNode) -> Disturbance:
        """SIGSTOP."""
        disturbance = self._disturb("stopped", node)
        node.send(signal.SIGSTOP)
        return disturbance

    def thaw(self, node: ClusterNode, disturbance: Disturbance) -> None:
        """SIGCONT."""
        node.send(signal.SIGCONT)
        # Until it has heard that it was revoked, and what it had sent has arrived.
        disturbance.over_ns = time.time_ns() + 2_000_000_000

    @contextlib.contextmanager
    def disturbed(self, kind: str, node: ClusterNode, *, after: float = 2.0) -> Iterator[None]:
        """Note that something happens to a node in this block (and ``after`` seconds longer)."""
        disturbance = self._disturb(kind, node)
        try:
            yield
        finally:
            disturbance.over_ns = time.time_ns() + round(after * 1e9)

    def _disturb(self, kind: str, node: ClusterNode) -> Disturbance:
        self.disturbances.append(Disturbance(kind=kind, node=node.name))
        return self.disturbances[-1]

    # --- what they say

    def events(self, name: str) -> list[dict[str, Any]]:
        """The lines of all logs with this event, from all their lives."""
        found = []
        for node in self.nodes:
            for line in node.whole_log().splitlines():
                with contextlib.suppress(ValueError):
                    entry = json.loads(line)
                    if isinstance(entry, dict) and entry.get("event") == name:
                        found.append({**entry, "in": node.name})
        return found


@functools.cache
def template_of(server: PostgresServer) -> str:
    """The name of a database with empty tables, and the trigger that notes lives."""
    from tocsin.store.postgres import migrate

    url = server.create()
    migrate(url)
    name = url.rpartition("/")[2]
    server.execute(_AUDIT, name)
    return name
