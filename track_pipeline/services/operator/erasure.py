"""Erasure of one person's data at the person's request (LGPD, article 18): lake, ledger, answers.

Counts and decisions stay, and so does the hospital's own database. A day that is extracted again returns the person's
data to the lake, but the person is not contacted: an erasure is also an opt-out.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import date
from typing import Final

import polars as pl

from track_pipeline.adapters.lake import Lake
from track_pipeline.adapters.ledger import Ledger
from track_pipeline.domain.encounter import ENCOUNTER_KEY
from track_pipeline.domain.identity import KEY_COLUMNS, Hasher, with_cleaned_contacts, with_keys
from track_pipeline.domain.outcomes import PLANNED, Suppression
from track_pipeline.domain.policy import Policy
from track_pipeline.services.daily.extraction import EXTRACT
from track_pipeline.services.daily.invitation import INVITATION

# Columns of any step that identify the person or describe the person's health. The encounter's number, its day, unit
# and area stay, because they are counted.
_PERSONAL: Final = (
    *("patient_name", "doctor_name", "email", "phone_country", "phone_area", "phone_number", "cpf", "age", "cid"),
    *("email_address", "phone_e164", "cpf_digits", *KEY_COLUMNS, "link"),
)


@dataclass(frozen=True)
class Eraser:
    """Erasure of people from the lake and the ledger."""

    lake: Lake
    ledger: Ledger
    policy: Policy
    hasher: Hasher

    def erase(self, keys: Iterable[str]) -> dict[str, int]:
        """Erase the person with these keys and the other keys on the same encounters; return changed rows by kind.

        `lake_rows` are rows of extracts, plans and links whose personal columns are null now; for the others see
        `Ledger.erase_person`. Safe to repeat. Raises LakeError when a file cannot be rewritten: run it again then.
        """
        self.lake.drop_unfinished()
        given, theirs = self._find_person(set(keys))
        # Extracts come first: a plan records the digest of its extract, and the rewritten extract has a new digest.
        renamed: dict[str | None, str | None] = {}
        rows = sum(self._erase_in(partition, theirs, renamed) for partition in self.lake.places())
        return {"lake_rows": rows, **self.ledger.erasure.erase_person(given)}

    def _find_person(self, given: set[str]) -> tuple[set[str], pl.DataFrame]:
        """Return all keys of the person, and the encounters in lake or ledger that have one of the keys."""
        known = pl.concat([frame.select(*ENCOUNTER_KEY, *KEY_COLUMNS) for frame in self._people(given)]).unique()
        while True:
            theirs = known.filter(_has_any(given))
            keys = given.union(*(theirs.get_column(key).drop_nulls() for key in KEY_COLUMNS))
            if keys == given:
                return given, theirs.select(ENCOUNTER_KEY).unique()
            given = keys

    def _people(self, given: set[str]) -> Iterator[pl.DataFrame]:
        """Yield every extract and plan in the lake with person keys, and the person's sends."""
        yield self.ledger.erasure.sends_of_person(given)
        for step, area, day, hospital in self.lake.places():
            if step == EXTRACT:
                extract = self.lake.read(step, area, day, hospital)
                yield with_keys(with_cleaned_contacts(extract, self.policy.placeholders), self.hasher)
            elif step == INVITATION:
                yield self.lake.read(step, area, day, hospital)

    def _erase_in(
        self, partition: tuple[str, str, date, str], theirs: pl.DataFrame, renamed: dict[str | None, str | None]
    ) -> int:
        frame, step = self.lake.read(*partition), partition[0]
        is_theirs = pl.struct(ENCOUNTER_KEY).is_in(theirs.select(pl.struct(ENCOUNTER_KEY)).to_series().implode())
        rows = frame.filter(is_theirs)
        made_of = self.lake.made_of(*partition)
        if rows.is_empty() and (made_of is None or made_of not in renamed):
            return 0
        before = self.lake.digest(*partition)
        personal = [name for name in frame.columns if name in _PERSONAL]
        erased = frame.with_columns(pl.when(~is_theirs).then(name) for name in personal)
        self.lake.write(erased, *partition, made_of=renamed.get(made_of, made_of))
        renamed[before] = self.lake.digest(*partition)
        if step == INVITATION:
            self._suppress_waiting(partition, rows.filter(pl.col("result") == PLANNED))
        return rows.height

    def _suppress_waiting(self, partition: tuple[str, str, date, str], planned: pl.DataFrame) -> None:
        """Suppress the lines that still wait: without contacts and keys they cannot be sent."""
        _, area, day, hospital = partition
        asked = self.ledger.sends.invitations(hospital, day)
        waiting = planned.join(asked, on=ENCOUNTER_KEY, how="anti").select(*ENCOUNTER_KEY)
        self.ledger.encounters.hold(
            hospital, day, area, waiting.with_columns(held=pl.lit(f"suppressed:{Suppression.OPTED_OUT}"))
        )


def _has_any(keys: set[str]) -> pl.Expr:
    return pl.any_horizontal(pl.col(key).is_in(sorted(keys)) for key in KEY_COLUMNS).fill_null(value=False)
