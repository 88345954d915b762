"""Dates and times of sending: national holidays, a hospital's send window, the end of a survey's validity."""

from datetime import date, datetime, time, timedelta
from functools import cache
from typing import Final

import holidays

from track_pipeline.domain.hospital import SendWindow

_SATURDAY: Final = 5


@cache
def _national_holidays(year: int) -> frozenset[date]:
    return frozenset(holidays.country_holidays("BR", years=year))


def is_holiday(day: date) -> bool:
    """Whether a day is a national holiday in Brazil."""
    return day in _national_holidays(day.year)


def is_working_day(day: date) -> bool:
    """Whether the default send window opens on a day: Monday to Saturday, except national holidays."""
    return day.weekday() <= _SATURDAY and not is_holiday(day)


def window_is_open(window: SendWindow, local: datetime) -> bool:
    """Whether a hospital's send window is open at a local (aware) time. At `end` exactly it is closed."""
    return _opens_on(window, local.date()) and window.start <= local.time() < window.end


def window_opens_at(window: SendWindow, local: datetime) -> datetime:
    """Return the first local instant at or after `local` at which the window is open."""
    if window_is_open(window, local):
        return local
    day = local.date() if local.time() < window.start else local.date() + timedelta(days=1)
    while not _opens_on(window, day):
        day += timedelta(days=1)
    return datetime.combine(day, window.start, local.tzinfo)


def _opens_on(window: SendWindow, day: date) -> bool:
    return day.weekday() in window.weekdays and (window.holidays or not is_holiday(day))


def end_of_validity(local: datetime, days: int) -> datetime:
    """Return when a survey stops accepting answers: 23:59:59, `days` days after the date of `local`."""
    return datetime.combine(local.date() + timedelta(days=days), time(23, 59, 59), local.tzinfo)
