"""Dagster's own storage under `TRACK_HOME/dagster`: where runs, events and logs of the embedded default live.

Production brings a `dagster.yaml` of its own (see deploy/) and does not come here.
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
    """Creates `TRACK_HOME/dagster` with a configuration, if there is none, and makes it `DAGSTER_HOME`."""
    folder = (home / "dagster").absolute()
    config = folder / "dagster.yaml"
    try:
        # Not only the last: the parents that mkdir creates do not get the mode.
        for each in (folder.parent, folder):
            each.mkdir(mode=0o700, parents=True, exist_ok=True)
        if not config.exists():
            config.write_text(_CONFIG, encoding="utf-8")
    except OSError as error:
        raise ConfigError(f"TRACK_HOME: {folder} cannot be made ({error.strerror}); name another folder") from None
    os.environ["DAGSTER_HOME"] = str(folder)
    return folder


def open_instance(home: Path) -> dg.DagsterInstance:
    """The instance of the embedded default."""
    return dg.DagsterInstance.from_config(str(prepare_instance(home)))


@contextmanager
def files_held_open(instance: dg.DagsterInstance, run_id: str) -> Iterator[None]:
    """While this lasts, the SQLite files that a run writes its events to are not closed by anybody for the last time.

    Dagster opens and closes them for each event, and whoever closes such a file last copies its journal back, waits
    for the disk and deletes the journal: a quarter of a hospital-day. Nothing is held where there are no such files.
    """
    history = Path(instance.root_directory) / "history"
    files = (history / "runs.db", history / "runs" / "index.db", history / "runs" / f"{run_id}.db")
    with ExitStack() as held:
        for file in filter(Path.is_file, files):
            connection = held.enter_context(closing(sqlite3.connect(file, check_same_thread=False)))
            # It is open from its first reading on. A run that may not read now is slower, no more.
            with suppress(sqlite3.Error):
                connection.execute("PRAGMA schema_version").fetchone()
        yield


def daemons(home: Path) -> Mapping[str, bool]:
    """The daemons that the instance needs, and whether each was heard of lately.

    The instance is the one that `DAGSTER_HOME` names, as in production, else that of the embedded default.
    """
    with dg.DagsterInstance.get() if os.environ.get("DAGSTER_HOME") else open_instance(home) as instance:
        return {name: bool(status.healthy) for name, status in instance.get_daemon_statuses().items()}
