"""The request budget towards Track.co: one rolling window that all processes of an installation share.

The counting is pyrate-limiter's; here is only where the count is kept: a SQLite file in the home folder, or the
ledger's PostgreSQL when there is one, so that several machines count together.
"""

import logging
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final, cast

import psycopg
from pyrate_limiter import AbstractBucket, Limiter, PostgresBucket, Rate, SingleBucketFactory, SQLiteBucket
from sqlalchemy import create_engine, make_url
from sqlalchemy.exc import SQLAlchemyError

from track_pipeline.errors import TrackPipelineError

# The classic API documents 1,000 requests per 5 minutes; how much of it is used is policy.
WINDOW_SECONDS: Final = 300
BUDGET_FILE: Final = "budget.sqlite"

_TABLE: Final = "track_requests"
_STORE_ERRORS: Final = (sqlite3.Error, psycopg.Error, SQLAlchemyError, OSError)

logger = logging.getLogger(__name__)


class RequestBudget:
    """A number of requests per rolling window, counted together with every other process on the same store."""

    def __init__(self, bucket: AbstractBucket) -> None:
        # Old entries go when a process opens the budget: the library's own sweeper is a thread per budget, which dies
        # for good at the first hiccup of the store.
        bucket.leak(bucket.now())  # type: ignore[no-untyped-call]
        self._limiter = Limiter(SingleBucketFactory(bucket, schedule_leak=False))

    def acquire(self, timeout: float) -> bool:
        """Takes one request out of the budget, waiting up to `timeout` seconds for room.

        False means: do not send now. It is also the answer when the store cannot be reached, because a request that
        nobody counted could bring Track.co's throttle (and its captcha) down on every hospital.
        """
        try:
            return bool(self._limiter.try_acquire(timeout=timeout))
        except _STORE_ERRORS as error:
            logger.error(  # noqa: TRY400 - a connection's traceback may hold its address and user
                "the request budget cannot be read or written (%s): nothing is sent until it can", type(error).__name__
            )
            return False

    def close(self) -> None:
        """Lets go of the store; the count stays."""
        self._limiter.close()


def open_budget(
    home: Path, ledger_url: str | None, limit: int, window_seconds: float = WINDOW_SECONDS
) -> RequestBudget:
    """The budget of `limit` requests per `window_seconds`.

    Kept in the ledger's database when `ledger_url` is PostgreSQL (in a table of its own, created when missing), else
    in `home`/budget.sqlite. Raises TrackPipelineError when the store cannot be opened.
    """
    shared = ledger_url if ledger_url and ledger_url.startswith("postgresql") else None
    rates = [Rate(limit, round(window_seconds * 1000))]
    try:
        if shared:
            # pyrate-limiter asks for a psycopg_pool and uses two methods and a flag of it.
            return RequestBudget(PostgresBucket(cast("Any", _LedgerPool(shared)), _TABLE, rates))
        home.mkdir(mode=0o700, parents=True, exist_ok=True)
        return RequestBudget(SQLiteBucket.init_from_file(rates, _TABLE, str(home / BUDGET_FILE), use_file_lock=True))
    except _STORE_ERRORS as error:
        place = "the database of TRACK_LEDGER_URL" if shared else str(home / BUDGET_FILE)
        raise TrackPipelineError(
            f"the request budget in {place} cannot be opened ({type(error).__name__}); nothing was sent"
        ) from None


class _LedgerPool:
    """What pyrate-limiter uses of a psycopg_pool, over SQLAlchemy's pool: no second pool library is needed."""

    closed = False

    def __init__(self, url: str) -> None:
        # The bucket's column has no time zone, so every session has to read it in the same one.
        self._engine = create_engine(
            make_url(url).set(drivername="postgresql+psycopg"),
            pool_pre_ping=True,
            connect_args={"connect_timeout": 5, "options": "-c timezone=UTC"},
        )

    @contextmanager
    def connection(self) -> Iterator[Any]:
        """A psycopg connection in a transaction of its own."""
        with self._engine.begin() as connection:
            yield connection.connection.driver_connection

    def close(self) -> None:
        """Closes the idle connections."""
        self._engine.dispose()
        self.closed = True
