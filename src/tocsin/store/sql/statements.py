"""The statements that each dialect writes itself, because they run per fire or in bulk.

Where several nodes write at once, transactions take their locks in this order, so that none waits
for another in a circle:

1. the row of ``nodes`` (``FOR KEY SHARE``: it cannot be revoked meanwhile),
2. ``requests`` of new jobs, by inserting them; then the turn near a limit (``take_turns``),
3. ``timers``, then ``jobs``: whoever changes a job locks its timer first,
4. ``executions`` by id, then ``requests`` of triggers,
5. ``tallies`` by minute, ``health`` by job,
6. ``counters`` by name.

The audit log is only added to, and nobody waits for it.

A claim locks retries before their jobs, and takes timers and retries as it finds them: it passes
over what is locked and waits for nobody.

Where two meet in a circle all the same (a cancellation and a repeated record, say), the database
ends one after its ``deadlock_timeout``, and that one is run again from its start.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from enum import Enum, auto
from typing import Any, NamedTuple, Protocol, TypeAlias, TypeVar

from sqlalchemy import Connection

from tocsin.domain.codec import attempts_to_json
from tocsin.domain.execution import Execution, State
from tocsin.domain.instant import Millis
from tocsin.domain.planning import Live, Timer
from tocsin.store.rows import Row, dump_json, last_error_kind

T = TypeVar("T")

DueTimer: TypeAlias = tuple[str, Millis, Millis, int, int]
"""``job_id, fire_at, due_at, lane``, then the version of the job."""


class Busy(NamedTuple):
    """What a claim passes over."""

    lanes: frozenset[int]
    jobs: frozenset[str]


class Stored(Enum):
    """What became of one row of a batch."""

    YES = auto()
    NOT_OURS = auto()
    """The row is not claimed by that owner, or has other attempts by now."""
    BAD = auto()
    """The database cannot hold it."""


SUCCESS_COLUMNS = ("finished_at", "attempt_count", "attempts", "id")
RESULT_COLUMNS = (
    "state",
    "finished_at",
    "queued",
    "owner",
    "available_at",
    "reason",
    "attempt_count",
    "error_kind",
    "attempts",
    "id",
)
"""What the rows of results begin with; the owner follows, then the attempts at least and at most
that the row must have.
"""


class Result(NamedTuple):
    """What a claimed execution becomes, and on which conditions."""

    owner: str
    """Whose claim it must be."""
    at_least: int
    at_most: int
    """The attempts that the row must have, so that a result that comes twice, and the second time
    after the row was claimed again, takes nothing back."""
    after: Execution

    @property
    def is_plain_success(self) -> bool:
        """Whether it is what nearly all are: then ``success_row`` says it all."""
        after = self.after
        attempts = after.attempts
        return (
            after.state is _SUCCEEDED
            and after.owner == self.owner
            and not after.queued
            and after.available_at is None
            and after.reason is None
            and len(attempts) > 0
            and attempts[-1].error_kind is None
        )

    def success_row(self) -> tuple[Any, ...]:
        """What a plain success changes, its id, and the conditions, as in ``SUCCESS_COLUMNS``."""
        after = self.after
        attempts = after.attempts
        return (
            after.finished_at,
            len(attempts),
            dump_json(attempts_to_json(attempts)),
            after.id,
            self.owner,
            self.at_least,
            self.at_most,
        )

    def row(self) -> tuple[Any, ...]:
        """What any result changes, its id, and the conditions, as in ``RESULT_COLUMNS``."""
        after = self.after
        attempts = after.attempts
        return (
            after.state._value_,
            after.finished_at,
            after.queued,
            after.owner,
            after.available_at,
            None if after.reason is None else after.reason._value_,
            len(attempts),
            last_error_kind(after),
            dump_json(attempts_to_json(attempts)) if attempts else None,
            after.id,
            self.owner,
            self.at_least,
            self.at_most,
        )


# In Python 3.11 it takes as long to look up a member of an enumeration as to call a function.
_SUCCEEDED = State.SUCCEEDED


class NextDue(NamedTuple):
    """The earliest instants of what may be claimed ahead, and of what is claimed at its instant."""

    ahead: Millis | None
    exact: Millis | None

    @property
    def any(self) -> Millis | None:
        """The earlier of both."""
        return min((at for at in self if at is not None), default=None)


def next_due_of(
    alternating: Sequence[T],
    kinds: Sequence[bool],
    read: Callable[[T], Iterable[Millis | None]],
) -> NextDue:
    """The earliest of these kinds, of sources of not exact ones and of exact ones in turns.

    Those of other kinds are not read.
    """

    def earliest(exact: bool) -> Millis | None:
        sources = alternating[exact::2] if exact in kinds else ()
        return min((at for one in sources for at in read(one) if at is not None), default=None)

    return NextDue(earliest(False), earliest(True))


class Statements(Protocol):
    """Batches in, batches out; whatever is decided is decided by the callers.

    Where several nodes write at once (PostgreSQL), what is read for a change is locked by the
    statement that reads it, and rows that another holds are passed over.
    """

    def add_to_counters(self, conn: Connection, changes: Mapping[str, int]) -> None:
        """Add to counters, new or not, in the shard of this process."""

    def take_turns(self, conn: Connection) -> bool:
        """Wait for others that called this until they commit, where there can be any."""

    # --- nodes

    def time(self, conn: Connection) -> Millis | None:
        """The database's own clock, where nodes on several machines share it for their leases."""

    # --- claim

    def node_exists(self, conn: Connection, incarnation: str) -> bool:
        """Whether a node has its row; it stays until the end of the transaction."""

    def due_timers(
        self,
        conn: Connection,
        *,
        exact: bool,
        until: Millis,
        busy: Busy,
        limit: int,
        newest: bool = False,
    ) -> Sequence[DueTimer]:
        """Timers of active jobs, earliest due first, ties by job id; or ``newest`` first."""

    def due_executions(
        self,
        conn: Connection,
        *,
        exact: bool,
        until: Millis,
        busy: Busy,
        limit: int,
        newest: bool = False,
    ) -> Sequence[Row]:
        """Pending executions that are not queued, earliest first, ties by id; or ``newest`` first.

        Each row is ``EXECUTION_COLUMNS``, then the version of the job.
        """

    def due_queued(self, conn: Connection, *, now: Millis, busy: Busy, limit: int) -> Sequence[Row]:
        """The oldest queued execution of each job, where nothing else of the job is live.

        Rows as in ``due_executions``.
        """

    def next_due(
        self, conn: Connection, *, after: Millis, busy: frozenset[int], kinds: Sequence[bool]
    ) -> NextDue:
        """The earliest due instant of a timer or of a waiting execution that is later.

        Of those that are exact and of those that are not, as ``kinds`` has both or one of them.
        May name an earlier instant where there is a long run of busy lanes: a vain look costs
        less than to read on.
        """

    def lock_live(self, conn: Connection, job_ids: Sequence[str]) -> None:
        """Lock what is live of jobs, in the order in which results are stored."""

    def live_counts(self, conn: Connection, job_ids: Sequence[str]) -> dict[str, Live]:
        """What is live of jobs; those without any are left out."""

    def insert_executions(self, conn: Connection, executions: Sequence[Execution]) -> set[str]:
        """Add executions; the ids of those that existed and were left alone."""

    def move_timers(self, conn: Connection, moves: Iterable[tuple[Timer, Millis]]) -> None:
        """Replace timers, each on condition that it still has the given ``fire_at``."""

    def end_timers(self, conn: Connection, ids: Sequence[str]) -> None:
        """Delete timers by job id, which ``due_timers`` has read: nobody has moved them since."""

    def take(self, conn: Connection, incarnation: str, ids: Sequence[str]) -> None:
        """Make pending executions claimed."""

    # --- record

    def store_results(self, conn: Connection, results: Sequence[Result]) -> list[Stored]:
        """Write executions, each where its conditions hold."""

    def read_tally(self, conn: Connection, minute: Millis, node: str) -> str | None:
        """The stored tally, locked until the end of the transaction."""

    def write_tally(self, conn: Connection, minute: Millis, node: str, data: str) -> None:
        """Store a tally, new or not."""

    def set_health(self, conn: Connection, rows: Sequence[tuple[str, State, Millis]]) -> None:
        """Note the last states of jobs; those that have it already stay as they are."""

    # --- jobs

    def jobs(self, conn: Connection, ids: Sequence[str]) -> Sequence[Row]:
        """Jobs by id, deleted ones too, as ``READ_JOB_COLUMNS``."""

    def insert_jobs(self, conn: Connection, rows: Sequence[Row]) -> bool:
        """Add rows of ``jobs``; ``False``, and none is added, where an id or a name is taken."""

    def replace_job(self, conn: Connection, row: Row) -> bool:
        """Replace a row of ``jobs``; ``False`` and nothing is changed where its name is taken."""

    def insert_tags(self, conn: Connection, rows: Sequence[tuple[str, str]]) -> None:
        """Add rows ``(tag, job_id)``."""

    def insert_timers(self, conn: Connection, rows: Sequence[Row]) -> None:
        """Add rows of ``timers``."""

    # --- audit

    def insert_audit(self, conn: Connection, rows: Sequence[Row]) -> None:
        """Add rows of ``audit``."""
