"""Counts of what ended, and how late the calls left."""

import json
from typing import Any

import pytest
from tests.support.build import NOW, attempt, execution, failed_attempt, job

from tocsin.domain.execution import Execution, Reason, State, closed
from tocsin.domain.tally import BOUNDS_MS, Tally, lateness, minute_of, tally_of


def ended(state: State, *, late: int | None = None, **fields: Any) -> Execution:
    if late is not None:
        fields["attempts"] = (attempt(started_at=NOW + late),)
    return closed(execution(job(), **fields), state, None, NOW + 100)


def test_each_final_state_has_its_count() -> None:
    tally = tally_of(
        [ended(State.SUCCEEDED)] * 4
        + [ended(State.FAILED)] * 3
        + [ended(State.CANCELLED)] * 2
        + [ended(State.SKIPPED)]
    )
    assert (tally.succeeded, tally.failed, tally.cancelled, tally.skipped) == (4, 3, 2, 1)


def test_a_skipped_range_counts_each_of_its_fire_times() -> None:
    tally = tally_of([ended(State.SKIPPED, reason=Reason.MISFIRE, skipped_count=999)])
    assert tally.skipped == 999


@pytest.mark.parametrize("state", [State.PENDING, State.CLAIMED])
def test_what_has_not_ended_is_not_counted(state: State) -> None:
    tally = tally_of([execution(job(), state=state, attempts=(failed_attempt(),))])
    assert tally == Tally()


def test_attempts_are_counted_all_and_lateness_by_the_first() -> None:
    one = ended(State.FAILED, attempts=(failed_attempt(1, started_at=NOW + 3), failed_attempt(2)))
    tally = tally_of([one])
    assert tally.attempts == 2
    assert sum(tally.lateness) == 1
    assert tally.lateness[BOUNDS_MS.index(3)] == 1


def test_lateness_counts_from_the_due_instant() -> None:
    one = ended(State.SUCCEEDED, late=250, due=NOW + 200)
    assert lateness(one) == 50


def test_a_call_that_left_early_by_the_clock_is_not_late() -> None:
    assert lateness(ended(State.SUCCEEDED, late=-3)) == 0


def test_without_a_call_there_is_no_lateness() -> None:
    assert lateness(ended(State.SKIPPED)) is None
    assert sum(tally_of([ended(State.CANCELLED)]).lateness) == 0


@pytest.mark.parametrize(
    ("late", "bucket"), [(0, 0), (1, 1), (6, 6), (7, 6), (8, 7), (3_600_000, -2), (10**9, -1)]
)
def test_a_lateness_falls_into_the_first_bucket_that_holds_it(late: int, bucket: int) -> None:
    counts = tally_of([ended(State.SUCCEEDED, late=late)]).lateness
    assert counts[bucket] == 1


def test_merged_tallies_count_as_if_counted_together() -> None:
    some = [ended(State.SUCCEEDED, late=5), ended(State.SKIPPED, skipped_count=3)]
    others = [ended(State.FAILED, late=700), ended(State.CANCELLED)]
    merged = tally_of(some)
    merged.merge(tally_of(others))
    assert merged == tally_of(some + others)


def test_merging_leaves_the_other_as_it_was() -> None:
    other = tally_of([ended(State.SUCCEEDED, late=5)])
    before = Tally.from_json(json.loads(json.dumps(other.to_json())))
    target = Tally()
    target.merge(other)
    target.add(ended(State.SUCCEEDED, late=5))
    assert other == before


def test_a_tally_survives_the_way_through_json() -> None:
    tally = tally_of([ended(State.SUCCEEDED, late=5), ended(State.FAILED, late=10**7)])
    assert Tally.from_json(json.loads(json.dumps(tally.to_json()))) == tally


def test_percentiles_of_nothing_do_not_exist() -> None:
    assert Tally().percentile(0.5) is None


def test_percentiles_are_interpolated_within_a_bucket() -> None:
    tally = tally_of([ended(State.SUCCEEDED, late=9)] * 10)  # 7 .. 10 ms
    assert tally.percentile(1.0) == pytest.approx(10)
    assert tally.percentile(0.5) == pytest.approx(8.5)


def test_percentiles_find_their_bucket() -> None:
    tally = tally_of([ended(State.SUCCEEDED, late=0)] * 98 + [ended(State.SUCCEEDED, late=400)] * 2)
    assert tally.percentile(0.5) == 0
    assert tally.percentile(0.98) == 0
    p99 = tally.percentile(0.99)
    assert p99 is not None
    assert 250 < p99 <= 500


def test_the_last_bucket_is_given_by_its_lower_bound() -> None:
    assert tally_of([ended(State.SUCCEEDED, late=10**9)]).percentile(0.99) == 3_600_000


def test_the_minute_of_an_instant() -> None:
    assert minute_of(NOW) == NOW
    assert minute_of(NOW + 59_999) == NOW
    assert minute_of(NOW + 60_000) == NOW + 60_000
