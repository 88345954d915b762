"""The lake: extracts, plans and links as Parquet, one file per step, area, day and hospital.

Patient data lives here and nowhere else for longer than a request; files are for their owner only (0600).
A file appears whole or not at all.
"""

import os
from datetime import date
from io import BytesIO
from pathlib import Path
from typing import BinaryIO

import polars as pl

from track_pipeline.errors import TrackPipelineError


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

    def write(self, frame: pl.DataFrame, step: str, area: str, day: date, hospital: str) -> None:
        """Replaces a partition's frame. Raises LakeError when there is no room or no right to write."""
        path = self.path(step, area, day, hospital)
        try:
            make_private_folder(path.parent)
            _write_whole(frame, path)
        except OSError as error:
            raise LakeError(
                f"{hospital} {day}: {step}/{area} could not be written to {path}: {error.strerror}. "
                "Make room or give this user the right to write there, then run the step again"
            ) from None

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
        path = self.path(step, area, day, hospital)
        try:
            return pl.read_parquet(path) if path.exists() else None
        except (OSError, pl.exceptions.PolarsError) as error:
            raise LakeError(
                f"{hospital} {day}: the file of {step}/{area} cannot be read ({type(error).__name__}): {path}. "
                "If it is damaged, delete it and materialise that asset again"
            ) from None

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


def _write_whole(frame: pl.DataFrame, path: Path) -> None:
    unfinished = path.with_suffix(f".{os.getpid()}.tmp")
    # Not straight into the file: Polars calls a full disk an invalid Parquet file.
    content = BytesIO()
    frame.write_parquet(content)
    try:
        with open_private(unfinished) as file:
            file.write(content.getbuffer())
        unfinished.replace(path)
    finally:
        unfinished.unlink(missing_ok=True)


def make_private_folder(path: Path) -> None:
    """Creates a folder and the parents it lacks, for their owner only where the system has such modes."""
    # Not `parents=True`: the parents it creates do not get the mode.
    for folder in (*reversed(path.parents), path):
        folder.mkdir(mode=0o700, exist_ok=True)


def open_private(path: Path) -> BinaryIO:
    """Opens a new file for writing bytes, readable by its owner only where the system has such modes."""
    return os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | getattr(os, "O_BINARY", 0), 0o600), "wb")
