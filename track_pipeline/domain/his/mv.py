"""MV Soul: its raw columns, and their conversion to canonical encounters.

Everything that applies only to MV belongs here. The statement is `sql/mv.sql`.
"""

from typing import Final

import polars as pl

from track_pipeline.domain.his.system import WALL_TIME, HospitalSystem, KeyColumns, instant

# One row per encounter of the window; `qt_filhos` counts encounters that name this one as their parent.
_RAW: Final = pl.Schema(
    {
        "cd_atendimento": pl.Int64(),
        "cd_multi_empresa": pl.Int64(),
        "dt_atendimento": WALL_TIME,
        "hr_atendimento": WALL_TIME,
        "dt_alta": WALL_TIME,
        "hr_alta": WALL_TIME,
        "tp_atendimento": pl.String(),
        "cd_ori_ate": pl.Int64(),
        "cd_servico": pl.Int64(),
        "cd_ser_dis": pl.Int64(),
        "cd_especialid": pl.Int64(),
        "cd_tip_res": pl.Int64(),
        "cd_mot_alt": pl.Int64(),
        "cd_cid": pl.String(),
        "cd_prestador": pl.Int64(),
        "cd_atendimento_pai": pl.Int64(),
        "qt_filhos": pl.Int64(),
        "tp_mot_alta": pl.String(),
        "sn_obito": pl.String(),
        "ori_cd_setor": pl.Int64(),
        "ori_tp_origem": pl.String(),
        "ds_ser_dis": pl.String(),
        "ds_especialid": pl.String(),
        "ds_ori_ate": pl.String(),
        "nm_setor": pl.String(),
        "ds_unid_int": pl.String(),
        "nm_paciente": pl.String(),
        "email": pl.String(),
        "nr_ddi_celular": pl.String(),
        "nr_ddd_celular": pl.String(),
        "nr_celular": pl.String(),
        "nr_cpf": pl.String(),
        "nm_prestador": pl.String(),
    }
)


def _canonical(zone: str) -> list[pl.Expr]:
    return [
        pl.col("cd_atendimento").alias("encounter_id"),
        (pl.col("qt_filhos") > 0).fill_null(value=False).alias("tem_filho"),
        instant(pl.coalesce("hr_atendimento", "dt_atendimento"), zone).alias("attended_at"),
        instant(pl.coalesce("hr_alta", "dt_alta"), zone).alias("discharged_at"),
        pl.col("nm_paciente").alias("patient_name"),
        pl.col("nm_prestador").alias("doctor_name"),
        pl.col("nr_ddi_celular").alias("phone_country"),
        pl.col("nr_ddd_celular").alias("phone_area"),
        pl.col("nr_celular").alias("phone_number"),
        pl.col("nr_cpf").alias("cpf"),
        pl.lit(None, pl.Int64).alias("age"),
        pl.col("cd_cid").alias("cid"),
        (pl.col("tp_mot_alta").eq_missing(pl.lit("O")) | pl.col("sn_obito").eq_missing(pl.lit("S"))).alias("died"),
        pl.coalesce(_is_unanswered("cd_mot_alt", "tp_mot_alta"), _is_unanswered("cd_tip_res", "sn_obito")).alias(
            "death_flag_missing"
        ),
    ]


def _is_unanswered(code: str, flag: str) -> pl.Expr:
    """Whether a code has no flag; null where there is no code."""
    return pl.when(pl.col(code).is_not_null()).then(pl.col(flag).is_null())


MV: Final = HospitalSystem(
    key="mv",
    label="MV Soul",
    raw=_RAW,
    columns=KeyColumns(
        encounter="cd_atendimento",
        unit="cd_multi_empresa",
        deciding={"attendance": "dt_atendimento", "discharge": "dt_alta"},
    ),
    canonical=_canonical,
    credential_suffix="",
    derived={"tem_filho": bool},  # from `qt_filhos`
)
