"""Writes `system.log` under `TRACK_HOME`: one line per message of this project's loggers, in the original format.

Several processes write it. Messages hold counts; of external exceptions only type and line are written, since their
text may quote patient data. Dagster also captures the same loggers (`python_logs`).
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
# Written instead of a hospital or area when a line concerns all of them.
_ALL: Final = "*"

_subject: ContextVar[tuple[str, str]] = ContextVar("subject_of_log", default=(_ALL, _ALL))


@contextmanager
def about(hospital: str | None = None, area: str | None = None) -> Iterator[None]:
    """Set hospital and area of all lines logged in the block, by any module; None keeps the outer value."""
    outer = _subject.get()
    _subject.set((hospital or outer[0], _label(area) if area else outer[1]))
    try:
        yield
    finally:
        # Not `reset` with a token: a step that yields may be closed in another context than the one it began in.
        _subject.set(outer)


def write_system_log(home: Path) -> None:
    """Make this process write its log messages, from INFO up, to `home/system.log`.

    The file is opened with the first line. A later call with another home changes the file.
    """
    logger = logging.getLogger(LOGGER)
    for handler in [each for each in logger.handlers if isinstance(each, _SystemLog)]:
        if Path(handler.baseFilename) == system_log(home):
            return
        logger.removeHandler(handler)
        handler.close()
    handler = _SystemLog(system_log(home))
    handler.setFormatter(_Line())
    # First in the list: Dagster's handler adds a prefix to the message for all later handlers.
    logger.handlers.insert(0, handler)
    logger.setLevel(logging.INFO)


def system_log(home: Path) -> Path:
    """Return the absolute path of an installation's log."""
    return (home / FILE).absolute()


def last_lines(path: Path, count: int, most_bytes: int = 64_000) -> list[str]:
    """Return up to `count` of the newest lines of a log, oldest first; none when there is no log yet."""
    try:
        with path.open("rb") as file:
            size = file.seek(0, 2)
            file.seek(max(0, size - most_bytes))
            lines = file.read().decode(errors="replace").splitlines()
    except FileNotFoundError:
        return []
    # The first line may be incomplete.
    return (lines if size <= most_bytes else lines[1:])[-count:]


def _label(area: str) -> str:
    return Area(area).label if area in tuple(Area) else area.upper()


class _SystemLog(ConcurrentRotatingFileHandler):
    """The handler of the log file, which only its owner can read; the first line creates it."""

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
    """The format `[2026-11-24 08:00:03] - HMS - AMBULATORIO - INFO - 212 encounters extracted`, in São Paulo time."""

    def format(self, record: logging.LogRecord) -> str:
        at = datetime.fromtimestamp(record.created, GROUP_TIME_ZONE)
        hospital, area = _subject.get()
        text = shown(" ".join(_message(record).split()))
        return f"[{at:%Y-%m-%d %H:%M:%S}] - {hospital} - {area} - {record.levelname} - {text}"


def _message(record: logging.LogRecord) -> str:
    args = record.args
    if isinstance(args, tuple):
        args = tuple(told_of(each) if isinstance(each, BaseException) else each for each in args)
    text = str(record.msg) % args if args else str(record.msg)
    error = record.exc_info[1] if record.exc_info else None
    return f"{text} ({told_of(error)})" if error else text
