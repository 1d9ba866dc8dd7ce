"""HTTP/1.1 as uvicorn speaks it, with a bound on what comes before the body, and fewer writes.

Neither uvicorn nor its parser has a bound, and whoever can connect could fill the memory without a
key.
"""

import asyncio
from typing import cast

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from tocsin.api.transport import OneWrite

MAX_HEAD = 65_536
"""Bytes of the first line and the headers of a request, counted by what is read at once."""

_REFUSAL = (
    b"HTTP/1.1 431 Request Header Fields Too Large\r\n"
    b"content-type: application/problem+json\r\n"
    b"content-length: %d\r\n"
    b"connection: close\r\n\r\n%b"
)
_PROBLEM = (
    b'{"type":"urn:tocsin:problem:headers_too_large","title":"The headers are too large",'
    b'"status":431,"detail":"the headers are larger than %d bytes","code":"headers_too_large",'
    b'"errors":[]}' % MAX_HEAD
)


class BoundedHttp(HttpToolsProtocol):
    """Hangs up on who sends headers without end."""

    _head: int | None = None
    """Bytes of the head that is being read; ``None`` while none is."""

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Somebody has connected."""
        super().connection_made(cast("asyncio.Transport", OneWrite(transport, self.loop)))

    def on_message_begin(self) -> None:
        """A request begins."""
        self._head = 0
        super().on_message_begin()

    def on_headers_complete(self) -> None:
        """Its head has ended."""
        self._head = None
        super().on_headers_complete()

    def data_received(self, data: bytes) -> None:
        """Take what came."""
        super().data_received(data)
        if self._head is None:
            return
        self._head += len(data)
        if self._head > MAX_HEAD and not self.transport.is_closing():
            self.transport.write(_REFUSAL % (len(_PROBLEM), _PROBLEM))
            self.transport.close()
