"""The benchmarks measure what they claim: results equal those of the baseline, figures are judged as documented."""

import json
from dataclasses import replace
from datetime import date
from pathlib import Path

import polars as pl
import pytest

from benchmarks import original
from benchmarks.cases import plan, source
from benchmarks.command import CASES, run
from benchmarks.figures import Bench, Curve, Figure, Target
from benchmarks.measure import Watch
from benchmarks.people import DAY, hospital, reader, write_hospital, write_raw
from benchmarks.report import Report
from benchmarks.server import CountingServer
from track_pipeline.config.rules import load_rules
from track_pipeline.domain.classification import classify

ROOT = Path(__file__).parent.parent
HALF = Figure("half", "half of it", 1.0, "s", 2.0, "all of it", Target("at most a third", 1 / 3, of="ratio"), guard=0.6)


@pytest.fixture(scope="module")
def database(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_hospital(tmp_path_factory.mktemp("benchmark") / "hospital", 400)


def report(*results: Figure | Curve, quick: bool = False) -> Report:
    figures = [result for result in results if isinstance(result, Figure)]
    curves = [result for result in results if isinstance(result, Curve)]
    return Report(date(2025, 3, 10), {"cores": "2"}, quick, figures, curves)


def test_every_case_is_a_module_and_every_module_a_case() -> None:
    modules = {path.stem for path in (ROOT / "benchmarks" / "cases").glob("*.py")} - {"__init__"}
    assert modules == set(CASES)


def test_the_baseline_finds_the_areas_that_the_rules_find(database: Path) -> None:
    raw = pl.concat(reader(database).extract(hospital(), DAY))
    encounters = classify(raw, hospital(), load_rules(hospital()), DAY)
    ours = dict(encounters.drop_nulls("area").group_by("area").len().iter_rows())

    texts = raw.with_columns(pl.col(pl.Datetime).dt.strftime("%Y-%m-%d %H:%M:%S"))
    theirs = original.classified(texts.with_columns(pl.col(pl.Int64).fill_null(-1)).to_dicts(), DAY)

    assert {area: len(rows) for area, rows in theirs.items()} == ours
    assert len(ours) == 6


def test_multiplied_encounters_have_ids_and_contacts_of_their_own(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("benchmarks.people._DRAWN", 100)
    raw = pl.read_parquet(write_raw(write_hospital(tmp_path / "hospital", 300), tmp_path / "raw.parquet"))

    assert raw.height == raw.n_unique("cd_atendimento") == 300
    assert raw.drop_nulls("nr_cpf").n_unique("nr_cpf") > 270
    children = raw.drop_nulls("cd_atendimento_pai")
    assert children.join(raw, left_on="cd_atendimento_pai", right_on="cd_atendimento", how="semi").height > 0


def test_a_trial_tells_its_laps_and_notes(database: Path, tmp_path: Path) -> None:
    raw = write_raw(database, tmp_path / "raw.parquet")
    planned, extracted = Watch(), Watch()
    plan.plan(planned, raw)
    source.extract(extracted, database)

    assert list(planned.laps) == ["classify", "identify", "plan"]
    assert min(planned.laps.values()) > 0
    assert 0 < planned.notes["planned"] < extracted.notes["rows"]


def test_a_case_measures_in_processes_of_their_own_and_its_figures_can_be_told() -> None:
    measured = run(("start",), quick=True)

    document = json.loads(json.dumps(measured.document()))
    assert document["quick"] is True
    assert {figure["name"] for figure in document["figures"]} == {"start.location", "start.status"}
    for figure in document["figures"]:
        assert figure["unit"] == "s"
        assert figure["ratio"] == pytest.approx(figure["value"] / figure["baseline"])


def test_a_full_run_holds_a_figure_to_its_target_and_a_quick_one_to_its_guard() -> None:
    assert HALF.ratio == 0.5
    assert report(HALF).misses == ["half"]
    assert report(HALF, quick=True).misses == []


def test_a_quick_run_never_judges_an_absolute_time() -> None:
    slow = Figure("slow", "too slow", 100.0, "s", target=Target("under 1 s", 1))

    assert report(slow).misses == ["slow"]
    assert report(slow, quick=True).misses == []


def test_the_marked_block_of_a_document_takes_the_table_and_nothing_else_changes(tmp_path: Path) -> None:
    document = tmp_path / "performance.md"
    document.write_text((ROOT / "docs" / "performance.md").read_text(encoding="utf-8"), encoding="utf-8")
    before = document.read_text(encoding="utf-8")

    report(replace(HALF, value=7.0), replace(HALF, name="other")).write_into(document)
    report(HALF).write_into(document)

    after = document.read_text(encoding="utf-8")
    day = report(HALF).day
    assert [row for row in after.splitlines() if row.startswith(("| half |", "| other |"))] == [
        f"| half | half of it | 1 s | 2 s (all of it) | 0.50 | at most a third | no | {day} |",
        f"| other | half of it | 1 s | 2 s (all of it) | 0.50 | at most a third | no | {day} |",
    ]
    assert after.count("| figure |") == 1
    begin, end = "<!-- figures", "<!-- end of figures -->"
    assert (before.partition(begin)[0], before.partition(end)[2]) == (
        after.partition(begin)[0],
        after.partition(end)[2],
    )


def test_curves_are_written_as_svg(tmp_path: Path) -> None:
    pytest.importorskip("matplotlib")
    report(Curve("growth", "Growth", "rows", "seconds", {"ours": [(1, 1), (10, 2)]})).plot_into(tmp_path / "plots")

    assert (tmp_path / "plots" / "growth.svg").read_text(encoding="utf-8").count("<svg") == 1


def test_the_server_counts_the_fullest_period() -> None:
    server = CountingServer(arrivals=[0.0, 0.1, 0.9, 1.5, 1.6, 1.7])
    assert server.most_within(1.0) == 4


def test_a_bench_measures_the_size_of_its_kind(tmp_path: Path) -> None:
    assert Bench(tmp_path, quick=True, repetitions=1).size(full=100, quick=1) == 1
    assert Bench(tmp_path, quick=False, repetitions=5).sizes_up_to(1_000) == [10, 100, 1_000]
