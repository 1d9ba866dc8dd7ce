"""Messages between nodes through Redis, while there is one, and by another way while it is away.

They are hints, whichever way they take: what is lost is found by polling.
"""

import asyncio
from collections.abc import Callable
from typing import Any

import structlog
from redis.asyncio import Redis

from tocsin.engine.relay import Transport

log = structlog.stdlib.get_logger("tocsin.news")

PAUSE = 1.0
"""Seconds between two tries to connect."""

ANSWER_WITHIN = 1.0
"""Seconds that Redis has for a message, or for a connection."""

PING_EVERY = 5.0
SILENT_FOR = 15.0
"""Seconds without a word after which a connection is taken for dead."""


class RedisNews:
    """Sends messages to all nodes that use a Redis, and receives theirs and its own.

    ``receive`` is given each message, in the event loop; ``missed`` is told when some may have
    been lost. Without Redis messages take the way of ``fallback``, which is listened to by others
    all the time.
    """

    def __init__(self, url: str, *, channel: str, fallback: Transport) -> None:
        self._client: Redis = Redis.from_url(
            url, socket_connect_timeout=ANSWER_WITHIN, socket_timeout=None, retry=None
        )
        self._channel = channel
        self._fallback = fallback
        self._listening: asyncio.Task[None] | None = None
        self._said_lost = False
        self.up = False
        """Whether it is connected now."""
        self.receive: Callable[[bytes], None] = lambda _message: None
        self.missed: Callable[[], None] = lambda: None

    async def start(self) -> None:
        """Begin to listen; a server that is away is waited for."""
        self._listening = asyncio.create_task(self._listen_on(), name="redis-news")

    async def stop(self) -> None:
        """Let go of the connections."""
        if self._listening is not None:
            self._listening.cancel()
            await asyncio.gather(self._listening, return_exceptions=True)
        await self._client.aclose()

    async def send(self, message: bytes) -> None:
        """Send one message; raises what the other way raises."""
        if self.up:
            try:
                async with asyncio.timeout(ANSWER_WITHIN):
                    await self._client.publish(self._channel, message)
            except Exception as error:  # noqa: BLE001  # whatever it is, there is another way
                self._lost(error)
            else:
                return
        await self._fallback.send(message)

    async def _listen_on(self) -> None:
        """Listen for ever, on one connection after the other."""
        while True:
            try:
                async with self._client.pubsub() as listener:
                    await self._listen(listener)
            except Exception as error:  # noqa: BLE001  # without news it would go on for ever
                self._lost(error)
            await asyncio.sleep(PAUSE)

    async def _listen(self, listener: Any) -> None:
        loop = asyncio.get_running_loop()
        async with asyncio.timeout(ANSWER_WITHIN):
            await listener.subscribe(self._channel)
        heard = loop.time()
        while True:
            message = await listener.get_message(timeout=PING_EVERY)
            if message is None:
                if loop.time() - heard > SILENT_FOR:
                    raise TimeoutError(f"no word for {SILENT_FOR:g} s")
                await listener.ping()
                continue
            heard = loop.time()
            if message["type"] == "subscribe":
                self._back()
            elif message["type"] == "message":
                self.receive(message["data"])

    def _back(self) -> None:
        self.up = True
        if self._said_lost:
            log.info("redis.back", what="events")
        self._said_lost = False
        self.missed()

    def _lost(self, error: Exception) -> None:
        self.up = False
        if not self._said_lost:
            log.warning(
                "redis.lost",
                what="events",
                error=" ".join(str(error).split()) or type(error).__name__,
                remedy="events travel by way of the database until Redis answers again",
            )
        self._said_lost = True
