"""Who refuses to be written to, and what is paused.

Opt-outs are of people (keyed hashes) and permanent until undone; pauses are of hospitals and channels.
"""

from collections.abc import Iterable
from typing import Literal

import polars as pl
from sqlalchemy import Connection, delete, select, update

from track_pipeline.adapters.ledger.database import Store, fetch, insert_new, one_of
from track_pipeline.adapters.ledger.tables import opt_outs, pauses

OptOutChannel = Literal["all", "email", "whatsapp"]

_ACTIVE = opt_outs.c.removed_at.is_(None)


def active_opt_outs(connection: Connection, keys: Iterable[str]) -> pl.DataFrame:
    """The active opt-outs of those people: person_key, channel."""
    statement = select(opt_outs.c.person_key, opt_outs.c.channel).where(_ACTIVE)
    return fetch(connection, statement.where(one_of(connection, opt_outs.c.person_key, keys)))


class Consent(Store):
    """The part of the ledger that says who and what must be left alone."""

    def opt_out(self, person_key: str, channel: OptOutChannel, source: str) -> bool:
        """Records that a person refuses a channel; False when they already did."""
        row = {"person_key": person_key, "channel": channel, "source": source, "added_at": self._clock()}
        with self._database.write() as connection:
            return insert_new(connection, opt_outs, [row])

    def opt_in(self, person_key: str, channel: OptOutChannel) -> bool:
        """Undoes the person's opt-out of exactly that channel; False when there is none."""
        statement = update(opt_outs).where(opt_outs.c.person_key == person_key, opt_outs.c.channel == channel, _ACTIVE)
        with self._database.write() as connection:
            return connection.execute(statement.values(removed_at=self._clock())).rowcount > 0

    def opt_outs(self) -> pl.DataFrame:
        """All active opt-outs, oldest first: person_key, channel, source, added_at."""
        columns = (opt_outs.c.person_key, opt_outs.c.channel, opt_outs.c.source, opt_outs.c.added_at)
        with self._database.read() as connection:
            return fetch(connection, select(*columns).where(_ACTIVE).order_by(opt_outs.c.added_at, opt_outs.c.id))

    def opted_out(self, keys: Iterable[str]) -> pl.DataFrame:
        """The active opt-outs of those people: person_key, channel."""
        with self._database.read() as connection:
            return active_opt_outs(connection, keys)

    def pause(self, scope: str, reason: str, source: str) -> bool:
        """Pauses `all`, `hospital:<code>` or `channel:<name>`; False, and no change, when it already is paused."""
        row = {"scope": scope, "reason": reason, "source": source, "since": self._clock()}
        with self._database.write() as connection:
            return insert_new(connection, pauses, [row])

    def resume(self, scope: str) -> bool:
        """Ends a pause; False when there is none."""
        with self._database.write() as connection:
            return connection.execute(delete(pauses).where(pauses.c.scope == scope)).rowcount > 0

    def pauses(self) -> pl.DataFrame:
        """What is paused, oldest first: scope, reason, source, since."""
        with self._database.read() as connection:
            return fetch(connection, select(pauses).order_by(pauses.c.since, pauses.c.scope))
