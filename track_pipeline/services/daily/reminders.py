"""Reminders of one cohort, area and wave, for encounters that are due and have no answer.

No reminder is sent unless the data from Track.co is fresh. `domain.reminders` decides which reminders are due;
`sending` describes how lines are sent.
"""

import logging
from dataclasses import dataclass, field
from datetime import date, timedelta
from typing import Final

import polars as pl

from track_pipeline.adapters.ledger import Source
from track_pipeline.domain.areas import Area
from track_pipeline.domain.channels import Channel
from track_pipeline.domain.encounter import ENCOUNTER_KEY
from track_pipeline.domain.hospital import Hospital
from track_pipeline.domain.identity import KEY_COLUMNS
from track_pipeline.domain.outcome_columns import outcome_text
from track_pipeline.domain.outcomes import PLANNED, OutcomeKind
from track_pipeline.domain.plan import may_get_whatsapp
from track_pipeline.domain.reminders import CONTACTS, DUE, WITHHELD, decide
from track_pipeline.domain.waves import Wave
from track_pipeline.errors import TrackPipelineError
from track_pipeline.services.daily.invitation import INVITATION
from track_pipeline.services.daily.sending import Outbox, Partition, SendReport
from track_pipeline.services.feedback.reading import is_fresh

logger = logging.getLogger(__name__)

# Sources at Track.co that must have been read recently: each can contain an answer or an opt-out.
FRESH: Final[tuple[Source, ...]] = ("answers", "opt_outs", "all_statuses")


class AnswersStale(TrackPipelineError):  # noqa: N818 - a state
    """Answers or opt-outs of Track.co are too old for reminders to be sent."""


@dataclass
class ReminderReport(SendReport):
    """Counts of one run of reminders; `results` counts candidates by result and reason."""

    candidates: int = 0
    results: dict[str, int] = field(default_factory=dict)


@dataclass(frozen=True)
class Reminder:
    """Reminders of cohorts."""

    outbox: Outbox

    def remind(self, hospital: Hospital, day: date, area: Area, wave: Wave, run_id: str) -> ReminderReport:
        """Send the reminders of a cohort that are due today and were not sent yet.

        Safe to repeat. Raises AnswersStale, and what `Outbox.send` raises.
        """
        ledger = self.outbox.ledger
        decided = self._decide(hospital, day, area, wave)
        report = ReminderReport(candidates=decided.height, results=_counts(decided))
        withheld = decided.filter(pl.col("result") == WITHHELD)
        noted = withheld.select(*ENCOUNTER_KEY, "reason", result=pl.lit(OutcomeKind.SUPPRESSED.value))
        ledger.encounters.note(hospital.code, day, wave.key, noted)
        due = decided.filter(pl.col("result") == DUE)
        report.lines = due.height
        if due.is_empty():
            return report
        self._demand_fresh_answers(hospital, day)
        for channel in hospital.channels:
            lines = due.filter(pl.col("channel") == channel.value)
            if not lines.is_empty():
                self.outbox.send(Partition(hospital, day, area, channel, wave), lines, run_id, report)
        logger.info("%s of %s: %s", wave, day, report)
        return report

    def _decide(self, hospital: Hospital, day: date, area: Area, wave: Wave) -> pl.DataFrame:
        outbox = self.outbox
        today = outbox.clock().astimezone(hospital.zone).date()
        plan = outbox.lake.find(INVITATION, area, day, hospital.code)
        planned = None if plan is None else plan.filter(pl.col("result") == PLANNED)
        candidates = outbox.ledger.reminders.candidates(hospital.code, day, area, planned)
        # If the plan was purged, every candidate gets the reason `no_contact`.
        contacts = pl.DataFrame(schema=CONTACTS) if planned is None else self._contacts(hospital, planned)
        decided = decide(candidates, contacts, wave, today, hospital, outbox.terms.policy)
        return decided.with_columns(hospital=pl.lit(hospital.code), area=pl.lit(area.value), extra=pl.lit(value=False))

    def _contacts(self, hospital: Hospital, planned: pl.DataFrame) -> pl.DataFrame:
        """Return the contacts of planned lines; phones only if the person may get WhatsApp."""
        keys = pl.concat(planned.get_column(name).drop_nulls() for name in KEY_COLUMNS)
        agreed = may_get_whatsapp(hospital, self.outbox.ledger.people.consented(keys, Channel.WHATSAPP))
        return planned.with_columns(phone_e164=pl.when(agreed).then("phone_e164"))

    def _demand_fresh_answers(self, hospital: Hospital, day: date) -> None:
        now, age = self.outbox.clock(), timedelta(hours=self.outbox.terms.policy.feedback.max_answer_age_hours)
        for source in FRESH:
            last = self.outbox.ledger.answers.last_refresh(source)
            if last is None or not is_fresh(last[0], now, age):
                read = f"last read {last[0]:%Y-%m-%d %H:%M} UTC" if last else "never read"
                what = source.replace("_", " ")
                raise AnswersStale(
                    f"{hospital.code} {day}: no reminder was sent, because {what} of Track.co were {read}. "
                    "Materialise the asset `answers`, then run this partition again"
                )


def _counts(decided: pl.DataFrame) -> dict[str, int]:
    counted = decided.group_by(outcome_text("result", "reason").alias("result")).len().sort("result")
    return dict(counted.iter_rows())
