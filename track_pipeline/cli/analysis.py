"""The commands that look and change nothing: `track plan`, `track compare`, `track contacts`, and how `why` is told.

Each calls one service and prints a table or JSON. A page is enough for the table: what it leaves out is in the JSON,
or in the CSV.
"""

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping
from datetime import date, timedelta
from itertools import groupby
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final

import typer
from rich.box import SIMPLE
from rich.table import Table

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
from track_pipeline.errors import TrackPipelineError

if TYPE_CHECKING:
    import polars as pl

    from track_pipeline.runtime import Runtime
    from track_pipeline.services.insight.explain import Explanation

JsonObject = dict[str, Any]

analysis_app = typer.Typer()

_IDS_SHOWN: Final = 8
_ROWS_SHOWN: Final = 20
# What `compare` means by its own words.
_COMPARED: Final = {
    "more_than_once": "they asked it more than once",
    "other_area": "we have it in another area",
    "other_channel": "we took another channel",
    "not_in_their_list": "they did not ask it",
    "not_extracted": "the day was extracted, and had no such encounter",
    "day_not_extracted": "this hospital's day was never extracted: materialise extract and invitation",
    "excluded:not_read": "not among the rows of the day",
}


@analysis_app.command(
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
    """What if: who would be asked about a day, and what other rules or another policy would change. Sends nothing.

    The day is read from the hospital again, since rules need its codes; only a policy can judge what the lake has.

    A past day is judged as on the morning after it, as if nothing had been sent; who was asked is told beside it.
    """
    from track_pipeline.domain.encounter import GROUP_TIME_ZONE

    if rules and config:
        raise typer.BadParameter("give --rules or --config, not both: one change at a time can be understood")
    wanted = _needed(parse_date(day))
    with open_runtime() as runtime:
        if wanted > runtime.clock().astimezone(GROUP_TIME_ZONE).date():
            raise typer.BadParameter(f"{wanted} is yet to come")
        results, failures = _what_if(runtime, wanted, hospital, rules, config)
    if as_json:
        print_json({"date": wanted.isoformat(), "hospitals": results, "failures": failures})
    else:
        _print_what_if(wanted, results, tried=rules or config)
        _print_failures(failures)
    if failures:
        raise typer.Exit(1)


@analysis_app.command(
    epilog=examples(
        "track compare sends.csv --date 2026-11-23",
        "sends.csv: hospital,encounter,area,channel and, if you like, database",
    )
)
def compare(
    file: Annotated[Path, typer.Argument(help="CSV: hospital, encounter, area, channel, and optionally database")],
    *,
    day: Annotated[str, typer.Option("--date", help="day of the encounters, YYYY-MM-DD")],
    as_json: Json = False,
) -> None:
    """Shadow mode: another system's sends of a day beside ours, and the reason of every difference. Changes nothing.

    Ours are what was sent, and what a dry run would have sent. A list with a bad line is not compared at all.
    """
    with open_runtime() as runtime:
        result = runtime.comparer.compare(file, _needed(parse_date(day)))
    if as_json:
        print_json(result)
    else:
        _print_comparison(result)
    if "day_not_extracted" in result["only_theirs_by"]:
        raise typer.Exit(1)


@analysis_app.command(
    epilog=examples(
        "track contacts --date 2026-11-23 --hospital HMS",
        "track contacts --csv contacts.csv",
    )
)
def contacts(
    *,
    day: OptionalDate = None,
    days: Annotated[int, typer.Option(min=1, max=365, help="the trend is against so many days before")] = 28,
    hospital: OptionalHospital = None,
    as_json: Json = False,
    csv: Annotated[Path | None, typer.Option(dir_okay=False, help="write all rows to this CSV")] = None,
) -> None:
    """Contact quality of a day (default yesterday): what front desks typed, per hospital and area. Counts, nobody.

    What is too small to be shown is left empty, in the CSV too. It reaches back as far as the lake: 30 days.
    """
    import polars as pl

    from track_pipeline.domain.encounter import GROUP_TIME_ZONE

    if as_json and csv:
        raise typer.BadParameter("give --json or --csv, not both")
    with open_runtime() as runtime:
        wanted = parse_date(day) or runtime.clock().astimezone(GROUP_TIME_ZONE).date() - timedelta(days=1)
        chosen = [runtime.registry.hospital(hospital)] if hospital else runtime.hospitals
        with progress("contacts", len(chosen)) as advance:
            frames = []
            for each in chosen:
                frames.append(runtime.contact_quality.of(each, wanted, days))
                advance(each.code)
    quality = pl.concat(frames)
    if as_json:
        print_json(quality.to_dicts())
    elif csv:
        with writing(csv):
            quality.write_csv(csv)
        print_line(f"{quality.height} rows in {csv}")
    elif not quality.is_empty():
        _print_quality(quality, wanted, days)
    if quality.is_empty():
        err.print(f"{wanted}: the lake has no extract of it; it was never extracted, or has been purged")
        raise typer.Exit(1)


def print_explanation(story: JsonObject, explanation: "Explanation") -> None:
    """The story of an encounter (`status.why`) for a person: what happened, by which rules, what would change it."""
    place = " / ".join(part for part in (story["area"], story["setor"]) if part)
    print_line(f"{story['hospital']} {story['encounter']}{f' ({place})' if place else ''}", style="bold")
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
    """A line for every rule of the hospital, and one for all that a plan looked for and did not find."""
    marks = {"passed": "no   ", "took": "yes  ", "excluded": "out  ", "possible": "out? ", "fact": "     "}
    for (kind, result), steps in groupby(explanation.path, key=lambda step: (step.step, step.result)):
        if result == "passed" and kind != "classification":
            yield f"{marks[result]} {kind}: {', '.join(step.rule.partition('@')[0] for step in steps)}"
            continue
        for step in steps:
            rule = f" {step.rule}" if step.rule else ""
            yield f"{marks[result]} {kind}{rule}: {step.text}"


def _needed(day: date | None) -> date:
    if day is None:
        raise typer.BadParameter("--date: write a day as 2026-11-23")
    return day


def _what_if(
    runtime: "Runtime", day: date, hospital: str | None, rules: Path | None, config: Path | None
) -> tuple[list[JsonObject], list[JsonObject]]:
    """The comparison of every hospital that is meant, and the hospitals whose day could not be had."""
    from track_pipeline.config.policy import load_policy
    from track_pipeline.services.insight.what_if import Candidate, candidate_rules

    registry = runtime.registry
    if hospital:
        registry = registry.only((registry.hospital(hospital).code,))
    policy = load_policy(config) if config else None
    rulebook = candidate_rules(registry, rules) if rules else {}
    chosen = [each for each in registry.hospitals if not rules or each.code in rulebook]
    results, failures = [], []
    with progress("plans", len(chosen)) as advance:
        for each in chosen:
            try:
                results.append(runtime.what_if.compare(each, day, Candidate(rulebook.get(each.code), policy)))
            except TrackPipelineError as error:
                failures.append({"hospital": each.code, "error": str(error)})
            advance(each.code)
    return results, failures


def _print_what_if(day: date, results: list[JsonObject], tried: Path | None) -> None:
    title = f"{day}: the plan by {tried}, beside the present one" if tried else f"{day}: the plan by the present rules"
    table = Table("hospital", title=title, box=SIMPLE, padding=(0, 1, 0, 0))
    numbers = {result["hospital"]: _numbers(result, tried) for result in results}
    for name in next(iter(numbers.values()), {}):
        table.add_column(name, justify="right")
    for hospital, of_hospital in numbers.items():
        table.add_row(hospital, *map(str, of_hospital.values()))
    if results:
        out.print(table)
    encounters = [row | {"hospital": result["hospital"]} for result in results for row in result["encounters"]]
    added, removed = ([row for row in encounters if row["change"] == change] for change in ("added", "removed"))
    _print_group("added; at present they are:", [(_excluded(row["present"]), row) for row in added])
    _print_group("removed; they would be:", [(_excluded(row["candidate"]), row) for row in removed])
    changed = [row for row in encounters if row["change"] == "changed"]
    _print_group("changed:", [(what, row) for row in changed for what in _changes(row)])
    wrong = [row for row in encounters if row["asked"] and row["candidate"]["result"] != "planned"]
    _print_group("asked, and by these should not have been:", [(_excluded(row["candidate"]), row) for row in wrong])
    if not tried:
        _print_counts("excluded:", [result["present"]["excluded_by"] for result in results])


def _numbers(result: JsonObject, tried: Path | None) -> dict[str, int]:
    """The columns of the table of plans, in order; `wrongly` is who was asked and would not be."""
    numbers = {"rows": result["extracted"], "planned": result["present"]["planned"]}
    if tried:
        numbers["then"] = result["candidate"]["planned"]
        numbers |= {name: result[name] for name in ("added", "removed", "changed")}
    return numbers | {"asked": result["asked"], "wrongly": result["asked_not_planned"]}


def _excluded(side: JsonObject) -> str:
    return f"excluded:{side['reason']}"


def _changes(row: JsonObject) -> Iterable[str]:
    for name in ("reason", "unit", "area", "setor", "channel"):
        was, is_now = row["present"][name], row["candidate"][name]
        if was != is_now:
            yield f"{name}: {was or 'none'} -> {is_now or 'none'}"


def _print_group(title: str, found: list[tuple[str, JsonObject]]) -> None:
    """A line per word: how many, what it means, and the first few encounters."""
    rows: defaultdict[str, list[JsonObject]] = defaultdict(list)
    for word, row in found:
        rows[word].append(row)
    if rows:
        print_line(title, style="bold")
    for word, of_word in sorted(rows.items(), key=lambda item: (-len(item[1]), item[0])):
        ids = ", ".join(_id(row) for row in of_word[:_IDS_SHOWN])
        more = f" and {len(of_word) - _IDS_SHOWN} more (--json)" if len(of_word) > _IDS_SHOWN else ""
        print_line(f"  {len(of_word):>5}  {_with_meaning(word)}: {ids}{more}")


def _with_meaning(word: str) -> str:
    """`excluded:no_contact` with its meaning; other words as they are, or with what this page means by them."""
    from track_pipeline.services.insight.meanings import meaning

    result, _, reason = word.partition(":")
    said = _COMPARED.get(word) or (meaning(result, reason) if reason else "")
    return f"{word} ({said})" if said and said != reason else word


def _id(row: JsonObject) -> str:
    """The opaque name of an encounter; the database only where it is not the hospital's namesake."""
    database = "" if row["database"] == row["hospital"] else f" ({row['database']})"
    return f"{row['hospital']} {row['encounter']}{database}"


def _print_counts(title: str, counts: Iterable[Mapping[str, int]]) -> None:
    totals: Counter[str] = Counter()
    for each in counts:
        totals.update(each)
    print_line(title, style="bold")
    for reason, count in totals.most_common():
        print_line(f"  {count:>5}  {_with_meaning(f'excluded:{reason}')}")


def _print_failures(failures: list[JsonObject]) -> None:
    for failure in failures:
        err.print(f"{failure['hospital']}: {failure['error']}", style="red", markup=False, highlight=False)


def _print_comparison(result: JsonObject) -> None:
    print_line(
        f"{result['date']}, {', '.join(result['hospitals'])}: {result['theirs']} encounters theirs, "
        f"{result['ours']} ours, {result['same']} the same",
        style="bold",
    )
    titles = {
        "different": "both, but not alike:",
        "only_theirs": "only theirs, and why not ours:",
        "only_ours": "only ours:",
    }
    for kind, title in titles.items():
        _print_group(title, [(row["reason"], row) for row in result["encounters"] if row["result"] == kind])


def _print_quality(quality: "pl.DataFrame", day: date, days: int) -> None:
    """A line per hospital, area and contact: shares in %, and how they changed in percentage points."""
    places: defaultdict[tuple[str, str, str], dict[str, JsonObject]] = defaultdict(dict)
    for row in quality.to_dicts():
        places[row["hospital"], row["area"], row["contact"]][row["verdict"]] = row
    shown = sorted(places, key=lambda place: places[place]["ok"]["change"] or 0)[:_ROWS_SHOWN]
    title = f"{day}: contacts, share in % (change from the {days} days before)"
    table = Table("hospital", "area", "contact", title=title, box=SIMPLE, padding=(0, 1, 0, 0))
    table.add_column("rows", justify="right")
    table.add_column("usable", justify="right")
    table.add_column("not usable")
    for place, of_place in places.items():
        if place not in shown:
            continue
        usable = of_place.pop("ok")
        bad = [f"{verdict} {_share(row)}" for verdict, row in of_place.items() if row["count"]]
        if few := [verdict for verdict, row in of_place.items() if row["count"] is None]:
            bad.append(f"too few to show: {', '.join(few)}")
        table.add_row(*place, str(usable["encounters"] or "few"), _share(usable), "; ".join(bad))
    out.print(table)
    if len(places) > _ROWS_SHOWN:
        print_line(f"The {_ROWS_SHOWN} of {len(places)} whose usable share fell most; --hospital or --csv shows more.")


def _share(row: JsonObject) -> str:
    if row["share"] is None:
        return "–"
    change = f" ({row['change'] * 100:+.0f})" if row["change"] else ""
    return f"{row['share'] * 100:.0f}{change}"
