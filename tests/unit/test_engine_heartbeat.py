"""Keeping the lease."""

import asyncio

import pytest
from tests.support.build import NO_LIMITS, NOW, claim_request, new_job, node
from tests.support.engine_lab import Bench, play, target_job, turns
from tests.support.memory_store import MemoryStore

from tocsin.domain.errors import Revoked, StoreUnavailable
from tocsin.domain.execution import Reason
from tocsin.domain.instant import Millis
from tocsin.domain.planning import plan_fires
from tocsin.engine.heartbeat import Heartbeat
from tocsin.engine.timekeeper import Timekeeper
from tocsin.store.port import Claim, Node

TTL = 5_000


class Beating(Bench):
    """A dispatcher with a heartbeat on a memory store."""

    def __init__(self) -> None:
        super().__init__()
        self.gates: dict[str, asyncio.Event] = {}
        self.errors: dict[str, Exception] = {}
        self.store = MemoryStore(after=self._after)
        self.introduced = 0
        self.heartbeat = Heartbeat(
            store=self.store,
            lease=self.lease,
            dispatcher=self.dispatcher,
            clock=self.clock,
            timekeeper=Timekeeper(
                store=self.store, clock=self.clock, on_moved=self.dispatcher.clock_moved
            ),
            ttl=TTL,
            interval=1_000,
            introduce=self._introduce,
        )

    async def _after(self, method: str) -> None:
        if method in self.gates:
            await self.gates[method].wait()
        if method in self.errors:
            raise self.errors.pop(method)

    def _introduce(self, now: Millis) -> Node:
        self.introduced += 1
        return node(f"inc-{self.introduced}", now=now)

    async def beat(self) -> None:
        await self.heartbeat.step(self.clock.now())

    async def calling(self, name: str = "j") -> Claim:
        """A claim of this node, with its call under way."""
        await self.store.create_jobs([new_job(target_job(name))], limits=NO_LIMITS)
        request = claim_request(self.clock.now(), incarnation=self.lease.incarnation, ahead=0)
        (one,) = (await self.store.claim(request, plan_fires)).claims
        await self.hold(one)
        return one


def test_the_first_beat_joins_and_the_others_renew() -> None:
    async def story() -> None:
        bench = Beating()
        await bench.beat()
        assert bench.lease.incarnation == "inc-1"
        bench.clock.pass_by(4_000)
        await bench.beat()
        assert list(bench.store.state.nodes) == ["inc-1"]
        bench.clock.pass_by(4_000)
        assert bench.lease.held

    play(story)


def test_a_join_of_unknown_outcome_is_tried_with_another_incarnation() -> None:
    async def story() -> None:
        bench = Beating()
        bench.errors["register"] = StoreUnavailable("lost")
        with pytest.raises(StoreUnavailable):
            await bench.beat()
        assert bench.lease.incarnation == ""
        await bench.beat()
        assert bench.lease.incarnation == "inc-2"

    play(story)


def test_a_revoked_lease_is_reported_with_its_incarnation() -> None:
    async def story() -> None:
        bench = Beating()
        await bench.beat()
        await bench.store.leave("inc-1")
        with pytest.raises(Revoked) as caught:
            await bench.beat()
        assert caught.value.incarnation == "inc-1"

    play(story)


def test_a_renewal_counts_from_its_request() -> None:
    async def story() -> None:
        bench = Beating()
        await bench.beat()
        bench.gates["renew"] = asyncio.Event()
        beating = asyncio.create_task(bench.beat())
        await turns()
        bench.clock.pass_by(4_000)
        bench.gates["renew"].set()
        await beating
        assert bench.lease.held
        bench.clock.pass_by(600)
        assert not bench.lease.held

    play(story)


def test_a_slow_renewal_does_not_revive_a_lease_that_was_lost_meanwhile() -> None:
    async def story() -> None:
        bench = Beating()
        await bench.beat()
        bench.gates["renew"] = asyncio.Event()
        beating = asyncio.create_task(bench.beat())
        await turns()
        bench.lease.lost()
        bench.gates["renew"].set()
        await beating
        assert not bench.lease.held

    play(story)


def test_what_waited_for_the_lease_goes_when_it_is_back() -> None:
    async def story() -> None:
        bench = Beating()
        await bench.beat()
        bench.clock.pass_by(4_600)
        one = await bench.calling()
        assert bench.caller.ids == []
        await bench.beat()
        await turns()
        assert bench.caller.ids == [one.execution.id]

    play(story)


def test_a_long_call_that_was_ended_elsewhere_is_aborted() -> None:
    async def story() -> None:
        bench = Beating()
        await bench.beat()
        ended, other = await bench.calling("ended"), await bench.calling("other")
        await bench.store.cancel_executions(
            reason=Reason.REQUESTED, now=NOW, execution_id=ended.execution.id
        )
        await bench.beat()
        await turns()
        assert bench.caller.aborted == [], "it is not long yet: the news is on its way"
        bench.clock.pass_by(1_000)
        await bench.beat()
        await turns()
        assert bench.caller.aborted == [ended.execution.id]
        assert other.execution.id not in bench.caller.aborted

    play(story)


def test_a_node_joins_only_where_it_knows_the_time_but_keeps_the_lease_that_it_has() -> None:
    async def story() -> None:
        bench = Beating()
        bench.clock.ready = False
        await bench.beat()
        assert (bench.lease.incarnation, bench.store.state.nodes) == ("", {})
        bench.clock.ready = True
        await bench.beat()
        assert bench.lease.held
        bench.clock.ready = False
        for _ in range(3):
            bench.clock.pass_by(4_000)
            await bench.beat()
            assert bench.lease.held

    play(story)
