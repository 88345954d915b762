"""The sensors that send alerts on failed runs and other problems, with real runs in a real instance."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import dagster as dg
import polars as pl
import pytest

from track_pipeline.adapters.ledger.encounters import EXTRACTED
from track_pipeline.definitions import build_defs
from track_pipeline.ports import Stopped, Unknown
from track_pipeline.services.alerting.alerting import Alerting
from track_pipeline_tests.defs.conftest import DAY, MORNING, Installation, down, production_settings
from track_pipeline_tests.support.fake_channel import FakeChannel

INPATIENTS = [dg.AssetKey([step, "internacao"]) for step in ("extract", "invitation", "dispatch_email")]
SENSORS = ("alert_failed_runs", "alert_problems", "alert_recovered_runs")


@pytest.fixture
def channel(installation: Installation) -> FakeChannel:
    channel = FakeChannel()
    # Where the runtime keeps what it makes when first asked.
    installation.runtime.__dict__["alerting"] = Alerting(installation.runtime.ledger, channel)
    return channel


def run(installation: Installation, assets: Sequence[dg.AssetKey] = INPATIENTS) -> dg.ExecuteInProcessResult:
    """Runs a part of the daily job and lets the sensor of its outcome see it, as the daemon would."""
    result = installation.run("daily", DAY, asset_selection=list(assets))
    seen(installation, result)
    return result


def seen(installation: Installation, result: dg.ExecuteInProcessResult, **changes: Any) -> None:
    event = result.get_run_success_event() if result.success else result.get_run_failure_event()
    name = "alert_recovered_runs" if result.success else "alert_failed_runs"
    context = dg.build_run_status_sensor_context(
        name,
        event,
        installation.instance,
        result.dagster_run._replace(**changes) if changes else result.dagster_run,
        resources={"runtime": installation.runtime},
    )
    sensor = installation.defs.get_repository_def().get_sensor_def(name)
    sensor(context if result.success else context.for_run_failure())


def look(installation: Installation) -> None:
    """A tick of the sensor that looks at the ledger."""
    context = dg.build_sensor_context(
        instance=installation.instance,
        repository_def=installation.defs.get_repository_def(),
        resources={"runtime": installation.runtime},
    )
    ticked = installation.defs.get_repository_def().get_sensor_def("alert_problems").evaluate_tick(context)
    assert not ticked.run_requests


def let_the_other_hospital_speak(installation: Installation) -> None:
    """HAC has been read, and nobody was there."""
    installation.runtime.ledger.encounters.record_extract("HAC", DAY, "exames", pl.DataFrame(schema=EXTRACTED))


def open_keys(installation: Installation) -> list[str]:
    return sorted(installation.runtime.ledger.alerts.all().get_column("key"))


RUN = f"run|HMS|{DAY} daily"


def test_a_failed_run_is_told_with_the_operators_sentence_and_its_address(
    installation: Installation, channel: FakeChannel
) -> None:
    installation.failures["HMS"] = down(transient=False)
    result = run(installation)
    [(title, body, _)] = channel.told
    assert title == f"track: HMS {DAY} daily: the run failed"
    assert "database HMS: the listener refused the connection; try again later" in body
    assert f"/runs/{result.run_id}" in body


def test_a_hospital_day_that_keeps_failing_is_told_once_and_its_recovery_too(
    installation: Installation, channel: FakeChannel
) -> None:
    installation.failures["HMS"] = down(transient=False)
    run(installation)
    run(installation)
    del installation.failures["HMS"]
    run(installation)
    assert channel.titles == [f"track: HMS {DAY} daily: the run failed", f"Over: HMS {DAY} daily: the run failed"]
    assert open_keys(installation) == []


def test_a_run_that_mends_a_part_is_no_recovery_of_the_whole(installation: Installation, channel: FakeChannel) -> None:
    installation.failures["HMS"] = down(transient=False)
    run(installation)
    del installation.failures["HMS"]
    run(installation, INPATIENTS[:1])
    assert open_keys(installation) == [RUN]
    run(installation, INPATIENTS[1:])
    assert open_keys(installation) == []
    assert len(channel.told) == 2


def test_assets_that_somebody_materialises_by_hand_count_for_their_job(
    installation: Installation, channel: FakeChannel
) -> None:
    installation.failures["HMS"] = down(transient=False)
    seen(installation, installation.run("daily", DAY, asset_selection=INPATIENTS), job_name="__ASSET_JOB")
    assert open_keys(installation) == [RUN]
    assert len(channel.told) == 1


def test_another_hospitals_success_is_not_this_ones(installation: Installation, channel: FakeChannel) -> None:
    installation.failures["HMS"] = down(transient=False)
    run(installation)
    seen(installation, installation.run("daily", DAY, "HAC", asset_selection=INPATIENTS))
    assert open_keys(installation) == [RUN]
    assert len(channel.told) == 1


def test_a_run_that_dagster_starts_again_is_not_told(installation: Installation, channel: FakeChannel) -> None:
    installation.failures["HMS"] = down(transient=False)
    result = installation.run("daily", DAY, asset_selection=INPATIENTS)
    seen(installation, result, tags={**result.dagster_run.tags, "dagster/will_retry": "true"})
    assert channel.told == []


def test_an_error_that_is_not_ours_is_told_without_its_text(installation: Installation, channel: FakeChannel) -> None:
    installation.failures["HMS"] = ValueError("Maria Segredo de Teste")
    run(installation)
    assert "builtins.ValueError" in channel.told[0][1]
    assert "Segredo" not in str(channel.told)


def test_a_gate_is_told_as_a_gate_and_not_as_a_failed_run(installation: Installation, channel: FakeChannel) -> None:
    let_the_other_hospital_speak(installation)
    gates = installation.runtime.policy.gates.model_copy(update={"min_contact_share": 1.1, "min_rows": 0})
    installation.runtime.policy = installation.runtime.policy.model_copy(update={"gates": gates})
    run(installation)
    look(installation)
    [(title, body, _)] = channel.told
    assert title == f"track: HMS {DAY}: a gate tripped"
    assert "approve_gates" in body
    assert open_keys(installation) == [f"gate|HMS|{DAY}"]


def test_a_throttle_is_one_alert_however_many_runs_it_fails(installation: Installation, channel: FakeChannel) -> None:
    let_the_other_hospital_speak(installation)
    installation.sender.script = [Stopped("throttled", "405")]
    run(installation)
    look(installation)
    assert channel.titles == ["track: Track.co throttles"]
    installation.runtime.ledger.pauses.remove("all")
    look(installation)
    assert channel.titles[1:] == ["Over: Track.co throttles"]


def test_a_failing_channel_breaks_no_run(installation: Installation, channel: FakeChannel) -> None:
    let_the_other_hospital_speak(installation)
    channel.works = False
    installation.sender.script = [Stopped("throttled", "405")]
    result = run(installation)
    [failure] = result.get_step_failure_events()
    assert failure.step_failure_data.user_failure_data is not None
    assert "captcha" in str(failure.step_failure_data.user_failure_data.description)
    channel.works = True
    look(installation)
    assert channel.titles == ["track: Track.co throttles"]


def test_silent_hospitals_are_one_message_at_nine_and_over_when_they_have_spoken(
    installation: Installation, channel: FakeChannel
) -> None:
    installation.now = MORNING.replace(hour=9)
    look(installation)
    look(installation)
    assert channel.titles == ["track: 2 problems"]
    installation.run("daily", DAY, asset_selection=INPATIENTS[:1])
    look(installation)
    assert channel.titles[1:] == ["Over: HMS: silent"]
    assert open_keys(installation) == ["silence|HAC|"]


def test_looking_asks_neither_a_hospital_nor_track(installation: Installation, channel: FakeChannel) -> None:
    installation.failures.update(dict.fromkeys(("HMS", "HAC"), AssertionError("a hospital was asked")))
    installation.sender.script = [Unknown("timeout", "Track.co was asked")]
    look(installation)
    assert installation.sender.requests == []
    assert channel.told


def test_they_run_by_themselves_in_production_only(installation: Installation, tmp_path: Path) -> None:
    demo = {name: installation.defs.get_repository_def().get_sensor_def(name).default_status for name in SENSORS}
    assert set(demo.values()) == {dg.DefaultSensorStatus.STOPPED}
    production = build_defs(production_settings(tmp_path)).get_repository_def()
    assert {production.get_sensor_def(name).default_status for name in SENSORS} == {dg.DefaultSensorStatus.RUNNING}
