"""What came back: answers with scores, comments, deliveries, and what reminders have to know."""

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None

_INSTANT = sa.DateTime(timezone=True)


def upgrade() -> None:
    """Extends answers; creates comments, deliveries, refreshes, sightings and consents; finds sends by their time."""
    _answers()
    op.create_index("ix_sends_claimed_at", "sends", ["claimed_at"])
    op.create_table(
        "comments",
        sa.Column("send_id", sa.String(32), primary_key=True),
        sa.Column("comment", sa.String, nullable=False),
    )
    op.create_table(
        "deliveries",
        sa.Column("send_id", sa.String(32), primary_key=True),
        sa.Column("status", sa.String, primary_key=True),
        sa.Column("at", _INSTANT, nullable=False),
    )
    op.create_table(
        "refreshes",
        sa.Column("source", sa.String, primary_key=True),
        sa.Column("refreshed_at", _INSTANT, nullable=False),
        sa.Column("cursor", _INSTANT),
    )
    op.create_table(
        "sightings",
        sa.Column("cohort_date", sa.Date, primary_key=True),
        sa.Column("hospital", sa.String, primary_key=True),
        sa.Column("database", sa.String, primary_key=True),
        sa.Column("encounter_id", sa.BigInteger, primary_key=True, autoincrement=False),
        sa.Column("person_key", sa.String, primary_key=True),
        sa.Column("died", sa.Boolean, nullable=False),
    )
    op.create_index("ix_sightings_person", "sightings", ["person_key", "cohort_date"])
    op.create_table(
        "consents",
        sa.Column("person_key", sa.String, primary_key=True),
        sa.Column("channel", sa.String, primary_key=True),
        sa.Column("source", sa.String, nullable=False),
        sa.Column("given_at", sa.Date, nullable=False),
        sa.Column("text_version", sa.String, nullable=False),
        sa.Column("recorded_at", _INSTANT, nullable=False),
    )


def _answers() -> None:
    with op.batch_alter_table("answers") as batch:
        batch.add_column(sa.Column("score", sa.Integer))
        batch.add_column(sa.Column("interaction_id", sa.String))
        batch.add_column(sa.Column("received_at", _INSTANT))
    op.execute("UPDATE answers SET received_at = answered_at")
    with op.batch_alter_table("answers") as batch:
        batch.alter_column("received_at", nullable=False)
