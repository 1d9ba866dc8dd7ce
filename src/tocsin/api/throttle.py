"""Holding whoever asks too often to the limits."""

import hashlib
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import TypeAlias

from limits import RateLimitItem
from starlette.requests import Request
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from tocsin.api.addresses import neighbourhood
from tocsin.api.auth import read_credential, read_secret
from tocsin.api.problems import Refused, problem
from tocsin.api.rates import ADDRESS, READS, Rates, Verdict, read_rate, times
from tocsin.domain.errors import StoreError
from tocsin.services.sign_in import SignIn

_READS = frozenset({"GET", "HEAD", "OPTIONS"})
_READING_POSTS = frozenset({"/api/v1/schedules:preview"})
_FREE = ("/healthz", "/readyz", "/metrics", "/api/v1/demo/")
"""Whoever watches the node, and what the demonstration's jobs call, is never refused."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Known:
    """Who a key belongs to, as authentication found out."""

    id: str
    rate: RateLimitItem | None
    """A limit of its own, ``None`` for none at all."""


Identify: TypeAlias = Callable[[Scope], Awaitable[Known | None]]
"""Who makes a request; ``None`` where it has no key that is known, or none with a limit of its own.
Must be cheap: it is asked before anything is refused."""


def by_key(sign_in: SignIn) -> Identify:
    """Knows the keys that have a limit of their own, once they have worked."""

    async def identify(scope: Scope) -> Known | None:
        try:
            secret = read_secret(Request(scope))
        except Refused:
            return None
        # Others are looked up behind the limit.
        if secret is None or not sign_in.knows(secret):
            return None
        try:
            key = await sign_in.by_secret(secret)
        except StoreError:
            return None  # the gate answers that, behind the limit of all
        if key is None or key.rate_limit is None:
            return None
        return Known(id=key.id, rate=_rate_of(key.rate_limit))

    return identify


_rate_of = lru_cache(maxsize=1_024)(read_rate)


class Throttle:
    """Counts each request against the limits of its key and of its address.

    A request without a key counts against the limit of its address; one with a key against that
    of the key, and against a limit of its address that is ``ADDRESS`` times as high, so that keys
    that are made up gain nothing. Reads have a limit of their own, ``READS`` times as high, which
    each process counts by itself.
    """

    def __init__(
        self,
        app: ASGIApp,
        *,
        rates: Rates,
        writes: RateLimitItem,
        identify: Identify | None = None,
    ) -> None:
        self._app = app
        self._identify = identify
        self._rates = rates
        self._writes = writes
        self._reads = times(writes, READS)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handle one request."""
        if scope["type"] != "http" or scope["path"].startswith(_FREE):
            await self._app(scope, receive, send)
            return
        reads = scope["method"] in _READS or scope["path"] in _READING_POSTS
        verdict = await self._judge(scope, reads=reads)
        if verdict is None:
            await self._app(scope, receive, send)
            return
        fields = _fields("reads" if reads else "writes", verdict)
        if not verdict.allowed:
            answer = problem(
                429,
                "rate_limited",
                f"more than {verdict.limit:,} {'reads' if reads else 'writes'} in "
                f"{verdict.window} s; try again in {verdict.reset} s",
                headers={**fields, "Retry-After": str(verdict.reset)},
            )
            await answer(scope, receive, send)
            return

        async def send_with_fields(message: Message) -> None:
            if message["type"] == "http.response.start":
                message["headers"] = [
                    *message.get("headers", ()),
                    *((name.lower().encode(), value.encode()) for name, value in fields.items()),
                ]
            await send(message)

        await self._app(scope, receive, send_with_fields)

    async def _judge(self, scope: Scope, *, reads: bool) -> Verdict | None:
        """The verdict; ``None`` where nothing is counted."""
        known = None if self._identify is None else await self._identify(scope)
        if known is not None:
            if known.rate is None:
                return None
            own = times(known.rate, READS) if reads else known.rate
            return await self._rates.hit(
                own, f"{'r' if reads else 'w'}:i:{known.id}", shared=not reads
            )
        rate = self._reads if reads else self._writes
        kind = "r" if reads else "w"
        key, address = _key_of(scope), _address_of(scope)
        if key is None:
            return await self._rates.hit(rate, f"{kind}:a:{address}", shared=not reads)
        crowd = await self._rates.hit(times(rate, ADDRESS), f"{kind}:c:{address}", shared=not reads)
        if not crowd.allowed:
            return crowd
        return await self._rates.hit(rate, f"{kind}:k:{key}", shared=not reads)


def _fields(name: str, verdict: Verdict) -> Mapping[str, str]:
    """The header fields of draft-ietf-httpapi-ratelimit-headers-10."""
    return {
        "RateLimit-Policy": f'"{name}";q={verdict.limit};w={verdict.window}',
        "RateLimit": f'"{name}";r={verdict.remaining};t={verdict.reset}',
    }


def _key_of(scope: Scope) -> str | None:
    """A hash of the key or session that a request carries, ``None`` where it has none.

    It is what authentication looks at and nothing beside it: whatever else counted could be made up
    anew for each request.
    """
    try:
        found = read_credential(Request(scope))
    except Refused:
        return None
    if found is None:
        return None
    return hashlib.blake2b(found.encode("utf-8", "surrogatepass"), digest_size=12).hexdigest()


def _address_of(scope: Scope) -> str:
    client = scope.get("client")
    try:
        return neighbourhood(client[0] if client else "")
    except ValueError:
        return "unknown"
