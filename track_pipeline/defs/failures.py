"""How the failure of a step is shown in Dagster: a text for the operator, without patient data.

Database drivers and frame libraries quote values in their errors. The texts of this project's own errors are shown;
of any other error only the type and the line of code are shown.
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
    """Turn exceptions of the block into Dagster failures that quote no values.

    Dagster retries only a transient fault of a source. `system.log` has the failure, and all that the block logs,
    under the hospital and area of the context.
    """
    with about(*_hospital_and_area(context)):
        try:
            yield
        except dg.Failure:
            raise
        except TrackPipelineError as error:
            raise _failure(error, str(error), retry=isinstance(error, SourceError) and error.transient) from None
        except BaseException as error:  # the text of any error may quote patient data
            if not (isinstance(error, Exception) or is_panic(error)):
                raise
            text = (
                f"Unexpected {kind_and_place(error)}; its text is withheld because it may quote patient data. "
                "The code has a fault: report this message to its developers."
            )
            raise _failure(error, text, retry=False) from None


def _hospital_and_area(context: dg.AssetExecutionContext | None) -> tuple[str | None, str | None]:
    if context is None:
        return None, None
    areas = {key.path[-1] for key in context.selected_asset_keys}
    return context.run.tags.get("dagster/partition/hospital"), areas.pop() if len(areas) == 1 else None


def _failure(error: BaseException, text: str, *, retry: bool) -> dg.Failure:
    logger.error("%s", text)
    # By the name, defs/alerts.py finds out whether another alert already covers the failure.
    return dg.Failure(description=text, allow_retries=retry, metadata={"error": type(error).__name__})
