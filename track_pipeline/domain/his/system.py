"""What the package must know about a hospital information system (HIS), and what the systems' modules share.

What is true for one system only belongs in the module of that system.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import date
from functools import cached_property
from typing import Final, Literal

import polars as pl

# The event whose date decides on which day a rule takes an encounter.
DayOf = Literal["attendance", "discharge"]

# The databases keep wall-clock times without a zone.
WALL_TIME: Final = pl.Datetime("us")

# Wall times outside of these stand for "never" or are slips of the keyboard: they have no instant.
_PLAUSIBLE: Final = (date(1900, 1, 1), date(2200, 1, 1))


@dataclass(frozen=True)
class KeyColumns:
    """The raw columns that have a part of their own: the encounter's number, its unit and its deciding dates."""

    encounter: str
    unit: str
    deciding: Mapping[DayOf, str]


@dataclass(frozen=True)
class HospitalSystem:
    """One hospital information system.

    key: its name in `hospitals.toml`, and of its statement, `sql/<key>.sql`.
    label: its name for people.
    raw: the columns and types that the statement delivers, in its order.
    columns: the raw columns with a part of their own.
    canonical: from the time zone of the hospital to the expressions that give the columns of `ENCOUNTERS` and those
        of `derived`; a raw column already named as in `ENCOUNTERS` is taken as it is.
    credential_suffix: how DB_USERNAME and DB_PASSWORD end for the user that reads its databases.
    derived: column to Python type, for columns that rules may name besides the raw ones.
    email_sources: value of `email_source` in `hospitals.toml` to the SQL expression of the patient's e-mail; the first
        is the one in the statement. Empty where all databases of the system have the same.
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
        """Return the statement's e-mail expression and the one to put in its place; None where none is replaced."""
        if source is None or not self.email_sources:
            return None
        shipped = next(iter(self.email_sources.values()))
        wanted = self.email_sources[source]
        return None if wanted == shipped else (shipped, wanted)


def instant(wall_time: pl.Expr, zone: str) -> pl.Expr:
    """Return wall time as an instant in UTC: of an hour that comes twice the first, of one that is skipped none."""
    plausible = pl.when(wall_time.is_between(*_PLAUSIBLE)).then(wall_time)
    return plausible.dt.replace_time_zone(zone, ambiguous="earliest", non_existent="null").dt.convert_time_zone("UTC")
