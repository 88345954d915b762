"""Who refuses to be written to, who agreed to be, and what is paused.

Opt-outs are of people (keyed hashes) and permanent until undone; pauses are of hospitals and channels.
"""

from collections.abc import Iterable
from datetime import datetime
from typing import Final

import polars as pl
from sqlalchemy import Connection, delete, select, update

from track_pipeline.adapters.ledger.database import Store
from track_pipeline.adapters.ledger.frames import fetch, insert_new, one_of, put
from track_pipeline.adapters.ledger.tables import consents, opt_outs, pauses
from track_pipeline.domain.channels import Channel, OptOutChannel

# What may be brought in about many people at once.
OPT_OUTS: Final = pl.Schema({"person_key": pl.String(), "channel": pl.String(), "source": pl.String()})
CONSENTS: Final = pl.Schema({**OPT_OUTS, "given_at": pl.Date(), "text_version": pl.String()})

_ACTIVE = opt_outs.c.removed_at.is_(None)
_ONE: Final = ["person_key", "channel"]


def active_opt_outs(connection: Connection, keys: Iterable[str], known_at: datetime | None = None) -> pl.DataFrame:
    """The active opt-outs of those people, or only those recorded by an instant: person_key, channel."""
    statement = select(opt_outs.c.person_key, opt_outs.c.channel).where(_ACTIVE)
    if known_at is not None:
        statement = statement.where(opt_outs.c.added_at <= known_at)
    return fetch(connection, statement.where(one_of(connection, opt_outs.c.person_key, keys)))


class Consent(Store):
    """The part of the ledger that says who and what must be left alone."""

    def opt_out(self, person_key: str, channel: OptOutChannel, source: str) -> bool:
        """Records that a person refuses a channel; False when they already did."""
        row = {"person_key": person_key, "channel": channel, "source": source}
        return self.opt_out_many(pl.DataFrame([row], schema=OPT_OUTS)) > 0

    def opt_out_many(self, rows: pl.DataFrame) -> int:
        """Records that people (`OPT_OUTS`) refuse a channel; returns for how many of the rows that is new."""
        rows = rows.select(OPT_OUTS.names()).with_columns(added_at=pl.lit(self._clock()))
        with self._database.write() as connection:
            return insert_new(connection, opt_outs, rows)

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

    def opted_out(self, keys: Iterable[str], known_at: datetime) -> pl.DataFrame:
        """The active opt-outs of those people that were recorded by an instant: person_key, channel."""
        with self._database.read() as connection:
            return active_opt_outs(connection, keys, known_at)

    def record_consents(self, rows: pl.DataFrame) -> int:
        """Records evidence of consent (`CONSENTS`), the newest per person and channel; returns how many had none."""
        rows = rows.select(CONSENTS.names()).with_columns(recorded_at=pl.lit(self._clock()))
        with self._database.write() as connection:
            which = one_of(connection, consents.c.person_key, rows.get_column("person_key"))
            known = fetch(connection, select(consents).where(which))
            # Of two on one day, the one that was there stays.
            newest = pl.concat([known, rows.select(known.columns)]).sort(
                "given_at", descending=True, maintain_order=True
            ).unique(_ONE, keep="first", maintain_order=True)  # fmt: skip
            put(connection, consents, newest.join(known, on=[*_ONE, "given_at"], how="anti"))
            return newest.height - known.height

    def consented(self, keys: Iterable[str], channel: Channel) -> pl.DataFrame:
        """Who of those people agreed to the channel: person_key."""
        statement = select(consents.c.person_key).where(consents.c.channel == channel)
        with self._database.read() as connection:
            return fetch(connection, statement.where(one_of(connection, consents.c.person_key, keys)))

    def pause(self, scope: str, reason: str, source: str) -> bool:
        """Pauses `all`, `hospital:<code>` or `channel:<name>`; False, and no change, when it already is paused."""
        row = {"scope": scope, "reason": reason, "source": source, "since": self._clock()}
        with self._database.write() as connection:
            return insert_new(connection, pauses, pl.DataFrame([row])) > 0

    def resume(self, scope: str) -> bool:
        """Ends a pause; False when there is none."""
        with self._database.write() as connection:
            return connection.execute(delete(pauses).where(pauses.c.scope == scope)).rowcount > 0

    def pauses(self) -> pl.DataFrame:
        """What is paused, oldest first: scope, reason, source, since."""
        with self._database.read() as connection:
            return fetch(connection, select(pauses).order_by(pauses.c.since, pauses.c.scope))
