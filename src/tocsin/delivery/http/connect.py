"""Opening a connection: the name, the guard, TCP, perhaps a proxy's tunnel, TLS."""

import asyncio
import errno
import os
import socket
import ssl
from collections.abc import Sequence
from time import perf_counter
from typing import TypeAlias

from tocsin.delivery.http.answer import KnownAnswers
from tocsin.delivery.http.connection import Connection, Owner
from tocsin.delivery.http.deadline import Deadlines
from tocsin.delivery.http.guard import Guard
from tocsin.delivery.http.message import CallFailed, DeadlinePassed
from tocsin.delivery.http.resolve import Resolver
from tocsin.delivery.http.tls import ResumingContext, explain
from tocsin.delivery.http.trace import Opening, Trace
from tocsin.delivery.http.tunnel import open_tunnel
from tocsin.delivery.http.url import Url
from tocsin.domain.networks import literal_address
from tocsin.domain.proxy import Proxy, ProxyRules

Place: TypeAlias = Url | Proxy
"""Whose address is connected to."""
Opened: TypeAlias = tuple[asyncio.Transport, Connection]

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
        proxies: ProxyRules,
        user_agent: str,
    ) -> None:
        """``timeout`` is in seconds, for all of it: name, TCP, tunnel and TLS."""
        self._guard = guard
        self._proxies = proxies
        self._user_agent = user_agent
        self._resolver = resolver
        self._tls = tls
        self._timeout = timeout
        self._deadlines = deadlines
        self._known = KnownAnswers()
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
        ``trace.opening.phase`` says in what).  Nothing stays open after an error or a cancellation.
        """
        if self._closed:
            raise CallFailed("cancelled", "the client is closed")
        loop = asyncio.get_running_loop()
        own = loop.time() + self._timeout
        opening = trace.opening = trace.opening or Opening()
        scope = asyncio.timeout_at(min(own, deadline))
        self._under_way.add(scope)
        try:
            async with scope:
                proxy = self._proxies.of(url.host, url.port)
                if proxy is None:
                    addresses = self._allowed(url, await self._addresses(url, opening))
                else:
                    self._check_unresolved(url)
                    addresses = await self._addresses(proxy, opening)
                place = proxy or url
                began = perf_counter()
                opening.phase = f"connecting to {place.place} ({', '.join(addresses)})"
                try:
                    transport, connection = await self._first_of(url, proxy, addresses, owner)
                finally:
                    opening.connect = (opening.connect or 0.0) + perf_counter() - began
                if proxy is not None:
                    began = perf_counter()
                    opening.phase = f"waiting for {proxy.place} to connect to {url.place}"
                    try:
                        await open_tunnel(transport, connection, url, proxy, self._user_agent)
                    finally:
                        opening.proxy = (opening.proxy or 0.0) + perf_counter() - began
                if url.tls:
                    began = perf_counter()
                    opening.phase = f"connected to {url.place}, in the TLS handshake"
                    try:
                        await self._secure(url, connection)
                    finally:
                        opening.tls = (opening.tls or 0.0) + perf_counter() - began
                return connection
        except TimeoutError:
            if self._closed:
                raise CallFailed("cancelled", "the client is closed") from None
            if own < deadline:
                raise CallFailed(
                    "timeout", f"no connection within {self._timeout:g}s: {opening.phase}"
                ) from None
            raise DeadlinePassed(opening.phase) from None
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

    async def _addresses(self, place: Place, opening: Opening) -> Sequence[str]:
        if place.literal:
            return (place.host,)
        opening.phase = f"resolving {place.host}"
        began = perf_counter()
        try:
            addresses = await self._resolver.resolve(place.host)
        except (OSError, UnicodeError) as error:
            raise CallFailed("dns", _why_unresolved(place, error)) from None
        finally:
            opening.dns = (opening.dns or 0.0) + perf_counter() - began
        if not addresses:
            raise CallFailed("dns", f"the name {place.host} has no addresses")
        return addresses

    def _check_unresolved(self, url: Url) -> None:
        """Ask the guard about a target that a proxy connects to: about its name, or its address.

        The proxy itself is the operator's choice, and nothing that a job could lead to.
        """
        address = _address_beyond(url)
        rule = self._guard.check(url.host, url.port, address)
        if rule is not None:
            raise CallFailed("blocked", blocked_call(url, address, rule))

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
        self, url: Url, proxy: Proxy | None, addresses: Sequence[str], owner: Owner
    ) -> Opened:
        """Connect to the addresses in order, each with a head start; the first to answer wins."""
        loop = asyncio.get_running_loop()
        place = proxy or url

        async def connect(address: str) -> Opened:
            beyond = address if proxy is None else _address_beyond(url)
            connection = Connection(loop, url, beyond, self._deadlines, owner, known=self._known)
            if proxy is not None:
                connection.place = f"{url.place} (through {proxy.place})"
            try:
                transport, _ = await loop.create_connection(lambda: connection, address, place.port)
            except BaseException:
                connection.drop()
                raise
            return transport, connection

        if len(addresses) == 1:
            try:
                return await connect(addresses[0])
            except OSError as error:
                failure = _why_refused(place, [(addresses[0], error)])
                raise CallFailed("connection", failure) from None

        waiting = list(addresses)
        under_way: dict[asyncio.Task[Opened], str] = {}
        failed: list[tuple[str, OSError]] = []
        won: asyncio.Task[Opened] | None = None
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
                    raise CallFailed("connection", _why_refused(place, failed))
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
            raise CallFailed("tls", explain(error, connection.place)) from None
        except OSError as error:
            why = os.strerror(error.errno).lower() if error.errno else "closed by the peer"
            raise CallFailed(
                "connection",
                f"the connection to {connection.place} ended in the TLS handshake: {why}",
            ) from None


def blocked_call(url: Url, address: str, rule: str) -> str:
    """Say that the guard forbids a call."""
    at = "" if url.literal or not address else f" ({address})"
    return f"the call to {url.place}{at} is blocked: {rule}"


def _address_beyond(url: Url) -> str:
    """The address that a proxy is asked to connect to; empty for a name, which it resolves."""
    address = literal_address(url.host)
    return "" if address is None else str(address)


def _let_go(late: asyncio.Task[Opened]) -> None:
    """Close what was connected after the race was over."""
    if not late.cancelled() and late.exception() is None:
        late.result()[1].abort()


def _why_refused(place: Place, failed: Sequence[tuple[str, OSError]]) -> str:
    reasons = "; ".join(
        f"{_in_words(error)}" + ("" if place.literal else f" ({address})")
        for address, error in failed
    )
    return f"cannot connect to {place.place}: {reasons}"


def _in_words(error: OSError) -> str:
    number = error.errno
    if number == errno.ECONNREFUSED:
        return "connection refused, nothing listens there"
    if number in {errno.EMFILE, errno.ENFILE}:
        return "too many open files; raise the limit (ulimit -n)"
    if number == errno.EADDRNOTAVAIL:
        return "no local port is free; fewer new connections a second would help"
    return os.strerror(number).lower() if number else type(error).__name__


def _why_unresolved(place: Place, error: Exception) -> str:
    host = place.host
    if isinstance(place, Proxy):
        name, remedy = f"the name of the proxy, {host},", "check TOCSIN_PROXY"
    else:
        name, remedy = f"the name {host}", "check the URL's spelling"
    if isinstance(error, socket.gaierror):
        if error.errno in {socket.EAI_NONAME, socket.EAI_NODATA}:
            return f"{name} does not exist; {remedy}"
        if error.errno == socket.EAI_AGAIN:
            return f"{name} cannot be resolved now: the name server does not answer"
    return f"{name} cannot be resolved: {str(error) or type(error).__name__}"
