"""Starts that cannot work: each ends with a sentence that says why."""

import signal
from pathlib import Path

import pytest

from tests.chaos.conftest import NodeFactory
from tests.support.process import wait_until

pytestmark = pytest.mark.chaos


def test_port_in_use(node: NodeFactory, tmp_path: Path) -> None:
    """The second one on a port ends and says so; the first one is not disturbed."""
    first = node().start()
    second = node(
        database=tmp_path / "second.db", options=("--port", str(first.port))
    )  # the last --port counts
    ended = second.run_to_end()
    assert ended.code == 1, ended.output
    assert str(first.port) in ended.output
    assert "another program" in ended.output, ended.output
    assert first.is_ready()
    assert first.terminate() == 0


def test_second_node_on_the_same_port_and_database(node: NodeFactory) -> None:
    """The commonest mistake: the same command twice. The first one goes on as if nothing was."""
    first = node().start()
    second = node(database=first.database, options=("--port", str(first.port)))
    assert second.run_to_end().code == 1
    assert "another program" in second.log(), second.log()
    assert first.is_ready()
    assert first.rows().query("SELECT count(*) FROM nodes") == [(1,)], "it has joined the cluster"
    assert first.terminate() == 0


@pytest.mark.parametrize(
    ("variable", "value"),
    [
        ("TOCSIN_CLAIM_HORIZON", "banana"),
        ("TOCSIN_MAX_IN_FLIGHT", "-3"),
        ("TOCSIN_LEASE_TTL", "1s"),  # less than twice the heartbeat
        ("TOCSIN_LOG_LEVEL", "shout"),
        ("TOCSIN_DEFAULT_RETRY_FACTOR", "nan"),
        ("TOCSIN_RETENTION", "-1d"),
        ("TOCSIN_DEMO", "perhaps"),
        ("TOCSIN_MAX_JOBS", "10**6"),
        ("TOCSIN_NODE_NAME", ""),
    ],
)
def test_garbage_in_the_environment(variable: str, value: str, node: NodeFactory) -> None:
    """The variable is named, and what it should hold."""
    ended = node(env={variable: value}).run_to_end()
    assert ended.code == 2, f"exit code {ended.code}: {ended.output}"
    named = variable, variable.removeprefix("TOCSIN_").lower().replace("_", "-")
    assert any(name in ended.output for name in named), ended.output
    assert len(ended.output) < 2_000, "that is not a sentence"


@pytest.mark.parametrize(
    "url",
    [
        "mysql://root@localhost/tocsin",
        "sqlite://",
        "sqlite:///",
        "tocsin.db",
        "",
        "sqlite:///:memory:",  # nothing would survive the end of the process
    ],
)
def test_garbage_database_url(url: str, node: NodeFactory, tmp_path: Path) -> None:
    """A URL of no known form is refused with the forms that are known."""
    ended = node(options=("--database", url)).run_to_end()
    assert ended.code in {1, 2}, f"exit code {ended.code}: {ended.output}"
    assert "sqlite:///" in ended.output, ended.output
    assert len(ended.output) < 2_000, "that is not a sentence"


def test_unknown_variable_is_only_a_warning(node: NodeFactory) -> None:
    """A misspelt variable is named, with what was probably meant."""
    tocsin = node(env={"TOCSIN_RETENTON": "3d"}).start()
    assert "TOCSIN_RETENTION" in tocsin.log()


def test_address_of_another_machine(node: NodeFactory) -> None:
    """An address that this machine does not have is named."""
    ended = node(options=("--host", "192.0.2.1")).run_to_end()
    assert ended.code == 1, ended.output
    assert "192.0.2.1" in ended.output


def test_log_file_out_of_reach(node: NodeFactory, tmp_path: Path) -> None:
    """A log file that cannot be opened is said before anything else happens."""
    path = tmp_path / "directory.log"
    path.mkdir()
    ended = node(options=("--log-file", str(path))).run_to_end()
    assert ended.code in {1, 2}, ended.output
    assert str(path) in ended.output, ended.output


def test_a_node_that_waits_for_its_database_ends_when_it_is_asked(node: NodeFactory) -> None:
    """By a handler of its own: the first process of a container does not die of a signal."""
    nowhere = "postgresql://nobody@127.0.0.1:1/nothing"
    waiting = node(options=("--database", nowhere)).start(ready=False)  # the last one counts
    wait_until(lambda: list(waiting.events("store.waiting")), "it waits")
    assert waiting.terminate(timeout=10) == 128 + signal.SIGTERM
    assert list(waiting.events("stopped.at_once"))
