"""The pauses of sending; `domain.pauses` defines their scopes."""

import polars as pl
from sqlalchemy import delete, select

from track_pipeline.adapters.ledger.database import Store
from track_pipeline.adapters.ledger.frames import fetch, insert_new
from track_pipeline.adapters.ledger.tables import pauses


class Pauses(Store):
    """The part of the ledger that stores pauses."""

    def add(self, scope: str, reason: str, source: str) -> bool:
        """Pause `all`, `hospital:<code>` or `channel:<name>`; False, without a change, if it is already paused."""
        row = {"scope": scope, "reason": reason, "source": source, "since": self._clock()}
        with self._database.write() as connection:
            return insert_new(connection, pauses, pl.DataFrame([row])) > 0

    def remove(self, scope: str) -> bool:
        """End the pause of a scope; False when there is none."""
        with self._database.write() as connection:
            return connection.execute(delete(pauses).where(pauses.c.scope == scope)).rowcount > 0

    def all(self) -> pl.DataFrame:
        """Return the pauses, oldest first: scope, reason, source, since."""
        with self._database.read() as connection:
            return fetch(connection, select(pauses).order_by(pauses.c.since, pauses.c.scope))
