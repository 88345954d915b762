"""`track plan`: shows the plan of a day, and the changes that other rules or another policy would make."""

from collections import Counter
from collections.abc import Iterable
from datetime import date
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Final

import typer

from track_pipeline.cli.console import (
    Json,
    OptionalHospital,
    err,
    examples,
    needed_date,
    open_runtime,
    out,
    print_json,
    print_line,
    progress,
)
from track_pipeline.cli.tables import ShownEncounter, plain_table, print_groups, with_meaning
from track_pipeline.domain.outcomes import Outcome

if TYPE_CHECKING:
    from track_pipeline.services.insight.what_if import ComparedEncounter, DayComparison, PlanComparison, PlanDecision

plan_app = typer.Typer()

_MEANINGS: Final = {"excluded:not_read": "the encounter is not among the rows of the day"}
_FIELDS: Final = ("reason", "unit", "area", "setor", "channel")


@plan_app.command(
    epilog=examples(
        "track plan --date 2026-11-23",
        "track plan --date 2026-11-23 --hospital HMS --rules ./rules-new",
        "track plan --date 2026-11-23 --config ./policy-new.toml --json",
    )
)
def plan(
    *,
    day: Annotated[str, typer.Option("--date", help="day of the encounters, YYYY-MM-DD; not a future one")],
    hospital: OptionalHospital = None,
    rules: Annotated[
        Path | None,
        typer.Option(exists=True, file_okay=False, help="try these rules: a copy of track_pipeline/rules, changed"),
    ] = None,
    config: Annotated[
        Path | None, typer.Option(exists=True, dir_okay=False, help="try this policy: a policy.toml, changed")
    ] = None,
    as_json: Json = False,
) -> None:
    """What if: show the plan of a day, and what other rules or another policy would change. Sends nothing.

    The day is read from the hospital again, because rules need its codes. With --config, the rows come from
    the lake if it has them.

    A past day is planned as on the morning after it, as if nothing had been sent. The table also counts the encounters
    that were really invited, as `asked`.
    """
    from track_pipeline.domain.encounter import GROUP_TIME_ZONE
    from track_pipeline.services.insight.serialise import to_json
    from track_pipeline.services.insight.what_if import candidates_of, compare_day

    if rules and config:
        raise typer.BadParameter("give --rules or --config, not both; try one change at a time")
    wanted = needed_date(day)
    with open_runtime() as runtime:
        if wanted > runtime.clock().astimezone(GROUP_TIME_ZONE).date():
            raise typer.BadParameter(f"{wanted} is in the future; give a day up to today")
        registry = runtime.registry
        if hospital:
            registry = registry.only((registry.hospital(hospital).code,))
        candidates = candidates_of(registry, rules, config)
        with progress("plans", len(candidates)) as advance:
            compared = compare_day(lambda: runtime.insight.what_if, wanted, candidates, advance)
    if as_json:
        print_json(to_json(compared))
    else:
        _print_comparisons(compared, tried=rules or config)
    if compared.failures:
        raise typer.Exit(1)


def _print_comparisons(compared: "DayComparison", tried: Path | None) -> None:
    _print_numbers(compared.date, compared.hospitals, tried)
    rows = [(each.basis.hospital, row) for each in compared.hospitals for row in each.difference.encounters]
    added = [row for row in rows if row[1].change == "added"]
    removed = [row for row in rows if row[1].change == "removed"]
    changed = [row for row in rows if row[1].change == "changed"]
    wrong = [row for row in rows if row[1].asked and row[1].candidate.result != "planned"]
    groups = {
        "added; in the present plan they are:": [(_excluded(row.present), _shown(code, row)) for code, row in added],
        "removed; they would be:": [(_excluded(row.candidate), _shown(code, row)) for code, row in removed],
        "changed:": [(what, _shown(code, row)) for code, row in changed for what in _changes(row)],
        "asked, but not planned by these rules or this policy:": [
            (_excluded(row.candidate), _shown(code, row)) for code, row in wrong
        ],
    }
    for title, found in groups.items():
        print_groups(title, found, _MEANINGS)
    if not tried:
        _print_excluded(compared.hospitals)
    for failure in compared.failures:
        err.print(f"{failure.hospital}: {failure.error}", style="red", markup=False, highlight=False)


def _print_numbers(day: date, compared: "Iterable[PlanComparison]", tried: Path | None) -> None:
    title = f"{day}: the plan by {tried}, beside the present one" if tried else f"{day}: the plan by the present rules"
    table = plain_table("hospital", title=title)
    numbers = {each.basis.hospital: _numbers(each, is_tried=tried is not None) for each in compared}
    for name in next(iter(numbers.values()), {}):
        table.add_column(name, justify="right")
    for hospital, of_hospital in numbers.items():
        table.add_row(hospital, *map(str, of_hospital.values()))
    if numbers:
        out.print(table)


def _numbers(compared: "PlanComparison", *, is_tried: bool) -> dict[str, int]:
    """Return the table's columns in order; `wrongly` counts encounters that were asked and would not be planned."""
    difference = compared.difference
    numbers = {"rows": compared.basis.extracted, "planned": compared.present.planned.total}
    if is_tried:
        numbers |= {
            "then": compared.candidate.planned.total,
            "added": difference.added.total,
            "removed": difference.removed.total,
            "changed": difference.changed.total,
        }
    return numbers | {"asked": difference.asked, "wrongly": difference.asked_not_planned.total}


def _excluded(side: "PlanDecision") -> str:
    return str(Outcome.excluded(side.reason or ""))


def _shown(hospital: str, row: "ComparedEncounter") -> ShownEncounter:
    return ShownEncounter(hospital, row.database, row.encounter)


def _changes(row: "ComparedEncounter") -> Iterable[str]:
    for name in _FIELDS:
        was, is_now = getattr(row.present, name), getattr(row.candidate, name)
        if was != is_now:
            yield f"{name}: {was or 'none'} -> {is_now or 'none'}"


def _print_excluded(compared: "Iterable[PlanComparison]") -> None:
    totals: Counter[str] = Counter()
    for each in compared:
        totals.update(each.present.excluded.by)
    print_line("excluded:", style="bold")
    for reason, count in totals.most_common():
        print_line(f"  {count:>5}  {with_meaning(str(Outcome.excluded(reason)), _MEANINGS)}")
