"""Whom not to ask, whatever the contact: one rule per reason, in order; the first that holds is the reason.

A rule sees one encounter; what some of them say is true of the person, whatever the encounter. What else needs several
encounters, the ledger or the calendar is in `plan`; exclusions that a hospital states itself are in its rule file.
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
    """A reason, the version of its wording, where it comes from, and when it holds.

    `of_person`: where it holds for one encounter, nobody asks the same person about another one of that day either.
    """

    reason: Exclusion
    version: int
    source: str
    holds: Callable[[EligibilityPolicy, Hospital], pl.Expr]
    of_person: bool = False

    @property
    def id(self) -> str:
        """The rule as it is named in decisions."""
        return f"{self.reason}@{self.version}"


def _has_cid(prefixes: tuple[str, ...]) -> pl.Expr:
    cid = pl.col("cid").str.to_uppercase().str.replace_all(r"[^A-Z0-9]", "")
    return cid.str.contains(rf"^(?:{'|'.join(prefixes)})") if prefixes else pl.lit(value=False)


def _has_word(words: tuple[str, ...]) -> pl.Expr:
    # Accents are typed or not: they are taken off before looking.
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
    """Adds `decided_by` (the id of the first rule that holds, else null) to encounters, and puts its `reason` first.

    A row that no rule holds for keeps the reason it came with, if any; so does a cancelled one, which did not take
    place and says nothing about anybody.
    """
    took_place = pl.col("reason").ne_missing(pl.lit(Exclusion.CANCELLED.value))
    verdicts = [(rule, took_place & rule.holds(policy, hospital).fill_null(value=False)) for rule in ELIGIBILITY_RULES]
    # Lazily, because only then polars works out each verdict once and not for both columns.
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
    """Gives the reasons that are true of a person (`of_person`) to all of that person's rows that have none.

    `judged` is what `with_reason` returns, with person keys; `died`: person keys of who is known to have died. Who
    shares any key is the same person.
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
