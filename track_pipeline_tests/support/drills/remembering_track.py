"""A Track.co on loopback that records which lines it accepted, regardless of its answers.

A behaviour defines what it does with a request; `faults` has those of the drills. It shares no code with the package,
so that a drill has an independent record of the sends.
"""

import json
import socket
import socketserver
import struct
import threading
from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from http.server import BaseHTTPRequestHandler
from types import TracebackType
from typing import Any, Final, Self

TOKEN: Final = "the-token-of-the-drills"

_TLS_GREETING: Final = b"\x16"


@dataclass(frozen=True)
class Accepted:
    """An accepted line, and so a message to a patient. `wave` is the wave of the drill at that time.

    `cpf`: the CPF in the line; links contain none.
    """

    encounter: int
    survey: str
    channel: str
    wave: str
    send_id: str
    cpf: str = ""


@dataclass
class RememberingTrack:
    """The server, as a context manager.

    Each request uses the next behaviour of `script`; later requests get correct answers. `bad_token`: the right token
    is refused too. `indigestible`: encounters whose lines make the whole request fail (422). `invalid`: encounters
    whose lines are refused alone, in an answer that accepts the others. `most_lines`: more lines give 413.
    """

    indigestible: frozenset[int] = frozenset()
    invalid: frozenset[int] = frozenset()
    most_lines: int | None = None
    bad_token: bool = False
    wave: str = "invite"
    script: deque["Behaviour"] = field(default_factory=deque)
    accepted: list[Accepted] = field(default_factory=list)
    refused: set[str] = field(default_factory=set)
    impatience: threading.Event = field(default_factory=threading.Event)
    lock: threading.Lock = field(default_factory=threading.Lock)

    def __enter__(self) -> Self:
        self._server = _Server(("127.0.0.1", 0), Exchange)
        self._server.track = self
        self.port: int = self._server.server_address[1]
        self._thread = threading.Thread(target=self._server.serve_forever, args=[0.01], daemon=True)
        self._thread.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        self.impatience.set()
        self._server.shutdown()
        self._server.server_close()

    def finish(self) -> None:
        """End hanging requests, wait until all received requests are handled, and discard the rest of the script."""
        self.impatience.set()
        # The server accepts connections in order: when this one is answered, no earlier one still waits.
        with socket.create_connection(("127.0.0.1", self.port)) as last:
            last.sendall(b"GET /last HTTP/1.1\r\nConnection: close\r\n\r\n")
            while last.recv(4096):
                pass
        for thread in self._server.handlers:
            thread.join()
        self._server.handlers.clear()
        self.script.clear()
        self.impatience.clear()


class _Server(socketserver.ThreadingTCPServer):
    daemon_threads = True
    request_queue_size = 50
    track: RememberingTrack

    def __init__(self, *arguments: Any) -> None:
        super().__init__(*arguments)
        self.handlers: list[threading.Thread] = []

    def process_request(self, request: Any, client_address: Any) -> None:
        thread = threading.Thread(target=self.process_request_thread, args=(request, client_address), daemon=True)
        self.handlers.append(thread)
        thread.start()

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Ignore errors of connections, because killed clients close theirs."""


class Exchange(BaseHTTPRequestHandler):
    """One request, with the actions of the behaviours."""

    protocol_version = "HTTP/1.1"
    timeout = 30
    # Send each answer at once, so that a client does not wait for a delayed acknowledgement.
    wbufsize = -1
    disable_nagle_algorithm = True

    @property
    def track(self) -> RememberingTrack:
        """The server, with its record of accepted lines."""
        assert isinstance(self.server, _Server)
        return self.server.track

    @cached_property
    def body(self) -> dict[str, Any]:
        """The body of the request, read at the first access."""
        document = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        assert isinstance(document, dict)
        return document

    def handle(self) -> None:
        if self.connection.recv(1, socket.MSG_PEEK) == _TLS_GREETING:
            self.connection.sendall(b"\x00 this is no TLS \xff" * 8)
            return
        super().handle()

    def do_GET(self) -> None:
        self.answer(404)

    def do_POST(self) -> None:
        self.__dict__.pop("body", None)
        with self.track.lock:
            behaviour = self.track.script.popleft() if self.track.script else serve
        behaviour(self)

    def answer(self, status: int, document: object = None, headers: Mapping[str, str] | None = None) -> None:
        """Send a complete answer. 400, 404, 409, 413 and 422 mean that no line was accepted."""
        if status in (400, 404, 409, 413, 422):
            self.track.refused |= {line["send_id"] for line in self.body["import_lines"]}
        elif self.command == "POST":
            # Read the body, because the server would read an unread body as the next request.
            _ = self.body
        content = document if isinstance(document, bytes) else json.dumps(document).encode()
        self.send_response(status)
        for name, value in {"Content-Length": str(len(content)), **(headers or {})}.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(content)
        self.wfile.flush()

    def problem(self) -> int | None:
        """Return the status with which a healthy server refuses the request; None if it accepts."""
        track, lines = self.track, self.body["import_lines"]
        if track.bad_token or self.headers["Authorization"] != f"Bearer {TOKEN}":
            return 401
        if {int(line["cd_atendimento"]) for line in lines} & track.indigestible:
            return 422
        return 413 if track.most_lines is not None and len(lines) > track.most_lines else None

    def accept(self) -> dict[str, object]:
        """Accept the valid lines, and return the answer of a healthy server."""
        track, survey = self.track, self.body["survey_uuid"]
        channel = self.body.get("distribution_channel", "link")
        good: list[tuple[int, dict[str, str]]] = []
        bad: list[tuple[int, dict[str, str]]] = []
        for place, line in enumerate(self.body["import_lines"]):
            (bad if int(line["cd_atendimento"]) in track.invalid else good).append((place, line))
        with track.lock:
            track.accepted += [
                Accepted(
                    int(line["cd_atendimento"]), survey, channel, track.wave, line["send_id"], line.get("cpf") or ""
                )
                for _, line in good
            ]
            track.refused |= {line["send_id"] for _, line in bad}
        answer: dict[str, object] = {"uuid": f"d-{len(track.accepted)}"}
        answer["invalid"] = [{"index": place, "reason": "contact_missing"} for place, _ in bad]
        if channel == "link":
            answer["links"] = [{"index": place, "link": f"http://127.0.0.1/{line['send_id']}"} for place, line in good]
        return answer

    def hang_up(self, *, reset: bool) -> None:
        """End the connection without an answer, by a reset (RST) or a normal close."""
        if reset:
            linger = struct.pack("HH" if hasattr(socket, "SIO_RCVALL") else "ii", 1, 0)
            self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
            # The server would otherwise shut the connection down normally first.
            self.connection.close()
        self.close_connection = True

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - http.server's name
        """Write no log."""


Behaviour = Callable[[Exchange], None]


def serve(exchange: Exchange) -> None:
    """Answer as a healthy server does."""
    problem = exchange.problem()
    if problem is None:
        exchange.answer(201, exchange.accept())
    else:
        exchange.answer(problem, {"error": "refused"})
