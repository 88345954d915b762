"""Forgetting one person who asks for it (LGPD, article 18): lake, ledger, answers. Counts and decisions stay.

What the hospital's own database holds is the hospital's; a day that is extracted again brings a person's data back
into the lake, where nobody writes to them: the erasure is an opt-out too.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import date
from typing import Final

import polars as pl

from track_pipeline.adapters.lake import Lake
from track_pipeline.adapters.ledger import Ledger
from track_pipeline.domain.contacts import with_contacts
from track_pipeline.domain.identity import KEY_COLUMNS, Hasher, cpf_digits, with_keys
from track_pipeline.policy import Policy
from track_pipeline.services.extraction import EXTRACT

# What of a row of any step says who it is about, or what they had. The encounter's number, its day and its place stay:
# they are what is counted.
_PERSONAL: Final = (
    *("patient_name", "doctor_name", "email", "phone_country", "phone_area", "phone_number", "cpf", "age", "cid"),
    *("email_address", "phone_e164", "cpf_digits", *KEY_COLUMNS, "link"),
)
_ENCOUNTER: Final = ("database", "encounter_id")


@dataclass(frozen=True)
class Eraser:
    """Forgets people."""

    lake: Lake
    ledger: Ledger
    policy: Policy
    hasher: Hasher

    def erase(self, keys: Iterable[str]) -> dict[str, int]:
        """Forgets the person with these keys, and with those beside them; returns the rows touched, by kind.

        `lake_rows` are rows of extracts, plans and links whose personal columns are null now; for the others see
        `Ledger.erase_person`. Safe to repeat. Raises LakeError when a file cannot be rewritten: run it again then.
        """
        given = set(keys)
        for frame in self._extracts():
            theirs = frame.filter(_has_any(given))
            given.update(*(theirs.get_column(key).drop_nulls() for key in KEY_COLUMNS))
        encounters = pl.concat(
            [pl.DataFrame(schema={"database": pl.String(), "encounter_id": pl.Int64()})]
            + [frame.filter(_has_any(given)).select(_ENCOUNTER) for frame in self._extracts()]
        )
        rows = sum(self._forget(place, encounters) for place in self.lake.places())
        return {"lake_rows": rows, **self.ledger.erase_person(given)}

    def _extracts(self) -> Iterator[pl.DataFrame]:
        """Every extract in the lake, with person keys."""
        for step, area, day, hospital in self.lake.places():
            if step == EXTRACT:
                frame = with_contacts(self.lake.read(step, area, day, hospital), self.policy.placeholders)
                yield with_keys(frame.with_columns(cpf_digits=cpf_digits("cpf")), self.hasher)

    def _forget(self, place: tuple[str, str, date, str], encounters: pl.DataFrame) -> int:
        frame = self.lake.read(*place)
        is_theirs = pl.struct(_ENCOUNTER).is_in(encounters.select(pl.struct(_ENCOUNTER)).to_series().implode())
        count = frame.filter(is_theirs).height
        if count:
            personal = [name for name in frame.columns if name in _PERSONAL]
            self.lake.write(frame.with_columns(pl.when(~is_theirs).then(name) for name in personal), *place)
        return count


def _has_any(keys: set[str]) -> pl.Expr:
    return pl.any_horizontal(pl.col(key).is_in(sorted(keys)) for key in KEY_COLUMNS).fill_null(value=False)
