"""How often somebody may ask: counted here, or in Redis for all nodes together."""

import asyncio
import math
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import TypeVar

import structlog
from limits import RateLimitItem, RateLimitItemPerMinute, parse
from limits.aio.storage import MemoryStorage, RedisStorage
from limits.aio.strategies import SlidingWindowCounterRateLimiter
from redis.asyncio import ConnectionPool

log = structlog.stdlib.get_logger("tocsin.api")

T = TypeVar("T")

OFF = "off"

REDIS_TIMEOUT = 0.5
"""Seconds that Redis has to answer; a request is not held up for longer."""

REDIS_PAUSE = 5.0
"""Seconds that this process counts by itself after Redis did not answer."""

READS = 20
"""How many times as often somebody may read as write."""

FAILURES = RateLimitItemPerMinute(10)
"""Keys that do not work, by address: as many as ``guesses`` lets pass in one process."""

PARTS = 64
"""Into how many storages those who ask are spread."""

ADDRESS = 10
"""How many times as many requests with keys may come from one address as with one key."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Verdict:
    """Whether a request is within a limit, and what is left of it."""

    allowed: bool
    limit: int
    """Requests in a window."""
    window: int
    """Its length in seconds."""
    remaining: int
    reset: int
    """Seconds until there is room for more again."""


def read_rate(text: str) -> RateLimitItem | None:
    """A rate such as ``100/minute``, ``5 per second`` or ``1000/2 hours``; ``None`` for ``off``.

    Raises ``ValueError`` for what is neither.
    """
    word = text.strip().lower()
    if word == OFF:
        return None
    try:
        item = parse(word)
    except ValueError:
        item = None
    if item is None or item.amount < 1 or item.get_expiry() < 1:
        raise ValueError(f"{text!r} is not a rate such as 100/minute, or off")
    return item


class Rates:
    """Counts requests by who makes them.

    With Redis the counts are those of all nodes; where it does not answer each process counts by
    itself for a while, and nobody is refused for it.
    """

    def __init__(self, *, redis: str | None = None, prefix: str = "tocsin") -> None:
        """``redis`` is a URL: ``redis://…`` or, with TLS, ``rediss://…``."""
        # With each hit a storage looks through all that it holds for what has expired.
        self._local = [SlidingWindowCounterRateLimiter(MemoryStorage()) for _ in range(PARTS)]
        self._shared: SlidingWindowCounterRateLimiter | None = None
        self._pool: ConnectionPool | None = None
        self._alone_until = 0.0
        self._lost = False
        if redis is not None:
            self._pool = ConnectionPool.from_url(
                redis, socket_timeout=REDIS_TIMEOUT, socket_connect_timeout=REDIS_TIMEOUT
            )
            storage = RedisStorage(
                f"async+{redis}",
                implementation="redispy",
                key_prefix=f"{prefix}:rates",
                connection_pool=self._pool,  # type: ignore[arg-type]  # as its documentation says
            )
            self._shared = SlidingWindowCounterRateLimiter(storage)

    @property
    def shared(self) -> bool:
        """Whether there is a Redis, be it away or not."""
        return self._shared is not None

    async def hit(self, rate: RateLimitItem, who: str, *, shared: bool = True) -> Verdict:
        """Count a request; ``shared`` ones over all nodes."""
        if shared:
            verdict = await self._ask(lambda limiter: _hit(limiter, rate, who))
            if verdict is not None:
                return verdict
        return await _hit(self._local[hash(who) % PARTS], rate, who)

    async def failed(self, address: str) -> None:
        """Count a key that does not work over all nodes; nothing without a Redis."""
        await self._ask(lambda limiter: limiter.hit(FAILURES, f"f:{address}"))

    async def wait(self, address: str) -> int:
        """Seconds until an address has room for another failure on some node; 0: now."""

        async def look(limiter: SlidingWindowCounterRateLimiter) -> int:
            if await limiter.test(FAILURES, f"f:{address}"):
                return 0
            stats = await limiter.get_window_stats(FAILURES, f"f:{address}")
            return max(1, math.ceil(stats.reset_time - time.time()))

        return await self._ask(look) or 0

    async def _ask(
        self, what: Callable[[SlidingWindowCounterRateLimiter], Awaitable[T]]
    ) -> T | None:
        """What Redis says; ``None`` where there is none, or it is away."""
        if self._shared is None or time.monotonic() < self._alone_until:
            return None
        try:
            async with asyncio.timeout(REDIS_TIMEOUT):
                found = await what(self._shared)
        except Exception as error:  # noqa: BLE001  # whatever it is, Redis is of no use now
            self._alone_until = time.monotonic() + REDIS_PAUSE
            if not self._lost:
                log.warning(
                    "redis.lost",
                    what="rate limits",
                    error=str(error) or type(error).__name__,
                    remedy="each process counts by itself until Redis answers again",
                )
            self._lost = True
            return None
        if self._lost:
            log.info("redis.back", what="rate limits")
        self._lost = False
        return found

    async def close(self) -> None:
        """Let go of the connections to Redis."""
        if self._pool is not None:
            await self._pool.disconnect()


async def _hit(limiter: SlidingWindowCounterRateLimiter, rate: RateLimitItem, who: str) -> Verdict:
    allowed = await limiter.hit(rate, who)
    stats = await limiter.get_window_stats(rate, who)
    return Verdict(
        allowed=allowed,
        limit=rate.amount,
        window=rate.get_expiry(),
        remaining=stats.remaining if allowed else 0,
        reset=max(1, math.ceil(stats.reset_time - time.time())),
    )


def times(rate: RateLimitItem, factor: int) -> RateLimitItem:
    """The rate, so many times as high."""
    return type(rate)(rate.amount * factor, rate.multiples, rate.namespace)
