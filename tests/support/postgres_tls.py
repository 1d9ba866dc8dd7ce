"""TLS in front of a PostgreSQL that was built without it: what libpq sees is a server with TLS."""

import contextlib
import socket
import ssl
import struct
import threading
from collections.abc import Iterator
from contextlib import contextmanager

_SSL_REQUEST = struct.pack("!II", 8, 80_877_103)


class TlsFront:
    """Counts the connections that came by TLS; those without are turned away."""

    def __init__(self, port: int, context: ssl.SSLContext) -> None:
        self._behind = port
        self._context = context
        self._listener = socket.create_server(("127.0.0.1", 0))
        self._open: list[socket.socket] = []
        self.port: int = self._listener.getsockname()[1]
        self.secured = 0

    def accept(self) -> None:
        """Serve until closed."""
        while True:
            try:
                plain, _ = self._listener.accept()
            except OSError:
                return
            self._open.append(plain)
            threading.Thread(target=self._serve, args=(plain,), daemon=True).start()

    def _serve(self, plain: socket.socket) -> None:
        with contextlib.suppress(OSError), plain:
            if plain.recv(8, socket.MSG_WAITALL) != _SSL_REQUEST:
                return
            plain.sendall(b"S")
            near = self._context.wrap_socket(plain, server_side=True)
            self.secured += 1
            with near, socket.create_connection(("127.0.0.1", self._behind)) as far:
                self._open += [near, far]
                back = threading.Thread(target=_copy, args=(far, near), daemon=True)
                back.start()
                _copy(near, far)
                back.join()

    def close(self) -> None:
        """Hang up."""
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        for one in self._open:
            with contextlib.suppress(OSError):
                one.shutdown(socket.SHUT_RDWR)


def _copy(source: socket.socket, sink: socket.socket) -> None:
    with contextlib.suppress(OSError):
        while data := source.recv(65_536):
            sink.sendall(data)
    with contextlib.suppress(OSError):
        sink.shutdown(socket.SHUT_RDWR)


@contextmanager
def tls_front(port: int, context: ssl.SSLContext) -> Iterator[TlsFront]:
    """Serve until the end of the block."""
    front = TlsFront(port, context)
    thread = threading.Thread(target=front.accept, daemon=True)
    thread.start()
    try:
        yield front
    finally:
        front.close()
        thread.join(10)
