"""The report of a day: its funnel, and the answers of recent cohorts. Counts only.

`domain.nps` computes the scores and hides scores of too few answers; `reporting` draws the page.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date, timedelta
from typing import Final

import polars as pl

from track_pipeline.adapters.ledger import Ledger
from track_pipeline.domain.areas import AREAS, UNCLASSIFIED
from track_pipeline.domain.contacts import CONTACT_REASONS
from track_pipeline.domain.nps import scores
from track_pipeline.domain.outcomes import EXCLUDED, PLANNED_KINDS, OutcomeKind
from track_pipeline.domain.policy import Policy
from track_pipeline.domain.small_numbers import is_cover
from track_pipeline.services.insight.status import PartitionStatus, status

# Answers arrive until the survey's validity ends; a month of cohorts gives enough answers for a score.
SCORE_DAYS: Final = 30

# Exclusions of encounters that could have been invited but have no usable contact.
CONTACT_FAULTS: Final = tuple(reason.value for reason in CONTACT_REASONS)

_OUTCOMES: Final = tuple(kind.value for kind in OutcomeKind)
_FUNNEL_COLUMNS: Final = ("extracted", "excluded", "planned", *(kind.value for kind in PLANNED_KINDS))
_SCORE_COLUMNS: Final = ("sent", "delivered", "answered", "response_rate", "nps", "low", "high", "preliminary")

# The column names and units that hospital analysts read.
_WORDS: Final[Mapping[str, str]] = {
    "hospital": "hospital",
    "area": "área",
    "channel": "canal",
    "extracted": "extraídos",
    "excluded": "excluídos",
    "planned": "planejados",
    "sent": "enviados",
    "rejected": "rejeitados",
    "unknown": "sem resultado",
    "deferred": "adiados",
    "suppressed": "suprimidos",
    "delivered": "entregues",
    "answered": "respondidos",
    "response_rate": "taxa de resposta",
    "nps": "NPS",
    "low": "limite inferior",
    "high": "limite superior",
    "preliminary": "preliminar",
}


@dataclass(frozen=True)
class Table:
    """A table of text cells. `words` is the number of leading columns that are names; the others are numbers."""

    title: str
    header: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    words: int

    def markdown(self) -> str:
        """Return the table as Markdown."""
        rule = ["---"] * self.words + ["---:"] * (len(self.header) - self.words)
        return "\n".join(f"| {' | '.join(line)} |" for line in (self.header, rule, *self.rows))


@dataclass(frozen=True)
class ChartData:
    """The data of a report's charts.

    outcomes: area and one column per outcome, a row per area that has any. scores_by_hospital: hospital and
    `domain.nps.SCORES`; responses_by_channel: channel and the same. contacts: hospital, candidates (encounters that
    could have been invited) and how many of them had each of `CONTACT_FAULTS`. trend: date, sent, answered,
    response_rate, a row per day of the month that has any.
    """

    outcomes: pl.DataFrame
    scores_by_hospital: pl.DataFrame
    responses_by_channel: pl.DataFrame
    contacts: pl.DataFrame
    trend: pl.DataFrame


@dataclass(frozen=True)
class DayReport:
    """The numbers of a day: the outcomes of its encounters, and the month of cohorts that ends with it.

    totals: column of the funnel to encounters of the day. least_shown, least_firm: the answers that a score needs to be
    shown, and not to be preliminary.
    """

    day: date
    totals: Mapping[str, int]
    chart_data: ChartData
    tables: tuple[Table, ...]
    least_shown: int
    least_firm: int

    @property
    def numbers(self) -> dict[str, int]:
        """The totals by their Portuguese names."""
        return {_WORDS[name]: count for name, count in self.totals.items()}


def day_report(ledger: Ledger, policy: Policy, day: date) -> DayReport:
    """Return the funnel of a day, and scores, responses and contacts of the month that ends with it."""
    month = (day - timedelta(days=SCORE_DAYS - 1), day)
    rows, counts = status(ledger, (day, day)), ledger.counts.responses(month)
    return DayReport(
        day=day,
        totals={name: sum(row.count(name) for row in rows) for name in _FUNNEL_COLUMNS},
        chart_data=ChartData(
            outcomes=_outcomes(rows),
            scores_by_hospital=scores(counts, ["hospital"], policy.nps),
            responses_by_channel=scores(counts, ["channel"], policy.nps),
            contacts=_contacts(ledger.counts.outcomes(month)),
            trend=scores(counts, ["date"], policy.nps).select("date", "sent", "answered", "response_rate"),
        ),
        tables=(
            _funnel_table(rows),
            score_table(counts, ("hospital", "area"), policy),
            score_table(counts, ("hospital", "channel"), policy),
        ),
        least_shown=policy.nps.min_answers_shown,
        least_firm=policy.nps.min_answers_firm,
    )


def score_table(counts: pl.DataFrame, by: Sequence[str], policy: Policy) -> Table:
    """Return a table of the scores (`domain.nps.scores`) of response counts; a hidden score is a dash.

    `by` begins with the hospital. Another table may show the hospital's total, so if a hospital's hidden answers are
    fewer than the limit, its smallest shown score is hidden too: subtraction then reveals nothing.
    """
    table = _with_cover(scores(counts, by, policy.nps), policy)
    title = f"Respostas dos últimos {SCORE_DAYS} dias, por {' e '.join(_WORDS[name] for name in by)}"
    return _table(title, (*by, *_SCORE_COLUMNS), table.select(*by, *_SCORE_COLUMNS).rows(), len(by))


def _with_cover(table: pl.DataFrame, policy: Policy) -> pl.DataFrame:
    """Hide a hospital's smallest shown score too if its hidden scores together have too few answers."""
    is_hidden = pl.col("nps").is_null()
    covers = is_cover(pl.col("scored"), is_hidden, ("hospital",), policy.nps.min_answers_shown)
    return table.with_columns(pl.when(~covers).then(name).alias(name) for name in ("nps", "low", "high"))


def _outcomes(rows: list[PartitionStatus]) -> pl.DataFrame:
    """Return area and one column per outcome over all hospitals, in the order of the areas, without empty areas."""
    order = [*(area.value for area in AREAS), UNCLASSIFIED]
    found = [(row.area, *(row.count(name) for name in _OUTCOMES)) for row in rows if row.extracted]
    frame = pl.DataFrame(found, schema={"area": pl.Enum(order), **dict.fromkeys(_OUTCOMES, pl.Int64)}, orient="row")
    return frame.group_by("area").sum().sort("area").cast({"area": pl.String})


def _contacts(outcomes: pl.DataFrame) -> pl.DataFrame:
    """Count per hospital the encounters that could have been invited, and those without a usable contact, by fault."""
    is_fault = pl.col("reason").is_in(CONTACT_FAULTS) & (pl.col("outcome") == EXCLUDED)
    is_candidate = is_fault | (pl.col("outcome") != EXCLUDED)

    def count(which: pl.Expr) -> pl.Expr:
        return pl.col("count").filter(which).sum()

    faults = [count(is_fault & (pl.col("reason") == fault)).alias(fault) for fault in CONTACT_FAULTS]
    per_hospital = outcomes.group_by("hospital").agg(count(is_candidate).alias("candidates"), *faults)
    return per_hospital.filter(pl.col("candidates") > 0).sort("hospital")


def _funnel_table(rows: list[PartitionStatus]) -> Table:
    hospitals = dict.fromkeys(row.hospital for row in rows)
    lines = [
        (code, *(sum(row.count(name) for row in rows if row.hospital == code) for name in _FUNNEL_COLUMNS))
        for code in hospitals
    ]
    return _table("Funil do dia, por hospital", ("hospital", *_FUNNEL_COLUMNS), lines, 1)


def _table(title: str, header: Sequence[str], rows: Sequence[Sequence[object]], words: int) -> Table:
    cells = tuple(tuple(_cell(value) for value in row) for row in rows)
    return Table(title, tuple(_WORDS[name] for name in header), cells, words)


def _cell(value: object) -> str:
    if value is None:
        return "–"
    if isinstance(value, bool):
        return "sim" if value else "não"
    return f"{value:.2f}".replace(".", ",") if isinstance(value, float) else str(value)
