"""Frames in and frames out of the ledger's database, whole: one statement for many rows, on both databases.

Rows travel as one JSON document, or one array, since the number of binds is limited and a call per row is not free.
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
    any_,
    cast,
    column,
    func,
    literal,
    select,
    true,
)
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.types import TypeEngine, UserDefinedType

from track_pipeline.domain.schema import UTC_TIME

T = TypeVar("T")

_POLARS: Final[dict[type, pl.DataType]] = {
    str: pl.String(),
    int: pl.Int64(),
    bool: pl.Boolean(),
    date: pl.Date(),
    datetime: UTC_TIME,
}
# As SQLAlchemy writes instants for SQLite, which compares them as texts; PostgreSQL is told the zone.
_INSTANT: Final = {"sqlite": "%Y-%m-%d %H:%M:%S%.6f", "postgresql": "%Y-%m-%d %H:%M:%S%.6f+00"}
# A document of so many rows is some megabytes.
_ROWS_AT_ONCE: Final = 20_000


def fetch(connection: Connection, statement: Select[Any] | CompoundSelect[Any]) -> pl.DataFrame:
    """The rows of a query as a frame, names and types as the query says; instants are UTC."""
    schema = {each.name: _POLARS[each.type.python_type] for each in statement.selected_columns}
    rows = [tuple(row) for row in connection.execute(statement)]
    return pl.DataFrame(rows, schema=schema, orient="row")


def insert_rows(connection: Connection, table: Table, rows: pl.DataFrame) -> None:
    """Inserts rows, whose columns are the table's or some of them."""
    for statement in _inserts(connection, table, rows):
        connection.execute(statement)


def insert_new(connection: Connection, table: Table, rows: pl.DataFrame) -> int:
    """Inserts the rows that break no unique constraint, and returns how many."""
    only_new = (statement.on_conflict_do_nothing() for statement in _inserts(connection, table, rows))
    return sum(
        connection.execute(statement.execution_options(preserve_rowcount=True)).rowcount for statement in only_new
    )


def put(connection: Connection, table: Table, rows: pl.DataFrame) -> None:
    """Inserts whole rows, each in the place of the one with its primary key."""
    for statement in _inserts(connection, table, rows):
        values = {each.name: statement.excluded[each.name] for each in table.c if not each.primary_key}
        connection.execute(statement.on_conflict_do_update(index_elements=list(table.primary_key), set_=values))


def one_of(connection: Connection, values_of: ColumnElement[T], values: Iterable[T]) -> ColumnElement[bool]:
    """Among the values, however many."""
    distinct = list(dict.fromkeys(values))
    if connection.dialect.name == "postgresql":
        return values_of == any_(literal(_array(distinct), _Array(values_of.type)))
    return values_of.in_(select(func.json_each(json.dumps(distinct)).table_valued("value").c.value))


class _Array(UserDefinedType[str]):
    """PostgreSQL's array of a type, written out: a constant to the planner, as a cast of a text would not be."""

    cache_ok = True
    render_bind_cast = True

    def __init__(self, of: TypeEngine[Any]) -> None:
        self.of = of

    def get_col_spec(self, **_kw: object) -> str:
        dialect: Dialect = postgresql.dialect()  # type: ignore[no-untyped-call]
        return f"{self.of.compile(dialect=dialect)}[]"


def _array(values: Iterable[object]) -> str:
    """An array as PostgreSQL reads it; the driver takes as long to write one as the database to look for its values."""
    quoted = (str(value).replace("\\", "\\\\").replace('"', '\\"') for value in values)
    return "{" + ",".join(f'"{value}"' for value in quoted) + "}"


def _inserts(connection: Connection, table: Table, rows: pl.DataFrame) -> Iterable[postgresql.Insert | sqlite.Insert]:
    """Statements that insert the rows, a part of them each. Raises ValueError for instants without a zone."""
    dialect = connection.dialect.name
    insert = postgresql.insert if dialect == "postgresql" else sqlite.insert
    for part in rows.iter_slices(_ROWS_AT_ONCE):
        document = literal(_document(part, dialect), String())
        source = (
            _read_postgresql(table, rows.columns, document)
            if dialect == "postgresql"
            else (_read_sqlite(rows.columns, document))
        )
        yield insert(table).from_select(rows.columns, source, include_defaults=False)


def _document(rows: pl.DataFrame, dialect: str) -> str:
    """The rows as JSON: a list of an object each."""
    instants = {name: kind for name, kind in rows.schema.items() if isinstance(kind, pl.Datetime)}
    if any(kind.time_zone is None for kind in instants.values()):
        raise ValueError("the ledger takes no datetime without a time zone")
    written = (pl.col(name).dt.convert_time_zone("UTC").dt.strftime(_INSTANT[dialect]) for name in instants)
    return rows.with_columns(written).write_json()


def _read_postgresql(table: Table, names: list[str], document: ColumnElement[str]) -> Select[Any]:
    of_row = [column(name, table.c[name].type) for name in names]
    rows = func.json_to_recordset(cast(document, postgresql.JSON)).table_valued(*of_row)
    return select(*rows.render_derived(with_types=True).c)


def _read_sqlite(names: list[str], document: ColumnElement[str]) -> Select[Any]:
    value = func.json_each(document).table_valued("value").c.value
    # Without a condition, SQLite would take ON CONFLICT for that of a join.
    return select(*(func.json_extract(value, f"$.{name}") for name in names)).where(true())
