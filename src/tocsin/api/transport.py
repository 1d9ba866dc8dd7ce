"""Fewer, larger writes to a connection."""

import asyncio
from collections.abc import Callable
from typing import Any

MOST_HELD = 65_536
"""Bytes that wait for the end of the turn; with more they leave at once."""


class OneWrite:
    """A transport that hands on together whatever is written within one turn of the event loop.

    The head of an answer and its body are two writes otherwise: two calls of the kernel, and over
    TLS two records. With streams the head leaves before there is a body, as without it.
    """

    def __init__(
        self,
        transport: asyncio.Transport,
        loop: asyncio.AbstractEventLoop,
        *,
        lingers: Callable[[], bool] = lambda: False,
    ) -> None:
        """``lingers`` is asked before a close; where it says so, it closes in its own time."""
        self._transport = transport
        self._lingers = lingers
        self._loop = loop
        self._held: list[bytes] = []
        self._size = 0

    def write(self, data: bytes) -> None:
        """Send data, at the end of this turn at the latest."""
        if not self._held:
            self._loop.call_soon(self._flush)
        self._held.append(data)
        self._size += len(data)
        if self._size > MOST_HELD:
            # Who writes without a pause has to learn of a full buffer.
            self._flush()

    def write_eof(self) -> None:
        """Send nothing more, after everything was sent."""
        self._flush()
        self._transport.write_eof()

    def close(self) -> None:
        """Close, after everything was sent."""
        self._flush()
        if self._transport.is_closing() or not self._lingers():
            self._transport.close()

    def abort(self) -> None:
        """Close at once."""
        self._held, self._size = [], 0
        self._transport.abort()

    def _flush(self) -> None:
        held = self._held
        if held:
            self._held, self._size = [], 0
            if self._transport.is_closing():
                return  # The client has left meanwhile, and nobody is to be told.
            self._transport.write(held[0] if len(held) == 1 else b"".join(held))

    def __getattr__(self, name: str) -> Any:
        """Everything else is the transport's."""
        return getattr(self._transport, name)
