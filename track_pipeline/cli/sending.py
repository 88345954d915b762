"""`track pause`, `track resolve` and `track links`: an operator's commands about sending."""

from pathlib import Path
from typing import Annotated

import typer

from track_pipeline.cli.console import (
    Encounter,
    Json,
    examples,
    fail,
    needed_date,
    open_runtime,
    out,
    print_line,
    writing,
)
from track_pipeline.cli.tables import print_frame
from track_pipeline.domain.channels import Channel
from track_pipeline.domain.pauses import is_scope
from track_pipeline.domain.sends import Verdict

sending_app = typer.Typer()
pause_app = typer.Typer(no_args_is_help=True, help="Pauses that stop all sending, or that of a hospital or a channel.")
sending_app.add_typer(pause_app, name="pause")


@sending_app.command(
    epilog=examples(
        "track resolve HMS 1234567 sent --reason 'seen in the distribution list'",
        "track resolve HMS 1234567 not_sent --reason 'no such distribution'",
    )
)
def resolve(
    hospital: str,
    encounter: Encounter,
    verdict: Annotated[Verdict, typer.Argument(help="sent when Track.co shows the message, not_sent when it does not")],
    *,
    reason: Annotated[str, typer.Option(help="how you know it; kept with the decision")],
    send: Annotated[str | None, typer.Option(help="the send, when several are unknown; `track why` shows it")] = None,
) -> None:
    """Record the outcome of an unknown send; after `not_sent` the next run sends it again."""
    from track_pipeline.services.operator.resolution import resolve as settle

    with open_runtime() as runtime:
        code = runtime.registry.hospital(hospital).code
        resolved = settle(runtime.ledger, code, encounter, verdict, reason, send)
    out.print(f"{code} {encounter}: {resolved} resolved as {verdict}")


@sending_app.command(epilog=examples("track links 2026-11-23 HMS --output links.csv"))
def links(
    day: Annotated[str, typer.Argument(metavar="DATE")],
    hospital: str,
    *,
    output: Annotated[Path | None, typer.Option(help="the CSV to write; readable by its owner only")] = None,
) -> None:
    """Export the personal links of a hospital-day as CSV, for the front desk. The file has patients' names."""
    from track_pipeline.services.operator.links import export_links

    with open_runtime() as runtime:
        wanted = needed_date(day)
        chosen = runtime.registry.hospital(hospital)
        path = output or Path(f"links-{wanted}-{chosen.code}.csv")
        with writing(path):
            count = export_links(runtime.lake, chosen, wanted, path)
    print_line(f"{count} links in {path}")


@pause_app.command(
    "add", epilog=examples("track pause add all --reason 'wrong text in the survey'", "track pause add hospital:HMS")
)
def pause_add(
    scope: Annotated[str, typer.Argument(help="all, hospital:HMS or channel:email")],
    *,
    reason: Annotated[str, typer.Option()] = "by hand",
) -> None:
    """Pause sending; lines wait as `deferred:paused` and are sent after the pause is removed."""
    with open_runtime() as runtime:
        if not is_scope(scope, runtime.registry.codes):
            fail(f"{scope} is not a scope; give all, hospital:<code> or channel:<{'|'.join(Channel)}>")
        runtime.ledger.pauses.add(scope, reason, "operator")
    out.print(f"paused: {scope}")


@pause_app.command("remove", epilog=examples("track pause remove all"))
def pause_remove(scope: str) -> None:
    """Remove a pause. Then run the deferred partitions, or wait for the sweep."""
    with open_runtime() as runtime:
        if not runtime.ledger.pauses.remove(scope):
            fail(f"{scope} is not paused; `track pause list` shows all pauses")
    out.print(f"sending again: {scope}")


@pause_app.command("list", epilog=examples("track pause list"))
def pause_list(*, as_json: Json = False) -> None:
    """List all pauses in force."""
    with open_runtime() as runtime:
        print_frame(runtime.ledger.pauses.all(), as_json=as_json, empty="There are no pauses.")
