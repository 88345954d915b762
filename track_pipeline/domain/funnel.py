"""The funnel: how many encounters of a partition ended where. It closes, or something is wrong.

Counts only; it knows outcomes by name and nobody by name.
"""

from dataclasses import dataclass, field
from typing import Final

import polars as pl

_PLACE: Final = ("date", "hospital", "area")
PLANNED_OUTCOMES: Final = ("sent", "rejected", "unknown", "deferred", "suppressed")


@dataclass(frozen=True)
class Funnel:
    """What became of the encounters of one hospital-day and area (or of those without an area)."""

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
        """Extracted = excluded + planned, planned = sent + rejected + unknown + deferred + suppressed."""
        planned = self.sent + self.rejected + self.unknown + self.deferred + self.suppressed
        return (
            self.extracted == self.excluded + self.planned
            and self.planned == planned
            and self.excluded == sum(self.excluded_by.values())
            and "" not in self.excluded_by
        )

    def markdown(self) -> str:
        """The funnel as a Markdown table: one line per outcome, reasons indented below theirs."""
        lines = ["| outcome | encounters |", "|---|---:|", f"| extracted | {self.extracted} |"]
        lines += [f"| excluded | {self.excluded} |", *_reasons(self.excluded_by)]
        lines += [f"| planned | {self.planned} |"]
        lines += [f"| {name} | {getattr(self, name)} |" for name in PLANNED_OUTCOMES]
        return "\n".join(lines + _reasons(self.held_by))


def _reasons(counts: dict[str, int]) -> list[str]:
    ordered = sorted(counts.items(), key=lambda item: (-item[1], item[0]))
    return [f"| &nbsp;&nbsp;{reason} | {count} |" for reason, count in ordered]


def funnels(outcomes: pl.DataFrame, extracted: pl.DataFrame) -> list[Funnel]:
    """One funnel per date, hospital and area, in that order; all zeros where nothing was extracted.

    `outcomes`: date, hospital, area, outcome (`excluded` or one of PLANNED_OUTCOMES), reason, count.
    `extracted`: date, hospital, area of every extracted partition.
    """
    counts = outcomes.partition_by(_PLACE, as_dict=True)
    places = pl.concat([outcomes.select(_PLACE), extracted.select(_PLACE)]).unique().sort(_PLACE)
    return [_funnel(str(place[0]), place[1], place[2], counts.get(place, outcomes.clear())) for place in places.rows()]


def _funnel(day: str, hospital: str, area: str, counts: pl.DataFrame) -> Funnel:
    by_outcome = dict(counts.group_by("outcome").agg(pl.col("count").sum()).iter_rows())
    planned = {name: by_outcome.get(name, 0) for name in PLANNED_OUTCOMES}
    return Funnel(
        date=day,
        hospital=hospital,
        area=area,
        extracted=sum(by_outcome.values()),
        excluded=by_outcome.get("excluded", 0),
        planned=sum(planned.values()),
        excluded_by=_by_reason(counts.filter(pl.col("outcome") == "excluded"), "reason"),
        held_by=_by_reason(
            counts.filter(pl.col("outcome") != "excluded", pl.col("reason") != ""),
            pl.format("{}:{}", "outcome", "reason"),
        ),
        **planned,
    )


def _by_reason(counts: pl.DataFrame, reason: str | pl.Expr) -> dict[str, int]:
    name = pl.col(reason) if isinstance(reason, str) else reason
    return dict(counts.group_by(name.alias("reason")).agg(pl.col("count").sum()).sort("reason").iter_rows())
