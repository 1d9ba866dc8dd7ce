"""The socket that a process listens on, and the address that others find it by."""

import errno
import socket

from tocsin.settings import Settings


def url_of(listener: socket.socket, settings: Settings) -> str:
    """The address of a listening socket as a URL, without a path."""
    host, port = listener.getsockname()[:2]
    scheme = "http" if settings.tls_cert is None else "https"
    return f"{scheme}://{f'[{host}]' if ':' in host else host}:{port}"


def listen(host: str, port: int) -> socket.socket:
    """A listening socket; raises ``OSError`` with a sentence that names the address."""
    try:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
    except socket.gaierror as error:
        raise OSError(f"cannot listen on {host!r}: it is no address of this machine") from error
    family, kind, protocol, _, address = found[0]
    listener = socket.socket(family, kind, protocol)
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind(address)
        listener.listen(2_048)
    except OSError as error:
        listener.close()
        why = {
            errno.EADDRINUSE: "another program listens there; choose another --port",
            errno.EACCES: "ports below 1024 need privileges; choose another --port",
            errno.EADDRNOTAVAIL: "it is no address of this machine; choose another --host",
        }.get(error.errno or 0, str(error))
        raise OSError(f"cannot listen on {host}:{port}: {why}") from error
    listener.setblocking(False)
    return listener
