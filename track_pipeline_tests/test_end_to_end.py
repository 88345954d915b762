"""The main job as a user runs it: `track demo`, all hospitals, real Dagster runs, a real HTTP server.

The volumes are small; everything else is real. The tests of each part cover its faults.
"""

import json
import os
import subprocess
import sys
from datetime import date, timedelta
from pathlib import Path
from typing import Any

import dagster as dg
import polars as pl
import pytest

from track_pipeline.config.hospitals import load_registry
from track_pipeline.defs.partitions import partition_key, patient_days
from track_pipeline.demo.simulator import SimulatorProcess
from track_pipeline.domain.areas import AREAS
from track_pipeline.domain.outcomes import PLANNED_KINDS
from track_pipeline.hosting.instance import open_instance

# A Tuesday; the demo's day is the Monday before.
NOW = "2026-11-17T09:00:00-03:00"
DAY = date(2026, 11, 16)

pytestmark = pytest.mark.xdist_group("end_to_end")


def track(home: Path, *arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    """Runs the command line in a folder of its own, with nothing set but what the test sets."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("TRACK_", "DAGSTER_", "DB_"))}
    settings = {"TRACK_HOME": str(home), "TRACK_NOW": NOW, "TRACK_DEMO_VOLUME": "25", "NO_COLOR": "1"}
    return subprocess.run(
        [sys.executable, "-m", "track_pipeline", *arguments],
        env=kept | settings | environment,
        cwd=home.parent,
        capture_output=True,
        text=True,
        check=False,
        timeout=600,
    )


# The second demo is of these alone: that it sends nothing is seen as well on two hospitals as on twelve.
AGAIN = ("HMS", "HPM_HST")


class Installation:
    """A demo that has run twice, and the server it sent to."""

    def __init__(self, home: Path) -> None:
        self.home = home
        with SimulatorProcess() as simulator:
            self.first = track(home, "demo", "--json", TRACK_API_URL=simulator.url)
            self.received_first = len(self._received(simulator))
            self.second = track(home, "demo", "--json", TRACK_API_URL=simulator.url, TRACK_HOSPITALS=",".join(AGAIN))
            self.received = self._received(simulator)

    @staticmethod
    def _received(simulator: SimulatorProcess) -> list[dict[str, Any]]:
        return list(simulator.control("requests")["lines"])

    def rows(self) -> list[dict[str, Any]]:
        return list(json.loads(self.first.stdout))

    def people(self) -> pl.DataFrame:
        """Everything personal that the hospitals delivered."""
        return pl.concat(pl.read_parquet(path) for path in (self.home / "lake" / "extract").rglob("*.parquet"))


@pytest.fixture(scope="module")
def installation(tmp_path_factory: pytest.TempPathFactory) -> Installation:
    return Installation(tmp_path_factory.mktemp("demo") / "home")


def test_every_hospital_runs_and_every_funnel_closes(installation: Installation) -> None:
    assert installation.first.returncode == 0, installation.first.stderr
    rows = installation.rows()
    assert {row["hospital"] for row in rows} == set(load_registry().codes)
    for row in rows:
        assert row["extracted"] == row["excluded"] + row["planned"]
        assert row["planned"] == sum(row[outcome] for outcome in PLANNED_KINDS)
        assert row["excluded"] == sum(row["excluded_by"].values())
    assert sum(row["sent"] for row in rows) > 100


def test_running_it_again_sends_nothing_and_shows_the_same(installation: Installation) -> None:
    assert installation.second.returncode == 0, installation.second.stderr
    assert installation.second.stdout == installation.first.stdout
    assert len(installation.received) == installation.received_first


def test_what_the_server_accepted_is_what_the_ledger_says_each_encounter_once(installation: Installation) -> None:
    sent = sum(row["sent"] for row in installation.rows())
    asked = [(line["survey"], line["cd_atendimento"]) for line in installation.received]
    assert len(asked) == sent == len(set(asked))


def test_every_area_is_materialised_also_with_no_row(installation: Installation) -> None:
    registry = load_registry()
    keys = [partition_key(DAY, code) for code in registry.codes]
    with open_instance(installation.home) as instance:
        for step in ("extract", "invitation", "dispatch_email", "dispatch_whatsapp", "survey_link"):
            for area in AREAS:
                statuses = instance.get_status_by_partition(dg.AssetKey([step, area]), keys, patient_days(registry))
                assert statuses is not None
                assert {statuses[key] for key in keys} == {dg.AssetPartitionStatus.MATERIALIZED}
    rows = {(row["hospital"], row["area"]): row for row in installation.rows()}
    assert rows[("HSF", "exames")]["extracted"] == 0


def test_the_lake_is_laid_out_as_promised_for_its_owner_only(installation: Installation) -> None:
    lake = installation.home / "lake"
    extract = pl.read_parquet(lake / "extract" / "internacao" / DAY.isoformat() / "HMS.parquet")
    assert {"encounter_id", "unit", "area", "setor"} <= set(extract.columns)
    assert extract.get_column("area").unique().to_list() == ["INTERNACAO"]
    if os.name == "posix":
        modes = {path.stat().st_mode & 0o777 for path in lake.rglob("*.parquet")}
        assert modes == {0o600}
        assert (installation.home / "ledger.sqlite").stat().st_mode & 0o777 == 0o600


def test_no_name_or_contact_is_written_anywhere_but_in_the_lake(installation: Installation) -> None:
    people = installation.people()
    digits = pl.col("phone_number", "cpf").str.replace_all(r"\D", "").str.tail(8)
    personal = {
        value
        for column in people.select("patient_name", "email", digits)
        for value in column.drop_nulls().unique()
        if len(value) >= 8
    }
    assert len(personal) > 500
    haystacks = {
        "first run": (installation.first.stdout + installation.first.stderr).encode(),
        "second run": (installation.second.stdout + installation.second.stderr).encode(),
    } | {
        str(path): path.read_bytes()
        for path in installation.home.rglob("*")
        if path.is_file() and "lake" not in path.relative_to(installation.home).parts
    }
    assert any(name.endswith("ledger.sqlite") for name in haystacks)
    for planted in (f"x{max(personal)}x", f"phone {next(v for v in sorted(personal) if v.isdigit())},"):
        assert _holds_any(planted, personal)
    # Eight digits may also turn up inside a hash or a timestamp: digits count only where no hex digit touches them.
    leaks = {name for name, content in haystacks.items() if _holds_any(content.decode("latin-1"), personal)}
    assert leaks == set()


def _holds_any(text: str, personal: set[str]) -> bool:
    frame = pl.DataFrame({"text": [text, text.upper()]})
    words = [value for value in personal if not value.isdigit()]
    words += [value.encode().decode("latin-1") for value in words]
    if frame.select(pl.col("text").str.contains_any(words)).to_series().any():
        return True
    numbers = set(pl.Series([text]).str.extract_all(r"[0-9A-Fa-f.:_-]+").explode().to_list())
    return any(number is not None and number.isdigit() and number[-8:] in personal for number in numbers)


def test_why_tells_the_story_of_a_sent_and_of_an_excluded_encounter(installation: Installation) -> None:
    invitation = pl.read_parquet(installation.home / "lake/invitation/internacao" / DAY.isoformat() / "HMS.parquet")
    sent = invitation.filter(pl.col("result") == "planned").row(0, named=True)
    story = json.loads(track(installation.home, "why", "HMS", str(sent["encounter_id"]), "--json").stdout)
    assert story["outcome"] == "sent"
    assert (story["area"], story["setor"]) == ("internacao", sent["setor"])
    assert [decision["step"] for decision in story["decisions"]] == ["extract", "invitation"]
    assert [(send["wave"], send["state"]) for send in story["sends"]] == [("invite", "sent")]

    nobody = pl.read_parquet(installation.home / "lake/extract/unclassified" / DAY.isoformat() / "HMS.parquet")
    excluded = nobody.row(0, named=True)
    story = json.loads(track(installation.home, "why", "HMS", str(excluded["encounter_id"]), "--json").stdout)
    assert story["outcome"] == f"excluded:{excluded['reason']}"
    assert story["sends"] == []


def test_why_and_status_say_so_when_they_know_nothing(installation: Installation) -> None:
    unknown = track(installation.home, "why", "HMS", "1", "--json")
    assert unknown.returncode == 1
    assert json.loads(unknown.stdout)["outcome"] is None
    other_day = (DAY - timedelta(days=300)).isoformat()
    assert json.loads(track(installation.home, "status", "--date", other_day, "--json").stdout) == []


def test_an_operators_mistake_is_one_clear_message(installation: Installation) -> None:
    for arguments, words in {
        ("why", "XXX", "1"): "no hospital 'XXX'",
        ("status", "--date", "23/11/2026"): "not a date",
        ("pause", "add", "hospital:XXX"): "hospital:<code>",
        ("opt-out", "add", "--phone", "123"): "--phone",
    }.items():
        done = track(installation.home, *arguments)
        assert done.returncode != 0
        assert words in done.stderr
        assert "Traceback" not in done.stderr


def test_the_demo_refuses_to_send_beyond_this_machine(tmp_path: Path) -> None:
    done = track(tmp_path / "home", "demo", TRACK_API_URL="https://api.track.co")
    assert done.returncode == 2
    assert "loopback" in done.stderr
