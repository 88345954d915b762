"""The `HospitalReader` for the hospitals' Oracle databases.

Each database is read by a separate process (`oracle_session`), which is killed at the total limit: a driver that hangs
or crashes fails that hospital-day, not the whole run. `oracle_faults` describes the faults.
"""

import io
import os
import subprocess
import sys
from collections.abc import Iterator, Mapping
from datetime import date
from pathlib import Path

import polars as pl
import pyarrow as pa

from track_pipeline.adapters.hospitals import oracle_session
from track_pipeline.adapters.hospitals.extract import EMPTY_DAY, conform, naming, statement, window
from track_pipeline.adapters.hospitals.oracle_faults import Fault, crash, fault_of
from track_pipeline.adapters.hospitals.oracle_session import VERSION, Query
from track_pipeline.config.settings import Settings
from track_pipeline.domain.his.table import system
from track_pipeline.domain.hospital import Hospital
from track_pipeline.domain.policy import SourcePolicy
from track_pipeline.errors import ConfigError
from track_pipeline.ports import SourceError


class OracleReader:
    """Extracts hospital-days within `limits`; `databases` maps a hospital's code to the aliases it reads.

    Addresses, users and client libraries come from the settings and are checked before any connection is opened.
    """

    def __init__(self, settings: Settings, databases: Mapping[str, tuple[str, ...]], limits: SourcePolicy) -> None:
        self._settings = settings
        self._databases = databases
        self._limits = limits

    def extract(self, hospital: Hospital, day: date) -> Iterator[pl.DataFrame]:
        """See `HospitalReader.extract`; one batch per database."""
        with naming(hospital):
            for database in self._databases[hospital.code]:
                rows = pl.read_ipc_stream(io.BytesIO(self._read(hospital, database, day)))
                yield conform(rows, hospital.his, database)

    def probe(self, hospital: Hospital) -> dict[str, str]:
        """See `HospitalReader.probe`."""
        answered = {}
        with naming(hospital):
            for database in self._databases[hospital.code]:
                answer = self._read(hospital, database, EMPTY_DAY)
                conform(pl.read_ipc_stream(io.BytesIO(answer)), hospital.his, database)
                about = pa.ipc.read_schema(io.BytesIO(answer)).metadata or {}
                answered[database] = f"Oracle {about[VERSION.encode()].decode()}, {hospital.driver} driver"
        return answered

    def _read(self, hospital: Hospital, database: str, day: date) -> bytes:
        """Return the rows of a day as an Arrow stream."""
        query = self._query(hospital, database, day)
        answer = _ask(query, self._limits.total_seconds)
        if isinstance(answer, Fault):
            raise self._error(hospital, database, query, answer)
        return answer

    def _query(self, hospital: Hospital, database: str, day: date) -> Query:
        try:
            address = self._settings.connection(hospital, database)
            user, password = self._settings.credentials(hospital)
            client = self._settings.oracle_client(hospital)
        except ConfigError as error:
            raise SourceError(database, "its connection is not configured", str(error)) from None
        return Query(
            host=address.host,
            port=address.port,
            service=address.name,
            user=user,
            password=password.get_secret_value(),
            client=client,
            statement=statement(hospital),
            parameters=window(day),
            **self._limits.model_dump(exclude={"total_seconds"}),
        )

    def _error(self, hospital: Hospital, database: str, query: Query, fault: Fault) -> SourceError:
        next_step = fault.next_step.format(
            alias=self._settings.connection_alias(hospital, database),
            suffix=system(hospital.his).credential_suffix,
        )
        cause = f"at {query.host}:{query.port}, {fault.cause}"
        return SourceError(database, cause, next_step, transient=fault.transient)


def _ask(query: Query, limit: float) -> bytes | Fault:
    """Run a query in a new process; return the rows as an Arrow stream, or the fault.

    The process has ended when this returns.
    """
    try:
        done = subprocess.run(  # noqa: S603 - this interpreter and a module of this package
            [sys.executable, "-m", oracle_session.__name__],
            input=query.model_dump_json().encode(),
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,  # a trace may quote a row
            timeout=limit,
            check=False,
            env=_environment(query.client),
        )
    except subprocess.TimeoutExpired as expired:
        return fault_of(expired)
    match done.returncode:
        case 0:
            return done.stdout
        case oracle_session.FAULT:
            return Fault.model_validate_json(done.stdout)
        case oracle_session.NO_SESSION:
            return fault_of(TimeoutError())
        case code:
            return crash(code)


def _environment(client: Path | None) -> dict[str, str] | None:
    """Return the environment of a reading process; on Linux, the client libraries are found by LD_LIBRARY_PATH only."""
    if client is None:
        return None
    paths = [str(client), *filter(None, [os.environ.get("LD_LIBRARY_PATH")])]
    return {**os.environ, "LD_LIBRARY_PATH": os.pathsep.join(paths)}
