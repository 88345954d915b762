"""The description of a hospital information system (HIS), and the code that the modules of the systems share.

Everything that applies to one system only belongs in the module of that system.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import date
from functools import cached_property
from typing import Final, Literal

import polars as pl

# The event whose date decides on which day a rule takes an encounter.
DayOf = Literal["attendance", "discharge"]

# The databases store wall-clock times without a zone.
WALL_TIME: Final = pl.Datetime("us")

# Wall times outside this range mean "never" or are typing errors. They become null.
_PLAUSIBLE: Final = (date(1900, 1, 1), date(2200, 1, 1))


@dataclass(frozen=True)
class KeyColumns:
    """The raw columns with a special role: the number of the encounter, its unit and its deciding dates."""

    encounter: str
    unit: str
    deciding: Mapping[DayOf, str]


@dataclass(frozen=True)
class HospitalSystem:
    """One hospital information system.

    key: the name in `hospitals.toml` and of the statement, `sql/<key>.sql`.
    label: the name shown to people.
    raw: the columns and types that the statement delivers, in its order.
    columns: the raw columns with a special role.
    canonical: function from the time zone of the hospital to the expressions for the columns of `ENCOUNTERS` and of
        `derived`; a raw column with a name of `ENCOUNTERS` is kept unchanged.
    credential_suffix: the suffix of DB_USERNAME and DB_PASSWORD for the user that reads the databases of the system.
    derived: column to Python type, for the columns that rules may name in addition to the raw ones.
    email_sources: value of `email_source` in `hospitals.toml` to the SQL expression of the patient's e-mail; the first
        is the one in the statement. Empty if all databases of the system use the same expression.
    """

    key: str
    label: str
    raw: pl.Schema
    columns: KeyColumns
    canonical: Callable[[str], list[pl.Expr]]
    credential_suffix: str
    derived: Mapping[str, type] = field(default_factory=dict)
    email_sources: Mapping[str, str] = field(default_factory=dict)

    @cached_property
    def rule_columns(self) -> dict[str, type]:
        """The Python type of every column that a rule may name."""
        return {**self.raw.to_python(), **self.derived}

    def email_replacement(self, source: str | None) -> tuple[str, str] | None:
        """Return the e-mail expression of the statement and its replacement; None if it is not replaced."""
        if source is None or not self.email_sources:
            return None
        shipped = next(iter(self.email_sources.values()))
        wanted = self.email_sources[source]
        return None if wanted == shipped else (shipped, wanted)


def instant(wall_time: pl.Expr, zone: str) -> pl.Expr:
    """Return wall time as an instant in UTC. An hour that occurs twice gives the first; a skipped hour gives null."""
    plausible = pl.when(wall_time.is_between(*_PLAUSIBLE)).then(wall_time)
    return plausible.dt.replace_time_zone(zone, ambiguous="earliest", non_existent="null").dt.convert_time_zone("UTC")
