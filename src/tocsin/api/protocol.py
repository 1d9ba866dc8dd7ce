"""HTTP/1.1 as uvicorn speaks it: bounds on what a client without a key can hold, and fewer writes.

Neither uvicorn nor its parser has bounds. Whoever can connect could fill the memory with a head
that does not end, or keep connections for as long as they like: by sending a byte now and then, or
by not reading what they asked for.
"""

import asyncio
from collections.abc import Callable
from http import HTTPStatus
from typing import Any, Final, cast

import httptools
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol, RequestResponseCycle

from tocsin.api.transport import OneWrite

PIECE: Final = 8_192
"""Bytes that are looked at together. The requests in them are all begun to be taken; what comes
behind them waits, as bytes, until only the last of them is left."""

MAX_HEAD: Final = 65_536
"""Bytes of the first line and the headers of a request, counted by pieces; and bytes that may come
between two pieces of a body: the ends of chunks, and trailers."""

HEAD_SECONDS: float = 10.0
"""How long a head may take, on a new connection from its start."""

BODY_SECONDS: float = 30.0
"""How long a request with a body may take to come in, and a second more for each ``BODY_RATE``
bytes of it."""

BODY_RATE: int = 16_384

READ_SECONDS: float = 30.0
"""How long a client may take to read ``READ_BYTES`` of an answer that waits for it."""

READ_BYTES: int = 16_384

LINGER_SECONDS: float = 5.0
"""How long a connection that is to be closed waits for its client to read the rest, and to hear
that it need not go on sending."""


class BoundedHttp(HttpToolsProtocol):
    """Hangs up on who sends without end, or takes too long to send or to read."""

    _head: int | None = None
    """Bytes of the head that is being read; ``None`` while none is."""
    _body: int | None = None
    """Bytes that came since the head, while a body is being read."""
    _aside: int = 0
    """Of these, the last ones that were no part of the body."""
    _since: float = 0.0
    """When what is being read began."""
    _coming: asyncio.TimerHandle | None = None
    _going: asyncio.TimerHandle | None = None
    _unread: int = 0
    """Bytes of answers that waited when they were last looked at."""
    _has_refused: bool = False
    """Whether nothing is taken any more."""
    _later: bytes = b""
    """What came behind requests that wait for their turn."""
    _running: RequestResponseCycle | None = None
    """The request that is being answered; ``cycle`` is the one that came last."""
    on_lost: "Callable[[BoundedHttp], None] | None" = None
    """Is told when the connection has ended."""
    _upgrades: bool = False
    """Whether the head that is being read asks for another protocol."""

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Somebody has connected."""
        door = OneWrite(transport, self.loop, lingers=self._lingers)
        super().connection_made(cast("asyncio.Transport", door))
        self._since = self.loop.time()
        self._coming = self.loop.call_later(HEAD_SECONDS, self._look_at_sender)

    def connection_lost(self, exc: Exception | None) -> None:
        """They are gone."""
        if self.on_lost is not None:
            self.on_lost(self)
        for timer in (self._coming, self._going):
            if timer is not None:
                timer.cancel()
        self._coming = self._going = None
        self._later = b""
        self.pipeline.clear()
        running = self._running
        if running is not None and not running.response_complete:
            running.disconnected = True
            running.message_event.set()
        super().connection_lost(exc)

    # --- what comes in

    def on_message_begin(self) -> None:
        """A request begins."""
        self._head = 0
        self._body = None
        super().on_message_begin()

    def on_header(self, name: bytes, value: bytes) -> None:
        """Take a header. The parser takes trailers for headers too, and they are none.

        Who asks, and from where, is decided without what comes behind the body.
        """
        if self._head is not None:
            super().on_header(name, value)

    def on_headers_complete(self) -> None:
        """Its head has ended."""
        if self.parser.should_upgrade() and self.parser.get_method() != b"CONNECT":
            self._upgrades = True
            return
        self._head = None
        self._body = self._aside = 0
        super().on_headers_complete()

    def on_body(self, body: bytes) -> None:
        """Take a piece of a body."""
        self._aside = 0
        super().on_body(body)

    def on_message_complete(self) -> None:
        """The request has ended."""
        if self._upgrades:
            return
        self._body = None
        super().on_message_complete()

    def data_received(self, data: bytes) -> None:
        """Take what came."""
        if self._has_refused:
            return
        if self._later:
            self._later += data
        else:
            self._take(data)

    def _take(self, data: bytes) -> None:
        """Read on, until there are requests that have to wait."""
        self._unset_keepalive_if_required()
        for start in range(0, len(data), PIECE):
            if self.pipeline:
                # Each that waits takes much more memory than its bytes.
                self._later = data[start:]
                self.flow.pause_reading()
                break
            self._take_piece(data[start : start + PIECE])
            if self._has_refused or self.transport.is_closing():
                return
        if self._head is None and self._body is None:
            # A whole request, as nearly always.
            if self._coming is not None:
                self._coming.cancel()
                self._coming = None
        elif self._coming is None:
            self._since = self.loop.time()
            self._coming = self.loop.call_later(self._patience(), self._look_at_sender)

    def _take_piece(self, data: bytes) -> None:
        self._aside += len(data)
        try:
            self.parser.feed_data(data)
        except httptools.HttpParserUpgrade as upgrade:
            self._stay_with_http(data[upgrade.args[0] :])
            return
        except httptools.HttpParserError:
            self._refuse(400, "invalid_http", "invalid http request received")
            return
        if self._head is not None:
            self._head += len(data)
            if self._head > MAX_HEAD:
                self._refuse(431, "headers_too_large", f"more than {MAX_HEAD:,} bytes of headers")
        elif self._body is not None:
            self._body += len(data)
            if self._aside > MAX_HEAD:
                self._refuse(400, "invalid_http", f"{MAX_HEAD:,} bytes that are no body")

    def _stay_with_http(self, rest: bytes) -> None:
        """Take a request as if it had not asked for another protocol (RFC 9110, 7.8).

        The parser takes everything behind such a head for that protocol: the body too, which comes
        all the same from clients that would like HTTP/2.
        """
        if not self._upgrades:
            self._refuse(400, "invalid_http", "invalid http request received")
            return
        self._upgrades = False
        version = self.parser.get_http_version().encode()
        lines = [b"%b %b HTTP/%b" % (self.parser.get_method(), self.url, version)]
        lines += [b"%b: %b" % header for header in self.headers if header[0] != b"upgrade"]
        self.parser = httptools.HttpRequestParser(self)
        self.parser.set_dangerous_leniencies(lenient_data_after_close=True)  # as uvicorn's
        self._take_piece(b"\r\n".join([*lines, b"", rest]))

    def _patience(self) -> float:
        """Seconds that what is being read may take, by what came of it."""
        return HEAD_SECONDS if self._body is None else BODY_SECONDS + self._body / BODY_RATE

    def _look_at_sender(self) -> None:
        self._coming = None
        left = self._since + self._patience() - self.loop.time()
        if left <= 0 and (self.flow.read_paused or self._is_answered_meanwhile()):
            # It is this side that does not read, or says how long it waits.
            left = 1.0
        if left > 0:
            self._coming = self.loop.call_later(left, self._look_at_sender)
        elif self._head is None and self._body is None:
            self._close()  # nothing was asked
        else:
            what = "headers" if self._body is None else "body"
            self._refuse(408, "too_slow", f"the {what} of the request took too long")

    def _is_answered_meanwhile(self) -> bool:
        """Whether a body is answered while it comes in, as streams of jobs are."""
        cycle: RequestResponseCycle | None = self.cycle
        return (
            self._body is not None
            and cycle is not None
            and cycle.response_started
            and not cycle.response_complete
        )

    # --- one after the other

    def _start_asgi_task(self, cycle: RequestResponseCycle, app: Any) -> None:
        self._running = cycle
        super()._start_asgi_task(cycle, app)

    def on_response_complete(self) -> None:
        """A request is answered, and the next one may have its turn."""
        if self._has_refused:
            return
        super().on_response_complete()
        if self.transport.is_closing():
            return
        if self.pipeline:
            self.flow.pause_reading()
            return
        # What of the next one is there already had to wait, and has all its time yet.
        self._since = self.loop.time()
        if self._later:
            later, self._later = self._later, b""
            self._take(later)

    # --- what goes out

    def pause_writing(self) -> None:
        """The client does not read as fast as it is written to."""
        super().pause_writing()
        self._unread = self.transport.get_write_buffer_size()
        self._going = self.loop.call_later(READ_SECONDS, self._look_at_reader)

    def resume_writing(self) -> None:
        """It has read nearly all."""
        if self._going is not None:
            self._going.cancel()
            self._going = None
        super().resume_writing()

    def _look_at_reader(self) -> None:
        unread = self.transport.get_write_buffer_size()
        if self._unread - unread < READ_BYTES:
            self.transport.abort()
            return
        self._unread = unread
        self._going = self.loop.call_later(READ_SECONDS, self._look_at_reader)

    def timeout_keep_alive_handler(self) -> None:
        """Nothing was asked for a while."""
        self._close()

    def _refuse(self, status: int, code: str, detail: str) -> None:
        if self._has_refused or self.transport.is_closing():
            return
        cycle: RequestResponseCycle | None = self.cycle
        if cycle is None:
            is_own = True
        elif self._body is None:
            is_own = cycle.response_complete
        else:
            is_own = not cycle.response_started and not self.pipeline
        # Never in the midst of an answer, nor in the place of that to an earlier request.
        if is_own:
            title = HTTPStatus(status).phrase
            body = (
                f'{{"type":"urn:tocsin:problem:{code}","title":"{title}","status":{status},'
                f'"detail":"{detail}","code":"{code}","errors":[]}}'
            ).encode()
            self.transport.write(
                b"HTTP/1.1 %d %b\r\ncontent-type: application/problem+json\r\n"
                b"content-length: %d\r\nconnection: close\r\n\r\n%b"
                % (status, title.encode(), len(body), body)
            )
        self._has_refused = True
        if cycle is not None and not cycle.response_complete:
            cycle.disconnected = True
            cycle.message_event.set()
        if is_own and self.transport.can_write_eof():
            self._hear_out()
        else:
            self._close()

    def _lingers(self) -> bool:
        """Whether a close has to wait, because an answer was quicker than the request's body."""
        if self._has_refused or self._body is None or not self.transport.can_write_eof():
            return False
        self._has_refused = True
        self._hear_out()
        return True

    def _hear_out(self) -> None:
        """Send nothing more, and close a little later (never over TLS, where there is no half).

        To close while something comes in is to reset the connection, and that may take the answer
        away from who has not read it yet. So what comes is heard, and forgotten.
        """
        self.flow.resume_reading()
        self.transport.write_eof()
        self.loop.call_later(LINGER_SECONDS, self.transport.abort)

    def _close(self) -> None:
        if not self.transport.is_closing():
            self.transport.close()
            # To close means to wait until all is sent, and who does not read makes that for ever.
            self.loop.call_later(LINGER_SECONDS, self.transport.abort)
