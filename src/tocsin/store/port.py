"""What Tocsin needs of a store: the contract that every store keeps.

A store applies decisions and takes none. Where a decision depends on rows that only a transaction
can read (which timers are due, whether an execution of the job is live), the caller hands in a
pure function of the domain, and the store calls it inside the transaction. Such a function must
neither block nor look at anything but its arguments.

Every method is one transaction: when it returns, what it did is durable; when it raises, nothing
was changed, except that after ``StoreUnavailable`` the outcome of a commit may be unknown.
All instants are milliseconds since the epoch, UTC, and come from the caller; only leases go by the
store's own clock, where it has one (``time``).
"""

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Generic, Literal, Protocol, TypeAlias, TypeVar

from tocsin.domain.audit import AuditEntry
from tocsin.domain.execution import ErrorKind, Execution, Reason, State
from tocsin.domain.instant import Millis
from tocsin.domain.job import Job, JobStatus, Json
from tocsin.domain.planning import Admission, FirePlan, Live, Timer, Window
from tocsin.domain.quick import maker, quick
from tocsin.domain.tally import Tally
from tocsin.store.access import AccessStore

T_co = TypeVar("T_co", covariant=True)

Cursor: TypeAlias = tuple[str | int | None, ...]
"""Where a page ended: the sort key of its last item, then its id. ``InvalidInput`` (field
``cursor``) is raised for one that does not belong to the list."""

Planner: TypeAlias = Callable[[Job, Timer, Live, Window], FirePlan]
Admitter: TypeAlias = Callable[[Job, Live], Admission]
Rescuer: TypeAlias = Callable[[Execution, Job | None], Execution]
Voider: TypeAlias = Callable[[Execution, Job | None], Reason | None]


@dataclass(frozen=True, kw_only=True, slots=True)
class Page(Generic[T_co]):
    """A part of a list; ``next`` continues it, ``None`` at the end."""

    items: Sequence[T_co]
    next: Cursor | None


# --- jobs ---------------------------------------------------------------------------------------


@quick
@dataclass(frozen=True, kw_only=True, slots=True)
class NewJob:
    """A job to be stored, with its first timer (``None``: it has no fire to come).

    An active job has one; without any it would be completed.
    """

    job: Job
    timer: Timer | None
    written: str | None = None
    """The ``spec_text`` of its definition, where it is made already: row and answer share it."""


make_new_job = maker(NewJob)
"""A new job from its job, its timer and its text."""


@dataclass(frozen=True, kw_only=True, slots=True)
class JobView:
    """A job with what is known of its fires."""

    job: Job
    next_fire_at: Millis | None
    """The fire time of its timer; with jitter, the call leaves later than that."""
    last_execution: Execution | None
    """The newest execution by id whose fire time is not later than the ``now`` of the reader."""


class JobSort(StrEnum):
    """What a list of jobs is sorted by; ties go by id.

    Those without a next fire, and those that never ran, come last in either direction.
    """

    NAME = "name"
    CREATED = "created_at"
    UPDATED = "updated_at"
    NEXT_FIRE = "next_fire_at"
    LAST_RESULT = "last_result"
    """Those whose last execution failed come before those where it ended otherwise."""


@dataclass(frozen=True, kw_only=True, slots=True)
class JobQuery:
    """Which jobs, in which order. Without ``statuses``: all but deleted ones."""

    namespace: str = "default"
    statuses: tuple[JobStatus, ...] = ()
    tags: tuple[str, ...] = ()
    """A job must carry each of them."""
    any_tags: tuple[str, ...] | None = None
    """A job must carry one of them; ``None``: no matter."""
    text: str | None = None
    """Looked for, whatever the case, in name, description and target (URL or log text)."""
    kind: str | None = None
    """``cron``, ``every`` or ``at``."""
    last_state: State | None = None
    """``succeeded`` or ``failed``, by ``health``."""
    sort: JobSort = JobSort.NAME
    descending: bool = False
    limit: int = 100
    cursor: Cursor | None = None
    now: Millis = 0


@dataclass(frozen=True, kw_only=True, slots=True)
class Limits:
    """What the store may hold of definitions."""

    max_jobs: int
    max_bytes: int


@dataclass(frozen=True, kw_only=True, slots=True)
class Usage:
    """What it holds, deleted jobs left out; ``bytes`` is the size of the definitions as JSON."""

    jobs: int
    bytes: int
    by_status: dict[JobStatus, int]


@dataclass(frozen=True, kw_only=True, slots=True)
class Request:
    """A request that carried an idempotency key, and what it was answered.

    ``(namespace, operation, key)`` is unique.
    """

    namespace: str
    operation: str
    key: str
    fingerprint: str
    """A hash of the body, so that the same key with another body can be refused."""
    result: Json
    """What is needed to give the same answer again (ids)."""
    created_at: Millis


@dataclass(frozen=True, kw_only=True, slots=True)
class NewJobs:
    """Jobs that somebody wants stored, all or none."""

    jobs: Sequence[NewJob]
    request: Request | None = None
    audit: Sequence[AuditEntry] = ()
    """What the audit log tells of them, where they are stored."""


Created: TypeAlias = Request | Exception | None
"""What became of new jobs: stored (``None``), asked for before (the stored request), or refused."""


@dataclass(frozen=True, kw_only=True, slots=True)
class StoredSecret:
    """A secret as it is stored: encrypted. ``(namespace, name)`` is unique."""

    namespace: str
    name: str
    version: int
    """Grows by one with each change."""
    created_at: Millis
    updated_at: Millis
    """When its value was last set; to encrypt it anew is none of that."""
    shown: bool = False
    """Whether the value, where Tocsin made it, was shown to somebody."""
    sealed: str
    previous_sealed: str | None = None
    """The value before this one, while it still counts."""
    previous_until: Millis | None = None
    """The end of that."""


# --- engine -------------------------------------------------------------------------------------


@dataclass(frozen=True, kw_only=True, slots=True)
class Node:
    """A running process."""

    incarnation: str
    """Random per start (UUIDv4); fences whatever the process writes."""
    name: str
    address: str
    version: str
    started_at: Millis
    heartbeat_at: Millis
    lease_until: Millis
    load: Json = None
    """What the node says of itself (held, in flight, clock offset), for people."""


@quick
@dataclass(frozen=True, kw_only=True, slots=True)
class Claim:
    """An execution in the hands of a node, with the definition it goes out with."""

    execution: Execution
    job: Job
    """As it is now; where its last fire was planned it may still be told as active."""


make_claim = maker(Claim)
"""A claim from its execution and its job."""


FRESH_PART = 4


def fresh_part(limit: int) -> int:
    """How many of a claim's limit go to what became due last, where more is due than it allows.

    One in ``FRESH_PART``, rounded, and before the rest: so a backlog does not hold up what comes
    after it.
    """
    return (limit + FRESH_PART // 2) // FRESH_PART


@dataclass(frozen=True, kw_only=True, slots=True)
class ClaimRequest:
    """What a node can take on now."""

    incarnation: str
    now: Millis
    ahead_until: Millis
    """How far ahead fires that may be claimed ahead are looked for; at least ``now``."""
    ahead_limit: int
    """How many of them are claimed at most (0 .. 2,000); with 0 none is looked for."""
    exact_limit: int
    """How many that are claimed at their instant (0 .. 1,000), at most the free call slots; with
    0 none is looked for."""
    busy_lanes: frozenset[int] = frozenset()
    """Lanes that are saturated: nothing of theirs is claimed."""
    busy_jobs: frozenset[str] = frozenset()
    """Jobs that have enough under way, a hundred at most: nothing of theirs is claimed."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Claimed:
    """What a claim did."""

    claims: Sequence[Claim]
    """What the node now owns and did not before."""
    closed: Sequence[Execution]
    """What ended by the way: skipped fire times, replaced executions (these with their owner)."""
    completed: Sequence[str]
    """Jobs whose last fire was planned."""
    more: bool
    """Whether a limit cut the claim short, so that the next one should come at once. A limit of 0
    asks for nothing of its kind, and so cuts nothing short."""
    wake_at: Millis | None
    """The earliest instant after ``now`` at which something not yet claimed becomes due, of a kind
    that was asked for (for what may be claimed ahead: its due instant, not the instant of its
    claim); ``None`` where there is nothing. Saturated lanes and what waits in a queue are left
    out; in search of the first one that is not, a store may give up after some thousand timers in
    saturated lanes, and name the instant that it came to."""
    exact_at: Millis | None
    """The same of what is claimed at its instant alone."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Recorded:
    """What became of recorded results."""

    stored: Sequence[Execution]
    """As they stand now: a retry of a job that was paused or deleted meanwhile ended."""
    rejected: Sequence[str]
    """Ids that were not this incarnation's any more; their results are lost to history, except
    that one that was cancelled meanwhile keeps its attempts."""


# --- executions ---------------------------------------------------------------------------------


@dataclass(frozen=True, kw_only=True, slots=True)
class ExecutionQuery:
    """Which executions, newest first (by id) unless ``ascending``."""

    namespace: str = "default"
    job_id: str | None = None
    any_tags: tuple[str, ...] | None = None
    """The job must carry one of them now, or have carried it when it was deleted; ``None``: no
    matter. Few jobs out of many make a page dear."""
    states: tuple[State, ...] = ()
    error_kind: ErrorKind | None = None
    """Of the last attempt."""
    since: Millis | None = None
    """The earliest fire time, inclusive."""
    until: Millis | None = None
    """The latest fire time, exclusive."""
    ascending: bool = False
    limit: int = 100
    cursor: Cursor | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class Stats:
    """The state of things, at a cost that does not grow with the tables."""

    jobs: dict[JobStatus, int]
    pending: int
    claimed: int
    tally: Tally
    """What ended since the asked-for minute, over all nodes."""
    minutes: Sequence[tuple[Millis, Tally]]
    """The same by minute, oldest first, minutes without any left out."""
    next_fires: Sequence[tuple[Job, Millis]] = field(default=())
    """The jobs whose fires are next, with the due instant."""


class Store(AccessStore, Protocol):
    """A store of jobs, timers and executions.

    ``audit`` are the entries of the audit log that tell of a change: they are stored with it, and
    only where it was made.
    """

    async def open(self) -> None:
        """Connect and check the schema.

        Raises ``SchemaMismatch`` (``tocsin migrate`` helps), ``StoreCorrupt`` or
        ``StoreUnavailable``.
        """

    async def close(self) -> None:
        """Let go of files and connections; safe to call twice."""

    async def ping(self) -> None:
        """Prove that the store answers and that it can be written to; raises a ``StoreError``."""

    # --- jobs

    async def create_jobs(
        self,
        jobs: Sequence[NewJob],
        *,
        limits: Limits,
        request: Request | None = None,
        audit: Sequence[AuditEntry] = (),
    ) -> Request | None:
        """Store new jobs, all or none.

        Where ``request`` names a key that is taken, nothing is done and the stored request is
        returned; otherwise ``None``. Raises ``InvalidInput`` with one problem per job whose name
        is taken (field ``jobs.<index>.name``, code ``name_taken``; a repetition within the batch
        counts) and ``CapacityExceeded`` (limit ``jobs`` or ``bytes``).
        """

    async def create_sets(self, sets: Sequence[NewJobs], *, limits: Limits) -> Sequence[Created]:
        """Store the new jobs of several callers in few transactions, one where all goes well.

        The outcome of each set is what ``create_jobs`` would have returned or raised, had the sets
        come one after the other; what is wrong with one of them concerns no other. A
        ``StoreError`` that concerns all (the store is full, or does not answer) is raised.
        """

    async def find_request(self, namespace: str, operation: str, key: str) -> Request | None:
        """The stored request with this key, ``None`` where there is none."""

    async def get_job(self, namespace: str, ref: str, *, now: Millis) -> JobView | None:
        """The job with this id or name, ``None`` where there is none; deleted jobs by id only."""

    async def get_jobs(self, ids: Sequence[str]) -> dict[str, Job]:
        """The jobs with these ids, deleted ones too; ids that do not exist are left out."""

    async def list_jobs(self, query: JobQuery) -> Page[JobView]:
        """A page of jobs."""

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
        """Replace a job and its timer, on condition that its version is still ``if_version``.

        With ``if_fire_at`` also on condition that this is its timer's fire time (``None``: that
        it has no timer), because a claim moves or ends the timer without a new version.
        ``job.version`` is the new one; an active job must come with a timer, since one that has
        none is completed. With ``cancel_waiting`` its pending executions end as
        cancelled with that reason (claimed ones are given up by their owners). Where the job's
        overlap is ``allow`` now, what is queued waits no longer. ``closing`` are
        ended executions to add (ignored where they exist). A job whose status is ``deleted``
        becomes a tombstone whose name is free. Returns what ended, or ``None`` where the version
        had moved on and nothing was done. Raises ``InvalidInput`` (field ``name``, code
        ``name_taken``) and ``CapacityExceeded`` (``bytes``).
        """

    async def last_planned(self, job_id: str) -> Millis | None:
        """The latest fire time of the job that has an execution by schedule.

        Ends of skipped ranges count; ``None`` where there is none.
        """

    async def usage(self) -> Usage:
        """What the store holds of definitions, at a cost that does not grow with it.

        Of all namespaces together: the limits hold for these.
        """

    # --- secrets

    async def secrets_mark(self) -> str:
        """A text that changes whenever a secret does, at next to no cost."""

    async def list_secrets(self) -> Sequence[StoredSecret]:
        """All secrets, by namespace and name."""

    async def put_secret(
        self,
        secret: StoredSecret,
        *,
        if_version: int | None,
        audit: Sequence[AuditEntry] = (),
    ) -> bool:
        """Store a secret, on condition that the stored one has this version (``None``: no such).

        Whether it was stored.
        """

    async def delete_secret(
        self, namespace: str, name: str, *, audit: Sequence[AuditEntry] = ()
    ) -> bool:
        """Delete a secret; whether there was one."""

    async def secret_uses(self, namespace: str) -> dict[str, int]:
        """How many jobs, deleted ones left out, use each secret; unused ones are left out.

        Uses are those of ``domain.secrets.secrets_of``. The cost grows with the number of jobs
        that use a secret, not with that of jobs; a definition that cannot be read is left out.
        """

    # --- executions

    async def add_execution(
        self,
        execution: Execution,
        *,
        admit: Admitter,
        now: Millis,
        request: Request | None = None,
        audit: Sequence[AuditEntry] = (),
    ) -> tuple[Execution, Sequence[Execution]] | Request:
        """Store an execution that a person asked for, as ``admit`` decides.

        ``admit`` sees the job and what is live of it under a lock on the job; the execution is
        stored with the admission's state, reason and ``queued`` (``skipped`` ones finish at
        ``now``), and with ``replaces`` whatever is live of the job is cancelled/replaced. Returns
        the execution as stored and what was replaced; or the stored request where its key is
        taken, or the execution that already has this id (with nothing replaced). Raises
        ``NotFound`` where the job is gone or deleted, ``Conflict`` where it is cancelled.
        """

    async def get_execution(self, execution_id: str) -> Execution | None:
        """One execution with its attempts."""

    async def list_executions(self, query: ExecutionQuery) -> Page[Execution]:
        """A page of executions with their attempts; the cursor is ``(id,)``."""

    async def cancel_executions(
        self,
        *,
        reason: Reason,
        now: Millis,
        execution_id: str | None = None,
        job_id: str | None = None,
        audit: Sequence[AuditEntry] = (),
    ) -> Sequence[Execution]:
        """End one execution, or all live ones of a job, as cancelled.

        Returns those that ended by this call, each with the owner it had: a claimed one is ended
        in the store, and its owner aborts the call when it hears of it.
        """

    # --- engine

    async def time(self) -> Millis | None:
        """The present instant, rounded down, by the clock that all nodes on this store share.

        It is read while the call is under way, and at little cost: callers measure how long the
        answer takes. ``None`` where the store has no clock of its own, because all its nodes run
        on one machine.

        A store with a clock of its own goes by that instead of ``now`` for leases: ``register``
        keeps the length of the lease that it is given, ``renew`` and ``revoke_lapsed`` ignore
        ``now``.
        """

    async def register(self, node: Node) -> None:
        """Add a node's row."""

    async def renew(
        self, incarnation: str, *, now: Millis, ttl: Millis, load: Json = None
    ) -> Millis | None:
        """Extend a lease to ``now + ttl``; the new end, or ``None`` where it was revoked."""

    async def leave(self, incarnation: str) -> None:
        """Remove a node's own row at its shutdown; nothing happens where it is gone."""

    async def nodes(self) -> Sequence[Node]:
        """All nodes, by name and start."""

    async def revoke_lapsed(self, *, now: Millis, by: str) -> Sequence[Node]:
        """Delete the rows of nodes, other than ``by``, whose lease ended before ``now``."""

    async def rescue(
        self, *, now: Millis, decide: Rescuer, limit: int = 1_000
    ) -> Sequence[Execution]:
        """Apply ``decide`` to claimed executions whose owner has no row in ``nodes``.

        ``decide`` returns the whole row after (pending or ended). Returns them as stored.
        """

    async def claim(self, request: ClaimRequest, plan: Planner) -> Claimed:
        """Take due fires and due retries for a node, in one transaction.

        A claim that asks for nothing ahead goes before whatever else waits to be written: each
        moment that it waits, calls are late.

        Raises ``Revoked`` where the node has no row. Then, oldest due first but for
        ``fresh_part``, of jobs that are not busy:

        - timers of active jobs, due by ``ahead_until`` (by ``now`` for exact ones), in lanes that
          are not busy: ``plan`` is called with the job, its live executions (counted only for jobs
          whose overlap is not ``allow``, all zero otherwise) and a window whose ``room`` is what
          is left of the limit; the plan's rows are inserted, those whose id exists are dropped,
          the timer moves to ``plan.next``, and a job whose timer ends is completed (its version
          and ``updated_at`` stay: nobody has changed it). Replaced
          executions end as cancelled/replaced before the new ones are inserted; nothing is
          replaced where whatever the plan wants to run exists already.
        - pending executions whose ``available_at`` is reached (ahead likewise unless exact), in
          lanes that are not busy; a queued one only where nothing of its job is live but what is
          queued too, and later (by id); where this claim plans an older one, that goes in its
          place. They keep ``available_at`` as the instant at which they leave. Their claim carries
          the present definition of the job; where the state of the job forbids them
          (``domain.settle.void``) they end as cancelled instead.

        Each limit counts over both kinds. What takes no room (fire times that are skipped, say)
        is bounded too, and then there is ``more``.

        One bad job holds up no other: where ``plan`` raises, or a definition cannot be read, the
        error is logged and the job's timer and pending executions are left alone for a minute.
        """

    async def owned_versions(self, incarnation: str) -> dict[str, int]:
        """The ids of whatever is claimed by a node, each with its job's present version.

        Cheap beside ``owned``, for a node that holds most of it already. A job that is gone for
        good has version 0.
        """

    async def owned(
        self, incarnation: str, *, ids: Collection[str] | None = None
    ) -> Sequence[Claim]:
        """Whatever is claimed by a node, with the jobs' present definitions, by id.

        With ``ids``: of these only.
        """

    async def still_owned(self, incarnation: str, ids: Sequence[str]) -> set[str]:
        """Those of ``ids`` (1,000 at most) that are still claimed by a node.

        The others were cancelled, or taken away when the node was revoked.
        """

    async def give_back(self, incarnation: str, ids: Sequence[str], *, now: Millis) -> None:
        """Make claimed executions of this node pending again, as if never claimed.

        They are available from their old ``available_at``.
        """

    async def record(
        self, incarnation: str, results: Sequence[Execution], *, now: Millis, void: Voider
    ) -> Recorded:
        """Store what came of executions that this node owns: ended, or pending for a retry.

        Raises ``Revoked`` where the node has no row. A result counts only while its row is
        claimed by this incarnation, and only where it adds one attempt to it, or ends it with the
        attempts it has. One whose last attempt (by number, start and node) the row has already
        counts as stored and changes nothing, so that a batch of unknown outcome can be repeated.
        For pending results ``void`` may name a reason to end them as cancelled instead. Updates
        ``tallies`` and ``health``. One bad row (for example an answer that the database cannot
        store) is rejected alone.
        """

    # --- upkeep and statistics

    async def delete_history(self, *, before: Millis, limit: int) -> int:
        """Delete ended executions with a fire time before an instant, oldest first.

        Returns how many were deleted, ``limit`` at most. Also deletes tallies, requests that are
        more than 24 h older than ``before`` or than the newest request and, when their executions
        are gone, tombstones and their health (``limit`` and those of the deleted executions at
        most; the rest goes with the next call).
        """

    async def stats(
        self,
        *,
        since: Millis,
        now: Millis,
        next_fires: int = 10,
        namespace: str | None = None,
    ) -> Stats:
        """What ``/stats`` shows: of one namespace, or of all."""
