"""The server of the API: uvicorn's, with connections that are counted from the first moment.

uvicorn takes as many as come. Whoever can connect could so take all the files that the process may
have open, for which no key is needed, and then no call leaves any more. With TLS most of that goes
unseen: a connection is only told of once its handshake is done.
"""

import asyncio
import contextlib
import errno
import socket
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from ipaddress import ip_address, ip_network

import structlog
import uvicorn

from tocsin.api.addresses import neighbourhood
from tocsin.api.protocol import BoundedHttp

log = structlog.stdlib.get_logger("tocsin.api")

TICK: float = 0.9
"""Seconds between two looks at the clock, for the ``Date`` header of answers."""

HANDSHAKE_SECONDS: float = 10.0
"""How long a TLS handshake may take."""

PAUSE: float = 0.2
"""Seconds until the next try after a connection could not be taken, for want of files say."""

TOLD_EVERY = 60.0
"""Seconds between two lines in the log about connections that are not taken."""


class Server(uvicorn.Server):
    """Takes ``most`` connections at once, and half of them from one address.

    Addresses and networks in ``trusted`` are of proxies, which come on behalf of many. ``refused``
    hears of each connection that is not taken.
    """

    def __init__(
        self,
        config: uvicorn.Config,
        *,
        most: int,
        trusted: Sequence[str] = (),
        refused: Callable[[], None] = lambda: None,
    ) -> None:
        super().__init__(config)
        self._most = most
        self._each = max(1, most // 2)
        self._trusted = [ip_network(one) for one in trusted]
        self._refused = refused
        self._told_at = -TOLD_EVERY
        self._open: dict[BoundedHttp, str] = {}
        self._by_address: Counter[str] = Counter()
        self._tasks: set[asyncio.Task[None]] = set()
        self._ended = asyncio.Event()

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Leave the signals alone: the order of the shutdown is the node's."""
        yield

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Take connections on listening sockets."""
        await super().startup(sockets=[])
        for listener in sockets or ():
            listener.setblocking(False)
            self._start(asyncio.create_task(self._accept(listener), name="accept"))

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """Take no more of them, and end those that there are."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await super().shutdown(sockets)

    async def main_loop(self) -> None:
        """Keep the ``Date`` header right until ``end``, and do not look ten times a second."""
        while not await self.on_tick(0):
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(TICK):
                    await self._ended.wait()

    def end(self) -> None:
        """Take no more connections, and finish the requests that are under way."""
        self.should_exit = True
        self._ended.set()

    async def _accept(self, listener: socket.socket) -> None:
        loop = asyncio.get_running_loop()
        while True:
            try:
                connection, address = await loop.sock_accept(listener)
            except OSError as error:
                if error.errno != errno.ECONNABORTED:  # the client has left again
                    self._tell("connections.not_taken", error=str(error))
                    await asyncio.sleep(PAUSE)
                continue
            where = neighbourhood(address[0])
            if self._has_room(address[0], where):
                self._start(asyncio.create_task(self._take(connection, address[0], where)))
            else:
                connection.close()
                self._refused()
            # Others have their turn, however many come at once.
            await asyncio.sleep(0)

    def _start(self, task: asyncio.Task[None]) -> None:
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    def _has_room(self, address: str, where: str) -> bool:
        if len(self._open) >= self._most:
            self._tell("connections.full", most=self._most, setting="TOCSIN_MAX_CONNECTIONS")
            return False
        if self._by_address[where] < self._each or self._is_trusted(address):
            return True
        self._tell(
            "connections.full",
            address=address,
            most=self._each,
            remedy="a proxy that comes on behalf of many is named in TOCSIN_TRUSTED_PROXIES",
        )
        return False

    def _is_trusted(self, address: str) -> bool:
        found = ip_address(address.partition("%")[0])
        return any(found in network for network in self._trusted)

    async def _take(self, connection: socket.socket, address: str, where: str) -> None:
        protocol = BoundedHttp(
            self.config, self.server_state, self.lifespan.state, asyncio.get_running_loop()
        )
        protocol.on_lost = self._forget
        self._open[protocol] = where
        self._by_address[where] += 1
        tls = self.config.ssl
        try:
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            await asyncio.get_running_loop().connect_accepted_socket(
                lambda: protocol,
                connection,
                ssl=tls,
                ssl_handshake_timeout=None if tls is None else HANDSHAKE_SECONDS,
            )
        except OSError as error:  # errors of TLS are such ones too
            log.debug("connection.failed", address=address, error=str(error))
            connection.close()
            self._forget(protocol)
        except BaseException:
            connection.close()
            self._forget(protocol)
            raise

    def _forget(self, protocol: BoundedHttp) -> None:
        where = self._open.pop(protocol, None)
        if where is None:
            return
        self._by_address[where] -= 1
        if not self._by_address[where]:
            del self._by_address[where]

    def _tell(self, event: str, **values: object) -> None:
        now = time.monotonic()
        if now - self._told_at >= TOLD_EVERY:
            self._told_at = now
            log.warning(event, **values)
