"""A moment of the demo and the Dagster runs that happen at it, here or in worker processes.

What is run when is `run`'s. Workers end with the process that started them, however it ends.
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

# Dagster's console log would bury the table; the same events are in the instance, for the UI.
_QUIET: Final[dict[str, Any]] = {"loggers": {"console": {"config": {"log_level": "CRITICAL"}}}}

# Dagster's own storage is SQLite here, one writer at a time: more workers would wait for each other.
_MOST_WORKERS: Final = 4
_LOOK_EVERY_SECONDS: Final = 0.2


@dataclass(frozen=True)
class Moment:
    """The settings, whose clock stands still, and whether the request budget is kept: it is real time's."""

    settings: Settings
    keeps_budget: bool = True


class Stage:
    """A moment with everything open that a run needs."""

    def __init__(self, moment: Moment, instance: dg.DagsterInstance) -> None:
        self.moment, self._instance = moment, instance
        policy = load_policy()
        if not moment.keeps_budget:
            sending = policy.sending.model_copy(update={"requests_per_5_minutes": 1_000_000})
            policy = policy.model_copy(update={"sending": sending})
        self.runtime = Runtime(moment.settings, policy=policy)
        self._definitions = build_defs(moment.settings, self.runtime)
        # As the definitions do where Dagster loads them.
        gc.freeze()

    def run(self, job: str, partition: str | None = None, assets: list[dg.AssetKey] | None = None) -> list[str]:
        """Runs a job to its end, whatever fails; returns what failed."""
        result = self._definitions.resolve_job_def(job).execute_in_process(
            _QUIET, instance=self._instance, partition_key=partition, asset_selection=assets, raise_on_error=False
        )
        failures = [(event.step_key, event.step_failure_data) for event in result.get_step_failure_events()]
        return [
            f"{step}: {data.user_failure_data.description if data.user_failure_data else 'failed'}"
            for step, data in failures
        ]

    def sent(self, day: date) -> int:
        """Invitations of a day that were sent, ever."""
        return sum(row.sent for row in status(self.runtime.ledger, (day, day)))

    def close(self) -> None:
        """Gives back what was opened, but for the instance."""
        self.runtime.close()


class Workers:
    """Processes that run jobs for partitions, several at once."""

    def __init__(self, executor: ProcessPoolExecutor) -> None:
        self._executor = executor

    def run(
        self, moment: Moment, job: str, partitions: Iterable[str], assets: list[dg.AssetKey] | None = None
    ) -> Iterator[tuple[str, list[str]]]:
        """Runs a job for each partition; yields partition and what failed, as they end."""
        futures = {self._executor.submit(_run, moment, job, key, assets): key for key in partitions}
        for future in as_completed(futures):
            yield futures[future], future.result()


@contextmanager
def workers() -> Iterator[Workers]:
    """Worker processes for as long as the block lasts."""
    count = min(_MOST_WORKERS, os.cpu_count() or 1)
    with ProcessPoolExecutor(count, get_context("spawn"), initializer=end_with_the_parent) as executor:
        try:
            yield Workers(executor)
        except BaseException:
            executor.shutdown(wait=False, cancel_futures=True)
            raise


def end_with_the_parent() -> None:
    """Without this, a worker whose parent was killed would wait for work for ever."""
    parent, is_over = parent_process(), threading.Event()

    def watch() -> None:
        while not is_over.wait(_LOOK_EVERY_SECONDS):
            if parent is not None and not parent.is_alive():
                os._exit(1)

    def stop() -> None:
        # A thread that still runs at the very end keeps the interpreter from clearing its modules.
        is_over.set()
        thread.join()

    thread = threading.Thread(target=watch, daemon=True)
    thread.start()
    atexit.register(stop)


_stage: Stage | None = None


def _run(moment: Moment, job: str, partition: str, assets: list[dg.AssetKey] | None) -> list[str]:
    """In a worker: what `Stage.run` does. The stage stays open for the next run of the same moment."""
    global _stage  # noqa: PLW0603 - the state of a worker process
    if _stage is None or _stage.moment != moment:
        if _stage is not None:
            _stage.close()
        _stage = Stage(moment, open_instance(moment.settings.home))
    return _stage.run(job, partition, assets)
