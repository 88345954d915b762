"""The funnel: counts of encounters by outcome, per date, hospital and area, without personal data.

The counts must add up; a funnel that does not close is an error.
"""

from dataclasses import dataclass, field
from typing import Any, Final

import polars as pl

from track_pipeline.domain.outcome_columns import outcome_kind, outcome_reason, outcome_text
from track_pipeline.domain.outcomes import EXCLUDED, NO_OUTCOME, PLANNED_KINDS, Deferral, OutcomeKind
from track_pipeline.domain.sends import SendState

_GROUP: Final = ("date", "hospital", "area")


@dataclass(frozen=True)
class Funnel:
    """The counts by outcome of one hospital-day and area, or of its encounters without an area."""

    date: str
    hospital: str
    area: str
    extracted: int = 0
    excluded: int = 0
    planned: int = 0
    sent: int = 0
    rejected: int = 0
    unknown: int = 0
    deferred: int = 0
    suppressed: int = 0
    excluded_by: dict[str, int] = field(default_factory=dict)
    held_by: dict[str, int] = field(default_factory=dict)

    @property
    def closes(self) -> bool:
        """Whether the sums agree and each exclusion has a reason.

        extracted = excluded + planned; planned = sent + rejected + unknown + deferred + suppressed.
        """
        planned = self.sent + self.rejected + self.unknown + self.deferred + self.suppressed
        return (
            self.extracted == self.excluded + self.planned
            and self.planned == planned
            and self.excluded == sum(self.excluded_by.values())
            and "" not in self.excluded_by
        )

    def markdown(self) -> str:
        """Return a Markdown table: one line per outcome, with reasons indented below it."""
        lines = ["| outcome | encounters |", "|---|---:|", f"| extracted | {self.extracted} |"]
        lines += [f"| excluded | {self.excluded} |", *_reasons(self.excluded_by)]
        lines += [f"| planned | {self.planned} |"]
        lines += [f"| {name} | {getattr(self, name)} |" for name in PLANNED_KINDS]
        return "\n".join(lines + _reasons(self.held_by))


def _reasons(counts: dict[str, int]) -> list[str]:
    ordered = sorted(counts.items(), key=lambda item: (-item[1], item[0]))
    return [f"| &nbsp;&nbsp;{reason} | {count} |" for reason, count in ordered]


# The columns of the ledger that decide the outcome of an encounter. `state` and `send_reason` are null if the encounter
# has no invitation.
DECIDED: Final = pl.Schema(
    {
        "result": pl.String(),
        "reason": pl.String(),
        "held": pl.String(),
        "state": pl.String(),
        "send_reason": pl.String(),
    }
)
# The order of priority in which several invitations of one encounter decide its outcome; the lowest number counts.
TELLING: Final = {SendState.SENT: 0, SendState.CLAIMED: 1, SendState.UNKNOWN: 1, SendState.REJECTED: 2}


def with_outcome(rows: pl.DataFrame) -> pl.DataFrame:
    """Add `outcome` (an `OutcomeKind`) and `reason` to encounters. Outcomes are decided in this function only.

    `rows` (`DECIDED`): the decision of the last plan, and the invitation of the encounter that is first in `TELLING`.
    An invitation counts before every later decision.
    """
    state = pl.col("state")
    is_excluded, was_claimed, is_held = pl.col("result") == EXCLUDED, state.is_not_null(), pl.col("held") != ""
    outcome = (
        pl.when(was_claimed)
        .then(state.replace(SendState.CLAIMED.value, OutcomeKind.UNKNOWN.value))
        .when(is_excluded)
        .then(pl.lit(OutcomeKind.EXCLUDED.value))
        .when(is_held)
        .then(outcome_kind("held"))
        .otherwise(pl.lit(OutcomeKind.DEFERRED.value))
    )
    reason = (
        pl.when(state == SendState.CLAIMED.value)
        .then(pl.lit(NO_OUTCOME))
        .when(was_claimed)
        .then("send_reason")
        .when(is_excluded)
        .then("reason")
        .when(is_held)
        .then(outcome_reason("held"))
        .otherwise(pl.lit(Deferral.NOT_DISPATCHED.value))
    )
    return rows.with_columns(outcome=outcome, reason=reason)


def funnels(outcomes: pl.DataFrame, extracted: pl.DataFrame) -> list[Funnel]:
    """Return one funnel per date, hospital and area, sorted by them; all zeros for an extract without rows.

    `outcomes`: date, hospital, area, outcome (`excluded` or one of `PLANNED_KINDS`), reason, count.
    `extracted`: date, hospital, area of every extracted partition.
    """
    is_excluded = pl.col("outcome") == EXCLUDED
    totals = outcomes.group_by(_GROUP).agg(
        pl.col("count").sum().alias("extracted"),
        _counted(is_excluded).alias(EXCLUDED),
        _counted(pl.col("outcome").is_in([kind.value for kind in PLANNED_KINDS])).alias("planned"),
        *(_counted(pl.col("outcome") == kind.value).alias(kind.value) for kind in PLANNED_KINDS),
    )
    excluded_by = _by_reason(outcomes.filter(is_excluded), pl.col("reason"))
    held = outcomes.filter(~is_excluded, pl.col("reason") != "")
    held_by = _by_reason(held, outcome_text("outcome", "reason"))
    groups = pl.concat([outcomes.select(_GROUP), extracted.select(_GROUP)]).unique().sort(_GROUP)
    rows = groups.join(totals, on=_GROUP, how="left", maintain_order="left").fill_null(0)

    def funnel(row: dict[str, Any]) -> Funnel:
        group = tuple(row[name] for name in _GROUP)
        reasons = {"excluded_by": excluded_by.get(group, {}), "held_by": held_by.get(group, {})}
        return Funnel(**row | reasons | {"date": str(row["date"])})

    return [funnel(row) for row in rows.iter_rows(named=True)]


def _counted(which: pl.Expr) -> pl.Expr:
    return pl.col("count").filter(which).sum()


def _by_reason(counts: pl.DataFrame, reason: pl.Expr) -> dict[tuple[object, ...], dict[str, int]]:
    """Return the count per reason, in the order of reasons, for each (date, hospital, area)."""
    found: dict[tuple[object, ...], dict[str, int]] = {}
    summed = counts.group_by(*_GROUP, reason.alias("reason")).agg(pl.col("count").sum()).sort("reason")
    for *group, name, count in summed.iter_rows():
        found.setdefault(tuple(group), {})[name] = count
    return found
