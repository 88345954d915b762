"""The demo: real Dagster runs of a day of every hospital, and of the two weeks in which people answer.

It uses synthetic hospitals, a Track.co simulator and a clock that it sets forward. When `TRACK_API_URL` is set, it
runs the day only, because it cannot set the clock of that Track.co.
"""

import os
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from typing import Final

import dagster as dg
import polars as pl

from track_pipeline.adapters.clock import clock_for
from track_pipeline.config.policy import load_policy
from track_pipeline.config.settings import Settings
from track_pipeline.defs.feedback import READ_ANSWERS
from track_pipeline.defs.naming import Names
from track_pipeline.defs.partitions import partition_key
from track_pipeline.defs.reconciliation import RECONCILE
from track_pipeline.defs.reports import REPORT
from track_pipeline.defs.schedules import DAILY
from track_pipeline.demo.respondents import AnswerModel
from track_pipeline.demo.simulator import SimulatorProcess
from track_pipeline.demo.stage import Moment, Stage, Workers, workers
from track_pipeline.domain.calendar import is_working_day
from track_pipeline.domain.encounter import GROUP_TIME_ZONE
from track_pipeline.domain.nps import scores
from track_pipeline.hosting.instance import open_instance
from track_pipeline.services.insight.status import PartitionStatus, status

# The share of invitations that are answered; with two reminders, about four in ten people answer.
_RESPONSE_RATE: Final = 0.1

Progress = Callable[[str], None]


@dataclass(frozen=True)
class DemoResult:
    """The result of a demo.

    rows: the status of the day. failures: texts of failed steps. new_sends: invitations that this call sent.
    scores: NPS per hospital (`domain.nps.SCORES`), empty when only the day was run.
    """

    day: date
    rows: list[PartitionStatus]
    failures: tuple[str, ...]
    new_sends: int
    scores: pl.DataFrame

    @property
    def succeeded(self) -> bool:
        """Whether no partition failed and every funnel closes."""
        return not self.failures and bool(self.rows) and all(row.closes for row in self.rows)


def steps_of(settings: Settings, hospitals: int) -> int:
    """Return the number of hospital-runs of a demo: the day, and each wave of reminders unless TRACK_API_URL is set."""
    return hospitals if settings.api_url else hospitals * (1 + len(load_policy().waves))


def run_demo(settings: Settings, on_run: Progress) -> DemoResult:
    """Run yesterday of every hospital, then its reminders; calls `on_run` with each finished run."""
    start = clock_for(settings)()
    day = start.astimezone(GROUP_TIME_ZONE).date() - timedelta(days=1)
    with (
        _track_co(settings, start) as (reachable, set_clock),
        open_instance(settings.home) as instance,
        closing(Stage(Moment(reachable.model_copy(update={"now": start})), instance)) as stage,
        workers() as pool,
    ):
        runtime = stage.runtime
        runs = _Runs(pool, tuple(partition_key(day, hospital.code) for hospital in runtime.hospitals), on_run)
        before = stage.sent(day)
        failures = list(runs.of(stage.moment, DAILY))
        sent = stage.sent(day)
        if set_clock is not None:
            failures += _fortnight(stage.moment, instance, set_clock, runs, has_sent=sent > before)
        failures += stage.run(REPORT, day.isoformat())
        scored = scores(runtime.ledger.counts.responses((day, day)), ["hospital"], runtime.policy.nps)
        rows = status(runtime.ledger, (day, day))
        return DemoResult(day, rows, tuple(failures), sent - before, scored if set_clock else scored.clear())


@contextmanager
def track_co(settings: Settings) -> Iterator[Settings]:
    """Yield settings with a Track.co: the configured one, else a simulator that runs during the block."""
    with _track_co(settings, clock_for(settings)()) as (reachable, _):
        yield reachable


@contextmanager
def _track_co(settings: Settings, now: datetime) -> Iterator[tuple[Settings, Callable[[datetime], None] | None]]:
    """Yield settings and a function that sets the simulator's clock; None when Track.co is not the simulator."""
    if settings.api_url is not None:
        yield settings, None
        return
    with SimulatorProcess(answers=AnswerModel(settings.demo_seed, response_rate=_RESPONSE_RATE)) as simulator:

        def set_clock(instant: datetime) -> None:
            simulator.control("clock", {"now": instant.isoformat()})

        set_clock(now)
        os.environ["TRACK_API_URL"] = simulator.url
        try:
            yield settings.model_copy(update={"api_url": simulator.url}), set_clock
        finally:
            del os.environ["TRACK_API_URL"]


@dataclass(frozen=True)
class _Runs:
    """Runs of jobs for the day of every hospital."""

    pool: Workers
    partitions: tuple[str, ...]
    on_run: Progress

    def of(self, moment: Moment, job: str, assets: list[dg.AssetKey] | None = None) -> Iterator[str]:
        """Run a job for every partition; yields the texts of failures."""
        for partition, failures in self.pool.run(moment, job, self.partitions, assets):
            self.on_run(f"{partition} {job}")
            yield from failures


def _fortnight(
    moment: Moment,
    instance: dg.DagsterInstance,
    set_clock: Callable[[datetime], None],
    runs: _Runs,
    *,
    has_sent: bool,
) -> Iterator[str]:
    """Read answers and reconcile a day later, then run each wave of reminders after its 7 or 14 days.

    Each step runs on the first working day from its date on. Two weeks pass in a minute, so the request budget is not
    kept. Yields the texts of failures.
    """
    start = clock_for(moment.settings)()
    waves = load_policy().waves
    last = max((wave.days for wave in waves), default=1)
    for days, wave in ((1, None), *((wave.days, wave) for wave in waves), (last + 4, None)):
        instant = start + timedelta(days=days)
        while not is_working_day(instant.astimezone(GROUP_TIME_ZONE).date()):
            instant += timedelta(days=1)
        set_clock(instant)
        later = Moment(moment.settings.model_copy(update={"now": instant}), keeps_budget=False)
        with closing(Stage(later, instance)) as stage:
            yield from stage.run(READ_ANSWERS)
            if days == 1 and has_sent:
                # The simulator of a demo that sent nothing does not know the sends of earlier demos.
                yield from stage.run(RECONCILE)
        if wave is not None:
            yield from runs.of(later, wave.key, Names(moment.settings.hub).keys_of(wave.key))
