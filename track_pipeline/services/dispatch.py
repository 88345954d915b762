"""The dispatch of one plan through one channel: claim, send, record. The ledger decides, not the run.

Every planned line of the channel ends with a name: sent, rejected, unknown, deferred or suppressed. A crash at
any point leaves at worst claims without an outcome, which count as `unknown` and never go again by themselves.
"""

import logging
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import date, datetime, time, timedelta
from typing import Final

import polars as pl

from track_pipeline.adapters.lake import Lake
from track_pipeline.adapters.ledger import Claim, Ledger
from track_pipeline.adapters.track_api import NotSent, Refused, SendFailure, Stopped, Unknown
from track_pipeline.domain.areas import Area
from track_pipeline.domain.gates import Finding, doubts, invariants, volume_days
from track_pipeline.domain.outcomes import Deferral, Suppression
from track_pipeline.domain.plan import PLANNED
from track_pipeline.domain.sending import window_is_open
from track_pipeline.errors import TrackPipelineError
from track_pipeline.policy import Policy
from track_pipeline.registry import Hospital
from track_pipeline.services.extraction import EXTRACT
from track_pipeline.services.invitation import INVITATION
from track_pipeline.services.messages import Accepted, LineChannel, Mailroom

logger = logging.getLogger(__name__)

INVITE: Final = "invite"
SURVEY_LINK: Final = "survey_link"

# A refused batch is halved until the bad lines are alone; so many requests are enough for a few of them.
_MOST_REQUESTS_PER_BATCH: Final = 40


class GateTripped(TrackPipelineError):  # noqa: N818 - it is a gate, not a fault
    """A partition looks too strange to be sent; nothing was."""


class DispatchStopped(TrackPipelineError):  # noqa: N818
    """A dispatch ended before its last line; what had left is in the ledger, the rest waits."""


@dataclass(frozen=True)
class Approval:
    """An operator's word for tripped gates, with the reason, which is kept."""

    gates: frozenset[str] = frozenset()
    reason: str = ""


@dataclass(frozen=True)
class Partition:
    """One plan and the channel it is sent through."""

    hospital: Hospital
    day: date
    area: Area
    channel: LineChannel

    def __str__(self) -> str:
        return f"{self.hospital.code} {self.day} {self.area} by {self.channel}"


@dataclass
class DispatchReport:
    """What one dispatch did, in numbers of lines; the partition's whole state is the ledger's."""

    lines: int = 0
    earlier: int = 0
    sent: int = 0
    rejected: int = 0
    unknown: int = 0
    held: dict[str, int] = field(default_factory=dict)
    findings: list[Finding] = field(default_factory=list)


@dataclass(frozen=True)
class Dispatcher:
    """Sends plans. `sends` is False in a dry run, which does everything but claim and post."""

    lake: Lake
    ledger: Ledger
    mailroom: Mailroom
    policy: Policy
    rules_versions: dict[str, str]
    clock: Callable[[], datetime]
    sends: bool

    def dispatch(self, partition: Partition, run_id: str, approval: Approval | None = None) -> DispatchReport:
        """Sends what the plan has and the ledger has not. Safe to run any number of times, also at once.

        Raises NotInLake without a plan, GateTripped when the plan looks wrong, ConfigError when a template is
        missing, DispatchStopped when Track.co could not be relied on; the message says what to do.
        """
        hospital, day = partition.hospital, partition.day
        plan = self.lake.read(INVITATION, partition.area, day, hospital.code)
        lines = _lines_of(plan, partition)
        earlier = self.ledger.settled(hospital.code, day, INVITE, partition.channel)
        pending = lines.join(earlier, on=["database", "encounter_id"], how="anti", maintain_order="left")
        report = DispatchReport(lines=lines.height, earlier=lines.height - pending.height)
        session = _Session(self, partition, run_id, report)
        if pending.is_empty():
            return report
        self._pass_gates(session, plan, pending, approval or Approval())
        for unit in pending.get_column("unit").unique():
            self.mailroom.check(unit, partition.channel)
        session.send(pending)
        return report

    def why_wait(self, hospital: Hospital, channel: LineChannel, day: date) -> str | None:
        """Why lines of a partition may not be sent now, as `deferred:<reason>` or `suppressed:stale`."""
        local = self.clock().astimezone(hospital.zone)
        if (local.date() - day).days > hospital.max_age_days:
            return f"suppressed:{Suppression.STALE}"
        if not self.sends:
            return f"deferred:{Deferral.DRY_RUN}"
        scopes = {"all", f"hospital:{hospital.code}", f"channel:{channel}"}
        if scopes & set(self.ledger.pauses().get_column("scope")):
            return f"deferred:{Deferral.PAUSED}"
        # Nobody's telephone rings when a link is made.
        if channel != "link" and not window_is_open(hospital.send_window, local):
            return f"deferred:{Deferral.WINDOW}"
        return None

    def _pass_gates(self, session: "_Session", plan: pl.DataFrame, pending: pl.DataFrame, approval: Approval) -> None:
        partition = session.partition
        hospital, day = partition.hospital, partition.day
        extract = self.lake.read(EXTRACT, partition.area, day, hospital.code)
        volumes = self.ledger.volumes(hospital.code, partition.area, volume_days(day, self.policy.gates))
        findings = invariants(plan, extract, pending) + doubts(plan, extract, volumes, self.policy.gates)
        session.report.findings = findings
        approved = approval.gates if approval.reason else frozenset()
        tripped = [f for f in findings if not f.passed and not (f.waivable and f.gate in approved)]
        if not tripped:
            return
        session.hold(pending, f"deferred:{Deferral.GATE}")
        reasons = "; ".join(f"{finding.gate}: {finding.detail}" for finding in tripped)
        waivable = ", ".join(finding.gate for finding in tripped if finding.waivable)
        remedy = f"look at it, then run again with approve_gates = [{waivable}] and a reason" if waivable else ""
        raise GateTripped(f"{partition}: nothing was sent. {reasons}. {remedy or 'This is a fault to be mended.'}")


def _lines_of(plan: pl.DataFrame, partition: Partition) -> pl.DataFrame:
    """The planned lines of a channel; `extra` marks links that are made beside an invitation."""
    planned = plan.filter(pl.col("result") == PLANNED)
    is_own = pl.col("channel") == partition.channel
    if partition.channel == "link" and partition.hospital.links == "all":
        return planned.with_columns(extra=~is_own, channel=pl.lit("link"))
    return planned.filter(is_own).with_columns(extra=pl.lit(value=False))


@dataclass
class _Session:
    """One dispatch under way: sends batch after batch and gives every line its name."""

    dispatcher: Dispatcher
    partition: Partition
    run_id: str
    report: DispatchReport

    def send(self, pending: pl.DataFrame) -> None:
        batches = list(self._batches(pending))
        for place, batch in enumerate(batches):
            waiting = self.dispatcher.why_wait(self.partition.hospital, self.partition.channel, self.partition.day)
            if waiting is not None:
                self.hold(batch, waiting)
                continue
            try:
                self._send_batch(batch)
            except SendFailure as failure:
                self._stop(failure, batches[place:])

    def hold(self, lines: pl.DataFrame, held: str) -> None:
        """Names why lines did not leave. Links beside an invitation are not what became of an encounter."""
        self.report.held[held] = self.report.held.get(held, 0) + lines.height
        own = lines.filter(~pl.col("extra")).select("database", "encounter_id", held=pl.lit(held))
        partition = self.partition
        self.dispatcher.ledger.hold(partition.hospital.code, partition.day, partition.area, own)

    def _batches(self, pending: pl.DataFrame) -> Iterator[pl.DataFrame]:
        size = self.dispatcher.policy.sending.batch_size
        for lines in pending.partition_by("unit", "survey_uuid", maintain_order=True):
            yield from lines.iter_slices(size)

    def _send_batch(self, batch: pl.DataFrame) -> None:
        verdicts = self.dispatcher.ledger.claim(batch, self._claim())
        for reason in Suppression:
            refused = verdicts.filter(pl.col("verdict") == reason.value)
            if not refused.is_empty():
                self.hold(refused, f"suppressed:{reason}")
        claimed = verdicts.filter(pl.col("verdict") == "claimed")
        if not claimed.is_empty():
            self._post(claimed, requests_left=_MOST_REQUESTS_PER_BATCH)

    def _claim(self) -> Claim:
        hospital, policy = self.partition.hospital, self.dispatcher.policy
        today = self.dispatcher.clock().astimezone(hospital.zone).date()

        def days_ago(days: int) -> datetime:
            return datetime.combine(today - timedelta(days=days - 1), time(), hospital.zone)

        return Claim(
            wave=INVITE,
            cohort_date=self.partition.day,
            run_id=self.run_id,
            policy_version=policy.version,
            rules_version=self.dispatcher.rules_versions[hospital.code],
            any_survey_since=days_ago(policy.quarantine.any_survey_after_invite),
            this_survey_since=days_ago(policy.quarantine.this_survey_after_invite),
        )

    def _post(self, claimed: pl.DataFrame, requests_left: int) -> int:
        """Posts claimed lines and settles them; returns how many more requests may be spent on them."""
        ledger, send_ids = self.dispatcher.ledger, claimed.get_column("send_id").to_list()
        try:
            accepted = self.dispatcher.mailroom.post(self.partition.hospital, self.partition.channel, claimed)
        except Refused as refusal:
            if claimed.height == 1 or requests_left <= 1 or refusal.reason not in ("http_413", "http_422"):
                self.report.rejected += ledger.settle(send_ids, "rejected", reason=refusal.reason)
                return requests_left - 1
            half = claimed.height // 2
            requests_left = self._post(claimed.head(half), requests_left - 1)
            return self._post(claimed.tail(-half), requests_left)
        except Unknown as failure:
            self.report.unknown += ledger.settle(send_ids, "unknown", reason=failure.reason)
            raise
        except (NotSent, Stopped):
            ledger.release(send_ids)
            raise
        self._record(claimed, accepted)
        return requests_left - 1

    def _record(self, claimed: pl.DataFrame, accepted: Accepted) -> None:
        ledger = self.dispatcher.ledger
        if accepted.links:
            self._keep_links(claimed, accepted)
        for reason in sorted(set(accepted.refused.values())):
            send_ids = [send_id for send_id, why in accepted.refused.items() if why == reason]
            self.report.rejected += ledger.settle(
                send_ids, "rejected", reason=reason, distribution_id=accepted.distribution_id
            )
        taken = claimed.filter(~pl.col("send_id").is_in(list(accepted.refused))).get_column("send_id").to_list()
        self.report.sent += ledger.settle(taken, "sent", distribution_id=accepted.distribution_id)

    def _keep_links(self, claimed: pl.DataFrame, accepted: Accepted) -> None:
        """Adds links to the lake (`LINKS`) before the ledger calls them made: a link nobody has is lost."""
        lake, partition = self.dispatcher.lake, self.partition
        place = (SURVEY_LINK, partition.area, partition.day, partition.hospital.code)
        links = pl.DataFrame({"send_id": list(accepted.links), "link": list(accepted.links.values())})
        made = claimed.join(links, on="send_id").select(LINKS.names())
        earlier = lake.find(*place)
        lake.write(made if earlier is None else pl.concat([earlier, made]), *place)

    def _stop(self, failure: SendFailure, unsent: list[pl.DataFrame]) -> None:
        """Names what the lines of a broken-off dispatch wait for, and says what to do."""
        partition, ledger = self.partition, self.dispatcher.ledger
        if isinstance(failure, Stopped) and failure.reason == Deferral.THROTTLED:
            ledger.pause("all", reason=Deferral.THROTTLED, source="Track.co answered 405")
        left = ledger.settled(partition.hospital.code, partition.day, INVITE, partition.channel)
        rest = pl.concat(unsent).join(left, on=["database", "encounter_id"], how="anti")
        reason = Deferral.UNREACHABLE if isinstance(failure, Unknown) else Deferral(failure.reason)
        self.hold(rest, f"deferred:{reason}")
        if reason is Deferral.BUDGET:
            return
        logger.error("%s: stopped, %d lines wait (%s)", partition, rest.height, failure.reason)
        raise DispatchStopped(f"{partition}: {failure}; {rest.height} lines wait. {_NEXT_STEP[reason]}") from failure


# One row per link made: what the front desk needs to hand it over.
LINKS: Final = pl.Schema(
    {
        "send_id": pl.String(),
        "database": pl.String(),
        "encounter_id": pl.Int64(),
        "unit": pl.String(),
        "area": pl.String(),
        "setor": pl.String(),
        "patient_name": pl.String(),
        "link": pl.String(),
    }
)

_NEXT_STEP: Final = {
    Deferral.UNREACHABLE: "Run this partition again once Track.co answers; `track status` names what is unknown.",
    Deferral.BUSY: "Run this partition again later.",
    Deferral.TOKEN_REFUSED: "Put a valid API_TOKEN in the settings, then run the failed partitions again.",
    Deferral.THROTTLED: "Solve the captcha at Track.co, `track pause remove all`, then run these partitions again.",
}
