"""A trial in a fresh process, repeated: seconds of its laps, memory of the process, what it noted.

What is measured is a case's business. Nothing heavy is imported here: starting up is one of the things measured.
"""

import os
import platform
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from multiprocessing import get_context
from pathlib import Path
from statistics import median
from typing import Final

_KIB: Final = 1024
_MIB: Final = 1024**2
WORK: Final = "work"


@dataclass
class Watch:
    """What a trial tells: seconds by lap, numbers by name. What happens outside of laps is preparation."""

    laps: dict[str, float] = field(default_factory=dict)
    notes: dict[str, float] = field(default_factory=dict)
    memory_before: float | None = None

    @contextmanager
    def lap(self, name: str = WORK) -> Iterator[None]:
        """Adds the seconds of the block to a lap."""
        if self.memory_before is None:
            self.memory_before = memory("VmRSS")
        start = time.perf_counter()
        try:
            yield
        finally:
            self.laps[name] = self.laps.get(name, 0.0) + time.perf_counter() - start


@dataclass(frozen=True)
class Sample:
    """What a trial came to.

    laps: seconds. notes: as noted. process: seconds from before the process was started until it had ended.
    peak: MiB that the process had resident at most; grown: by how much that is more than before its first lap.
    Both are None where the system does not tell.
    """

    laps: dict[str, float]
    notes: dict[str, float]
    process: float
    peak: float | None
    grown: float | None

    @property
    def seconds(self) -> float:
        """All laps together."""
        return sum(self.laps.values())


def median_of(samples: Sequence[Sample]) -> Sample:
    """The sample whose every number is the median of the samples'."""

    def medians(each: list[dict[str, float]]) -> dict[str, float]:
        return {name: median(one[name] for one in each) for name in each[0]}

    def middle(values: list[float | None]) -> float | None:
        known = [value for value in values if value is not None]
        return median(known) if known else None

    return Sample(
        laps=medians([sample.laps for sample in samples]),
        notes=medians([sample.notes for sample in samples]),
        process=median(sample.process for sample in samples),
        peak=middle([sample.peak for sample in samples]),
        grown=middle([sample.grown for sample in samples]),
    )


def measure(trial: Callable[..., None], *arguments: object) -> Sample:
    """Runs `trial(watch, *arguments)`, a function of a module, in a process of its own."""
    start = time.perf_counter()
    with ProcessPoolExecutor(1, get_context("spawn")) as executor:
        watch, peak = executor.submit(_in_the_process, trial, arguments).result()
    before = watch.memory_before
    grown = None if peak is None or before is None else peak - before
    return Sample(watch.laps, watch.notes, time.perf_counter() - start, peak, grown)


def _in_the_process(trial: Callable[..., None], arguments: tuple[object, ...]) -> tuple[Watch, float | None]:
    watch = Watch()
    trial(watch, *arguments)
    return watch, memory("VmHWM")


def memory(what: str) -> float | None:
    """MiB of this process: resident now (`VmRSS`) or at most until now (`VmHWM`); None where that is not told.

    Linux has both in a file. Its `ru_maxrss` would not do: a new process inherits the one of the process it is from.
    """
    status = Path("/proc/self/status")
    if status.exists():
        lines = status.read_text(encoding="ascii", errors="replace").splitlines()
        return next(float(line.split()[1]) / _KIB for line in lines if line.startswith(f"{what}:"))
    if what == "VmHWM" and sys.platform == "darwin":
        import resource  # noqa: PLC0415 - Windows has no such module

        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / _MIB
    return None


def machine() -> dict[str, str]:
    """What the figures were measured on, in words."""
    libraries = ("polars", "duckdb", "dagster", "sqlalchemy", "pandas")
    return {
        "system": f"{platform.system()} {platform.machine()}",
        "processor": _processor(),
        "cores": str(os.cpu_count()),
        "memory": _total_memory(),
        "python": platform.python_version(),
        "libraries": ", ".join(f"{name} {_version(name)}" for name in libraries),
    }


def _version(library: str) -> str:
    from importlib.metadata import PackageNotFoundError, version  # noqa: PLC0415 - trials need none of it

    try:
        return version(library)
    except PackageNotFoundError:
        return "-"


def _processor() -> str:
    information = Path("/proc/cpuinfo")
    lines = information.read_text(encoding="utf-8").splitlines() if information.exists() else []
    named = (line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    return next(named, platform.processor() or "unknown")


def _total_memory() -> str:
    if not hasattr(os, "sysconf"):
        return "unknown"
    return f"{os.sysconf('SC_PAGE_SIZE') * os.sysconf('SC_PHYS_PAGES') / 1024**3:.0f} GiB"
