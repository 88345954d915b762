"""Clocks: the system's in production, a fixed one in the demo. Nothing else may ask what time it is."""

from datetime import UTC, datetime, time, timedelta

from track_pipeline.config.settings import Settings
from track_pipeline.domain.calendar import is_working_day
from track_pipeline.domain.encounter import GROUP_TIME_ZONE
from track_pipeline.ports import Clock

_DEMO_HOUR = time(9)


def system_clock() -> datetime:
    """The present instant, in UTC."""
    return datetime.now(UTC)


def fixed_clock(instant: datetime) -> Clock:
    """A clock that stands still at `instant` (aware)."""
    return lambda: instant


def demo_instant(now: datetime) -> datetime:
    """09:00 in São Paulo on the newest working day: the demo runs the same at night and on a holiday."""
    day = now.astimezone(GROUP_TIME_ZONE).date()
    while not is_working_day(day):
        day -= timedelta(days=1)
    return datetime.combine(day, _DEMO_HOUR, GROUP_TIME_ZONE)


def clock_for(settings: Settings) -> Clock:
    """The clock that these settings ask for."""
    if settings.is_demo:
        return fixed_clock(settings.now or demo_instant(system_clock()))
    return system_clock
