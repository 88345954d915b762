"""The counts behind the NPS: how many were asked, how many were reached, how many answered, and with what score.

Only questions belong here; the score itself, its interval and who may see it are elsewhere.
"""

from datetime import date
from typing import Final

import polars as pl
from sqlalchemy import Connection, and_, case, exists, func, select

from track_pipeline.adapters.ledger.database import Store, between, fetch, matches
from track_pipeline.adapters.ledger.sends import IS_INVITATION
from track_pipeline.adapters.ledger.tables import answers, deliveries, sends

# The net promoter score's own limits: 9 and 10 promote, 0 to 6 detract, the rest is passive.
_PROMOTER_FROM: Final = 9
_DETRACTOR_TO: Final = 6

_GROUP: Final = ("cohort_date", "hospital", "unit", "area", "channel")


class Responses(Store):
    """The part of the ledger that counts what came back."""

    def response_counts(self, dates: tuple[date, date] | None = None, hospital: str | None = None) -> pl.DataFrame:
        """What came of the invitations that were sent, an encounter counting once, by its invitation's channel.

        date (the partition's), hospital, unit, area, channel, sent, delivered, answered, promoters, passives,
        detractors. `dates` are a first and a last day, both included; None is ever. An answer to any send counts for
        the encounter, of several the first with a score; without a score it is `answered` only. `delivered` is null
        where it is not known: nothing was heard of the row's messages, or the channel never says `delivered`.
        """
        of_interest = and_(
            IS_INVITATION,
            sends.c.state == "sent",
            between(sends.c.cohort_date, dates),
            matches(sends.c.hospital, hospital),
        )
        # (polars' columns are named as the table's until the end, so that both frames join)
        with self._database.read() as connection:
            sent = _sent(connection, of_interest)
            scores = _scores(connection, of_interest)
        is_known = (pl.col("heard") > 0) & (pl.col("told").sum().over("channel") > 0)
        return (
            sent.join(scores, on=_GROUP, how="left")
            .select(
                pl.col("cohort_date").alias("date"),
                *_GROUP[1:],
                "sent",
                pl.when(is_known).then("delivered").alias("delivered"),
                pl.col("answered", "promoters", "passives", "detractors").fill_null(0),
            )
            .sort("date", *_GROUP[1:])
        )
