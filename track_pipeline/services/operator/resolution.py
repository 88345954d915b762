"""An operator's verdict on a send with unknown outcome: finds the send and checks that it may be resolved.

The ledger records the verdict, with its reason and author.
"""

import polars as pl

from track_pipeline.adapters.ledger import Ledger
from track_pipeline.domain.sends import SendState, Verdict
from track_pipeline.errors import TrackPipelineError


class NotResolved(TrackPipelineError):  # noqa: N818 - read as "the send is not resolved"
    """No send was resolved; the message says what to do first."""


def resolve(
    ledger: Ledger, hospital: str, encounter: int, verdict: Verdict, reason: str, send_id: str | None = None
) -> int:
    """Record the outcome of the one unknown send to an encounter; return the number of sends: 1.

    `send_id` names the send if there are several, such as an invitation and a reminder, or sends of two databases that
    use the number. Raises NotResolved when there is no such send, when there are several and `send_id` is missing, and
    when the run that claimed it is still sending: a line that is being sent could be sent again.
    """
    subject = f"{hospital} {encounter}"
    unknown = ledger.sends.unresolved(hospital, encounter_id=encounter)
    if send_id is not None:
        unknown = unknown.filter(pl.col("send_id") == send_id)
    if unknown.is_empty():
        raise NotResolved(f"{subject}: there is no such send with an unknown outcome; see `track why {subject}`")
    if unknown.height > 1:
        raise NotResolved(
            f"{subject}: {unknown.height} sends have an unknown outcome. Name one with --send: {_listed(unknown)}"
        )
    [send] = unknown.to_dicts()
    if send["state"] == SendState.CLAIMED and ledger.sends.is_dispatching(send["run_id"]):
        raise NotResolved(f"{subject}: run {send['run_id']} is still sending it. Resolve it when that run has ended")
    return ledger.sends.resolve([send["send_id"]], verdict, reason, by="operator")


def _listed(sends: pl.DataFrame) -> str:
    what = pl.format("{} ({} by {}, {}, database {})", "send_id", "wave", "channel", "cohort_date", "database")
    return "; ".join(sends.sort("database", "cohort_date", "wave").select(what).to_series())
