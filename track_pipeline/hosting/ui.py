"""Run Dagster's web interface and daemon for the embedded default. Production has its own services (deploy/)."""

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

# The same location name as in the project's workspace.yaml, so that schedules have the same state in both.
_WORKSPACE = """\
load_from:
  - python_module:
      module_name: track_pipeline.definitions
      location_name: track_pipeline
"""
# A request that any web page can make a browser send; a guarded server answers 403.
_FORGED: Final = "/graphql?query={version}"
_FORBIDDEN: Final = 403
_POLL_SECONDS: Final = 0.5
_END_SECONDS: Final = 20


def serve_dagster(folder: Path, port: int, ready: Callable[[str], None]) -> None:
    """Run webserver and daemon on 127.0.0.1 until interrupted, on the instance in `folder`.

    Args:
        folder: `DAGSTER_HOME`; a workspace file is written there.
        port: the port that the webserver listens on.
        ready: called once, with the address, when the webserver answers.

    Raises TrackPipelineError when webserver or daemon ends by itself, or when the webserver runs without its guard.
    """
    workspace = folder / "workspace.yaml"
    workspace.write_text(_WORKSPACE, encoding="utf-8")
    url = f"http://127.0.0.1:{port}"
    options = ("-w", str(workspace), "--log-level", "warning")
    web = [sys.executable, "-m", "track_pipeline.hosting.webserver", "-h", "127.0.0.1", "-p", str(port), *options]
    program = shutil.which("dagster-daemon", path=sysconfig.get_path("scripts"))
    if program is None:
        raise TrackPipelineError("dagster-daemon is not installed in this environment; install the project again")
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
    """Whether the server refuses a forged request with 403; False while the server does not respond.

    Raises TrackPipelineError when it accepts the request.
    """
    try:
        with requests.Session() as session:
            session.trust_env = False
            status = session.get(url + _FORGED, timeout=10).status_code
    except requests.RequestException:
        return False
    if status != _FORBIDDEN:
        raise TrackPipelineError(
            f"Dagster's webserver answers a forged request with {status}: any web page could start runs in it. Dagster "
            "was stopped. Install the version of dagster-webserver that pyproject.toml names"
        )
    return True


def _check(processes: dict[str, "subprocess.Popen[bytes]"]) -> None:
    """Wait half a second. Raises TrackPipelineError when a process has ended."""
    time.sleep(_POLL_SECONDS)
    for name, process in processes.items():
        if process.poll() is not None:
            raise TrackPipelineError(
                f"{name} ended by itself with exit code {process.returncode}; its last lines of output show the cause"
            )


@contextmanager
def _process(command: Sequence[str]) -> Iterator["subprocess.Popen[bytes]"]:
    """Run a process for the block; at its end terminate it, and kill it if it does not end in 20 s."""
    process = subprocess.Popen(command)  # noqa: S603 - a command of this module
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
    """Make SIGTERM raise KeyboardInterrupt during the block, as Ctrl-C does, so that no process is left running."""

    def interrupt(_signal: int, _frame: FrameType | None) -> None:
        raise KeyboardInterrupt

    before = signal.signal(signal.SIGTERM, interrupt)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)
