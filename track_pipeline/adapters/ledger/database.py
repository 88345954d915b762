"""One way to open, read and write the ledger's database, be it SQLite or PostgreSQL.

What the two do differently belongs here and nowhere else. Writers take turns, on both: a claim must see every
claim before it.
"""

import errno
import sqlite3
from collections.abc import Callable, Iterator, Mapping
from contextlib import closing, contextmanager
from datetime import date, datetime, time
from hashlib import sha256
from pathlib import Path
from typing import Any, Final, TypeVar
from uuid import uuid4

from filelock import FileLock, Timeout
from sqlalchemy import (
    URL,
    ColumnElement,
    Connection,
    Engine,
    create_engine,
    event,
    func,
    inspect,
    make_url,
    select,
    text,
    true,
)
from sqlalchemy.exc import ArgumentError, DBAPIError
from sqlalchemy.exc import TimeoutError as PoolTimeoutError

from track_pipeline.domain.encounter import GROUP_TIME_ZONE
from track_pipeline.errors import ConfigError, TrackPipelineError

T = TypeVar("T")

# The newest migration; a test holds it to the folder of migrations.
HEAD: Final = "0004"

_WAIT_SECONDS: Final = 30
_CONNECT_SECONDS: Final = 10
# Any number that no other program takes as an advisory lock in the same PostgreSQL database.
_WRITER_LOCK: Final = 0x7472616B
# Of locks with two numbers, which are others than those with one: the first of ours.
_UNDER_WAY: Final = 0x7472616B
_READING: Final = "track_reading"
_CACHE_KIB: Final = 65_536
_WAL_PAGES: Final = 8_000
_UNREACHABLE: Final = "Check that it is reachable and run the step again"
_FORBIDDEN: Final = "Give this user the right to write there"
_FULL: Final = "Make room on the disk it is on, then run the step again"
_DAMAGED: Final = "It is damaged, or no ledger: put a backup in its place as docs/reliability.md says, all paused first"
_HELD: Final = "Another program holds it: wait for that one, then run the step again"
# What to do about SQLite's primary result codes. Of a disk that fails or is over quota it says `IOERR`.
_REMEDY_OF_CODE: Final[Mapping[int, str]] = {
    sqlite3.SQLITE_PERM: _FORBIDDEN,
    sqlite3.SQLITE_READONLY: _FORBIDDEN,
    sqlite3.SQLITE_CANTOPEN: _FORBIDDEN,
    sqlite3.SQLITE_BUSY: _HELD,
    sqlite3.SQLITE_FULL: _FULL,
    sqlite3.SQLITE_IOERR: "See whether the disk it is on is full or broken, then run the step again",
    sqlite3.SQLITE_CORRUPT: _DAMAGED,
    sqlite3.SQLITE_NOTADB: _DAMAGED,
}
# The SQLSTATE of the same at PostgreSQL.
_DISK_FULL: Final = "53100"
_REMEDY_OF_ERRNO: Final[Mapping[int, str]] = dict.fromkeys((errno.ENOSPC, errno.EDQUOT, errno.EFBIG), _FULL)


class LedgerError(TrackPipelineError):
    """The ledger cannot be reached, read or written; what was claimed stays claimed."""


class Database:
    """An open, migrated database of a ledger; safe to share between threads."""

    def __init__(self, engine: Engine) -> None:
        self._writer = engine
        self._reader = engine.execution_options(**{_READING: True})

    def __repr__(self) -> str:
        """Where it is, without user, password and options."""
        url = self._writer.url
        return f"{url.get_backend_name()} at {f'{url.host}/' if url.host else ''}{url.database}"

    @contextmanager
    def read(self) -> Iterator[Connection]:
        """A connection to read with; it waits for no writer. Raises LedgerError."""
        with self._errors(), self._reader.connect() as connection:
            yield connection

    @contextmanager
    def write(self) -> Iterator[Connection]:
        """One transaction, alone among all writers of all processes; committed unless an error leaves it.

        Waits 30 seconds for its turn. Raises LedgerError.
        """
        with self._errors(), self._writer.begin() as connection:
            if connection.dialect.name == "postgresql":
                # A new ledger has no statistics, and the planner would read all of a table that grows.
                connection.exec_driver_sql(
                    f"SET LOCAL lock_timeout = '{_WAIT_SECONDS}s'; SET LOCAL enable_seqscan = off"
                )
                connection.execute(select(func.pg_advisory_xact_lock(_WRITER_LOCK)))
            yield connection

    @contextmanager
    def under_way(self, name: str) -> Iterator[None]:
        """Shows everybody that something of that name goes on, until the block ends, or its process does.

        Several may show the same name at once. Raises LedgerError.
        """
        if self._writer.dialect.name == "postgresql":
            lock = (_UNDER_WAY, _number_of(name))
            with self._errors(), self._sessions().connect() as session:
                session.execute(select(func.pg_advisory_lock_shared(*lock)))
                try:
                    yield
                finally:
                    try:
                        session.execute(select(func.pg_advisory_unlock_shared(*lock)))
                    except DBAPIError:
                        # The session is lost, and the lock with it.
                        session.invalidate()
            return
        mark = FileLock(self._marks(name) / uuid4().hex)
        try:
            Path(mark.lock_file).parent.mkdir(parents=True, exist_ok=True)
            mark.acquire()
        except OSError as error:
            raise LedgerError(f"no file can be made beside the ledger ({self!r}): {error}. {_remedy(error)}") from None
        try:
            yield
        finally:
            mark.release()
            _is_held(Path(mark.lock_file))

    def is_under_way(self, name: str) -> bool:
        """Whether something of that name goes on somewhere. Raises LedgerError."""
        if self._writer.dialect.name == "postgresql":
            alone = func.pg_try_advisory_xact_lock(_UNDER_WAY, _number_of(name))
            with self.read() as connection:
                return not connection.execute(select(alone)).scalar_one()
        return any(_is_held(mark) for mark in self._marks(name).glob("*"))

    def _sessions(self) -> Engine:
        # No transaction stays open beside the lock.
        return self._writer.execution_options(isolation_level="AUTOCOMMIT")

    def _marks(self, name: str) -> Path:
        """Where files are locked while something of that name goes on; a name may hold what no file name may."""
        return Path(str(self._writer.url.database)).parent / "under_way" / f"{_number_of(name):08x}"

    def close(self) -> None:
        """Closes all connections."""
        self._writer.dispose()

    @contextmanager
    def _errors(self) -> Iterator[None]:
        try:
            yield
        except (DBAPIError, PoolTimeoutError) as error:
            cause = getattr(error, "orig", None) or error
            # Only the first line: PostgreSQL's details quote whole rows.
            told = str(cause).partition("\n")[0]
            raise LedgerError(
                f"the ledger ({self!r}) could not be read or written: {told}. {_remedy(cause)}; "
                "what was claimed stays claimed, so nobody is asked twice"
            ) from None


class Store:
    """What every part of the ledger works with."""

    def __init__(self, database: Database, clock: Callable[[], datetime]) -> None:
        self._database = database
        self._clock = clock


def open_database(url: str) -> Database:
    """Opens the database and runs the migrations it lacks; several processes may do so at once.

    `url` is `sqlite:///<file>` or `postgresql://...`. The SQLite file is created with mode 0600, its folder too
    if there is none. Raises ConfigError for another kind of URL, LedgerError when it cannot be opened.
    """
    database = connect(url)
    try:
        _migrate(database)
    except Exception:
        database.close()
        raise
    return database


def connect(url: str) -> Database:
    """Opens the database as it is, migrated or not. `url` and errors are those of `open_database`."""
    parsed = _parse(url)
    return Database(_sqlite(parsed) if parsed.get_backend_name() == "sqlite" else _postgresql(parsed))


def matches(column: ColumnElement[Any], value: object) -> ColumnElement[bool]:
    """Equal to the value; anything when it is None."""
    return true() if value is None else column == value


def between(column: ColumnElement[date], days: tuple[date, date] | None) -> ColumnElement[bool]:
    """From the first to the last day, both included; any day when there are none."""
    return true() if days is None else column.between(*days)


def start_of(day: date) -> datetime:
    """The instant at which a day begins for the partitions."""
    return datetime.combine(day, time(), GROUP_TIME_ZONE)


def _number_of(name: str) -> int:
    """A number of 31 bits for a name, the same in every process."""
    return int.from_bytes(sha256(name.encode()).digest()[:4], "big") >> 1


def _is_held(mark: Path) -> bool:
    """Whether a process has the file locked; one that nobody has is taken away."""
    try:
        with FileLock(mark, timeout=0):
            mark.unlink(missing_ok=True)
    except Timeout:
        return True
    except OSError:
        # Windows deletes no open file: that nobody holds it is known all the same.
        return False
    return False


def _parse(url: str) -> URL:
    try:
        parsed = make_url(url)
    # ValueError: a port that is no number, which may be the rest of a password.
    except (ArgumentError, ValueError):
        raise ConfigError(
            "the ledger's URL cannot be read: give sqlite:///<file> or postgresql://..., with the @ : / of a password "
            "percent-encoded (%40 %3A %2F)"
        ) from None
    if parsed.drivername == "sqlite" and parsed.database not in (None, "", ":memory:"):
        return parsed
    if url.count("@") > 1 and not parsed.drivername.startswith("sqlite"):
        # What stands behind the first one would be taken for the host, and shown.
        raise ConfigError("the ledger's URL has several @: write the one in the password as %40")
    if parsed.drivername in ("postgresql", "postgres", "postgresql+psycopg"):
        return parsed.set(drivername="postgresql+psycopg")
    raise ConfigError(
        f"the ledger's URL begins with {parsed.drivername}: only sqlite:///<file> and postgresql://... can hold it"
    )


def _postgresql(url: URL) -> Engine:
    # READ COMMITTED whatever the server's default: a writer's statements must see what the writer before it did.
    # No prepared statements: their generic plans do not see the array of `one_of` and compare row by row with it.
    return create_engine(
        url,
        isolation_level="READ COMMITTED",
        pool_pre_ping=True,
        hide_parameters=True,
        connect_args={"connect_timeout": _CONNECT_SECONDS, "prepare_threshold": None},
    )


def _sqlite(url: URL) -> Engine:
    _prepare_file(Path(str(url.database)))
    engine = create_engine(url, hide_parameters=True, connect_args={"timeout": _WAIT_SECONDS})

    # SQLAlchemy's recipe for real transactions: the driver begins none, so that BEGIN is ours to choose.
    # A deferred transaction that turns to writing fails at once when another wrote meanwhile; an immediate waits.
    @event.listens_for(engine, "connect")
    def _driver_begins_none(connection: sqlite3.Connection, _record: object) -> None:
        connection.isolation_level = None
        # Keys of people are scattered all over their indexes: most of these pages are kept at hand, and written
        # together.
        connection.execute(f"PRAGMA cache_size = -{_CACHE_KIB}")
        connection.execute(f"PRAGMA wal_autocheckpoint = {_WAL_PAGES}")

    @event.listens_for(engine, "begin")
    def _begin(connection: Connection) -> None:
        reading = connection.get_execution_options().get(_READING, False)
        connection.exec_driver_sql("BEGIN" if reading else "BEGIN IMMEDIATE")

    return engine


def _prepare_file(path: Path) -> None:
    """Creates the file for its owner alone, in WAL mode; SQLite gives its side files the mode of the file."""
    try:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        # The change to WAL does not wait for other connections, so only one process at a time may try.
        with FileLock(f"{path}.lock", timeout=_WAIT_SECONDS):
            if not path.exists():
                path.touch(mode=0o600)
            with closing(sqlite3.connect(path, timeout=_WAIT_SECONDS)) as connection:
                connection.execute("PRAGMA journal_mode = WAL")
    except (OSError, sqlite3.Error) as error:
        raise LedgerError(f"the ledger cannot be opened at {path}: {error}. {_remedy(error)}") from None


def _remedy(cause: BaseException) -> str:
    """What an operator does about an error of a driver or of the file system."""
    match cause:
        case sqlite3.Error():
            # Extended codes have the primary one in their lowest byte; errors of the driver itself have none.
            code = getattr(cause, "sqlite_errorcode", 0) & 0xFF
            return _REMEDY_OF_CODE.get(code, _UNREACHABLE)
        case TimeoutError():
            return _HELD
        case OSError():
            return _REMEDY_OF_ERRNO.get(cause.errno or 0, _FORBIDDEN)
        case _:
            return _FULL if getattr(cause, "sqlstate", None) == _DISK_FULL else _UNREACHABLE


def _migrate(database: Database) -> None:
    with database.read() as connection:
        if version_of(connection) == HEAD:
            return
    # Alembic takes longer to import than the ledger to open: only who has something to migrate waits for it.
    from track_pipeline.adapters.ledger.migrate import upgrade  # noqa: PLC0415

    with database.write() as connection:
        upgrade(connection)


def version_of(connection: Connection) -> str | None:
    """The newest migration that has been run; None in an empty database."""
    if not inspect(connection).has_table("alembic_version"):
        return None
    return connection.execute(text("SELECT version_num FROM alembic_version")).scalar_one_or_none()
