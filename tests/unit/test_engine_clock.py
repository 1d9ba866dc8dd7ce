"""The clock that goes by the store's time."""

from hypothesis import given
from hypothesis import strategies as st
from tests.support.build import NOW, SECOND
from tests.support.engine_lab import ManualClock

from tocsin.domain.instant import Millis
from tocsin.engine.clock import COUNTS_FOR, DRIFT, LEAN, MAX_ROUND_TRIP, SharedClock


class Machine:
    """A machine with a wrong wall clock, and the store's time, which is the true one."""

    def __init__(self, skew: Millis = 0, rate: float = 0.0) -> None:
        self.local = ManualClock()
        self.local.wall += skew
        self.true = float(NOW)
        self._rate = rate
        self.shared = SharedClock(self.local)

    def pass_by(self, millis: float) -> None:
        self.true += millis
        self.local.seconds += millis * (1 + self._rate) / 1_000
        self.local.wall += round(millis)

    def sample(self, there: float, back: float) -> float:
        """Ask the store for its time; returns by how much the clock moved."""
        asked_at = self.local.seconds
        self.pass_by(there)
        store_time = int(self.true)
        self.pass_by(back)
        return self.shared.learn(
            asked_at=asked_at, store_time=store_time, answered_at=self.local.seconds
        )

    @property
    def off(self) -> float:
        """How far the clock is ahead; it rounds down."""
        return self.shared.now() - self.true


delays = st.floats(0.0, 150.0)


@given(
    skew=st.integers(-(10**9), 10**9),
    rate=st.floats(-DRIFT * 0.99, DRIFT * 0.99),
    samples=st.lists(st.tuples(st.floats(0, 90_000), delays, delays), min_size=1, max_size=12),
    after=st.floats(0, 300_000),
)
def test_it_is_early_by_half_the_best_round_trip_at_most_and_not_at_all_where_that_is_short(
    skew: Millis, rate: float, samples: list[tuple[float, float, float]], after: float
) -> None:
    """However unevenly the delays are divided, and whatever the wall clock says."""
    machine = Machine(skew, rate)
    bounds = []
    for wait, there, back in samples:
        machine.pass_by(wait)
        machine.sample(there, back)
        if there + back <= 1_000 * MAX_ROUND_TRIP:
            bounds.append((machine.true, (there + back) / 2))
        if machine.shared.ready:
            assert abs(machine.off) <= machine.shared.error_ms + 1
    machine.pass_by(after)
    if machine.shared.ready:
        # (A sample that is not the last has aged; half a millisecond is the store's rounding.)
        best = 0.6 + min(half + 2.1 * DRIFT * (machine.true - at) for at, half in bounds)
        assert machine.shared.error_ms <= best + LEAN
        assert -best - LEAN - 1 <= machine.off <= max(0.0, best - LEAN) + 2 * DRIFT * after
    else:
        assert not bounds


def test_a_jump_of_the_wall_clock_changes_nothing() -> None:
    machine = Machine()
    machine.sample(1, 1)
    machine.local.wall += 3_600_000
    assert abs(machine.off) <= 2
    assert abs(machine.shared.offset_ms - -3_600_000) <= 2
    assert abs(machine.sample(1, 1)) < 1


def test_the_offset_is_what_must_be_added_to_the_wall_clock() -> None:
    ahead = Machine(skew=600_000)
    ahead.sample(0, 0)
    assert ahead.shared.offset_ms == -600_000
    assert ahead.shared.round_trip_ms == 0.0


def test_before_the_first_sample_it_shows_the_wall_clock_and_is_not_ready() -> None:
    machine = Machine(skew=-5_000)
    assert machine.shared.now() == machine.local.now()
    assert not machine.shared.ready
    assert machine.shared.error_ms == float("inf")
    assert machine.shared.round_trip_ms is None


def test_a_sample_counts_up_to_200_ms() -> None:
    machine = Machine()
    machine.sample(100, 101)
    assert not machine.shared.ready
    machine.sample(100, 99.9)
    assert machine.shared.ready


def test_a_slow_sample_is_better_than_none_but_does_not_count() -> None:
    machine = Machine(skew=600_000)
    machine.sample(0, 350)
    assert not machine.shared.ready
    assert abs(machine.off) <= 176 + LEAN
    assert machine.shared.round_trip_ms is not None
    assert round(machine.shared.round_trip_ms) == 350


def test_slow_and_noisy_samples_do_not_move_a_clock_that_is_known() -> None:
    machine = Machine()
    machine.sample(0.5, 0.5)
    for there, back in ((0, 190), (190, 0), (3, 40), (0, 2_000), (2_000, 0)):
        machine.pass_by(SECOND)
        assert abs(machine.sample(there, back)) < 2
        assert -LEAN - 2 < machine.off <= 0
    assert machine.shared.ready


def test_one_good_sample_after_noisy_ones_is_enough() -> None:
    machine = Machine()
    for _ in range(5):
        machine.sample(0, 180)
    assert abs(machine.off) > 50
    machine.sample(1, 1)
    assert abs(machine.off) <= 2


def test_where_a_clock_has_jumped_the_newest_sample_holds() -> None:
    machine = Machine()
    machine.sample(0.5, 0.5)
    for by in (30_000, -45_000, 5):
        machine.true += by
        machine.pass_by(SECOND)
        moved = machine.sample(0.5, 0.5)
        assert abs(moved - by) < 2
        assert machine.shared.ready
        assert abs(machine.off) <= 1.6


def test_a_slow_sample_that_proves_a_jump_ends_the_readiness_until_one_counts() -> None:
    """As after a virtual machine stood still: its clocks did not notice."""
    machine = Machine()
    machine.sample(0.5, 0.5)
    machine.true += 20_000
    machine.sample(300, 300)
    assert not machine.shared.ready
    assert abs(machine.off) <= 301
    machine.sample(0.5, 0.5)
    assert machine.shared.ready
    assert abs(machine.off) <= 1.6


def test_it_stays_ready_for_ten_minutes_and_admits_a_growing_error() -> None:
    machine = Machine(rate=DRIFT)
    machine.sample(0.5, 0.5)
    machine.pass_by(1_000 * (COUNTS_FOR - 1))
    machine.sample(0, 300)
    assert machine.shared.ready
    assert 100 < abs(machine.off) <= machine.shared.error_ms + 1 < 130
    machine.pass_by(SECOND)
    assert not machine.shared.ready
    machine.sample(1, 1)
    assert machine.shared.ready


def test_corrections_of_clocks_that_do_not_jump_are_within_the_error() -> None:
    machine = Machine(rate=DRIFT / 2)
    machine.sample(2, 3)
    for _ in range(100):
        machine.pass_by(SECOND)
        admitted = machine.shared.error_ms
        assert abs(machine.sample(2, 3)) <= admitted
