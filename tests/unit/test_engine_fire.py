"""Claiming what is due."""

import asyncio
from collections.abc import Sequence
from dataclasses import replace
from itertools import pairwise
from typing import Any

import pytest
from tests.support.build import NO_LIMITS, NOW, at, changed, every, new_job, node, triggered
from tests.support.engine_lab import INCARNATION, Bench, play, target_job, turns
from tests.support.memory_store import MemoryStore

from tocsin.domain.errors import Revoked, StoreUnavailable
from tocsin.domain.execution import Execution, Reason, State
from tocsin.domain.instant import Millis
from tocsin.domain.job import Job, JobStatus, Misfire, MisfirePolicy, Overlap
from tocsin.domain.planning import admit
from tocsin.engine.adopt import Adoption
from tocsin.engine.claiming import HOLD_AT_ONCE, Came, Claiming
from tocsin.engine.fire import BATCH, SMALL_BATCH, AheadLoop, ExactLoop
from tocsin.engine.meter import NoMeter
from tocsin.store.bus import ExecutionsChanged, JobsChanged
from tocsin.store.port import Claimed, ClaimRequest, Planner

ALLOW = {"overlap": Overlap.ALLOW}
SKIP = {"overlap": Overlap.SKIP}


class Asked(MemoryStore):
    """Notes what it was asked for."""

    def __init__(self) -> None:
        super().__init__(before=self._before_method, after=self._after_method)
        self.requests: list[ClaimRequest] = []
        self.methods: list[str] = []
        self.fails: dict[str, Exception] = {}
        self.loses: dict[str, Exception] = {}
        self.slow: dict[str, asyncio.Event] = {}

    async def _before_method(self, method: str) -> None:
        self.methods.append(method)
        if method in self.fails:
            raise self.fails.pop(method)

    async def _after_method(self, method: str) -> None:
        if method in self.slow:
            await self.slow[method].wait()
        if method in self.loses:
            raise self.loses.pop(method)

    async def claim(self, request: ClaimRequest, plan: Planner) -> Claimed:
        self.requests.append(request)
        return await super().claim(request, plan)


class FireBench(Bench):
    """With a fire loop on a memory store."""

    def __init__(self, *, horizon: Millis = 1_000, poll: Millis = 500, **options: Any) -> None:
        super().__init__(**options)
        self.store = Asked()
        claiming = Claiming(
            store=self.store,
            dispatcher=self.dispatcher,
            lease=self.lease,
            clock=self.clock,
            bus=self.bus,
            meter=NoMeter(),
            horizon=horizon,
        )
        self.exact = ExactLoop(claiming=claiming, poll=poll)
        self.ahead = AheadLoop(claiming=claiming, poll=poll, exact=self.exact)
        self.adoption = Adoption(store=self.store, claiming=claiming, interval=10_000, poll=poll)
        claiming.on_unknown = self.dispatcher.on_stray = self.adoption.soon

    async def join(self, *jobs: Job, after: Millis = NOW - 1) -> None:
        await self.store.register(node(INCARNATION))
        self.begin()
        await self.add(*jobs, after=after)

    async def add(self, *jobs: Job, after: Millis = NOW - 1) -> None:
        await self.store.create_jobs([new_job(one, after=after) for one in jobs], limits=NO_LIMITS)

    async def step(self) -> Millis:
        """Both loops once; returns how long until one of them looks again."""
        looks = [await loop.step(self.clock.now()) for loop in (self.exact, self.ahead)]
        await turns()
        return min(looks) - self.clock.now()

    def run(self) -> None:
        """Let all loops run, until ``stop``."""
        self.loops = [
            asyncio.create_task(loop.run()) for loop in (self.exact, self.ahead, self.adoption)
        ]

    async def stop(self) -> None:
        """End them, after what is under way."""
        self.exact.stop()
        self.ahead.stop()
        await asyncio.wait(self.loops[:2])
        self.loops[2].cancel()

    def rows(self) -> Sequence[Execution]:
        return sorted(self.store.state.executions.values(), key=lambda row: row.id)


def jobs_at(
    instant: Millis, count: int, origin: str = "http://one.example", **fields: Any
) -> list[Job]:
    return [
        target_job(
            f"{origin[7:10]}-{instant - NOW}-{number}", origin, schedule=at(instant), **fields
        )
        for number in range(count)
    ]


def test_fires_are_claimed_ahead_and_called_at_their_instant() -> None:
    async def story() -> None:
        bench = FireBench()
        await bench.join(*jobs_at(NOW + 900, 1))
        await bench.step()
        assert [row.state for row in bench.rows()] == [State.CLAIMED]
        assert bench.caller.ids == []
        bench.clock.pass_by(900)
        bench.dispatcher.pump()
        await turns()
        assert len(bench.caller.ids) == 1

    play(story)


def test_a_large_claim_is_taken_over_in_parts_and_ends_with_the_lease() -> None:
    async def story(*, revoked_after: int | None) -> None:
        bench = FireBench(max_held=20_000, max_in_flight=1_000, max_per_lane=1_000)
        await bench.join(*jobs_at(NOW + 900, BATCH))
        held: list[int] = []

        def look() -> None:
            held.append(bench.dispatcher.held)
            if revoked_after is not None and held[-1] >= revoked_after:
                bench.lease.lost()
                bench.dispatcher.abandon()
            elif held[-1] < BATCH:
                asyncio.get_running_loop().call_soon(look)

        asyncio.get_running_loop().call_soon(look)
        if revoked_after is None:
            await bench.step()
            assert bench.dispatcher.held == BATCH
        else:
            with pytest.raises(Revoked):
                await bench.step()
            assert bench.empty
        steps = [later - earlier for earlier, later in pairwise(held)]
        assert max(steps) <= HOLD_AT_ONCE

    play(lambda: story(revoked_after=None))
    play(lambda: story(revoked_after=2 * HOLD_AT_ONCE))


def test_exact_ones_are_claimed_at_their_instant_only() -> None:
    async def story() -> None:
        bench = FireBench()
        await bench.join(*jobs_at(NOW + 300, 1, **SKIP))
        assert await bench.step() == 300, "and looked for again exactly then"
        assert bench.rows() == []
        bench.clock.pass_by(300)
        await bench.step()
        assert len(bench.caller.ids) == 1

    play(story)


def test_without_a_provable_lease_nothing_is_claimed() -> None:
    async def story() -> None:
        bench = FireBench()
        await bench.join(*jobs_at(NOW, 1))
        bench.clock.pass_by(4_600)
        assert await bench.step() == 500
        assert bench.store.requests == []

    play(story)


def test_claims_of_both_kinds_fit_into_the_room_together() -> None:
    async def story() -> None:
        bench = FireBench(max_held=20, max_in_flight=10, max_per_lane=10)
        await bench.join(*jobs_at(NOW + 500, 40), *jobs_at(NOW, 40, "http://two.example", **SKIP))
        for _ in range(50):
            await bench.step()
            assert bench.dispatcher.held <= 20
        assert bench.dispatcher.in_flight == 10

    play(story)


def test_exact_ones_come_first_where_room_is_scarce() -> None:
    async def story() -> None:
        bench = FireBench(max_held=3, max_in_flight=2, max_per_lane=2)
        ahead = jobs_at(NOW + 500, 10, "http://two.example")
        await bench.join(*ahead, *jobs_at(NOW, 2, **SKIP))
        await bench.step()
        assert [one.job.spec.overlap for one in bench.caller.calls] == [Overlap.SKIP] * 2

    play(story)


def test_with_no_room_at_all_the_store_is_not_asked() -> None:
    async def story() -> None:
        bench = FireBench(max_held=1, max_in_flight=1, max_per_lane=1)
        await bench.join(*jobs_at(NOW, 3))
        await bench.step()
        asked = len(bench.store.requests)
        assert await bench.step() == 500
        assert len(bench.store.requests) == asked

    play(story)


def test_saturated_lanes_are_not_claimed_ahead_and_full_ones_not_at_the_instant() -> None:
    async def story() -> None:
        bench = FireBench(max_in_flight=10, max_per_lane=1)
        (first, *_), lane = jobs_at(NOW, 1), target_job("lane").spec.lane
        await bench.join(first)
        await bench.step()
        assert bench.dispatcher.full_lanes() == {lane}
        await bench.add(*jobs_at(NOW + 1, 1))
        await bench.step()
        exact, ahead = bench.store.requests[-2:]
        assert (exact.busy_lanes, exact.ahead_limit) == ({lane}, 0)
        assert (ahead.busy_lanes, ahead.exact_limit) == (frozenset(), 0)

    play(story)


def test_more_than_one_batch_is_claimed_without_a_pause() -> None:
    async def story() -> None:
        bench = FireBench(max_held=100_000, max_in_flight=5_000, max_per_lane=5_000)
        await bench.join(*jobs_at(NOW + 900, BATCH + 1))
        assert await bench.step() == 0
        assert bench.dispatcher.held == BATCH
        assert await bench.step() > 0
        assert bench.dispatcher.held == BATCH + 1

    play(story)


def test_a_claim_ahead_is_small_while_others_are_expected_at_their_instant() -> None:
    async def story() -> None:
        bench = FireBench(max_held=100_000)
        later = jobs_at(NOW + 4_000, 1, "http://two.example", **SKIP)
        await bench.join(*jobs_at(NOW + 4_900, 3 * BATCH), *later)
        asked = bench.store.requests
        for passes, limit in ((0, BATCH), (3_100, SMALL_BATCH), (900, SMALL_BATCH)):
            bench.clock.pass_by(passes)
            bench.lease.renewed(bench.clock.monotonic())
            await bench.step()
            assert asked[-1].ahead_limit == limit
        assert len(bench.caller.ids) == 1
        bench.clock.pass_by(1_001)
        await bench.step()
        assert asked[-1].ahead_limit == BATCH, "it is over"

    play(story)


def test_a_burst_that_may_be_claimed_ahead_hurries_nobody() -> None:
    async def story() -> None:
        bench = FireBench(max_held=20_000, max_in_flight=1_000, max_per_lane=1_000)
        await bench.join(*jobs_at(NOW + 1_900, 2 * BATCH), *jobs_at(NOW + 9_000, 1, **SKIP))
        await bench.step()  # It looks for both kinds, and finds the burst ahead of it.
        assert not bench.exact.expecting()
        bench.clock.pass_by(1_000)
        assert not bench.exact.expecting()
        await bench.step()
        assert bench.store.requests[-1].ahead_limit == BATCH
        assert bench.dispatcher.held == BATCH
        bench.clock.pass_by(7_050)
        assert bench.exact.expecting()

    play(story)


def test_an_idle_node_looks_once_per_poll_for_both_kinds() -> None:
    async def story() -> None:
        bench = FireBench(follows=True)
        await bench.join(*jobs_at(NOW + 60_000, 1), *jobs_at(NOW + 4_100, 1, **SKIP))
        bench.run()
        await asyncio.sleep(0.1)
        before = len(bench.store.requests)
        await asyncio.sleep(2.9)
        asked = bench.store.requests[before:]
        assert len(asked) <= 7
        assert all(one.ahead_limit and one.exact_limit for one in asked[:-1])
        bench.lease.renewed(bench.clock.monotonic())
        await asyncio.sleep(1.2)
        (call,) = bench.caller.calls
        assert call.execution.exact
        await bench.stop()

    play(story)


def test_what_was_heard_of_during_a_claim_for_both_kinds_is_not_slept_through() -> None:
    """The loop was to look before that, and then is told to look later, by one who had not seen it.

    As where an exact one is to be tried again, of which the other loop hears nothing.
    """

    async def story() -> None:
        bench = FireBench(follows=True)
        await bench.join()
        bench.run()
        await asyncio.sleep(0.45)
        bench.store.slow["claim"] = asyncio.Event()
        await asyncio.sleep(0.1)  # The next claim has looked at the store, and is on its way.
        await bench.add(*jobs_at(NOW + 950, 1, **SKIP))
        bench.exact.nudge(NOW + 950)
        bench.store.slow.pop("claim").set()
        await asyncio.sleep(0.41)
        assert len(bench.caller.calls) == 1
        await bench.stop()

    play(story)


def test_what_was_left_over_after_skips_is_looked_at_without_a_pause() -> None:
    async def story() -> None:
        bench = FireBench()
        await bench.join()
        looked = Came(
            Claimed(
                claims=[],
                closed=[triggered(target_job("j"))],
                completed=[],
                more=True,
                wake_at=None,
                exact_at=None,
            ),
            0,
            0,
        )
        loop = asyncio.create_task(bench.exact.run())
        await asyncio.sleep(0.01)
        asked = len(bench.store.requests)
        bench.exact.looked(bench.clock.now(), looked)
        await asyncio.sleep(0.01)
        assert len(bench.store.requests) == asked + 1
        bench.exact.stop()
        await loop

    play(story)


def test_claims_ahead_leave_room_for_what_comes_at_its_instant() -> None:
    async def story() -> None:
        bench = FireBench(max_held=40, max_in_flight=32, max_per_lane=32)
        for origin in ("http://one.example", "http://two.example", "http://six.example"):
            await bench.add(*jobs_at(NOW + 900, 19, origin))
        await bench.join()
        while await bench.step() == 0:
            pass
        assert bench.dispatcher.held == 38
        await bench.add(*jobs_at(NOW, 3, "http://new.example", **SKIP))
        await bench.exact.step(NOW)
        await turns()
        assert len(bench.caller.ids) == 2

    play(story)


def test_two_claims_at_once_do_not_take_the_same_room() -> None:
    async def story() -> None:
        bench = FireBench(max_held=20)
        await bench.join(*jobs_at(NOW + 900, 30), *jobs_at(NOW, 30, "http://two.example", **SKIP))
        bench.store.slow["claim"] = asyncio.Event()
        both = [asyncio.create_task(loop.step(NOW)) for loop in (bench.exact, bench.ahead)]
        await turns()
        assert [(one.ahead_limit, one.exact_limit) for one in bench.store.requests] == [
            (0, 10),
            (2, 0),
        ]
        assert bench.dispatcher.room == 8
        bench.store.slow["claim"].set()
        await asyncio.gather(*both)
        assert (bench.dispatcher.held, bench.dispatcher.room) == (12, 8)

    play(story)


def test_a_long_backlog_is_looked_through_without_a_pause() -> None:
    async def story() -> None:
        bench = FireBench()
        tick = target_job("tick", schedule=every(1_000), misfire=Misfire(policy=MisfirePolicy.SKIP))
        await bench.join(tick)
        bench.clock.wall += 2_500_000
        assert await bench.step() == 0
        assert await bench.step() == 0
        assert await bench.step() > 0
        assert sum(row.skipped_count or 0 for row in bench.rows()) >= 2_490

    play(story)


def test_what_is_due_in_a_full_lane_does_not_make_it_look_again_at_once() -> None:
    async def story() -> None:
        bench = FireBench(max_in_flight=10, max_per_lane=1)
        await bench.join(*jobs_at(NOW, 5, **SKIP))
        while await bench.step() == 0:
            pass
        asked = len(bench.store.requests)
        assert await bench.step() == 500
        assert len(bench.store.requests) - asked <= 2

    play(story)


def test_one_that_finds_no_slot_in_its_lane_is_given_back_at_once() -> None:
    async def story() -> None:
        bench = FireBench(max_in_flight=10, max_per_lane=1)
        await bench.join(*jobs_at(NOW, 2, **SKIP))
        await bench.step()
        assert sorted(row.state for row in bench.rows()) == [State.CLAIMED, State.PENDING]
        assert bench.dispatcher.held == 1

    play(story)


def test_what_is_replaced_is_aborted_before_its_successor_starts() -> None:
    async def story() -> None:
        bench = FireBench()
        job = target_job("j", schedule=every(1_000), overlap=Overlap.REPLACE)
        await bench.join(job)
        order: list[str] = []

        def hear(news: object) -> None:
            if isinstance(news, ExecutionsChanged):
                order.append("closed")
                bench.dispatcher.abort([one.id for one in news.executions])

        bench.bus.listen(hear)
        await bench.step()
        bench.clock.pass_by(1_000)
        await bench.step()
        first, second = bench.caller.ids
        assert bench.caller.aborted == [first]
        assert order == ["closed"]
        assert bench.store.state.executions[first].reason is Reason.REPLACED
        assert first != second

    play(story)


def test_a_job_whose_last_fire_is_planned_is_told_to_be_completed() -> None:
    async def story() -> None:
        bench = FireBench()
        (skipped,) = jobs_at(NOW, 1, misfire=Misfire(policy=MisfirePolicy.SKIP, grace=0))
        await bench.join(skipped)
        bench.clock.pass_by(1_000)
        await bench.step()
        (told,) = [news for news in bench.news if isinstance(news, JobsChanged)]
        assert (told.change, told.jobs[0].status) == ("completed", JobStatus.COMPLETED)

    play(story)


# --- strays


def test_a_claim_whose_answer_was_lost_is_adopted() -> None:
    async def story() -> None:
        bench = FireBench()
        await bench.join(*jobs_at(NOW, 2))
        bench.store.loses["claim"] = StoreUnavailable("lost")
        with pytest.raises(StoreUnavailable):
            await bench.ahead.step(NOW)
        assert bench.dispatcher.held == 0
        assert await bench.adoption.step() == 2
        await turns()
        assert len(bench.caller.ids) == 2
        assert await bench.adoption.step() == 0

    play(story)


def test_room_is_kept_for_a_claim_whose_answer_was_lost() -> None:
    async def story() -> None:
        bench = FireBench(max_held=4)
        await bench.join(*jobs_at(NOW, 4))
        bench.store.loses["claim"] = StoreUnavailable("lost")
        with pytest.raises(StoreUnavailable):
            await bench.ahead.step(NOW)
        assert (bench.dispatcher.held, bench.dispatcher.room) == (0, 3)
        await bench.adoption.step()
        assert (bench.dispatcher.held, bench.dispatcher.room) == (1, 3)

    play(story)


def test_what_a_claim_brings_while_the_owned_are_read_is_no_stray() -> None:
    """Not even where it is over before the claim's answer is here."""

    async def story() -> None:
        bench = FireBench()
        await bench.join(*jobs_at(NOW, 1))
        bench.store.slow["claim"] = asyncio.Event()
        claiming = asyncio.create_task(bench.ahead.step(NOW))
        await turns()
        adopting = asyncio.create_task(bench.adoption.step())
        await turns()
        assert not adopting.done()
        assert bench.dispatcher.held == 0
        bench.store.slow["claim"].set()
        await claiming
        assert await adopting == 0
        await turns()
        assert len(bench.caller.ids) == 1

    play(story)


def test_adopting_does_not_read_again_what_a_claim_has_completed() -> None:
    async def story() -> None:
        bench = FireBench()
        await bench.join(*jobs_at(NOW + 500, 5))
        await bench.step()
        assert bench.dispatcher.held == 5
        await bench.adoption.step()
        assert "owned" not in bench.store.methods

    play(story)


def test_what_ends_while_the_owned_are_read_is_not_adopted() -> None:
    async def story() -> None:
        bench = FireBench()
        await bench.join(*jobs_at(NOW, 1))
        await bench.step()
        bench.store.slow["owned"] = asyncio.Event()
        adopting = asyncio.create_task(bench.adoption.step())
        await turns()
        (one,) = bench.caller.ids
        bench.caller.succeed(one)
        await turns()
        await bench.store.record(
            INCARNATION, bench.results, now=NOW, void=lambda _execution, _job: None
        )
        bench.dispatcher.forget([one])
        bench.store.slow["owned"].set()
        assert await adopting == 0
        assert bench.caller.ids == [one]

    play(story)


def test_adopting_follows_a_change_whose_news_was_lost() -> None:
    async def story() -> None:
        bench = FireBench()
        job = target_job("j", schedule=every(1_000))
        await bench.join(job, after=NOW)
        await bench.step()
        await bench.store.change_job(
            changed(job, now=NOW, status=JobStatus.PAUSED),
            if_version=1,
            timer=None,
            limits=NO_LIMITS,
            now=NOW,
        )
        await bench.adoption.step()
        assert [result.reason for result in bench.results] == [Reason.PAUSED]

    play(story)


# --- leases


def test_claims_that_come_after_the_lease_was_lost_are_not_held() -> None:
    async def story() -> None:
        bench = FireBench()
        await bench.join(*jobs_at(NOW, 1))
        bench.store.slow["claim"] = asyncio.Event()
        stepping = asyncio.create_task(bench.ahead.step(NOW))
        await turns()
        bench.lease.lost()
        bench.lease.begin("inc-b", bench.clock.monotonic())
        bench.store.slow["claim"].set()
        with pytest.raises(Revoked) as caught:
            await stepping
        assert caught.value.incarnation == INCARNATION, "and not the new one"
        assert bench.dispatcher.held == 0

    play(story)


def test_a_revoked_node_hears_of_it_by_its_claim() -> None:
    async def story() -> None:
        bench = FireBench(follows=True)
        told: list[str] = []
        bench.exact.on_revoked = bench.ahead.on_revoked = told.append
        bench.lease.begin("never-registered", bench.clock.monotonic())
        bench.store.fails["claim"] = Revoked("never-registered")
        bench.run()
        await asyncio.sleep(0.1)
        await bench.stop()
        assert told[0] == "never-registered"

    play(story)


# --- the loop


def test_it_polls_and_wakes_for_what_is_due_between_two_polls() -> None:
    async def story() -> None:
        bench = FireBench(follows=True)
        await bench.join(*jobs_at(NOW + 777, 1, **SKIP))
        bench.run()
        await asyncio.sleep(0.7765)
        assert bench.caller.ids == []
        await asyncio.sleep(0.004)
        assert len(bench.caller.ids) == 1
        await bench.stop()

    play(story)


@pytest.mark.parametrize(("horizon", "poll"), [(1_000, 500), (0, 500)])
def test_a_nudge_for_something_soon_makes_it_look_at_once(horizon: int, poll: int) -> None:
    async def story() -> None:
        bench = FireBench(follows=True, horizon=horizon, poll=poll)
        await bench.join()
        bench.run()
        await asyncio.sleep(0.1)
        await bench.add(*jobs_at(NOW + 150, 1))
        asked = len(bench.store.requests)
        bench.ahead.nudge(NOW + 3_600_000)
        await asyncio.sleep(0.01)
        assert len(bench.store.requests) == asked, "not for what is far away"
        bench.ahead.nudge(NOW + 150)
        await asyncio.sleep(0.06)
        assert len(bench.caller.ids) == 1
        await bench.stop()

    play(story)


def test_a_clock_that_is_set_back_does_not_put_it_to_sleep() -> None:
    async def story() -> None:
        bench = FireBench(follows=True)
        await bench.join()
        bench.run()
        await asyncio.sleep(0.0005)
        # Between the claim and the computing of the pause.
        bench.clock.wall -= 3_600_000
        asked = len(bench.store.requests)
        bench.lease.renewed(bench.clock.monotonic())
        await asyncio.sleep(2)
        assert len(bench.store.requests) >= asked + 3
        await bench.stop()

    play(story)


def test_an_error_is_followed_by_adopting_and_does_not_end_the_loop() -> None:
    async def story() -> None:
        bench = FireBench(follows=True)
        await bench.join()
        bench.run()
        await asyncio.sleep(0.1)
        await bench.add(*jobs_at(NOW + 300, 1))
        bench.store.loses["claim"] = StoreUnavailable("lost")
        bench.ahead.nudge(NOW + 300)
        await asyncio.sleep(0.3)
        assert len(bench.caller.ids) == 1
        assert bench.store.methods.count("owned_versions") == 2
        await bench.stop()

    play(story)


def test_stopping_lets_the_claim_under_way_come_in() -> None:
    async def story() -> None:
        bench = FireBench(follows=True)
        await bench.join(*jobs_at(NOW + 900, 1))
        bench.store.slow["claim"] = asyncio.Event()
        bench.run()
        await asyncio.sleep(0.01)
        stopping = asyncio.create_task(bench.stop())
        await asyncio.sleep(0.01)
        assert not stopping.done()
        bench.store.slow["claim"].set()
        await asyncio.sleep(0.01)
        assert stopping.done()
        assert bench.dispatcher.held == 1

    play(story)


def test_a_stray_is_looked_for_at_once() -> None:
    async def story() -> None:
        bench = FireBench(follows=True)
        await bench.join()
        bench.run()
        await asyncio.sleep(0.1)
        job = target_job("j", schedule=every(60_000))
        await bench.add(job)
        hand = replace(triggered(job), state=State.CLAIMED, owner=INCARNATION)
        await bench.store.add_execution(
            hand, admit=lambda of, live: admit(of.spec.overlap, live), now=NOW
        )
        bench.store.state.put_execution(hand)
        bench.dispatcher.on_stray()
        await asyncio.sleep(0.01)
        assert hand.id in bench.caller.ids
        await bench.stop()

    play(story)
