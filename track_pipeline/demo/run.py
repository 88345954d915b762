"""The demo: yesterday of every hospital through real Dagster runs, against synthetic hospitals and a simulator."""

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import date, timedelta
from typing import Any

import dagster as dg

from track_pipeline.adapters.clock import GROUP_TIME_ZONE, clock_for
from track_pipeline.definitions import build_defs
from track_pipeline.defs.partitions import partition_key
from track_pipeline.defs.schedules import DAILY
from track_pipeline.demo.simulator import SimulatorProcess
from track_pipeline.instance import open_instance
from track_pipeline.runtime import Runtime
from track_pipeline.services.status import JsonObject, closes, status
from track_pipeline.settings import Settings

# Dagster's console log would bury the table; the same events are in the instance, for the UI.
_QUIET: dict[str, Any] = {"loggers": {"console": {"config": {"log_level": "CRITICAL"}}}}


@dataclass(frozen=True)
class DemoResult:
    """What a demo came to. `rows` is the status of the day; `new_sends` counts what this very call sent."""

    day: date
    rows: list[JsonObject]
    failures: tuple[str, ...]
    new_sends: int

    @property
    def succeeded(self) -> bool:
        """No partition failed and every funnel closes."""
        return not self.failures and bool(self.rows) and all(closes(row) for row in self.rows)


def run_demo(settings: Settings, on_hospital: Callable[[str], None]) -> DemoResult:
    """Runs the daily job for yesterday of every hospital; `on_hospital` is told each hospital when it is done."""
    day = clock_for(settings)().astimezone(GROUP_TIME_ZONE).date() - timedelta(days=1)
    with track_co(settings) as reachable, open_instance(settings.home) as instance:
        runtime = Runtime(reachable)
        try:
            before = _sent(runtime, day)
            failures = tuple(_run(runtime, instance, day, on_hospital))
            return DemoResult(day, status(runtime.ledger, (day, day)), failures, _sent(runtime, day) - before)
        finally:
            runtime.close()


@contextmanager
def track_co(settings: Settings) -> Iterator[Settings]:
    """Settings with a Track.co to talk to: the configured one, else a simulator that lives as long as this."""
    if settings.api_url is not None:
        yield settings
        return
    with SimulatorProcess() as simulator:
        os.environ["TRACK_API_URL"] = simulator.url
        try:
            yield settings.model_copy(update={"api_url": simulator.url})
        finally:
            del os.environ["TRACK_API_URL"]


def _run(
    runtime: Runtime, instance: dg.DagsterInstance, day: date, on_hospital: Callable[[str], None]
) -> Iterator[str]:
    job = build_defs(runtime.settings, runtime).resolve_job_def(DAILY)
    for hospital in runtime.hospitals:
        key = partition_key(day, hospital.code)
        result = job.execute_in_process(_QUIET, instance=instance, partition_key=key, raise_on_error=False)
        on_hospital(hospital.code)
        for event in result.get_step_failure_events():
            failure = event.step_failure_data.user_failure_data
            yield f"{event.step_key}: {failure.description if failure else 'failed'}"


def _sent(runtime: Runtime, day: date) -> int:
    return sum(row["sent"] for row in status(runtime.ledger, (day, day)))
