"""The simulator, in its own process: what it accepts and refuses, its scripted failures, and its end."""

import subprocess
import sys
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
import requests

from track_pipeline.adapters.track.answers import TrackAnswers
from track_pipeline.adapters.track.api import TrackApi
from track_pipeline.adapters.track.http import Patience
from track_pipeline.adapters.track.mapping import load_mapping
from track_pipeline.adapters.track.requests import Distribution, Line, LinkList, WhatsAppTemplate
from track_pipeline.demo.respondents import AnswerModel
from track_pipeline.demo.simulator import SURVEYS, SimulatorProcess
from track_pipeline.domain.channels import Channel, OptOutChannel
from track_pipeline.errors import TrackPipelineError
from track_pipeline.ports import (
    Answer,
    DeliveryStatus,
    NotSent,
    OptOut,
    Refused,
    RefusedInPart,
    SendFailure,
    Stopped,
    Unknown,
)

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
    Channel.EMAIL,
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
        patience=Patience(read=0.5, attempts=2, sleep=lambda _: None),
        require_loopback=True,
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
        "survey-1", Channel.WHATSAPP, lines, NOW, whatsapp_template=TEMPLATE, whatsapp_integration_uuid="integration-1"
    )

    assert api.create_distribution(whatsapp).refused == {"s-2": "contact_missing"}
    links = api.create_link_list(LinkList("survey-1", lines)).links

    assert links.keys() == {"s-1", "s-2"}
    assert links["s-1"].startswith(f"{simulator.url}/_survey/")
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
        ({"kind": "422"}, RefusedInPart, "http_422", 0),
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


# --- what comes back ------------------------------------------------------------------------------------------------

MORNING = datetime(2026, 3, 2, 11, tzinfo=UTC)
LIVELY = AnswerModel(seed=7, response_rate=0.9, partial_rate=0.3, opt_out_rate=0.2, bounce_rate=0.2)


def reader(url: str, organization: str = "org-1") -> TrackAnswers:
    api = TrackApi(url, organization, "any", budget=Unlimited(), require_loopback=True)
    return TrackAnswers(api, load_mapping())


def answers_of(url: str, since: datetime | None = None) -> list[Answer]:
    return [answer for page in reader(url).answers(since) for answer in page.rows]


def statuses_of(url: str, distribution: str) -> list[DeliveryStatus]:
    return [status for page in reader(url).statuses(distribution) for status in page.rows]


def opt_outs_of(url: str) -> list[OptOut]:
    return [opt_out for page in reader(url).opt_outs(None) for opt_out in page.rows]


def set_clock(process: SimulatorProcess, now: datetime) -> None:
    process.control("clock", {"now": now.isoformat()})


def test_people_are_silent_without_a_model(simulator: SimulatorProcess, api: TrackApi) -> None:
    set_clock(simulator, MORNING)
    distribution = api.create_distribution(EMAIL).distribution_id or ""

    assert simulator.control("requests")["lines"][0]["at"] == MORNING.isoformat()
    assert statuses_of(simulator.url, distribution) == [
        DeliveryStatus("s-1", "sent", MORNING, "sent"),
        DeliveryStatus("s-3", "sent", MORNING, "sent"),
    ]
    assert answers_of(simulator.url) == []
    assert opt_outs_of(simulator.url) == []


@pytest.mark.parametrize("envelope", [False, True])
def test_with_a_model_people_react_when_their_time_has_come(*, envelope: bool) -> None:
    lines = tuple(line(number, email=f"p{number}@example.org") for number in range(450))
    with SimulatorProcess(answers=LIVELY, envelope=envelope) as process:
        set_clock(process, MORNING)
        receipt = connect(process.url).create_distribution(Distribution("survey-1", Channel.EMAIL, lines, NOW))
        distribution = receipt.distribution_id or ""
        assert answers_of(process.url) == []

        seen = []
        for days in (1, 3, 20):
            set_clock(process, MORNING + timedelta(days=days))
            seen.append(answers_of(process.url))
        statuses = statuses_of(process.url, distribution)
        opt_outs = opt_outs_of(process.url)
        late = answers_of(process.url, since=MORNING + timedelta(days=3, seconds=1))

    assert 0 < len(seen[0]) < len(seen[1]) < len(seen[2])
    assert {answer.state for answer in seen[2]} == {"done", "partial"}
    assert all(answer.score is not None for answer in seen[2])
    assert all(answer.answered_at is not None and answer.answered_at > MORNING for answer in seen[2])
    assert [*seen[1], *late] == seen[2]
    by_status = {name: {each.send_id for each in statuses if each.status == name} for name in STATUSES}
    assert by_status["sent"] == {f"s-{number}" for number in range(450)}
    assert len(by_status["bounced"]) > 50
    assert by_status["delivered"] == by_status["sent"] - by_status["bounced"]
    assert by_status["unsubscribed"] == {each.send_id for each in opt_outs}
    assert {each.channel for each in opt_outs} == {"email"}
    assert {answer.send_id for answer in seen[2]} <= by_status["opened"] - by_status["unsubscribed"]


STATUSES = ("sent", "delivered", "opened", "bounced", "unsubscribed")


def test_on_whatsapp_people_opt_out_by_writing_back() -> None:
    lines = tuple(line(number, phone=f"55119{number:08}") for number in range(60))
    whatsapp = Distribution(
        "survey-1", Channel.WHATSAPP, lines, NOW, whatsapp_template=TEMPLATE, whatsapp_integration_uuid="integration-1"
    )
    with SimulatorProcess(answers=AnswerModel(seed=7, opt_out_rate=0.3)) as process:
        set_clock(process, MORNING)
        distribution = connect(process.url).create_distribution(whatsapp).distribution_id or ""
        set_clock(process, MORNING + timedelta(days=20))
        stopped = [each for each in statuses_of(process.url, distribution) if each.status == "unsubscribed"]
        assert opt_outs_of(process.url) == []

    assert len(stopped) > 5
    assert {each.word for each in stopped} == {"replied"}


def test_answers_statuses_and_opt_outs_can_be_planted(simulator: SimulatorProcess, api: TrackApi) -> None:
    set_clock(simulator, MORNING)
    distribution = api.create_distribution(EMAIL).distribution_id or ""
    at = (MORNING - timedelta(hours=1)).isoformat()
    simulator.control(
        "answers",
        {
            "answers": [
                {"send_id": "s-1", "state": "partial", "score": 3},
                {"send_id": "s-1", "score": 4, "comment": "Demorou."},
                {"send_id": "stranger", "score": 10, "at": at},
                {"send_id": "s-3", "score": 9, "at": (MORNING + timedelta(days=1)).isoformat()},
            ],
            "statuses": [{"send_id": "s-3", "status": "replied", "text": "Parar!"}],
            "opt_outs": [{"phone": "5511900000000"}],
        },
    )

    assert [(each.send_id, each.score, each.comment) for each in answers_of(simulator.url)] == [
        ("stranger", 10, None),
        ("s-1", 4, "Demorou."),
    ]
    assert statuses_of(simulator.url, distribution)[-1] == DeliveryStatus("s-3", "unsubscribed", MORNING, "replied")
    assert opt_outs_of(simulator.url) == [OptOut(None, None, "5511900000000", OptOutChannel.ALL, MORNING)]


@pytest.mark.parametrize(
    "document",
    [
        {"answers": [{"score": 3}]},
        {"answers": [{"send_id": "s-1", "state": "maybe"}]},
        {"answers": [{"send_id": "s-1", "at": "2026-03-02T11:00:00"}]},
        {"statuses": [{"send_id": "nobody", "status": "sent"}]},
        {"rumours": [{}]},
        [],
    ],
)
def test_what_cannot_be_planted_is_refused(simulator: SimulatorProcess, document: object) -> None:
    with pytest.raises(requests.HTTPError, match="422"):
        simulator.control("answers", document)


@pytest.mark.parametrize("document", [{"now": "noon"}, {"now": "2026-03-02T11:00:00"}, {}])
def test_the_clock_takes_instants_only(simulator: SimulatorProcess, document: object) -> None:
    with pytest.raises(requests.HTTPError, match="422"):
        simulator.control("clock", document)


def test_the_real_time_goes_on_after_the_clock_is_let_go(simulator: SimulatorProcess) -> None:
    set_clock(simulator, MORNING)
    shown = simulator.control("clock", {"now": None})["now"]
    assert abs(datetime.fromisoformat(shown) - datetime.now(UTC)) < timedelta(minutes=1)


def test_behind_a_link_only_sending_the_form_is_an_answer(simulator: SimulatorProcess, api: TrackApi) -> None:
    survey = str(SURVEYS[0]["uuid"])
    link = api.create_link_list(LinkList(survey, (line(1),))).links["s-1"]

    page = requests.get(link, timeout=5)
    assert (page.status_code, SURVEYS[0]["name"] in page.text) == (200, True)
    assert requests.post(link, data={"score": "11"}, timeout=5).status_code == 422
    assert answers_of(simulator.url) == []

    assert requests.post(link, data={"score": "8", "comment": "Rápido & fácil"}, timeout=5).ok
    (answer,) = answers_of(simulator.url)
    assert (answer.send_id, answer.state, answer.score, answer.comment) == ("s-1", "done", 8, "Rápido & fácil")
    assert requests.get(f"{simulator.url}/_survey/unknown", timeout=5).status_code == 404


def test_every_organisation_reads_its_own(simulator: SimulatorProcess, api: TrackApi) -> None:
    distribution = api.create_distribution(EMAIL).distribution_id or ""
    simulator.control("answers", {"answers": [{"send_id": "s-1", "score": 3}]})
    other = reader(simulator.url, organization="org-2")

    assert list(other.answers(None)) == []
    with pytest.raises(Refused, match="rejected"):
        list(other.statuses(distribution))


@pytest.mark.parametrize("query", ["page=0", "page=x", "limit=0", "updated_since=yesterday"])
def test_a_reading_it_does_not_understand_is_refused(simulator: SimulatorProcess, query: str) -> None:
    url = f"{simulator.url}/v1/organizations/org-1/interactions"
    assert requests.get(url, timeout=5).status_code == 401
    assert requests.get(f"{url}?{query}", headers={"Authorization": "Bearer any"}, timeout=5).status_code == 422


def test_without_history_only_the_last_status_is_told(simulator: SimulatorProcess, api: TrackApi) -> None:
    distribution = api.create_distribution(EMAIL).distribution_id
    simulator.control("answers", {"statuses": [{"send_id": "s-1", "status": "opened"}]})
    url = f"{simulator.url}{PATH}/{distribution}/status?history=false"
    told = requests.get(url, headers={"Authorization": "Bearer any"}, timeout=5).json()
    assert [(each["send_id"], each["status"]) for each in told["statuses"]] == [("s-1", "opened"), ("s-3", "sent")]


# --- the process ----------------------------------------------------------------------------------------------------


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


def test_what_was_accepted_unseen_is_found_in_the_list_of_distributions(
    simulator: SimulatorProcess, api: TrackApi
) -> None:
    simulator.control("faults", {"kind": "500_after_accept"})
    with pytest.raises(Unknown):
        api.create_distribution(EMAIL)

    reader = TrackAnswers(api, load_mapping())
    listed = reader.distributions(None)
    assert listed is not None
    [distribution] = [row.distribution_id for page in listed for row in page.rows]
    found = {row.send_id for page in reader.statuses(distribution) for row in page.rows}
    # One line was not good enough to be taken.
    assert found == {"s-1", "s-3"}
