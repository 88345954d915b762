"""The schemas of raw batches and of canonical encounters.

Raw columns keep the names of the hospitals' systems (`domain/his/`). Their wall-clock times are naive, because the
databases store no zone. From classification on, every instant is in UTC.
"""

from typing import Final

import polars as pl

from track_pipeline.domain.his.table import system

UTC_TIME: Final = pl.Datetime("us", "UTC")

# The first column of a raw batch: the alias of its database. The raw columns follow.
DATABASE_COLUMN: Final = "database"


def raw_schema(his: str) -> pl.Schema:
    """Return the columns and types of a raw batch of a HIS, `database` first. Raises ConfigError when it is unknown."""
    return pl.Schema({DATABASE_COLUMN: pl.String(), **system(his).raw})


# One row per encounter, for every HIS. The rules give `area` (an `Area.label`) and `setor`; on a row that no rule took
# both are null and `reason` is not. `death_flag_missing` is null where the row has no code of a discharge motive or
# result, to which a flag could belong.
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
