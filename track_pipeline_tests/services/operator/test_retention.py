"""Patient data is deleted after its retention time and not before. Data that identifies no person stays."""

from collections.abc import Iterator
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import pytest

from track_pipeline.adapters.lake import Lake
from track_pipeline.adapters.ledger import Ledger, open_ledger
from track_pipeline.config.policy import load_policy
from track_pipeline.services.operator.retention import Retention
from track_pipeline_tests.support.builders import encounters

NOW = datetime(2025, 5, 1, 12, tzinfo=UTC)
KEPT = load_policy().retention_days


@pytest.fixture
def ledger(tmp_path: Path) -> Iterator[Ledger]:
    ledger = open_ledger(f"sqlite:///{tmp_path}/ledger.sqlite", clock=lambda: NOW)
    yield ledger
    ledger.close()


def test_days_of_the_lake_go_once_they_are_older_than_the_policy_keeps_them(tmp_path: Path, ledger: Ledger) -> None:
    lake = Lake(tmp_path)
    last_kept = NOW.date() - timedelta(days=KEPT)
    for day in (last_kept - timedelta(days=1), last_kept, NOW.date()):
        for step in ("extract", "invitation", "survey_link"):
            lake.write(encounters({}), step, "exames", day, "HMS")

    deleted = Retention(lake, ledger, load_policy(), lambda: NOW).purge()

    assert deleted["lake_days"] == 3
    assert {date.fromisoformat(path.name) for path in lake.root.glob("*/*/*")} == {last_kept, NOW.date()}


def test_a_folder_that_is_no_day_is_left_alone(tmp_path: Path, ledger: Ledger) -> None:
    stranger = tmp_path / "lake" / "extract" / "exames" / "notes"
    stranger.mkdir(parents=True)
    Retention(Lake(tmp_path), ledger, load_policy(), lambda: NOW).purge()
    assert stranger.exists()


def test_an_empty_installation_has_nothing_to_purge(tmp_path: Path, ledger: Ledger) -> None:
    assert Retention(Lake(tmp_path), ledger, load_policy(), lambda: NOW).purge()["lake_days"] == 0
