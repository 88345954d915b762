"""The problems that people were told of and that are not over, so that each is told once, and its end too.

What is a problem, and the words for it, are the services'.
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
    """The part of the ledger that knows what is wrong now."""

    def open(self, rows: Iterable[Mapping[str, Any]]) -> int:
        """Opens alerts (all columns but the times), but for those open already; returns how many."""
        new = [{**row, "opened_at": self._clock()} for row in rows]
        with self._database.write() as connection:
            return insert_new(connection, alerts, pl.DataFrame(new))

    def close(self, keys: Collection[str]) -> pl.DataFrame:
        """Closes alerts; returns those that were open, as `alerts` does. Of several who close one, one gets it."""
        with self._database.write() as connection:
            which = one_of(connection, alerts.c.key, keys)
            closed = fetch(connection, select(alerts).where(which).order_by(alerts.c.opened_at, alerts.c.key))
            connection.execute(delete(alerts).where(which))
            return closed

    def all(self) -> pl.DataFrame:
        """What is open, all columns of the table, oldest first; `told_at` is null until people were told."""
        with self._database.read() as connection:
            return fetch(connection, select(alerts).order_by(alerts.c.opened_at, alerts.c.key))

    def take_unreported(self, again_after: timedelta) -> pl.DataFrame:
        """The open alerts that nobody was told of, or so long ago; marked as told, so that one caller gets each."""
        now = self._clock()
        with self._database.write() as connection:
            is_due = or_(alerts.c.told_at.is_(None), alerts.c.told_at <= now - again_after)
            due = fetch(connection, select(alerts).where(is_due).order_by(alerts.c.opened_at, alerts.c.key))
            which = one_of(connection, alerts.c.key, due.get_column("key"))
            connection.execute(update(alerts).where(which).values(told_at=now))
            return due

    def return_unreported(self, keys: Iterable[str]) -> None:
        """Takes back that people were told, for a channel that failed."""
        with self._database.write() as connection:
            which = one_of(connection, alerts.c.key, keys)
            connection.execute(update(alerts).where(which).values(told_at=None))
