"""What pages show beside the lists: results at a glance, a calendar, and one axis of time.

Each answer looks at a bounded number of rows, however much there is, and says where it stopped.
"""

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, date, datetime, timedelta
from heapq import heapify, heappop, heapreplace

from tocsin.domain.execution import Execution, State
from tocsin.domain.instant import Millis
from tocsin.domain.job import Job, JobStatus
from tocsin.domain.schedule.zones import local_moment, zone_offsets
from tocsin.domain.tally import Tally
from tocsin.services.scope import Scoped
from tocsin.services.stats import Percentiles, percentiles
from tocsin.store.port import ExecutionQuery, JobQuery, JobSort, Store

DAY_SAMPLE = 100
"""Executions of a day that a calendar counts at most: the newest."""

TIMERS = 1_000
"""Jobs whose fires to come are looked at: those that fire next."""

FIRES = 4_000
"""Fires to come that are counted at most."""

NAMED = 1_000
"""Fires to come that are named, not only counted: the first of each job in a step."""

COUNTED = 5_000
"""Executions that the past of some jobs is counted from at most: the newest."""

_PAGE = 500

_SLICE = 50
"""Fire times that are computed before other work has its turn: about 1 ms."""

_KEPT: Millis = 2_000
_SCOPES = 100

_Whose = tuple[str, tuple[str, ...] | None]


@dataclass(frozen=True, kw_only=True, slots=True)
class Recent:
    """The newest executions of a job, newest first, and what follows from those that ended."""

    job_id: str
    executions: Sequence[Execution]
    succeeded: int
    failed: int
    duration: Percentiles


@dataclass(frozen=True, kw_only=True, slots=True)
class CalendarDay:
    """What became of the fire times of one local day."""

    day: date
    counts: dict[State, int]
    more: bool
    """Whether there are more than ``DAY_SAMPLE``: the counts are of the newest then."""
    failed: bool
    """Whether any failed, counted or not."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Fire:
    """A fire to come."""

    job: Job
    fire_time: Millis


@dataclass(frozen=True, kw_only=True, slots=True)
class Future:
    """Fires to come, by the time at which they were looked for."""

    fires: Sequence[Fire]
    """In order; at most ``FIRES``."""
    complete_until: Millis
    """All before this instant are there."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Past:
    """What ended, by the start of the step."""

    steps: dict[Millis, Tally]
    complete_since: Millis
    """All from this instant on is counted."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Timeline:
    """Past and future on one axis, in steps of one length."""

    since: Millis
    until: Millis
    now: Millis
    step: Millis
    past: Sequence[tuple[Millis, Tally]]
    """By the start of the step; steps without anything are left out."""
    ahead: Sequence[tuple[Millis, int]]
    """How many fires are to come, likewise."""
    fires: Sequence[Fire]
    """The first fire of each job in each step; at most ``NAMED``."""
    complete_since: Millis
    complete_until: Millis


class InsightService(Scoped):
    """Reads what pages show beside the lists."""

    def __init__(self, *, store: Store, now: Callable[[], Millis]) -> None:
        self._store = store
        self._now = now
        # By namespace and tags; shared by all that are bound to a scope.
        self._futures: dict[_Whose, tuple[Millis, Millis, Future]] = {}

    async def recent(self, job_ids: Sequence[str], count: int) -> Sequence[Recent]:
        """The newest ``count`` executions of each job, in the order asked for."""
        return [await self._recent(job_id, count) for job_id in dict.fromkeys(job_ids)]

    async def _recent(self, job_id: str, count: int) -> Recent:
        page = await self._of(job_id, limit=count)
        ended = [one for one in page if one.state.final and one.attempts]
        return Recent(
            job_id=job_id,
            executions=page,
            succeeded=sum(one.state is State.SUCCEEDED for one in page),
            failed=sum(one.state is State.FAILED for one in page),
            duration=percentiles([_duration(one) for one in ended]),
        )

    async def calendar(self, job_id: str, days: int, timezone: str) -> Sequence[CalendarDay]:
        """The last ``days`` days of a job by local time, today included, oldest first."""
        today = local_moment(self._now(), timezone).date()
        found = []
        for back in range(days - 1, -1, -1):
            day = today - timedelta(days=back)
            since, until = _start_of(day, timezone), _start_of(day + timedelta(days=1), timezone)
            rows = await self._of(job_id, since=since, until=until, limit=DAY_SAMPLE + 1)
            counts = dict.fromkeys(State, 0)
            for one in rows[:DAY_SAMPLE]:
                counts[one.state] += one.skipped_count or 1
            more = len(rows) > DAY_SAMPLE
            failed = counts[State.FAILED] > 0
            if more and not failed:
                failed = bool(
                    await self._of(
                        job_id, since=since, until=until, limit=1, states=(State.FAILED,)
                    )
                )
            found.append(CalendarDay(day=day, counts=counts, more=more, failed=failed))
        return found

    async def timeline(self, since: Millis, until: Millis, step: Millis) -> Timeline:
        """What ended and what is to fire between two instants, in steps that begin at ``since``.

        Of all jobs the past is counted by the minute in which executions ended; where only some
        exist in the scope, from their executions, by fire time.
        """
        now = self._now()
        past = Past(steps={}, complete_since=since)
        if since < now:
            look = self._past if self._scope.whole else self._past_of_some
            past = await look(since, until, step)
        future = Future(fires=(), complete_until=until)
        if until > now:
            future = await self._ahead(now, until)
        fires = [one for one in future.fires if since <= one.fire_time < until]
        ahead: dict[Millis, int] = {}
        named: dict[tuple[str, Millis], Fire] = {}
        for one in fires:
            start = since + (one.fire_time - since) // step * step
            ahead[start] = ahead.get(start, 0) + 1
            named.setdefault((one.job.id, start), one)
        return Timeline(
            since=since,
            until=until,
            now=now,
            step=step,
            past=sorted(past.steps.items(), key=lambda one: one[0]),
            ahead=sorted(ahead.items()),
            fires=list(named.values())[:NAMED],
            complete_since=past.complete_since,
            complete_until=min(until, future.complete_until),
        )

    async def _past(self, since: Millis, until: Millis, step: Millis) -> Past:
        steps: dict[Millis, Tally] = {}
        stats = await self._store.stats(
            since=since, now=self._now(), next_fires=0, namespace=self._scope.namespace
        )
        for minute, tally in stats.minutes:
            if minute < until:
                start = since + max(0, minute - since) // step * step
                steps.setdefault(start, Tally()).merge(tally)
        return Past(steps=steps, complete_since=since)

    async def _past_of_some(self, since: Millis, until: Millis, step: Millis) -> Past:
        steps: dict[Millis, Tally] = {}
        query = ExecutionQuery(
            namespace=self._scope.namespace,
            any_tags=self._scope.any_tags,
            since=since,
            until=until,
            limit=_PAGE,
        )
        counted, reach = 0, since
        while True:
            page = await self._store.list_executions(query)
            for one in page.items:
                start = since + (one.fire_time - since) // step * step
                steps.setdefault(start, Tally()).add(one)
            counted += len(page.items)
            if page.next is None:
                break
            if counted >= COUNTED:
                reach = page.items[-1].fire_time
                break
            query = replace(query, cursor=page.next)
        # What is still to end has made a step of its own, and counts for nothing.
        return Past(
            steps={start: tally for start, tally in steps.items() if tally != Tally()},
            complete_since=reach,
        )

    async def _timers(self) -> Sequence[tuple[Job, Millis]]:
        """The jobs that fire next, with when; ``TIMERS`` of them at most."""
        namespace, now = self._scope.namespace, self._now()
        if self._scope.whole:
            stats = await self._store.stats(
                since=now, now=now, next_fires=TIMERS, namespace=namespace
            )
            return stats.next_fires
        page = await self._store.list_jobs(
            JobQuery(
                namespace=namespace,
                any_tags=self._scope.any_tags,
                statuses=(JobStatus.ACTIVE,),
                sort=JobSort.NEXT_FIRE,
                limit=TIMERS,
                now=now,
            )
        )
        return [(one.job, one.next_fire_at) for one in page.items if one.next_fire_at is not None]

    async def _ahead(self, now: Millis, until: Millis) -> Future:
        """The fires to come, looked for anew every two seconds at most."""
        whose = (self._scope.namespace, self._scope.any_tags)
        known = self._futures.get(whose)
        if known is not None:
            made, reach, future = known
            if 0 <= now - made < _KEPT and (until <= reach or future.complete_until < reach):
                return future
        timers = await self._timers()
        jobs = [job for job, _ in timers]
        # Behind the last timer that was looked at there may be others.
        horizon = until
        if len(timers) >= TIMERS:
            horizon = min(horizon, timers[-1][1])
        future = await _fires_of(jobs, now, horizon)
        if len(self._futures) >= _SCOPES:
            self._futures.clear()
        self._futures[whose] = (now, until, future)
        return future

    async def _of(
        self,
        job_id: str,
        *,
        limit: int,
        since: Millis | None = None,
        until: Millis | None = None,
        states: tuple[State, ...] = (),
    ) -> Sequence[Execution]:
        page = await self._store.list_executions(
            ExecutionQuery(
                namespace=self._scope.namespace,
                job_id=job_id,
                states=states,
                since=since,
                until=until,
                limit=limit,
            )
        )
        return page.items


async def _fires_of(jobs: Sequence[Job], now: Millis, until: Millis) -> Future:
    """The first ``FIRES`` fires of some jobs: the job whose fire is next always goes on."""
    queue: list[tuple[Millis, int, Job]] = []
    for number, job in enumerate(jobs):
        fire_time = job.spec.schedule.next_after(now)
        if fire_time is not None and fire_time < until:
            queue.append((fire_time, number, job))
        if number % _SLICE == 0:
            await asyncio.sleep(0)
    heapify(queue)
    fires: list[Fire] = []
    while queue and len(fires) < FIRES:
        fire_time, number, job = queue[0]
        fires.append(Fire(job=job, fire_time=fire_time))
        following = job.spec.schedule.next_after(fire_time)
        if following is None or following >= until:
            heappop(queue)
        else:
            heapreplace(queue, (following, number, job))
        if len(fires) % _SLICE == 0:
            await asyncio.sleep(0)
    return Future(fires=fires, complete_until=queue[0][0] if queue else until)


def _start_of(day: date, timezone: str) -> Millis:
    """The first instant of a local day."""
    zone = zone_offsets(timezone).zone
    midnight = datetime(day.year, day.month, day.day, tzinfo=zone)
    return round(midnight.astimezone(UTC).timestamp()) * 1_000


def _duration(execution: Execution) -> float:
    first, last = execution.attempts[0], execution.attempts[-1]
    return last.started_at + last.duration_ms - first.started_at
