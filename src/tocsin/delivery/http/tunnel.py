"""A tunnel through a proxy: CONNECT, and what the proxy says to it (RFC 9110, section 9.3.6)."""

import asyncio
import errno
import os
import re
from http import HTTPStatus

from tocsin.delivery.http.answer import TLS_ALERT, AnswerReader
from tocsin.delivery.http.connection import Connection
from tocsin.delivery.http.message import CallFailed, FailureKind
from tocsin.delivery.http.url import Url
from tocsin.domain.proxy import Proxy, tunnel_target

_SCHEME = re.compile(rb"[A-Za-z][A-Za-z0-9-]{0,30}")


async def open_tunnel(
    transport: asyncio.Transport, connection: Connection, url: Url, proxy: Proxy, user_agent: str
) -> None:
    """Make a connection to the proxy one to the target; then only TLS may be missing.

    Raises `CallFailed`, and then it is closed, as it is where this is cancelled.  It has no
    deadline of its own.
    """
    if connection.lost:
        raise _failed(proxy, url, "it speaks before it is asked, or closed the connection")
    tunnel = _Tunnel(transport, connection)
    try:
        transport.set_protocol(tunnel)
        transport.write(_request(url, proxy, user_agent))
        try:
            await tunnel.answered
        except CallFailed as failure:
            raise _failed(proxy, url, failure.reason, failure.kind) from None
        reader = tunnel.reader
        if not 200 <= reader.status < 300:
            raise _refused(proxy, url, reader)
        if reader.surplus:
            raise _failed(
                proxy, url, "it sent more than the head of an answer to CONNECT", "protocol"
            )
    except BaseException:
        connection.drop()
        if tunnel.answered.done() and not tunnel.answered.cancelled():
            tunnel.answered.exception()  # heard, also where this was cancelled in that moment
        raise


class _Tunnel(asyncio.Protocol):
    """Stands in for a connection until its tunnel is there, or it is lost."""

    def __init__(self, transport: asyncio.Transport, connection: Connection) -> None:
        self.reader = AnswerReader()
        # No body belongs to the answer that opens a tunnel, and none is read of any other.
        self.reader.begin(to_head=True, max_body=0, excerpt=0)
        self.answered: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._transport = transport
        self._connection = connection

    def data_received(self, data: bytes) -> None:
        """Read the answer; what comes later is not the proxy's."""
        if self.answered.done():
            return
        if not self.reader.first_byte_at and data.startswith(TLS_ALERT):
            self.answered.set_exception(
                CallFailed("protocol", "it speaks TLS; only proxies in plain text can be used")
            )
            return
        try:
            complete = self.reader.feed(data)
        except CallFailed as failure:
            self.answered.set_exception(failure)
            return
        if complete:
            # At once, lest the first bytes of the target get lost.
            self._transport.set_protocol(self._connection)
            self.answered.set_result(None)

    def connection_lost(self, exc: Exception | None) -> None:
        """Tell whoever waits for the tunnel, and the connection."""
        if not self.answered.done():
            self.answered.set_exception(CallFailed("connection", self._why_lost(exc)))
        self._connection.connection_lost(exc)

    def _why_lost(self, exc: Exception | None) -> str:
        number = exc.errno if isinstance(exc, OSError) else None
        if number in {errno.ECONNRESET, errno.EPIPE}:
            how = "it reset the connection"
        elif number:
            how = f"the connection broke ({os.strerror(number)})"
        else:
            how = "it closed the connection"
        return f"{how} {'inside its answer' if self.reader.first_byte_at else 'without an answer'}"


def _request(url: Url, proxy: Proxy, user_agent: str) -> bytes:
    target = tunnel_target(url.host, url.port)
    lines = [f"CONNECT {target} HTTP/1.1", f"Host: {target}", f"User-Agent: {user_agent}"]
    if proxy.authorization is not None:
        lines.append(f"Proxy-Authorization: {proxy.authorization}")
    return ("\r\n".join(lines) + "\r\n\r\n").encode()


def _refused(proxy: Proxy, url: Url, reader: AnswerReader) -> CallFailed:
    """What a status other than 2xx means."""
    status = reader.status
    try:
        answer = f"{status} {HTTPStatus(status).phrase}"
    except ValueError:
        answer = str(status)
    kind: FailureKind = "connection"
    match status:
        case 403:
            kind = "blocked"
            why = f"it forbids that ({answer})"
            if url.port != 443:
                why += "; many proxies allow tunnels to port 443 only"
        case 405 | 501:
            why = f"it does not do tunnels ({answer})"
        case 407:
            why = _unauthenticated(proxy, reader, answer)
        case 502 | 503 | 504:
            why = f"it cannot reach it ({answer})"
        case _:
            why = f"it answers {answer}"
    return _failed(proxy, url, why, kind)


def _unauthenticated(proxy: Proxy, reader: AnswerReader, answer: str) -> str:
    challenges = [value for name, value in reader.headers if name.lower() == b"proxy-authenticate"]
    schemes = [found[0].decode() for value in challenges if (found := _SCHEME.match(value))]
    if schemes and not any(scheme.lower() == "basic" for scheme in schemes):
        return f"it asks for {', '.join(schemes[:5])} ({answer}), and only Basic is spoken here"
    if proxy.authorization is None:
        return f"it asks for credentials ({answer}); TOCSIN_PROXY can hold them"
    return f"it does not accept the credentials in TOCSIN_PROXY ({answer})"


def _failed(proxy: Proxy, url: Url, why: str, kind: FailureKind = "connection") -> CallFailed:
    return CallFailed(kind, f"no way through {proxy.place} to {url.place}: {why}")
