"""What a step tells Dagster when it fails: the operator's sentence, and never a patient's data.

Database drivers and frame libraries quote values in their errors, so only this project's own errors pass as
they are; of any other, the type and the place in the code are all that is shown.
"""

import logging
from collections.abc import Iterator
from contextlib import contextmanager

import dagster as dg

from track_pipeline.errors import TrackPipelineError
from track_pipeline.logs.redaction import is_panic, kind_and_place
from track_pipeline.logs.system_log import about
from track_pipeline.ports import SourceError

logger = logging.getLogger(__name__)


@contextmanager
def told_to_the_operator(context: dg.AssetExecutionContext | None = None) -> Iterator[None]:
    """Turns exceptions into failures without a trace of values. Only a transient source fault is retried.

    What is logged inside, and the failure itself, is in `system.log` under the context's hospital and area.
    """
    with about(*_place_of(context)):
        try:
            yield
        except dg.Failure:
            raise
        except TrackPipelineError as error:
            raise _failure(error, str(error), retry=isinstance(error, SourceError) and error.transient) from None
        except BaseException as error:  # whatever it is, its text may quote a patient
            if not (isinstance(error, Exception) or is_panic(error)):
                raise
            text = (
                f"Unexpected {kind_and_place(error)}; its text is withheld because it may quote patient data. "
                "This is a fault to be mended in the code."
            )
            raise _failure(error, text, retry=False) from None


def _place_of(context: dg.AssetExecutionContext | None) -> tuple[str | None, str | None]:
    if context is None:
        return None, None
    areas = {key.path[-1] for key in context.selected_asset_keys}
    return context.run.tags.get("dagster/partition/hospital"), areas.pop() if len(areas) == 1 else None


def _failure(error: BaseException, text: str, *, retry: bool) -> dg.Failure:
    logger.error("%s", text)
    # The name tells alerts what other alert there is already (defs/alerts.py).
    return dg.Failure(description=text, allow_retries=retry, metadata={"error": type(error).__name__})
