"""The closed lists of outcomes of an encounter and of their reasons.

Classification, eligibility, claims and dispatch choose among the reasons. `Outcome` is parsed and printed here only.
"""

from dataclasses import dataclass
from enum import StrEnum
from typing import Final, Self


class PlanResult(StrEnum):
    """The decision of a plan on an encounter."""

    PLANNED = "planned"
    EXCLUDED = "excluded"


PLANNED: Final = PlanResult.PLANNED.value
EXCLUDED: Final = PlanResult.EXCLUDED.value


class OutcomeKind(StrEnum):
    """The kinds of outcome, in the order of reports. Each encounter has exactly one."""

    EXCLUDED = "excluded"
    SENT = "sent"
    REJECTED = "rejected"
    UNKNOWN = "unknown"
    DEFERRED = "deferred"
    SUPPRESSED = "suppressed"


# The kinds that a planned encounter can have.
PLANNED_KINDS: Final = tuple(kind for kind in OutcomeKind if kind is not OutcomeKind.EXCLUDED)

# The reason of `unknown` while a send is still claimed.
NO_OUTCOME: Final = "no_outcome"


@dataclass(frozen=True)
class Outcome:
    """The outcome of an encounter: a kind, and a reason where the kind has one."""

    kind: OutcomeKind
    reason: str = ""

    def __str__(self) -> str:
        """Return the form that the ledger, `track why` and `track status` use: `excluded:minor`, `sent`."""
        return f"{self.kind}:{self.reason}" if self.reason else self.kind.value

    @classmethod
    def parse(cls, text: str) -> Self:
        """Parse a text that `str` printed. Raises ValueError when the kind is not one of `OutcomeKind`."""
        kind, _, reason = text.partition(":")
        return cls(OutcomeKind(kind), reason)

    @classmethod
    def excluded(cls, reason: str) -> Self:
        """Return the outcome of an encounter that is not invited; the reason is an `Exclusion`."""
        return cls(OutcomeKind.EXCLUDED, reason)

    @classmethod
    def deferred(cls, reason: "Deferral") -> Self:
        """Return the outcome of a planned line that waits."""
        return cls(OutcomeKind.DEFERRED, reason.value)

    @classmethod
    def suppressed(cls, reason: "Suppression") -> Self:
        """Return the outcome of a planned line that was dropped at the moment of sending."""
        return cls(OutcomeKind.SUPPRESSED, reason.value)


class Exclusion(StrEnum):
    """Why an encounter is not invited. `classification`, `eligibility` and `plan` fix the order of the reasons."""

    CANCELLED = "cancelled"
    OTHER_DAY = "other_day"
    UNCLASSIFIED = "unclassified"
    DECEASED = "deceased"
    NEWBORN = "newborn"
    MINOR = "minor"
    OBSTETRIC_LOSS = "obstetric_loss"
    PSYCHIATRIC = "psychiatric"
    CUSTODY = "custody"
    TEST_PATIENT = "test_patient"
    NO_SURVEY = "no_survey"
    OPTED_OUT = "opted_out"
    SHARED_CONTACT = "shared_contact"
    PLACEHOLDER_CONTACT = "placeholder_contact"
    FOREIGN = "foreign"
    INVALID_CONTACT = "invalid_contact"
    NO_CONTACT = "no_contact"
    NO_CONSENT = "no_consent"
    STALE = "stale"
    DUPLICATE_ENCOUNTER = "duplicate_encounter"
    ALREADY_ASKED = "already_asked"
    SAME_PERSON = "same_person"
    QUARANTINE = "quarantine"
    SAMPLED_OUT = "sampled_out"


class Deferral(StrEnum):
    """Why a planned line waits. The first dispatch after the end of the cause sends it."""

    NOT_DISPATCHED = "not_dispatched"
    DRY_RUN = "dry_run"
    WINDOW = "window"
    PAUSED = "paused"
    BUDGET = "budget"
    BUSY = "busy"
    UNREACHABLE = "unreachable"
    TOKEN_REFUSED = "token_refused"  # noqa: S105 - a reason, not a secret
    THROTTLED = "throttled"
    GATE = "gate"


class Suppression(StrEnum):
    """Why a planned line was dropped at the moment of sending. This is final."""

    OPTED_OUT = "opted_out"
    QUARANTINE = "quarantine"
    ALREADY_ASKED = "already_asked"
    STALE = "stale"
    ANSWERED = "answered"
    DECEASED = "deceased"
    TOO_MANY = "too_many"


class Withheld(StrEnum):
    """Why a reminder is not sent.

    `late` is final; the other reasons hold on the day of the decision. `tracks_own`: Track.co itself sends the
    reminders of this hospital.
    """

    ANSWERED = "answered"
    OPTED_OUT = "opted_out"
    DECEASED = "deceased"
    RETURNED = "returned"
    BOUNCED = "bounced"
    TRACKS_OWN = "tracks_own"
    LATE = "late"
    TOO_SOON = "too_soon"
    NO_CONTACT = "no_contact"
