"""Sources that are lists: a Track.co that says what it is told to, and hospitals whose days are frames. No network."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from datetime import date, datetime
from typing import TypeVar

import polars as pl

from track_pipeline.adapters.track_answers import Answer, DeliveryStatus, OptOut, Page
from track_pipeline.registry import Hospital

Row = TypeVar("Row", Answer, DeliveryStatus, OptOut)

# A page of rows, or the failure that comes in its place.
Pages = Sequence[Sequence[Row] | Exception]


@dataclass
class FakeReader:
    """A SurveyReader that gives the same pages whenever it is asked, and notes what it was asked.

    `skipped` is what it says could not be read, on every page.
    """

    answer_pages: Pages[Answer] = ()
    opt_out_pages: Pages[OptOut] = ()
    status_pages: dict[str, Pages[DeliveryStatus]] = field(default_factory=dict)
    skipped: dict[str, int] = field(default_factory=dict)
    asked: list[tuple[str, datetime | str | None]] = field(default_factory=list)

    def answers(self, since: datetime | None) -> Iterator[Page[Answer]]:
        return self._pages(self.answer_pages, "answers", since)

    def opt_outs(self, since: datetime | None) -> Iterator[Page[OptOut]]:
        return self._pages(self.opt_out_pages, "opt_outs", since)

    def statuses(self, distribution_id: str) -> Iterator[Page[DeliveryStatus]]:
        return self._pages(self.status_pages.get(distribution_id, ()), "statuses", distribution_id)

    def asked_for(self, source: str) -> list[datetime | str | None]:
        """With what a source was asked, in order."""
        return [what for name, what in self.asked if name == source]

    def _pages(self, pages: Pages[Row], source: str, what: datetime | str | None) -> Iterator[Page[Row]]:
        self.asked.append((source, what))
        for page in pages:
            if isinstance(page, Exception):
                raise page
            yield Page(tuple(page), self.skipped)


@dataclass
class FakeHospitals:
    """A HospitalReader: hospital code to the batches of any of its days, or to the failure instead."""

    batches: dict[str, Sequence[pl.DataFrame] | Exception] = field(default_factory=dict)
    read: list[tuple[str, date]] = field(default_factory=list)

    def extract(self, hospital: Hospital, day: date) -> Iterator[pl.DataFrame]:
        self.read.append((hospital.code, day))
        batches = self.batches.get(hospital.code, ())
        if isinstance(batches, Exception):
            raise batches
        yield from batches
