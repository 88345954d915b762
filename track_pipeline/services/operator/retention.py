"""Deletion of old patient data. Counts and decisions stay, names do not.

The lake keeps contacts as long as a reminder may need them. The ledger keeps its hashes longer, so that no person is
invited twice.
"""

import shutil
from collections.abc import Callable
from dataclasses import dataclass
from datetime import date, datetime, timedelta

from track_pipeline.adapters.lake import Lake, day_of
from track_pipeline.adapters.ledger import Ledger
from track_pipeline.domain.policy import Policy


@dataclass(frozen=True)
class Retention:
    """Deletion of data older than the policy's `retention_days`."""

    lake: Lake
    ledger: Ledger
    policy: Policy
    clock: Callable[[], datetime]

    def purge(self) -> dict[str, int]:
        """Delete lake days, comments and sightings older than `retention_days`; return the deleted counts by kind.

        Unfinished files of killed processes are deleted too.
        """
        self.lake.drop_unfinished()
        before = self.clock().date() - timedelta(days=self.policy.retention_days)
        days = [path for path in self.lake.root.glob("*/*/*") if path.is_dir() and (day_of(path) or date.max) < before]
        for path in days:
            shutil.rmtree(path)
        return {"lake_days": len(days), **self.ledger.erasure.purge(before)}
