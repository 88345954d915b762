"""What the ledger can tell a person: the funnel of every partition, and the story of one encounter."""

from dataclasses import asdict
from datetime import date
from typing import Any

import polars as pl

from track_pipeline.adapters.ledger import Ledger
from track_pipeline.domain.funnel import Funnel, funnels
from track_pipeline.domain.outcomes import EXCLUDED, NO_OUTCOME, PLANNED, Deferral, Exclusion

JsonObject = dict[str, Any]


def status(ledger: Ledger, dates: tuple[date, date] | None = None, hospital: str | None = None) -> list[JsonObject]:
    """One object per date, hospital and area; its shape is an interface others rely on.

    date, hospital, area, extracted, excluded, planned, sent, rejected, unknown, deferred, suppressed,
    excluded_by and held_by (reason to number), reminded_7d, reminded_14d, answered.
    """
    reminded = {tuple(row[:4]): row[4] for row in ledger.counts.reminded(dates, hospital).iter_rows()}
    answered = {tuple(row[:3]): row[3] for row in ledger.counts.answered(dates, hospital).iter_rows()}

    def row(funnel: Funnel) -> JsonObject:
        place = (date.fromisoformat(funnel.date), funnel.hospital, funnel.area)
        return asdict(funnel) | {
            "reminded_7d": reminded.get((*place, "reminder_7d"), 0),
            "reminded_14d": reminded.get((*place, "reminder_14d"), 0),
            "answered": answered.get(place, 0),
        }

    return [
        row(funnel)
        for funnel in funnels(ledger.counts.outcomes(dates, hospital), ledger.counts.extracted(dates, hospital))
    ]


def funnel_of(ledger: Ledger, day: date, hospital: str, area: str) -> Funnel:
    """The funnel of one partition; all zeros when nothing was extracted."""
    day_only = (day, day)
    extracted = ledger.counts.extracted(day_only, hospital).filter(pl.col("area") == area)
    found = funnels(ledger.counts.outcomes(day_only, hospital, area), extracted)
    return found[0] if found else Funnel(day.isoformat(), hospital, area)


def closes(row: JsonObject) -> bool:
    """Whether a row of `status` adds up (see Funnel.closes)."""
    names = Funnel.__dataclass_fields__
    return Funnel(**{name: value for name, value in row.items() if name in names}).closes


def why(ledger: Ledger, hospital: str, encounter: int) -> JsonObject:
    """The story of an encounter; its shape is an interface others rely on.

    hospital, encounter, area, setor, outcome (None when it was never extracted), decisions (at, step, result,
    reason, rule; oldest first), sends (wave, channel, state, send_id, at, answered_at). Where two databases of
    the hospital use the number, both stories are told; `database` tells them apart.
    """
    history = ledger.encounters.history(hospital, encounter)
    row = max(history.encounters, key=_telling, default=None)
    invitations = [send for send in history.sends if send["wave"] == "invite" and not send["extra"]]
    # What was sent about an encounter that the hospital does not deliver any more is told all the same.
    place = row or next(iter(invitations), None)
    answered = {answer["send_id"]: answer["answered_at"].isoformat() for answer in history.answers}
    return {
        "hospital": hospital,
        "encounter": encounter,
        "area": place and place["area"],
        "setor": place and place["setor"],
        "outcome": place and _outcome(row, [send for send in invitations if send["database"] == place["database"]]),
        "decisions": [
            {name: decision[name] for name in ("step", "result", "reason", "rule", "version", "database")}
            | {"at": decision["at"].isoformat(), "date": decision["cohort_date"].isoformat()}
            for decision in history.decisions
        ],
        "sends": [
            {name: send[name] for name in ("wave", "channel", "state", "reason", "send_id", "database")}
            | {
                "at": (send["settled_at"] or send["claimed_at"]).isoformat(),
                "answered_at": answered.get(send["send_id"]),
            }
            for send in history.sends
        ],
    }


def _telling(row: JsonObject) -> tuple[bool, bool, date]:
    """Of several hospital-days that saw an encounter: the one that planned it, else the newest that judged it."""
    return row["result"] == PLANNED, row["reason"] != Exclusion.OTHER_DAY, row["cohort_date"]


def _outcome(row: JsonObject | None, invitations: list[JsonObject]) -> str | None:
    """What left has left, whatever was decided afterwards; else what the row says, None where there is none."""
    states = {send["state"]: send["reason"] for send in invitations}
    for state in ("sent", "unknown", "rejected"):
        if state in states:
            return f"{state}:{states[state]}" if states[state] else state
    if states:
        return f"unknown:{NO_OUTCOME}"
    if row is None:
        return None
    if row["result"] == EXCLUDED:
        return f"{EXCLUDED}:{row['reason']}"
    return str(row["held"]) or f"deferred:{Deferral.NOT_DISPATCHED}"
