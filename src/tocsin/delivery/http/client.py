"""The client: one call in, one outcome out."""

import asyncio
import ssl
from collections.abc import Callable, Sequence
from functools import lru_cache

from tocsin.delivery.http.answer import AnswerReader
from tocsin.delivery.http.connect import Dialer, blocked_call
from tocsin.delivery.http.connection import Connection
from tocsin.delivery.http.deadline import Deadlines
from tocsin.delivery.http.express import Express, stale
from tocsin.delivery.http.guard import Guard
from tocsin.delivery.http.message import (
    CallFailed,
    DeadlinePassed,
    HttpOutcome,
    HttpRequest,
    NotSent,
    Sending,
)
from tocsin.delivery.http.outcome import failed, outcome_of
from tocsin.delivery.http.pool import Pool
from tocsin.delivery.http.redirect import STATUSES, Step, next_step
from tocsin.delivery.http.resolve import Resolver, SystemResolver
from tocsin.delivery.http.section import text_of
from tocsin.delivery.http.tls import ResumingContext, system_context
from tocsin.delivery.http.trace import Trace
from tocsin.delivery.http.url import Url, parse_url
from tocsin.delivery.http.wire import Head, RequestWriter, end
from tocsin.domain.proxy import ProxyRules

HEADS_KEPT = 4_096
"""How many starts of requests are kept for the next call that begins like one of them."""


class HttpClient:
    """Makes HTTP/1.1 calls over pooled connections.

    One per event loop.  HTTP/2 and content encodings are not spoken.
    """

    def __init__(
        self,
        *,
        guard: Guard,
        resolver: Resolver | None = None,
        tls_context: ssl.SSLContext | None = None,
        connect_timeout: float = 10.0,
        max_connections_per_origin: int = 256,
        max_idle: int = 512,
        idle_timeout: float = 4.0,
        max_age: float = 300.0,
        user_agent: str = "tocsin",
        proxies: ProxyRules | None = None,
    ) -> None:
        """Make a client; it opens nothing yet.

        Times are in seconds.  ``connect_timeout`` bounds name, TCP, tunnel and TLS together; above
        ``max_connections_per_origin`` calls wait for one; ``max_idle`` is over all origins; a
        connection is not used for longer than ``max_age``, so that a name's new address is found.
        ``tls_context`` replaces the system's trust (`tls.ResumingContext` resumes sessions).
        """
        self._guard = guard
        self._tls = tls_context or system_context()
        self._own_resolver = None
        if resolver is None:
            resolver = self._own_resolver = SystemResolver()
        self._deadlines = Deadlines()
        self._dialer = Dialer(
            guard=guard,
            resolver=resolver,
            tls=self._tls,
            timeout=connect_timeout,
            deadlines=self._deadlines,
            proxies=proxies or ProxyRules(),
            user_agent=user_agent,
        )
        self.pool = Pool(
            per_origin=max_connections_per_origin,
            max_idle=max_idle,
            idle_timeout=idle_timeout,
            max_age=max_age,
        )
        self._per_origin = max_connections_per_origin
        self._writer = RequestWriter(user_agent)
        self._heads = lru_cache(HEADS_KEPT)(self._write_head)

    @property
    def open_connections(self) -> int:
        """How many connections are open, busy or idle."""
        return self.pool.open

    @property
    def idle_connections(self) -> int:
        """How many connections wait for a next call."""
        return self.pool.idle

    def head(self, method: str, url: str, headers: Sequence[tuple[str, str]]) -> Head:
        """Return what requests to one place with the same headers have in common.

        It is written once; the arguments are those of `HttpRequest`. Raises `CallFailed` where
        such a request cannot be sent.
        """
        return self._heads(method, url, tuple(headers))

    def _write_head(self, method: str, url: str, headers: tuple[tuple[str, str], ...]) -> Head:
        parsed = parse_url(url)
        return Head(parsed, method, self._writer.start(method, parsed, headers))

    def start(
        self,
        head: Head,
        own: bytes,
        body: bytes,
        *,
        timeout: float,
        max_body: int,
        excerpt: int,
        may_send: Callable[[], bool],
        ended: Callable[[HttpOutcome], None],
    ) -> Express | None:
        """Make a call at once, where a connection is idle that may be used for it.

        The arguments are those of `HttpRequest`; redirects are not followed. ``None``, and nothing
        was sent, where it takes more: `call` does that. ``ended`` is called once, later, unless
        the call is aborted. Raises `NotSent`.
        """
        url = head.url
        connection = self.pool.take(url.origin)
        if connection is None:
            return None
        if self._guard.check(url.host, url.port, connection.address) is not None:
            self.pool.release(connection)
            return None
        if not may_send():
            self.pool.release(connection)
            raise NotSent
        sending = Sending(
            url,
            b"".join((head.start, own, end(head.method, len(body)))),
            body,
            head.method == "HEAD",
            timeout,
            asyncio.get_running_loop().time() + timeout,
            max_body,
            excerpt,
            may_send,
            False,
        )
        call = Express(sending, connection, self, ended)
        try:
            connection.exchange(sending, call)
        except BaseException:
            call.abort()
            raise
        return call

    async def call(self, request: HttpRequest) -> HttpOutcome:
        """Make the call; whatever peer and network do is in the outcome.

        Raises `NotSent` where ``request.may_send`` says no.

        Cancelling the task closes the connection at once and raises `asyncio.CancelledError`.
        On a closed client every call ends as ``cancelled``.
        """
        trace = Trace()
        deadline = asyncio.get_running_loop().time() + request.timeout
        try:
            step = Step(
                request.method,
                parse_url(request.url),
                request.url,
                request.headers,
                request.body,
                request.confidential,
                request.confidential_body,
            )
            followed = 0
            while True:
                trace.reader = None
                sending = self._sending(step, request, deadline)
                connection = await self._exchange(sending, trace, fresh=sending.fresh)
                try:
                    status = connection.reader.status
                    if status not in STATUSES or not request.redirects:
                        return outcome_of(trace)
                    if followed == request.redirects:
                        raise CallFailed(
                            "redirect",
                            f"{step.url.place} redirects ({status}) once more, "
                            f"after {followed} redirects",
                        )
                    step = next_step(step, status, _location(connection.reader))
                    followed += 1
                finally:
                    self.pool.release(connection)
        except CallFailed as failure:
            return failed(trace, failure, request.timeout)

    def _sending(self, step: Step, request: HttpRequest, deadline: float) -> Sending:
        start = self._writer.start(
            step.method, step.url, step.headers, last=request.fresh_connection
        )
        return Sending(
            step.url,
            start + request.own.encode() + end(step.method, len(step.body)),
            step.body,
            step.method == "HEAD",
            request.timeout,
            deadline,
            request.max_body,
            request.excerpt,
            request.may_send,
            request.fresh_connection,
        )

    async def close(self) -> None:
        """Close every connection; calls under way end as ``cancelled``.

        When it returns, no socket of this client is open.
        """
        self.pool.closed = True
        await self._dialer.close()
        await self.pool.close()
        self._deadlines.close()
        if self._own_resolver is not None:
            await self._own_resolver.close()

    async def exchange_anew(
        self, sending: Sending, trace: Trace, unreached: CallFailed
    ) -> Connection:
        """As `express.Client` says."""
        trace.reader = None
        return await self._exchange(sending, trace, fresh=True, unreached=unreached)

    async def _exchange(
        self,
        sending: Sending,
        trace: Trace,
        *,
        fresh: bool,
        unreached: CallFailed | None = None,
    ) -> Connection:
        """Send one request and read its answer; the connection must then be released.

        ``unreached`` is why it was sent in vain before.
        """
        url = sending.url
        while True:
            connection = None if fresh else self.pool.take(url.origin)
            if connection is None:
                connection = await self._connect(url, fresh, sending.deadline, trace)
            try:
                if connection.used:
                    rule = self._guard.check(url.host, url.port, connection.address)
                    if rule is not None:
                        raise CallFailed("blocked", blocked_call(url, connection.address, rule))
                if (unreached or not trace.written) and not sending.may_send():
                    # Connecting anew took its time, too; what was written at first is told of.
                    raise unreached or NotSent
                trace.write_on(connection)
                answered: asyncio.Future[None] = asyncio.get_running_loop().create_future()
                connection.exchange(sending, answered)
                await answered
            except BaseException as failure:
                connection.abort()
                self.pool.release(connection)
                if not isinstance(failure, CallFailed):
                    raise
                if stale(connection, failure):
                    fresh, unreached = True, failure
                    continue
                raise
            if connection.used == 1 and isinstance(self._tls, ResumingContext):
                tls = connection.tls
                if tls is not None:
                    self._tls.remember(tls)
            if sending.fresh:
                connection.abort()  # the peer was asked to close it as well
            return connection

    async def _connect(self, url: Url, fresh: bool, deadline: float, trace: Trace) -> Connection:
        """Wait for a place, and open a connection; or get one that has become idle."""
        while not self.pool.place(url.origin, fresh=fresh):
            try:
                async with asyncio.timeout_at(deadline):
                    idle = await self.pool.wait(url.origin, fresh=fresh)
            except TimeoutError:
                raise DeadlinePassed(
                    f"waiting for a free connection to {url.place} ({self._per_origin} are in use)"
                ) from None
            if idle is None:
                break
            if not idle.lost:
                return idle
            self.pool.release(idle)
        try:
            connection = await self._dialer.dial(url, trace, deadline=deadline, owner=self.pool)
        except BaseException:
            self.pool.give_back(url.origin)
            raise
        if self.pool.closed:
            connection.abort()
        if connection.lost:
            self.pool.release(connection)
            if self.pool.closed:
                raise CallFailed("cancelled", "the client is closed")
            if connection.reader.surplus:
                raise CallFailed("protocol", f"{url.place} speaks before it is asked: not HTTP")
            raise CallFailed(
                "connection", f"{url.place} closed the connection before the request was sent"
            )
        return connection


def _location(reader: AnswerReader) -> str | None:
    value = reader.header(b"location")
    return None if value is None else text_of(value)
