"""Who gets the next call slot."""

from collections import Counter

from hypothesis import given
from hypothesis import strategies as st
from tests.support.engine_lab import claim, many, target_job
from tests.support.scale import examples

from tocsin.engine.held import Held
from tocsin.engine.lanes import Lanes

ONE, TWO, THREE = (target_job(name, f"http://{name}.example") for name in ("one", "two", "three"))


def held(lanes: Lanes, of: object, count: int = 1) -> list[Held]:
    added = [Held(one) for one in many(of, count)]  # type: ignore[arg-type]
    for one in added:
        lanes.add(one.claim.execution.lane, [one])
    return added


def take(lanes: Lanes) -> list[str]:
    return [one.claim.job.name for one in lanes.take()]


def test_lanes_take_turns() -> None:
    lanes = Lanes(max_in_flight=6, max_per_lane=6)
    held(lanes, ONE, 100)
    held(lanes, TWO, 2)
    held(lanes, THREE, 2)
    assert take(lanes) == ["one", "two", "three", "one", "two", "three"]


def test_a_full_lane_is_passed_over_until_one_of_its_calls_ends() -> None:
    lanes = Lanes(max_in_flight=10, max_per_lane=2)
    held(lanes, ONE, 5)
    held(lanes, TWO, 1)
    assert Counter(take(lanes)) == {"one": 2, "two": 1}
    assert take(lanes) == []
    lanes.ended(ONE.spec.lane)
    assert take(lanes) == ["one"]


def test_no_more_than_max_in_flight_are_under_way() -> None:
    lanes = Lanes(max_in_flight=3, max_per_lane=3)
    held(lanes, ONE, 2)
    held(lanes, TWO, 2)
    assert len(take(lanes)) == 3
    assert lanes.in_flight == 3
    assert take(lanes) == []
    lanes.ended(TWO.spec.lane)
    assert len(take(lanes)) == 1


def test_what_waits_in_a_full_lane_takes_no_free_slot_from_the_others() -> None:
    lanes = Lanes(max_in_flight=10, max_per_lane=2)
    held(lanes, ONE, 50)
    take(lanes)
    assert lanes.free_slots == 8
    held(lanes, TWO, 1)
    assert lanes.free_slots == 7, "but what is about to start in another lane does"


def test_a_lane_is_full_with_what_is_ready_and_saturated_with_a_refill_on_top() -> None:
    lanes = Lanes(max_in_flight=10, max_per_lane=2)
    held(lanes, ONE, 1)
    assert lanes.full() == frozenset()
    held(lanes, ONE, 1)
    assert lanes.full() == {ONE.spec.lane}
    take(lanes)
    held(lanes, ONE, 1)
    assert lanes.saturated() == frozenset()
    held(lanes, ONE, 1)
    assert lanes.saturated() == {ONE.spec.lane}


def test_one_that_is_taken_out_is_not_taken() -> None:
    lanes = Lanes(max_in_flight=10, max_per_lane=5)
    first, second = held(lanes, ONE, 2)
    lanes.remove(first)
    lanes.remove(first)
    assert list(lanes.take()) == [second]
    lanes.remove(Held(claim(TWO)))


def test_nothing_is_left_when_all_have_ended() -> None:
    lanes = Lanes(max_in_flight=10, max_per_lane=1)
    gone = held(lanes, ONE, 3)
    for one in gone[1:]:
        lanes.remove(one)
    take(lanes)
    lanes.ended(ONE.spec.lane)
    assert not any((lanes._ready, lanes._calling, lanes._turns, lanes._in_turns, lanes.in_flight))


@examples(200)
@given(
    max_in_flight=st.integers(1, 6),
    max_per_lane=st.integers(1, 4),
    moves=st.lists(st.tuples(st.sampled_from("+-xt"), st.integers(0, 2)), max_size=60),
)
def test_limits_hold_and_no_slot_stays_free_while_somebody_may_have_it(
    max_in_flight: int, max_per_lane: int, moves: list[tuple[str, int]]
) -> None:
    lanes = Lanes(max_in_flight=max_in_flight, max_per_lane=max_per_lane)
    jobs = (ONE, TWO, THREE)
    ready: dict[int, list[Held]] = {0: [], 1: [], 2: []}
    calling: Counter[int] = Counter()
    for move, which in moves:
        match move:
            case "+":
                ready[which] += held(lanes, jobs[which])
            case "-" if calling[which]:
                calling[which] -= 1
                lanes.ended(jobs[which].spec.lane)
            case "x" if ready[which]:
                lanes.remove(ready[which].pop())
            case "t":
                for one in lanes.take():
                    lane = jobs.index(one.claim.job)
                    assert one is ready[lane].pop(0), "in order within a lane"
                    calling[lane] += 1
                could = [lane for lane in ready if ready[lane] and calling[lane] < max_per_lane]
                assert not could or calling.total() == max_in_flight
            case _:
                pass
        assert lanes.in_flight == calling.total() <= max_in_flight
        assert max(calling.values(), default=0) <= max_per_lane
