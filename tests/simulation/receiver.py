"""The targets of a simulation: every call that leaves a node is logged, and answered as told."""

import asyncio
import random
from collections.abc import Callable, Coroutine
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from tocsin.domain.execution import Attempt, ErrorKind
from tocsin.domain.instant import Millis
from tocsin.domain.job import HttpTarget
from tocsin.engine.caller import CallResult, CallUnderWay, Ended
from tocsin.store.port import Claim

if TYPE_CHECKING:
    from tests.simulation.world import SimNode, World


@dataclass(frozen=True, kw_only=True, slots=True)
class Behaviour:
    """How a target takes one call; times in seconds."""

    connect: float = 0.0
    refused: bool = False
    """The connection is refused after ``connect``: nothing of the request is written."""
    takes: float = 0.001
    """From the request to the end of the answer."""
    status: int = 200
    reset: bool = False
    """The connection breaks instead of an answer."""
    retry_after: Millis | None = None


OK = Behaviour()
HANGS = Behaviour(takes=1e9)
REFUSED = Behaviour(refused=True)
RESET = Behaviour(reset=True)
BUSY = Behaviour(status=503)

Script = Callable[[Claim], Behaviour]


@dataclass(kw_only=True, slots=True)
class Call:
    """A call as the receiver saw it, or would have."""

    process: "SimNode"
    incarnation: str
    """Whose claim it is."""
    execution_id: str
    job_id: str
    number: int
    fire_time: Millis
    lane: int
    version: int
    """Of the definition that it went out with."""
    body: object
    left_at: float
    """Virtual seconds."""
    left_wall: Millis
    """The node's wall clock then."""
    arrived_at: float | None = None
    ended_at: float | None = None
    """When the node was done with it; ``None`` where it died with the call under way."""
    aborted: bool = False

    @property
    def over_at(self) -> float:
        """When nothing of it was left on the node's side."""
        if self.ended_at is not None:
            return self.ended_at
        return self.process.died_at if self.process.died_at is not None else float("inf")


class Receiver:
    """All targets together."""

    def __init__(self) -> None:
        self.calls: list[Call] = []
        self.script: Script = lambda _claim: OK
        self.by_job: dict[str, Script] = {}
        """Scripts for single jobs, by name; these go first."""

    def behaviour(self, claim: Claim) -> Behaviour:
        return self.by_job.get(claim.job.name, self.script)(claim)

    def of(self, job_id: str) -> list[Call]:
        """The calls of a job in the order in which they left."""
        return [call for call in self.calls if call.job_id == job_id]

    def arrivals(self, job_id: str) -> list[Call]:
        """Those that arrived."""
        return [call for call in self.of(job_id) if call.arrived_at is not None]


class SimCaller:
    """Delivery, for one node."""

    def __init__(self, world: "World", node: "SimNode") -> None:
        self._world = world
        self._node = node

    def begin(self, claim: Claim, ended: Ended) -> CallUnderWay | None:
        """Half of the calls go without a task, as those do that find an idle connection."""
        execution = claim.execution
        if (int(execution.id[-1], 16) + len(execution.attempts)) % 2:
            return None
        call, behaviour = self._leave(claim)
        return _Express(self._exchange(call, behaviour, claim), ended)

    async def call(self, claim: Claim) -> CallResult:
        call, behaviour = self._leave(claim)
        return await self._exchange(call, behaviour, claim)

    def _leave(self, claim: Claim) -> tuple[Call, Behaviour]:
        world, node = self._world, self._node
        execution, target = claim.execution, claim.job.spec.target
        behaviour = world.receiver.behaviour(claim)
        call = Call(
            process=node,
            incarnation=execution.owner or "",
            execution_id=execution.id,
            job_id=execution.job_id,
            number=len(execution.attempts) + 1,
            fire_time=execution.fire_time,
            lane=execution.lane,
            version=claim.job.version,
            body=target.body if isinstance(target, HttpTarget) else None,
            left_at=world.loop.time(),
            left_wall=node.clock.now(),
        )
        world.call_left(call, claim)
        return call, behaviour

    async def _exchange(self, call: Call, behaviour: Behaviour, claim: Claim) -> CallResult:
        world, loop = self._world, self._world.loop
        target = claim.job.spec.target
        timeout = target.timeout / 1_000 if isinstance(target, HttpTarget) else 30.0
        status: int | None = None
        kind: ErrorKind | None = None
        try:
            await asyncio.sleep(min(behaviour.connect, timeout))
            if behaviour.connect >= timeout:
                kind = ErrorKind.TIMEOUT
            elif behaviour.refused:
                kind = ErrorKind.CONNECTION
            else:
                call.arrived_at = loop.time()
                left = timeout - behaviour.connect
                await asyncio.sleep(min(behaviour.takes, left))
                if behaviour.takes >= left:
                    kind = ErrorKind.TIMEOUT
                elif behaviour.reset:
                    kind = ErrorKind.CONNECTION
                else:
                    status = behaviour.status
                    if status not in claim.job.spec.success:
                        kind = ErrorKind.HTTP_STATUS
        except asyncio.CancelledError:
            call.aborted = True
            raise
        finally:
            call.ended_at = loop.time()
            world.call_ended(call, kind, status)
        return CallResult(
            attempt=Attempt(
                number=call.number,
                started_at=call.left_wall,
                duration_ms=round((call.ended_at - call.left_at) * 1_000, 3),
                http_status=status,
                error_kind=kind,
                error=None if kind is None else kind.value,
                node=self._node.name,
            ),
            request_written=call.arrived_at is not None,
            retry_after=behaviour.retry_after,
        )


class _Express:
    """A call that has left already, and whose end is told by a callback."""

    def __init__(self, exchange: Coroutine[Any, Any, CallResult], ended: Ended) -> None:
        self._task = asyncio.get_running_loop().create_task(exchange)
        self._task.add_done_callback(self._tell)
        self._ended = ended
        self._aborted = False

    def _tell(self, task: asyncio.Task[CallResult]) -> None:
        if not self._aborted and not task.cancelled():
            self._ended(task.exception() or task.result())

    def abort(self) -> None:
        self._aborted = True
        self._task.cancel()


def random_script(rng: random.Random, *, trouble: float) -> Script:
    """Most calls go well; with a probability of ``trouble`` one does not, in some way."""

    def script(_claim: Claim) -> Behaviour:
        connect = rng.choice((0.0, 0.0, 0.001, 0.03))
        if rng.random() >= trouble:
            takes = rng.choice((0.0, 0.001, 0.01, 0.2, 1.0))
            return Behaviour(connect=connect, takes=takes)
        match rng.randrange(7):
            case 0:
                return HANGS
            case 1:
                return Behaviour(connect=rng.choice((0.0, 0.05, 3.0)), refused=True)
            case 2:
                return Behaviour(connect=connect, reset=True, takes=rng.choice((0.0, 0.5)))
            case 3:
                after = rng.choice((None, 500, 2_000))
                return Behaviour(connect=connect, status=429, retry_after=after)
            case 4:
                return Behaviour(connect=connect, status=404)
            case 5:
                return Behaviour(connect=connect, takes=rng.choice((3.0, 8.0)))
            case _:
                return Behaviour(connect=connect, status=503)

    return script
