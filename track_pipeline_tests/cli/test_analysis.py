"""The read-only commands: output, exit codes, no personal data, and no changes."""

import json
from collections.abc import Iterator
from datetime import date
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from track_pipeline.cli.app import app
from track_pipeline.config.files import package_file
from track_pipeline.config.settings import load_settings
from track_pipeline.runtime import Runtime
from track_pipeline.services.daily.extraction import extract_of
from track_pipeline.services.operator.imports import BadFile

DAY = date(2026, 11, 20)


@pytest.fixture(scope="module")
def settings(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """The environment of an installation whose day has been extracted and planned, and nothing sent.

    One for all tests: what they run changes nothing.
    """
    environment = {
        "TRACK_HOME": str(tmp_path_factory.mktemp("home")),
        "TRACK_HOSPITALS": "HMS",
        "TRACK_NOW": "2026-11-21T09:00:00-03:00",
        "TRACK_DEMO_VOLUME": "120",
    }
    runtime = Runtime(load_settings(environment, env_file=None))
    [hospital] = runtime.hospitals
    runtime.daily.extractor.extract(hospital, DAY)
    runtime.daily.planner.invite(hospital, DAY)
    runtime.close()
    return environment


@pytest.fixture
def runtime(settings: dict[str, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Runtime]:
    monkeypatch.chdir(tmp_path)
    for name, value in settings.items():
        monkeypatch.setenv(name, value)
    runtime = Runtime(load_settings())
    yield runtime
    runtime.close()


def track(*arguments: str) -> Result:
    return CliRunner().invoke(app, arguments)


def personal(runtime: Runtime) -> set[str]:
    """Names and contacts of the day."""
    extract = extract_of(runtime.lake, runtime.hospitals[0], DAY)
    assert extract is not None
    columns = extract.select("patient_name", "email", "phone_number", "cpf")
    return {value for column in columns for value in column.drop_nulls() if len(value) > 4}


def files(folder: Path) -> dict[Path, bytes]:
    return {path: path.read_bytes() for path in sorted(folder.rglob("*.parquet"))}


def test_a_plan_by_other_rules_tells_the_difference_and_changes_nothing(runtime: Runtime, tmp_path: Path) -> None:
    rules = tmp_path / "rules"
    rules.mkdir()
    for name in ("_shared.toml", "HMS.toml"):
        text = (package_file("rules") / name).read_text(encoding="utf-8")
        (rules / name).write_text(text.replace('in = ["U"]', 'in = ["Z"]'), encoding="utf-8")
    before = files(runtime.settings.home), runtime.ledger.counts.outcomes().to_dicts()

    table = track("plan", "--date", str(DAY), "--rules", str(rules))
    as_json = track("plan", "--date", str(DAY), "--rules", str(rules), "--json")

    assert (table.exit_code, as_json.exit_code) == (0, 0)
    [result] = json.loads(as_json.stdout)["hospitals"]
    lost = [row for row in result["encounters"] if row["change"] == "removed"]
    assert lost
    assert {row["present"]["area"] for row in lost} == {"pronto_socorro"}
    assert result["removed_by"] == {"unclassified": len(lost)}
    assert "removed; they would be:" in table.stdout
    assert f"HMS {lost[0]['encounter']}" in table.stdout
    assert not [value for value in personal(runtime) if value in table.stdout + as_json.stdout]
    assert (files(runtime.settings.home), runtime.ledger.counts.outcomes().to_dicts()) == before


@pytest.mark.usefixtures("runtime")
def test_a_plan_by_the_present_rules_says_who_is_excluded_and_why() -> None:
    done = track("plan", "--date", str(DAY), "--hospital", "HMS")
    assert done.exit_code == 0
    assert "excluded:unclassified (no rule of the hospital matches it)" in done.stdout


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["--date", "2027-01-01"], "in the future"),
        (["--date", "yesterday"], "write it as 2026-11-23"),
        (["--date", str(DAY), "--rules", ".", "--config", "policy.toml"], "not both"),
        (["--date", str(DAY), "--rules", "nowhere"], "does not exist"),
        ([], "--date"),
    ],
)
@pytest.mark.usefixtures("runtime")
def test_a_plan_that_is_not_clear_is_not_made(arguments: list[str], says: str, tmp_path: Path) -> None:
    (tmp_path / "policy.toml").touch()
    done = track("plan", *arguments)
    assert done.exit_code == 2
    assert says in done.output


@pytest.mark.usefixtures("runtime")
def test_a_hospital_that_cannot_be_read_does_not_hide_the_others(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TRACK_HOSPITALS", "HMS,HMC")
    monkeypatch.setenv("TRACK_DEMO_DB", "no-such-folder")

    done = track("plan", "--date", str(DAY), "--config", str(package_file("policy.toml")), "--json")

    assert done.exit_code == 1
    told = json.loads(done.stdout)
    assert [each["hospital"] for each in told["hospitals"]] == ["HMS"]
    assert [each["hospital"] for each in told["failures"]] == ["HMC"]


@pytest.mark.usefixtures("runtime")
def test_a_list_of_another_system_is_compared(tmp_path: Path) -> None:
    path = tmp_path / "sends.csv"
    path.write_text("hospital,encounter,area,channel\nHMS,1,exames,email\n", encoding="utf-8")

    table = track("compare", str(path), "--date", str(DAY))
    as_json = track("compare", str(path), "--date", str(DAY), "--json")
    other_day = track("compare", str(path), "--date", "2026-11-01")

    assert (table.exit_code, as_json.exit_code, other_day.exit_code) == (0, 0, 1)
    assert "not_extracted (our extract of the day does not have this encounter): HMS 1" in table.stdout
    assert json.loads(as_json.stdout)["only_theirs_by"] == {"not_extracted": 1}


@pytest.mark.usefixtures("runtime")
def test_a_bad_list_is_not_compared(tmp_path: Path) -> None:
    path = tmp_path / "sends.csv"
    path.write_text("hospital,encounter,area,channel\nHMS,1,exames,pombo\n", encoding="utf-8")
    done = track("compare", str(path), "--date", str(DAY))
    assert isinstance(done.exception, BadFile)


def test_contacts_go_back_to_the_front_desk_as_counts(runtime: Runtime, tmp_path: Path) -> None:
    path = tmp_path / "contacts.csv"

    table = track("contacts")
    as_json = track("contacts", "--date", str(DAY), "--json")
    as_csv = track("contacts", "--date", str(DAY), "--csv", str(path))

    assert (table.exit_code, as_json.exit_code, as_csv.exit_code) == (0, 0, 0)
    text = path.read_text(encoding="utf-8")
    assert text.startswith("date,hospital,area,contact,verdict,encounters,count,share,previous_share,change\n")
    assert len(text.splitlines()) - 1 == len(json.loads(as_json.stdout))
    assert f"{DAY}: contacts" in table.stdout
    assert not [value for value in personal(runtime) if value in text + table.stdout]


@pytest.mark.usefixtures("runtime")
def test_a_csv_that_cannot_be_written_is_one_message() -> None:
    done = track("contacts", "--date", str(DAY), "--csv", "no-such-folder/contacts.csv")
    assert done.exit_code == 2
    assert "name another file" in " ".join(done.output.replace("│", " ").split())


@pytest.mark.usefixtures("runtime")
def test_contacts_of_a_day_that_is_not_in_the_lake_are_missing() -> None:
    done = track("contacts", "--date", "2026-01-01", "--json")
    assert (done.exit_code, json.loads(done.stdout)) == (1, [])
    assert "has no extract of this day" in done.stderr


def test_why_tells_the_path_and_what_would_change_it_and_nobody(runtime: Runtime) -> None:
    rows = runtime.ledger.counts.outcome_of_each("HMS", DAY)
    encounters = rows.unique(["outcome", "reason"]).get_column("encounter_id")
    shown = [track("why", "HMS", str(encounter)) for encounter in encounters]

    assert len(shown) > 5
    for done in shown:
        assert done.exit_code == 0
        assert "The path through the rules" in done.stdout
        assert "For it to be sent" in done.stdout
        assert not [value for value in personal(runtime) if value in done.stdout]


def test_why_as_json_has_what_it_always_had_first(runtime: Runtime) -> None:
    encounter = runtime.ledger.counts.outcome_of_each("HMS", DAY).get_column("encounter_id")[0]
    story = json.loads(track("why", "HMS", str(encounter), "--json").stdout)
    assert list(story) == [
        "hospital", "encounter", "area", "setor", "outcome", "decisions", "sends", "path", "path_note", "change_needed"
    ]  # fmt: skip


@pytest.mark.usefixtures("runtime")
def test_an_encounter_that_was_never_extracted_is_a_problem() -> None:
    done = track("why", "HMS", "1")
    assert done.exit_code == 1
    assert "never extracted" in done.stdout


@pytest.mark.usefixtures("runtime")
def test_a_pipe_gets_whole_lines_and_no_colours(tmp_path: Path) -> None:
    path = tmp_path / "sends.csv"
    path.write_text(
        "hospital,encounter,area,channel\n" + "".join(f"HMS,{number},exames,email\n" for number in range(1, 8)),
        encoding="utf-8",
    )
    done = track("compare", str(path), "--date", str(DAY))
    assert "\x1b" not in done.stdout
    assert max(map(len, done.stdout.splitlines())) > 100
