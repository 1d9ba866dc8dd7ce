"""nginx as the receiver: what the benchmarks call where it is installed.

It is no part of this project, answers at once and costs a few microseconds per call, so it is not
what a fast scheduler waits for. One process writes one line per arrival, in the order in which
it answered, with the instant in milliseconds (nginx knows no finer one).
"""

import contextlib
import functools
import http.client
import os
import shutil
import socket
import subprocess
import time
from collections.abc import Iterator
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path

from tests.support.process import PATIENCE, cpu_seconds, die_together, wait_until
from tests.support.receiver import Arrival

FLUSH_MS = 5
"""How long nginx may keep a line of its log in memory."""

_COLUMNS = (
    "$msec",
    "$http_webhook_id",
    "$http_tocsin_attempt",
    "$http_tocsin_job_id",
    "$http_tocsin_job_name",
    "$http_tocsin_fire_time",
    "$http_idempotency_key",
    "$request_uri",
)
"""What a line holds, in the order of the fields of ``Arrival``."""

_MARK = "/_/mark"
"""A request whose line in the log says that all before it are there; not an arrival."""

_PORTS_TO_TRY = 5


@functools.cache
def program() -> str | None:
    """Where nginx is; ``None`` where it is not installed."""
    # Debian puts it where the PATH of an ordinary user does not reach.
    return shutil.which("nginx") or shutil.which("nginx", path="/usr/sbin:/usr/local/sbin")


@functools.cache
def version() -> str:
    """The version of the nginx that is installed, such as ``nginx 1.22.1``."""
    found = program()
    assert found is not None, "nginx is not installed"
    shown = subprocess.run([found, "-v"], capture_output=True, text=True, check=True).stderr
    return shown.partition("nginx version: ")[2].strip().replace("/", " ")


def read_log(path: Path) -> Iterator[Arrival]:
    """The arrivals in a log of ours, in its order; marks are left out."""
    with path.open(encoding="utf-8") as lines:
        for line in lines:
            arrival = read_line(line)
            if not arrival.path.startswith(_MARK):
                yield arrival


def read_line(line: str) -> Arrival:
    """One line of the log; a header that did not come is empty."""
    at, *texts = line.rstrip("\n").split("\t")
    # nginx writes "-" for what is not there.
    execution_id, attempt, job_id, job_name, fire_time, key, where = (
        "" if text == "-" else text for text in texts
    )
    return Arrival(
        int(Decimal(at) * 1_000_000_000),
        execution_id,
        int(attempt or 0),
        job_id,
        job_name,
        fire_time,
        where,
        key,
    )


CLOSING = "/closing"
"""A path after whose answer the connection is closed."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Tls:
    """A second port, where the same is answered over TLS."""

    port: int
    certificate: Path
    """The private key and the chain, PEM."""
    log_path: Path
    """A line for each request: its number within its connection, and whether the session of that
    was resumed (``r``)."""

    def server(self) -> str:
        """Its part of the configuration."""
        return f"""
    log_format handshakes '$connection_requests $ssl_session_reused';
    server {{
        listen 127.0.0.1:{self.port} ssl backlog=4096;
        ssl_certificate {self.certificate};
        ssl_certificate_key {self.certificate};
        ssl_session_cache shared:sessions:4m;
        access_log {self.log_path} handshakes buffer=256k flush={FLUSH_MS}ms;
        location / {{ return 200 "ok"; }}
        location {CLOSING} {{ keepalive_timeout 0; return 200 "ok"; }}
    }}"""


def configuration(home: Path, port: int, log_path: Path, tls: Tls | None = None) -> str:
    """Its configuration file."""
    line = "\\t".join(_COLUMNS)
    return f"""
# One process without a master: what it costs is one line of /proc, and it ends with us.
master_process off;
daemon off;
pid {home}/nginx.pid;
error_log {home}/nginx.error.log error;
worker_rlimit_nofile 20000;
events {{
    worker_connections 8192;
    multi_accept on;
}}
http {{
    log_format arrivals '{line}';
    access_log {log_path} arrivals buffer=256k flush={FLUSH_MS}ms;
    client_body_temp_path {home}/nginx.body;
    proxy_temp_path {home}/nginx.proxy;
    fastcgi_temp_path {home}/nginx.fastcgi;
    scgi_temp_path {home}/nginx.scgi;
    uwsgi_temp_path {home}/nginx.uwsgi;
    # No connection is closed under a client: that would measure reconnecting.
    keepalive_requests 1000000000;
    keepalive_timeout 1h;
    tcp_nodelay on;
    server_tokens off;
    default_type text/plain;
    server {{
        listen 127.0.0.1:{port} backlog=4096;
        location / {{ return 200 "ok"; }}
    }}{tls.server() if tls else ""}
}}
"""


class Nginx:
    """An nginx that answers 200 to everything; to the benchmarks what ``Receiver`` is to them.

    Unlike that one it knows one answer: ``/slow`` and the like are answered at once.
    """

    def __init__(
        self, home: Path, *, name: str = "receiver", certificate: Path | None = None
    ) -> None:
        self.tls: Tls | None = None
        self.log_path = home / f"{name}.nginx.arrivals"
        self._home = home
        self._marks = 0
        self._read_to = 0
        self._lines = 0
        for left in reversed(range(_PORTS_TO_TRY)):
            self.port = _free_port()
            if certificate is not None:
                log_path = home / f"{name}.nginx.handshakes"
                self.tls = Tls(port=_free_port(), certificate=certificate, log_path=log_path)
            try:
                self.process = self._start()
            except OSError:  # somebody else was quicker
                if not left:
                    raise
            else:
                break
        self._control = http.client.HTTPConnection("127.0.0.1", self.port, timeout=60)

    def _start(self) -> subprocess.Popen[bytes]:
        found = program()
        if found is None:
            raise RuntimeError("nginx is not installed: make bench-tools")
        conf = self._home / "nginx.conf"
        conf.write_text(configuration(self._home, self.port, self.log_path, self.tls))
        errors = self._home / "nginx.error.log"
        process = subprocess.Popen(
            [*die_together(), found, "-p", str(self._home), "-c", str(conf), "-e", str(errors)],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        give_up = time.monotonic() + PATIENCE
        while time.monotonic() < give_up:
            if process.poll() is not None:
                raise OSError(f"nginx ended with {process.returncode}: {errors.read_text()}")
            with contextlib.suppress(OSError):
                socket.create_connection(("127.0.0.1", self.port), timeout=1).close()
                return process
            time.sleep(0.01)
        process.kill()
        process.wait()
        raise RuntimeError("nginx does not listen")

    @property
    def description(self) -> str:
        """What it is, for the head of a report."""
        return version()

    def url(self, path: str = "/ok") -> str:
        """The URL of a path."""
        return f"http://127.0.0.1:{self.port}{path}"

    def tls_url(self, path: str = "/ok") -> str:
        """The URL of a path over TLS."""
        assert self.tls is not None, "it was not asked for"
        return f"https://127.0.0.1:{self.tls.port}{path}"

    def handshakes(self) -> tuple[int, int]:
        """How many TLS connections have brought a request, and how many of them were resumed."""
        assert self.tls is not None, "it was not asked for"
        time.sleep(4 * FLUSH_MS / 1_000)
        first = [line for line in self.tls.log_path.read_text().splitlines() if line[:2] == "1 "]
        return len(first), sum(line.endswith("r") for line in first)

    def logged(self) -> int:
        """How many arrivals the log shows; ``FLUSH_MS`` behind, and at no cost to nginx."""
        with self.log_path.open("rb") as log:
            log.seek(self._read_to)
            data = log.read()
        self._read_to += len(data)
        self._lines += data.count(b"\n")
        return self._lines - self._marks

    def count(self) -> int:
        """How many requests have arrived; all of them are in the log then."""
        self._mark()
        return self.logged()

    def arrivals(self) -> list[Arrival]:
        """Every request until now, in the order in which they were answered."""
        self._mark()
        return list(read_log(self.log_path))

    def _mark(self) -> None:
        """Wait until what has arrived until now is in the log."""
        self._marks += 1
        mark = f"{_MARK}?n={self._marks}"
        self._control.request("GET", mark)
        self._control.getresponse().read()
        # One process answers and logs in one order: what came before the mark is before it.
        ending = f"\t{mark}\n".encode()
        wait_until(lambda: self._ends_with(ending), "nginx has written its log", poll=0.002)

    def _ends_with(self, ending: bytes) -> bool:
        with self.log_path.open("rb") as log:
            size = log.seek(0, os.SEEK_END)
            # Others may have called since.
            log.seek(max(0, size - 1_000_000))
            return ending in log.read()

    def wait_for(self, count: int, *, timeout: float = PATIENCE) -> int:
        """Wait until so many requests have arrived."""
        wait_until(
            lambda: self.logged() >= count,
            f"{count} requests have arrived",
            timeout=timeout,
            poll=0.005,
        )
        return self.count()

    def cpu_seconds(self) -> float:
        """User and system time of the process until now."""
        return cpu_seconds(self.process.pid)

    def close(self) -> None:
        """End it."""
        self._control.close()
        self.process.terminate()
        self.process.wait(30)


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
