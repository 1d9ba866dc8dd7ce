"""News between nodes by way of a real Redis, and by another while it is away."""

import asyncio
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.support.redis import RedisServer, redis_with_tls
from tocsin.news import RedisNews


class OtherWay:
    """Remembers what was sent by it."""

    def __init__(self) -> None:
        self.sent: list[bytes] = []

    async def send(self, message: bytes) -> None:
        self.sent.append(message)


class Ear:
    """A node that listens."""

    def __init__(self, server: RedisServer, channel: str = "tocsin:news:/a") -> None:
        self.other_way = OtherWay()
        self.heard: list[bytes] = []
        self.missed = 0
        self._changed = asyncio.Event()
        self.news = RedisNews(server.url, channel=channel, fallback=self.other_way)
        self.news.receive = self._receive
        self.news.missed = self._miss

    def _receive(self, message: bytes) -> None:
        self.heard.append(message)
        self._changed.set()

    def _miss(self) -> None:
        self.missed += 1
        self._changed.set()

    async def until(self, condition: Callable[[], bool]) -> None:
        async with asyncio.timeout(60):
            while not condition():
                self._changed.clear()
                await self._changed.wait()


async def started(*ears: Ear) -> None:
    for ear in ears:
        await ear.news.start()
    for ear in ears:
        await ear.until(lambda ear=ear: ear.news.up)  # type: ignore[misc]


async def test_news_reaches_every_node_of_the_channel() -> None:
    server = RedisServer(password="geheim").start()
    one, two, stranger = Ear(server), Ear(server), Ear(server, "tocsin:news:/b")
    await started(one, two, stranger)
    await one.news.send(b"hello")
    await two.until(lambda: bool(two.heard))
    await one.until(lambda: bool(one.heard))
    await stranger.news.send(b"own")
    await stranger.until(lambda: bool(stranger.heard))
    assert (one.heard, two.heard, stranger.heard) == ([b"hello"], [b"hello"], [b"own"])
    assert one.other_way.sent == []
    for ear in (one, two, stranger):
        await ear.news.stop()
    server.close()


async def test_without_redis_news_takes_the_other_way(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tocsin.news.PAUSE", 0.05)
    server = RedisServer().start()
    ear = Ear(server)
    await started(ear)
    missed = ear.missed
    server.kill()
    await ear.news.send(b"one")
    assert ear.other_way.sent == [b"one"]
    assert not ear.news.up
    server.start()
    await ear.until(lambda: ear.news.up)
    assert ear.missed > missed, "what was sent meanwhile may be lost"
    await ear.news.send(b"two")
    await ear.until(lambda: bool(ear.heard))
    assert ear.heard == [b"two"]
    assert ear.other_way.sent == [b"one"]
    await ear.news.stop()
    server.close()


async def test_a_redis_that_was_never_there_stops_nothing() -> None:
    server = RedisServer()
    ear = Ear(server)
    await ear.news.start()
    await ear.news.send(b"one")
    assert ear.other_way.sent == [b"one"]
    await ear.news.stop()
    server.close()


async def test_news_travels_by_tls(tmp_path: Path) -> None:
    server = redis_with_tls(tmp_path).start()
    one, two = Ear(server), Ear(server)
    await started(one, two)
    await one.news.send(b"hello")
    await two.until(lambda: bool(two.heard))
    assert two.heard == [b"hello"]
    for ear in (one, two):
        await ear.news.stop()
    server.close()
