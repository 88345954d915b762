"""What is wrong now, as far as the ledger tells: tripped gates, a throttle, unknown sends, silent hospitals.

Each problem is an alert in words that hold for as long as it lasts, with what to do. Failed runs are Dagster's to tell.
"""

from collections.abc import Iterator
from datetime import date, datetime, timedelta
from typing import Final

import polars as pl

from track_pipeline.adapters.ledger import Ledger
from track_pipeline.domain.hospital import Hospital, Registry
from track_pipeline.domain.outcomes import Deferral, Outcome
from track_pipeline.domain.pauses import ALL_SENDING
from track_pipeline.ports import Alert, AlertKind
from track_pipeline.services.feedback.reconciliation import IN_FLIGHT

# The kinds that are looked for here, and so known to be over when they are not found.
WATCHED: Final = (AlertKind.GATE, AlertKind.THROTTLE, AlertKind.UNKNOWN, AlertKind.SILENCE)

# Yesterday's extract begins at 08:00; by then it is there, or somebody should know.
_EXTRACTED_BY: Final = timedelta(hours=9)


def problems(ledger: Ledger, registry: Registry, now: datetime) -> list[Alert]:
    """All that is wrong with these hospitals at an instant. Asks the ledger alone; raises LedgerError."""
    return [*_throttle(ledger), *_gates(ledger, registry, now), *_unknown(ledger, registry, now)] + [
        silence(hospital, day) for hospital, day in _silent(ledger, registry, now)
    ]


def throttled() -> Alert:
    """Track.co answered 405."""
    text = (
        "Track.co throttles (405) and all sending is paused; the lines wait. Solve the captcha at Track.co, then "
        "`track pause remove all`: the sweep sends what waited."
    )
    return Alert("Track.co throttles", text, "/runs", AlertKind.THROTTLE)


def gate(hospital: str, day: date, seen: str = "") -> Alert:
    """A gate holds lines of a hospital-day back; `seen` is what the gate itself said, with its remedy."""
    text = seen or (
        "A gate holds back lines of this hospital-day; nobody of them was written to. The failed step of its run says "
        "which gate, and what it saw. If the day is right after all, launch the dispatch again with `approve_gates` "
        "and `approval_reason` in its config. What waits for longer than `max_age_days` is dropped as stale."
    )
    return Alert(f"{hospital} {day}: a gate tripped", text, "/runs", AlertKind.GATE, hospital, day.isoformat())


def unknown(hospital: str, day: date) -> Alert:
    """Of sends of a hospital-day nobody saw the outcome."""
    text = (
        "Of some sends nobody saw the outcome; they never go again by themselves. `track status` counts them. Look for "
        "their distribution at Track.co, then `track resolve HOSPITAL ENCOUNTER sent|not_sent --reason ...`."
    )
    subject = f"{hospital} {day}: sends with unknown outcome"
    return Alert(subject, text, "/runs", AlertKind.UNKNOWN, hospital, day.isoformat())


def silence(hospital: Hospital, day: date) -> Alert:
    """A hospital whose extract is due and not there."""
    text = (
        f"The extract of {day} is not there, and it was due at 09:00. `track doctor` says whether the hospital's "
        "database answers and what to do; the sweep tries again every hour until 19:15, or materialise the partition."
    )
    return Alert(f"{hospital.code}: silent", text, "/assets/extract", AlertKind.SILENCE, hospital.code)


def due_day(hospital: Hospital, now: datetime) -> date:
    """The newest day whose extract should be there: until 09:00 local that is the day before yesterday."""
    return (now.astimezone(hospital.zone).replace(tzinfo=None) - _EXTRACTED_BY).date() - timedelta(days=1)


def _throttle(ledger: Ledger) -> Iterator[Alert]:
    pauses = ledger.pauses.all()
    if not pauses.filter(pl.col("scope") == ALL_SENDING, pl.col("reason") == Deferral.THROTTLED.value).is_empty():
        yield throttled()


def _gates(ledger: Ledger, registry: Registry, now: datetime) -> Iterator[Alert]:
    # Older lines are dropped every night (`Dispatcher.drop_stale`).
    oldest = now.date() - timedelta(days=2 + max(hospital.max_age_days for hospital in registry.hospitals))
    for day, code in ledger.encounters.unsent_partitions(oldest, now.date(), held=Outcome.deferred(Deferral.GATE)):
        if code in registry.codes:
            yield gate(code, day)


def _unknown(ledger: Ledger, registry: Registry, now: datetime) -> Iterator[Alert]:
    sends = ledger.sends.unresolved(claimed_before=now - IN_FLIGHT)
    for code, day in sends.select("hospital", "cohort_date").unique().sort("hospital", "cohort_date").iter_rows():
        if code in registry.codes:
            yield unknown(code, day)


def _silent(ledger: Ledger, registry: Registry, now: datetime) -> Iterator[tuple[Hospital, date]]:
    due = [(hospital, due_day(hospital, now)) for hospital in registry.hospitals]
    days = [day for _, day in due]
    there = set(ledger.counts.extracted((min(days), max(days))).select("hospital", "date").iter_rows())
    for hospital, day in due:
        if (hospital.code, day) not in there:
            yield hospital, day
