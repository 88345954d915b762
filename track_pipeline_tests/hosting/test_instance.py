"""Dagster's own storage: the database files that a run keeps open."""

from pathlib import Path

import dagster as dg

from track_pipeline.config.settings import load_settings
from track_pipeline.definitions import build_defs
from track_pipeline.hosting.instance import files_held_open, open_instance


def journals(home: Path) -> set[str]:
    """The files whose journal is there, which is as long as somebody holds them open."""
    return {path.name.removesuffix("-wal") for path in (home / "dagster" / "history").rglob("*-wal")}


def test_while_a_run_lasts_no_event_closes_dagsters_files_for_the_last_time(tmp_path: Path) -> None:
    seen: dict[str, set[str]] = {}

    @dg.op(required_resource_keys={"runtime"})
    def look(context: dg.OpExecutionContext) -> None:
        context.log.info("an event, by which the files are opened and closed")
        seen[context.run.run_id] = journals(tmp_path)

    @dg.job(resource_defs=dict(build_defs(load_settings({"TRACK_HOME": str(tmp_path)}, None)).resources or {}))
    def watched() -> None:
        look()

    with open_instance(tmp_path) as instance:
        assert watched.execute_in_process(instance=instance).success
    (run_id,) = seen
    assert seen[run_id] == {"runs.db", "index.db", f"{run_id}.db"}
    assert journals(tmp_path) == set()


def test_dagster_without_files_of_its_own_is_left_alone() -> None:
    with dg.DagsterInstance.ephemeral() as instance, files_held_open(instance, "run"):
        assert not list(Path(instance.root_directory).rglob("*.db"))
