"""A call at once, to see what a definition does before it is saved; and what a call looked like."""

import uuid
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Protocol

from tocsin.domain.audit import AuditEntry, Subject
from tocsin.domain.errors import Conflict
from tocsin.domain.execution import Attempt, Execution, State, TriggerKind, execution_id
from tocsin.domain.instant import SECOND, Millis
from tocsin.domain.job import HttpTarget, Job, JobStatus
from tocsin.services.creation import EnsureSigning
from tocsin.services.definitions import JobDefaults, read_definition
from tocsin.services.masking import masked_text
from tocsin.services.places import Places
from tocsin.services.scope import Scoped
from tocsin.store.access import AccessStore
from tocsin.store.port import Claim

MAX_TIMEOUT: Millis = 30 * SECOND
"""How long a trial may take, whatever its target says."""

AT_ONCE = 4
"""Trials under way on a node at most: they are for people, and take nothing from the fires."""

AT_ONCE_EACH = 2
"""Of these, with one key."""


@dataclass(frozen=True, kw_only=True, slots=True)
class ShownRequest:
    """A request as people may see it."""

    method: str
    url: str
    headers: Sequence[tuple[str, str]]
    body: str
    truncated: bool


class Shower(Protocol):
    """Fills in the request of an attempt, secrets masked; ``None`` where nothing is called."""

    def __call__(
        self, job: Job, execution: Execution, number: int, at: Millis
    ) -> ShownRequest | None:
        """The request of the attempt with this number that starts at an instant."""


class TrialCaller(Protocol):
    """Makes a call as an execution does."""

    async def __call__(self, claim: Claim) -> Attempt | None:
        """The attempt; ``None`` where this node may not make calls now."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Trial:
    """What came of a call; nothing of it is stored."""

    request: ShownRequest | None
    attempt: Attempt


@dataclass(frozen=True, kw_only=True, slots=True)
class Sent:
    """The request of an execution, as its job is defined now."""

    request: ShownRequest | None
    current: bool
    """Whether the job still has the version that the execution was planned with."""


class TrialService(Scoped):
    """Makes calls that are no executions: nothing of what comes back is stored or counted.

    That a call was made is in the audit log all the same: it is a real one, with real secrets.
    """

    def __init__(
        self,
        *,
        call: TrialCaller,
        show: Shower,
        now: Callable[[], Millis],
        defaults: JobDefaults,
        store: AccessStore,
        new_id: Callable[[], str],
        ensure_signing: EnsureSigning,
    ) -> None:
        self._call = call
        self._show = show
        self._now = now
        self._defaults = defaults
        self._store = store
        self._new_id = new_id
        self._ensure_signing = ensure_signing
        # Shared by all that are bound to a scope.
        self._places = Places(whole=AT_ONCE, each=AT_ONCE_EACH)

    async def trial(self, data: object) -> Trial:
        """Make the call of a definition once, now.

        Raises ``InvalidInput`` for a definition that could not be saved, ``Conflict`` where others
        try things out (``too_many_trials``) or this node makes no calls (``not_ready``), and a
        ``StoreError``, without a call, where it cannot be told of in the audit log.
        """
        definition = read_definition(data, defaults=self._defaults, now=self._now())
        self._scope.require_tag(definition.spec.tags)
        holder = None if self._scope.key is None else self._scope.key.id
        refusal = self._places.refusal(holder)
        if refusal is not None:
            raise Conflict(
                f"as many trials are under way as may be, {refusal}; try again shortly",
                code="too_many_trials",
            )
        now = self._now()
        job_id = str(uuid.uuid4())
        target = definition.spec.target
        if isinstance(target, HttpTarget):
            target = replace(target, timeout=min(target.timeout, MAX_TIMEOUT))
        job = Job(
            id=job_id,
            namespace=self._scope.namespace,
            name=definition.name or "trial",
            spec=replace(definition.spec, target=target),
            status=JobStatus.ACTIVE,
            version=1,
            created_at=now,
            updated_at=now,
        )
        execution = Execution(
            id=execution_id(job_id, now, "trial"),
            job_id=job_id,
            job_name=job.name,
            namespace=job.namespace,
            job_version=1,
            trigger=TriggerKind.MANUAL,
            fire_time=now,
            due=now,
            state=State.CLAIMED,
            available_at=now,
            lane=job.spec.lane,
            exact=job.spec.exact,
        )
        with self._places.take(holder):
            await self._store.add_audit([self._entry(job)])
            # The call is signed as those of the job will be, be it the first of its namespace.
            await self._ensure_signing(job.namespace)
            attempt = await self._call(Claim(execution=execution, job=job))
        if attempt is None:
            raise Conflict(
                "this node cannot prove its lease, and makes no calls until it can; try again",
                code="not_ready",
            )
        return Trial(request=self._show(job, execution, 1, attempt.started_at), attempt=attempt)

    def _entry(self, job: Job) -> AuditEntry:
        return self._scope.entry(
            "job.try",
            Subject(type="job", name=job.name),
            at=job.created_at,
            entry_id=self._new_id(),
            after=masked_text(job.spec, None),
        )

    def sent(self, job: Job, execution: Execution) -> Sent:
        """The request of the last attempt of an execution; of the first one, where none was."""
        last = execution.attempts[-1] if execution.attempts else None
        return Sent(
            request=self._show(
                job,
                execution,
                1 if last is None else last.number,
                execution.due if last is None else last.started_at,
            ),
            current=job.version == execution.job_version,
        )
