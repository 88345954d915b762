"""Reading hospital-days from Oracle: each fault is recognised in time, and its error names hospital and next step.

No error shows a secret. The driver is the real one, against listeners of this machine that fail it. The tests have no
Oracle database, so a stand-in for the driver delivers the rows.
"""

import socket
import subprocess
import sys
import time
import traceback
from collections.abc import Iterator
from contextlib import nullcontext
from datetime import date, datetime
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import oracledb
import polars as pl
import pyarrow as pa
import pytest
from oracledb.errors import _create_exception, _Error

from track_pipeline.adapters.hospitals.oracle import OracleReader
from track_pipeline.adapters.hospitals.oracle_faults import TooManyRowsError, fault_of
from track_pipeline.adapters.hospitals.oracle_session import Query, fetch
from track_pipeline.config.hospitals import load_registry
from track_pipeline.config.settings import Settings, load_settings
from track_pipeline.domain.his.tasy import TASY
from track_pipeline.domain.hospital import Hospital
from track_pipeline.domain.policy import SourcePolicy
from track_pipeline.domain.schema import raw_schema
from track_pipeline.ports import SourceError
from track_pipeline.runtime import Runtime
from track_pipeline_tests.support.tns_stub import (
    REFUSE,
    Behaviour,
    TnsStub,
    accepting,
    answering,
    packet,
    refusing,
    silent,
)

DAY = date(2026, 3, 10)
REGISTRY = load_registry()
HMS, HMV, HAC = (REGISTRY.hospital(code) for code in ("HMS", "HMV", "HAC"))
THICK = HMS.model_copy(update={"driver": "thick"})
DATABASES = {"HMS": ("HMS",), "HMV": ("HMSM",), "HAC": ("HAC",)}
LIMITS = SourcePolicy(connect_seconds=30, statement_seconds=30, total_seconds=30, fetch_rows=2, max_rows=3)
USERS = {
    "DB_USERNAME": "marked-user",
    "DB_PASSWORD": "marked-password",
    "DB_USERNAME_TASY": "marked-user",
    "DB_PASSWORD_TASY": "marked-password",
}


def settings(*aliases: str, host: str = "127.0.0.1", port: int = 1521, **environ: str) -> Settings:
    place = {"HOST": host, "PORT": str(port), "NAME": "PRD"}
    connections = {f"DB_{alias}_{part}": value for alias in aliases for part, value in place.items()}
    return load_settings({**USERS, **connections, **environ}, env_file=None)


def extract(given: Settings, hospital: Hospital = HMS, **limits: float) -> pl.DataFrame:
    reader = OracleReader(given, DATABASES, LIMITS.model_copy(update=limits))
    return pl.concat(reader.extract(hospital, DAY))


def failure(given: Settings, hospital: Hospital = HMS, **limits: float) -> SourceError:
    """The error of a hospital-day that cannot be read; it is checked for secrets and for the time it took."""
    started = time.monotonic()
    with pytest.raises(SourceError) as caught:
        extract(given, hospital, **limits)
    assert time.monotonic() - started < 8
    everything = "".join(traceback.format_exception(caught.value)) + repr(caught.value)
    assert "marked" not in everything
    assert "SELECT" not in everything.replace("grant SELECT", "")
    assert str(caught.value).startswith(f"hospital {hospital.code}, database ")
    return caught.value


@pytest.fixture
def closed_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port: int = server.getsockname()[1]
    return port


# Connections that fail, with the real driver.


@pytest.mark.parametrize(
    ("behaviour", "cause", "next_step", "transient"),
    [
        (refusing(12514), "does not know the service (ORA-12514)", "correct DB_HMS_NAME", True),
        (refusing(12505), "does not know the SID (ORA-12505)", "set DB_HMS_NAME to a service name", False),
        (refusing(12516), "accepts no sessions now (ORA-12516)", "wait; if it lasts", True),
        (refusing(12528), "accepts no sessions now (ORA-12528)", "wait; if it lasts", True),
        (refusing(12541), "accepts no sessions now (ORA-12541)", "wait; if it lasts", True),
        (answering(packet(REFUSE, bytes(4))), "accepts no sessions now (DPY-5005)", "wait; if it lasts", True),
        (answering(b""), "closed from the other side (DPY-4011)", "behind DB_HMS_PORT", True),
        (answering(b"HTTP/1.1 400 Bad Request\r\n\r\n"), "closed from the other side (DPY-4011)", "DB_HMS_PORT", True),
        (accepting(314), "older than 12.1", 'set driver = "thick"', False),
    ],
    ids=["12514", "12505", "12516", "12528", "12541", "refused", "hangs-up", "not-oracle", "11g"],
)
def test_a_listener_that_fails_is_told_by_what_it_says(
    behaviour: Behaviour, cause: str, next_step: str, transient: bool
) -> None:
    with TnsStub(behaviour) as stub:
        error = failure(settings("HMS", port=stub.port))
        assert stub.connections == 1

    assert f"hospital HMS, database HMS: at 127.0.0.1:{stub.port}, " in str(error)
    assert cause in error.cause
    assert next_step in error.next_step
    assert error.transient is transient


def test_a_port_without_a_listener(closed_port: int) -> None:
    error = failure(settings("HMS", port=closed_port))

    assert error.cause == f"at 127.0.0.1:{closed_port}, nothing listens there (connection refused)"
    assert error.next_step == "start the listener, or correct DB_HMS_HOST and DB_HMS_PORT"
    assert error.transient


def test_a_host_that_no_name_server_knows() -> None:
    error = failure(settings("HMS", host="nosuch.invalid"))

    assert error.cause == "at nosuch.invalid:1521, the host name is unknown"
    assert "DB_HMS_HOST" in error.next_step
    assert error.transient


def test_a_listener_that_never_answers_is_left_at_the_limit_of_connecting() -> None:
    with TnsStub(silent) as stub:
        error = failure(settings("HMS", port=stub.port), connect_seconds=0.5)
        assert stub.connections == 1

    assert "no session within connect_seconds" in error.cause
    assert "policy.toml, [source]" in error.next_step
    assert error.transient


def test_a_reading_is_killed_at_the_total_limit_and_leaves_no_process_behind() -> None:
    with TnsStub(silent) as stub:
        error = failure(settings("HMS", port=stub.port), total_seconds=1)

    assert "not read within total_seconds" in error.cause
    assert error.transient
    assert not list(readings_left())


def readings_left() -> Iterator[str]:
    """Command lines of children of this process that read a database, where the system tells (zombies have none)."""
    for children in Path("/proc/self/task").glob("*/children"):
        for child in children.read_text().split():
            command = (Path("/proc") / child / "cmdline").read_text()
            if not command or "oracle_session" in command:
                yield command


def test_a_thick_driver_without_its_libraries_says_so(tmp_path: Path) -> None:
    error = failure(settings("HMS", ORACLE_CLIENT_PATH=str(tmp_path)), THICK)

    assert "Oracle Client libraries cannot be loaded (DPI-1047)" in error.cause
    assert "set ORACLE_CLIENT_PATH" in error.next_step
    assert not error.transient


def test_the_variables_named_are_those_that_were_read(closed_port: int) -> None:
    shared = settings("HMSM", port=closed_port)
    own = settings("HMSM", "HMV", port=closed_port)

    assert "correct DB_HMSM_HOST and DB_HMSM_PORT" in failure(shared, HMV).next_step
    assert "correct DB_HMV_HOST and DB_HMV_PORT" in failure(own, HMV).next_step


# What is not configured is told before anything is connected.


@pytest.mark.parametrize(
    ("given", "hospital", "names"),
    [
        (settings(), HMS, "DB_HMS_HOST, DB_HMS_PORT and DB_HMS_NAME"),
        (settings(), HMV, "DB_HMSM_HOST, DB_HMSM_PORT and DB_HMSM_NAME"),
        (settings("HMS", DB_USERNAME=""), HMS, "DB_USERNAME and DB_PASSWORD"),
        (settings("HMS", DB_PASSWORD=""), HMS, "DB_USERNAME and DB_PASSWORD"),
        (settings("HAC", DB_PASSWORD_TASY=""), HAC, "DB_USERNAME_TASY and DB_PASSWORD_TASY"),
        (settings("HMS"), THICK, "ORACLE_CLIENT_PATH"),
    ],
    ids=["address", "shared-address", "user", "password", "tasy-password", "client"],
)
def test_what_is_not_set_is_named_and_nothing_is_connected(given: Settings, hospital: Hospital, names: str) -> None:
    error = failure(given, hospital)

    assert error.cause == "its connection is not configured"
    assert error.next_step.startswith(f"{hospital.code}: set {names}")
    assert not error.transient


# The table of faults, where no listener of ours can bring a fault about.


def database_error(code: int, text: str) -> oracledb.Error:
    """An error as the driver raises it for an answer of the database."""
    info = _Error(f"ORA-{code:05}: {text}", code=code)
    error: oracledb.Error = info.exc_type(info)
    return error


@pytest.mark.parametrize(
    ("error", "cause", "next_step", "transient"),
    [
        (database_error(1017, "invalid credential"), "user or password", "repeated attempts lock", False),
        (_create_exception(4001), "user or password", "DB_PASSWORD{suffix}", False),
        (database_error(28000, "The account is locked."), "account is locked", "unlocked", False),
        (database_error(28001, "the account has expired"), "password has expired", "renewed", False),
        (database_error(942, "table or view does not exist"), "table or view", "grant SELECT", False),
        (database_error(1031, "insufficient privileges"), "may not read it", "grant SELECT", False),
        (database_error(904, '"TASY"."OBTER_DADOS_PF": invalid identifier'), '"TASY"."OBTER_DADOS_PF")', "", False),
        (database_error(12514, "TNS:listener"), "know the service (ORA-12514)", "{alias}_NAME", True),
        (database_error(12505, "TNS:listener"), "know the SID (ORA-12505)", "service name", False),
        (database_error(12541, "TNS:no listener"), "nothing listens there", "{alias}_PORT", True),
        (database_error(12170, "TNS:connect timeout"), "no session within", "firewall", True),
        (database_error(3113, "end-of-file on channel"), "closed from the other side (ORA-03113)", "wait", True),
        (database_error(1033, "ORACLE initialization in progress"), "failed with ORA-01033", "error help", True),
        (database_error(1722, "unable to convert string value containing 'MARIA'"), "ORA-01722", "sql/", False),
        (_create_exception(4024, timeout=300_000), "within statement_seconds (DPY-4024)", "plan", True),
        (_create_exception(3001, feature="X", driver_type="thick"), "(DPY-3001)", 'driver = "thick"', False),
        (_create_exception(3015, verifier_type=0x939), "(DPY-3015)", 'driver = "thick"', False),
        (_create_exception(6005, cause=OSError(113, "No route to host")), "cannot be reached", "network", True),
        (_create_exception(6005, cause=TimeoutError()), "no session within connect_seconds", "firewall", True),
        (_create_exception(6005, cause=ValueError("MARIA")), "failed with DPY-6005, ValueError", "sql/", False),
        (ValueError("MARIA"), "failed with ValueError", "sql/", False),
        (TooManyRowsError(), "more rows than max_rows", "raise max_rows in policy.toml", False),
    ],
)
def test_a_fault_has_words_and_says_whether_waiting_helps(
    error: Exception, cause: str, next_step: str, transient: bool
) -> None:
    fault = fault_of(error)

    assert cause in fault.cause
    assert next_step in fault.next_step
    assert fault.transient is transient
    assert "MARIA" not in fault.cause + fault.next_step


# The way of the rows.


class FakeSession:
    """An `oracledb.Connection` as far as it is used; it serves the batches given and remembers what it was asked."""

    def __init__(self, *batches: pa.Table) -> None:
        self.call_timeout = 0
        self.executed: list[str] = []
        self.asked: list[tuple[str, dict[str, datetime], int, int]] = []
        self.served = 0
        self._batches = batches

    def cursor(self) -> nullcontext[Any]:
        return nullcontext(SimpleNamespace(execute=self.executed.append))

    def fetch_df_batches(
        self, statement: str, parameters: dict[str, datetime], size: int
    ) -> Iterator[oracledb.DataFrame | pa.Table]:
        self.asked.append((statement, parameters, size, self.call_timeout))
        for batch in self._batches:
            self.served += 1
            # A table without rows cannot be made into a frame of the driver's from outside; it stands for itself.
            yield oracledb.from_arrow(batch) if batch.num_rows else batch


def ids(*values: int) -> pa.Table:
    return pa.table({"nr_atendimento": pa.array(values, pa.int64())})


QUERY = Query(
    host="127.0.0.1",
    port=1521,
    service="PRD",
    user="marked-user",
    password="marked-password",
    client=None,
    statement="SELECT :window_start",
    parameters={"window_start": datetime(2026, 3, 10)},  # noqa: DTZ001 - the databases keep no zone
    **LIMITS.model_dump(exclude={"total_seconds"}),
)


def test_rows_are_read_in_batches_in_a_read_only_transaction_with_a_limit() -> None:
    session = FakeSession(ids(1, 2), ids(3))

    assert fetch(session, QUERY).to_pydict() == {"nr_atendimento": [1, 2, 3]}
    assert session.executed == ["SET TRANSACTION READ ONLY"]
    assert session.asked == [(QUERY.statement, QUERY.parameters, 2, 30_000)]


def test_a_day_without_rows_keeps_its_columns() -> None:
    rows = fetch(FakeSession(ids()), QUERY)

    assert (rows.num_rows, rows.column_names) == (0, ["nr_atendimento"])


def test_more_rows_than_the_cap_are_an_error_and_not_read_on() -> None:
    session = FakeSession(ids(1, 2), ids(3, 4), ids(5))

    with pytest.raises(TooManyRowsError):
        fetch(session, QUERY)

    assert session.served == 2


def test_a_query_shows_no_secret() -> None:
    assert "marked" not in repr(QUERY) + str(QUERY)


# A module named oracledb for the reading process: it answers with the Arrow file beside it.
DRIVER = """
import os
import time
from contextlib import nullcontext
from pathlib import Path
from types import SimpleNamespace

import pyarrow as pa


class Error(Exception):
    pass


class Connection:
    version = "19.21.0.0.0"

    def cursor(self):
        return nullcontext(SimpleNamespace(execute=lambda statement: None))

    def fetch_df_batches(self, statement, parameters, size):
        assert sorted(parameters) == ["window_end", "window_start"]
        table = pa.ipc.open_file(Path(__file__).with_name("rows.arrow")).read_all()
        yield table.slice(0, size)
        if table.num_rows > size:
            yield table.slice(size)


def connect(*, user, password, host, port, service_name, tcp_connect_timeout):
    assert (user, password, service_name) == ("marked-user", "marked-password", "PRD")
    if host == "crash":
        os.abort()
    if host == "slow":
        time.sleep(60)
    return nullcontext(Connection())
"""


@pytest.fixture
def driver(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder whose `rows.arrow` is what reading processes get instead of a database's answer."""
    (tmp_path / "oracledb.py").write_text(DRIVER)
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    return tmp_path


def tasy_rows(*encounters: int) -> pa.Table:
    """Rows in the types that the driver has for Tasy's columns and functions."""
    given = {
        "nr_atendimento": pa.array([float(each) for each in encounters], pa.float64()),
        "dt_entrada": pa.array([datetime(2026, 3, 10, 9)] * len(encounters), pa.timestamp("s")),  # noqa: DTZ001
        "idade": pa.array(["41"] * len(encounters), pa.large_string()),
        "ie_tipo_atendimento": pa.array([8] * len(encounters), pa.int64()),
    }
    empty = pa.nulls(len(encounters), pa.large_string())
    return pa.table({name: given.get(name, empty) for name in TASY.raw})


def serve(folder: Path, rows: pa.Table) -> None:
    with pa.ipc.new_file(folder / "rows.arrow", rows.schema) as file:
        file.write_table(rows)


def test_a_day_comes_in_the_raw_schema_whatever_types_the_driver_has(driver: Path) -> None:
    serve(driver, tasy_rows(1, 2, 3))

    frame = extract(settings("HAC"), HAC)

    assert frame.schema == raw_schema("tasy")
    assert frame["nr_atendimento"].to_list() == [1, 2, 3]
    assert frame.row(0, named=True)["idade"] == 41
    assert frame.row(0, named=True)["dt_entrada"] == datetime(2026, 3, 10, 9)  # noqa: DTZ001


def test_a_day_without_encounters_is_one_empty_batch(driver: Path) -> None:
    serve(driver, tasy_rows())

    batches = list(OracleReader(settings("HAC"), DATABASES, LIMITS).extract(HAC, DAY))

    assert [(batch.height, batch.schema) for batch in batches] == [(0, raw_schema("tasy"))]


def test_a_probe_tells_what_answered_and_misses_no_column(driver: Path) -> None:
    reader = OracleReader(settings("HAC"), DATABASES, LIMITS)
    serve(driver, tasy_rows())
    assert reader.probe(HAC) == {"HAC": "Oracle 19.21.0.0.0, thin driver"}

    serve(driver, tasy_rows().drop_columns(["cpf"]))
    with pytest.raises(SourceError, match="hospital HAC, database HAC: columns missing: cpf"):
        reader.probe(HAC)


def test_a_day_of_more_rows_than_the_policy_allows_is_refused_whole(driver: Path) -> None:
    serve(driver, tasy_rows(1, 2, 3, 4))

    error = failure(settings("HAC"), HAC)

    assert "more rows than max_rows" in error.cause
    assert "raise max_rows in policy.toml, [source]" in error.next_step


def test_a_column_that_is_missing_is_an_error_of_the_hospital(driver: Path) -> None:
    serve(driver, tasy_rows(1).drop_columns(["cpf"]))

    assert failure(settings("HAC"), HAC).cause == "columns missing: cpf"


def test_each_database_of_a_hospital_is_read_where_it_is(driver: Path) -> None:
    serve(driver, tasy_rows(1))
    limits = LIMITS.model_copy(update={"connect_seconds": 0.5})
    reader = OracleReader(settings("HAC", "HSL", DB_HSL_HOST="slow"), {"HAC": ("HAC", "HSL")}, limits)

    batches = reader.extract(HAC, DAY)

    assert next(batches)["database"].to_list() == ["HAC"]
    with pytest.raises(SourceError, match="hospital HAC, database HSL: at slow:1521, no session within"):
        next(batches)


@pytest.mark.usefixtures("driver")
def test_a_driver_that_crashes_takes_nobody_with_it() -> None:
    error = failure(settings("HMS", host="crash"))

    assert error.cause.startswith("at crash:1521, the reading process crashed (exit code ")
    assert "check which server is at DB_HMS_HOST and DB_HMS_PORT" in error.next_step
    assert not error.transient


def test_production_reads_oracle_and_connects_to_nothing_until_it_is_asked() -> None:
    assert isinstance(Runtime(settings(TRACK_ENV="production")).reader, OracleReader)


@pytest.mark.skipif(sys.platform == "win32", reason="Windows writes no core files")
def test_a_process_that_reads_a_hospital_leaves_no_core_file() -> None:
    script = (
        "import contextlib, resource, sys; from track_pipeline.adapters.hospitals import oracle_session\n"
        "with contextlib.suppress(ValueError): oracle_session._main()\n"
        "sys.stdout.write(str(resource.getrlimit(resource.RLIMIT_CORE)))"
    )
    # It is asked for nothing that can be read, and has seen to its crashes before it looked.
    done = subprocess.run([sys.executable, "-c", script], input="", capture_output=True, text=True, check=True)
    assert done.stdout == "(0, 0)"
