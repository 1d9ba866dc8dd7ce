"""The interleavings that the design guards against, one by one.

Each story runs in a world where nothing else goes wrong; afterwards every promise is checked
(``checks.py``), besides what the test itself asserts.
"""

import asyncio
import itertools
from collections import Counter
from typing import Any

import pytest

from tests.simulation.faults import Fate
from tests.simulation.receiver import BUSY, HANGS, OK, REFUSED, Behaviour
from tests.simulation.world import World
from tocsin.domain.errors import StoreUnavailable
from tocsin.domain.execution import ErrorKind, Execution, Reason, State
from tocsin.domain.instant import format_instant
from tocsin.domain.job import JobStatus

URL = {"url": "http://target.example/"}
LOST = Fate(lost=True)
FAILS = Fate(fails=True)


def at(world: World, seconds: float) -> dict[str, Any]:
    """Once, so many seconds from now."""
    return {"at": format_instant(world.now() + round(seconds * 1_000))}


def every(world: World, interval: str, *, until: float, start: float = 1.0) -> dict[str, Any]:
    """At an interval, from ``start`` to ``until`` seconds from now."""
    return {
        "every": interval,
        "anchor": format_instant(world.now() + round(start * 1_000)),
        "ends_at": format_instant(world.now() + round(until * 1_000)),
    }


def states(rows: list[Execution]) -> Counter[State]:
    return Counter(row.state for row in rows)


# --- commits of unknown outcome -------------------------------------------------------------------


def test_a_claim_of_unknown_outcome_is_adopted_and_called_once() -> None:
    world = World()

    async def story(world: World) -> None:
        world.start_node()
        await world.sleep(0.1)
        world.faults.script("a", "claim", LOST)
        job = await world.create({"schedule": at(world, 1.3), "target": URL})
        await world.until(lambda: bool(world.unknown))
        claimed = world.rows(job.id)
        assert [row.state for row in claimed] == [State.CLAIMED]
        await world.sleep(2)
        (call,) = world.receiver.of(job.id)
        assert call.left_wall == claimed[0].due
        assert states(world.rows(job.id)) == {State.SUCCEEDED: 1}

    world.run(story)
    assert [method for _, _, method in world.unknown] == ["claim"]


def test_a_record_of_unknown_outcome_is_repeated_and_stored_once() -> None:
    world = World()

    async def story(world: World) -> None:
        world.start_node()
        await world.sleep(0.1)
        world.faults.script("a", "record", LOST, LOST, FAILS)
        job = await world.create({"schedule": at(world, 1), "target": URL})
        await world.sleep(4)
        assert len(world.receiver.of(job.id)) == 1
        (row,) = world.rows(job.id)
        assert (row.state, len(row.attempts)) == (State.SUCCEEDED, 1)
        assert sum(tally.succeeded for tally in world.state.tallies.values()) == 1

    world.run(story)


def test_a_retry_that_is_claimed_before_its_record_is_known_to_be_stored_is_not_forgotten() -> None:
    """The record's answer is slow, and the retry is due at once: the claim overtakes it."""
    world = World()

    async def story(world: World) -> None:
        node = world.start_node()
        await world.sleep(0.1)
        job = await world.create(
            {"name": "j", "schedule": at(world, 1), "target": URL, "retry": {"initial": "100ms"}}
        )
        world.receiver.by_job["j"] = lambda claim: BUSY if not claim.execution.attempts else OK
        world.faults.script("a", "record", Fate(after=0.8))
        await world.until(lambda: states(world.rows(job.id))[State.PENDING] == 1)
        node.engine.fire.nudge(world.now())
        await world.sleep(2)
        assert [call.number for call in world.receiver.of(job.id)] == [1, 2]
        assert states(world.rows(job.id)) == {State.SUCCEEDED: 1}

    world.run(story)


# --- a change during the claim horizon ------------------------------------------------------------


def test_a_new_definition_goes_out_although_the_old_one_was_claimed() -> None:
    world = World()

    async def story(world: World) -> None:
        node = world.start_node()
        await world.sleep(0.1)
        job = await world.create(
            {"name": "j", "schedule": at(world, 2), "target": URL | {"body": "old"}}
        )
        await world.until(lambda: states(world.rows(job.id))[State.CLAIMED] == 1)
        await node.ask(lambda: node.jobs.patch("j", {"target": {"body": "new"}}))
        await world.sleep(2)
        (call,) = world.receiver.of(job.id)
        assert call.body == "new"

    world.run(story)


def test_a_fire_time_that_is_no_longer_called_for_ends_cancelled() -> None:
    world = World()

    async def story(world: World) -> None:
        node = world.start_node()
        await world.sleep(0.1)
        job = await world.create({"name": "j", "schedule": at(world, 2), "target": URL})
        await world.until(lambda: states(world.rows(job.id))[State.CLAIMED] == 1)
        later = at(world, 3)
        await node.ask(lambda: node.jobs.patch("j", {"schedule": later}))
        await world.sleep(5)
        gone, called = world.rows(job.id)
        assert (gone.state, gone.reason) == (State.CANCELLED, Reason.CHANGED)
        assert called.state is State.SUCCEEDED
        assert [call.execution_id for call in world.receiver.calls] == [called.id]

    world.run(story)


@pytest.mark.parametrize(
    ("ending", "reason"),
    [("pause", Reason.PAUSED), ("delete", Reason.DELETED), ("cancel", Reason.REQUESTED)],
)
def test_what_is_claimed_of_a_job_that_ends_is_not_called(ending: str, reason: Reason) -> None:
    world = World()

    async def story(world: World) -> None:
        node = world.start_node()
        await world.sleep(0.1)
        job = await world.create(
            {"name": "j", "schedule": every(world, "1s", until=9), "target": URL}
        )
        await world.sleep(3.4)
        await world.until(lambda: states(world.rows(job.id))[State.CLAIMED] == 1)
        before = len(world.receiver.calls)
        await node.ask(lambda: getattr(node.jobs, ending)("j"))
        await world.sleep(3)
        assert len(world.receiver.calls) == before
        last = world.rows(job.id)[-1]
        assert (last.state, last.reason) == (State.CANCELLED, reason)

    world.run(story)


def test_a_change_that_overtakes_the_answer_of_the_claim_is_not_missed() -> None:
    """Claimed, paused, and only then told that it was claimed."""
    world = World()

    async def story(world: World) -> None:
        node = world.start_node()
        await world.sleep(0.1)
        definition = {"name": "j", "schedule": every(world, "5s", until=9, start=2), "target": URL}
        job = await world.create(definition)
        world.faults.decide = lambda _process, method: Fate(after=0.3 * (method == "claim"))
        await world.until(lambda: states(world.rows(job.id))[State.CLAIMED] == 1)
        await node.ask(lambda: node.jobs.pause("j"))
        assert node.engine.dispatcher.held == 0
        await world.sleep(3)
        assert world.receiver.calls == []
        assert world.rows(job.id)[0].reason is Reason.PAUSED

    world.run(story)


def test_what_is_given_up_stays_so_while_the_store_does_not_take_it() -> None:
    """Its instant comes while its end is still on the way to the store."""
    world = World()

    async def story(world: World) -> None:
        node = world.start_node()
        await world.sleep(0.1)
        definition = {"name": "j", "schedule": every(world, "5s", until=9, start=2), "target": URL}
        job = await world.create(definition)
        await world.until(lambda: states(world.rows(job.id))[State.CLAIMED] == 1)
        world.faults.script("a", "record", Fate(before=2.0))
        await node.ask(lambda: node.jobs.pause("j"))
        await world.sleep(4)
        assert world.receiver.calls == []
        assert world.rows(job.id)[0].reason is Reason.PAUSED

    world.run(story)


def test_a_change_whose_news_is_lost_is_found_out_by_adopting() -> None:
    """A claim that waits for its lane must not go out minutes after its job was deleted."""
    world = World()

    async def story(world: World) -> None:
        world.news_delay = lambda: None
        owner = world.start_node("a", max_in_flight=1, max_per_lane=1)
        await world.sleep(0.1)
        world.receiver.by_job["hangs"] = lambda _claim: Behaviour(takes=25)
        first = {"schedule": at(world, 1), "target": URL}
        await world.create({"name": "hangs"} | first)
        await world.sleep(0.3)
        waits = await world.create({"name": "waits", "schedule": at(world, 1), "target": URL})
        await world.sleep(2)
        assert world.rows(waits.id)[0].owner == owner.incarnation
        other = world.start_node("b")
        await world.sleep(0.1)
        await other.ask(lambda: other.jobs.delete("waits"))
        await world.sleep(30)
        assert world.receiver.of(waits.id) == []
        assert world.rows(waits.id)[0].reason is Reason.DELETED

    world.run(story)


def test_of_two_changes_the_newer_holds_in_whatever_order_their_news_comes() -> None:
    world = World()

    async def story(world: World) -> None:
        delays = iter((0.3, 0.01))
        world.start_node("a")
        await world.sleep(0.1)
        job = await world.create({"name": "j", "schedule": at(world, 3), "target": URL})
        await world.until(lambda: states(world.rows(job.id))[State.CLAIMED] == 1)
        other = world.start_node("b")
        await world.sleep(0.1)
        world.news_delay = lambda: next(delays)
        await other.ask(lambda: other.jobs.patch("j", {"target": {"body": "older"}}))
        await other.ask(lambda: other.jobs.patch("j", {"target": {"body": "newer"}}))
        world.news_delay = lambda: 0.0
        await world.sleep(3)
        assert world.receiver.of(job.id)[0].body == "newer"

    world.run(story)


def test_what_was_given_back_does_not_run_for_a_paused_job() -> None:
    world = World()

    async def story(world: World) -> None:
        node = world.start_node("a", horizon=4_000)
        await world.sleep(0.1)
        definition = {"name": "j", "schedule": every(world, "5s", until=9, start=2), "target": URL}
        job = await world.create(definition)
        await world.until(lambda: states(world.rows(job.id))[State.CLAIMED] == 1)
        other = world.start_node("b")
        await world.sleep(0.1)
        world.news_delay = lambda: None
        await other.ask(lambda: other.jobs.pause("j"))
        await node.stop()
        await world.sleep(3)
        assert world.receiver.calls == []
        assert world.rows(job.id)[0].reason is Reason.PAUSED

    world.run(story)


def test_a_change_is_decided_on_the_timer_as_it_is() -> None:
    world = World()

    async def story(world: World) -> None:
        node = world.start_node()
        await world.sleep(0.1)
        job = await world.create(
            {
                "name": "j",
                "schedule": every(world, "1s", until=9),
                "target": URL,
                "overlap": "skip",
            }
        )
        await world.sleep(2.85)
        # It reads that the fire at 3 s is next; then that is planned; then it writes.
        world.faults.script("a", "get_job", Fate(after=0.1))
        world.faults.script("a", "change_job", Fate(before=0.2))
        await node.ask(lambda: node.jobs.patch("j", {"description": "new"}))
        world.faults.down = True
        await world.sleep(4)
        world.faults.down = False
        await world.sleep(6)
        covered = [row.skipped_count or 1 for row in world.rows(job.id)]
        assert sum(covered) == 9

    world.run(story)


# --- overlap --------------------------------------------------------------------------------------


@pytest.mark.parametrize("overlap", ["skip", "queue", "replace"])
def test_overlap_is_decided_at_the_instant_not_ahead(overlap: str) -> None:
    """A call of 0.95 s every second: whoever claims a second ahead sees it still running."""
    world = World()

    async def story(world: World) -> None:
        world.receiver.script = lambda _claim: Behaviour(takes=0.95)
        world.start_node()
        await world.sleep(0.1)
        job = await world.create(
            {"schedule": every(world, "1s", until=10), "target": URL, "overlap": overlap}
        )
        await world.sleep(12)
        assert states(world.rows(job.id)) == {State.SUCCEEDED: 10}

    world.run(story)


def test_skip_skips_while_the_last_one_runs() -> None:
    world = World()

    async def story(world: World) -> None:
        world.receiver.script = lambda _claim: Behaviour(takes=2.5)
        world.start_node()
        await world.sleep(0.1)
        job = await world.create(
            {"schedule": every(world, "1s", until=7), "target": URL, "overlap": "skip"}
        )
        await world.sleep(12)
        assert [row.state.value[:4] for row in world.rows(job.id)] == [
            "succ", "skip", "skip", "succ", "skip", "skip", "succ",
        ]  # fmt: skip

    world.run(story)


def test_queue_runs_in_order_and_ten_wait_at_most() -> None:
    world = World()

    async def story(world: World) -> None:
        world.receiver.script = lambda _claim: Behaviour(takes=4)
        world.start_node()
        await world.sleep(0.1)
        job = await world.create(
            {"schedule": every(world, "1s", until=20), "target": URL, "overlap": "queue"}
        )
        await world.sleep(80)
        found = states(world.rows(job.id))
        assert found[State.SUCCEEDED] == 15
        assert found[State.SKIPPED] == 5
        assert {row.reason for row in world.rows(job.id)} == {None, Reason.QUEUE_FULL}
        ids = [call.execution_id for call in world.receiver.of(job.id)]
        assert ids == sorted(ids)
        gaps = [
            later.left_at - (earlier.ended_at or 0)
            for earlier, later in zip(world.receiver.calls, world.receiver.calls[1:], strict=False)
        ]
        assert max(gaps) < 0.6, "the next one goes as soon as the last has ended"

    world.run(story)


def test_replace_aborts_the_one_that_runs() -> None:
    world = World()

    async def story(world: World) -> None:
        world.receiver.script = lambda claim: HANGS if claim.execution.fire_time % 2_000 else OK
        world.start_node()
        await world.sleep(0.1)
        job = await world.create(
            {
                "schedule": every(world, "1s", until=6.5, start=0.9),
                "target": URL | {"timeout": "20s"},
                "overlap": "replace",
            }
        )
        await world.sleep(8)
        calls = world.receiver.of(job.id)
        assert [call.aborted for call in calls] == [True, False] * 3
        rows = world.rows(job.id)
        assert [row.reason for row in rows] == [Reason.REPLACED, None] * 3
        assert all(len(row.attempts) == 1 for row in rows), "the aborted calls are on record"
        for earlier, later in itertools.pairwise(calls):
            assert (earlier.ended_at or 0) <= later.left_at

    world.run(story)


def test_a_queued_execution_waits_for_younger_ones_too() -> None:
    world = World()

    async def story(world: World) -> None:
        node = world.start_node()
        await world.sleep(0.1)
        world.receiver.script = lambda _claim: Behaviour(takes=3)
        job = await world.create(
            {
                "name": "j",
                "schedule": at(world, 1.0) | {"jitter": "5s"},
                "target": URL,
                "overlap": "queue",
            }
        )
        await world.sleep(1.1)
        assert world.rows(job.id) == [], "jitter has not let it go yet"
        await node.ask(lambda: node.executions.trigger("j", {}))
        await world.sleep(12)
        first, second = world.receiver.of(job.id)
        assert first.execution_id > second.execution_id
        assert (first.ended_at or 0) <= second.left_at

    world.run(story)


# --- misfires -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("misfire", "runs", "down"),
    [
        ({"policy": "latest"}, 1, 3 * 86_400),
        ({"policy": "all", "max": 20}, 20, 6_000),
        ({"policy": "skip"}, 0, 6_000),
    ],
)
def test_three_days_down_are_no_flood(misfire: dict[str, Any], runs: int, down: int) -> None:
    world = World()

    async def story(world: World) -> None:
        node = world.start_node()
        await world.sleep(0.1)
        job = await world.create(
            {
                "schedule": every(world, "1s", until=down + 60),
                "target": URL,
                "misfire": misfire,
            }
        )
        await world.sleep(10)
        node.kill()
        await world.sleep(down)
        before, commits = len(world.receiver.calls), len(world.commits)
        back_at = world.now()
        world.start_node()
        await world.sleep(20)
        missed = [
            row
            for commit in world.commits[commits:]
            for old, row in commit.executions.values()
            if old is None and row is not None and row.state is not State.SKIPPED
            if commit.now - row.due > 5_000
        ]
        assert len(missed) == runs
        # Whatever lies within the grace (5 s here) runs, and the schedule goes on as if nothing.
        on_time = [call for call in world.receiver.calls[before:] if call.fire_time > back_at]
        assert len(on_time) >= 18
        skipped = [row for row in world.rows(job.id) if row.state is State.SKIPPED]
        assert sum(row.skipped_count or 1 for row in skipped) > down - 30
        assert len(skipped) < 5 + down / 950, "one row stands for many fire times"
        seconds = on_time[0].left_wall - back_at
        assert seconds < 8_000, "the backlog is looked through at once, not poll by poll"

    world.run(story)


def test_a_clock_that_is_set_back_neither_stops_the_node_nor_repeats_a_fire() -> None:
    world = World()

    async def story(world: World) -> None:
        world.start_node()
        await world.sleep(0.1)
        job = await world.create({"schedule": every(world, "1s", until=30), "target": URL})
        await world.sleep(5.2)
        world.jump(-3_600_000)
        await world.sleep(2)
        jobs = await world.create({"schedule": at(world, -3_599), "target": URL})
        await world.sleep(2)
        assert len(world.receiver.of(jobs.id)) == 1, "a new job fires by the clock as it is"
        world.jump(3_600_000)
        await world.sleep(25)
        fired = Counter(call.fire_time for call in world.receiver.of(job.id))
        assert set(fired.values()) == {1}

    world.run(story)


# --- leases ---------------------------------------------------------------------------------------


def test_a_node_that_cannot_renew_stops_calling_and_comes_back_as_a_new_incarnation() -> None:
    world = World()

    async def story(world: World) -> None:
        cut = world.start_node("a")
        await world.sleep(0.1)
        first = cut.incarnation
        other = world.start_node("b")
        job = await world.create({"schedule": every(world, "1s", until=40), "target": URL})
        await world.sleep(8)
        world.faults.cut.add("a")
        cut_at = world.loop.time()
        await world.sleep(12)
        after = [call for call in world.receiver.of(job.id) if call.left_at > cut_at]
        assert all(call.left_at <= cut_at + 5 for call in after if call.process is cut)
        assert any(call.process is other for call in after)
        world.faults.cut.clear()
        await world.sleep(3)
        assert cut.incarnation not in {"", first}
        assert world.incarnations[first].revoked

    world.run(story)
    assert states(world.rows("019b0000-0000-7000-8000-000000000001"))[State.SUCCEEDED] == 40


def test_the_results_of_a_process_that_stood_still_come_too_late() -> None:
    world = World()

    async def story(world: World) -> None:
        world.receiver.script = lambda _claim: Behaviour(takes=1.0)
        sleepy = world.start_node("a")
        await world.sleep(0.1)
        job = await world.create({"schedule": at(world, 1), "target": URL})
        await world.sleep(1.5)
        assert len(world.receiver.of(job.id)) == 1
        sleepy.pause()
        world.start_node("b")
        await world.sleep(15)
        assert states(world.rows(job.id)) == {State.SUCCEEDED: 1}
        sleepy.resume()
        await world.sleep(3)
        lost, good = world.rows(job.id)[0].attempts
        assert (lost.error_kind, good.node) == (ErrorKind.LOST, "b")
        assert sleepy.incarnation not in {"", "a1-00001"}

    world.run(story)


def test_a_process_that_is_stopped_between_the_slot_and_the_call_does_not_call_afterwards() -> None:
    """At every step around the instant: the process stands still there until its lease is over."""
    for stop_after in range(25):
        world = World()

        async def story(world: World, stop_after: int = stop_after) -> None:
            node = world.start_node("a")
            await world.sleep(0.1)
            await world.create({"schedule": at(world, 1), "target": URL})
            await world.sleep(0.9985)
            node.after_steps(stop_after, node.pause)
            await world.sleep(9)
            node.resume()
            await world.sleep(3)

        world.run(story)


def test_an_outage_of_a_minute_heals_without_hands() -> None:
    world = World()

    async def story(world: World) -> None:
        nodes = [world.start_node("a"), world.start_node("b")]
        await world.sleep(0.1)
        job = await world.create(
            {
                "schedule": every(world, "1s", until=100),
                "target": URL,
                "misfire": {"policy": "all", "grace": "2s"},
            }
        )
        await world.sleep(10.6)
        incarnations = [node.incarnation for node in nodes]
        world.faults.down = True
        down_at = world.loop.time()
        await world.sleep(60)
        during = [call for call in world.receiver.calls if call.left_at > down_at]
        assert during, "what is claimed goes out while the lease lasts"
        assert all(call.left_at < down_at + 5 for call in during)
        # One of them is back first.
        world.faults.cut.add("b")
        world.faults.down = False
        await world.sleep(2.5)
        world.faults.cut.clear()
        await world.sleep(4)
        assert [node.incarnation for node in nodes] == incarnations, (
            "the first one back must not revoke the other: both were away"
        )
        await world.sleep(40)
        assert states(world.rows(job.id)) == {State.SUCCEEDED: 100}
        assert all(len(row.attempts) == 1 for row in world.rows(job.id))

    world.run(story)


def test_a_full_disk_for_a_while_costs_no_result() -> None:
    world = World()

    async def story(world: World) -> None:
        world.start_node()
        await world.sleep(0.1)
        world.receiver.script = lambda _claim: Behaviour(takes=0.5)
        job = await world.create(
            {"schedule": every(world, "1s", until=30), "target": URL, "misfire": {"policy": "all"}}
        )
        await world.sleep(5.3)
        world.faults.full = True
        await world.sleep(15)
        world.faults.full = False
        await world.sleep(20)
        assert states(world.rows(job.id)) == {State.SUCCEEDED: 30}
        assert all(len(row.attempts) == 1 for row in world.rows(job.id))

    world.run(story)


# --- load -----------------------------------------------------------------------------------------


def test_a_hanging_target_does_not_hold_back_other_lanes() -> None:
    """Neither those that are claimed ahead, nor those that need a free slot at their instant."""
    world = World()

    async def story(world: World) -> None:
        world.start_node(max_in_flight=12, max_per_lane=4, max_held=40)
        await world.sleep(0.1)
        world.receiver.script = lambda claim: HANGS if claim.job.name.startswith("hang") else OK
        until = 20.0
        for number in range(60):
            # Far more than fits, two origins, all at once and again and again.
            origin = f"http://hang{number % 2}.example/"
            await world.create(
                {
                    "name": f"hang-{number}",
                    "schedule": every(world, "2s", until=until),
                    "target": {"url": origin, "timeout": "3s"},
                    "retry": {"max_attempts": 1},
                    "misfire": {"policy": "skip"},
                }
            )
        jobs = [
            await world.create(
                {"schedule": every(world, "1s", until=until), "target": URL} | policies
            )
            for policies in ({}, {"overlap": "skip"}, {"delivery": "at_most_once"})
        ]
        await world.sleep(until + 2)
        for job in jobs:
            calls = world.receiver.of(job.id)
            late = [call.left_wall - call.fire_time for call in calls]
            assert len(calls) == 20
            assert max(late) <= 30, late

    world.run(story)


def test_a_burst_delays_a_lone_job_by_its_share_only_where_the_store_takes_time() -> None:
    """One that writes one after the other, and needs half a second for a thousand rows."""
    world = World()

    async def story(world: World) -> None:
        world.start_node(max_in_flight=400, max_per_lane=40, max_held=3_200)
        await world.sleep(0.1)
        world.receiver.script = lambda claim: (
            Behaviour(takes=0.15) if claim.job.name.startswith("burst") else OK
        )
        # More than is held, and due only when all exist.
        due = at(world, 4)
        burst = [
            await world.create(
                {
                    "name": f"burst-{number}",
                    "schedule": due,
                    "target": {"url": f"http://burst{number % 40}.example/"},
                }
            )
            for number in range(4_000)
        ]
        lone = [
            await world.create({"schedule": every(world, "1s", until=9), "target": URL} | policies)
            for policies in ({}, {"overlap": "skip"}, {"delivery": "at_most_once"})
        ]
        world.faults.takes = lambda _method, rows: 0.004 + rows * 0.0005
        began = world.now()
        await world.sleep(12)
        took = max(call.left_wall for job in burst for call in world.receiver.of(job.id)) - began
        assert took >= 6_500, "it was a burst"
        for job in lone:
            late = [call.left_wall - call.fire_time for call in world.receiver.of(job.id)]
            assert len(late) == 9
            assert max(late) <= 140, late

    world.run(story)


@pytest.mark.parametrize("lanes", [1, 30])
def test_a_burst_delays_a_lone_job_by_its_share_only(lanes: int) -> None:
    """Nobody's fire that comes due later waits until the burst is over, which takes 4 s."""
    world = World()

    async def story(world: World) -> None:
        world.start_node(max_in_flight=32, max_per_lane=16 if lanes == 1 else 4, max_held=64)
        await world.sleep(0.1)
        world.receiver.script = lambda claim: (
            Behaviour(takes=0.1) if claim.job.name.startswith("burst") else OK
        )
        burst = [
            await world.create(
                {
                    "name": f"burst-{number}",
                    "schedule": at(world, 3),
                    "target": {"url": f"http://burst{number % lanes}.example/"},
                }
            )
            for number in range(600 if lanes == 1 else 1_200)
        ]
        lone = [
            await world.create({"schedule": every(world, "1s", until=9), "target": URL} | policies)
            for policies in ({}, {"overlap": "skip"}, {"delivery": "at_most_once"})
        ]
        began = world.now()
        await world.sleep(12)
        took = max(call.left_wall for job in burst for call in world.receiver.of(job.id)) - began
        assert took >= 6_000, "it was a burst"
        for job in lone:
            late = [call.left_wall - call.fire_time for call in world.receiver.of(job.id)]
            assert len(late) == 9
            assert max(late) <= 250, late

    world.run(story)


def test_a_job_has_no_more_calls_under_way_than_its_limit_and_the_rest_waits_in_the_store() -> None:
    world = World()

    async def story(world: World) -> None:
        node = world.start_node(max_per_job=3)
        await world.sleep(0.1)
        world.receiver.script = lambda claim: Behaviour(takes=5) if claim.job.name == "slow" else OK
        slow = await world.create({"name": "slow", "schedule": at(world, 999), "target": URL})
        lone = await world.create({"schedule": every(world, "1s", until=60), "target": URL})
        for _ in range(15):
            await node.ask(lambda: node.executions.trigger("slow", {}))
            await world.sleep(0.1)
            assert len(tuple(node.engine.dispatcher._claims.of_job(slow.id))) <= 3
        assert node.open_of_job[slow.id] == 3
        assert states(world.rows(slow.id)) == {State.CLAIMED: 3, State.PENDING: 12}
        await world.sleep(60)
        assert states(world.rows(slow.id)) == {State.SUCCEEDED: 15}
        late = [call.left_wall - call.fire_time for call in world.receiver.of(lone.id)]
        assert max(late) <= 30, "on the same host, and not held up"

    world.run(story)


def test_a_full_lane_does_not_make_the_node_spin() -> None:
    """Work that is due in a full lane is not asked for again and again."""
    world = World()

    async def story(world: World) -> None:
        world.start_node(max_in_flight=12, max_per_lane=4)
        await world.sleep(0.1)
        world.receiver.script = lambda claim: HANGS if claim.job.name.startswith("hang") else OK
        for number in range(10):
            await world.create(
                {
                    "name": f"hang-{number}",
                    "schedule": at(world, 1),
                    "target": {"url": "http://hang.example/", "timeout": "60s"},
                    "delivery": "at_most_once",
                }
            )
        await world.sleep(5)
        before = world.claims_asked
        await world.sleep(20)
        assert world.claims_asked - before <= 2 * 20 / 0.5 + 10
        # The same while other lanes are busy.
        await world.create({"schedule": every(world, "1s", until=20), "target": URL})
        before = world.claims_asked
        await world.sleep(20)
        assert world.claims_asked - before <= 20 * 12

    world.run(story)


def test_five_thousand_at_one_instant_through_a_small_node() -> None:
    world = World()

    async def story(world: World) -> None:
        node = world.start_node(max_in_flight=50, max_per_lane=20, max_held=300)
        await world.sleep(0.1)
        definitions = [
            {
                "schedule": at(world, 2),
                "target": {"url": f"http://target{number % 7}.example/"},
                "misfire": {"policy": "all", "max": 500},
            }
            for number in range(5_000)
        ]
        await node.ask(lambda: node.jobs.create_batch({"jobs": definitions}))
        await world.sleep(20)
        assert states(list(world.state.executions.values())) == {State.SUCCEEDED: 5_000}
        assert all(job.status is JobStatus.COMPLETED for job in world.state.jobs.values())

    world.run(story)
    assert len(world.receiver.calls) == 5_000


def test_exact_jobs_at_one_instant_go_as_fast_as_slots_get_free() -> None:
    world = World()

    async def story(world: World) -> None:
        node = world.start_node(max_in_flight=10, max_per_lane=10)
        await world.sleep(0.1)
        world.receiver.script = lambda _claim: Behaviour(takes=0.02)
        definitions = [
            {"schedule": at(world, 1), "target": URL, "delivery": "at_most_once"}
            for _ in range(100)
        ]
        await node.ask(lambda: node.jobs.create_batch({"jobs": definitions}))
        await world.sleep(5)
        last = max(call.left_wall - call.fire_time for call in world.receiver.calls)
        assert last < 600, "ten at a time, 20 ms each, and not one batch per poll"

    world.run(story)


# --- retries --------------------------------------------------------------------------------------


def test_retries_leave_at_their_times() -> None:
    world = World()

    async def story(world: World) -> None:
        world.receiver.script = lambda _claim: BUSY
        world.start_node()
        await world.sleep(0.1)
        retry = {"max_attempts": 4, "initial": "300ms", "factor": 3, "max": "2s", "jitter": 0}
        job = await world.create({"schedule": at(world, 1), "target": URL, "retry": retry})
        await world.sleep(8)
        calls = world.receiver.of(job.id)
        gaps = [
            round(later.left_at - (earlier.ended_at or 0), 2)
            for earlier, later in itertools.pairwise(calls)
        ]
        assert gaps == [0.3, 0.9, 2.0]
        (row,) = world.rows(job.id)
        assert (row.state, len(row.attempts)) == (State.FAILED, 4)

    world.run(story)


def test_retry_after_is_honoured() -> None:
    world = World()

    async def story(world: World) -> None:
        world.receiver.script = lambda claim: (
            OK if claim.execution.attempts else Behaviour(status=429, retry_after=4_000)
        )
        world.start_node()
        await world.sleep(0.1)
        job = await world.create({"schedule": at(world, 1), "target": URL})
        await world.sleep(8)
        first, second = world.receiver.of(job.id)
        assert second.left_at - (first.ended_at or 0) == pytest.approx(4.0, abs=0.02)

    world.run(story)


def test_a_retry_takes_the_current_definition() -> None:
    world = World()

    async def story(world: World) -> None:
        world.receiver.script = lambda claim: OK if claim.execution.attempts else BUSY
        node = world.start_node()
        await world.sleep(0.1)
        job = await world.create(
            {"name": "j", "schedule": at(world, 1), "target": URL, "retry": {"initial": "3s"}}
        )
        await world.sleep(2)
        await node.ask(lambda: node.jobs.patch("j", {"target": {"body": "new"}}))
        await world.sleep(4)
        assert [call.body for call in world.receiver.of(job.id)] == [None, "new"]

    world.run(story)


# --- ends -----------------------------------------------------------------------------------------


def test_a_graceful_stop_gives_back_what_has_not_started_and_records_what_is_in_flight() -> None:
    world = World()

    async def story(world: World) -> None:
        world.receiver.script = lambda _claim: Behaviour(takes=2)
        node = world.start_node("a", horizon=4_000)
        await world.sleep(0.1)
        running = await world.create({"schedule": at(world, 1), "target": URL})
        waiting = await world.create({"schedule": at(world, 3), "target": URL})
        await world.sleep(1.2)
        await node.stop()
        assert world.rows(running.id)[0].state is State.SUCCEEDED
        given_back = world.rows(waiting.id)[0]
        assert (given_back.state, given_back.owner) == (State.PENDING, None)
        assert world.state.nodes == {}
        world.start_node("a")
        await world.sleep(5)
        row = world.rows(waiting.id)[0]
        assert (row.state, len(row.attempts)) == (State.SUCCEEDED, 1)

    world.run(story)


def test_a_graceful_stop_makes_the_calls_that_others_would_make_late() -> None:
    world = World()

    async def story(world: World) -> None:
        node = world.start_node("a")
        await world.sleep(0.1)
        jobs = [
            await world.create({"schedule": at(world, 2 + number / 10), "target": URL})
            for number in range(10)
        ]
        await world.until(lambda: len(world.rows(jobs[-1].id)) == 1)
        # It looks now, and again in 500 ms; what is given back meanwhile it does not hear of.
        world.news_delay = lambda: None
        world.start_node("b")
        await world.sleep(0.05)
        await node.stop()
        await world.sleep(3)
        for job in jobs:
            row = world.rows(job.id)[0]
            assert (row.state, len(row.attempts)) == (State.SUCCEEDED, 1)
            assert row.attempts[0].started_at == row.due
        assert len(world.state.nodes) == 1

    world.run(story)


def test_a_call_that_outlasts_the_grace_is_tried_again_by_the_next() -> None:
    world = World()

    async def story(world: World) -> None:
        world.receiver.script = lambda claim: OK if claim.execution.attempts else HANGS
        node = world.start_node("a", shutdown_grace=500)
        await world.sleep(0.1)
        job = await world.create({"schedule": at(world, 1), "target": URL})
        once = await world.create(
            {"schedule": at(world, 1), "target": URL, "delivery": "at_most_once"}
        )
        await world.sleep(1.2)
        began = world.loop.time()
        await node.stop()
        assert world.loop.time() - began < 1
        world.start_node("a")
        await world.sleep(2)
        kinds = [attempt.error_kind for attempt in world.rows(job.id)[0].attempts]
        assert kinds == [ErrorKind.LOST, None]
        row = world.rows(once.id)[0]
        assert (row.state, row.reason) == (State.FAILED, Reason.LOST)

    world.run(story)


@pytest.mark.parametrize("delivery", ["at_least_once", "at_most_once"])
def test_a_stop_in_the_middle_of_a_claim_loses_nothing(delivery: str) -> None:
    """Whenever it comes: what is claimed by then is called or given back, never taken for lost."""
    for millis in range(-5, 120, 3):
        world = World()

        async def story(world: World, millis: int = millis) -> None:
            world.faults.decide = lambda _process, method: Fate(
                before=0.03 * (method == "claim"), after=0.03 * (method in {"claim", "give_back"})
            )
            node = world.start_node("a")
            await world.sleep(0.5)
            job = await world.create(
                {"schedule": at(world, 1), "target": URL, "delivery": delivery}
            )
            instant = world.loop.time() + 1 - (0.06 if delivery == "at_most_once" else 0.5)
            await world.sleep(instant + millis / 1_000 - world.loop.time())
            await node.stop()
            world.start_node("a")
            await world.sleep(3)
            (row,) = world.rows(job.id)
            assert (row.state, len(row.attempts)) == (State.SUCCEEDED, 1)

        world.run(story)


def test_a_give_back_that_fails_is_tried_again() -> None:
    world = World()

    async def story(world: World) -> None:
        node = world.start_node("a", horizon=4_000)
        await world.sleep(0.1)
        job = await world.create({"schedule": at(world, 3), "target": URL})
        await world.until(lambda: states(world.rows(job.id))[State.CLAIMED] == 1)
        world.faults.script("a", "give_back", FAILS, FAILS, LOST)
        await node.stop()
        assert world.rows(job.id)[0].state is State.PENDING
        world.start_node("a")
        await world.sleep(4)
        assert len(world.rows(job.id)[0].attempts) == 1

    world.run(story)


def test_five_lost_in_a_row_are_the_end() -> None:
    world = World()

    async def story(world: World) -> None:
        world.receiver.script = lambda _claim: HANGS
        node = world.start_node("a")
        await world.sleep(0.1)
        job = await world.create(
            {"schedule": at(world, 1), "target": URL, "retry": {"max_attempts": 1}}
        )
        for number in range(1, 6):
            await world.until(lambda number=number: len(world.receiver.of(job.id)) == number)  # type: ignore[misc]
            node.kill()
            await world.sleep(1)
            node = world.start_node("a")
        await world.sleep(10)
        (row,) = world.rows(job.id)
        assert (row.state, row.reason) == (State.FAILED, Reason.LOST)
        assert [attempt.error_kind for attempt in row.attempts] == [ErrorKind.LOST] * 5

    world.run(story)


def test_lost_attempts_do_not_count_towards_max_attempts() -> None:
    world = World()

    async def story(world: World) -> None:
        world.receiver.script = lambda claim: HANGS if len(claim.execution.attempts) < 1 else BUSY
        node = world.start_node("a")
        await world.sleep(0.1)
        job = await world.create(
            {"schedule": at(world, 1), "target": URL, "retry": {"max_attempts": 2}}
        )
        await world.sleep(2)
        node.kill()
        world.start_node("a")
        await world.sleep(15)
        kinds = [attempt.error_kind for attempt in world.rows(job.id)[0].attempts]
        assert kinds == [ErrorKind.LOST, ErrorKind.HTTP_STATUS, ErrorKind.HTTP_STATUS]

    world.run(story)


def test_at_most_once_is_never_called_twice_although_the_clock_is_set_back() -> None:
    """By the new time it is not due yet when it is rescued, but it has been called."""
    world = World()

    async def story(world: World) -> None:
        world.receiver.script = lambda _claim: HANGS
        node = world.start_node("a")
        await world.sleep(0.1)
        job = await world.create(
            {"schedule": at(world, 1), "target": URL, "delivery": "at_most_once"}
        )
        await world.sleep(2)
        world.jump(-90_000)
        # Long enough to renew the lease by the new time.
        await world.sleep(3)
        node.kill()
        world.start_node("a")
        await world.sleep(120)
        assert len(world.receiver.arrivals(job.id)) == 1
        assert world.rows(job.id)[0].reason is Reason.LOST

    world.run(story)


def test_at_most_once_is_never_called_twice_wherever_the_node_dies() -> None:
    """At each step around its instant."""
    arrived = Counter[int]()
    for step in range(0, 60, 2):
        world = World()

        async def story(world: World, step: int = step) -> None:
            node = world.start_node("a")
            await world.sleep(0.1)
            job = await world.create(
                {"schedule": at(world, 1), "target": URL, "delivery": "at_most_once"}
            )
            await world.sleep(0.9985)
            node.after_steps(step, node.kill)
            await world.sleep(1)
            node.kill()
            world.start_node("a")
            await world.sleep(15)
            arrived[len(world.receiver.arrivals(job.id))] += 1

        world.run(story)
    assert arrived.keys() == {0, 1}, "some died before the call and some after"


def test_at_most_once_is_tried_again_where_nothing_was_written() -> None:
    world = World()

    async def story(world: World) -> None:
        world.receiver.script = lambda claim: OK if claim.execution.attempts else REFUSED
        world.start_node()
        await world.sleep(0.1)
        job = await world.create(
            {"schedule": at(world, 1), "target": URL, "delivery": "at_most_once"}
        )
        await world.sleep(4)
        assert len(world.receiver.of(job.id)) == 2
        assert len(world.receiver.arrivals(job.id)) == 1
        assert world.rows(job.id)[0].state is State.SUCCEEDED

    world.run(story)


def test_a_cancelled_execution_is_aborted_and_its_attempt_kept() -> None:
    world = World()

    async def story(world: World) -> None:
        world.receiver.script = lambda _claim: HANGS
        node = world.start_node()
        await world.sleep(0.1)
        job = await world.create({"schedule": at(world, 1), "target": URL})
        await world.sleep(2)
        one = world.rows(job.id)[0].id
        await node.ask(lambda: node.executions.cancel(one))
        await world.sleep(1)
        (call,) = world.receiver.of(job.id)
        assert call.aborted
        row = world.row(one)
        assert (row.state, row.reason) == (State.CANCELLED, Reason.REQUESTED)
        assert [attempt.error_kind for attempt in row.attempts] == [ErrorKind.CANCELLED]

    world.run(story)


def test_a_cancel_whose_news_is_lost_is_heard_of_with_the_next_heartbeat() -> None:
    world = World()

    async def story(world: World) -> None:
        world.news_delay = lambda: None
        world.receiver.script = lambda _claim: HANGS
        world.start_node("a")
        await world.sleep(0.1)
        job = await world.create({"schedule": at(world, 1), "target": URL})
        await world.sleep(2)
        other = world.start_node("b")
        await world.sleep(0.5)
        one = world.rows(job.id)[0].id
        await other.ask(lambda: other.executions.cancel(one))
        await world.sleep(2.5)
        assert world.receiver.of(job.id)[0].aborted

    world.run(story)


def test_an_execution_that_is_cancelled_in_the_moment_it_starts_leaks_no_slot() -> None:
    """At each step between the claim's instant and the call."""
    for steps in range(30):
        world = World()

        async def story(world: World, steps: int = steps) -> None:
            node = world.start_node(max_in_flight=1, max_per_lane=1)
            await world.sleep(0.1)
            job = await world.create({"schedule": at(world, 1), "target": URL})
            await world.create({"schedule": at(world, 3), "target": URL})
            await world.sleep(0.9985)
            (row,) = world.rows(job.id)
            now = asyncio.Event()
            node.after_steps(steps, now.set)
            await now.wait()
            await world.tell(lambda node: node.executions.cancel(row.id), node)
            await world.sleep(4)

        world.run(story)
        assert states(list(world.state.executions.values()))[State.SUCCEEDED] >= 1


def test_a_node_without_work_has_no_problem() -> None:
    world = World()

    async def story(world: World) -> None:
        node = world.start_node()
        await world.sleep(1)
        for _ in range(20):
            await world.sleep(1)
            assert node.engine.problems() == []

    world.run(story)


def test_a_store_that_is_away_at_the_start_delays_the_node_only() -> None:
    world = World()

    async def story(world: World) -> None:
        world.faults.down = True
        node = world.start_node()
        await world.sleep(3)
        assert node.engine.problems()
        world.faults.down = False
        await world.sleep(3)
        assert node.engine.problems() == []
        await world.create({"schedule": at(world, 1), "target": URL})
        await world.sleep(2)
        assert len(world.receiver.calls) == 1

    world.run(story)


def test_without_a_horizon_new_jobs_are_on_time_too() -> None:
    world = World()

    async def story(world: World) -> None:
        world.start_node(horizon=0, poll=500)
        await world.sleep(0.1)
        await world.create({"schedule": at(world, 0.2), "target": URL})
        await world.sleep(2)

    world.run(story)
    (call,) = world.receiver.calls
    assert call.left_wall - call.fire_time <= 10


def test_the_store_says_unavailable_to_the_user_who_is_cut_off() -> None:
    world = World()

    async def story(world: World) -> None:
        node = world.start_node()
        await world.sleep(0.1)
        world.faults.down = True
        with pytest.raises(StoreUnavailable):
            await node.ask(lambda: node.jobs.create({"schedule": {"every": "1s"}, "target": URL}))

    world.run(story)


def test_a_burst_of_exact_jobs_on_one_lane_is_not_claimed_again_and_again() -> None:
    world = World()

    async def story(world: World) -> None:
        node = world.start_node(max_in_flight=200, max_per_lane=10)
        await world.sleep(0.1)
        world.receiver.script = lambda _claim: Behaviour(takes=0.05)
        definitions = [
            {"schedule": at(world, 1), "target": URL, "delivery": "at_most_once"}
            for _ in range(500)
        ]
        await node.ask(lambda: node.jobs.create_batch({"jobs": definitions}))
        await world.sleep(15)
        last = max(call.left_wall - call.fire_time for call in world.receiver.calls)
        assert last < 3_000, "ten at a time, 50 ms each"

    world.run(story)
    given_back = [len(one.executions) for one in world.commits if one.method == "give_back"]
    assert sum(given_back) <= 3 * 500


def test_what_a_revoked_incarnation_held_is_not_called_by_the_next_one() -> None:
    world = World()

    async def story(world: World) -> None:
        sleepy = world.start_node("a")
        await world.sleep(0.1)
        jobs = [
            await world.create({"schedule": at(world, 1 + number / 10), "target": URL})
            for number in range(10)
        ]
        await world.sleep(0.95)
        waiting = sleepy.engine.dispatcher.held
        assert waiting >= 5
        sleepy.pause()
        other = world.start_node("b")
        await world.sleep(20)
        sleepy.resume()
        await world.sleep(0.5)
        again = await world.create({"schedule": at(world, 0.1), "target": URL}, node=other)
        await world.sleep(5)
        for job in [*jobs, again]:
            assert len(world.receiver.of(job.id)) == 1

    world.run(story)


def test_a_repeated_record_does_not_take_back_a_later_attempt() -> None:
    """Its first try was stored, and until the second the next attempt was made by another node."""
    world = World()

    async def story(world: World) -> None:
        world.receiver.script = lambda claim: OK if len(claim.execution.attempts) == 2 else BUSY
        world.start_node("a")
        await world.sleep(0.1)
        retry = {"initial": "100ms", "factor": 1, "jitter": 0}
        job = await world.create({"schedule": at(world, 1), "target": URL, "retry": retry})
        world.faults.script("a", "record", LOST, *[FAILS] * 6)
        await world.until(lambda: bool(world.unknown))
        # "b" makes the second attempt, "a" is to make the third.
        world.faults.cut.add("a")
        world.start_node("b", horizon=0, poll=50)
        await world.until(lambda: len(world.receiver.of(job.id)) == 2)
        await world.until(lambda: len(world.rows(job.id)[0].attempts) == 2)
        world.faults.cut = {"b"}
        await world.sleep(8)
        assert [call.number for call in world.receiver.of(job.id)] == [1, 2, 3]
        assert [attempt.number for attempt in world.rows(job.id)[0].attempts] == [1, 2, 3]

    world.run(story)
