"""What is paused; the scopes are in `domain.pauses`."""

import polars as pl
from sqlalchemy import delete, select

from track_pipeline.adapters.ledger.database import Store
from track_pipeline.adapters.ledger.frames import fetch, insert_new
from track_pipeline.adapters.ledger.tables import pauses


class Pauses(Store):
    """The part of the ledger that knows the pauses."""

    def add(self, scope: str, reason: str, source: str) -> bool:
        """Pauses `all`, `hospital:<code>` or `channel:<name>`; False, and no change, when it already is paused."""
        row = {"scope": scope, "reason": reason, "source": source, "since": self._clock()}
        with self._database.write() as connection:
            return insert_new(connection, pauses, pl.DataFrame([row])) > 0

    def remove(self, scope: str) -> bool:
        """Ends a pause; False when there is none."""
        with self._database.write() as connection:
            return connection.execute(delete(pauses).where(pauses.c.scope == scope)).rowcount > 0

    def all(self) -> pl.DataFrame:
        """What is paused, oldest first: scope, reason, source, since."""
        with self._database.read() as connection:
            return fetch(connection, select(pauses).order_by(pauses.c.since, pauses.c.scope))
