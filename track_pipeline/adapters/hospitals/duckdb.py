"""The reader port on DuckDB: the embedded default, and the way to try a hospital without its Oracle.

It runs the same statements as Oracle. Where the databases come from is the connector's business:
files of a folder here, synthetic ones in `demo/hospitals.py`.
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

# A connection to the database of that alias, holding at least what concerns that day; the reader closes it.
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
    """A connector to `<ALIAS>.duckdb` files in `folder`, opened read-only.

    It raises SourceError when a file is missing or cannot be opened.
    """

    def connect(database: str, _day: date) -> duckdb.DuckDBPyConnection:
        path = folder / f"{database}.duckdb"
        if not path.is_file():
            raise SourceError(database, f"there is no file {path}", "put it there or name the folder that holds it")
        try:
            # What is in the file may not lead out of it: a view could read any other file, or fetch one.
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
        # Taken as a stream of Arrow's C interface: neither side needs pyarrow, whose import takes longer than a query.
        return pl.DataFrame(connection.sql(query, params=window(day)))
    except (duckdb.BinderException, duckdb.CatalogException) as error:
        # These two speak of tables and columns; only their first line is taken, the rest quotes the statement.
        raise SourceError(
            database, str(error).partition("\n")[0], "compare the database's tables with the statement in sql/"
        ) from None
    except (duckdb.Error, pl.exceptions.PolarsError) as error:
        # Other messages may quote a row. Polars passes on what DuckDB met on the way.
        raise SourceError(
            database, f"the query failed ({type(error).__name__})", "run the statement in sql/ by hand to see why"
        ) from None
