"""How long patient data is kept. Counts and decisions stay, nobody's name does.

The lake keeps contacts for as long as a reminder may need them; the ledger's hashes outlive them, so that nobody is
asked twice.
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
    """Deletes what need not be kept any longer."""

    lake: Lake
    ledger: Ledger
    policy: Policy
    clock: Callable[[], datetime]

    def purge(self) -> dict[str, int]:
        """Deletes lake days, comments and sightings older than `retention_days`; returns what went, by kind.

        What killed processes left of files they wrote goes too.
        """
        self.lake.drop_unfinished()
        before = self.clock().date() - timedelta(days=self.policy.retention_days)
        days = [path for path in self.lake.root.glob("*/*/*") if path.is_dir() and (day_of(path) or date.max) < before]
        for path in days:
            shutil.rmtree(path)
        return {"lake_days": len(days), **self.ledger.erasure.purge(before)}
