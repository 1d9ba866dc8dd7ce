"""Reading one answer after the other from a connection's bytes, within bounds."""

from time import perf_counter
from typing import NamedTuple

import httptools

from tocsin.delivery.http.message import CallFailed
from tocsin.delivery.http.section import Section, section_of

MAX_BARREN_BYTES = 65_536
"""Bytes in a row that bring no body: the header section, with all 1xx answers before it; later
chunk extensions and trailers."""
MAX_HEADERS = 100

TLS_ALERT = b"\x15\x03"
"""How a peer begins that was spoken to in plain text and expected TLS."""

SECTIONS_KEPT = 1_024
"""How many header sections are kept for the next answer that begins like one of them."""
LOOK_AT_MOST = 4_096
"""Bytes of an answer that is looked up so; of a longer one the parser is the smaller part."""


_NONE: list[tuple[bytes, bytes]] = []
"""No headers; each answer that begins gets a list of its own."""


class KnownAnswer(NamedTuple):
    """What the parser found of a header section; it finds the same of the same bytes."""

    status: int
    keep_alive: bool
    length: int
    """Of the body that follows, in bytes."""
    headers: list[tuple[bytes, bytes]]
    section: Section


class KnownAnswers:
    """The header sections that were read lately, by their bytes without the empty line.

    Nearly all answers of a server are alike but for the second that they name. To look the whole
    section up takes a tenth of what it takes to parse it and to look at its headers.
    """

    __slots__ = ("_known", "get")

    def __init__(self) -> None:
        self._known: dict[bytes, KnownAnswer] = {}
        self.get = self._known.get

    def __len__(self) -> int:
        return len(self._known)

    def add(self, section: bytes, found: KnownAnswer) -> None:
        """Remember one; where there are too many, all others are forgotten."""
        if len(self._known) >= SECTIONS_KEPT:
            self._known.clear()
        self._known[section] = found


class AnswerReader:
    """The callbacks of a connection's parser, and what they found of the current answer.

    `begin` for each request, then `feed` until it returns true; `end` when the peer closes.
    Neither reads the clock but for the first byte.
    """

    __slots__ = (
        "_barren",
        "_known",
        "_max_body",
        "_parser",
        "_room",
        "_to_head",
        "body",
        "complete",
        "first_byte_at",
        "headers",
        "keep_alive",
        "section",
        "size",
        "status",
        "surplus",
    )

    def __init__(self, known: KnownAnswers | None = None) -> None:
        """Without ``known`` each answer is parsed."""
        self._parser = httptools.HttpResponseParser(self)
        self._known = known
        self.surplus = False
        """Bytes came that belong to no answer: the connection cannot be trusted any more."""
        self.begin(to_head=False, max_body=0, excerpt=0)

    def begin(self, *, to_head: bool, max_body: int, excerpt: int) -> None:
        """Expect the answer to a new request."""
        self.status = 0
        self.headers = _NONE
        self.section: Section | None = None
        """What the headers say, where that is known already."""
        self.size = 0
        self.complete = False
        self.keep_alive = False
        self.first_byte_at = 0.0
        self._to_head = to_head
        self._max_body = max_body
        self._room = excerpt
        self.body = b""
        """The kept start of the body."""
        self._barren = 0

    def discard(self) -> None:
        """Break the reference cycle with the parser; nothing can be read after it."""
        del self._parser

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
        if self.first_byte_at:
            return self._parse(data)
        self.first_byte_at = perf_counter()
        known = self._known
        if known is None or self._to_head or len(data) > LOOK_AT_MOST:
            return self._parse(data)
        section, ending, body = data.partition(b"\r\n\r\n")
        found = known.get(section)
        if found is None:
            complete = self._parse(data)
            # Where all that followed is the body, its length is what the section says.
            if complete and ending and self.size == len(body) and not self.surplus:
                self.section = section_of(self.headers)
                known.add(
                    section,
                    KnownAnswer(
                        self.status, self.keep_alive, self.size, self.headers, self.section
                    ),
                )
            return complete
        status, keep_alive, length, headers, about = found
        if not ending or len(body) != length or length > self._max_body:
            return self._parse(data)
        # The parser stays where it is, between two answers.
        self.status = status
        self.keep_alive = keep_alive
        self.headers = headers
        self.section = about
        self.size = length
        self.body = body if length <= self._room else body[: self._room]
        self.complete = True
        return True

    def _parse(self, data: bytes) -> bool:
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
        else:
            self.headers = []

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
            # Copied again with each piece, but never more than the little that is kept.
            self.body += data[:room]
            self._room = room - len(data)
        if self.size > self._max_body:
            raise CallFailed("too_large", f"the answer's body is over {self._max_body} bytes")

    def on_message_complete(self) -> None:
        """End the answer, or begin again after an interim one."""
        if self.status >= 200:
            self.complete = True
        elif self.status != 101:
            self.status = 0
            self.headers = _NONE


def _endless() -> CallFailed:
    return CallFailed(
        "protocol", f"the answer's header section or trailer is over {MAX_BARREN_BYTES} bytes"
    )
