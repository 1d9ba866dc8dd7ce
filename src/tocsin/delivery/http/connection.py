"""One connection: a request goes out, its answer comes back, one at a time."""

import asyncio
import errno
import os
import ssl
from time import monotonic
from typing import Protocol, cast

from tocsin.delivery.http.acknowledged import unacknowledged
from tocsin.delivery.http.answer import AnswerReader, KnownAnswers
from tocsin.delivery.http.deadline import Deadlines, Expiring
from tocsin.delivery.http.message import (
    CallFailed,
    DeadlinePassed,
    FailureKind,
    Sending,
    Unreached,
)
from tocsin.delivery.http.tls import broken
from tocsin.delivery.http.url import Url

_JOIN_UP_TO = 65_536  # above this a second write is cheaper than copying the body


class Owner(Protocol):
    """Who is told of a connection's beginning and end."""

    def opened(self, connection: "Connection") -> None:
        """It is open; a TLS handshake may still follow."""
        ...

    def lost(self, connection: "Connection") -> None:
        """It is closed, for whatever reason; its socket is gone."""
        ...


class Waiter(Protocol):
    """Who waits for the end of an exchange: a future, or whatever looks like one."""

    def done(self) -> bool:
        """Whether it waits no longer."""
        ...

    def set_result(self, result: None, /) -> None:
        """The whole answer is in the reader."""
        ...

    def set_exception(self, exception: CallFailed, /) -> None:
        """There will be no answer, or no more of it."""
        ...


class Connection(asyncio.Protocol):
    """A connection to one origin, over TCP or TLS.

    Writes are not held back when the peer reads slowly: a request is in memory as a whole already,
    and its deadline bounds how long the transport keeps it.
    """

    __slots__ = (
        "_deadlines",
        "_due",
        "_length",
        "_loop",
        "_owner",
        "_plain",
        "_transport",
        "_waiter",
        "address",
        "lost",
        "opened_at",
        "origin",
        "place",
        "reader",
        "used",
    )

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        url: Url,
        address: str,
        deadlines: Deadlines,
        owner: Owner,
        *,
        known: KnownAnswers | None = None,
    ) -> None:
        self.origin = url.origin
        self.place = url.place
        self.address = address
        """The IP address of the peer: the very one that the guard was asked about."""
        self.opened_at = monotonic()
        self.used = 0
        """How many requests were written to it."""
        self.lost = False
        self.reader = AnswerReader(known)
        self._loop = loop
        self._deadlines = deadlines
        self._owner = owner
        self._transport: asyncio.Transport | None = None
        self._plain: asyncio.Transport | None = None  # below TLS, where there is TLS
        self._waiter: Waiter | None = None
        self._due: set[Expiring] | None = None
        self._length = 0  # of the last request, in bytes

    async def secure(self, context: ssl.SSLContext, name: str) -> None:
        """Begin TLS; raises `OSError` (as `ssl.SSLError`), and then it is closed."""
        plain = self._transport
        if plain is None or self.lost:
            raise ConnectionResetError(errno.ECONNRESET, "closed")
        try:
            self._transport = await self._loop.start_tls(plain, self, context, server_hostname=name)
            self._plain = plain
        except BaseException:
            self.drop()
            raise

    def exchange(self, sending: Sending, waiter: Waiter) -> None:
        """Write a request; ``waiter`` is told when ``reader`` holds the whole answer.

        Only while it is not ``lost``.  The waiter may be told `CallFailed`.  Whoever gives up
        waiting calls `abort`.
        """
        self.reader.begin(
            to_head=sending.to_head, max_body=sending.max_body, excerpt=sending.excerpt
        )
        self._waiter = waiter
        self._due = self._deadlines.add(sending.deadline, self)
        self.used += 1
        transport = self._transport
        assert transport is not None  # noqa: S101 - not lost
        body = sending.body
        self._length = len(sending.head) + len(body)
        if len(body) <= _JOIN_UP_TO:
            transport.write(sending.head + body)
        else:
            transport.write(sending.head)
            transport.write(body)

    @property
    def reusable(self) -> bool:
        """Whether the next request may use it: all was sent, all was read, nothing came after."""
        reader = self.reader
        if not reader.complete or not reader.keep_alive or reader.surplus or self.lost:
            return False
        # An answer may come before the request has left; the rest of it is still in the way.
        return self._unsent() == 0

    @property
    def tls(self) -> ssl.SSLObject | None:
        """The TLS layer, where there is one."""
        if self._transport is None:
            return None
        return cast("ssl.SSLObject | None", self._transport.get_extra_info("ssl_object"))

    def abort(self) -> None:
        """Close at once; who waits for the exchange under way is not told any more."""
        self.lost = True
        self._waiter = None
        if self._due is not None:
            self._due.discard(self)
            self._due = None
        if self._transport is not None:
            self._transport.abort()

    def drop(self) -> None:
        """Close what never came to be used.

        Transports do not always pass on how a connect or a handshake ends; hearing it twice is
        harmless.
        """
        self.abort()
        if self._transport is not None:
            self._loop.call_soon(self.connection_lost, None)

    def close(self) -> None:
        """Close at once; the exchange under way fails as ``cancelled``."""
        self._fail(CallFailed("cancelled", "the client is closed"))

    def expire(self) -> None:
        """End the exchange under way: its deadline has passed."""
        self._fail(DeadlinePassed(self._phase()))

    # What the transport calls.

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Tell the owner."""
        self._transport = cast("asyncio.Transport", transport)
        self._owner.opened(self)
        if self.lost:
            self.drop()

    def data_received(self, data: bytes) -> None:
        """Feed the answer; bytes that nobody waits for end the connection."""
        waiter = self._waiter
        if waiter is None:
            self.reader.surplus = True
            self.abort()
            return
        try:
            complete = self.reader.feed(data)
        except CallFailed as failure:
            self._fail(failure)
        else:
            if complete:
                self._finish(waiter)

    def eof_received(self) -> None:
        """No more bytes will come: that is the end of an answer without a length, or too early."""
        self._ended(None)

    def connection_lost(self, exc: Exception | None) -> None:
        """Tell the owner, and whoever waits."""
        if self._transport is None:
            return
        self._ended(exc)
        # abort() tells a TLS transport of asyncio, which else warns that nobody closed it.
        self.abort()
        self._transport = self._plain = None
        self.reader.discard()
        self._owner.lost(self)

    def _ended(self, exc: Exception | None) -> None:
        self.lost = True
        waiter = self._waiter
        if waiter is None:
            return
        if exc is None and self.reader.end():
            self._finish(waiter)
        elif exc is None and self._unreached():
            self._fail(Unreached(self._why_ended(exc)))
        else:
            # With TLS 1.3 a peer that demands a client certificate says so after the handshake.
            kind: FailureKind = "tls" if isinstance(exc, ssl.SSLError) else "connection"
            self._fail(CallFailed(kind, self._why_ended(exc)))

    def _unreached(self) -> bool:
        """Whether the peer closed without having received a byte of the request.

        Only where that is certain.  A TLS record in which a part of the request has been received
        cannot be read, and its overhead is all that the count may be short of.
        """
        if self.reader.first_byte_at:
            return False
        transport = self._plain or self._transport
        sock = None if transport is None else transport.get_extra_info("socket")
        return sock is not None and unacknowledged(sock) + self._unsent() >= self._length

    def _why_ended(self, exc: Exception | None) -> str:
        reader = self.reader
        if exc is None:
            how = "the peer closed the connection"
        elif isinstance(exc, ssl.SSLError):
            how = f"TLS failed ({broken(exc)})"
        elif isinstance(exc, OSError) and exc.errno in {errno.ECONNRESET, errno.EPIPE}:
            how = "the peer reset the connection"
        elif isinstance(exc, OSError) and exc.errno:
            how = f"the connection broke ({os.strerror(exc.errno)})"
        else:
            how = f"the connection broke ({type(exc).__name__})"
        if not reader.first_byte_at:
            return f"{how} before it answered"
        if not reader.status:
            return f"{how} inside the answer's header section"
        length = reader.header(b"content-length")
        of = f" of {length.decode('latin-1')}" if length is not None else ""
        return f"{how} after {reader.size}{of} bytes of the answer's body"

    def _phase(self) -> str:
        reader = self.reader
        if reader.status:
            return f"answer {reader.status} began, {reader.size} bytes of its body read"
        if reader.first_byte_at:
            return "connected, request sent, the answer's header section began but did not end"
        unsent = self._unsent()
        if unsent:
            return f"connected, {unsent} bytes of the request not yet taken by the peer"
        return "connected, request sent, waiting for the first byte"

    def _unsent(self) -> int:
        """Count the bytes that wait for the peer to take them; TLS does not count those below."""
        unsent = self._transport.get_write_buffer_size() if self._transport else 0
        return unsent + (self._plain.get_write_buffer_size() if self._plain else 0)

    def _finish(self, waiter: Waiter) -> None:
        self._waiter = None
        if self._due is not None:
            self._due.discard(self)
            self._due = None
        if not waiter.done():
            waiter.set_result(None)

    def _fail(self, failure: CallFailed) -> None:
        waiter = self._waiter
        self.abort()
        if waiter is not None and not waiter.done():
            if not isinstance(failure, DeadlinePassed):
                failure.reason = f"{self.place}: {failure.reason}"
            waiter.set_exception(failure)
