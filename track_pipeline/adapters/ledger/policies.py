"""The policies that sends were made under, kept whole for as long as the sends are."""

import polars as pl
from sqlalchemy import select

from track_pipeline.adapters.ledger.database import Store
from track_pipeline.adapters.ledger.frames import insert_new
from track_pipeline.adapters.ledger.tables import policies


class Policies(Store):
    """The part of the ledger that keeps policies."""

    def remember(self, version: str, document: str) -> None:
        """Keeps the policy (as JSON) that sends of that version are made under; one that is there stays as it is."""
        if self.document(version) is not None:
            return
        row = {"version": version, "document": document, "first_used_at": self._clock()}
        with self._database.write() as connection:
            insert_new(connection, policies, pl.DataFrame([row]))

    def document(self, version: str) -> str | None:
        """The policy of a version, as JSON; None when nothing was sent under it."""
        with self._database.read() as connection:
            return connection.execute(select(policies.c.document).where(policies.c.version == version)).scalar()
