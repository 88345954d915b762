"""One run of the daily job from the start of its process: an ordinary day, and one of 100,000 encounters."""

import re
from collections.abc import Callable, Iterator
from itertools import count
from pathlib import Path

from benchmarks import original
from benchmarks.figures import Bench, Curve, Figure, Target
from benchmarks.installation import settings
from benchmarks.measure import Sample, Watch, measure
from benchmarks.people import DAY, HOSPITAL, write_hospital
from benchmarks.server import CountingServer
from track_pipeline.adapters.hospitals.extract import statement, window
from track_pipeline.config.hospitals import load_registry
from track_pipeline.defs.partitions import partition_key
from track_pipeline.defs.schedules import DAILY
from track_pipeline.demo.stage import Moment, Stage
from track_pipeline.domain.areas import AREAS
from track_pipeline.domain.channels import Channel
from track_pipeline.hosting.instance import open_instance
from track_pipeline.runtime import Runtime
from track_pipeline.services.daily.sending import Partition


def results(bench: Bench) -> Iterator[Figure | Curve]:
    """Measure a day of 500 encounters per area, then the large day beside one of a tenth of its size."""
    ordinary, large = bench.size(full=3_000, quick=300), bench.size(full=100_000, quick=3_000)
    with CountingServer() as track:
        yield from _an_ordinary_day(bench, track, ordinary)
        yield from _a_large_day(bench, track, large)


def _an_ordinary_day(bench: Bench, track: CountingServer, size: int) -> Iterator[Figure]:
    database = write_hospital(bench.folder / f"day-{size}", size)
    ours = _fresh(bench, run, database, track)
    bare = _fresh(bench, run_without_dagster, database, track)
    query = re.sub(r":(window_start|window_end)\b", r"$\1", _statement())
    old = bench.measure(original.run, database / f"{HOSPITAL}.duckdb", query, window(DAY), DAY, track.url)
    yield Figure(
        "day.seconds", f"hospital-day of {size:,} encounters, process start included", ours.process, "s",
        old.process, "the original's way: no plan, no ledger, one POST per area", Target("under 6 s", 6), guard=100,
    )  # fmt: skip
    yield Figure(
        "day.overhead", "what Dagster's steps add to it", ours.seconds - bare.seconds, "s",
        bare.seconds, "the same services called one after the other", Target("under 2.5 s", 2.5),
    )  # fmt: skip
    yield Figure("day.peak", f"hospital-day of {size:,} encounters: peak of the process", ours.peak, "MiB", old.peak,
                 "the original's way")  # fmt: skip


def _a_large_day(bench: Bench, track: CountingServer, most: int) -> Iterator[Figure | Curve]:
    curve = Curve("large-day", "One hospital-day, every step of it", "encounters", "seconds")
    memory = Curve("large-day-memory", "One hospital-day", "encounters", "MiB, peak of the process")
    samples: list[Sample] = []
    for size in (most // 10, most):
        database = write_hospital(bench.folder / f"large-{size}", size)
        samples.append(_fresh(bench, run_without_dagster, database, track))
        for step, seconds in samples[-1].laps.items():
            curve.lines.setdefault(step, []).append((size, seconds))
        memory.lines.setdefault("track_pipeline", []).append((size, samples[-1].peak or 0))
    tenth, whole = samples
    yield Figure(
        "large.seconds", f"{most:,} encounters in one hospital-day", whole.seconds, "s",
        tenth.seconds * 10, "ten times a day of a tenth", Target("linear against 10,000", 1.1, of="ratio"), guard=2,
    )  # fmt: skip
    for step, seconds in whole.laps.items():
        yield Figure(f"large.{step}.seconds", f"{most:,} encounters: {step}", seconds, "s", tenth.laps[step] * 10,
                     "ten times a day of a tenth")  # fmt: skip
    yield Figure(
        "large.peak", f"{most:,} encounters in one hospital-day: peak of the process", whole.peak, "MiB",
        tenth.peak, "a day of a tenth", Target("no step above 1.5 GiB", 1536),
    )  # fmt: skip
    yield curve
    yield memory


def _statement() -> str:
    return statement(load_registry().hospital(HOSPITAL))


_numbers = count()


def _fresh(
    bench: Bench, trial: Callable[[Watch, Path, Path, str], None], database: Path, track: CountingServer
) -> Sample:
    """Run a trial with a new installation in each repetition."""
    return bench.repeat(lambda: measure(trial, bench.folder / f"home-{next(_numbers)}", database, track.url))


# --- trials ---------------------------------------------------------------------------------------------------------


def run(watch: Watch, home: Path, databases: Path, url: str) -> None:
    """Measure the daily job of one hospital-day."""
    moment = Moment(settings(home, databases, url, (HOSPITAL,)))
    with open_instance(home) as instance:
        stage = Stage(moment, instance)
        stage.runtime.ledger  # noqa: B018 - makes its tables, once per installation
        with watch.lap():
            failures = stage.run(DAILY, partition_key(DAY, HOSPITAL))
        watch.notes["sent"] = stage.sent(DAY)
        stage.close()
    if failures:
        raise RuntimeError("; ".join(failures))


def run_without_dagster(watch: Watch, home: Path, databases: Path, url: str) -> None:
    """Measure the services that the daily job calls, one after the other."""
    runtime = Runtime(settings(home, databases, url, (HOSPITAL,)))
    of = runtime.registry.hospital(HOSPITAL)
    runtime.ledger, runtime.daily.outbox  # noqa: B018 - as above
    with watch.lap("extract"):
        runtime.daily.extractor.extract(of, DAY)
    with watch.lap("plan"):
        runtime.daily.planner.invite(of, DAY)
    with watch.lap("dispatch"):
        for channel in Channel:
            for area in AREAS:
                runtime.daily.dispatcher.dispatch(Partition(of, DAY, area, channel), "benchmark")
    runtime.close()
