"""`/healthz`: whether the installation works, for whoever watches it from outside.

It is the way to notice what no alert of ours can tell: that the daemon which sends the alerts has died.
"""

from datetime import timedelta
from typing import Any, Final

import polars as pl

from track_pipeline.logs.redaction import told_of
from track_pipeline.services.alerting.problems import due_day
from track_pipeline.web.sources import Sources

_LOOK_BACK: Final = timedelta(days=30)


def health(sources: Sources) -> dict[str, Any]:
    """What was found: healthy, ledger, last_extract, daemons.

    Unhealthy is: the ledger or Dagster cannot be read; and in production, where both are expected, a daemon that was
    not heard of lately, or that no hospital's due extract is there although there were extracts before.
    """
    ledger = _ledger(sources)
    daemons = _daemons(sources)
    expected = [*ledger.pop("expected"), *daemons.pop("expected")]
    is_healthy = ledger["reachable"] and daemons["reachable"] and (sources.is_demo or all(expected))
    return {"healthy": is_healthy, "ledger": ledger, "dagster": daemons}


def _ledger(sources: Sources) -> dict[str, Any]:
    try:
        newest = sources.ledger.counts.extracted((sources.day - _LOOK_BACK, sources.day))
    except Exception as error:  # noqa: BLE001 - that it cannot be read is the answer
        return {"reachable": False, "error": told_of(error), "last_extract": None, "expected": []}
    last = newest.select(pl.col("date").max(), pl.col("extracted_at").max()).row(0)
    due = min(due_day(hospital, sources.clock()) for hospital in sources.registry.hospitals)
    found = {"day": last[0].isoformat(), "at": last[1].isoformat()} if last[0] else None
    return {"reachable": True, "last_extract": found, "expected": [last[0] is None or last[0] >= due]}


def _daemons(sources: Sources) -> dict[str, Any]:
    try:
        daemons = sources.daemons()
    except Exception as error:  # noqa: BLE001 - as above
        return {"reachable": False, "error": told_of(error), "daemons": {}, "expected": []}
    return {"reachable": True, "daemons": dict(daemons), "expected": list(daemons.values())}
