"""Exclusions that do not depend on the contact: one rule per reason, in order. The first rule that holds is the reason.

A rule reads one encounter. Some rules hold for the person and so for the person's other encounters of the day.
Exclusions that need the ledger or the calendar are in `plan`; those of one hospital are in its rule file.
"""

import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

import polars as pl

from track_pipeline.domain.hospital import Hospital
from track_pipeline.domain.identity import KEY_COLUMNS
from track_pipeline.domain.outcomes import Exclusion
from track_pipeline.domain.policy import EligibilityPolicy


@dataclass(frozen=True)
class EligibilityRule:
    """A reason, the version of its definition, its source, and the condition under which it holds.

    `of_person`: if the rule holds for one encounter, it excludes the person's other encounters of that day too.
    """

    reason: Exclusion
    version: int
    source: str
    holds: Callable[[EligibilityPolicy, Hospital], pl.Expr]
    of_person: bool = False

    @property
    def id(self) -> str:
        """The identifier in `decided_by`: `minor@1`."""
        return f"{self.reason}@{self.version}"


def _has_cid(prefixes: tuple[str, ...]) -> pl.Expr:
    cid = pl.col("cid").str.to_uppercase().str.replace_all(r"[^A-Z0-9]", "")
    return cid.str.contains(rf"^(?:{'|'.join(prefixes)})") if prefixes else pl.lit(value=False)


def _has_word(words: tuple[str, ...]) -> pl.Expr:
    # Hospitals type names with and without accents, so accents are removed before the search.
    name = pl.col("patient_name").str.normalize("NFD").str.replace_all(r"\p{M}", "")
    any_word = "|".join(map(re.escape, words))
    return name.str.contains(rf"(?i)\b(?:{any_word})\b") if words else pl.lit(value=False)


def _is_minor(policy: EligibilityPolicy, hospital: Hospital) -> pl.Expr:
    if hospital.minors == "guardian_contact":
        return pl.lit(value=False)
    return pl.col("age") < policy.adult_age


ELIGIBILITY_RULES: Final[tuple[EligibilityRule, ...]] = (
    EligibilityRule(
        Exclusion.DECEASED,
        1,
        "HCAHPS: alive at discharge; MV's MOT_ALT.TP_MOT_ALTA = O and TIP_RES.SN_OBITO = S",
        lambda _policy, _hospital: pl.col("died"),
        of_person=True,
    ),
    EligibilityRule(
        Exclusion.NEWBORN,
        1,
        "names that wards give before a birth is registered (RN DE ...), as the original did at HAT",
        lambda _policy, _hospital: (
            pl.col("patient_name").str.contains(r"(?i)^\s*(RN|REC[EÉ]M[ -]?NASCID[OA])\b") | (pl.col("age") == 0)
        ),
    ),
    EligibilityRule(Exclusion.MINOR, 1, "HCAHPS: 18 or older; only Philips Tasy delivers an age", _is_minor),
    EligibilityRule(
        Exclusion.OBSTETRIC_LOSS,
        1,
        "ICD-10 chapters XV, XVI and Z37; decided by the project, no hospital has confirmed it",
        lambda policy, _hospital: _has_cid(policy.obstetric_loss_cid),
        of_person=True,
    ),
    EligibilityRule(
        Exclusion.PSYCHIATRIC,
        1,
        "HCAHPS: principal psychiatric diagnosis",
        lambda policy, _hospital: _has_cid(policy.psychiatric_cid),
        of_person=True,
    ),
    EligibilityRule(
        Exclusion.CUSTODY,
        1,
        "HCAHPS: prisoners",
        lambda policy, _hospital: _has_cid(policy.custody_cid),
        of_person=True,
    ),
    EligibilityRule(
        Exclusion.TEST_PATIENT,
        1,
        "words that hospitals put into the names of patients who do not exist",
        lambda policy, _hospital: _has_word(policy.test_patient_words),
    ),
)


def with_reason(frame: pl.DataFrame, policy: EligibilityPolicy, hospital: Hospital) -> pl.DataFrame:
    """Add `decided_by` (the id of the first rule that holds, else null) to encounters, and set the rule's `reason`.

    A row for which no rule holds keeps its reason, if it has one. A cancelled encounter keeps its reason too: it did
    not take place, so it is no evidence about the person.
    """
    took_place = pl.col("reason").ne_missing(pl.lit(Exclusion.CANCELLED.value))
    verdicts = [(rule, took_place & rule.holds(policy, hospital).fill_null(value=False)) for rule in ELIGIBILITY_RULES]
    # A lazy frame, because polars then computes each verdict once and not for both columns.
    return (
        frame.lazy()
        .with_columns(
            reason=pl.coalesce(
                *(pl.when(holds).then(pl.lit(rule.reason.value)) for rule, holds in verdicts), pl.col("reason")
            ),
            decided_by=pl.coalesce(pl.when(holds).then(pl.lit(rule.id)) for rule, holds in verdicts),
        )
        .collect()
    )


def with_reasons_of_people(judged: pl.DataFrame, died: pl.Series) -> pl.DataFrame:
    """Set the reasons that hold for a person (`of_person`) on all rows of that person that have no reason.

    `judged` is the result of `with_reason`, with person keys. `died`: the person keys with a recorded death. Rows that
    share any key belong to the same person.
    """
    for rule in ELIGIBILITY_RULES:
        if rule.of_person:
            marked = judged.filter(pl.col("reason") == rule.reason.value)
            known = died if rule.reason is Exclusion.DECEASED else died.clear()
            people = pl.concat([known, *(marked.get_column(key).drop_nulls() for key in KEY_COLUMNS)]).unique()
            if not people.is_empty():
                same = pl.any_horizontal(pl.col(key).is_in(people.implode()) for key in KEY_COLUMNS)
                applies = pl.col("reason").is_null() & same.fill_null(value=False)
                judged = judged.with_columns(
                    reason=pl.when(applies).then(pl.lit(rule.reason.value)).otherwise("reason"),
                    decided_by=pl.when(applies).then(pl.lit(rule.id)).otherwise("decided_by"),
                )
    return judged
