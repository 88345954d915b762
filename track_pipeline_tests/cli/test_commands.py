"""The command line: output, exit codes, and no personal data."""

import json
import os
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import polars as pl
import pytest
import typer.core
import typer.main
from typer.testing import CliRunner, Result

from track_pipeline.adapters.lake import Lake
from track_pipeline.adapters.ledger import open_ledger
from track_pipeline.cli.app import app, main
from track_pipeline.cli.console import out, print_error, print_line
from track_pipeline.domain.areas import Area
from track_pipeline.errors import ConfigError
from track_pipeline.hosting.instance import prepare_instance
from track_pipeline.services.daily.sending import SURVEY_LINK
from track_pipeline_tests.support.builders import DAY, cpf

# They change something or serve, and tell no facts but that they did.
WITHOUT_JSON: Final = {
    "consent import", "links", "opt-out add", "opt-out import", "opt-out remove", "pause add", "pause remove",
    "resolve", "serve", "simulator", "ui",
}  # fmt: skip


def commands(group: object, before: str = "") -> Iterator[tuple[str, typer.core.TyperCommand]]:
    """Every command by the words that call it."""
    assert isinstance(group, typer.core.TyperGroup)
    for name, command in group.commands.items():
        if isinstance(command, typer.core.TyperCommand):
            yield f"{before}{name}", command
        else:
            yield from commands(command, f"{before}{name} ")


COMMANDS: Final = dict(commands(typer.main.get_command(app)))


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("TRACK_HOME", str(tmp_path / "home"))
    return tmp_path / "home"


def track(*arguments: str) -> Result:
    return CliRunner().invoke(app, arguments)


def test_a_person_is_forgotten_by_any_contact_and_never_shown(home: Path) -> None:
    done = track("purge", "--person", "--cpf", cpf(1), "--phone", "(27) 99999-1234", "--json")

    assert done.exit_code == 0
    assert json.loads(done.stdout)["opt_outs"] == 2
    assert cpf(1) not in done.output
    ledger = open_ledger(f"sqlite:///{home}/ledger.sqlite", clock=lambda: pytest.fail("nothing is written"))
    assert set(ledger.people.opt_outs().get_column("source")) == {"erasure"}
    ledger.close()


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["--cpf", cpf(1)], "add --person"),
        (["--person"], "give a valid --cpf"),
        (["--person", "--cpf", "111"], "--cpf"),
    ],
)
@pytest.mark.usefixtures("home")
def test_a_purge_that_is_not_clear_deletes_nothing(arguments: list[str], says: str) -> None:
    done = track("purge", *arguments)

    assert done.exit_code == 2
    assert says in done.output


@pytest.mark.parametrize("command", COMMANDS)
def test_every_help_has_examples_and_exit_codes(command: str) -> None:
    done = track(*command.split(), "--help")
    assert done.exit_code == 0
    after = done.stdout.partition("Examples:")[2]
    assert f"track {command}" in after
    assert "Exit codes: 0 fine" in after


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_that_tells_facts_tells_them_as_json_too(command: str) -> None:
    has_json = any("--json" in parameter.opts for parameter in COMMANDS[command].params)
    assert has_json == (command not in WITHOUT_JSON)


def test_what_is_shown_in_a_pipe_can_be_typed_into_the_next_command(home: Path) -> None:
    track("opt-out", "add", "--cpf", cpf(1))
    [person] = json.loads(track("opt-out", "list", "--json").stdout)

    assert person["person_key"] in process(home, "opt-out", "list").stdout
    assert track("opt-out", "remove", "--key", person["person_key"]).stdout.endswith("removed\n")


@pytest.mark.usefixtures("home")
def test_a_narrow_terminal_folds_what_it_shows_and_cuts_nothing_off(monkeypatch: pytest.MonkeyPatch) -> None:
    track("opt-out", "add", "--cpf", cpf(1))
    monkeypatch.setattr(out, "width", 60)
    assert "…" not in track("opt-out", "list").stdout


def test_links_that_cannot_be_written_are_one_message(home: Path) -> None:
    columns = ("encounter_id", "unit", "area", "setor", "patient_name", "link")
    Lake(home).write(pl.DataFrame({name: ["x"] for name in columns}), SURVEY_LINK, Area.EXAMES, DAY, "HMS")

    done = track("links", str(DAY), "HMS", "--output", "no-such-folder/links.csv")

    assert done.exit_code == 2
    assert "name another file" in " ".join(done.output.replace("│", " ").split())


@pytest.mark.parametrize("command", ["serve", "simulator", "ui"])
def test_a_port_that_is_taken_is_one_message(command: str, home: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        done = process(home, command, "--port", str(server.getsockname()[1]))
    assert done.returncode == 2
    assert "choose a free --port" in " ".join(done.stderr.replace("│", " ").split())
    assert "Traceback" not in done.stderr


def test_an_error_is_one_line_in_a_pipe_and_has_no_colours(home: Path) -> None:
    home.write_text("not a folder", encoding="utf-8")
    done = process(home, "status")
    assert done.returncode == 2
    [line] = done.stderr.splitlines()
    assert line.endswith("Give this user the right to write there")
    assert "\x1b" not in line


def test_no_color_wins_over_a_terminal(home: Path) -> None:
    coloured = process(home, "status", TRACK_NOW="noon", FORCE_COLOR="1")
    plain = process(home, "status", TRACK_NOW="noon", FORCE_COLOR="1", NO_COLOR="1")
    assert "\x1b[31m" in coloured.stderr
    assert "\x1b[31m" not in plain.stderr
    assert "TRACK_NOW" in plain.stderr


def process(home: Path, *arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    """Runs `track` as a process, its output in pipes."""
    kept = {name: value for name, value in os.environ.items() if name not in ("NO_COLOR", "FORCE_COLOR", "COLUMNS")}
    return subprocess.run(
        [sys.executable, "-m", "track_pipeline", *arguments],
        env=kept | {"TRACK_HOME": str(home)} | environment,
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )


@pytest.mark.usefixtures("home")
def test_a_contact_can_be_asked_for_so_that_no_list_of_processes_has_it() -> None:
    done = CliRunner().invoke(
        app, ["opt-out", "add", "--cpf", "-", "--email", "-"], input=f"{cpf(1)}\nana@example.org\n"
    )
    assert done.exit_code == 0
    assert done.stdout.count("opted out of all") == 2
    assert track("opt-out", "add", "--cpf", cpf(1)).stdout in done.stdout


def test_what_steers_a_terminal_is_not_printed(capsys: pytest.CaptureFixture[str]) -> None:
    print_line("HAT 1 (exames / \x1b]0;pwned\x07\x1b[2J\x9b31mTUDO CERTO)\nline two")
    print_error("no \x1b[2J such file")
    printed = capsys.readouterr()
    assert not any(each in printed.out + printed.err for each in ("\x1b", "\x07", "\x9b"))
    assert "TUDO CERTO)\nline two" in printed.out


class Panic(BaseException):
    pass


Panic.__name__ = Panic.__qualname__ = "PanicException"


@pytest.mark.parametrize("error", [ValueError("ANA SOUZA 529.982.247-25"), Panic("ANA SOUZA 529.982.247-25")])
def test_the_text_of_an_error_that_is_not_ours_is_withheld(
    error: BaseException, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def break_down() -> None:
        raise error

    monkeypatch.setattr("track_pipeline.cli.app.app", break_down)
    with pytest.raises(SystemExit) as ended:
        main()
    assert ended.value.code == 1
    told = capsys.readouterr().err
    assert type(error).__name__ in told
    assert "ANA" not in told


@pytest.mark.usefixtures("home")
@pytest.mark.parametrize("number", ["99999999999999999999", "-1"])
def test_a_number_that_no_encounter_has_is_refused(number: str) -> None:
    assert track("why", "HMS", "--", number).exit_code == 2
    assert track("resolve", "--reason", "x", "HMS", "--", number, "sent").exit_code == 2


def test_a_home_that_cannot_be_made_is_one_message(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(ConfigError, match=r"TRACK_HOME: .* cannot be made"):
        prepare_instance(tmp_path / "file" / "home")


def test_the_status_loads_neither_dagster_nor_what_only_writing_needs(home: Path) -> None:
    status = "from track_pipeline.cli.app import app; app(['status'], standalone_mode=False)"
    code = f"import sys; {status}; print('LOADED', *sys.modules)"
    environment = os.environ | {"TRACK_HOME": str(home)}
    done = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True)
    loaded = set(done.stdout.partition("LOADED")[2].split())
    assert "track_pipeline.adapters.ledger" in loaded
    assert not loaded & {"dagster", "holidays", "requests", "concurrent_log_handler", "oracledb", "matplotlib"}
