"""The shapes of the frames that travel between the rooms: raw per HIS, canonical encounters.

Raw columns keep the names of the hospitals' systems (MV Soul, Philips Tasy); wall-clock times are naive
there, because the databases have no zone. From classification on, every instant is UTC.
"""

from typing import Final, Literal

import polars as pl

His = Literal["mv", "tasy"]

_WALL_TIME = pl.Datetime("us")
UTC_TIME: Final = pl.Datetime("us", "UTC")

# One row per encounter of the window; `qt_filhos` counts encounters that name this one as their parent.
RAW_MV: Final = pl.Schema(
    {
        "cd_atendimento": pl.Int64(),
        "cd_multi_empresa": pl.Int64(),
        "dt_atendimento": _WALL_TIME,
        "hr_atendimento": _WALL_TIME,
        "dt_alta": _WALL_TIME,
        "hr_alta": _WALL_TIME,
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

# `cd_setor_internacao` is joined by sector name, which may repeat: several rows per encounter can come.
RAW_TASY: Final = pl.Schema(
    {
        "nr_atendimento": pl.Int64(),
        "cd_estabelecimento": pl.Int64(),
        "dt_entrada": _WALL_TIME,
        "dt_alta": _WALL_TIME,
        "dt_cancelamento": _WALL_TIME,
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

RAW: Final[dict[His, pl.Schema]] = {"mv": RAW_MV, "tasy": RAW_TASY}

# A raw batch as a reader delivers it: the alias of the database it came from, then the raw columns.
DATABASE_COLUMN: Final = "database"


def raw_schema(his: His) -> pl.Schema:
    """The columns and types of a raw batch of that HIS, `database` first."""
    return pl.Schema({DATABASE_COLUMN: pl.String(), **RAW[his]})


# One row per encounter, whatever the HIS. `area` and `setor` are as the rules deliver them (`area` is
# `Area.label`); both are null, and `reason` is not, on a row that no rule took. `death_flag_missing` is null
# where there is no discharge motive or result that a flag could belong to.
ENCOUNTERS: Final = pl.Schema(
    {
        "hospital": pl.String(),
        "database": pl.String(),
        "encounter_id": pl.Int64(),
        "unit": pl.String(),
        "unit_name": pl.String(),
        "area": pl.String(),
        "setor": pl.String(),
        "rule": pl.String(),
        "reason": pl.String(),
        "attended_at": UTC_TIME,
        "discharged_at": UTC_TIME,
        "patient_name": pl.String(),
        "doctor_name": pl.String(),
        "email": pl.String(),
        "phone_country": pl.String(),
        "phone_area": pl.String(),
        "phone_number": pl.String(),
        "cpf": pl.String(),
        "age": pl.Int64(),
        "cid": pl.String(),
        "died": pl.Boolean(),
        "death_flag_missing": pl.Boolean(),
    }
)
