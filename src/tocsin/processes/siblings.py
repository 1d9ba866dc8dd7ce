"""What the processes of one host tell each other directly: news, and their metrics.

Each has two Unix sockets in a directory of the supervisor's that nobody else may enter: one takes
news as datagrams, the other writes the metrics of its process to whoever connects.
"""

import asyncio
import contextlib
import errno
import socket
from collections.abc import Callable, Sequence
from pathlib import Path

from tocsin.processes.role import Role, socket_path

NEWS = "news"
METRICS = "metrics"

MAX_DATAGRAM = 65_536
DATAGRAMS_AT_ONCE = 64
"""Messages that are taken before other work has its turn."""

BUFFER = 1_048_576
"""Bytes of messages that may be on their way; the system may allow less."""

TRIES = 4
TRY_AGAIN = 0.005
"""Seconds until a message is sent again to one who has no room for it."""

METRICS_TIMEOUT = 1.0
"""Seconds that a sibling has for its metrics; then they are shown without it."""

MAX_METRICS = 4_194_304

_FULL = {errno.EAGAIN, errno.EWOULDBLOCK, errno.ENOBUFS}


class Siblings:
    """The other processes of the same supervisor; a ``Transport`` of news to them."""

    def __init__(self, role: Role) -> None:
        self._directory = role.directory
        self._own = role.number
        self._others = [number for number in range(1, role.of + 1) if number != role.number]
        self._news = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._news.setblocking(False)
        for option in (socket.SO_SNDBUF, socket.SO_RCVBUF):
            self._news.setsockopt(socket.SOL_SOCKET, option, BUFFER)
        self._server: asyncio.Server | None = None

    async def open(self, *, receive: Callable[[bytes], None], metrics: Callable[[], bytes]) -> None:
        """Begin to take news, and to answer with what ``metrics`` says."""

        def drain() -> None:
            for _ in range(DATAGRAMS_AT_ONCE):
                try:
                    message = self._news.recv(MAX_DATAGRAM)
                except (BlockingIOError, InterruptedError):
                    return
                receive(message)

        async def answer(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            with contextlib.suppress(OSError):
                writer.write(metrics())
                await writer.drain()
            writer.close()

        self._news.bind(self._fresh(NEWS))
        asyncio.get_running_loop().add_reader(self._news.fileno(), drain)
        self._server = await asyncio.start_unix_server(answer, self._fresh(METRICS))

    def close(self, *, orphaned: bool) -> None:
        """Stop listening; without a supervisor the last one also removes the directory."""
        asyncio.get_running_loop().remove_reader(self._news.fileno())
        self._news.close()
        if self._server is not None:
            self._server.close()
        with contextlib.suppress(OSError):
            self._fresh(NEWS)
            self._fresh(METRICS)
            if orphaned:
                Path(self._directory).rmdir()

    def _fresh(self, purpose: str) -> str:
        """The path of an own socket, with nothing there: the one before may have died."""
        path = socket_path(self._directory, self._own, purpose)
        Path(path).unlink(missing_ok=True)
        return path

    async def send(self, message: bytes) -> None:
        """Hand a message to all siblings; one that is away, or has no room for it, misses it."""
        missing = self._others
        for _ in range(TRIES):
            missing = [number for number in missing if not self._send_to(number, message)]
            if not missing:
                return
            await asyncio.sleep(TRY_AGAIN)

    def _send_to(self, number: int, message: bytes) -> bool:
        try:
            self._news.sendto(message, socket_path(self._directory, number, NEWS))
        except OSError as error:
            return error.errno not in _FULL
        return True

    async def metrics(self) -> Sequence[bytes]:
        """What those siblings say that answer in time."""
        answers = await asyncio.gather(*(self._metrics_of(number) for number in self._others))
        return [answer for answer in answers if answer]

    async def _metrics_of(self, number: int) -> bytes:
        path = socket_path(self._directory, number, METRICS)
        try:
            async with asyncio.timeout(METRICS_TIMEOUT):
                reader, writer = await asyncio.open_unix_connection(path, limit=MAX_METRICS)
                try:
                    parts = []
                    while part := await reader.read(MAX_METRICS):
                        parts.append(part)
                finally:
                    writer.close()
        except (OSError, TimeoutError):
            return b""
        return b"".join(parts)
