"""Clocks: the system clock in production, a fixed clock in the demo. Only this module reads the present time."""

from datetime import UTC, datetime, time, timedelta

from track_pipeline.config.settings import Settings
from track_pipeline.domain.calendar import is_working_day
from track_pipeline.domain.encounter import GROUP_TIME_ZONE
from track_pipeline.ports import Clock

_DEMO_HOUR = time(9)


def system_clock() -> datetime:
    """Return the present instant, in UTC."""
    return datetime.now(UTC)


def fixed_clock(instant: datetime) -> Clock:
    """Return a clock that always returns `instant` (aware)."""
    return lambda: instant


def demo_instant(now: datetime) -> datetime:
    """Return 09:00 in São Paulo on the latest working day, so that the demo also works at night and on a holiday."""
    day = now.astimezone(GROUP_TIME_ZONE).date()
    while not is_working_day(day):
        day -= timedelta(days=1)
    return datetime.combine(day, _DEMO_HOUR, GROUP_TIME_ZONE)


def clock_for(settings: Settings) -> Clock:
    """Return the clock for these settings."""
    if settings.is_demo:
        return fixed_clock(settings.now or demo_instant(system_clock()))
    return system_clock
