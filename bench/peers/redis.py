"""A Redis server of its own for each measurement."""

import contextlib
import shutil
import socket
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from tests.support.process import die_together, wait_until

from bench.peers.program import TOOLS, PeerError


@dataclass(frozen=True, kw_only=True, slots=True)
class Redis:
    """A server that runs."""

    port: int
    pid: int


@contextlib.contextmanager
def server(home: Path) -> Iterator[Redis]:
    """An empty server with Redis's own defaults: snapshots now and then, no append-only file.

    So what it acknowledged in the last minutes is lost when it dies. Durable it would be slower.
    """
    program = shutil.which("redis-server")
    if program is None:
        raise PeerError(f"redis-server is missing: {TOOLS}")
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = int(probe.getsockname()[1])
    process = subprocess.Popen(
        [*die_together(), program, "--bind", "127.0.0.1", "--port", str(port), "--dir", str(home)],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        wait_until(lambda: _answers(port), "Redis answers")
        yield Redis(port=port, pid=process.pid)
    finally:
        process.kill()
        process.wait()


def _answers(port: int) -> bool:
    with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), 1) as sock:
        sock.sendall(b"PING\r\n")
        return sock.recv(16).startswith(b"+PONG")
    return False


def version() -> str:
    """Such as ``Redis 7.0.15``."""
    program = shutil.which("redis-server")
    if program is None:
        return "no Redis"
    shown = subprocess.run([program, "--version"], capture_output=True, text=True, check=True)
    return "Redis " + shown.stdout.partition("v=")[2].split()[0]
