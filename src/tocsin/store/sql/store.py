"""The port on a SQL database: each method is a function of this package in one transaction."""

from collections.abc import Callable, Collection, Sequence
from typing import Literal, Protocol, TypeVar

from sqlalchemy import Connection

from tocsin.domain.audit import AuditEntry
from tocsin.domain.errors import StoreError
from tocsin.domain.execution import Execution, Reason
from tocsin.domain.instant import MINUTE, Millis
from tocsin.domain.job import Job, Json
from tocsin.domain.planning import Timer
from tocsin.store.port import (
    Admitter,
    Claim,
    Claimed,
    ClaimRequest,
    Created,
    ExecutionQuery,
    JobQuery,
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
)
from tocsin.store.sql.access import SqlAccess
from tocsin.store.sql.audit import note
from tocsin.store.sql.claim import claim
from tocsin.store.sql.counters import usage
from tocsin.store.sql.execution_list import list_executions
from tocsin.store.sql.executions import (
    add_execution,
    cancel_executions,
    get_execution,
    last_planned,
)
from tocsin.store.sql.history import delete_history
from tocsin.store.sql.job_cache import JobCache
from tocsin.store.sql.job_list import list_jobs
from tocsin.store.sql.jobs import change_job, create_jobs, get_job, get_jobs
from tocsin.store.sql.ownership import (
    all_nodes,
    give_back,
    leave,
    owned,
    owned_versions,
    register,
    renew,
    rescue,
    revoke_lapsed,
    still_owned,
)
from tocsin.store.sql.record import record
from tocsin.store.sql.requests import find_request
from tocsin.store.sql.secrets import (
    delete_secret,
    list_secrets,
    put_secret,
    secret_uses,
    secrets_mark,
)
from tocsin.store.sql.sets import create_sets
from tocsin.store.sql.statements import Statements
from tocsin.store.sql.stats import stats

CACHED_JOBS = 20_000
"""Decoded definitions that are kept: about 50 MB where they are small and all different."""

PING = "ping"


SOON = 10 * MINUTE
"""New jobs that are due so soon after their creation are kept: they are decoded already. With
later ones a large batch would only push out what is in use."""


def _due_soon(new: Sequence[NewJob]) -> list[Job]:
    return [
        one.job
        for one in new
        if one.timer is not None and one.timer.due_at - one.job.created_at < SOON
    ]


def _concerns_all(error: Exception) -> bool:
    """Whether an error is that of the store; else it is that of what was to be stored."""
    return isinstance(error, StoreError) and type(error) is not StoreError


T = TypeVar("T")


class Database(Protocol):
    """Transactions on a database; each function is run in one of its own, whole or not at all."""

    async def open(self) -> None:
        """Get ready to connect."""

    async def close(self) -> None:
        """Let go of everything, after what is under way; safe to call twice."""

    def prepare(self, conn: Connection) -> None:
        """Check the schema at the opening; raises ``SchemaMismatch``."""

    async def write(self, work: Callable[[Connection], T]) -> T:
        """Run work that may write.

        It may be run again from its start where the database ended it for the sake of another.
        """

    async def write_first(self, work: Callable[[Connection], T]) -> T:
        """The same for the engine, whose work must not wait behind what users write."""

    async def write_at_once(self, work: Callable[[Connection], T]) -> T:
        """The same for short work for which calls wait: it goes before all that waits."""

    async def read(self, work: Callable[[Connection], T]) -> T:
        """Run work that only reads, and sees one state of the database."""

    async def renew(self, work: Callable[[Connection], T]) -> T:
        """Run work that keeps a lease, and must not wait behind other work."""


class SqlStore(SqlAccess):
    """A ``Store`` on a database that SQLAlchemy speaks to."""

    def __init__(
        self, database: Database, statements: Statements, *, cached_jobs: int = CACHED_JOBS
    ) -> None:
        self._db = database
        self._statements = statements
        self._cache = JobCache(cached_jobs)

    async def open(self) -> None:
        """Connect and check the schema."""
        await self._db.open()
        try:
            self._cache.forget()
            await self._db.write(self._db.prepare)
        except BaseException:
            await self.close()
            raise

    async def close(self) -> None:
        """Let go of files and connections."""
        await self._db.close()

    async def ping(self) -> None:
        """Prove that the store answers and that it can be written to."""
        await self._db.write_first(lambda conn: self._statements.add_to_counters(conn, {PING: 1}))

    # --- jobs

    async def create_jobs(
        self,
        jobs: Sequence[NewJob],
        *,
        limits: Limits,
        request: Request | None = None,
        audit: Sequence[AuditEntry] = (),
    ) -> Request | None:
        """Store new jobs, all or none."""

        def work(conn: Connection) -> Request | None:
            stored = create_jobs(conn, self._statements, jobs, limits=limits, request=request)
            if stored is None:
                note(conn, self._statements, audit)
            return stored

        taken = await self._db.write(work)
        if taken is None:
            self._cache.put(_due_soon(jobs))
        return taken

    async def create_sets(self, sets: Sequence[NewJobs], *, limits: Limits) -> Sequence[Created]:
        """Store the new jobs of several callers."""
        if len(sets) > 1:
            try:
                outcomes = await self._db.write(
                    lambda conn: create_sets(conn, self._statements, sets, limits=limits)
                )
            except Exception as error:
                if _concerns_all(error):
                    raise
            else:
                for one, outcome in zip(sets, outcomes, strict=True):
                    if outcome is None:
                        self._cache.put(_due_soon(one.jobs))
                return outcomes
        return [await self._create_alone(one, limits) for one in sets]

    async def _create_alone(self, one: NewJobs, limits: Limits) -> Created:
        try:
            return await self.create_jobs(
                one.jobs, limits=limits, request=one.request, audit=one.audit
            )
        except Exception as error:  # noqa: BLE001  # it is that of its caller
            return error

    async def find_request(self, namespace: str, operation: str, key: str) -> Request | None:
        """The stored request with this key."""
        return await self._db.read(lambda conn: find_request(conn, namespace, operation, key))

    async def get_job(self, namespace: str, ref: str, *, now: Millis) -> JobView | None:
        """The job with this id or name."""
        return await self._db.read(lambda conn: get_job(conn, self._cache, namespace, ref, now=now))

    async def get_jobs(self, ids: Sequence[str]) -> dict[str, Job]:
        """The jobs with these ids."""
        return await self._db.read(lambda conn: get_jobs(conn, self._statements, self._cache, ids))

    async def list_jobs(self, query: JobQuery) -> Page[JobView]:
        """A page of jobs."""
        return await self._db.read(lambda conn: list_jobs(conn, self._cache, query))

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
        """Replace a job and its timer."""

        def work(conn: Connection) -> Sequence[Execution] | None:
            ended = change_job(
                conn,
                self._statements,
                job,
                if_version=if_version,
                if_fire_at=if_fire_at,
                timer=timer,
                limits=limits,
                cancel_waiting=cancel_waiting,
                closing=closing,
                now=now,
            )
            if ended is not None:
                note(conn, self._statements, audit)
            return ended

        return await self._db.write(work)

    async def last_planned(self, job_id: str) -> Millis | None:
        """The latest fire time of the job that has an execution by schedule."""
        return await self._db.read(lambda conn: last_planned(conn, job_id))

    async def usage(self) -> Usage:
        """What the store holds of definitions."""
        return await self._db.read(usage)

    # --- secrets

    async def secrets_mark(self) -> str:
        """A text that changes whenever a secret does."""
        return await self._db.read(secrets_mark)

    async def list_secrets(self) -> Sequence[StoredSecret]:
        """All secrets."""
        return await self._db.read(list_secrets)

    async def put_secret(
        self,
        secret: StoredSecret,
        *,
        if_version: int | None,
        audit: Sequence[AuditEntry] = (),
    ) -> bool:
        """Store a secret, on condition that the stored one has this version."""

        def work(conn: Connection) -> bool:
            stored = put_secret(conn, secret, if_version=if_version)
            if stored:
                note(conn, self._statements, audit)
            return stored

        return await self._db.write(work)

    async def delete_secret(
        self, namespace: str, name: str, *, audit: Sequence[AuditEntry] = ()
    ) -> bool:
        """Delete a secret."""

        def work(conn: Connection) -> bool:
            found = delete_secret(conn, namespace, name)
            if found:
                note(conn, self._statements, audit)
            return found

        return await self._db.write(work)

    async def secret_uses(self, namespace: str) -> dict[str, int]:
        """How many jobs use each secret."""
        return await self._db.read(lambda conn: secret_uses(conn, namespace))

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
        """Store an execution that a person asked for."""
        return await self._db.write(
            lambda conn: add_execution(
                conn,
                self._statements,
                self._cache,
                execution,
                admit=admit,
                now=now,
                request=request,
                audit=audit,
            )
        )

    async def get_execution(self, execution_id: str) -> Execution | None:
        """One execution with its attempts."""
        return await self._db.read(lambda conn: get_execution(conn, execution_id))

    async def list_executions(self, query: ExecutionQuery) -> Page[Execution]:
        """A page of executions with their attempts."""
        return await self._db.read(lambda conn: list_executions(conn, query))

    async def cancel_executions(
        self,
        *,
        reason: Reason,
        now: Millis,
        execution_id: str | None = None,
        job_id: str | None = None,
        audit: Sequence[AuditEntry] = (),
    ) -> Sequence[Execution]:
        """End one execution, or all live ones of a job, as cancelled."""

        def work(conn: Connection) -> Sequence[Execution]:
            ended = cancel_executions(
                conn,
                self._statements,
                reason=reason,
                now=now,
                execution_id=execution_id,
                job_id=job_id,
            )
            if ended:
                note(conn, self._statements, audit)
            return ended

        return await self._db.write(work)

    # --- engine

    async def register(self, node: Node) -> None:
        """Add a node's row."""
        await self._db.renew(lambda conn: register(conn, self._statements, node))

    async def renew(
        self, incarnation: str, *, now: Millis, ttl: Millis, load: Json = None
    ) -> Millis | None:
        """Extend a lease."""
        return await self._db.renew(
            lambda conn: renew(conn, self._statements, incarnation, now=now, ttl=ttl, load=load)
        )

    async def leave(self, incarnation: str) -> None:
        """Remove a node's own row."""
        await self._db.write_first(lambda conn: leave(conn, incarnation))

    async def nodes(self) -> Sequence[Node]:
        """All nodes."""
        return await self._db.read(all_nodes)

    async def revoke_lapsed(self, *, now: Millis, by: str) -> Sequence[Node]:
        """Delete the rows of nodes whose lease ended."""
        return await self._db.write_first(
            lambda conn: revoke_lapsed(conn, self._statements, now=now, by=by)
        )

    async def rescue(
        self, *, now: Millis, decide: Rescuer, limit: int = 1_000
    ) -> Sequence[Execution]:
        """Apply ``decide`` to claimed executions whose owner has no row."""
        del now  # `decide` knows it
        return await self._db.write_first(
            lambda conn: rescue(conn, self._statements, self._cache, decide=decide, limit=limit)
        )

    async def claim(self, request: ClaimRequest, plan: Planner) -> Claimed:
        """Take due fires and due retries for a node."""
        db = self._db
        write = db.write_first if request.ahead_limit else db.write_at_once
        return await write(lambda conn: claim(conn, self._statements, self._cache, request, plan))

    async def owned_versions(self, incarnation: str) -> dict[str, int]:
        """The ids of whatever is claimed by a node, each with its job's present version."""
        return await self._db.read(lambda conn: owned_versions(conn, incarnation))

    async def owned(
        self, incarnation: str, *, ids: Collection[str] | None = None
    ) -> Sequence[Claim]:
        """Whatever is claimed by a node."""
        return await self._db.read(
            lambda conn: owned(conn, self._statements, self._cache, incarnation, ids)
        )

    async def still_owned(self, incarnation: str, ids: Sequence[str]) -> set[str]:
        """Those of ``ids`` that are still claimed by a node."""
        return await self._db.read(lambda conn: still_owned(conn, incarnation, ids))

    async def give_back(self, incarnation: str, ids: Sequence[str], *, now: Millis) -> None:
        """Make claimed executions of this node pending again."""
        del now  # nothing of it is kept
        await self._db.write_first(lambda conn: give_back(conn, incarnation, ids))

    async def record(
        self, incarnation: str, results: Sequence[Execution], *, now: Millis, void: Voider
    ) -> Recorded:
        """Store what came of executions that this node owns."""
        return await self._db.write_first(
            lambda conn: record(
                conn, self._statements, self._cache, incarnation, results, now=now, void=void
            )
        )

    # --- upkeep and statistics

    async def delete_history(self, *, before: Millis, limit: int) -> int:
        """Delete ended executions with a fire time before an instant."""
        return await self._db.write(lambda conn: delete_history(conn, before=before, limit=limit))

    async def stats(
        self,
        *,
        since: Millis,
        now: Millis,
        next_fires: int = 10,
        namespace: str | None = None,
    ) -> Stats:
        """What ``/stats`` shows."""
        del now  # nothing of it is in the future but timers
        return await self._db.read(
            lambda conn: stats(
                conn, self._cache, since=since, next_fires=next_fires, namespace=namespace
            )
        )
