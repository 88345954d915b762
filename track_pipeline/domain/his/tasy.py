"""Philips Tasy: its raw columns, their conversion to canonical encounters, and its e-mail functions.

Everything that applies only to Tasy belongs here. The statement is `sql/tasy.sql`.
"""

from typing import Final

import polars as pl

from track_pipeline.domain.his.system import WALL_TIME, HospitalSystem, KeyColumns, instant

# The statement joins `cd_setor_internacao` by sector name, which may repeat, so an encounter can have several rows.
_RAW: Final = pl.Schema(
    {
        "nr_atendimento": pl.Int64(),
        "cd_estabelecimento": pl.Int64(),
        "dt_entrada": WALL_TIME,
        "dt_alta": WALL_TIME,
        "dt_cancelamento": WALL_TIME,
        "ie_tipo_atendimento": pl.Int64(),
        "cd_motivo_alta": pl.Int64(),
        "cd_medico_resp": pl.String(),
        "cd_primeiro_setor": pl.Int64(),
        "cd_setor_internacao": pl.Int64(),
        "ie_clinica": pl.Int64(),
        "nr_seq_classificacao": pl.Int64(),
        "idade": pl.Int64(),
        "nm_paciente": pl.String(),
        "nm_medico": pl.String(),
        "email": pl.String(),
        "telefone": pl.String(),
        "cpf": pl.String(),
    }
)


def _canonical(zone: str) -> list[pl.Expr]:
    return [
        pl.col("nr_atendimento").alias("encounter_id"),
        instant(pl.col("dt_entrada"), zone).alias("attended_at"),
        instant(pl.col("dt_alta"), zone).alias("discharged_at"),
        pl.col("nm_paciente").alias("patient_name"),
        pl.col("nm_medico").alias("doctor_name"),
        pl.lit(None, pl.String).alias("phone_country"),
        pl.lit(None, pl.String).alias("phone_area"),
        pl.col("telefone").alias("phone_number"),
        pl.col("idade").alias("age"),
        pl.lit(None, pl.String).alias("cid"),
        pl.lit(value=False).alias("died"),
        pl.lit(None, pl.Boolean).alias("death_flag_missing"),
    ]


TASY: Final = HospitalSystem(
    key="tasy",
    label="Philips Tasy",
    raw=_RAW,
    columns=KeyColumns(
        encounter="nr_atendimento",
        unit="cd_estabelecimento",
        deciding={"attendance": "dt_entrada", "discharge": "dt_alta"},
    ),
    canonical=_canonical,
    credential_suffix="_TASY",
    # The function that returns a patient's e-mail differs between databases.
    email_sources={
        "compl_pf": "TASY.OBTER_COMPL_PF(b.CD_PESSOA_FISICA, 1, 'M')",
        "email_pf_hpm": "TASY.OBTER_EMAIL_PF_HPM(b.CD_PESSOA_FISICA)",
    },
)
