"""The `HospitalReader` for DuckDB: the embedded default, also for trying a hospital without its Oracle database.

It runs the same statements as Oracle. A connector provides the databases: files of a folder here, synthetic databases
in `demo/hospitals.py`.
"""

import re
from collections.abc import Callable, Iterator, Mapping
from contextlib import closing
from datetime import date
from pathlib import Path

import duckdb
import polars as pl

from track_pipeline.adapters.hospitals.extract import EMPTY_DAY, conform, naming, statement, window
from track_pipeline.domain.hospital import Hospital
from track_pipeline.ports import SourceError

# Returns a connection to the database of an alias with at least the data of a day; the reader closes it.
Connector = Callable[[str, date], duckdb.DuckDBPyConnection]


class DuckDbReader:
    """Extracts hospital-days through a connector; `databases` maps a hospital's code to the aliases it reads."""

    def __init__(self, connect: Connector, databases: Mapping[str, tuple[str, ...]]) -> None:
        self._connect = connect
        self._databases = databases

    def extract(self, hospital: Hospital, day: date) -> Iterator[pl.DataFrame]:
        """See `HospitalReader.extract`; one batch per database."""
        query = re.sub(r":(window_start|window_end)\b", r"$\1", statement(hospital))
        with naming(hospital):
            for database in self._databases[hospital.code]:
                with closing(self._connect(database, day)) as connection:
                    yield conform(_frame(connection, query, day, database), hospital.his, database)

    def probe(self, hospital: Hospital) -> dict[str, str]:
        """See `HospitalReader.probe`."""
        for _ in self.extract(hospital, EMPTY_DAY):
            pass
        return dict.fromkeys(self._databases[hospital.code], f"DuckDB {duckdb.__version__}")


def folder_connector(folder: Path) -> Connector:
    """Return a connector to `<ALIAS>.duckdb` files in `folder`, opened read-only.

    The connector raises SourceError when a file is missing or cannot be opened.
    """

    def connect(database: str, _day: date) -> duckdb.DuckDBPyConnection:
        path = folder / f"{database}.duckdb"
        if not path.is_file():
            raise SourceError(database, f"there is no file {path}", "put it there or name the folder that holds it")
        try:
            # No external access: a view in the file could otherwise read or download other files.
            return duckdb.connect(path, read_only=True, config={"enable_external_access": "false"})
        except duckdb.Error as error:
            raise SourceError(
                database,
                f"{path} cannot be opened ({type(error).__name__})",
                "check that it is a DuckDB file and that no program is writing to it",
            ) from None

    return connect


def _frame(connection: duckdb.DuckDBPyConnection, query: str, day: date, database: str) -> pl.DataFrame:
    try:
        # Through the Arrow C stream interface: no pyarrow needed, whose import takes longer than a query.
        return pl.DataFrame(connection.sql(query, params=window(day)))
    except (duckdb.BinderException, duckdb.CatalogException) as error:
        # These two errors name tables and columns; only the first line is used, since the rest quotes the statement.
        raise SourceError(
            database, str(error).partition("\n")[0], "compare the database's tables with the statement in sql/"
        ) from None
    except (duckdb.Error, pl.exceptions.PolarsError) as error:
        # Other messages may quote a row. Polars raises the errors that DuckDB meets while it streams rows.
        raise SourceError(
            database, f"the query failed ({type(error).__name__})", "run the statement in sql/ by hand to see why"
        ) from None
