"""Synthetic databases of Philips Tasy: the tables and functions that `sql/tasy.sql` reads, and how codes are filled."""

from typing import Final

import polars as pl

from track_pipeline.demo.his.system import STAYS, DatabaseProfile, DemoSystem, Habit
from track_pipeline.demo.his.tables import DOCTORS, WARDS, doctor_names, lookup

_TYPES: Final = {"ambulatory": 8, "exam": 7, "emergency": 3, "inpatient": 1, "mother": 1, "newborn": 1}

# The functions return values of columns that only this demo has; the statement reads them only through the functions.
_FUNCTIONS: Final = """
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


def _tables(profile: DatabaseProfile, encounters: pl.DataFrame) -> dict[str, pl.DataFrame]:
    """Return the tables of schema TASY; in Tasy `ATENDIMENTO_PACIENTE_V` is a view. Ages are text, as in Tasy."""
    wards = lookup(CD_SETOR_ATENDIMENTO=profile.all_codes("cd_setor_internacao"), DS_SETOR_ATENDIMENTO=WARDS)
    patients = encounters.select(
        CD_PESSOA_FISICA=pl.col("id").cast(pl.String),
        NM_PESSOA_FISICA="name",
        DS_EMAIL="email",
        NR_TELEFONE="telephone",
        NR_CPF="cpf",
        QT_IDADE=pl.col("age").cast(pl.String),
    )
    doctors = lookup(CD_PESSOA_FISICA=[str(doctor) for doctor in DOCTORS], NM_PESSOA_FISICA=doctor_names(profile))
    return {
        "ATENDIMENTO_PACIENTE": encounters.select(
            NR_ATENDIMENTO="id",
            CD_PESSOA_FISICA=pl.col("id").cast(pl.String),
            CD_MEDICO_RESP=pl.col("doctor").cast(pl.String),
            IE_TIPO_ATENDIMENTO=pl.col("kind").replace_strict(_TYPES),
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


TASY: Final = DemoSystem(
    key="tasy",
    schema="TASY",
    tables=_tables,
    # Codes that apply to few patients (discharge motives, oncology's sectors) are rare, the others are common.
    habits={
        "cd_motivo_alta": Habit(0.06, 0.05),
        "cd_primeiro_setor": Habit(0.35, 0.05),
        "cd_setor_internacao": Habit(0.05, 0.05, STAYS),
        "ie_clinica": Habit(0.40, 0.05),
        "nr_seq_classificacao": Habit(0.80, 0.05),
    },
    # 97 stands for a motive that is a death and on no hospital's list of codes.
    usual_codes={"cd_motivo_alta": (97, 98)},
    ward="cd_setor_internacao",
    functions=_FUNCTIONS,
)
