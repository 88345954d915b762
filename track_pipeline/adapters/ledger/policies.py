"""The complete policies under which sends were made, kept as long as the sends."""

import polars as pl
from sqlalchemy import select

from track_pipeline.adapters.ledger.database import Store
from track_pipeline.adapters.ledger.frames import insert_new
from track_pipeline.adapters.ledger.tables import policies


class Policies(Store):
    """The part of the ledger that stores policies."""

    def remember(self, version: str, document: str) -> None:
        """Store the policy (as JSON) of a version; a stored one is not changed."""
        if self.document(version) is not None:
            return
        row = {"version": version, "document": document, "first_used_at": self._clock()}
        with self._database.write() as connection:
            insert_new(connection, policies, pl.DataFrame([row]))

    def document(self, version: str) -> str | None:
        """Return the policy of a version as JSON; None when it is not stored, since nothing was sent under it."""
        with self._database.read() as connection:
            return connection.execute(select(policies.c.document).where(policies.c.version == version)).scalar()
