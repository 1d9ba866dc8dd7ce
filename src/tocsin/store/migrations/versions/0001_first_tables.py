"""The first tables."""

from typing import Any

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects.postgresql import UUID

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None

_Id = sa.Text().with_variant(UUID(as_uuid=False), "postgresql")
_Name = sa.Text().with_variant(sa.Text(collation="C"), "postgresql")


def _partial(condition: str) -> dict[str, Any]:
    return {"sqlite_where": sa.text(condition), "postgresql_where": sa.text(condition)}


def upgrade() -> None:
    op.create_table(
        "jobs",
        sa.Column("id", _Id, primary_key=True),
        sa.Column("namespace", _Name, nullable=False),
        sa.Column("name", _Name, nullable=False),
        sa.Column("kind", sa.Text, nullable=False),
        sa.Column("status", sa.Text, nullable=False),
        sa.Column("version", sa.Integer, nullable=False),
        sa.Column("created_at", sa.BigInteger, nullable=False),
        sa.Column("updated_at", sa.BigInteger, nullable=False),
        sa.Column("size", sa.Integer, nullable=False),
        sa.Column("search", sa.Text, nullable=False),
        sa.Column("spec", sa.Text, nullable=False),
    )
    op.create_index(
        "jobs_name", "jobs", ["namespace", "name"], unique=True, **_partial("status <> 'deleted'")
    )
    op.create_index("jobs_created", "jobs", ["namespace", "created_at", "id"])
    op.create_index("jobs_updated", "jobs", ["namespace", "updated_at", "id"])
    op.create_index(
        "jobs_set_aside",
        "jobs",
        ["namespace", "status", "id"],
        **_partial("status IN ('paused', 'cancelled')"),
    )
    op.create_index("jobs_deleted", "jobs", ["updated_at", "id"], **_partial("status = 'deleted'"))

    op.create_table(
        "job_tags",
        sa.Column("tag", _Name, primary_key=True),
        sa.Column("job_id", _Id, primary_key=True),
        sqlite_with_rowid=False,
    )
    op.create_table(
        "health",
        sa.Column("job_id", _Id, primary_key=True),
        sa.Column("last_state", sa.Text, nullable=False),
        sa.Column("since", sa.BigInteger, nullable=False),
        sqlite_with_rowid=False,
    )
    op.create_index("health_failing", "health", ["job_id"], **_partial("last_state = 'failed'"))

    op.create_table(
        "timers",
        sa.Column("job_id", _Id, primary_key=True),
        sa.Column("fire_at", sa.BigInteger, nullable=False),
        sa.Column("due_at", sa.BigInteger, nullable=False),
        sa.Column("lane", sa.SmallInteger, nullable=False),
        sa.Column("exact", sa.Boolean, nullable=False),
        sqlite_with_rowid=False,
    )
    op.create_index("timers_due", "timers", ["exact", "due_at", "job_id", "lane", "fire_at"])
    op.create_index("timers_fire", "timers", ["fire_at", "job_id"])

    op.create_table(
        "executions",
        sa.Column("id", _Id, primary_key=True),
        sa.Column("job_id", _Id, nullable=False),
        sa.Column("state", sa.Text, nullable=False),
        sa.Column("finished_at", sa.BigInteger),
        sa.Column("queued", sa.Boolean, nullable=False),
        sa.Column("owner", _Name),
        sa.Column("available_at", sa.BigInteger),
        sa.Column("lane", sa.SmallInteger, nullable=False),
        sa.Column("exact", sa.Boolean, nullable=False),
        sa.Column("reason", sa.Text),
        sa.Column("fire_time", sa.BigInteger, nullable=False),
        sa.Column("due", sa.BigInteger, nullable=False),
        sa.Column("trigger", sa.Text, nullable=False),
        sa.Column("namespace", sa.Text, nullable=False),
        sa.Column("job_name", sa.Text, nullable=False),
        sa.Column("job_version", sa.Integer, nullable=False),
        sa.Column("retry_of", _Id),
        sa.Column("skipped_until", sa.BigInteger),
        sa.Column("skipped_count", sa.Integer),
        sa.Column("attempt_count", sa.Integer, nullable=False),
        sa.Column("error_kind", sa.Text),
        sa.Column("input", sa.Text),
        sa.Column("attempts", sa.Text),
        postgresql_partition_by="RANGE (id)",
    )
    if op.get_bind().dialect.name == "postgresql":
        op.execute("CREATE TABLE executions_default PARTITION OF executions DEFAULT")
    op.create_index("executions_job", "executions", ["job_id", "id"])
    op.create_index(
        "executions_live",
        "executions",
        ["job_id", "id", "finished_at"],
        **_partial("finished_at IS NULL"),
    )
    op.create_index(
        "executions_owned",
        "executions",
        ["owner", "id", "state"],
        **_partial("state = 'claimed'"),
    )
    op.create_index(
        "executions_waiting",
        "executions",
        ["exact", "available_at", "id", "lane"],
        **_partial("state = 'pending' AND NOT queued"),
    )
    op.create_index(
        "executions_queued",
        "executions",
        ["job_id", "id"],
        **_partial("state = 'pending' AND queued"),
    )
    notable = "finished_at IS NOT NULL AND state <> 'succeeded'"
    op.create_index("executions_notable", "executions", ["state", "id"], **_partial(notable))
    op.create_index(
        "executions_notable_job", "executions", ["job_id", "state", "id"], **_partial(notable)
    )

    op.create_table(
        "nodes",
        sa.Column("incarnation", _Name, primary_key=True),
        sa.Column("name", _Name, nullable=False),
        sa.Column("address", sa.Text, nullable=False),
        sa.Column("version", sa.Text, nullable=False),
        sa.Column("started_at", sa.BigInteger, nullable=False),
        sa.Column("heartbeat_at", sa.BigInteger, nullable=False),
        sa.Column("lease_until", sa.BigInteger, nullable=False),
        sa.Column("load", sa.Text),
        sqlite_with_rowid=False,
    )
    op.create_table(
        "tallies",
        sa.Column("minute", sa.BigInteger, primary_key=True, autoincrement=False),
        sa.Column("node", sa.Text, primary_key=True),
        sa.Column("data", sa.Text, nullable=False),
        sqlite_with_rowid=False,
    )
    op.create_table(
        "requests",
        sa.Column("namespace", sa.Text, primary_key=True),
        sa.Column("operation", sa.Text, primary_key=True),
        sa.Column("key", sa.Text, primary_key=True),
        sa.Column("fingerprint", sa.Text, nullable=False),
        sa.Column("result", sa.Text, nullable=False),
        sa.Column("created_at", sa.BigInteger, nullable=False),
        sqlite_with_rowid=False,
    )
    op.create_index("requests_created", "requests", ["created_at"])
    op.create_table(
        "counters",
        sa.Column("shard", sa.SmallInteger, primary_key=True, autoincrement=False),
        sa.Column("name", sa.Text, primary_key=True),
        sa.Column("value", sa.BigInteger, nullable=False),
        sqlite_with_rowid=False,
    )
