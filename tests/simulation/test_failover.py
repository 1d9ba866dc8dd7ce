"""How long the executions of a dead node wait for another one."""

import random

import pytest

from tests.simulation.faults import Fate
from tests.simulation.receiver import OK, Behaviour
from tests.simulation.test_scenarios import URL
from tests.simulation.world import World
from tests.support.scale import SCALE
from tests.support.virtual_loop import Process
from tocsin.domain.execution import State
from tocsin.domain.instant import format_instant

AT_MOST = 6.0
"""Seconds, with the usual lease of 5 s and heartbeat of 1 s."""

SEEDS = round(60 * SCALE)


def failover(
    seed: int,
    *,
    dies_at: float | None = None,
    young: bool = False,
    news: bool = True,
) -> float:
    """Kill a node with calls under way; returns the seconds until the last is claimed again.

    Without ``dies_at`` (seconds after its last renewal) it dies at any moment.
    """
    rng = random.Random(f"{seed}/failover")
    world = World(seed, shuffled=rng.random() < 0.5, store_clock=True)
    world.skews |= {"a": rng.randrange(-600_000, 600_000), "b": rng.randrange(-600_000, 600_000)}
    world.rates |= {"a": rng.uniform(-1e-4, 1e-4), "b": rng.uniform(-1e-4, 1e-4)}
    if not news:
        world.news_delay = lambda: None

    def decide(_process: Process, _method: str) -> Fate:
        return Fate(before=rng.uniform(0, 0.004), after=rng.uniform(0, 0.004))

    async def story(world: World) -> float:
        world.faults.decide = decide
        world.receiver.script = lambda claim: (
            Behaviour(takes=25.0) if not claim.execution.attempts else OK
        )
        dying = world.start_node("a")
        await world.sleep(0.2)
        for overlap in ("allow", "allow", "skip", "queue"):
            await world.create(
                {
                    "schedule": {"at": format_instant(world.now() + 1_000)},
                    "target": URL | {"timeout": "60s"},
                    "overlap": overlap,
                }
            )
        await world.sleep(1.3)
        await world.sleep(rng.uniform(0, 2))
        hosts = ["b", "c"][: rng.choice((1, 1, 2))]
        for host in hosts:
            world.start_node(host)
            await world.sleep(rng.uniform(0, 0.3))
        await world.sleep(rng.uniform(0, 5) if young else rng.uniform(5.5, 9))
        first = dying.incarnation
        if dies_at is not None:
            renewed = world.state.nodes[first].lease_until
            await world.until(lambda: world.state.nodes[first].lease_until > renewed)
            await world.sleep(dies_at)
        taken = [row.id for row in world.state.all_live() if row.owner == first]
        assert len(taken) == 4
        dying.kill()
        died_at = world.loop.time()

        def taken_over() -> bool:
            rows = [world.row(one) for one in taken]
            return all(row.owner not in {first, None} or row.state.final for row in rows)

        await world.until(taken_over, within=30)
        took = world.loop.time() - died_at
        await world.sleep(1)
        assert {world.row(one).state for one in taken} == {State.SUCCEEDED}
        return took

    return world.run(story)


def test_the_executions_of_a_dead_node_are_claimed_again_within_six_seconds() -> None:
    took = {seed: failover(seed) for seed in range(SEEDS)}
    assert max(took.values()) < AT_MOST, took
    assert min(took.values()) > 3.9, "a lease is no shorter than it says"


@pytest.mark.parametrize("dies_at", [0.0, 0.001, 0.01])
def test_also_where_it_dies_right_after_a_renewal(dies_at: float) -> None:
    took = {seed: failover(seed, dies_at=dies_at) for seed in range(SEEDS // 3)}
    assert max(took.values()) < 5.5, took


def test_also_where_those_who_live_have_just_joined() -> None:
    took = {seed: failover(seed, young=True, dies_at=0.0) for seed in range(SEEDS // 3)}
    assert max(took.values()) < AT_MOST, took


def test_also_where_all_news_is_lost() -> None:
    took = {seed: failover(seed, news=False) for seed in range(SEEDS // 3)}
    assert max(took.values()) < AT_MOST, took
