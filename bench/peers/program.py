"""The programs of the peers: processes that are asked in lines of JSON, and what they cost."""

import contextlib
import json
import os
import select
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, cast

from tests.support.process import die_together

HERE = Path(__file__).parent
PROGRAMS = HERE / "programs"

TOOLS = "make bench-tools installs it"


class PeerError(RuntimeError):
    """A peer cannot be started, or did not do what was asked; the message says which and why."""


def node() -> str:
    """The Node.js of the npm package that the lock names: some peers need a newer one than
    distributions have."""
    for found in HERE.glob("node_modules/node-linux-*/bin/node"):
        return str(found)
    raise PeerError(f"bench/peers/node_modules is missing: {TOOLS}")


def python() -> str:
    """The Python of the peers' environment."""
    found = HERE / ".venv/bin/python"
    if not found.exists():
        raise PeerError(f"bench/peers/.venv is missing: {TOOLS}")
    return str(found)


class Program:
    """A process of a peer; ``ask`` is for those that answer, see ``programs/common``."""

    def __init__(
        self,
        command: Sequence[str],
        *,
        home: Path,
        name: str,
        env: Mapping[str, str] | None = None,
    ) -> None:
        self.name = name
        self._log = home / f"{name}.log"
        with self._log.open("ab") as log:
            self.process = subprocess.Popen(
                [*die_together(), *command],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=log,
                cwd=home,
                env={**os.environ, **(env or {})},
            )

    @property
    def pid(self) -> int:
        """Its process id."""
        return self.process.pid

    def wait_ready(self) -> None:
        """Wait until it says that it is ready."""
        self.read()

    def ask(self, do: str, **fields: Any) -> dict[str, Any]:
        """Send a command and wait for the answer."""
        assert self.process.stdin is not None
        with contextlib.suppress(BrokenPipeError):  # reading says more
            self.process.stdin.write(json.dumps({"do": do, **fields}).encode() + b"\n")
            self.process.stdin.flush()
        return self.read()

    def read(self, timeout: float = 180) -> dict[str, Any]:
        """The next line that it writes."""
        assert self.process.stdout is not None
        readable, _, _ = select.select([self.process.stdout], [], [], timeout)
        line = self.process.stdout.readline() if readable else b""
        if not line:
            what = "ended" if self.process.poll() is not None or readable else "does not answer"
            raise PeerError(f"{self.name} {what}: {self.log()[-500:].strip()}")
        return cast("dict[str, Any]", json.loads(line))

    def assert_alive(self) -> None:
        """Fail where it has ended."""
        if self.process.poll() is not None:
            code = self.process.returncode
            raise PeerError(f"{self.name} ended with {code}: {self.log()[-500:].strip()}")

    def log(self) -> str:
        """What it wrote to standard error."""
        return self._log.read_text("utf-8", "replace")

    def close(self) -> None:
        """End it."""
        self.process.terminate()
        try:
            self.process.communicate(timeout=5)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.communicate()


def tree(pid: int) -> list[int]:
    """A process and all below it."""
    children: dict[int, list[int]] = {}
    for path in Path("/proc").glob("[0-9]*/stat"):
        with contextlib.suppress(OSError):
            # The second field is the name in brackets and may hold anything; the 4th the parent.
            parent = int(path.read_text().rpartition(")")[2].split()[1])
            children.setdefault(parent, []).append(int(path.parent.name))
    found, todo = [], [pid]
    while todo:
        one = todo.pop()
        found.append(one)
        todo += children.get(one, [])
    return found


def memory_mb(pid: int) -> float:
    """The memory of a process and of all below it; what they share counts once (PSS)."""
    total = 0
    for one in tree(pid):
        with contextlib.suppress(OSError):
            for line in Path(f"/proc/{one}/smaps_rollup").read_text().splitlines():
                if line.startswith("Pss:"):
                    total += int(line.split()[1])
    return total * 1_024 / 1e6
