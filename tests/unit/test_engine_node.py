"""One node as a whole: what its parts tell each other."""

import asyncio
from collections.abc import Iterator
from typing import Any

import pytest
from tests.support.build import NO_LIMITS, NOW, new_job
from tests.support.engine_lab import (
    HandCaller,
    ManualClock,
    many,
    play,
    target_job,
    turns,
    with_version,
)
from tests.support.memory_store import MemoryStore

from tocsin.domain.errors import StoreUnavailable
from tocsin.domain.execution import Reason, State, closed
from tocsin.domain.job import JobStatus
from tocsin.engine.engine import Engine, EngineOptions
from tocsin.engine.meter import NoMeter
from tocsin.services.ids import Uuid7
from tocsin.store.bus import Bus, ExecutionsChanged, JobsChanged


class Whole:
    """An engine whose loops do not run; the test steps them."""

    def __init__(
        self, *, store: MemoryStore | None = None, follows: bool = False, **options: Any
    ) -> None:
        self.clock = ManualClock(follows=follows)
        self.caller = HandCaller(self.clock)
        self.store = MemoryStore() if store is None else store
        self.bus = Bus()
        numbers: Iterator[int] = iter(range(1, 1_000))
        self.engine = Engine(
            store=self.store,
            caller=self.caller,
            clock=self.clock,
            bus=self.bus,
            meter=NoMeter(),
            new_id=lambda: f"inc-{next(numbers)}",
            new_entry_id=Uuid7(self.clock.now),
            options=EngineOptions(node_name="node-a", **options),
        )

    async def join(self) -> str:
        await self.engine.heartbeat.step(self.clock.now())
        return self.engine.lease.incarnation


def test_a_revoked_node_drops_everything_and_joins_anew() -> None:
    async def story() -> None:
        whole = Whole()
        first = await whole.join()
        await whole.store.create_jobs([new_job(target_job("j"))], limits=NO_LIMITS)
        await whole.engine.fire.step(NOW)
        await turns()
        whole.caller.succeed(whole.caller.ids[0])
        await turns()
        assert whole.engine.recorder.waiting == 1
        await whole.store.leave(first)
        await whole.engine.recorder.step()
        assert whole.engine.lease.incarnation == ""
        assert (whole.engine.dispatcher.held, whole.engine.recorder.waiting) == (0, 0)
        assert await whole.join() != first

    play(story)


def test_late_news_of_a_revocation_does_not_hit_the_next_incarnation() -> None:
    """A claim of the old one comes back when the new one has begun."""

    async def story() -> None:
        whole = Whole()
        first = await whole.join()
        await whole.store.leave(first)
        whole.engine._revoked(first)
        second = await whole.join()
        whole.engine.dispatcher.hold(many(target_job("j"), 1, NOW + 500))
        whole.engine._revoked(first)
        assert whole.engine.lease.incarnation == second
        assert whole.engine.dispatcher.held == 1

    play(story)


def test_what_others_ended_is_dropped_whoever_they_are() -> None:
    async def story() -> None:
        whole = Whole()
        one, two = many(target_job("j"), 2, NOW + 500)
        whole.engine.dispatcher.hold([one, two])
        over = closed(one.execution, State.FAILED, Reason.LOST, NOW)
        whole.bus.publish(ExecutionsChanged(executions=[over]))
        assert not whole.engine.dispatcher.holds(one.execution.id)
        assert whole.engine.dispatcher.holds(two.execution.id)

    play(story)


@pytest.mark.parametrize("change", ["updated", "paused", "resumed", "deleted", "cancelled"])
def test_changes_reach_what_is_held(change: str) -> None:
    async def story() -> None:
        whole = Whole()
        job = target_job("j")
        whole.engine.dispatcher.hold(many(job, 1, NOW + 60_000))
        paused = with_version(job, 2, status=JobStatus.PAUSED)
        whole.bus.publish(JobsChanged(change=change, jobs=[paused]))
        assert whole.engine.recorder.waiting == 1

    play(story)


def test_that_the_last_fire_is_planned_changes_nothing_for_it() -> None:
    async def story() -> None:
        whole = Whole()
        job = target_job("j")
        whole.engine.dispatcher.hold(many(job, 1, NOW + 60_000))
        done = with_version(job, 2, status=JobStatus.COMPLETED)
        whole.bus.publish(JobsChanged(change="completed", jobs=[done]))
        assert whole.engine.recorder.waiting == 0

    play(story)


def test_a_node_without_a_lease_says_that_it_does_not_fire() -> None:
    async def story() -> None:
        whole = Whole()
        assert len(whole.engine.problems()) == 2
        await whole.join()
        await whole.engine.fire.step(NOW)
        await whole.engine.fire_exact.step(NOW)
        assert whole.engine.problems() == []
        whole.clock.pass_by(6_000)
        assert len(whole.engine.problems()) == 2

    play(story)


def test_a_node_tells_with_each_heartbeat_what_it_has_on_hand() -> None:
    async def story() -> None:
        whole = Whole()
        incarnation = await whole.join()
        first, second, third = many(target_job("j"), 3, NOW)
        whole.engine.dispatcher.hold([first, second, third])
        await turns()
        whole.caller.succeed(first.execution.id)
        await turns()
        await whole.join()
        said = whole.store.state.nodes[incarnation].load
        assert isinstance(said, dict)
        assert {
            "held": 3,
            "max_held": 20_000,
            "in_flight": 2,
            "max_in_flight": 1_000,
            "waiting_results": 1,
        }.items() <= said.items()

    play(story)


def test_a_node_that_was_stopped_hears_nothing_any_more() -> None:
    async def story() -> None:
        whole = Whole()
        await whole.join()
        await whole.engine.stop()
        assert whole.store.state.nodes == {}
        job = target_job("j")
        whole.engine.dispatcher.hold(many(job, 1, NOW + 500))
        whole.bus.publish(
            JobsChanged(change="paused", jobs=[with_version(job, 2, status=JobStatus.PAUSED)])
        )
        assert whole.engine.recorder.waiting == 0

    play(story)


class Away(MemoryStore):
    """A store that is gone for good: it refuses, or (``silent``) it does not even answer."""

    def __init__(self) -> None:
        super().__init__()
        self.gone = self.silent = False

    async def _answer(self) -> None:
        if self.gone and self.silent:
            await asyncio.Event().wait()
        if self.gone:
            raise StoreUnavailable("it is gone")

    async def give_back(self, *args: Any, **kwargs: Any) -> None:
        await self._answer()
        await super().give_back(*args, **kwargs)

    async def record(self, *args: Any, **kwargs: Any) -> Any:
        await self._answer()
        return await super().record(*args, **kwargs)

    async def owned_versions(self, *args: Any, **kwargs: Any) -> Any:
        await self._answer()
        return await super().owned_versions(*args, **kwargs)

    async def leave(self, *args: Any, **kwargs: Any) -> None:
        await self._answer()
        await super().leave(*args, **kwargs)


@pytest.mark.parametrize("silent", [False, True])
@pytest.mark.parametrize("calls", [0, 1])
def test_a_stop_ends_within_its_grace_though_the_store_is_gone(calls: int, silent: bool) -> None:
    async def story() -> None:
        store = Away()
        whole = Whole(store=store, follows=True, shutdown_grace=10_000)
        await whole.join()
        dispatcher = whole.engine.dispatcher
        dispatcher.hold(many(target_job("called"), calls, NOW))
        dispatcher.hold(many(target_job("soon"), 1, NOW + 700))
        dispatcher.hold(many(target_job("later"), 1, NOW + 900_000))
        await turns()
        assert whole.engine.dispatcher.in_flight == calls
        store.gone, store.silent = True, silent
        began = asyncio.get_running_loop().time()
        await whole.engine.stop()
        assert asyncio.get_running_loop().time() - began <= 10 + 5 + 3

    play(story)
