"""`/metrics`: numbers for Prometheus, read from the ledger at every scrape.

All metrics are gauges, because every number can fall: a line that is deferred today is sent tomorrow.
"""

from collections.abc import Iterator
from datetime import timedelta
from typing import Final

import polars as pl
from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.core import GaugeMetricFamily
from prometheus_client.registry import Collector

from track_pipeline.domain.outcomes import OutcomeKind
from track_pipeline.services.insight.status import status
from track_pipeline.web.sources import Sources

# Each encounter has exactly one of these outcomes, so their counts add up to the extracted encounters.
_OUTCOMES: Final = tuple(OutcomeKind)
_LOOK_BACK: Final = timedelta(days=30)


def metrics(sources: Sources) -> bytes:
    """Return all metrics in Prometheus' text format. Raises LedgerError when the ledger cannot be read."""
    # Prometheus' default registry would add metrics of this process, such as its memory.
    registry = CollectorRegistry()
    registry.register(_LedgerCollector(sources))
    return generate_latest(registry)


class _LedgerCollector(Collector):
    def __init__(self, sources: Sources) -> None:
        self._sources = sources

    def collect(self) -> Iterator[GaugeMetricFamily]:
        yield from self._encounters()
        yield self._unknown()
        yield self._alerts()
        yield self._extracts()

    def _encounters(self) -> Iterator[GaugeMetricFamily]:
        day = self._sources.day
        encounters = GaugeMetricFamily(
            "track_encounters",
            "Encounters of yesterday, whose invitations are sent today, by outcome.",
            labels=("hospital", "area", "outcome"),
        )
        answered = GaugeMetricFamily(
            "track_encounters_answered", "Encounters of yesterday with an answer.", labels=("hospital", "area")
        )
        for row in status(self._sources.ledger, (day, day)):
            group = (row.hospital, row.area)
            for outcome in _OUTCOMES:
                encounters.add_metric((*group, outcome), row.count(outcome))
            answered.add_metric(group, row.answered)
        yield encounters
        yield answered

    def _unknown(self) -> GaugeMetricFamily:
        family = GaugeMetricFamily("track_unknown_sends", "Sends with unknown outcome.", labels=("hospital",))
        unresolved = self._sources.ledger.sends.unresolved().group_by("hospital").len()
        counts = dict(unresolved.iter_rows())
        for code in self._sources.registry.codes:
            family.add_metric((code,), counts.get(code, 0))
        return family

    def _alerts(self) -> GaugeMetricFamily:
        family = GaugeMetricFamily("track_open_alerts", "Open alerts.", labels=("kind", "hospital"))
        counted = self._sources.ledger.alerts.all().group_by("kind", "hospital").len().sort("kind", "hospital")
        for kind, hospital, count in counted.iter_rows():
            family.add_metric((kind, hospital), count)
        return family

    def _extracts(self) -> GaugeMetricFamily:
        family = GaugeMetricFamily(
            "track_last_extract_timestamp_seconds",
            "Time of a hospital's last extract. Hospitals without an extract in the last 30 days are left out.",
            labels=("hospital",),
        )
        day = self._sources.day
        extracts = self._sources.ledger.counts.extracted((day - _LOOK_BACK, day))
        for hospital, at in (
            extracts.group_by("hospital").agg(pl.col("extracted_at").max()).sort("hospital").iter_rows()
        ):
            family.add_metric((hospital,), at.timestamp())
        return family
