"""The lake: extracts, plans and links as Parquet, one file per step, area, day and hospital.

Only the lake stores patient data for longer than a request; only the owner can read its files (0600).
Files are written atomically: a reader never sees part of one.
"""

import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import date
from hashlib import sha256
from io import BytesIO
from pathlib import Path
from typing import BinaryIO, Final
from uuid import uuid4

import polars as pl
from filelock import FileLock

from track_pipeline.errors import TrackPipelineError

_MADE_OF: Final = "track_pipeline.made_of"
_HOUR: Final = 3600


class LakeError(TrackPipelineError):
    """A file of the lake cannot be read or written; the existing files are unchanged."""


class NotInLake(TrackPipelineError):  # noqa: N818 - read as "the frame is not in the lake"
    """A step's frame was requested before the step was materialised."""


class Lake:
    """The files `<home>/lake/<step>/<area>/<date>/<hospital>.parquet`."""

    def __init__(self, home: Path) -> None:
        self.root = home / "lake"

    def path(self, step: str, area: str, day: date, hospital: str) -> Path:
        """Return the path of the frame of a step, area and hospital-day."""
        return self.root / step / area / day.isoformat() / f"{hospital}.parquet"

    def write(
        self, frame: pl.DataFrame, step: str, area: str, day: date, hospital: str, *, made_of: str | None = None
    ) -> None:
        """Replace the frame of a step, area and hospital-day.

        `made_of`, stored with it, is the digest of the frame from which this one was made. Raises LakeError without
        disk space or the right to write.
        """
        with self._writing(step, area, day, hospital) as path:
            _write_whole(frame, path, {} if made_of is None else {_MADE_OF: made_of})

    def add(self, frame: pl.DataFrame, step: str, area: str, day: date, hospital: str) -> None:
        """Add rows to a frame, which may not exist yet; one writer runs at a time. Raises LakeError."""
        key = (step, area, day, hospital)
        with self._writing(*key) as path, FileLock(path.with_suffix(".lock"), mode=0o600):
            earlier = self.find(*key)
            self.write(frame if earlier is None else pl.concat([earlier, frame]), *key)

    def read(self, step: str, area: str, day: date, hospital: str) -> pl.DataFrame:
        """Return a frame. Raises NotInLake, which names the asset to materialise first, and LakeError as `find`."""
        frame = self.find(step, area, day, hospital)
        if frame is None:
            raise NotInLake(f"{hospital} {day}: materialise {step}/{area} first; the lake has no file of it")
        return frame

    def find(self, step: str, area: str, day: date, hospital: str) -> pl.DataFrame | None:
        """Return a frame, or None when it was never written or has been purged.

        Raises LakeError when its file cannot be read.
        """
        with self._reading(step, area, day, hospital) as path:
            return pl.read_parquet(path) if path.exists() else None

    @contextmanager
    def _writing(self, step: str, area: str, day: date, hospital: str) -> Iterator[Path]:
        path = self.path(step, area, day, hospital)
        try:
            make_private_folder(path.parent)
            yield path
        except OSError as error:
            raise LakeError(
                f"{hospital} {day}: {step}/{area} could not be written to {path}: {error.strerror}. "
                "Free disk space, or give this user the right to write there, then run the step again"
            ) from None

    @contextmanager
    def _reading(self, step: str, area: str, day: date, hospital: str) -> Iterator[Path]:
        path = self.path(step, area, day, hospital)
        try:
            yield path
        except (OSError, pl.exceptions.PolarsError) as error:
            raise LakeError(
                f"{hospital} {day}: the file of {step}/{area} cannot be read ({type(error).__name__}): {path}. "
                "If it is damaged, delete it and materialise that asset again"
            ) from None

    def digest(self, step: str, area: str, day: date, hospital: str) -> str | None:
        """Return the SHA-256 of a frame's file; None when there is no file. Raises LakeError."""
        with self._reading(step, area, day, hospital) as path:
            return sha256(path.read_bytes()).hexdigest() if path.exists() else None

    def made_of(self, step: str, area: str, day: date, hospital: str) -> str | None:
        """Return the `made_of` digest stored with a frame; None when there is none. Raises LakeError."""
        with self._reading(step, area, day, hospital) as path:
            return pl.read_parquet_metadata(path).get(_MADE_OF) if path.exists() else None

    def drop_unfinished(self) -> int:
        """Delete unfinished files of killed processes and return how many; they are older than any write (1 hour)."""
        left = [path for path in self.root.glob("*/*/*/*.tmp") if time.time() - path.stat().st_mtime > _HOUR]
        for path in left:
            path.unlink(missing_ok=True)
        return len(left)

    def places(self) -> list[tuple[str, str, date, str]]:
        """Return step, area, day and hospital of every frame, sorted in this order."""
        return sorted(
            (path.parts[-4], path.parts[-3], day, path.stem)
            for path in self.root.glob("*/*/*/*.parquet")
            if (day := day_of(path.parent)) is not None
        )


def day_of(folder: Path) -> date | None:
    """Return the day of a folder of the lake; None when the name is not a date."""
    try:
        return date.fromisoformat(folder.name)
    except ValueError:
        return None


def _write_whole(frame: pl.DataFrame, path: Path, metadata: dict[str, str]) -> None:
    # Written to memory first: Polars reports a full disk as an invalid Parquet file.
    content = BytesIO()
    frame.write_parquet(content, metadata=metadata)
    with replacing(path) as file:
        file.write(content.getbuffer())


def make_private_folder(path: Path) -> None:
    """Create a folder and its missing parents, for their owner only if the system supports file modes."""
    # Not `parents=True`: it does not apply the mode to the parents.
    for folder in (*reversed(path.parents), path):
        folder.mkdir(mode=0o700, exist_ok=True)


@contextmanager
def replacing(path: Path) -> Iterator[BinaryIO]:
    """Open a new file for writing bytes; it replaces `path` when the block ends without an error.

    Only its owner can read it, if the system supports file modes, regardless of the mode of an earlier file.
    """
    # Not named by process id: containers that share a volume may have equal process ids.
    unfinished = path.with_suffix(f".{uuid4().hex}.tmp")
    try:
        with open_private(unfinished) as file:
            yield file
        unfinished.replace(path)
    finally:
        unfinished.unlink(missing_ok=True)


def open_private(path: Path) -> BinaryIO:
    """Open a new file for writing bytes, readable by its owner only if the system supports file modes."""
    return os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | getattr(os, "O_BINARY", 0), 0o600), "wb")
