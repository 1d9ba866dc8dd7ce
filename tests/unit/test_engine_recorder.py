"""Group commit of results."""

import asyncio
from collections.abc import Sequence
from dataclasses import replace

import pytest
from tests.support.build import NO_LIMITS, NOW, claim_request, fail, new_job, node, succeed
from tests.support.engine_lab import INCARNATION, ManualClock, play, target_job, turns
from tests.support.memory_store import MemoryStore

from tocsin.domain.errors import StoreUnavailable
from tocsin.domain.execution import Execution, State
from tocsin.domain.planning import plan_fires
from tocsin.engine.lease import Lease
from tocsin.engine.meter import NoMeter
from tocsin.engine.recorder import BATCH, GATHER, GATHER_MORE, SMALL_BATCH, Recorder
from tocsin.store.bus import Bus, ExecutionsChanged
from tocsin.store.port import Claim, Recorded, Voider


class Picky(MemoryStore):
    """Refuses the results that it is told to, and counts its transactions."""

    def __init__(self) -> None:
        super().__init__(before=self._before_method, after=self._after_method)
        self.batches: list[int] = []
        self.errors: list[Exception] = []
        self.lost: list[Exception] = []
        self.gate: asyncio.Event | None = None
        self.refuses_details = False
        self.refuses: set[str] = set()

    async def _before_method(self, method: str) -> None:
        if method == "record" and self.errors:
            raise self.errors.pop(0)

    async def _after_method(self, method: str) -> None:
        if method == "record":
            if self.gate is not None:
                await self.gate.wait()
            if self.lost:
                raise self.lost.pop(0)

    async def record(
        self, incarnation: str, results: Sequence[Execution], *, now: int, void: Voider
    ) -> Recorded:
        self.batches.append(len(results))
        bad = [
            one.id
            for one in results
            if one.id in self.refuses
            or (self.refuses_details and one.attempts and one.attempts[-1].error == "answered 503")
        ]
        good = [one for one in results if one.id not in bad]
        recorded = await super().record(incarnation, good, now=now, void=void)
        return Recorded(stored=recorded.stored, rejected=[*recorded.rejected, *bad])


class Desk:
    """A recorder, and claims to have results of."""

    def __init__(self) -> None:
        self.clock = ManualClock(follows=True)
        self.store = Picky()
        self.lease = Lease(clock=self.clock, ttl=5_000)
        self.bus = Bus()
        self.told: list[Execution] = []
        self.forgotten: list[str] = []
        self.revoked: list[str] = []
        self.recorder = Recorder(
            store=self.store, lease=self.lease, clock=self.clock, bus=self.bus, meter=NoMeter()
        )
        self.recorder.forget = self.forgotten.extend
        self.recorder.on_revoked = self.revoked.append

        def hear(news: object) -> None:
            if isinstance(news, ExecutionsChanged):
                self.told.extend(news.executions)

        self.bus.listen(hear)

    async def claims(self, count: int) -> Sequence[Claim]:
        await self.store.register(node(INCARNATION))
        self.lease.begin(INCARNATION, self.clock.monotonic())
        jobs = [target_job(f"job-{number}") for number in range(count)]
        await self.store.create_jobs([new_job(one) for one in jobs], limits=NO_LIMITS)
        found: list[Claim] = []
        while len(found) < count:
            claimed = await self.store.claim(claim_request(NOW, ahead=0), plan_fires)
            found += claimed.claims
        return found


def test_results_of_a_few_milliseconds_are_one_transaction() -> None:
    async def story() -> None:
        desk = Desk()
        claims = await desk.claims(30)
        running = asyncio.create_task(desk.recorder.run())
        for one in claims:
            desk.recorder.put(succeed(one, NOW))
            await asyncio.sleep(0.00005)
        await desk.recorder.flush()
        assert desk.store.batches == [30]
        assert desk.forgotten == [one.execution.id for one in claims]
        assert {row.state for row in desk.told} == {State.SUCCEEDED}
        running.cancel()

    play(story)


def test_a_lone_result_hardly_waits_and_those_of_a_steady_rate_wait_for_company() -> None:
    async def story() -> None:
        desk = Desk()
        loop = asyncio.get_running_loop()
        claims = await desk.claims(40)
        running = asyncio.create_task(desk.recorder.run())
        for _ in range(3):
            began = loop.time()
            desk.recorder.put(succeed(claims.pop(), NOW))
            await desk.recorder.flush()
            assert loop.time() - began == pytest.approx(GATHER)
        desk.store.batches.clear()
        while claims:
            desk.recorder.put(succeed(claims.pop(), NOW))
            await asyncio.sleep(0.001)
        await desk.recorder.flush()
        first, *others = desk.store.batches
        assert first == pytest.approx(GATHER * 1_000, abs=1)
        assert others[0] == pytest.approx(GATHER_MORE * 1_000, abs=1)
        running.cancel()

    play(story)


def test_a_batch_is_bounded() -> None:
    async def story() -> None:
        desk = Desk()
        for one in await desk.claims(BATCH + 5):
            desk.recorder.put(succeed(one, NOW))
        assert await desk.recorder.step() == BATCH
        assert desk.recorder.waiting == 5
        assert await desk.recorder.step() == 5
        assert await desk.recorder.step() == 0

    play(story)


def test_a_batch_is_small_while_somebody_waits_to_write() -> None:
    async def story() -> None:
        desk = Desk()
        for one in await desk.claims(SMALL_BATCH + 5):
            desk.recorder.put(succeed(one, NOW))
        desk.recorder.hurried = lambda: True
        assert await desk.recorder.step() == SMALL_BATCH
        desk.recorder.hurried = lambda: False
        assert await desk.recorder.step() == 5

    play(story)


def test_results_that_the_next_fire_may_wait_for_go_before_the_others() -> None:
    async def story() -> None:
        desk = Desk()
        *others, exact = [succeed(one, NOW) for one in await desk.claims(BATCH + 2)]
        exact = replace(exact, exact=True)
        for one in (*others, exact):
            desk.recorder.put(one)
        desk.store.lost = [StoreUnavailable("lost")]
        with pytest.raises(StoreUnavailable):
            await desk.recorder.step()
        assert desk.recorder.waiting == BATCH + 2
        await desk.recorder.step()
        assert desk.forgotten == [exact.id, *(one.id for one in others[: BATCH - 1])]
        await desk.recorder.step()
        assert desk.forgotten[BATCH:] == [one.id for one in others[BATCH - 1 :]]

    play(story)


def test_what_may_not_have_been_stored_is_stored_again_before_anything_newer() -> None:
    async def story() -> None:
        desk = Desk()
        first, second = await desk.claims(2)
        desk.store.lost = [StoreUnavailable("lost")]
        desk.recorder.put(succeed(first, NOW))
        with pytest.raises(StoreUnavailable):
            await desk.recorder.step()
        assert desk.forgotten == []
        desk.recorder.put(succeed(second, NOW))
        assert await desk.recorder.step() == 2
        assert desk.forgotten == [first.execution.id, second.execution.id]
        assert [row.id for row in desk.told] == desk.forgotten, "and told once"
        assert sum(tally.succeeded for tally in desk.store.state.tallies.values()) == 2

    play(story)


def test_errors_are_waited_out() -> None:
    async def story() -> None:
        desk = Desk()
        (one,) = await desk.claims(1)
        desk.store.errors = [StoreUnavailable("away")] * 5
        running = asyncio.create_task(desk.recorder.run())
        desk.recorder.put(succeed(one, NOW))
        await asyncio.wait_for(desk.recorder.flush(), 10)
        assert desk.forgotten == [one.execution.id]
        running.cancel()

    play(story)


def test_a_revoked_node_hears_of_it_by_its_results() -> None:
    async def story() -> None:
        desk = Desk()
        (one,) = await desk.claims(1)
        await desk.store.leave(INCARNATION)
        desk.recorder.put(succeed(one, NOW))
        await desk.recorder.step()
        assert desk.revoked == [INCARNATION]
        assert desk.told == []

    play(story)


def test_results_of_the_incarnation_before_are_not_mixed_up_with_new_ones() -> None:
    """The answer comes after the lease was lost and another one begun."""

    async def story() -> None:
        desk = Desk()
        first, second = await desk.claims(2)
        desk.store.gate = asyncio.Event()
        desk.recorder.put(succeed(first, NOW))
        stepping = asyncio.create_task(desk.recorder.step())
        await turns()
        desk.lease.lost()
        desk.recorder.clear()
        desk.lease.begin("inc-b", desk.clock.monotonic())
        desk.recorder.put(succeed(second, NOW))
        desk.store.gate.set()
        await stepping
        assert desk.recorder.waiting == 1
        assert desk.forgotten == []

    play(story)


def test_what_is_not_its_own_any_more_is_forgotten() -> None:
    async def story() -> None:
        desk = Desk()
        (one,) = await desk.claims(1)
        await desk.store.give_back(INCARNATION, [one.execution.id], now=NOW)
        desk.recorder.put(succeed(one, NOW))
        await desk.recorder.step()
        assert desk.forgotten == [one.execution.id]
        assert desk.told == []
        assert desk.recorder.waiting == 0

    play(story)


def test_a_result_that_the_store_cannot_take_is_stored_without_its_details() -> None:
    async def story() -> None:
        desk = Desk()
        good, bad = await desk.claims(2)
        desk.store.refuses_details = True
        desk.recorder.put(succeed(good, NOW))
        desk.recorder.put(fail(bad, NOW))
        await desk.recorder.step()
        assert desk.forgotten == [good.execution.id]
        await desk.recorder.step()
        assert desk.forgotten == [good.execution.id, bad.execution.id]
        (attempt,) = desk.store.state.executions[bad.execution.id].attempts
        assert (attempt.http_status, attempt.error) == (503, "not storable")
        assert desk.recorder._plain == set()

    play(story)


def test_one_that_it_cannot_take_at_all_is_never_forgotten_so_that_it_is_not_called_again() -> None:
    async def story() -> None:
        desk = Desk()
        (one,) = await desk.claims(1)
        desk.store.refuses = {one.execution.id}
        desk.recorder.put(succeed(one, NOW))
        running = asyncio.create_task(desk.recorder.run())
        await asyncio.wait_for(desk.recorder.flush(), 10)
        assert desk.forgotten == []
        assert len(desk.store.batches) == 2
        running.cancel()

    play(story)
