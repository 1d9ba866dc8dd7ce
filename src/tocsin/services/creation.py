"""Storing new jobs: one, many, or one under a given name."""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import TypeAlias

from tocsin.domain.audit import AuditEntry, Subject
from tocsin.domain.errors import FieldProblem, Forbidden, InvalidInput, NotFound
from tocsin.domain.instant import Millis
from tocsin.domain.job import Json
from tocsin.domain.secrets import SIGNING
from tocsin.services import lifecycle
from tocsin.services.bulk import BulkReader, Fresh
from tocsin.services.checking import MAX_PROBLEMS
from tocsin.services.definitions import Definition, JobDefaults, read_definition
from tocsin.services.group_commit import GroupCommit
from tocsin.services.masking import masked_text
from tocsin.services.requests import Keyed
from tocsin.services.scope import Scoped
from tocsin.services.vault import Vault
from tocsin.store.bus import Bus, JobsChanged
from tocsin.store.port import JobView, Limits, NewJob, NewJobs, Request, Store

EnsureSigning: TypeAlias = Callable[[str], Awaitable[None]]
"""Makes the signing key of a namespace where it has none."""

BATCH_SLICE = 200
"""Jobs of a batch that are checked before other work has its turn: about 2 ms."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Saved:
    """A job that was stored."""

    view: JobView
    created: bool
    replayed: bool = False
    """Whether an idempotency key named an earlier request, and nothing was done."""


@dataclass(frozen=True, kw_only=True, slots=True)
class SavedBatch:
    """Jobs that were stored, in the order of the request."""

    fresh: Sequence[Fresh] = ()
    replayed: Sequence[JobView] | None = None
    """Where an idempotency key named an earlier request, and nothing was done: its jobs."""


AUDITED_IDS = 1_000
"""Ids of a batch that its entry of the audit log names; it always says how many there were."""


class JobCreation(Scoped):
    """Checks and stores new jobs, and tells who listens."""

    def __init__(
        self,
        *,
        store: Store,
        bus: Bus,
        now: Callable[[], Millis],
        new_id: Callable[[], str],
        limits: Limits,
        defaults: JobDefaults,
        max_batch: int,
        vault: Vault | None,
        ensure_signing: EnsureSigning | None = None,
    ) -> None:
        self._store = store
        self._bus = bus
        self._now = now
        self._new_id = new_id
        self._commit = GroupCommit(store, limits)
        self._checking = asyncio.Lock()
        self._defaults = defaults
        self._max_batch = max_batch
        self._vault = vault
        self._ensure_signing = ensure_signing

    async def create(self, data: object, key: str | None) -> Saved:
        """Store a new job; see ``JobService.create``."""
        keyed = Keyed.of(self._scope.namespace, "jobs.create", key, data)
        now = self._now()
        try:
            new = await self._new(data, now)
        except InvalidInput as error:
            return Saved(
                view=(await self._replay_or(keyed, error))[0], created=False, replayed=True
            )
        try:
            replayed = await self._keep([new], keyed, now, self._entry_of(new, now))
        except InvalidInput as error:
            raise _of_first(error) from None
        if replayed is not None:
            return Saved(view=replayed[0], created=False, replayed=True)
        return Saved(view=_view_of(new), created=True)

    async def create_batch(self, data: object, key: str | None) -> SavedBatch:
        """Store new jobs, all or none; see ``JobService.create_batch``."""
        items = self._items(data)
        keyed = Keyed.of(self._scope.namespace, "jobs.create_batch", key, data)
        now = self._now()
        # One batch after the other: then the first is written while the next is checked. Side by
        # side they would all be checked at the same time, and then all be written.
        async with self._checking:
            fresh, problems = await self._check(items, now)
        if problems:
            refused = InvalidInput(problems[:MAX_PROBLEMS], "no job was created; see errors")
            return SavedBatch(replayed=await self._replay_or(keyed, refused))
        news = [one.new for one in fresh]
        replayed = await self._keep(news, keyed, now, self._entry_of_batch(news, now))
        return SavedBatch(fresh=fresh, replayed=replayed)

    async def _check(
        self, items: Sequence[object], now: Millis
    ) -> tuple[list[Fresh], list[FieldProblem]]:
        """New jobs of the definitions of a batch, and what is wrong with them."""
        reader = self.reader(now)
        fresh: list[Fresh] = []
        problems: list[FieldProblem] = []
        for start in range(0, len(items), BATCH_SLICE):
            checked = await self.check(reader, items[start : start + BATCH_SLICE])
            for index, one in enumerate(checked, start):
                if isinstance(one, Fresh):
                    fresh.append(one)
                elif isinstance(one, InvalidInput):
                    problems.extend(one.under(f"jobs.{index}").problems)
                else:
                    raise one
            if len(problems) >= MAX_PROBLEMS:
                break
            await asyncio.sleep(0)
        return fresh, problems

    # --- for whoever has many jobs, and wants to hear of each of them

    def reader(self, now: Millis) -> BulkReader:
        """What reads definitions in bulk."""
        return BulkReader(
            defaults=self._defaults, now=now, namespace=self._scope.namespace, new_id=self._new_id
        )

    async def check(
        self, reader: BulkReader, items: Sequence[object]
    ) -> list[Fresh | InvalidInput | Forbidden]:
        """The new job of each definition, or why it is none; ``BATCH_SLICE`` at once are enough."""
        checked: list[Fresh | InvalidInput | Forbidden] = []
        whole = self._scope.whole
        for item in items:
            try:
                one = reader.read(item)
                if not whole:
                    self._scope.require_tag(one.new.job.spec.tags)
                if self._may_use_secrets(one.new):
                    await self._require_secrets(one.new)
            except (InvalidInput, Forbidden) as error:
                checked.append(error)
            else:
                checked.append(one)
        return checked

    async def store_together(self, fresh: Sequence[Fresh], now: Millis) -> None:
        """Store new jobs, all or none; the audit log names each of them."""
        news = [one.new for one in fresh]
        parts = range(0, len(news), AUDITED_IDS)
        told = [self._entry_of_batch(news[start : start + AUDITED_IDS], now) for start in parts]
        await self._keep(news, None, now, *told)

    async def store_each(
        self, fresh: Sequence[tuple[Fresh, Keyed | None]], now: Millis
    ) -> list[JobView | Exception | None]:
        """Store new jobs, each a change of its own, in few transactions.

        ``None`` for each that was stored; the job where its key named an earlier request; or why
        it was not stored.
        """

        async def store(one: Fresh, keyed: Keyed | None) -> JobView | None:
            try:
                taken = await self._keep([one.new], keyed, now, self._entry_of(one.new, now))
            except InvalidInput as error:
                raise _of_first(error) from None
            return None if taken is None else taken[0]

        found = await asyncio.gather(
            *(store(one, keyed) for one, keyed in fresh), return_exceptions=True
        )
        outcomes: list[JobView | Exception | None] = []
        for outcome in found:
            if isinstance(outcome, BaseException) and not isinstance(outcome, Exception):
                raise outcome
            outcomes.append(outcome)
        return outcomes

    async def replay_or(self, keyed: Keyed, error: InvalidInput) -> JobView:
        """The job that an earlier request with this key created; else raises the error."""
        return (await self._replay_or(keyed, error))[0]

    async def create_named(self, name: str, data: object) -> Saved | None:
        """Store a new job under a name; ``None`` where somebody else has just taken it."""
        if isinstance(data, dict) and data.get("name") is None:
            data = {**data, "name": name}
        now = self._now()
        definition = read_definition(data, defaults=self._defaults, now=now)
        if definition.name != name:
            raise name_differs()
        new = self._of(definition, now)
        await self._require_secrets(new)
        try:
            await self._keep([new], None, now, self._entry_of(new, now))
        except InvalidInput:
            return None
        return Saved(view=_view_of(new), created=True)

    def _items(self, data: object) -> Sequence[object]:
        items = data.get("jobs") if isinstance(data, dict) else None
        if not isinstance(data, dict) or not isinstance(items, list):
            raise InvalidInput.of("jobs", 'is required: {"jobs": [...]}', "required")
        unknown = [name for name in data if name != "jobs"]
        if unknown:
            raise InvalidInput.of(
                unknown[0][:100], "is not a field; known is jobs", "unknown_field"
            )
        if not items:
            raise InvalidInput.of("jobs", "is empty", "too_short")
        if len(items) > self._max_batch:
            raise InvalidInput.of(
                "jobs",
                f"has {len(items):,} entries; {self._max_batch:,} fit into one batch",
                "too_long",
            )
        return items

    async def _new(self, data: object, now: Millis) -> NewJob:
        new = self._of(read_definition(data, defaults=self._defaults, now=now), now)
        await self._require_secrets(new)
        return new

    def _of(self, definition: Definition, now: Millis) -> NewJob:
        self._scope.require_tag(definition.spec.tags)
        return lifecycle.created(
            definition, job_id=self._new_id(), namespace=self._scope.namespace, now=now
        )

    def _entry_of(self, new: NewJob, now: Millis) -> AuditEntry:
        return self._scope.entry(
            "job.create",
            Subject(type="job", id=new.job.id, name=new.job.name),
            at=now,
            entry_id=self._new_id(),
            after=masked_text(new.job.spec, new.written),
        )

    def _entry_of_batch(self, news: Sequence[NewJob], now: Millis) -> AuditEntry:
        """One for all: that a batch is one change is what makes it quick."""
        ids: list[Json] = [new.job.id for new in news[:AUDITED_IDS]]
        return self._scope.entry(
            "jobs.create",
            Subject(type="jobs"),
            at=now,
            entry_id=self._new_id(),
            after={"count": len(news), "ids": ids},
        )

    def _may_use_secrets(self, new: NewJob) -> bool:
        """Whether it takes a closer look: a definition that is written tells at a glance."""
        return self._vault is not None and (new.written is None or "secret" in new.written)

    async def _require_secrets(self, new: NewJob) -> None:
        if self._vault is not None:
            await self._vault.require(self._scope.namespace, new.job.spec.target)

    async def _require_signing(self) -> None:
        """Make the signing key of the namespace, where this is its first job."""
        if self._ensure_signing is None or self._vault is None or not self._vault.usable:
            return
        if not self._vault.has(self._scope.namespace, SIGNING):
            await self._ensure_signing(self._scope.namespace)

    async def _keep(
        self, news: Sequence[NewJob], keyed: Keyed | None, now: Millis, *told: AuditEntry
    ) -> Sequence[JobView] | None:
        """Store new jobs; the jobs of the earlier request where the key is taken."""
        await self._require_signing()
        request = None if keyed is None else keyed.request([new.job.id for new in news], now)
        taken = await self._commit.store(NewJobs(jobs=news, request=request, audit=told))
        if taken is not None and keyed is not None:
            return await self._replay(keyed, taken)
        self._publish(news)
        return None

    async def _replay(self, keyed: Keyed, taken: Request) -> Sequence[JobView]:
        """The jobs that an earlier request created, as they are now."""
        now = self._now()
        views = []
        for job_id in keyed.ids(taken):
            view = await self._store.get_job(self._scope.namespace, job_id, now=now)
            if view is None or not self._scope.sees(view.job):
                raise NotFound(
                    f"the job {job_id}, which this Idempotency-Key created, was deleted since"
                )
            views.append(view)
        return views

    async def _replay_or(self, keyed: Keyed | None, error: InvalidInput) -> Sequence[JobView]:
        """The answer of an earlier request with the same key; else raises the error.

        What is refused now may have been fine then: an ``at`` that has passed since.
        """
        if keyed is not None:
            taken = await self._store.find_request(keyed.namespace, keyed.operation, keyed.key)
            if taken is not None:
                return await self._replay(keyed, taken)
        raise error

    def _publish(self, news: Sequence[NewJob]) -> None:
        due = [new.timer.due_at for new in news if new.timer is not None]
        self._bus.publish(
            JobsChanged(
                change="created", jobs=[new.job for new in news], due_at=min(due, default=None)
            )
        )


def name_differs() -> InvalidInput:
    """The name of the path and that of the body are not the same."""
    return InvalidInput.of(
        "name", "differs from the name in the path; rename with PATCH, or PUT by id", "conflict"
    )


def _of_first(error: InvalidInput) -> InvalidInput:
    """The problems of a batch of one, as those of a single job."""
    return InvalidInput(
        [
            FieldProblem(
                field=problem.field.removeprefix("jobs.0."),
                message=problem.message,
                code=problem.code,
            )
            for problem in error.problems
        ]
    )


def _view_of(new: NewJob) -> JobView:
    return JobView(
        job=new.job,
        next_fire_at=None if new.timer is None else new.timer.fire_at,
        last_execution=None,
    )
