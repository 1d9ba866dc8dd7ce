"""Keys, sessions and the audit log."""

from typing import Any

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects.postgresql import UUID

revision = "0003"
down_revision = "0001"
branch_labels = None
depends_on = None

_Id = sa.Text().with_variant(UUID(as_uuid=False), "postgresql")
_Name = sa.Text().with_variant(sa.Text(collation="C"), "postgresql")


def _partial(condition: str) -> dict[str, Any]:
    return {"sqlite_where": sa.text(condition), "postgresql_where": sa.text(condition)}


def upgrade() -> None:
    op.create_table(
        "api_keys",
        sa.Column("id", _Id, primary_key=True),
        sa.Column("name", sa.Text, nullable=False),
        sa.Column("prefix", sa.Text, nullable=False),
        sa.Column("hash", _Name, nullable=False),
        sa.Column("role", sa.Text, nullable=False),
        sa.Column("namespace", _Name, nullable=False),
        sa.Column("tags", sa.Text),
        sa.Column("actions", sa.Text),
        sa.Column("rate_limit", sa.Text),
        sa.Column("origin", sa.Text, nullable=False),
        sa.Column("created_at", sa.BigInteger, nullable=False),
        sa.Column("created_by", sa.Text, nullable=False),
        sa.Column("expires_at", sa.BigInteger),
        sa.Column("last_used_at", sa.BigInteger),
        sa.Column("revoked_at", sa.BigInteger),
        sa.Column("old_hash", _Name),
        sa.Column("old_until", sa.BigInteger),
    )
    op.create_index("api_keys_hash", "api_keys", ["hash"], unique=True)
    op.create_index(
        "api_keys_old_hash", "api_keys", ["old_hash"], **_partial("old_hash IS NOT NULL")
    )
    op.create_index(
        "api_keys_first", "api_keys", ["origin"], unique=True, **_partial("origin = 'first'")
    )
    op.create_table(
        "sessions",
        sa.Column("hash", _Name, primary_key=True),
        sa.Column("key_id", _Id, nullable=False),
        sa.Column("key_hash", sa.Text, nullable=False),
        sa.Column("created_at", sa.BigInteger, nullable=False),
        sa.Column("expires_at", sa.BigInteger, nullable=False),
        sa.Column("address", sa.Text, nullable=False),
        sqlite_with_rowid=False,
    )
    op.create_index("sessions_expires", "sessions", ["expires_at"])
    op.create_table(
        "audit",
        sa.Column("id", _Id, primary_key=True),
        sa.Column("at", sa.BigInteger, nullable=False),
        sa.Column("namespace", _Name, nullable=False),
        sa.Column("actor_type", sa.Text, nullable=False),
        sa.Column("actor_id", sa.Text),
        sa.Column("actor_name", sa.Text, nullable=False),
        sa.Column("action", _Name, nullable=False),
        sa.Column("subject_type", sa.Text, nullable=False),
        sa.Column("subject_id", sa.Text),
        sa.Column("subject_name", sa.Text, nullable=False),
        sa.Column("address", sa.Text),
        sa.Column("before", sa.Text),
        sa.Column("after", sa.Text),
        sqlite_with_rowid=False,
    )
