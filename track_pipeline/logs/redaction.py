"""What may be shown of a text or an exception: nothing of patients, and nothing that steers a terminal."""

import traceback
from pathlib import Path
from typing import Final

from track_pipeline.errors import TrackPipelineError

_PACKAGE: Final = Path(__file__).parent.parent


def shown(text: str) -> str:
    """The text with a blank for every control character but line breaks: an escape sequence could forge lines."""
    return text if text.isprintable() else "".join(each if each.isprintable() or each == "\n" else " " for each in text)


def kind_and_place(error: BaseException) -> str:
    """What may be told of an exception that is not ours: its type, and the innermost place in our own code."""
    frames = traceback.extract_tb(error.__traceback__)
    own = [frame for frame in frames if Path(frame.filename).is_relative_to(_PACKAGE)] or frames
    place = f"{Path(own[-1].filename).name}:{own[-1].lineno} in {own[-1].name}" if own else "an unknown place"
    return f"{type(error).__module__}.{type(error).__qualname__} at {place}"


def is_panic(error: BaseException) -> bool:
    """Whether polars broke down. Its panics are no Exceptions, and their text may quote values like any other's."""
    return type(error).__name__ == "PanicException"


def told_of(error: BaseException) -> str:
    """What may be told of any exception: the text of our own, kind and place of others."""
    return str(error) if isinstance(error, TrackPipelineError) else kind_and_place(error)
