"""The ledger: the object that holds its parts, one per subject, and the function that opens it."""

from collections.abc import Callable
from datetime import UTC, datetime

from track_pipeline.adapters.ledger.alerts import Alerts
from track_pipeline.adapters.ledger.answers import Answers
from track_pipeline.adapters.ledger.counts import Counts
from track_pipeline.adapters.ledger.database import Database, open_database
from track_pipeline.adapters.ledger.encounters import Encounters
from track_pipeline.adapters.ledger.erasure import Erasure
from track_pipeline.adapters.ledger.pauses import Pauses
from track_pipeline.adapters.ledger.people import People
from track_pipeline.adapters.ledger.policies import Policies
from track_pipeline.adapters.ledger.reminders import Reminders
from track_pipeline.adapters.ledger.sends import Sends


class Ledger:
    """The permanent record of sends, decisions, answers and opt-outs; safe to share between threads.

    Every method of a part is one transaction, committed when it returns; writers of all processes run one at a time.
    Every method raises LedgerError when the database cannot be reached, read or written.
    """

    def __init__(self, database: Database, clock: Callable[[], datetime]) -> None:
        self._database = database
        self.sends = Sends(database, clock)
        self.encounters = Encounters(database, clock)
        self.people = People(database, clock)
        self.pauses = Pauses(database, clock)
        self.reminders = Reminders(database, clock)
        self.answers = Answers(database, clock)
        self.counts = Counts(database, clock)
        self.policies = Policies(database, clock)
        self.alerts = Alerts(database, clock)
        self.erasure = Erasure(database, clock)

    def __repr__(self) -> str:
        return f"<Ledger {self._database!r}>"

    def close(self) -> None:
        """Close all connections."""
        self._database.close()


def open_ledger(url: str, *, clock: Callable[[], datetime]) -> Ledger:
    """Open the ledger at `sqlite:///<file>` or `postgresql://...` and run the migrations it lacks.

    `clock` returns the present instant, in any time zone. A missing SQLite file and its folder are created.
    Raises ConfigError for a URL of another kind, LedgerError when the database cannot be opened.
    """
    return Ledger(open_database(url), lambda: clock().astimezone(UTC))
