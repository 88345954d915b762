"""The command `python -m benchmarks`: runs the chosen cases and prints or writes their results."""

import json
import sys
import tempfile
from datetime import UTC, datetime
from importlib import import_module
from pathlib import Path
from typing import Annotated, Final

import typer
from rich.console import Console

from benchmarks.figures import Bench, Curve, Figure
from benchmarks.measure import machine
from benchmarks.report import Report

CASES: Final = ("source", "plan", "contacts", "ledger", "dispatch", "hospital_day", "many_runs", "start", "hubs")
_REPETITIONS: Final = 5

app = typer.Typer(add_completion=False)


@app.command()
def main(
    *,
    as_json: Annotated[bool, typer.Option("--json", help="print JSON instead of a table")] = False,
    quick: Annotated[
        bool, typer.Option("--quick", help="small sizes, one repetition; fails when a ratio is far above its limit")
    ] = False,
    only: Annotated[list[str] | None, typer.Option("--only", help=f"a case; repeatable: {', '.join(CASES)}")] = None,
    plots: Annotated[Path | None, typer.Option(help="write the curves to this folder, as SVG")] = None,
    write: Annotated[Path | None, typer.Option(help="write the table into the marked block of this document")] = None,
) -> None:
    """Measure the cost of the pipeline, each figure beside its baseline."""
    report = run(tuple(only or CASES), quick=quick)
    if write:
        report.write_into(write)
    if plots:
        report.plot_into(plots)
    if as_json:
        sys.stdout.write(json.dumps(report.document(), indent=2, ensure_ascii=False) + "\n")
    else:
        Console(width=None if sys.stdout.isatty() else 200).print(report.table())
    if quick and report.misses:
        raise typer.Exit(1)


def run(cases: tuple[str, ...], *, quick: bool) -> Report:
    """Measure the cases in the given order. Raises typer.BadParameter for an unknown name."""
    unknown = sorted(set(cases) - set(CASES))
    if unknown:
        raise typer.BadParameter(f"no such case: {', '.join(unknown)}; the cases are: {', '.join(CASES)}")
    results: list[Figure | Curve] = []
    progress = Console(stderr=True)
    for case in cases:
        progress.print(f"measuring {case}", style="dim")
        with tempfile.TemporaryDirectory(prefix="benchmark-", ignore_cleanup_errors=True) as folder:
            bench = Bench(Path(folder), quick=quick, repetitions=1 if quick else _REPETITIONS)
            results += import_module(f"benchmarks.cases.{case}").results(bench)
    figures = [result for result in results if isinstance(result, Figure)]
    curves = [result for result in results if isinstance(result, Curve)]
    return Report(datetime.now(UTC).date(), machine(), quick, figures, curves)
