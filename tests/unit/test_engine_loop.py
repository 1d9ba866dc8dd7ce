"""How every loop keeps going."""

import asyncio
from collections.abc import Iterator

import pytest
import structlog
from structlog.testing import capture_logs
from tests.support.engine_lab import play

from tocsin.domain.errors import Revoked, StoreError, StoreUnavailable
from tocsin.engine.loop import LONGEST_PAUSE, Troubles, every
from tocsin.engine.meter import NoMeter


class Counting(NoMeter):
    def __init__(self) -> None:
        self.failures: list[StoreError] = []

    def store_failed(self, error: StoreError) -> None:
        self.failures.append(error)


@pytest.fixture(autouse=True)
def _fresh_loggers() -> Iterator[None]:
    structlog.reset_defaults()
    yield
    structlog.reset_defaults()


def run_steps(
    outcomes: list[Exception | None], seconds: float = 1.0
) -> tuple[list[float], list[str]]:
    """When each step ran, and the incarnations that were reported as revoked."""
    times: list[float] = []
    revoked: list[str] = []

    async def step() -> None:
        times.append(asyncio.get_running_loop().time() - 1_000.0)
        outcome = outcomes.pop(0) if outcomes else None
        if outcome is not None:
            raise outcome

    async def story() -> None:
        task = asyncio.create_task(
            every(seconds, step, Troubles("test", NoMeter()), on_revoked=revoked.append)
        )
        await asyncio.sleep(5.5)
        task.cancel()

    with capture_logs():
        play(story)
    return times, revoked


def test_a_step_runs_again_and_again() -> None:
    times, _ = run_steps([])
    assert times == [0, 1, 2, 3, 4, 5]


def test_no_error_ends_the_loop_and_after_one_it_comes_back_sooner() -> None:
    times, _ = run_steps([StoreUnavailable("away"), ZeroDivisionError()])
    assert times[:3] == [0, pytest.approx(0.05), pytest.approx(0.15)]
    assert times[-1] > 5


def test_a_revoked_lease_is_reported_with_the_incarnation_that_lost_it() -> None:
    _, revoked = run_steps([None, Revoked("inc-a")])
    assert revoked == ["inc-a"]


def test_of_failures_in_a_row_the_first_and_the_recovery_are_logged() -> None:
    meter = Counting()
    troubles = Troubles("fire", meter)
    with capture_logs() as logs:
        pauses = [troubles.failed(StoreUnavailable("away")) for _ in range(20)]
        troubles.passed()
        troubles.passed()
    assert [entry["event"] for entry in logs] == ["store.failed", "store.recovered"]
    assert logs[1]["failures"] == 20
    assert pauses == sorted(pauses)
    assert pauses[-1] == LONGEST_PAUSE
    assert len(meter.failures) == 20


def test_what_the_store_says_is_known_until_the_next_success() -> None:
    troubles = Troubles("fire", NoMeter())
    with capture_logs():
        assert not troubles.told
        troubles.failed(StoreUnavailable("the disk is full"))
        assert troubles.told == "the disk is full"
        troubles.failed(ZeroDivisionError("a bug"))
        assert not troubles.told, "of our own errors nobody is told but the log"
        troubles.failed(StoreUnavailable("the disk is full"))
        troubles.passed()
        assert not troubles.told


def test_a_bug_is_logged_each_time() -> None:
    troubles = Troubles("fire", NoMeter())
    with capture_logs() as logs:
        for _ in range(2):
            troubles.failed(ZeroDivisionError())
    assert [entry["event"] for entry in logs] == ["loop.failed"] * 2


def test_an_interval_that_varies_is_asked_for_after_each_step() -> None:
    times: list[float] = []

    async def step() -> None:
        times.append(asyncio.get_running_loop().time() - 1_000.0)

    async def story() -> None:
        task = asyncio.create_task(
            every(lambda: float(len(times)), step, Troubles("test", NoMeter()), on_revoked=print)
        )
        await asyncio.sleep(7)
        task.cancel()

    play(story)
    assert times == [0, 1, 3, 6]
