"""The data for reminders: who has not answered, who died or returned, and which cohorts are due.

The domain decides whether a person is reminded; the claim makes the final decision.
"""

from datetime import UTC, date, timedelta
from typing import Final

import polars as pl
from sqlalchemy import Connection, exists, or_, select

from track_pipeline.adapters.ledger.database import Store, start_of
from track_pipeline.adapters.ledger.frames import fetch, one_of
from track_pipeline.adapters.ledger.queries import (
    IS_ANSWERED,
    IS_INVITATION,
    OUTCOME_ORDER,
    PERSON,
    active_opt_outs,
    known_to_have_died,
    of_encounters,
)
from track_pipeline.adapters.ledger.tables import answers, deliveries, sends, sightings
from track_pipeline.domain.channels import CONTACT_CHANNELS, Channel
from track_pipeline.domain.encounter import ENCOUNTER_KEY
from track_pipeline.domain.identity import ENCOUNTER_PERSON_KEY, KEY_COLUMNS
from track_pipeline.domain.reminders import CANDIDATES
from track_pipeline.domain.sends import SendState
from track_pipeline.domain.waves import INVITE, Wave

# Delivery statuses that mean a message will not arrive at its address or number.
FAILED: Final = ("bounced", "refused", "failed")


class Reminders(Store):
    """The part of the ledger that finds reminder candidates and due cohorts."""

    def candidates(
        self, hospital: str, cohort_date: date, area: str, planned: pl.DataFrame | None = None
    ) -> pl.DataFrame:
        """Return the encounters of a hospital-day and area whose invitation was sent (`CANDIDATES`), oldest first.

        `planned`: database, encounter_id, cpf_key, phone_key, email_key; the hospital's current data, if the lake has
        it. A candidate gets these keys, and the invitation's key where one is null; lookups use the keys of both.
        An invitation without any key gives no candidate, since nothing can be looked up for its person.

        - answered: an answer to any send of the encounter.
        - bounced, per channel: a message of that channel did not arrive (`FAILED`).
        - died_since, returned_since: any hospital recorded the person's death, or another encounter on a later day.
        - reminders: one send per reminder wave, the one first in `OUTCOME_ORDER`.
        """
        with self._database.read() as connection:
            invited = _invited(connection, hospital, cohort_date, area)
            now = invited.select(ENCOUNTER_KEY).join(
                _keys_of(planned), on=ENCOUNTER_KEY, how="left", maintain_order="left"
            )
            people = pl.concat([_by_key(invited), _by_key(now)]).unique()
            keys = people.get_column("person_key").unique()
            sent = _sends_to(connection, hospital, invited)
            seen = _seen_after(connection, keys, cohort_date)
            # Also by the encounter's key: the hospital may record a death under other contacts than the invitation's.
            itself = invited.select(*ENCOUNTER_KEY, person_key=ENCOUNTER_PERSON_KEY)
            died = known_to_have_died(connection, pl.concat([keys, itself.get_column("person_key")]))
            opted_out = active_opt_outs(connection, keys)
        # Two hospitals may read one database: the same encounter recorded by both is not a return.
        another = pl.any_horizontal(pl.col(name) != pl.col(f"{name}_seen") for name in ENCOUNTER_KEY)
        returned = people.join(seen, on="person_key", suffix="_seen").filter(another).select(ENCOUNTER_KEY).unique()
        dead = pl.concat([people, itself]).join(died, on="person_key", how="semi").select(ENCOUNTER_KEY).unique()
        refused = (
            people.join(opted_out, on="person_key")
            .group_by(ENCOUNTER_KEY)
            .agg(opted_out=pl.col("channel").unique().sort())
        )
        invited = invited.with_columns(pl.coalesce(now.get_column(key), invited.get_column(key)) for key in KEY_COLUMNS)
        for found in (
            _summary_of(sent),
            dead.with_columns(died_since=pl.lit(value=True)),
            returned.with_columns(returned_since=pl.lit(value=True)),
            refused,
        ):
            invited = invited.join(found, on=ENCOUNTER_KEY, how="left", maintain_order="left")
        return invited.with_columns(
            pl.col(pl.Boolean).fill_null(value=False), pl.col("opted_out", "reminders").fill_null([])
        ).select(pl.col(name).cast(kind) for name, kind in CANDIDATES.items())  # fmt: skip

    def cohorts_due(self, wave: Wave, invited_from: date, invited_to: date) -> list[tuple[date, str]]:
        """Return the hospital-days with an invitation sent on these days (both included) and still open for the wave.

        Open: no answer to any send of the encounter, and no send of the wave. Sorted by cohort date, then hospital.
        """
        later = sends.alias("later")
        closed = (
            exists()
            .select_from(later.outerjoin(answers, answers.c.send_id == later.c.send_id))
            .where(
                later.c.hospital == sends.c.hospital,
                later.c.encounter_id == sends.c.encounter_id,
                later.c.database == sends.c.database,
                or_(later.c.wave == wave.key, answers.c.send_id.is_not(None)),
            )
        )
        statement = (
            select(sends.c.cohort_date, sends.c.hospital)
            .where(
                sends.c.claimed_at >= start_of(invited_from),
                sends.c.claimed_at < start_of(invited_to + timedelta(days=1)),
                # With a correct clock, an invitation is sent after its cohort date.
                sends.c.cohort_date < invited_to,
                IS_INVITATION,
                sends.c.state == SendState.SENT,
                ~closed,
            )
            .distinct()
            .order_by(sends.c.cohort_date, sends.c.hospital)
        )
        with self._database.read() as connection:
            return fetch(connection, statement).rows()


def _invited(connection: Connection, hospital: str, cohort_date: date, area: str) -> pl.DataFrame:
    """Return the invitations that were sent; a claim ensures that an encounter has at most one."""
    statement = select(
        *(sends.c[name] for name in (*ENCOUNTER_KEY, "unit", "setor", "survey_uuid")),
        sends.c.channel.label("invite_channel"),
        sends.c.claimed_at.label("invited_at"),
        *PERSON,
    ).where(
        sends.c.cohort_date == cohort_date,
        sends.c.hospital == hospital,
        IS_INVITATION,
        sends.c.area == area,
        sends.c.state == SendState.SENT,
        or_(*(key.is_not(None) for key in PERSON)),
    )
    found = fetch(connection, statement.order_by(sends.c.claimed_at, sends.c.encounter_id, sends.c.database))
    # Invitations are sent the day after the encounter at the earliest: a slow clock must not make a reminder too early.
    earliest = start_of(cohort_date + timedelta(days=1))
    return found.with_columns(pl.max_horizontal("invited_at", pl.lit(earliest.astimezone(UTC))))


def _sends_to(connection: Connection, hospital: str, invited: pl.DataFrame) -> pl.DataFrame:
    """Return all sends to encounters of the hospital, in `OUTCOME_ORDER`, then by the time of the claim."""
    failed = exists().where(deliveries.c.send_id == sends.c.send_id, deliveries.c.status.in_(FAILED))
    statement = select(
        *(sends.c[name] for name in (*ENCOUNTER_KEY, "wave", "channel", "state")),
        sends.c.claimed_at.label("at"),
        IS_ANSWERED.label("answered"),
        failed.label("failed"),
    ).where(of_encounters(connection, invited.with_columns(hospital=pl.lit(hospital))))
    return fetch(connection, statement.order_by(OUTCOME_ORDER, sends.c.claimed_at, sends.c.send_id))


def _summary_of(sent: pl.DataFrame) -> pl.DataFrame:
    """Summarize all sends of each encounter: answered, <channel>_bounced, reminders (wave, state, channel, at)."""

    def bounced(channel: Channel) -> pl.Expr:
        return pl.col("failed").filter(pl.col("channel") == channel.value).any().alias(f"{channel}_bounced")

    best_of_wave = sent.unique([*ENCOUNTER_KEY, "wave"], keep="first", maintain_order=True).filter(
        pl.col("wave") != INVITE.key
    )
    reminders = (
        best_of_wave.sort("at", maintain_order=True)
        .group_by(ENCOUNTER_KEY, maintain_order=True)
        .agg(reminders=pl.struct("wave", "state", "channel", "at"))
    )
    of_all = sent.group_by(ENCOUNTER_KEY).agg(
        pl.col("answered").any(), *(bounced(channel) for channel in CONTACT_CHANNELS)
    )
    return of_all.join(reminders, on=ENCOUNTER_KEY, how="left")


def _keys_of(planned: pl.DataFrame | None) -> pl.DataFrame:
    shape = {"database": pl.String(), "encounter_id": pl.Int64(), **dict.fromkeys(KEY_COLUMNS, pl.String())}
    return (
        pl.DataFrame(schema=shape)
        if planned is None
        else planned.select(*shape).unique(ENCOUNTER_KEY, maintain_order=True)
    )


def _by_key(rows: pl.DataFrame) -> pl.DataFrame:
    """Return one row per encounter and person key: database, encounter_id, person_key."""
    return (
        rows.unpivot(KEY_COLUMNS, index=ENCOUNTER_KEY, value_name="person_key")
        .drop("variable")
        .drop_nulls("person_key")
    )


def _seen_after(connection: Connection, keys: pl.Series, cohort_date: date) -> pl.DataFrame:
    which = one_of(connection, sightings.c.person_key, keys)
    columns = [sightings.c[name] for name in ("person_key", *ENCOUNTER_KEY)]
    return fetch(connection, select(*columns).where(which, sightings.c.cohort_date > cohort_date))
