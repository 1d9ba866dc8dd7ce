"""Fewer, larger writes to a connection: what leaves when, and in which order."""

import asyncio
from typing import Any, cast

from tocsin.api.transport import MOST_HELD, OneWrite


class Below:
    """A transport that notes what it is told."""

    def __init__(self) -> None:
        self.calls: list[Any] = []
        self.lost = False

    def is_closing(self) -> bool:
        return self.lost

    def write(self, data: bytes) -> None:
        self.calls.append(data)

    def close(self) -> None:
        self.calls.append("close")

    def abort(self) -> None:
        self.calls.append("abort")

    def get_extra_info(self, name: str) -> str:
        return f"the {name}"


def made() -> tuple[OneWrite, Below]:
    below = Below()
    transport = OneWrite(cast("asyncio.Transport", below), asyncio.get_running_loop())
    return transport, below


async def test_what_is_written_in_one_turn_leaves_together_at_its_end() -> None:
    transport, below = made()
    transport.write(b"head ")
    transport.write(b"body")
    assert below.calls == []
    await asyncio.sleep(0)
    assert below.calls == [b"head body"]
    transport.write(b"another turn")
    await asyncio.sleep(0)
    assert below.calls == [b"head body", b"another turn"]


async def test_a_close_comes_after_what_was_written_and_an_abort_instead_of_it() -> None:
    transport, below = made()
    transport.write(b"last words")
    transport.close()
    assert below.calls == [b"last words", "close"]
    transport, below = made()
    transport.write(b"unsaid")
    transport.abort()
    await asyncio.sleep(0)
    assert below.calls == ["abort"]


async def test_a_close_may_be_put_off_but_not_that_of_what_is_closed() -> None:
    below = Below()
    transport = OneWrite(
        cast("asyncio.Transport", below), asyncio.get_running_loop(), lingers=lambda: True
    )
    transport.write(b"last words")
    transport.close()
    assert below.calls == [b"last words"]
    below.lost = True
    transport.close()
    assert below.calls == [b"last words", "close"]


async def test_whoever_writes_without_a_pause_fills_no_memory_here() -> None:
    transport, below = made()
    piece = b"x" * 10_000
    for _ in range(20):
        transport.write(piece)
    held = 20 * len(piece) - sum(map(len, below.calls))
    assert held <= MOST_HELD
    await asyncio.sleep(0)
    assert b"".join(below.calls) == piece * 20


async def test_everything_else_is_that_of_the_transport() -> None:
    transport, _ = made()
    assert transport.get_extra_info("peername") == "the peername"


async def test_what_is_held_for_who_has_left_meanwhile_is_dropped() -> None:
    transport, below = made()
    transport.write(b"unheard")
    below.lost = True
    await asyncio.sleep(0)
    assert below.calls == [], "to write to a connection that is closed raises"
