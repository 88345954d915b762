"""The tables of the ledger as they are now; how they came to be is in `migrations`.

Only shapes belong here. Every change needs a migration beside it: a test compares the two.
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
    """An instant: aware datetimes in, UTC datetimes out, on databases with and without time zones."""

    impl = DateTime(timezone=True)
    cache_ok = True

    @property
    def python_type(self) -> type[datetime]:
        """What comes out."""
        return datetime

    def process_bind_param(self, value: datetime | None, dialect: Dialect) -> datetime | None:  # noqa: ARG002
        """Converts to UTC. Raises ValueError for a datetime without a zone."""
        if value is None:
            return None
        if value.tzinfo is None:
            raise ValueError("the ledger takes no datetime without a time zone")
        return value.astimezone(UTC)

    def process_result_value(self, value: datetime | None, dialect: Dialect) -> datetime | None:  # noqa: ARG002
        """Gives SQLite's naive UTC its zone back, and PostgreSQL's session zone UTC."""
        if value is None:
            return None
        return value.replace(tzinfo=UTC) if value.tzinfo is None else value.astimezone(UTC)


metadata: Final = MetaData()

_STILL_OPEN = text("state IN ('claimed', 'unknown')")
_STILL_ACTIVE = text("removed_at IS NULL")

# One row per send, the reason why nobody is asked twice. `cohort_date` is the day of the encounter's partition,
# also for reminders. `extra`: a link made for the front desk beside the real invitation.
# `state`: claimed -> sent | rejected | unknown; a claim whose outcome nobody saw is never sent again by itself.
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

# The current word on each extracted row of a partition. `area` is an `Area` value or `unclassified`; `held` says
# why a planned invitation was not claimed: `deferred:<reason>`, `suppressed:<reason>`, or nothing.
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

# One row per extracted partition and area, also where there was no encounter at all: silence has to be seen.
extracts: Final = Table(
    "extracts",
    metadata,
    Column("hospital", String, primary_key=True),
    Column("cohort_date", Date, primary_key=True),
    Column("area", String, primary_key=True),
    Column("rows", Integer, nullable=False),
    Column("extracted_at", UtcDateTime, nullable=False),
)

# Append-only. A replay that decides the same adds nothing, hence the constraint and empty strings, not nulls.
# Of a send resolved by hand, `rule` names who did it and `version` is the send.
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

# `channel` is `all`, `email` or `whatsapp`. A person may come back and leave again; one opt-out is active at most.
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

# The first finished answer to a send. `score` is 0 to 10, null where it was left open.
answers: Final = Table(
    "answers",
    metadata,
    Column("send_id", String(32), primary_key=True),
    Column("answered_at", UtcDateTime, nullable=False),
    Column("score", Integer),
    Column("interaction_id", String),
    Column("received_at", UtcDateTime, nullable=False),
)

# Apart from the answers, because people write names into them; nothing that counts or lists reads this table.
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

# How fresh is what Track.co told: `source` is one of `feedback.Source`, `cursor` where to read on.
refreshes: Final = Table(
    "refreshes",
    metadata,
    Column("source", String, primary_key=True),
    Column("refreshed_at", UtcDateTime, nullable=False),
    Column("cursor", UtcDateTime),
)

# Every encounter of a person, also those that are not asked about; a row for each of the person's keys.
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

# The newest evidence that a person wants to be written to through a channel.
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

# What is wrong and was not when it was looked at before. `key` names the problem, `hospital` is empty for all of them;
# `told_at` is null until people were told. A row goes when its problem is over.
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

# Every policy that anything was ever sent under, whole, as JSON: what `policy_version` of a send means.
policies: Final = Table(
    "policies",
    metadata,
    Column("version", String, primary_key=True),
    Column("document", String, nullable=False),
    Column("first_used_at", UtcDateTime, nullable=False),
)
