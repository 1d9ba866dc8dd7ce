"""What a node can prove of its lease."""

from tests.support.engine_lab import ManualClock

from tocsin.engine.lease import Lease


def leased() -> tuple[Lease, ManualClock]:
    clock = ManualClock()
    return Lease(clock=clock, ttl=5_000), clock


def test_nothing_is_held_before_it_was_granted() -> None:
    lease, _ = leased()
    assert not lease.held
    assert lease.incarnation == ""


def test_it_counts_from_when_it_was_asked_for_not_from_the_answer() -> None:
    lease, clock = leased()
    asked_at = clock.monotonic()
    clock.pass_by(4_000)
    lease.begin("a", asked_at)
    assert lease.held
    clock.pass_by(600)
    assert not lease.held


def test_it_ends_a_tenth_of_its_length_early() -> None:
    lease, clock = leased()
    lease.begin("a", clock.monotonic())
    clock.pass_by(4_499)
    assert lease.held
    clock.pass_by(1)
    assert not lease.held


def test_the_wall_clock_plays_no_part() -> None:
    lease, clock = leased()
    lease.begin("a", clock.monotonic())
    clock.wall += 3_600_000
    assert lease.held


def test_a_renewal_extends_it_and_a_late_one_revives_it() -> None:
    lease, clock = leased()
    lease.begin("a", clock.monotonic())
    clock.pass_by(4_000)
    lease.renewed(clock.monotonic())
    clock.pass_by(4_000)
    assert lease.held
    clock.pass_by(60_000)
    assert not lease.held
    lease.renewed(clock.monotonic())
    assert lease.held


def test_it_is_settled_after_one_whole_lease_without_a_gap() -> None:
    lease, clock = leased()
    lease.begin("a", clock.monotonic())
    for _ in range(4):
        clock.pass_by(1_000)
        lease.renewed(clock.monotonic())
        assert not lease.settled
    clock.pass_by(1_000)
    assert lease.settled


def test_a_gap_unsettles_it() -> None:
    lease, clock = leased()
    lease.begin("a", clock.monotonic())
    clock.pass_by(4_000)
    lease.renewed(clock.monotonic())
    clock.pass_by(4_000)
    assert lease.settled
    clock.pass_by(2_000)
    lease.renewed(clock.monotonic())
    assert lease.held
    assert not lease.settled


def test_a_lost_one_is_gone_with_its_incarnation() -> None:
    lease, clock = leased()
    lease.begin("a", clock.monotonic())
    clock.pass_by(4_000)
    lease.lost()
    assert not lease.held
    assert lease.incarnation == ""
    lease.begin("b", clock.monotonic())
    clock.pass_by(4_000)
    assert lease.held
    assert not lease.settled, "the time of the one before does not count"
