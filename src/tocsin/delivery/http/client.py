"""The client: one call in, one outcome out."""

import asyncio
import ssl
from time import perf_counter

from tocsin.delivery.http.answer import AnswerReader
from tocsin.delivery.http.connect import Dialer, blocked_call
from tocsin.delivery.http.connection import Connection
from tocsin.delivery.http.deadline import Deadlines
from tocsin.delivery.http.excerpt import readable
from tocsin.delivery.http.guard import Guard
from tocsin.delivery.http.message import (
    CallFailed,
    DeadlinePassed,
    FailureKind,
    HttpOutcome,
    HttpRequest,
    NotSent,
    Timings,
)
from tocsin.delivery.http.pool import Pool
from tocsin.delivery.http.redirect import STATUSES, Step, next_step
from tocsin.delivery.http.resolve import Resolver, SystemResolver
from tocsin.delivery.http.tls import ResumingContext, system_context
from tocsin.delivery.http.trace import Trace
from tocsin.delivery.http.url import Url, parse_url
from tocsin.delivery.http.wire import RequestWriter

# The longest that is kept of an answer's headers, in characters.
_MAX_CONTENT_TYPE, _MAX_LOCATION, _MAX_RETRY_AFTER = 200, 2000, 100


class HttpClient:
    """Makes HTTP/1.1 calls over pooled connections.

    One per event loop.  Proxies, HTTP/2 and content encodings are not spoken.
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
        idle_timeout: float = 15.0,
        max_age: float = 300.0,
        user_agent: str = "tocsin",
    ) -> None:
        """Make a client; it opens nothing yet.

        Times are in seconds.  ``connect_timeout`` bounds name, TCP and TLS together; above
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
        )
        self._pool = Pool(
            per_origin=max_connections_per_origin,
            max_idle=max_idle,
            idle_timeout=idle_timeout,
            max_age=max_age,
        )
        self._per_origin = max_connections_per_origin
        self._writer = RequestWriter(user_agent)

    @property
    def open_connections(self) -> int:
        """How many connections are open, busy or idle."""
        return self._pool.open

    @property
    def idle_connections(self) -> int:
        """How many connections wait for a next call."""
        return self._pool.idle

    async def call(self, request: HttpRequest) -> HttpOutcome:
        """Make the call; whatever peer and network do is in the outcome.

        Raises `NotSent` where ``request.may_send`` says no.

        Cancelling the task closes the connection at once and raises `asyncio.CancelledError`.
        On a closed client every call ends as ``cancelled``.
        """
        began = perf_counter()
        trace = Trace()
        deadline = asyncio.get_running_loop().time() + request.timeout
        try:
            step = Step(
                request.method, parse_url(request.url), request.url, request.headers, request.body
            )
            followed = 0
            while True:
                connection = await self._exchange(step, request, deadline, trace)
                try:
                    status = connection.reader.status
                    if status not in STATUSES or not request.redirects:
                        return _outcome(trace, began)
                    if followed == request.redirects:
                        raise CallFailed(
                            "redirect",
                            f"{step.url.place} redirects ({status}) once more, "
                            f"after {followed} redirects",
                        )
                    step = next_step(step, status, _location(connection.reader))
                    followed += 1
                finally:
                    self._pool.release(connection)
        except DeadlinePassed as passed:
            return _outcome(
                trace, began, "timeout", f"no answer within {request.timeout:g}s: {passed.reason}"
            )
        except CallFailed as failure:
            return _outcome(trace, began, failure.kind, failure.reason)

    async def close(self) -> None:
        """Close every connection; calls under way end as ``cancelled``.

        When it returns, no socket of this client is open.
        """
        self._pool.closed = True
        await self._dialer.close()
        await self._pool.close()
        self._deadlines.close()
        if self._own_resolver is not None:
            await self._own_resolver.close()

    async def _exchange(
        self, step: Step, request: HttpRequest, deadline: float, trace: Trace
    ) -> Connection:
        """Send one request and read its answer; the connection must then be released."""
        url = step.url
        fresh = request.fresh_connection
        trace.reader = None
        head = self._writer.head(
            step.method, url, step.headers, len(step.body), last=request.fresh_connection
        )
        while True:
            connection = None if fresh else self._pool.take(url.origin)
            if connection is None:
                connection = await self._connect(url, fresh, deadline, trace)
            again = connection.used > 0
            try:
                if again:
                    rule = self._guard.check(url.host, url.port, connection.address)
                    if rule is not None:
                        raise CallFailed("blocked", blocked_call(url, connection.address, rule))
                if not trace.written and not request.may_send():
                    raise NotSent
                trace.reader = connection.reader
                trace.written = True
                trace.written_at = perf_counter()
                await connection.exchange(
                    head,
                    step.body,
                    deadline=deadline,
                    to_head=step.method == "HEAD",
                    max_body=request.max_body,
                    excerpt=request.excerpt,
                )
            except BaseException as failure:
                connection.abort()
                self._pool.release(connection)
                if not isinstance(failure, CallFailed):
                    raise
                # The peer closed an idle connection while the request was on its way. It is sent
                # once more; to a peer that died over it, that is one delivery too many, which
                # at-least-once allows.
                if again and failure.kind == "connection" and not connection.reader.first_byte_at:
                    fresh = True
                    continue
                raise
            if connection.used == 1 and isinstance(self._tls, ResumingContext):
                tls = connection.tls
                if tls is not None:
                    self._tls.remember(tls)
            if request.fresh_connection:
                connection.abort()  # the peer was asked to close it as well
            return connection

    async def _connect(self, url: Url, fresh: bool, deadline: float, trace: Trace) -> Connection:
        """Wait for a place, and open a connection; or get one that has become idle."""
        while not self._pool.place(url.origin, fresh=fresh):
            try:
                async with asyncio.timeout_at(deadline):
                    idle = await self._pool.wait(url.origin, fresh=fresh)
            except TimeoutError:
                raise DeadlinePassed(
                    f"waiting for a free connection to {url.place} ({self._per_origin} are in use)"
                ) from None
            if idle is None:
                break
            if not idle.lost:
                return idle
            self._pool.release(idle)
        try:
            connection = await self._dialer.dial(url, trace, deadline=deadline, owner=self._pool)
        except BaseException:
            self._pool.give_back(url.origin)
            raise
        if self._pool.closed:
            connection.abort()
        if connection.lost:
            self._pool.release(connection)
            if self._pool.closed:
                raise CallFailed("cancelled", "the client is closed")
            if connection.reader.surplus:
                raise CallFailed("protocol", f"{url.place} speaks before it is asked: not HTTP")
            raise CallFailed(
                "connection", f"{url.place} closed the connection before the request was sent"
            )
        return connection


def _outcome(
    trace: Trace, began: float, kind: FailureKind | None = None, error: str | None = None
) -> HttpOutcome:
    total = (perf_counter() - began) * 1000
    reader = trace.reader
    first_byte = None
    content_type = location = retry_after = None
    status = None
    text = ""
    truncated = False
    if reader is not None and reader.first_byte_at:
        first_byte = (reader.first_byte_at - trace.written_at) * 1000
        if reader.status >= 200:
            status = reader.status
            encoding = None
            for name, value in reader.headers:
                match name.lower():
                    case b"content-type":
                        content_type = content_type or _text(value)[:_MAX_CONTENT_TYPE]
                    case b"content-encoding":
                        encoding = _text(value)
                    case b"location":
                        location = _text(value)[:_MAX_LOCATION]
                    case b"retry-after":
                        retry_after = _text(value)[:_MAX_RETRY_AFTER]
            body = reader.body
            truncated = reader.size > len(body)
            text = readable(
                body,
                content_type=content_type,
                encoding=encoding,
                size=reader.size,
                truncated=truncated,
            )
    return HttpOutcome(
        status=status,
        content_type=content_type,
        location=location,
        retry_after=retry_after,
        excerpt=text,
        truncated=truncated,
        error_kind=kind,
        error=error,
        request_written=trace.written,
        timings=Timings(
            dns_ms=_ms(trace.dns),
            connect_ms=_ms(trace.connect),
            tls_ms=_ms(trace.tls),
            first_byte_ms=first_byte,
            total_ms=total,
        ),
    )


def _location(reader: AnswerReader) -> str | None:
    value = reader.header(b"location")
    return None if value is None else _text(value)


def _ms(seconds: float | None) -> float | None:
    return None if seconds is None else seconds * 1000


def _text(value: bytes) -> str:
    """Decode a header's value; most are ASCII, some are UTF-8, any byte is Latin-1."""
    try:
        return value.decode()
    except UnicodeDecodeError:
        return value.decode("latin-1")
