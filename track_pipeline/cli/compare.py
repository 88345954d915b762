"""`track compare`: compares the sends of another system with ours, for one day."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Final

import typer

from track_pipeline.cli.console import Json, examples, needed_date, open_runtime, print_json, print_line
from track_pipeline.cli.tables import ShownEncounter, print_groups

if TYPE_CHECKING:
    from track_pipeline.services.insight.compare import Comparison

compare_app = typer.Typer()

_MEANINGS: Final = {
    "more_than_once": "they sent it more than once",
    "other_area": "we have it in another area",
    "other_channel": "we use another channel",
    "not_in_their_list": "they did not send it",
    "not_extracted": "our extract of the day does not have this encounter",
    "day_not_extracted": "this hospital's day is not extracted: materialise extract and invitation",
}
_TITLES: Final = {
    "different": "in both lists, with a difference:",
    "only_theirs": "only in theirs, with the reason why not in ours:",
    "only_ours": "only in ours:",
}


@compare_app.command(
    epilog=examples(
        "track compare sends.csv --date 2026-11-23",
        "sends.csv has the columns hospital,encounter,area,channel and optionally database",
    )
)
def compare(
    file: Annotated[Path, typer.Argument(help="CSV: hospital, encounter, area, channel, and optionally database")],
    *,
    day: Annotated[str, typer.Option("--date", help="day of the encounters, YYYY-MM-DD")],
    as_json: Json = False,
) -> None:
    """Shadow mode: compare another system's sends of a day with ours, with the reason of every difference.

    Changes nothing. Ours are the lines that were sent, and those that a dry run would have sent. A file with a wrong
    line is refused.
    """
    from track_pipeline.services.insight.serialise import to_json

    with open_runtime() as runtime:
        result = runtime.insight.comparer.compare(file, needed_date(day))
    if as_json:
        print_json(to_json(result))
    else:
        _print_comparison(result)
    if "day_not_extracted" in result.counts.only_theirs.by:
        raise typer.Exit(1)


def _print_comparison(result: "Comparison") -> None:
    counts = result.counts
    print_line(
        f"{result.date}, {', '.join(result.hospitals)}: {counts.theirs} encounters theirs, "
        f"{counts.ours} ours, {counts.same} the same",
        style="bold",
    )
    for kind, title in _TITLES.items():
        rows = [row for row in result.encounters if row.result == kind]
        found = [(row.reason, ShownEncounter(row.hospital, row.database, row.encounter)) for row in rows]
        print_groups(title, found, _MEANINGS)
