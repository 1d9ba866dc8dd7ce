"""An independent receiver: answers every request at once and logs every arrival.

Run as a program (``python receiver.py --log FILE [--port N]``). It shares no code with Tocsin, so
what it saw is evidence. The first line on standard output is ``{"port": N}``; it ends on SIGTERM,
or when its standard input is closed, which is when whoever started it has died.

The path says how a request is answered:

=================== ==============================================================================
``/ok``             200 at once; ``?bytes=N`` makes the answer N bytes long
``/status?code=C``  that status
``/fail?n=N``       503 (or ``&status=C``) to the first N arrivals of each execution, then 200
``/slow?ms=N``      200 after N milliseconds
``/hang``           no answer, ever
``/_/flush``        not logged; answers ``{"arrivals": N}`` when all of them are in the log
=================== ==============================================================================

Anything else is answered like ``/ok``. One line per arrival, the fields of ``Arrival`` separated
by tabs; an arrival is noted before it is answered and is in the file ``FLUSH_SECONDS`` later.
"""

import argparse
import asyncio
import json
import os
import signal
import socket
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple, cast
from urllib.parse import parse_qs, urlsplit

import httptools

FLUSH_SECONDS = 0.01
"""How long an arrival may stay in memory before it is written."""

LOGGED = (
    b"webhook-id",
    b"tocsin-attempt",
    b"tocsin-job-id",
    b"tocsin-job-name",
    b"tocsin-fire-time",
    b"idempotency-key",
)
"""The headers that are logged, in the order of their columns."""

_COLUMN = {name: column for column, name in enumerate(LOGGED)} | {
    # Spelled as Tocsin sends them, so that the common case needs no lower().
    name.title(): column
    for column, name in enumerate(LOGGED)
}
_REASONS = {200: b"OK", 204: b"No Content", 404: b"Not Found", 500: b"Internal Server Error"}


class Arrival(NamedTuple):
    """One request as the receiver saw it."""

    at_ns: int
    """Wall clock, nanoseconds since the epoch, when its first byte was read."""
    execution_id: str
    attempt: int
    job_id: str
    job_name: str
    fire_time: str
    path: str
    key: str = ""
    """Its ``Idempotency-Key``."""

    @property
    def fire_ms(self) -> int:
        """The fire time in milliseconds since the epoch: the first 48 bits of the id."""
        return int(self.execution_id[:8] + self.execution_id[9:13], 16)


def read_log(path: Path) -> Iterator[Arrival]:
    """The arrivals in a log, in their order."""
    with path.open(encoding="utf-8") as lines:
        for line in lines:
            at, execution_id, attempt, job_id, job_name, fire_time, key, where = line.rstrip(
                "\n"
            ).split("\t")
            yield Arrival(
                int(at), execution_id, int(attempt or 0), job_id, job_name, fire_time, where, key
            )


def _answer(status: int, body: bytes) -> bytes:
    return b"HTTP/1.1 %d %s\r\ncontent-type: text/plain\r\ncontent-length: %d\r\n\r\n%s" % (
        status,
        _REASONS.get(status, b"Status"),
        len(body),
        body,
    )


_OK = _answer(200, b"ok")


class Log:
    """Arrivals on their way to the file."""

    def __init__(self, path: str, loop: asyncio.AbstractEventLoop) -> None:
        self._file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
        self._loop = loop
        self._lines: list[bytes] = []
        self.count = 0

    def add(self, line: bytes) -> None:
        """Note an arrival."""
        if not self._lines:
            self._loop.call_later(FLUSH_SECONDS, self.flush)
        self._lines.append(line)
        self.count += 1

    def flush(self) -> None:
        """Write what has been noted."""
        if self._lines:
            data = memoryview(b"".join(self._lines))
            self._lines.clear()
            while data:
                data = data[os.write(self._file, data) :]


class Exchange(asyncio.Protocol):
    """One connection."""

    def __init__(self, log: Log, failures: dict[bytes, int]) -> None:
        self._log = log
        self._failures = failures
        self._parser = httptools.HttpRequestParser(self)
        self._values = [b""] * len(LOGGED)
        self._path = b""
        self._read_at = 0
        self._began_at = 0

    # --- asyncio

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)

    def data_received(self, data: bytes) -> None:
        self._read_at = time.time_ns()
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserError:
            self._transport.abort()

    # --- httptools

    def on_message_begin(self) -> None:
        self._began_at = self._read_at
        self._values = [b""] * len(LOGGED)

    def on_url(self, url: bytes) -> None:
        self._path = url

    def on_header(self, name: bytes, value: bytes) -> None:
        column = _COLUMN.get(name)
        if column is None:
            column = _COLUMN.get(name.lower())
        if column is not None:
            self._values[column] = value

    def on_message_complete(self) -> None:
        path = self._path
        if path.startswith(b"/_/"):
            self._log.flush()
            self._write(_answer(200, b'{"arrivals": %d}' % self._log.count))
            return
        self._log.add(b"%d\t%s\t%s\n" % (self._began_at, b"\t".join(self._values), path))
        if path == b"/ok":
            self._write(_OK)
        else:
            self._behave(path.decode("latin-1"))

    # --- answers

    def _behave(self, url: str) -> None:
        parts = urlsplit(url)
        query = {name: values[-1] for name, values in parse_qs(parts.query).items()}
        match parts.path:
            case "/hang":
                pass
            case "/slow":
                asyncio.get_running_loop().call_later(
                    float(query.get("ms", "100")) / 1_000, self._write, _OK
                )
            case "/status":
                self._write(_answer(int(query.get("code", "200")), b"as asked"))
            case "/fail":
                seen = self._failures.get(self._values[0], 0)
                if seen < int(query.get("n", "1")):
                    self._failures[self._values[0]] = seen + 1
                    self._write(_answer(int(query.get("status", "503")), b"as asked"))
                else:
                    self._write(_OK)
            case _:
                self._write(_answer(200, b"x" * int(query.get("bytes", "2"))))

    def _write(self, answer: bytes) -> None:
        if self._transport.is_closing():
            return
        self._transport.write(answer)
        if not self._parser.should_keep_alive():
            self._transport.close()


async def serve(*, host: str, port: int, log_path: str) -> None:
    """Receive until SIGTERM or the end of standard input."""
    loop = asyncio.get_running_loop()
    log = Log(log_path, loop)
    failures: dict[bytes, int] = {}
    server = await loop.create_server(
        lambda: Exchange(log, failures), host, port, backlog=4_096, reuse_address=True
    )
    listening: socket.socket = server.sockets[0]
    sys.stdout.write(json.dumps({"port": listening.getsockname()[1]}) + "\n")
    sys.stdout.flush()
    ended = asyncio.Event()
    loop.add_signal_handler(signal.SIGTERM, ended.set)

    def read_stdin() -> None:
        if not os.read(0, 1_024):
            loop.remove_reader(0)
            ended.set()

    loop.add_reader(0, read_stdin)
    await ended.wait()
    log.flush()


def main() -> None:
    """Parse the command line and receive."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=int, default=0)
    parser.add_argument("--log", required=True, help="file that arrivals are appended to")
    options = parser.parse_args()
    try:
        import uvloop  # not there on every platform
    except ImportError:
        run = asyncio.run
    else:
        run = uvloop.run
    run(serve(host=options.host, port=options.port, log_path=options.log))


if __name__ == "__main__":
    main()
