"""Open alerts, stored so that each problem and its end are reported once.

Services decide what is a problem and write the texts.
"""

from collections.abc import Collection, Iterable, Mapping
from datetime import timedelta
from typing import Any

import polars as pl
from sqlalchemy import delete, or_, select, update

from track_pipeline.adapters.ledger.database import Store
from track_pipeline.adapters.ledger.frames import fetch, insert_new, one_of
from track_pipeline.adapters.ledger.tables import alerts


class Alerts(Store):
    """The part of the ledger that stores open alerts."""

    def open(self, rows: Iterable[Mapping[str, Any]]) -> int:
        """Open the alerts that are not open yet, and return how many; rows have all columns but the times."""
        new = [{**row, "opened_at": self._clock()} for row in rows]
        with self._database.write() as connection:
            return insert_new(connection, alerts, pl.DataFrame(new))

    def close(self, keys: Collection[str]) -> pl.DataFrame:
        """Close alerts and return those that were open, as `all` does.

        When several processes close the same alert, only one of them receives it.
        """
        with self._database.write() as connection:
            which = one_of(connection, alerts.c.key, keys)
            closed = fetch(connection, select(alerts).where(which).order_by(alerts.c.opened_at, alerts.c.key))
            connection.execute(delete(alerts).where(which))
            return closed

    def all(self) -> pl.DataFrame:
        """Return the open alerts, all columns of the table, oldest first; `told_at` is null until reported."""
        with self._database.read() as connection:
            return fetch(connection, select(alerts).order_by(alerts.c.opened_at, alerts.c.key))

    def take_unreported(self, again_after: timedelta) -> pl.DataFrame:
        """Return the open alerts that were never reported, or last reported at least `again_after` ago.

        They are marked as reported, so that only one caller gets each alert.
        """
        now = self._clock()
        with self._database.write() as connection:
            is_due = or_(alerts.c.told_at.is_(None), alerts.c.told_at <= now - again_after)
            due = fetch(connection, select(alerts).where(is_due).order_by(alerts.c.opened_at, alerts.c.key))
            which = one_of(connection, alerts.c.key, due.get_column("key"))
            connection.execute(update(alerts).where(which).values(told_at=now))
            return due

    def return_unreported(self, keys: Iterable[str]) -> None:
        """Mark alerts as not reported again, after their delivery failed."""
        with self._database.write() as connection:
            which = one_of(connection, alerts.c.key, keys)
            connection.execute(update(alerts).where(which).values(told_at=None))
