"""The lake: extracts, plans and links as Parquet, one file per step, area, day and hospital.

Patient data lives here and nowhere else for longer than a request; files are for their owner only (0600).
A file appears whole or not at all.
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
    """A file of the lake cannot be read or written; what was in the lake still is."""


class NotInLake(TrackPipelineError):  # noqa: N818 - read as "the frame is not in the lake"
    """A step was asked for that has not been materialised."""


class Lake:
    """`<home>/lake/<step>/<area>/<date>/<hospital>.parquet`."""

    def __init__(self, home: Path) -> None:
        self.root = home / "lake"

    def path(self, step: str, area: str, day: date, hospital: str) -> Path:
        """Where a partition's frame is."""
        return self.root / step / area / day.isoformat() / f"{hospital}.parquet"

    def write(
        self, frame: pl.DataFrame, step: str, area: str, day: date, hospital: str, *, made_of: str | None = None
    ) -> None:
        """Replaces a partition's frame. Raises LakeError when there is no room or no right to write.

        `made_of` is kept with it: the digest of the frame that this one was made of.
        """
        with self._writing(step, area, day, hospital) as path:
            _write_whole(frame, path, {} if made_of is None else {_MADE_OF: made_of})

    def add(self, frame: pl.DataFrame, step: str, area: str, day: date, hospital: str) -> None:
        """Adds rows to a partition's frame, which may be none yet; writers take turns. Raises LakeError."""
        place = (step, area, day, hospital)
        with self._writing(*place) as path, FileLock(path.with_suffix(".lock"), mode=0o600):
            earlier = self.find(*place)
            self.write(frame if earlier is None else pl.concat([earlier, frame]), *place)

    def read(self, step: str, area: str, day: date, hospital: str) -> pl.DataFrame:
        """A partition's frame. Raises NotInLake naming the asset to materialise first, LakeError as `find` does."""
        frame = self.find(step, area, day, hospital)
        if frame is None:
            raise NotInLake(f"{hospital} {day}: materialise {step}/{area} first, the lake has no file of it")
        return frame

    def find(self, step: str, area: str, day: date, hospital: str) -> pl.DataFrame | None:
        """A partition's frame, or None when it was never written or has been purged.

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
                "Make room or give this user the right to write there, then run the step again"
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
        """What tells a partition's frame from every other one; None when it is not there. Raises LakeError."""
        with self._reading(step, area, day, hospital) as path:
            return sha256(path.read_bytes()).hexdigest() if path.exists() else None

    def made_of(self, step: str, area: str, day: date, hospital: str) -> str | None:
        """The digest that a partition's frame was written with; None when there is none. Raises LakeError."""
        with self._reading(step, area, day, hospital) as path:
            return pl.read_parquet_metadata(path).get(_MADE_OF) if path.exists() else None

    def drop_unfinished(self) -> int:
        """Deletes what killed processes left of files they wrote; returns how many. No write takes an hour."""
        left = [path for path in self.root.glob("*/*/*/*.tmp") if time.time() - path.stat().st_mtime > _HOUR]
        for path in left:
            path.unlink(missing_ok=True)
        return len(left)

    def places(self) -> list[tuple[str, str, date, str]]:
        """Step, area, day and hospital of every frame there is, in this order."""
        return sorted(
            (path.parts[-4], path.parts[-3], day, path.stem)
            for path in self.root.glob("*/*/*/*.parquet")
            if (day := day_of(path.parent)) is not None
        )


def day_of(folder: Path) -> date | None:
    """The day that a folder of the lake is for; None for a folder that is not the lake's."""
    try:
        return date.fromisoformat(folder.name)
    except ValueError:
        return None


def _write_whole(frame: pl.DataFrame, path: Path, metadata: dict[str, str]) -> None:
    # Not straight into the file: Polars calls a full disk an invalid Parquet file.
    content = BytesIO()
    frame.write_parquet(content, metadata=metadata)
    with replacing(path) as file:
        file.write(content.getbuffer())


def make_private_folder(path: Path) -> None:
    """Creates a folder and the parents it lacks, for their owner only where the system has such modes."""
    # Not `parents=True`: the parents it creates do not get the mode.
    for folder in (*reversed(path.parents), path):
        folder.mkdir(mode=0o700, exist_ok=True)


@contextmanager
def replacing(path: Path) -> Iterator[BinaryIO]:
    """A new file to write bytes to, which takes the place of `path` when the block ends well.

    It is readable by its owner only, where the system has such modes, whatever was there before.
    """
    # Containers that share a volume may have processes of one number.
    unfinished = path.with_suffix(f".{uuid4().hex}.tmp")
    try:
        with open_private(unfinished) as file:
            yield file
        unfinished.replace(path)
    finally:
        unfinished.unlink(missing_ok=True)


def open_private(path: Path) -> BinaryIO:
    """Opens a new file for writing bytes, readable by its owner only where the system has such modes."""
    return os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | getattr(os, "O_BINARY", 0), 0o600), "wb")
