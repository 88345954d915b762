"""Whether a ledger is there, migrated and writable, found out without changing anything in it."""

from contextlib import closing
from dataclasses import dataclass

from sqlalchemy import false, insert, select

from track_pipeline.adapters.ledger.database import HEAD, connect, version_of
from track_pipeline.adapters.ledger.tables import metadata


@dataclass(frozen=True)
class LedgerHealth:
    """Where a ledger is (no user, no password), the newest migration that it has, and the one that it should have."""

    place: str
    version: str | None
    wanted: str = HEAD


def ledger_health(url: str) -> LedgerHealth:
    """Looks at the ledger at `url` and, where it is migrated, tries the right to write to each of its tables.

    A SQLite file is created, empty, when there is none. Raises ConfigError for a URL of another kind, LedgerError
    when the database cannot be reached, read or written.
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
