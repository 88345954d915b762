"""Starts Dagster's own web interface and daemon for the embedded default; production has its own (deploy/)."""

import subprocess
import sys
from pathlib import Path

# The same name as in the project's workspace.yaml, so that schedules keep their state wherever they are seen.
_WORKSPACE = """\
load_from:
  - python_module:
      module_name: track_pipeline.definitions
      location_name: track_pipeline
"""


def serve_dagster(folder: Path, port: int) -> None:
    """Runs webserver and daemon on 127.0.0.1 until interrupted, on the instance in `folder`."""
    workspace = folder / "workspace.yaml"
    workspace.write_text(_WORKSPACE, encoding="utf-8")
    # `dg dev`, which Dagster would rather see, needs a project folder; an installed package has none.
    quiet = ("-W", "ignore:Function `dev_command`")
    command = [sys.executable, *quiet, "-m", "dagster", "dev", "-w", str(workspace), "-h", "127.0.0.1", "-p", str(port)]
    process = subprocess.Popen(command)  # noqa: S603 - all words are ours
    try:
        process.wait()
    except KeyboardInterrupt:
        process.wait()
