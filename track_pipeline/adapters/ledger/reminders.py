"""What has to be known before anybody is reminded: who has not answered, who died or came back, what is due.

Whether a person is reminded is decided elsewhere, and for good only by a claim.
"""

from datetime import date, timedelta
from typing import Final

import polars as pl
from sqlalchemy import Connection, and_, delete, exists, insert, or_, select

from track_pipeline.adapters.ledger.claims import Wave
from track_pipeline.adapters.ledger.consent import active_opt_outs
from track_pipeline.adapters.ledger.database import Store, fetch, one_of, start_of
from track_pipeline.adapters.ledger.sends import IS_ANSWERED, IS_INVITATION, OUTCOME_ORDER, PERSON, of_encounters
from track_pipeline.adapters.ledger.tables import answers, deliveries, sends, sightings
from track_pipeline.domain.identity import KEY_COLUMNS
from track_pipeline.domain.reminders import CANDIDATES

# Statuses of a message that will not arrive at that address or number.
FAILED: Final = ("bounced", "refused", "failed")

# A hospital-day's encounters, a row for each key of their people.
SEEN: Final = pl.Schema(
    {"person_key": pl.String(), "database": pl.String(), "encounter_id": pl.Int64(), "died": pl.Boolean()}
)
_KEY: Final = ["database", "encounter_id"]


class Reminders(Store):
    """The part of the ledger that knows whom a reminder would reach, and whether it is due."""

    def see(self, hospital: str, cohort_date: date, rows: pl.DataFrame) -> None:
        """Puts the encounters that were extracted (`SEEN`) in the place of what was seen on that hospital-day."""
        seen = rows.drop_nulls("person_key").group_by(*_KEY, "person_key").agg(pl.col("died").any())
        values = seen.with_columns(hospital=pl.lit(hospital), cohort_date=pl.lit(cohort_date))
        of_day = and_(sightings.c.cohort_date == cohort_date, sightings.c.hospital == hospital)
        with self._database.write() as connection:
            connection.execute(delete(sightings).where(of_day))
            if not values.is_empty():
                connection.execute(insert(sightings), values.to_dicts())

    def reminder_candidates(self, hospital: str, cohort_date: date, area: str) -> pl.DataFrame:
        """The encounters of a partition and area whose invitation was sent (`CANDIDATES`), in order of inviting.

        An answer to any send counts for the encounter, as does a message that did not arrive (`FAILED`) for its
        channel. The person was seen, by any key and in any hospital, to have died on that day or later, or to have
        another encounter on a later day. Of several reminders of a wave, the one that tells. Without any key nothing
        is known of a person, who therefore is no candidate.
        """
        with self._database.read() as connection:
            invited = _invited(connection, hospital, cohort_date, area)
            people = invited.unpivot(KEY_COLUMNS, index=_KEY, value_name="person_key").drop_nulls("person_key")
            keys = people.get_column("person_key").unique()
            sent = _sends_to(connection, hospital, invited)
            seen = _seen(connection, keys, cohort_date)
            opted_out = active_opt_outs(connection, keys)
        another = pl.any_horizontal(
            pl.col("hospital") != hospital, *(pl.col(name) != pl.col(f"{name}_seen") for name in _KEY)
        )
        since = people.join(seen, on="person_key", suffix="_seen").group_by(_KEY).agg(
            died_since=pl.col("died").any(), returned_since=(another & (pl.col("cohort_date") > cohort_date)).any()
        )  # fmt: skip
        refused = (
            people.join(opted_out, on="person_key").group_by(_KEY).agg(opted_out=pl.col("channel").unique().sort())
        )
        for found in (_told_by(sent), since, refused):
            invited = invited.join(found, on=_KEY, how="left", maintain_order="left")
        return invited.with_columns(
            pl.col(pl.Boolean).fill_null(value=False), pl.col("opted_out").fill_null([])
        ).select(pl.col(name).cast(kind) for name, kind in CANDIDATES.items())  # fmt: skip

    def cohorts_due(self, wave: Wave, invited_from: date, invited_to: date) -> list[tuple[date, str]]:
        """Cohort days and hospitals with invitations sent on those days (both included) that nothing came of.

        Nothing: no answer to any send of the encounter, and no send of the wave. By day, then hospital.
        """
        later = sends.alias("later")
        closed = (
            exists()
            .select_from(later.outerjoin(answers, answers.c.send_id == later.c.send_id))
            .where(
                later.c.hospital == sends.c.hospital,
                later.c.encounter_id == sends.c.encounter_id,
                later.c.database == sends.c.database,
                or_(later.c.wave == wave, answers.c.send_id.is_not(None)),
            )
        )
        statement = (
            select(sends.c.cohort_date, sends.c.hospital)
            .where(
                sends.c.claimed_at >= start_of(invited_from),
                sends.c.claimed_at < start_of(invited_to + timedelta(days=1)),
                IS_INVITATION,
                sends.c.state == "sent",
                ~closed,
            )
            .distinct()
            .order_by(sends.c.cohort_date, sends.c.hospital)
        )
        with self._database.read() as connection:
            return fetch(connection, statement).rows()


def _invited(connection: Connection, hospital: str, cohort_date: date, area: str) -> pl.DataFrame:
    """The invitations that were sent. A claim sees to it that an encounter has one at most."""
    statement = select(
        *(sends.c[name] for name in (*_KEY, "unit", "setor", "survey_uuid")),
        sends.c.channel.label("invite_channel"),
        sends.c.claimed_at.label("invited_at"),
        *PERSON,
    ).where(
        sends.c.cohort_date == cohort_date,
        sends.c.hospital == hospital,
        IS_INVITATION,
        sends.c.area == area,
        sends.c.state == "sent",
        or_(*(key.is_not(None) for key in PERSON)),
    )
    return fetch(connection, statement.order_by(sends.c.claimed_at, sends.c.encounter_id, sends.c.database))


def _sends_to(connection: Connection, hospital: str, invited: pl.DataFrame) -> pl.DataFrame:
    """All sends to encounters of the hospital, of several of one wave the most telling first."""
    failed = exists().where(deliveries.c.send_id == sends.c.send_id, deliveries.c.status.in_(FAILED))
    statement = select(
        *(sends.c[name] for name in (*_KEY, "wave", "channel", "state")),
        sends.c.claimed_at.label("at"),
        IS_ANSWERED.label("answered"),
        failed.label("failed"),
    ).where(of_encounters(connection, invited.with_columns(hospital=pl.lit(hospital))))
    return fetch(connection, statement.order_by(OUTCOME_ORDER, sends.c.claimed_at, sends.c.send_id))


def _told_by(sent: pl.DataFrame) -> pl.DataFrame:
    """What all sends of an encounter say together."""

    def reminded(days: str) -> pl.Expr:
        first = pl.col("state", "channel", "at").filter(pl.col("wave") == f"reminder_{days}").first()
        return first.name.prefix(f"reminded_{days}_")

    def bounced(channel: str) -> pl.Expr:
        return pl.col("failed").filter(pl.col("channel") == channel).any().alias(f"{channel}_bounced")

    return sent.group_by(_KEY).agg(
        pl.col("answered").any(), bounced("email"), bounced("whatsapp"), reminded("7d"), reminded("14d")
    )


def _seen(connection: Connection, keys: pl.Series, cohort_from: date) -> pl.DataFrame:
    which = one_of(connection, sightings.c.person_key, keys)
    return fetch(connection, select(sightings).where(which, sightings.c.cohort_date >= cohort_from))
