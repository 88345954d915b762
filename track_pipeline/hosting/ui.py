"""Starts Dagster's web interface and daemon for the embedded default. Production has its own services (deploy/)."""

import shutil
import signal
import subprocess
import sys
import sysconfig
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from types import FrameType
from typing import Final

import requests

from track_pipeline.errors import TrackPipelineError

# The same name as in the project's workspace.yaml, so that schedules keep their state wherever they are seen.
_WORKSPACE = """\
load_from:
  - python_module:
      module_name: track_pipeline.definitions
      location_name: track_pipeline
"""
# What any page could make a browser send; a guarded server answers 403.
_FORGED: Final = "/graphql?query={version}"
_FORBIDDEN: Final = 403
_POLL_SECONDS: Final = 0.5
_END_SECONDS: Final = 20


def serve_dagster(folder: Path, port: int, ready: Callable[[str], None]) -> None:
    """Runs webserver and daemon on 127.0.0.1 until interrupted, on the instance in `folder`.

    Args:
        folder: `DAGSTER_HOME`; a workspace file is written there.
        port: where the webserver listens.
        ready: called once with the address, when pages are served.

    Raises TrackPipelineError when one of the two ends by itself, or when the webserver runs without its guard.
    """
    workspace = folder / "workspace.yaml"
    workspace.write_text(_WORKSPACE, encoding="utf-8")
    url = f"http://127.0.0.1:{port}"
    options = ("-w", str(workspace), "--log-level", "warning")
    web = [sys.executable, "-m", "track_pipeline.hosting.webserver", "-h", "127.0.0.1", "-p", str(port), *options]
    program = shutil.which("dagster-daemon", path=sysconfig.get_path("scripts"))
    if program is None:
        raise TrackPipelineError("dagster-daemon is not installed beside this Python; install the project again")
    daemon = [program, "run", *options]
    with _interrupted_by_termination(), ExitStack() as stack:
        processes = {
            name: stack.enter_context(_process(command))
            for name, command in (("dagster-webserver", web), ("dagster-daemon", daemon))
        }
        try:
            while not is_guarded(url):
                _check(processes)
            ready(url)
            while True:
                _check(processes)
        except KeyboardInterrupt:
            return


def is_guarded(url: str) -> bool:
    """Whether the server refuses a forged request; False as long as it does not answer.

    Raises TrackPipelineError when it answers the request.
    """
    try:
        with requests.Session() as session:
            session.trust_env = False
            status = session.get(url + _FORGED, timeout=10).status_code
    except requests.RequestException:
        return False
    if status != _FORBIDDEN:
        raise TrackPipelineError(
            f"Dagster's webserver answers a forged request with {status}: any web page could start runs in it. It was "
            "stopped. Install the version of dagster-webserver that pyproject.toml names"
        )
    return True


def _check(processes: dict[str, "subprocess.Popen[bytes]"]) -> None:
    """Waits a moment. Raises TrackPipelineError when a process has ended."""
    time.sleep(_POLL_SECONDS)
    for name, process in processes.items():
        if process.poll() is not None:
            raise TrackPipelineError(f"{name} ended by itself with {process.returncode}; its last lines say why")


@contextmanager
def _process(command: Sequence[str]) -> Iterator["subprocess.Popen[bytes]"]:
    """A process that is asked to end, then ended, when the block is left."""
    process = subprocess.Popen(command)  # noqa: S603 - all words are ours
    try:
        yield process
    finally:
        process.terminate()
        try:
            process.wait(_END_SECONDS)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


@contextmanager
def _interrupted_by_termination() -> Iterator[None]:
    """While this lasts, SIGTERM interrupts as Ctrl-C does, so that no process stays behind."""

    def interrupt(_signal: int, _frame: FrameType | None) -> None:
        raise KeyboardInterrupt

    before = signal.signal(signal.SIGTERM, interrupt)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)
