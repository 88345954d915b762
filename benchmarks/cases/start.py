"""The cost of a start: the code location, and `track status`."""

import os
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from statistics import median

from benchmarks.figures import Bench, Figure, Target
from benchmarks.people import NOW


def results(bench: Bench) -> Iterator[Figure]:
    """Measure each beside the imports of the libraries that it needs."""
    yield Figure(
        "start.location", "importing the code location, the interpreter included",
        _seconds(bench, "-c", "from track_pipeline.definitions import defs; defs()"), "s",
        _seconds(bench, "-c", "import dagster, polars"), "importing Dagster and polars",
        Target("under 2 s", 2), guard=4,
    )  # fmt: skip
    _seconds(bench, "-m", "track_pipeline", "status")  # makes the ledger, once per installation
    yield Figure(
        "start.status", "track status, the interpreter included",
        _seconds(bench, "-m", "track_pipeline", "status"), "s",
        _seconds(bench, "-c", "import polars, sqlalchemy, pydantic, typer, rich"), "importing polars, SQLAlchemy, "
        "pydantic, typer, rich", Target("under 1 s", 1), guard=6,
    )  # fmt: skip


def _seconds(bench: Bench, *arguments: str) -> float:
    return median(_once(bench.folder, arguments) for _ in range(bench.repetitions))


def _once(folder: Path, arguments: tuple[str, ...]) -> float:
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("TRACK_", "DAGSTER_", "DB_"))}
    own = {"TRACK_HOME": str(folder / "start"), "TRACK_NOW": NOW.isoformat()}
    start = time.perf_counter()
    subprocess.run([sys.executable, *arguments], env=kept | own, cwd=Path.cwd(), check=True, stdout=subprocess.DEVNULL)
    return time.perf_counter() - start
