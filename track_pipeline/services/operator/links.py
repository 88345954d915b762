"""Personal links for the front desk, as a CSV for one hospital-day."""

from datetime import date
from pathlib import Path

import polars as pl

from track_pipeline.adapters.lake import Lake, NotInLake, replacing
from track_pipeline.domain.areas import AREAS
from track_pipeline.domain.hospital import Hospital
from track_pipeline.services.daily.sending import SURVEY_LINK


def export_links(lake: Lake, hospital: Hospital, day: date, path: Path) -> int:
    """Write the links of a hospital-day, all areas, to a CSV (mode 0600) and return their number.

    Columns: encounter_id, unit, area, setor, patient_name, link. Raises NotInLake when none were made.
    """
    found = [lake.find(SURVEY_LINK, area, day, hospital.code) for area in AREAS]
    frames = [frame for frame in found if frame is not None]
    if not frames:
        raise NotInLake(
            f"{hospital.code} {day}: no links were made. Set `links` of the hospital in hospitals.toml to "
            "no_contact or all, then materialise survey_link"
        )
    links = pl.concat(frames).sort("area", "encounter_id")
    # Spreadsheets run cells with these first characters as formulas. Typed text may have line breaks, and semicolons,
    # which start a new cell where the comma is the decimal sign. No name needs any of them.
    safe = pl.col(pl.String).str.replace_all(r"[\p{C}\s;]+", " ").str.replace(r"^[ =+\-@＝＋－＠]+", "")
    with replacing(path) as file:
        links.select("encounter_id", "unit", "area", "setor", "patient_name", "link").with_columns(safe).write_csv(file)
    return links.height
