"""`track doctor`: checks an installation."""

from collections.abc import Sequence
from itertools import groupby
from typing import TYPE_CHECKING

import typer
from rich.text import Text

from track_pipeline.cli.console import Json, examples, out, print_json, progress
from track_pipeline.cli.tables import plain_table
from track_pipeline.config.settings import load_settings

if TYPE_CHECKING:
    from track_pipeline.services.operator.doctor import Finding

doctor_app = typer.Typer()


@doctor_app.command(epilog=examples("track doctor"))
def doctor(*, as_json: Json = False) -> None:
    """Check everything that a run needs: settings, files, databases, Track.co, ledger, lake, clock, daemons."""
    from track_pipeline.hosting.instance import daemons
    from track_pipeline.runtime import Runtime, read_mapping
    from track_pipeline.services.insight.serialise import to_json
    from track_pipeline.services.operator.doctor import Doctor

    examination = Doctor(load_settings, Runtime, lambda settings: daemons(settings.home), read_mapping).examine()
    with progress("checks", None) as advance:
        findings = []
        for finding in examination:
            findings.append(finding)
            advance(finding.check)
    if as_json:
        print_json(to_json(findings))
    else:
        _print_findings(findings)
    if any(finding.status == "fail" for finding in findings):
        raise typer.Exit(1)


def _print_findings(findings: "Sequence[Finding]") -> None:
    """Print one row for all subjects with the same finding, with the next step below it; then the count by status."""
    table = plain_table("check", "subject", "", "what was found, what to do")
    colours = {"ok": "green", "warn": "yellow", "fail": "red"}
    for (check, status, detail, step), same in groupby(
        findings, key=lambda finding: (finding.check, finding.status, finding.detail, finding.next_step)
    ):
        found = Text(detail)
        if step:
            found.append(f"\n-> {step}", style="bold")
        subjects = ", ".join(finding.subject for finding in same)
        table.add_row(check, subjects, Text(status, style=colours[status]), found)
    out.print(table)
    statuses = [finding.status for finding in findings]
    out.print(", ".join(f"{statuses.count(status)} {status}" for status in ("ok", "warn", "fail")), highlight=False)
