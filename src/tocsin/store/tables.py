"""The tables, described once for SQLite and PostgreSQL.

Instants are milliseconds in 64-bit integers. Ids of jobs and executions are UUIDs in their
canonical text (native on PostgreSQL), so both dialects sort them alike. Definitions, attempts and
other JSON are text that the program reads and writes as a whole; nothing in SQL looks inside.

The conditions of partial indexes are constants here because SQLite uses such an index only where
a query repeats its condition word for word. They compare, and do not say ``IN`` with more than
two values: that costs 5 µs per written row.
"""

from sqlalchemy import (
    BigInteger,
    Boolean,
    Column,
    Index,
    Integer,
    MetaData,
    SmallInteger,
    Table,
    Text,
    text,
)
from sqlalchemy.dialects.postgresql import UUID

metadata = MetaData()

_Id = Text().with_variant(UUID(as_uuid=False), "postgresql")
_Name = Text().with_variant(Text(collation="C"), "postgresql")
"""Text that is sorted or compared, as bytes, whatever the database's language."""

# --- jobs ---------------------------------------------------------------------------------------

NOT_DELETED = "status <> 'deleted'"
DELETED = "status = 'deleted'"
SET_ASIDE = "status IN ('paused', 'cancelled')"
"""Statuses that few jobs have, so that it pays to find these jobs by them."""
PRESENT_STATUS = """CASE
    WHEN jobs.status = 'active'
      AND (SELECT own.fire_at FROM timers own WHERE own.job_id = jobs.id) IS NULL
    THEN 'completed' ELSE jobs.status END"""
"""The status of a job, which is not always what its row says: an active one whose last timer has
ended is completed. To write that down would be to rewrite a definition with each one-shot fire.
(Not ``EXISTS``: for that PostgreSQL may read all timers.)"""

jobs = Table(
    "jobs",
    metadata,
    Column("id", _Id, primary_key=True),
    Column("namespace", _Name, nullable=False),
    Column("name", _Name, nullable=False),
    Column("kind", Text, nullable=False),
    Column("status", Text, nullable=False),
    Column("version", Integer, nullable=False),
    Column("created_at", BigInteger, nullable=False),
    Column("updated_at", BigInteger, nullable=False),
    # Bytes of the definition, as `Usage` counts them.
    Column("size", Integer, nullable=False),
    # What the text filter looks at, case-folded.
    Column("search", Text, nullable=False),
    Column("spec", Text, nullable=False),
)
# Unique among the living: the name of a tombstone is free.
Index(
    "jobs_name",
    jobs.c.namespace,
    jobs.c.name,
    unique=True,
    sqlite_where=text(NOT_DELETED),
    postgresql_where=text(NOT_DELETED),
)
Index("jobs_created", jobs.c.namespace, jobs.c.created_at, jobs.c.id)
Index("jobs_updated", jobs.c.namespace, jobs.c.updated_at, jobs.c.id)
Index(
    "jobs_set_aside",
    jobs.c.namespace,
    jobs.c.status,
    jobs.c.id,
    sqlite_where=text(SET_ASIDE),
    postgresql_where=text(SET_ASIDE),
)
Index(
    "jobs_deleted",
    jobs.c.updated_at,
    jobs.c.id,
    sqlite_where=text(DELETED),
    postgresql_where=text(DELETED),
)

USES_SECRET = "instr(spec, 'secret') > 0"  # noqa: S105  # a condition
USES_SECRET_POSTGRES = "strpos(spec, 'secret') > 0"  # noqa: S105
"""Definitions that may use a secret: few among many."""

Index(
    "jobs_using_secrets",
    jobs.c.namespace,
    jobs.c.id,
    sqlite_where=text(USES_SECRET),
    postgresql_where=text(USES_SECRET_POSTGRES),
)

job_tags = Table(
    "job_tags",
    metadata,
    Column("tag", _Name, primary_key=True),
    Column("job_id", _Id, primary_key=True),
    sqlite_with_rowid=False,
)

FAILING = "last_state = 'failed'"

health = Table(
    "health",
    metadata,
    Column("job_id", _Id, primary_key=True),
    Column("last_state", Text, nullable=False),
    Column("since", BigInteger, nullable=False),
    sqlite_with_rowid=False,
)
Index("health_failing", health.c.job_id, sqlite_where=text(FAILING), postgresql_where=text(FAILING))

# --- fires --------------------------------------------------------------------------------------

timers = Table(
    "timers",
    metadata,
    Column("job_id", _Id, primary_key=True),
    Column("fire_at", BigInteger, nullable=False),
    Column("due_at", BigInteger, nullable=False),
    Column("lane", SmallInteger, nullable=False),
    Column("exact", Boolean, nullable=False),
    sqlite_with_rowid=False,
)
# A claim reads its timers from this index alone, in the order in which it plans them.
Index(
    "timers_due",
    timers.c.exact,
    timers.c.due_at,
    timers.c.job_id,
    timers.c.lane,
    timers.c.fire_at,
)
# For lists of jobs by their next fire.
Index("timers_fire", timers.c.fire_at, timers.c.job_id)

LIVE = "finished_at IS NULL"
"""Claimed or pending."""
CLAIMED = "state = 'claimed'"
WAITING = "state = 'pending' AND NOT queued"
QUEUED = "state = 'pending' AND queued"
NOTABLE = "finished_at IS NOT NULL AND state <> 'succeeded'"
"""Failed, cancelled or skipped: few among many, and what people look for."""

executions = Table(
    "executions",
    metadata,
    Column("id", _Id, primary_key=True),
    Column("job_id", _Id, nullable=False),
    # What changes and what indexes look at comes first: reading it skips over the rest.
    Column("state", Text, nullable=False),
    Column("finished_at", BigInteger),
    Column("queued", Boolean, nullable=False),
    Column("owner", _Name),
    Column("available_at", BigInteger),
    Column("lane", SmallInteger, nullable=False),
    Column("exact", Boolean, nullable=False),
    Column("reason", Text),
    Column("fire_time", BigInteger, nullable=False),
    Column("due", BigInteger, nullable=False),
    Column("trigger", Text, nullable=False),
    Column("namespace", Text, nullable=False),
    Column("job_name", Text, nullable=False),
    Column("job_version", Integer, nullable=False),
    Column("retry_of", _Id),
    Column("skipped_until", BigInteger),
    Column("skipped_count", Integer),
    Column("attempt_count", Integer, nullable=False),
    # Of the last attempt.
    Column("error_kind", Text),
    Column("input", Text),
    Column("attempts", Text),
    # A table per day: see postgres/partitions.py.
    postgresql_partition_by="RANGE (id)",
)
Index("executions_job", executions.c.job_id, executions.c.id)
# These two hold what their conditions look at, so that counting reads nothing else. Within an owner
# the second is in the order of the rows themselves, as a claim adds them and their results come. By
# id it would be in no order at all, and each result would change a page of its own.
Index(
    "executions_live",
    executions.c.job_id,
    executions.c.id,
    executions.c.finished_at,
    sqlite_where=text(LIVE),
    postgresql_where=text(LIVE),
)
Index(
    "executions_owned",
    executions.c.owner,
    executions.c.state,
    sqlite_where=text(CLAIMED),
    postgresql_where=text(CLAIMED),
)
Index(
    "executions_waiting",
    executions.c.exact,
    executions.c.available_at,
    executions.c.id,
    executions.c.lane,
    sqlite_where=text(WAITING),
    postgresql_where=text(WAITING),
)
Index(
    "executions_queued",
    executions.c.job_id,
    executions.c.id,
    sqlite_where=text(QUEUED),
    postgresql_where=text(QUEUED),
)
Index(
    "executions_notable",
    executions.c.state,
    executions.c.id,
    sqlite_where=text(NOTABLE),
    postgresql_where=text(NOTABLE),
)
Index(
    "executions_notable_job",
    executions.c.job_id,
    executions.c.state,
    executions.c.id,
    sqlite_where=text(NOTABLE),
    postgresql_where=text(NOTABLE),
)

# --- nodes and the rest -------------------------------------------------------------------------

nodes = Table(
    "nodes",
    metadata,
    Column("incarnation", _Name, primary_key=True),
    Column("name", _Name, nullable=False),
    Column("address", Text, nullable=False),
    Column("version", Text, nullable=False),
    Column("started_at", BigInteger, nullable=False),
    Column("heartbeat_at", BigInteger, nullable=False),
    Column("lease_until", BigInteger, nullable=False),
    Column("load", Text),
    sqlite_with_rowid=False,
)

tallies = Table(
    "tallies",
    metadata,
    Column("minute", BigInteger, primary_key=True, autoincrement=False),
    # The incarnation that counted; empty for what was ended by no node (by hand, by a rescue).
    # What is in another namespace than `default` is counted apart: with `@` and its name.
    Column("node", Text, primary_key=True),
    Column("data", Text, nullable=False),
    sqlite_with_rowid=False,
)

requests = Table(
    "requests",
    metadata,
    Column("namespace", Text, primary_key=True),
    Column("operation", Text, primary_key=True),
    Column("key", Text, primary_key=True),
    Column("fingerprint", Text, nullable=False),
    Column("result", Text, nullable=False),
    Column("created_at", BigInteger, nullable=False),
    sqlite_with_rowid=False,
)
Index("requests_created", requests.c.created_at)

counters = Table(
    "counters",
    metadata,
    # Where many nodes write, each adds to its own shard and a reader sums them up.
    Column("shard", SmallInteger, primary_key=True, autoincrement=False),
    # Of another namespace than `default`: with `@` and its name.
    Column("name", Text, primary_key=True),
    Column("value", BigInteger, nullable=False),
    sqlite_with_rowid=False,
)

# --- access -------------------------------------------------------------------------------------

ROTATED = "old_hash IS NOT NULL"
FIRST = "origin = 'first'"

api_keys = Table(
    "api_keys",
    metadata,
    Column("id", _Id, primary_key=True),
    Column("name", Text, nullable=False),
    Column("prefix", Text, nullable=False),
    Column("hash", _Name, nullable=False),
    Column("role", Text, nullable=False),
    Column("namespace", _Name, nullable=False),
    Column("tags", Text),
    Column("actions", Text),
    Column("rate_limit", Text),
    Column("origin", Text, nullable=False),
    Column("created_at", BigInteger, nullable=False),
    Column("created_by", Text, nullable=False),
    Column("expires_at", BigInteger),
    Column("last_used_at", BigInteger),
    Column("revoked_at", BigInteger),
    Column("old_hash", _Name),
    Column("old_until", BigInteger),
)
Index("api_keys_hash", api_keys.c.hash, unique=True)
Index(
    "api_keys_old_hash",
    api_keys.c.old_hash,
    sqlite_where=text(ROTATED),
    postgresql_where=text(ROTATED),
)
# However many nodes start at once on an empty database, one of them makes the first key.
Index(
    "api_keys_first",
    api_keys.c.origin,
    unique=True,
    sqlite_where=text(FIRST),
    postgresql_where=text(FIRST),
)

sessions = Table(
    "sessions",
    metadata,
    Column("hash", _Name, primary_key=True),
    Column("key_id", _Id, nullable=False),
    Column("key_hash", Text, nullable=False),
    Column("created_at", BigInteger, nullable=False),
    Column("expires_at", BigInteger, nullable=False),
    Column("address", Text, nullable=False),
    sqlite_with_rowid=False,
)
Index("sessions_expires", sessions.c.expires_at)

# Written with every change and read seldom, so it has no index but its ids, which sort by time.
audit = Table(
    "audit",
    metadata,
    Column("id", _Id, primary_key=True),
    Column("at", BigInteger, nullable=False),
    Column("namespace", _Name, nullable=False),
    Column("actor_type", Text, nullable=False),
    Column("actor_id", Text),
    Column("actor_name", Text, nullable=False),
    Column("action", _Name, nullable=False),
    Column("subject_type", Text, nullable=False),
    Column("subject_id", Text),
    Column("subject_name", Text, nullable=False),
    Column("address", Text),
    Column("before", Text),
    Column("after", Text),
    sqlite_with_rowid=False,
)

# --- secrets ------------------------------------------------------------------------------------

secrets = Table(
    "secrets",
    metadata,
    Column("namespace", _Name, primary_key=True),
    Column("name", _Name, primary_key=True),
    Column("version", Integer, nullable=False),
    Column("created_at", BigInteger, nullable=False),
    Column("updated_at", BigInteger, nullable=False),
    Column("shown", Boolean, nullable=False),
    Column("previous_until", BigInteger),
    # Encrypted: nothing in the database can be read without the master key.
    Column("sealed", Text, nullable=False),
    Column("previous_sealed", Text),
    sqlite_with_rowid=False,
)
