"""Figures: of the whole service, of one job, and whether all is well."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from tocsin.domain.execution import State
from tocsin.domain.instant import HOUR, MINUTE, Millis
from tocsin.domain.tally import lateness
from tocsin.services.scope import Scoped
from tocsin.store.port import ExecutionQuery, Limits, Stats, Store, Usage

HEALTH_WINDOW: Millis = 10 * MINUTE
"""What ``/healthz`` looks back on."""

DEFAULT_WINDOW: Millis = HOUR
SAMPLE = 5_000
"""Executions that the figures of one job are made from at most: the newest of the window."""

_PAGE = 500
_HEALTH_KEPT: Millis = 1_000


@dataclass(frozen=True, kw_only=True, slots=True)
class Health:
    """How many executions failed of late."""

    succeeded: int
    failed: int
    ratio: float | None
    """Of failed ones; ``None`` where none ended."""
    threshold: float

    @property
    def degraded(self) -> bool:
        """Whether too many failed."""
        return self.ratio is not None and self.ratio > self.threshold


@dataclass(frozen=True, kw_only=True, slots=True)
class Overview:
    """The state of the whole service over a window."""

    stats: Stats
    since: Millis
    until: Millis


@dataclass(frozen=True, kw_only=True, slots=True)
class Percentiles:
    """Milliseconds that so many per cent stay within; ``None`` where there is nothing to count."""

    p50: float | None
    p95: float | None
    p99: float | None
    max: float | None


@dataclass(frozen=True, kw_only=True, slots=True)
class JobFigures:
    """How one job did over a window, by the fire times in it."""

    since: Millis
    until: Millis
    counts: dict[State, int]
    """A skipped range counts each of its fire times."""
    attempts: int
    duration: Percentiles
    """Of executions that ended with a call: from the first call's start to the last one's end."""
    lateness: Percentiles
    complete: bool
    """False where the window holds more than ``SAMPLE`` executions; ``since`` says how far back
    these go."""


class StatsService(Scoped):
    """Reads figures; each answer costs about the same, however much there is.

    Health, usage and what metrics show are of all namespaces together.
    """

    def __init__(
        self,
        *,
        store: Store,
        now: Callable[[], Millis],
        limits: Limits,
        degraded_ratio: float = 0.1,
    ) -> None:
        self._store = store
        self._now = now
        self.limits = limits
        self.degraded_ratio = degraded_ratio
        self._health: tuple[Millis, Health] | None = None

    async def overview(self, window: Millis, *, next_fires: int = 10) -> Overview:
        """Counts, lateness and what fires next, in the namespace."""
        now = self._now()
        since = max(0, now - window)
        stats = await self._store.stats(
            since=since, now=now, next_fires=next_fires, namespace=self._scope.namespace
        )
        return Overview(stats=stats, since=since, until=now)

    async def health(self) -> Health:
        """The failures of the last ten minutes; read anew once a second at most."""
        now = self._now()
        if self._health is not None and 0 <= now - self._health[0] < _HEALTH_KEPT:
            return self._health[1]
        stats = await self._store.stats(since=now - HEALTH_WINDOW, now=now, next_fires=0)
        succeeded, failed = stats.tally.succeeded, stats.tally.failed
        ended = succeeded + failed
        health = Health(
            succeeded=succeeded,
            failed=failed,
            ratio=failed / ended if ended else None,
            threshold=self.degraded_ratio,
        )
        self._health = (now, health)
        return health

    async def usage(self) -> Usage:
        """What is used of the limits."""
        return await self._store.usage()

    async def present(self) -> tuple[Stats, Usage]:
        """What the store holds right now, for metrics."""
        now = self._now()
        stats = await self._store.stats(since=now, now=now, next_fires=0)
        return stats, await self._store.usage()

    async def of_job(self, job_id: str, window: Millis) -> JobFigures:
        """The figures of one job, from its newest executions."""
        now = self._now()
        since = max(0, now - window)
        counts = dict.fromkeys(State, 0)
        durations: list[float] = []
        late: list[float] = []
        attempts = seen = 0
        oldest = now
        cursor = None
        while True:
            page = await self._store.list_executions(
                ExecutionQuery(
                    namespace=self._scope.namespace,
                    job_id=job_id,
                    since=since,
                    limit=_PAGE,
                    cursor=cursor,
                )
            )
            for execution in page.items:
                counts[execution.state] += execution.skipped_count or 1
                attempts += len(execution.attempts)
                oldest = min(oldest, execution.fire_time)
                delay = lateness(execution)
                if delay is not None:
                    late.append(delay)
                if execution.state.final and execution.attempts:
                    last = execution.attempts[-1]
                    started = execution.attempts[0].started_at
                    durations.append(last.started_at + last.duration_ms - started)
            seen += len(page.items)
            cursor = page.next
            if cursor is None or seen >= SAMPLE:
                break
        return JobFigures(
            since=since if cursor is None else oldest,
            until=now,
            counts=counts,
            attempts=attempts,
            duration=percentiles(durations),
            lateness=percentiles(late),
            complete=cursor is None,
        )


def percentiles(values: Sequence[float]) -> Percentiles:
    """The percentiles of some values, by the nearest rank."""
    if not values:
        return Percentiles(p50=None, p95=None, p99=None, max=None)
    ordered = sorted(values)

    def at(part: float) -> float:
        # ceil(part * n) - 1, in whole numbers so that 0.95 * 20 is 19 and not 19.000000000000004.
        rank = -(-round(part * 100) * len(ordered) // 100)
        return ordered[max(0, rank - 1)]

    return Percentiles(p50=at(0.50), p95=at(0.95), p99=at(0.99), max=ordered[-1])
