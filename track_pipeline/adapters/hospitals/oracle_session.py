"""Runs one statement on one Oracle database, in a separate process (`python -m` this module).

Standard input is a `Query` as JSON; standard output is the rows as an Arrow stream, or a `Fault` as JSON with the
exit code `FAULT`. The driver can hang on a listener that never answers, can crash the interpreter on an unexpected
response, and cannot be both thin and thick; a separate process limits each of these to one query.
"""

import os
import sys
import threading
from collections.abc import Iterator
from contextlib import AbstractContextManager
from datetime import datetime
from pathlib import Path
from typing import Any, Final, Protocol

import oracledb
import pyarrow as pa
from pydantic import BaseModel, ConfigDict, Field

from track_pipeline.adapters.hospitals.oracle_faults import TooManyRowsError, fault_of

FAULT: Final = 3
VERSION: Final = "database_version"  # metadata key of the database's version in the stream's schema
NO_SESSION: Final = 4  # the connection took longer than `connect_seconds`


class Query(BaseModel):
    """A query: the database, the statement, and the limits (`SourcePolicy`)."""

    model_config = ConfigDict(frozen=True)

    host: str
    port: int
    service: str
    user: str = Field(repr=False)
    password: str = Field(repr=False)
    client: Path | None  # folder of the Oracle Client libraries; if set, the driver runs in thick mode
    statement: str = Field(repr=False)
    parameters: dict[str, datetime]
    connect_seconds: float
    statement_seconds: float
    fetch_rows: int
    max_rows: int


class Session(Protocol):
    """The part of `oracledb.Connection` that `fetch` uses."""

    call_timeout: int

    def cursor(self) -> AbstractContextManager[Any]:
        """Open a cursor, closed at the end of its context."""
        ...

    def fetch_df_batches(self, statement: str, parameters: dict[str, datetime], size: int) -> Iterator[Any]:
        """Yield Arrow frames of up to `size` rows; one empty frame when there are no rows."""
        ...


def fetch(session: Session, query: Query) -> pa.Table:
    """Return all rows with the driver's types; the reader checks the types.

    No schema is requested: the driver rejects one where a number arrives as text, as from functions of Tasy.
    Raises TooManyRowsError and the driver's errors.
    """
    session.call_timeout = round(query.statement_seconds * 1000)
    with session.cursor() as cursor:
        cursor.execute("SET TRANSACTION READ ONLY")
    tables: list[pa.Table] = []
    for frame in session.fetch_df_batches(query.statement, query.parameters, query.fetch_rows):
        tables.append(pa.table(frame))
        if sum(table.num_rows for table in tables) > query.max_rows:
            raise TooManyRowsError
    return pa.concat_tables(tables)


def _connect(query: Query) -> oracledb.Connection:
    if query.client:
        oracledb.init_oracle_client(lib_dir=str(query.client))
    return oracledb.connect(
        user=query.user,
        password=query.password,
        host=query.host,
        port=query.port,
        service_name=query.service,
        tcp_connect_timeout=query.connect_seconds,
    )


def _leave_no_core() -> None:
    """Disable core files: one would hold the password and rows, and would never be deleted."""
    if sys.platform != "win32":
        import resource  # noqa: PLC0415 - not on Windows

        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))


def _main() -> int:
    _leave_no_core()
    query = Query.model_validate_json(sys.stdin.buffer.read())
    # The driver's own limit only covers the TCP connection, not a listener that does not answer after it.
    limit = threading.Timer(query.connect_seconds, os._exit, [NO_SESSION])
    limit.daemon = True
    limit.start()
    try:
        with _connect(query) as connection:
            limit.cancel()
            rows = fetch(connection, query).replace_schema_metadata({VERSION: connection.version})
    except Exception as error:  # noqa: BLE001 - its text may quote a row; the table of faults has a safe text
        sys.stdout.write(fault_of(error).model_dump_json())
        return FAULT
    with pa.ipc.new_stream(sys.stdout.buffer, rows.schema) as stream:
        stream.write_table(rows)
    return 0


if __name__ == "__main__":
    sys.exit(_main())
