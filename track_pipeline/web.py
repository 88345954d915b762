"""Starts Dagster's own web interface and daemon for the embedded default; production has its own (deploy/)."""

import subprocess
import sys


def serve_dagster(port: int) -> None:
    """Runs webserver and daemon on 127.0.0.1 until interrupted, on the instance that DAGSTER_HOME names."""
    command = [sys.executable, "-m", "dagster", "dev", "-m", "track_pipeline.definitions"]
    process = subprocess.Popen([*command, "-h", "127.0.0.1", "-p", str(port)])  # noqa: S603 - all words are ours
    try:
        process.wait()
    except KeyboardInterrupt:
        process.wait()
