"""How often somebody may ask: counted here, or in Redis for all nodes together."""

import asyncio
import math
import time
from dataclasses import dataclass

import structlog
from limits import RateLimitItem, parse
from limits.aio.storage import MemoryStorage, RedisStorage
from limits.aio.strategies import SlidingWindowCounterRateLimiter
from redis.asyncio import ConnectionPool

log = structlog.stdlib.get_logger("tocsin.api")

OFF = "off"

REDIS_TIMEOUT = 0.5
"""Seconds that Redis has to answer; a request is not held up for longer."""

REDIS_PAUSE = 5.0
"""Seconds that this process counts by itself after Redis did not answer."""

READS = 20
"""How many times as often somebody may read as write."""

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

    async def hit(self, rate: RateLimitItem, who: str, *, shared: bool = True) -> Verdict:
        """Count a request; ``shared`` ones over all nodes."""
        if shared and self._shared is not None and time.monotonic() >= self._alone_until:
            try:
                async with asyncio.timeout(REDIS_TIMEOUT):
                    verdict = await _hit(self._shared, rate, who)
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
            else:
                if self._lost:
                    log.info("redis.back", what="rate limits")
                self._lost = False
                return verdict
        return await _hit(self._local[hash(who) % PARTS], rate, who)

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
