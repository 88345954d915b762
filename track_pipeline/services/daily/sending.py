"""Sending of lines in batches: claim, POST, record the outcome. Every line ends with one outcome.

Invitations and reminders are both sent here; their callers decide which lines. The ledger records whether a line was
sent. A crash at any point can only leave claims without an outcome, which count as `unknown`.
"""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import date, datetime, time, timedelta
from typing import Final

import polars as pl

from track_pipeline.adapters.lake import Lake
from track_pipeline.adapters.ledger import Ledger
from track_pipeline.domain.areas import Area
from track_pipeline.domain.calendar import window_is_open
from track_pipeline.domain.channels import Channel
from track_pipeline.domain.claims import Claim, ClaimVerdict
from track_pipeline.domain.encounter import ENCOUNTER_KEY
from track_pipeline.domain.hospital import Hospital
from track_pipeline.domain.outcomes import Deferral, Outcome, Suppression
from track_pipeline.domain.pauses import ALL_SENDING, scopes_over
from track_pipeline.domain.policy import Policy
from track_pipeline.domain.sends import SendState
from track_pipeline.domain.waves import INVITE, Wave
from track_pipeline.errors import ConfigError, TrackPipelineError
from track_pipeline.ports import Accepted, Alerts, Refused, RefusedInPart, SendFailure, Stopped, SurveySender, Unknown
from track_pipeline.services.alerting.problems import throttled

SURVEY_LINK: Final = Channel.LINK.step

# One row per created link, with what the front desk needs to give it to the patient.
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

# A refused batch is halved until each bad line is alone; this many requests isolate a few bad lines.
_MOST_REQUESTS_PER_BATCH: Final = 40

_NEXT_STEP: Final = {
    Deferral.UNREACHABLE: "Run this partition again once Track.co answers; `track status` counts the unknown sends.",
    Deferral.BUSY: "Run this partition again later.",
    Deferral.TOKEN_REFUSED: "Set a valid API_TOKEN and run the failed partitions again.",
    Deferral.THROTTLED: "Solve the captcha at Track.co, run `track pause remove all`, then run these partitions again.",
}


class DispatchStopped(TrackPipelineError):  # noqa: N818 - a state, not a fault of this program
    """A dispatch stopped before its last line. The ledger has the sent lines; the other lines wait."""


@dataclass(frozen=True)
class Partition:
    """The lines of one hospital-day and area that go through one channel in one wave."""

    hospital: Hospital
    day: date
    area: Area
    channel: Channel
    wave: Wave = INVITE

    def __str__(self) -> str:
        wave = f" {self.wave}" if self.wave.is_reminder else ""
        return f"{self.hospital.code} {self.day} {self.area}{wave} by {self.channel}"


@dataclass
class SendReport:
    """Counts of lines of one sending; the ledger has the state of the whole partition."""

    lines: int = 0
    earlier: int = 0
    sent: int = 0
    rejected: int = 0
    unknown: int = 0
    held: dict[str, int] = field(default_factory=dict)

    def add_held(self, held: str, lines: int) -> None:
        """Add lines that were not sent, by the text of their outcome."""
        if lines:
            self.held[held] = self.held.get(held, 0) + lines

    def __str__(self) -> str:
        held = "".join(f", {count} {reason}" for reason, count in sorted(self.held.items()))
        counts = f"{self.sent} sent, {self.rejected} rejected, {self.unknown} unknown"
        return f"{self.lines} lines, {self.earlier} with an earlier outcome, {counts}{held}"


@dataclass(frozen=True)
class Terms:
    """What all sending of an installation is subject to.

    rules_versions: by hospital code. sends: False in a dry run, which does everything except claim and POST.
    """

    policy: Policy
    rules_versions: Mapping[str, str]
    sends: bool


@dataclass(frozen=True)
class Outbox:
    """Sending of lines."""

    lake: Lake
    ledger: Ledger
    sender: SurveySender
    terms: Terms
    clock: Callable[[], datetime]
    alerts: Alerts

    def send(self, partition: Partition, lines: pl.DataFrame, run_id: str, report: SendReport) -> None:
        """Send lines (columns of `PLAN`, and `extra`) in batches while sending is allowed; add the counts to `report`.

        Raises ConfigError before any claim when a template is missing, and DispatchStopped when Track.co does not
        answer reliably; the message says what to do.
        """
        for unit in lines.get_column("unit").unique():
            self.sender.check(unit, partition.channel)
        # The ledger keeps the text of the policy as long as the sends, to show the basis of each send.
        if self.terms.sends:
            self.ledger.policies.remember(self.terms.policy.version, self.terms.policy.model_dump_json())
        session = _Session(self, partition, run_id, report)
        with self.ledger.sends.dispatching(run_id):
            session.send(list(self._batches(lines)))

    def why_wait(self, partition: Partition) -> Outcome | None:
        """Return the deferred outcome of lines that may not be sent now; None when they may be sent."""
        hospital, channel = partition.hospital, partition.channel
        if not self.terms.sends:
            return Outcome.deferred(Deferral.DRY_RUN)
        scopes = scopes_over(hospital.code, channel)
        if scopes & set(self.ledger.pauses.all().get_column("scope")):
            return Outcome.deferred(Deferral.PAUSED)
        # Creating a link notifies no one, so the send window does not apply.
        if channel.contacts_person and not window_is_open(hospital.send_window, self.clock().astimezone(hospital.zone)):
            return Outcome.deferred(Deferral.WINDOW)
        return None

    def hold(self, partition: Partition, lines: pl.DataFrame, held: Outcome, report: SendReport) -> None:
        """Record why lines were not sent. An extra link is no outcome of its encounter."""
        report.add_held(str(held), lines.height)
        own = lines.filter(~pl.col("extra")).select(ENCOUNTER_KEY)
        hospital_day = (partition.hospital.code, partition.day)
        if partition.wave.is_reminder:
            noted = own.with_columns(result=pl.lit(held.kind.value), reason=pl.lit(held.reason))
            self.ledger.encounters.note(*hospital_day, partition.wave.key, noted)
        else:
            self.ledger.encounters.hold(*hospital_day, partition.area, own.with_columns(held=pl.lit(str(held))))

    def _batches(self, lines: pl.DataFrame) -> Iterator[pl.DataFrame]:
        for of_survey in lines.partition_by("unit", "survey_uuid", maintain_order=True):
            yield from of_survey.iter_slices(self.terms.policy.sending.batch_size)


@dataclass
class _Session:
    """The state of one call of `Outbox.send`."""

    outbox: Outbox
    partition: Partition
    run_id: str
    report: SendReport

    def send(self, batches: list[pl.DataFrame]) -> None:
        outbox, partition = self.outbox, self.partition
        for index, batch in enumerate(batches):
            try:
                waiting = outbox.why_wait(partition)
                if waiting is None:
                    outbox.sender.await_turn()
                    # Checked again before any claim: waiting for a turn can take minutes.
                    waiting = outbox.why_wait(partition)
                if waiting is None:
                    self._send_batch(batch)
                else:
                    outbox.hold(partition, batch, waiting, self.report)
            except SendFailure as failure:
                self._stop(failure, batches[index:])
                return

    def _send_batch(self, batch: pl.DataFrame) -> None:
        verdicts = self.outbox.ledger.sends.claim(batch, self._claim())
        for reason in Suppression:
            refused = verdicts.filter(pl.col("verdict") == reason.value)
            if not refused.is_empty():
                self.outbox.hold(self.partition, refused, Outcome.suppressed(reason), self.report)
        # The outcome of these lines comes from a newer plan.
        withdrawn = verdicts.filter(pl.col("verdict") == ClaimVerdict.WITHDRAWN.value).height
        self.report.add_held(ClaimVerdict.WITHDRAWN, withdrawn)
        claimed = verdicts.filter(pl.col("verdict") == ClaimVerdict.CLAIMED.value)
        if claimed.is_empty():
            return
        try:
            self._post(claimed, requests_left=_MOST_REQUESTS_PER_BATCH)
        except (SendFailure, ConfigError):
            # Lines that are still claimed were not sent: a request that may have left is recorded before it raises.
            self.outbox.ledger.sends.release(claimed.get_column("send_id"))
            raise

    def _claim(self) -> Claim:
        hospital, policy = self.partition.hospital, self.outbox.terms.policy
        today = self.outbox.clock().astimezone(hospital.zone).date()

        def days_ago(days: int) -> datetime:
            return datetime.combine(today - timedelta(days=days - 1), time(), hospital.zone)

        return Claim(
            wave=self.partition.wave,
            cohort_date=self.partition.day,
            run_id=self.run_id,
            policy_version=policy.version,
            rules_version=self.outbox.terms.rules_versions[hospital.code],
            any_survey_since=days_ago(policy.quarantine.any_survey_after_invite),
            this_survey_since=days_ago(policy.quarantine.this_survey_after_invite),
            any_survey_days=policy.quarantine.any_survey_after_invite,
            this_survey_days=policy.quarantine.this_survey_after_invite,
            most_reminders=len(policy.waves),
        )

    def _post(self, claimed: pl.DataFrame, requests_left: int) -> int:
        """POST claimed lines and record their outcome; return the number of requests that are left for them."""
        ledger, send_ids = self.outbox.ledger, claimed.get_column("send_id").to_list()
        try:
            accepted = self.outbox.sender.post(self.partition.hospital, self.partition.channel, claimed)
        except Refused as refusal:
            if claimed.height == 1 or requests_left <= 1 or not isinstance(refusal, RefusedInPart):
                self.report.rejected += ledger.sends.settle(send_ids, SendState.REJECTED, reason=refusal.reason)
                return requests_left - 1
            half = claimed.height // 2
            requests_left = self._post(claimed.head(half), requests_left - 1)
            return self._post(claimed.tail(-half), requests_left)
        except Unknown as failure:
            self.report.unknown += ledger.sends.settle(send_ids, SendState.UNKNOWN, reason=failure.reason)
            raise
        self._record(claimed, accepted)
        return requests_left - 1

    def _record(self, claimed: pl.DataFrame, accepted: Accepted) -> None:
        ledger = self.outbox.ledger
        taken = claimed.filter(~pl.col("send_id").is_in(list(accepted.refused)))
        made = self._keep_links(taken, accepted.links) if accepted.links else taken.clear()
        for reason in sorted(set(accepted.refused.values())):
            send_ids = [send_id for send_id, why in accepted.refused.items() if why == reason]
            self.report.rejected += ledger.sends.settle(
                send_ids, SendState.REJECTED, reason=reason, distribution_id=accepted.distribution_id
            )
        if self.partition.channel == Channel.LINK:
            # Without a link in the response, it is unknown whether Track.co created one.
            missing = taken.join(made, on="send_id", how="anti").get_column("send_id")
            self.report.unknown += ledger.sends.settle(missing, SendState.UNKNOWN, reason="no_link")
            taken = made
        sent = taken.get_column("send_id")
        self.report.sent += ledger.sends.settle(sent, SendState.SENT, distribution_id=accepted.distribution_id)

    def _keep_links(self, taken: pl.DataFrame, links: Mapping[str, str]) -> pl.DataFrame:
        """Add links to the lake (`LINKS`) before the ledger records them as sent: a link that is not stored is lost."""
        partition = self.partition
        by_send = pl.DataFrame({"send_id": list(links), "link": list(links.values())})
        made = taken.join(by_send, on="send_id").select(LINKS.names())
        self.outbox.lake.add(made, SURVEY_LINK, partition.area, partition.day, partition.hospital.code)
        return made

    def _stop(self, failure: SendFailure, unsent: list[pl.DataFrame]) -> None:
        """Record why the remaining lines wait; raise DispatchStopped, except for a used-up budget."""
        partition, ledger = self.partition, self.outbox.ledger
        if isinstance(failure, Stopped) and failure.reason == Deferral.THROTTLED:
            ledger.pauses.add(ALL_SENDING, reason=Deferral.THROTTLED, source="Track.co answered 405")
            self.outbox.alerts.send(throttled())
        hospital_day = (partition.hospital.code, partition.day)
        sent = ledger.sends.of_wave(*hospital_day, partition.wave, partition.channel)
        # Lines that this batch suppressed stay suppressed.
        dropped = ledger.encounters.suppressed(*hospital_day)
        rest = pl.concat(unsent).join(sent, on=ENCOUNTER_KEY, how="anti")
        if not partition.wave.is_reminder:
            rest = rest.join(dropped, on=[*ENCOUNTER_KEY, "area", "channel"], how="anti")
        reason = Deferral.UNREACHABLE if isinstance(failure, Unknown) else Deferral(failure.reason)
        self.outbox.hold(partition, rest, Outcome.deferred(reason), self.report)
        if reason is Deferral.BUDGET:
            return
        raise DispatchStopped(f"{partition}: {failure}; {rest.height} lines wait. {_NEXT_STEP[reason]}") from failure
