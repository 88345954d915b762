"""The names of what can become of an encounter: one closed list, so that every row's end has a word.

Classification, eligibility and dispatch choose among these; `track status` and `track why` print them.
"""

from enum import StrEnum
from typing import Final

# What a plan says of an encounter. What becomes of a planned one are the outcomes below.
PLANNED: Final = "planned"
EXCLUDED: Final = "excluded"


class Exclusion(StrEnum):
    """Why an encounter is not asked, in the order in which the reasons are looked for."""

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
    """Why a planned line waits; it goes by itself when the cause is gone and somebody runs the dispatch."""

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
    """Why a planned line was dropped at the moment of sending."""

    OPTED_OUT = "opted_out"
    QUARANTINE = "quarantine"
    ALREADY_ASKED = "already_asked"
    STALE = "stale"
    ANSWERED = "answered"
    DECEASED = "deceased"
    TOO_MANY = "too_many"


class Withheld(StrEnum):
    """Why a reminder does not go, in the order in which the reasons are looked for.

    `late` is for good; the others hold on the day they were decided. `tracks_own`: Track.co reminds this
    hospital's patients itself.
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
