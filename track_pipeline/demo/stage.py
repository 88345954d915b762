"""Run Dagster jobs at a moment of the demo, in this process or in worker processes.

`demo/run.py` decides which jobs run when. Workers end when the process that started them ends, even if it is killed.
"""

import atexit
import gc
import os
import threading
from collections.abc import Iterable, Iterator
from concurrent.futures import ProcessPoolExecutor, as_completed
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import date
from multiprocessing import get_context, parent_process
from typing import Any, Final

import dagster as dg

from track_pipeline.config.policy import load_policy
from track_pipeline.config.settings import Settings
from track_pipeline.definitions import build_defs
from track_pipeline.hosting.instance import open_instance
from track_pipeline.runtime import Runtime
from track_pipeline.services.insight.status import status

# Dagster's console log would hide the printed table. The instance has the same events, for the web interface.
_QUIET: Final[dict[str, Any]] = {"loggers": {"console": {"config": {"log_level": "CRITICAL"}}}}

# Dagster's own storage is SQLite here, with one writer at a time: more workers would wait for each other.
_MOST_WORKERS: Final = 4
_LOOK_EVERY_SECONDS: Final = 0.2


@dataclass(frozen=True)
class Moment:
    """Settings whose clock stands still. `keeps_budget`: whether runs keep the request budget (of real time)."""

    settings: Settings
    keeps_budget: bool = True


class Stage:
    """A moment with its runtime and definitions, which run jobs in this process."""

    def __init__(self, moment: Moment, instance: dg.DagsterInstance) -> None:
        self.moment, self._instance = moment, instance
        policy = load_policy()
        if not moment.keeps_budget:
            sending = policy.sending.model_copy(update={"requests_per_5_minutes": 1_000_000})
            policy = policy.model_copy(update={"sending": sending})
        self.runtime = Runtime(moment.settings, policy=policy)
        self._definitions = build_defs(moment.settings, self.runtime)
        # As in `definitions.defs`.
        gc.freeze()

    def run(self, job: str, partition: str | None = None, assets: list[dg.AssetKey] | None = None) -> list[str]:
        """Run a job to its end, even if steps fail; returns the texts of failures."""
        result = self._definitions.resolve_job_def(job).execute_in_process(
            _QUIET, instance=self._instance, partition_key=partition, asset_selection=assets, raise_on_error=False
        )
        failures = [(event.step_key, event.step_failure_data) for event in result.get_step_failure_events()]
        return [
            f"{step}: {data.user_failure_data.description if data.user_failure_data else 'failed'}"
            for step, data in failures
        ]

    def sent(self, day: date) -> int:
        """Return the number of invitations of a cohort date that were ever sent."""
        return sum(row.sent for row in status(self.runtime.ledger, (day, day)))

    def close(self) -> None:
        """Close the runtime. The caller closes the instance."""
        self.runtime.close()


class Workers:
    """Processes that run jobs for partitions, several at once."""

    def __init__(self, executor: ProcessPoolExecutor) -> None:
        self._executor = executor

    def run(
        self, moment: Moment, job: str, partitions: Iterable[str], assets: list[dg.AssetKey] | None = None
    ) -> Iterator[tuple[str, list[str]]]:
        """Run a job for each partition; yields partition and texts of failures as the runs end."""
        futures = {self._executor.submit(_run, moment, job, key, assets): key for key in partitions}
        for future in as_completed(futures):
            yield futures[future], future.result()


@contextmanager
def workers() -> Iterator[Workers]:
    """Yield worker processes that end with the block."""
    count = min(_MOST_WORKERS, os.cpu_count() or 1)
    with ProcessPoolExecutor(count, get_context("spawn"), initializer=end_with_the_parent) as executor:
        try:
            yield Workers(executor)
        except BaseException:
            executor.shutdown(wait=False, cancel_futures=True)
            raise


def end_with_the_parent() -> None:
    """Make a worker process end when its parent ends; else it would wait for work forever after a kill."""
    parent, is_over = parent_process(), threading.Event()

    def watch() -> None:
        while not is_over.wait(_LOOK_EVERY_SECONDS):
            if parent is not None and not parent.is_alive():
                os._exit(1)

    def stop() -> None:
        # The interpreter cannot clear its modules at exit while a thread runs.
        is_over.set()
        thread.join()

    thread = threading.Thread(target=watch, daemon=True)
    thread.start()
    atexit.register(stop)


_stage: Stage | None = None


def _run(moment: Moment, job: str, partition: str, assets: list[dg.AssetKey] | None) -> list[str]:
    """Run a job in a worker, as `Stage.run`. The stage stays open for the next run of the same moment."""
    global _stage  # noqa: PLW0603 - the state of a worker process
    if _stage is None or _stage.moment != moment:
        if _stage is not None:
            _stage.close()
        _stage = Stage(moment, open_instance(moment.settings.home))
    return _stage.run(job, partition, assets)
