"""Conditions and queries that several parts of the ledger share."""

from collections.abc import Iterable, Mapping
from datetime import datetime
from typing import Final

import polars as pl
from sqlalchemy import ColumnElement, Connection, and_, case, exists, func, select, union_all

from track_pipeline.adapters.ledger.frames import fetch, one_of, one_of_pairs
from track_pipeline.adapters.ledger.tables import answers, encounters, opt_outs, sends, sightings
from track_pipeline.domain.funnel import TELLING
from track_pipeline.domain.identity import KEY_COLUMNS
from track_pipeline.domain.sends import SendState
from track_pipeline.domain.waves import INVITE

PERSON: Final = tuple(sends.c[name] for name in KEY_COLUMNS)

# Of several sends to one encounter, the one that tells what became of it comes first.
OUTCOME_ORDER: Final = case({state.value: rank for state, rank in TELLING.items()}, value=sends.c.state)
IS_INVITATION: Final = and_(sends.c.wave == INVITE.key, ~sends.c.extra)
# The invitation of an encounter under the day of its row. No index of days is wanted here: by its number an encounter
# has a handful of sends, by its day it has everybody's.
IS_INVITATION_OF_ROW: Final = and_(
    sends.c.hospital == encounters.c.hospital,
    sends.c.encounter_id == encounters.c.encounter_id,
    sends.c.database == encounters.c.database,
    func.coalesce(sends.c.cohort_date, encounters.c.cohort_date) == encounters.c.cohort_date,
    IS_INVITATION,
)
IS_ANSWERED: Final = exists().where(answers.c.send_id == sends.c.send_id)
# Opt-outs in force.
ACTIVE: Final = opt_outs.c.removed_at.is_(None)


def standing_invitations(
    connection: Connection, keys: Mapping[str, Iterable[str]], names: Iterable[str]
) -> pl.DataFrame:
    """Invitations that were not rejected: `person_key`, then the columns named; a select per kind of key.

    Found by the keys alone: with another condition a planner without statistics takes an index that is no use.
    """
    also = [name for name in ("wave", "extra", "state") if name not in names]
    columns = [sends.c[name] for name in (*names, *also)]
    found = fetch(
        connection,
        union_all(
            *(
                select(key.label("person_key"), *columns).where(one_of(connection, key, keys[key.name]))
                for key in PERSON
            )
        ),
    )
    return found.filter(
        pl.col("wave") == INVITE.key, ~pl.col("extra"), pl.col("state") != SendState.REJECTED.value
    ).drop(also)


def of_encounters(connection: Connection, frame: pl.DataFrame) -> ColumnElement[bool]:
    """Sends to the encounters of a frame and a few more, where two databases use one number: as the index finds."""
    return one_of_pairs(connection, sends.c.hospital, sends.c.encounter_id, frame.select("hospital", "encounter_id"))


def known_to_have_died(connection: Connection, keys: Iterable[str]) -> pl.DataFrame:
    """Who of those people was seen to have died, on whatever day and in whatever hospital: person_key."""
    died = select(sightings.c.person_key).where(one_of(connection, sightings.c.person_key, keys), sightings.c.died)
    return fetch(connection, died.distinct())


def active_opt_outs(connection: Connection, keys: Iterable[str], known_at: datetime | None = None) -> pl.DataFrame:
    """The active opt-outs of those people, or only those recorded by an instant: person_key, channel."""
    statement = select(opt_outs.c.person_key, opt_outs.c.channel).where(ACTIVE)
    if known_at is not None:
        statement = statement.where(opt_outs.c.added_at <= known_at)
    return fetch(connection, statement.where(one_of(connection, opt_outs.c.person_key, keys)))
