"""Response rate and Net Promoter Score from counts: the interval of a score, and the limits for showing it.

The input is counts only. The readers of the ledger decide which answers count, and on which day.
"""

from collections.abc import Sequence
from typing import Final, Literal

import polars as pl

from track_pipeline.domain.policy import NpsPolicy

Band = Literal["promoter", "passive", "detractor"]

# Counts per cohort date, hospital, unit, area and channel. `delivered` is null where deliveries are not reported. An
# answer without a reply to the NPS question is `answered` and in no band.
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

# The columns of scores, after the columns of the grouping.
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
    """Return the band of an answer: 9 and 10 promoter, 7 and 8 passive, 0 to 6 detractor.

    Raises ValueError for other numbers.
    """
    if not 0 <= score <= _HIGHEST_SCORE:
        raise ValueError(f"an NPS answer is a number from 0 to {_HIGHEST_SCORE}, not {score}")
    if score >= _LOWEST_PROMOTER:
        return "promoter"
    return "passive" if score >= _LOWEST_PASSIVE else "detractor"


def scores(counts: pl.DataFrame, by: Sequence[str], policy: NpsPolicy) -> pl.DataFrame:
    """Return the scores (`SCORES`) of counts (`COUNTS`), one row per value of the columns `by`, sorted by them.

    Without `by`, one row for all counts. `delivered` sums the known values and is null if none is known;
    `response_rate` is answered / sent, null if nothing was sent; `nps`, `low` and `high` range from -100 to 100.

    Below `min_answers_shown` answers with a score, the bands, `nps`, `low` and `high` are null, because a few answers
    of a small ward could identify a person. `sent` and `answered` are always shown. A total shown with its parts
    reveals hidden parts by subtraction, so a report must not show both if the hidden rows together have fewer answers
    than `min_answers_shown`. Below `min_answers_firm` a score is `preliminary`.

    `low` to `high` is the 95 % interval of the adjusted Wald method that Rocks found best for small samples ("Interval
    Estimation for the Net Promoter Score", The American Statistician 70, 2016). Add 3/4 promoters, 3/2 passives and
    3/4 detractors; then with m = n + 3, p and d the shares of promoters and detractors among m:
    (p - d) -+ 1.96 sqrt((p + d - (p - d)^2) / m), cut to the possible range.
    """
    # With two or more answers the interval contains the plain score; `NpsPolicy` shows no score of fewer answers.
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
    """The columns that are null below `min_answers_shown`: the bands, the score and its interval."""
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
