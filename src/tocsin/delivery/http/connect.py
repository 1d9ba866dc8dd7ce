"""Opening a connection: the name, the guard, TCP, TLS."""

import asyncio
import errno
import os
import socket
import ssl
from collections.abc import Sequence
from time import perf_counter

from tocsin.delivery.http.connection import Connection, Owner
from tocsin.delivery.http.deadline import Deadlines
from tocsin.delivery.http.guard import Guard
from tocsin.delivery.http.message import CallFailed, DeadlinePassed
from tocsin.delivery.http.resolve import Resolver
from tocsin.delivery.http.tls import ResumingContext, explain
from tocsin.delivery.http.trace import Trace
from tocsin.delivery.http.url import Url

_HEAD_START = 0.25
"""Seconds after which the next address is tried beside the one before (RFC 8305, section 5)."""


class Dialer:
    """Opens connections; each failure is a `CallFailed` that says what to do."""

    def __init__(
        self,
        *,
        guard: Guard,
        resolver: Resolver,
        tls: ssl.SSLContext,
        timeout: float,
        deadlines: Deadlines,
    ) -> None:
        """``timeout`` is in seconds, for all of it: name, TCP and TLS."""
        self._guard = guard
        self._resolver = resolver
        self._tls = tls
        self._timeout = timeout
        self._deadlines = deadlines
        self._under_way: set[asyncio.Timeout] = set()
        self._none_left: asyncio.Future[None] | None = None
        self._closed = False

    async def dial(
        self,
        url: Url,
        trace: Trace,
        *,
        deadline: float,
        owner: Owner,
    ) -> Connection:
        """Return an open connection, before ``deadline`` (in the loop's time).

        Raises `CallFailed`: ``dns``, ``blocked``, ``connection``, ``tls``, ``timeout`` (then
        ``trace.phase`` says in what).  Nothing stays open after an error or a cancellation.
        """
        if self._closed:
            raise CallFailed("cancelled", "the client is closed")
        loop = asyncio.get_running_loop()
        own = loop.time() + self._timeout
        scope = asyncio.timeout_at(min(own, deadline))
        self._under_way.add(scope)
        try:
            async with scope:
                addresses = self._allowed(url, await self._addresses(url, trace))
                began = perf_counter()
                trace.phase = f"connecting to {url.place} ({', '.join(addresses)})"
                try:
                    connection = await self._first_of(loop, url, addresses, owner)
                finally:
                    trace.connect = (trace.connect or 0.0) + perf_counter() - began
                if url.tls:
                    began = perf_counter()
                    trace.phase = f"connected to {url.place}, in the TLS handshake"
                    try:
                        await self._secure(url, connection)
                    finally:
                        trace.tls = (trace.tls or 0.0) + perf_counter() - began
                return connection
        except TimeoutError:
            if self._closed:
                raise CallFailed("cancelled", "the client is closed") from None
            if own < deadline:
                raise CallFailed(
                    "timeout", f"no connection within {self._timeout:g}s: {trace.phase}"
                ) from None
            raise DeadlinePassed(trace.phase) from None
        finally:
            self._under_way.discard(scope)
            if self._none_left is not None and not self._under_way:
                self._none_left.set_result(None)
                self._none_left = None

    async def close(self) -> None:
        """End what is under way as ``cancelled``; return when no socket of it is left."""
        self._closed = True
        loop = asyncio.get_running_loop()
        for scope in self._under_way:
            if not scope.expired():
                scope.reschedule(loop.time())
        if self._under_way:
            self._none_left = loop.create_future()
            await self._none_left

    async def _addresses(self, url: Url, trace: Trace) -> Sequence[str]:
        if url.literal:
            return (url.host,)
        trace.phase = f"resolving {url.host}"
        began = perf_counter()
        try:
            addresses = await self._resolver.resolve(url.host)
        except (OSError, UnicodeError) as error:
            raise CallFailed("dns", _why_unresolved(url.host, error)) from None
        finally:
            trace.dns = (trace.dns or 0.0) + perf_counter() - began
        if not addresses:
            raise CallFailed("dns", f"the name {url.host} has no addresses")
        return addresses

    def _allowed(self, url: Url, addresses: Sequence[str]) -> Sequence[str]:
        """Drop the addresses that the guard forbids; what remains is what is connected to."""
        allowed = []
        blocked = ""
        for address in addresses:
            rule = self._guard.check(url.host, url.port, address)
            if rule is None:
                allowed.append(address)
            else:
                blocked = blocked or blocked_call(url, address, rule)
        if not allowed:
            raise CallFailed("blocked", blocked)
        return allowed

    async def _first_of(
        self,
        loop: asyncio.AbstractEventLoop,
        url: Url,
        addresses: Sequence[str],
        owner: Owner,
    ) -> Connection:
        """Connect to the addresses in order, each with a head start; the first to answer wins."""

        async def connect(address: str) -> Connection:
            connection = Connection(loop, url, address, self._deadlines, owner)
            try:
                await loop.create_connection(lambda: connection, address, url.port)
            except BaseException:
                connection.drop()
                raise
            return connection

        if len(addresses) == 1:
            try:
                return await connect(addresses[0])
            except OSError as error:
                raise CallFailed("connection", _why_refused(url, [(addresses[0], error)])) from None

        waiting = list(addresses)
        under_way: dict[asyncio.Task[Connection], str] = {}
        failed: list[tuple[str, OSError]] = []
        won: asyncio.Task[Connection] | None = None
        try:
            while won is None:
                if waiting:
                    address = waiting.pop(0)
                    under_way[loop.create_task(connect(address))] = address
                done, _ = await asyncio.wait(
                    under_way,
                    timeout=_HEAD_START if waiting else None,
                    return_when=asyncio.FIRST_COMPLETED,
                )
                for task in done:
                    broken = task.exception()
                    if broken is None:
                        won = won or task
                    elif isinstance(broken, OSError):
                        failed.append((under_way.pop(task), broken))
                    else:
                        raise broken
                if not under_way and not waiting:
                    raise CallFailed("connection", _why_refused(url, failed))
            return won.result()
        finally:
            for task in under_way:
                if task is not won:
                    task.add_done_callback(_let_go)
                    task.cancel()

    async def _secure(self, url: Url, connection: Connection) -> None:
        name = url.host.rstrip(".")
        try:
            await connection.secure(self._tls, name)
        except ssl.SSLError as error:
            if isinstance(self._tls, ResumingContext):
                self._tls.forget(name)
            raise CallFailed("tls", explain(error, url.place)) from None
        except OSError as error:
            why = os.strerror(error.errno).lower() if error.errno else "closed by the peer"
            raise CallFailed(
                "connection", f"the connection to {url.place} ended in the TLS handshake: {why}"
            ) from None


def blocked_call(url: Url, address: str, rule: str) -> str:
    """Say that the guard forbids a call."""
    at = "" if url.literal else f" ({address})"
    return f"the call to {url.place}{at} is blocked: {rule}"


def _let_go(late: asyncio.Task[Connection]) -> None:
    """Close what was connected after the race was over."""
    if not late.cancelled() and late.exception() is None:
        late.result().abort()


def _why_refused(url: Url, failed: Sequence[tuple[str, OSError]]) -> str:
    reasons = "; ".join(
        f"{_in_words(error)}" + ("" if url.literal else f" ({address})")
        for address, error in failed
    )
    return f"cannot connect to {url.place}: {reasons}"


def _in_words(error: OSError) -> str:
    number = error.errno
    if number == errno.ECONNREFUSED:
        return "connection refused, nothing listens there"
    if number in {errno.EMFILE, errno.ENFILE}:
        return "too many open files; raise the limit (ulimit -n)"
    if number == errno.EADDRNOTAVAIL:
        return "no local port is free; fewer new connections a second would help"
    return os.strerror(number).lower() if number else type(error).__name__


def _why_unresolved(host: str, error: Exception) -> str:
    if isinstance(error, socket.gaierror):
        if error.errno in {socket.EAI_NONAME, socket.EAI_NODATA}:
            return f"the name {host} does not exist; check the URL's spelling"
        if error.errno == socket.EAI_AGAIN:
            return f"the name {host} cannot be resolved now: the name server does not answer"
    return f"the name {host} cannot be resolved: {str(error) or type(error).__name__}"
