"""Reading of answers, delivery statuses and opt-outs from Track.co into the ledger. Contacts no patient.

Readings overlap, so that no row is missed; a row that is read twice counts once. Comments can have personal data: they
are stored in their own table and not counted.
"""

from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Final, Literal, TypeVar

import polars as pl

from track_pipeline.adapters.ledger import ANSWERS, DELIVERIES, Ledger, Source
from track_pipeline.domain.channels import OPT_OUT_OF_SEND
from track_pipeline.domain.identity import KEY_COLUMNS, Hasher
from track_pipeline.domain.nps import band
from track_pipeline.domain.policy import Policy
from track_pipeline.domain.sends import SendState
from track_pipeline.errors import TrackPipelineError
from track_pipeline.ports import Alert, Alerts, Answer, DeliveryStatus, FeedbackSource, OptOut, Page, SendFailure
from track_pipeline.services.feedback.statuses import statuses_of
from track_pipeline.services.operator.people import NoSuchContact, person_keys

# Rows that change at Track.co while pages are read can be missed, so the next reading starts this much earlier.
_OVERLAP: Final = timedelta(days=1)

# The largest expected difference between the clocks of machines that share a ledger.
CLOCKS_DIFFER: Final = timedelta(minutes=5)

# If this many rows or more were read and all are unreadable, the mapping is wrong.
_LEAST_UNREAD: Final = 5

_STATUS_INTERVAL: Final = timedelta(minutes=50)

# Statuses that mean an opt-out of the channel, by the person or by the provider.
_REFUSALS: Final = {"unsubscribed": "Track.co status", "refused": "provider refusal"}

_Row = TypeVar("_Row", Answer, DeliveryStatus, OptOut)


class Unreadable(TrackPipelineError):  # noqa: N818 - read as "the answers are unreadable"
    """The mapping does not fit the rows that Track.co returns."""


@dataclass
class FeedbackReport:
    """Counts of one reading. `skipped`: rows that could not be read, by reason.

    `detractors`: new answers of 0 to 6, by hospital.
    """

    new_answers: int = 0
    partial_answers: int = 0
    new_statuses: int = 0
    new_opt_outs: int = 0
    strangers: int = 0
    skipped: Counter[str] = field(default_factory=Counter)
    detractors: Counter[str] = field(default_factory=Counter)


@dataclass(frozen=True)
class FeedbackReader:
    """Updates of the ledger from Track.co."""

    reader: FeedbackSource
    ledger: Ledger
    hasher: Hasher
    policy: Policy
    clock: Callable[[], datetime]
    alerts: Alerts

    def refresh(self) -> FeedbackReport:
        """Read all new rows; rows that were read before a failure stay recorded.

        Raises SendFailure when Track.co cannot be reached, Unreadable when no row fits the mapping.
        """
        report = FeedbackReport()
        try:
            self._read_opt_outs(report)
            self._read_answers(report)
            self._read_statuses(report)
        finally:
            # Also after a failure: the next reading does not count these answers as new.
            self._alert_detractors(report)
        return report

    def _alert_detractors(self, report: FeedbackReport) -> None:
        for hospital, count in sorted(report.detractors.items()):
            text = f"{count} new answers of detractors (0 to 6). The hospital may want to call them."
            self.alerts.send(Alert(hospital, text, "/assets/daily_report"))

    def _read_answers(self, report: FeedbackReport) -> None:
        started, since = self.clock(), self._since("answers")
        counted: set[str] = set()
        reading = _Reading("answers", report)
        for page in self.reader.answers(since):
            rows = reading.rows_of(page)
            done = [answer for answer in rows if answer.state == "done"]
            report.partial_answers += len(rows) - len(done)
            recorded = self.ledger.answers.record(_answers(done, started))
            # An answer proves that its send was delivered, also if the outcome of the send was unknown.
            self.ledger.sends.settle([answer.send_id for answer in done], SendState.SENT, reason="answered")
            report.new_answers += recorded.new
            report.strangers += recorded.strangers
            if recorded.new:
                # Pages shift while they are read, so an answer can be on two pages.
                unhappy = _detractors(done) - counted
                report.detractors.update(self.ledger.answers.hospitals_of(unhappy, started))
                counted |= unhappy
        reading.check()
        self.ledger.answers.record_refresh("answers", started)

    def _read_opt_outs(self, report: FeedbackReport) -> None:
        started, since = self.clock(), self._since("opt_outs")
        reading = _Reading("opt-outs", report)
        for page in self.reader.opt_outs(since):
            rows = reading.rows_of(page)
            by_contact = [
                (key, row.channel, "Track.co opt-out") for row in rows for key in self._keys_of_contact(row, report)
            ]
            by_send = [(row.send_id, row.channel, "Track.co opt-out") for row in rows if row.send_id]
            report.new_opt_outs += self._opt_out(by_contact) + self._opt_out_senders(by_send)
        reading.check()
        self.ledger.answers.record_refresh("opt_outs", started)

    def _read_statuses(self, report: FeedbackReport) -> None:
        """Read the statuses of distributions, one request each: hourly for the newest, less often for all.

        All means every distribution whose people may still get a reminder, because a person can unsubscribe meanwhile.
        They are read again at half of `max_answer_age_hours`, the age that blocks reminders.
        """
        started, policy = self.clock(), self.policy.feedback
        if not self._is_older("statuses", _STATUS_INTERVAL):
            return
        of_all = self._is_older("all_statuses", timedelta(hours=policy.max_answer_age_hours) / 2)
        until_late = self.policy.reminding_days + 1
        days = max(policy.status_days, until_late) if of_all else policy.status_days
        reading = _Reading("statuses", report)
        for _, pages in statuses_of(self.reader, self.ledger.sends.distributions(started - timedelta(days=days))):
            if isinstance(pages, SendFailure):
                report.skipped[f"distribution_{pages.reason}"] += 1
                continue
            rows = [row for page in pages for row in reading.rows_of(page)]
            report.new_statuses += self.ledger.answers.record_deliveries(_deliveries(rows, started)).new
            refused = [(row.send_id, None, _REFUSALS[row.status]) for row in rows if row.status in _REFUSALS]
            report.new_opt_outs += self._opt_out_senders(refused)
        reading.check()
        self.ledger.answers.record_refresh("statuses", started)
        if of_all:
            self.ledger.answers.record_refresh("all_statuses", started)

    def _is_older(self, source: Source, age: timedelta) -> bool:
        last = self.ledger.answers.last_refresh(source)
        return last is None or not is_fresh(last[0], self.clock(), age)

    def _since(self, source: Literal["answers", "opt_outs"]) -> datetime | None:
        last = self.ledger.answers.last_refresh(source)
        # A time in the future comes from a wrong clock, so everything is read again.
        return last[1] - _OVERLAP if last and last[1] and last[1] <= self.clock() + CLOCKS_DIFFER else None

    def _keys_of_contact(self, row: OptOut, report: FeedbackReport) -> Iterator[str]:
        for given in ({"email": row.email}, {"phone": row.phone}):
            if any(given.values()):
                try:
                    yield from person_keys(self.hasher, self.policy.placeholders, **given)
                except NoSuchContact:
                    report.skipped["opt_out_unreadable"] += 1

    def _opt_out_senders(self, refusals: Iterable[tuple[str, str | None, str]]) -> int:
        """Opt out the people of sends, under all their keys; without a channel, for the channel of the send."""
        wanted = pl.DataFrame(list(refusals), schema=("send_id", "asked", "source"), orient="row").cast(pl.String)
        found = self.ledger.sends.keys_of(wanted.get_column("send_id")).join(wanted, on="send_id")
        rows = (
            found.with_columns(channel=pl.coalesce("asked", pl.col("channel").replace(OPT_OUT_OF_SEND)))
            .unpivot(KEY_COLUMNS, index=["channel", "source"], value_name="person_key")
            .drop_nulls("person_key")
        )
        return self._opt_out(rows.select("person_key", "channel", "source").unique().rows())

    def _opt_out(self, rows: Iterable[tuple[str, ...]]) -> int:
        frame = pl.DataFrame(list(rows), schema=("person_key", "channel", "source"), orient="row").cast(pl.String)
        return self.ledger.people.opt_out_many(frame)


def is_fresh(read_at: datetime, now: datetime, age: timedelta) -> bool:
    """Return whether `read_at` is less than `age` ago; a time in the future, from a wrong clock, is not fresh."""
    return -CLOCKS_DIFFER <= now - read_at < age


@dataclass
class _Reading:
    """The pages of one source; the report counts rows that could not be read."""

    what: str
    report: FeedbackReport
    read: int = 0
    unread: int = 0

    def rows_of(self, page: Page[_Row]) -> tuple[_Row, ...]:
        self.report.skipped.update(page.skipped)
        self.read += len(page.rows)
        self.unread += sum(page.skipped.values())
        return page.rows

    def check(self) -> None:
        """Raise Unreadable when all rows, at least five, were unreadable: the mapping probably has wrong fields."""
        if self.unread >= _LEAST_UNREAD and not self.read:
            raise Unreadable(
                f"none of {self.unread} {self.what} of Track.co could be read, so no reminder is sent. "
                "Compare a real answer with track_api.toml (TRACK_API_MAPPING), then run this again"
            )


def _detractors(rows: Iterable[Answer]) -> set[str]:
    """Return the sends whose answer is that of a detractor."""
    return {row.send_id for row in rows if row.score is not None and band(row.score) == "detractor"}


def _answers(rows: Iterable[Answer], read_at: datetime) -> pl.DataFrame:
    frame = pl.DataFrame([[getattr(row, name) for name in ANSWERS] for row in rows], schema=ANSWERS, orient="row")
    return frame.with_columns(pl.col("answered_at").fill_null(read_at.astimezone(UTC)))


def _deliveries(rows: Iterable[DeliveryStatus], read_at: datetime) -> pl.DataFrame:
    frame = pl.DataFrame([[getattr(row, name) for name in DELIVERIES] for row in rows], schema=DELIVERIES, orient="row")
    return frame.with_columns(pl.col("at").fill_null(read_at.astimezone(UTC)))
