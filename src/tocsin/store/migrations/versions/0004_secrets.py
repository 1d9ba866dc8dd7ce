"""Secrets, and an index of the jobs that may use one."""

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None

_Name = sa.Text().with_variant(sa.Text(collation="C"), "postgresql")


def upgrade() -> None:
    op.create_index(
        "jobs_using_secrets",
        "jobs",
        ["namespace", "id"],
        sqlite_where=sa.text("instr(spec, 'secret') > 0"),
        postgresql_where=sa.text("strpos(spec, 'secret') > 0"),
    )
    op.create_table(
        "secrets",
        sa.Column("namespace", _Name, primary_key=True),
        sa.Column("name", _Name, primary_key=True),
        sa.Column("version", sa.Integer, nullable=False),
        sa.Column("created_at", sa.BigInteger, nullable=False),
        sa.Column("updated_at", sa.BigInteger, nullable=False),
        sa.Column("shown", sa.Boolean, nullable=False),
        sa.Column("previous_until", sa.BigInteger),
        sa.Column("sealed", sa.Text, nullable=False),
        sa.Column("previous_sealed", sa.Text),
        sqlite_with_rowid=False,
    )
