"""The claims in a node's hands."""

from tests.support.build import NOW
from tests.support.engine_lab import claim, ids, many, target_job

from tocsin.engine.held import LEAVE_AT_ONCE, TURN, Held, HeldClaims, Stage

JOB = target_job("one")


def leave(claims: HeldClaims, now: int) -> list[str]:
    return [held.claim.execution.id for _, ready in claims.leave(now) for held in ready]


def test_claims_leave_at_their_instants_earliest_first() -> None:
    claims = HeldClaims(many_of_job=100)
    late, early = claim(JOB, NOW + 20), claim(JOB, NOW + 10)
    for one in (late, early):
        assert claims.add(one)
    assert claims.next_instant() == NOW + 10
    assert leave(claims, NOW + 9) == []
    assert leave(claims, NOW + 20) == ids([early, late])
    assert claims.next_instant() is None


def test_a_burst_at_one_instant_leaves_in_the_order_in_which_it_came() -> None:
    claims = HeldClaims(many_of_job=100)
    burst = many(JOB, 100)
    for one in burst:
        claims.add(one)
    assert len(claims._instants) == 1
    assert leave(claims, NOW) == ids(burst)


def test_a_retry_leaves_when_it_is_available_not_when_it_was_due() -> None:
    claims = HeldClaims(many_of_job=100)
    claims.add(claim(JOB, NOW, available_at=NOW + 3_000))
    assert leave(claims, NOW + 2_999) == []
    assert len(leave(claims, NOW + 3_000)) == 1


def test_a_claim_is_held_once() -> None:
    claims = HeldClaims(many_of_job=100)
    one = claim(JOB)
    assert claims.add(one)
    assert not claims.add(one)
    assert len(claims) == 1


def test_the_instant_of_a_dropped_claim_passes_without_it() -> None:
    claims = HeldClaims(many_of_job=100)
    one = claim(JOB)
    claims.add(one)
    assert claims.drop(one.execution.id) is not None
    assert claims.drop(one.execution.id) is None
    assert leave(claims, NOW) == []


def test_the_instant_of_a_claim_that_was_given_up_passes_without_it() -> None:
    """It is still held until its end is stored, but must not be called meanwhile."""
    claims = HeldClaims(many_of_job=100)
    one = claim(JOB)
    claims.add(one)
    held = claims.get(one.execution.id)
    assert held is not None
    held.stage = Stage.RECORDING
    assert leave(claims, NOW) == []
    assert held.stage is Stage.RECORDING


def test_one_that_was_dropped_and_claimed_again_leaves_once() -> None:
    claims = HeldClaims(many_of_job=100)
    one = claim(JOB)
    claims.add(one)
    claims.drop(one.execution.id)
    claims.add(one)
    assert leave(claims, NOW) == ids([one])


def test_claims_are_found_by_job() -> None:
    claims = HeldClaims(many_of_job=100)
    other = target_job("other")
    for one in (claim(JOB, NOW), claim(JOB, NOW + 1), claim(other)):
        claims.add(one)
    found: list[Held] = list(claims.of_job(JOB.id))
    assert [held.claim.job.name for held in found] == ["one", "one"]
    assert list(claims.of_job("nobody")) == []


def test_a_lane_is_crowded_from_its_share_on() -> None:
    claims = HeldClaims(many_of_job=100)
    burst = many(JOB, 5)
    for one in burst:
        claims.add(one)
    claims.add(claim(target_job("other", "http://two.example")))
    assert claims.crowded(6) == frozenset()
    assert claims.crowded(5) == {JOB.spec.lane}
    claims.drop(burst[0].execution.id)
    assert claims.crowded(5) == frozenset()


def test_nothing_is_left_when_all_have_gone() -> None:
    claims = HeldClaims(many_of_job=100)
    for one in many(JOB, 10):
        claims.add(one)
    for held in [held for _, ready in claims.leave(NOW) for held in ready]:
        claims.drop(held.claim.execution.id)
    left = (claims._by_id, claims._by_job, claims._by_lane, claims._instants, claims._leaving)
    assert not any(left)


def test_a_flood_becomes_ready_by_and_by_and_lanes_take_turns() -> None:
    claims = HeldClaims(many_of_job=100)
    flood = many(JOB, LEAVE_AT_ONCE + 700)
    lone = claim(target_job("other", "http://two.example"))
    for one in (*flood, lone):
        claims.add(one)
    first = leave(claims, NOW)
    assert lone.execution.id in first[: TURN + 1]
    assert len(first) <= LEAVE_AT_ONCE + TURN
    assert claims.due == len(flood) + 1 - len(first)
    # What leaves earlier, and comes later, goes behind what is due already.
    dropped = flood[-1].execution.id
    claims.drop(dropped)
    rest = leave(claims, NOW)
    assert claims.due == 0
    assert sorted([*first, *rest, dropped]) == sorted(ids([*flood, lone]))
