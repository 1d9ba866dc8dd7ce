"""Real processes for tests and benchmarks: nodes that are killed at will, and a receiver.

Everything here looks at Tocsin from outside: its command line, its API, its log, its database
file (read by plain ``sqlite3``) and ``/proc``.
"""

import contextlib
import http.client
import json
import os
import random
import re
import shutil
import signal
import socket
import sqlite3
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, TypeVar

import httpx

from tests.support import receiver as receiver_program
from tests.support.receiver import Arrival, read_log

T = TypeVar("T")

PATIENCE = 90.0
"""Seconds that a condition may take on a machine that is busy with other things."""

POLL = 0.02

KEY = "tcs_testtest_" + "0" * 43
"""The first admin's key of every node that is started here."""

AUTHORIZED = {"Authorization": f"Bearer {KEY}"}

_PORT = re.compile(r"https?://[^\s\"/]*:(\d+)")
_TICKS = os.sysconf("SC_CLK_TCK")


class Impatient(AssertionError):
    """What was waited for did not happen."""


def wait_until(
    condition: Callable[[], T], what: str, *, timeout: float = PATIENCE, poll: float = POLL
) -> T:
    """Wait until a condition is truthy and return its value; ``what`` names it in the error."""
    ends = time.monotonic() + timeout
    while True:
        value = condition()
        if value:
            return value
        if time.monotonic() > ends:
            raise Impatient(f"waited {timeout:g} s in vain: {what} (last: {value!r})")
        time.sleep(poll)


def now_ms() -> int:
    """Milliseconds since the epoch."""
    return time.time_ns() // 1_000_000


def rfc3339(instant_ms: int) -> str:
    """An instant as the API takes it."""
    moment = datetime.fromtimestamp(instant_ms / 1_000, UTC)
    return moment.isoformat(timespec="milliseconds").replace("+00:00", "Z")


def free_port() -> int:
    """A port where nothing listens, for a server that will be away for a while.

    It is none of those that the system gives to connections: one of these might be given to
    somebody else meanwhile, or to the very client that looks for the server.
    """
    while True:
        port = random.randrange(20_000, 32_000)
        with contextlib.suppress(OSError), socket.socket() as probe:
            probe.bind(("127.0.0.1", port))
            return port


def clean_environment(extra: Mapping[str, str] | None = None) -> dict[str, str]:
    """The environment without Tocsin's variables, then ``extra``."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("TOCSIN_")}
    # Messages are compared with what one reads in a log: no colours, no wrapping.
    told = {"NO_COLOR": "1", "COLUMNS": "400", "PYTHONUNBUFFERED": "1"}
    # The receivers of the tests are on this machine, and so is everybody who asks.
    open_door = {"TOCSIN_EGRESS_ALLOW": "127.0.0.0/8,::1", "TOCSIN_RATE_LIMIT": "off"}
    return kept | told | open_door | dict(extra or {})


def tocsin_command() -> list[str]:
    """The command line program of the environment that runs the tests."""
    program = Path(sys.executable).with_name("tocsin")
    return [str(program)] if program.exists() else [sys.executable, "-m", "tocsin.cli.main"]


def die_together() -> list[str]:
    """A prefix of commands, so that no orphan outlives a test run that is itself killed."""
    return ["setpriv", "--pdeathsig", "KILL"] if shutil.which("setpriv") else []


# --- a node -------------------------------------------------------------------------------------


@dataclass(frozen=True, kw_only=True, slots=True)
class Ended:
    """How a process ended that was run to its end."""

    code: int
    output: str
    """Standard output and standard error together."""
    seconds: float


class Tocsin:
    """A ``tocsin serve`` on one database file; can be started again after each end."""

    def __init__(
        self,
        home: Path,
        *,
        database: Path | None = None,
        env: Mapping[str, str] | None = None,
        options: Sequence[str] = (),
        prefix: Sequence[str] = (),
        name: str = "node",
    ) -> None:
        self.home = home
        self.database = database or home / "tocsin.db"
        self.env = dict(env or {})
        self.options = tuple(options)
        self.prefix = tuple(prefix)
        """What is written before the command, such as ``setpriv …``."""
        self.log_path = home / f"{name}.log"
        self.process: subprocess.Popen[bytes] | None = None
        self.port = 0
        self._log_start = 0
        self._client: httpx.Client | None = None

    # --- life and death

    def start(self, *, ready: bool = True, timeout: float = PATIENCE) -> "Tocsin":
        """Start the process; returns when it fires (``ready``) or at least has begun."""
        assert self.process is None or self.process.poll() is not None, "it runs already"
        self._forget_client()
        self._log_start = self.log_path.stat().st_size if self.log_path.exists() else 0
        with self.log_path.open("ab") as log:
            self.process = subprocess.Popen(
                [*die_together(), *self.prefix, *self.command()],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                env=clean_environment(
                    {
                        "TOCSIN_BOOTSTRAP_KEY": KEY,
                        "XDG_CONFIG_HOME": str(self.home / "config"),
                        **self.env,
                    }
                ),
                cwd=self.home,
            )
        if ready:
            self.wait_listening(timeout)
            wait_until(self.is_ready, "the node is ready", timeout=timeout)
        return self

    def command(self) -> list[str]:
        """The command line."""
        return [
            *tocsin_command(),
            "serve",
            "--database",
            self.database_url(),
            "--port",
            "0",
            "--log-format",
            "json",
            *self.options,
        ]

    def database_url(self) -> str:
        """Its database, as the command line takes it."""
        return f"sqlite:///{self.database}"

    def run_to_end(self, *, timeout: float = PATIENCE) -> Ended:
        """Start a process that is expected to end by itself."""
        began = time.monotonic()
        self.start(ready=False)
        code = self.wait(timeout)
        return Ended(code=code, output=self.log(), seconds=time.monotonic() - began)

    def wait_listening(self, timeout: float = PATIENCE) -> None:
        """Wait until the log tells the address."""

        def port() -> int:
            self._assert_alive()
            found = _PORT.search(self.log())
            return int(found[1]) if found else 0

        self.port = wait_until(port, "the log tells the address", timeout=timeout)

    def _assert_alive(self) -> None:
        code = self.running.poll()
        if code is not None:
            raise AssertionError(f"tocsin serve ended with {code}:\n{self.log()[-4_000:]}")

    @property
    def running(self) -> subprocess.Popen[bytes]:
        """The process."""
        assert self.process is not None, "it was never started"
        return self.process

    @property
    def pid(self) -> int:
        """Its process id."""
        return self.running.pid

    @property
    def alive(self) -> bool:
        """Whether it runs."""
        return self.process is not None and self.process.poll() is None

    def send(self, what: signal.Signals) -> None:
        """Send a signal."""
        self.running.send_signal(what)

    def kill(self) -> None:
        """End it as a power cut would: it has no say in it."""
        self.send(signal.SIGKILL)
        self.running.wait()
        self._forget_client()

    def terminate(self, *, timeout: float = PATIENCE) -> int:
        """Ask it to end, wait, and return its exit code."""
        self.send(signal.SIGTERM)
        return self.wait(timeout)

    def wait(self, timeout: float = PATIENCE) -> int:
        """Wait for its end; the exit code."""
        try:
            return self.running.wait(timeout)
        except subprocess.TimeoutExpired:
            raise Impatient(
                f"the process did not end within {timeout:g} s:\n{self.log()[-4_000:]}"
            ) from None

    def close(self) -> None:
        """End it, whatever it does."""
        self._forget_client()
        if self.alive:
            self.send(signal.SIGKILL)
            self.running.wait()

    # --- what it says

    def log(self) -> str:
        """What it wrote since it was last started."""
        with self.log_path.open("rb") as file:
            file.seek(self._log_start)
            return file.read().decode("utf-8", "replace")

    def whole_log(self) -> str:
        """What it wrote over all starts."""
        if not self.log_path.exists():
            return ""
        return self.log_path.read_text("utf-8", "replace")

    def events(self, name: str | None = None) -> Iterator[dict[str, Any]]:
        """The log lines of the last start as objects, perhaps only those of one event."""
        for line in self.log().splitlines():
            with contextlib.suppress(ValueError):
                entry = json.loads(line)
                if isinstance(entry, dict) and name in {None, entry.get("event")}:
                    yield entry

    # --- the API

    @property
    def client(self) -> httpx.Client:
        """A client of its API."""
        if self._client is None:
            self._client = httpx.Client(
                base_url=f"http://127.0.0.1:{self.port}",
                timeout=60,
                trust_env=False,
                headers=AUTHORIZED,
            )
        return self._client

    def _forget_client(self) -> None:
        if self._client is not None:
            self._client.close()
            self._client = None

    def is_ready(self) -> bool:
        """Whether ``/readyz`` says so."""
        self._assert_alive()
        try:
            return self.client.get("/readyz").status_code == 200
        except httpx.TransportError:
            return False

    def get(self, path: str, **params: Any) -> Any:
        """The JSON of a resource below ``/api/v1``."""
        answer = self.client.get(f"/api/v1{path}", params=params or None)
        assert answer.status_code == 200, f"GET {path}: {answer.status_code} {answer.text}"
        return answer.json()

    def post(self, path: str, body: Any = None, *, expect: int = 201) -> Any:
        """Post below ``/api/v1``; the JSON of the answer."""
        answer = self.client.post(f"/api/v1{path}", json=body)
        assert answer.status_code == expect, f"POST {path}: {answer.status_code} {answer.text}"
        return answer.json()

    def create(self, jobs: Sequence[Mapping[str, Any]], *, batch: int = 1_000) -> list[Any]:
        """Create jobs in batches; their representations in order."""
        created: list[Any] = []
        for start in range(0, len(jobs), batch):
            answer = self.post("/jobs:batch", {"jobs": list(jobs[start : start + batch])})
            created += answer["items"]
        return created

    # --- what it costs

    def cpu_seconds(self) -> float:
        """User and system time of the process until now."""
        return cpu_seconds(self.pid)

    def memory_bytes(self) -> int:
        """Its resident set."""
        return resident_bytes(self.pid)

    # --- its database

    def rows(self) -> "Rows":
        """Its database, to be read."""
        return Rows(self.database)


def cpu_seconds(pid: int) -> float:
    """User and system time of a process until now."""
    # The second field is the name in brackets and may hold anything; utime is the 14th.
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / _TICKS


# --- a database file ----------------------------------------------------------------------------


@dataclass(frozen=True, kw_only=True, slots=True)
class Row:
    """An execution as it lies in the file."""

    id: str
    job_id: str
    job_name: str
    fire_time: int
    due: int
    available_at: int | None
    state: str
    reason: str | None
    owner: str | None
    skipped_until: int | None
    skipped_count: int | None
    attempts: Sequence[Mapping[str, Any]]

    @property
    def lost(self) -> int:
        """How many of its attempts were lost."""
        return sum(attempt.get("error_kind") == "lost" for attempt in self.attempts)

    @property
    def answered(self) -> int:
        """How many of its attempts ended in an answer."""
        return sum(attempt.get("http_status") is not None for attempt in self.attempts)


class Rows:
    """A database file, read without Tocsin and without changing it."""

    def __init__(self, path: Path) -> None:
        self.path = path

    @contextlib.contextmanager
    def connection(self) -> Iterator[sqlite3.Connection]:
        """A connection that cannot write."""
        # Without a write-ahead log nothing can be pending, and a connection for reading could not
        # create the files that the mode calls for.
        mode = "mode=ro" if self._wal().exists() else "immutable=1"
        connection = sqlite3.connect(f"file:{self.path}?{mode}", uri=True, timeout=30)
        try:
            yield connection
        finally:
            connection.close()

    def _wal(self) -> Path:
        return self.path.with_name(self.path.name + "-wal")

    def query(self, sql: str, *values: Any) -> list[tuple[Any, ...]]:
        """All rows of a query."""
        with self.connection() as connection:
            return connection.execute(sql, values).fetchall()

    def executions(self, where: str = "1=1") -> list[Row]:
        """All executions that meet a condition."""
        found = self.query(
            "SELECT id, job_id, job_name, fire_time, due, available_at, state, reason, owner, "
            f"skipped_until, skipped_count, attempts FROM executions WHERE {where}"
        )
        return [
            Row(
                id=row[0],
                job_id=row[1],
                job_name=row[2],
                fire_time=row[3],
                due=row[4],
                available_at=row[5],
                state=row[6],
                reason=row[7],
                owner=row[8],
                skipped_until=row[9],
                skipped_count=row[10],
                attempts=json.loads(row[11] or "[]"),
            )
            for row in found
        ]

    def unfinished(self) -> int:
        """How many executions have not ended."""
        return int(
            self.query("SELECT count(*) FROM executions WHERE state IN ('pending', 'claimed')")[0][
                0
            ]
        )

    def timers(self) -> int:
        """How many jobs have a fire to come."""
        return int(self.query("SELECT count(*) FROM timers")[0][0])

    def copy_to(self, path: Path) -> Path:
        """A copy of the file as it is, its write-ahead log included."""
        for suffix in ("", "-wal"):
            part = self.path.with_name(self.path.name + suffix)
            if part.exists():
                shutil.copyfile(part, path.with_name(path.name + suffix))
        return path


# --- the receiver -------------------------------------------------------------------------------


class Receiver:
    """The receiver as a process; see ``tests/support/receiver.py`` for what it answers."""

    def __init__(self, home: Path, *, name: str = "receiver", host: str = "127.0.0.1") -> None:
        self.log_path = home / f"{name}.arrivals"
        self.process = subprocess.Popen(
            [
                sys.executable,
                receiver_program.__file__,
                "--log",
                str(self.log_path),
                "--host",
                host,
            ],
            # It ends when this pipe is closed, so it never outlives the tests.
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            env=clean_environment(),
        )
        assert self.process.stdout is not None
        line = self.process.stdout.readline()
        assert line, "the receiver did not start"
        self.port = int(json.loads(line)["port"])
        self._control = http.client.HTTPConnection("127.0.0.1", self.port, timeout=60)

    def url(self, path: str = "/ok", *, host: str = "127.0.0.1") -> str:
        """The URL of a path."""
        return f"http://{host}:{self.port}{path}"

    def count(self) -> int:
        """How many requests have arrived; all of them are in the log then."""
        self._control.request("GET", "/_/flush")
        return int(json.loads(self._control.getresponse().read())["arrivals"])

    def arrivals(self) -> list[Arrival]:
        """Every request until now, in the order of arrival."""
        self.count()
        return list(read_log(self.log_path))

    def wait_for(self, count: int, *, timeout: float = PATIENCE) -> int:
        """Wait until so many requests have arrived."""
        return wait_until(
            lambda: (seen := self.count()) >= count and seen,
            f"{count} requests have arrived",
            timeout=timeout,
            poll=0.005,
        )

    def cpu_seconds(self) -> float:
        """User and system time of the process until now."""
        return cpu_seconds(self.process.pid)

    def close(self) -> None:
        """End it."""
        self._control.close()
        with contextlib.suppress(ProcessLookupError):
            self.process.terminate()
        self.process.communicate(timeout=30)


def resident_bytes(pid: int) -> int:
    """The resident set of a process."""
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith("VmRSS:"):
            return int(line.split()[1]) * 1_024
    raise AssertionError("no VmRSS in /proc")
