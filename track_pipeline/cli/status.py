"""`track status` and `track why`: the funnel of every hospital-day and the history of one encounter."""

from collections.abc import Iterable
from itertools import groupby
from typing import TYPE_CHECKING

import typer

from track_pipeline.cli.console import (
    Encounter,
    Json,
    OptionalDate,
    OptionalHospital,
    examples,
    open_ledger_runtime,
    open_runtime,
    out,
    parse_date,
    print_json,
    print_line,
)
from track_pipeline.cli.tables import print_status

if TYPE_CHECKING:
    from track_pipeline.services.insight.explain import Explanation
    from track_pipeline.services.insight.status import Story

status_app = typer.Typer()


@status_app.command(epilog=examples("track status", "track status --date 2026-11-23 --hospital HMS"))
def status(*, day: OptionalDate = None, hospital: OptionalHospital = None, as_json: Json = False) -> None:
    """Show the funnel of every day, hospital and area: how many encounters were extracted, and their outcomes."""
    from track_pipeline.services.insight.serialise import to_json
    from track_pipeline.services.insight.status import status as status_of

    wanted = parse_date(day)
    with open_ledger_runtime() as runtime:
        rows = status_of(runtime.ledger, (wanted, wanted) if wanted else None, hospital)
    if as_json:
        print_json(to_json(rows))
    elif rows:
        print_status(rows)
    else:
        out.print("There is no extract for this selection yet; run `track demo`, or the daily job in Dagster.")


@status_app.command(epilog=examples("track why HMS 1234567", "track why HMS 1234567 --json"))
def why(hospital: str, encounter: Encounter, *, as_json: Json = False) -> None:
    """Show why an encounter was or was not invited: its events, the path through the rules, what would change it.

    Shows no name and no contact. The path is shown while the lake has the extract.
    """
    from track_pipeline.services.insight.serialise import why_object
    from track_pipeline.services.insight.status import why as why_of

    with open_runtime() as runtime:
        chosen = runtime.registry.hospital(hospital)
        story = why_of(runtime.ledger, chosen.code, encounter)
        explanation = runtime.insight.explainer.explain(chosen, story)
    if as_json:
        print_json(why_object(story, explanation))
    else:
        _print_explanation(story, explanation)
    if story.outcome is None:
        raise typer.Exit(1)


def _print_explanation(story: "Story", explanation: "Explanation") -> None:
    """Print the history of an encounter: its events, the path through the rules, what would change its outcome."""
    setor = " / ".join(part for part in (story.area, story.setor) if part)
    print_line(f"{story.hospital} {story.encounter}{f' ({setor})' if setor else ''}", style="bold")
    print_line(explanation.outcome)
    if explanation.events:
        print_line("\nWhat happened", style="bold")
    for event in explanation.events:
        by = f"  [{event.by}]" if event.by else ""
        print_line(f"  {event.at:%Y-%m-%d %H:%M}  {event.text}{by}")
    if explanation.path or explanation.path_note:
        print_line("\nThe path through the rules", style="bold")
    for line in _path_lines(explanation):
        print_line(f"  {line}")
    if explanation.path_note:
        print_line(f"  {explanation.path_note}")
    print_line("\nFor it to be sent", style="bold")
    print_line(f"  {explanation.change_needed}")


def _path_lines(explanation: "Explanation") -> Iterable[str]:
    """Yield a line per rule of the hospital, and one line for all checks of the plan that excluded nothing."""
    marks = {"passed": "no   ", "took": "yes  ", "excluded": "out  ", "possible": "out? ", "fact": "     "}
    for (kind, result), steps in groupby(explanation.path, key=lambda step: (step.step, step.result)):
        if result == "passed" and kind != "classification":
            yield f"{marks[result]} {kind}: {', '.join(step.rule.partition('@')[0] for step in steps)}"
            continue
        for step in steps:
            rule = f" {step.rule}" if step.rule else ""
            yield f"{marks[result]} {kind}{rule}: {step.text}"
