"""One statement on one Oracle database, in a process of its own (`python -m` this module).

Standard input is a `Query` as JSON; standard output is the rows as an Arrow stream, or a `Fault` as JSON with the
exit code `FAULT`. The driver can hang for ever on a listener that never answers, can crash the interpreter on an
answer that it does not expect, and cannot be both thin and thick; here each of these ends with the process.
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
VERSION: Final = "database_version"  # under this name the stream's schema tells it
NO_SESSION: Final = 4  # the connection took longer than `connect_seconds`


class Query(BaseModel):
    """Where to ask, what, and within which limits (`SourcePolicy`)."""

    model_config = ConfigDict(frozen=True)

    host: str
    port: int
    service: str
    user: str = Field(repr=False)
    password: str = Field(repr=False)
    client: Path | None  # folder of the Oracle Client libraries; given means thick mode
    statement: str = Field(repr=False)
    parameters: dict[str, datetime]
    connect_seconds: float
    statement_seconds: float
    fetch_rows: int
    max_rows: int


class Session(Protocol):
    """What is needed of an `oracledb.Connection`."""

    call_timeout: int

    def cursor(self) -> AbstractContextManager[Any]:
        """A cursor, closed at the end of its context."""
        ...

    def fetch_df_batches(self, statement: str, parameters: dict[str, datetime], size: int) -> Iterator[Any]:
        """Arrow frames of up to `size` rows; one that is empty when there are no rows."""
        ...


def fetch(session: Session, query: Query) -> pa.Table:
    """All rows, in the types that the driver gives: what is expected of them is checked where they are read.

    A requested schema would be refused by the driver wherever a number is delivered as text, as functions of
    Tasy do. Raises TooManyRowsError, and whatever the driver raises.
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
    """A crash writes no core file: it would hold password and rows, and nothing would ever delete it."""
    if sys.platform != "win32":
        import resource  # noqa: PLC0415 - not on Windows

        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))


def _main() -> int:
    _leave_no_core()
    query = Query.model_validate_json(sys.stdin.buffer.read())
    # The driver's own limits end with the TCP connection; a listener that then says nothing has none.
    limit = threading.Timer(query.connect_seconds, os._exit, [NO_SESSION])
    limit.daemon = True
    limit.start()
    try:
        with _connect(query) as connection:
            limit.cancel()
            rows = fetch(connection, query).replace_schema_metadata({VERSION: connection.version})
    except Exception as error:  # noqa: BLE001 - its text may quote a row; the table of faults finds the words
        sys.stdout.write(fault_of(error).model_dump_json())
        return FAULT
    with pa.ipc.new_stream(sys.stdout.buffer, rows.schema) as stream:
        stream.write_table(rows)
    return 0


if __name__ == "__main__":
    sys.exit(_main())
