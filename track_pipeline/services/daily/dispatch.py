"""The dispatch of one plan through one channel: what the plan has and the ledger has not, past the gates.

Safe to run any number of times, also at once. How lines leave is `sending`'s; reminders are in `reminders`.
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


class GateTripped(TrackPipelineError):  # noqa: N818 - it is a gate, not a fault
    """A partition looks too strange to be sent; nothing was."""


@dataclass(frozen=True)
class Approval:
    """An operator's word for tripped gates, with the reason, which is kept."""

    gates: frozenset[str] = frozenset()
    reason: str = ""

    def covers(self, finding: Finding) -> bool:
        """Whether a finding may be passed: it is waivable, named, and there is a reason."""
        return finding.waivable and finding.gate in self.gates and bool(self.reason)


@dataclass
class DispatchReport(SendReport):
    """What one dispatch did, and what the gates saw."""

    findings: list[Finding] = field(default_factory=list)


@dataclass(frozen=True)
class Dispatcher:
    """Sends plans."""

    outbox: Outbox

    def dispatch(self, partition: Partition, run_id: str, approval: Approval | None = None) -> DispatchReport:
        """Sends a partition's pending lines and says what became of them.

        Raises NotInLake without a plan, GateTripped when the plan looks wrong, ConfigError when a template is
        missing, DispatchStopped when Track.co could not be relied on; the message says what to do.
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
        """Names what waited for longer than anybody is asked about; no run would touch it any more.

        In a dry run everything waits, to be compared with what another system sent.
        """
        if not self.outbox.sends:
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
        outbox, hospital, gates = self.outbox, partition.hospital, self.outbox.policy.gates
        place = (partition.area, partition.day, hospital.code)
        extract = outbox.lake.read(EXTRACT, *place)
        is_of_extract = outbox.lake.made_of(INVITATION, *place) == outbox.lake.digest(EXTRACT, *place)
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
        remedy = f"Look at it, then run again with approve_gates = [{waivable}] and a reason." if waivable else ""
        raise GateTripped(f"{partition}: nothing was sent. {reasons}. {remedy or 'No approval opens it.'}")


def _lines_of(plan: pl.DataFrame, partition: Partition) -> pl.DataFrame:
    """The planned lines of a channel; `extra` marks links that are made beside an invitation."""
    planned = plan.filter(pl.col("result") == PLANNED)
    is_own = pl.col("channel") == partition.channel.value
    if partition.channel == Channel.LINK and partition.hospital.links == "all":
        return planned.with_columns(extra=~is_own, channel=pl.lit(Channel.LINK.value))
    return planned.filter(is_own).with_columns(extra=pl.lit(value=False))
