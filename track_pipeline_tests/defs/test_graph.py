"""The Dagster graph as a snapshot, so that every change of it is reviewed."""

import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path

import dagster as dg
import pytest
from syrupy.assertion import SnapshotAssertion

from track_pipeline.config.settings import load_settings
from track_pipeline.definitions import build_defs

SCHEDULES = (
    "answers_hourly",
    "daily_0800",
    "late_discharges",
    "reminder_7d_daily",
    "reminder_14d_daily",
    "purge_nightly",
    "report_daily",
    "sweep",
)


@pytest.fixture(scope="module")
def defs() -> dg.Definitions:
    return build_defs(load_settings({}, None))


def test_assets_checks_jobs_and_schedules_are_as_reviewed(defs: dg.Definitions, snapshot: SnapshotAssertion) -> None:
    assert {
        "assets": {
            spec.key.to_user_string(): {
                "group": spec.group_name,
                "deps": sorted(dep.asset_key.to_user_string() for dep in spec.deps),
                "partitions": type(spec.partitions_def).__name__,
                "kinds": sorted(spec.kinds),
                "owners": list(spec.owners),
            }
            for spec in sorted(defs.resolve_all_asset_specs(), key=lambda spec: spec.key)
        },
        "checks": sorted(key.to_user_string() for key in defs.resolve_asset_graph().asset_check_keys),
        "jobs": sorted(job.name for job in defs.resolve_all_job_defs() if not job.name.startswith("__")),
        "sensors": sorted(sensor.name for sensor in defs.sensors or []),
        "schedules": {
            name: (schedule.cron_schedule, schedule.execution_timezone, schedule.default_status.value)
            for name in SCHEDULES
            for schedule in [defs.resolve_schedule_def(name)]
        },
    } == snapshot


def test_every_asset_is_described_and_owned(defs: dg.Definitions) -> None:
    for spec in defs.resolve_all_asset_specs():
        assert spec.description
        assert spec.owners


def test_a_day_is_a_partition_once_it_is_over_in_sao_paulo(defs: dg.Definitions) -> None:
    partitions = defs.resolve_assets_def(dg.AssetKey(["extract", "exames"])).partitions_def
    assert partitions is not None
    just_before = datetime(2026, 11, 24, 2, 59, tzinfo=UTC)
    just_after = datetime(2026, 11, 24, 3, 1, tzinfo=UTC)
    assert "2026-11-23|HMS" not in partitions.get_partition_keys(current_time=just_before)
    assert "2026-11-23|HMS" in partitions.get_partition_keys(current_time=just_after)


def test_nothing_that_contacts_patients_retries_or_automates(defs: dg.Definitions) -> None:
    for spec in defs.resolve_all_asset_specs():
        if spec.key.path[0] in {"extract", "invitation", "answers", "daily_report"}:
            continue
        asset = defs.resolve_assets_def(spec.key)
        assert spec.automation_condition is None
        assert asset.backfill_policy is None
        assert all(node.retry_policy is None for node in [asset.op])


def test_schedules_run_by_themselves_in_production_only() -> None:
    demo = build_defs(load_settings({}, None)).resolve_schedule_def("daily_0800")
    assert demo.default_status is dg.DefaultScheduleStatus.STOPPED


def test_loading_the_definitions_opens_nothing(tmp_path: Path) -> None:
    """Loads them as Dagster's code server does, with an audit hook that refuses sockets and databases."""
    script = """
import sys
def refuse(event, args):
    if event in ("socket.connect", "sqlite3.connect"):
        raise SystemExit(f"opened {event}")
sys.addaudithook(refuse)
from track_pipeline.definitions import defs
loaded = defs()
loaded.resolve_asset_graph()
"""
    subprocess.run([sys.executable, "-c", script], check=True, cwd=tmp_path)
    assert list(tmp_path.iterdir()) == []
