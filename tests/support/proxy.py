"""A TCP proxy that makes a network bad: between one node and its database, say.

Bytes of a stream cannot be left out, and a lost packet is not: TCP sends it again, later. So what
is *lost* here comes late, and everything behind it too; what is *cut off* comes when the network is
back, or never.
"""

import asyncio
import contextlib
import random
import socket
import struct
import threading
from collections.abc import Coroutine
from typing import Any, TypeVar

T = TypeVar("T")

CHUNK = 65_536
RETRANSMIT = 0.2
"""Seconds until a lost packet is sent again: TCP's shortest time-out on Linux."""


class Proxy:
    """Forwards connections to a local port, in a thread; ends with ``close``."""

    def __init__(self, target: int, *, seed: int = 0) -> None:
        self._target = target
        self._dice = random.Random(seed)
        self._delay = 0.0
        self._jitter = 0.0
        self._loss = 0.0
        self._links: set[_Link] = set()
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)
        self._thread.start()
        self._open = asyncio.Event()
        self._open.set()
        self.connections = 0
        """How many were ever made through it."""
        self.port: int = self._run(self._listen())

    # --- what is wrong with the network

    def worsen(self, *, delay: float = 0.0, jitter: float = 0.0, loss: float = 0.0) -> None:
        """From now on each chunk takes so many seconds, and so many more at random, and is lost
        with this probability; each connection keeps its order. Without arguments: all is well."""
        self._delay, self._jitter, self._loss = delay, jitter, loss

    def hold(self) -> None:
        """Cut the network: nothing gets through, in either direction, and nobody is told."""
        self._loop.call_soon_threadsafe(self._open.clear)

    def release(self) -> None:
        """Mend it: what was on its way arrives."""
        self._loop.call_soon_threadsafe(self._open.set)

    def reset(self) -> int:
        """Break all connections off, as a firewall does that has forgotten them; how many."""

        async def abort() -> int:
            links = tuple(self._links)
            for link in links:
                link.abort()
            return len(links)

        return self._run(abort())

    def close(self) -> None:
        """End everything."""
        if self._thread.is_alive():
            self.reset()

            async def finish() -> None:
                self._server.close()
                others = asyncio.all_tasks() - {asyncio.current_task()}
                for task in others:
                    task.cancel()
                await asyncio.gather(*others, return_exceptions=True)

            self._run(finish())
            self._loop.call_soon_threadsafe(self._loop.stop)
            self._thread.join(10)
            self._loop.close()

    # --- forwarding

    def _run(self, work: Coroutine[Any, Any, T]) -> T:
        return asyncio.run_coroutine_threadsafe(work, self._loop).result(30)

    async def _listen(self) -> int:
        self._server = await asyncio.start_server(self._accept, "127.0.0.1", 0)
        return int(self._server.sockets[0].getsockname()[1])

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        await self._open.wait()
        try:
            far_reader, far_writer = await asyncio.open_connection("127.0.0.1", self._target)
        except OSError:
            writer.close()
            return
        link = _Link(writer, far_writer)
        self._links.add(link)
        try:
            await asyncio.gather(
                self._forward(reader, far_writer), self._forward(far_reader, writer)
            )
        finally:
            self._links.discard(link)
            link.abort()

    async def _forward(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(OSError):
            while data := await reader.read(CHUNK):
                pause = self._delay + self._jitter * self._dice.random()
                again = RETRANSMIT
                while self._dice.random() < self._loss:
                    pause += again
                    again *= 2
                if pause:
                    await asyncio.sleep(pause)
                await self._open.wait()
                writer.write(data)
                await writer.drain()
            await self._open.wait()
        with contextlib.suppress(OSError, RuntimeError):
            writer.close()


class _Link:
    """Both ends of one forwarded connection."""

    def __init__(self, near: asyncio.StreamWriter, far: asyncio.StreamWriter) -> None:
        self._ends = (near, far)

    def abort(self) -> None:
        """Send a reset to both."""
        for end in self._ends:
            sock = end.get_extra_info("socket")
            if sock is not None:
                with contextlib.suppress(OSError):
                    sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            end.transport.abort()
