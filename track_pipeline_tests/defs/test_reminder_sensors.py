"""The run requests of the reminder sensors, and the partitions that the sensors and the sweep skip."""

from datetime import date, timedelta
from pathlib import Path

import dagster as dg
import pytest

from track_pipeline.domain.hospital import Registry
from track_pipeline_tests.defs.conftest import DAY, MORNING, Installation

NOON = timedelta(hours=3)
WEEK = timedelta(days=7)
ANSWERS = dg.AssetKey("answers")


def invite(installation: Installation, day: date = DAY, code: str = "HMS") -> None:
    """Invites the inpatients of a hospital-day, which is quicker than everybody."""
    steps = ("extract", "invitation", "dispatch_email")
    installation.run("daily", day, code, asset_selection=[dg.AssetKey([step, "internacao"]) for step in steps])


def sensor_context(installation: Installation, cursor: str | None = None) -> dg.SensorEvaluationContext:
    return dg.build_sensor_context(
        instance=installation.instance,
        cursor=cursor,
        repository_def=installation.defs.get_repository_def(),
        resources={"runtime": installation.runtime},
    )


def asked(installation: Installation, name: str, context: dg.SensorEvaluationContext | None = None) -> list[str]:
    sensor = installation.defs.get_repository_def().get_sensor_def(name)
    found = sensor.evaluate_tick(context or sensor_context(installation)).run_requests or []
    return [str(request.partition_key) for request in found]


def leave_reminders_to_track(installation: Installation, code: str) -> None:
    registry = installation.runtime.registry
    hospitals = tuple(
        one.model_copy(update={"reminders": "track"}) if one.code == code else one for one in registry.hospitals
    )
    changed: Registry = registry.model_copy(update={"hospitals": hospitals})
    installation.runtime.registry = changed


def test_a_hospital_whose_reminders_are_tracks_own_is_not_asked_for(installation: Installation) -> None:
    for code in ("HMS", "HAC"):
        invite(installation, code=code)
    installation.now = MORNING + WEEK + NOON
    assert asked(installation, "reminder_7d_stragglers") == [f"{DAY}|HAC", f"{DAY}|HMS"]

    leave_reminders_to_track(installation, "HMS")
    assert asked(installation, "reminder_7d_stragglers") == [f"{DAY}|HAC"]


def test_each_wave_asks_for_its_own_cohort_alone(installation: Installation) -> None:
    for day in (DAY, DAY - WEEK):
        installation.now = MORNING - (DAY - day)
        invite(installation, day)
    installation.now = MORNING + WEEK + NOON
    assert asked(installation, "reminder_7d_stragglers") == [f"{DAY}|HMS"]
    assert asked(installation, "reminder_14d_stragglers") == [f"{DAY - WEEK}|HMS"]


@pytest.mark.parametrize(("days_late", "is_asked"), [(0, True), (3, True), (4, False)])
def test_a_cohort_is_asked_for_as_long_as_it_may_be_caught_up(
    installation: Installation, *, days_late: int, is_asked: bool
) -> None:
    invite(installation)
    installation.now = MORNING + WEEK + NOON + timedelta(days=days_late)
    assert bool(asked(installation, "reminder_7d_stragglers")) == is_asked


def test_fresh_answers_start_reminders_that_are_due_at_once(installation: Installation) -> None:
    invite(installation)
    installation.now = MORNING + WEEK + NOON
    assert asked(installation, "reminder_7d_fresh_answers") == []

    installation.run("read_answers", None)

    context = sensor_context(installation)
    assert asked(installation, "reminder_7d_fresh_answers", context) == [f"{DAY}|HMS"]
    assert context.cursor
    # Restarted with the cursor that it left, it has nothing new to look at.
    assert asked(installation, "reminder_7d_fresh_answers", sensor_context(installation, context.cursor)) == []


def test_a_tick_that_raises_keeps_its_cursor_and_the_next_one_loses_nothing(
    installation: Installation, tmp_path: Path
) -> None:
    invite(installation)
    installation.now = MORNING + WEEK + NOON
    installation.run("read_answers", None)
    ledger, hidden = tmp_path / "home" / "ledger.sqlite", tmp_path / "hidden"
    installation.runtime.ledger.close()
    ledger.rename(hidden)
    ledger.mkdir()
    context = sensor_context(installation, cursor=None)
    with pytest.raises(Exception, match="the ledger"):
        asked(installation, "reminder_7d_fresh_answers", context)
    assert context.cursor is None

    ledger.rmdir()
    hidden.rename(ledger)
    assert asked(installation, "reminder_7d_fresh_answers", context) == [f"{DAY}|HMS"]


# --- the sweep


def swept(installation: Installation) -> set[str]:
    ticked = installation.tick("sweep", MORNING.replace(hour=9, minute=15))
    return {str(request.partition_key) for request in ticked}


@pytest.mark.dagster_on_disk
def test_a_hospital_day_that_is_being_made_is_not_swept_although_its_lines_wait(installation: Installation) -> None:
    meanwhile: list[set[str]] = []

    def sweep_once() -> None:
        if not meanwhile:
            meanwhile.append(swept(installation))

    installation.sender.on_request = sweep_once
    installation.run("daily", DAY)

    [keys] = meanwhile
    assert f"{DAY}|HMS" not in keys
    assert f"{DAY}|HAC" in keys


@pytest.mark.dagster_on_disk
def test_lines_that_no_run_can_send_are_not_swept(installation: Installation) -> None:
    installation.runtime.settings = installation.settings.model_copy(update={"dispatch_mode": "dry-run"})
    installation.run("daily", DAY)
    assert f"{DAY}|HMS" not in swept(installation)

    installation.runtime.settings = installation.settings
    assert f"{DAY}|HMS" in swept(installation)


@pytest.mark.dagster_on_disk
def test_lines_of_a_paused_hospital_are_swept_once_it_is_resumed(installation: Installation) -> None:
    ledger = installation.runtime.ledger
    ledger.pauses.add("hospital:HMS", "an operator wants to look", "test")
    installation.run("daily", DAY)
    assert f"{DAY}|HMS" not in swept(installation)

    ledger.pauses.remove("hospital:HMS")
    assert f"{DAY}|HMS" in swept(installation)
    ledger.pauses.add("all", "Track.co throttles", "test")
    assert f"{DAY}|HMS" not in swept(installation)


@pytest.mark.dagster_on_disk
def test_lines_that_wait_for_the_window_are_swept_once_it_is_open(installation: Installation) -> None:
    installation.now = MORNING.replace(hour=7)
    installation.run("daily", DAY)
    assert f"{DAY}|HMS" in swept(installation)

    sunday = MORNING + timedelta(days=5)
    ticked = installation.tick("sweep", sunday.replace(hour=9, minute=15))
    assert f"{DAY}|HMS" not in {str(request.partition_key) for request in ticked}
