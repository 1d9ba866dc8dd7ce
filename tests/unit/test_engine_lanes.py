"""Who gets the next call slot."""

from collections import Counter
from dataclasses import replace
from itertools import chain

from hypothesis import given
from hypothesis import strategies as st
from tests.support.engine_lab import claim, many, target_job
from tests.support.scale import examples

from tocsin.domain.job import DeliveryMode, Job
from tocsin.engine.held import Held
from tocsin.engine.lanes import Lanes

ONE, TWO, THREE = (target_job(name, f"http://{name}.example") for name in ("one", "two", "three"))
SAME_HOST = target_job("lone", "http://one.example")
MOVED = replace(ONE, spec=TWO.spec)
EXACT, EXACT_TWO = (
    target_job(f"exact-{name}", f"http://{name}.example", delivery=DeliveryMode.AT_MOST_ONCE)
    for name in ("one", "two")
)
ALL = (ONE, TWO, THREE, SAME_HOST, EXACT, EXACT_TWO, MOVED)


def held(lanes: Lanes, of: object, count: int = 1) -> list[Held]:
    added = [Held(one) for one in many(of, count)]  # type: ignore[arg-type]
    for one in added:
        lanes.add(one.claim.execution.lane, [one])
    return added


def take(lanes: Lanes) -> list[str]:
    return [one.claim.job.name for one in lanes.take()]


def test_lanes_take_turns() -> None:
    lanes = Lanes(max_in_flight=6, max_per_lane=6, max_per_job=100)
    held(lanes, ONE, 100)
    held(lanes, TWO, 2)
    held(lanes, THREE, 2)
    assert take(lanes) == ["one", "two", "three", "one", "two", "three"]


def test_a_full_lane_is_passed_over_until_one_of_its_calls_ends() -> None:
    lanes = Lanes(max_in_flight=10, max_per_lane=2, max_per_job=100)
    held(lanes, ONE, 5)
    held(lanes, TWO, 1)
    assert Counter(take(lanes)) == {"one": 2, "two": 1}
    assert take(lanes) == []
    lanes.ended(Held(claim(ONE)))
    assert take(lanes) == ["one"]


def test_no_more_than_max_in_flight_are_under_way() -> None:
    lanes = Lanes(max_in_flight=3, max_per_lane=3, max_per_job=100)
    held(lanes, ONE, 2)
    held(lanes, TWO, 2)
    assert len(take(lanes)) == 3
    assert lanes.in_flight == 3
    assert take(lanes) == []
    lanes.ended(Held(claim(TWO)))
    assert len(take(lanes)) == 1


def test_what_waits_in_a_full_lane_takes_no_free_slot_from_the_others() -> None:
    lanes = Lanes(max_in_flight=10, max_per_lane=2, max_per_job=100)
    held(lanes, ONE, 50)
    take(lanes)
    assert lanes.free_slots() == 8
    held(lanes, TWO, 1)
    assert lanes.free_slots() == 7, "but what is about to start in another lane does"


def test_a_lane_is_full_with_what_is_ready_and_saturated_with_a_refill_on_top() -> None:
    lanes = Lanes(max_in_flight=10, max_per_lane=2, max_per_job=100)
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
    lanes = Lanes(max_in_flight=10, max_per_lane=5, max_per_job=100)
    first, second = held(lanes, ONE, 2)
    lanes.remove(first)
    lanes.remove(first)
    assert list(lanes.take()) == [second]
    lanes.remove(Held(claim(TWO)))


def test_nothing_is_left_when_all_have_ended() -> None:
    lanes = Lanes(max_in_flight=10, max_per_lane=1, max_per_job=100)
    gone = held(lanes, ONE, 3)
    for one in gone[1:]:
        lanes.remove(one)
    take(lanes)
    lanes.ended(Held(claim(ONE)))
    assert nothing_left(lanes)


# --- few at a time to what answers at once


def test_a_lane_has_its_eager_calls_and_one_more_for_each_that_lasts_up_to_its_limit() -> None:
    lanes = Lanes(max_in_flight=100, max_per_lane=5, max_per_job=100, eager=2)
    held(lanes, ONE, 20)
    held(lanes, TWO, 1)
    first = list(lanes.take())
    assert Counter(one.claim.job.name for one in first) == {"one": 2, "two": 1}
    assert lanes.holds_back
    assert not lanes.startable
    ones = [one for one in first if one.claim.job is ONE]
    lanes.lasts(ones[0])
    lanes.lasts(ones[0])
    assert take(lanes) == ["one"], "once for each"
    lanes.lasts(ones[1])
    more = list(lanes.take())
    assert len(more) == 1
    lanes.ended(ones[0])
    assert take(lanes) == [], "two that do not last are under way still"
    lanes.ended(more[0])
    assert take(lanes) == ["one"]
    for one in lanes._ready:
        assert lanes._calling[one] == 3


def test_at_its_limit_a_lane_does_not_wait_for_calls_to_last() -> None:
    lanes = Lanes(max_in_flight=100, max_per_lane=2, max_per_job=100, eager=8)
    held(lanes, ONE, 20)
    first = list(lanes.take())
    assert len(first) == 2
    assert not lanes.holds_back
    lanes.lasts(first[0])
    assert take(lanes) == []


def test_a_lane_whose_ready_claims_are_gone_is_not_held_back() -> None:
    lanes = Lanes(max_in_flight=100, max_per_lane=5, max_per_job=100, eager=1)
    ready = held(lanes, ONE, 2)
    list(lanes.take())
    assert lanes.holds_back
    lanes.remove(ready[1])
    assert not lanes.holds_back


def test_claims_at_their_instant_go_beside_the_eager_ones_and_those_behind_them_do_not() -> None:
    lanes = Lanes(max_in_flight=100, max_per_lane=4, max_per_job=100, eager=1)
    held(lanes, ONE, 5)
    assert take(lanes) == ["one"]
    exact = held(lanes, EXACT, 2)
    lanes.remove(exact[0])
    assert list(lanes.take()) == [exact[1]]
    assert lanes.holds_back
    lanes.remove(held(lanes, EXACT, 1)[0])
    assert take(lanes) == [], "nor when the one before them is taken away"


# --- each job its share


def test_what_a_job_has_beyond_its_limit_waits_without_a_slot_and_without_its_lane() -> None:
    lanes = Lanes(max_in_flight=20, max_per_lane=10, max_per_job=2)
    first, second, third, fourth = held(lanes, ONE, 4)
    (lone,) = held(lanes, SAME_HOST)
    assert list(lanes.take()) == [first, second, lone]
    assert lanes.free_slots() == 17, "what waits for its job takes no slot"
    assert lanes.full() == frozenset(), "nor does it fill its lane"
    lanes.ended(first)
    assert list(lanes.take()) == [third]
    lanes.ended(lone)
    assert list(lanes.take()) == []
    lanes.remove(fourth)
    lanes.ended(second)
    assert list(lanes.take()) == []


def test_a_slot_of_a_job_goes_to_the_claim_that_has_waited_longest() -> None:
    lanes = Lanes(max_in_flight=20, max_per_lane=10, max_per_job=1)
    first, second, third = held(lanes, ONE, 3)
    assert list(lanes.take()) == [first]
    (fourth,) = held(lanes, ONE)
    for one, then in ((first, second), (second, third), (third, fourth)):
        lanes.ended(one)
        assert list(lanes.take()) == [then]


def test_those_that_were_set_aside_are_let_in_in_the_order_in_which_they_came() -> None:
    lanes = Lanes(max_in_flight=20, max_per_lane=10, max_per_job=2)
    first, second, third, fourth = held(lanes, ONE, 4)
    assert list(lanes.take()) == [first, second]
    lanes.ended(first)
    lanes.ended(second)
    assert list(lanes.take()) == [third, fourth]


def test_a_claim_that_was_set_aside_goes_back_into_its_own_lane() -> None:
    lanes = Lanes(max_in_flight=20, max_per_lane=10, max_per_job=1)
    (before,) = held(lanes, ONE)
    after, gone = held(lanes, MOVED, 2)
    assert list(lanes.take()) == [before]
    lanes.ended(before)
    assert list(lanes.take()) == [after]
    lanes.ended(after)
    lanes.remove(gone)
    assert list(lanes.take()) == []
    assert nothing_left(lanes)


def test_the_slot_of_one_that_is_taken_out_goes_to_the_next_of_its_job() -> None:
    lanes = Lanes(max_in_flight=20, max_per_lane=10, max_per_job=1)
    first, second, third = held(lanes, ONE, 3)
    assert list(lanes.take()) == [first]
    lanes.ended(first)
    lanes.remove(second)
    assert list(lanes.take()) == [third]


# --- claims that come at their instant


def test_a_burst_that_was_claimed_ahead_leaves_slots_for_what_comes_at_its_instant() -> None:
    lanes = Lanes(max_in_flight=32, max_per_lane=32, max_per_job=100)
    held(lanes, ONE, 100)
    assert take(lanes) == ["one"] * 30
    assert lanes.free_slots() == 2
    held(lanes, EXACT, 3)
    assert lanes.startable
    assert take(lanes) == ["exact-one"] * 2
    assert not lanes.startable
    assert lanes.free_slots() == 0


def test_what_comes_at_its_instant_goes_before_what_was_claimed_ahead() -> None:
    lanes = Lanes(max_in_flight=3, max_per_lane=3, max_per_job=100)
    held(lanes, ONE, 2)
    held(lanes, TWO, 2)
    held(lanes, EXACT, 2)
    assert take(lanes) == ["exact-one", "exact-one", "two"]


def test_a_lane_whose_claim_at_its_instant_is_gone_does_not_stand_before_those_of_others() -> None:
    lanes = Lanes(max_in_flight=32, max_per_lane=32, max_per_job=100)
    held(lanes, THREE, 30)
    assert len(take(lanes)) == 30
    held(lanes, TWO)
    (at_its_instant,) = held(lanes, EXACT)
    (gone,) = held(lanes, EXACT_TWO)
    lanes.remove(gone)
    assert lanes.startable
    assert list(lanes.take()) == [at_its_instant]


def test_of_what_came_at_its_instant_that_is_turned_away_which_finds_no_slot() -> None:
    lanes = Lanes(max_in_flight=32, max_per_lane=20, max_per_job=2)
    held(lanes, ONE, 19)
    assert len(take(lanes)) == 2
    came = held(lanes, EXACT, 3)
    assert lanes.turn_away(came) == [came[2]], "a job has its limit at its instant too"
    assert list(lanes.take()) == came[:2]


def test_what_waits_for_its_lane_keeps_back_nothing_of_its_job_in_another() -> None:
    lanes = Lanes(max_in_flight=3, max_per_lane=2, max_per_job=2)
    (one,) = held(lanes, ONE)
    held(lanes, MOVED)
    assert len(take(lanes)) == 2
    (moved,) = held(lanes, MOVED)
    (other,) = held(lanes, ONE)
    assert take(lanes) == [], "the job has its limit"
    held(lanes, TWO)
    assert take(lanes) == ["two"], "and now the lane of its new target too"
    lanes.ended(one)
    assert list(lanes.take()) == [other]
    lanes.ended(other)
    assert list(lanes.take()) == []
    lanes.remove(moved)


@examples(300)
@given(
    max_in_flight=st.integers(1, 40),
    max_per_lane=st.integers(1, 4),
    max_per_job=st.integers(1, 2),
    eager=st.integers(1, 5),
    jobs=st.sets(st.sampled_from(range(len(ALL))), min_size=1, max_size=3).map(
        lambda chosen: [ALL[number] for number in sorted(chosen)]
    ),
    moves=st.lists(
        st.tuples(st.sampled_from("+++++---xyttll"), st.integers(0, 2)), min_size=20, max_size=80
    ),
)
def test_limits_hold_and_no_slot_stays_free_while_somebody_may_have_it(
    max_in_flight: int,
    max_per_lane: int,
    max_per_job: int,
    eager: int,
    jobs: list[Job],
    moves: list[tuple[str, int]],
) -> None:
    lanes = Lanes(
        max_in_flight=max_in_flight,
        max_per_lane=max_per_lane,
        max_per_job=max_per_job,
        eager=eager,
    )
    ahead = max_in_flight - max_in_flight // 16
    one_lane = not (ONE in jobs and MOVED in jobs)
    ready: dict[int, list[Held]] = {number: [] for number in range(len(jobs))}
    calling: dict[int, list[Held]] = {number: [] for number in range(len(jobs))}

    def in_lane(which: int) -> int:
        lane = jobs[which].spec.lane
        return sum(len(of) for number, of in calling.items() if jobs[number].spec.lane == lane)

    def quick_in_lane(which: int) -> int:
        lane = jobs[which].spec.lane
        return sum(
            not one.slow
            for number, of in calling.items()
            if jobs[number].spec.lane == lane
            for one in of
        )

    def of_job(which: int) -> int:
        return sum(len(of) for number, of in calling.items() if jobs[number].id == jobs[which].id)

    def total() -> int:
        return sum(map(len, calling.values()))

    for move, chosen in moves:
        which = chosen % len(jobs)
        match move:
            case "+":
                ready[which] += held(lanes, jobs[which])
            case "-" if calling[which]:
                lanes.ended(calling[which].pop())
            case "x" if ready[which]:
                lanes.remove(ready[which].pop())
            case "y" if ready[which]:
                lanes.remove(ready[which].pop(0))
            case "l" if calling[which]:
                lanes.lasts(calling[which][0])
            case "t":
                for one in lanes.take():
                    number = jobs.index(one.claim.job)
                    in_order = one is ready[number][0]
                    assert in_order or not one_lane, "in order within a job"
                    ready[number].remove(one)
                    calling[number].append(one)
                for number, job in enumerate(jobs):
                    could = (
                        ready[number]
                        and of_job(number) < max_per_job
                        and in_lane(number) < max_per_lane
                    )
                    exact = job.spec.delivery is DeliveryMode.AT_MOST_ONCE
                    eagerly = quick_in_lane(number) < min(eager, max_per_lane)
                    # Where no call may begin anyway, none waits for the sake of its lane.
                    if could and not exact and not eagerly and total() < ahead:
                        assert lanes.holds_back, "somebody looks after it"
                        could = False
                    assert not could or total() >= (max_in_flight if exact else ahead)
                assert not lanes.startable
            case _:
                pass
        assert lanes.in_flight == total() <= max_in_flight
        assert max(map(of_job, calling)) <= max_per_job
        assert max(map(in_lane, calling)) <= max_per_lane
    for one in chain.from_iterable(ready.values()):
        lanes.remove(one)
    for one in chain.from_iterable(calling.values()):
        lanes.ended(one)
    assert nothing_left(lanes)


def nothing_left(lanes: Lanes) -> bool:
    return not any(
        (
            lanes._ready,
            lanes._calling,
            lanes._calling_of_job,
            lanes._set_aside,
            lanes._slow,
            lanes.holds_back,
            lanes._turns,
            lanes._in_turns,
            lanes.in_flight,
        )
    )
