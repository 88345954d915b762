"""The results of a benchmark as values: figures beside their baseline and target, curves, and the bench itself."""

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from benchmarks.measure import Sample, measure, median_of


@dataclass(frozen=True)
class Target:
    """What a figure should be at full size: its value, or its ratio to the baseline, at most or at least `limit`."""

    text: str
    limit: float
    of: Literal["value", "ratio"] = "value"
    sense: Literal["at most", "at least"] = "at most"


@dataclass(frozen=True)
class Figure:
    """One measured number. The baseline is measured in the same run, in the same unit.

    guard: the ratio above which a quick run fails; wide, because its sizes are too small to be fair.
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
        """The value by the baseline: below 1 is less than it, above 1 more."""
        return self.value / self.baseline if self.value is not None and self.baseline else None

    def judged_by(self, *, quick: bool) -> Target | None:
        """What the figure is held to by a run; None where that is nothing. A quick run knows ratios only."""
        if not quick:
            return self.target
        return None if self.guard is None else Target(f"ratio at most {self.guard:g}", self.guard, of="ratio")

    def is_met(self, *, quick: bool) -> bool | None:
        """Whether the figure is as it should be; None where that cannot be said."""
        target = self.judged_by(quick=quick)
        found = self.ratio if target is not None and target.of == "ratio" else self.value
        if target is None or found is None:
            return None
        return found <= target.limit if target.sense == "at most" else found >= target.limit


@dataclass(frozen=True)
class Curve:
    """How something grows: points (x, y) by the name of the line."""

    name: str
    title: str
    x: str
    y: str
    lines: dict[str, list[tuple[float, float]]] = field(default_factory=dict)


@dataclass(frozen=True)
class Bench:
    """Where and how thoroughly a case measures; a quick run has small sizes of its own."""

    folder: Path
    quick: bool
    repetitions: int

    def size(self, full: int, quick: int) -> int:
        """The size to measure at."""
        return quick if self.quick else full

    def sizes_up_to(self, most: int) -> list[int]:
        """The sizes that a curve up to `most` is drawn through, ascending."""
        return [most] if self.quick else [most // 100, most // 10, most]

    def measure(self, trial: Callable[..., None], *arguments: object) -> Sample:
        """Measures a trial as often as the bench repeats."""
        return self.repeat(lambda: measure(trial, *arguments))

    def repeat(self, one: Callable[[], Sample]) -> Sample:
        """The median of as many samples as the bench repeats."""
        return median_of([one() for _ in range(self.repetitions)])
