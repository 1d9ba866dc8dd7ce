"""What every workload is given."""

import contextlib
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

from tests.support.postgres import PostgresServer
from tests.support.process import Receiver, Tocsin

from bench import nginx
from bench.nginx import Nginx
from bench.nodes import Cluster, PostgresNode

AnyReceiver = Receiver | Nginx
"""What is called; both note every arrival."""


@dataclass(kw_only=True)
class Bench:
    """One run of the benchmarks."""

    home: Path
    quick: bool
    runs: int
    env: Mapping[str, str] = field(default_factory=dict)
    """Settings of the nodes beyond the defaults."""
    flamegraphs: Path | None = None
    """Where profiles are drawn; ``None``: nowhere."""
    sizes: tuple[int, ...] = ()
    """Jobs in the store for the scaling law; empty: as it is."""
    processes: tuple[int, ...] = ()
    """Processes for bursts and the scaling law on PostgreSQL; empty: as it is."""
    _began: float = field(default_factory=time.monotonic)

    def say(self, text: str) -> None:
        """Tell who waits what is going on, on standard error."""
        seconds = time.monotonic() - self._began
        sys.stderr.write(f"[{seconds:6.1f} s] {text}\n")
        sys.stderr.flush()

    @contextlib.contextmanager
    def node(self) -> Iterator[Tocsin]:
        """A node with an empty SQLite file, ready; as it is out of the box but for ``env``."""
        with self.cluster() as cluster:
            yield cluster.first

    @contextlib.contextmanager
    def cluster(
        self, *, postgres: bool = False, nodes: int = 1, processes: int = 1
    ) -> Iterator[Cluster]:
        """A node with an empty SQLite file, or nodes on an empty PostgreSQL database; all ready.

        Each of the nodes may consist of several processes.
        """
        with self.directory() as directory:
            if not postgres:
                cluster = Cluster([Tocsin(directory, env=self.env)])
            else:
                url = self.database()
                options = ("--processes", str(processes)) if processes > 1 else ()
                made = [
                    PostgresNode(directory, env=self.env, options=options, name=f"node-{number}")
                    for number in range(nodes)
                ]
                for one in made:
                    one.url = url
                cluster = Cluster(made, server=self.server, url=url)
            try:
                for node in cluster.nodes:
                    node.start()
                if postgres:
                    cluster.wait_for_nodes(nodes * processes)
                yield cluster
            finally:
                cluster.close()
                if postgres:
                    self.server.drop(cluster.url)

    @cached_property
    def server(self) -> PostgresServer:
        """A PostgreSQL server as it is out of the box, durable, that ends with this process."""
        self.say("starting PostgreSQL")
        return PostgresServer(durable=True).start()

    def database(self) -> str:
        """The URL of a new database with empty tables."""
        return self.server.create(template=self._template)

    @cached_property
    def _template(self) -> str:
        from tocsin.store.postgres import migrate

        url = self.server.create()
        migrate(url)
        return url.rpartition("/")[2]

    @contextlib.contextmanager
    def receiver(self) -> Iterator[AnyReceiver]:
        """A receiver with an empty log: nginx where it is installed, otherwise our own."""
        with self.directory() as directory:
            receiver = Nginx(directory) if nginx.program() else Receiver(directory)
            try:
                yield receiver
            finally:
                receiver.close()

    @contextlib.contextmanager
    def slow_receiver(self, *, host: str = "127.0.0.1") -> Iterator[Receiver]:
        """A receiver with an empty log that can take its time; nginx answers at once, always."""
        with self.directory() as directory:
            receiver = Receiver(directory, host=host)
            try:
                yield receiver
            finally:
                receiver.close()

    @contextlib.contextmanager
    def directory(self) -> Iterator[Path]:
        """An empty directory."""
        with tempfile.TemporaryDirectory(dir=self.home, ignore_cleanup_errors=True) as name:
            yield Path(name)
