"""The request budget for Track.co: one rolling window that all processes of an installation share.

Requests over the limit wait, first come, first served. The turns are stored in a SQLite file in the home folder, or in
the ledger's PostgreSQL database if there is one, so that several machines share the count.
"""

import logging
import time
from pathlib import Path
from typing import Final

from sqlalchemy import Column, Connection, Double, MetaData, Table, extract, func, or_, select

from track_pipeline.adapters.ledger.database import Database, LedgerError, connect
from track_pipeline.errors import TrackPipelineError

# The classic API documents 1,000 requests per 5 minutes; the policy sets how much of it is used.
WINDOW_SECONDS: Final = 300
BUDGET_FILE: Final = "budget.sqlite"

# Requests are counted when they are allowed and arrive with varying delay. The window is extended by this factor, so
# that the server does not count more than the limit either.
_SLACK: Final = 1.01
_TELL_SECONDS: Final = 1
_FURTHEST_SECONDS: Final = 3_600

_turns = Table("track_turns", MetaData(), Column("at", Double, nullable=False, index=True))

logger = logging.getLogger(__name__)


class RequestBudget:
    """A limit of requests per rolling window, counted with all other processes on the same store."""

    def __init__(self, database: Database, limit: int, window_seconds: float) -> None:
        self._database, self._limit, self._window = database, limit, window_seconds * _SLACK
        with database.write() as connection:
            _turns.metadata.create_all(connection)

    def acquire(self, timeout: float) -> bool:
        """Take one request from the budget, waiting up to `timeout` seconds for its turn.

        Returns False at once when there will be no room within that time: do not send now. Also returns False when
        the store cannot be reached: an uncounted request could make Track.co throttle every hospital (with a captcha).
        """
        try:
            wait = self._take_turn(timeout)
        except LedgerError as error:
            # Without the traceback, which may hold the address and the user.
            logger.error("the request budget cannot be read or written, so nothing is sent: %s", error)  # noqa: TRY400
            return False
        if wait is None:
            return False
        if wait > _TELL_SECONDS:
            logger.info("the request budget is used up: waiting %.0f seconds for the next turn", wait)
        time.sleep(wait)
        return True

    def close(self) -> None:
        """Close the store; the count stays."""
        self._database.close()

    def _take_turn(self, timeout: float) -> float | None:
        """Take the next turn and return the seconds until it; None, without taking it, if it is after `timeout`."""
        with self._database.write() as connection:
            now = _now(connection)
            # No process waits longer than `_FURTHEST_SECONDS`: later turns come from a clock that was ahead.
            gone = or_(_turns.c.at <= now - self._window, _turns.c.at > now + _FURTHEST_SECONDS)
            connection.execute(_turns.delete().where(gone))
            latest = select(_turns.c.at).order_by(_turns.c.at.desc())
            # The newest `limit` turns fill one window: the next turn waits until the first of them leaves it.
            first = connection.execute(latest.offset(self._limit - 1).limit(1)).scalar()
            wait = 0.0 if first is None else max(0.0, first + self._window - now)
            if wait > timeout:
                return None
            connection.execute(_turns.insert().values(at=now + wait))
            return wait


def open_budget(
    home: Path, ledger_url: str | None, limit: int, window_seconds: float = WINDOW_SECONDS
) -> RequestBudget:
    """Open the budget of `limit` requests per `window_seconds`.

    It is stored in the ledger's database if `ledger_url` is PostgreSQL (in its own table, created when missing), else
    in `home`/budget.sqlite. Raises TrackPipelineError when the store cannot be opened.
    """
    shared = ledger_url if ledger_url and ledger_url.startswith("postgres") else None
    try:
        return RequestBudget(connect(shared or f"sqlite:///{home / BUDGET_FILE}"), limit, window_seconds)
    except LedgerError as error:
        store = "the database of TRACK_LEDGER_URL" if shared else str(home / BUDGET_FILE)
        raise TrackPipelineError(f"the request budget in {store} cannot be opened; nothing was sent: {error}") from None


def _now(connection: Connection) -> float:
    """Return the seconds since 1970, by a clock that all processes of the store share."""
    if connection.dialect.name == "sqlite":
        return time.time()
    return float(connection.execute(select(extract("epoch", func.clock_timestamp()))).scalar_one())
