"""The ledger's data about people: opt-outs, consents, deaths, sightings and earlier invitations.

People are identified by person keys (keyed hashes). An opt-out is in force until it is removed.
"""

from collections.abc import Collection, Iterable
from datetime import date, datetime
from typing import Final

import polars as pl
from sqlalchemy import and_, delete, func, select, update

from track_pipeline.adapters.ledger.database import Store
from track_pipeline.adapters.ledger.frames import fetch, insert_new, insert_rows, one_of, put
from track_pipeline.adapters.ledger.queries import (
    ACTIVE,
    active_opt_outs,
    known_to_have_died,
    of_encounters,
    standing_invitations,
)
from track_pipeline.adapters.ledger.tables import answers, consents, opt_outs, sends, sightings
from track_pipeline.domain.channels import Channel, OptOutChannel
from track_pipeline.domain.encounter import ENCOUNTER_KEY, GROUP_TIME_ZONE, LEDGER_ENCOUNTER_KEY
from track_pipeline.domain.identity import KEY_COLUMNS

# Columns of imported opt-outs and consents.
OPT_OUTS: Final = pl.Schema({"person_key": pl.String(), "channel": pl.String(), "source": pl.String()})
CONSENTS: Final = pl.Schema({**OPT_OUTS, "given_at": pl.Date(), "text_version": pl.String()})

_ONE: Final = ["person_key", "channel"]
# The encounters of a hospital-day, one row per person key.
SEEN: Final = pl.Schema(
    {"person_key": pl.String(), "database": pl.String(), "encounter_id": pl.Int64(), "died": pl.Boolean()}
)


class People(Store):
    """The part of the ledger that stores data about people, by person key."""

    def opt_out(self, person_key: str, channel: OptOutChannel, source: str) -> bool:
        """Record a person's opt-out of a channel; False when it is already recorded."""
        row = {"person_key": person_key, "channel": channel, "source": source}
        return self.opt_out_many(pl.DataFrame([row], schema=OPT_OUTS)) > 0

    def opt_out_many(self, rows: pl.DataFrame) -> int:
        """Record opt-outs (`OPT_OUTS`) and return how many of them are new."""
        rows = rows.select(OPT_OUTS.names()).with_columns(added_at=pl.lit(self._clock()))
        with self._database.write() as connection:
            return insert_new(connection, opt_outs, rows)

    def opt_in(self, person_key: str, channel: OptOutChannel) -> bool:
        """Remove the person's opt-out of exactly that channel; False when there is none."""
        statement = update(opt_outs).where(opt_outs.c.person_key == person_key, opt_outs.c.channel == channel, ACTIVE)
        with self._database.write() as connection:
            return connection.execute(statement.values(removed_at=self._clock())).rowcount > 0

    def opt_outs(self) -> pl.DataFrame:
        """Return all active opt-outs, oldest first: person_key, channel, source, added_at."""
        columns = (opt_outs.c.person_key, opt_outs.c.channel, opt_outs.c.source, opt_outs.c.added_at)
        with self._database.read() as connection:
            return fetch(connection, select(*columns).where(ACTIVE).order_by(opt_outs.c.added_at, opt_outs.c.id))

    def opted_out(self, keys: Iterable[str], known_at: datetime) -> pl.DataFrame:
        """Return the active opt-outs of the keys that were recorded at or before `known_at`: person_key, channel."""
        with self._database.read() as connection:
            return active_opt_outs(connection, keys, known_at)

    def record_consents(self, rows: pl.DataFrame) -> int:
        """Record evidence of consent (`CONSENTS`), keeping the newest per person and channel.

        Returns how many pairs of person and channel had no consent before.
        """
        rows = rows.select(CONSENTS.names()).with_columns(recorded_at=pl.lit(self._clock()))
        with self._database.write() as connection:
            which = one_of(connection, consents.c.person_key, rows.get_column("person_key"))
            known = fetch(connection, select(consents).where(which))
            # If two consents have the same date, the stored one stays.
            newest = pl.concat([known, rows.select(known.columns)]).sort(
                "given_at", descending=True, maintain_order=True
            ).unique(_ONE, keep="first", maintain_order=True)  # fmt: skip
            put(connection, consents, newest.join(known, on=[*_ONE, "given_at"], how="anti"))
            return newest.height - known.height

    def consented(self, keys: Iterable[str], channel: Channel) -> pl.DataFrame:
        """Return the keys with a consent for the channel: person_key."""
        statement = select(consents.c.person_key).where(consents.c.channel == channel)
        with self._database.read() as connection:
            return fetch(connection, statement.where(one_of(connection, consents.c.person_key, keys)))

    def recent_contacts(self, keys: Collection[str], *, cohort_from: date, cohort_before: date) -> pl.DataFrame:
        """Return the invitations of all hospitals, except rejected ones, to people with one of the keys.

        One row per key and invitation. `cohort_from` is included, `cohort_before` is not. Columns: person_key,
        hospital, database, encounter_id, survey_uuid, cohort_date, answered_on (the last day on which the encounter's
        survey was answered, null without an answer).
        """
        encounter = [sends.c[name] for name in LEDGER_ENCOUNTER_KEY]
        answered_at = func.max(answers.c.answered_at).label("answered_at")
        with self._database.read() as connection:
            by_kind = dict.fromkeys(KEY_COLUMNS, keys)
            found = standing_invitations(connection, by_kind, (*LEDGER_ENCOUNTER_KEY, "survey_uuid", "cohort_date"))
            found = found.filter(pl.col("cohort_date").is_between(cohort_from, cohort_before, closed="left"))
            answered = fetch(
                connection,
                select(*encounter, answered_at)
                .join(answers, answers.c.send_id == sends.c.send_id)
                .where(of_encounters(connection, found))
                .group_by(*encounter),
            )
        answered_on = pl.col("answered_at").dt.convert_time_zone(GROUP_TIME_ZONE.key).dt.date()
        return (
            found.join(answered, on=LEDGER_ENCOUNTER_KEY, how="left", maintain_order="left")
            .with_columns(answered_on=answered_on)
            .drop("answered_at")
        )

    def record_sightings(self, hospital: str, cohort_date: date, rows: pl.DataFrame) -> None:
        """Replace the sightings of a hospital-day with the extracted encounters (`SEEN`)."""
        seen = rows.drop_nulls("person_key").group_by(*ENCOUNTER_KEY, "person_key").agg(pl.col("died").any())
        values = seen.with_columns(hospital=pl.lit(hospital), cohort_date=pl.lit(cohort_date))
        of_day = and_(sightings.c.cohort_date == cohort_date, sightings.c.hospital == hospital)
        with self._database.write() as connection:
            connection.execute(delete(sightings).where(of_day))
            insert_rows(connection, sightings, values)

    def died(self, keys: Iterable[str]) -> pl.DataFrame:
        """Return the keys recorded as died, on any day and in any hospital: person_key."""
        with self._database.read() as connection:
            return known_to_have_died(connection, keys)
