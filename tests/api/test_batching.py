"""What holds while batches of jobs are made, and after them."""

import asyncio
import gc
import os
import sys

import pytest

from tests.support.process import resident_bytes
from tocsin.api import batching
from tocsin.api.batching import TURN, batch_under_way


async def test_while_any_batch_lasts_no_cycles_are_collected() -> None:
    usual = sys.getswitchinterval()
    with batch_under_way():
        with batch_under_way():
            assert not gc.isenabled()
        assert not gc.isenabled(), "one of them still lasts"
        assert sys.getswitchinterval() == pytest.approx(TURN)
    assert gc.isenabled()
    assert sys.getswitchinterval() == pytest.approx(usual)


async def test_an_error_ends_the_pause() -> None:
    with pytest.raises(RuntimeError), batch_under_way():
        raise RuntimeError
    assert gc.isenabled()


async def test_a_collector_that_is_off_stays_off() -> None:
    gc.disable()
    try:
        with batch_under_way():
            pass
        assert not gc.isenabled()
    finally:
        gc.enable()


async def test_memory_is_given_back_once_after_the_last_of_several_batches(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    loop = asyncio.get_running_loop()
    given = asyncio.Event()
    times = 0

    def give_back() -> None:
        nonlocal times
        times += 1
        loop.call_soon_threadsafe(given.set)

    monkeypatch.setattr(batching, "REST", 0.05)
    monkeypatch.setattr(batching, "give_back", give_back)
    for _ in range(3):
        with batch_under_way():
            pass
    with batch_under_way():
        await asyncio.sleep(0.15)
        assert not given.is_set(), "a batch is under way again"
    await asyncio.wait_for(given.wait(), 10)
    assert times == 1


def test_what_was_freed_between_what_is_still_used_is_given_back() -> None:
    pieces = [bytearray(60_000) for _ in range(2_000)]
    kept = pieces[::20]  # the C library gives back by itself what is at the end
    del pieces
    before = resident_bytes(os.getpid())
    batching.give_back()
    # Where the C library has no such function nothing happens.
    assert batching._trim is None or resident_bytes(os.getpid()) < before - 50_000_000
    assert len(kept) == 100
