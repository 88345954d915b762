"""One run of the pipeline in its own process, which can be killed or made to fail at any counted step.

A step is a boundary before or after an SQL statement, a commit, a rollback or a request: each point at which the state
of ledger or server can change.
"""

import gc
import logging
import multiprocessing
import os
import signal
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import date, datetime
from functools import partial
from multiprocessing.connection import Connection as Pipe
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any, Final, Literal

from sqlalchemy import Connection, Engine, event

from track_pipeline.adapters.budget import BUDGET_FILE, open_budget
from track_pipeline.adapters.track.api import TrackApi
from track_pipeline.adapters.track.http import Patience
from track_pipeline.adapters.track.requests import Distribution, LinkList
from track_pipeline.adapters.track.sender import TrackRequests
from track_pipeline.config.hospitals import load_registry
from track_pipeline.config.policy import load_policy
from track_pipeline.config.rules import load_rulebook
from track_pipeline.config.settings import load_settings
from track_pipeline.demo.surveys import DEMO_ORGANIZATION
from track_pipeline.domain.areas import Area
from track_pipeline.domain.calendar import is_holiday
from track_pipeline.domain.channels import Channel
from track_pipeline.domain.hospital import Hospital, Registry
from track_pipeline.domain.waves import Wave
from track_pipeline.errors import TrackPipelineError
from track_pipeline.ports import Accepted, Survey
from track_pipeline.runtime import Runtime
from track_pipeline.services.daily.sending import Partition
from track_pipeline_tests.support.drills.full_disk import fill_up

# Several processes run at once, on frames of a few rows: more threads of Polars would only wait for each other.
os.environ.setdefault("POLARS_MAX_THREADS", "1")

# A fork of a process that has imported everything starts in milliseconds. Windows has no fork, so a start takes longer.
if sys.platform == "win32":
    _PROCESSES = multiprocessing.get_context("spawn")
else:
    _PROCESSES = multiprocessing.get_context("forkserver")
    _PROCESSES.set_forkserver_preload([__name__])

# Every fork shares what is read and imported here. The first use of a calendar loads the calendars of all countries.
HOSPITAL: Final = load_registry().hospital("HMS")
_POLICY: Final = load_policy()
_RULES: Final = load_rulebook(Registry.model_validate({"hospital": [HOSPITAL]}))
is_holiday(date(2025, 3, 11))

_PRAGMAS: Final = {
    # SQLite raises a lower limit to the current size, so the database cannot grow by a page.
    "ledger_full": {"sqlite": "PRAGMA max_page_count = 1"},
    "ledger_read_only": {
        "sqlite": "PRAGMA query_only = ON",
        "postgresql": "SET default_transaction_read_only = on",
    },
    "impatient": {"sqlite": "PRAGMA busy_timeout = 30"},
}

Mishap = Literal["kill", "terminate", "ledger_full", "ledger_read_only", "impatient", "disk_full"]


@dataclass(frozen=True)
class Trouble:
    """The fault of the process at a step, counted from 1.

    `impatient`: from this step on the process waits for no other writer. `disk_full`: from this step on no file can
    exceed `room` bytes.
    """

    mishap: Mishap
    step: int
    room: int = 0


@dataclass(frozen=True)
class Order:
    """The task and the settings of one run.

    `requests`: the budget of requests; the run waits `budget_seconds` for it. `token`: the bearer token it sends.
    """

    home: Path
    ledger_url: str
    api_url: str
    token: str
    now: datetime
    run_id: str
    hospital: Hospital
    days: tuple[date, ...]
    areas: tuple[Area, ...]
    channels: tuple[Channel, ...]
    wave: str
    plans: bool
    batch_size: int
    read_seconds: float
    requests: int
    budget_seconds: float
    trouble: Trouble | None


@dataclass
class Report:
    """The report of a finished run: its number of steps, and the errors that ended steps of Dagster.

    `errors` are of the package; `faults` are all other exceptions.
    """

    steps: int = 0
    errors: list[str] = field(default_factory=list)
    faults: list[str] = field(default_factory=list)


@dataclass
class Steps:
    """Count the steps, and trigger the trouble at its step."""

    trouble: Trouble | None
    taken: int = 0
    counting: bool = False

    def watch(self) -> None:
        """Count from now on each statement, commit and rollback on the ledger."""
        event.listen(Engine, "before_cursor_execute", self._before_statement)
        for moment in ("commit", "rollback"):
            event.listen(Engine, moment, self._before_end)
        self.counting = True

    def take(self) -> None:
        """Count one step, and trigger the trouble if this is its step."""
        self.taken += self.counting
        if self.trouble is None or self.taken != self.trouble.step or not self.counting:
            return
        if self.trouble.mishap == "kill":
            # Windows has no SIGKILL; there SIGTERM cannot be caught either.
            os.kill(os.getpid(), getattr(signal, "SIGKILL", signal.SIGTERM))
        elif self.trouble.mishap == "terminate":
            os.kill(os.getpid(), signal.SIGTERM)
        elif self.trouble.mishap == "disk_full":
            fill_up(self.trouble.room)

    def _before_end(self, connection: Connection) -> None:
        if not _is_of_budget(connection):
            self.take()

    def _before_statement(self, connection: Connection, *_: object) -> None:
        if _is_of_budget(connection):
            return
        self.take()
        if self.trouble is None or self.taken < self.trouble.step:
            return
        pragma = _PRAGMAS.get(self.trouble.mishap, {}).get(connection.dialect.name)
        driver: Any = connection.connection.driver_connection
        if pragma is not None and driver is not None:
            driver.execute(pragma)


def _is_of_budget(connection: Connection) -> bool:
    return str(connection.engine.url.database).endswith(BUDGET_FILE)


@dataclass(frozen=True)
class CountedSender:
    """A sender whose requests are steps."""

    sender: TrackRequests
    step: Callable[[], None]

    def await_turn(self) -> None:
        self.sender.await_turn()

    def create_distribution(self, distribution: Distribution) -> Accepted:
        self.step()
        receipt = self.sender.create_distribution(distribution)
        self.step()
        return receipt

    def create_link_list(self, link_list: LinkList) -> Accepted:
        self.step()
        receipt = self.sender.create_link_list(link_list)
        self.step()
        return receipt

    def surveys(self) -> list[Survey]:
        return self.sender.surveys()


def start(order: Order) -> tuple[BaseProcess, Pipe]:
    """Start a run in its own process. The pipe delivers "ready" and then the report."""
    pipe, end = _PROCESSES.Pipe(duplex=False)
    process = _PROCESSES.Process(target=_run, args=(order, end), daemon=True)
    process.start()
    end.close()
    return process, pipe


def _run(order: Order, pipe: Pipe) -> None:
    """Plan and dispatch as the daily run does, each partition regardless of errors in the others; then report."""
    logging.disable()
    # The process lives for half a second, so collecting garbage is wasted time.
    gc.disable()
    signal.signal(signal.SIGTERM, _interrupted)
    steps, report = Steps(order.trouble), Report()
    runtime = _runtime(order, steps)
    pipe.send("ready")
    steps.watch()
    with suppress(KeyboardInterrupt):
        for step in _steps_of_dagster(order, runtime):
            _run_step(step, report)
    steps.counting = False
    runtime.close()
    report.steps = steps.taken
    pipe.send(report)


def _run_step(step: Callable[[], object], report: Report) -> None:
    try:
        step()
    except TrackPipelineError as error:
        report.errors.append(f"{type(error).__name__}: {error}")
    except Exception as error:  # noqa: BLE001 - the drill judges the exception
        report.faults.append(f"{type(error).__name__}: {error}")


def _interrupted(_: int, __: object) -> None:
    # Dagster does the same: no `except Exception` catches a KeyboardInterrupt.
    raise KeyboardInterrupt


def _runtime(order: Order, steps: Steps) -> Runtime:
    environment = {
        "TRACK_HOME": str(order.home),
        "TRACK_LEDGER_URL": order.ledger_url,
        "TRACK_NOW": order.now.isoformat(),
    }
    settings = load_settings(environment, None)
    limits = {"batch_size": order.batch_size, "requests_per_5_minutes": order.requests}
    track = TrackApi(
        order.api_url,
        DEMO_ORGANIZATION,
        order.token,
        budget=open_budget(settings.home, settings.ledger, order.requests),
        patience=Patience(
            connect=2,
            read=order.read_seconds,
            turn=order.budget_seconds,
            budget=order.budget_seconds,
            attempts=2,
            sleep=lambda seconds: time.sleep(min(seconds, 0.005)),
        ),
        require_loopback=True,
    )
    return Runtime(
        settings,
        registry=Registry.model_validate({"hospital": [order.hospital]}),
        policy=_POLICY.model_copy(update={"sending": _POLICY.sending.model_copy(update=limits)}),
        rules=_RULES,
        requests=CountedSender(track, steps.take),
    )


def _steps_of_dagster(order: Order, runtime: Runtime) -> list[Callable[[], object]]:
    hospital, places = order.hospital, [(day, area) for day in order.days for area in order.areas]

    # Each step opens what it needs, so that a ledger that cannot be opened is an error of each step.
    def remind(wave: Wave, day: date, area: Area) -> None:
        runtime.daily.reminder.remind(hospital, day, area, wave, order.run_id)

    def plan(day: date) -> None:
        runtime.daily.planner.invite(hospital, day, order.areas)

    def dispatch(partition: Partition) -> None:
        runtime.daily.dispatcher.dispatch(partition, order.run_id)

    wave = Wave.parse(order.wave)
    if wave.is_reminder:
        return [partial(remind, wave, *place) for place in places]
    plans = [partial(plan, day) for day in order.days if order.plans]
    partitions = [Partition(hospital, *place, channel) for place in places for channel in order.channels]
    return [*plans, *(partial(dispatch, partition) for partition in partitions)]
