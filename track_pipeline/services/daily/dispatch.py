"""Dispatch of one plan through one channel: checks the gates, then sends the lines that the ledger does not have yet.

Safe to repeat, also in parallel. `sending` describes how lines are sent; `reminders` sends the reminders.
"""

import logging
from dataclasses import dataclass, field
from datetime import timedelta

import polars as pl

from track_pipeline.domain.channels import Channel
from track_pipeline.domain.encounter import ENCOUNTER_KEY
from track_pipeline.domain.gates import Finding, doubts, invariants, volume_days
from track_pipeline.domain.hospital import Hospital
from track_pipeline.domain.outcomes import PLANNED, Deferral, Outcome, Suppression
from track_pipeline.errors import TrackPipelineError
from track_pipeline.services.daily.extraction import EXTRACT
from track_pipeline.services.daily.invitation import INVITATION
from track_pipeline.services.daily.sending import Outbox, Partition, SendReport

logger = logging.getLogger(__name__)


class GateTripped(TrackPipelineError):  # noqa: N818 - a gate, not a fault
    """A gate found the partition implausible; no line was sent."""


@dataclass(frozen=True)
class Approval:
    """An operator's approval of tripped gates, with its recorded reason."""

    gates: frozenset[str] = frozenset()
    reason: str = ""

    def covers(self, finding: Finding) -> bool:
        """Return whether the finding is approved: it is waivable, its gate is named, and there is a reason."""
        return finding.waivable and finding.gate in self.gates and bool(self.reason)


@dataclass
class DispatchReport(SendReport):
    """Counts of one dispatch, and the findings of the gates."""

    findings: list[Finding] = field(default_factory=list)


@dataclass(frozen=True)
class Dispatcher:
    """Dispatch of plans, past the gates."""

    outbox: Outbox

    def dispatch(self, partition: Partition, run_id: str, approval: Approval | None = None) -> DispatchReport:
        """Send the pending lines of a partition and return their counts by outcome.

        Raises NotInLake without a plan, GateTripped when a gate holds the plan back, ConfigError when a template is
        missing, DispatchStopped when Track.co does not answer reliably; the message says what to do.
        """
        hospital, day, outbox = partition.hospital, partition.day, self.outbox
        plan = outbox.lake.read(INVITATION, partition.area, day, hospital.code)
        lines = _lines_of(plan, partition)
        earlier = outbox.ledger.sends.of_wave(hospital.code, day, partition.wave, partition.channel)
        dropped = outbox.ledger.encounters.suppressed(hospital.code, day)
        pending = lines.join(earlier, on=ENCOUNTER_KEY, how="anti", maintain_order="left").join(
            dropped, on=[*ENCOUNTER_KEY, "area", "channel"], how="anti", maintain_order="left"
        )
        report = DispatchReport(lines=lines.height, earlier=lines.height - pending.height)
        if pending.is_empty():
            return report
        if (outbox.clock().astimezone(hospital.zone).date() - day).days > hospital.max_age_days:
            outbox.hold(partition, pending, Outcome.suppressed(Suppression.STALE), report)
            return report
        self._pass_gates(partition, plan, pending, approval or Approval(), report)
        outbox.send(partition, pending, run_id, report)
        logger.info("invitations of %s by %s: %s", day, partition.channel, report)
        return report

    def drop_stale(self, hospital: Hospital) -> int:
        """Suppress as stale the lines that waited longer than `max_age_days`; return their number.

        No later run would handle these lines. In a dry run all lines keep waiting, for the comparison with the sends of
        another system.
        """
        if not self.outbox.terms.sends:
            return 0
        today = self.outbox.clock().astimezone(hospital.zone).date()
        oldest = today - timedelta(days=hospital.max_age_days)
        return self.outbox.ledger.encounters.suppress_waiting(
            hospital.code, oldest, Outcome.suppressed(Suppression.STALE)
        )

    def _pass_gates(
        self,
        partition: Partition,
        plan: pl.DataFrame,
        pending: pl.DataFrame,
        approval: Approval,
        report: DispatchReport,
    ) -> None:
        outbox, hospital, gates = self.outbox, partition.hospital, self.outbox.terms.policy.gates
        key = (partition.area, partition.day, hospital.code)
        extract = outbox.lake.read(EXTRACT, *key)
        is_of_extract = outbox.lake.made_of(INVITATION, *key) == outbox.lake.digest(EXTRACT, *key)
        volumes = outbox.ledger.encounters.volumes(hospital.code, partition.area, volume_days(partition.day, gates))
        report.findings = invariants(plan, extract, pending, is_of_extract=is_of_extract) + doubts(
            plan, extract, volumes, gates
        )
        tripped = [finding for finding in report.findings if not finding.passed and not approval.covers(finding)]
        if not tripped:
            return
        outbox.hold(partition, pending, Outcome.deferred(Deferral.GATE), report)
        reasons = "; ".join(f"{finding.gate}: {finding.detail}" for finding in tripped)
        waivable = ", ".join(finding.gate for finding in tripped if finding.waivable)
        remedy = f"Check the day, then run again with approve_gates = [{waivable}] and a reason." if waivable else ""
        raise GateTripped(f"{partition}: nothing was sent. {reasons}. {remedy or 'No approval can pass it.'}")


def _lines_of(plan: pl.DataFrame, partition: Partition) -> pl.DataFrame:
    """Return the planned lines of a channel; `extra` marks links in addition to an invitation."""
    planned = plan.filter(pl.col("result") == PLANNED)
    is_own = pl.col("channel") == partition.channel.value
    if partition.channel == Channel.LINK and partition.hospital.links == "all":
        return planned.with_columns(extra=~is_own, channel=pl.lit(Channel.LINK.value))
    return planned.filter(is_own).with_columns(extra=pl.lit(value=False))
