"""Starting each call at its instant."""

import asyncio
from dataclasses import replace
from itertools import pairwise

import pytest
from tests.support.build import NOW, every, failed_attempt
from tests.support.engine_lab import (
    Bench,
    claim,
    ids,
    kinds,
    many,
    play,
    target_job,
    turns,
    with_version,
)

from tocsin.domain.execution import ErrorKind, Reason, State, TriggerKind
from tocsin.domain.job import DeliveryMode, JobStatus
from tocsin.engine.dispatch import START_AT_ONCE
from tocsin.engine.held import Stage
from tocsin.engine.lanes import EAGER, PATIENCE


@pytest.fixture(autouse=True, params=[False, True], ids=["tasks", "express"])
def _kind_of_call(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Calls behave alike, whether they need a task or not."""
    monkeypatch.setattr(Bench, "express", request.param)


JOB = target_job("one", schedule=every(60_000))
OTHER = target_job("other", "http://two.example")


def stage(bench: Bench, execution_id: str) -> Stage:
    held = bench.dispatcher._claims.get(execution_id)
    assert held is not None
    return held.stage


# --- at its instant


def test_a_call_leaves_at_its_instant_and_not_before() -> None:
    async def story() -> None:
        bench = Bench()
        bench.begin()
        one = claim(JOB, NOW + 30)
        await bench.hold(one)
        bench.clock.pass_by(29)
        bench.dispatcher.pump()
        await turns()
        assert bench.caller.ids == []
        bench.clock.pass_by(1)
        bench.dispatcher.pump()
        await turns()
        assert bench.caller.ids == ids([one])
        assert bench.started == ids([one])

    play(story)


def test_it_wakes_itself_for_the_earliest_instant() -> None:
    async def story() -> None:
        bench = Bench(follows=True)
        bench.begin()
        late, early = claim(JOB, NOW + 700), claim(OTHER, NOW + 200)
        await bench.hold(late)
        await bench.hold(early)
        await asyncio.sleep(0.1999)
        assert bench.caller.ids == []
        await asyncio.sleep(0.002)
        assert bench.caller.ids == ids([early])
        await asyncio.sleep(0.5)
        assert bench.caller.ids == ids([early, late])

    play(story)


def test_a_wall_clock_that_was_set_back_delays_what_waits() -> None:
    async def story() -> None:
        bench = Bench(follows=True)
        bench.begin()
        await bench.hold(claim(JOB, NOW + 200))
        bench.clock.wall -= 1_000
        await asyncio.sleep(1.1)
        assert bench.caller.ids == []
        await asyncio.sleep(0.11)
        assert len(bench.caller.ids) == 1

    play(story)


def test_a_result_is_handed_on_and_the_claim_held_until_it_is_stored() -> None:
    async def story() -> None:
        bench = Bench()
        bench.begin()
        one = claim(JOB)
        await bench.hold(one)
        bench.caller.succeed(one.execution.id)
        await turns()
        (result,) = bench.results
        assert (result.state, len(result.attempts)) == (State.SUCCEEDED, 1)
        assert bench.dispatcher.held == 1
        assert bench.dispatcher.in_flight == 0
        bench.dispatcher.forget([one.execution.id])
        assert bench.empty

    play(story)


def test_a_failed_call_becomes_a_retry() -> None:
    async def story() -> None:
        bench = Bench()
        bench.begin()
        one = claim(JOB)
        await bench.hold(one)
        bench.caller.fail(one.execution.id)
        await turns()
        (result,) = bench.results
        assert (result.state, result.available_at) == (State.PENDING, NOW + 1_000)

    play(story)


def test_a_bug_in_making_the_call_ends_the_execution_and_frees_the_slot() -> None:
    async def story() -> None:
        bench = Bench()
        bench.begin()
        one = claim(JOB)
        await bench.hold(one)
        bench.caller.break_down(one.execution.id, ZeroDivisionError())
        await turns()
        (result,) = bench.results
        assert (result.state, kinds(result)) == (State.FAILED, [ErrorKind.PROTOCOL])
        bench.dispatcher.forget([one.execution.id])
        assert bench.empty

    play(story)


def test_a_bug_in_judging_a_call_costs_no_slot(monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_: object, **__: object) -> None:
        raise ZeroDivisionError

    async def story() -> None:
        bench = Bench(max_in_flight=1)
        bench.begin()
        one, other = claim(JOB), claim(JOB, salt="other")
        await bench.hold(one, other)
        with monkeypatch.context() as patched:
            patched.setattr("tocsin.engine.dispatch.settle", broken)
            bench.caller.succeed(one.execution.id)
            await turns()
        bench.caller.succeed(other.execution.id)
        await turns()
        assert [result.state for result in bench.results] == [State.FAILED, State.SUCCEEDED]
        assert kinds(bench.results[0]) == [ErrorKind.PROTOCOL]
        bench.dispatcher.forget([one.execution.id, other.execution.id])
        assert bench.empty

    play(story)


def test_what_is_held_already_is_not_called_again() -> None:
    async def story() -> None:
        bench = Bench()
        bench.begin()
        one = claim(JOB)
        await bench.hold(one)
        await bench.hold(one)
        assert len(bench.caller.ids) == 1

    play(story)


def test_a_claim_that_comes_back_before_its_result_is_known_to_be_stored_is_a_stray() -> None:
    """Held, it cannot be; forgotten, it would be nobody's: so the store is asked again."""

    async def story() -> None:
        bench = Bench()
        bench.begin()
        strays: list[bool] = []
        bench.dispatcher.on_stray = lambda: strays.append(True)
        one = claim(JOB)
        await bench.hold(one)
        bench.caller.fail(one.execution.id)
        await turns()
        await bench.hold(claim(JOB, attempts=(failed_attempt(),), available_at=NOW))
        assert strays == []
        room = bench.dispatcher.room
        bench.dispatcher.forget([one.execution.id])
        assert strays == [True]
        assert bench.dispatcher.room == room, "it is owned still, and comes back"
        assert len(bench.caller.ids) == 1

    play(story)


# --- the lease


def test_without_a_lease_nothing_leaves_and_with_it_all_that_waited() -> None:
    async def story() -> None:
        bench = Bench()
        one = claim(JOB)
        await bench.hold(one)
        assert bench.caller.ids == []
        assert stage(bench, one.execution.id) is Stage.READY
        bench.begin()
        bench.dispatcher.pump()
        await turns()
        assert bench.caller.ids == ids([one])

    play(story)


def test_a_lease_that_ends_between_the_slot_and_the_call_stops_the_call() -> None:
    async def story() -> None:
        bench = Bench(max_in_flight=1, max_per_lane=1, express=False)
        bench.begin()
        one = claim(JOB)
        bench.dispatcher.hold([one])
        assert stage(bench, one.execution.id) is Stage.STARTING
        bench.clock.pass_by(10_000)
        await turns()
        assert bench.caller.ids == []
        assert stage(bench, one.execution.id) is Stage.READY
        bench.lease.renewed(bench.clock.monotonic())
        bench.dispatcher.pump()
        await turns()
        assert bench.caller.ids == ids([one])

    play(story)


def test_a_call_that_may_not_be_sent_waits_for_the_next_proof_and_spins_on_nothing() -> None:
    async def story() -> None:
        bench = Bench(follows=True)
        bench.begin()
        bench.caller.may_send = False
        some = many(JOB, 3)
        await bench.hold(*some)
        loop = asyncio.get_running_loop()
        before = loop.steps  # type: ignore[attr-defined]
        await asyncio.sleep(1)
        assert loop.steps - before < 5  # type: ignore[attr-defined]
        assert bench.dispatcher.in_flight == 0
        assert {stage(bench, one.execution.id) for one in some} == {Stage.READY}
        bench.caller.may_send = True
        bench.caller.calls.clear()
        bench.dispatcher.pump()
        await turns()
        assert sorted(bench.caller.ids) == sorted(ids(some))

    play(story)


def test_a_burst_starts_in_slices_and_the_loop_goes_on_between() -> None:
    async def story() -> None:
        bench = Bench(max_held=100_000, max_in_flight=100_000, max_per_lane=100_000)
        bench.begin()
        hosts = [target_job(f"job-{n}", f"http://host-{n}.example") for n in range(250)]
        burst = [one for host in hosts for one in many(host, 20)]
        seen = []

        def look() -> None:
            seen.append(len(bench.dispatcher._under_way))
            if seen[-1] < len(burst):
                asyncio.get_running_loop().call_soon(look)

        asyncio.get_running_loop().call_soon(look)
        bench.dispatcher.hold(burst)
        await turns(100)
        assert seen[-1] == len(burst)
        steps = [later - earlier for earlier, later in pairwise(seen)]
        assert max(steps) <= START_AT_ONCE
        assert sorted(bench.caller.ids) == sorted(ids(burst))

    play(story)


def test_a_target_that_answers_at_once_gets_few_calls_at_a_time() -> None:
    """Each would open a connection that the next ones can do without."""

    async def story() -> None:
        bench = Bench(max_held=1_000, max_in_flight=1_000, max_per_lane=250, follows=True)
        bench.begin()
        await bench.hold(*many(JOB, 500))
        most = 0
        while bench.dispatcher.held:
            most = max(most, bench.dispatcher.in_flight)
            under_way = list(bench.caller._ends)
            assert under_way, "and yet somebody is always called"
            await asyncio.sleep(PATIENCE * 0.9 / len(under_way))
            for one in under_way:
                bench.caller.succeed(one)
            await turns()
            bench.dispatcher.forget([one.id for one in bench.results])
            bench.results.clear()
        assert most == EAGER
        assert bench.empty
        assert len(bench.caller.calls) == 500

    play(story)


def test_a_target_that_takes_its_time_gets_as_many_calls_as_it_may_have() -> None:
    async def story() -> None:
        bench = Bench(max_held=1_000, max_in_flight=1_000, max_per_lane=250, follows=True)
        bench.begin()
        await bench.hold(*many(JOB, 500))
        assert bench.dispatcher.in_flight == EAGER
        for seen in (2 * EAGER, 3 * EAGER, 250, 250):
            await asyncio.sleep(PATIENCE * 1.01)
            await turns(10)
            assert bench.dispatcher.in_flight == seen
        for one in list(bench.caller._ends)[:50]:
            bench.caller.succeed(one)
            await asyncio.sleep(PATIENCE / EAGER)
        await asyncio.sleep(PATIENCE * 1.01)
        await turns(10)
        assert bench.dispatcher.in_flight == 250, "what lasts does not hold up what comes after it"

    play(story)


def test_what_must_go_at_its_instant_does_not_wait_for_calls_that_may_last() -> None:
    async def story() -> None:
        bench = Bench(max_held=1_000, max_in_flight=1_000, max_per_lane=250, follows=True)
        bench.begin()
        await bench.hold(*many(JOB, 500))
        at_most_once = target_job("exact", delivery=DeliveryMode.AT_MOST_ONCE)
        exact = many(at_most_once, 3)
        await bench.hold(*exact)
        assert set(ids(exact)) <= set(bench.caller.ids)

    play(story)


def test_an_answer_that_has_come_while_the_loop_was_busy_is_read_before_its_call_lasts() -> None:
    async def story() -> None:
        bench = Bench(max_held=1_000, max_in_flight=1_000, max_per_lane=250, follows=True)
        bench.begin()
        await bench.hold(*many(JOB, EAGER + 1))

        def read() -> None:
            for one in list(bench.caller._ends):
                bench.caller.succeed(one)

        # As the loop does it: timers that are late, then what has come.
        loop = asyncio.get_running_loop()
        loop.call_later(PATIENCE, loop.call_soon, read)
        await asyncio.sleep(PATIENCE)
        await turns()
        assert bench.dispatcher._lanes._slow == {}

    play(story)


def test_a_lone_claim_does_not_wait_for_a_burst_of_another_lane() -> None:
    """Of 20,000 that are due at one instant, all before it, it gives way to a few."""

    async def story() -> None:
        bench = Bench(max_held=100_000, max_in_flight=1_000, max_per_lane=250)
        bench.begin()
        lone = claim(OTHER, NOW + 10)
        await bench.hold(*many(JOB, 20_000, NOW + 10), lone)
        bench.clock.pass_by(10)
        bench.dispatcher.pump()
        await turns(1)
        assert bench.caller.ids.index(lone.execution.id) <= 2

    play(story)


def test_a_call_that_connected_past_the_end_of_the_lease_waits_for_the_next_proof() -> None:
    async def story() -> None:
        bench = Bench(express=False)
        bench.begin()
        one = claim(JOB, NOW)
        await bench.hold(one)
        await turns()
        assert bench.caller.ids == ids([one])
        bench.clock.pass_by(5_000)
        bench.caller.not_started(one.execution.id)
        await turns()
        assert stage(bench, one.execution.id) is Stage.READY
        assert bench.dispatcher.in_flight == 0
        bench.dispatcher.pump()
        await turns()
        assert bench.caller.ids == ids([one])
        bench.lease.renewed(bench.clock.monotonic())
        bench.dispatcher.pump()
        await turns()
        assert bench.caller.ids == ids([one, one])
        assert list(bench.results) == []

    play(story)


def test_a_loop_that_starved_past_the_end_of_the_lease_starts_no_call() -> None:
    """Its timers are late, and the first thing that runs is the one that would call."""

    async def story() -> None:
        bench = Bench(follows=True)
        bench.begin()
        some = [claim(JOB, NOW + after, salt=str(after)) for after in (300, 1_000, 4_000, 8_000)]
        await bench.hold(*some)
        await asyncio.sleep(0.4)
        assert bench.caller.ids == ids(some[:1])
        bench.clock.pass_by(4_200)
        await asyncio.sleep(0.7)
        assert bench.caller.ids == ids(some[:1])
        assert [stage(bench, one) for one in ids(some[1:3])] == [Stage.READY] * 2
        assert bench.dispatcher.in_flight == 1, "what is under way goes on"
        bench.lease.renewed(bench.clock.monotonic())
        bench.dispatcher.pump()
        await turns()
        assert bench.caller.ids == ids(some[:3])

    play(story)


def test_a_clock_that_is_corrected_sets_the_timer_anew() -> None:
    async def story() -> None:
        bench = Bench(follows=True)
        bench.begin()
        one, two = claim(JOB, NOW + 3_000, salt="1"), claim(JOB, NOW + 9_000, salt="2")
        await bench.hold(one, two)
        bench.clock.wall += 2_000
        bench.dispatcher.clock_moved()
        await asyncio.sleep(1.001)
        assert bench.caller.ids == ids([one])
        bench.clock.wall += 6_500
        bench.dispatcher.clock_moved()
        await turns()
        assert bench.caller.ids == ids([one, two])

    play(story)


def test_abandoning_drops_everything_without_a_result() -> None:
    async def story() -> None:
        bench = Bench(max_in_flight=2, max_per_lane=2)
        bench.begin()
        calling = many(JOB, 1)
        await bench.hold(*calling)
        bench.dispatcher.hold([*many(OTHER, 3), claim(JOB, NOW + 500)])
        stages = {held.stage for held in bench.dispatcher._claims.all()}
        starting = set() if Bench.express else {Stage.STARTING}
        assert stages == {Stage.CALLING, Stage.READY, Stage.WAITING} | starting
        bench.dispatcher.abandon()
        await turns()
        assert bench.caller.aborted[:1] == ids(calling)
        assert bench.caller.aborted == bench.caller.ids
        assert len(bench.caller.ids) == (2 if Bench.express else 1)
        assert bench.results == []
        assert bench.empty
        assert bench.dispatcher.free_slots == 2

    play(story)


def test_abandoning_leaves_the_slot_of_a_call_that_was_stopped_before_it_began() -> None:
    async def story() -> None:
        bench = Bench()
        bench.begin()
        stopped, revised = claim(JOB), claim(OTHER)
        bench.dispatcher.hold([stopped, revised])
        bench.dispatcher.abort(ids([stopped]))
        bench.dispatcher.revise([with_version(OTHER, 2, status=JobStatus.PAUSED)])
        bench.dispatcher.abandon()
        await turns()
        assert bench.empty
        assert bench.dispatcher.free_slots == 10

    play(story)


# --- changes from outside


def test_a_new_definition_goes_out() -> None:
    async def story() -> None:
        bench = Bench()
        bench.begin()
        one = claim(JOB, NOW + 60_000)
        await bench.hold(one)
        newer = with_version(JOB, 2)
        bench.dispatcher.revise([newer])
        bench.clock.pass_by(60_000)
        bench.lease.renewed(bench.clock.monotonic())
        bench.dispatcher.pump()
        await turns()
        assert bench.caller.calls[0].job is newer

    play(story)


def test_older_news_does_not_undo_newer() -> None:
    async def story() -> None:
        bench = Bench()
        await bench.hold(claim(JOB))
        newer = with_version(JOB, 3)
        bench.dispatcher.revise([newer])
        bench.dispatcher.revise([with_version(JOB, 2, status=JobStatus.PAUSED)])
        (held,) = bench.dispatcher._claims.all()
        assert held.claim.job is newer
        assert bench.results == []

    play(story)


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"status": JobStatus.PAUSED}, Reason.PAUSED),
        ({"status": JobStatus.DELETED}, Reason.DELETED),
        ({"status": JobStatus.CANCELLED}, Reason.REQUESTED),
        ({"spec": replace(JOB.spec, schedule=every(7_000, anchor=NOW + 1))}, Reason.CHANGED),
    ],
)
@pytest.mark.parametrize("at", [Stage.WAITING, Stage.READY, Stage.STARTING])
def test_what_is_no_longer_called_for_ends_cancelled_wherever_it_waits(
    change: dict[str, object], reason: Reason, at: Stage
) -> None:
    async def story() -> None:
        bench = Bench(max_in_flight=1, max_per_lane=1, express=False)
        if at is Stage.STARTING:
            bench.begin()
        one = claim(JOB, NOW + 60_000 if at is Stage.WAITING else NOW)
        bench.dispatcher.hold([one])
        assert stage(bench, one.execution.id) is at
        bench.dispatcher.revise([with_version(JOB, 2, **change)])
        (result,) = bench.results
        assert (result.state, result.reason) == (State.CANCELLED, reason)
        bench.clock.pass_by(60_000)
        bench.lease.begin("inc-a", bench.clock.monotonic())
        bench.dispatcher.pump()
        await turns()
        assert bench.caller.ids == []
        bench.dispatcher.forget([one.execution.id])
        assert bench.empty

    play(story)


def test_what_is_calling_is_left_alone_by_a_change() -> None:
    async def story() -> None:
        bench = Bench()
        bench.begin()
        one = claim(JOB)
        await bench.hold(one)
        bench.dispatcher.revise([with_version(JOB, 2, status=JobStatus.PAUSED)])
        await turns()
        assert bench.caller.aborted == []
        assert bench.results == []

    play(story)


def test_retries_and_what_was_asked_for_by_hand_outlive_a_new_schedule() -> None:
    async def story() -> None:
        bench = Bench()
        retry = claim(JOB, attempts=(failed_attempt(),))
        by_hand = claim(JOB, NOW + 5, salt="x", trigger=TriggerKind.MANUAL)
        await bench.hold(retry, by_hand)
        other = replace(JOB.spec, schedule=every(7_000, anchor=NOW + 1))
        bench.dispatcher.revise([with_version(JOB, 2, spec=other)])
        assert bench.results == []

    play(story)


def test_a_claim_of_a_paused_job_is_given_up_when_it_is_held() -> None:
    async def story() -> None:
        bench = Bench()
        bench.begin()
        await bench.hold(claim(with_version(JOB, 2, status=JobStatus.PAUSED)))
        assert bench.caller.ids == []
        assert [result.reason for result in bench.results] == [Reason.PAUSED]

    play(story)


@pytest.mark.parametrize("at", [stage for stage in Stage if stage is not Stage.GONE])
def test_what_was_ended_elsewhere_is_dropped_or_aborted(at: Stage) -> None:
    async def story() -> None:
        bench = Bench(
            max_in_flight=1, max_per_lane=1, express=False if at is Stage.STARTING else None
        )
        if at not in {Stage.WAITING, Stage.READY}:
            bench.begin()
        one = claim(JOB, NOW + 50 if at is Stage.WAITING else NOW)
        bench.dispatcher.hold([one])
        if at in {Stage.CALLING, Stage.RECORDING}:
            await turns()
        if at is Stage.RECORDING:
            bench.caller.succeed(one.execution.id)
            await turns()
        assert stage(bench, one.execution.id) is at
        bench.dispatcher.abort([one.execution.id])
        await turns()
        match at:
            case Stage.CALLING:
                assert bench.caller.aborted == ids([one])
                (result,) = bench.results
                assert (result.state, kinds(result)) == (State.CANCELLED, [ErrorKind.CANCELLED])
            case Stage.RECORDING:
                assert [result.state for result in bench.results] == [State.SUCCEEDED]
            case _:
                assert bench.caller.ids == []
                assert bench.results == []
        bench.dispatcher.forget([one.execution.id])
        assert bench.empty
        assert bench.dispatcher.free_slots == 1

    play(story)


def test_a_check_aborts_the_call_it_looked_at_and_not_the_next_one_of_its_execution() -> None:
    async def story() -> None:
        bench = Bench()
        bench.begin()
        one = claim(JOB)
        await bench.hold(one)
        looked_at = bench.dispatcher.calling_since(bench.clock.monotonic())
        assert len(looked_at) == 1
        bench.caller.fail(one.execution.id)
        await turns()
        bench.dispatcher.forget([one.execution.id])
        await bench.hold(claim(JOB, attempts=(failed_attempt(),), available_at=NOW))
        bench.dispatcher.abort_calls(looked_at)
        await turns()
        assert bench.caller.aborted == []

    play(story)


def test_calls_are_long_from_their_start_not_from_their_claim() -> None:
    async def story() -> None:
        bench = Bench()
        bench.begin()
        await bench.hold(claim(JOB))
        began = bench.clock.monotonic()
        bench.clock.pass_by(1_000)
        await bench.hold(claim(OTHER))
        assert len(bench.dispatcher.calling_since(began)) == 1
        assert len(bench.dispatcher.calling_since(began + 1)) == 2

    play(story)


# --- claims on their way


def test_news_that_overtakes_the_claims_is_applied_to_them() -> None:
    async def story() -> None:
        bench = Bench()
        bench.begin()
        paused, ended, fine = claim(JOB), claim(OTHER), claim(OTHER, NOW + 1)
        with bench.dispatcher.taking():
            bench.dispatcher.revise([with_version(JOB, 2, status=JobStatus.PAUSED)])
            bench.dispatcher.abort([ended.execution.id])
            bench.dispatcher.hold([paused, ended, fine])
        await turns()
        assert bench.caller.ids == []
        assert [result.id for result in bench.results] == ids([paused])
        assert not bench.dispatcher.holds(ended.execution.id)
        assert bench.dispatcher.holds(fine.execution.id)
        with bench.dispatcher.taking():
            bench.dispatcher.hold([ended])
        await turns()
        assert bench.caller.ids == ids([ended]), "old news is not kept"

    play(story)


def test_reading_all_that_is_owned_finds_strays_and_what_is_not_owned_any_more() -> None:
    async def story() -> None:
        bench = Bench()
        kept, lost, changed = (claim(JOB, NOW + 60_000 * n) for n in (1, 2, 3))
        stray, came_and_went, came = (claim(OTHER, NOW + number) for number in (1, 2, 3))
        await bench.hold(kept, lost, changed)
        newer = with_version(JOB, 2)
        with bench.dispatcher.taking(all_owned=True) as taking:
            await bench.hold(came_and_went, came)
            bench.dispatcher.forget([came_and_went.execution.id])
            versions = {
                one.execution.id: one.job.version
                for one in (kept, stray, came_and_went, replace(changed, job=newer))
            }
            assert sorted(bench.dispatcher.unfamiliar(taking, versions)) == sorted(
                ids([stray, changed])
            )
            strays = bench.dispatcher.reconcile(
                taking, versions, [stray, replace(changed, job=newer)]
            )
        assert strays == [stray]
        assert not bench.dispatcher.holds(lost.execution.id)
        assert bench.dispatcher.holds(came.execution.id), "claimed after that was read"
        held = bench.dispatcher._claims.get(changed.execution.id)
        assert held is not None
        assert held.claim.job is newer

    play(story)


def test_a_claim_that_found_no_slot_is_turned_away() -> None:
    async def story() -> None:
        bench = Bench(max_in_flight=10, max_per_lane=1)
        bench.begin()
        first, second = many(JOB, 2)
        bench.dispatcher.hold([first, second])
        assert bench.dispatcher.turn_away([first, second]) == ids([second])
        await turns()
        assert bench.caller.ids == ids([first])
        assert bench.dispatcher.held == 1

    play(story)


# --- room


def test_one_lane_cannot_fill_the_memory() -> None:
    async def story() -> None:
        bench = Bench(max_held=40, max_in_flight=8, max_per_lane=2)
        await bench.hold(*many(JOB, 19, NOW + 50))
        assert bench.dispatcher.saturated_lanes() == frozenset()
        await bench.hold(claim(JOB, NOW + 51))
        assert bench.dispatcher.saturated_lanes() == {JOB.spec.lane}
        assert bench.dispatcher.room == 20
        assert bench.dispatcher.ahead_limit == 5

    play(story)


@pytest.mark.parametrize("by_room", [False, True])
def test_room_is_told_of_when_there_is_some_of_the_kind_that_was_missing(by_room: bool) -> None:
    async def story() -> None:
        bench = Bench(follows=True, max_in_flight=2, max_per_lane=1)
        bench.begin()
        told: list[float] = []
        dispatcher = bench.dispatcher

        def tell() -> None:
            told.append(bench.clock.monotonic())

        hangs, quick = claim(JOB), claim(OTHER)
        await bench.hold(hangs, quick)
        dispatcher.note_limited(tell, room=lambda: dispatcher.free_slots, by_room=by_room)
        await asyncio.sleep(0.1)
        assert told == []
        bench.caller.succeed(quick.execution.id)
        await asyncio.sleep(0.1)
        # The lane of the other one was full as well: it is of use that it is not any more.
        assert len(told) == 1
        dispatcher.note_limited(tell, room=lambda: dispatcher.free_slots, by_room=False)
        await bench.hold(claim(OTHER, NOW + 1))
        bench.caller.succeed(bench.caller.ids[-1])
        await asyncio.sleep(0.1)
        assert len(told) == 1, "only the lane that hangs was full, and it still is"

    play(story)


def test_looking_for_room_costs_nothing_while_there_is_none() -> None:
    async def story() -> None:
        bench = Bench(follows=True, max_in_flight=1, max_per_lane=1)
        bench.begin()
        await bench.hold(claim(JOB))
        dispatcher = bench.dispatcher
        dispatcher.note_limited(print, room=lambda: dispatcher.free_slots, by_room=True)
        loop = asyncio.get_running_loop()
        await asyncio.sleep(0.1)
        before = loop.steps  # type: ignore[attr-defined]
        await asyncio.sleep(60)
        assert loop.steps - before < 5  # type: ignore[attr-defined]

    play(story)


# --- the end


def test_what_has_not_started_is_given_back_wherever_it_waits() -> None:
    async def story() -> None:
        bench = Bench(max_in_flight=2, max_per_lane=2, express=False)
        bench.begin()
        calling = claim(JOB)
        await bench.hold(calling)
        others = [*many(OTHER, 3), claim(JOB, NOW + 500)]
        bench.dispatcher.hold(others)
        assert bench.dispatcher.take_unstarted() == ids(others)
        await turns()
        assert bench.caller.ids == ids([calling])
        bench.caller.succeed(calling.execution.id)
        await bench.dispatcher.finish(1_000)
        bench.dispatcher.forget(ids([calling]))
        assert bench.empty

    play(story)


def test_calls_that_outlast_the_grace_end_as_lost() -> None:
    async def story() -> None:
        bench = Bench(follows=True)
        bench.begin()
        quick, slow = claim(JOB), claim(OTHER)
        careful = target_job("careful", delivery=DeliveryMode.AT_MOST_ONCE)
        once = claim(careful)
        await bench.hold(quick, slow, once)
        loop = asyncio.get_running_loop()
        loop.call_later(0.2, bench.caller.succeed, quick.execution.id)
        began = loop.time()
        await bench.dispatcher.finish(500)
        assert loop.time() - began == pytest.approx(0.5)
        results = {result.id: result for result in bench.results}
        assert results[quick.execution.id].state is State.SUCCEEDED
        assert results[slow.execution.id].state is State.PENDING
        assert kinds(results[slow.execution.id]) == [ErrorKind.LOST]
        lost = results[once.execution.id]
        assert (lost.state, lost.reason) == (State.FAILED, Reason.LOST)
        assert sorted(bench.caller.aborted) == sorted(ids([slow, once]))
        bench.dispatcher.forget(results)
        assert bench.empty

    play(story)
