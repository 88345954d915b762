"""The results of a benchmark (figures with baseline and target, curves) and the settings of a run (`Bench`)."""

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from benchmarks.measure import Sample, measure, median_of


@dataclass(frozen=True)
class Target:
    """The target of a figure at full size: its value, or its ratio to the baseline, is at most or at least `limit`."""

    text: str
    limit: float
    of: Literal["value", "ratio"] = "value"
    sense: Literal["at most", "at least"] = "at most"


@dataclass(frozen=True)
class Figure:
    """One measured number. The baseline is measured in the same run, in the same unit.

    guard: the ratio above which a quick run fails; wide, because ratios of small sizes vary.
    """

    name: str
    what: str
    value: float | None
    unit: str
    baseline: float | None = None
    baseline_what: str = ""
    target: Target | None = None
    guard: float | None = None

    @property
    def ratio(self) -> float | None:
        """The value divided by the baseline; None when one of them is missing or the baseline is 0."""
        return self.value / self.baseline if self.value is not None and self.baseline else None

    def judged_by(self, *, quick: bool) -> Target | None:
        """Return the target of the figure in a run, or None. A quick run uses the guard, a limit of the ratio."""
        if not quick:
            return self.target
        return None if self.guard is None else Target(f"ratio at most {self.guard:g}", self.guard, of="ratio")

    def is_met(self, *, quick: bool) -> bool | None:
        """Whether the figure meets its target; None without a target or without the number."""
        target = self.judged_by(quick=quick)
        found = self.ratio if target is not None and target.of == "ratio" else self.value
        if target is None or found is None:
            return None
        return found <= target.limit if target.sense == "at most" else found >= target.limit


@dataclass(frozen=True)
class Curve:
    """A chart of growth. `lines`: name of a line to its points (x, y)."""

    name: str
    title: str
    x: str
    y: str
    lines: dict[str, list[tuple[float, float]]] = field(default_factory=dict)


@dataclass(frozen=True)
class Bench:
    """The settings of a run: folder for its files, whether it is quick (small sizes), repetitions per trial."""

    folder: Path
    quick: bool
    repetitions: int

    def size(self, full: int, quick: int) -> int:
        """Return the size to measure: `full`, or `quick` in a quick run."""
        return quick if self.quick else full

    def sizes_up_to(self, most: int) -> list[int]:
        """Return the sizes of a curve's points up to `most`, ascending; a quick run has one."""
        return [most] if self.quick else [most // 100, most // 10, most]

    def measure(self, trial: Callable[..., None], *arguments: object) -> Sample:
        """Run a trial `repetitions` times and return the median."""
        return self.repeat(lambda: measure(trial, *arguments))

    def repeat(self, one: Callable[[], Sample]) -> Sample:
        """Call `one` `repetitions` times and return the median of its samples."""
        return median_of([one() for _ in range(self.repetitions)])
