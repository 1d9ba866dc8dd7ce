"""A store as a process sees it: answers take time, get lost, or do not come at all."""

import asyncio
import random
from collections import deque
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from tests.support.memory_store import MemoryStore
from tests.support.virtual_loop import Process
from tocsin.domain.errors import StoreFull, StoreUnavailable

if TYPE_CHECKING:
    from tests.simulation.world import World

READS = frozenset(
    {
        "get_job",
        "find_request",
        "get_jobs",
        "list_jobs",
        "last_planned",
        "usage",
        "get_execution",
        "list_executions",
        "time",
        "nodes",
        "owned",
        "owned_versions",
        "still_owned",
        "stats",
        "open",
        "close",
    }
)


@dataclass(frozen=True, kw_only=True, slots=True)
class Fate:
    """What happens to one call of the store; times in seconds."""

    before: float = 0.0
    """How long the request is under way."""
    after: float = 0.0
    """How long the answer is under way."""
    fails: bool = False
    """The request does not arrive."""
    lost: bool = False
    """It is done, but the answer does not arrive: a commit of unknown outcome."""


Decider = Callable[[Process, str], Fate]


def smooth(_process: Process, _method: str) -> Fate:
    """Nothing goes wrong, in no time."""
    return Fate()


class Writer:
    """Lets one write at a time, as SQLite does: the others wait, and some go before the rest."""

    def __init__(self) -> None:
        self._busy = False
        self._first: deque[asyncio.Future[None]] = deque()
        self._waiting: deque[asyncio.Future[None]] = deque()

    @asynccontextmanager
    async def turn(self, *, first: bool) -> AsyncIterator[None]:
        if self._busy:
            mine: asyncio.Future[None] = asyncio.get_running_loop().create_future()
            (self._first if first else self._waiting).append(mine)
            await mine
        self._busy = True
        try:
            yield
        finally:
            waiting = self._first or self._waiting
            if waiting:
                waiting.popleft().set_result(None)
            else:
                self._busy = False


class Faults:
    """What is wrong with the store at the moment, for all or for some."""

    def __init__(self) -> None:
        self.takes: Callable[[str, int], float] | None = None
        """Seconds that a write of so many claims or results takes; ``None``: writes are done in
        no time, however many at once."""
        self.writer = Writer()
        self.decide: Decider = smooth
        self.down = False
        """Nobody reaches it."""
        self.cut: set[str] = set()
        """Names of the nodes that do not reach it."""
        self.full = False
        """Nothing can be written."""
        self.ever = False
        """Whether anything ever went wrong."""
        self.broken_once: dict[tuple[str, str], list[Fate]] = {}
        """Scripted fates of the next calls, by node name and method."""

    def heal(self) -> None:
        """Everything works from now on."""
        self.decide = smooth
        self.down = self.full = False
        self.cut.clear()
        self.broken_once.clear()

    def script(self, node: str, method: str, *fates: Fate) -> None:
        """Let the next calls of a method by a node go like this.

        ``claim_exact`` is a claim of what must go at its instant, and ``claim`` any other.
        """
        self.broken_once.setdefault((node, method), []).extend(fates)

    def fate(self, process: Process, method: str) -> Fate:
        scripted = self.broken_once.get((process.name, method))
        fate = scripted.pop(0) if scripted else self.decide(process, method)
        self.ever = self.ever or fate != Fate()
        return fate

    def unreachable(self, process: Process) -> bool:
        found = self.down or process.name in self.cut
        self.ever = self.ever or found
        return found


class SimStore:
    """The port, for one process."""

    def __init__(self, world: "World", process: Process) -> None:
        self._world = world
        self._process = process
        clock = world.store_now if world.store_clock else None
        self._inner = MemoryStore(world.state, clock=clock)

    async def _run(self, method: str, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        world, process, faults = self._world, self._process, self._world.faults
        exact_only = method == "claim" and not args[0].ahead_limit
        fate = faults.fate(process, "claim_exact" if exact_only else method)
        world.store_asked(process, method, args)
        asked_at = world.loop.time()
        # Always an await before the commit and one after it: two more places to die at.
        await asyncio.sleep(fate.before)
        if fate.fails or faults.unreachable(process):
            await asyncio.sleep(fate.after)
            raise StoreUnavailable("the store is out of reach")
        if faults.full and method not in READS:
            faults.ever = True
            raise StoreFull("no space left")
        try:
            if faults.takes is None or method in READS:
                result = self._commit(method, args, kwargs)
            else:
                async with faults.writer.turn(first=exact_only or method == "renew"):
                    result = self._commit(method, args, kwargs)
                    await asyncio.sleep(faults.takes(method, _size(method, args, result)))
        finally:
            await asyncio.sleep(fate.after)
        if fate.lost or faults.unreachable(process):
            world.store_left_unknown(process, method)
            raise StoreUnavailable("the answer of the store was lost")
        world.store_answered(process, method, args, kwargs, result, asked_at)
        return result

    def _commit(self, method: str, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        self._world.acting = (self._process, method, args, kwargs)
        work: Coroutine[Any, Any, Any] = getattr(self._inner, method)(*args, **kwargs)
        try:
            work.send(None)
        except StopIteration as stop:
            return stop.value
        raise AssertionError(f"{method} of the memory store is not atomic")


def _size(method: str, args: tuple[Any, ...], result: Any) -> int:
    if method == "claim":
        return len(result.claims)
    return len(args[1]) if method == "record" else 0


def _method(name: str) -> Any:
    async def method(self: SimStore, *args: Any, **kwargs: Any) -> Any:
        return await self._run(name, args, kwargs)

    method.__name__ = name
    return method


for _name in dir(MemoryStore):
    if not _name.startswith("_"):
        setattr(SimStore, _name, _method(_name))


def random_fates(rng: random.Random, *, slow: float, fails: float, lost: float) -> Decider:
    """Some requests take long, some fail, some answers are lost: each with a probability."""

    def decide(_process: Process, _method: str) -> Fate:
        def delay() -> float:
            if rng.random() >= slow:
                return rng.choice((0.0, 0.0, 0.0005, 0.002))
            return rng.choice((0.005, 0.02, 0.1, 0.4, 1.5))

        luck = rng.random()
        return Fate(
            before=delay(), after=delay(), fails=luck < fails, lost=fails <= luck < fails + lost
        )

    return decide
