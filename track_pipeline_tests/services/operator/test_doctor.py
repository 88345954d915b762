"""`track doctor` finds each problem, says what to do, continues after a failed check, and shows no secret."""

import json
import os
import socket
from collections.abc import Callable, Mapping
from dataclasses import asdict
from datetime import datetime
from pathlib import Path
from uuid import UUID

import pytest
from sqlalchemy import make_url
from typer.testing import CliRunner

from track_pipeline.adapters.budget import open_budget
from track_pipeline.adapters.ledger import open_ledger
from track_pipeline.adapters.ledger.database import connect
from track_pipeline.adapters.track.api import TrackApi
from track_pipeline.adapters.track.http import Patience
from track_pipeline.cli.app import app
from track_pipeline.config.hospitals import load_registry
from track_pipeline.config.settings import Settings, load_settings
from track_pipeline.demo.simulator import SURVEYS, SimulatorProcess
from track_pipeline.errors import ConfigError
from track_pipeline.runtime import Runtime, read_mapping
from track_pipeline.services.operator.doctor import Doctor, Finding
from track_pipeline_tests.support.tns_stub import TnsStub, refusing

SECRETS = {
    "API_TOKEN": "marked-token",
    "TRACK_HASH_KEY": "marked-" * 6,
    "DB_PASSWORD": "marked-password",
    "DB_PASSWORD_TASY": "marked-password",
}
PRODUCTION = {
    "TRACK_ENV": "production",
    "ORGANIZATION_UUID": "0b9a3c2e-0000-4000-8000-000000000001",
    "DB_USERNAME": "reader",
    "DB_USERNAME_TASY": "reader",
    **SECRETS,
}


def doctor(
    home: Path,
    environ: Mapping[str, str],
    install: Callable[[Settings], Runtime] = Runtime,
    daemons: Mapping[str, bool] | Exception | None = None,
) -> list[Finding]:
    """The findings for an environment; no secret that it holds may be in them."""

    def heard_of(_: Settings) -> Mapping[str, bool]:
        if isinstance(daemons, Exception):
            raise daemons
        return daemons or {"SCHEDULER": True}

    values = {"TRACK_HOME": str(home), "TRACK_HOSPITALS": "HMS,HAC", "TRACK_DEMO_VOLUME": "5", **environ}
    findings = list(Doctor(lambda: load_settings(values, None), install, heard_of, read_mapping).examine())
    assert "marked" not in repr(findings)
    return findings


def of(check: str, findings: list[Finding]) -> list[Finding]:
    return [finding for finding in findings if finding.check == check]


def surveys_file(path: Path, *, template: bool = True, uuid: object = UUID(int=1), areas: str = "internacao") -> Path:
    lines = ['whatsapp_integration_uuid = "00000000-0000-0000-0000-000000000002"'] if template else []
    for unit in ("HMS", "HAC"):
        surveys = ", ".join(f'{area} = "{uuid}"' for area in areas.split(","))
        lines += ["[[unit]]", f'code = "{unit}"', f"surveys = {{ {surveys} }}"]
        lines += ['whatsapp_template = { name = "pesquisa", id_provider = "HX0" }'] if template else []
    path.write_text("\n".join(lines), encoding="utf-8")
    return path


def impatient(token: str = "marked-token") -> Callable[[Settings], Runtime]:
    """A runtime that asks Track.co once only."""

    def install(settings: Settings) -> Runtime:
        runtime = Runtime(settings)
        budget = open_budget(settings.home, None, 600)
        sender = TrackApi(settings.api_url or "", "organization", token, budget=budget, patience=Patience(attempts=1))
        return Runtime(settings, registry=runtime.registry, requests=sender)

    return install


@pytest.fixture
def closed_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port: int = server.getsockname()[1]
    return port


def test_a_demo_without_anything_has_warnings_only(tmp_path: Path) -> None:
    findings = doctor(tmp_path / "home", {}, daemons={"SCHEDULER": False, "SENSOR": True})

    assert {finding.status for finding in findings} == {"ok", "warn"}
    warnings = {finding.check: finding for finding in findings if finding.status == "warn"}
    assert set(warnings) == {"track", "ledger", "daemons"}
    assert "track simulator" in warnings["track"].next_step
    assert "SCHEDULER" in warnings["daemons"].detail
    assert "SENSOR" not in warnings["daemons"].detail
    assert all(finding.next_step for finding in warnings.values())
    assert [finding.subject for finding in of("database", findings)] == ["HMS", "HAC"]


def test_it_creates_nothing_but_an_empty_ledger(tmp_path: Path) -> None:
    doctor(tmp_path / "home", {})
    (ledger,) = of("ledger", doctor(tmp_path / "home", {}))

    assert "migrated to no version" in ledger.detail
    assert sorted(path.suffix for path in (tmp_path / "home").iterdir()) == [".lock", ".sqlite"]


def test_a_simulator_is_a_track_co_that_answers(tmp_path: Path) -> None:
    with SimulatorProcess() as simulator:
        (track,) = of("track", doctor(tmp_path, {"TRACK_API_URL": simulator.url}))

    assert (track.status, track.next_step) == ("ok", "")
    assert f"{len(SURVEYS)} surveys" in track.detail


def test_surveys_that_the_organisation_lacks_are_named(tmp_path: Path) -> None:
    environ = {"TRACK_SURVEYS_FILE": str(surveys_file(tmp_path / "surveys.toml"))}
    with SimulatorProcess() as simulator:
        reachable, *lacking = of("track", doctor(tmp_path, environ | {"TRACK_API_URL": simulator.url}))
        surveys_file(tmp_path / "surveys.toml", uuid=SURVEYS[0]["uuid"])
        known = of("track", doctor(tmp_path, environ | {"TRACK_API_URL": simulator.url}))

    assert reachable.status == "ok"
    assert [(finding.subject, finding.status) for finding in lacking] == [
        ("HMS internacao", "fail"),
        ("HAC internacao", "fail"),
    ]
    assert [finding.status for finding in known] == ["ok"]


def test_a_token_that_is_refused_says_so(tmp_path: Path) -> None:
    with SimulatorProcess(token="another") as simulator:
        (track,) = of("track", doctor(tmp_path, {"TRACK_API_URL": simulator.url}, impatient()))

    assert track.status == "fail"
    assert "refused the token" in track.detail
    assert "API_TOKEN" in track.next_step


def test_a_track_co_that_is_down_hides_no_other_finding(tmp_path: Path, closed_port: int) -> None:
    findings = doctor(tmp_path, {"TRACK_API_URL": f"http://127.0.0.1:{closed_port}"}, impatient())

    (track,) = of("track", findings)
    assert (track.status, "cannot be reached" in track.detail) == ("fail", True)
    assert [finding.check for finding in findings][-4:] == ["ledger", "lake", "clock", "daemons"]


def test_each_database_that_is_down_is_told_apart_in_production(tmp_path: Path, closed_port: int) -> None:
    with TnsStub(refusing(12514)) as stub:
        environ = PRODUCTION | {
            "TRACK_SURVEYS_FILE": str(surveys_file(tmp_path / "surveys.toml")),
            "TRACK_API_URL": f"http://127.0.0.1:{closed_port}",
            **{f"DB_{code}_{part}": value for code in ("HMS", "HAC") for part, value in (("NAME", "PRD"),)},
            "DB_HMS_HOST": "127.0.0.1",
            "DB_HMS_PORT": str(stub.port),
            "DB_HAC_HOST": "127.0.0.1",
            "DB_HAC_PORT": str(closed_port),
        }
        findings = doctor(tmp_path / "home", environ, impatient(), daemons={"SCHEDULER": False})

    hms, hac = of("database", findings)
    assert (hms.status, hac.status) == ("fail", "fail")
    assert f"database HMS: at 127.0.0.1:{stub.port}, the listener does not know the service" in hms.detail
    assert "DB_HMS_NAME" in hms.next_step
    assert "nothing listens there" in hac.detail
    assert "DB_HAC_PORT" in hac.next_step
    by_check = {finding.check: finding for finding in findings}
    assert by_check["settings"].detail.startswith("production, dry run")
    assert by_check["mapping"].status == "warn"
    assert by_check["daemons"].status == "fail"


def test_production_without_settings_names_them_and_still_looks_at_the_rest(tmp_path: Path, closed_port: int) -> None:
    environ = {"TRACK_ENV": "production", "TRACK_API_URL": f"http://127.0.0.1:{closed_port}"}
    findings = doctor(tmp_path / "home", environ, impatient())

    (settings,) = of("settings", findings)
    assert settings.status == "fail"
    assert all(name in settings.detail for name in ("API_TOKEN", "TRACK_HASH_KEY", "DB_HAC_HOST"))
    assert {finding.status for finding in of("database", findings)} == {"fail"}
    assert {finding.check: finding.status for finding in findings}["clock"] == "ok"


def test_settings_that_cannot_be_read_leave_the_rest_unchecked_and_say_so(tmp_path: Path) -> None:
    findings = doctor(tmp_path / "home", {"TRACK_API_URL": "https://api.track.co"})
    statuses = {finding.check: finding.status for finding in findings}

    assert [check for check, status in statuses.items() if status == "fail"] == ["settings"]
    assert [check for check, status in statuses.items() if status == "ok"] == ["registry", "policy"]
    assert all(finding.detail.startswith("not checked") for finding in findings if finding.status == "warn")


@pytest.mark.skipif(os.name != "posix", reason="only POSIX has file modes")
@pytest.mark.parametrize(("mode", "statuses"), [(0o600, ["ok"]), (0o644, ["ok", "warn"])])
def test_a_file_of_secrets_that_others_may_read_is_a_warning(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, mode: int, statuses: list[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / ".env").touch()
    (tmp_path / ".env").chmod(mode)

    assert [finding.status for finding in of("settings", doctor(tmp_path / "home", {}))] == statuses


def test_a_hospital_that_the_registry_lacks_is_a_failed_setting(tmp_path: Path) -> None:
    (settings,) = of("settings", doctor(tmp_path / "home", {"TRACK_HOSPITALS": "XXX"}))

    assert (settings.status, "XXX" in settings.detail) == ("fail", True)


def test_units_without_survey_or_template(tmp_path: Path) -> None:
    path = surveys_file(tmp_path / "surveys.toml", template=False)
    findings = doctor(tmp_path, {"TRACK_SURVEYS_FILE": str(path)})

    assert [(finding.subject, finding.status) for finding in of("surveys", findings)] == [
        ("HMS", "warn"),
        ("HAC", "warn"),
    ]
    assert "maternidade" in of("surveys", findings)[0].detail
    assert "excluded:no_survey" in of("surveys", findings)[0].detail
    assert [finding.detail for finding in of("templates", findings)] == ["no WhatsApp template"] * 2
    path.write_text("[[unit]]\ncode = 'HMS'\nsurveys = { internacao = 'marked' }", encoding="utf-8")
    (broken,) = of("surveys", doctor(tmp_path, {"TRACK_SURVEYS_FILE": str(path)}))
    assert (broken.status, "surveys.toml" in broken.detail) == ("fail", True)


def test_an_area_without_survey_by_the_registry_is_no_warning(tmp_path: Path) -> None:
    findings = of("surveys", doctor(tmp_path, {"TRACK_HOSPITALS": "OTO_ING"}))

    (without,) = [finding for finding in findings if finding.subject == "OTOS"]
    assert (without.status, without.detail) == (
        "ok",
        "no survey for maternidade: excluded:no_survey, as in hospitals.toml",
    )


def test_a_file_instead_of_a_database_is_told(tmp_path: Path) -> None:
    hms, hac = of("database", doctor(tmp_path, {"TRACK_DEMO_DB": str(tmp_path)}))

    assert {hms.status, hac.status} == {"fail"}
    assert "HMS.duckdb" in hms.detail


def test_a_ledger_is_looked_at_but_not_migrated(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path}/ledger.sqlite"
    open_ledger(url, clock=lambda: datetime.now().astimezone()).close()
    (sound,) = of("ledger", doctor(tmp_path, {"TRACK_LEDGER_URL": url}))
    database = connect(url)
    found = []
    for version in ("0001", "9999"):
        with database.write() as connection:
            connection.exec_driver_sql(f"UPDATE alembic_version SET version_num = '{version}'")
        found += of("ledger", doctor(tmp_path, {"TRACK_LEDGER_URL": url}))
    database.close()

    assert (sound.status, "writable" in sound.detail) == ("ok", True)
    assert [finding.status for finding in found] == ["warn", "fail"]
    assert "newer version" in found[1].detail


def test_a_ledger_that_cannot_be_written(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    url = f"sqlite:///{tmp_path / 'file' / 'ledger.sqlite'}"
    (ledger,) = of("ledger", doctor(tmp_path, {"TRACK_LEDGER_URL": url}))

    assert (ledger.status, "right to write" in ledger.detail) == ("fail", True)


def test_a_ledger_that_is_read_only_on_postgresql(tmp_path: Path, postgres_url: str) -> None:
    open_ledger(postgres_url, clock=lambda: datetime.now().astimezone()).close()
    url = make_url(postgres_url)
    options = f"{url.query['options']} -cdefault_transaction_read_only=on"
    read_only = url.update_query_dict({"options": options}).render_as_string(hide_password=False)
    (sound,) = of("ledger", doctor(tmp_path, {"TRACK_LEDGER_URL": postgres_url}))
    (ledger,) = of("ledger", doctor(tmp_path, {"TRACK_LEDGER_URL": read_only}))

    assert sound.status == "ok"
    assert (ledger.status, "read-only transaction" in ledger.detail) == ("fail", True)


@pytest.mark.skipif(os.name != "posix", reason="only POSIX has file modes")
def test_patient_data_that_others_may_read_is_found(tmp_path: Path) -> None:
    folder = tmp_path / "lake" / "extract"
    folder.mkdir(parents=True, mode=0o700)
    (tmp_path / "lake").chmod(0o700)
    (sound,) = of("lake", doctor(tmp_path, {}))
    (folder / "HMS.parquet").touch(mode=0o644)
    (folder / "HMS.parquet").chmod(0o644)
    (lake,) = of("lake", doctor(tmp_path, {}))

    assert sound.status == "ok"
    assert (lake.status, "HMS.parquet" in lake.detail) == ("fail", True)
    assert "chmod" in lake.next_step


def test_what_breaks_without_a_word_of_ours_is_told_without_its_text(tmp_path: Path) -> None:
    (daemons,) = of("daemons", doctor(tmp_path, {}, daemons=RuntimeError("password marked-password")))
    (ours,) = of("daemons", doctor(tmp_path, {}, daemons=ConfigError("dagster.yaml is wrong")))

    assert (daemons.status, "builtins.RuntimeError" in daemons.detail) == ("fail", True)
    assert ours.detail == "dagster.yaml is wrong"


def test_a_clock_without_time_zone(tmp_path: Path) -> None:
    naive = lambda settings: Runtime(settings, clock=lambda: datetime(2025, 3, 10))  # noqa: DTZ001, E731
    (clock,) = of("clock", doctor(tmp_path, {}, naive))
    (sound,) = of("clock", doctor(tmp_path, {"TRACK_HOSPITALS": "HSMC", "TRACK_NOW": "2025-03-10T09:00:00-03:00"}))

    assert clock.status == "fail"
    assert "America/Cuiaba 08:00" in sound.detail


def test_the_command_prints_a_table_or_an_array_and_its_exit_code_says_whether_something_failed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in [name for name in os.environ if name.startswith(("TRACK_", "DAGSTER_", "DB_"))]:
        monkeypatch.delenv(name)
    monkeypatch.chdir(tmp_path)
    # `track` makes the embedded instance DAGSTER_HOME, which monkeypatch is to undo.
    monkeypatch.setenv("DAGSTER_HOME", "")
    monkeypatch.setenv("TRACK_HOSPITALS", "HMS")
    monkeypatch.setenv("TRACK_DEMO_VOLUME", "5")
    table = CliRunner().invoke(app, ["doctor"])
    array = CliRunner().invoke(app, ["doctor", "--json"])
    monkeypatch.setenv("TRACK_DEMO_DB", str(tmp_path))
    failed = CliRunner().invoke(app, ["doctor", "--json"])

    assert (table.exit_code, array.exit_code, failed.exit_code) == (0, 0, 1)
    assert "0 fail" in table.stdout
    findings = json.loads(array.stdout)
    assert set(findings[0]) == set(asdict(Finding("check", "subject", "ok", "detail")))
    assert {finding["subject"] for finding in findings if finding["check"] == "database"} == {"HMS"}
    assert [one["subject"] for one in json.loads(failed.stdout) if one["status"] == "fail"] == ["HMS"]


def test_every_hospital_of_the_registry_answers_in_the_demo(tmp_path: Path) -> None:
    findings = of("database", doctor(tmp_path, {"TRACK_HOSPITALS": ""}))

    assert {finding.subject: finding.status for finding in findings} == dict.fromkeys(load_registry().codes, "ok")
    (hpc,) = [finding for finding in findings if finding.subject == "HPC"]
    assert hpc.detail.startswith("HPC: DuckDB")
    assert "HSL: DuckDB" in hpc.detail
