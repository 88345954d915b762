"""`track contacts`: the quality of the contacts that front desks type, as counts."""

from collections import defaultdict
from datetime import date, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Final

import typer

from track_pipeline.cli.console import (
    Json,
    OptionalDate,
    OptionalHospital,
    err,
    examples,
    open_runtime,
    out,
    parse_date,
    print_json,
    print_line,
    progress,
    writing,
)
from track_pipeline.cli.tables import plain_table

if TYPE_CHECKING:
    from track_pipeline.services.insight.contact_quality import ContactGroup, VerdictShare

contacts_app = typer.Typer()

_ROWS_SHOWN: Final = 20


@contacts_app.command(
    epilog=examples(
        "track contacts --date 2026-11-23 --hospital HMS",
        "track contacts --csv contacts.csv",
    )
)
def contacts(
    *,
    day: OptionalDate = None,
    days: Annotated[int, typer.Option(min=1, max=365, help="number of earlier days that the trend compares with")] = 28,
    hospital: OptionalHospital = None,
    as_json: Json = False,
    csv: Annotated[Path | None, typer.Option(dir_okay=False, help="write all rows to this CSV")] = None,
) -> None:
    """Show the contact quality of a day (default: yesterday) per hospital and area. Counts only.

    Counts too small to be shown are left empty, in the CSV too. Days older than the lake keeps (30) are not available.
    """
    from track_pipeline.domain.encounter import GROUP_TIME_ZONE
    from track_pipeline.services.insight.contact_quality import verdict_shares
    from track_pipeline.services.insight.serialise import to_json

    if as_json and csv:
        raise typer.BadParameter("give --json or --csv, not both")
    with open_runtime() as runtime:
        wanted = parse_date(day) or runtime.clock().astimezone(GROUP_TIME_ZONE).date() - timedelta(days=1)
        chosen = [runtime.registry.hospital(hospital)] if hospital else runtime.hospitals
        with progress("contacts", len(chosen)) as advance:
            quality = runtime.insight.contact_quality.of_each(chosen, wanted, days, advance)
    if as_json:
        print_json(to_json(verdict_shares(quality)))
    elif csv:
        with writing(csv):
            quality.write_csv(csv)
        print_line(f"{quality.height} rows in {csv}")
    elif not quality.is_empty():
        _print_quality(verdict_shares(quality), wanted, days)
    if quality.is_empty():
        err.print(f"{wanted}: the lake has no extract of this day; it was not extracted yet, or it was purged")
        raise typer.Exit(1)


def _print_quality(shares: "list[VerdictShare]", day: date, days: int) -> None:
    """Print a line per hospital, area and contact: shares in %, and their change in percentage points."""
    groups: defaultdict[ContactGroup, dict[str, VerdictShare]] = defaultdict(dict)
    for row in shares:
        groups[row.group][row.verdict] = row
    shown = set(sorted(groups, key=lambda group: groups[group]["ok"].change or 0)[:_ROWS_SHOWN])
    table = plain_table(
        *("hospital", "area", "contact"), title=f"{day}: contacts, share in % (change from the {days} days before)"
    )
    table.add_column("rows", justify="right")
    table.add_column("usable", justify="right")
    table.add_column("not usable")
    for group, verdicts in groups.items():
        if group not in shown:
            continue
        usable = verdicts.pop("ok")
        bad = [f"{verdict} {_share(row)}" for verdict, row in verdicts.items() if row.count]
        if few := [verdict for verdict, row in verdicts.items() if row.count is None]:
            bad.append(f"too few to show: {', '.join(few)}")
        rows = str(usable.encounters or "few")
        table.add_row(group.hospital, group.area, group.contact, rows, _share(usable), "; ".join(bad))
    out.print(table)
    if len(groups) > _ROWS_SHOWN:
        print_line(f"The {_ROWS_SHOWN} of {len(groups)} whose usable share fell most; --hospital or --csv shows more.")


def _share(row: "VerdictShare") -> str:
    if row.share is None:
        return "–"
    change = f" ({row.change * 100:+.0f})" if row.change else ""
    return f"{row.share * 100:.0f}{change}"
