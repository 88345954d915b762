"""The description of a hospital information system from which the demo makes a synthetic database.

Each system is a module beside this one; `demo/encounters.py` makes the rows.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Final

import polars as pl

Code = int | str

# The kinds of encounters, and those of them that stay overnight.
KINDS: Final = ("ambulatory", "exam", "emergency", "inpatient", "mother", "newborn")
STAYS: Final = ("inpatient", "mother", "newborn")

# Codes of the classification of diseases that all systems share: deliveries and a newborn.
_SHARED_CODES: Final[Mapping[str, tuple[Code, ...]]] = {"cd_cid": ("O800", "O809", "O82", "Z380")}


@dataclass(frozen=True)
class Habit:
    """How a code column is filled.

    named: share of codes that a rule names. missing: share without a code. The rest are other codes. kinds: the kinds
    of encounters that have a code.
    """

    named: float
    missing: float
    kinds: tuple[str, ...] = KINDS


@dataclass(frozen=True)
class DemoSystem:
    """How the synthetic databases of one system are made.

    key: the system's key in the table of `domain/his/`.
    schema: the database schema that holds the tables.
    tables: function of a profile and its encounters that returns the tables by name.
    habits: code column to how it is filled.
    usual_codes: code column to codes that have a meaning in every database of the system.
    ward: the code column of the ward, if the system has one; mothers are in a ward that the rules name.
    functions: SQL that creates the functions that the statement calls.
    """

    key: str
    schema: str
    tables: Callable[["DatabaseProfile", pl.DataFrame], Mapping[str, pl.DataFrame]]
    habits: Mapping[str, Habit]
    usual_codes: Mapping[str, tuple[Code, ...]] = field(default_factory=dict)
    ward: str | None = None
    functions: str = ""


@dataclass(frozen=True)
class DatabaseProfile:
    """The contents that a synthetic database needs for the rules of the hospitals that read it.

    companies: values of the company column that units use; empty when one unit has the whole database.
    codes: raw column to the codes that any of the rules names; other columns have the usual codes.
    """

    alias: str
    system: DemoSystem
    companies: tuple[int, ...]
    codes: Mapping[str, tuple[Code, ...]]

    @property
    def his(self) -> str:
        """The key of the database's system."""
        return self.system.key

    def named(self, column: str) -> tuple[Code, ...]:
        """Return the codes of a column that a rule names, or that have a meaning in all databases."""
        lists = (_SHARED_CODES, self.system.usual_codes, self.codes)
        return tuple(dict.fromkeys(code for codes in lists for code in codes.get(column, ())))

    def others(self, column: str) -> tuple[Code, ...]:
        """Return twelve codes of a column that no rule names."""
        named = self.named(column)
        return tuple(code for code in range(1, 100 + len(named)) if code not in named)[:12]

    def all_codes(self, column: str) -> tuple[Code, ...]:
        """Return the named codes of a column, then the others."""
        return (*self.named(column), *self.others(column))
