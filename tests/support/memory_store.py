"""The store as a few dicts: the model that real stores are compared with, and the simulation's.

::

    MemoryState   the tables; several "processes" of a simulation can share one
    MemoryStore   one process's connection to them: the port, with hooks around each method

A method runs from its first to its last line without an ``await``, so it is atomic; where it
raises, an undo log takes back what it had written. The hooks are awaited before and after the
transaction: an error raised by ``before`` means that nothing happened, one raised by ``after`` is
a commit of unknown outcome.
"""

import json
from collections import Counter
from collections.abc import (
    AsyncIterator,
    Awaitable,
    Callable,
    Collection,
    Iterable,
    Iterator,
    Mapping,
    Sequence,
)
from contextlib import asynccontextmanager, contextmanager
from copy import deepcopy
from dataclasses import replace
from typing import Any, Literal, TypeAlias, TypeVar, overload
from uuid import UUID

import orjson
import structlog

from tocsin.domain.audit import AuditEntry, JsonText
from tocsin.domain.codec import spec_to_json
from tocsin.domain.errors import (
    CapacityExceeded,
    Conflict,
    FieldProblem,
    InvalidInput,
    NotFound,
    Revoked,
)
from tocsin.domain.execution import Attempt, Execution, Reason, State, TriggerKind, closed
from tocsin.domain.instant import DAY, MINUTE, Millis
from tocsin.domain.job import HttpTarget, Job, JobStatus, Json, Overlap
from tocsin.domain.key import ApiKey, KeyOrigin, KeyStatus, Session
from tocsin.domain.planning import Live, Timer, Window
from tocsin.domain.schedule import At, Cron
from tocsin.domain.secrets import secrets_of
from tocsin.domain.settle import void, waiting
from tocsin.domain.tally import Tally, minute_of
from tocsin.store.access import AuditQuery, KeyCount
from tocsin.store.port import (
    Admitter,
    Claim,
    Claimed,
    ClaimRequest,
    Created,
    Cursor,
    ExecutionQuery,
    JobQuery,
    JobSort,
    JobView,
    Limits,
    NewJob,
    NewJobs,
    Node,
    Page,
    Planner,
    Recorded,
    Request,
    Rescuer,
    Stats,
    StoredSecret,
    Usage,
    Voider,
    fresh_part,
)

Hook: TypeAlias = Callable[[str], Awaitable[None]]
"""Awaited with the name of a method."""

K = TypeVar("K")
V = TypeVar("V")

_MISSING: Any = object()
REQUESTS_KEPT: Millis = DAY

PUT_OFF: Millis = MINUTE
"""How long a job that cannot be planned is left alone."""

FOR_NOTHING = 1_000
"""How many timers of a claim may be planned without anything to run."""

log = structlog.stdlib.get_logger("tocsin.store")


class MemoryState:
    """The tables. Values in them are immutable and replaced as a whole."""

    def __init__(self) -> None:
        self.jobs: dict[str, Job] = {}
        self.names: dict[tuple[str, str], str] = {}
        """(namespace, name) to id, without deleted jobs."""
        self.sizes: dict[str, int] = {}
        """Bytes of each definition as JSON."""
        self.timers: dict[str, Timer] = {}
        self.executions: dict[str, Execution] = {}
        self.nodes: dict[str, Node] = {}
        self.health: dict[str, State] = {}
        self.tallies: dict[tuple[Millis, str], Tally] = {}
        """By minute and namespace."""
        self.keys: dict[str, ApiKey] = {}
        self.sessions: dict[str, Session] = {}
        self.audit: dict[str, AuditEntry] = {}
        self.requests: dict[tuple[str, str, str], Request] = {}
        self.secrets: dict[tuple[str, str], StoredSecret] = {}
        # An index: the ids of each job's live executions.
        self._live: dict[str, set[str]] = {}
        self._undo: list[tuple[dict[Any, Any], Any, Any]] = []

    @contextmanager
    def transaction(self) -> Iterator[None]:
        """Take back every write of the block if it raises."""
        self._undo.clear()
        try:
            yield
        except BaseException:
            while self._undo:
                table, key, before = self._undo.pop()
                if before is _MISSING:
                    del table[key]
                else:
                    table[key] = before
            self._live = {}
            for execution in self.executions.values():
                self._index(execution)
            raise

    def put(self, table: dict[K, V], key: K, value: V) -> None:
        """Write a row."""
        self._undo.append((table, key, table.get(key, _MISSING)))
        table[key] = value

    def drop(self, table: dict[K, V], key: K) -> None:
        """Delete a row, where there is one."""
        if key in table:
            self._undo.append((table, key, table.pop(key)))

    def note(self, audit: Sequence[AuditEntry]) -> None:
        """Add entries of the audit log."""
        for entry in audit:
            after = entry.after
            if isinstance(after, JsonText):
                after = json.loads(after)
            self.put(self.audit, entry.id, replace(entry, after=after))

    def put_execution(self, execution: Execution) -> None:
        """Write an execution."""
        self.put(self.executions, execution.id, execution)
        self._index(execution)

    def _index(self, execution: Execution) -> None:
        if execution.live:
            self._live.setdefault(execution.job_id, set()).add(execution.id)
        elif execution.job_id in self._live:
            self._live[execution.job_id].discard(execution.id)
            if not self._live[execution.job_id]:
                del self._live[execution.job_id]

    def live_of(self, job_id: str) -> list[Execution]:
        """The live executions of a job, oldest first."""
        return [self.executions[one] for one in sorted(self._live.get(job_id, ()))]

    def all_live(self) -> list[Execution]:
        """All live executions, oldest first."""
        ids = sorted(one for of_job in self._live.values() for one in of_job)
        return [self.executions[one] for one in ids]


class MemoryStore:
    """A ``Store`` over a ``MemoryState``; with ``clock`` it has a time of its own."""

    def __init__(
        self,
        state: MemoryState | None = None,
        *,
        before: Hook | None = None,
        after: Hook | None = None,
        clock: Callable[[], Millis] | None = None,
    ) -> None:
        self.state = MemoryState() if state is None else state
        self._before = before
        self._after = after
        self._clock = clock

    @asynccontextmanager
    async def _transaction(self, method: str) -> AsyncIterator[MemoryState]:
        if self._before is not None:
            await self._before(method)
        with self.state.transaction():
            yield self.state
        if self._after is not None:
            await self._after(method)

    async def open(self) -> None:
        async with self._transaction("open"):
            pass

    async def close(self) -> None:
        async with self._transaction("close"):
            pass

    async def ping(self) -> None:
        async with self._transaction("ping"):
            pass

    # --- jobs

    async def create_jobs(
        self,
        jobs: Sequence[NewJob],
        *,
        limits: Limits,
        request: Request | None = None,
        audit: Sequence[AuditEntry] = (),
    ) -> Request | None:
        async with self._transaction("create_jobs") as state:
            taken = _stored_request(state, request)
            if taken is not None:
                return taken
            problems: list[FieldProblem] = []
            names: set[tuple[str, str]] = set()
            for index, new in enumerate(jobs):
                name = (new.job.namespace, new.job.name)
                if name in state.names or name in names:
                    problems.append(_name_taken(new.job, f"jobs.{index}.name"))
                names.add(name)
            if problems:
                raise InvalidInput(problems)
            used = _usage(state)
            if used.jobs + len(jobs) > limits.max_jobs:
                raise CapacityExceeded("too many jobs", limit="jobs")
            sizes = [_size(new.job) for new in jobs]
            if used.bytes + sum(sizes) > limits.max_bytes:
                raise CapacityExceeded("too large", limit="bytes")
            for new, size in zip(jobs, sizes, strict=True):
                job = new.job
                state.put(state.jobs, job.id, job)
                state.put(state.names, (job.namespace, job.name), job.id)
                state.put(state.sizes, job.id, size)
                if new.timer is not None:
                    state.put(state.timers, job.id, new.timer)
            _store_request(state, request)
            state.note(audit)
            return None

    async def create_sets(self, sets: Sequence[NewJobs], *, limits: Limits) -> Sequence[Created]:
        outcomes: list[Created] = []
        for one in sets:
            try:
                taken = await self.create_jobs(
                    one.jobs, limits=limits, request=one.request, audit=one.audit
                )
            except (InvalidInput, CapacityExceeded, Conflict) as error:
                outcomes.append(error)
            else:
                outcomes.append(taken)
        return outcomes

    async def find_request(self, namespace: str, operation: str, key: str) -> Request | None:
        async with self._transaction("find_request") as state:
            return state.requests.get((namespace, operation, key))

    async def get_job(self, namespace: str, ref: str, *, now: Millis) -> JobView | None:
        async with self._transaction("get_job") as state:
            job = state.jobs.get(state.names.get((namespace, ref), ref))
            if job is None or job.namespace != namespace:
                return None
            return _views(state, [job], now)[0]

    async def get_jobs(self, ids: Sequence[str]) -> dict[str, Job]:
        async with self._transaction("get_jobs") as state:
            return {one: state.jobs[one] for one in ids if one in state.jobs}

    async def list_jobs(self, query: JobQuery) -> Page[JobView]:
        async with self._transaction("list_jobs") as state:
            jobs = [job for job in state.jobs.values() if _wanted(state, job, query)]
            keyed = sorted((_sort_key(state, job, query), job.id) for job in jobs)
            if query.descending:
                # Jobs without a next fire or a last result come last whatever the direction.
                with_key = [one for one in keyed if one[0] is not _LAST]
                keyed = with_key[::-1] + keyed[len(with_key) :][::-1]
            start = 0
            if query.cursor is not None:
                ended_at = _from_cursor(query.cursor, query.sort)
                start = _position(keyed, ended_at, descending=query.descending)
            part = keyed[start : start + query.limit]
            more = len(keyed) > start + query.limit
            return Page(
                items=_views(state, [state.jobs[one] for _, one in part], query.now),
                next=_to_cursor(part[-1]) if more else None,
            )

    async def change_job(
        self,
        job: Job,
        *,
        if_version: int,
        if_fire_at: Millis | Literal["any"] | None = "any",
        timer: Timer | None,
        limits: Limits,
        cancel_waiting: Reason | None = None,
        closing: Sequence[Execution] = (),
        now: Millis,
        audit: Sequence[AuditEntry] = (),
    ) -> Sequence[Execution] | None:
        async with self._transaction("change_job") as state:
            old = state.jobs.get(job.id)
            if old is None or old.version != if_version:
                return None
            timer_now = state.timers.get(job.id)
            fire_at = None if timer_now is None else timer_now.fire_at
            if if_fire_at not in {"any", fire_at}:
                return None
            deleted = job.status is JobStatus.DELETED
            name = (job.namespace, job.name)
            if not deleted and state.names.get(name, job.id) != job.id:
                raise InvalidInput([_name_taken(job, "name")])
            size = _size(job)
            growth = size - state.sizes[job.id]
            if not deleted and growth > 0 and _usage(state).bytes + growth > limits.max_bytes:
                raise CapacityExceeded("too large", limit="bytes")
            if state.names.get((old.namespace, old.name)) == job.id:
                state.drop(state.names, (old.namespace, old.name))
            if not deleted:
                state.put(state.names, name, job.id)
            state.put(state.jobs, job.id, job)
            state.put(state.sizes, job.id, size)
            _set_timer(state, job.id, timer)
            ended = []
            if job.spec.overlap is Overlap.ALLOW:
                for execution in state.live_of(job.id):
                    if execution.queued:
                        state.put_execution(replace(execution, queued=False))
            if cancel_waiting is not None:
                for execution in state.live_of(job.id):
                    if execution.state is State.PENDING:
                        ended.append(closed(execution, State.CANCELLED, cancel_waiting, now))
            ended += [execution for execution in closing if execution.id not in state.executions]
            _end(state, ended)
            state.note(audit)
            return ended

    async def last_planned(self, job_id: str) -> Millis | None:
        async with self._transaction("last_planned") as state:
            return max(
                (
                    execution.skipped_until or execution.fire_time
                    for execution in state.executions.values()
                    if execution.job_id == job_id and execution.trigger is TriggerKind.SCHEDULE
                ),
                default=None,
            )

    async def usage(self) -> Usage:
        async with self._transaction("usage") as state:
            return _usage(state)

    # --- executions

    async def secrets_mark(self) -> str:
        async with self._transaction("secrets_mark") as state:
            marks = [(one.version, one.updated_at) for one in state.secrets.values()]
            return f"{len(marks)}/{sum(one for one, _ in marks)}/{max(marks, default=None)}"

    async def list_secrets(self) -> Sequence[StoredSecret]:
        async with self._transaction("list_secrets") as state:
            return [state.secrets[key] for key in sorted(state.secrets)]

    async def put_secret(
        self,
        secret: StoredSecret,
        *,
        if_version: int | None,
        audit: Sequence[AuditEntry] = (),
    ) -> bool:
        async with self._transaction("put_secret") as state:
            key = (secret.namespace, secret.name)
            stored = state.secrets.get(key)
            if (None if stored is None else stored.version) != if_version:
                return False
            state.put(state.secrets, key, secret)
            state.note(audit)
            return True

    async def delete_secret(
        self, namespace: str, name: str, *, audit: Sequence[AuditEntry] = ()
    ) -> bool:
        async with self._transaction("delete_secret") as state:
            found = (namespace, name) in state.secrets
            state.drop(state.secrets, (namespace, name))
            if found:
                state.note(audit)
            return found

    async def secret_uses(self, namespace: str) -> dict[str, int]:
        async with self._transaction("secret_uses") as state:
            uses: Counter[str] = Counter()
            for job in state.jobs.values():
                if job.namespace == namespace and job.status is not JobStatus.DELETED:
                    uses.update({name for _, name in secrets_of(job.spec.target)})
            return dict(uses)

    async def add_execution(
        self,
        execution: Execution,
        *,
        admit: Admitter,
        now: Millis,
        request: Request | None = None,
        audit: Sequence[AuditEntry] = (),
    ) -> tuple[Execution, Sequence[Execution]] | Request:
        async with self._transaction("add_execution") as state:
            taken = _stored_request(state, request)
            if taken is not None:
                return taken
            if execution.id in state.executions:
                return state.executions[execution.id], ()
            job = state.jobs.get(execution.job_id)
            if job is None or job.status is JobStatus.DELETED:
                raise NotFound(f"no job {execution.job_id}")
            if job.status is JobStatus.CANCELLED:
                raise Conflict(f"job {job.name} is cancelled")
            admission = admit(job, _live(state, job.id))
            replaced: Sequence[Execution] = ()
            if admission.replaces:
                replaced = _cancel(state, state.live_of(job.id), Reason.REPLACED, now)
            if admission.state.final:
                stored = closed(execution, admission.state, admission.reason, now)
                _end(state, [stored])
            else:
                stored = replace(
                    execution,
                    state=admission.state,
                    reason=admission.reason,
                    queued=admission.queued,
                )
                state.put_execution(stored)
            _store_request(state, request)
            state.note(audit)
            return stored, replaced

    async def get_execution(self, execution_id: str) -> Execution | None:
        async with self._transaction("get_execution") as state:
            return state.executions.get(execution_id)

    async def list_executions(self, query: ExecutionQuery) -> Page[Execution]:
        async with self._transaction("list_executions") as state:
            ids = sorted(
                (
                    execution.id
                    for execution in state.executions.values()
                    if _matches(state, execution, query)
                ),
                reverse=not query.ascending,
            )
            if query.cursor is not None:
                if len(query.cursor) != 1:
                    raise _unusable()
                last = _id_of(query.cursor[0])
                ids = [one for one in ids if (one > last if query.ascending else one < last)]
            part = ids[: query.limit]
            return Page(
                items=[state.executions[one] for one in part],
                next=(part[-1],) if len(ids) > len(part) else None,
            )

    async def cancel_executions(
        self,
        *,
        reason: Reason,
        now: Millis,
        execution_id: str | None = None,
        job_id: str | None = None,
        audit: Sequence[AuditEntry] = (),
    ) -> Sequence[Execution]:
        async with self._transaction("cancel_executions") as state:
            found = [] if job_id is None else state.live_of(job_id)
            if execution_id is not None and execution_id in state.executions:
                found = [state.executions[execution_id]]
            ended = _cancel(state, found, reason, now)
            if ended:
                state.note(audit)
            return ended

    # --- engine

    async def time(self) -> Millis | None:
        async with self._transaction("time"):
            return self._own(None)

    @overload
    def _own(self, now: Millis) -> Millis: ...

    @overload
    def _own(self, now: None) -> Millis | None: ...

    def _own(self, now: Millis | None) -> Millis | None:
        """What a lease goes by: the store's own clock, where it has one."""
        return now if self._clock is None else self._clock()

    async def register(self, node: Node) -> None:
        async with self._transaction("register") as state:
            joined = self._own(node.heartbeat_at)
            length = node.lease_until - node.heartbeat_at
            node = replace(node, heartbeat_at=joined, lease_until=joined + length)
            state.put(state.nodes, node.incarnation, node)

    async def renew(
        self, incarnation: str, *, now: Millis, ttl: Millis, load: Json = None
    ) -> Millis | None:
        async with self._transaction("renew") as state:
            node = state.nodes.get(incarnation)
            if node is None:
                return None
            now = self._own(now)
            renewed = replace(node, heartbeat_at=now, lease_until=now + ttl, load=deepcopy(load))
            state.put(state.nodes, incarnation, renewed)
            return renewed.lease_until

    async def leave(self, incarnation: str) -> None:
        async with self._transaction("leave") as state:
            state.drop(state.nodes, incarnation)

    async def nodes(self) -> Sequence[Node]:
        async with self._transaction("nodes") as state:
            return sorted(state.nodes.values(), key=lambda node: (node.name, node.started_at))

    async def revoke_lapsed(self, *, now: Millis, by: str) -> Sequence[Node]:
        async with self._transaction("revoke_lapsed") as state:
            now = self._own(now)
            lapsed = [
                node
                for node in state.nodes.values()
                if node.lease_until < now and node.incarnation != by
            ]
            for node in lapsed:
                state.drop(state.nodes, node.incarnation)
            return lapsed

    async def rescue(
        self, *, now: Millis, decide: Rescuer, limit: int = 1_000
    ) -> Sequence[Execution]:
        async with self._transaction("rescue") as state:
            orphans = [
                execution
                for execution in state.all_live()
                if execution.state is State.CLAIMED and execution.owner not in state.nodes
            ]
            rescued = [
                decide(execution, state.jobs.get(execution.job_id)) for execution in orphans[:limit]
            ]
            _end(state, [execution for execution in rescued if execution.state.final])
            for execution in rescued:
                if execution.live:
                    state.put_execution(execution)
            return rescued

    async def claim(self, request: ClaimRequest, plan: Planner) -> Claimed:
        async with self._transaction("claim") as state:
            _require_node(state, request.incarnation)
            return _Claiming(state, request, plan).run()

    async def owned_versions(self, incarnation: str) -> dict[str, int]:
        async with self._transaction("owned_versions") as state:
            return {
                execution.id: state.jobs[execution.job_id].version
                for execution in state.all_live()
                if _is_owned(execution, incarnation)
            }

    async def owned(
        self, incarnation: str, *, ids: Collection[str] | None = None
    ) -> Sequence[Claim]:
        async with self._transaction("owned") as state:
            return [
                Claim(execution=execution, job=state.jobs[execution.job_id])
                for execution in state.all_live()
                if _is_owned(execution, incarnation) and (ids is None or execution.id in ids)
            ]

    async def still_owned(self, incarnation: str, ids: Sequence[str]) -> set[str]:
        async with self._transaction("still_owned") as state:
            return {one for one in ids if _is_owned(state.executions.get(one), incarnation)}

    async def give_back(self, incarnation: str, ids: Sequence[str], *, now: Millis) -> None:
        async with self._transaction("give_back") as state:
            for one in ids:
                execution = state.executions.get(one)
                if execution is not None and _is_owned(execution, incarnation):
                    available_at = execution.available_at
                    assert available_at is not None, "a claimed execution keeps its available_at"
                    state.put_execution(waiting(execution, available_at))

    async def record(
        self, incarnation: str, results: Sequence[Execution], *, now: Millis, void: Voider
    ) -> Recorded:
        async with self._transaction("record") as state:
            _require_node(state, incarnation)
            stored: list[Execution] = []
            rejected: list[str] = []
            for result in results:
                row = state.executions.get(result.id)
                if row is not None and _is_owned(row, incarnation) and _extends(row, result):
                    after = result
                    if result.state is State.PENDING:
                        reason = void(result, state.jobs.get(result.job_id))
                        if reason is not None:
                            after = closed(result, State.CANCELLED, reason, now)
                    if after.live:
                        state.put_execution(after)
                    else:
                        _end(state, [after])
                    stored.append(after)
                elif row is not None and _is_found_stored(row, result):
                    stored.append(row)
                else:
                    rejected.append(result.id)
                    if (
                        row is not None
                        and row.state is State.CANCELLED
                        and row.owner == incarnation
                        and len(result.attempts) > len(row.attempts)
                    ):
                        state.put_execution(replace(row, attempts=result.attempts))
            return Recorded(stored=stored, rejected=rejected)

    # --- upkeep and statistics

    async def delete_history(self, *, before: Millis, limit: int) -> int:
        async with self._transaction("delete_history") as state:
            old = sorted(
                execution.id
                for execution in state.executions.values()
                if execution.state.final and execution.fire_time < before
            )[:limit]
            for one in old:
                state.drop(state.executions, one)
            for place in [place for place in state.tallies if place[0] < before]:
                state.drop(state.tallies, place)
            # The newest request stands for the present, which nobody tells.
            newest = max((request.created_at for request in state.requests.values()), default=0)
            for key, request in list(state.requests.items()):
                if request.created_at < max(newest, before) - REQUESTS_KEPT:
                    state.drop(state.requests, key)
            with_history = {execution.job_id for execution in state.executions.values()}
            for job in list(state.jobs.values()):
                if job.status is JobStatus.DELETED and job.id not in with_history:
                    state.drop(state.jobs, job.id)
                    state.drop(state.sizes, job.id)
                    state.drop(state.health, job.id)
            return len(old)

    async def stats(
        self,
        *,
        since: Millis,
        now: Millis,
        next_fires: int = 10,
        namespace: str | None = None,
    ) -> Stats:
        async with self._transaction("stats") as state:
            live = [one for one in state.all_live() if namespace in {None, one.namespace}]
            pending = sum(execution.state is State.PENDING for execution in live)
            minutes: dict[Millis, Tally] = {}
            whole = Tally()
            for (minute, inside), tally in sorted(state.tallies.items()):
                if minute >= minute_of(since) and namespace in {None, inside}:
                    minutes.setdefault(minute, Tally()).merge(tally)
                    whole.merge(tally)
            upcoming = sorted(
                (timer.due_at, timer.job_id)
                for timer in state.timers.values()
                if state.jobs[timer.job_id].status is JobStatus.ACTIVE
                and namespace in {None, state.jobs[timer.job_id].namespace}
            )
            return Stats(
                jobs=_usage(state, namespace).by_status,
                pending=pending,
                claimed=len(live) - pending,
                tally=whole,
                minutes=list(minutes.items()),
                next_fires=[
                    (state.jobs[job_id], due_at) for due_at, job_id in upcoming[:next_fires]
                ],
            )

    # --- access

    async def add_key(self, key: ApiKey, *, audit: Sequence[AuditEntry] = ()) -> bool:
        async with self._transaction("add_key") as state:
            if key.origin is KeyOrigin.FIRST and state.keys:
                return False
            state.put(state.keys, key.id, key)
            state.note(audit)
            return True

    async def find_key(self, hashed: str) -> ApiKey | None:
        async with self._transaction("find_key") as state:
            found = [one for one in state.keys.values() if hashed in {one.hash, one.old_hash}]
            return found[0] if found else None

    async def get_key(self, key_id: str) -> ApiKey | None:
        async with self._transaction("get_key") as state:
            return state.keys.get(key_id)

    async def list_keys(self, namespace: str | None = None) -> Sequence[ApiKey]:
        async with self._transaction("list_keys") as state:
            found = [one for one in state.keys.values() if namespace in {None, one.grant.namespace}]
            return sorted(found, key=lambda one: (one.created_at, one.id))

    async def count_keys(self, now: Millis) -> KeyCount:
        async with self._transaction("count_keys") as state:
            ended = sum(one.status(now) is not KeyStatus.ACTIVE for one in state.keys.values())
            return KeyCount(working=len(state.keys) - ended, ended=ended)

    async def delete_ended_keys(self, now: Millis, *, keep: int) -> int:
        async with self._transaction("delete_ended_keys") as state:
            ended = [one for one in state.keys.values() if one.status(now) is not KeyStatus.ACTIVE]
            ended.sort(key=lambda one: (one.created_at, one.id), reverse=True)
            for one in ended[keep:]:
                state.drop(state.keys, one.id)
            return len(ended[keep:])

    async def replace_key(
        self,
        key: ApiKey,
        *,
        if_hash: str,
        if_another: bool = False,
        audit: Sequence[AuditEntry] = (),
    ) -> bool:
        async with self._transaction("replace_key") as state:
            others = [one for one in state.keys.values() if one.lasting and one.id != key.id]
            if if_another and not others:
                return False
            old = state.keys.get(key.id)
            if old is None or old.hash != if_hash or old.revoked_at is not None:
                return False
            state.put(state.keys, key.id, replace(key, last_used_at=old.last_used_at))
            state.note(audit)
            return True

    async def note_key_use(self, used: Mapping[str, Millis]) -> None:
        async with self._transaction("note_key_use") as state:
            for key_id, at in used.items():
                key = state.keys.get(key_id)
                if key is not None and (key.last_used_at is None or key.last_used_at < at):
                    state.put(state.keys, key_id, replace(key, last_used_at=at))

    async def add_session(self, session: Session, *, audit: Sequence[AuditEntry] = ()) -> None:
        async with self._transaction("add_session") as state:
            for one in list(state.sessions.values()):
                if one.expires_at <= session.created_at:
                    state.drop(state.sessions, one.hash)
            state.put(state.sessions, session.hash, session)
            state.note(audit)

    async def find_session(self, hashed: str) -> Session | None:
        async with self._transaction("find_session") as state:
            return state.sessions.get(hashed)

    async def delete_session(self, hashed: str, *, audit: Sequence[AuditEntry] = ()) -> bool:
        async with self._transaction("delete_session") as state:
            if hashed not in state.sessions:
                return False
            state.drop(state.sessions, hashed)
            state.note(audit)
            return True

    async def add_audit(self, audit: Sequence[AuditEntry]) -> None:
        async with self._transaction("add_audit") as state:
            state.note(audit)

    async def delete_audit(self, *, before: Millis, limit: int, entry: AuditEntry) -> int:
        async with self._transaction("delete_audit") as state:
            old = sorted(one.id for one in state.audit.values() if one.at < before)[:limit]
            for one in old:
                state.drop(state.audit, one)
            if old:
                state.note([entry.counting(len(old))])
            return len(old)

    async def list_audit(self, query: AuditQuery) -> Sequence[AuditEntry]:
        async with self._transaction("list_audit") as state:
            newest = sorted(state.audit.values(), key=lambda one: one.id, reverse=True)
            return [one for one in newest if _is_asked_for(one, query)][: query.limit]

    async def namespaces(self) -> Sequence[str]:
        async with self._transaction("namespaces") as state:
            of_jobs = {
                job.namespace for job in state.jobs.values() if job.status is not JobStatus.DELETED
            }
            return sorted((of_jobs | {key.grant.namespace for key in state.keys.values()}) - {"*"})


def _is_asked_for(entry: AuditEntry, query: AuditQuery) -> bool:
    return (
        query.namespace in {None, entry.namespace}
        and query.actor in {None, entry.actor.id, entry.actor.name}
        and query.action in {None, entry.action, entry.action.partition(".")[0]}
        and query.subject in {None, entry.subject.id, entry.subject.name}
        and (query.since is None or entry.id >= _first_id(query.since))
        and (query.until is None or entry.id < _first_id(query.until))
        and (query.before is None or entry.id < query.before)
    )


def _first_id(instant: Millis) -> str:
    return str(UUID(int=instant << 80))


class _Claiming:
    """One claim."""

    def __init__(self, state: MemoryState, request: ClaimRequest, plan: Planner) -> None:
        self._state = state
        self._request = request
        self._plan = plan
        self._left = {False: request.ahead_limit, True: request.exact_limit}
        self._claims: list[Claim] = []
        self._closed: list[Execution] = []
        self._completed: list[str] = []
        self._more = False
        self._for_nothing = 0

    def run(self) -> Claimed:
        due: list[tuple[Millis, str, bool, Callable[[str], None]]] = []
        for timer in self._state.timers.values():
            if (
                self._state.jobs[timer.job_id].status is JobStatus.ACTIVE
                and timer.due_at <= self._until(exact=timer.exact)
                and timer.lane not in self._request.busy_lanes
                and timer.job_id not in self._request.busy_jobs
                and self._left[timer.exact] > 0
            ):
                due.append((timer.due_at, timer.job_id, timer.exact, self._fire))
        for execution in self._state.all_live():
            if (
                execution.state is State.PENDING
                and _available(execution) <= self._until(exact=execution.exact)
                and execution.lane not in self._request.busy_lanes
                and execution.job_id not in self._request.busy_jobs
                and self._left[execution.exact] > 0
                and not self._waits_in_queue(execution)
            ):
                due.append((_available(execution), execution.id, execution.exact, self._take))
        due.sort(key=lambda item: item[:2])
        newest = []
        for exact, limit in self._left.items():
            alike = [item for item in due if item[2] == exact]
            if len(alike) > limit and fresh_part(limit):
                newest += alike[-fresh_part(limit) :]
        newest.sort(key=lambda item: item[:2], reverse=True)
        for item in (*newest, *(one for one in due if one not in newest)):
            item[3](item[1])
        ended = {execution.id for execution in self._closed}
        return Claimed(
            # A retry that was taken first may have been replaced after it.
            claims=[claim for claim in self._claims if claim.execution.id not in ended],
            closed=self._closed,
            completed=self._completed,
            more=self._more,
            wake_at=self._wake_at({False, True}),
            exact_at=self._wake_at({True}),
        )

    def _until(self, *, exact: bool) -> Millis:
        return self._request.now if exact else self._request.ahead_until

    def _fire(self, job_id: str) -> None:
        state, now = self._state, self._request.now
        timer = state.timers[job_id]
        if self._left[timer.exact] == 0:
            self._more = True
            return
        if self._for_nothing == FOR_NOTHING:
            self._more = True
            return
        job = state.jobs[timer.job_id]
        # It is later where the job could not be planned and was put off.
        timer = replace(timer, due_at=job.spec.schedule.due(timer.fire_at, job.id))
        until = self._until(exact=timer.exact)
        live = Live() if job.spec.overlap is Overlap.ALLOW else _live(state, job.id)
        owner, room = self._request.incarnation, self._left[timer.exact]
        try:
            plan = self._plan(
                job, timer, live, Window(now=now, until=until, owner=owner, room=room)
            )
        except Exception:
            log.exception("job.not_planned", job_id=job.id, job=job.name)
            state.put(state.timers, job.id, replace(timer, due_at=now + PUT_OFF))
            return
        if plan.replaces and any(
            not row.state.final and row.id not in state.executions for row in plan.executions
        ):
            self._closed += _cancel(state, state.live_of(job.id), Reason.REPLACED, now)
        for execution in plan.executions:
            if execution.id in state.executions:
                continue
            if execution.state.final:
                _end(state, [execution])
                self._closed.append(execution)
                continue
            state.put_execution(execution)
            if execution.state is State.CLAIMED:
                self._claims.append(Claim(execution=execution, job=job))
                self._left[timer.exact] -= 1
            elif not execution.queued:
                self._more = True
        self._for_nothing += self._left[timer.exact] == room
        _set_timer(state, job.id, plan.next)
        if plan.next is None:
            state.put(state.jobs, job.id, replace(job, status=JobStatus.COMPLETED))
            self._completed.append(job.id)
        elif plan.next.due_at <= until:
            self._more = True

    def _waits_in_queue(self, execution: Execution) -> bool:
        return execution.queued and any(
            not one.queued or one.id < execution.id for one in self._state.live_of(execution.job_id)
        )

    def _take(self, execution_id: str) -> None:
        state, now = self._state, self._request.now
        execution = state.executions[execution_id]
        job = state.jobs[execution.job_id]
        if execution.state is not State.PENDING:
            return  # replaced meanwhile
        if self._waits_in_queue(execution):
            # This claim has planned an older one, which goes in its place.
            execution = state.live_of(execution.job_id)[0]
            assert execution.queued, "something else of the job is live"
        reason = void(execution, job)
        if reason is not None:
            self._closed += _cancel(state, [execution], reason, now)
            return
        if self._left[execution.exact] == 0:
            self._more = True
            return
        taken = replace(
            execution, state=State.CLAIMED, owner=self._request.incarnation, queued=False
        )
        state.put_execution(taken)
        self._claims.append(Claim(execution=taken, job=job))
        self._left[execution.exact] -= 1

    def _wake_at(self, of: set[bool]) -> Millis | None:
        request = self._request
        limits = {False: request.ahead_limit, True: request.exact_limit}
        kinds = {exact for exact, limit in limits.items() if limit > 0} & of
        timers = (
            timer.due_at
            for timer in self._state.timers.values()
            if self._state.jobs[timer.job_id].status is JobStatus.ACTIVE
            and timer.lane not in self._request.busy_lanes
            and timer.exact in kinds
        )
        pending = (
            _available(execution)
            for execution in self._state.all_live()
            if execution.state is State.PENDING
            and not execution.queued
            and execution.lane not in self._request.busy_lanes
            and execution.exact in kinds
        )
        later = [at for due in (timers, pending) for at in due if at > self._request.now]
        return min(later, default=None)


# --- parts --------------------------------------------------------------------------------------

_LAST: tuple[int, str | int] = (1, "")
"""The sort key of jobs without a next fire or a last result: larger than any ``(0, value)``."""


def _name_taken(job: Job, field: str) -> FieldProblem:
    return FieldProblem(field=field, message=f"{job.name!r} is taken", code="name_taken")


def _size(job: Job) -> int:
    definition = spec_to_json(job.spec)
    try:
        return len(orjson.dumps(definition))
    except TypeError:  # a lone surrogate, or an integer beyond 64 bits
        return len(json.dumps(definition, separators=(",", ":")))


def _usage(state: MemoryState, namespace: str | None = None) -> Usage:
    by_status: dict[JobStatus, int] = {}
    size = 0
    for job in state.jobs.values():
        if namespace in {None, job.namespace} and job.status is not JobStatus.DELETED:
            by_status[job.status] = by_status.get(job.status, 0) + 1
            size += state.sizes[job.id]
    return Usage(jobs=sum(by_status.values()), bytes=size, by_status=by_status)


def _views(state: MemoryState, jobs: Sequence[Job], now: Millis) -> list[JobView]:
    last: dict[str, Execution] = {}
    wanted = {job.id for job in jobs}
    for execution in state.executions.values():
        if execution.job_id in wanted and execution.fire_time <= now:
            known = last.get(execution.job_id)
            if known is None or execution.id > known.id:
                last[execution.job_id] = execution
    return [
        JobView(
            job=job,
            next_fire_at=state.timers[job.id].fire_at if job.id in state.timers else None,
            last_execution=last.get(job.id),
        )
        for job in jobs
    ]


def _wanted(state: MemoryState, job: Job, query: JobQuery) -> bool:
    statuses = query.statuses or tuple(set(JobStatus) - {JobStatus.DELETED})
    return (
        job.namespace == query.namespace
        and job.status in statuses
        and set(query.tags) <= set(job.spec.tags)
        and (query.any_tags is None or set(query.any_tags) & set(job.spec.tags))
        and (query.text is None or query.text.casefold() in _text_of(job).casefold())
        and (query.kind is None or query.kind == _kind_of(job))
        and (query.last_state is None or query.last_state is state.health.get(job.id))
    )


def _text_of(job: Job) -> str:
    target = job.spec.target
    shown = target.url if isinstance(target, HttpTarget) else target.text
    return f"{job.name}\0{job.spec.description}\0{shown}"


def _kind_of(job: Job) -> str:
    kind = job.spec.schedule.kind
    if isinstance(kind, Cron):
        return "cron"
    return "at" if isinstance(kind, At) else "every"


def _sort_key(state: MemoryState, job: Job, query: JobQuery) -> tuple[int, str | int]:
    match query.sort:
        case JobSort.NAME:
            return 0, job.name
        case JobSort.CREATED:
            return 0, job.created_at
        case JobSort.UPDATED:
            return 0, job.updated_at
        case JobSort.NEXT_FIRE:
            timer = state.timers.get(job.id)
            return _LAST if timer is None else (0, timer.fire_at)
        case JobSort.LAST_RESULT:
            last = state.health.get(job.id)
            return _LAST if last is None else (0, 0 if last is State.FAILED else 1)


_Keyed: TypeAlias = tuple[tuple[int, str | int], str]


def _to_cursor(keyed: _Keyed) -> Cursor:
    key, job_id = keyed
    return (None if key == _LAST else key[1], job_id)


def _from_cursor(cursor: Cursor, sort: JobSort) -> _Keyed:
    if len(cursor) != 2:
        raise _unusable()
    value, job_id = cursor
    if value is None and sort in {JobSort.NEXT_FIRE, JobSort.LAST_RESULT}:
        return _LAST, _id_of(job_id)
    if not isinstance(value, str if sort is JobSort.NAME else int):
        raise _unusable()
    return (0, value), _id_of(job_id)


def _id_of(value: str | int | None) -> str:
    try:
        return str(UUID(str(value)))
    except ValueError:
        raise _unusable() from None


def _unusable() -> InvalidInput:
    return InvalidInput.of("cursor", "does not belong to this list")


def _position(keyed: Sequence[_Keyed], ended_at: _Keyed, *, descending: bool) -> int:
    """How many items lie at or before the place where a page ended."""

    def is_before(one: _Keyed) -> bool:
        if one[0][0] != ended_at[0][0]:
            return one[0][0] < ended_at[0][0]
        return one >= ended_at if descending else one <= ended_at

    return sum(is_before(one) for one in keyed)


def _matches(state: MemoryState, execution: Execution, query: ExecutionQuery) -> bool:
    if query.any_tags is not None:
        job = state.jobs.get(execution.job_id)
        if job is None or set(query.any_tags).isdisjoint(job.spec.tags):
            return False
    last_kind = execution.attempts[-1].error_kind if execution.attempts else None
    return (
        execution.namespace == query.namespace
        and (query.job_id is None or execution.job_id == query.job_id)
        and (not query.states or execution.state in query.states)
        and (query.error_kind is None or last_kind is query.error_kind)
        and (query.since is None or execution.fire_time >= query.since)
        and (query.until is None or execution.fire_time < query.until)
    )


def _stored_request(state: MemoryState, request: Request | None) -> Request | None:
    if request is None:
        return None
    return state.requests.get((request.namespace, request.operation, request.key))


def _store_request(state: MemoryState, request: Request | None) -> None:
    if request is not None:
        key = (request.namespace, request.operation, request.key)
        state.put(state.requests, key, deepcopy(request))


def _set_timer(state: MemoryState, job_id: str, timer: Timer | None) -> None:
    if timer is None:
        state.drop(state.timers, job_id)
    else:
        state.put(state.timers, job_id, timer)


def _live(state: MemoryState, job_id: str) -> Live:
    live = state.live_of(job_id)
    queued = sum(execution.queued for execution in live)
    return Live(running=len(live) - queued, queued=queued)


def _require_node(state: MemoryState, incarnation: str) -> None:
    if incarnation not in state.nodes:
        raise Revoked(f"incarnation {incarnation} has no lease")


def _is_owned(execution: Execution | None, incarnation: str) -> bool:
    return (
        execution is not None
        and execution.state is State.CLAIMED
        and execution.owner == incarnation
    )


def _available(execution: Execution) -> Millis:
    assert execution.available_at is not None, "a pending execution has its available_at"
    return execution.available_at


def _is_found_stored(row: Execution, result: Execution) -> bool:
    def mark(attempt: Attempt) -> tuple[int, Millis, str]:
        return attempt.number, attempt.started_at, attempt.node

    known = {mark(attempt) for attempt in row.attempts}
    return bool(result.attempts) and mark(result.attempts[-1]) in known


def _extends(row: Execution, result: Execution) -> bool:
    added = len(result.attempts) - len(row.attempts)
    return added == 1 or (added == 0 and result.state.final)


def _cancel(
    state: MemoryState, executions: Iterable[Execution], reason: Reason, now: Millis
) -> list[Execution]:
    """End those that are live, as cancelled."""
    ended = [
        closed(execution, State.CANCELLED, reason, now)
        for execution in executions
        if execution.live
    ]
    _end(state, ended)
    return ended


def _end(state: MemoryState, executions: Iterable[Execution]) -> None:
    """Write executions that have just ended, and what follows from it."""
    for execution in executions:
        state.put_execution(execution)
        assert execution.finished_at is not None, "an ended execution has its finished_at"
        minute = minute_of(execution.finished_at)
        place = (minute, execution.namespace)
        tally = deepcopy(state.tallies.get(place, Tally()))
        tally.add(execution)
        state.put(state.tallies, place, tally)
        if execution.state in {State.SUCCEEDED, State.FAILED}:
            state.put(state.health, execution.job_id, execution.state)
