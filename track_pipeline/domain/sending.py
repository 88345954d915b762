"""When a hospital's patients may be written to, and what a line that leaves the house consists of.

The calendar and the allow-list; who is written to is decided in `plan`, whether a line left in the ledger.
"""

from collections.abc import Sequence
from datetime import date, datetime, time, timedelta
from functools import cache
from typing import Final

import holidays
import polars as pl

from track_pipeline.domain.areas import AREAS
from track_pipeline.domain.hospital import Hospital, SendWindow

_SATURDAY: Final = 5
_MAX_TEXT: Final = 200


@cache
def _national_holidays(year: int) -> frozenset[date]:
    return frozenset(holidays.country_holidays("BR", years=year))


def is_holiday(day: date) -> bool:
    """Whether a day is a national holiday in Brazil."""
    return day in _national_holidays(day.year)


def is_working_day(day: date) -> bool:
    """Monday to Saturday, national holidays excepted: a day on which the default send window opens."""
    return day.weekday() <= _SATURDAY and not is_holiday(day)


def window_is_open(window: SendWindow, local: datetime) -> bool:
    """Whether a hospital's send window is open at a local (aware) time; it closes at `end` exactly."""
    return _opens_on(window, local.date()) and window.start <= local.time() < window.end


def window_opens_at(window: SendWindow, local: datetime) -> datetime:
    """The next local instant, `local` included, at which the window is open."""
    if window_is_open(window, local):
        return local
    day = local.date() if local.time() < window.start else local.date() + timedelta(days=1)
    while not _opens_on(window, day):
        day += timedelta(days=1)
    return datetime.combine(day, window.start, local.tzinfo)


def _opens_on(window: SendWindow, day: date) -> bool:
    return day.weekday() in window.weekdays and (window.holidays or not is_holiday(day))


def end_of_validity(local: datetime, days: int) -> datetime:
    """The instant a survey stops accepting answers: the last second of the `days`-th day from `local`."""
    return datetime.combine(local.date() + timedelta(days=days), time(23, 59, 59), local.tzinfo)


def import_lines(lines: pl.DataFrame, hospital: Hospital, fields: Sequence[str]) -> list[dict[str, str | None]]:
    """The recipients as Track.co's `import_lines`: flat objects with exactly the allowed `fields`, in order.

    `lines` are planned rows (`PLAN`) with their `send_id`. Times are text in the hospital's time zone, or null;
    phones are digits with country code, without the plus sign; missing texts are empty, as the original sent them.
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
    """A text without control characters or doubled blanks, cut to a sane length."""
    text = pl.col(column).str.replace_all(r"[\p{C}\s]+", " ").str.strip_chars()
    return text.str.head(_MAX_TEXT).fill_null("")


def _local_text(column: str, hospital: Hospital) -> pl.Expr:
    return pl.col(column).dt.convert_time_zone(hospital.time_zone).dt.strftime("%Y-%m-%d %H:%M:%S")
