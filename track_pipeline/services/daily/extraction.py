"""Extraction of one hospital-day: read, classify, and write each area's rows to the lake for the invitation."""

import logging
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date
from typing import Final

import polars as pl

from track_pipeline.adapters.lake import Lake
from track_pipeline.adapters.ledger import Ledger
from track_pipeline.domain.areas import AREAS, UNCLASSIFIED
from track_pipeline.domain.classification import classify
from track_pipeline.domain.hospital import Hospital
from track_pipeline.domain.outcomes import EXCLUDED, PLANNED
from track_pipeline.domain.ruleset import RuleSet
from track_pipeline.domain.schema import raw_schema
from track_pipeline.logs.system_log import about
from track_pipeline.ports import HospitalReader

logger = logging.getLogger(__name__)

EXTRACT: Final = "extract"


@dataclass(frozen=True)
class Extraction:
    """Counts of a hospital-day: encounters per area key or `unclassified`, and unclassified encounters by reason."""

    rows: Mapping[str, int]
    unclassified_by: Mapping[str, int]


@dataclass(frozen=True)
class Extractor:
    """Extraction of hospital-days into the lake; the ledger gets the list of encounters."""

    reader: HospitalReader
    rules: Mapping[str, RuleSet]
    lake: Lake
    ledger: Ledger

    def extract(self, hospital: Hospital, day: date) -> Extraction:
        """Read the day once and write the rows of all areas, and the rows in no area.

        All areas are written because an encounter that changed its area must not stay in the old one. Raises
        SourceError when the database cannot be read; then nothing is written.
        """
        rules = self.rules[hospital.code]
        batches = list(self.reader.extract(hospital, day))
        raw = pl.concat(batches) if batches else pl.DataFrame(schema=raw_schema(hospital.his))
        encounters = classify(raw, hospital, rules, day)
        parts = {area.value: encounters.filter(pl.col("area") == area.label) for area in AREAS}
        parts[UNCLASSIFIED] = encounters.filter(pl.col("area").is_null())
        for area, rows in parts.items():
            self.lake.write(rows, EXTRACT, area, day, hospital.code)
            self._record(hospital, day, area, rows, rules)
            with about(area=area):
                logger.info("extract of %s: %d encounters", day, rows.height)
        reasons = parts[UNCLASSIFIED].group_by("reason").len().sort("reason")
        return Extraction({area: rows.height for area, rows in parts.items()}, dict(reasons.iter_rows()))

    def _record(self, hospital: Hospital, day: date, area: str, rows: pl.DataFrame, rules: RuleSet) -> None:
        is_excluded = pl.col("area").is_null()
        found = rows.select(
            "database",
            "encounter_id",
            "unit",
            "setor",
            "reason",
            "rule",
            result=pl.when(is_excluded).then(pl.lit(EXCLUDED)).otherwise(pl.lit(PLANNED)),
            rules_version=pl.lit(rules.version),
        )
        self.ledger.encounters.record_extract(hospital.code, day, area, found)


def extract_of(lake: Lake, hospital: Hospital, day: date) -> pl.DataFrame | None:
    """Return all extracted rows of a hospital-day (`ENCOUNTERS`), also those in no area; None without an extract."""
    found = [lake.find(EXTRACT, area, day, hospital.code) for area in (*AREAS, UNCLASSIFIED)]
    frames = [frame for frame in found if frame is not None]
    return pl.concat(frames) if frames else None
