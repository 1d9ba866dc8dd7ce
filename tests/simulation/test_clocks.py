"""Nodes whose clocks are wrong, on a store that has a clock of its own.

The store's time is the true one here: ``world.instant`` of the moment at which a call left says
whether it was on time, whatever the node's clocks say.
"""

from collections import Counter

import pytest

from tests.simulation.faults import Fate
from tests.simulation.test_scenarios import URL, at, every, states
from tests.simulation.world import SimNode, World
from tests.support.virtual_loop import Process
from tocsin.domain.execution import State
from tocsin.domain.job import Job

TOO_SLOW = "the database answered too slowly to compare clocks: round trip 350 ms, at most 200 ms"


def lateness(world: World, job: Job) -> list[int]:
    """By how many milliseconds each call of a job was late, in truth."""
    return [world.instant(call.left_at) - call.fire_time for call in world.receiver.of(job.id)]


def logged(world: World, event: str) -> int:
    assert world.trace is not None
    return sum(f" log {event} " in line for line in world.trace)


def load(world: World, node: SimNode) -> dict[str, float]:
    said = world.state.nodes[node.incarnation].load
    assert isinstance(said, dict)
    return said  # type: ignore[return-value]  # numbers by name


def slow_answers(world: World, seconds: float) -> None:
    """The store takes so long to say what time it is; all else is quick."""

    def decide(_process: Process, method: str) -> Fate:
        return Fate(before=seconds / 4, after=seconds * 3 / 4) if method == "time" else Fate()

    world.faults.decide = decide


@pytest.mark.parametrize("skew", [600_000, -600_000, 3_000_000_000])
def test_a_node_with_a_wrong_clock_fires_at_the_right_instants(skew: int) -> None:
    world = World(store_clock=True, trace=True)
    world.skews["a"] = skew

    async def story(world: World) -> None:
        node = world.start_node("a")
        world.start_node("b")
        await world.sleep(0.1)
        job = await world.create({"schedule": every(world, "1s", until=30), "target": URL})
        await world.sleep(32)
        assert len(lateness(world, job)) == 30
        assert all(0 <= late <= 2 for late in lateness(world, job))
        assert all(row.attempts[0].started_at - row.due <= 2 for row in world.rows(job.id))
        assert load(world, node)["clock_offset_ms"] == pytest.approx(-skew, abs=1)
        assert node.engine.problems() == []
        assert node.engine.lease.settled
        assert not any(one.revoked for one in world.incarnations.values())
        assert world.state.nodes[node.incarnation].started_at == world.instant(1_000)

    world.run(story)
    assert logged(world, "clock.skewed") == 1
    assert logged(world, "clock.stepped") == 0


def test_a_wall_clock_that_jumps_changes_nothing() -> None:
    world = World(store_clock=True, trace=True)

    async def story(world: World) -> None:
        world.start_node("a")
        await world.sleep(0.1)
        job = await world.create({"schedule": every(world, "1s", until=30), "target": URL})
        for by in (3_600_000, -7_200_000, 400, 3_599_600):
            await world.sleep(5.1)
            world.jump_of("a", by)
        await world.sleep(12)
        assert len(lateness(world, job)) == 30
        assert all(0 <= late <= 2 for late in lateness(world, job))

    world.run(story)
    assert logged(world, "clock.skewed") == 1, "it was skewed once, whichever way"
    assert logged(world, "clock.agrees") == 1


def test_clocks_that_drift_apart_are_followed() -> None:
    world = World(store_clock=True, trace=True)
    world.rates |= {"a": 150e-6, "b": -150e-6}

    async def story(world: World) -> None:
        for host in ("a", "b"):
            world.start_node(host)
        await world.sleep(0.1)
        job = await world.create({"schedule": every(world, "10s", until=4_000), "target": URL})
        await world.sleep(4_002)
        # (By now one wall clock is 0.6 s ahead and the other as much behind.)
        assert len(lateness(world, job)) == 400
        assert all(-1 <= late <= 3 for late in lateness(world, job))

    world.run(story)
    assert logged(world, "clock.stepped") == 0


def test_a_node_that_does_not_know_the_time_neither_claims_nor_rescues() -> None:
    world = World(store_clock=True, trace=True)
    world.skews["a"] = -90_000

    async def story(world: World) -> None:
        slow_answers(world, 0.35)
        node = world.start_node("a")
        dead = world.start_node("b")
        await world.sleep(5)
        assert world.claims_asked == 0
        assert world.state.nodes == {}
        assert node.engine.problems()[0] == f"{TOO_SLOW} count"
        assert node.clock.now() - world.store_now() < 200, "better a bad sample than none"
        dead.kill()
        job = await world.create({"schedule": at(world, 2), "target": URL})
        await world.sleep(5)
        assert world.receiver.calls == []
        world.faults.heal()
        healed_at = world.loop.time()
        await world.until(lambda: bool(world.receiver.of(job.id)))
        assert world.loop.time() - healed_at < 3
        assert node.engine.problems() == []

    world.run(story)
    assert logged(world, "clock.unknown") == 2, "once by each node"
    assert logged(world, "clock.known") == 1


def test_the_first_sample_that_counts_is_looked_for_at_once() -> None:
    world = World(store_clock=True)

    async def story(world: World) -> None:
        slow = Fate(before=0.0, after=0.21)
        world.faults.script("a", "time", slow, slow, slow)
        node = world.start_node("a")
        await world.until(lambda: node.engine.lease.held, within=0.7)
        assert node.engine.problems() == []

    world.run(story)


def test_a_node_that_knew_the_time_goes_on_for_ten_minutes_without_comparing() -> None:
    world = World(store_clock=True, trace=True)
    world.rates["a"] = 100e-6

    async def story(world: World) -> None:
        node = world.start_node("a")
        await world.sleep(3)
        slow_answers(world, 0.35)
        job = await world.create({"schedule": every(world, "5s", until=900), "target": URL})
        await world.sleep(590)
        assert len(lateness(world, job)) >= 117
        assert all(-70 <= late <= 5 for late in lateness(world, job)), "100 ppm of ten minutes"
        await world.sleep(30)
        so_far = len(world.receiver.calls)
        await world.sleep(30)
        assert len(world.receiver.calls) == so_far
        assert node.engine.lease.held, "what is under way keeps its lease"
        assert node.engine.problems()[0] == f"{TOO_SLOW} count"
        world.faults.heal()
        await world.sleep(3)
        assert len(world.receiver.calls) > so_far
        assert len(node.engine.problems()) == 0

    world.run(story)


@pytest.mark.parametrize("by", [30_000, -30_000, 400, -400])
def test_nodes_follow_a_database_whose_clock_is_set(by: int) -> None:
    """As where another machine takes over the database."""
    world = World(store_clock=True, trace=True)

    async def story(world: World) -> None:
        nodes = [world.start_node(host) for host in ("a", "b")]
        await world.sleep(0.1)
        job = await world.create({"schedule": every(world, "1s", until=60), "target": URL})
        await world.sleep(6.3)
        world.jump(by)
        await world.sleep(1.1)
        assert all(abs(node.clock.now() - world.store_now()) <= 1 for node in nodes)
        await world.sleep(100)
        fired = Counter(call.fire_time for call in world.receiver.of(job.id))
        assert set(fired.values()) == {1}

    world.run(story)
    assert logged(world, "clock.stepped") == 2


def test_what_waits_in_memory_goes_by_a_clock_that_was_set_forward() -> None:
    world = World(store_clock=True)

    async def story(world: World) -> None:
        world.start_node("a", horizon=20_000, poll=20_000)
        await world.sleep(0.15)
        job = await world.create({"schedule": at(world, 18), "target": URL})
        await world.until(lambda: states(world.rows(job.id))[State.CLAIMED] == 1)
        world.jump(15_000)
        await world.sleep(3.1)
        (call,) = world.receiver.of(job.id)
        assert 0 <= world.instant(call.left_at) + 15_000 - call.fire_time <= 2

    world.run(story)


@pytest.mark.parametrize("rate", [150e-6, -150e-6])
def test_a_node_that_is_cut_off_stops_calling_before_its_lease_ends(rate: float) -> None:
    world = World(store_clock=True)
    world.skews["a"], world.rates["a"] = 600_000, rate

    async def story(world: World) -> None:
        cut = world.start_node("a", horizon=30_000)
        await world.sleep(0.1)
        first = cut.incarnation
        for tenth in range(10):
            start = 1 + tenth / 10
            await world.create(
                {"schedule": every(world, "1s", until=30, start=start), "target": URL}
            )
        await world.sleep(3)
        world.start_node("b")
        await world.sleep(5)
        world.faults.cut.add("a")
        # (Its last renewal may have been under way.)
        lease_until = world.state.nodes[first].lease_until
        await world.sleep(10)
        left = [world.instant(call.left_at) for call in world.receiver.calls if call.process is cut]
        assert lease_until - 1_600 < max(left) < lease_until - 400, "it calls for as long as it may"
        assert world.incarnations[first].revoked
        world.faults.cut.clear()
        await world.sleep(3)
        assert cut.incarnation not in {"", first}
        await world.sleep(20)

    world.run(story)


def test_a_lapsed_lease_that_nobody_ended_is_renewed_and_its_results_count() -> None:
    world = World(store_clock=True)

    async def story(world: World) -> None:
        node = world.start_node("a")
        await world.sleep(0.1)
        first = node.incarnation
        job = await world.create({"schedule": every(world, "1s", until=40), "target": URL})
        await world.sleep(4)
        node.pause()
        await world.sleep(20)
        node.resume()
        await world.sleep(5)
        assert node.incarnation == first
        assert world.incarnations[first].ended_at is None
        assert all(len(row.attempts) <= 1 for row in world.rows(job.id))

    world.run(story)
