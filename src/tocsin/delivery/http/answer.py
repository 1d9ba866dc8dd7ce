"""Reading one answer after the other from a connection's bytes, within bounds."""

from time import perf_counter

import httptools

from tocsin.delivery.http.message import CallFailed

MAX_BARREN_BYTES = 65_536
"""Bytes in a row that bring no body: the header section, with all 1xx answers before it; later
chunk extensions and trailers."""
MAX_HEADERS = 100

TLS_ALERT = b"\x15\x03"
"""How a peer begins that was spoken to in plain text and expected TLS."""


class AnswerReader:
    """The callbacks of a connection's parser, and what they found of the current answer.

    `begin` for each request, then `feed` until it returns true; `end` when the peer closes.
    Neither reads the clock but for the first byte.
    """

    __slots__ = (
        "_barren",
        "_kept",
        "_max_body",
        "_parser",
        "_room",
        "_to_head",
        "complete",
        "first_byte_at",
        "headers",
        "keep_alive",
        "size",
        "status",
        "surplus",
    )

    def __init__(self) -> None:
        self._parser = httptools.HttpResponseParser(self)
        self.surplus = False
        """Bytes came that belong to no answer: the connection cannot be trusted any more."""
        self.begin(to_head=False, max_body=0, excerpt=0)

    def begin(self, *, to_head: bool, max_body: int, excerpt: int) -> None:
        """Expect the answer to a new request."""
        self.status = 0
        self.headers: list[tuple[bytes, bytes]] = []
        self.size = 0
        self.complete = False
        self.keep_alive = False
        self.first_byte_at = 0.0
        self._to_head = to_head
        self._max_body = max_body
        self._room = excerpt
        self._kept: list[bytes] = []
        self._barren = 0

    def discard(self) -> None:
        """Break the reference cycle with the parser; nothing can be read after it."""
        del self._parser

    @property
    def body(self) -> bytes:
        """The kept start of the body."""
        kept = self._kept
        return kept[0] if len(kept) == 1 else b"".join(kept)

    def header(self, name: bytes) -> bytes | None:
        """Return the first header of that name (lower case)."""
        for key, value in self.headers:
            if key.lower() == name:
                return value
        return None

    def feed(self, data: bytes) -> bool:
        """Take bytes from the peer; true once the answer is complete.

        Raises `CallFailed`: ``protocol`` for what is not HTTP/1.1 or has no bounds, ``too_large``.
        """
        if not self._barren:
            self.first_byte_at = self.first_byte_at or perf_counter()
        self._barren += len(data)
        try:
            self._parser.feed_data(data)
        except (httptools.HttpParserError, httptools.HttpParserUpgrade) as error:
            # What follows a complete answer does not spoil it, only the connection.
            if not self.complete:
                raise self._failure(error, data) from None
            self.surplus = True
        if self.complete:
            if self._to_head:
                # The parser now waits for a body that will not come.
                self._parser = httptools.HttpResponseParser(self)
            return True
        if self._barren > MAX_BARREN_BYTES:
            raise _endless()
        return False

    def end(self) -> bool:
        """The peer has closed; true where that completes the answer (its body had no length)."""
        if self.status < 200 or self.complete:
            return self.complete
        # Several headers are one with commas; the last coding decides, as for the parser.
        codings = [value for name, value in self.headers if name.lower() == b"transfer-encoding"]
        if not codings:
            self.complete = self.header(b"content-length") is None
        else:
            self.complete = codings[-1].lower().rpartition(b",")[2].strip() != b"chunked"
        return self.complete

    def _failure(self, error: Exception, data: bytes) -> CallFailed:
        cause = error.__context__
        if isinstance(cause, CallFailed):
            return cause
        if self.status == 101:
            return CallFailed("protocol", "the answer switches to another protocol, unasked")
        if not self.status and data.startswith(TLS_ALERT):
            return CallFailed("protocol", "the peer speaks TLS there; call it with https://")
        return CallFailed("protocol", f"the answer is not valid HTTP/1.1 ({error})")

    # What the parser calls; not for anybody else.

    def on_message_begin(self) -> None:
        """Notice bytes after the answer."""
        if self.complete:
            self.surplus = True

    def on_header(self, name: bytes, value: bytes) -> None:
        """Keep a header."""
        # Trailers come with the status known: they say nothing that a job needs.
        if not self.status:
            self.headers.append((name, value))

    def on_headers_complete(self) -> None:
        """Judge the header section."""
        if self.complete:
            return
        parser = self._parser
        status = parser.get_status_code()
        if status < 100:
            raise CallFailed("protocol", f"the answer has the status {status}")
        headers = self.headers
        if len(headers) > MAX_HEADERS:
            raise CallFailed("protocol", f"the answer has more than {MAX_HEADERS} headers")
        if self._barren > MAX_BARREN_BYTES and (
            sum(len(name) + len(value) for name, value in headers) > MAX_BARREN_BYTES
        ):
            raise _endless()
        self.status = status
        self.keep_alive = parser.should_keep_alive()
        if self._to_head and status >= 200:
            self.complete = True
            # A chunk that should not be there could not be told from nothing.
            if self.header(b"transfer-encoding") is not None:
                self.keep_alive = False

    def on_body(self, data: bytes) -> None:
        """Count the body and keep its start."""
        if self.complete:
            self.surplus = True
            return
        self._barren = 0
        self.size += len(data)
        room = self._room
        if room > 0:
            self._kept.append(data[:room])
            self._room = room - len(data)
        if self.size > self._max_body:
            raise CallFailed("too_large", f"the answer's body is over {self._max_body} bytes")

    def on_message_complete(self) -> None:
        """End the answer, or begin again after an interim one."""
        if self.status >= 200:
            self.complete = True
        elif self.status != 101:
            self.status = 0
            self.headers = []


def _endless() -> CallFailed:
    return CallFailed(
        "protocol", f"the answer's header section or trailer is over {MAX_BARREN_BYTES} bytes"
    )
