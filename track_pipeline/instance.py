"""Dagster's own storage under `TRACK_HOME/dagster`: where runs, events and logs of the embedded default live.

Production brings a `dagster.yaml` of its own (see deploy/) and does not come here.
"""

import os
from collections.abc import Mapping
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


def daemons(home: Path) -> Mapping[str, bool]:
    """The daemons that the instance needs, and whether each was heard of lately.

    The instance is the one that `DAGSTER_HOME` names, as in production, else that of the embedded default.
    """
    with dg.DagsterInstance.get() if os.environ.get("DAGSTER_HOME") else open_instance(home) as instance:
        return {name: bool(status.healthy) for name, status in instance.get_daemon_statuses().items()}
