"""The run requests of each schedule and sensor, at frozen instants."""

from datetime import date, datetime, timedelta
from pathlib import Path

import dagster as dg
import pytest

from track_pipeline.adapters.ledger import LedgerError
from track_pipeline.config.hospitals import load_registry
from track_pipeline.definitions import build_defs
from track_pipeline_tests.defs.conftest import DAY, MORNING, SAO_PAULO, Installation, down, production_settings

CODES = load_registry().codes


@pytest.fixture(scope="module")
def production(tmp_path_factory: pytest.TempPathFactory) -> dg.Definitions:
    return build_defs(production_settings(tmp_path_factory.mktemp("production")))


def asked(defs: dg.Definitions, name: str, at: datetime) -> list[str | None]:
    schedule = defs.resolve_schedule_def(name)
    context = dg.build_schedule_context(scheduled_execution_time=at, repository_def=defs.get_repository_def())
    return [request.partition_key for request in schedule.evaluate_tick(context).run_requests or []]


def partitions(day: date, codes: tuple[str, ...] = CODES) -> list[str]:
    return [f"{day}|{code}" for code in codes]


@pytest.mark.parametrize(
    ("name", "at", "day"),
    [
        ("daily_0800", datetime(2026, 3, 10, 8, tzinfo=SAO_PAULO), date(2026, 3, 9)),
        ("daily_0800", datetime(2026, 1, 1, 8, tzinfo=SAO_PAULO), date(2025, 12, 31)),
        ("reminder_7d_daily", datetime(2026, 3, 10, 10, tzinfo=SAO_PAULO), date(2026, 3, 2)),
        ("reminder_7d_daily", datetime(2026, 1, 5, 10, tzinfo=SAO_PAULO), date(2025, 12, 28)),
        ("reminder_14d_daily", datetime(2026, 3, 10, 10, tzinfo=SAO_PAULO), date(2026, 2, 23)),
    ],
)
def test_each_morning_asks_for_the_hospital_days_that_are_due(
    production: dg.Definitions, name: str, at: datetime, day: date
) -> None:
    assert sorted(map(str, asked(production, name, at))) == sorted(partitions(day))


def test_in_production_everything_runs_by_itself(production: dg.Definitions) -> None:
    schedules = [production.resolve_schedule_def(name) for name in ("daily_0800", "sweep", "answers_hourly")]
    assert {schedule.default_status for schedule in schedules} == {dg.DefaultScheduleStatus.RUNNING}
    assert {sensor.default_status for sensor in production.sensors or []} == {dg.DefaultSensorStatus.RUNNING}


@pytest.mark.dagster_on_disk
def test_the_sweep_asks_for_what_is_missing_failed_or_deferred_in_a_week(the_day_after: Installation) -> None:
    finished, failed, deferred = (DAY - timedelta(days=age) for age in (0, 1, 2))
    the_day_after.failures["HMS"] = down(transient=False)
    the_day_after.run("daily", failed, "HMS")
    del the_day_after.failures["HMS"]
    the_day_after.now = MORNING.replace(hour=7)
    the_day_after.run("daily", deferred, "HMS")

    wanted = {str(request.partition_key) for request in the_day_after.tick("sweep", MORNING.replace(hour=9, minute=15))}

    week = {f"{DAY - timedelta(days=age)}|{code}" for age in range(7) for code in ("HMS", "HAC")}
    assert wanted == week - {f"{finished}|HMS"}


@pytest.mark.dagster_on_disk
def test_the_sweep_asks_for_lines_that_wait_for_as_long_as_they_may_be_sent(the_day_after: Installation) -> None:
    the_day_after.runtime.ledger.pauses.add("all", "a long holiday", "operator")
    old = DAY - timedelta(days=20)
    the_day_after.now = MORNING - timedelta(days=20)
    the_day_after.run("daily", old, "HMS")
    the_day_after.runtime.ledger.pauses.remove("all")
    hospitals = the_day_after.runtime.registry.hospitals

    def wanted() -> bool:
        return f"{old}|HMS" in {
            str(request.partition_key) for request in the_day_after.tick("sweep", MORNING.replace(hour=9, minute=15))
        }

    assert not wanted()
    patient = [each.model_copy(update={"max_age_days": 30}) for each in hospitals]
    the_day_after.runtime.registry = the_day_after.runtime.registry.model_copy(update={"hospitals": tuple(patient)})
    assert wanted()


def test_late_discharges_are_looked_for_in_the_three_days_before_yesterday(installation: Installation) -> None:
    requests = installation.tick("late_discharges", MORNING.replace(hour=11))
    days = [DAY - timedelta(days=age) for age in (3, 2, 1)]
    assert [str(request.partition_key) for request in requests] == [
        f"{day}|{code}" for day in days for code in ("HMS", "HAC")
    ]
    assert len({request.run_key for request in requests}) == 6


# --- sensors


def requests(installation: Installation, name: str, at: datetime) -> list[tuple[str, str]]:
    """Partition and run key of what a sensor asks for at an instant."""
    installation.now = at
    repository = installation.defs.get_repository_def()
    context = dg.build_sensor_context(
        instance=installation.instance, repository_def=repository, resources={"runtime": installation.runtime}
    )
    found = repository.get_sensor_def(name).evaluate_tick(context).run_requests or []
    return [(str(request.partition_key), str(request.run_key)) for request in found]


def test_stragglers_are_asked_for_once_a_day_from_half_past_ten_in_the_window(
    the_day_after: Installation,
) -> None:
    due = MORNING + timedelta(days=7)

    assert (requests(the_day_after, "reminder_7d_stragglers", due - timedelta(days=1))) == []
    assert (requests(the_day_after, "reminder_7d_stragglers", due.replace(hour=10, minute=29))) == []
    first = requests(the_day_after, "reminder_7d_stragglers", due.replace(hour=10, minute=30))
    again = requests(the_day_after, "reminder_7d_stragglers", due.replace(hour=15))
    assert first == again == [(f"{DAY}|HMS", f"reminder_7d|{DAY}|HMS|{due:%Y-%m-%d}")]
    assert (requests(the_day_after, "reminder_7d_stragglers", due.replace(hour=20))) == []


def test_who_was_invited_late_is_a_straggler_a_week_after_that(installation: Installation) -> None:
    installation.now = MORNING + timedelta(days=3)
    installation.run("daily", DAY)
    noon = MORNING.replace(hour=12)
    assert (requests(installation, "reminder_7d_stragglers", noon + timedelta(days=8))) == []
    assert [key for key, _ in requests(installation, "reminder_7d_stragglers", noon + timedelta(days=10))] == [
        f"{DAY}|HMS"
    ]


def test_once_reminded_there_is_no_straggler(the_day_after: Installation) -> None:
    the_day_after.now = MORNING + timedelta(days=7)
    the_day_after.run("reminder_7d", DAY)
    assert (requests(the_day_after, "reminder_7d_stragglers", MORNING + timedelta(days=7, hours=3))) == []


def test_lines_that_waited_for_the_window_are_asked_for_when_it_opens(installation: Installation) -> None:
    installation.now = MORNING.replace(hour=7)
    installation.run("daily", DAY)

    assert (requests(installation, "deferred_lines", MORNING.replace(hour=7, minute=30))) == []
    opened = requests(installation, "deferred_lines", MORNING.replace(hour=8))
    assert opened == [(f"{DAY}|HMS", f"window|{DAY}|HMS|{MORNING:%Y-%m-%d}")]

    installation.run("daily", DAY)
    assert (requests(installation, "deferred_lines", MORNING.replace(hour=9))) == []


def test_a_tick_without_a_ledger_raises_and_so_loses_nothing(the_day_after: Installation, tmp_path: Path) -> None:
    the_day_after.runtime.ledger.close()
    for file in (tmp_path / "home").glob("ledger.sqlite*"):
        file.unlink()
    (tmp_path / "home" / "ledger.sqlite").mkdir()
    with pytest.raises(LedgerError):
        requests(the_day_after, "deferred_lines", MORNING)
