"""Reads and writes whole polars frames in the ledger's database, many rows per statement, on both databases.

Lookup values are sent as one JSON document or one array, because the number of bind parameters is limited.
"""

import json
from collections.abc import Iterable
from datetime import date, datetime
from typing import Any, Final, TypeVar

import polars as pl
from sqlalchemy import (
    ColumnElement,
    CompoundSelect,
    Connection,
    Dialect,
    Select,
    String,
    Table,
    and_,
    any_,
    cast,
    column,
    func,
    literal,
    select,
    tuple_,
)
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.types import TypeEngine, UserDefinedType

from track_pipeline.domain.schema import UTC_TIME

T = TypeVar("T")
U = TypeVar("U")

_POLARS: Final[dict[type, pl.DataType]] = {
    str: pl.String(),
    int: pl.Int64(),
    bool: pl.Boolean(),
    date: pl.Date(),
    datetime: UTC_TIME,
}
# SQLite: SQLAlchemy's text format of instants, since SQLite compares them as texts. PostgreSQL: with the time zone.
_INSTANT: Final = {"sqlite": "%Y-%m-%d %H:%M:%S%.6f", "postgresql": "%Y-%m-%d %H:%M:%S%.6f+00"}
# This number of rows takes a few megabytes.
_ROWS_AT_ONCE: Final = 20_000


def fetch(connection: Connection, statement: Select[Any] | CompoundSelect[Any]) -> pl.DataFrame:
    """Return the rows of a query as a frame with the query's column names and types; instants are UTC."""
    schema = {each.name: _POLARS[each.type.python_type] for each in statement.selected_columns}
    rows = [tuple(row) for row in connection.execute(statement)]
    # Most lookups find nothing, and an empty frame is faster to build this way.
    return pl.DataFrame(rows, schema=schema, orient="row") if rows else pl.DataFrame(schema=schema)


def insert_rows(connection: Connection, table: Table, rows: pl.DataFrame) -> None:
    """Insert rows whose columns are all or some of the table's. Raises ValueError for instants without a zone."""
    _insert(connection, _insert_into(connection, table), rows)


def insert_new(connection: Connection, table: Table, rows: pl.DataFrame) -> int:
    """Insert the rows that break no unique constraint, and return how many."""
    return _insert(connection, _insert_into(connection, table).on_conflict_do_nothing(), rows)


def put(connection: Connection, table: Table, rows: pl.DataFrame) -> None:
    """Insert whole rows; each replaces the row with the same primary key."""
    statement = _insert_into(connection, table)
    values = {each.name: statement.excluded[each.name] for each in table.c if not each.primary_key}
    _insert(connection, statement.on_conflict_do_update(index_elements=list(table.primary_key), set_=values), rows)


def one_of(connection: Connection, values_of: ColumnElement[T], values: Iterable[T]) -> ColumnElement[bool]:
    """Return the condition that a column is one of any number of values."""
    listed = values.to_list() if isinstance(values, pl.Series) else list(values)
    if connection.dialect.name == "postgresql":
        return values_of == any_(_array(values_of, listed))
    return values_of.in_(select(func.json_each(json.dumps(listed)).table_valued("value").c.value))


def one_of_pairs(
    connection: Connection, one: ColumnElement[T], other: ColumnElement[U], pairs: pl.DataFrame
) -> ColumnElement[bool]:
    """Return the condition that two columns match a pair of the two-column frame.

    On SQLite it also matches every other combination of the first and second values. Both forms make the database
    use the index of the two columns: SQLite does not use it for pairs, and PostgreSQL without statistics uses an
    index of `one` alone for two lists, even if that index is not selective.
    """
    first, second = pairs.iter_columns()
    if connection.dialect.name == "postgresql":
        rows = (
            func.unnest(_array(one, first.to_list()), _array(other, second.to_list()))
            .table_valued("one", "other")
            .render_derived()
        )
        return tuple_(one, other).in_(select(rows.c.one, rows.c.other))
    return and_(one_of(connection, one, first), one_of(connection, other, second))


class _Array(UserDefinedType[str]):
    """PostgreSQL's array of a type as a literal: the planner treats it as a constant, unlike a cast of a text."""

    cache_ok = True
    render_bind_cast = True

    def __init__(self, of: TypeEngine[Any]) -> None:
        self.of = of

    def get_col_spec(self, **_kw: object) -> str:
        dialect: Dialect = postgresql.dialect()  # type: ignore[no-untyped-call]
        return f"{self.of.compile(dialect=dialect)}[]"


def _array(values_of: ColumnElement[T], values: list[T]) -> ColumnElement[Any]:
    """Build an array literal of PostgreSQL as text; the driver's own conversion takes as long as the whole lookup."""
    texts = [*map(str, values)]
    all_of_them = "".join(texts)
    if '"' in all_of_them or "\\" in all_of_them:
        texts = [text.replace("\\", "\\\\").replace('"', '\\"') for text in texts]
    quoted = '","'.join(texts)
    return literal(f'{{"{quoted}"}}' if texts else "{}", _Array(values_of.type))


def _insert_into(connection: Connection, table: Table) -> postgresql.Insert | sqlite.Insert:
    return (postgresql.insert if connection.dialect.name == "postgresql" else sqlite.insert)(table)


def _insert(connection: Connection, statement: postgresql.Insert | sqlite.Insert, rows: pl.DataFrame) -> int:
    """Run an insert statement for the rows and return how many it inserted."""
    insert = _insert_on_postgresql if connection.dialect.name == "postgresql" else _insert_on_sqlite
    parts = _written(rows, connection.dialect.name).iter_slices(_ROWS_AT_ONCE)
    return sum(insert(connection, statement, part) for part in parts)


def _insert_on_postgresql(
    connection: Connection, statement: postgresql.Insert | sqlite.Insert, rows: pl.DataFrame
) -> int:
    """Insert the rows as one JSON document: executemany would send and plan each row separately."""
    of_row = [column(name, statement.table.c[name].type) for name in rows.columns]
    document = cast(literal(rows.write_json(), String()), postgresql.JSON)
    read = func.json_to_recordset(document).table_valued(*of_row).render_derived(with_types=True)
    whole = statement.from_select(rows.columns, select(*read.c), include_defaults=False)
    return connection.execute(whole.execution_options(preserve_rowcount=True)).rowcount


def _insert_on_sqlite(connection: Connection, statement: postgresql.Insert | sqlite.Insert, rows: pl.DataFrame) -> int:
    """Insert the rows with the driver directly: it knows all remaining types, and SQLAlchemy would check each value."""
    compiled = statement.inline().compile(connection, column_keys=rows.columns, for_executemany=True)
    values = rows.select(compiled.positiontup or []).rows()
    options = {"preserve_rowcount": True}
    return connection.exec_driver_sql(str(compiled), values, execution_options=options).rowcount


def _written(rows: pl.DataFrame, dialect: str) -> pl.DataFrame:
    """Convert dates and instants of the rows to texts that the database reads."""
    instants = {name: kind for name, kind in rows.schema.items() if isinstance(kind, pl.Datetime)}
    if any(kind.time_zone is None for kind in instants.values()):
        raise ValueError("a datetime without a time zone cannot be written to the ledger; make it aware first")
    written = (pl.col(name).dt.convert_time_zone("UTC").dt.strftime(_INSTANT[dialect]) for name in instants)
    return rows.with_columns(pl.col(pl.Date).dt.strftime("%Y-%m-%d"), *written)
