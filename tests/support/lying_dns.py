"""A name server that tells lies, and a lookup that asks it over UDP."""

import socket
import socketserver
import struct
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from itertools import cycle
from typing import Any

_QUERY = 0x0100
_ANSWER = 0x8180
_A, _IN = 1, 1


class LyingServer:
    """Answers each question with the next of some answers (lists of IPv4 addresses)."""

    def __init__(self, *answers: Sequence[str]) -> None:
        self._answers = cycle(answers)
        self.asked = 0
        outer = self

        class Handler(socketserver.BaseRequestHandler):
            def handle(self) -> None:
                data, sock = self.request
                sock.sendto(outer._answer(data), self.client_address)

        self._server = socketserver.UDPServer(("127.0.0.1", 0), Handler)
        self.port: int = self._server.server_address[1]

    def _answer(self, data: bytes) -> bytes:
        self.asked += 1
        addresses = next(self._answers)
        question = data[12:]
        head = data[:2] + struct.pack("!HHHHH", _ANSWER, 1, len(addresses), 0, 0)
        # Each record: a pointer to the name of the question, no time to live, four bytes.
        records = b"".join(
            struct.pack("!HHHIH", 0xC00C, _A, _IN, 0, 4) + socket.inet_aton(address)
            for address in addresses
        )
        return head + question + records

    def lookup(self, host: str) -> Sequence[str]:
        """What ``getaddrinfo`` would find with this server in ``/etc/resolv.conf``."""
        name = b"".join(bytes([len(part)]) + part.encode() for part in host.strip(".").split("."))
        query = struct.pack("!HHHHHH", 7, _QUERY, 1, 0, 0, 0) + name + b"\0"
        query += struct.pack("!HH", _A, _IN)
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
            sock.settimeout(10)
            sock.sendto(query, ("127.0.0.1", self.port))
            data = sock.recv(4_096)
        count = struct.unpack("!H", data[6:8])[0]
        records = data[len(query) :]
        return [socket.inet_ntoa(records[16 * n + 12 : 16 * n + 16]) for n in range(count)]

    def __enter__(self) -> "LyingServer":
        threading.Thread(target=self._server.serve_forever, args=(0.01,), daemon=True).start()
        return self

    def __exit__(self, *_: Any) -> None:
        self._server.shutdown()
        self._server.server_close()


@contextmanager
def victim(address: str = "127.0.0.1") -> Iterator[tuple[int, "list[str]"]]:
    """A port that must not be reached: whoever connects is in the list."""
    reached: list[str] = []
    listener = socket.create_server((address, 0))
    ended = threading.Event()

    def accept() -> None:
        while not ended.is_set():
            try:
                connection, peer = listener.accept()
            except OSError:
                return
            reached.append(str(peer))
            connection.close()

    thread = threading.Thread(target=accept, daemon=True)
    thread.start()
    try:
        yield listener.getsockname()[1], reached
    finally:
        ended.set()
        listener.shutdown(socket.SHUT_RDWR)
        listener.close()
        thread.join(5)
