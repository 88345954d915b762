"""From raw rows to a plan: classification, contact hygiene, person keys, plan. Without ledger and lake."""

from collections.abc import Iterator
from pathlib import Path
from typing import Final

import polars as pl

from benchmarks import original
from benchmarks.figures import Bench, Curve, Figure, Target
from benchmarks.measure import Watch
from benchmarks.people import DAY, NOW, hospital, write_hospital, write_raw
from track_pipeline.config.hospitals import load_registry
from track_pipeline.config.policy import load_policy
from track_pipeline.config.rules import load_rules
from track_pipeline.demo.surveys import demo_catalog
from track_pipeline.domain.classification import classify
from track_pipeline.domain.contacts import with_contacts
from track_pipeline.domain.identity import KEY_COLUMNS, keyed_hasher
from track_pipeline.domain.plan import LedgerFacts, PlanRequest, eligible, identify, make_plan

_STEPS: Final = {
    "classify": "rules",
    "identify": "contact hygiene and person keys",
    "plan": "eligibility, one survey per person, quarantine",
}


def results(bench: Bench) -> Iterator[Figure | Curve]:
    """Measure the seconds of the steps, the peak of memory, and the growth of the seconds."""
    most = bench.size(full=1_000_000, quick=20_000)
    curve = Curve("plan", "Raw rows to plan", "encounters", "seconds")
    for size in bench.sizes_up_to(most):
        raw = write_raw(write_hospital(bench.folder / f"plan-{size}", size), bench.folder / f"plan-{size}.parquet")
        sample, hygiene = bench.measure(plan, raw), bench.measure(clean, raw)
        for step, seconds in sample.laps.items():
            curve.lines.setdefault(step, []).append((size, seconds))
    branches = bench.measure(branch, raw)
    for step, what in _STEPS.items():
        yield Figure(f"plan.{step}.seconds", f"{most:,} encounters: {what}", sample.laps[step], "s")
    yield Figure(
        "plan.seconds", f"{most:,} encounters: all of that but contact hygiene", sample.seconds - hygiene.seconds, "s",
        branches.seconds, "classification alone, by branches in Python", Target("under 6 s on 2 cores", 6), guard=20,
    )  # fmt: skip
    yield Figure(
        "plan.peak", f"{most:,} encounters: peak of the process", sample.peak, "MiB",
        branches.peak, "the same rows as a list of dicts", Target("under 1.5 GiB", 1536),
    )  # fmt: skip
    yield curve


# --- trials ---------------------------------------------------------------------------------------------------------


def plan(watch: Watch, raw: Path) -> None:
    """Measure raw rows to plan. One key in 50 has opted out, one in 20 was invited last week, one in 1,000 has died."""
    of, rows = hospital(), pl.read_parquet(raw)
    rules, surveys = load_rules(of), demo_catalog(load_registry()).survey_uuids()
    request, hasher = PlanRequest(of, DAY, NOW.date(), load_policy(), surveys), keyed_hasher("benchmark" * 4)
    with watch.lap("classify"):
        encounters = classify(rows, of, rules, DAY)
    del rows
    with watch.lap("identify"):
        identified = identify(encounters, request, hasher)
    del encounters
    ledger = _facts(identified)
    with watch.lap("plan"):
        identified = eligible(identified, request, ledger)
        made = make_plan(identified, request, ledger)
    watch.notes["planned"] = made.filter(pl.col("result") == "planned").height


def clean(watch: Watch, raw: Path) -> None:
    """Measure contact hygiene alone, which has its own target (see `contacts`)."""
    of = hospital()
    encounters = classify(pl.read_parquet(raw), of, load_rules(of), DAY)
    with watch.lap():
        with_contacts(encounters, load_policy().placeholders)


def _facts(identified: pl.DataFrame) -> LedgerFacts:
    keys = pl.concat(identified.get_column(key).drop_nulls() for key in KEY_COLUMNS).alias("person_key").to_frame()
    contacted = keys.gather_every(20).select(
        "person_key",
        hospital=pl.lit("HMC"),
        database=pl.lit("HMC"),
        encounter_id=pl.int_range(pl.len()),
        survey_uuid=pl.lit("survey"),
        cohort_date=pl.lit(DAY).dt.offset_by("-5d"),
        answered_on=pl.lit(None, pl.Date),
    )
    asked = pl.DataFrame(schema={name: pl.Int64 if name == "encounter_id" else pl.String for name in _ASKED})
    opted_out = keys.gather_every(50).with_columns(channel=pl.lit("all"))
    return LedgerFacts(opted_out, contacted, asked, asked, consented=keys.clear(), died=keys.gather_every(1000))


_ASKED: Final = ("database", "encounter_id", "area", "survey_uuid", "channel")


def branch(watch: Watch, raw: Path) -> None:
    """Measure the classification of the same rows, as a list of dicts, by branches in Python."""
    rows = pl.read_parquet(raw).with_columns(pl.col(pl.Datetime).dt.strftime("%Y-%m-%d %H:%M:%S"))
    dicts = rows.with_columns(pl.col(pl.Int64).fill_null(-1)).to_dicts()
    with watch.lap():
        areas = original.classified(dicts, DAY)
    watch.notes["rows"] = sum(map(len, areas.values()))
