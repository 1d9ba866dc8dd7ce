"""What users can ask of jobs."""

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any, Self, TypeAlias

from tocsin.domain.audit import AuditEntry, Subject
from tocsin.domain.codec import spec_to_json
from tocsin.domain.errors import Conflict, InvalidInput, NotFound
from tocsin.domain.execution import Execution, Reason
from tocsin.domain.instant import Millis
from tocsin.domain.job import Job, JobStatus, Json
from tocsin.services import lifecycle
from tocsin.services.creation import EnsureSigning, JobCreation, Saved, SavedBatch, name_differs
from tocsin.services.definitions import (
    Definition,
    JobDefaults,
    merge_patch,
    read_definition,
)
from tocsin.services.ids import looks_like_uuid, read_ref
from tocsin.services.job_stream import JobStream
from tocsin.services.lifecycle import Change
from tocsin.services.masking import changed, masked_definition
from tocsin.services.scope import Scope, Scoped
from tocsin.services.targets import depth_of
from tocsin.services.vault import Vault
from tocsin.store.bus import Bus, ExecutionsChanged, JobsChanged
from tocsin.store.port import JobQuery, JobView, Limits, Page, Store

TRIES = 20
"""How often a change is decided anew because others changed the job meanwhile."""

MAX_PATCH_DEPTH = 72
"""How deep a patch may be nested: a body's depth and what is around it."""

Decider: TypeAlias = Callable[[JobView, Millis], Awaitable[Change | None]]


@dataclass(frozen=True, kw_only=True, slots=True)
class Match:
    """A condition on the version of a job, as ``If-Match`` states it."""

    versions: frozenset[int] | None
    """Any of these; ``None``: any, but there must be a job."""

    def holds(self, job: Job) -> bool:
        """Whether the job's version is one of those."""
        return self.versions is None or job.version in self.versions


class JobService(Scoped):
    """Creates, finds and changes jobs; definitions come as parsed JSON and are checked here."""

    def __init__(
        self,
        *,
        store: Store,
        bus: Bus,
        now: Callable[[], Millis],
        new_id: Callable[[], str],
        limits: Limits,
        defaults: JobDefaults,
        max_batch: int = 10_000,
        vault: Vault | None = None,
        ensure_signing: EnsureSigning | None = None,
    ) -> None:
        self._store = store
        self._bus = bus
        self._now = now
        self._new_id = new_id
        self._limits = limits
        self._defaults = defaults
        self._vault = vault
        self._creation = JobCreation(
            store=store,
            bus=bus,
            now=now,
            new_id=new_id,
            limits=limits,
            defaults=defaults,
            max_batch=max_batch,
            vault=vault,
            ensure_signing=ensure_signing,
        )

    @property
    def min_interval(self) -> Millis:
        """Milliseconds that lie at least between two fires of a new schedule."""
        return self._defaults.min_interval

    def within(self, scope: Scope) -> Self:
        """The same service on behalf of somebody."""
        bound = super().within(scope)
        bound._creation = self._creation.within(scope)
        return bound

    # --- reading

    async def get(self, ref: str) -> JobView:
        """The job with this id or name; raises ``NotFound``, also for a deleted one."""
        view = await self._find(ref)
        if view is None:
            raise _no_job(ref)
        return view

    async def resolve(self, ref: str) -> str:
        """The id of a job, by id or name, deleted ones (by id) included; raises ``NotFound``."""
        view = await self._look(ref)
        if view is None:
            raise _no_job(ref)
        return view.job.id

    async def page(self, query: JobQuery) -> Page[JobView]:
        """A page of the jobs in this scope, whatever the query says of that."""
        return await self._store.list_jobs(
            replace(query, namespace=self._scope.namespace, any_tags=self._scope.any_tags)
        )

    async def visible(self, ids: Sequence[str]) -> set[str]:
        """Those of some jobs that exist in this scope, deleted ones too."""
        found = await self._store.get_jobs(ids)
        return {job.id for job in found.values() if self._scope.sees(job)}

    # --- creating

    async def create(self, data: object, *, key: str | None = None) -> Saved:
        """Store a new job; ``key`` is an idempotency key.

        Raises ``InvalidInput`` (``name_taken`` among its codes), ``Conflict``
        (``idempotency_key_reused``) and ``CapacityExceeded``.
        """
        return await self._creation.create(data, key)

    async def create_batch(self, data: object, *, key: str | None = None) -> SavedBatch:
        """Store new jobs, all or none; problems are named by index: ``jobs.17.schedule.cron``.

        Raises as ``create`` does.
        """
        return await self._creation.create_batch(data, key)

    def stream(self, *, key: str | None = None) -> JobStream:
        """New jobs that come one after the other, each for itself."""
        return JobStream(self._creation, namespace=self._scope.namespace, now=self._now, key=key)

    # --- changing

    async def put(
        self, ref: str, data: object, *, match: Match | None = None, only_new: bool = False
    ) -> Saved:
        """Create the job of this name, or replace the definition of this job.

        The definition that a job already has changes nothing. Raises ``InvalidInput``,
        ``NotFound`` (an id that does not exist), ``Conflict`` (``version_mismatch``;
        ``already_exists`` with ``only_new``) and ``CapacityExceeded``.
        """
        for _ in range(TRIES):
            view = await self._find(ref)
            if view is None:
                if looks_like_uuid(ref):
                    raise _no_job(ref)
                if match is not None:
                    raise Conflict(
                        f"there is no job {ref[:100]!r}, and If-Match asks for one; "
                        "without If-Match it is created",
                        code="version_mismatch",
                    )
                saved = await self._creation.create_named(ref, data)
                if saved is not None:
                    return saved
                if await self._is_hidden(ref):
                    raise InvalidInput.of(
                        "name", f"the name {ref!r} is taken by another job", "name_taken"
                    )
                continue
            if only_new:
                raise Conflict(f"a job {ref!r} exists already", code="already_exists")
            _require(view, match)
            now = self._now()
            definition = await self._read_again(view.job, data, now)
            if ref == view.job.name and definition.name not in {None, ref}:
                raise name_differs()
            same = definition.spec == view.job.spec and definition.name in {None, view.job.name}
            change = None if same else await self._edit(view, definition, now, wake=True)
            after = await self._apply(view, change, "job.update")
            if after is not None:
                return Saved(view=after, created=False)
        raise _contended(ref)

    async def patch(self, ref: str, data: object, *, match: Match | None = None) -> JobView:
        """Change a part of a definition by a JSON merge patch (see ``merge_patch``)."""
        if not isinstance(data, dict):
            raise InvalidInput.of("", "is not an object", "type")
        if depth_of(data, MAX_PATCH_DEPTH) > MAX_PATCH_DEPTH:
            raise InvalidInput.of("", "is nested too deep", "too_deep")

        async def decide(view: JobView, now: Millis) -> Change | None:
            before: dict[str, Any] = {"name": view.job.name, **spec_to_json(view.job.spec)}
            definition = await self._read_again(view.job, merge_patch(before, data), now)
            wake = data.get("schedule") is not None
            return await self._edit(view, definition, now, wake=wake)

        return await self._change(ref, match, decide, "job.update")

    async def pause(self, ref: str, *, match: Match | None = None) -> JobView:
        """Stop a job's fires until it is resumed; what waits ends as cancelled."""

        async def decide(view: JobView, now: Millis) -> Change | None:
            return lifecycle.paused(view, now=now)

        return await self._change(ref, match, decide, "job.pause")

    async def resume(self, ref: str, *, match: Match | None = None) -> JobView:
        """Let a paused job fire again, from now on."""

        async def decide(view: JobView, now: Millis) -> Change | None:
            last = await self._store.last_planned(view.job.id)
            return lifecycle.resumed(view, now=now, last_planned=last)

        return await self._change(ref, match, decide, "job.resume")

    async def cancel(self, ref: str, *, match: Match | None = None) -> JobView:
        """End a job for good, with whatever is live of it; to repeat it does no harm."""

        async def decide(view: JobView, now: Millis) -> Change | None:
            return lifecycle.cancelled(view, now=now)

        view = await self._change(ref, match, decide, "job.cancel")
        ended = await self._store.cancel_executions(
            reason=Reason.REQUESTED, now=self._now(), job_id=view.job.id
        )
        if ended:
            self._bus.publish(ExecutionsChanged(executions=ended))
        return view

    async def delete(self, ref: str, *, match: Match | None = None) -> None:
        """Delete a job; its history stays until it is old."""

        async def decide(view: JobView, now: Millis) -> Change | None:
            return lifecycle.deleted(view, now=now)

        await self._change(ref, match, decide, "job.delete")

    # --- the loop around a change

    async def _change(self, ref: str, match: Match | None, decide: Decider, action: str) -> JobView:
        for _ in range(TRIES):
            view = await self.get(ref)
            _require(view, match)
            change = await decide(view, self._now())
            after = await self._apply(view, change, action)
            if after is not None:
                return after
        raise _contended(ref)

    async def _apply(self, view: JobView, change: Change | None, action: str) -> JobView | None:
        """The job after a change; ``None`` where another change or a claim was faster."""
        if change is None:
            return view
        now = self._now()
        ended = await self._store.change_job(
            change.job,
            if_version=view.job.version,
            if_fire_at=view.next_fire_at,
            timer=change.timer,
            limits=self._limits,
            cancel_waiting=change.cancel_waiting,
            closing=change.closing,
            now=now,
            audit=[self._entry_of(view.job, change.job, action, now)],
        )
        if ended is None:
            return None
        self._publish(change, ended)
        return lifecycle.view_after(view, change, ended)

    def _entry_of(self, old: Job, new: Job, action: str, now: Millis) -> AuditEntry:
        before: Json
        after: Json
        if new.status is JobStatus.DELETED:
            before, after = masked_definition(_facts(old)), None
        else:
            before, after = changed(_facts(old), _facts(new))
        return self._scope.entry(
            action,
            Subject(type="job", id=new.id, name=new.name),
            at=now,
            entry_id=self._new_id(),
            before=before,
            after=after,
        )

    def _publish(self, change: Change, ended: Sequence[Execution]) -> None:
        due_at = None if change.timer is None else change.timer.due_at
        self._bus.publish(JobsChanged(change=change.word, jobs=[change.job], due_at=due_at))
        if ended:
            self._bus.publish(ExecutionsChanged(executions=ended))

    async def _edit(
        self, view: JobView, definition: Definition, now: Millis, *, wake: bool
    ) -> Change | None:
        self._scope.require_tag(definition.spec.tags)
        last = await self._store.last_planned(view.job.id)
        return lifecycle.edited(view, definition, now=now, last_planned=last, wake=wake)

    async def _read_again(self, job: Job, data: object, now: Millis) -> Definition:
        definition = read_definition(
            data,
            defaults=self._defaults,
            now=now,
            previous=job.spec.schedule,
            own_id=job.id,
        )
        if self._vault is not None and definition.spec.target != job.spec.target:
            await self._vault.require(job.namespace, definition.spec.target)
        return definition

    async def _find(self, ref: str) -> JobView | None:
        view = await self._look(ref)
        return None if view is None or view.job.status is JobStatus.DELETED else view

    async def _look(self, ref: str) -> JobView | None:
        known = read_ref(ref)
        if known is None:
            return None
        view = await self._store.get_job(self._scope.namespace, known, now=self._now())
        return view if view is not None and self._scope.sees(view.job) else None

    async def _is_hidden(self, name: str) -> bool:
        """Whether a name is taken by a job that does not exist in this scope."""
        if self._scope.whole:
            return False
        view = await self._store.get_job(self._scope.namespace, name, now=self._now())
        return view is not None and not self._scope.sees(view.job)


def _facts(job: Job) -> dict[str, Any]:
    """What the audit log tells of a job."""
    return {"name": job.name, "status": job.status.value, **spec_to_json(job.spec)}


def _require(view: JobView, match: Match | None) -> None:
    if match is not None and not match.holds(view.job):
        raise _version_mismatch(view.job.name, view.job.version)


def _no_job(ref: str) -> NotFound:
    return NotFound(f"there is no job {ref[:100]!r}, by id or by name")


def _version_mismatch(ref: str, version: int) -> Conflict:
    return Conflict(
        f"job {ref[:100]!r} is at version {version}, which is not what If-Match asks for; "
        "read it again and repeat the change",
        code="version_mismatch",
    )


def _contended(ref: str) -> Conflict:
    return Conflict(
        f"job {ref[:100]!r} is being changed by others all the time; try again",
        code="contended",
    )
