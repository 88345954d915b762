"""Sending alerts: real HTTP to channels on loopback that accept them, refuse them or never answer."""

import json
import logging
import socket
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from time import monotonic
from typing import Any

import pytest

from track_pipeline.adapters.alerts import AppriseChannel
from track_pipeline.ports import Alert, AlertKind

TOKEN = "t0ken-of-a-channel"


@dataclass
class Webhook:
    """A channel: answers with `status` and keeps what it was sent."""

    status: int = 200
    messages: list[dict[str, Any]] = field(default_factory=list)
    url: str = ""


@pytest.fixture
def webhook() -> Iterator[Webhook]:
    hook = Webhook()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            hook.messages.append(json.loads(self.rfile.read(int(self.headers["Content-Length"]))))
            self.send_response(hook.status)
            self.end_headers()

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
        hook.url = f"json://127.0.0.1:{server.server_port}/{TOKEN}"
        yield hook
        server.shutdown()


@pytest.fixture
def silent_url() -> Iterator[str]:
    """A channel that accepts connections and never answers."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield f"json://127.0.0.1:{server.getsockname()[1]}/?rto=20"


def closed_url() -> str:
    with socket.create_server(("127.0.0.1", 0)) as server:
        return f"json://127.0.0.1:{server.getsockname()[1]}/{TOKEN}"


def test_a_message_arrives_as_it_is_written(webhook: Webhook) -> None:
    text = "Solve the captcha, then `track pause remove all`.\n/runs/1?a=b&c=<d>"
    assert AppriseChannel([webhook.url]).tell("track: HMS: silent", text)
    [message] = webhook.messages
    assert (message["title"], message["message"], message["type"]) == ("track: HMS: silent", text, "warning")


def test_a_recovery_is_marked_as_good_news(webhook: Webhook) -> None:
    assert AppriseChannel([webhook.url]).tell("Over", "It is over.", is_recovery=True)
    assert webhook.messages[0]["type"] == "success"


@pytest.mark.parametrize("status", [403, 500])
def test_a_channel_that_refuses_is_told_of_by_its_number_without_its_token(
    webhook: Webhook, caplog: pytest.LogCaptureFixture, status: int
) -> None:
    webhook.status = status
    with caplog.at_level(logging.INFO, "track_pipeline"):
        assert not AppriseChannel([webhook.url]).tell("title", "body")
    told = [record.getMessage() for record in caplog.records if record.name.startswith("track_pipeline")]
    assert told == ["TRACK_ALERT_URLS: an alert could not be delivered to address no. 1. Check address and server."]


def test_one_channel_that_is_down_does_not_keep_the_others_from_telling(
    webhook: Webhook, caplog: pytest.LogCaptureFixture
) -> None:
    assert AppriseChannel([closed_url(), webhook.url, "no address"]).tell("title", "body")
    assert len(webhook.messages) == 1
    assert "address no. 1, 3." in caplog.text
    assert TOKEN not in "".join(record.getMessage() for record in caplog.records if "track" in record.name)


def test_a_channel_that_never_answers_is_left_behind(webhook: Webhook, silent_url: str) -> None:
    channel = AppriseChannel([silent_url], delivery_seconds=0.3)
    started = monotonic()
    assert not channel.tell("title", "body")
    # The channel itself would have been waited for 20 seconds.
    assert monotonic() - started < 10
    assert AppriseChannel([silent_url, webhook.url], delivery_seconds=2.0).tell("title", "body")


def test_no_channel_takes_nothing() -> None:
    assert not AppriseChannel([]).tell("title", "body")


def test_addresses_that_apprise_does_not_know_are_found_without_telling_anybody() -> None:
    channel = AppriseChannel(["mailto://u:p@example.org", "telegraph://x", "slack://a", "json://127.0.0.1"])
    assert channel.unusable() == [2, 3]


def test_alerts_of_one_problem_share_a_key_whatever_their_words() -> None:
    alert = Alert("HMS: a", "b", "/runs", AlertKind.GATE, "HMS", "2025-03-09")
    assert alert.key == Alert("other", "words", "/", AlertKind.GATE, "HMS", "2025-03-09").key
    others = [Alert("", "", "", kind, "HMS", "2025-03-09") for kind in AlertKind]
    others += [
        Alert("", "", "", AlertKind.GATE, "HMC", "2025-03-09"),
        Alert("", "", "", AlertKind.GATE, "HMS", "2025-03-10"),
    ]
    assert len({other.key for other in others}) == len(others)
