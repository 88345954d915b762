"""What a step tells Dagster when it fails: the operator's sentence, and never a patient's data.

Database drivers and frame libraries quote values in their errors, so only this project's own errors pass as
they are; of any other, the type and the place in the code are all that is shown.
"""

import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import dagster as dg

from track_pipeline.adapters.reader import SourceError
from track_pipeline.errors import TrackPipelineError

_PACKAGE = Path(__file__).parent.parent


@contextmanager
def told_to_the_operator() -> Iterator[None]:
    """Turns exceptions into failures without a trace of values. Only a transient source fault is retried."""
    try:
        yield
    except dg.Failure:
        raise
    except TrackPipelineError as error:
        retry = isinstance(error, SourceError) and error.transient
        raise dg.Failure(description=str(error), allow_retries=retry) from None
    except Exception as error:  # noqa: BLE001 - whatever it is, its text may quote a patient
        raise dg.Failure(description=_without_values(error), allow_retries=False) from None


def _without_values(error: Exception) -> str:
    frames = traceback.extract_tb(error.__traceback__)
    own = [frame for frame in frames if Path(frame.filename).is_relative_to(_PACKAGE)] or frames
    place = f"{Path(own[-1].filename).name}:{own[-1].lineno} in {own[-1].name}" if own else "an unknown place"
    return (
        f"Unexpected {type(error).__module__}.{type(error).__qualname__} at {place}; its text is withheld because "
        "it may quote patient data. This is a fault to be mended in the code."
    )
