"""Run a trial in a new process and return the seconds of its laps, the memory of the process and its notes.

The cases define the trials. This module imports nothing large, because the start of a process is measured too.
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
    """The measurements of a trial: seconds by lap, and notes (numbers by name). Code outside laps is preparation."""

    laps: dict[str, float] = field(default_factory=dict)
    notes: dict[str, float] = field(default_factory=dict)
    memory_before: float | None = None

    @contextmanager
    def lap(self, name: str = WORK) -> Iterator[None]:
        """Add the seconds of the block to a lap."""
        if self.memory_before is None:
            self.memory_before = memory("VmRSS")
        start = time.perf_counter()
        try:
            yield
        finally:
            self.laps[name] = self.laps.get(name, 0.0) + time.perf_counter() - start


@dataclass(frozen=True)
class Sample:
    """The result of a trial.

    laps: seconds by lap. notes: numbers by name. process: seconds from the start of the process to its end.
    peak: the highest resident memory of the process, in MiB. grown: MiB by which the peak is above the memory before
    the first lap. Both are None when the system does not report them.
    """

    laps: dict[str, float]
    notes: dict[str, float]
    process: float
    peak: float | None
    grown: float | None

    @property
    def seconds(self) -> float:
        """The sum of all laps."""
        return sum(self.laps.values())


def median_of(samples: Sequence[Sample]) -> Sample:
    """Return a sample in which each number is the median of that number in the samples."""

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
    """Run `trial(watch, *arguments)` in a new process; the trial is a function at the top of a module."""
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
    """Return MiB of this process: resident now (`VmRSS`) or its peak (`VmHWM`); None when the system has no figure.

    Linux has both in a file. Its `ru_maxrss` is wrong here: a new process inherits the value of its parent.
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
    """Return a description of this machine: system, processor, cores, memory, Python and libraries."""
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
    from importlib.metadata import PackageNotFoundError, version  # noqa: PLC0415 - trials do not need it

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
