"""Sources that are lists: a Track.co with given answers, and hospitals whose days are frames. No network."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date, datetime
from typing import TypeVar

import polars as pl

from track_pipeline.adapters.hospitals.extract import EMPTY_DAY
from track_pipeline.domain.hospital import Hospital
from track_pipeline.ports import Answer, DeliveryStatus, KnownDistribution, OptOut, Page

Row = TypeVar("Row", Answer, KnownDistribution, DeliveryStatus, OptOut)


@dataclass
class FakeReader:
    """A SurveyReader that returns the same rows at each call, in pages of `page_size` rows.

    listed: the distributions; None when they cannot be listed.
    failures: the error to raise after the rows of `answers`, `opt_outs` or `statuses`, or after the statuses of one
        distribution, by its id.
    asked_since: records the `since` of each request for answers.
    asked_for: records the distributions whose statuses were requested.
    """

    answered: list[Answer] = field(default_factory=list)
    refused: list[OptOut] = field(default_factory=list)
    delivered: dict[str, list[DeliveryStatus]] = field(default_factory=dict)
    listed: list[KnownDistribution] | None = field(default_factory=list)
    failures: dict[str, Exception] = field(default_factory=dict)
    page_size: int = 1_000
    asked_since: list[datetime | None] = field(default_factory=list)
    asked_for: list[str] = field(default_factory=list)

    def answers(self, since: datetime | None) -> Iterator[Page[Answer]]:
        self.asked_since.append(since)
        return self._pages(self.answered, "answers")

    def opt_outs(self, since: datetime | None) -> Iterator[Page[OptOut]]:  # noqa: ARG002 - the port's name
        return self._pages(self.refused, "opt_outs")

    def distributions(self, since: datetime | None) -> Iterator[Page[KnownDistribution]] | None:  # noqa: ARG002 - as above
        return None if self.listed is None else self._pages(self.listed, "distributions")

    def statuses(self, distribution_id: str) -> Iterator[Page[DeliveryStatus]]:
        self.asked_for.append(distribution_id)
        if distribution_id in self.failures:
            raise self.failures[distribution_id]
        return self._pages(self.delivered.get(distribution_id, []), "statuses")

    def _pages(self, rows: list[Row], source: str) -> Iterator[Page[Row]]:
        for start in range(0, len(rows), self.page_size):
            yield Page(tuple(rows[start : start + self.page_size]), {})
        if source in self.failures:
            raise self.failures[source]


@dataclass
class FakeHospitals:
    """A HospitalReader: hospital code to the batches that every day returns, or to the error to raise."""

    batches: dict[str, Sequence[pl.DataFrame] | Exception] = field(default_factory=dict)

    def extract(self, hospital: Hospital, day: date) -> Iterator[pl.DataFrame]:  # noqa: ARG002 - the port's name
        batches = self.batches.get(hospital.code, ())
        if isinstance(batches, Exception):
            raise batches
        yield from batches

    def probe(self, hospital: Hospital) -> Mapping[str, str]:
        return {hospital.code: f"{len([*self.extract(hospital, EMPTY_DAY)])} batches"}
