"""The first ledger."""

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None

_INSTANT = sa.DateTime(timezone=True)
_ROW_ID = sa.BigInteger().with_variant(sa.Integer, "sqlite")


def upgrade() -> None:
    """Creates sends, encounters, extracts, decisions, opt_outs, answers and pauses."""
    _sends()
    _encounters()
    _decisions()
    _opt_outs()
    op.create_table(
        "extracts",
        sa.Column("hospital", sa.String, primary_key=True),
        sa.Column("cohort_date", sa.Date, primary_key=True),
        sa.Column("area", sa.String, primary_key=True),
        sa.Column("rows", sa.Integer, nullable=False),
        sa.Column("extracted_at", _INSTANT, nullable=False),
    )
    op.create_table(
        "answers",
        sa.Column("send_id", sa.String(32), primary_key=True),
        sa.Column("answered_at", _INSTANT, nullable=False),
    )
    op.create_table(
        "pauses",
        sa.Column("scope", sa.String, primary_key=True),
        sa.Column("reason", sa.String, nullable=False),
        sa.Column("source", sa.String, nullable=False),
        sa.Column("since", _INSTANT, nullable=False),
    )


def _sends() -> None:
    op.create_table(
        "sends",
        sa.Column("send_id", sa.String(32), primary_key=True),
        sa.Column("hospital", sa.String, nullable=False),
        sa.Column("database", sa.String, nullable=False),
        sa.Column("encounter_id", sa.BigInteger, nullable=False),
        sa.Column("unit", sa.String, nullable=False),
        sa.Column("area", sa.String, nullable=False),
        sa.Column("setor", sa.String, nullable=False),
        sa.Column("survey_uuid", sa.String, nullable=False),
        sa.Column("wave", sa.String, nullable=False),
        sa.Column("channel", sa.String, nullable=False),
        sa.Column("cohort_date", sa.Date, nullable=False),
        sa.Column("extra", sa.Boolean, nullable=False),
        sa.Column("state", sa.String, nullable=False),
        sa.Column("reason", sa.String, nullable=False),
        sa.Column("cpf_key", sa.String),
        sa.Column("phone_key", sa.String),
        sa.Column("email_key", sa.String),
        sa.Column("batch_id", sa.String(32), nullable=False),
        sa.Column("distribution_id", sa.String),
        sa.Column("run_id", sa.String, nullable=False),
        sa.Column("policy_version", sa.String, nullable=False),
        sa.Column("rules_version", sa.String, nullable=False),
        sa.Column("claimed_at", _INSTANT, nullable=False),
        sa.Column("settled_at", _INSTANT),
        sa.UniqueConstraint(
            "hospital", "encounter_id", "database", "survey_uuid", "wave", "channel", name="uq_sends_once"
        ),
    )
    op.create_index("ix_sends_partition", "sends", ["cohort_date", "hospital", "wave"])
    op.create_index("ix_sends_cpf_key", "sends", ["cpf_key"])
    op.create_index("ix_sends_phone_key", "sends", ["phone_key"])
    op.create_index("ix_sends_email_key", "sends", ["email_key"])
    _create_partial_index("ix_sends_open", "sends", ["cohort_date"], "state IN ('claimed', 'unknown')")


def _encounters() -> None:
    op.create_table(
        "encounters",
        sa.Column("hospital", sa.String, primary_key=True),
        sa.Column("cohort_date", sa.Date, primary_key=True),
        sa.Column("area", sa.String, primary_key=True),
        sa.Column("database", sa.String, primary_key=True),
        sa.Column("encounter_id", sa.BigInteger, primary_key=True, autoincrement=False),
        sa.Column("unit", sa.String, nullable=False),
        sa.Column("setor", sa.String, nullable=False),
        sa.Column("survey_uuid", sa.String, nullable=False),
        sa.Column("channel", sa.String, nullable=False),
        sa.Column("result", sa.String, nullable=False),
        sa.Column("reason", sa.String, nullable=False),
        sa.Column("rule", sa.String, nullable=False),
        sa.Column("rules_version", sa.String, nullable=False),
        sa.Column("policy_version", sa.String, nullable=False),
        sa.Column("held", sa.String, nullable=False),
        sa.Column("updated_at", _INSTANT, nullable=False),
    )
    op.create_index("ix_encounters_encounter", "encounters", ["hospital", "encounter_id"])
    op.create_index("ix_encounters_date", "encounters", ["cohort_date"])


def _decisions() -> None:
    op.create_table(
        "decisions",
        sa.Column("id", _ROW_ID, primary_key=True),
        sa.Column("hospital", sa.String, nullable=False),
        sa.Column("database", sa.String, nullable=False),
        sa.Column("encounter_id", sa.BigInteger, nullable=False),
        sa.Column("cohort_date", sa.Date, nullable=False),
        sa.Column("step", sa.String, nullable=False),
        sa.Column("result", sa.String, nullable=False),
        sa.Column("reason", sa.String, nullable=False),
        sa.Column("rule", sa.String, nullable=False),
        sa.Column("version", sa.String, nullable=False),
        sa.Column("at", _INSTANT, nullable=False),
        sa.UniqueConstraint(
            "hospital", "encounter_id", "database", "cohort_date", "step", "result", "reason", "rule", "version",
            name="uq_decisions_once",
        ),
    )  # fmt: skip


def _opt_outs() -> None:
    op.create_table(
        "opt_outs",
        sa.Column("id", _ROW_ID, primary_key=True),
        sa.Column("person_key", sa.String, nullable=False),
        sa.Column("channel", sa.String, nullable=False),
        sa.Column("source", sa.String, nullable=False),
        sa.Column("added_at", _INSTANT, nullable=False),
        sa.Column("removed_at", _INSTANT),
    )
    _create_partial_index(
        "uq_opt_outs_active", "opt_outs", ["person_key", "channel"], "removed_at IS NULL", unique=True
    )


def _create_partial_index(name: str, table: str, columns: list[str], where: str, *, unique: bool = False) -> None:
    condition = sa.text(where)
    op.create_index(name, table, columns, unique=unique, sqlite_where=condition, postgresql_where=condition)
