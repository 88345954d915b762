"""The report of a day: its funnel, and how the people who were asked lately answered. Counts only.

How a score is counted, and when it is too few to be shown, is `domain.nps`'s.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, timedelta
from typing import Final

import polars as pl

from track_pipeline.adapters.ledger import Ledger
from track_pipeline.domain.nps import scores
from track_pipeline.policy import Policy
from track_pipeline.services.status import JsonObject, status

# An answer may come until the survey's validity ends; a month of cohorts is enough answers for a score.
SCORE_DAYS: Final = 30

_FUNNEL_COLUMNS: Final = ("extracted", "excluded", "planned", "sent", "rejected", "unknown", "deferred", "suppressed")
_SCORE_COLUMNS: Final = ("sent", "delivered", "answered", "response_rate", "nps", "low", "high", "preliminary")


@dataclass(frozen=True)
class DayReport:
    """Tables of one day, as Markdown, and its totals."""

    totals: dict[str, int]
    funnel: str
    scores_by_area: str
    scores_by_channel: str


def day_report(ledger: Ledger, policy: Policy, day: date) -> DayReport:
    """The funnel of a day per hospital, and the scores of the cohorts of the month that ends with it."""
    rows = status(ledger, (day, day))
    counts = ledger.response_counts((day - timedelta(days=SCORE_DAYS - 1), day))
    return DayReport(
        totals={name: sum(row[name] for row in rows) for name in _FUNNEL_COLUMNS},
        funnel=_funnel_table(rows),
        scores_by_area=score_table(counts, ("hospital", "area"), policy),
        scores_by_channel=score_table(counts, ("hospital", "channel"), policy),
    )


def score_table(counts: pl.DataFrame, by: Sequence[str], policy: Policy) -> str:
    """Scores (`domain.nps.scores`) of response counts as a Markdown table; hidden ones are a dash.

    `by` begins with the hospital. Another table may show the hospital's total: what is hidden here is hidden from
    subtraction too.
    """
    table = _with_cover(scores(counts, by, policy.nps), policy)
    return _markdown((*by, *_SCORE_COLUMNS), table.select(*by, *_SCORE_COLUMNS).rows())


def _with_cover(table: pl.DataFrame, policy: Policy) -> pl.DataFrame:
    """Hides a hospital's smallest score as well where the hidden ones together have too few answers."""
    is_hidden = pl.col("nps").is_null()
    hidden_answers = pl.col("scored").filter(is_hidden).sum().over("hospital")
    smallest_shown = pl.col("scored").filter(~is_hidden).min().over("hospital")
    is_cover = hidden_answers.is_between(1, policy.nps.min_answers_shown - 1) & (pl.col("scored") == smallest_shown)
    return table.with_columns(pl.when(~is_cover).then(name).alias(name) for name in ("nps", "low", "high"))


def _funnel_table(rows: list[JsonObject]) -> str:
    hospitals = dict.fromkeys(row["hospital"] for row in rows)
    lines = [
        (code, *(sum(row[name] for row in rows if row["hospital"] == code) for name in _FUNNEL_COLUMNS))
        for code in hospitals
    ]
    return _markdown(("hospital", *_FUNNEL_COLUMNS), lines)


def _markdown(header: Sequence[str], rows: Sequence[Sequence[object]]) -> str:
    lines = [header, ["---"] * len(header), *([_cell(value) for value in row] for row in rows)]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def _cell(value: object) -> str:
    if value is None:
        return "–"
    return f"{value:.2f}" if isinstance(value, float) else str(value)
