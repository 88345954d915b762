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

# Sorts the sends of one encounter: the one that decides its outcome comes first.
OUTCOME_ORDER: Final = case({state.value: rank for state, rank in TELLING.items()}, value=sends.c.state)
IS_INVITATION: Final = and_(sends.c.wave == INVITE.key, ~sends.c.extra)
# The invitation of an encounter with the cohort date of its row. `coalesce` keeps the planner from using an index of
# dates: an encounter number has a handful of sends, a date has those of all encounters.
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
    """Return the invitations that were not rejected: `person_key`, then the columns `names`.

    One select runs per kind of key.
    The query filters by the keys alone: with other conditions, a planner without statistics chooses a useless index.
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
    """Return the condition for sends to the encounters of a frame, by hospital and number, which the index supports.

    It also matches the encounter with the same number in another database of the hospital.
    """
    return one_of_pairs(connection, sends.c.hospital, sends.c.encounter_id, frame.select("hospital", "encounter_id"))


def known_to_have_died(connection: Connection, keys: Iterable[str]) -> pl.DataFrame:
    """Return the keys recorded as died, on any day and in any hospital: person_key."""
    died = select(sightings.c.person_key).where(one_of(connection, sightings.c.person_key, keys), sightings.c.died)
    return fetch(connection, died.distinct())


def active_opt_outs(connection: Connection, keys: Iterable[str], known_at: datetime | None = None) -> pl.DataFrame:
    """Return the active opt-outs of the keys: person_key, channel; with `known_at`, those recorded by then."""
    statement = select(opt_outs.c.person_key, opt_outs.c.channel).where(ACTIVE)
    if known_at is not None:
        statement = statement.where(opt_outs.c.added_at <= known_at)
    return fetch(connection, statement.where(one_of(connection, opt_outs.c.person_key, keys)))
