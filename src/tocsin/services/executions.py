"""What users can ask of executions."""

from collections.abc import Callable
from dataclasses import dataclass, replace

from tocsin.domain.audit import AuditEntry, Subject
from tocsin.domain.errors import Conflict, InvalidInput, NotFound
from tocsin.domain.execution import (
    Execution,
    Reason,
    State,
    TriggerKind,
    execution_id,
)
from tocsin.domain.instant import Millis
from tocsin.domain.job import Job, JobStatus, Json
from tocsin.domain.planning import Admission, Live, admit
from tocsin.services.checking import check
from tocsin.services.ids import looks_like_uuid, read_ref
from tocsin.services.requests import Keyed
from tocsin.services.scope import Scoped
from tocsin.services.shapes import TRIGGER, TRIGGER_FIELDS
from tocsin.services.targets import Problems, check_json_body
from tocsin.store.bus import Bus, ExecutionsChanged
from tocsin.store.port import ExecutionQuery, JobView, Page, Request, Store

LIVE_SHOWN = 100
"""Live executions that the status of a job shows at most."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Requested:
    """An execution that somebody asked for."""

    execution: Execution
    replayed: bool = False
    """Whether an idempotency key named an earlier request, and nothing was done."""


@dataclass(frozen=True, kw_only=True, slots=True)
class JobState:
    """How a job is doing right now."""

    view: JobView
    live: Page[Execution]
    """Executions that have not ended, newest first."""
    last_succeeded: Execution | None
    last_failed: Execution | None


class ExecutionService(Scoped):
    """Starts, finds and ends executions."""

    def __init__(
        self,
        *,
        store: Store,
        bus: Bus,
        now: Callable[[], Millis],
        new_id: Callable[[], str],
    ) -> None:
        self._store = store
        self._bus = bus
        self._now = now
        self._new_id = new_id

    # --- reading

    async def get(self, execution_id: str) -> Execution:
        """One execution; raises ``NotFound``."""
        execution = None
        if looks_like_uuid(execution_id):
            execution = await self._store.get_execution(execution_id.lower())
        if execution is None or not await self._sees(execution):
            raise NotFound(
                f"there is no execution {execution_id[:100]!r}; it may be older than the retention"
            )
        return execution

    async def _sees(self, execution: Execution) -> bool:
        if execution.namespace != self._scope.namespace:
            return False
        if self._scope.whole:
            return True
        job = (await self._store.get_jobs([execution.job_id])).get(execution.job_id)
        return job is not None and self._scope.sees(job)

    async def page(self, query: ExecutionQuery) -> Page[Execution]:
        """A page of the executions in this scope, whatever the query says of that."""
        return await self._store.list_executions(
            replace(query, namespace=self._scope.namespace, any_tags=self._scope.any_tags)
        )

    async def state_of(self, ref: str) -> JobState:
        """How a job is doing; raises ``NotFound``."""
        view = await self._job(ref)
        live = await self._of_job(view, (State.PENDING, State.CLAIMED), LIVE_SHOWN)
        succeeded = await self._of_job(view, (State.SUCCEEDED,), 1)
        failed = await self._of_job(view, (State.FAILED,), 1)
        return JobState(
            view=view,
            live=live,
            last_succeeded=next(iter(succeeded.items), None),
            last_failed=next(iter(failed.items), None),
        )

    async def _of_job(
        self, view: JobView, states: tuple[State, ...], limit: int
    ) -> Page[Execution]:
        return await self._store.list_executions(
            ExecutionQuery(
                namespace=self._scope.namespace, job_id=view.job.id, states=states, limit=limit
            )
        )

    # --- asking for one

    async def trigger(self, ref: str, data: object, *, key: str | None = None) -> Requested:
        """Ask for an execution now, whatever the schedule says; ``key`` is an idempotency key.

        ``data`` is ``{}`` or ``{"body": ...}``. A paused or completed job may be triggered.
        Raises ``NotFound``, ``InvalidInput``, and ``Conflict`` where the job is cancelled.
        """
        view = await self._job(ref)
        body = _read_trigger(data)
        keyed = Keyed.of(self._scope.namespace, f"jobs.trigger:{view.job.id}", key, data)
        now = self._now()
        salt = self._new_id() if key is None else key
        execution = _by_hand(view.job, TriggerKind.MANUAL, salt, now, body=body)
        entry = self._scope.entry(
            "job.trigger",
            Subject(type="job", id=view.job.id, name=view.job.name),
            at=now,
            entry_id=self._new_id(),
            after={"execution": execution.id},
        )
        return await self._add(execution, keyed, now, entry)

    async def retry(self, ref: str, *, key: str | None = None) -> Requested:
        """Ask for an execution that has ended to be run again, with the same input, as a new one.

        Raises ``NotFound`` (also where its job was deleted), and ``Conflict`` where it has not
        ended (``not_final``) or its job is cancelled.
        """
        before = await self.get(ref)
        if before.live:
            raise Conflict(
                f"execution {before.id} is {before.state.value} and will run; "
                "only one that has ended can be retried",
                code="not_final",
            )
        view = await self._job(before.job_id)
        keyed = Keyed.of(self._scope.namespace, f"executions.retry:{before.id}", key, None)
        now = self._now()
        salt = self._new_id() if key is None else key
        execution = _by_hand(
            view.job, TriggerKind.RETRY, salt, now, body=before.input, retry_of=before.id
        )
        entry = self._entry(
            "execution.retry", before, now, {"state": before.state}, {"execution": execution.id}
        )
        return await self._add(execution, keyed, now, entry)

    async def cancel(self, ref: str) -> Execution:
        """End an execution; to repeat it does no harm.

        Raises ``NotFound``, and ``Conflict`` (``already_ended``) where it has ended otherwise.
        """
        before, now = await self.get(ref), self._now()
        entry = self._entry(
            "execution.cancel", before, now, {"state": before.state}, {"state": State.CANCELLED}
        )
        ended = await self._store.cancel_executions(
            reason=Reason.REQUESTED, now=now, execution_id=before.id, audit=[entry]
        )
        if ended:
            self._bus.publish(ExecutionsChanged(executions=ended))
            return ended[0]
        after = await self.get(before.id)
        if after.state is not State.CANCELLED:
            raise Conflict(
                f"execution {after.id} has ended as {after.state.value}; nothing is left to cancel",
                code="already_ended",
            )
        return after

    def _entry(
        self, action: str, execution: Execution, now: Millis, before: Json, after: Json
    ) -> AuditEntry:
        return self._scope.entry(
            action,
            Subject(type="execution", id=execution.id, name=execution.job_name),
            at=now,
            entry_id=self._new_id(),
            before=before,
            after=after,
        )

    async def _add(
        self, execution: Execution, keyed: Keyed | None, now: Millis, entry: AuditEntry
    ) -> Requested:
        request = None if keyed is None else keyed.request([execution.id], now)
        try:
            added = await self._store.add_execution(
                execution, admit=_admit, now=now, request=request, audit=[entry]
            )
        except Conflict:
            raise Conflict(
                f"job {execution.job_name!r} is cancelled; give it a schedule with PATCH to make "
                "it active again",
                code="wrong_status",
            ) from None
        if isinstance(added, Request):
            assert keyed is not None  # noqa: S101  # a stored request is only found by its key
            return Requested(execution=await self.get(keyed.ids(added)[0]), replayed=True)
        stored, replaced = added
        self._bus.publish(ExecutionsChanged(executions=[*replaced, stored]))
        return Requested(execution=stored)

    async def _job(self, ref: str) -> JobView:
        known = read_ref(ref)
        view = None
        if known is not None:
            view = await self._store.get_job(self._scope.namespace, known, now=self._now())
        if view is None or not self._scope.sees(view.job):
            raise NotFound(f"there is no job {ref[:100]!r}, by id or by name")
        if view.job.status is JobStatus.DELETED:
            raise NotFound(f"job {view.job.name!r} was deleted; only its history is left")
        return view


def _by_hand(
    job: Job,
    trigger: TriggerKind,
    salt: str,
    now: Millis,
    *,
    body: Json,
    retry_of: str | None = None,
) -> Execution:
    return Execution(
        id=execution_id(job.id, now, salt),
        job_id=job.id,
        job_name=job.name,
        namespace=job.namespace,
        job_version=job.version,
        trigger=trigger,
        fire_time=now,
        due=now,
        state=State.PENDING,
        available_at=now,
        lane=job.spec.lane,
        exact=job.spec.exact,
        retry_of=retry_of,
        input=body,
    )


def _admit(job: Job, live: Live) -> Admission:
    return admit(job.spec.overlap, live)


def _read_trigger(data: object) -> Json:
    body: Json = check(TRIGGER, data, TRIGGER_FIELDS).get("body")
    problems: Problems = []
    if body is not None:
        check_json_body(body, "body", problems)
    if problems:
        raise InvalidInput(problems)
    return body
