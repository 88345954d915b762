"""Makes texts and exceptions safe to show: no patient data, no control characters of a terminal."""

import traceback
from pathlib import Path
from typing import Final

from track_pipeline.errors import TrackPipelineError

_PACKAGE: Final = Path(__file__).parent.parent


def shown(text: str) -> str:
    """Replace control characters by blanks, except line breaks: an escape sequence could forge lines of output."""
    return text if text.isprintable() else "".join(each if each.isprintable() or each == "\n" else " " for each in text)


def kind_and_place(error: BaseException) -> str:
    """Return the safe description of an external exception: its type, and the innermost line in this package."""
    frames = traceback.extract_tb(error.__traceback__)
    own = [frame for frame in frames if Path(frame.filename).is_relative_to(_PACKAGE)] or frames
    place = f"{Path(own[-1].filename).name}:{own[-1].lineno} in {own[-1].name}" if own else "an unknown place"
    return f"{type(error).__module__}.{type(error).__qualname__} at {place}"


def is_panic(error: BaseException) -> bool:
    """Return whether an error is a panic of polars, which is not an Exception and whose text may quote values."""
    return type(error).__name__ == "PanicException"


def told_of(error: BaseException) -> str:
    """Return the safe description of any exception: the text of a TrackPipelineError, type and line of others."""
    return str(error) if isinstance(error, TrackPipelineError) else kind_and_place(error)
