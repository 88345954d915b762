"""The permanent record of who was contacted, and of what became of every encounter.

SQLite by default, PostgreSQL in production, one code for both. It keeps keyed hashes, never a name or a contact.
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
