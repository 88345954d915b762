"""Synthetic hospital databases in DuckDB: in memory for the demo, where several processes read at once, or as files.

Their contents depend only on seed, database, day and the time of the read, and come from `demo/encounters.py`. The
tables depend on the database's system (`demo/his/`).
"""

import math
from collections.abc import Callable, Iterable, Sequence
from datetime import date, datetime, timedelta
from pathlib import Path
from typing import Final

import duckdb
import polars as pl

from track_pipeline.adapters.hospitals.duckdb import Connector
from track_pipeline.demo.encounters import cohort
from track_pipeline.demo.his.system import DatabaseProfile
from track_pipeline.domain.encounter import GROUP_TIME_ZONE
from track_pipeline.ports import SourceError

ENCOUNTERS_PER_DAY: Final = 300

# The database of a day also has some encounters with the cohort dates of neighbouring days, such as a patient who came
# on that day and left later. Times are wall time in `GROUP_TIME_ZONE`.
_NEIGHBOURS: Final = (-1, 1, 2, 3)
_NEIGHBOUR_SHARE: Final = 0.1


def synthetic_connector(
    profiles: Iterable[DatabaseProfile],
    seed: int,
    as_of: Callable[[], datetime],
    encounters_per_day: int = ENCOUNTERS_PER_DAY,
) -> Connector:
    """Return a connector to in-memory databases with the encounters around the day that is read.

    `as_of` returns the time of the read (aware): a discharge is visible once it has been typed. The connector raises
    SourceError for an alias without a profile.
    """
    known = {profile.alias: profile for profile in profiles}

    def connect(database: str, day: date) -> duckdb.DuckDBPyConnection:
        if database not in known:
            raise SourceError(database, "there is no synthetic database of that alias", "give it a DatabaseProfile")
        connection = duckdb.connect()
        _fill(connection, known[database], seed, as_of(), encounters_per_day, [day])
        return connection

    return connect


def write_database(
    folder: Path,
    profile: DatabaseProfile,
    seed: int,
    as_of: datetime,
    days: Sequence[date],
    encounters_per_day: int = ENCOUNTERS_PER_DAY,
) -> Path:
    """Write `<ALIAS>.duckdb` with the encounters of those days into the folder, and return its path.

    The file must not exist yet. `as_of` (aware) is the time of the read, as in `synthetic_connector`.
    """
    path = folder / f"{profile.alias}.duckdb"
    with duckdb.connect(path) as connection:
        _fill(connection, profile, seed, as_of, encounters_per_day, days)
    return path


def _fill(
    connection: duckdb.DuckDBPyConnection,
    profile: DatabaseProfile,
    seed: int,
    as_of: datetime,
    per_day: int,
    days: Sequence[date],
) -> None:
    encounters = _encounters(profile, seed, as_of, per_day, days)
    system = profile.system
    connection.execute(f"CREATE SCHEMA {system.schema}")
    for name, table in system.tables(profile, encounters).items():
        connection.from_arrow(table.to_arrow()).create(f"{system.schema}.{name}")
    if system.functions:
        connection.execute(system.functions)


def _encounters(
    profile: DatabaseProfile, seed: int, as_of: datetime, per_day: int, days: Sequence[date]
) -> pl.DataFrame:
    """Return the cohorts of the days and part of their neighbours', with the discharges typed by `as_of`."""
    neighbours = {day + timedelta(days=offset) for day in days for offset in _NEIGHBOURS}.difference(days)
    counts = dict.fromkeys(days, per_day) | dict.fromkeys(neighbours, math.ceil(per_day * _NEIGHBOUR_SHARE))
    frame = pl.concat(cohort(profile, seed, day, per_day, counts[day]) for day in sorted(counts))
    now = as_of.astimezone(GROUP_TIME_ZONE).replace(tzinfo=None)
    return frame.with_columns(pl.when(pl.col("recorded_at") <= now).then("discharged_at").alias("discharged_at"))
