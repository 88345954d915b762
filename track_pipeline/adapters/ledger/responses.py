"""The counts behind the NPS: how many were asked, how many were reached, how many answered, and in which band.

Only questions belong here; the score itself, its interval and who may see it are the domain's.
"""

from datetime import date
from typing import Final

import polars as pl
from sqlalchemy import ColumnElement, Connection, and_, case, exists, func, select

from track_pipeline.adapters.ledger.database import Store, between, matches
from track_pipeline.adapters.ledger.frames import fetch
from track_pipeline.adapters.ledger.sends import IS_INVITATION
from track_pipeline.adapters.ledger.tables import answers, deliveries, sends
from track_pipeline.domain.nps import COUNTS, band
from track_pipeline.domain.sends import SendState

_GROUP: Final = ("hospital", "unit", "area", "channel")
_KINDS: Final = (sends.c.cohort_date.label("date"), *(sends.c[name] for name in _GROUP))
_BANDS: Final = {score: f"{band(score)}s" for score in range(11)}
# Whoever opened a message has it, also where nobody said so.
_ARRIVED: Final = ("delivered", "opened")


class Responses(Store):
    """The part of the ledger that counts what came back."""

    def response_counts(self, dates: tuple[date, date] | None = None, hospital: str | None = None) -> pl.DataFrame:
        """What came of the invitations that were sent (`COUNTS`), an encounter counting once, by its invitation.

        `dates` are a first and a last day of partitions, both included; None is ever. An answer to any send counts
        for the encounter; of several, the first with a score. `delivered` is null where nothing was heard of the
        row's messages, or where its channel never says `delivered`.
        """
        of_interest = and_(
            IS_INVITATION,
            sends.c.state == SendState.SENT,
            between(sends.c.cohort_date, dates),
            matches(sends.c.hospital, hospital),
        )
        with self._database.read() as connection:
            sent = _sent(connection, of_interest)
            answered = _answered(connection, of_interest)
        is_known = (pl.col("heard") > 0) & (pl.col("told").sum().over("channel") > 0)
        counts = sent.join(answered, on=["date", *_GROUP], how="left").with_columns(
            pl.when(is_known).then("delivered").alias("delivered"),
            pl.col("answered", *_BANDS.values()).fill_null(0),
        )
        return counts.select(pl.col(name).cast(kind) for name, kind in COUNTS.items()).sort("date", *_GROUP)


def _sent(connection: Connection, of_interest: ColumnElement[bool]) -> pl.DataFrame:
    """Invitations: how many, of how many anything was heard, that they were delivered, that they arrived."""
    of_send = deliveries.c.send_id == sends.c.send_id
    having = {
        "heard": exists().where(of_send),
        "told": exists().where(of_send, deliveries.c.status == "delivered"),
        "delivered": exists().where(of_send, deliveries.c.status.in_(_ARRIVED)),
    }
    numbers = [func.count(case((condition, 1))).label(name) for name, condition in having.items()]
    statement = select(*_KINDS, func.count().label("sent"), *numbers).where(of_interest).group_by(*_KINDS)
    return fetch(connection, statement)


def _answered(connection: Connection, of_interest: ColumnElement[bool]) -> pl.DataFrame:
    """Encounters that answered, and in which band."""
    replied = sends.alias("replied")
    same_encounter = and_(
        replied.c.hospital == sends.c.hospital,
        replied.c.encounter_id == sends.c.encounter_id,
        replied.c.database == sends.c.database,
    )
    statement = (
        select(*_KINDS, sends.c.send_id, answers.c.answered_at, answers.c.score)
        .select_from(sends.join(replied, same_encounter).join(answers, answers.c.send_id == replied.c.send_id))
        .where(of_interest)
    )
    first = (
        fetch(connection, statement)
        .sort(pl.col("score").is_null(), "answered_at", "score")
        .unique("send_id", keep="first", maintain_order=True)
    )
    found = pl.col("score").replace_strict(_BANDS, return_dtype=pl.String)
    return first.group_by("date", *_GROUP).agg(
        pl.len().alias("answered"), *((found == name).sum().alias(name) for name in dict.fromkeys(_BANDS.values()))
    )
