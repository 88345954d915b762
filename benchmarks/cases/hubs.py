"""A thousand hospitals in hubs: code locations with just under 100,000 partitions per asset."""

import json
from collections.abc import Iterator
from datetime import date, datetime, time, timedelta
from pathlib import Path
from shutil import copy
from typing import Final
from zoneinfo import ZoneInfo

import dagster as dg
import polars as pl

from benchmarks.figures import Bench, Figure, Target
from benchmarks.measure import Sample, Watch, measure
from benchmarks.people import DAY, HOSPITAL
from track_pipeline.adapters.ledger import open_ledger
from track_pipeline.config.files import package_file
from track_pipeline.config.hospitals import load_registry
from track_pipeline.config.rules import load_rulebook
from track_pipeline.config.settings import load_settings
from track_pipeline.definitions import build_defs
from track_pipeline.defs.partitions import FIRST_DAY, partition_key, patient_days
from track_pipeline.domain.areas import AREAS
from track_pipeline.domain.hospital import Registry
from track_pipeline.hosting.instance import open_instance
from track_pipeline.runtime import Runtime
from track_pipeline.services.insight.status import status

_HOSPITALS: Final = 1_000
# Three years of 91 hospitals. There are fewer days so far, so the measured hub has more hospitals.
_PARTITIONS: Final = 99_645
_SWEPT_DAYS: Final = 7
_DAY_AND_HOUR: Final = datetime.combine(DAY + timedelta(days=1), time(9, 15), ZoneInfo("America/Sao_Paulo"))


def results(bench: Bench) -> Iterator[Figure]:
    """Measure one hub with a week of materialised partitions."""
    hospitals = bench.size(full=_HOSPITALS, quick=60)
    partitions = bench.size(full=_PARTITIONS, quick=_PARTITIONS // 100)
    hub = partitions // (DAY - date.fromisoformat(FIRST_DAY)).days
    registry = bench.folder / "hubs.toml"
    registry.write_text(_registry(hospitals), encoding="utf-8")
    rules = bench.folder / "rules"
    rules.mkdir()
    copy(package_file("rules/_shared.toml"), rules)
    for number in range(hospitals):
        copy(package_file(f"rules/{HOSPITAL}.toml"), rules / f"{_code(number)}.toml")
    loading = bench.measure(load, registry, rules, hub)
    yield Figure("hubs.registry", f"the registry of {hospitals:,} hospitals, read and checked",
                 loading.laps["registry"], "s")  # fmt: skip
    yield Figure("hubs.load", f"definitions of a hub of {hub} hospitals, {hub * _days():,} partitions per asset",
                 loading.laps["definitions"], "s")  # fmt: skip
    # Making the week of a hub takes minutes, so each tick and query is measured once.
    encounters = bench.size(full=300, quick=20)
    yield from _ticks(measure(tick, bench.folder / "hub", registry, rules, hub, encounters), hub)


def _ticks(sample: Sample, hub: int) -> Iterator[Figure]:
    for schedule in ("daily_0800", "sweep"):
        yield Figure(
            f"hubs.{schedule}", f"tick of {schedule} in a hub of {hub} hospitals", sample.laps[schedule], "s",
            target=Target("under 10 s per hub", 10),
        )  # fmt: skip
    yield Figure(
        "hubs.partitions", f"status of all {hub * _days():,} partitions of an asset", sample.laps["partitions"], "s",
        target=Target("under 2 s", 2),
    )  # fmt: skip
    yield Figure(
        "hubs.status", f"track status of a day of {hub} hospitals", sample.laps["status"], "s",
        target=Target("under 2 s", 2),
    )  # fmt: skip


def _days() -> int:
    return (DAY - date.fromisoformat(FIRST_DAY)).days


def _code(number: int) -> str:
    return f"H{number:04d}"


def _registry(hospitals: int) -> str:
    areas = json.dumps([area.value for area in AREAS])
    return "\n".join(
        f'[[hospital]]\ncode = "{code}"\nhis = "mv"\ndatabase = "{code}"\ntime_zone = "America/Sao_Paulo"\n'
        f'[[hospital.unit]]\ncode = "{code}"\nname = "Hospital {code}"\nsurveys = {areas}\n'
        for code in map(_code, range(hospitals))
    )


# --- trials ---------------------------------------------------------------------------------------------------------


def load(watch: Watch, registry: Path, rules: Path, hub: int) -> None:
    """Measure the start of a hub's process: registry and definitions."""
    with watch.lap("registry"):
        loaded = load_registry(registry)
    with watch.lap("definitions"):
        _definitions(_runtime(registry.parent / "loaded", loaded, rules, hub))


def _runtime(home: Path, registry: Registry, rules: Path, hub: int) -> Runtime:
    chosen = registry.only(registry.codes[:hub])
    settings = load_settings({}, env_file=None, TRACK_HOME=str(home))
    return Runtime(settings, registry=chosen, rules=load_rulebook(chosen, rules), clock=lambda: _DAY_AND_HOUR)


def _definitions(runtime: Runtime) -> dg.RepositoryDefinition:
    definitions = build_defs(runtime.settings, runtime)
    dg.Definitions.validate_loadable(definitions)
    return definitions.get_repository_def()


def tick(watch: Watch, home: Path, registry: Path, rules: Path, hub: int, encounters: int) -> None:
    """Measure ticks of schedules, partition status and `track status`, in a hub whose last week has been run."""
    runtime = _runtime(home, load_registry(registry), rules, hub)
    repository, partitions = _definitions(runtime), patient_days(runtime.registry)
    keys = list(repository.get_job("daily").asset_layer.executable_asset_keys)
    week = [DAY - timedelta(days=age) for age in range(_SWEPT_DAYS)]
    _extract_a_day(runtime, encounters)
    with open_instance(home) as instance:
        for key in keys:
            for day in week:
                for code in runtime.registry.codes:
                    made = dg.AssetMaterialization(key, partition=partition_key(day, code))
                    instance.report_runless_asset_event(made)
        for name in ("daily_0800", "sweep"):
            schedule = repository.get_schedule_def(name)
            context = dg.build_schedule_context(
                instance, scheduled_execution_time=_DAY_AND_HOUR, repository_def=repository,
                resources={"runtime": runtime},
            )  # fmt: skip
            with watch.lap(name):
                asked = schedule.evaluate_tick(context).run_requests or []
            watch.notes[name] = len(asked)
        with watch.lap("partitions"):
            instance.get_status_by_partition(keys[0], partitions.get_partition_keys(), partitions)
    with watch.lap("status"):
        watch.notes["rows"] = len(status(runtime.ledger, (DAY, DAY)))
    runtime.close()


def _extract_a_day(runtime: Runtime, encounters: int) -> None:
    ledger = open_ledger(runtime.settings.ledger, clock=runtime.clock)
    for hospital in runtime.hospitals:
        for index, area in enumerate(AREAS):
            first = index * encounters
            rows = pl.select(
                database=pl.lit(hospital.code),
                encounter_id=pl.int_range(first, first + encounters // len(AREAS)),
                unit=pl.lit(hospital.code),
                setor=pl.lit("SETOR"),
                reason=pl.lit(None, pl.String),
                rule=pl.lit("rule"),
                result=pl.lit("planned"),
                rules_version=pl.lit("rules"),
            )
            ledger.encounters.record_extract(hospital.code, DAY, area, rows)
    ledger.close()
