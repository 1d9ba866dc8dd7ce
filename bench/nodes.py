"""The system that is measured: nodes on one database, and what they and it have used of the CPU."""

import contextlib
import functools
import os
import sqlite3
import subprocess
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import psycopg
from tests.support.postgres import PostgresServer
from tests.support.process import Tocsin, tocsin_command, wait_until

TICKS = os.sysconf("SC_CLK_TCK")


class PostgresNode(Tocsin):
    """A ``tocsin serve`` on a PostgreSQL database."""

    url = ""

    def database_url(self) -> str:
        """Its database, as the command line takes it."""
        return self.url


class Cluster:
    """Nodes on one database, as one system; its API is that of the first of them."""

    def __init__(
        self, nodes: Sequence[Tocsin], *, server: PostgresServer | None = None, url: str = ""
    ) -> None:
        self.nodes = list(nodes)
        self.server = server
        self.url = url
        """Of the database on PostgreSQL; on SQLite it is the file of the only node."""

    @property
    def first(self) -> Tocsin:
        """The node that is asked and told."""
        return self.nodes[0]

    @property
    def port(self) -> int:
        """Where the API is."""
        return self.first.port

    def create(self, jobs: Sequence[dict[str, object]]) -> list[Any]:
        """Create jobs; their representations in order."""
        return self.first.create(jobs)

    def cpu_seconds(self) -> float:
        """What the nodes have used, all processes of each."""
        return sum(tree_cpu_seconds(node.pid) for node in self.nodes)

    def database_cpu_seconds(self) -> float:
        """What the database server has used; SQLite is part of its node."""
        return 0.0 if self.server is None else tree_cpu_seconds(self.server.pid)

    def database_bytes(self) -> int:
        """How large the database is."""
        if self.server is None:
            return self.first.database.stat().st_size
        ((size,),) = self.query("SELECT pg_database_size(current_database())")
        return int(size)

    def query(self, sql: str, *values: Any) -> list[tuple[Any, ...]]:
        """All rows of a query on PostgreSQL."""
        with psycopg.connect(self.url, autocommit=True) as connection:
            return connection.execute(sql.encode(), values or None).fetchall()

    @contextlib.contextmanager
    def anything_left(self, until: int) -> Iterator[Callable[[], bool]]:
        """A function that says whether something due by an instant is still to be called or stored.

        It keeps one connection: opening one each time would cost CPU. On PostgreSQL it asks for
        any row, not for how many, since the server would pay for counting.
        """
        with contextlib.ExitStack() as stack:
            connection: sqlite3.Connection | psycopg.Connection[Any]
            if self.server is None:
                connection = stack.enter_context(self.first.rows().connection())
            else:
                connection = stack.enter_context(psycopg.connect(self.url, autocommit=True))

            def left() -> bool:
                found = connection.execute(
                    f"SELECT EXISTS (SELECT 1 FROM timers WHERE fire_at <= {until:d}) "
                    "OR EXISTS (SELECT 1 FROM executions WHERE finished_at IS NULL)"
                ).fetchone()
                assert found is not None
                return bool(found[0])

            yield left

    def wait_for_nodes(self, count: int) -> None:
        """Wait until so many have joined; one that is ready may have siblings that are not."""
        wait_until(
            lambda: self.query("SELECT count(*) FROM nodes") == [(count,)],
            f"{count} nodes have joined",
        )

    def close(self) -> None:
        """End the nodes."""
        for node in self.nodes:
            node.close()


def tree_cpu_seconds(pid: int) -> float:
    """User and system time of a process and of all below it, those that have ended included.

    A process that has ended is in the figures of its parent once that has waited for it.
    """
    parents: dict[int, list[int]] = {}
    ticks: dict[int, int] = {}
    for path in Path("/proc").glob("[0-9]*/stat"):
        with contextlib.suppress(OSError):
            # The second field is the name in brackets and may hold anything; the 4th is the
            # parent, the 14th to 17th are utime, stime, cutime and cstime.
            fields = path.read_text().rpartition(")")[2].split()
            one = int(path.parent.name)
            ticks[one] = sum(int(field) for field in fields[11:15])
            parents.setdefault(int(fields[1]), []).append(one)
    total, todo = 0, [pid]
    while todo:
        one = todo.pop()
        total += ticks.get(one, 0)
        todo += parents.get(one, [])
    return total / TICKS


@functools.cache
def knows_processes() -> bool:
    """Whether this version of the program runs several engine processes behind one address."""
    shown = subprocess.run(
        [*tocsin_command(), "serve", "--help"],
        capture_output=True,
        text=True,
        check=True,
        env={**os.environ, "COLUMNS": "200", "NO_COLOR": "1"},
    )
    return "--processes" in shown.stdout


def sleep_until(instant_ms: float) -> None:
    """Sleep until an instant, if it is in the future."""
    time.sleep(max(0.0, instant_ms / 1_000 - time.time()))
