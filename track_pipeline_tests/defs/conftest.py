"""An installation with real Dagster definitions, whose hospitals and Track.co are lists."""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import date, datetime
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import dagster as dg
import polars as pl
import pytest

from track_pipeline.adapters.hospitals.duckdb import DuckDbReader
from track_pipeline.config.hospitals import load_registry
from track_pipeline.config.rules import load_rulebook
from track_pipeline.config.settings import Settings, load_settings
from track_pipeline.definitions import build_defs
from track_pipeline.defs.naming import Names
from track_pipeline.demo.databases import demo_reader
from track_pipeline.domain.areas import Area
from track_pipeline.domain.hospital import Hospital
from track_pipeline.hosting.instance import open_instance
from track_pipeline.ports import SourceError
from track_pipeline.runtime import Runtime
from track_pipeline_tests.support.fake_reader import FakeReader
from track_pipeline_tests.support.fake_sender import FakeSender

SAO_PAULO = ZoneInfo("America/Sao_Paulo")
# A Tuesday. The hospital-day is the Monday before.
MORNING = datetime(2026, 3, 10, 9, tzinfo=SAO_PAULO)
DAY = date(2026, 3, 9)

_PRODUCTION = {
    "TRACK_ENV": "production",
    "ORGANIZATION_UUID": "organization",
    "API_TOKEN": "token",
    "TRACK_SURVEYS_FILE": "surveys.toml",
    "TRACK_HASH_KEY": "k" * 32,
    **{f"DB_{what}{his}": "x" for what in ("USERNAME", "PASSWORD") for his in ("", "_TASY")},
}


@dataclass
class Reader:
    """A reader of the demo's hospitals. The hospitals in `failures` are unavailable."""

    settings: Settings
    failures: dict[str, Exception]

    def extract(self, hospital: Hospital, day: date) -> Iterator[pl.DataFrame]:
        yield from self._reached(hospital).extract(hospital, day)

    def probe(self, hospital: Hospital) -> dict[str, str]:
        return self._reached(hospital).probe(hospital)

    def _reached(self, hospital: Hospital) -> DuckDbReader:
        if hospital.code in self.failures:
            raise self.failures[hospital.code]
        registry = load_registry()
        return demo_reader(self.settings, registry, load_rulebook(registry), lambda: MORNING)


class Installation:
    """The definitions, an instance, and lists in place of all external systems."""

    def __init__(self, home: Path, instance: dg.DagsterInstance, **environ: str) -> None:
        values = {"TRACK_HOME": str(home), "TRACK_DEMO_VOLUME": "40", "TRACK_HOSPITALS": "HMS,HAC"}
        self.settings = load_settings(values | environ, None)
        self.instance = instance
        self.now = MORNING
        self.failures: dict[str, Exception] = {}
        self.sender, self.answers = FakeSender(), FakeReader()
        self.runtime = Runtime(
            self.settings,
            reader=Reader(self.settings, self.failures),
            requests=self.sender,
            feedback_source=self.answers,
            clock=lambda: self.now,
        )
        self.defs = build_defs(self.settings, self.runtime)

    def run(self, job: str, day: date | None, hospital: str = "HMS", **options: Any) -> dg.ExecuteInProcessResult:
        key = None if day is None else dg.MultiPartitionKey({"date": day.isoformat(), "hospital": hospital})
        return self.defs.resolve_job_def(job).execute_in_process(
            {"loggers": {"console": {"config": {"log_level": "CRITICAL"}}}},
            instance=self.instance,
            partition_key=key,
            raise_on_error=False,
            **options,
        )

    def status(self, step: str, area: Area, keys: list[str]) -> dict[str, str | None]:
        """Return the status that the web interface shows for partitions `date|hospital`."""
        asset = Names(self.settings.hub).key_of(step, area)
        partitions = self.defs.resolve_assets_def(asset).partitions_def
        assert partitions is not None
        found = self.instance.get_status_by_partition(asset, keys, partitions) or dict.fromkeys(keys)
        return {key: status and status.value for key, status in found.items()}

    def tick(self, name: str, at: datetime) -> list[dg.RunRequest]:
        """Return the run requests of a schedule at an instant."""
        self.now = at
        schedule = self.defs.resolve_schedule_def(name)
        context = dg.build_schedule_context(
            instance=self.instance,
            scheduled_execution_time=at,
            repository_def=self.defs.get_repository_def(),
            resources={"runtime": self.runtime},
        )
        return list(schedule.evaluate_tick(context).run_requests or [])


def down(*, transient: bool) -> SourceError:
    """Return the error of a hospital's database that cannot be read."""
    return SourceError("HMS", "the listener refused the connection", "try again later", transient=transient)


def production_settings(home: Path) -> Settings:
    """Return all settings that production requires, with invented values."""
    databases = {
        f"DB_{hospital.database}_{part}": "x" for hospital in load_registry().hospitals for part in ("HOST", "NAME")
    }
    return load_settings(_PRODUCTION | databases | {"TRACK_HOME": str(home)}, None)


@pytest.fixture
def instance(
    request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[dg.DagsterInstance]:
    """Dagster in memory, because a run on disk takes three times as long; on disk with the mark `dagster_on_disk`."""
    if "dagster_on_disk" in request.keywords:
        monkeypatch.setenv("DAGSTER_HOME", "set by what follows")
        made = open_instance(tmp_path / "home")
    else:
        made = dg.DagsterInstance.ephemeral()
    with made:
        yield made


@pytest.fixture
def installation(tmp_path: Path, instance: dg.DagsterInstance) -> Iterator[Installation]:
    made = Installation(tmp_path / "home", instance)
    yield made
    made.runtime.close()


@pytest.fixture
def the_day_after(installation: Installation) -> Installation:
    """An installation that has run the hospital-day of HMS."""
    assert installation.run("daily", DAY).success
    return installation
