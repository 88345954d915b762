"""Every command in the documents is run as written, on a small installation with a finished day.

Two tables below give the values that a reader fills in; a third lists the commands that cannot be run here, with the
reason. `track` commands run in this process, because a new process needs a second and a half for its imports.
"""

import os
import re
import shlex
import shutil
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import Final

import pytest
import requests
from typer.testing import CliRunner, Result

from track_pipeline.cli.app import app
from track_pipeline.config.files import package_file
from track_pipeline.config.hospitals import load_registry
from track_pipeline.config.settings import load_settings
from track_pipeline.demo.simulator import SimulatorProcess
from track_pipeline.domain.areas import AREAS
from track_pipeline.domain.channels import Channel
from track_pipeline.runtime import Runtime
from track_pipeline.services.daily.sending import DispatchStopped, Partition
from track_pipeline_tests.support.builders import cpf
from track_pipeline_tests.support.production import SCRIPTS, free_port, listens, wait

ROOT = Path(__file__).parent.parent
DOCS = [
    *(ROOT / name for name in ("README.md", "README.pt-BR.md", "CONTRIBUTING.md", "SECURITY.md", "deploy/README.md")),
    *sorted((ROOT / "docs").glob("*.md")),
]
# The day that the documents name, so that their dates need no filling in.
DAY = date(2026, 11, 23)
# With what a command begins, when it stands in back-quotes; in a fence everything is one.
PROGRAMS: Final = (
    "track", "uv", "dg", "dagster", "dagster-celery", "docker", "helm", "kubectl", "git", "pip", "python", "psql"
)  # fmt: skip

# What a document leaves to the reader, and what a reader of this installation would type.
FILLED_IN: Final = {
    "--cpf C --phone P --email E": f"--cpf {cpf(1)} --phone '(27) 99999-0000' --email ana@example.org",
    "compare FILE": "compare sends.csv",
    "consent import FILE": "consent import consents.csv",
    "--config FILE": "--config ./policy-new.toml",
    "--csv FILE": "--csv contacts.csv",
    "--rules DIR": "--rules ./rules-new",
    "--date D": f"--date {DAY}",
    "--hospital H": "--hospital HMS",
    "--reason R": "--reason 'seen at Track.co'",
    "--port P": "--port {port}",
    "links DATE HOSPITAL": f"links {DAY} HMS",
    "resolve HOSPITAL ENCOUNTER": "resolve HMS {unknown}",
    "resolve HMS 1234567": "resolve HMS {unknown}",
    "why HOSPITAL ENCOUNTER": "why HMS {sent}",
    "why HMS 1234567": "why HMS {sent}",
}
# What a command needs that a document only names.
ADDED: Final = {
    "track links": f"{DAY} HMS",
    "track opt-out add": "--phone '(27) 99999-0000'",
    "track opt-out import": "opt-outs.csv",
    "track opt-out remove": "--phone '(27) 99999-0000'",
    "track pause add": "all",
    "track pause remove": "all",
    "track resolve": "HMS {unknown} not_sent --reason 'no such distribution'",
    "track serve": "--port {port}",
    "track why": "HMS {sent}",
}
# What a server answers, and where it is asked.
SERVERS: Final = {
    "track serve --port {port}": (200, "/healthz"),
    "track simulator --port {port}": (200, "/_control/stats"),
}

DEMO, CI, ENGINE = (
    "test_end_to_end.py runs it with all hospitals, and again",
    "`.ci/run` runs it",
    "no container engine here",
)
HERE, HOURS = "it would change this checkout", "minutes to an hour; test_benchmarks.py checks its parts"
TESTS, INIT = "it is these tests", "test_deploy.py runs it, as `init` of compose.yaml"
NOT_RUN: Final = {
    "dagster instance concurrency set oracle 4": INIT,
    "dagster instance migrate": INIT,
    "dagster-celery worker start -A dagster_celery.app -y celery.yaml": "test_many_machines.py runs two, with a broker",
    "dg check defs": CI,
    "docker compose build --build-arg ORACLE_CLIENT=instant init": ENGINE,
    "docker compose build init": ENGINE,
    "docker compose exec code track doctor": ENGINE,
    "docker compose up -d": ENGINE,
    "docker compose up -d code": ENGINE,
    "docker run --rm -it caddy:2.11 caddy hash-password": ENGINE,
    "helm install track dagster/dagster -f values.yaml --version <Dagster's>": "no cluster here",
    "kubectl apply -f proxy.kubernetes.yaml": "no cluster here; test_deploy.py checks it against Kubernetes' schemas",
    "kubectl create configmap track-proxy --from-file=Caddyfile": "no cluster here",
    "mypy": CI,
    "pip install uv": "it would change this machine; `.ci/run` does it",
    "pre-commit install": HERE,
    "pytest": TESTS,
    "pytest -m drills": TESTS,
    "pytest -n0 track_pipeline_tests/defs/test_graph.py --snapshot-update": TESTS,
    "pytest -n0 track_pipeline_tests/domain/test_plan.py": TESTS,
    "pytest -n0 track_pipeline_tests/drills --first-seed 140 --seeds 1": TESTS,
    "python -m benchmarks": HOURS,
    "python -m benchmarks --only plan --only contacts": HOURS,
    "python -m benchmarks --plots docs/performance --write docs/performance.md": HOURS,
    "python -m benchmarks --quick": HOURS,
    "python -m benchmarks --write": HOURS,
    "ruff check .": CI,
    "ruff format .": HERE,
    "track demo": DEMO,
    "track demo --json": DEMO,
    "track ui": "it ends when it is interrupted; test_browser.py looks at the same web interface",
    "track ui --port 3000": "as `track ui`",
    "track ui --port {port}": "as `track ui`",
    "uv sync": "it would change this environment; `.ci/run` does it",
    "uv run --with pip-audit pip-audit": "it needs a database on the network",
}

# One worker: the installation is made once.
pytestmark = pytest.mark.xdist_group("docs_commands")


def written(path: Path) -> Iterator[str]:
    """The commands of a document as they stand there, without comments."""
    text = path.read_text(encoding="utf-8")
    fence = r"^ *```sh\n(.*?)^ *```"
    for block in re.findall(fence, text, re.DOTALL | re.MULTILINE):
        yield from filter(None, (line.split("#")[0].strip() for line in block.splitlines()))
    for quoted in re.findall(r"`([^`\n]+)`", re.sub(fence, "", text, flags=re.DOTALL | re.MULTILINE)):
        if quoted.split()[0] in PROGRAMS:
            yield quoted


def variants(command: str) -> Iterator[str]:
    """What is meant by `track x [--a | --b]`: without, and with each; and by `add|remove`: one, and the other."""
    command = re.sub(r"^uv run (?=\w)", "", command.replace("\\|", "|"))
    optional = re.findall(r"\[([^]]+)\]", command)
    plain = " ".join(re.sub(r"\[[^]]+\]", "", command).split())
    for each in _alternatives(plain):
        yield each
        for option in (option.strip() for group in optional for option in group.split("|")):
            yield f"{each} {option}"


def _alternatives(command: str) -> list[str]:
    choice = re.search(r"\S+\|\S+", command)
    return [command.replace(choice[0], word) for word in choice[0].split("|")] if choice else [command]


def filled_in(command: str) -> str:
    """A command as it is typed; `{sent}`, `{unknown}` and `{port}` are the installation's."""
    for blank, value in FILLED_IN.items():
        command = re.sub(rf"{re.escape(blank)}(?!\w)", value, command)
    return f"{command} {ADDED[command]}" if command in ADDED else command


# The program's bare name is a word, not a command.
COMMANDS: Final = sorted(
    {filled_in(each) for path in DOCS for command in written(path) for each in variants(command)} - {"track"}
)


@dataclass(frozen=True)
class Installation:
    """A folder with a home whose day is over, and the files that the documents speak of."""

    folder: Path
    environment: dict[str, str]
    sent: int
    unknown: int

    def typed(self, command: str) -> list[str]:
        return shlex.split(command.format(sent=self.sent, unknown=self.unknown, port=free_port()))

    def copy(self, folder: Path) -> dict[str, str]:
        """What a command may change; returns the environment of the copy."""
        shutil.copytree(self.folder, folder, dirs_exist_ok=True)
        return self.environment | {"TRACK_HOME": str(folder / "home")}


@pytest.fixture(scope="module")
def installation(tmp_path_factory: pytest.TempPathFactory) -> Installation:
    """A day of one hospital, sent to a simulator, which lost one batch after it had taken it; all is paused since."""
    folder = tmp_path_factory.mktemp("installation")
    environment = {
        "TRACK_HOME": str(folder / "home"),
        "TRACK_HOSPITALS": "HMS",
        "TRACK_NOW": "2026-11-24T09:00:00-03:00",
        "TRACK_DEMO_VOLUME": "60",
    }
    registry = load_registry().only(("HMS",))
    [place] = [hospital.model_copy(update={"links": "all"}) for hospital in registry.hospitals]
    with SimulatorProcess() as simulator:
        settings = load_settings(environment | {"TRACK_API_URL": simulator.url}, env_file=None)
        runtime = Runtime(settings, registry=registry.model_copy(update={"hospitals": (place,)}))
        runtime.daily.extractor.extract(place, DAY)
        runtime.daily.planner.invite(place, DAY)
        simulator.control("faults", {"kind": "500_after_accept"})
        lost = 0
        for area in AREAS:
            for channel in Channel:
                try:
                    runtime.daily.dispatcher.dispatch(Partition(place, DAY, area, channel), "run")
                except DispatchStopped:
                    lost += 1
        assert lost == 1
        runtime.feedback.reading.refresh()
    for scope in ("all", "hospital:HMS"):
        runtime.ledger.pauses.add(scope, "a test", "operator")
    unknown = runtime.ledger.sends.unresolved("HMS").get_column("encounter_id")
    sends = runtime.ledger.sends.invitations("HMS", DAY)
    sent = sends.get_column("encounter_id").filter(~sends.get_column("encounter_id").is_in(unknown.to_list()))
    runtime.close()
    shutil.copytree(package_file("rules"), folder / "rules-new")
    shutil.copy(package_file("policy.toml"), folder / "policy-new.toml")
    for name, text in {
        "sends.csv": f"hospital,encounter,area,channel\nHMS,{sent[0]},exames,email\n",
        "opt-outs.csv": "cpf,phone,email,channel,source\n,,ana@example.org,all,letter\n",
        "consents.csv": "cpf,phone,email,source,date,text_version\n,(27) 99999-0000,,form,2026-11-01,v1\n",
    }.items():
        (folder / name).write_text(text, encoding="utf-8")
    return Installation(folder, environment, sent[0], unknown[0])


@pytest.mark.parametrize("command", [each for each in COMMANDS if each not in NOT_RUN and each not in SERVERS])
def test_a_command_of_the_documents_works(
    command: str, installation: Installation, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    environment = installation.copy(tmp_path)
    program, *arguments = installation.typed(command)
    if program == "track":
        monkeypatch.chdir(tmp_path)
        done = track(arguments, environment)
        assert done.exit_code == 0, done.output
        assert done.output.strip()
    else:
        subprocess.run([SCRIPTS / program, *arguments], cwd=ROOT, check=True, capture_output=True, timeout=60)


@pytest.mark.parametrize("command", SERVERS)
def test_a_server_of_the_documents_answers(command: str, installation: Installation, tmp_path: Path) -> None:
    environment = installation.copy(tmp_path)
    program, *arguments = installation.typed(command)
    status, path = SERVERS[command]
    url = f"http://127.0.0.1:{arguments[-1]}{path}"
    with subprocess.Popen(
        [SCRIPTS / program, *arguments], env=own(environment), cwd=tmp_path, stdout=subprocess.DEVNULL
    ) as process:
        try:
            wait(f"`{command}` answers", lambda: listens(int(arguments[-1])))
            with requests.Session() as session:
                session.trust_env = False
                assert session.get(url, timeout=30).status_code == status
        finally:
            process.terminate()


def test_what_is_not_run_is_named_by_a_document_and_exists() -> None:
    assert sorted({*NOT_RUN, *SERVERS} - set(COMMANDS)) == []
    continuous_integration = (ROOT / ".ci" / "run").read_text(encoding="utf-8")
    for command, reason in NOT_RUN.items():
        assert reason != CI or f"uv run {command}\n" in continuous_integration, command
        for word in command.split():
            assert not word.startswith("track_pipeline") or (ROOT / word).exists(), command


def track(arguments: list[str], environment: dict[str, str]) -> Result:
    """Runs `track` in this process, with nothing set but what is given."""
    unset = dict.fromkeys((*(name for name in os.environ if name not in own({})), "DAGSTER_HOME"))
    # What a `-` asks for, in this order.
    contacts = {"--cpf": cpf(1), "--phone": "(27) 99999-0000", "--email": "ana@example.org"}
    typed = "".join(f"{contact}\n" for option, contact in contacts.items() if option in arguments)
    return CliRunner().invoke(app, arguments, env=unset | environment, input=typed)


def own(environment: dict[str, str]) -> dict[str, str]:
    """The environment of a process, with nothing of an installation's set but what is given."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("TRACK_", "DAGSTER_", "DB_"))}
    return kept | environment
