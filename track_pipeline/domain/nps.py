"""Response rate and Net Promoter Score, from counts: how sure a score is, and when it may be shown at all.

Counts only; which answers are counted, and on which day, is decided where they are read.
"""

from collections.abc import Sequence
from typing import Final, Literal

import polars as pl

from track_pipeline.domain.policy import NpsPolicy

Band = Literal["promoter", "passive", "detractor"]

# What is counted, per date (of the cohort), hospital, unit, area and channel. `delivered` is null where nobody
# reports deliveries. An answer whose NPS question was left open is `answered` and in no band.
COUNTS: Final = pl.Schema(
    {
        "date": pl.Date(),
        "hospital": pl.String(),
        "unit": pl.String(),
        "area": pl.String(),
        "channel": pl.String(),
        "sent": pl.Int64(),
        "delivered": pl.Int64(),
        "answered": pl.Int64(),
        "promoters": pl.Int64(),
        "passives": pl.Int64(),
        "detractors": pl.Int64(),
    }
)

# The columns of scores after those they are grouped by.
SCORES: Final = pl.Schema(
    {
        "sent": pl.Int64(),
        "delivered": pl.Int64(),
        "answered": pl.Int64(),
        "response_rate": pl.Float64(),
        "scored": pl.Int64(),
        "promoters": pl.Int64(),
        "passives": pl.Int64(),
        "detractors": pl.Int64(),
        "nps": pl.Float64(),
        "low": pl.Float64(),
        "high": pl.Float64(),
        "preliminary": pl.Boolean(),
    }
)

_BANDS: Final = ("promoters", "passives", "detractors")
_LOWEST_PROMOTER: Final = 9
_LOWEST_PASSIVE: Final = 7
_HIGHEST_SCORE: Final = 10
_Z_95: Final = 1.959964


def band(score: int) -> Band:
    """The band of an answer from 0 to 10: 9 and 10 promote, 0 to 6 detract. Raises ValueError for other numbers."""
    if not 0 <= score <= _HIGHEST_SCORE:
        raise ValueError(f"an NPS answer is a number from 0 to {_HIGHEST_SCORE}, not {score}")
    if score >= _LOWEST_PROMOTER:
        return "promoter"
    return "passive" if score >= _LOWEST_PASSIVE else "detractor"


def scores(counts: pl.DataFrame, by: Sequence[str], policy: NpsPolicy) -> pl.DataFrame:
    """Scores (`SCORES`) of counts (`COUNTS`), one row per value of the columns `by`, sorted by them.

    Without `by`, one row over everything. `delivered` sums what is known, null if nothing is; `response_rate` is
    answered / sent, null if nothing was sent; `nps`, `low` and `high` go from -100 to 100.

    Below `min_answers_shown` answers with a score, the bands, `nps`, `low` and `high` are null: a few answers of a
    small ward are somebody's. How many were sent and answered is always shown. A total beside its parts gives the
    hidden parts away by subtraction: a report that shows both must not, where the hidden rows together have fewer
    answers than that. Below `min_answers_firm` a score is `preliminary`.

    `low` to `high` is the 95 % interval of the adjusted Wald method that Rocks found best for small samples ("Interval
    Estimation for the Net Promoter Score", The American Statistician 70, 2016). Add 3/4 promoters, 3/2 passives and
    3/4 detractors; then with m = n + 3, p and d the shares of promoters and detractors among m:
    (p - d) -+ 1.96 sqrt((p + d - (p - d)^2) / m), cut to the possible range.
    """
    # The method keeps the plain score inside its interval from two answers on; `NpsPolicy` shows none below that.
    totals = counts.group_by(by).agg(*_totals()).sort(by)
    return totals.with_columns(scored=pl.sum_horizontal(_BANDS)).with_columns(
        *_shown(policy),
        response_rate=pl.when(pl.col("sent") > 0).then(pl.col("answered") / pl.col("sent")),
        preliminary=pl.col("scored") < policy.min_answers_firm,
    ).select(*by, *(pl.col(name).cast(kind) for name, kind in SCORES.items()))  # fmt: skip


def _totals() -> list[pl.Expr]:
    known = pl.col("delivered").is_not_null().any()
    sums = [pl.col(name).cast(pl.Int64).sum() for name in ("sent", "answered", *_BANDS)]
    return [*sums, pl.when(known).then(pl.col("delivered").sum()).alias("delivered")]


def _shown(policy: NpsPolicy) -> list[pl.Expr]:
    """What is null as long as too few have answered: bands, score and its interval."""
    net = pl.col("promoters") - pl.col("detractors")
    adjusted = pl.col("scored") + 3
    centre = net / adjusted
    either = (pl.col("promoters") + pl.col("detractors") + 1.5) / adjusted
    margin = _Z_95 * ((either - centre.pow(2)) / adjusted).sqrt()
    values = {
        **{name: pl.col(name) for name in _BANDS},
        "nps": 100 * net / pl.col("scored"),
        "low": (100 * (centre - margin)).clip(-100, 100),
        "high": (100 * (centre + margin)).clip(-100, 100),
    }
    is_shown = pl.col("scored") >= policy.min_answers_shown
    return [pl.when(is_shown).then(value).alias(name) for name, value in values.items()]
