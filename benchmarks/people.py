"""Synthetic hospitals of any size: copies of the demo's encounters, with distinct ids and contacts.

The demo's generator invents all people.
"""

from datetime import date, datetime
from pathlib import Path
from typing import Final
from zoneinfo import ZoneInfo

import duckdb
import polars as pl

from track_pipeline.adapters.hospitals.duckdb import DuckDbReader, folder_connector
from track_pipeline.config.hospitals import load_registry
from track_pipeline.config.rules import databases_read, load_rulebook
from track_pipeline.demo.databases import profiles
from track_pipeline.demo.front_desk import register
from track_pipeline.demo.hospitals import write_database
from track_pipeline.demo.people import people
from track_pipeline.domain.hospital import Hospital

# A Monday without holidays around it, and the morning after.
DAY: Final = date(2026, 11, 16)
NOW: Final = datetime(2026, 11, 17, 9, tzinfo=ZoneInfo("America/Sao_Paulo"))
HOSPITAL: Final = "HMS"

_DRAWN: Final = 20_000
_SEED: Final = 1
_IDS: Final = ("CD_ATENDIMENTO", "CD_PACIENTE")


def hospital() -> Hospital:
    """Return the hospital that most cases measure."""
    return load_registry().hospital(HOSPITAL)


def write_hospital(folder: Path, encounters: int) -> Path:
    """Write the hospital's database (DuckDB, tables of MV) with `encounters` on `DAY`; return the folder."""
    folder.mkdir(parents=True)
    registry = load_registry().only((HOSPITAL,))
    (profile,) = profiles(registry, load_rulebook(registry))
    drawn = min(encounters, _DRAWN)
    path = write_database(folder, profile, _SEED, NOW, [DAY], drawn)
    if encounters > drawn:
        with duckdb.connect(path) as connection:
            visits = connection.sql("FROM DBAMV.ATENDIME").pl()
            # The ids of one day are within a million of each other, which leaves room for the ids of the copies.
            copies = pl.DataFrame({"copy": range(-(-encounters // drawn))}, schema={"copy": pl.Int64})
            shift = pl.col("copy") * drawn
            visits = (
                visits.filter((pl.col("DT_ATENDIMENTO").dt.date() == DAY) | (pl.col("DT_ALTA").dt.date() == DAY))
                .join(copies, how="cross", maintain_order="right_left")
                .head(encounters)
                .with_columns(pl.col(*_IDS, "CD_ATENDIMENTO_PAI") + shift)
                .drop("copy")
            )
            _replace(connection, "ATENDIME", visits)
            _replace(connection, "PACIENTE", _patients(visits))
    return folder


def _patients(visits: pl.DataFrame) -> pl.DataFrame:
    typed = register(people(visits.height, "benchmarks"), HOSPITAL, "benchmarks")
    columns = typed.select(
        NM_PACIENTE="name", EMAIL="email", NR_CPF="cpf", NR_DDI_CELULAR="ddi", NR_DDD_CELULAR="ddd", NR_CELULAR="number"
    )
    return pl.concat([visits.select("CD_PACIENTE"), columns], how="horizontal")


def _replace(connection: duckdb.DuckDBPyConnection, table: str, rows: pl.DataFrame) -> None:
    connection.execute(f"DROP TABLE DBAMV.{table}")
    connection.from_arrow(rows.to_arrow()).create(f"DBAMV.{table}")


def write_all_hospitals(folder: Path, encounters: int) -> Path:
    """Write the databases of all hospitals of the registry, each with `encounters` on `DAY`; return the folder."""
    folder.mkdir(parents=True)
    registry = load_registry()
    for profile in profiles(registry, load_rulebook(registry)):
        write_database(folder, profile, _SEED, NOW, [DAY], encounters)
    return folder


def reader(folder: Path) -> DuckDbReader:
    """Return the pipeline's reader of the databases in a folder."""
    registry = load_registry()
    return DuckDbReader(folder_connector(folder), databases_read(registry, load_rulebook(registry)))


def write_raw(database: Path, file: Path) -> Path:
    """Write the reader's rows of the hospital's `DAY` (`raw_schema` of its system) as Parquet; return the file."""
    pl.concat(reader(database).extract(hospital(), DAY)).write_parquet(file)
    return file
