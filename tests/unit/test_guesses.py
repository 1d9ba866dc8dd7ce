"""Slowing down who guesses keys."""

from tests.api.access import Watch

from tocsin.api.guesses import EVERY, FREE, MAX_ADDRESSES, Guesses


async def test_some_failures_are_free_then_one_at_a_time() -> None:
    watch = Watch()
    guesses = Guesses(monotonic=watch)
    tries = 0
    while not await guesses.wait("a"):
        await guesses.failed("a")
        tries += 1
    assert tries == FREE
    for _ in range(3):
        watch.now += EVERY
        assert await guesses.wait("a") == 0
        await guesses.failed("a")
        assert await guesses.wait("a") == EVERY


async def test_an_hour_of_guessing_is_600_keys_and_a_pause_forgives() -> None:
    watch = Watch()
    guesses = Guesses(monotonic=watch)
    tries = 0
    while watch.now < 3_600:
        if await guesses.wait("a") == 0:
            await guesses.failed("a")
            tries += 1
        else:
            watch.now += 1
    assert tries <= FREE + 3_600 / EVERY
    watch.now += FREE * EVERY
    for _ in range(FREE):
        assert await guesses.wait("a") == 0
        await guesses.failed("a")
    assert await guesses.wait("a") > 0


async def test_addresses_are_counted_apart_and_networks_of_ipv6_as_one() -> None:
    guesses = Guesses(monotonic=Watch())
    for number in range(FREE):
        await guesses.failed(f"2001:db8::{number:x}")
        await guesses.failed("::ffff:192.0.2.1")
    assert await guesses.wait("2001:db8::ffff") > 0
    assert await guesses.wait("2001:db8:0:1::1") == 0
    assert await guesses.wait("192.0.2.1") > 0
    assert await guesses.wait("192.0.2.2") == 0
    assert await guesses.wait("no address: at all") == 0


async def test_memory_is_bounded() -> None:
    guesses = Guesses(monotonic=Watch())
    for number in range(MAX_ADDRESSES + 10):
        await guesses.failed(f"host-{number}")
    assert len(guesses._full_until) == MAX_ADDRESSES
