"""`/healthz`: whether the installation works, for an external monitor.

Only an external monitor can report that Dagster's daemon, which sends the alerts, has stopped.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import date, datetime, timedelta
from typing import Final

import polars as pl

from track_pipeline.logs.redaction import told_of
from track_pipeline.services.alerting.problems import due_day
from track_pipeline.services.insight.serialise import Json, to_json
from track_pipeline.web.sources import Sources

_LOOK_BACK: Final = timedelta(days=30)


@dataclass(frozen=True)
class LastExtract:
    """The newest extracted day, and when an extract was last made."""

    day: date
    at: datetime


@dataclass(frozen=True)
class LedgerHealth:
    """The state of the ledger.

    error: why it cannot be read. is_current: the ledger has the due extracts, or has no extract of the last 30 days.
    """

    last_extract: LastExtract | None = None
    is_current: bool = True
    error: str | None = None


@dataclass(frozen=True)
class DaemonHealth:
    """Name of a Dagster daemon to whether it reported recently. `error`: why Dagster cannot be read."""

    daemons: Mapping[str, bool] = field(default_factory=dict)
    error: str | None = None


@dataclass(frozen=True)
class Health:
    """The result of the health check."""

    healthy: bool
    ledger: LedgerHealth
    dagster: DaemonHealth

    def as_json(self) -> Json:
        """Return the body of the response. Monitors depend on its keys."""
        return {
            "healthy": self.healthy,
            "ledger": {**_reachable(self.ledger.error), "last_extract": to_json(self.ledger.last_extract)},
            "dagster": {**_reachable(self.dagster.error), "daemons": to_json(self.dagster.daemons)},
        }


def health(sources: Sources) -> Health:
    """Check the ledger and Dagster.

    The installation is unhealthy when the ledger or Dagster cannot be read. In production it is also unhealthy when a
    daemon has not reported recently, or when the ledger has extracts of the last 30 days but no due extract.
    """
    ledger, dagster = _ledger(sources), _daemons(sources)
    is_reachable = ledger.error is None and dagster.error is None
    is_at_work = ledger.is_current and all(dagster.daemons.values())
    return Health(is_reachable and (sources.is_demo or is_at_work), ledger, dagster)


def _reachable(error: str | None) -> dict[str, Json]:
    return {"reachable": True} if error is None else {"reachable": False, "error": error}


def _ledger(sources: Sources) -> LedgerHealth:
    try:
        newest = sources.ledger.counts.extracted((sources.day - _LOOK_BACK, sources.day))
    except Exception as error:  # noqa: BLE001 - the response reports the error
        return LedgerHealth(error=told_of(error))
    day, at = newest.select(pl.col("date").max(), pl.col("extracted_at").max()).row(0)
    due = min(due_day(hospital, sources.clock()) for hospital in sources.registry.hospitals)
    return LedgerHealth(LastExtract(day, at) if day else None, is_current=day is None or day >= due)


def _daemons(sources: Sources) -> DaemonHealth:
    try:
        return DaemonHealth(dict(sources.daemons()))
    except Exception as error:  # noqa: BLE001 - as above
        return DaemonHealth(error=told_of(error))
