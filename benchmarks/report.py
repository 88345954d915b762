"""The results of a run as a table, Markdown, JSON, and curves as SVG."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import date
from pathlib import Path
from typing import Any, Final

from rich.box import SIMPLE
from rich.table import Table

from benchmarks.figures import Curve, Figure

_BEGIN: Final = "<!-- figures: written by `python -m benchmarks --write` -->"
_END: Final = "<!-- end of figures -->"
_HEADS: Final = ("figure", "what", "value", "baseline", "ratio", "target", "met")
_MARKDOWN_HEAD: Final = f"| {' | '.join((*_HEADS, 'measured on'))} |\n|---|---|---:|---:|---:|---|---|---|"
_VERDICTS: Final = {True: "yes", False: "no", None: ""}


@dataclass(frozen=True)
class Report:
    """The results of one run on one machine."""

    day: date
    machine: Mapping[str, str]
    quick: bool
    figures: Sequence[Figure]
    curves: Sequence[Curve]

    @property
    def misses(self) -> list[str]:
        """Names of the figures that miss their target."""
        return [figure.name for figure in self.figures if figure.is_met(quick=self.quick) is False]

    def document(self) -> dict[str, Any]:
        """Return all results as an object for JSON."""
        return {
            "date": self.day.isoformat(),
            "machine": dict(self.machine),
            "quick": self.quick,
            "figures": [
                asdict(figure) | {"ratio": figure.ratio, "met": figure.is_met(quick=self.quick)}
                for figure in self.figures
            ],
            "curves": [asdict(curve) for curve in self.curves],
        }

    def table(self) -> Table:
        """Return the figures as a table for a terminal."""
        table = Table(box=SIMPLE, title=self._title(), title_justify="left")
        for head in _HEADS:
            table.add_column(head, justify="right" if head in ("value", "baseline", "ratio") else "left")
        for row in self._rows():
            table.add_row(*row)
        return table

    def write_into(self, document: Path) -> None:
        """Write the figures into the marked table of a document; rows of cases not measured now stay, with their date.

        Raises ValueError when the document has no marked block.
        """
        before, found, rest = document.read_text(encoding="utf-8").partition(_BEGIN)
        written, ended, after = rest.partition(_END)
        if not (found and ended):
            raise ValueError(f"{document} has no block between {_BEGIN} and {_END}; add both lines to it")
        rows = {row.split(" | ")[0]: row for row in written.splitlines() if row.startswith("| ")}
        rows.pop(_MARKDOWN_HEAD.split(" | ")[0], None)
        rows |= {f"| {row[0]}": f"| {' | '.join((*row, self.day.isoformat()))} |" for row in self._rows()}
        table = "\n".join((_MARKDOWN_HEAD, *rows.values()))
        document.write_text(f"{before}{_BEGIN}\n{self._machine()}\n\n{table}\n{_END}{after}", encoding="utf-8")

    def plot_into(self, folder: Path) -> None:
        """Write every curve as `<name>.svg`."""
        from matplotlib.figure import Figure as Canvas  # noqa: PLC0415 - the import takes a second, only for plots

        folder.mkdir(parents=True, exist_ok=True)
        for curve in self.curves:
            canvas = Canvas(figsize=(7, 4.2), layout="constrained")
            axes = canvas.add_subplot(title=curve.title, xlabel=curve.x, ylabel=curve.y)
            for name, points in curve.lines.items():
                axes.plot(*zip(*points, strict=True), marker="o", markersize=4, label=name)
            axes.set_ylim(bottom=0)
            axes.grid(alpha=0.3)
            axes.legend()
            # Without a date the same figures give the same file.
            canvas.savefig(folder / f"{curve.name}.svg", metadata={"Date": None})

    def _title(self) -> str:
        return f"Measured on {self.day}: {self._machine()}"

    def _machine(self) -> str:
        return "; ".join(f"{name} {value}" for name, value in self.machine.items())

    def _rows(self) -> list[tuple[str, ...]]:
        return [
            (
                figure.name,
                figure.what,
                _number(figure.value, figure.unit),
                "" if figure.baseline is None else f"{_number(figure.baseline, figure.unit)} ({figure.baseline_what})",
                _ratio(figure.ratio),
                judge.text if (judge := figure.judged_by(quick=self.quick)) else "",
                _VERDICTS[figure.is_met(quick=self.quick)],
            )
            for figure in self.figures
        ]


def _number(value: float | None, unit: str) -> str:
    if value is None:
        return "not available"
    digits = 0 if float(value).is_integer() or value >= 100 else 1 if value >= 10 else 2  # noqa: PLR2004 - digits to show
    return f"{value:,.{digits}f} {unit}"


def _ratio(ratio: float | None) -> str:
    if not ratio or ratio >= 1 / 2:
        return "" if ratio is None else f"{ratio:.2f}"
    return f"1/{1 / ratio:.0f}"
