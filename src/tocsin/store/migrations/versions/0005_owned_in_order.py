"""What a node owns, indexed in the order in which it came."""

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None

_CLAIMED = sa.text("state = 'claimed'")


def upgrade() -> None:
    op.drop_index("executions_owned", "executions")
    op.create_index(
        "executions_owned",
        "executions",
        ["owner", "state"],
        sqlite_where=_CLAIMED,
        postgresql_where=_CLAIMED,
    )
