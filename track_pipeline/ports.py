"""The protocols of the replaceable adapters, the values they exchange with services, and the failures they raise.

They cover hospital databases, the survey vendor, alert channels and the request budget. Services use only the
protocols; `runtime` chooses the adapters.
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

# Returns the present instant, aware, in any zone.
Clock = Callable[[], datetime]


# --- hospitals ------------------------------------------------------------------------------------------------------


class SourceError(TrackPipelineError):
    """A hospital's database could not be read; `transient` if a later attempt may help.

    `cause` and `next_step` are texts for the operator: names of tables and columns, never a value of a row.
    The reader sets `hospital`, since a connection only knows its alias.
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
    """Reads the encounters of one hospital-day, with codes and contacts as stored in the hospital's system."""

    def extract(self, hospital: Hospital, day: date) -> Iterator[pl.DataFrame]:
        """Yield batches of the encounters attended or discharged on `day` (the hospital's wall clock).

        Every batch has exactly the columns and types of the raw schema of the hospital's system, `database` first.
        Each database of the hospital yields at least one batch, which is empty if the day has no encounters. Raises
        SourceError; an unreadable database is never an empty result.
        """
        ...

    def probe(self, hospital: Hospital) -> Mapping[str, str]:
        """Run the extract's statement for a day without encounters, and check the result as `extract` does.

        Returns the name and version of each database, by alias. Raises SourceError.
        """
        ...


# --- the survey vendor: failures ------------------------------------------------------------------------------------


class SendFailure(TrackPipelineError):  # noqa: N818 - its subclasses name states of the request
    """The vendor did not confirm a request; `reason` is a short slug for the ledger and for counts."""

    def __init__(self, reason: str, text: str) -> None:
        super().__init__(reason, text)
        self.reason = reason

    def __str__(self) -> str:
        return str(self.args[1])


class NotSent(SendFailure):
    """The vendor processed nothing: the same lines may be sent later."""


class Stopped(SendFailure):
    """The vendor processed nothing and will reject every other request: all sending stops until an operator acts."""


class Refused(SendFailure):
    """The vendor rejected the whole request; sending it again unchanged would fail again."""


class RefusedInPart(Refused):
    """The vendor rejected the request for its size or some of its lines: half of the lines may be accepted."""


class Unknown(SendFailure):
    """The request was sent and its outcome is unknown: it must never be sent again automatically."""


# --- the survey vendor: sending -------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Accepted:
    """The result of an accepted request: its distribution id if there is one, the refused lines, the created links.

    `refused` maps `send_id` to a reason (a short slug), `links` maps `send_id` to a link.
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
        """Return all surveys. Raises a SendFailure."""
        ...


class SurveySender(Protocol):
    """Sends lines through the vendor. Every method raises a SendFailure."""

    def await_turn(self) -> None:
        """Wait until the next request may be made; it may take minutes."""
        ...

    def check(self, unit: str, channel: Channel) -> None:
        """Raise ConfigError when lines of a unit cannot be sent through a channel; called before lines are claimed."""
        ...

    def post(self, hospital: Hospital, channel: Channel, lines: pl.DataFrame) -> Accepted:
        """Post lines (`PLAN` and `send_id`) of one unit and survey, and return the vendor's result."""
        ...


# --- the survey vendor: reading back --------------------------------------------------------------------------------

StatusWord = Literal["sent", "delivered", "opened", "bounced", "refused", "failed", "unsubscribed"]


@dataclass(frozen=True)
class Answer:
    """The answer of a person. Only `done` is a finished answer; `partial` may become one, under the same `send_id`.

    `answered_at` is UTC; None if it cannot be read, since an answer counts regardless of its time. `score` is the NPS
    score, 0 to 10; None if the question was not answered or the score cannot be read.
    """

    send_id: str
    answered_at: datetime | None
    state: Literal["done", "partial"]
    score: int | None
    comment: str | None = field(repr=False)
    interaction_id: str | None


@dataclass(frozen=True)
class KnownDistribution:
    """A distribution that exists at the vendor."""

    distribution_id: str


@dataclass(frozen=True)
class DeliveryStatus:
    """The delivery status of a message.

    `at` is UTC; None if it cannot be read, since an opt-out counts without a time. `unsubscribed` is an opt-out of the
    send's channel. `word` is the vendor's word for the status, a slug, for counts.
    """

    send_id: str
    status: StatusWord | Literal["other"]
    at: datetime | None
    word: str


@dataclass(frozen=True)
class OptOut:
    """An opt-out recorded by the vendor; at least one of `send_id`, `email` and `phone` identifies the person.

    `at` is UTC; None if it cannot be read, since an opt-out applies regardless of its time.
    """

    send_id: str | None
    email: str | None = field(repr=False)
    phone: str | None = field(repr=False)
    channel: OptOutChannel
    at: datetime | None


Row = TypeVar("Row", bound="Answer | KnownDistribution | DeliveryStatus | OptOut")


@dataclass(frozen=True)
class Page(Generic[Row]):
    """The readable rows of one page, and the number of skipped rows by reason."""

    rows: tuple[Row, ...]
    skipped: Mapping[str, int]


class FeedbackSource(Protocol):
    """Reads data from the vendor, page by page. Raises a SendFailure; the pages before it are complete.

    `since` is an aware instant: reads rows that are new or changed since then; None reads all rows. Rows that arrive
    during a read may be missed, so the next `since` must be before the start of this read.
    """

    def answers(self, since: datetime | None) -> Iterator[Page[Answer]]:
        """Yield the finished and partial answers. Skipped: not_an_object, no_answer, no_send_id, no_time."""
        ...

    def distributions(self, since: datetime | None) -> Iterator[Page[KnownDistribution]] | None:
        """Yield all distributions; None if the vendor offers no list of them. Skipped: not_an_object, no_identifier."""
        ...

    def statuses(self, distribution_id: str) -> Iterator[Page[DeliveryStatus]]:
        """Yield the delivery statuses of a distribution's messages. Skipped: not_an_object, no_status, no_send_id."""
        ...

    def opt_outs(self, since: datetime | None) -> Iterator[Page[OptOut]]:
        """Yield the opt-outs recorded by the vendor. Skipped: not_an_object, no_contact."""
        ...


# --- requests and alerts --------------------------------------------------------------------------------------------


class Budget(Protocol):
    """A limit on the requests of all processes together."""

    def acquire(self, timeout: float) -> bool:
        """Wait up to `timeout` seconds until one request may be made; False if it may not be made in that time."""
        ...


class AlertKind(StrEnum):
    """The kinds of problems whose alerts stay open until the problem is over."""

    RUN = "run"
    GATE = "gate"
    THROTTLE = "throttle"
    UNKNOWN = "unknown"
    SILENCE = "silence"


@dataclass(frozen=True)
class Alert:
    """An alert: what happened, in which hospital, the next step, and a path in Dagster's web interface (`link`).

    An alert with a `kind` is reported once while its problem is open; one without a kind is reported every time. Two
    alerts concern the same problem if kind, hospital (empty: all) and part (partition, area; empty: all) are equal.
    """

    subject: str
    text: str
    link: str
    kind: AlertKind | None = None
    hospital: str = ""
    part: str = ""

    @property
    def key(self) -> str:
        """The key of the alert's problem: kind, hospital and part."""
        return f"{self.kind or ''}|{self.hospital}|{self.part}"


class Alerts(Protocol):
    """Receives the alerts of services and sensors."""

    def send(self, alert: Alert) -> None:
        """Deliver an alert; never raises, since a failed alert must not fail the run that it reports."""
        ...


class AlertChannel(Protocol):
    """Delivers messages to people."""

    def tell(self, title: str, body: str, *, is_recovery: bool = False) -> bool:
        """Deliver a message; on failure, log it and return False. Never raises."""
        ...
