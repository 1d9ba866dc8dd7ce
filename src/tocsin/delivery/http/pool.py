"""The connections of a client: how many there may be, and which waits idle for whom."""

import asyncio
from collections import deque
from time import monotonic

from tocsin.delivery.http.connection import Connection


class _Origin:
    """What the pool knows of one scheme, host and port."""

    __slots__ = ("idle", "places", "waiting")

    def __init__(self) -> None:
        self.idle: list[Connection] = []
        """The last one used at the end, and used first: the others get old and are closed."""
        self.places = 0
        """Taken by connections that are open or being opened; idle ones included."""
        self.waiting: deque[tuple[asyncio.Future[Connection | None], bool]] = deque()


class Pool:
    """Lends connections, one request at a time each.

    A *place* is the right to have one more connection to an origin.  What `take`, `place` and
    `wait` gave goes back once: a connection by `release`, a place that has none by `give_back`.
    """

    def __init__(
        self, *, per_origin: int, max_idle: int, idle_timeout: float, max_age: float
    ) -> None:
        """Times are in seconds."""
        self._per_origin = per_origin
        self._max_idle = max_idle
        self._idle_timeout = idle_timeout
        self._max_age = max_age
        self._origins: dict[str, _Origin] = {}
        # All idle connections, the longest idle first: next to expire, first to be evicted. (To
        # take from it and to put into it costs half of what it does with an OrderedDict.)
        self._idle: dict[Connection, float] = {}
        self._open: set[Connection] = set()
        self._sweeper: asyncio.TimerHandle | None = None
        self._all_lost: asyncio.Future[None] | None = None
        self.closed = False

    @property
    def open(self) -> int:
        """How many connections are open, busy or idle."""
        return len(self._open)

    @property
    def idle(self) -> int:
        """How many of them are idle."""
        return len(self._idle)

    def take(self, key: str) -> Connection | None:
        """Return the connection to the origin that was idle for the shortest time."""
        origin = self._origins.get(key)
        if origin is None:
            return None
        while origin.idle:
            connection = origin.idle.pop()
            del self._idle[connection]
            if not connection.lost:
                return connection
            self._close(connection)
        return None

    def place(self, key: str, *, fresh: bool) -> bool:
        """Take a place for one more connection, if there is one.

        For a ``fresh`` one, an idle connection makes room.
        """
        origin = self._origins.get(key)
        if origin is None:
            origin = self._origins[key] = _Origin()
        if origin.places < self._per_origin:
            origin.places += 1
            return True
        if fresh and origin.idle:
            origin.places += 1
            self._retire(origin.idle[0])
            return True
        return False

    async def wait(self, key: str, *, fresh: bool) -> Connection | None:
        """Wait, after `place` was refused, for a place (``None``) or for a connection.

        ``fresh`` always gets a place.
        """
        waiter: asyncio.Future[Connection | None] = asyncio.get_running_loop().create_future()
        self._origins[key].waiting.append((waiter, fresh))
        try:
            return await waiter
        except BaseException:
            # It may have been served in the very moment in which it gave up.
            if waiter.done() and not waiter.cancelled():
                connection = waiter.result()
                if connection is None:
                    self.give_back(key)
                else:
                    self.release(connection)
            raise

    def opened(self, connection: Connection) -> None:
        """Hear that a connection is open."""
        self._open.add(connection)

    def give_back(self, key: str) -> None:
        """Return a place whose connection did not come to be, or is gone."""
        origin = self._origins[key]
        origin.places -= 1
        while origin.waiting:
            waiter, _ = origin.waiting.popleft()
            if not waiter.done():
                origin.places += 1
                waiter.set_result(None)
                return
        if not origin.places:
            del self._origins[key]

    def release(self, connection: Connection) -> None:
        """Take a connection back; it is kept only if the next request may use it."""
        now = monotonic()
        if self.closed or not connection.reusable or now - connection.opened_at > self._max_age:
            self._close(connection)
            return
        origin = self._origins[connection.origin]
        while origin.waiting:
            waiter, fresh = origin.waiting.popleft()
            if not waiter.done():
                if fresh:
                    connection.abort()
                    waiter.set_result(None)
                else:
                    waiter.set_result(connection)
                return
        if not self._max_idle:
            self._close(connection)
            return
        if len(self._idle) >= self._max_idle:
            self._retire(next(iter(self._idle)))
        origin.idle.append(connection)
        self._idle[connection] = now + self._idle_timeout
        if self._sweeper is None:
            self._arm(self._idle_timeout)

    def lost(self, connection: Connection) -> None:
        """Hear that a connection is gone; while it is lent, its borrower hears it too."""
        self._open.discard(connection)
        if connection in self._idle:
            self._retire(connection)
        if not self._open and self._all_lost is not None and not self._all_lost.done():
            self._all_lost.set_result(None)

    async def close(self) -> None:
        """Close every connection, and return when the last is gone; nothing more may be opened."""
        self.closed = True
        if self._sweeper is not None:
            self._sweeper.cancel()
            self._sweeper = None
        for connection in list(self._idle):
            self._retire(connection)
        for connection in list(self._open):
            connection.close()
        if self._open:
            self._all_lost = asyncio.get_running_loop().create_future()
            await self._all_lost

    def _close(self, connection: Connection) -> None:
        connection.abort()
        self.give_back(connection.origin)

    def _retire(self, connection: Connection) -> None:
        """Close an idle connection."""
        del self._idle[connection]
        self._origins[connection.origin].idle.remove(connection)
        self._close(connection)

    def _arm(self, delay: float) -> None:
        self._sweeper = asyncio.get_running_loop().call_later(delay, self._sweep)

    def _sweep(self) -> None:
        self._sweeper = None
        now = monotonic()
        while self._idle:
            connection, expiry = next(iter(self._idle.items()))
            if expiry > now:
                self._arm(expiry - now + 0.01)
                return
            self._retire(connection)
