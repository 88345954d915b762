"""Where the page, the health check and the metrics read: the ledger, Dagster's instance and the log.

Each is opened when it is first asked for, and again when that failed: the page has to be there when they are not.
"""

import os
from collections.abc import Callable, Mapping
from datetime import date, datetime, timedelta
from pathlib import Path
from threading import Lock

import dagster as dg

from track_pipeline.adapters.clock import clock_for
from track_pipeline.adapters.ledger import Ledger, open_ledger
from track_pipeline.config.hospitals import load_registry
from track_pipeline.config.settings import Settings
from track_pipeline.domain.encounter import GROUP_TIME_ZONE
from track_pipeline.domain.hospital import Registry
from track_pipeline.hosting.instance import open_instance
from track_pipeline.logs.system_log import system_log


class Sources:
    """What an installation knows of itself. Thread-safe."""

    def __init__(self, settings: Settings, *, clock: Callable[[], datetime] | None = None) -> None:
        self.is_demo = settings.is_demo
        self.registry: Registry = load_registry().only(settings.hospitals)
        self.clock = clock or clock_for(settings)
        self.log: Path = system_log(settings.home)
        self._settings = settings
        self._lock = Lock()
        self._ledger: Ledger | None = None
        self._instance: dg.DagsterInstance | None = None

    @property
    def day(self) -> date:
        """The day whose patients are being asked today: yesterday."""
        return self.clock().astimezone(GROUP_TIME_ZONE).date() - timedelta(days=1)

    @property
    def ledger(self) -> Ledger:
        """Raises LedgerError as long as it cannot be opened."""
        with self._lock:
            if self._ledger is None:
                self._ledger = open_ledger(self._settings.ledger, clock=self.clock)
            return self._ledger

    @property
    def instance(self) -> dg.DagsterInstance:
        """That which `DAGSTER_HOME` names, else the embedded default's. May raise anything of Dagster's."""
        with self._lock:
            if self._instance is None:
                home = self._settings.home
                self._instance = dg.DagsterInstance.get() if os.environ.get("DAGSTER_HOME") else open_instance(home)
            return self._instance

    def daemons(self) -> Mapping[str, bool]:
        """The daemons that the instance needs, and whether each was heard of lately."""
        return {name: bool(status.healthy) for name, status in self.instance.get_daemon_statuses().items()}

    def close(self) -> None:
        """Gives back what was opened."""
        if self._ledger is not None:
            self._ledger.close()
        if self._instance is not None:
            self._instance.dispose()
