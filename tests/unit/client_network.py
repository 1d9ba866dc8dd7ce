"""What several tests of the HTTP client call: names, rules, ports, and servers that leave."""

import asyncio
import socket
import ssl
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress

from hostile_server import OK, Peer


class Fixed:
    """Gives each name the same addresses, and counts."""

    def __init__(self, *addresses: str) -> None:
        self.addresses = addresses
        self.asked = 0

    async def resolve(self, host: str) -> Sequence[str]:
        self.asked += 1
        return self.addresses


class Rules:
    """Blocks some addresses; remembers what it was asked."""

    def __init__(self, *blocked: str) -> None:
        self.blocked = set(blocked)
        self.asked: list[tuple[str, int, str]] = []

    def check(self, host: str, port: int, address: str) -> str | None:
        self.asked.append((host, port, address))
        return f"{address} is private" if address in self.blocked else None


@contextmanager
def full() -> Iterator[int]:
    """A port whose queue of connections is full: a connect to it neither succeeds nor fails."""
    with socket.socket() as listening:
        listening.bind(("127.0.0.1", 0))
        listening.listen(0)
        port = listening.getsockname()[1]
        crowd = []
        try:
            for _ in range(4):
                sock = socket.socket()
                crowd.append(sock)
                sock.setblocking(False)
                sock.connect_ex(("127.0.0.1", port))
            yield port
        finally:
            for sock in crowd:
                sock.close()


def unused() -> int:
    """A port where nothing listens."""
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        port: int = sock.getsockname()[1]
        return port


async def dying(peer: Peer) -> None:
    """Answer once; close on the next request, before any byte of an answer."""
    await peer.request()
    peer.send(OK)
    await peer.head()


async def dying_by_reset(peer: Peer) -> None:
    await dying(peer)
    peer.reset()


class Leaving:
    """A server that closes its connections at the very moment in which a test says so.

    An asyncio server closes some turns of the loop later, when the client has heard of it.
    """

    def __init__(self, *, tls: ssl.SSLContext | None = None) -> None:
        self._listening = socket.create_server(("127.0.0.1", 0))
        self._listening.settimeout(60)
        self._tls = tls
        self._served: list[socket.socket] = []
        port = self._listening.getsockname()[1]
        self.url = f"{'https' if tls else 'http'}://127.0.0.1:{port}/"
        self.connections = 0
        self.requests = 0

    async def serve(self, answers: Sequence[bytes]) -> None:
        """Accept a connection, and answer so many requests."""
        await asyncio.to_thread(self._serve, answers)

    def _serve(self, answers: Sequence[bytes]) -> None:
        sock, _ = self._listening.accept()
        self.connections += 1
        sock.settimeout(60)
        if self._tls is not None:
            sock = self._tls.wrap_socket(sock, server_side=True)
        self._served.append(sock)
        for answer in answers:
            head = b""
            while not head.endswith(b"\r\n\r\n{}"):
                data = sock.recv(65536)
                assert data
                head += data
            self.requests += 1
            sock.sendall(answer)

    def leave(self) -> None:
        """Close what is open, now; over TLS with a goodbye, as servers do."""
        for sock in self._served:
            if isinstance(sock, ssl.SSLSocket):
                with suppress(OSError):  # it does not wait for the client's goodbye
                    sock.settimeout(0)
                    sock.unwrap()
            sock.close()

    def __enter__(self) -> "Leaving":
        return self

    def close(self) -> None:
        """Leave, and take no more connections."""
        self.leave()
        self._listening.close()

    def __exit__(self, *_: object) -> None:
        self.close()
