"""The parts that all hospital readers share: statement, window, column check.

The adapters open the databases; the rules decide which rows are surveyed. An unreadable database is a SourceError,
never an empty result.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import date, datetime, time, timedelta
from typing import Final

import polars as pl

from track_pipeline.config.files import package_file
from track_pipeline.domain.his.table import system
from track_pipeline.domain.hospital import Hospital
from track_pipeline.domain.schema import DATABASE_COLUMN
from track_pipeline.errors import ConfigError
from track_pipeline.ports import SourceError

# A day without encounters, which all databases can compare with.
EMPTY_DAY: Final = date(1900, 1, 1)


@contextmanager
def naming(hospital: Hospital) -> Iterator[None]:
    """Add the hospital's code to a SourceError raised in the block."""
    try:
        yield
    except SourceError as error:
        error.hospital = hospital.code
        raise


def statement(hospital: Hospital) -> str:
    """Return the hospital's extract statement, with binds `:window_start` and `:window_end`.

    Raises ConfigError when it cannot be built.
    """
    name = f"sql/{hospital.his}.sql"
    text = package_file(name).read_text(encoding="utf-8")
    replacement = system(hospital.his).email_replacement(hospital.email_source)
    if replacement is None:
        return text
    shipped, wanted = replacement
    if text.count(shipped) != 1:
        raise ConfigError(f"{name}: expected {shipped} exactly once; restore it or adapt email_source")
    return text.replace(shipped, wanted)


def window(day: date) -> dict[str, datetime]:
    """Return the bind values of a day: half-open, naive wall time, because the databases store no time zone."""
    start = datetime.combine(day, time.min)
    return {"window_start": start, "window_end": start + timedelta(days=1)}


def conform(frame: pl.DataFrame, his: str, database: str) -> pl.DataFrame:
    """Return the batch with `database` as first column and the column types of the system's raw schema.

    NUL characters are removed from texts, since PostgreSQL does not accept them. Raises SourceError when columns are
    missing or unexpected, when a value does not fit its type, or when a row has no encounter number.
    """
    wanted = system(his).raw
    _check_columns(frame.columns, wanted.names(), database)
    other_types = {name: kind for name, kind in wanted.items() if frame.schema[name] != kind}
    if faults := [fault for name, kind in other_types.items() if (fault := _misfit(frame, name, kind))]:
        raise SourceError(
            database,
            f"values that do not fit the expected type in {', '.join(faults)}",
            "compare the columns' types with domain/his/ before extracting again",
        )
    identifier = system(his).columns.encounter
    nameless = frame.get_column(identifier).null_count()
    if nameless:
        raise SourceError(
            database, f"{nameless} rows without {identifier}", "correct the view or table that the statement reads"
        )
    return _without_nul(
        frame.select(
            pl.lit(database).alias(DATABASE_COLUMN),
            *(_cast(name, frame.schema[name], wanted[name]) for name in wanted),
        )
    )


def _check_columns(given: list[str], wanted: list[str], database: str) -> None:
    faults = []
    if missing := [name for name in wanted if name not in given]:
        faults.append(f"columns missing: {', '.join(missing)}")
    if unexpected := [name for name in given if name not in wanted]:
        faults.append(f"columns not expected: {', '.join(unexpected)}")
    if faults:
        raise SourceError(
            database, "; ".join(faults), "compare the statement in sql/ with domain/his/ before extracting again"
        )


def _misfit(frame: pl.DataFrame, name: str, wanted: pl.DataType) -> str | None:
    """Return the column and how many values do not fit its type, without any value; None when all fit."""
    given = frame.schema[name]
    try:
        lost = frame.select(_lost(name, given, wanted).sum()).item()
    except (pl.exceptions.PolarsError, pl.exceptions.PanicException):
        # Types without a conversion, or bytes that are not text; the library's message quotes values.
        return f"{name} (all of it: {given})"
    if given.is_nested():
        return f"{name} (all of it: {given})"
    return f"{name} ({lost} values)" if lost else None


def _cast(name: str, given: pl.DataType, wanted: pl.DataType) -> pl.Expr:
    column = pl.col(name)
    if given.is_float() and wanted == pl.String:
        # A NUMBER without precision arrives as a float: the area code 27.0 is the text "27".
        column = column.cast(pl.Int64, strict=False)
    return column.cast(wanted, strict=False)


def _without_nul(frame: pl.DataFrame) -> pl.DataFrame:
    """Remove NUL characters from texts.

    Only columns with a NUL are rewritten: they are rare, and texts are most of the data of a large day.
    """
    holds = frame.select(pl.col(pl.String).str.contains("\0", literal=True).any())
    columns = [column.name for column in holds if column.item()]
    return frame.with_columns(pl.col(columns).str.replace_all("\0", "", literal=True))


def _lost(name: str, given: pl.DataType, wanted: pl.DataType) -> pl.Expr:
    column = pl.col(name)
    lost = column.is_not_null() & _cast(name, given, wanted).is_null()
    return lost | (column % 1 != 0) if given.is_float() else lost
