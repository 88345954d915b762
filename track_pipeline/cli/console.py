"""Options and functions that the commands of `track` share: opening a runtime, printing, failing.

This module has no command. Functions import slow modules when they are called.
"""

import json
import os
import socket
import sys
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from datetime import date
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Final, NoReturn

import typer
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from track_pipeline.config.settings import load_settings
from track_pipeline.logs.redaction import shown

if TYPE_CHECKING:
    from track_pipeline.runtime import LedgerRuntime, Runtime

# The width when output goes to a pipe: a row of a table stays on one line.
_PIPE_WIDTH: Final = 200
_EXIT_CODES: Final = "Exit codes: 0 fine, 1 something failed or was missing, 2 wrong usage, settings or files."

# Neither prints colours when NO_COLOR is set or when the output is not a terminal.
out = Console(width=None if sys.stdout.isatty() or "COLUMNS" in os.environ else _PIPE_WIDTH)
err = Console(stderr=True)

Json = Annotated[bool, typer.Option("--json", help="print JSON instead of a table")]
# The largest number that a database column can have; no encounter has a larger one.
Encounter = Annotated[int, typer.Argument(min=0, max=2**63 - 1)]
Contact = Annotated[str | None, typer.Option(help="- prompts for it and keeps it out of process lists and history")]
Port = Annotated[int, typer.Option("--port", min=0, max=65535)]
OptionalHospital = Annotated[str | None, typer.Option("--hospital", help="hospital code, such as HMS")]
OptionalDate = Annotated[str | None, typer.Option("--date", help="day of the encounters, YYYY-MM-DD")]


def examples(*lines: str) -> str:
    """Return the end of a command's help: examples, one per line, and the exit codes."""
    return "\n\n".join(["Examples:", *lines, _EXIT_CODES])


@contextmanager
def open_runtime() -> "Iterator[Runtime]":
    """Open the runtime of the installation for the block."""
    from track_pipeline.runtime import Runtime

    with closing(Runtime(load_settings())) as runtime:
        yield runtime


@contextmanager
def open_ledger_runtime() -> "Iterator[LedgerRuntime]":
    """Open a runtime with the ledger only for the block: much faster, for commands that read nothing else."""
    from track_pipeline.runtime import LedgerRuntime

    with closing(LedgerRuntime(load_settings())) as runtime:
        yield runtime


def parse_date(text: str | None) -> date | None:
    """Return the date that the user typed; None without a text. Raises BadParameter for a wrong date."""
    try:
        return date.fromisoformat(text) if text else None
    except ValueError:
        raise typer.BadParameter(f"{text} is not a date; write it as 2026-11-23") from None


def needed_date(text: str) -> date:
    """Return the date that the user typed. Raises BadParameter for a wrong or empty date."""
    if (day := parse_date(text)) is None:
        raise typer.BadParameter("write the day of the encounters as 2026-11-23")
    return day


def fail(message: str) -> NoReturn:
    """End the command with a message and exit code 1."""
    print_error(message)
    raise typer.Exit(1)


@contextmanager
def writing(path: Path) -> Iterator[None]:
    """Run a block that writes a file that the user named. Raises BadParameter when it cannot be written."""
    try:
        yield
    except OSError as error:
        raise typer.BadParameter(f"{path} cannot be written ({type(error).__name__}); name another file") from None


def check_port(host: str, port: int) -> None:
    """Raise BadParameter when a server cannot listen on host and port."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        socket.create_server((host, port), family=family).close()
    except OSError as error:
        raise typer.BadParameter(f"cannot listen on {host}:{port} ({error.strerror}); choose a free --port") from None


@contextmanager
def progress(what: str, total: int | None) -> Iterator[Callable[[str], None]]:
    """Show a progress bar on a terminal. The block calls the yielded function with the name of each finished step."""
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    with Progress(*columns, console=err, transient=True, disable=not err.is_terminal) as bar:
        task = bar.add_task(what, total=total)
        yield lambda name: bar.update(task, advance=1, description=f"{what}: {name}")


def print_json(value: object) -> None:
    """Print JSON to standard output, without wrapping or colour."""
    sys.stdout.write(json.dumps(value, indent=2, ensure_ascii=False, default=str) + "\n")


def print_error(text: str) -> None:
    """Print an error. Its text is not read as markup, because it may quote a path, a list or typed text."""
    err.print(shown(text), style="red", markup=False, highlight=False, soft_wrap=not err.is_terminal)


def print_line(text: str, style: str | None = None) -> None:
    """Print a line, unwrapped when the output is a pipe. Its text is not read as markup."""
    out.print(shown(text), style=style, markup=False, highlight=False, soft_wrap=not out.is_terminal)
