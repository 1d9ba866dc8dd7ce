"""Tocsin itself under the workloads of its peers."""

import contextlib
import importlib.metadata
import shutil
import sqlite3
import subprocess
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any, ClassVar

import orjson
from tests.support.process import rfc3339

from bench import load
from bench.nginx import Nginx
from bench.nodes import Cluster
from bench.peers.peer import Created, Peer, Seconds, Setup
from bench.peers.program import HERE, memory_mb

SINGLE_AT_ONCE = 32
BATCHES_AT_ONCE = 4
BATCH = 1_000

WHENEVER = 2**53
"""An instant after all: whatever is asked for is asked of all jobs."""


@dataclass(kw_only=True)
class OwnRunning:
    """Nodes that run; what ``Running`` is for the others."""

    cluster: Cluster
    receiver: Nginx
    left: Callable[[], bool]
    created: int = field(default=0)

    def create(
        self, count: int, *, at: int, how: str, first: int = 0, seconds: float | None = None
    ) -> Created:
        """Create one-shot jobs over REST, by ``POST /jobs`` or ``POST /jobs:batch``."""
        jobs = [
            {
                "name": f"once-{at}-{number}",
                "schedule": {"at": rfc3339(at)},
                "target": {"url": self._url(number), "body": {"hello": "world"}},
            }
            for number in range(first, first + count)
        ]
        if how == "single":
            bodies: list[tuple[str, Any]] = [("/api/v1/jobs", job) for job in jobs]
        else:
            bodies = [
                ("/api/v1/jobs:batch", {"jobs": jobs[start : start + BATCH]})
                for start in range(0, count, BATCH)
            ]
        requests = [
            load.request("POST", path, self.cluster.port, orjson.dumps(body))
            for path, body in bodies
        ]
        at_once = SINGLE_AT_ONCE if how == "single" else BATCHES_AT_ONCE
        began = time.monotonic()

        def until_over() -> Iterator[bytes]:
            for data in requests:
                if seconds is not None and time.monotonic() - began > seconds:
                    return
                yield data

        result = load.run(lambda: load.send(self.cluster.port, until_over(), concurrency=at_once))
        result.check(201)
        answers = sum(result.statuses.values())
        return Created(
            count=min(count, answers * (1 if how == "single" else BATCH)), seconds=result.seconds
        )

    def schedule(self, jobs: int, base: int, *, spread: bool) -> None:
        """Let jobs fire every second from an instant on."""
        self.cluster.create(
            [
                {
                    "name": f"second-{number}",
                    "schedule": {"every": "1s", "anchor": rfc3339(base + number * 1_000 // jobs)}
                    if spread
                    else {"cron": "* * * * * *"},
                    "target": {"url": self._url(number), "body": {"hello": "world"}},
                }
                for number in range(jobs)
            ]
        )

    def _url(self, number: int) -> str:
        return self.receiver.url(f"/ok?job={number}")

    def anything_left(self) -> bool:
        """Whether something is still to be called or recorded."""
        return self.left()

    def assert_alive(self) -> None:
        """Fail where a node has ended."""
        for one in self.cluster.nodes:
            assert one.alive, f"a node has ended: {one.log()[-500:]}"

    def cpu_seconds(self) -> float:
        """What the nodes and their database have used."""
        return self.cluster.cpu_seconds() + self.cluster.database_cpu_seconds()

    def memory_mb(self) -> tuple[float, float]:
        """Of the nodes, and of the database server."""
        server = self.cluster.server
        return (
            sum(memory_mb(one.pid) for one in self.cluster.nodes),
            0.0 if server is None else memory_mb(server.pid),
        )


class Tocsin(Peer):
    """Tocsin on its embedded SQLite file."""

    name = "tocsin"
    title = "Tocsin, SQLite"
    seconds = Seconds.SPREAD
    creation_rate = 6_000
    postgres: ClassVar[bool] = False
    note = "durable; each call recorded with its timings"

    @contextlib.contextmanager
    def open(self, setup: Setup) -> Iterator[OwnRunning]:  # type: ignore[override]
        """A node as it is out of the box."""
        processes = setup.options.get("processes", 1)
        with (
            setup.bench.cluster(postgres=self.postgres, processes=processes) as cluster,
            cluster.anything_left(WHENEVER) as left,
        ):
            yield OwnRunning(cluster=cluster, receiver=setup.receiver, left=left)

    def versions(self) -> str:
        """Of the program and its database."""
        return f"Tocsin {_version()}, SQLite {sqlite3.sqlite_version}"


class TocsinPostgres(Tocsin):
    """Tocsin on PostgreSQL: one node, which takes the least CPU."""

    name = "tocsin-pg"
    title = "Tocsin, PostgreSQL, 1 process"
    against = "tocsin-pg"
    creation_rate = 4_000
    postgres = True
    defaults: ClassVar[dict[str, Any]] = {"processes": 1}

    def versions(self) -> str:
        """Of the program."""
        return f"Tocsin {_version()}"


class TocsinPostgresTwo(TocsinPostgres):
    """Two nodes on one database, as it is run where a node may fail."""

    name = "tocsin-pg-2"
    title = "Tocsin, PostgreSQL, 2 processes"
    defaults: ClassVar[dict[str, Any]] = {"processes": 2}


def _version() -> str:
    """With the commit, where there is one: versions of what is being worked on are all alike."""
    version = importlib.metadata.version("tocsin")
    if shutil.which("git"):
        shown = subprocess.run(
            ["git", "-C", str(HERE), "rev-parse", "--short", "HEAD"],
            capture_output=True,
            text=True,
            check=False,
        )
        if shown.returncode == 0:
            return f"{version} ({shown.stdout.strip()})"
    return version
