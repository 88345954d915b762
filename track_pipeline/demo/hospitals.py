"""Synthetic hospital databases in DuckDB: the tables of MV Soul and Philips Tasy that the extracts read.

In memory for the demo, because several processes read at once; as files for whoever wants to look inside.
What is in them is a function of seed, database, day and the time of looking, drawn in `demo/encounters.py`.
"""

import math
from collections.abc import Callable, Iterable, Sequence
from datetime import date, datetime, timedelta
from itertools import cycle, islice
from pathlib import Path
from typing import Final
from zoneinfo import ZoneInfo

import duckdb
import polars as pl

from track_pipeline.adapters.hospitals.duckdb import Connector
from track_pipeline.demo.encounters import BEDS, DOCTORS, Code, DatabaseProfile, cohort
from track_pipeline.demo.people import people
from track_pipeline.ports import SourceError

ENCOUNTERS_PER_DAY: Final = 300

# The clock on the wall of every synthetic hospital.
_ZONE: Final = ZoneInfo("America/Sao_Paulo")
# A day's database also shows some of what its neighbours decide: who came that day and left later, and so on.
_NEIGHBOURS: Final = (-1, 1, 2, 3)
_NEIGHBOUR_SHARE: Final = 0.1

_MV_TYPES: Final = {
    "ambulatory": "A",
    "exam": "E",
    "emergency": "U",
    "inpatient": "I",
    "mother": "I",
    "newborn": "I",
}
_TASY_TYPES: Final = {"ambulatory": 8, "exam": 7, "emergency": 3, "inpatient": 1, "mother": 1, "newborn": 1}

_SPECIALITIES: Final = (
    *("CARDIOLOGIA", "ORTOPEDIA", "PEDIATRIA", "GINECOLOGIA", "NEUROLOGIA", "UROLOGIA", "DERMATOLOGIA"),
    *("OFTALMOLOGIA", "ENDOCRINOLOGIA", "GASTROENTEROLOGIA"),
)
_SECTORS: Final = ("CENTRO MÉDICO", "PRONTO ATENDIMENTO", "IMAGEM", "LABORATÓRIO", "ONCOLOGIA", "ENDOSCOPIA")
# A dozen: where rules know a ward there is one ward more than names, and a name repeats, as happens in Tasy.
_WARDS: Final = (
    *("MATERNIDADE", "CLÍNICA MÉDICA", "CLÍNICA CIRÚRGICA", "UTI ADULTO", "UTI NEONATAL", "UTI CORONARIANA"),
    *("PEDIATRIA", "CARDIOLOGIA", "NEUROLOGIA", "ORTOPEDIA", "HOSPITAL-DIA", "UNIDADE DE ISOLAMENTO"),
)

# What the functions answer lies in columns of our own making: only the functions are ever asked for it.
_TASY_FUNCTIONS: Final = """
CREATE MACRO TASY.OBTER_NOME_PACIENTE(nr) AS
    (SELECT v.NM_PACIENTE FROM TASY.ATENDIMENTO_PACIENTE_V v WHERE v.NR_ATENDIMENTO = nr);
CREATE MACRO TASY.OBTER_PRIMEIRO_SETOR_ATEND(nr, what) AS
    (SELECT v.CD_PRIMEIRO_SETOR FROM TASY.ATENDIMENTO_PACIENTE_V v WHERE v.NR_ATENDIMENTO = nr);
CREATE MACRO TASY.OBTER_DADOS_PF(pf, what) AS
    (SELECT f.QT_IDADE FROM TASY.PESSOA_FISICA f WHERE f.CD_PESSOA_FISICA = pf);
CREATE MACRO TASY.OBTER_COMPL_PF(pf, kind, what) AS
    (SELECT f.DS_EMAIL FROM TASY.PESSOA_FISICA f WHERE f.CD_PESSOA_FISICA = pf);
CREATE MACRO TASY.OBTER_EMAIL_PF_HPM(pf) AS
    (SELECT f.DS_EMAIL FROM TASY.PESSOA_FISICA f WHERE f.CD_PESSOA_FISICA = pf);
CREATE MACRO TASY.OBTER_TELEFONE_PF(pf, kind) AS
    (SELECT f.NR_TELEFONE FROM TASY.PESSOA_FISICA f WHERE f.CD_PESSOA_FISICA = pf);
CREATE MACRO TASY.OBTER_CPF_PESSOA_FISICA(pf) AS
    (SELECT f.NR_CPF FROM TASY.PESSOA_FISICA f WHERE f.CD_PESSOA_FISICA = pf);
"""


def synthetic_connector(
    profiles: Iterable[DatabaseProfile],
    seed: int,
    as_of: Callable[[], datetime],
    encounters_per_day: int = ENCOUNTERS_PER_DAY,
) -> Connector:
    """A connector to in-memory databases that hold what concerns the day asked for.

    `as_of` tells when one looks (aware): a discharge is there once somebody has typed it. It raises SourceError
    for an alias without a profile.
    """
    known = {profile.alias: profile for profile in profiles}

    def connect(database: str, day: date) -> duckdb.DuckDBPyConnection:
        if database not in known:
            raise SourceError(database, "there is no synthetic database of that alias", "give it a DatabaseProfile")
        connection = duckdb.connect()
        _fill(connection, known[database], seed, as_of(), encounters_per_day, [day])
        return connection

    return connect


def write_database(
    folder: Path,
    profile: DatabaseProfile,
    seed: int,
    as_of: datetime,
    days: Sequence[date],
    encounters_per_day: int = ENCOUNTERS_PER_DAY,
) -> Path:
    """Writes `<ALIAS>.duckdb` with the encounters of those days into the folder, and returns its path.

    The file must not be there yet. `as_of` (aware) is when one looks, see `synthetic_connector`.
    """
    path = folder / f"{profile.alias}.duckdb"
    with duckdb.connect(path) as connection:
        _fill(connection, profile, seed, as_of, encounters_per_day, days)
    return path


def _fill(
    connection: duckdb.DuckDBPyConnection,
    profile: DatabaseProfile,
    seed: int,
    as_of: datetime,
    per_day: int,
    days: Sequence[date],
) -> None:
    encounters = _encounters(profile, seed, as_of, per_day, days)
    schema, tables = ("DBAMV", _mv_tables) if profile.his == "mv" else ("TASY", _tasy_tables)
    connection.execute(f"CREATE SCHEMA {schema}")
    for name, table in tables(profile, encounters).items():
        connection.from_arrow(table.to_arrow()).create(f"{schema}.{name}")
    if profile.his == "tasy":
        connection.execute(_TASY_FUNCTIONS)


def _encounters(
    profile: DatabaseProfile, seed: int, as_of: datetime, per_day: int, days: Sequence[date]
) -> pl.DataFrame:
    """The cohorts of the days and some of their neighbours', with the discharges known at that time."""
    neighbours = {day + timedelta(days=offset) for day in days for offset in _NEIGHBOURS}.difference(days)
    counts = dict.fromkeys(days, per_day) | dict.fromkeys(neighbours, math.ceil(per_day * _NEIGHBOUR_SHARE))
    frame = pl.concat(cohort(profile, seed, day, per_day, counts[day]) for day in sorted(counts))
    now = as_of.astimezone(_ZONE).replace(tzinfo=None)
    return frame.with_columns(pl.when(pl.col("recorded_at") <= now).then("discharged_at").alias("discharged_at"))


def _mv_tables(profile: DatabaseProfile, encounters: pl.DataFrame) -> dict[str, pl.DataFrame]:
    """The tables of schema DBAMV; DT_ columns are days, HR_ columns have the time of day."""
    sectors = (*profile.others("ori_cd_setor")[:3], *profile.named("ori_cd_setor"))
    origins = _all_codes(profile, "cd_ori_ate")
    return {
        "ATENDIME": encounters.select(
            CD_ATENDIMENTO="id",
            CD_ATENDIMENTO_PAI="parent_id",
            CD_PACIENTE="id",
            CD_MULTI_EMPRESA="company",
            TP_ATENDIMENTO=pl.col("kind").replace_strict(_MV_TYPES),
            DT_ATENDIMENTO=pl.col("attended_at").dt.truncate("1d"),
            HR_ATENDIMENTO="attended_at",
            DT_ALTA=pl.col("discharged_at").dt.truncate("1d"),
            HR_ALTA="discharged_at",
            CD_ORI_ATE="cd_ori_ate",
            CD_SERVICO="cd_servico",
            CD_SER_DIS="cd_ser_dis",
            CD_ESPECIALID="cd_especialid",
            CD_TIP_RES="cd_tip_res",
            CD_MOT_ALT="cd_mot_alt",
            CD_CID="cd_cid",
            CD_PRESTADOR="doctor",
            CD_LEITO="bed",
        ),
        "PACIENTE": encounters.select(
            CD_PACIENTE="id",
            NM_PACIENTE="name",
            EMAIL="email",
            NR_CPF="cpf",
            NR_DDI_CELULAR="ddi",
            NR_DDD_CELULAR="ddd",
            NR_CELULAR="number",
        ),
        "PRESTADOR": _lookup(CD_PRESTADOR=DOCTORS, NM_PRESTADOR=_doctors(profile)),
        "SER_DIS": _lookup(CD_SER_DIS=_all_codes(profile, "cd_ser_dis"), DS_SER_DIS=_SPECIALITIES),
        "ESPECIALID": _lookup(CD_ESPECIALID=_all_codes(profile, "cd_especialid"), DS_ESPECIALID=_SPECIALITIES),
        "MOT_ALT": _flags(profile, "cd_mot_alt", "TP_MOT_ALTA", named=("O", "T"), others="A"),
        "TIP_RES": _flags(profile, "cd_tip_res", "SN_OBITO", named=("S", "N"), others="N"),
        "ORI_ATE": _lookup(
            CD_ORI_ATE=origins,
            DS_ORI_ATE=[f"ORIGEM {origin}" for origin in origins],
            TP_ORIGEM=("A", "E", "I", "U"),
            CD_SETOR=sectors,
        ),
        "SETOR": _lookup(CD_SETOR=sectors, NM_SETOR=_SECTORS),
        "LEITO": _lookup(CD_LEITO=BEDS, CD_UNID_INT=range(1, len(_WARDS) + 1)),
        "UNID_INT": _lookup(CD_UNID_INT=range(1, len(_WARDS) + 1), DS_UNID_INT=_WARDS),
    }


def _tasy_tables(profile: DatabaseProfile, encounters: pl.DataFrame) -> dict[str, pl.DataFrame]:
    """The tables of schema TASY, `ATENDIMENTO_PACIENTE_V` being a view there; ages are text, as Tasy answers them."""
    wards = _lookup(CD_SETOR_ATENDIMENTO=_all_codes(profile, "cd_setor_internacao"), DS_SETOR_ATENDIMENTO=_WARDS)
    patients = encounters.select(
        CD_PESSOA_FISICA=pl.col("id").cast(pl.String),
        NM_PESSOA_FISICA="name",
        DS_EMAIL="email",
        NR_TELEFONE="telephone",
        NR_CPF="cpf",
        QT_IDADE=pl.col("age").cast(pl.String),
    )
    doctors = _lookup(CD_PESSOA_FISICA=[str(doctor) for doctor in DOCTORS], NM_PESSOA_FISICA=_doctors(profile))
    return {
        "ATENDIMENTO_PACIENTE": encounters.select(
            NR_ATENDIMENTO="id",
            CD_PESSOA_FISICA=pl.col("id").cast(pl.String),
            CD_MEDICO_RESP=pl.col("doctor").cast(pl.String),
            IE_TIPO_ATENDIMENTO=pl.col("kind").replace_strict(_TASY_TYPES),
            CD_ESTABELECIMENTO="company",
            CD_MOTIVO_ALTA="cd_motivo_alta",
            DT_ENTRADA="attended_at",
            DT_ALTA="discharged_at",
            DT_CANCELAMENTO="cancelled_at",
        ),
        "ATENDIMENTO_PACIENTE_V": encounters.select(
            NR_ATENDIMENTO="id",
            NM_PACIENTE="name",
            DS_SETOR_INTERNACAO=pl.col("cd_setor_internacao").replace_strict(
                wards["CD_SETOR_ATENDIMENTO"], wards["DS_SETOR_ATENDIMENTO"]
            ),
            IE_CLINICA="ie_clinica",
            NR_SEQ_CLASSIFICACAO="nr_seq_classificacao",
            CD_PRIMEIRO_SETOR="cd_primeiro_setor",
        ),
        "PESSOA_FISICA": pl.concat([patients, doctors], how="diagonal"),
        "SETOR_ATENDIMENTO": wards,
    }


def _all_codes(profile: DatabaseProfile, column: str) -> tuple[Code, ...]:
    return (*profile.named(column), *profile.others(column))


def _doctors(profile: DatabaseProfile) -> list[str]:
    return people(len(DOCTORS), "doctors", profile.alias)["name"].to_list()


def _lookup(**columns: Sequence[Code]) -> pl.DataFrame:
    """A table with a row per value of the first column; the others start over when they are shorter."""
    height = len(next(iter(columns.values())))
    return pl.DataFrame({name: list(islice(cycle(values), height)) for name, values in columns.items()})


def _flags(
    profile: DatabaseProfile, code_column: str, flag_column: str, named: tuple[str, str], others: str
) -> pl.DataFrame:
    """Codes that mean something take the two flags in turn, so some of them are deaths; all others share one."""
    known, unknown = profile.named(code_column), profile.others(code_column)
    flags = [*islice(cycle(named), len(known)), *[others] * len(unknown)]
    return pl.DataFrame({code_column.upper(): [*known, *unknown], flag_column: flags})
