"""The model of a store, where it has a clock: the conformance suite runs on one without."""

from tests.support.build import HOUR, NOW, SECOND, node
from tests.support.engine_lab import ManualClock, play
from tests.support.memory_store import MemoryStore


def test_with_a_clock_of_its_own_leases_go_by_it() -> None:
    async def story() -> None:
        clock = ManualClock()
        store = MemoryStore(clock=clock.now)
        await store.register(node("inc-a", now=NOW - HOUR))
        await store.register(node("inc-b", now=NOW + HOUR))
        assert await store.time() == NOW
        assert {one.lease_until for one in await store.nodes()} == {NOW + 5 * SECOND}
        clock.pass_by(3 * SECOND)
        assert await store.renew("inc-b", now=NOW - HOUR, ttl=5 * SECOND) == NOW + 8 * SECOND
        clock.pass_by(2 * SECOND)
        assert list(await store.revoke_lapsed(now=NOW + HOUR, by="inc-b")) == []
        clock.pass_by(1)
        (revoked,) = await store.revoke_lapsed(now=NOW - HOUR, by="inc-b")
        assert (revoked.incarnation, revoked.heartbeat_at) == ("inc-a", NOW)

    play(story)
