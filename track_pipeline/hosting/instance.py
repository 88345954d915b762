"""Dagster's own storage under `TRACK_HOME/dagster`: runs, events and logs of the embedded default.

Production has its own `dagster.yaml` (see deploy/) and does not use this storage.
"""

import os
import sqlite3
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, closing, contextmanager, suppress
from pathlib import Path

import dagster as dg

from track_pipeline.errors import ConfigError

_CONFIG = """\
# Written by `track`; the embedded default. Production has its own (deploy/dagster.yaml).
telemetry:
  enabled: false
python_logs:
  managed_python_loggers: [track_pipeline]
  python_log_level: INFO
nux: # no invitation to a newsletter over the first page
  enabled: false
"""


def prepare_instance(home: Path) -> Path:
    """Create `TRACK_HOME/dagster` with a configuration unless it exists, set `DAGSTER_HOME` to it and return it.

    Raises ConfigError when the folder cannot be made.
    """
    folder = (home / "dagster").absolute()
    config = folder / "dagster.yaml"
    try:
        # Each folder by itself: mkdir does not give its mode to the parents that it creates.
        for each in (folder.parent, folder):
            each.mkdir(mode=0o700, parents=True, exist_ok=True)
        if not config.exists():
            config.write_text(_CONFIG, encoding="utf-8")
    except OSError as error:
        raise ConfigError(f"TRACK_HOME: {folder} cannot be made ({error.strerror}); name another folder") from None
    os.environ["DAGSTER_HOME"] = str(folder)
    return folder


def open_instance(home: Path) -> dg.DagsterInstance:
    """Return the instance of the embedded default."""
    return dg.DagsterInstance.from_config(str(prepare_instance(home)))


@contextmanager
def files_held_open(instance: dg.DagsterInstance, run_id: str) -> Iterator[None]:
    """Keep a connection open to the SQLite files that a run writes its events to, for the block.

    Dagster opens and closes these files for each event. The last connection that closes copies the journal back,
    waits for the disk and deletes the journal, which took a quarter of a hospital-day's time. Without such files,
    nothing is opened.
    """
    history = Path(instance.root_directory) / "history"
    files = (history / "runs.db", history / "runs" / "index.db", history / "runs" / f"{run_id}.db")
    with ExitStack() as held:
        for file in filter(Path.is_file, files):
            connection = held.enter_context(closing(sqlite3.connect(file, check_same_thread=False)))
            # SQLite opens the file at the first read. If the read fails, the run is only slower.
            with suppress(sqlite3.Error):
                connection.execute("PRAGMA schema_version").fetchone()
        yield


def daemons(home: Path) -> Mapping[str, bool]:
    """Return the daemons that the instance needs, each with whether it reported recently.

    The instance is the one that `DAGSTER_HOME` names, as in production, else the embedded default.
    """
    with dg.DagsterInstance.get() if os.environ.get("DAGSTER_HOME") else open_instance(home) as instance:
        return {name: bool(status.healthy) for name, status in instance.get_daemon_statuses().items()}
