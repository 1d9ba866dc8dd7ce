"""Processes for one test, ended with it; and the counts that the scenarios saw."""

import os
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest

from tests.support.cluster import Cluster
from tests.support.postgres import PostgresServer
from tests.support.process import Receiver, Tocsin
from tests.support.scale import SCALE

NodeFactory = Callable[..., Tocsin]
ClusterFactory = Callable[..., Cluster]

FULL = SCALE >= 3
"""Whether the scenarios on PostgreSQL run at their full size, not only at that of CI."""


def seeds(count: int) -> pytest.MarkDecorator:
    """So many runs with different random decisions; ``TOCSIN_TEST_SCALE`` multiplies them.

    ``TOCSIN_TEST_SEED`` runs that one alone.
    """
    chosen = os.environ.get("TOCSIN_TEST_SEED")
    if chosen is not None:
        return pytest.mark.parametrize("seed", [int(chosen)])
    return pytest.mark.parametrize("seed", range(max(1, round(count * SCALE))))


@pytest.fixture
def receiver(tmp_path: Path) -> Iterator[Receiver]:
    """A receiver of the calls."""
    process = Receiver(tmp_path)
    yield process
    process.close()


@pytest.fixture
def node(tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[NodeFactory]:
    """Makes nodes (not started) that end with the test and must never have shown a traceback."""
    made: list[Tocsin] = []
    request.node.tocsin_nodes = made

    def make(*, home: Path = tmp_path, env: dict[str, str] | None = None, **options: Any) -> Tocsin:
        # A short lease, so that rescue comes soon; everything else as it is by default.
        short = {"TOCSIN_LEASE_TTL": "2s", "TOCSIN_HEARTBEAT_INTERVAL": "500ms"}
        name = f"node-{len(made)}"
        made.append(Tocsin(home, env=short if env is None else env, **{"name": name, **options}))
        return made[-1]

    yield make
    for one in made:
        one.close()
    _no_tracebacks(made)


@pytest.fixture(scope="session")
def postgres() -> Iterator[PostgresServer]:
    """A durable server, which scenarios may kill and must start again."""
    server = PostgresServer(durable=True).start()
    yield server
    server.remove()


@pytest.fixture
def cluster(
    tmp_path: Path, postgres: PostgresServer, request: pytest.FixtureRequest
) -> Iterator[ClusterFactory]:
    """Makes clusters (without nodes) that end with the test, without a traceback in any log."""
    made: list[Cluster] = []

    def make(**options: Any) -> Cluster:
        made.append(Cluster(tmp_path, postgres, **options))
        request.node.tocsin_nodes = made[-1].nodes
        return made[-1]

    yield make
    for one in made:
        one.close()
        _no_tracebacks(one.nodes)


def _no_tracebacks(nodes: Sequence[Tocsin]) -> None:
    for one in nodes:
        log = one.whole_log()
        at = log.find("Traceback")
        assert at < 0, f"a traceback in the log:\n{log[max(0, at - 500) : at + 4_000]}"


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Any:
    """Show the end of the nodes' logs with a failure."""
    report = yield
    if report.failed:
        for one in getattr(item, "tocsin_nodes", ()):
            report.sections.append((f"log of {one.log_path.name}", one.whole_log()[-4_000:]))
    return report


def pytest_terminal_summary(terminalreporter: Any) -> None:
    """Print what the scenarios counted."""
    lines = [
        f"{report.nodeid.rpartition('::')[2]}: {value}"
        for report in terminalreporter.stats.get("passed", [])
        for name, value in report.user_properties
        if name == "counts"
    ]
    if lines:
        terminalreporter.section("counts seen")
        for line in lines:
            terminalreporter.write_line(line)
