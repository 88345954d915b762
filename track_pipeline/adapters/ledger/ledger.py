"""The ledger as the rest of the project knows it: its parts as one, and how to open it.

What a part can do is in the part's own module.
"""

from collections.abc import Callable
from datetime import UTC, datetime

from track_pipeline.adapters.ledger.alerts import OpenAlerts
from track_pipeline.adapters.ledger.consent import Consent
from track_pipeline.adapters.ledger.database import open_database
from track_pipeline.adapters.ledger.encounters import Encounters
from track_pipeline.adapters.ledger.erasure import Erasure
from track_pipeline.adapters.ledger.feedback import Feedback
from track_pipeline.adapters.ledger.funnel import Funnel
from track_pipeline.adapters.ledger.reminders import Reminders
from track_pipeline.adapters.ledger.responses import Responses
from track_pipeline.adapters.ledger.sends import Sends


class Ledger(Sends, Encounters, Feedback, Reminders, Funnel, Responses, Consent, Erasure, OpenAlerts):
    """The permanent record of sends, decisions, answers and opt-outs; safe to share between threads.

    Every method is one transaction, committed when it returns; those that write take turns across processes.
    All raise LedgerError when the database cannot be reached, read or written.
    """

    def __repr__(self) -> str:
        return f"<Ledger {self._database!r}>"

    def close(self) -> None:
        """Closes all connections."""
        self._database.close()


def open_ledger(url: str, *, clock: Callable[[], datetime]) -> Ledger:
    """Opens the ledger at `sqlite:///<file>` or `postgresql://...` and migrates it when it lacks a migration.

    `clock` gives the present instant, in any time zone. The SQLite file and its folder are created when there are
    none. Raises ConfigError for a URL of another kind, LedgerError when the database cannot be opened.
    """
    return Ledger(open_database(url), lambda: clock().astimezone(UTC))
