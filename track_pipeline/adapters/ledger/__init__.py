"""The ledger: the permanent record of every send and of the outcome of every encounter.

The same code runs on SQLite (default) and PostgreSQL (production). The ledger keeps keyed hashes, never a name or a
contact.
"""

from track_pipeline.adapters.ledger.answers import ANSWERS, DELIVERIES, Recorded, Source
from track_pipeline.adapters.ledger.database import LedgerError
from track_pipeline.adapters.ledger.encounters import EncounterHistory
from track_pipeline.adapters.ledger.ledger import Ledger, open_ledger
from track_pipeline.domain.channels import Channel
from track_pipeline.domain.claims import Claim, ClaimVerdict
from track_pipeline.domain.outcomes import NO_OUTCOME
from track_pipeline.domain.waves import Wave

__all__ = [
    "ANSWERS",
    "DELIVERIES",
    "NO_OUTCOME",
    "Channel",
    "Claim",
    "ClaimVerdict",
    "EncounterHistory",
    "Ledger",
    "LedgerError",
    "Recorded",
    "Source",
    "Wave",
    "open_ledger",
]
