"""The simulator, in a process of its own: what it takes, what it refuses, how it fails on order, that it goes away."""

import subprocess
import sys
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
import requests

from track_pipeline.adapters.track_api import (
    Distribution,
    Line,
    LinkList,
    NotSent,
    Patience,
    Refused,
    SendFailure,
    Stopped,
    TrackApi,
    Unknown,
    WhatsAppTemplate,
)
from track_pipeline.demo.simulator import SURVEYS, SimulatorProcess
from track_pipeline.errors import TrackPipelineError

NOW = datetime.now(UTC)
TEMPLATE = WhatsAppTemplate("convite", "pt_BR", ("customer.firstname",), "HX00")
PATH = "/v1/organizations/org-1/distributions"


class Unlimited:
    """A budget without end."""

    def acquire(self, timeout: float) -> bool:
        return timeout >= 0


def line(number: int, **contact: str) -> Line:
    return {"send_id": f"s-{number}", "cd_atendimento": 40 + number, "name": "Ana Ficticia", **contact}


EMAIL = Distribution(
    "survey-1",
    "email",
    (line(1, email="ana@example.org"), line(2, email=""), line(3, email="caio@example.org")),
    NOW + timedelta(days=15),
    template_invite_hash="aB3dE9",
)


@pytest.fixture(scope="module")
def running() -> Iterator[SimulatorProcess]:
    with SimulatorProcess() as process:
        yield process


@pytest.fixture
def simulator(running: SimulatorProcess) -> SimulatorProcess:
    running.control("reset")
    return running


@pytest.fixture
def api(simulator: SimulatorProcess) -> TrackApi:
    return connect(simulator.url)


def connect(url: str, token: str = "any") -> TrackApi:
    return TrackApi(
        url,
        "org-1",
        token,
        budget=Unlimited(),
        patience=Patience(read=0.5, attempts=2),
        require_loopback=True,
        sleep=lambda _: None,
    )


def test_it_takes_a_distribution_and_names_the_lines_it_refuses(simulator: SimulatorProcess, api: TrackApi) -> None:
    receipt = api.create_distribution(EMAIL)

    assert receipt.distribution_id
    assert receipt.refused == {"s-2": "contact_missing"}
    shown = simulator.control("requests")
    assert [{key: entry[key] for key in entry if key != "at"} for entry in shown["lines"]] == [
        {"org": "org-1", "survey": "survey-1", "channel": "email", "send_id": send_id, "cd_atendimento": encounter}
        for send_id, encounter in (("s-1", 41), ("s-3", 43))
    ]
    assert datetime.fromisoformat(shown["lines"][0]["at"]).tzinfo is not None
    assert [body["body"] for body in shown["bodies"]] == [EMAIL.body()]


def test_it_takes_whatsapp_and_link_lists(simulator: SimulatorProcess, api: TrackApi) -> None:
    lines = (line(1, phone="5511987654321"), line(2, phone="987654321"))
    whatsapp = Distribution(
        "survey-1", "whatsapp", lines, NOW, whatsapp_template=TEMPLATE, whatsapp_integration_uuid="integration-1"
    )

    assert api.create_distribution(whatsapp).refused == {"s-2": "contact_missing"}
    links = api.create_link_list(LinkList("survey-1", lines)).links

    assert links.keys() == {"s-1", "s-2"}
    assert links["s-1"].startswith("http://127.0.0.1/_survey/")
    assert links["s-1"] != links["s-2"]
    assert simulator.control("stats") == {
        "posts": 2,
        "distributions": 1,
        "link_lists": 1,
        "accepted_lines": 3,
        "invalid_lines": 1,
        "repeated_send_ids": 1,
        "by_channel": {"whatsapp": 1, "link": 2},
        "faults_left": 0,
    }


@pytest.mark.parametrize(
    "change",
    [
        {"survey_uuid": ""},
        {"distribution_channel": "pigeon"},
        {"import_lines": []},
        {"import_lines": [{"send_id": "s-1", "customer": {"name": "Ana"}}]},
        {"validity_at": int(NOW.timestamp() * 1000)},
        {"reminder_at": int(NOW.timestamp())},
        {"reminder": "whatsapp"},
        {"reminder_at": 2**33, "reminder_channel": "email"},
        {"template_invite_hash": None},
        {"template_invite_hash": "too-long"},
        {"distribution_channel": "whatsapp"},
        {"distribution_channel": "whatsapp", "whatsapp_template": TEMPLATE.body()},
        {
            "distribution_channel": "whatsapp",
            "whatsapp_integration_uuid": "i",
            "whatsapp_template": {"name": None, "language": "pt_BR", "variables": [], "id_provider": None},
        },
    ],
)
def test_it_refuses_bodies_that_the_documentation_does_not_know(
    simulator: SimulatorProcess, change: dict[str, Any]
) -> None:
    answer = requests.post(
        simulator.url + PATH, json=EMAIL.body() | change, headers={"Authorization": "Bearer any"}, timeout=5
    )

    assert answer.status_code == 422
    assert answer.json()["error"]
    assert simulator.control("requests")["lines"] == []


def test_a_line_needs_the_identifier(simulator: SimulatorProcess) -> None:
    body = EMAIL.body() | {"import_lines": [{"name": "Ana Ficticia", "email": "ana@example.org"}]}
    answer = requests.post(simulator.url + PATH, json=body, headers={"Authorization": "Bearer any"}, timeout=5)
    assert answer.json()["invalid"] == [{"index": 0, "send_id": None, "reason": "identifier_missing"}]


def test_it_asks_for_a_bearer(simulator: SimulatorProcess) -> None:
    assert requests.post(simulator.url + PATH, json=EMAIL.body(), timeout=5).status_code == 401
    assert requests.get(f"{simulator.url}/v1/organizations/org-1/surveys", timeout=5).status_code == 401
    assert simulator.control("stats")["accepted_lines"] == 0


def test_with_a_token_and_an_envelope_it_speaks_the_other_dialect() -> None:
    with SimulatorProcess(token="right", envelope=True) as process:
        receipt = connect(process.url, token="right").create_distribution(EMAIL)
        assert receipt.distribution_id
        assert receipt.refused == {"s-2": "contact_missing"}
        assert len(connect(process.url, token="right").surveys()) == len(SURVEYS)
        with pytest.raises(Stopped):
            connect(process.url, token="wrong").create_distribution(EMAIL)


def test_it_lists_its_surveys_by_page(simulator: SimulatorProcess, api: TrackApi) -> None:
    assert [survey.name for survey in api.surveys()] == [survey["name"] for survey in SURVEYS]

    answer = requests.get(
        f"{simulator.url}/v1/organizations/org-1/surveys",
        params={"limit": "4", "page": "2", "include_questions": "true"},
        headers={"Authorization": "Bearer any"},
        timeout=5,
    ).json()
    assert [survey["uuid"] for survey in answer] == [survey["uuid"] for survey in SURVEYS[4:]]
    assert answer[0]["questions"]


@pytest.mark.parametrize(
    ("fault", "kind", "reason", "accepted"),
    [
        ({"kind": "429"}, Unknown, "http_429", 0),
        ({"kind": "429", "retry_after": 1, "times": 2}, NotSent, "busy", 0),
        ({"kind": "503", "retry_after": 1, "times": 2}, NotSent, "busy", 0),
        ({"kind": "405"}, Stopped, "throttled", 0),
        ({"kind": "401"}, Stopped, "token_refused", 0),
        ({"kind": "422"}, Refused, "http_422", 0),
        ({"kind": "500"}, Unknown, "http_500", 0),
        ({"kind": "500_after_accept"}, Unknown, "http_500", 2),
        ({"kind": "reset"}, Unknown, "connection_lost", 0),
        ({"kind": "hang_after_accept"}, Unknown, "timeout", 2),
    ],
)
def test_it_fails_on_order_and_then_works_again(
    simulator: SimulatorProcess,
    api: TrackApi,
    fault: dict[str, object],
    kind: type[SendFailure],
    reason: str,
    accepted: int,
) -> None:
    simulator.control("faults", [fault])

    with pytest.raises(SendFailure) as caught:
        api.create_distribution(EMAIL)

    assert (type(caught.value), caught.value.reason) == (kind, reason)
    assert simulator.control("stats")["accepted_lines"] == accepted
    assert api.create_distribution(EMAIL).distribution_id


def test_slow_is_only_slow(simulator: SimulatorProcess, api: TrackApi) -> None:
    simulator.control("faults", {"kind": "slow", "seconds": 0.2})
    started = time.monotonic()
    assert api.create_distribution(EMAIL).distribution_id
    assert time.monotonic() - started > 0.2


def test_an_unknown_fault_is_refused(simulator: SimulatorProcess) -> None:
    with pytest.raises(requests.HTTPError, match="422"):
        simulator.control("faults", {"kind": "meteor"})
    assert simulator.control("stats")["faults_left"] == 0


def test_it_starts_quickly_says_nothing_and_goes_away(capfd: pytest.CaptureFixture[str]) -> None:
    started = time.monotonic()
    with SimulatorProcess() as process:
        assert time.monotonic() - started < 3
        process.control("faults", [{"kind": "reset"}])
        with pytest.raises(Unknown):
            connect(process.url).create_distribution(EMAIL)
        connect(process.url).create_distribution(EMAIL)
    assert process._process.returncode == 0
    assert capfd.readouterr() == ("", "")
    with pytest.raises(requests.ConnectionError):
        requests.get(process.url, timeout=5)


def test_a_port_that_is_taken_is_an_error(simulator: SimulatorProcess) -> None:
    port = int(simulator.url.rpartition(":")[2])
    with pytest.raises(TrackPipelineError, match="port"), SimulatorProcess(port=port):
        pass


def test_it_does_not_outlive_a_killed_parent() -> None:
    program = (
        "from track_pipeline.demo.simulator import SimulatorProcess\n"
        "with SimulatorProcess() as process:\n"
        "    print(process.url, flush=True)\n"
        "    process._process.wait()\n"
    )
    with subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE, text=True) as parent:
        assert parent.stdout is not None
        url = parent.stdout.readline().strip()
        assert requests.get(f"{url}/_control/stats", timeout=5).ok
        parent.kill()

    deadline = time.monotonic() + 5
    while time.monotonic() < deadline:
        try:
            requests.get(f"{url}/_control/stats", timeout=1)
        except requests.ConnectionError:
            return
        time.sleep(0.05)
    pytest.fail("the simulator is still there")
