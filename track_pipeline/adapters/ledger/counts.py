"""The counts behind `track status` and the NPS: outcomes of encounters, and responses to invitations.

Only queries belong here; nothing is written. The domain calculates the score and its interval.
"""

from datetime import date
from typing import Any, Final

import polars as pl
from sqlalchemy import ColumnElement, Connection, Select, and_, case, exists, func, select

from track_pipeline.adapters.ledger.database import Store, between, matches
from track_pipeline.adapters.ledger.frames import fetch
from track_pipeline.adapters.ledger.queries import IS_INVITATION, IS_INVITATION_OF_ROW, OUTCOME_ORDER
from track_pipeline.adapters.ledger.tables import answers, deliveries, encounters, extracts, sends
from track_pipeline.domain.funnel import with_outcome
from track_pipeline.domain.nps import COUNTS, band
from track_pipeline.domain.outcomes import OutcomeKind
from track_pipeline.domain.sends import SendState
from track_pipeline.domain.waves import INVITE

Days = tuple[date, date]


# `channel`: of the invitation if there is one, else the planned channel; null on excluded rows.
OUTCOME_OF_EACH: Final = pl.Schema(
    {
        "area": pl.String(),
        "database": pl.String(),
        "encounter_id": pl.Int64(),
        "unit": pl.String(),
        "channel": pl.String(),
        "outcome": pl.String(),
        "reason": pl.String(),
    }
)
_GROUP: Final = ("hospital", "unit", "area", "channel")
_KINDS: Final = (sends.c.cohort_date.label("date"), *(sends.c[name] for name in _GROUP))
_BANDS: Final = {score: f"{band(score)}s" for score in range(11)}
# An opened message was delivered, even when no `delivered` status arrived.
_ARRIVED: Final = ("delivered", "opened")
_ENCOUNTER: Final = ("area", "database", "encounter_id", "unit", "channel")


class Counts(Store):
    """The part of the ledger that counts. `dates`: first and last cohort date, both included; None for all."""

    def outcomes(self, dates: Days | None = None, hospital: str | None = None, area: str | None = None) -> pl.DataFrame:
        """Count the encounters of hospital-days, each once: date, hospital, area, outcome, reason, count.

        outcome: excluded, sent, rejected, unknown, deferred or suppressed; reason is empty on `sent`.
        If an encounter has several invitations, the best one counts: sent, else unknown, else rejected.
        """
        columns = [encounters.c[name] for name in ("hospital", "area", "result", "reason", "held")]
        rows = _with_invitation(
            and_(
                between(encounters.c.cohort_date, dates),
                matches(encounters.c.hospital, hospital),
                matches(encounters.c.area, area),
            ),
            encounters.c.cohort_date.label("date"),
            *columns,
        ).subquery()
        with self._database.read() as connection:
            counted = fetch(connection, select(*rows.c, func.count().label("count")).group_by(*rows.c))
        kinds = ("date", "hospital", "area", "outcome", "reason")
        return _outcome_of_rows(counted).group_by(kinds).agg(pl.col("count").sum()).sort(kinds)

    def outcome_of_each(self, hospital: str, cohort_date: date) -> pl.DataFrame:
        """Return the outcome of each encounter of a hospital-day (`OUTCOME_OF_EACH`).

        Sorted by area, database and encounter.
        Outcome and reason are the same as in `outcomes`. An encounter decided in several areas has a row per area.
        """
        columns = [encounters.c[name] for name in (*_ENCOUNTER, "result", "reason", "held")]
        which = (encounters.c.cohort_date == cohort_date) & (encounters.c.hospital == hospital)
        with self._database.read() as connection:
            rows = fetch(connection, _with_invitation(which, *columns, sends.c.channel.label("send_channel")))
        channel = pl.coalesce("send_channel", pl.col("channel").replace("", None))
        decided = _outcome_of_rows(rows).with_columns(channel=channel)
        return decided.select(OUTCOME_OF_EACH.names()).sort(_ENCOUNTER[:3])

    def extracted(self, dates: Days | None = None, hospital: str | None = None) -> pl.DataFrame:
        """Return every extracted hospital-day and area, also empty ones: date, hospital, area, rows, extracted_at."""
        statement = select(
            extracts.c.cohort_date.label("date"),
            *(extracts.c[name] for name in ("hospital", "area", "rows", "extracted_at")),
        ).where(between(extracts.c.cohort_date, dates), matches(extracts.c.hospital, hospital))
        with self._database.read() as connection:
            return fetch(connection, statement)

    def reminded(self, dates: Days | None = None, hospital: str | None = None) -> pl.DataFrame:
        """Count the reminders sent, by cohort date: date, hospital, area, wave, count."""
        kinds = (sends.c.cohort_date.label("date"), sends.c.hospital, sends.c.area, sends.c.wave)
        statement = select(*kinds, func.count().label("count")).where(
            sends.c.wave != INVITE.key,
            sends.c.state == SendState.SENT,
            between(sends.c.cohort_date, dates),
            matches(sends.c.hospital, hospital),
        )
        with self._database.read() as connection:
            return fetch(connection, statement.group_by(*kinds).order_by(*kinds))

    def answered(self, dates: Days | None = None, hospital: str | None = None) -> pl.DataFrame:
        """Count the encounters with an answer to any of their sends, by cohort date: date, hospital, area, count."""
        encounter = (
            select(sends.c.cohort_date, sends.c.hospital, sends.c.area, sends.c.database, sends.c.encounter_id)
            .join(answers, answers.c.send_id == sends.c.send_id)
            .where(between(sends.c.cohort_date, dates), matches(sends.c.hospital, hospital))
            .distinct()
            .subquery()
        )
        kinds = (encounter.c.cohort_date.label("date"), encounter.c.hospital, encounter.c.area)
        statement = select(*kinds, func.count().label("count")).group_by(*kinds).order_by(*kinds)
        with self._database.read() as connection:
            return fetch(connection, statement)

    def responses(self, dates: tuple[date, date] | None = None, hospital: str | None = None) -> pl.DataFrame:
        """Count deliveries and answers of the invitations that were sent (`COUNTS`); each encounter counts once.

        `dates`: first and last cohort date, both included; None for all. An answer to any send counts for the
        encounter; if there are several, the first one with a score. `delivered` is null where no status arrived for
        the row's messages, or where its channel never reports `delivered`.
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
        is_known = (pl.col("heard") > 0) & (pl.col("confirmed").sum().over("channel") > 0)
        counts = sent.join(answered, on=["date", *_GROUP], how="left").with_columns(
            pl.when(is_known).then("delivered").alias("delivered"),
            pl.col("answered", *_BANDS.values()).fill_null(0),
        )
        return counts.select(pl.col(name).cast(kind) for name, kind in COUNTS.items()).sort("date", *_GROUP)


def _with_invitation(which: ColumnElement[bool], *columns: ColumnElement[Any]) -> Select[Any]:
    """Select columns of each encounter, with `state` and `send_reason` of its best invitation (`OUTCOME_ORDER`).

    Only invitations of the row's own cohort date are joined: one of another cohort date is counted there.
    """
    best_first = func.row_number().over(
        partition_by=list(encounters.primary_key), order_by=(OUTCOME_ORDER, sends.c.send_id)
    )
    ranked = (
        select(*columns, sends.c.state, sends.c.reason.label("send_reason"), best_first.label("rank"))
        .select_from(encounters.outerjoin(sends, IS_INVITATION_OF_ROW))
        .where(which)
        .subquery()
    )
    return select(*(column for column in ranked.c if column.name != "rank")).where(ranked.c.rank == 1)


def _outcome_of_rows(rows: pl.DataFrame) -> pl.DataFrame:
    """Add outcome and reason to the rows; the reason of sent rows is empty, since counts do not split `sent`."""
    is_sent = pl.col("outcome") == OutcomeKind.SENT.value
    return with_outcome(rows).with_columns(reason=pl.when(is_sent).then(pl.lit("")).otherwise("reason"))


def _sent(connection: Connection, of_interest: ColumnElement[bool]) -> pl.DataFrame:
    """Count invitations (`sent`), those with any status (`heard`), `delivered` (`confirmed`), delivered or opened."""
    of_send = deliveries.c.send_id == sends.c.send_id
    having = {
        "heard": exists().where(of_send),
        "confirmed": exists().where(of_send, deliveries.c.status == "delivered"),
        "delivered": exists().where(of_send, deliveries.c.status.in_(_ARRIVED)),
    }
    numbers = [func.count(case((condition, 1))).label(name) for name, condition in having.items()]
    statement = select(*_KINDS, func.count().label("sent"), *numbers).where(of_interest).group_by(*_KINDS)
    return fetch(connection, statement)


def _answered(connection: Connection, of_interest: ColumnElement[bool]) -> pl.DataFrame:
    """Count the encounters with an answer, in total and by NPS band."""
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
