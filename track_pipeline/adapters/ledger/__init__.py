"""The permanent record of who was contacted, and of what became of every encounter.

SQLite by default, PostgreSQL in production, one code for both. It keeps keyed hashes, never a name or a contact.
"""

from track_pipeline.adapters.ledger.claims import Claim, ClaimVerdict, SendChannel, Wave
from track_pipeline.adapters.ledger.database import LedgerError
from track_pipeline.adapters.ledger.encounters import EncounterHistory
from track_pipeline.adapters.ledger.feedback import ANSWERS, DELIVERIES, Recorded, Source
from track_pipeline.adapters.ledger.funnel import NO_OUTCOME
from track_pipeline.adapters.ledger.ledger import Ledger, open_ledger

__all__ = [
    "ANSWERS",
    "DELIVERIES",
    "NO_OUTCOME",
    "Claim",
    "ClaimVerdict",
    "EncounterHistory",
    "Ledger",
    "LedgerError",
    "Recorded",
    "SendChannel",
    "Source",
    "Wave",
    "open_ledger",
]
