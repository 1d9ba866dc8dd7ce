"""A bench for single pieces of the engine: clocks set by hand, a scripted caller, noted results."""

import asyncio
from collections.abc import Callable, Coroutine, Iterable, Sequence
from dataclasses import replace
from typing import Any, TypeVar

from tests.support.build import NOW, attempt, execution, job, spec
from tests.support.virtual_loop import VirtualLoop
from tocsin.domain.execution import ErrorKind, Execution, State
from tocsin.domain.instant import Millis
from tocsin.domain.job import HttpTarget, Job
from tocsin.engine.caller import CallResult, CallUnderWay, Ended, NotStarted
from tocsin.engine.dispatch import Dispatcher
from tocsin.engine.lanes import EAGER
from tocsin.engine.lease import Lease
from tocsin.store.bus import Bus, CallsStarted, News
from tocsin.store.port import Claim

T = TypeVar("T")

INCARNATION = "inc-a"


def play(story: Callable[[], Coroutine[Any, Any, T]]) -> T:
    """Run a coroutine in virtual time; what goes wrong in a callback fails the test."""
    loop = VirtualLoop()
    result = loop.run(story(), list)
    assert loop.errors == []
    return result


async def turns(count: int = 5) -> None:
    """Let what is ready run, without a moment passing."""
    for _ in range(count):
        await asyncio.sleep(0)


class ManualClock:
    """Both clocks, moved by hand; ``follows`` lets them go with the virtual loop as well."""

    def __init__(self, *, follows: bool = False) -> None:
        self.wall: Millis = NOW
        self.seconds = 50.0
        self.ready = True
        self._follows = follows

    def _passed(self) -> float:
        return asyncio.get_running_loop().time() - 1_000.0 if self._follows else 0.0

    def now(self) -> Millis:
        return self.wall + int(self._passed() * 1_000 + 1e-6)

    def monotonic(self) -> float:
        return self.seconds + self._passed()

    def pass_by(self, millis: Millis) -> None:
        """Let time pass on both."""
        self.wall += millis
        self.seconds += millis / 1_000


class HandCaller:
    """Calls end when the test says so; with ``express`` they need no task."""

    def __init__(self, clock: ManualClock, *, express: bool = False) -> None:
        self.calls: list[Claim] = []
        self.aborted: list[str] = []
        self.may_send = True
        self._express = express
        self._clock = clock
        self._ends: dict[str, Ended] = {}

    @property
    def ids(self) -> list[str]:
        """Ids in the order in which their calls left."""
        return [claim.execution.id for claim in self.calls]

    def begin(self, claim: Claim, ended: Ended) -> CallUnderWay | None:
        if not self._express:
            return None
        self._leave(claim, ended)
        return _Express(self, claim.execution.id)

    async def call(self, claim: Claim) -> CallResult:
        end: asyncio.Future[CallResult] = asyncio.get_running_loop().create_future()

        def ended(result: CallResult | Exception) -> None:
            if isinstance(result, Exception):
                end.set_exception(result)
            else:
                end.set_result(result)

        self._leave(claim, ended)
        try:
            return await end
        except asyncio.CancelledError:
            self.aborted.append(claim.execution.id)
            raise

    def _leave(self, claim: Claim, ended: Ended) -> None:
        self.calls.append(claim)
        if not self.may_send:
            raise NotStarted
        self._ends[claim.execution.id] = ended

    def abort(self, execution_id: str) -> None:
        self.aborted.append(execution_id)
        del self._ends[execution_id]

    def succeed(self, execution_id: str) -> None:
        self.end(execution_id, http_status=200)

    def fail(self, execution_id: str, status: int = 503) -> None:
        self.end(
            execution_id,
            http_status=status,
            error_kind=ErrorKind.HTTP_STATUS,
            error=f"answered {status}",
        )

    def end(self, execution_id: str, **fields: Any) -> None:
        claim = next(one for one in reversed(self.calls) if one.execution.id == execution_id)
        result = CallResult(
            attempt=attempt(
                len(claim.execution.attempts) + 1, started_at=self._clock.now(), **fields
            ),
            request_written=True,
        )
        self._ends.pop(execution_id)(result)

    def not_started(self, execution_id: str) -> None:
        """It found before the first byte that it must not be sent."""
        self._ends.pop(execution_id)(NotStarted())

    def break_down(self, execution_id: str, error: Exception) -> None:
        self._ends.pop(execution_id)(error)


class _Express:
    """A call under way without a task."""

    def __init__(self, caller: HandCaller, execution_id: str) -> None:
        self._caller = caller
        self._id = execution_id

    def abort(self) -> None:
        self._caller.abort(self._id)


class Bench:
    """A dispatcher with everything around it in the test's hands."""

    express = False
    """Whether calls need no task, where a test does not say."""

    def __init__(
        self,
        *,
        max_held: int = 100,
        max_in_flight: int = 10,
        max_per_lane: int = 10,
        max_per_job: int = 100_000,
        eager: int = EAGER,
        follows: bool = False,
        express: bool | None = None,
    ) -> None:
        self.clock = ManualClock(follows=follows)
        self.caller = HandCaller(self.clock, express=Bench.express if express is None else express)
        self.lease = Lease(clock=self.clock, ttl=5_000)
        self.bus = Bus()
        self.news: list[News] = []
        self.bus.listen(self.news.append)
        self.results: list[Execution] = []
        self.dispatcher = Dispatcher(
            caller=self.caller,
            results=self,
            lease=self.lease,
            clock=self.clock,
            bus=self.bus,
            node_name="node-a",
            max_held=max_held,
            max_in_flight=max_in_flight,
            max_per_lane=max_per_lane,
            max_per_job=max_per_job,
            eager=eager,
        )

    def put(self, execution: Execution) -> None:
        """Take a result, as the recorder does."""
        self.results.append(execution)

    def begin(self) -> None:
        """Get a lease that lasts."""
        self.lease.begin(INCARNATION, self.clock.monotonic())

    async def hold(self, *claims: Claim) -> None:
        """Hold claims and let what may start do so."""
        self.dispatcher.hold(claims)
        await turns()

    @property
    def started(self) -> list[str]:
        return [
            one.id
            for news in self.news
            if isinstance(news, CallsStarted)
            for one in news.executions
        ]

    @property
    def empty(self) -> bool:
        """Whether nothing is left in the dispatcher's memory."""
        inside = self.dispatcher
        return not (
            inside.held
            or inside.in_flight
            or inside._under_way
            or inside._lanes._ready
            or inside._lanes._calling
            or inside._lanes._turns
            or inside._claims._by_job
            or inside._claims._by_lane
        )


def target_job(name: str, origin: str = "http://one.example", **fields: Any) -> Job:
    """A job whose target is at an origin: one lane each."""
    return job(name, spec=spec(target=HttpTarget(url=f"{origin}/"), **fields))


def claim(of: Job, due: Millis = NOW, *, salt: str = "", **fields: Any) -> Claim:
    """A claim of this node that leaves at ``due``."""
    row = execution(of, due, salt=salt, **{"state": State.CLAIMED, "owner": INCARNATION, **fields})
    return Claim(execution=row, job=of)


def many(of: Job, count: int, due: Millis = NOW) -> list[Claim]:
    """So many claims of a job at one instant."""
    return [claim(of, due, salt=str(number)) for number in range(count)]


def ids(claims: Iterable[Claim]) -> list[str]:
    return [one.execution.id for one in claims]


def with_version(of: Job, version: int, **fields: Any) -> Job:
    """The job as a later version."""
    return replace(of, version=version, **fields)


def kinds(row: Execution) -> Sequence[ErrorKind | None]:
    return [one.error_kind for one in row.attempts]
