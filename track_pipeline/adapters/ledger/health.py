"""A check that a ledger exists, is migrated and is writable, without changing its data."""

from contextlib import closing
from dataclasses import dataclass

from sqlalchemy import false, insert, select

from track_pipeline.adapters.ledger.database import HEAD, connect, version_of
from track_pipeline.adapters.ledger.tables import metadata


@dataclass(frozen=True)
class LedgerHealth:
    """The address of a ledger (no user, no password), its newest migration, and the migration it should have."""

    place: str
    version: str | None
    wanted: str = HEAD


def ledger_health(url: str) -> LedgerHealth:
    """Check the ledger at `url`; if it is migrated, also check the right to write to each of its tables.

    A missing SQLite file is created empty. Raises ConfigError for a URL of another kind, LedgerError when the
    database cannot be reached, read or written.
    """
    with closing(connect(url)) as database:
        with database.read() as connection:
            version = version_of(connection)
        if version == HEAD:
            with database.write() as connection:
                for table in metadata.sorted_tables:
                    nothing = select(table).where(false())
                    connection.execute(insert(table).from_select(table.columns.keys(), nothing, include_defaults=False))
        return LedgerHealth(repr(database), version)
