"""Draw the charts of a day's report as PNG images, from frames of counts. Nothing is counted here.

Charts have dark ink on an opaque light ground, so that they are readable on Dagster's light and dark pages. The
colours are Okabe and Ito's, which colour-blind people can distinguish.
"""

import io
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any, Final

import matplotlib as mpl
import polars as pl
from matplotlib.axes import Axes
from matplotlib.container import BarContainer
from matplotlib.figure import Figure

from track_pipeline.domain.channels import Channel
from track_pipeline.domain.outcomes import OutcomeKind
from track_pipeline.services.insight.report import CONTACT_FAULTS, DayReport

_INK: Final = "#222222"
_GROUND: Final = "#fafafa"
_OUTCOMES: Final[Mapping[str, tuple[str, str]]] = {
    OutcomeKind.SENT: ("enviados", "#009e73"),
    OutcomeKind.EXCLUDED: ("excluídos", "#bbbbbb"),
    OutcomeKind.SUPPRESSED: ("suprimidos", "#56b4e9"),
    OutcomeKind.DEFERRED: ("adiados", "#f0e442"),
    OutcomeKind.REJECTED: ("rejeitados", "#d55e00"),
    OutcomeKind.UNKNOWN: ("sem resultado", "#cc79a7"),
}
_FAULTS: Final[Mapping[str, tuple[str, str]]] = {
    "no_contact": ("sem contato", "#999999"),
    "invalid_contact": ("inválido", "#d55e00"),
    "placeholder_contact": ("fictício", "#e69f00"),
    "shared_contact": ("compartilhado", "#56b4e9"),
    "foreign": ("estrangeiro", "#cc79a7"),
}
_AREAS: Final[Mapping[str, str]] = {
    "ambulatorio": "ambulatório",
    "exames": "exames",
    "internacao": "internação",
    "maternidade": "maternidade",
    "pronto_socorro": "pronto-socorro",
    "oncologia": "oncologia",
    "unclassified": "sem área",
}
_CHANNELS: Final[Mapping[str, str]] = {channel.value: channel.label for channel in Channel}
_BLUE: Final = "#0072b2"
_MOST_DAYS_NAMED: Final = 10


def charts(report: DayReport) -> dict[str, bytes]:
    """Draw the charts of a report: title to PNG, in the order of the page."""
    data = report.chart_data
    drawn: Mapping[str, Callable[[Axes], None]] = {
        "Desfecho dos atendimentos do dia, por área": lambda axes: _funnel(axes, data.outcomes),
        "NPS por hospital nos últimos 30 dias": lambda axes: _scores(axes, data.scores_by_hospital),
        "Taxa de resposta por canal nos últimos 30 dias": lambda axes: _responses(axes, data.responses_by_channel),
        "Contatos não utilizáveis, por hospital, nos últimos 30 dias": lambda axes: _contacts(axes, data.contacts),
        "Convites enviados por dia": lambda axes: _trend(axes, data.trend, "sent", "convites"),
        "Taxa de resposta por data do atendimento": lambda axes: _trend(axes, data.trend, "response_rate", "%"),
    }
    return {title: _png(title, draw) for title, draw in drawn.items()}


def _png(title: str, draw: Callable[[Axes], None]) -> bytes:
    with _style():
        figure = Figure(figsize=(7.5, 3.6), layout="constrained", facecolor=_GROUND)
        axes = figure.add_subplot(facecolor=_GROUND)
        axes.set_title(title, loc="left", fontweight="bold")
        axes.spines[["top", "right"]].set_visible(False)
        draw(axes)
        if not axes.has_data():
            axes.set_axis_off()
            axes.text(0.5, 0.5, "Ainda não há dados", ha="center", va="center", transform=axes.transAxes)
        file = io.BytesIO()
        figure.savefig(file, format="png", dpi=110)
    return file.getvalue()


@contextmanager
def _style() -> Iterator[None]:
    with mpl.rc_context(
        {
            "font.size": 9,
            "axes.titlesize": 10,
            "text.color": _INK,
            "axes.labelcolor": _INK,
            "axes.edgecolor": _INK,
            "xtick.color": _INK,
            "ytick.color": _INK,
        }
    ):
        yield


def _stacked(axes: Axes, table: pl.DataFrame, names: Mapping[str, tuple[str, str]], labels: list[str]) -> None:
    """Draw a horizontal bar per row, the first on top, with a segment per column that is not all zero."""
    left = [0.0] * table.height
    for name, (label, colour) in names.items():
        values = table.get_column(name).to_list()
        if any(values):
            axes.barh(labels, values, left=left, color=colour, edgecolor=_GROUND, label=label)
            left = [start + value for start, value in zip(left, values, strict=True)]
    axes.invert_yaxis()
    if axes.has_data():
        axes.legend(loc="upper left", bbox_to_anchor=(1, 1), frameon=False)


def _funnel(axes: Axes, outcomes: pl.DataFrame) -> None:
    _stacked(axes, outcomes, _OUTCOMES, [_AREAS[area] for area in outcomes.get_column("area")])
    widest = max((sum(row) for row in outcomes.select(*_OUTCOMES).rows()), default=0)
    for bars in axes.containers:
        if isinstance(bars, BarContainer):
            counts = [round(bar.get_width()) for bar in bars]
            axes.bar_label(bars, [str(count) if count > widest / 25 else "" for count in counts], label_type="center")
    axes.set_xlabel("atendimentos")


def _contacts(axes: Axes, contacts: pl.DataFrame) -> None:
    shares = contacts.with_columns(pl.col(*CONTACT_FAULTS) * 100 / pl.col("candidates"))
    _stacked(axes, shares, _FAULTS, shares.get_column("hospital").to_list())
    axes.set_xlabel("% dos atendimentos aptos a receber convite")


def _scores(axes: Axes, scores: pl.DataFrame) -> None:
    """Draw a point per hospital with its 95 % interval; hollow when the score is preliminary (few answers)."""
    shown = scores.drop_nulls("nps")
    for position, row in enumerate(shown.iter_rows(named=True)):
        axes.errorbar(
            row["nps"], position, xerr=[[row["nps"] - row["low"]], [row["high"] - row["nps"]]], fmt="o", capsize=3,
            color=_BLUE, markerfacecolor=_GROUND if row["preliminary"] else _BLUE,
        )  # fmt: skip
    axes.set_yticks(range(shown.height), [f"{row['hospital']} (n={row['scored']})" for row in shown.to_dicts()])
    axes.invert_yaxis()
    axes.set_xlim(-105, 105)
    axes.axvline(0, color=_INK, linewidth=0.5)
    axes.set_xlabel("NPS, de -100 a 100, com intervalo de confiança de 95%; círculo vazio: menos de 30 respostas")


def _responses(axes: Axes, responses: pl.DataFrame) -> None:
    shown = responses.drop_nulls("response_rate")
    labels = [_CHANNELS[channel] for channel in shown.get_column("channel")]
    bars = axes.barh(labels, [100 * rate for rate in shown.get_column("response_rate")], color=_BLUE, height=0.6)
    axes.bar_label(bars, [f" {answered} de {sent}" for answered, sent in shown.select("answered", "sent").rows()])
    axes.invert_yaxis()
    axes.margins(x=0.2)
    axes.set_xlabel("% dos convites enviados que tiveram resposta")


def _trend(axes: Axes, trend: pl.DataFrame, column: str, unit: str) -> None:
    shown = trend.drop_nulls(column)
    factor = 100 if unit == "%" else 1
    days: list[Any] = shown.get_column("date").to_list()
    axes.plot(days, [factor * value for value in shown.get_column(column)], marker="o", markersize=4, color=_BLUE)
    axes.set_ylim(bottom=0)
    axes.set_ylabel(unit)
    ticks = days[:: 1 + len(days) // _MOST_DAYS_NAMED]
    axes.set_xticks(ticks, [f"{day:%d/%m}" for day in ticks])
