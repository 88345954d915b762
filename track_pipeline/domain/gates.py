"""Gates before a dispatch: invariants that no approval opens, and doubts that an operator may answer.

A gate looks at frames and numbers; where those come from, and what stopping means, is the dispatch's.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date
from statistics import median
from typing import Final

import polars as pl

from track_pipeline.domain.channels import CONTACT_COLUMNS
from track_pipeline.domain.outcomes import EXCLUDED, PLANNED, Exclusion
from track_pipeline.domain.policy import GatePolicy

_CONTACT_REASONS: Final = (
    Exclusion.SHARED_CONTACT,
    Exclusion.PLACEHOLDER_CONTACT,
    Exclusion.FOREIGN,
    Exclusion.INVALID_CONTACT,
    Exclusion.NO_CONTACT,
)


@dataclass(frozen=True)
class Finding:
    """What a gate saw. `waivable`: an operator may approve it in run config, with a reason."""

    gate: str
    passed: bool
    detail: str
    waivable: bool = True


def invariants(
    plan: pl.DataFrame, extract: pl.DataFrame, pending: pl.DataFrame, *, is_of_extract: bool
) -> list[Finding]:
    """What must hold of every plan (`PLAN`) and its extract (`ENCOUNTERS`), or the code itself is wrong.

    `pending`: the planned lines that have not left; what left may have lost its contact in the hospital since.
    `is_of_extract`: whether the plan was made of this very extract, and of no earlier one.
    """
    planned = plan.filter(pl.col("result") == PLANNED)
    repeated = int(planned.select("database", "encounter_id").is_duplicated().sum())
    nameless = plan.filter((pl.col("result") == EXCLUDED) & pl.col("reason").is_null()).height
    lacks_contact = pl.any_horizontal(
        (pl.col("channel") == channel.value) & pl.col(contact).is_null() for channel, contact in CONTACT_COLUMNS.items()
    )
    unsendable = pending.filter(lacks_contact | pl.col("survey_uuid").is_null() | pl.col("channel").is_null()).height
    same_rows = plan.height == extract.height and nameless == 0
    return [
        Finding("no_duplicate_encounter", repeated == 0, f"{repeated} planned encounters repeated", waivable=False),
        Finding(
            "every_line_can_be_sent", unsendable == 0, f"{unsendable} lines lack contact or survey", waivable=False
        ),
        Finding(
            "funnel_closes",
            same_rows,
            f"{extract.height} extracted, {plan.height} decided, {nameless} without a reason; "
            "materialise the invitation again if the extract is newer",
            waivable=False,
        ),
        Finding(
            "plan_is_of_extract",
            is_of_extract,
            "the day was extracted again after it was planned; materialise the invitation again",
            waivable=False,
        ),
    ]


def doubts(plan: pl.DataFrame, extract: pl.DataFrame, volumes: Mapping[date, int], policy: GatePolicy) -> list[Finding]:
    """What an operator should look at before anybody is written to. `volumes`: rows on earlier same weekdays."""
    return [
        contact_share(plan, policy),
        volume(extract.height, volumes, policy),
        death_flag(extract, policy),
    ]


def contact_share(plan: pl.DataFrame, policy: GatePolicy) -> Finding:
    """Of the encounters that could be asked, how many have a usable contact: a swapped column shows here."""
    reachable = plan.filter(pl.col("result") == PLANNED).height
    unreachable = plan.filter(pl.col("reason").is_in([reason.value for reason in _CONTACT_REASONS])).height
    candidates = reachable + unreachable
    share = reachable / candidates if candidates else 1.0
    passed = candidates < policy.min_rows or share >= policy.min_contact_share
    return Finding("contact_share", passed, f"{reachable} of {candidates} have a usable contact ({share:.0%})")


def volume(rows: int, volumes: Mapping[date, int], policy: GatePolicy) -> Finding:
    """Not many more rows than on the same weekday of earlier weeks; with no history there is no doubt."""
    history = [count for count in volumes.values() if count]
    usual = median(history) if history else rows
    passed = rows < policy.min_rows or rows <= usual * policy.max_volume_ratio
    return Finding("volume", passed, f"{rows} rows, usually {usual:g} (median of {len(history)} earlier weeks)")


def death_flag(extract: pl.DataFrame, policy: GatePolicy) -> Finding:
    """The look-up that tells deaths must deliver: no flag on any coded row means it is broken."""
    coded = extract.get_column("death_flag_missing").drop_nulls()
    missing = int(coded.sum())
    passed = coded.len() < policy.min_rows or missing < coded.len()
    return Finding("death_flag", passed, f"{missing} of {coded.len()} coded results have no death flag")


def volume_days(day: date, policy: GatePolicy) -> list[date]:
    """The same weekday of the weeks before `day`, newest first."""
    return [date.fromordinal(day.toordinal() - 7 * week) for week in range(1, policy.volume_weeks + 1)]
