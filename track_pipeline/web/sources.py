"""The sources of the page, the health check and the metrics: the ledger, Dagster's instance and the log.

Each is opened on first use; after a failure the next request tries again, so the page works without them.
"""

import os
from collections.abc import Callable, Mapping
from datetime import date, datetime, timedelta
from pathlib import Path
from threading import Lock

import dagster as dg

from track_pipeline.adapters.ledger import Ledger
from track_pipeline.domain.encounter import GROUP_TIME_ZONE
from track_pipeline.domain.hospital import Registry
from track_pipeline.hosting.instance import open_instance
from track_pipeline.logs.system_log import system_log
from track_pipeline.runtime import LedgerRuntime


class Sources:
    """Ledger, Dagster instance and log of an installation. Thread-safe; owns the runtime and closes it."""

    def __init__(self, runtime: LedgerRuntime) -> None:
        self.is_demo = runtime.settings.is_demo
        self.registry: Registry = runtime.registry
        self.clock: Callable[[], datetime] = runtime.clock
        self.log: Path = system_log(runtime.settings.home)
        self._runtime = runtime
        self._lock = Lock()
        self._instance: dg.DagsterInstance | None = None

    @property
    def day(self) -> date:
        """The cohort date of today's invitations: yesterday."""
        return self.clock().astimezone(GROUP_TIME_ZONE).date() - timedelta(days=1)

    @property
    def ledger(self) -> Ledger:
        """The ledger. Raises LedgerError when it cannot be opened."""
        with self._lock:
            return self._runtime.ledger

    @property
    def instance(self) -> dg.DagsterInstance:
        """The instance that `DAGSTER_HOME` names, else the embedded default. May raise any error of Dagster."""
        with self._lock:
            if self._instance is None:
                home = self._runtime.settings.home
                self._instance = dg.DagsterInstance.get() if os.environ.get("DAGSTER_HOME") else open_instance(home)
            return self._instance

    def daemons(self) -> Mapping[str, bool]:
        """Return the daemons that the instance needs, each with whether it reported recently."""
        return {name: bool(status.healthy) for name, status in self.instance.get_daemon_statuses().items()}

    def close(self) -> None:
        """Close the runtime and the instance."""
        self._runtime.close()
        if self._instance is not None:
            self._instance.dispose()
