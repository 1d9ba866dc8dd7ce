"""The question whether the store can be written to: everybody may ask it, and it costs a write."""

import asyncio
from typing import cast

from tocsin.domain.errors import StoreUnavailable
from tocsin.services.pulse import KEPT, Pulse
from tocsin.store.port import Store


class Slow:
    """A store that counts how often it was asked, and answers when it is let."""

    def __init__(self) -> None:
        self.asked = 0
        self.problem: str | None = None
        self.let = asyncio.Event()

    async def ping(self) -> None:
        self.asked += 1
        await self.let.wait()
        if self.problem is not None:
            raise StoreUnavailable(self.problem)


class Watch:
    now = 0.0

    def __call__(self) -> float:
        return self.now


def made() -> tuple[Pulse, Slow, Watch]:
    store, watch = Slow(), Watch()
    return Pulse(cast("Store", store), monotonic=watch), store, watch


async def test_however_many_ask_the_store_is_written_to_once() -> None:
    pulse, store, watch = made()
    asking = [asyncio.create_task(pulse.problem()) for _ in range(100)]
    await asyncio.sleep(0)
    asking[0].cancel()
    store.let.set()
    answers = await asyncio.gather(*asking, return_exceptions=True)
    assert answers[1:] == [""] * 99, "who leaves does not take the answer of the others along"
    assert await pulse.problem() == ""
    assert store.asked == 1
    watch.now += KEPT
    assert await pulse.problem() == ""
    assert store.asked == 2


async def test_what_is_wrong_is_told_and_found_out_to_be_right_again() -> None:
    pulse, store, watch = made()
    store.let.set()
    store.problem = "it is on fire"
    assert await pulse.problem() == "it is on fire"
    store.problem = None
    watch.now += KEPT
    assert await pulse.problem() == ""
