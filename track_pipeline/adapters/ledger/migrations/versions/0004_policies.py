"""The policies that anything was sent under: legal basis, fields that left, limits."""

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Creates policies."""
    op.create_table(
        "policies",
        sa.Column("version", sa.String, primary_key=True),
        sa.Column("document", sa.String, nullable=False),
        sa.Column("first_used_at", sa.DateTime(timezone=True), nullable=False),
    )
