"""The command line: what it says, what it exits with, and that it shows nobody."""

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from track_pipeline.adapters.ledger import open_ledger
from track_pipeline.cli import app
from track_pipeline_tests.builders import cpf


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
    assert set(ledger.opt_outs().get_column("source")) == {"erasure"}
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
