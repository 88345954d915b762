"""The shapes of the frames that travel between the rooms: raw batches, canonical encounters.

Raw columns keep the names of the hospitals' systems (`domain/his/`); wall-clock times are naive there, because the
databases have no zone. From classification on, every instant is UTC.
"""

from typing import Final

import polars as pl

from track_pipeline.domain.his.table import system

UTC_TIME: Final = pl.Datetime("us", "UTC")

# A raw batch as a reader delivers it: the alias of the database it came from, then the raw columns.
DATABASE_COLUMN: Final = "database"


def raw_schema(his: str) -> pl.Schema:
    """Return the columns and types of a raw batch of that HIS, `database` first. Raises ConfigError when unknown."""
    return pl.Schema({DATABASE_COLUMN: pl.String(), **system(his).raw})


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
