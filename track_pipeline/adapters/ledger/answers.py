"""What Track.co told of the sends: answers and delivery statuses, and how fresh they are.

The same news may come any number of times and in any order; what is kept depends on neither. What the news mean for
reminders is in `reminders`, what is counted from them in `responses`.
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

# `statuses` are those of the newest distributions, `all_statuses` those of all that may still be reminded of.
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

# What tells two answers to one send apart; the smallest is kept.
_ANSWER: Final = ["answered_at", "score", "interaction_id"]
_DELIVERY: Final = ["send_id", "status"]


@dataclass(frozen=True)
class Recorded:
    """What was news: rows that were new, rows that were known, and sends that are none of this ledger's."""

    new: int
    known: int
    strangers: int


class Answers(Store):
    """The part of the ledger that knows what came back."""

    def record(self, rows: pl.DataFrame) -> Recorded:
        """Records finished answers (`ANSWERS`), the earliest per send; counts sends.

        A comment is kept only where the send has a key of the person, since nobody else's could ever be erased.
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
            # Those of answers that were known stay as they are: gone, where they were purged.
            _replace_comments(connection, changed)
        return _recorded(first.height, known.height, rows, ours)

    def hospitals_of(self, send_ids: Iterable[str], received_from: datetime) -> list[str]:
        """The hospitals of those answers that were new since an instant, one entry per answer."""
        with self._database.read() as connection:
            statement = (
                select(sends.c.hospital)
                .join(answers, answers.c.send_id == sends.c.send_id)
                .where(one_of(connection, sends.c.send_id, send_ids), answers.c.received_at >= received_from)
            )
            return list(connection.execute(statement).scalars())

    def record_deliveries(self, rows: pl.DataFrame) -> Recorded:
        """Records delivery statuses (`DELIVERIES`), when each was first true; counts pairs of send and status."""
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
        """Notes that all there is of a source has been read just now; `cursor` is where to read on, None if nowhere."""
        with self._database.write() as connection:
            row = {"source": source, "refreshed_at": self._clock(), "cursor": cursor}
            put(connection, refreshes, pl.DataFrame([row]))

    def last_refresh(self, source: Source) -> tuple[datetime, datetime | None] | None:
        """When a source was last read, and where to read on (both UTC); None when it never was."""
        statement = select(refreshes.c.refreshed_at, refreshes.c.cursor).where(refreshes.c.source == source)
        with self._database.read() as connection:
            found = connection.execute(statement).one_or_none()
        return None if found is None else (found.refreshed_at, found.cursor)


def _sends_of(connection: Connection, rows: pl.DataFrame) -> pl.DataFrame:
    """The sends among the rows that are in the ledger: send_id, has_key."""
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
