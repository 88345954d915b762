"""Lines to claim in a ledger, and their outcomes, for the tests of the parts of the ledger.

Every default line is of a different, invented person.
"""

from dataclasses import replace
from datetime import UTC, date, datetime
from typing import Any

import polars as pl

from track_pipeline.adapters.ledger import Ledger, Recorded
from track_pipeline.adapters.ledger.answers import ANSWERS, DELIVERIES
from track_pipeline.domain.claims import LINES, Claim
from track_pipeline.domain.sends import SendState
from track_pipeline.domain.waves import INVITE, Wave

DAY = date(2025, 3, 9)
NOW = datetime(2025, 3, 10, 11, tzinfo=UTC)
INVITATION = Claim(
    INVITE, DAY, "run", "policy", "rules", any_survey_since=None, this_survey_since=None, most_reminders=2
)
REMINDER_7D = replace(INVITATION, wave=Wave(7))
REMINDER_14D = replace(INVITATION, wave=Wave(14))


def line(encounter_id: int = 1, **changes: Any) -> dict[str, Any]:
    return {
        "hospital": "HMS",
        "database": "HMS",
        "encounter_id": encounter_id,
        "unit": "HMS",
        "area": "exames",
        "setor": "RAIO X",
        "survey_uuid": "survey",
        "channel": "email",
        "cpf_key": f"cpf-{encounter_id}",
        "phone_key": None,
        "email_key": f"email-{encounter_id}",
        "extra": False,
    } | changes


def batch(*lines: dict[str, Any]) -> pl.DataFrame:
    return pl.DataFrame(lines, schema=LINES)


def claim(ledger: Ledger, *lines: dict[str, Any], claim: Claim = INVITATION) -> list[str]:
    """Claim the lines and return the verdicts."""
    return ledger.sends.claim(batch(*lines), claim).get_column("verdict").to_list()


def claim_ids(ledger: Ledger, *lines: dict[str, Any], claim: Claim = INVITATION) -> list[str]:
    return ledger.sends.claim(batch(*lines), claim).get_column("send_id").to_list()


def send(ledger: Ledger, *lines: dict[str, Any], claim: Claim = INVITATION) -> list[str]:
    ids = claim_ids(ledger, *lines, claim=claim)
    assert ledger.sends.settle(ids, SendState.SENT) == len(lines)
    return ids


def answer(
    ledger: Ledger,
    send_id: str,
    at: datetime,
    score: int | None = None,
    comment: str | None = None,
    interaction_id: str | None = None,
) -> Recorded:
    return ledger.answers.record(
        pl.DataFrame([(send_id, at, score, interaction_id, comment)], schema=ANSWERS, orient="row")
    )


def deliver(ledger: Ledger, send_id: str, *statuses: str, at: datetime = NOW) -> Recorded:
    """Record the statuses, all at one instant."""
    rows = [(send_id, status, at) for status in statuses]
    return ledger.answers.record_deliveries(pl.DataFrame(rows, schema=DELIVERIES, orient="row"))
