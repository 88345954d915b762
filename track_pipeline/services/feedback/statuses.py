"""Asking Track.co about many distributions, one by one: one that it cannot tell of does not keep the others from us."""

from collections.abc import Iterable, Iterator
from typing import Final

from track_pipeline.ports import DeliveryStatus, FeedbackSource, NotSent, Page, Refused, SendFailure

# So many in a row that fail are not a matter of the distribution any more.
_MOST_IN_A_ROW: Final = 3


def statuses_of(
    reader: FeedbackSource, distributions: Iterable[str]
) -> Iterator[tuple[str, list[Page[DeliveryStatus]] | SendFailure]]:
    """Each distribution with the pages of its statuses, or with the failure that is about it alone.

    Raises SendFailure when Track.co cannot be reached, stops everything, or fails three times in a row.
    """
    failed = 0
    for distribution in distributions:
        try:
            told: list[Page[DeliveryStatus]] | SendFailure = list(reader.statuses(distribution))
            failed = 0
        except Refused as refusal:
            told = refusal
        except NotSent as failure:
            failed += 1
            if failed == _MOST_IN_A_ROW or not _is_about_it(failure):
                raise
            told = failure
        yield distribution, told


def _is_about_it(failure: NotSent) -> bool:
    """Whether Track.co answered, and could not tell of this one."""
    return failure.reason == "unreadable" or failure.reason.startswith("http_")
