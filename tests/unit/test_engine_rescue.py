"""Taking over from the dead."""

import pytest
from tests.support.build import NO_LIMITS, NOW, claim_request, new_job, node
from tests.support.engine_lab import INCARNATION, ManualClock, kinds, play, target_job
from tests.support.memory_store import MemoryStore

from tocsin.domain.execution import ErrorKind, State
from tocsin.domain.planning import plan_fires
from tocsin.engine import rescue as rescue_module
from tocsin.engine.lease import Lease
from tocsin.engine.meter import NoMeter
from tocsin.engine.rescue import Rescue
from tocsin.store.bus import Bus, ExecutionsChanged


class Ward:
    """A rescuer, and a node that died with claims."""

    def __init__(self) -> None:
        self.clock = ManualClock()
        self.store = MemoryStore()
        self.lease = Lease(clock=self.clock, ttl=5_000)
        self.bus = Bus()
        self.told: list[int] = []
        self.bus.listen(
            lambda news: self.told.append(
                len(news.executions) if isinstance(news, ExecutionsChanged) else 0
            )
        )
        self.rescue = Rescue(
            store=self.store,
            lease=self.lease,
            clock=self.clock,
            bus=self.bus,
            meter=NoMeter(),
            interval=1_000,
        )

    async def dead(self, claims: int = 1) -> None:
        """A node claims something and is not heard of again."""
        await self.store.register(node("inc-dead"))
        await self.store.create_jobs(
            [new_job(target_job(f"job-{number}")) for number in range(claims)], limits=NO_LIMITS
        )
        left = claims
        while left:
            request = claim_request(NOW, incarnation="inc-dead", ahead=0)
            left -= len((await self.store.claim(request, plan_fires)).claims)

    async def alive(self, seconds: int) -> None:
        """This node renews its lease every second for so long."""
        if not self.lease.incarnation:
            await self.store.register(node(INCARNATION, now=self.clock.now()))
            self.lease.begin(INCARNATION, self.clock.monotonic())
        for _ in range(seconds):
            self.clock.pass_by(1_000)
            await self.store.renew(INCARNATION, now=self.clock.now(), ttl=5_000)
            self.lease.renewed(self.clock.monotonic())

    async def step(self) -> int:
        return await self.rescue.step(self.clock.now())


def test_the_dead_are_revoked_and_their_executions_tried_again() -> None:
    async def story() -> None:
        ward = Ward()
        await ward.dead()
        await ward.alive(6)
        assert await ward.step() == 1
        (row,) = ward.store.state.executions.values()
        assert (row.state, row.owner, kinds(row)) == (State.PENDING, None, [ErrorKind.LOST])
        assert row.attempts[0].node == "node of inc-dead"
        assert list(ward.store.state.nodes) == [INCARNATION]
        assert ward.told == [1]
        assert await ward.step() == 0

    play(story)


def test_a_node_that_has_just_come_back_itself_revokes_nobody() -> None:
    async def story() -> None:
        ward = Ward()
        await ward.dead()
        ward.clock.pass_by(60_000)
        await ward.alive(4)
        assert await ward.step() == 0
        assert "inc-dead" in ward.store.state.nodes
        await ward.alive(1)
        assert await ward.step() == 1

    play(story)


def test_what_a_revoked_node_left_is_rescued_by_any_node_at_once() -> None:
    async def story() -> None:
        ward = Ward()
        await ward.dead()
        await ward.store.leave("inc-dead")
        await ward.alive(1)
        assert await ward.step() == 1

    play(story)


def test_a_rescuer_that_stood_still_takes_nothing_that_may_have_left_for_not_begun() -> None:
    async def story() -> None:
        ward = Ward()
        await ward.dead()
        await ward.store.leave("inc-dead")
        await ward.alive(1)
        # The instant at which it began this step: before those calls were due.
        assert await ward.rescue.step(NOW - 1_000) == 1
        (row,) = ward.store.state.executions.values()
        assert kinds(row) == [ErrorKind.LOST]

    play(story)


def test_without_a_lease_it_keeps_its_hands_off() -> None:
    async def story() -> None:
        ward = Ward()
        await ward.dead()
        await ward.store.leave("inc-dead")
        await ward.alive(10)
        ward.clock.pass_by(4_600)
        assert await ward.step() == 0

    play(story)


def test_many_are_rescued_in_batches() -> None:
    async def story() -> None:
        ward = Ward()
        await ward.dead(rescue_module.BATCH + 200)
        await ward.alive(6)
        assert await ward.step() == rescue_module.BATCH + 200
        assert ward.told == [rescue_module.BATCH, 200]

    play(story)


def test_a_node_that_does_not_know_the_time_keeps_its_hands_off() -> None:
    async def story() -> None:
        ward = Ward()
        await ward.dead()
        await ward.alive(6)
        ward.clock.ready = False
        assert await ward.step() == 0
        assert "inc-dead" in ward.store.state.nodes

    play(story)


def test_it_looks_again_when_the_next_lease_ends() -> None:
    async def story() -> None:
        ward = Ward()
        await ward.alive(1)
        assert ward.rescue.pause == 0.25, "it may revoke soon"
        await ward.alive(5)
        await ward.step()
        assert ward.rescue.pause == 1.0, "there is nobody else"
        await ward.store.register(node("inc-other", now=ward.clock.now() - 3_500))
        await ward.step()
        assert ward.rescue.pause == 1.0, "it ends later than that"
        ward.clock.pass_by(700)
        assert ward.rescue.pause == pytest.approx(0.801)
        ward.clock.pass_by(790)
        assert ward.rescue.pause == 0.1, "it does not spin"
        ward.clock.pass_by(60)
        ward.lease.renewed(ward.clock.monotonic())
        await ward.step()
        assert "inc-other" not in ward.store.state.nodes
        assert ward.rescue.pause == 1.0

    play(story)
