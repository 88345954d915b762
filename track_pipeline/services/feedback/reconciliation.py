"""Comparison of the ledger with Track.co, both ways, send by send. Contacts no patient.

A send that Track.co has is recorded as sent. A send that Track.co lacks is reported but never sent again automatically:
an incomplete list is no proof, and a second message to a person is worse.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Final

import polars as pl

from track_pipeline.adapters.ledger import Ledger
from track_pipeline.domain.policy import Policy
from track_pipeline.domain.sends import OPEN_STATES, SendState
from track_pipeline.ports import FeedbackSource, SendFailure
from track_pipeline.services.feedback.statuses import statuses_of

# A younger claim may still be being sent.
IN_FLIGHT: Final = timedelta(minutes=15)

# The largest expected difference between the clock of Track.co and ours.
_OVERLAP: Final = timedelta(hours=1)

_THEIRS: Final = {"send_id": pl.String(), "their_distribution": pl.String()}


@dataclass
class Reconciliation:
    """Counts of sends that a comparison found, by hospital where the ledger knows it.

    confirmed: the outcome was unknown and Track.co has the send; it is `sent` now. absent: the outcome is unknown and
    Track.co lacks the send. missing: `sent` in the ledger, but Track.co lacks it. denied: `rejected` in the ledger, but
    Track.co has it. strangers: Track.co has the send, the ledger does not. lists_distributions: whether Track.co can
    list its distributions; without the list no send is confirmed, absent or a stranger.
    unreadable: distributions whose statuses Track.co did not return.
    """

    compared: int = 0
    confirmed: dict[str, int] = field(default_factory=dict)
    absent: dict[str, int] = field(default_factory=dict)
    missing: dict[str, int] = field(default_factory=dict)
    denied: dict[str, int] = field(default_factory=dict)
    strangers: int = 0
    unreadable: int = 0
    lists_distributions: bool = True

    @property
    def agrees(self) -> bool:
        """Whether the comparison found nothing to check; sends with unknown outcome do not count."""
        return not (self.missing or self.denied or self.strangers or self.unreadable)


@dataclass(frozen=True)
class Reconciler:
    """Comparison of the messages of the last `status_days`, without links: Track.co keeps no status of a link."""

    reader: FeedbackSource
    ledger: Ledger
    policy: Policy
    clock: Callable[[], datetime]

    def reconcile(self) -> Reconciliation:
        """Compare, and record as sent what Track.co confirms. Raises SendFailure when Track.co cannot be read."""
        now = self.clock()
        since = now - timedelta(days=self.policy.feedback.status_days)
        ours = self.ledger.sends.messages(since, now - IN_FLIGHT)
        report = Reconciliation()
        listed = self._listed(since - _OVERLAP, report)
        known = ours.get_column("distribution_id").drop_nulls()
        theirs, silent = self._messages_of(dict.fromkeys([*known, *listed]), report)
        both = ours.join(theirs, on="send_id", how="left").filter(
            ~pl.col("distribution_id").is_in(silent, nulls_equal=True)
        )
        is_open, is_there = (
            pl.col("state").is_in([state.value for state in OPEN_STATES]),
            pl.col("their_distribution").is_not_null(),
        )
        report.compared = both.height
        report.confirmed = self._confirm(both.filter(is_open & is_there))
        # Statuses, and so opt-outs, are read only of distributions that the ledger knows.
        self._record_distributions(
            both.filter((pl.col("state") == SendState.SENT.value) & is_there & pl.col("distribution_id").is_null())
        )
        report.denied = _by_hospital(both.filter((pl.col("state") == SendState.REJECTED.value) & is_there))
        # A send that an answer or an operator resolved has no distribution id.
        can_be_found = pl.lit(report.lists_distributions) | pl.col("distribution_id").is_not_null()
        report.missing = _by_hospital(both.filter((pl.col("state") == SendState.SENT.value) & ~is_there & can_be_found))
        if report.lists_distributions:
            report.absent = _by_hospital(both.filter(is_open & ~is_there))
            report.strangers = len(
                set(theirs.get_column("send_id")) - self.ledger.sends.known(theirs.get_column("send_id"))
            )
        return report

    def _listed(self, since: datetime, report: Reconciliation) -> list[str]:
        pages = self.reader.distributions(since)
        report.lists_distributions = pages is not None
        return [row.distribution_id for page in pages or () for row in page.rows]

    def _messages_of(self, distributions: dict[str, None], report: Reconciliation) -> tuple[pl.DataFrame, list[str]]:
        """Return the messages that Track.co has in these distributions, and the distributions that it cannot read."""
        silent: list[str] = []

        def rows() -> Iterator[tuple[str, str]]:
            for distribution, pages in statuses_of(self.reader, distributions):
                if isinstance(pages, SendFailure):
                    silent.append(distribution)
                    continue
                for page in pages:
                    yield from ((row.send_id, distribution) for row in page.rows)

        theirs = pl.DataFrame(list(rows()), schema=_THEIRS, orient="row").unique("send_id", keep="first")
        report.unreadable = len(silent)
        return theirs, silent

    def _confirm(self, found: pl.DataFrame) -> dict[str, int]:
        for (distribution,), sends in found.group_by("their_distribution"):
            self.ledger.sends.settle(
                sends.get_column("send_id"), SendState.SENT, reason="reconciled", distribution_id=str(distribution)
            )
        return _by_hospital(found)

    def _record_distributions(self, found: pl.DataFrame) -> None:
        for (distribution,), sends in found.group_by("their_distribution"):
            self.ledger.sends.record_distribution(sends.get_column("send_id"), str(distribution))


def _by_hospital(sends: pl.DataFrame) -> dict[str, int]:
    return dict(sends.group_by("hospital").len().sort("hospital").iter_rows())
