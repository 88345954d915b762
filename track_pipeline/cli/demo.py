"""`track demo`: runs a synthetic day of all hospitals and prints its funnel and scores."""

from typing import TYPE_CHECKING

import typer
from rich.box import SIMPLE
from rich.table import Table

from track_pipeline.cli.console import Json, examples, out, print_error, print_json, progress
from track_pipeline.cli.tables import print_status
from track_pipeline.config.settings import load_settings

if TYPE_CHECKING:
    import polars as pl

demo_app = typer.Typer()


@demo_app.command(epilog=examples("track demo", "track demo --json > demo.json"))
def demo(*, as_json: Json = False) -> None:
    """Run yesterday of all synthetic hospitals against a Track.co simulator, and show every encounter's outcome."""
    from track_pipeline.config.hospitals import load_registry
    from track_pipeline.demo.run import run_demo, steps_of
    from track_pipeline.services.insight.serialise import to_json

    settings = load_settings()
    if not settings.is_demo:
        raise typer.BadParameter("TRACK_ENV is production; the demo has synthetic hospitals only: unset TRACK_ENV")
    hospitals = len(load_registry().only(settings.hospitals).hospitals)
    with progress("runs", steps_of(settings, hospitals)) as advance:
        result = run_demo(settings, advance)
    if as_json:
        print_json(to_json(result.rows))
    else:
        print_status(result.rows)
        _print_scores(result.scores)
        out.print(f"New sends: {result.new_sends}. To see the runs in Dagster: [bold]track ui --port 3000[/bold]")
    for failure in result.failures:
        print_error(failure)
    if not result.succeeded:
        raise typer.Exit(1)


def _print_scores(scores: "pl.DataFrame") -> None:
    """Print the NPS per hospital with its 95 % interval; a dash where there are too few answers to show it."""
    if scores.is_empty():
        return
    table = Table("hospital", title="answers, reminders included", box=SIMPLE)
    for column in ("sent", "answered", "rate", "NPS", "95 %"):
        table.add_column(column, justify="right")
    for row in scores.iter_rows(named=True):
        nps = "–" if row["nps"] is None else f"{row['nps']:.0f}{'*' if row['preliminary'] else ''}"
        interval = "–" if row["nps"] is None else f"{row['low']:.0f} to {row['high']:.0f}"
        rate = "–" if row["response_rate"] is None else f"{row['response_rate']:.0%}"
        table.add_row(row["hospital"], str(row["sent"]), str(row["answered"]), rate, nps, interval)
    out.print(table)
    if scores.get_column("preliminary").any():
        out.print("* fewer than 30 answers: preliminary")
