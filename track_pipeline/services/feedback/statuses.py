"""Statuses of many distributions, one request each: a distribution that fails does not stop the others."""

from collections.abc import Iterable, Iterator
from typing import Final

from track_pipeline.ports import DeliveryStatus, FeedbackSource, NotSent, Page, Refused, SendFailure

# This many failures in a row are a failure of Track.co, not of a distribution.
_MOST_IN_A_ROW: Final = 3


def statuses_of(
    reader: FeedbackSource, distributions: Iterable[str]
) -> Iterator[tuple[str, list[Page[DeliveryStatus]] | SendFailure]]:
    """Yield each distribution with the pages of its statuses, or with a failure of this distribution alone.

    Raises SendFailure when Track.co cannot be reached, stops everything, or fails three times in a row.
    """
    failed = 0
    for distribution in distributions:
        try:
            result: list[Page[DeliveryStatus]] | SendFailure = list(reader.statuses(distribution))
            failed = 0
        except Refused as refusal:
            result = refusal
        except NotSent as failure:
            failed += 1
            if failed == _MOST_IN_A_ROW or not _is_of_distribution(failure):
                raise
            result = failure
        yield distribution, result


def _is_of_distribution(failure: NotSent) -> bool:
    """Return whether Track.co answered but failed for this distribution."""
    return failure.reason == "unreadable" or failure.reason.startswith("http_")
