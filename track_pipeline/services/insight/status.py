"""What the ledger says to people: the funnel of every hospital-day and area, and the history of one encounter."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date, datetime
from typing import Any

import polars as pl

from track_pipeline.adapters.ledger import EncounterHistory, Ledger
from track_pipeline.domain.funnel import Funnel, funnels
from track_pipeline.domain.outcomes import PLANNED, Exclusion
from track_pipeline.services.insight.outcome import Decided, EncounterOutcome, outcome_of

# A row of a table of the ledger.
_Row = Mapping[str, Any]


@dataclass(frozen=True)
class PartitionStatus(Funnel):
    """The funnel of a hospital-day and area, the reminders that were sent for it and the encounters that answered."""

    reminded_7d: int = 0
    reminded_14d: int = 0
    answered: int = 0

    def count(self, name: str) -> int:
        """Return the number that a column counts, such as `sent` or `answered`."""
        return int(getattr(self, name))


@dataclass(frozen=True)
class StoryDecision:
    """What one step decided about an encounter; `version` is that of the rules or the policy."""

    step: str
    result: str
    reason: str
    rule: str
    version: str
    database: str
    at: datetime
    date: date


@dataclass(frozen=True)
class StorySend:
    """One send to an encounter; `at` is when its outcome was recorded, else when it was claimed."""

    wave: str
    channel: str
    state: str
    reason: str
    send_id: str
    database: str
    at: datetime
    answered_at: datetime | None


@dataclass(frozen=True)
class Story:
    """The history of an encounter, oldest first.

    `outcome` is None when the encounter was never extracted. Where two databases of the hospital use the number,
    the history has both; `database` tells them apart.
    """

    hospital: str
    encounter: int
    area: str | None
    setor: str | None
    outcome: EncounterOutcome | None
    decisions: tuple[StoryDecision, ...]
    sends: tuple[StorySend, ...]


def status(
    ledger: Ledger, dates: tuple[date, date] | None = None, hospital: str | None = None
) -> list[PartitionStatus]:
    """Return the status of every date, hospital and area; its JSON is an interface that others rely on."""
    reminded = {tuple(row[:4]): row[4] for row in ledger.reminded(dates, hospital).iter_rows()}
    answered = {tuple(row[:3]): row[3] for row in ledger.answered(dates, hospital).iter_rows()}

    def with_replies(funnel: Funnel) -> PartitionStatus:
        place = (date.fromisoformat(funnel.date), funnel.hospital, funnel.area)
        return PartitionStatus(
            **vars(funnel),
            reminded_7d=reminded.get((*place, "reminder_7d"), 0),
            reminded_14d=reminded.get((*place, "reminder_14d"), 0),
            answered=answered.get(place, 0),
        )

    found = funnels(ledger.outcomes(dates, hospital), ledger.extracted(dates, hospital))
    return [with_replies(funnel) for funnel in found]


def funnel_of(ledger: Ledger, day: date, hospital: str, area: str) -> Funnel:
    """Return the funnel of one hospital-day and area; all zeros when nothing was extracted."""
    day_only = (day, day)
    extracted = ledger.extracted(day_only, hospital).filter(pl.col("area") == area)
    found = funnels(ledger.outcomes(day_only, hospital, area), extracted)
    return found[0] if found else Funnel(day.isoformat(), hospital, area)


def why(ledger: Ledger, hospital: str, encounter: int) -> Story:
    """Return the history of an encounter; its JSON is an interface that others rely on."""
    history = ledger.history(hospital, encounter)
    row = max(history.encounters, key=_relevance, default=None)
    invitations = [send for send in history.sends if send["wave"] == "invite" and not send["extra"]]
    # A send stays in the history when the hospital no longer delivers its encounter.
    place = row or next(iter(invitations), None)
    decided = Decided(row["result"], row["reason"], row["held"]) if row else None
    states = {send["state"]: send["reason"] for send in invitations if place and send["database"] == place["database"]}
    return Story(
        hospital=hospital,
        encounter=encounter,
        area=place["area"] if place else None,
        setor=place["setor"] if place else None,
        outcome=outcome_of(decided, states),
        decisions=tuple(map(_decision, history.decisions)),
        sends=_sends(history),
    )


def _relevance(row: _Row) -> tuple[bool, bool, date]:
    """Order the hospital-days that saw an encounter: a planned row counts most, then the newest that judged it."""
    return row["result"] == PLANNED, row["reason"] != Exclusion.OTHER_DAY, row["cohort_date"]


def _decision(row: _Row) -> StoryDecision:
    names = ("step", "result", "reason", "rule", "version", "database", "at")
    return StoryDecision(**{name: row[name] for name in names}, date=row["cohort_date"])


def _sends(history: EncounterHistory) -> tuple[StorySend, ...]:
    answered = {answer["send_id"]: answer["answered_at"] for answer in history.answers}
    names = ("wave", "channel", "state", "reason", "send_id", "database")
    return tuple(
        StorySend(
            **{name: send[name] for name in names},
            at=send["settled_at"] or send["claimed_at"],
            answered_at=answered.get(send["send_id"]),
        )
        for send in history.sends
    )
