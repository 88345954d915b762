"""Reading hospital-days from DuckDB: schema, windows, batches, and errors with the hospital and no personal data."""

import pickle
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import duckdb
import polars as pl
import pytest
from polars.testing import assert_frame_equal

from track_pipeline.adapters.hospitals.duckdb import Connector, DuckDbReader, folder_connector
from track_pipeline.adapters.hospitals.extract import conform, window
from track_pipeline.demo.his.system import DatabaseProfile
from track_pipeline.demo.his.table import demo_system
from track_pipeline.demo.hospitals import synthetic_connector, write_database
from track_pipeline.domain.hospital import Hospital
from track_pipeline.domain.schema import raw_schema
from track_pipeline.ports import SourceError

DAY = date(2026, 3, 10)
AS_OF = datetime(2026, 3, 20, 12, tzinfo=UTC)
MV = DatabaseProfile("HXX", demo_system("mv"), (), {"cd_ori_ate": (7, 46)})
TASY = DatabaseProfile("HYY", demo_system("tasy"), (1, 71), {"cd_setor_internacao": (54,)})
DATABASES = {"HXX": ("HXX",), "HYY": ("HYY",), "HZZ": ("HXX", "HWW")}


def hospital(code: str, profile: DatabaseProfile) -> Hospital:
    unit = {"code": code, "name": "Hospital", "surveys": ["internacao"]}
    return Hospital.model_validate(
        {"code": code, "his": profile.his, "database": profile.alias, "time_zone": "America/Sao_Paulo", "unit": [unit]}
    )


def extract(connect: Connector, profile: DatabaseProfile) -> pl.DataFrame:
    return pl.concat(DuckDbReader(connect, DATABASES).extract(hospital(profile.alias, profile), DAY))


@contextmanager
def changed(folder: Path, profile: DatabaseProfile) -> Iterator[duckdb.DuckDBPyConnection]:
    """A small database file that the test may spoil before it is read."""
    with duckdb.connect(write_database(folder, profile, 1, AS_OF, [DAY], 100)) as connection:
        yield connection


@pytest.mark.parametrize("profile", [MV, TASY], ids=["mv", "tasy"])
def test_batches_have_the_raw_schema_and_only_the_days_encounters(profile: DatabaseProfile) -> None:
    frame = extract(synthetic_connector([profile], 1, lambda: AS_OF), profile)
    attended = "dt_atendimento" if profile.his == "mv" else "dt_entrada"
    assert frame.schema == raw_schema(profile.his)
    assert frame["database"].unique().to_list() == [profile.alias]
    in_the_day = [pl.col(name).dt.date() == DAY for name in (attended, "dt_alta")]
    assert frame.filter(pl.any_horizontal(in_the_day).fill_null(value=False)).height == frame.height > 200


@pytest.mark.parametrize("profile", [MV, TASY], ids=["mv", "tasy"])
def test_a_file_reads_like_the_database_in_memory(profile: DatabaseProfile, tmp_path: Path) -> None:
    write_database(tmp_path, profile, 1, AS_OF, [DAY])
    from_file = extract(folder_connector(tmp_path), profile)
    in_memory = extract(synthetic_connector([profile], 1, lambda: AS_OF), profile)
    assert_frame_equal(from_file, in_memory, check_row_order=False)


@pytest.mark.parametrize(
    ("shift", "expected"),
    [
        (timedelta(0), 1),
        (timedelta(days=1, microseconds=-1), 1),
        (timedelta(days=1), 0),
        (timedelta(microseconds=-1), 0),
    ],
)
def test_midnight_belongs_to_the_day_that_it_begins(tmp_path: Path, shift: timedelta, expected: int) -> None:
    moment = window(DAY)["window_start"] + shift
    with changed(tmp_path, TASY) as connection:
        connection.execute("DELETE FROM TASY.ATENDIMENTO_PACIENTE")
        connection.execute(
            "INSERT INTO TASY.ATENDIMENTO_PACIENTE (NR_ATENDIMENTO, DT_ENTRADA) VALUES (1, $moment)", {"moment": moment}
        )
    assert extract(folder_connector(tmp_path), TASY).height == expected


def test_a_day_without_encounters_is_one_empty_batch(tmp_path: Path) -> None:
    with changed(tmp_path, MV) as connection:
        connection.execute("DELETE FROM DBAMV.ATENDIME")
    batches = list(DuckDbReader(folder_connector(tmp_path), DATABASES).extract(hospital("HXX", MV), DAY))
    assert [(batch.height, batch.schema) for batch in batches] == [(0, raw_schema("mv"))]


def test_a_hospital_reads_every_database_given_for_it() -> None:
    connect = synthetic_connector([MV, replace(MV, alias="HWW")], 1, lambda: AS_OF, 10)
    frame = pl.concat(DuckDbReader(connect, DATABASES).extract(hospital("HZZ", MV), DAY))
    assert frame["database"].unique(maintain_order=True).to_list() == ["HXX", "HWW"]


def test_a_missing_second_database_is_an_error_of_the_hospital_that_reads_it() -> None:
    batches = DuckDbReader(synthetic_connector([MV], 1, lambda: AS_OF, 10), DATABASES).extract(hospital("HZZ", MV), DAY)
    with pytest.raises(SourceError, match="hospital HZZ, database HWW: there is no synthetic database"):
        pl.concat(batches)


def test_a_missing_file_is_named_with_its_hospital_and_alias(tmp_path: Path) -> None:
    with pytest.raises(
        SourceError, match=r"hospital HXX, database HXX: there is no file .*HXX\.duckdb; put it"
    ) as caught:
        extract(folder_connector(tmp_path), MV)
    assert not caught.value.transient


def test_a_file_that_is_no_database_is_named(tmp_path: Path) -> None:
    (tmp_path / "HXX.duckdb").write_text("MARIA " * 1000)
    with pytest.raises(SourceError, match=r"database HXX: .*HXX\.duckdb cannot be opened") as caught:
        extract(folder_connector(tmp_path), MV)
    assert "MARIA" not in str(caught.value)


def test_a_missing_column_is_named(tmp_path: Path) -> None:
    with changed(tmp_path, MV) as connection:
        connection.execute("ALTER TABLE DBAMV.PACIENTE DROP COLUMN EMAIL")
    with pytest.raises(SourceError, match=r"hospital HXX, database HXX: .*EMAIL"):
        extract(folder_connector(tmp_path), MV)


def test_a_missing_table_is_named(tmp_path: Path) -> None:
    with changed(tmp_path, MV) as connection:
        connection.execute("DROP TABLE DBAMV.MOT_ALT")
    with pytest.raises(SourceError, match=r"database HXX: .*MOT_ALT"):
        extract(folder_connector(tmp_path), MV)


def test_a_failing_query_never_quotes_a_row(tmp_path: Path) -> None:
    with changed(tmp_path, MV) as connection:
        connection.execute("ALTER TABLE DBAMV.ATENDIME ALTER CD_ORI_ATE TYPE VARCHAR")
        connection.execute("UPDATE DBAMV.ATENDIME SET CD_ORI_ATE = 'MARIA DA SILVA'")
    with pytest.raises(SourceError, match="database HXX: the query failed") as caught:
        extract(folder_connector(tmp_path), MV)
    assert "MARIA" not in "".join(traceback.format_exception(caught.value))


def test_a_query_that_fails_after_its_first_rows_never_quotes_a_row(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    late = "CASE WHEN n = 299999 THEN error('MARIA DA SILVA') END"
    query = f"SELECT {late} FROM range(300000) numbers(n) WHERE :window_start < :window_end"
    monkeypatch.setattr("track_pipeline.adapters.hospitals.duckdb.statement", lambda _hospital: query)
    write_database(tmp_path, MV, 1, AS_OF, [DAY], 100)
    with pytest.raises(SourceError, match=r"database HXX: the query failed \(ComputeError\)") as caught:
        extract(folder_connector(tmp_path), MV)
    assert "MARIA" not in "".join(traceback.format_exception(caught.value))


def test_a_value_that_does_not_fit_is_an_error_with_column_and_count_only(tmp_path: Path) -> None:
    with changed(tmp_path, TASY) as connection:
        connection.execute("UPDATE TASY.PESSOA_FISICA SET QT_IDADE = 'MARIA DA SILVA' WHERE QT_IDADE = '40'")
    with pytest.raises(SourceError, match=r"database HYY: values that do not fit .* idade \(\d+ values\)") as caught:
        extract(folder_connector(tmp_path), TASY)
    assert "MARIA" not in "".join(traceback.format_exception(caught.value))


def empty_raw(**columns: pl.Series) -> pl.DataFrame:
    schema = raw_schema("tasy")
    height = max((column.len() for column in columns.values()), default=0)
    return pl.DataFrame(
        {
            name: columns.get(name, pl.Series([None] * height, dtype=dtype))
            for name, dtype in schema.items()
            if name != "database"
        }
    )


def test_conform_orders_casts_and_names_the_database() -> None:
    given = empty_raw(
        nr_atendimento=pl.Series([1, 2]), idade=pl.Series(["41", None]), cd_medico_resp=pl.Series([7.0, None])
    )
    frame = conform(given.select(reversed(given.columns)), "tasy", "HYY")
    assert frame.schema == raw_schema("tasy")
    assert frame.row(0, named=True)["idade"] == 41
    # A NUMBER without precision comes as a float.
    assert frame["cd_medico_resp"].to_list() == ["7", None]
    assert frame["database"].to_list() == ["HYY", "HYY"]


def test_conform_takes_nul_characters_out_of_texts() -> None:
    given = empty_raw(
        nr_atendimento=pl.Series([1, 2, 3]),
        nm_paciente=pl.Series(["Jo\0ão Exemplo\0", None, "Ana Exemplo"]),
        nm_medico=pl.Series(["Doutora Exemplo", None, ""]),
    )
    frame = conform(given, "tasy", "HYY")
    assert frame["nm_paciente"].to_list() == ["João Exemplo", None, "Ana Exemplo"]
    assert frame["nm_medico"].to_list() == ["Doutora Exemplo", None, ""]


def test_conform_refuses_fractions_of_codes() -> None:
    with pytest.raises(SourceError, match=r"ie_clinica \(1 values\)"):
        conform(empty_raw(ie_clinica=pl.Series([4.0, 4.5])), "tasy", "HYY")


def test_conform_names_missing_and_unexpected_columns() -> None:
    given = empty_raw().rename({"cpf": "nr_cpf"})
    with pytest.raises(SourceError, match="database HYY: columns missing: cpf; columns not expected: nr_cpf"):
        conform(given, "tasy", "HYY")


def test_a_source_error_survives_the_way_out_of_a_child_process() -> None:
    error = SourceError("HXX", "no answer", "try again", transient=True)
    error.hospital = "HZZ"
    copy = pickle.loads(pickle.dumps(error))
    assert (str(copy), copy.transient) == ("hospital HZZ, database HXX: no answer; try again", True)
