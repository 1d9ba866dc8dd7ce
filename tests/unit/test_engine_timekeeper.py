"""Comparing clocks with the store."""

from collections.abc import Iterator

import pytest
import structlog
from structlog.testing import capture_logs
from tests.support.build import NOW
from tests.support.engine_lab import ManualClock, play
from tests.support.memory_store import MemoryStore

from tocsin.domain.errors import StoreUnavailable
from tocsin.domain.instant import Millis
from tocsin.engine.clock import SharedClock, SystemClock
from tocsin.engine.timekeeper import TRIES, Timekeeper, clock_for


@pytest.fixture(autouse=True)
def _fresh_loggers() -> Iterator[None]:
    structlog.reset_defaults()
    yield
    structlog.reset_defaults()


class Watch:
    """A timekeeper on a store that answers as fast as the test says."""

    def __init__(self, *, skew: Millis = 0, takes: Millis = 0) -> None:
        self.local = ManualClock()
        self.local.wall += skew
        self.ahead = -skew
        """What the store's clock is ahead of the local one."""
        self.takes = takes
        self.asked = 0
        self.moved = 0
        self.error: Exception | None = None
        self.clock = SharedClock(self.local)
        self.keeper = Timekeeper(
            store=MemoryStore(clock=self._time, before=self._before),
            clock=self.clock,
            on_moved=self._on_moved,
        )

    async def _before(self, _method: str) -> None:
        if self.error is not None:
            raise self.error

    def _time(self) -> Millis:
        self.asked += 1
        self.local.pass_by(self.takes)
        return self.local.now() + self.ahead

    def _on_moved(self) -> None:
        self.moved += 1

    async def step(self) -> Millis:
        return await self.keeper.step(self.clock.now())


def test_a_store_without_a_clock_leaves_this_machines() -> None:
    async def story() -> None:
        assert isinstance(await clock_for(MemoryStore()), SystemClock)
        assert isinstance(await clock_for(MemoryStore(clock=lambda: NOW)), SharedClock)

    play(story)


def test_with_a_clock_that_needs_no_keeping_the_store_is_not_asked() -> None:
    async def story() -> None:
        def never() -> Millis:
            raise AssertionError("asked")

        keeper = Timekeeper(
            store=MemoryStore(clock=never), clock=ManualClock(), on_moved=lambda: None
        )
        assert await keeper.step(NOW + 7) == NOW + 7
        assert (keeper.active, keeper.problem, keeper.load) == (False, None, {})

    play(story)


def test_a_step_returns_the_instant_as_it_is_now_known() -> None:
    async def story() -> None:
        watch = Watch(skew=600_000)
        assert abs(await watch.step() - NOW) <= 1
        assert watch.moved == 1
        assert watch.keeper.load == {"clock_offset_ms": -600_000, "round_trip_ms": 0.0}
        await watch.step()
        assert (watch.asked, watch.moved) == (2, 1), "one sample each, and no needless news"

    play(story)


def test_samples_are_taken_in_a_row_until_one_counts() -> None:
    async def story() -> None:
        watch = Watch(takes=201)
        await watch.step()
        assert watch.asked == TRIES
        watch.takes = 600
        await watch.step()
        assert watch.asked == TRIES + 2, "not for longer than a second"
        watch.takes = 150
        await watch.step()
        assert watch.asked == TRIES + 3

    play(story)


def test_too_slow_a_store_is_a_problem_that_is_said_once() -> None:
    async def story() -> None:
        watch = Watch(takes=350)
        assert watch.keeper.problem is None, "nothing is known yet"
        with capture_logs() as logs:
            await watch.step()
            await watch.step()
            assert watch.keeper.problem == (
                "the database answered too slowly to compare clocks: "
                "round trip 350 ms, at most 200 ms count"
            )
            watch.takes = 1
            await watch.step()
            await watch.step()
        assert watch.keeper.problem is None
        assert [entry["event"] for entry in logs] == ["clock.unknown", "clock.known"]
        assert logs[0]["error"].startswith("the database answered too slowly")

    play(story)


def test_a_skewed_clock_is_said_when_it_begins_and_when_it_ends() -> None:
    async def story() -> None:
        watch = Watch()
        with capture_logs() as logs:
            for skew in (0, 900, 1_001, 90_000, 700, 1_200, 300, 900):
                watch.local.wall += skew - -watch.ahead
                watch.ahead = -skew
                await watch.step()
        assert [entry["event"] for entry in logs] == ["clock.skewed", "clock.agrees"]
        assert logs[0]["offset_ms"] == -1_001
        assert logs[0]["skew"] == "1.0 s ahead of the database's clock"
        assert "NTP" in logs[0]["remedy"]
        assert watch.keeper.problem is None, "it is corrected for"

    play(story)


def test_a_database_clock_that_was_set_is_said() -> None:
    async def story() -> None:
        watch = Watch()
        await watch.step()
        with capture_logs() as logs:
            watch.ahead += 500
            await watch.step()
        assert [(entry["event"], entry["by_ms"]) for entry in logs] == [("clock.stepped", 500)]
        assert watch.moved == 1

    play(story)


def test_a_store_that_is_away_says_so_itself() -> None:
    async def story() -> None:
        watch = Watch()
        watch.error = StoreUnavailable("away")
        with pytest.raises(StoreUnavailable):
            await watch.step()
        assert watch.keeper.problem is None

    play(story)
