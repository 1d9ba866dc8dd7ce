"""A world by chance: from a seed come the nodes, the jobs, the users and all that goes wrong.

``python -m tests.simulation 123`` replays seed 123; ``--trace`` prints what happened.
"""

import asyncio
import random
from collections.abc import Callable, Coroutine
from typing import Any

from tests.simulation.faults import random_fates
from tests.simulation.receiver import random_script
from tests.simulation.world import SimNode, World
from tocsin.domain.execution import TriggerKind
from tocsin.domain.instant import format_instant

ORIGINS = ("http://one.example", "http://two.example", "http://three.example")


def simulate(seed: int, *, trace: bool = False) -> World:
    """Build the world of a seed and run it; raises ``AssertionError`` for a broken promise."""
    world = build(seed, trace=trace)
    world.run(Chance(world).story)
    return world


def build(seed: int, *, trace: bool = False) -> World:
    """The world of a seed, before anything happens in it."""
    return World(
        seed,
        shuffled=random.Random(f"{seed}/shuffled").random() < 0.8,
        store_clock=random.Random(f"{seed}/store clock").random() < 0.5,
        trace=trace,
    )


class Chance:
    """What happens in the world of a seed."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.rng = world.random("story")
        self.names: list[str] = []
        self._requests: list[asyncio.Task[None]] = []
        self.length = self.rng.choice((10.0, 20.0, 40.0))
        self.ends_at = format_instant(world.now() + int(self.length * 1_000))
        self.hosts = self._hosts()
        self.options = self._options()

    # --- what the world is like

    def _hosts(self) -> list[str]:
        count = self.rng.choice((1, 1, 1, 2, 2, 3))
        return ["a", "b", "c"][:count]

    def _options(self) -> dict[str, Any]:
        rng = self.rng
        horizon, poll = rng.choice(((1_000, 500), (1_000, 500), (2_000, 300), (400, 200), (0, 250)))
        options = {
            "horizon": horizon,
            "poll": poll,
            "shutdown_grace": rng.choice((30_000, 400, 0)),
            "adopt_interval": rng.choice((10_000, 3_000)),
        }
        if rng.random() < 0.3:
            in_flight = rng.choice((1, 2, 4, 10))
            options |= {
                "max_in_flight": in_flight,
                "max_per_lane": rng.choice((1, max(1, in_flight // 2), in_flight)),
                "max_held": in_flight + rng.choice((0, 1, 5, 30)),
            }
            self.world.calm = False
        return options

    def definition(self, name: str) -> dict[str, Any]:
        """A job."""
        rng = self.rng
        definition: dict[str, Any] = {
            "name": name,
            "schedule": self.schedule(),
            "target": self.target(),
            "retry": {
                "max_attempts": rng.choice((1, 2, 3, 5)),
                "initial": rng.choice(("0s", "50ms", "300ms", "1s", "3s")),
                "factor": rng.choice((1, 2)),
                "max": "5s",
                "jitter": rng.choice((0, 0.3)),
            },
            "misfire": {"policy": rng.choice(("latest", "latest", "all", "skip"))},
            "overlap": rng.choice(("allow", "allow", "skip", "queue", "replace")),
            "delivery": rng.choice(("at_least_once", "at_least_once", "at_most_once")),
        }
        if rng.random() < 0.3:
            definition["misfire"]["grace"] = rng.choice(("0s", "1s", "3s", "20s"))
        if rng.random() < 0.2:
            definition["misfire"]["max"] = rng.choice((1, 3))
        return definition

    def target(self) -> dict[str, Any]:
        if self.rng.random() < 0.05:
            return {"log": "hello"}
        return {
            "url": self.rng.choice(ORIGINS),
            "timeout": self.rng.choice(("500ms", "2s", "5s")),
            "body": {"edition": self.world.next_number("edition")},
        }

    def schedule(self) -> dict[str, Any]:
        rng = self.rng
        ends = {"ends_at": self.ends_at}
        if rng.random() < 0.3:
            ends["jitter"] = rng.choice(("200ms", "1500ms"))
        if rng.random() < 0.1:
            ends["starts_at"] = format_instant(self.world.now() + rng.randrange(8_000))
        match rng.randrange(4):
            case 0:
                at = self.world.now() + rng.choice((50, 700, 1_500, 5_000, 9_000))
                return {"at": format_instant(at)}
            case 1:
                return {
                    "cron": rng.choice(("* * * * * *", "*/3 * * * * *", "*/7 * * * * *"))
                } | ends
            case _:
                return {"every": rng.choice(("1s", "1500ms", "2s", "4s", "9s"))} | ends

    # --- what happens

    async def story(self, _world: World) -> None:
        world, rng = self.world, self.rng
        for host in self.hosts:
            if world.store_clock:
                world.skews[host] = rng.choice((-600_000, -700, 0, 90, 30_000, 3_600_000))
                world.rates[host] = rng.choice((-150e-6, 0.0, 20e-6, 150e-6))
            elif len(self.hosts) > 1:
                world.skews[host] = rng.choice((-40, 0, 0, 25))
            world.start_node(host, **self.options)
        await world.sleep(0.2)
        chaos = self._troubles()
        for _ in range(rng.choice((1, 2, 4, 8))):
            await self._create()
        tasks = [asyncio.create_task(self._users(rng.choice((0, 3, 12))))]
        tasks += [asyncio.create_task(one) for one in chaos]
        if world.store_clock:
            # That is no trouble at all.
            tasks += [asyncio.create_task(self._jump_of_one()) for _ in range(rng.randrange(4))]
        await asyncio.gather(*tasks)
        left = world.loop.time() - 1_000.0 - self.length
        if left < 0:
            await world.sleep(-left)

    def _troubles(self) -> list[Coroutine[Any, Any, None]]:
        """Some of what can go wrong; sometimes nothing at all."""
        world, rng = self.world, self.rng
        if rng.random() < 0.12:
            return []
        world.calm = False
        if rng.random() < 0.7:
            trouble = rng.choice((0.0, 0.2, 0.6))
            world.receiver.script = random_script(world.random("targets"), trouble=trouble)
        if rng.random() < 0.6:
            world.faults.decide = random_fates(
                world.random("store"),
                slow=rng.choice((0.0, 0.05, 0.3)),
                fails=rng.choice((0.0, 0.02, 0.1)),
                lost=rng.choice((0.0, 0.02, 0.1)),
            )
        if len(self.hosts) > 1:
            news = world.random("news")
            loses = rng.choice((0.0, 0.0, 0.3, 1.0))
            world.news_delay = lambda: (
                None if news.random() < loses else news.choice((0.0, 0.001, 0.05, 0.5))
            )
        kinds: tuple[Callable[[], Coroutine[Any, Any, None]], ...] = (
            self._crash,
            self._crash,
            self._crash,
            self._pause,
            self._jump,
            self._outage,
            self._cut,
            self._full_disk,
            self._stop,
        )
        return [rng.choice(kinds)() for _ in range(rng.choice((0, 1, 2, 4)))]

    async def _later(self) -> None:
        await self.world.sleep(self.rng.uniform(0.3, self.length))

    def _victim(self, host: str | None = None) -> SimNode | None:
        living = [node for node in self.world.living if host is None or node.name == host]
        return self.rng.choice(living) if living else None

    async def _crash(self) -> None:
        """Kill a node, at any of its steps, and start another one, perhaps much later."""
        await self._later()
        node = self._victim()
        if node is None:
            return
        node.after_steps(self.rng.randrange(60), node.kill)
        await self.world.sleep(3.0)
        node.kill()
        await self._start_again(node)

    async def _stop(self) -> None:
        await self._later()
        node = self._victim()
        if node is None or node.paused:
            return
        try:
            await node.stop()
        except ConnectionResetError:
            return  # Somebody killed it meanwhile.
        await self._start_again(node)

    async def _start_again(self, node: SimNode) -> None:
        await self.world.sleep(self.rng.choice((0.0, 0.4, 2.0, 7.0, 30.0)))
        if self._victim(node.name) is None:
            self.world.start_node(node.name, **self.options)

    async def _pause(self) -> None:
        await self._later()
        node = self._victim()
        if node is None or node.paused:
            return
        node.pause()
        await self.world.sleep(self.rng.choice((0.2, 2.0, 4.6, 5.2, 9.0, 20.0)))
        node.resume()

    async def _jump(self) -> None:
        await self._later()
        self.world.jump(self.rng.choice((-90_000, -7_000, -600, -40, 30, 700, 6_000, 100_000)))

    async def _jump_of_one(self) -> None:
        await self._later()
        by = self.rng.choice((-3_600_000, -5_000, -40, 300, 20_000, 900_000))
        self.world.jump_of(self.rng.choice(self.hosts), by)

    async def _outage(self) -> None:
        await self._later()
        self.world.faults.down = True
        await self.world.sleep(self.rng.choice((0.2, 1.0, 4.0, 6.0, 15.0)))
        self.world.faults.down = False

    async def _cut(self) -> None:
        await self._later()
        host = self.rng.choice(self.hosts)
        self.world.faults.cut.add(host)
        await self.world.sleep(self.rng.choice((0.5, 4.0, 7.0, 15.0)))
        self.world.faults.cut.discard(host)

    async def _full_disk(self) -> None:
        await self._later()
        self.world.faults.full = True
        await self.world.sleep(self.rng.choice((0.5, 4.0, 8.0)))
        self.world.faults.full = False

    # --- users

    async def _create(self) -> None:
        name = f"job-{self.world.next_number('name')}"
        node = self._victim()
        if node is None:
            return
        definition = self.definition(name)
        if await self.world.tell(lambda node: node.jobs.create(definition), node) is not None:
            self.names.append(name)

    async def _users(self, changes: int) -> None:
        for _ in range(changes):
            await self.world.sleep(self.rng.expovariate(changes / self.length))
            if self.world.loop.time() - 1_000.0 > self.length:
                return
            node = self._victim()
            if node is not None and not node.paused and self.names:
                # Nobody waits for an answer: a node may be paused or cut off in the middle.
                self._requests.append(asyncio.create_task(self._change(node)))

    async def _change(self, node: SimNode) -> None:
        rng, world = self.rng, self.world
        name = rng.choice(self.names)
        patch: dict[str, Any]
        match rng.randrange(12):
            case 0 | 1:
                patch = {"target": {"body": {"edition": world.next_number("edition")}}}
                await world.tell(lambda node: node.jobs.patch(name, patch), node)
            case 2:
                patch = {"schedule": self.schedule()}
                await world.tell(lambda node: node.jobs.patch(name, patch), node)
            case 3:
                patch = {"overlap": rng.choice(("allow", "skip", "queue", "replace"))}
                await world.tell(lambda node: node.jobs.patch(name, patch), node)
            case 4:
                patch = {"delivery": rng.choice(("at_least_once", "at_most_once"))}
                await world.tell(lambda node: node.jobs.patch(name, patch), node)
            case 5:
                await world.tell(lambda node: node.jobs.pause(name), node)
            case 6:
                await world.tell(lambda node: node.jobs.resume(name), node)
            case 7 if rng.random() < 0.4:
                await world.tell(lambda node: node.jobs.delete(name), node)
            case 7:
                await world.tell(lambda node: node.jobs.cancel(name), node)
            case 8 | 9:
                await world.tell(lambda node: node.executions.trigger(name, {}), node)
            case 10:
                ids = sorted(row.id for row in world.state.all_live())
                if ids:
                    one = rng.choice(ids)
                    await world.tell(lambda node: node.executions.cancel(one), node)
            case _:
                ids = sorted(
                    row.id
                    for row in world.state.executions.values()
                    if row.state.final and row.trigger is not TriggerKind.RETRY
                )
                if ids:
                    one = rng.choice(ids)
                    await world.tell(lambda node: node.executions.retry(one), node)
