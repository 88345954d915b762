"""Track.co's API: exact request bodies; for each failure of a request, the raised error and the number of attempts."""

import json
import logging
import pickle
import socket
import sys
import time
import traceback
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import replace
from datetime import UTC, datetime, timedelta, timezone

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from track_pipeline.adapters.track.api import TrackApi
from track_pipeline.adapters.track.http import Patience
from track_pipeline.adapters.track.requests import Distribution, Line, LinkList, WhatsAppTemplate
from track_pipeline.domain.channels import Channel
from track_pipeline.errors import ConfigError
from track_pipeline.ports import (
    Accepted,
    Budget,
    NotSent,
    Refused,
    RefusedInPart,
    SendFailure,
    Stopped,
    Survey,
    Unknown,
)
from track_pipeline_tests.support.fake_track import Behaviour, FakeTrack, close, hang, raw, reply, reset

TOKEN = "tok-Very-Secret-0123"
NOW = datetime(2026, 3, 2, 11, 0, tzinfo=UTC)
QUICK = Patience(connect=1, read=0.3, budget=0)
LINES: tuple[Line, ...] = (
    {"send_id": "s-1", "name": "Ana Ficticia", "email": "ana@example.org", "cd_atendimento": 41},
    {"send_id": "s-2", "name": "Beto Ficticio", "email": "beto@example.org", "cd_atendimento": 42},
)
EMAIL = Distribution("survey-1", Channel.EMAIL, LINES, NOW + timedelta(days=15))
TEMPLATE = WhatsAppTemplate("convite", "pt_BR", ("customer.firstname", "interaction.setor"), "HX00")


class CountingBudget:
    """A budget with room for so many requests."""

    def __init__(self, room: int = 1000) -> None:
        self.room = room

    def acquire(self, timeout: float) -> bool:  # noqa: ARG002
        self.room -= 1
        return self.room >= 0


class Sleeper:
    """Stands in for time.sleep and remembers."""

    def __init__(self) -> None:
        self.pauses: list[float] = []

    def __call__(self, seconds: float) -> None:
        self.pauses.append(seconds)


def client(url: str, *, budget: Budget | None = None, sleeper: Sleeper | None = None, token: str = TOKEN) -> TrackApi:
    return TrackApi(
        url,
        "org-1",
        token,
        budget=budget or CountingBudget(),
        patience=replace(QUICK, sleep=sleeper or Sleeper()),
        clock=lambda: NOW,
    )


@pytest.fixture
def track() -> Iterator[FakeTrack]:
    with FakeTrack() as server:
        yield server


def failure_of(api: TrackApi, distribution: Distribution = EMAIL) -> SendFailure:
    with pytest.raises(SendFailure) as caught:
        api.create_distribution(distribution)
    return caught.value


# --- bodies ---------------------------------------------------------------------------------------------------------


def test_an_email_distribution_without_options_has_exactly_the_required_keys(track: FakeTrack) -> None:
    client(track.url + "/").create_distribution(EMAIL)

    (request,) = track.requests
    assert (request.method, request.path) == ("POST", "/v1/organizations/org-1/distributions")
    assert request.headers["authorization"] == f"Bearer {TOKEN}"
    assert request.headers["content-type"] == "application/json"
    assert "transfer-encoding" not in request.headers
    assert request.json() == {
        "survey_uuid": "survey-1",
        "distribution_channel": "email",
        "import_lines": [dict(line) for line in LINES],
        "validity_at": int(NOW.timestamp()) + 15 * 86400,
    }


def test_an_email_distribution_names_its_templates() -> None:
    body = Distribution(
        "survey-1",
        Channel.EMAIL,
        LINES,
        datetime(2026, 3, 17, 8, tzinfo=timezone(timedelta(hours=-3))),
        template_invite_hash="aB3dE9",
        template_expired_hash="cD4fG1",
        template_thanks_hash="eF5hI2",
    ).body()

    assert body == {
        "survey_uuid": "survey-1",
        "distribution_channel": "email",
        "import_lines": [dict(line) for line in LINES],
        "validity_at": 1773745200,
        "template_invite_hash": "aB3dE9",
        "template_expired_hash": "cD4fG1",
        "template_thanks_hash": "eF5hI2",
    }


def test_a_whatsapp_distribution_carries_its_template_and_integration() -> None:
    body = Distribution(
        "survey-1", Channel.WHATSAPP, LINES, NOW, whatsapp_template=TEMPLATE, whatsapp_integration_uuid="integration-1"
    ).body()

    assert body == {
        "survey_uuid": "survey-1",
        "distribution_channel": "whatsapp",
        "import_lines": [dict(line) for line in LINES],
        "validity_at": int(NOW.timestamp()),
        "whatsapp_template": {
            "name": "convite",
            "language": "pt_BR",
            "variables": ["customer.firstname", "interaction.setor"],
            "id_provider": "HX00",
        },
        "whatsapp_integration_uuid": "integration-1",
    }


def test_track_reminders_go_on_their_own_channel() -> None:
    body = Distribution(
        "survey-1",
        Channel.EMAIL,
        LINES,
        NOW + timedelta(days=15),
        reminder_at=NOW + timedelta(days=7),
        reminder_channel=Channel.WHATSAPP,
        whatsapp_reminder_template=TEMPLATE,
        whatsapp_integration_uuid="integration-1",
    ).body()

    assert body["reminder_at"] == int(NOW.timestamp()) + 7 * 86400
    assert body["reminder_channel"] == "whatsapp"
    assert body["whatsapp_reminder_template"] == TEMPLATE.body()
    assert "whatsapp_template" not in body
    assert "reminder" not in body


@pytest.mark.parametrize(
    ("change", "complaint"),
    [
        ({"lines": ()}, "send_id"),
        ({"lines": (LINES[0], LINES[0])}, "send_id"),
        ({"lines": ({"name": "Ana Ficticia"},)}, "send_id"),
        ({"channel": "whatsapp"}, "template"),
        ({"channel": "whatsapp", "whatsapp_template": TEMPLATE}, "integration"),
        ({"reminder_at": NOW}, "reminder"),
        ({"reminder_at": NOW, "reminder_channel": "whatsapp"}, "reminder"),
        ({"reminder_at": NOW + timedelta(days=20), "reminder_channel": "email"}, "validity"),
        ({"validity_at": datetime(2026, 3, 2)}, "time zone"),  # noqa: DTZ001
    ],
)
def test_parts_that_do_not_fit_are_refused_before_anything_is_sent(change: dict[str, object], complaint: str) -> None:
    parts: dict[str, object] = {"survey_uuid": "survey-1", "channel": "email", "lines": LINES, "validity_at": NOW}
    with pytest.raises(ConfigError, match=complaint) as caught:
        Distribution(**{**parts, **change})  # type: ignore[arg-type]
    assert "Ficticia" not in str(caught.value)


def test_no_patient_is_in_the_repr_of_a_request() -> None:
    assert "Ficticia" not in repr(EMAIL) + repr(LinkList("survey-1", LINES))


# --- receipts -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("behaviour", "distribution_id"),
    [
        (reply(201, {"uuid": "d-1"}), "d-1"),
        (reply(200, {"data": {"id": 17}}), "17"),
        (reply(202, {"distribution_uuid": "d-2", "valid": 2, "invalid": 0}), "d-2"),
        (reply(201, {"id": "anything but an id: ana@example.org"}), None),
        (reply(201, ["d-1"]), None),
        (reply(201, b"<html>created</html>"), None),
        (reply(201, b"[" * 100_000), None),
        (reply(204), None),
        (raw(b"HTTP/1.1 201 Created\r\nContent-Length: 500\r\n\r\n{"), None),
        (raw(b"HTTP/1.1 201 Created\r\nContent-Encoding: gzip\r\nContent-Length: 5\r\n\r\nplain"), None),
    ],
)
def test_any_2xx_is_accepted_whether_or_not_its_answer_can_be_read(
    track: FakeTrack, behaviour: Behaviour, distribution_id: str | None
) -> None:
    track.script = [behaviour]
    assert client(track.url).create_distribution(EMAIL) == Accepted(distribution_id, {})
    assert len(track.requests) == 1


def test_refused_lines_are_told_by_place_or_send_id_and_never_in_words_of_their_own(track: FakeTrack) -> None:
    invalid = [
        {"index": 0, "reason": "identifier_missing"},
        {"send_id": "s-2", "reason": "beto@example.org is not valid"},
        {"index": 9, "reason": "contact_missing"},
        {"send_id": "somebody-else", "reason": "contact_missing"},
        "nonsense",
    ]
    track.script = [reply(201, {"data": {"uuid": "d-1", "invalid": invalid}})]

    receipt = client(track.url).create_distribution(EMAIL)

    assert receipt.refused == {"s-1": "identifier_missing", "s-2": "line_refused"}


def test_a_link_list_joins_links_by_name_and_never_by_order(track: FakeTrack) -> None:
    links = [{"link": "https://t.example/x"}, {"send_id": "s-2", "link": "https://t.example/b"}, {"index": 0, "url": 7}]
    track.script = [reply(201, {"data": {"links": links, "invalid": [{"index": 0, "reason": "identifier_missing"}]}})]

    receipt = client(track.url).create_link_list(LinkList("survey-1", LINES))

    assert receipt.links == {"s-2": "https://t.example/b"}
    assert receipt.refused == {"s-1": "identifier_missing"}
    assert track.requests[0].path == "/v1/organizations/org-1/distributions/createLinkList"
    assert track.requests[0].json() == {
        "survey_uuid": "survey-1",
        "import_lines": [dict(line) for line in LINES],
        "async": False,
        "shortened_link": False,
    }


# --- the table of failures ------------------------------------------------------------------------------------------

# A date in a time zone that is further away than any.
ENDLESS = "Mon, 02 Mar 2026 11:00:20 +99999999999999"

TABLE: list[tuple[str, list[Behaviour], type[SendFailure], str, int]] = [
    ("401", [reply(401, {"error": "x"})], Stopped, "token_refused", 1),
    ("403", [reply(403)], Stopped, "token_refused", 1),
    ("405 html", [reply(405, b"<html>captcha ana@example.org</html>")], Stopped, "throttled", 1),
    *[
        (str(status), [reply(status, {"error": "ana@example.org"})], kind, f"http_{status}", 1)
        for kind, statuses in ((Refused, (400, 404, 409)), (RefusedInPart, (413, 422)))
        for status in statuses
    ],
    ("429 alone", [reply(429)], Unknown, "http_429", 1),
    ("429 senseless", [reply(429, headers={"Retry-After": "soon"})], Unknown, "http_429", 1),
    ("429 endless zone", [reply(429, headers={"Retry-After": ENDLESS})], Unknown, "http_429", 1),
    ("405 endless zone", [reply(405, headers={"Retry-After": ENDLESS})], Stopped, "throttled", 1),
    ("429 asking", [reply(429, headers={"Retry-After": "2"})] * 9, NotSent, "busy", 4),
    ("503 asking", [reply(503, headers={"Retry-After": "2"})] * 9, NotSent, "busy", 4),
    ("429 too long", [reply(429, headers={"Retry-After": "900"})], NotSent, "busy", 1),
    ("503 alone", [reply(503)], Unknown, "http_503", 1),
    ("500", [reply(500, b"Traceback ana@example.org")], Unknown, "http_500", 1),
    ("504", [reply(504)], Unknown, "http_504", 1),
    ("410", [reply(410)], Unknown, "http_410", 1),
    ("302", [reply(302, headers={"Location": "/v1/elsewhere"})], Unknown, "http_302", 1),
    ("307", [reply(307, headers={"Location": "http://127.0.0.1:9/"})], Unknown, "http_307", 1),
    ("302 senseless", [reply(302, headers={"Location": "http://["})], Unknown, "connection_lost", 1),
    ("silence", [hang], Unknown, "timeout", 1),
    ("half a status", [raw(b"HTTP/1.1 20")], Unknown, "connection_lost", 1),
    ("closed", [close], Unknown, "connection_lost", 1),
    ("reset", [reset], Unknown, "connection_lost", 1),
    ("not HTTP", [raw(b"220 smtp.example.org ESMTP ana@example.org\r\n")], Unknown, "connection_lost", 1),
    ("two lengths", [raw(b"HTTP/1.1 201 C\r\nContent-Length: 1, 2\r\n\r\n{")], Unknown, "connection_lost", 1),
    ("busy, then silence", [reply(429, headers={"Retry-After": "1"}), hang], Unknown, "timeout", 2),
]


@pytest.mark.parametrize(
    ("script", "kind", "reason", "seen"), [row[1:] for row in TABLE], ids=[row[0] for row in TABLE]
)
def test_every_failure_has_its_kind_its_reason_and_its_number_of_requests(
    track: FakeTrack, script: list[Behaviour], kind: type[SendFailure], reason: str, seen: int
) -> None:
    track.script = list(script)

    failure = failure_of(client(track.url))

    assert (type(failure), failure.reason, len(track.requests)) == (kind, reason, seen)
    assert "distribution of 2 lines by email" in str(failure)


@pytest.fixture(scope="module")
def babbling_track() -> Iterator[FakeTrack]:
    with FakeTrack() as server:
        yield server


@settings(max_examples=100, deadline=None)
@given(
    answer=st.binary(max_size=300), head=st.sampled_from([b"", b"HTTP/1.1 500 X\r\n", b"HTTP/1.1 302 X\r\nLocation:"])
)
def test_whatever_comes_back_a_request_that_left_is_made_once_and_never_called_not_sent(
    babbling_track: FakeTrack, answer: bytes, head: bytes
) -> None:
    babbling_track.requests.clear()
    babbling_track.script = [raw(head + answer)]
    with pytest.raises(Unknown):
        client(babbling_track.url).create_distribution(EMAIL)
    assert len(babbling_track.requests) == 1


def test_retry_after_in_seconds_is_waited_for_and_the_request_then_goes_through(track: FakeTrack) -> None:
    track.script = [reply(429, headers={"Retry-After": "7"})]
    sleeper, budget = Sleeper(), CountingBudget()

    client(track.url, sleeper=sleeper, budget=budget).create_distribution(EMAIL)

    assert len(track.requests) == 2
    assert track.requests[0].body == track.requests[1].body
    (pause,) = sleeper.pauses
    assert 7 <= pause <= 8
    assert budget.room == 998


def test_retry_after_as_a_date_is_waited_for(track: FakeTrack) -> None:
    track.script = [
        reply(503, headers={"Retry-After": "Mon, 02 Mar 2026 11:00:20 GMT"}),
        reply(503, headers={"Retry-After": "Mon, 02 Mar 2026 10:00:00 GMT"}),
    ]
    sleeper = Sleeper()

    client(track.url, sleeper=sleeper).create_distribution(EMAIL)

    assert [20 <= sleeper.pauses[0] <= 21, 0 < sleeper.pauses[1] <= 1] == [True, True]


def test_without_room_in_the_budget_nothing_leaves(track: FakeTrack) -> None:
    failure = failure_of(client(track.url, budget=CountingBudget(room=0)))
    assert (type(failure), failure.reason, track.requests) == (NotSent, "budget", [])


def test_a_turn_that_was_waited_for_is_used_by_the_next_request_and_by_no_other(track: FakeTrack) -> None:
    budget = CountingBudget(room=2)
    api = client(track.url, budget=budget)

    api.await_turn()
    api.await_turn()
    assert budget.room == 1
    api.create_distribution(EMAIL)
    assert budget.room == 1
    api.create_distribution(EMAIL)
    assert budget.room == 0
    with pytest.raises(NotSent, match="no room"):
        api.await_turn()


# --- no connection --------------------------------------------------------------------------------------------------


def unused_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port: int = listener.getsockname()[1]
    return port


def test_a_refused_connection_is_tried_again_and_certainly_not_sent() -> None:
    sleeper = Sleeper()
    failure = failure_of(client(f"http://127.0.0.1:{unused_port()}", sleeper=sleeper))
    assert (type(failure), failure.reason, len(sleeper.pauses)) == (NotSent, "unreachable", 3)
    assert sleeper.pauses == sorted(sleeper.pauses)


def test_a_name_that_does_not_resolve_is_not_sent(monkeypatch: pytest.MonkeyPatch) -> None:
    def no_such_host(*_: object, **__: object) -> None:
        raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")

    monkeypatch.setattr(socket, "getaddrinfo", no_such_host)
    failure = failure_of(client("https://api.track.invalid"))
    assert (type(failure), failure.reason) == (NotSent, "unreachable")


@pytest.mark.skipif(sys.platform != "linux", reason="elsewhere a full backlog refuses instead of keeping silent")
def test_a_connection_that_is_never_taken_is_not_sent() -> None:
    with ExitStack() as stack:
        listener = stack.enter_context(socket.create_server(("127.0.0.1", 0), backlog=0))
        for _ in range(4):
            waiting = stack.enter_context(socket.socket())
            waiting.setblocking(False)
            waiting.connect_ex(listener.getsockname())
        api = TrackApi(
            f"http://127.0.0.1:{listener.getsockname()[1]}",
            "org-1",
            TOKEN,
            budget=CountingBudget(),
            patience=Patience(connect=0.1, attempts=2, sleep=Sleeper()),
        )
        failure = failure_of(api)
    assert (type(failure), failure.reason) == (NotSent, "unreachable")


@pytest.mark.parametrize(
    "on_connect",
    [close, reset, hang, raw(b"HTTP/1.1 400 Bad Request\r\n\r\n")],
    ids=["close", "reset", "hang", "plain"],
)
def test_a_tls_handshake_that_fails_is_tried_again_and_not_sent(on_connect: Behaviour) -> None:
    patience = Patience(connect=0.2, read=0.2, attempts=2, sleep=Sleeper())
    with FakeTrack(on_connect=on_connect) as server:
        api = TrackApi(
            f"https://127.0.0.1:{server.port}",
            "o",
            TOKEN,
            budget=CountingBudget(),
            patience=patience,
        )
        failure = failure_of(api)
        assert (type(failure), failure.reason, server.connections) == (NotSent, "unreachable", 2)


def test_a_server_that_comes_back_gets_the_request_once() -> None:
    port = unused_port()
    with ExitStack() as stack:
        servers: list[FakeTrack] = []

        def start_server(_: float) -> None:
            if not servers:
                servers.append(stack.enter_context(FakeTrack(port=port)))

        api = TrackApi(
            f"http://127.0.0.1:{port}",
            "org-1",
            TOKEN,
            budget=CountingBudget(),
            patience=replace(QUICK, sleep=start_server),
        )
        assert api.create_distribution(EMAIL).distribution_id == "d-1"
        assert len(servers[0].requests) == 1


def test_a_pooled_connection_is_used_again_and_one_that_was_closed_meanwhile_is_replaced(track: FakeTrack) -> None:
    track.script = [reply(201, {"uuid": "d-1"}), reply(201, {"uuid": "d-2"}, keep_alive=False)]
    api = client(track.url)

    api.create_distribution(EMAIL)
    api.create_distribution(EMAIL)
    assert track.connections == 1

    time.sleep(0.1)
    api.create_distribution(EMAIL)
    assert (track.connections, len(track.requests)) == (2, 3)


# --- surveys --------------------------------------------------------------------------------------------------------


def survey(number: int) -> dict[str, object]:
    return {"uuid": f"u-{number}", "name": f"Survey {number}", "public_hash": f"h{number}"}


@pytest.mark.parametrize(
    "pages",
    [
        [[survey(1), survey(2)], [survey(3)], []],
        [{"data": [survey(1), survey(2)]}, {"data": [survey(3)]}, {"data": []}],
        [{"data": {"surveys": [survey(1), survey(2), survey(3)]}}] * 2,
        [{"items": [survey(1), survey(2), survey(3), {"name": "no id"}, "nonsense"]}, {"items": []}],
    ],
    ids=["bare", "envelope", "page ignored", "items"],
)
def test_surveys_are_read_page_by_page_until_nothing_new_comes(track: FakeTrack, pages: list[object]) -> None:
    track.script = [reply(200, page) for page in pages]

    surveys = client(track.url).surveys()

    assert surveys == [Survey(f"u-{number}", f"Survey {number}", f"h{number}") for number in (1, 2, 3)]
    root = "/v1/organizations/org-1/surveys?include_questions=false&limit=100&page="
    assert [request.path for request in track.requests] == [f"{root}{page}" for page in range(1, len(pages) + 1)]


@pytest.mark.parametrize("answer", [{"error": "nothing here"}, "text"])
def test_a_list_of_surveys_that_cannot_be_read_is_not_an_empty_one(track: FakeTrack, answer: object) -> None:
    track.script = [reply(200, answer)]
    with pytest.raises(NotSent) as caught:
        client(track.url).surveys()
    assert caught.value.reason == "unreadable"


@pytest.mark.parametrize("passing", [reply(500), reply(429), reply(503), hang, close, reset])
def test_a_get_is_tried_again_after_what_would_be_unknown_of_a_post(track: FakeTrack, passing: Behaviour) -> None:
    track.script = [passing, reply(200, [])]
    assert client(track.url).surveys() == []
    assert len(track.requests) == 2


@pytest.mark.parametrize(
    ("behaviour", "kind", "reason", "seen"),
    [
        (reply(500), NotSent, "http_500", 4),
        (close, NotSent, "unreachable", 4),
        (reply(302), NotSent, "http_302", 1),
        (reply(401), Stopped, "token_refused", 1),
        (reply(404), Refused, "http_404", 1),
    ],
)
def test_a_get_that_keeps_failing_is_never_unknown(
    track: FakeTrack, behaviour: Behaviour, kind: type[SendFailure], reason: str, seen: int
) -> None:
    track.script = [behaviour] * 9
    with pytest.raises(SendFailure) as caught:
        client(track.url).surveys()
    assert (type(caught.value), caught.value.reason, len(track.requests)) == (kind, reason, seen)


# --- where it may connect to, and what it may say -------------------------------------------------------------------


@pytest.mark.parametrize(
    "url",
    ["http://api.track.co", "api.track.co", "ftp://127.0.0.1", "http://127.0.0.1@api.track.co", "https://u:p@host", ""],
)
def test_an_address_that_would_send_contacts_in_the_clear_is_refused(url: str) -> None:
    with pytest.raises(ConfigError):
        client(url)


@pytest.mark.parametrize(
    "url",
    [
        "https://api.track.co",
        "https://127.0.0.1.example.org",
        "https://localhost.example.org",
        "https://10.0.0.1",
        "http://0.0.0.0:80",
        "http://127.0.0.1:80@api.track.co/",
        "https://api.track.co\\@127.0.0.1/",
        "https://[2001:db8::1]",
    ],
)
def test_the_demo_connects_to_this_machine_only(url: str) -> None:
    with pytest.raises(ConfigError):
        TrackApi(url, "org-1", TOKEN, budget=CountingBudget(), require_loopback=True)


@pytest.mark.parametrize("url", ["http://127.0.0.1:8000", "http://localhost:8000/", "http://[::1]:8000"])
def test_the_demo_accepts_addresses_of_this_machine(url: str) -> None:
    TrackApi(url, "org-1", TOKEN, budget=CountingBudget(), require_loopback=True)


@pytest.mark.parametrize("token", ["", "tok with space", "tok\n", "tók", "tok\r\nX-Evil: 1"])
def test_a_malformed_token_is_refused_without_being_shown(token: str) -> None:
    with pytest.raises(ConfigError) as caught:
        client("https://api.track.co", token=token)
    assert not token or token not in str(caught.value)


def test_proxies_and_netrc_of_the_environment_are_ignored(track: FakeTrack, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("HTTP_PROXY", "http_proxy", "ALL_PROXY"):
        monkeypatch.setenv(name, f"http://127.0.0.1:{unused_port()}")
    client(track.url).create_distribution(EMAIL)
    assert len(track.requests) == 1


@pytest.mark.parametrize(
    "behaviour",
    [reply(422, {"error": "ana@example.org is Ana Ficticia"}), raw(b"Ana Ficticia\r\n"), close, reply(405, b"Ana")],
)
def test_neither_token_nor_body_nor_answer_is_in_errors_or_logs(
    track: FakeTrack, behaviour: Behaviour, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    track.script = [behaviour]
    api = client(track.url)

    failure = failure_of(api)

    assert failure.__cause__ is None
    assert failure.__context__ is None
    told = "".join(traceback.format_exception(failure)) + repr(failure) + repr(api) + caplog.text
    for secret in (TOKEN, "Ficticia", "example.org", "s-1"):
        assert secret not in told


def test_the_log_says_what_how_many_and_how_it_ended(track: FakeTrack, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    client(track.url).create_distribution(EMAIL)
    assert "distribution of 2 lines by email: 201 in" in caplog.text


def test_failures_survive_pickling_between_processes() -> None:
    failure = pickle.loads(pickle.dumps(RefusedInPart("http_422", "for the operator")))
    assert (type(failure), failure.reason, str(failure)) == (RefusedInPart, "http_422", "for the operator")


def test_a_value_that_is_not_json_is_refused_before_anything_leaves(track: FakeTrack) -> None:
    with pytest.raises(ValueError, match="JSON"):
        client(track.url).create_distribution(
            Distribution("survey-1", Channel.EMAIL, ({"send_id": "s-1", "age": float("nan")},), NOW)
        )
    assert track.requests == []
    assert json.dumps(EMAIL.body())
