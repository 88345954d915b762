"""The current tables of the ledger; `migrations` holds the steps that create them.

Only table definitions belong here. Every change needs a migration: a test compares the tables with the migrations.
"""

from datetime import UTC, datetime
from typing import Final

from sqlalchemy import (
    BigInteger,
    Boolean,
    Column,
    Date,
    DateTime,
    Dialect,
    Index,
    Integer,
    MetaData,
    String,
    Table,
    UniqueConstraint,
    text,
)
from sqlalchemy.types import TypeDecorator


class UtcDateTime(TypeDecorator[datetime]):
    """A column of instants: takes aware datetimes and returns UTC, on databases with and without time zones."""

    impl = DateTime(timezone=True)
    cache_ok = True

    @property
    def python_type(self) -> type[datetime]:
        """The Python type of the column's values."""
        return datetime

    def process_bind_param(self, value: datetime | None, dialect: Dialect) -> datetime | None:  # noqa: ARG002
        """Convert to UTC. Raises ValueError for a datetime without a zone."""
        if value is None:
            return None
        if value.tzinfo is None:
            raise ValueError("a datetime without a time zone cannot be written to the ledger; make it aware first")
        return value.astimezone(UTC)

    def process_result_value(self, value: datetime | None, dialect: Dialect) -> datetime | None:  # noqa: ARG002
        """Return the instant in UTC: SQLite returns naive UTC, PostgreSQL the session's zone."""
        if value is None:
            return None
        return value.replace(tzinfo=UTC) if value.tzinfo is None else value.astimezone(UTC)


metadata: Final = MetaData()

_STILL_OPEN = text("state IN ('claimed', 'unknown')")
_STILL_ACTIVE = text("removed_at IS NULL")

# One row per send; these rows prevent a second send. `cohort_date` is the date of the encounter's partition, also for
# reminders. `extra`: a link made for the front desk in addition to the real invitation.
# `state`: claimed -> sent | rejected | unknown; a claim with an unknown outcome is never sent again automatically.
sends: Final = Table(
    "sends",
    metadata,
    Column("send_id", String(32), primary_key=True),
    Column("hospital", String, nullable=False),
    Column("database", String, nullable=False),
    Column("encounter_id", BigInteger, nullable=False),
    Column("unit", String, nullable=False),
    Column("area", String, nullable=False),
    Column("setor", String, nullable=False),
    Column("survey_uuid", String, nullable=False),
    Column("wave", String, nullable=False),
    Column("channel", String, nullable=False),
    Column("cohort_date", Date, nullable=False),
    Column("extra", Boolean, nullable=False),
    Column("state", String, nullable=False),
    Column("reason", String, nullable=False),
    Column("cpf_key", String),
    Column("phone_key", String),
    Column("email_key", String),
    Column("batch_id", String(32), nullable=False),
    Column("distribution_id", String),
    Column("run_id", String, nullable=False),
    Column("policy_version", String, nullable=False),
    Column("rules_version", String, nullable=False),
    Column("claimed_at", UtcDateTime, nullable=False),
    Column("settled_at", UtcDateTime),
    # The encounter comes second, so that the same index finds an encounter without its database.
    UniqueConstraint("hospital", "encounter_id", "database", "survey_uuid", "wave", "channel", name="uq_sends_once"),
    Index("ix_sends_partition", "cohort_date", "hospital", "wave"),
    Index("ix_sends_cpf_key", "cpf_key"),
    Index("ix_sends_phone_key", "phone_key"),
    Index("ix_sends_email_key", "email_key"),
    Index("ix_sends_claimed_at", "claimed_at"),
    Index("ix_sends_open", "cohort_date", sqlite_where=_STILL_OPEN, postgresql_where=_STILL_OPEN),
)

# The latest decision for each extracted row. `area` is an `Area` value or `unclassified`; `held` is the reason why a
# planned invitation was not claimed: `deferred:<reason>`, `suppressed:<reason>`, or empty.
encounters: Final = Table(
    "encounters",
    metadata,
    Column("hospital", String, primary_key=True),
    Column("cohort_date", Date, primary_key=True),
    Column("area", String, primary_key=True),
    Column("database", String, primary_key=True),
    Column("encounter_id", BigInteger, primary_key=True, autoincrement=False),
    Column("unit", String, nullable=False),
    Column("setor", String, nullable=False),
    Column("survey_uuid", String, nullable=False),
    Column("channel", String, nullable=False),
    Column("result", String, nullable=False),
    Column("reason", String, nullable=False),
    Column("rule", String, nullable=False),
    Column("rules_version", String, nullable=False),
    Column("policy_version", String, nullable=False),
    Column("held", String, nullable=False),
    Column("updated_at", UtcDateTime, nullable=False),
    Index("ix_encounters_encounter", "hospital", "encounter_id"),
    Index("ix_encounters_date", "cohort_date"),
)

# One row per extracted hospital-day and area, also without encounters, so that a day without data is detected.
extracts: Final = Table(
    "extracts",
    metadata,
    Column("hospital", String, primary_key=True),
    Column("cohort_date", Date, primary_key=True),
    Column("area", String, primary_key=True),
    Column("rows", Integer, nullable=False),
    Column("extracted_at", UtcDateTime, nullable=False),
)

# The append-only journal of decisions. A repeated run that decides the same adds no row: hence the unique constraint,
# and empty strings instead of nulls. For a manually resolved send, `rule` names the operator, `version` is the send.
decisions: Final = Table(
    "decisions",
    metadata,
    Column("id", BigInteger().with_variant(Integer, "sqlite"), primary_key=True),
    Column("hospital", String, nullable=False),
    Column("database", String, nullable=False),
    Column("encounter_id", BigInteger, nullable=False),
    Column("cohort_date", Date, nullable=False),
    Column("step", String, nullable=False),
    Column("result", String, nullable=False),
    Column("reason", String, nullable=False),
    Column("rule", String, nullable=False),
    Column("version", String, nullable=False),
    Column("at", UtcDateTime, nullable=False),
    UniqueConstraint(
        "hospital", "encounter_id", "database", "cohort_date", "step", "result", "reason", "rule", "version",
        name="uq_decisions_once",
    ),
)  # fmt: skip

# `channel` is `all`, `email` or `whatsapp`. A person may opt out again after an opt-in; per person and channel at most
# one opt-out is active.
opt_outs: Final = Table(
    "opt_outs",
    metadata,
    Column("id", BigInteger().with_variant(Integer, "sqlite"), primary_key=True),
    Column("person_key", String, nullable=False),
    Column("channel", String, nullable=False),
    Column("source", String, nullable=False),
    Column("added_at", UtcDateTime, nullable=False),
    Column("removed_at", UtcDateTime),
    Index(
        "uq_opt_outs_active",
        "person_key",
        "channel",
        unique=True,
        sqlite_where=_STILL_ACTIVE,
        postgresql_where=_STILL_ACTIVE,
    ),
)

# The first finished answer to a send. `score` is 0 to 10, null if the question was not answered.
answers: Final = Table(
    "answers",
    metadata,
    Column("send_id", String(32), primary_key=True),
    Column("answered_at", UtcDateTime, nullable=False),
    Column("score", Integer),
    Column("interaction_id", String),
    Column("received_at", UtcDateTime, nullable=False),
)

# Comments are separate from answers because they may contain names; no count or list reads this table.
comments: Final = Table(
    "comments",
    metadata,
    Column("send_id", String(32), primary_key=True),
    Column("comment", String, nullable=False),
)

# When each status was first true of a send: sent, delivered, opened, bounced, refused, failed, unsubscribed, other.
deliveries: Final = Table(
    "deliveries",
    metadata,
    Column("send_id", String(32), primary_key=True),
    Column("status", String, primary_key=True),
    Column("at", UtcDateTime, nullable=False),
)

# When each source of Track.co was last read: `source` is one of `answers.Source`, the next read starts at `cursor`.
refreshes: Final = Table(
    "refreshes",
    metadata,
    Column("source", String, primary_key=True),
    Column("refreshed_at", UtcDateTime, nullable=False),
    Column("cursor", UtcDateTime),
)

# Every extracted encounter of a person, also those without an invitation; one row per person key.
sightings: Final = Table(
    "sightings",
    metadata,
    Column("cohort_date", Date, primary_key=True),
    Column("hospital", String, primary_key=True),
    Column("database", String, primary_key=True),
    Column("encounter_id", BigInteger, primary_key=True, autoincrement=False),
    Column("person_key", String, primary_key=True),
    Column("died", Boolean, nullable=False),
    Index("ix_sightings_person", "person_key", "cohort_date"),
)

# The newest evidence of a person's consent to be contacted through a channel.
consents: Final = Table(
    "consents",
    metadata,
    Column("person_key", String, primary_key=True),
    Column("channel", String, primary_key=True),
    Column("source", String, nullable=False),
    Column("given_at", Date, nullable=False),
    Column("text_version", String, nullable=False),
    Column("recorded_at", UtcDateTime, nullable=False),
)

# `scope` is `all`, `hospital:<code>` or `channel:<name>`.
pauses: Final = Table(
    "pauses",
    metadata,
    Column("scope", String, primary_key=True),
    Column("reason", String, nullable=False),
    Column("source", String, nullable=False),
    Column("since", UtcDateTime, nullable=False),
)

# Open alerts. `key` identifies the problem; `hospital` is empty if it concerns all hospitals; `told_at` is null until
# the alert was reported. The row is deleted when the problem is over.
alerts: Final = Table(
    "alerts",
    metadata,
    Column("key", String, primary_key=True),
    Column("kind", String, nullable=False),
    Column("hospital", String, nullable=False),
    Column("part", String, nullable=False),
    Column("subject", String, nullable=False),
    Column("text", String, nullable=False),
    Column("link", String, nullable=False),
    Column("opened_at", UtcDateTime, nullable=False),
    Column("told_at", UtcDateTime),
)

# Every policy under which something was sent, complete, as JSON; `policy_version` of a send refers to it.
policies: Final = Table(
    "policies",
    metadata,
    Column("version", String, primary_key=True),
    Column("document", String, nullable=False),
    Column("first_used_at", UtcDateTime, nullable=False),
)
