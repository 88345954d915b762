"""Drills of every kind of fault: no person is invited twice or after an opt-out, and every encounter has an outcome.

`pytest track_pipeline_tests/drills --seeds 2000` plays more of them; a seed that failed is played alone with
`--first-seed K --seeds 1`.
"""

import itertools
import re
from pathlib import Path
from random import Random

import pytest
from sqlalchemy import text

from track_pipeline_tests.support.drills.drill import Drill, is_on_postgresql, play_drill
from track_pipeline_tests.support.drills.faults import ALL, Round
from track_pipeline_tests.support.drills.full_disk import needs_a_full_disk
from track_pipeline_tests.support.drills.invariants import violations_of_reconciled
from track_pipeline_tests.support.drills.remembering_track import RememberingTrack
from track_pipeline_tests.support.drills.scene import Scene, build_scene
from track_pipeline_tests.support.drills.worker import Trouble

SEEDS_PER_TEST = 10
# The kills at every step are shared out among so many tests; all tests together play one of them.
STEPS_APART = 6
LEAST_STEPS = 100
# A disk fills up at one of so many steps; the file of a plan has more bytes than this.
STEPS_BETWEEN_FULL_DISKS = 18
LEAST_PLAN = 9_000
FEW_LINES = 5

pytestmark = pytest.mark.drills


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    if "first_step" in metafunc.fixturenames:
        metafunc.parametrize("first_step", range(1, STEPS_APART + 1))
    if "seeds" in metafunc.fixturenames:
        first, count = (metafunc.config.getoption(name) for name in ("first_seed", "seeds"))
        seeds = range(first, first + count)
        chunks = [seeds[place : place + SEEDS_PER_TEST] for place in range(0, count, SEEDS_PER_TEST)]
        metafunc.parametrize("seeds", chunks, ids=[f"{chunk[0]}-{chunk[-1]}" for chunk in chunks])


def test_whatever_goes_wrong_each_is_asked_at_most_once_and_has_a_name(
    seeds: range, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    failures = []
    for seed in seeds:
        home = tmp_path / str(seed)
        sqlite = f"sqlite:///{home / 'ledger.sqlite'}"
        try:
            play_drill(seed, home, request.getfixturevalue("postgres_url") if is_on_postgresql(seed) else sqlite)
        except AssertionError as error:
            failures.append(
                f"Seed {seed} (pytest -n0 track_pipeline_tests/drills --first-seed {seed} --seeds 1):\n{error}"
            )
    assert not failures, "\n\n".join(failures)


def test_a_kill_at_any_step_from_the_plan_to_the_last_batch_leaves_nobody_in_the_dark(
    tmp_path: Path, first_step: int
) -> None:
    for step in itertools.count(first_step, STEPS_APART):
        with RememberingTrack() as track:
            drill = Drill(few_rows(tmp_path / str(step), track))
            reports = drill.play(Round(drill.scene, trouble=Trouble("kill", step)), f"killed at step {step}")
            drill.scene.reconcile()
            drill.play_calm(hours=1)
            drill.judge(violations_of_reconciled)
            assert len(track.accepted) == FEW_LINES
        if reports:
            break
    assert step > reports[0].steps > LEAST_STEPS


@needs_a_full_disk
def test_a_disk_that_fills_up_at_any_step_is_told_and_leaves_nothing_half_written(tmp_path: Path) -> None:
    told = ""
    for step in range(1, LEAST_STEPS, STEPS_BETWEEN_FULL_DISKS):
        with RememberingTrack() as track:
            drill = Drill(few_rows(tmp_path / str(step), track))
            trouble = Trouble("disk_full", step, room=Random(step).randint(0, LEAST_PLAN))
            [report] = drill.play(Round(drill.scene, trouble=trouble), f"a disk that is full at step {step}")
            assert report.errors
            assert [error for error in report.errors if not re.search("run the step again|materialise", error)] == []
            told += "\n".join(report.errors)
            lake = drill.scene.lake
            for place in lake.places():
                lake.read(*place)
            assert list(lake.root.rglob("*.tmp")) == []
            drill.scene.reconcile()
            drill.play_calm(hours=1)
            drill.judge(violations_of_reconciled)
            assert len(track.accepted) == FEW_LINES
    assert re.search("LakeError.*File too large", told)
    assert re.search("LedgerError.*disk I/O error", told)


def few_rows(home: Path, track: RememberingTrack) -> Scene:
    """A hospital-day that is over in a few batches, of both channels and two surveys."""
    return build_scene(home, f"sqlite:///{home / 'ledger.sqlite'}", Random(2), track, rows=(6, 6))


def test_a_ledger_that_forgets_is_caught_by_a_drill(tmp_path: Path) -> None:
    with RememberingTrack() as track:
        drill = Drill(few_rows(tmp_path, track))
        drill.play(Round(drill.scene), "a run")
        with drill.scene.engine().begin() as connection:
            connection.execute(text("DELETE FROM sends"))

        with pytest.raises(AssertionError, match=r"accepted 2 times(.|\n)*The story"):
            drill.play(Round(drill.scene), "a run that knows nothing of the one before")


def test_the_document_of_what_is_promised_names_every_fault() -> None:
    document = (Path(__file__).parents[2] / "docs" / "reliability.md").read_text(encoding="utf-8")

    assert [fault.__name__ for fault in ALL if f"`{fault.__name__}`" not in document] == []
