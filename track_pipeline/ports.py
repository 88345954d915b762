"""The protocols of the adapters that can be replaced, the values that cross them, and the failures they may raise.

A hospital's database, the survey vendor, the channel of alerts and the request budget stand behind these. Services
know the protocols only; `runtime` chooses the adapters.
"""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import date, datetime
from enum import StrEnum
from typing import Generic, Literal, Protocol, TypeVar

import polars as pl

from track_pipeline.domain.channels import Channel, OptOutChannel
from track_pipeline.domain.hospital import Hospital
from track_pipeline.errors import TrackPipelineError

# Gives the present instant, aware, in any zone.
Clock = Callable[[], datetime]


# --- hospitals ------------------------------------------------------------------------------------------------------


class SourceError(TrackPipelineError):
    """A hospital's database could not be read; `transient` says whether trying again later may help.

    `cause` and `next_step` are written for the operator: names of tables and columns, never a value of a row.
    `hospital` is filled in by the reader, since a connection knows its alias only.
    """

    def __init__(self, database: str, cause: str, next_step: str, *, transient: bool = False) -> None:
        super().__init__(database, cause, next_step)
        self.database = database
        self.cause = cause
        self.next_step = next_step
        self.transient = transient
        self.hospital: str | None = None

    def __str__(self) -> str:
        source = f"database {self.database}"
        if self.hospital is not None:
            source = f"hospital {self.hospital}, {source}"
        return f"{source}: {self.cause}; {self.next_step}"


class HospitalReader(Protocol):
    """Reads the encounters of one hospital-day, codes and contacts as the hospital's system keeps them."""

    def extract(self, hospital: Hospital, day: date) -> Iterator[pl.DataFrame]:
        """Yield batches of the encounters attended or discharged on `day` (the hospital's wall clock).

        Every batch has exactly the columns and types of the raw schema of the hospital's system, `database` first.
        Each database that the hospital reads gives at least one batch, which is empty when the day is. Raises
        SourceError; an unreadable database is never an empty result.
        """
        ...

    def probe(self, hospital: Hospital) -> Mapping[str, str]:
        """Run the extract's statement for a day without encounters, and check the result as `extract` does.

        Returns alias to the name and version of the database. Raises SourceError.
        """
        ...


# --- the survey vendor: failures ------------------------------------------------------------------------------------


class SendFailure(TrackPipelineError):  # noqa: N818 - its kinds read as states of the request
    """The vendor did not confirm a request; `reason` is a short slug for the ledger and for counting."""

    def __init__(self, reason: str, text: str) -> None:
        super().__init__(reason, text)
        self.reason = reason

    def __str__(self) -> str:
        return str(self.args[1])


class NotSent(SendFailure):
    """Nothing was processed: the same lines may be sent later."""


class Stopped(SendFailure):
    """Nothing was processed, and no other request would be: all sending has to stop until an operator acts."""


class Refused(SendFailure):
    """The vendor rejected the request as a whole; sending it again unchanged is useless."""


class RefusedInPart(Refused):
    """The size or some of the lines were the cause: a half of the lines may be accepted."""


class Unknown(SendFailure):
    """The request left and its outcome is unknown: it must never be sent again by itself."""


# --- the survey vendor: sending -------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Accepted:
    """The vendor accepted a request: its id if there is one, the refused lines, the links that were made.

    Refused lines are `send_id` to a reason of a few letters; links are by `send_id`.
    """

    distribution_id: str | None
    refused: Mapping[str, str]
    links: Mapping[str, str] = field(default_factory=dict, repr=False)


@dataclass(frozen=True)
class Survey:
    """A survey of the organisation."""

    uuid: str
    name: str
    public_hash: str | None


class SurveyList(Protocol):
    """Lists the surveys of the organisation."""

    def surveys(self) -> list[Survey]:
        """All surveys. Raises a SendFailure."""
        ...


class SurveySender(Protocol):
    """Sends lines through the vendor. Every method raises a SendFailure."""

    def await_turn(self) -> None:
        """Wait until the next request may be made; it may take minutes."""
        ...

    def check(self, unit: str, channel: Channel) -> None:
        """Raise ConfigError when lines of a unit cannot be sent through a channel, before any is claimed."""
        ...

    def post(self, hospital: Hospital, channel: Channel, lines: pl.DataFrame) -> Accepted:
        """Post lines (`PLAN` and `send_id`) of one unit and survey, and return what was accepted."""
        ...


# --- the survey vendor: reading back --------------------------------------------------------------------------------

StatusWord = Literal["sent", "delivered", "opened", "bounced", "refused", "failed", "unsubscribed"]


@dataclass(frozen=True)
class Answer:
    """The answer of a person. Only `done` is an answer; `partial` may become one, under the same `send_id`.

    `answered_at` is UTC, None where it cannot be read: an answer counts whenever it was given. `score` is 0 to 10, of
    the NPS question, None when it was left open or cannot be read.
    """

    send_id: str
    answered_at: datetime | None
    state: Literal["done", "partial"]
    score: int | None
    comment: str | None = field(repr=False)
    interaction_id: str | None


@dataclass(frozen=True)
class KnownDistribution:
    """A distribution that the vendor has."""

    distribution_id: str


@dataclass(frozen=True)
class DeliveryStatus:
    """The state of a message at an instant (UTC), None where it cannot be read: an opt-out counts without a time.

    `unsubscribed` is an opt-out of the send's channel. `word` is the vendor's own word, a slug, for counting.
    """

    send_id: str
    status: StatusWord | Literal["other"]
    at: datetime | None
    word: str


@dataclass(frozen=True)
class OptOut:
    """An opt-out that the vendor recorded, of the person named by at least one of `send_id`, `email` and `phone`.

    It holds whenever it was asked for, hence `at` (UTC) is None where it cannot be read.
    """

    send_id: str | None
    email: str | None = field(repr=False)
    phone: str | None = field(repr=False)
    channel: OptOutChannel
    at: datetime | None


Row = TypeVar("Row", bound="Answer | KnownDistribution | DeliveryStatus | OptOut")


@dataclass(frozen=True)
class Page(Generic[Row]):
    """The rows of one page that could be read, and the count of those that could not, by reason."""

    rows: tuple[Row, ...]
    skipped: Mapping[str, int]


class FeedbackSource(Protocol):
    """Reads back from the vendor, page by page. Raises a SendFailure; the pages before it are whole.

    `since` is an aware instant: what is new or has changed from then on; None reads all there is. What arrives while
    pages are read may be missed, so the next `since` lies before the start of this read.
    """

    def answers(self, since: datetime | None) -> Iterator[Page[Answer]]:
        """Answers of the organisation, finished and partial. Skipped: not_an_object, no_answer, no_send_id, no_time."""
        ...

    def distributions(self, since: datetime | None) -> Iterator[Page[KnownDistribution]] | None:
        """All distributions; None where the vendor cannot be asked. Skipped: not_an_object, no_identifier."""
        ...

    def statuses(self, distribution_id: str) -> Iterator[Page[DeliveryStatus]]:
        """States of the messages of a distribution. Skipped: not_an_object, no_status, no_send_id."""
        ...

    def opt_outs(self, since: datetime | None) -> Iterator[Page[OptOut]]:
        """Opt-outs that people told the vendor. Skipped: not_an_object, no_contact."""
        ...


# --- requests and alerts --------------------------------------------------------------------------------------------


class Budget(Protocol):
    """Limits the requests of all processes together."""

    def acquire(self, timeout: float) -> bool:
        """Wait up to `timeout` seconds until one request may be made; False when it may not."""
        ...


class AlertKind(StrEnum):
    """The kinds of problems that stay open until they are over."""

    RUN = "run"
    GATE = "gate"
    THROTTLE = "throttle"
    UNKNOWN = "unknown"
    SILENCE = "silence"


@dataclass(frozen=True)
class Alert:
    """What happened, in which hospital, what to do next, and where in Dagster's web interface to look (a path).

    With a `kind` it reports a problem, once while it is open; without, it is reported every time. Two alerts are of
    the same problem when kind, hospital (empty: all) and part (partition, area; empty: all) are equal.
    """

    subject: str
    text: str
    link: str
    kind: AlertKind | None = None
    hospital: str = ""
    part: str = ""

    @property
    def key(self) -> str:
        """The key of its problem."""
        return f"{self.kind or ''}|{self.hospital}|{self.part}"


class Alerts(Protocol):
    """Takes alerts."""

    def send(self, alert: Alert) -> None:
        """Deliver an alert; never raises, since the alert must not change what it reports."""
        ...


class AlertChannel(Protocol):
    """Delivers messages to people."""

    def tell(self, title: str, body: str, *, is_recovery: bool = False) -> bool:
        """Deliver a message; False, and a line in the log, when that did not work. Never raises."""
        ...
