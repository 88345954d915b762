"""Many runs: the daily job of all hospitals, and the backfill of a month."""

import re
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from statistics import median
from typing import Final

from benchmarks import original
from benchmarks.figures import Bench, Curve, Figure, Target
from benchmarks.installation import settings
from benchmarks.measure import Watch, measure
from benchmarks.people import DAY, HOSPITAL, NOW, hospital, write_all_hospitals, write_hospital
from benchmarks.server import CountingServer
from track_pipeline.adapters.hospitals.extract import statement, window
from track_pipeline.config.hospitals import load_registry
from track_pipeline.defs.partitions import partition_key
from track_pipeline.defs.schedules import DAILY
from track_pipeline.demo.stage import Moment, workers
from track_pipeline.domain.calendar import is_working_day
from track_pipeline.hosting.instance import open_instance

_HOSPITALS: Final = 12
_PER_RUN: Final = 100


def results(bench: Bench) -> Iterator[Figure | Curve]:
    """Measure both in worker processes, as the demo starts them."""
    with CountingServer() as track:
        yield _daily_job(bench, track)
        yield from _backfill(bench, track)


def _daily_job(bench: Bench, track: CountingServer) -> Figure:
    # On average 500 per area.
    each = bench.size(full=3_000, quick=60)
    databases = write_all_hospitals(bench.folder / "hospitals", each)
    homes = (bench.folder / f"daily-{number}" for number in range(bench.repetitions))
    ours = bench.repeat(lambda: measure(daily_job, next(homes), databases, track.url))
    one = write_hospital(bench.folder / "daily-original", each) / f"{HOSPITAL}.duckdb"
    query = re.sub(r":(window_start|window_end)\b", r"$\1", statement(hospital()))
    old = bench.measure(original.run, one, query, window(DAY), DAY, track.url)
    return Figure(
        "daily.seconds", f"daily job: 12 hospitals x 6 areas, {each:,} encounters per hospital", ours.seconds,
        "s", old.seconds * _HOSPITALS, "the original's way for one hospital, times twelve",
        Target("under 60 s on 2 cores", 60),
    )  # fmt: skip


def _backfill(bench: Bench, track: CountingServer) -> Iterator[Figure | Curve]:
    days = bench.size(full=30, quick=1)
    sample = measure(backfill, bench.folder / "backfill", track.url, days, _PER_RUN)
    runs = days * _HOSPITALS
    points = sorted((int(name), seconds) for name, seconds in sample.notes.items())
    yield Figure(
        "backfill.last", f"backfill of {runs} runs: one of the last {runs // 10}", sample.laps["last"], "s",
        sample.laps["first"], "one of the first", Target("at most 1.1x the first", 1.1, of="ratio"), guard=5,
    )  # fmt: skip
    yield Curve("backfill", f"Runs of a backfill, {_PER_RUN} encounters each", "run", "seconds",
                {"one run": [(float(number), seconds) for number, seconds in points]})  # fmt: skip


# --- trials ---------------------------------------------------------------------------------------------------------


def daily_job(watch: Watch, home: Path, databases: Path, url: str) -> None:
    """Measure one day of all hospitals, from the start of the workers."""
    codes = load_registry().codes
    moment = Moment(settings(home, databases, url, codes))
    open_instance(home).dispose()
    failures: list[str] = []
    with watch.lap(), workers() as pool:
        for _, failed in pool.run(moment, DAILY, [partition_key(DAY, code) for code in codes]):
            failures += failed
    if failures:
        raise RuntimeError("; ".join(failures))


def backfill(watch: Watch, home: Path, url: str, days: int, encounters: int) -> None:
    """Measure `days` past days of all hospitals, oldest first; laps are medians of single runs, by Dagster's records.

    Each day is run on the next day. Only days before a working day are used, so that all runs have the same work. The
    databases are the demo's synthetic ones, because each day needs different patients.
    """
    codes = load_registry().codes
    chosen = settings(home, home, url, codes).model_copy(update={"demo_db": None, "demo_volume": encounters})
    ages = [age for age in range(days * 2) if is_working_day((NOW - timedelta(days=age)).date())][:days]
    failures: list[str] = []
    with open_instance(home) as instance:
        with workers() as pool:
            for age in reversed(ages):
                now, day = NOW - timedelta(days=age), DAY - timedelta(days=age)
                moment = Moment(chosen.model_copy(update={"now": now}), keeps_budget=False)
                for _, failed in pool.run(moment, DAILY, [partition_key(day, code) for code in codes]):
                    failures += failed
        records = sorted(instance.get_run_records(), key=lambda record: record.start_time or 0)
    seconds = [record.end_time - record.start_time for record in records if record.end_time and record.start_time]
    if failures:
        raise RuntimeError("; ".join(failures))
    tenth = -(-len(seconds) // 10)
    watch.laps |= {"first": median(seconds[:tenth]), "last": median(seconds[-tenth:])}
    watch.notes |= {str(number): value for number, value in enumerate(seconds, start=1)}
