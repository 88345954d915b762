"""Gates before a dispatch: invariants, which no approval waives, and doubts, which an operator may approve.

A gate is a function of frames and numbers. The dispatch service supplies them and acts on the findings.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date
from statistics import median

import polars as pl

from track_pipeline.domain.channels import CONTACT_COLUMNS
from track_pipeline.domain.contacts import CONTACT_REASONS
from track_pipeline.domain.encounter import ENCOUNTER_KEY
from track_pipeline.domain.outcomes import EXCLUDED, PLANNED
from track_pipeline.domain.policy import GatePolicy


@dataclass(frozen=True)
class Finding:
    """The result of one gate. `waivable`: an operator may approve it in run config, with a reason."""

    gate: str
    passed: bool
    detail: str
    waivable: bool = True


def planned_twice(plan: pl.DataFrame) -> int:
    """Count the rows of a plan that plan an encounter which another row plans too."""
    return int(plan.filter(pl.col("result") == PLANNED).select(ENCOUNTER_KEY).is_duplicated().sum())


def invariants(
    plan: pl.DataFrame, extract: pl.DataFrame, pending: pl.DataFrame, *, is_of_extract: bool
) -> list[Finding]:
    """Check what must hold for every plan (`PLAN`) and its extract (`ENCOUNTERS`); a failure is a bug or a stale plan.

    `pending`: the planned lines that are not sent yet. A sent line is left out, because the hospital may have removed
    its contact since.
    `is_of_extract`: whether the plan was made from this extract and not from an earlier one.
    """
    repeated = planned_twice(plan)
    without_reason = plan.filter((pl.col("result") == EXCLUDED) & pl.col("reason").is_null()).height
    lacks_contact = pl.any_horizontal(
        (pl.col("channel") == channel.value) & pl.col(contact).is_null() for channel, contact in CONTACT_COLUMNS.items()
    )
    unsendable = pending.filter(lacks_contact | pl.col("survey_uuid").is_null() | pl.col("channel").is_null()).height
    same_rows = plan.height == extract.height and without_reason == 0
    return [
        Finding(
            "no_duplicate_encounter", repeated == 0, f"{repeated} rows plan an encounter more than once", waivable=False
        ),
        Finding(
            "every_line_can_be_sent",
            unsendable == 0,
            f"{unsendable} lines lack a contact, survey or channel",
            waivable=False,
        ),
        Finding(
            "plan_covers_extract",
            same_rows,
            f"{extract.height} extracted, {plan.height} decided, {without_reason} excluded without a reason; "
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
    """Check what an operator should look at before a send. `volumes`: rows on the same weekday of earlier weeks."""
    return [
        contact_share(plan, policy),
        volume(extract.height, volumes, policy),
        death_flag(extract, policy),
    ]


def contact_share(plan: pl.DataFrame, policy: GatePolicy) -> Finding:
    """Compare the share of encounters with a usable contact with `min_contact_share`.

    Encounters that are excluded for other reasons do not count. A swapped column in the source lowers the share.
    """
    reachable = plan.filter(pl.col("result") == PLANNED).height
    unreachable = plan.filter(pl.col("reason").is_in([reason.value for reason in CONTACT_REASONS])).height
    candidates = reachable + unreachable
    share = reachable / candidates if candidates else 1.0
    passed = candidates < policy.min_rows or share >= policy.min_contact_share
    return Finding("contact_share", passed, f"{reachable} of {candidates} have a usable contact ({share:.0%})")


def volume(rows: int, volumes: Mapping[date, int], policy: GatePolicy) -> Finding:
    """Compare the rows with the median of the same weekday in earlier weeks. Without history the gate passes."""
    history = [count for count in volumes.values() if count]
    usual = median(history) if history else rows
    passed = rows < policy.min_rows or rows <= usual * policy.max_volume_ratio
    return Finding("volume", passed, f"{rows} rows, usually {usual:g} (median of {len(history)} earlier weeks)")


def death_flag(extract: pl.DataFrame, policy: GatePolicy) -> Finding:
    """Check that the look-up of deaths works. It is broken when no row with a result code has a death flag."""
    coded = extract.get_column("death_flag_missing").drop_nulls()
    missing = int(coded.sum())
    passed = coded.len() < policy.min_rows or missing < coded.len()
    return Finding("death_flag", passed, f"{missing} of {coded.len()} coded results have no death flag")


def volume_days(day: date, policy: GatePolicy) -> list[date]:
    """Return the dates of the same weekday in the `volume_weeks` weeks before `day`, newest first."""
    return [date.fromordinal(day.toordinal() - 7 * week) for week in range(1, policy.volume_weeks + 1)]
