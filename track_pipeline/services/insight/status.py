"""The ledger for readers: the funnel of every hospital-day and area, and the history of one encounter."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date, datetime
from typing import Any

import polars as pl

from track_pipeline.adapters.ledger import EncounterHistory, Ledger
from track_pipeline.domain.funnel import DECIDED, TELLING, Funnel, funnels, with_outcome
from track_pipeline.domain.outcomes import PLANNED, Exclusion, Outcome, OutcomeKind
from track_pipeline.domain.sends import SendState
from track_pipeline.domain.waves import ALWAYS_SHOWN, INVITE, Wave
from track_pipeline.services.insight.serialise import INLINE

# A row of a table of the ledger.
_Row = Mapping[str, Any]


@dataclass(frozen=True)
class PartitionStatus(Funnel):
    """The funnel of a hospital-day and area, the reminders that were sent for it and the encounters that answered.

    `reminded` has a number per wave, by `Wave.column`; as JSON its keys are fields of the object.
    """

    reminded: Mapping[str, int] = field(default_factory=dict, metadata=INLINE)
    answered: int = 0

    def count(self, name: str) -> int:
        """Return the number that a column counts, such as `sent` or `answered`."""
        return self.reminded[name] if name in self.reminded else int(getattr(self, name))


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

    `outcome` is None when the encounter was never extracted. If two databases of the hospital use the number, the
    history has both; `database` distinguishes them.
    """

    hospital: str
    encounter: int
    area: str | None
    setor: str | None
    outcome: Outcome | None
    decisions: tuple[StoryDecision, ...]
    sends: tuple[StorySend, ...]


def status(
    ledger: Ledger, dates: tuple[date, date] | None = None, hospital: str | None = None
) -> list[PartitionStatus]:
    """Return the status of every date, hospital and area; its JSON is a public interface."""
    reminded = {tuple(row[:4]): row[4] for row in ledger.counts.reminded(dates, hospital).iter_rows()}
    waves = sorted({*ALWAYS_SHOWN, *(Wave.parse(wave) for *_, wave in reminded)})
    answered = {tuple(row[:3]): row[3] for row in ledger.counts.answered(dates, hospital).iter_rows()}

    def with_replies(funnel: Funnel) -> PartitionStatus:
        partition = (date.fromisoformat(funnel.date), funnel.hospital, funnel.area)
        return PartitionStatus(
            **vars(funnel),
            reminded={wave.column: reminded.get((*partition, wave.key), 0) for wave in waves},
            answered=answered.get(partition, 0),
        )

    found = funnels(ledger.counts.outcomes(dates, hospital), ledger.counts.extracted(dates, hospital))
    return [with_replies(funnel) for funnel in found]


def funnel_of(ledger: Ledger, day: date, hospital: str, area: str) -> Funnel:
    """Return the funnel of one hospital-day and area; all zeros when nothing was extracted."""
    day_only = (day, day)
    extracted = ledger.counts.extracted(day_only, hospital).filter(pl.col("area") == area)
    found = funnels(ledger.counts.outcomes(day_only, hospital, area), extracted)
    return found[0] if found else Funnel(day.isoformat(), hospital, area)


def why(ledger: Ledger, hospital: str, encounter: int) -> Story:
    """Return the history of an encounter; its JSON is a public interface."""
    history = ledger.encounters.history(hospital, encounter)
    row = max(history.encounters, key=_relevance, default=None)
    invitations = [send for send in history.sends if send["wave"] == INVITE.key and not send["extra"]]
    # The history keeps a send even if the hospital's database no longer returns its encounter.
    shown = row or next(iter(invitations), None)
    of_shown = [send for send in invitations if shown and send["database"] == shown["database"]]
    return Story(
        hospital=hospital,
        encounter=encounter,
        area=shown["area"] if shown else None,
        setor=shown["setor"] if shown else None,
        outcome=_outcome(row, of_shown),
        decisions=tuple(map(_decision, history.decisions)),
        sends=_sends(history),
    )


def _outcome(row: _Row | None, invitations: Sequence[_Row]) -> Outcome | None:
    """Return the outcome of an encounter; None when the ledger has neither a decision nor an invitation."""
    if row is None and not invitations:
        return None
    send = min(invitations, key=lambda each: TELLING[SendState(each["state"])], default={})
    known = {name: (row or {}).get(name) for name in ("result", "reason", "held")}
    known |= {"state": send.get("state"), "send_reason": send.get("reason")}
    [(kind, reason)] = with_outcome(pl.DataFrame([known], schema=DECIDED)).select("outcome", "reason").rows()
    return Outcome(OutcomeKind(kind), reason)


def _relevance(row: _Row) -> tuple[bool, bool, date]:
    """Return a sort key of an encounter's hospital-days: planned first, then not of another day, then the newest."""
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
