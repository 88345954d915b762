"""Tables and lists that several commands print.

A list shows the first few encounters of each group; the JSON has all of them.
"""

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import TYPE_CHECKING, Final

from rich.box import SIMPLE
from rich.table import Column, Table
from rich.text import Text

from track_pipeline.cli.console import out, print_json, print_line
from track_pipeline.domain.outcomes import Outcome

if TYPE_CHECKING:
    import polars as pl

    from track_pipeline.services.insight.status import PartitionStatus

_IDS_SHOWN: Final = 8
# Short enough for a terminal of 80 columns.
_HEADERS: Final = {
    "extracted": "rows",
    "excluded": "excl.",
    "planned": "plan",
    "sent": "sent",
    "rejected": "rej.",
    "unknown": "unkn.",
    "deferred": "defer.",
    "suppressed": "supp.",
}
_ANSWERED: Final = {"answered": "answ."}
# Other columns are left out when all their counts are 0.
_ALWAYS: Final = ("extracted", "excluded", "planned", "sent")


@dataclass(frozen=True)
class ShownEncounter:
    """An encounter by its opaque number."""

    hospital: str
    database: str
    number: int

    def __str__(self) -> str:
        """Return hospital and number, and the database when it is not the hospital's own."""
        database = "" if self.database == self.hospital else f" ({self.database})"
        return f"{self.hospital} {self.number}{database}"


def plain_table(*columns: str, title: str | None = None) -> Table:
    """Return an empty table without borders."""
    return Table(*columns, title=title, box=SIMPLE, padding=(0, 1, 0, 0))


def print_frame(frame: "pl.DataFrame", *, as_json: bool, empty: str) -> None:
    """Print all rows of a frame, or the text `empty`."""
    if as_json:
        print_json(frame.to_dicts())
    elif frame.is_empty():
        out.print(empty)
    else:
        # Long cells are folded, not cut off: operators copy them into the next command.
        table = Table(*(Column(name, overflow="fold") for name in frame.columns))
        for row in frame.iter_rows():
            table.add_row(*(Text(str(value)) for value in row))
        out.print(table)


def print_status(rows: "Sequence[PartitionStatus]") -> None:
    """Print one table per day, without empty rows and columns, then the reasons of all days."""
    waves = {column: column.removeprefix("reminded_") for column in (rows[0].reminded if rows else {})}
    headers = _HEADERS | waves | _ANSWERED
    shown = [column for column in headers if column in _ALWAYS or any(row.count(column) for row in rows)]
    for day, of_day in groupby(rows, key=lambda row: row.date):
        table = plain_table("hospital", "area", title=f"{day}: outcomes of all encounters")
        for column in shown:
            table.add_column(headers[column], justify="right")
        counted = list(of_day)
        for row in counted:
            if row.extracted:
                table.add_row(row.hospital, row.area, *(str(row.count(column)) for column in shown))
        table.add_section()
        totals = (str(sum(row.count(column) for row in counted)) for column in shown)
        table.add_row("total", "", *totals, style="bold")
        out.print(table)
    reasons: Counter[str] = Counter()
    for row in rows:
        reasons.update({str(Outcome.excluded(reason)): count for reason, count in row.excluded_by.items()})
        reasons.update(row.held_by)
    out.print("  ".join(f"{reason} {count}" for reason, count in reasons.most_common()), highlight=False)


def print_groups(title: str, found: Iterable[tuple[str, ShownEncounter]], meanings: Mapping[str, str]) -> None:
    """Print a line per group: how many encounters, what the group means, and its first few encounters.

    Args:
        title: printed above the groups; not printed when there are none.
        found: encounters, each with its group.
        meanings: the meanings of groups that are not outcomes with a reason.
    """
    groups: defaultdict[str, list[ShownEncounter]] = defaultdict(list)
    for group, encounter in found:
        groups[group].append(encounter)
    if groups:
        print_line(title, style="bold")
    for group, encounters in sorted(groups.items(), key=lambda item: (-len(item[1]), item[0])):
        ids = ", ".join(map(str, encounters[:_IDS_SHOWN]))
        more = f" and {len(encounters) - _IDS_SHOWN} more (--json)" if len(encounters) > _IDS_SHOWN else ""
        print_line(f"  {len(encounters):>5}  {with_meaning(group, meanings)}: {ids}{more}")


def with_meaning(code: str, meanings: Mapping[str, str]) -> str:
    """Return a code with its meaning, such as `excluded:no_contact (...)`; the code alone when it has none."""
    from track_pipeline.services.insight.meanings import meaning_of

    meaning = meanings.get(code) or meaning_of(code)
    return f"{code} ({meaning})" if meaning else code
