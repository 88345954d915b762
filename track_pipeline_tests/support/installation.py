"""One hospital for a test: a lake, a ledger, a Track.co that is a list, and a clock that a test can move.

`test_dispatch`, `test_reminders` and `test_feedback` use it to send one plan through the real services.
"""

from dataclasses import dataclass, field
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import polars as pl

from track_pipeline.adapters.lake import Lake
from track_pipeline.adapters.ledger import Ledger, open_ledger
from track_pipeline.adapters.track.sender import TrackSender
from track_pipeline.config.hospitals import load_registry
from track_pipeline.config.policy import load_policy
from track_pipeline.demo.surveys import demo_catalog
from track_pipeline.domain.areas import Area
from track_pipeline.domain.channels import Channel
from track_pipeline.domain.hospital import Hospital
from track_pipeline.domain.policy import Policy
from track_pipeline.domain.surveys import SurveyCatalog
from track_pipeline.domain.waves import Wave
from track_pipeline.ports import Alert
from track_pipeline.services.daily.dispatch import Approval, Dispatcher, DispatchReport
from track_pipeline.services.daily.reminders import Reminder, ReminderReport
from track_pipeline.services.daily.sending import Outbox, Partition, Terms
from track_pipeline.services.feedback.reading import FeedbackReader, FeedbackReport
from track_pipeline.services.feedback.reconciliation import Reconciler, Reconciliation
from track_pipeline.services.insight.status import funnel_of
from track_pipeline_tests.support.builders import DAY, HASHER, encounters, hospital, planned
from track_pipeline_tests.support.fake_reader import FakeReader
from track_pipeline_tests.support.fake_sender import FakeSender

AREA = Area.INTERNACAO
# The morning after DAY: a Tuesday.
NINE = datetime(2025, 3, 11, 9, tzinfo=ZoneInfo("America/Sao_Paulo"))


class AlertList(list[Alert]):
    """The sent alerts, as a list."""

    def send(self, alert: Alert) -> None:
        self.append(alert)


FIRST_REMINDER = Wave(7)


@dataclass
class Office:
    """The services of one hospital and area, with the state that a test changes."""

    home: Path
    now: datetime = NINE
    hospital: Hospital = field(default_factory=hospital)
    catalog: SurveyCatalog = field(default_factory=lambda: demo_catalog(load_registry()))
    batch_size: int = 500
    validity_days: int = 15
    sends: bool = True
    track: FakeSender = field(default_factory=FakeSender)
    reader: FakeReader = field(default_factory=FakeReader)
    alerts: AlertList = field(default_factory=AlertList)

    def __post_init__(self) -> None:
        self.lake = Lake(self.home)
        self.ledger: Ledger = open_ledger(f"sqlite:///{self.home}/ledger.sqlite", clock=lambda: self.now)

    @property
    def policy(self) -> Policy:
        policy = load_policy()
        limits = {"batch_size": self.batch_size, "validity_days": self.validity_days}
        sending = policy.sending.model_copy(update=limits)
        return policy.model_copy(update={"sending": sending})

    @property
    def outbox(self) -> Outbox:
        sender = TrackSender(self.track, self.catalog, self.policy, lambda: self.now)
        terms = Terms(self.policy, {"HMS": "rules-1"}, self.sends)
        return Outbox(self.lake, self.ledger, sender, terms, lambda: self.now, self.alerts)

    def plan(self, *rows: dict[str, Any], extract: int | None = None) -> None:
        """Write a plan, and an extract of as many rows, to the lake and the ledger."""
        plan = planned(*rows)
        count = plan.height if extract is None else extract
        self.lake.write(encounters(*({} for _ in range(count))), "extract", AREA, DAY, "HMS")
        made_of = self.lake.digest("extract", AREA, DAY, "HMS")
        self.lake.write(plan, "invitation", AREA, DAY, "HMS", made_of=made_of)
        decided = plan.select(
            "database", "encounter_id", "unit", "setor", "survey_uuid", "channel", "result", "reason", rule="decided_by"
        ).with_columns(rules_version=None, policy_version=None)
        self.ledger.encounters.record_plan("HMS", DAY, AREA, decided)

    def dispatch(
        self, channel: Channel = Channel.EMAIL, approval: Approval | None = None, run_id: str = "run"
    ) -> DispatchReport:
        return Dispatcher(self.outbox).dispatch(Partition(self.hospital, DAY, AREA, channel), run_id, approval)

    def remind(self, wave: Wave = FIRST_REMINDER, run_id: str = "reminder-run") -> ReminderReport:
        return Reminder(self.outbox).remind(self.hospital, DAY, AREA, wave, run_id)

    def refresh(self) -> FeedbackReport:
        reader = FeedbackReader(self.reader, self.ledger, HASHER, self.policy, lambda: self.now, self.alerts)
        return reader.refresh()

    def reconcile(self) -> Reconciliation:
        return Reconciler(self.reader, self.ledger, self.policy, lambda: self.now).reconcile()

    def later(self, **delta: float) -> None:
        """Move the clock forward and read new data from Track.co."""
        self.now += timedelta(**delta)
        self.refresh()

    def send_id(self, encounter: int, wave: str = "invite") -> str:
        """Return the id of the send of an encounter in a wave."""
        found = self.ledger.encounters.history("HMS", encounter).sends
        return str(next(send["send_id"] for send in found if send["wave"] == wave))

    def funnel(self) -> dict[str, Any]:
        """Return the counts above zero, by outcome and by reason."""
        funnel = funnel_of(self.ledger, DAY, "HMS", AREA)
        assert funnel.closes
        counts = {name: getattr(funnel, name) for name in ("sent", "rejected", "unknown", "deferred", "suppressed")}
        return {name: count for name, count in counts.items() if count} | funnel.held_by

    def see(self, encounter: int, *, key: str, days: int, died: bool = False, code: str = "HMC") -> None:
        """Record an encounter of a person in a hospital, some days after DAY."""
        row = {"person_key": key, "database": code, "encounter_id": encounter, "died": died}
        self.ledger.people.record_sightings(code, DAY + timedelta(days=days), pl.DataFrame([row]))
