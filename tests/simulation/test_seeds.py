"""Worlds by chance, many of them; see ``docs/simulation.md``."""

import os
import subprocess
import sys

import pytest

from tests.simulation.chance import Chance, build
from tests.simulation.world import World
from tests.support.scale import SCALE

SEEDS = round(300 * SCALE)
CHUNK = 20


@pytest.mark.parametrize("first", range(0, SEEDS, CHUNK))
def test_every_promise_is_kept_in_worlds_by_chance(first: int) -> None:
    broken = []
    for seed in range(first, min(first + CHUNK, SEEDS)):
        world = build(seed)
        try:
            world.run(Chance(world).story)
        except Exception as error:
            broken.append(
                f"seed {seed}: {error}\nreplay: python -m tests.simulation {seed} --trace"
            )
    assert not broken, "\n\n".join(broken)


def test_a_seed_replays_exactly_in_another_process() -> None:
    """No order may depend on the hashes of strings or on addresses."""
    world = build(7)
    world.run(Chance(world).story)
    for hash_seed in ("1", "2"):
        replayed = subprocess.run(
            [sys.executable, "-m", "tests.simulation", "7"],
            env=os.environ | {"PYTHONHASHSEED": hash_seed},
            capture_output=True,
            text=True,
            check=True,
        ).stdout
        assert f"fingerprint {world.fingerprint}," in replayed


WANTED = {
    "a node died",
    "a node left",
    "an incarnation was revoked",
    "the clock jumped",
    "unknown claim",
    "unknown record",
    "unknown renew",
    "succeeded/-",
    "failed/-",
    "failed/lost",
    "cancelled/paused",
    "cancelled/replaced",
    "cancelled/requested",
    "skipped/misfire",
    "skipped/overlap",
    "skipped/replaced",
    "attempt lost",
    "attempt timeout",
    "attempt cancelled",
    "attempt connection",
    "attempt http_status",
}


def test_worlds_by_chance_are_worth_their_time() -> None:
    """What can happen does happen, within a few seeds."""
    seen: set[str] = set()
    for seed in range(120):
        world = build(seed)
        world.run(Chance(world).story)
        seen |= happenings(world)
        if seen >= WANTED:
            return
    raise AssertionError(f"never happened: {sorted(WANTED - seen)}")


def happenings(world: World) -> set[str]:
    seen: set[str] = set()
    if any(node.died_at is not None and not node.stopped for node in world.nodes):
        seen.add("a node died")
    if any(node.stopped for node in world.nodes):
        seen.add("a node left")
    if any(one.revoked for one in world.incarnations.values()):
        seen.add("an incarnation was revoked")
    if world.jumped:
        seen.add("the clock jumped")
    seen.update(f"unknown {method}" for _, _, method in world.unknown)
    for row in world.state.executions.values():
        seen.add(f"{row.state.value}/{row.reason.value if row.reason else '-'}")
        seen.update(
            f"attempt {attempt.error_kind}" for attempt in row.attempts if attempt.error_kind
        )
    return seen
