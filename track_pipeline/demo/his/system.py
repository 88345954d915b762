"""What the demo must know about a hospital information system to make a synthetic database of it.

The systems themselves are modules beside this one; who is in the tables is drawn in `demo/encounters.py`.
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
    """How a code column is filled: the shares of codes that mean something and of none; the rest is another code."""

    named: float
    missing: float
    kinds: tuple[str, ...] = KINDS


@dataclass(frozen=True)
class DemoSystem:
    """How synthetic databases of one system look.

    key: the system's key in the table of `domain/his/`.
    schema: the database schema that holds the tables.
    tables: from a profile and its encounters to the tables by name.
    habits: code column to how it is filled.
    usual_codes: code column to codes that mean something in every database of the system.
    ward: the code column of the ward, where the system has one; mothers lie in a ward that the rules know.
    functions: SQL that makes the functions which the statement calls.
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
    """What a synthetic database has to look like for the rules of the hospitals that read it.

    companies: values of the company column that units use; empty where one unit has the whole database.
    codes: raw column -> the codes that any of the rules names; a column that is not there gets usual ones.
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
        """The codes of that column that mean something, to the rules or everywhere."""
        lists = (_SHARED_CODES, self.system.usual_codes, self.codes)
        return tuple(dict.fromkeys(code for codes in lists for code in codes.get(column, ())))

    def others(self, column: str) -> tuple[Code, ...]:
        """A dozen codes of that column that mean nothing to any rule."""
        named = self.named(column)
        return tuple(code for code in range(1, 100 + len(named)) if code not in named)[:12]

    def all_codes(self, column: str) -> tuple[Code, ...]:
        """The codes of that column that mean something, then those that mean nothing."""
        return (*self.named(column), *self.others(column))
