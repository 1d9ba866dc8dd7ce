"""What a supervisor and its children share; ``tests/chaos/test_processes.py`` has whole hosts."""

import asyncio
import json
import os
import socket
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import pytest
from prometheus_client.parser import text_string_to_metric_families
from tests.support.process import PATIENCE

from tocsin.processes import supervisor as supervisor_module
from tocsin.processes.launch import child_command
from tocsin.processes.role import Role, take_role
from tocsin.processes.siblings import Siblings
from tocsin.processes.supervisor import Supervisor
from tocsin.telemetry.log_writer import ATOMIC, StreamSink
from tocsin.telemetry.metrics import Metrics, merge


def role(number: int, directory: str = "/nowhere", *, of: int = 3) -> Role:
    return Role(number=number, of=of, first_start=True, listener=3, line=4, directory=directory)


# --- roles and commands -------------------------------------------------------------------------


def test_a_role_is_told_once() -> None:
    environment = role(2).environment({"PATH": "/bin"})
    assert take_role(environment) == role(2)
    assert environment == {"PATH": "/bin"}
    assert take_role(environment) is None


def test_a_child_gets_the_settings_and_no_others(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TOCSIN_PORT", "9")
    monkeypatch.setenv("TOCSIN_RETENTON", "9")
    command, environment = child_command(
        {"node_name": "a-1", "lease_ttl": "5s", "demo": True, "max_jobs": 7, "log_file": None}
    )
    assert command == [sys.executable, "-m", "tocsin", "serve", "--node-name", "a-1"]
    told = {name: value for name, value in environment.items() if name.startswith("TOCSIN_")}
    assert told == {
        "TOCSIN_NODE_NAME": "a-1",
        "TOCSIN_LEASE_TTL": "5s",
        "TOCSIN_DEMO": "true",
        "TOCSIN_MAX_JOBS": "7",
    }
    assert environment["PATH"] == os.environ["PATH"]


# --- siblings -----------------------------------------------------------------------------------


@pytest.fixture
def directory() -> Iterator[str]:
    """Short enough for a socket, which the temporary paths of pytest may not be."""
    with tempfile.TemporaryDirectory(prefix="tocsin-test-") as made:
        yield made


async def test_news_and_metrics_between_siblings(directory: str) -> None:
    heard: dict[int, list[bytes]] = {1: [], 2: []}
    siblings = {number: Siblings(role(number, directory)) for number in heard}
    await siblings[1].open(receive=heard[1].append, metrics=lambda: b"of 1")
    await siblings[2].open(receive=heard[2].append, metrics=lambda: b"of 2" * 50_000)
    try:
        await siblings[1].send(b"x" * 7_900)  # the third does not live
        async with asyncio.timeout(PATIENCE):
            while not heard[2]:
                await asyncio.sleep(0.001)
        assert heard == {1: [], 2: [b"x" * 7_900]}
        assert await siblings[1].metrics() == [b"of 2" * 50_000]
    finally:
        siblings[1].close(orphaned=True)
        siblings[2].close(orphaned=True)
    assert not Path(directory).exists()
    Path(directory).mkdir()


async def test_a_sibling_that_does_not_listen_is_not_waited_for(directory: str) -> None:
    one, two = Siblings(role(1, directory)), Siblings(role(2, directory))
    await one.open(receive=lambda _: None, metrics=lambda: b"")
    await two.open(receive=lambda _: None, metrics=lambda: b"")
    asyncio.get_running_loop().remove_reader(two._news.fileno())
    try:
        async with asyncio.timeout(PATIENCE):
            for _ in range(300):
                await one.send(b"x" * 7_900)
    finally:
        one.close(orphaned=False)
        two.close(orphaned=False)


# --- supervision --------------------------------------------------------------------------------

CHILD = """
import json, os, signal, socket, sys, time
role = json.loads(os.environ["_TOCSIN_PROCESS"])
line = socket.socket(fileno=role["line"])
socket.socket(fileno=role["listener"]).detach()
def stop(*_): sys.exit(0)
signal.signal(signal.SIGTERM, signal.SIG_IGN if DEAF else stop)
with open(sys.argv[1], "a") as file:
    file.write(f"{role['number']} {role['first_start']} {os.getpid()}\\n")
"""


class Host:
    """A supervisor over children that do what a script says."""

    def __init__(
        self, path: Path, script: str, *, patience: float = PATIENCE, deaf: bool = False
    ) -> None:
        self.path = path
        self._script = CHILD.replace("DEAF", str(deaf)) + script
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.supervisor = Supervisor(
            count=2, launch=self._launch, listener=self.listener, patience=patience
        )

    def _launch(self, number: int) -> tuple[Sequence[str], Mapping[str, str]]:
        return [sys.executable, "-c", self._script, str(self.path)], dict(os.environ)

    def starts(self) -> list[tuple[str, str, str]]:
        if not self.path.exists():
            return []
        lines = self.path.read_text().splitlines()
        return [tuple(line.split()) for line in lines if line.count(" ") == 2]  # type: ignore[misc]

    async def starts_are(self, count: int) -> None:
        async with asyncio.timeout(PATIENCE):
            while len(self.starts()) < count:
                await asyncio.sleep(0.01)


SLEEP = 'line.send(b"1")\ntime.sleep(600)'


async def test_one_that_is_killed_is_replaced(tmp_path: Path) -> None:
    host = Host(tmp_path / "starts", SLEEP)
    running = asyncio.create_task(host.supervisor.run(lambda: None))
    await host.starts_are(2)
    number, _, pid = host.starts()[0]
    os.kill(int(pid), 9)
    await host.starts_are(3)
    assert host.starts()[2][:2] == (number, "False")
    os.kill(os.getpid(), 15)
    assert await asyncio.wait_for(running, PATIENCE) == 0
    assert host.listener.fileno() == -1


async def test_one_that_cannot_start_ends_all(tmp_path: Path) -> None:
    host = Host(tmp_path / "starts", "if role['number'] == 2: sys.exit(1)\n" + SLEEP)
    assert await asyncio.wait_for(host.supervisor.run(lambda: None), PATIENCE) == 1
    assert {number for number, *_ in host.starts()} <= {"1", "2"}
    assert len(host.starts()) <= 2


async def test_the_same_exit_code_after_a_start_is_no_reason(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(supervisor_module, "FIRST_PAUSE", 0.01)
    host = Host(tmp_path / "starts", 'line.send(b"1")\nsys.exit(1)')
    running = asyncio.create_task(host.supervisor.run(lambda: None))
    await host.starts_are(6)
    os.kill(os.getpid(), 2)
    assert await asyncio.wait_for(running, PATIENCE) == 0


async def test_one_that_does_not_stop_is_killed(tmp_path: Path) -> None:
    host = Host(tmp_path / "starts", SLEEP, patience=0.3, deaf=True)
    running = asyncio.create_task(host.supervisor.run(lambda: None))
    await host.starts_are(2)
    os.kill(os.getpid(), 15)
    assert await asyncio.wait_for(running, PATIENCE) == 0


def test_the_pause_grows_and_is_bounded() -> None:
    pauses = [supervisor_module._backoff(count) for count in (2, 3, 100)]
    assert pauses == [0.8, 1.6, supervisor_module.LONGEST_PAUSE]


# --- metrics and logs of several ----------------------------------------------------------------


def test_metrics_of_several_nodes_are_one_text() -> None:
    nodes = [Metrics(version="1", node=f"a-{number}") for number in (1, 2)]
    for node in nodes:
        node.rejected("jobs")
    text = merge(
        [nodes[0].render_for_host(with_store=True), nodes[1].render_for_host(with_store=False)]
    ).decode()
    families = list(text_string_to_metric_families(text))
    assert len(families) == len({family.name for family in families})
    by_name = {family.name: family.samples for family in families}
    assert {
        sample.labels["node"]: sample.value
        for sample in by_name["tocsin_capacity_rejections"]
        if sample.labels["limit"] == "jobs"
    } == {"a-1": 1.0, "a-2": 1.0}
    assert [sample.labels for sample in by_name["tocsin_store_up"]] == [{}]
    lines = [line.rpartition(" ")[0] for line in text.splitlines() if not line.startswith("#")]
    assert len(lines) == len(set(lines))


def test_lines_reach_a_pipe_in_whole_pieces() -> None:
    reading, writing = os.pipe()
    lines = [json.dumps({"n": n, "text": "x" * (n % 300)}).encode() + b"\n" for n in range(200)]
    with os.fdopen(writing, "w") as stream:
        StreamSink(stream).write([*lines, b"y" * (ATOMIC + 10) + b"\n"])
    with os.fdopen(reading, "rb") as stream:
        assert stream.read().splitlines(keepends=True)[: len(lines)] == lines
