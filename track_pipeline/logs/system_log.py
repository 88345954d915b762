"""`system.log` under `TRACK_HOME`: what this project's loggers say, a line each, in the original system's format.

Several processes write it. Messages are ours and carry counts; of exceptions that are not ours only kind and place
are written, since their text may quote patients. Dagster captures the same loggers beside it (`python_logs`).
"""

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from datetime import datetime
from pathlib import Path
from typing import Final

from concurrent_log_handler import ConcurrentRotatingFileHandler

from track_pipeline.domain.areas import Area
from track_pipeline.domain.encounter import GROUP_TIME_ZONE
from track_pipeline.logs.redaction import shown, told_of

LOGGER: Final = "track_pipeline"
FILE: Final = "system.log"

_MOST_BYTES: Final = 10_000_000
_OLD_FILES: Final = 9
# In the place of a hospital or area when a line is about all of them.
_ALL: Final = "*"

_place: ContextVar[tuple[str, str]] = ContextVar("place_of_log", default=(_ALL, _ALL))


@contextmanager
def about(hospital: str | None = None, area: str | None = None) -> Iterator[None]:
    """Lines logged inside, by whatever module, are of this hospital and area; None keeps what is around it."""
    outer = _place.get()
    _place.set((hospital or outer[0], _label(area) if area else outer[1]))
    try:
        yield
    finally:
        # No token: a step that yields may be closed in another context than it began in.
        _place.set(outer)


def write_system_log(home: Path) -> None:
    """From now on, this process writes what is logged, from INFO up, to `home/system.log`.

    Opens nothing until there is a line to write. Called again with another home, it changes to that one.
    """
    logger = logging.getLogger(LOGGER)
    for handler in [each for each in logger.handlers if isinstance(each, _SystemLog)]:
        if Path(handler.baseFilename) == system_log(home):
            return
        logger.removeHandler(handler)
        handler.close()
    handler = _SystemLog(system_log(home))
    handler.setFormatter(_Line())
    # The first, since Dagster's handler puts its own words before the message for those that come after it.
    logger.handlers.insert(0, handler)
    logger.setLevel(logging.INFO)


def system_log(home: Path) -> Path:
    """Where the log of an installation is."""
    return (home / FILE).absolute()


def last_lines(path: Path, count: int, most_bytes: int = 64_000) -> list[str]:
    """The newest lines of a log, oldest first; none when there is no log yet."""
    try:
        with path.open("rb") as file:
            size = file.seek(0, 2)
            file.seek(max(0, size - most_bytes))
            lines = file.read().decode(errors="replace").splitlines()
    except FileNotFoundError:
        return []
    # What the reading began with may be the end of a line.
    return (lines if size <= most_bytes else lines[1:])[-count:]


def _label(area: str) -> str:
    return Area(area).label if area in tuple(Area) else area.upper()


class _SystemLog(ConcurrentRotatingFileHandler):
    """The file, which its owner alone may read; made when the first line is written."""

    def __init__(self, path: Path) -> None:
        super().__init__(path, maxBytes=_MOST_BYTES, backupCount=_OLD_FILES, encoding="utf-8", chmod=0o600)

    def emit(self, record: logging.LogRecord) -> None:
        try:
            Path(self.baseFilename).parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        except OSError:
            self.handleError(record)
            return
        super().emit(record)


class _Line(logging.Formatter):
    """`[2026-11-24 08:00:03] - HMS - AMBULATORIO - INFO - 212 encounters extracted`, in São Paulo's time."""

    def format(self, record: logging.LogRecord) -> str:
        at = datetime.fromtimestamp(record.created, GROUP_TIME_ZONE)
        hospital, area = _place.get()
        text = shown(" ".join(_message(record).split()))
        return f"[{at:%Y-%m-%d %H:%M:%S}] - {hospital} - {area} - {record.levelname} - {text}"


def _message(record: logging.LogRecord) -> str:
    args = record.args
    if isinstance(args, tuple):
        args = tuple(told_of(each) if isinstance(each, BaseException) else each for each in args)
    text = str(record.msg) % args if args else str(record.msg)
    error = record.exc_info[1] if record.exc_info else None
    return f"{text} ({told_of(error)})" if error else text
