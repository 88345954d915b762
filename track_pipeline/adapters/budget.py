"""The request budget towards Track.co: one rolling window that all processes of an installation share.

Whoever may not go at once is given a turn, in the order of asking. The turns are kept in a SQLite file in the home
folder, or in the ledger's PostgreSQL when there is one, so that several machines count together.
"""

import logging
import time
from pathlib import Path
from typing import Final

from sqlalchemy import Column, Connection, Double, MetaData, Table, extract, func, or_, select

from track_pipeline.adapters.ledger.database import Database, LedgerError, connect
from track_pipeline.errors import TrackPipelineError

# The classic API documents 1,000 requests per 5 minutes; how much of it is used is policy.
WINDOW_SECONDS: Final = 300
BUDGET_FILE: Final = "budget.sqlite"

# Requests are counted when they are let through and arrive a little later, some more than others: the window is kept
# so much longer that the server does not see one too many either.
_SLACK: Final = 1.01
_TELL_SECONDS: Final = 1
_FURTHEST_SECONDS: Final = 3_600

_turns = Table("track_turns", MetaData(), Column("at", Double, nullable=False, index=True))

logger = logging.getLogger(__name__)


class RequestBudget:
    """A number of requests per rolling window, counted together with every other process on the same store."""

    def __init__(self, database: Database, limit: int, window_seconds: float) -> None:
        self._database, self._limit, self._window = database, limit, window_seconds * _SLACK
        with database.write() as connection:
            _turns.metadata.create_all(connection)

    def acquire(self, timeout: float) -> bool:
        """Takes one request out of the budget, waiting up to `timeout` seconds for its turn.

        False, at once, when there will be no room within that time: do not send now. It is also the answer when the
        store cannot be reached, because a request that nobody counted could bring Track.co's throttle (and its
        captcha) down on every hospital.
        """
        try:
            wait = self._take_turn(timeout)
        except LedgerError as error:
            # Without the traceback, which may hold the address and the user.
            logger.error("the request budget cannot be kept, so nothing is sent: %s", error)  # noqa: TRY400
            return False
        if wait is None:
            return False
        if wait > _TELL_SECONDS:
            logger.info("the request budget is used up: waiting %.0f seconds for the next turn", wait)
        time.sleep(wait)
        return True

    def close(self) -> None:
        """Lets go of the store; the count stays."""
        self._database.close()

    def _take_turn(self, timeout: float) -> float | None:
        """Seconds until a turn, which is taken; None when it is further away than `timeout`, and then it is not."""
        with self._database.write() as connection:
            now = _now(connection)
            # Nobody waits as long as that: such turns were given by a clock that was ahead.
            gone = or_(_turns.c.at <= now - self._window, _turns.c.at > now + _FURTHEST_SECONDS)
            connection.execute(_turns.delete().where(gone))
            latest = select(_turns.c.at).order_by(_turns.c.at.desc())
            # So many turns are inside one window: the next one has to wait for the first of them to leave it.
            first = connection.execute(latest.offset(self._limit - 1).limit(1)).scalar()
            wait = 0.0 if first is None else max(0.0, first + self._window - now)
            if wait > timeout:
                return None
            connection.execute(_turns.insert().values(at=now + wait))
            return wait


def open_budget(
    home: Path, ledger_url: str | None, limit: int, window_seconds: float = WINDOW_SECONDS
) -> RequestBudget:
    """The budget of `limit` requests per `window_seconds`.

    Kept in the ledger's database when `ledger_url` is PostgreSQL (in a table of its own, created when missing), else
    in `home`/budget.sqlite. Raises TrackPipelineError when the store cannot be opened.
    """
    shared = ledger_url if ledger_url and ledger_url.startswith("postgres") else None
    try:
        return RequestBudget(connect(shared or f"sqlite:///{home / BUDGET_FILE}"), limit, window_seconds)
    except LedgerError as error:
        place = "the database of TRACK_LEDGER_URL" if shared else str(home / BUDGET_FILE)
        raise TrackPipelineError(f"the request budget in {place} cannot be opened; nothing was sent: {error}") from None


def _now(connection: Connection) -> float:
    """Seconds since 1970, by the one clock that all who share the store can see."""
    if connection.dialect.name == "sqlite":
        return time.time()
    return float(connection.execute(select(extract("epoch", func.clock_timestamp()))).scalar_one())
