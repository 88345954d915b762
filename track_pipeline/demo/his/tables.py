"""Parts of the tables of several systems: doctors, beds, wards and small tables of codes."""

from collections.abc import Sequence
from itertools import cycle, islice
from typing import Final

import polars as pl

from track_pipeline.demo.his.system import Code, DatabaseProfile
from track_pipeline.demo.people import people

DOCTORS: Final = range(1, 41)
BEDS: Final = range(1, 25)

# Twelve names: when the rules name a ward there are 13 wards, so a name repeats, as happens in Tasy.
WARDS: Final = (
    *("MATERNIDADE", "CLÍNICA MÉDICA", "CLÍNICA CIRÚRGICA", "UTI ADULTO", "UTI NEONATAL", "UTI CORONARIANA"),
    *("PEDIATRIA", "CARDIOLOGIA", "NEUROLOGIA", "ORTOPEDIA", "HOSPITAL-DIA", "UNIDADE DE ISOLAMENTO"),
)


def doctor_names(profile: DatabaseProfile) -> list[str]:
    """Return the names of the database's doctors, in the order of `DOCTORS`."""
    return people(len(DOCTORS), "doctors", profile.alias)["name"].to_list()


def lookup(**columns: Sequence[Code]) -> pl.DataFrame:
    """Return a table with a row per value of the first column; shorter columns repeat from their start."""
    height = len(next(iter(columns.values())))
    return pl.DataFrame({name: list(islice(cycle(values), height)) for name, values in columns.items()})
