"""Answers and delivery statuses of the sends, as read from Track.co, and when each source was last read.

The same rows may arrive any number of times and in any order: the stored result is the same. `reminders` uses them
to choose who is reminded, `counts` counts them.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from typing import Final, Literal

import polars as pl
from sqlalchemy import Connection, delete, or_, select

from track_pipeline.adapters.ledger.database import Store
from track_pipeline.adapters.ledger.frames import fetch, insert_rows, one_of, put
from track_pipeline.adapters.ledger.queries import PERSON
from track_pipeline.adapters.ledger.tables import answers, comments, deliveries, refreshes, sends
from track_pipeline.domain.schema import UTC_TIME

# `statuses`: of the newest distributions. `all_statuses`: of all distributions that may still lead to a reminder.
Source = Literal["answers", "statuses", "all_statuses", "opt_outs"]

# Finished answers: `score` 0 to 10 or null, `comment` null for none.
ANSWERS: Final = pl.Schema(
    {
        "send_id": pl.String(),
        "answered_at": UTC_TIME,
        "score": pl.Int64(),
        "interaction_id": pl.String(),
        "comment": pl.String(),
    }
)
DELIVERIES: Final = pl.Schema({"send_id": pl.String(), "status": pl.String(), "at": UTC_TIME})

# The columns that distinguish two answers to one send; the smallest is kept.
_ANSWER: Final = ["answered_at", "score", "interaction_id"]
_DELIVERY: Final = ["send_id", "status"]


@dataclass(frozen=True)
class Recorded:
    """Counts of recorded rows: new ones, known ones, and sends that are not in this ledger (`strangers`)."""

    new: int
    known: int
    strangers: int


class Answers(Store):
    """The part of the ledger that stores answers and delivery statuses."""

    def record(self, rows: pl.DataFrame) -> Recorded:
        """Record finished answers (`ANSWERS`), the earliest per send; the result counts sends.

        A comment is kept only if its send has a person key: without a key the comment could never be erased.
        """
        rows = rows.select(pl.col(name).cast(kind) for name, kind in ANSWERS.items())
        with self._database.write() as connection:
            ours = _sends_of(connection, rows)
            known = fetch(connection, select(answers).where(one_of(connection, answers.c.send_id, rows["send_id"])))
            fresh = rows.join(ours, on="send_id").with_columns(received_at=pl.lit(self._clock()))
            first = (
                pl.concat([known, fresh], how="diagonal")
                .with_columns(pl.col("received_at").min().over("send_id"))
                .sort(_ANSWER, nulls_last=True, maintain_order=True)
                .unique("send_id", keep="first", maintain_order=True)
            )
            changed = first.join(known, on=["send_id", *_ANSWER], how="anti", nulls_equal=True)
            put(connection, answers, changed.select(known.columns))
            # Comments of known answers are not written again, so that a purged comment stays deleted.
            _replace_comments(connection, changed)
        return _recorded(first.height, known.height, rows, ours)

    def hospitals_of(self, send_ids: Iterable[str], received_from: datetime) -> list[str]:
        """Return the hospital of each answer to the sends that was first received at `received_from` or later."""
        with self._database.read() as connection:
            statement = (
                select(sends.c.hospital)
                .join(answers, answers.c.send_id == sends.c.send_id)
                .where(one_of(connection, sends.c.send_id, send_ids), answers.c.received_at >= received_from)
            )
            return list(connection.execute(statement).scalars())

    def record_deliveries(self, rows: pl.DataFrame) -> Recorded:
        """Record delivery statuses (`DELIVERIES`) with their earliest time; the result counts (send, status) pairs."""
        rows = rows.select(pl.col(name).cast(kind) for name, kind in DELIVERIES.items())
        with self._database.write() as connection:
            ours = _sends_of(connection, rows)
            fresh = rows.join(ours, on="send_id", how="semi")
            known = fetch(
                connection, select(deliveries).where(one_of(connection, deliveries.c.send_id, rows["send_id"]))
            ).join(fresh, on=_DELIVERY, how="semi")
            first = pl.concat([known, fresh]).group_by(_DELIVERY).agg(pl.col("at").min())
            put(connection, deliveries, first.join(known, on=[*_DELIVERY, "at"], how="anti"))
        return _recorded(first.height, known.height, rows, ours)

    def record_refresh(self, source: Source, cursor: datetime | None) -> None:
        """Record that a source has just been read to its end; the next read starts at `cursor`, None if it has none."""
        with self._database.write() as connection:
            row = {"source": source, "refreshed_at": self._clock(), "cursor": cursor}
            put(connection, refreshes, pl.DataFrame([row]))

    def last_refresh(self, source: Source) -> tuple[datetime, datetime | None] | None:
        """Return when a source was last read and the cursor of the next read (both UTC); None if never read."""
        statement = select(refreshes.c.refreshed_at, refreshes.c.cursor).where(refreshes.c.source == source)
        with self._database.read() as connection:
            found = connection.execute(statement).one_or_none()
        return None if found is None else (found.refreshed_at, found.cursor)


def _sends_of(connection: Connection, rows: pl.DataFrame) -> pl.DataFrame:
    """Return the sends of the rows that are in the ledger: send_id, has_key (whether it has a person key)."""
    has_key = or_(*(key.is_not(None) for key in PERSON))
    which = one_of(connection, sends.c.send_id, rows.get_column("send_id"))
    return fetch(connection, select(sends.c.send_id, has_key.label("has_key")).where(which))


def _replace_comments(connection: Connection, changed: pl.DataFrame) -> None:
    connection.execute(delete(comments).where(one_of(connection, comments.c.send_id, changed.get_column("send_id"))))
    kept = changed.filter("has_key").drop_nulls("comment").select("send_id", "comment")
    insert_rows(connection, comments, kept)


def _recorded(now: int, before: int, rows: pl.DataFrame, ours: pl.DataFrame) -> Recorded:
    strangers = rows.join(ours, on="send_id", how="anti").get_column("send_id").n_unique()
    return Recorded(new=now - before, known=before, strangers=strangers)
