"""A third wave of reminders, 21 days after the invitation, is a block in the policy and nothing else."""

from pathlib import Path

import dagster as dg
import pytest

from track_pipeline.config.files import package_file
from track_pipeline.config.policy import load_policy
from track_pipeline.config.settings import load_settings
from track_pipeline.definitions import build_defs
from track_pipeline.domain.areas import AREAS
from track_pipeline.domain.policy import Policy
from track_pipeline.domain.waves import Wave
from track_pipeline.runtime import Runtime
from track_pipeline.services.insight.serialise import to_object
from track_pipeline.services.insight.status import status
from track_pipeline_tests.support.builders import DAY
from track_pipeline_tests.support.installation import Office

BLOCK = """
[[reminder]]
days = 21
catch_up_days = 3
channels = ["whatsapp", "email"]
"""


@pytest.fixture
def policy(tmp_path: Path) -> Policy:
    packaged = package_file("policy.toml").read_text(encoding="utf-8")
    path = tmp_path / "policy.toml"
    path.write_text(packaged + BLOCK, encoding="utf-8")
    return load_policy(path)


class OfficeWithAPolicy(Office):
    """An installation under another policy than the packaged one."""

    other: Policy

    @property
    def policy(self) -> Policy:
        return self.other


def test_dagster_has_its_assets_job_schedule_and_sensors(policy: Policy, tmp_path: Path) -> None:
    settings = load_settings({"TRACK_HOME": str(tmp_path), "TRACK_HOSPITALS": "HMS"}, None)
    defs = build_defs(settings, Runtime(settings, policy=policy))

    keys = {key.to_user_string() for key in defs.resolve_asset_graph().get_all_asset_keys()}
    assert {f"reminder_21d/{area}" for area in AREAS} <= keys
    job = defs.resolve_job_def("reminder_21d")
    assert job.partitions_def is not None
    assert defs.resolve_schedule_def("reminder_21d_daily").job_name == "reminder_21d"
    sensors = {sensor.name for sensor in defs.sensors or () if isinstance(sensor, dg.SensorDefinition)}
    assert {"reminder_21d_stragglers", "reminder_21d_fresh_answers"} <= sensors


def test_who_stays_silent_gets_three_reminders_a_week_apart_and_no_fourth(policy: Policy, tmp_path: Path) -> None:
    office = OfficeWithAPolicy(tmp_path)
    office.other = policy
    office.plan({}, {})
    office.dispatch()
    sent: list[tuple[int, str]] = []
    for day in range(1, 29):
        office.later(days=1)
        for wave in (Wave(21), Wave(14), Wave(7)):
            sent += [(day, wave.key)] * office.remind(wave).sent

    assert sent == [(days, f"reminder_{days}d") for days in (7, 14, 21) for _ in range(2)]
    channels = [send["channel"] for send in office.ledger.encounters.history("HMS", 1).sends]
    assert channels == ["email", "whatsapp", "email", "whatsapp"]
    [row] = status(office.ledger, (DAY, DAY))
    shown = to_object(row)
    assert [name for name in shown if name.startswith("reminded_")] == ["reminded_7d", "reminded_14d", "reminded_21d"]
    assert shown["reminded_21d"] == 2
    office.ledger.close()
