"""An operator's word on a send whose outcome nobody saw: which send is meant, and whether it may be spoken on.

How it is kept, with who said so and why, is the ledger's.
"""

import polars as pl

from track_pipeline.adapters.ledger import Ledger
from track_pipeline.domain.sends import SendState, Verdict
from track_pipeline.errors import TrackPipelineError


class NotResolved(TrackPipelineError):  # noqa: N818 - read as "the send is not resolved"
    """Nothing was settled; the message says what to name or to wait for."""


def resolve(
    ledger: Ledger, hospital: str, encounter: int, verdict: Verdict, reason: str, send_id: str | None = None
) -> int:
    """Settles the one send to an encounter whose outcome nobody saw; returns how many there were, which is 1.

    `send_id` says which, where there are several: of a reminder beside the invitation, or in two databases that use
    the number. Raises NotResolved when there is none, when there are several and none is named, and when the run
    that claimed it still sends: what is on its way would be sent again.
    """
    place = f"{hospital} {encounter}"
    unknown = ledger.sends.unresolved(hospital, encounter_id=encounter)
    if send_id is not None:
        unknown = unknown.filter(pl.col("send_id") == send_id)
    if unknown.is_empty():
        raise NotResolved(f"{place}: there is no such send with an unknown outcome; `track why {place}` tells")
    if unknown.height > 1:
        raise NotResolved(
            f"{place}: {unknown.height} sends have an unknown outcome. Name one with --send: {_listed(unknown)}"
        )
    [send] = unknown.to_dicts()
    if send["state"] == SendState.CLAIMED and ledger.sends.is_dispatching(send["run_id"]):
        raise NotResolved(f"{place}: run {send['run_id']} is still sending it; resolve it when that run has ended")
    return ledger.sends.resolve([send["send_id"]], verdict, reason, by="operator")


def _listed(sends: pl.DataFrame) -> str:
    what = pl.format("{} ({} by {}, {}, database {})", "send_id", "wave", "channel", "cohort_date", "database")
    return "; ".join(sends.sort("database", "cohort_date", "wave").select(what).to_series())
