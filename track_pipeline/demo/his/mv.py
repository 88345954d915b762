"""Synthetic databases of MV Soul: the tables that `sql/mv.sql` reads, and how codes are filled."""

from itertools import cycle, islice
from typing import Final

import polars as pl

from track_pipeline.demo.his.system import STAYS, DatabaseProfile, DemoSystem, Habit
from track_pipeline.demo.his.tables import BEDS, DOCTORS, WARDS, doctor_names, lookup

_TYPES: Final = {
    "ambulatory": "A",
    "exam": "E",
    "emergency": "U",
    "inpatient": "I",
    "mother": "I",
    "newborn": "I",
}
_SPECIALITIES: Final = (
    *("CARDIOLOGIA", "ORTOPEDIA", "PEDIATRIA", "GINECOLOGIA", "NEUROLOGIA", "UROLOGIA", "DERMATOLOGIA"),
    *("OFTALMOLOGIA", "ENDOCRINOLOGIA", "GASTROENTEROLOGIA"),
)
_SECTORS: Final = ("CENTRO MÉDICO", "PRONTO ATENDIMENTO", "IMAGEM", "LABORATÓRIO", "ONCOLOGIA", "ENDOSCOPIA")


def _tables(profile: DatabaseProfile, encounters: pl.DataFrame) -> dict[str, pl.DataFrame]:
    """Return the tables of schema DBAMV; DT_ columns have the day, HR_ columns also the time of day."""
    sectors = (*profile.others("ori_cd_setor")[:3], *profile.named("ori_cd_setor"))
    origins = profile.all_codes("cd_ori_ate")
    return {
        "ATENDIME": encounters.select(
            CD_ATENDIMENTO="id",
            CD_ATENDIMENTO_PAI="parent_id",
            CD_PACIENTE="id",
            CD_MULTI_EMPRESA="company",
            TP_ATENDIMENTO=pl.col("kind").replace_strict(_TYPES),
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
        "PRESTADOR": lookup(CD_PRESTADOR=DOCTORS, NM_PRESTADOR=doctor_names(profile)),
        "SER_DIS": lookup(CD_SER_DIS=profile.all_codes("cd_ser_dis"), DS_SER_DIS=_SPECIALITIES),
        "ESPECIALID": lookup(CD_ESPECIALID=profile.all_codes("cd_especialid"), DS_ESPECIALID=_SPECIALITIES),
        "MOT_ALT": _flags(profile, "cd_mot_alt", "TP_MOT_ALTA", named=("O", "T"), others="A"),
        "TIP_RES": _flags(profile, "cd_tip_res", "SN_OBITO", named=("S", "N"), others="N"),
        "ORI_ATE": lookup(
            CD_ORI_ATE=origins,
            DS_ORI_ATE=[f"ORIGEM {origin}" for origin in origins],
            TP_ORIGEM=("A", "E", "I", "U"),
            CD_SETOR=sectors,
        ),
        "SETOR": lookup(CD_SETOR=sectors, NM_SETOR=_SECTORS),
        "LEITO": lookup(CD_LEITO=BEDS, CD_UNID_INT=range(1, len(WARDS) + 1)),
        "UNID_INT": lookup(CD_UNID_INT=range(1, len(WARDS) + 1), DS_UNID_INT=WARDS),
    }


def _flags(
    profile: DatabaseProfile, code_column: str, flag_column: str, named: tuple[str, str], others: str
) -> pl.DataFrame:
    """Return a table of codes with a flag. Known codes have the two `named` flags in turn (some are deaths).

    All other codes have the flag `others`.
    """
    known, unknown = profile.named(code_column), profile.others(code_column)
    flags = [*islice(cycle(named), len(known)), *[others] * len(unknown)]
    return pl.DataFrame({code_column.upper(): [*known, *unknown], flag_column: flags})


MV: Final = DemoSystem(
    key="mv",
    schema="DBAMV",
    tables=_tables,
    # Codes that apply to few patients (discharge motives, results) are rare, the others are common.
    habits={
        "cd_ori_ate": Habit(0.85, 0.03),
        "cd_servico": Habit(0.85, 0.05),
        "cd_ser_dis": Habit(0.40, 0.05),
        "cd_especialid": Habit(0.50, 0.05),
        "cd_tip_res": Habit(0.06, 0.05, ("emergency",)),
        "cd_mot_alt": Habit(0.06, 0.05, STAYS),
    },
    # 97 stands for a motive or result that is a death by its own flag and on no hospital's list of codes.
    usual_codes={"cd_mot_alt": (97, 98), "cd_tip_res": (97, 98)},
)
