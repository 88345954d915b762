"""Opens, reads and writes the ledger's database, SQLite or PostgreSQL.

Only this module and `frames` handle the differences between the two. On both, one writer runs at a time: a claim
must see every earlier claim.
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

_MIGRATIONS: Final = Path(__file__).parent / "migrations" / "versions"
# The newest migration. Alembic is not asked: importing it takes longer than `track status` may.
HEAD: Final = max(path.name[:4] for path in _MIGRATIONS.glob("[0-9]*.py"))

_WAIT_SECONDS: Final = 30
_CONNECT_SECONDS: Final = 10
# An arbitrary number; no other program may use it as an advisory lock in the same PostgreSQL database.
_WRITER_LOCK: Final = 0x7472616B
# First number of the two-number advisory locks; PostgreSQL keeps them apart from one-number locks.
_UNDER_WAY: Final = 0x7472616B
_READING: Final = "track_reading"
_CACHE_KIB: Final = 65_536
_WAL_PAGES: Final = 8_000
_UNREACHABLE: Final = "Check that it is reachable and run the step again"
_FORBIDDEN: Final = "Give this user the right to write there"
_FULL: Final = "Free space on its disk, then run the step again"
_DAMAGED: Final = "It is damaged or not a ledger: pause all sending, then restore a backup (docs/reliability.md)"
_HELD: Final = "Another program has locked it: wait until that program ends, then run the step again"
# The remedy for each primary result code of SQLite. A failing disk, or one over quota, gives `IOERR`.
_REMEDY_OF_CODE: Final[Mapping[int, str]] = {
    sqlite3.SQLITE_PERM: _FORBIDDEN,
    sqlite3.SQLITE_READONLY: _FORBIDDEN,
    sqlite3.SQLITE_CANTOPEN: _FORBIDDEN,
    sqlite3.SQLITE_BUSY: _HELD,
    sqlite3.SQLITE_FULL: _FULL,
    sqlite3.SQLITE_IOERR: "Check whether its disk is full or broken, then run the step again",
    sqlite3.SQLITE_CORRUPT: _DAMAGED,
    sqlite3.SQLITE_NOTADB: _DAMAGED,
}
# PostgreSQL's SQLSTATE of a full disk.
_DISK_FULL: Final = "53100"
_REMEDY_OF_ERRNO: Final[Mapping[int, str]] = dict.fromkeys((errno.ENOSPC, errno.EDQUOT, errno.EFBIG), _FULL)


class LedgerError(TrackPipelineError):
    """The ledger cannot be reached, read or written; existing claims stay in it."""


class Database:
    """An open, migrated database of a ledger; safe to share between threads."""

    def __init__(self, engine: Engine) -> None:
        self._writer = engine
        self._reader = engine.execution_options(**{_READING: True})

    def __repr__(self) -> str:
        """Return the kind and address of the database, without user, password and options."""
        url = self._writer.url
        return f"{url.get_backend_name()} at {f'{url.host}/' if url.host else ''}{url.database}"

    @contextmanager
    def read(self) -> Iterator[Connection]:
        """Open a connection for reading; it does not wait for writers. Raises LedgerError."""
        with self._errors(), self._reader.connect() as connection:
            yield connection

    @contextmanager
    def write(self) -> Iterator[Connection]:
        """Open a transaction as the only writer of all processes; it is committed unless the block raises.

        Waits up to 30 seconds for other writers. Raises LedgerError.
        """
        with self._errors(), self._writer.begin() as connection:
            if connection.dialect.name == "postgresql":
                # A new ledger has no statistics: without this setting the planner would read whole tables.
                connection.exec_driver_sql(
                    f"SET LOCAL lock_timeout = '{_WAIT_SECONDS}s'; SET LOCAL enable_seqscan = off"
                )
                connection.execute(select(func.pg_advisory_xact_lock(_WRITER_LOCK)))
            yield connection

    @contextmanager
    def under_way(self, name: str) -> Iterator[None]:
        """Hold a named lock across processes until the block or the process ends.

        The lock is shared: several processes may hold the same name at once. Raises LedgerError.
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
            raise LedgerError(
                f"no file can be created next to the ledger ({self!r}): {error}. {_remedy(error)}"
            ) from None
        try:
            yield
        finally:
            mark.release()
            _is_held(Path(mark.lock_file))

    def is_under_way(self, name: str) -> bool:
        """Return whether any process holds the named lock of `under_way`. Raises LedgerError."""
        if self._writer.dialect.name == "postgresql":
            alone = func.pg_try_advisory_xact_lock(_UNDER_WAY, _number_of(name))
            with self.read() as connection:
                return not connection.execute(select(alone)).scalar_one()
        return any(_is_held(mark) for mark in self._marks(name).glob("*"))

    def _sessions(self) -> Engine:
        # Autocommit: no transaction stays open while the lock is held.
        return self._writer.execution_options(isolation_level="AUTOCOMMIT")

    def _marks(self, name: str) -> Path:
        """Return the folder of a name's lock files; it is a number, since a name may hold invalid characters."""
        return Path(str(self._writer.url.database)).parent / "under_way" / f"{_number_of(name):08x}"

    def close(self) -> None:
        """Close all connections."""
        self._writer.dispose()

    @contextmanager
    def _errors(self) -> Iterator[None]:
        try:
            yield
        except (DBAPIError, PoolTimeoutError) as error:
            cause = getattr(error, "orig", None) or error
            # Only the first line: PostgreSQL's details quote whole rows.
            summary = str(cause).partition("\n")[0]
            raise LedgerError(
                f"the ledger ({self!r}) could not be read or written: {summary}. {_remedy(cause)}; "
                "existing claims stay claimed, so no encounter is contacted twice"
            ) from None


class Store:
    """Base class of the ledger's parts: holds the database and the clock."""

    def __init__(self, database: Database, clock: Callable[[], datetime]) -> None:
        self._database = database
        self._clock = clock


def open_database(url: str) -> Database:
    """Open the database and run the migrations it lacks; several processes may do so at once.

    `url` is `sqlite:///<file>` or `postgresql://...`. A missing SQLite file is created with mode 0600, a missing
    folder with 0700. Raises ConfigError for another kind of URL, LedgerError when it cannot be opened.
    """
    database = connect(url)
    try:
        _migrate(database)
    except Exception:
        database.close()
        raise
    return database


def connect(url: str) -> Database:
    """Open the database without migrating it. `url` and errors are those of `open_database`."""
    parsed = _parse(url)
    return Database(_sqlite(parsed) if parsed.get_backend_name() == "sqlite" else _postgresql(parsed))


def matches(column: ColumnElement[Any], value: object) -> ColumnElement[bool]:
    """Return the condition that a column equals the value; true for all rows when the value is None."""
    return true() if value is None else column == value


def between(column: ColumnElement[date], days: tuple[date, date] | None) -> ColumnElement[bool]:
    """Return the condition that a date is from the first to the last day, both included; true for all when None."""
    return true() if days is None else column.between(*days)


def start_of(day: date) -> datetime:
    """Return the instant at which a day begins in the time zone of the partitions."""
    return datetime.combine(day, time(), GROUP_TIME_ZONE)


def _number_of(name: str) -> int:
    """Return a 31-bit number for a name, the same in every process."""
    return int.from_bytes(sha256(name.encode()).digest()[:4], "big") >> 1


def _is_held(mark: Path) -> bool:
    """Return whether a process has locked the file; an unlocked file is deleted."""
    try:
        with FileLock(mark, timeout=0):
            mark.unlink(missing_ok=True)
    except Timeout:
        return True
    except OSError:
        # Windows does not delete an open file; the file is still known to be unlocked.
        return False
    return False


def _parse(url: str) -> URL:
    try:
        parsed = make_url(url)
    # ValueError: the port is not a number; it may be part of a password, so the URL is not shown.
    except (ArgumentError, ValueError):
        raise ConfigError(
            "the ledger's URL cannot be read: set it to sqlite:///<file> or postgresql://..., with @ : / in a password "
            "percent-encoded (%40 %3A %2F)"
        ) from None
    if parsed.drivername == "sqlite" and parsed.database not in (None, "", ":memory:"):
        return parsed
    if url.count("@") > 1 and not parsed.drivername.startswith("sqlite"):
        # The part after the first @ would be read as the host, and shown.
        raise ConfigError("the ledger's URL has several @: write the one in the password as %40")
    if parsed.drivername in ("postgresql", "postgres", "postgresql+psycopg"):
        return parsed.set(drivername="postgresql+psycopg")
    raise ConfigError(
        f"the ledger's URL begins with {parsed.drivername}: set it to sqlite:///<file> or postgresql://..."
    )


def _postgresql(url: URL) -> Engine:
    # READ COMMITTED whatever the server's default: a writer's statements must see the previous writer's changes.
    # No prepared statements: their generic plans do not know the array of `one_of` and compare each row with it.
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

    # SQLAlchemy's recipe for real transactions: the driver begins none, so that `_begin` can choose the kind.
    # A deferred transaction that starts writing fails at once if another wrote meanwhile; an immediate one waits.
    @event.listens_for(engine, "connect")
    def _driver_begins_none(connection: sqlite3.Connection, _record: object) -> None:
        connection.isolation_level = None
        # Person keys are spread over their whole indexes: a large cache keeps most of these pages in memory, and
        # rare checkpoints write them together.
        connection.execute(f"PRAGMA cache_size = -{_CACHE_KIB}")
        connection.execute(f"PRAGMA wal_autocheckpoint = {_WAL_PAGES}")

    @event.listens_for(engine, "begin")
    def _begin(connection: Connection) -> None:
        reading = connection.get_execution_options().get(_READING, False)
        connection.exec_driver_sql("BEGIN" if reading else "BEGIN IMMEDIATE")

    return engine


def _prepare_file(path: Path) -> None:
    """Create the file, readable by its owner only, in WAL mode; SQLite gives its side files the same file mode."""
    try:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        # The change to WAL mode does not wait for other connections, so one process at a time may make it.
        with FileLock(f"{path}.lock", timeout=_WAIT_SECONDS):
            if not path.exists():
                path.touch(mode=0o600)
            with closing(sqlite3.connect(path, timeout=_WAIT_SECONDS)) as connection:
                connection.execute("PRAGMA journal_mode = WAL")
    except (OSError, sqlite3.Error) as error:
        raise LedgerError(f"the ledger cannot be opened at {path}: {error}. {_remedy(error)}") from None


def _remedy(cause: BaseException) -> str:
    """Return the operator's next step after an error of a driver or of the file system."""
    match cause:
        case sqlite3.Error():
            # The lowest byte of an extended code is the primary code; errors of the driver itself have no code.
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
    # Imported only when a migration is needed: importing Alembic takes longer than opening the ledger.
    from track_pipeline.adapters.ledger.migrate import upgrade  # noqa: PLC0415

    with database.write() as connection:
        upgrade(connection)


def version_of(connection: Connection) -> str | None:
    """Return the newest migration that has been run; None in an empty database."""
    if not inspect(connection).has_table("alembic_version"):
        return None
    return connection.execute(text("SELECT version_num FROM alembic_version")).scalar_one_or_none()
