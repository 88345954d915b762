"""What the ledger can tell a person: the funnel of every partition, and the story of one encounter."""

from dataclasses import asdict
from datetime import date
from typing import Any

from track_pipeline.adapters.ledger import Ledger
from track_pipeline.domain.funnel import Funnel, funnels

JsonObject = dict[str, Any]


def status(ledger: Ledger, dates: tuple[date, date] | None = None, hospital: str | None = None) -> list[JsonObject]:
    """One object per date, hospital and area; its shape is an interface others rely on.

    date, hospital, area, extracted, excluded, planned, sent, rejected, unknown, deferred, suppressed,
    excluded_by and held_by (reason to number), reminded_7d, reminded_14d, answered.
    """
    reminded = {tuple(row[:4]): row[4] for row in ledger.reminded(dates, hospital).iter_rows()}
    answered = {tuple(row[:3]): row[3] for row in ledger.answered(dates, hospital).iter_rows()}

    def row(funnel: Funnel) -> JsonObject:
        place = (date.fromisoformat(funnel.date), funnel.hospital, funnel.area)
        return asdict(funnel) | {
            "reminded_7d": reminded.get((*place, "reminder_7d"), 0),
            "reminded_14d": reminded.get((*place, "reminder_14d"), 0),
            "answered": answered.get(place, 0),
        }

    return [row(funnel) for funnel in funnels(ledger.outcomes(dates, hospital))]


def funnel_of(ledger: Ledger, day: date, hospital: str, area: str) -> Funnel:
    """The funnel of one partition; all zeros when nothing was extracted."""
    found = [one for one in funnels(ledger.outcomes((day, day), hospital)) if one.area == area]
    return found[0] if found else Funnel(day.isoformat(), hospital, area)


def closes(row: JsonObject) -> bool:
    """Whether a row of `status` adds up (see Funnel.closes)."""
    names = Funnel.__dataclass_fields__
    return Funnel(**{name: value for name, value in row.items() if name in names}).closes
