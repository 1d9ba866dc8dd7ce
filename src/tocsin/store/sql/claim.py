"""Claiming: due timers become executions, due retries get an owner."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import replace
from operator import itemgetter
from typing import Any, TypeAlias, TypeVar

import structlog
from sqlalchemy import Connection

from tocsin.domain.errors import Revoked, StoreCorrupt
from tocsin.domain.execution import Execution, Reason, State, closed
from tocsin.domain.instant import MINUTE, Millis
from tocsin.domain.job import Job, JobStatus, Overlap
from tocsin.domain.planning import FirePlan, Live, Timer, make_timer, make_window
from tocsin.domain.settle import void
from tocsin.store.port import Claim, Claimed, ClaimRequest, Planner, fresh_part, make_claim
from tocsin.store.rows import EXECUTION_WIDTH, Row, execution_of
from tocsin.store.sql import counters
from tocsin.store.sql.executions import existing_ids, live_executions, postpone, write_ended
from tocsin.store.sql.job_cache import JobCache
from tocsin.store.sql.outcomes import note_ended
from tocsin.store.sql.statements import Busy, DueTimer, Statements

log = structlog.stdlib.get_logger("tocsin.store")

PUT_OFF: Millis = MINUTE
"""How long a job that cannot be planned is left alone, so that it cannot hold up the others."""

SLACK = 100
"""Read beyond the limit, because some of what is due takes no room: it is skipped or ends."""

LOOK_AT_MOST = 10_000
"""Fire times that the plans of one claim look at, roughly: after an outage each may look at 1,000,
and the transaction must be over long before the lease is."""

AnyRow = TypeVar("AnyRow", bound=Sequence[Any])

_Candidate: TypeAlias = tuple[Millis, str, bool, Any]
"""The due instant, the id of the job or execution, whether it is exact, the row."""


def claim(
    conn: Connection,
    statements: Statements,
    cache: JobCache,
    request: ClaimRequest,
    plan: Planner,
) -> Claimed:
    """Take due fires and due retries for a node."""
    if not statements.node_exists(conn, request.incarnation):
        raise Revoked(request.incarnation)
    return _Claiming(conn, statements, cache, request, plan).run()


class _Claiming:
    """One claim: candidates are read in bulk, decided one by one, and applied in bulk.

    What was decided but turns out to exist already gives its room back, so deciding and applying
    go round until the room or the candidates are used up.
    """

    def __init__(
        self,
        conn: Connection,
        statements: Statements,
        cache: JobCache,
        request: ClaimRequest,
        plan: Planner,
    ) -> None:
        self._conn = conn
        self._statements = statements
        self._cache = cache
        self._request = request
        self._plan = plan
        self._left = {False: request.ahead_limit, True: request.exact_limit}
        self._kinds = [exact for exact, limit in self._left.items() if limit > 0]
        self._jobs: dict[str, Job] = {}
        self._lost_jobs: set[str] = set()
        self._live: dict[str, Live] = {}
        self._replaced_jobs: set[str] = set()
        self._planned_queues: set[str] = set()
        self._queued: dict[str, Execution] = {}
        self._given_back = False
        self._more = False
        self._looked_at = 0
        self._claims: list[Claim] = []
        self._closed: list[Execution] = []
        self._completed: list[str] = []
        # What is to be applied.
        self._taken: dict[str, Claim] = {}
        self._planned: list[tuple[FirePlan, Job, Timer, Millis]] = []
        self._broken_timers: list[str] = []
        self._broken_executions: list[str] = []

    def run(self) -> Claimed:
        candidates = self._candidates()
        while candidates:
            candidates = self._round(candidates)
        ended = self._closed
        if ended:
            note_ended(self._conn, self._statements, ended, node=self._request.incarnation)
        if self._completed:
            self._count_completed()
        request, now = self._request, self._request.now
        postpone(self._conn, self._broken_timers, self._broken_executions, now + PUT_OFF)
        claims = self._claims
        if self._replaced_jobs:
            # What was taken in an earlier round may have been replaced after it.
            gone = {execution.id for execution in ended}
            claims = [claim for claim in claims if claim.execution.id not in gone]
        due = self._statements.next_due(
            self._conn, after=now, busy=request.busy_lanes, kinds=self._kinds
        )
        return Claimed(
            claims=claims,
            closed=ended,
            completed=self._completed,
            more=self._more,
            wake_at=due.any,
            exact_at=due.exact,
        )

    # --- reading

    def _candidates(self) -> list[_Candidate]:
        """What is due, oldest first; where it is too much, a part of the newest before that."""
        request, statements, conn = self._request, self._statements, self._conn
        busy = Busy(request.busy_lanes, request.busy_jobs)
        timers: list[tuple[bool, DueTimer]] = []
        rows: list[Row] = []
        for exact, until, limit in (
            (False, request.ahead_until, request.ahead_limit),
            (True, request.now, request.exact_limit),
        ):
            if limit <= 0:
                continue
            size = limit + SLACK
            found = statements.due_timers(conn, exact=exact, until=until, busy=busy, limit=size)
            waiting = statements.due_executions(
                conn, exact=exact, until=until, busy=busy, limit=size
            )
            self._more = self._more or len(found) == size or len(waiting) == size
            fresh = fresh_part(limit)
            if len(found) == size and fresh:
                newest = statements.due_timers(
                    conn, exact=exact, until=until, busy=busy, limit=fresh, newest=True
                )
                found = [*found, *_beyond(found, newest)]
            if len(waiting) == size and fresh:
                newest_rows = statements.due_executions(
                    conn, exact=exact, until=until, busy=busy, limit=fresh, newest=True
                )
                waiting = [*waiting, *_beyond(waiting, newest_rows)]
            timers += [(exact, timer) for timer in found]
            rows += waiting
            if exact:
                queued = statements.due_queued(conn, now=until, busy=busy, limit=size)
                rows += queued
                self._more = self._more or len(queued) == size
        if not timers and not rows:
            return []
        wanted = {timer[0]: timer[4] for _, timer in timers}
        wanted.update({row[1]: row[EXECUTION_WIDTH] for row in rows})
        self._lost_jobs = {row[1] for row in rows if row[EXECUTION_WIDTH] is None}
        self._jobs = self._cache.load(conn, statements, list(wanted.items()))
        self._live = self._live_counts(timers)
        candidates: list[_Candidate] = [
            (timer[2], timer[0], exact, timer) for exact, timer in timers
        ]
        for row in rows:
            try:
                execution = execution_of(row)
            except StoreCorrupt as error:
                log.error("execution.unreadable", error=str(error))  # noqa: TRY400
                self._broken_executions.append(row[0])
                continue
            leaves_at = execution.due if execution.available_at is None else execution.available_at
            candidates.append((leaves_at, execution.id, execution.exact, execution))
        candidates.sort(key=_order)
        return _newest_first(candidates, self._left)

    def _live_counts(self, timers: Sequence[tuple[bool, DueTimer]]) -> dict[str, Live]:
        careful, replacing = [], []
        for _, timer in timers:
            job = self._jobs.get(timer[0])
            if job is not None and job.spec.overlap is not _ALLOW:
                careful.append(job.id)
                if job.spec.overlap is Overlap.REPLACE:
                    replacing.append(job.id)
        if replacing:
            self._statements.lock_live(self._conn, replacing)
        return self._statements.live_counts(self._conn, careful) if careful else {}

    # --- deciding

    def _round(self, candidates: Sequence[_Candidate]) -> list[_Candidate]:
        """Decide on candidates and apply that; returns those for which there is room after all."""
        postponed: list[_Candidate] = []
        self._given_back = False
        for candidate in candidates:
            row = candidate[3]
            fits = self._consider(row) if isinstance(row, Execution) else self._fire(candidate)
            if not fits:
                postponed.append(candidate)
        self._apply()
        if postponed and not self._given_back:
            self._more = True
            return []
        return postponed

    def _consider(self, execution: Execution) -> bool:
        """Take a pending execution; ``False`` where there is no room."""
        job_id = execution.job_id
        if job_id in self._planned_queues and execution.queued:
            execution = self._head_of_queue(execution)
        job = self._jobs.get(job_id)
        if job_id in self._replaced_jobs:
            return True
        if job is None and job_id not in self._lost_jobs:
            # It cannot be read: leave the execution alone for a while.
            self._broken_executions.append(execution.id)
            return True
        reason = void(execution, job)
        if job is None or reason is not None:
            self._end([closed(execution, State.CANCELLED, reason, self._request.now)])
            return True
        if self._left[execution.exact] <= 0:
            return False
        self._left[execution.exact] -= 1
        if execution.queued and (live := self._live.get(job_id)) is not None:
            self._live[job_id] = Live(running=live.running + 1, queued=live.queued - 1)
        taken = replace(
            execution, state=State.CLAIMED, owner=self._request.incarnation, queued=False
        )
        self._taken[execution.id] = Claim(execution=taken, job=job)
        return True

    def _head_of_queue(self, execution: Execution) -> Execution:
        """What goes in the place of the oldest that waited, where this claim has planned an older.

        A trigger that waited for a run is one, and a fire time before it that is planned late.
        Whether such a row is new is known when it is written.
        """
        self._apply()
        planned = self._queued.get(execution.job_id)
        return execution if planned is None or planned.id > execution.id else planned

    def _fire(self, candidate: _Candidate) -> bool:
        """Plan a timer; ``False`` where there is no room."""
        _, job_id, exact, (_, fire_at, due_at, lane, _) = candidate
        room = self._left[exact]
        if room <= 0 or self._looked_at >= LOOK_AT_MOST:
            return False
        job = self._jobs.get(job_id)
        if job is None:
            self._broken_timers.append(job_id)
            return True
        request = self._request
        until = request.now if exact else request.ahead_until
        schedule = job.spec.schedule
        try:
            if due_at > fire_at + schedule.jitter:
                # It was put off while it could not be planned.
                due_at = schedule.due(fire_at, job_id)
            timer = make_timer(job_id, fire_at, due_at, lane, exact)
            plan = self._plan(
                job,
                timer,
                self._live.get(job_id, _NONE_LIVE),
                make_window(request.now, until, request.incarnation, room),
            )
            if (plan.job_id, plan.fire_at, plan.job_version) != (job_id, fire_at, job.version):
                raise ValueError("the plan is for another timer")
        except Exception:  # whatever it is, it must not hold up the other jobs
            log.exception(
                "job.not_planned",
                job_id=job_id,
                job=job.name,
                remedy="it is left alone for a minute; change its schedule, or report this",
            )
            self._broken_timers.append(job_id)
            return True
        if plan.replaces and self._brings_new(plan):
            self._replace(job_id)
        for row in plan.executions:
            self._looked_at += row.skipped_count or 1
            room -= row.state is _CLAIMED
        self._left[exact] = room
        if job.spec.overlap is _QUEUE:
            self._planned_queues.add(job_id)
        self._planned.append((plan, job, timer, until))
        return True

    def _brings_new(self, plan: FirePlan) -> bool:
        """Whether a plan has executions to run that do not exist yet.

        A timer that an edit set back calls for what is live already; that must not end it.
        """
        ids = [row.id for row in plan.executions if not row.state.final]
        return len(existing_ids(self._conn, ids)) < len(ids)

    def _replace(self, job_id: str) -> None:
        """Cancel whatever is live of a job, also what this claim has just taken."""
        now = self._request.now
        self._replaced_jobs.add(job_id)
        live = [
            taken.execution if (taken := self._taken.pop(one.id, None)) is not None else one
            for one in live_executions(self._conn, job_id)
        ]
        self._end([closed(one, State.CANCELLED, Reason.REPLACED, now) for one in live])

    def _end(self, ended: list[Execution]) -> None:
        write_ended(self._conn, ended)
        self._closed += ended

    # --- applying

    def _apply(self) -> None:
        """Apply what was decided and is not applied yet."""
        conn, statements = self._conn, self._statements
        if self._taken:
            statements.take(conn, self._request.incarnation, list(self._taken))
            self._claims += self._taken.values()
            self._taken = {}
        planned, self._planned = self._planned, []
        if not planned:
            return
        existed = statements.insert_executions(
            conn, [row for plan, *_ in planned for row in plan.executions]
        )
        moves: list[tuple[Timer, Millis]] = []
        ends: list[str] = []
        for plan, job, timer, until in planned:
            for row in plan.executions:
                if existed and row.id in existed:
                    if row.state is _CLAIMED:
                        self._left[timer.exact] += 1
                        self._given_back = True
                elif row.state is _CLAIMED:
                    self._claims.append(make_claim(row, job))
                elif row.state.final:
                    self._closed.append(row)
                elif row.queued:
                    self._queued.setdefault(row.job_id, row)
                else:
                    self._more = True
            if plan.next is None:
                ends.append(plan.job_id)
            else:
                moves.append((plan.next, plan.fire_at))
                if plan.next.due_at <= until:
                    self._more = True
        if moves:
            statements.move_timers(conn, moves)
        if ends:
            statements.end_timers(conn, ends)
            self._completed += ends

    def _count_completed(self) -> None:
        """Without its timer an active job is completed; nothing but its count is to be written."""
        jobs = self._jobs
        changes: dict[str, int] = {}
        for namespace, count in Counter(jobs[one].namespace for one in self._completed).items():
            changes[counters.jobs_counter(JobStatus.ACTIVE, namespace)] = -count
            changes[counters.jobs_counter(JobStatus.COMPLETED, namespace)] = count
        self._statements.add_to_counters(self._conn, changes)


def _beyond(found: Sequence[AnyRow], newest: Sequence[AnyRow]) -> list[AnyRow]:
    """What the newest rows have that was not found among the oldest."""
    known = {row[0] for row in found}
    return [row for row in newest if row[0] not in known]


def _newest_first(candidates: list[_Candidate], limits: Mapping[bool, int]) -> list[_Candidate]:
    """Where there are more than a limit allows, a part of the newest before all others."""
    exact_ones = sum(map(_exact, candidates))
    counts = {True: exact_ones, False: len(candidates) - exact_ones}
    fresh = {
        exact: fresh_part(limit) for exact, limit in limits.items() if counts[exact] > limit > 0
    }
    if not any(fresh.values()):
        return candidates
    first: list[_Candidate] = []
    others: list[_Candidate] = []
    for candidate in reversed(candidates):
        if fresh.get(candidate[2], 0) > 0:
            fresh[candidate[2]] -= 1
            first.append(candidate)
        else:
            others.append(candidate)
    return first + others[::-1]


_NONE_LIVE = Live()

# In Python 3.11 it takes as long to look up a member of an enumeration as to call a function.
_CLAIMED = State.CLAIMED
_ALLOW = Overlap.ALLOW
_QUEUE = Overlap.QUEUE


_exact = itemgetter(2)
_order = itemgetter(0, 1)
"""By due instant, ties by id."""
