"""Clocks: always time-zone aware; the system clock in production; in the demo, a morning with an open send window."""

from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from track_pipeline.adapters.clock import clock_for, demo_instant, fixed_clock, system_clock
from track_pipeline.config.hospitals import load_registry
from track_pipeline.config.settings import load_settings
from track_pipeline.domain.calendar import window_is_open

SAO_PAULO = ZoneInfo("America/Sao_Paulo")
REGISTRY = load_registry()


def local(year: int, month: int, day: int, hour: int, minute: int = 0) -> datetime:
    return datetime(year, month, day, hour, minute, tzinfo=SAO_PAULO)


@pytest.mark.parametrize(
    ("now", "instant"),
    [
        pytest.param(local(2025, 3, 10, 14), local(2025, 3, 10, 9), id="a Monday afternoon"),
        pytest.param(local(2025, 3, 10, 3), local(2025, 3, 10, 9), id="a Monday night"),
        pytest.param(local(2025, 3, 15, 12), local(2025, 3, 15, 9), id="a Saturday"),
        pytest.param(local(2025, 3, 16, 12), local(2025, 3, 15, 9), id="a Sunday"),
        pytest.param(local(2025, 4, 21, 12), local(2025, 4, 19, 9), id="a holiday after a Sunday"),
        pytest.param(datetime(2025, 3, 17, 2, tzinfo=UTC), local(2025, 3, 15, 9), id="Monday in UTC, Sunday here"),
    ],
)
def test_the_demo_stands_at_nine_on_the_newest_working_day(now: datetime, instant: datetime) -> None:
    assert demo_instant(now) == instant


@given(st.datetimes(datetime(2024, 1, 1), datetime(2030, 1, 1), timezones=st.just(UTC)))  # noqa: DTZ001 - bounds
@settings(max_examples=60, deadline=None)
def test_in_the_demo_a_send_window_is_open_in_sao_paulo_whenever_it_is_started(now: datetime) -> None:
    instant = demo_instant(now)

    assert window_is_open(REGISTRY.hospital("HMS").send_window, instant)
    assert timedelta(days=-1) < now - instant < timedelta(days=6)


def test_the_demo_s_clock_stands_still_and_can_be_set() -> None:
    chosen = clock_for(load_settings({"TRACK_NOW": "2025-03-10T09:00:00-03:00"}, env_file=None))
    usual = clock_for(load_settings({}, env_file=None))

    assert chosen() == chosen() == datetime(2025, 3, 10, 12, tzinfo=UTC)
    assert usual() == usual()
    assert usual().astimezone(SAO_PAULO).hour == 9


def test_production_goes_by_the_system_s_clock() -> None:
    clock = clock_for(load_settings({"TRACK_ENV": "production"}, env_file=None))

    assert clock is system_clock


def test_every_clock_is_aware() -> None:
    assert system_clock().tzinfo is UTC
    assert abs(system_clock() - datetime.now(UTC)) < timedelta(minutes=1)
    assert fixed_clock(local(2025, 3, 10, 9))().utcoffset() == timedelta(hours=-3)
    assert demo_instant(system_clock()).utcoffset() is not None
