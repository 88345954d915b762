"""The ledger and Track.co compared, both ways, send by send. Contacts nobody.

What Track.co has was sent, whatever was seen of it. What it has not is told, never sent again by itself: a list that
lacks a message proves less than a person who is asked twice.
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

# A younger claim may still be on its way.
IN_FLIGHT: Final = timedelta(minutes=15)

# The clock of Track.co may differ from ours by so much.
_OVERLAP: Final = timedelta(hours=1)

_THEIRS: Final = {"send_id": pl.String(), "their_distribution": pl.String()}


@dataclass
class Reconciliation:
    """What a comparison found, in numbers of sends; by hospital where the ledger knows it.

    confirmed: nobody had seen their outcome, and Track.co has them: they are `sent` now. absent: the same, and
    Track.co lacks them. missing: `sent` in the ledger, and Track.co lacks them. denied: `rejected` in the ledger, and
    Track.co has them. strangers: Track.co has them, the ledger does not. `lists_distributions`: whether Track.co can
    be asked what it has; without it nothing is confirmed, absent or a stranger. `unreadable`: distributions of which
    it would not tell.
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
        """Whether nothing was found that somebody has to look at, beside what nobody saw the outcome of."""
        return not (self.missing or self.denied or self.strangers or self.unreadable)


@dataclass(frozen=True)
class Reconciler:
    """Compares the messages of the last days. Links are left out: Track.co keeps no status of them."""

    reader: FeedbackSource
    ledger: Ledger
    policy: Policy
    clock: Callable[[], datetime]

    def reconcile(self) -> Reconciliation:
        """Compares, and settles what Track.co confirms. Raises SendFailure when Track.co cannot be read."""
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
        # Only of distributions that the ledger knows are statuses, and so refusals, read.
        self._place(
            both.filter((pl.col("state") == SendState.SENT.value) & is_there & pl.col("distribution_id").is_null())
        )
        report.denied = _by_hospital(both.filter((pl.col("state") == SendState.REJECTED.value) & is_there))
        # A send that was settled by an answer or by hand is in a distribution whose id nobody has noted.
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
        """The messages that Track.co has in these distributions, and the distributions of which it does not tell."""
        silent: list[str] = []

        def rows() -> Iterator[tuple[str, str]]:
            for distribution, told in statuses_of(self.reader, distributions):
                if isinstance(told, SendFailure):
                    silent.append(distribution)
                    continue
                for page in told:
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

    def _place(self, found: pl.DataFrame) -> None:
        for (distribution,), sends in found.group_by("their_distribution"):
            self.ledger.sends.record_distribution(sends.get_column("send_id"), str(distribution))


def _by_hospital(sends: pl.DataFrame) -> dict[str, int]:
    return dict(sends.group_by("hospital").len().sort("hospital").iter_rows())
