"""Problems that the ledger shows: tripped gates, a throttle, unknown sends, silent hospitals.

Each problem is an alert that says what to do; its text stays true while the problem lasts. Alerts of failed runs come
from Dagster (`defs.alerts`).
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

# The kinds that this module finds: a problem of these kinds that is not found is over.
WATCHED: Final = (AlertKind.GATE, AlertKind.THROTTLE, AlertKind.UNKNOWN, AlertKind.SILENCE)

# Yesterday's extract starts at 08:00 and is due by this time of day.
_EXTRACTED_BY: Final = timedelta(hours=9)


def problems(ledger: Ledger, registry: Registry, now: datetime) -> list[Alert]:
    """Return all problems of these hospitals at an instant. Reads only the ledger; raises LedgerError."""
    return [*_throttle(ledger), *_gates(ledger, registry, now), *_unknown(ledger, registry, now)] + [
        silence(hospital, day) for hospital, day in _silent(ledger, registry, now)
    ]


def throttled() -> Alert:
    """Return the alert that Track.co throttles (405)."""
    text = (
        "Track.co throttles (405). All sending is paused and the lines wait. Solve the captcha at Track.co, then run "
        "`track pause remove all`. The sweep sends the waiting lines."
    )
    return Alert("Track.co throttles", text, "/runs", AlertKind.THROTTLE)


def gate(hospital: str, day: date, seen: str = "") -> Alert:
    """Return the alert of a gate that holds back lines; `seen` is the gate's own message, with its remedy."""
    text = seen or (
        "A gate holds back lines of this hospital-day; none of them was sent. The failed step of its run names the "
        "gate and its finding. If the day is right, launch the dispatch again with `approve_gates` and "
        "`approval_reason` in its config. Lines that wait longer than `max_age_days` are suppressed as stale."
    )
    return Alert(f"{hospital} {day}: a gate tripped", text, "/runs", AlertKind.GATE, hospital, day.isoformat())


def unknown(hospital: str, day: date) -> Alert:
    """Return the alert of sends of a hospital-day whose outcome is unknown."""
    text = (
        "Some sends have an unknown outcome; they are never sent again automatically. `track status` counts them. Look "
        "for their distribution at Track.co, then run `track resolve HOSPITAL ENCOUNTER sent|not_sent --reason ...`."
    )
    subject = f"{hospital} {day}: sends with unknown outcome"
    return Alert(subject, text, "/runs", AlertKind.UNKNOWN, hospital, day.isoformat())


def silence(hospital: Hospital, day: date) -> Alert:
    """Return the alert of a hospital whose extract is due but missing."""
    text = (
        f"The extract of {day} is missing; it was due at 09:00. `track doctor` shows whether the hospital's database "
        "answers, and what to do. The sweep tries again every hour until 19:15; or materialise the partition."
    )
    return Alert(f"{hospital.code}: silent", text, "/assets/extract", AlertKind.SILENCE, hospital.code)


def due_day(hospital: Hospital, now: datetime) -> date:
    """Return the newest day whose extract is due: until 09:00 local time that is the day before yesterday."""
    return (now.astimezone(hospital.zone).replace(tzinfo=None) - _EXTRACTED_BY).date() - timedelta(days=1)


def _throttle(ledger: Ledger) -> Iterator[Alert]:
    pauses = ledger.pauses.all()
    if not pauses.filter(pl.col("scope") == ALL_SENDING, pl.col("reason") == Deferral.THROTTLED.value).is_empty():
        yield throttled()


def _gates(ledger: Ledger, registry: Registry, now: datetime) -> Iterator[Alert]:
    # Older lines are suppressed every night (`Dispatcher.drop_stale`).
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
    extracted = set(ledger.counts.extracted((min(days), max(days))).select("hospital", "date").iter_rows())
    for hospital, day in due:
        if (hospital.code, day) not in extracted:
            yield hospital, day
