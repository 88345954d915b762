"""Builds the recipients of a request in Track.co's format: flat objects with the fields of the allow-list."""

from collections.abc import Sequence
from typing import Final

import polars as pl

from track_pipeline.domain.areas import AREAS
from track_pipeline.domain.hospital import Hospital

_MAX_TEXT: Final = 200


def import_lines(lines: pl.DataFrame, hospital: Hospital, fields: Sequence[str]) -> list[dict[str, str | None]]:
    """Return the lines as Track.co's `import_lines`: flat objects with exactly the allowed `fields`, in order.

    `lines` are planned rows (`PLAN`) with `send_id`. Times are texts in the hospital's time zone, or null. Phones are
    digits with country code, without the plus sign. Missing texts are empty, as in the original system.
    """
    labels = {area.value: area.label for area in AREAS}
    values = {
        "send_id": pl.col("send_id"),
        "name": _one_line("patient_name"),
        "email": pl.col("email_address"),
        "phone": pl.col("phone_e164").str.strip_prefix("+"),
        "cpf": pl.col("cpf_digits").fill_null(""),
        "cd_atendimento": pl.col("encounter_id").cast(pl.String),
        "unidade": pl.col("unit_name"),
        "area_pesquisa": pl.col("area").replace_strict(labels, return_dtype=pl.String),
        "setor": _one_line("setor"),
        "medico": _one_line("doctor_name"),
        "data_atendimento": _local_text("attended_at", hospital),
        "data_saida_alta": _local_text("discharged_at", hospital),
    }
    return lines.select(values[field].alias(field) for field in fields).to_dicts()


def _one_line(column: str) -> pl.Expr:
    """Return a text without control characters or repeated blanks, cut to `_MAX_TEXT` characters; empty for null."""
    text = pl.col(column).str.replace_all(r"[\p{C}\s]+", " ").str.strip_chars()
    return text.str.head(_MAX_TEXT).fill_null("")


def _local_text(column: str, hospital: Hospital) -> pl.Expr:
    return pl.col(column).dt.convert_time_zone(hospital.time_zone).dt.strftime("%Y-%m-%d %H:%M:%S")
