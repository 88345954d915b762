"""A Track.co on loopback that remembers which lines it accepted, whatever it then said about them.

What it does with a request is a behaviour; those of the drills are in `faults`. It shares no code with the package,
so that a drill has a second opinion on what left the house.
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
    """A line that was taken, and so a patient who was written to. `wave` is what the drill was at then.

    `cpf`: whose line it is, by its own word; links carry none.
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

    Requests take the behaviours of `script` in turn, then are answered properly. `bad_token` makes it refuse the right
    token too. `indigestible`: encounters whose lines spoil the whole request (422); `invalid`: those refused alone, in
    an answer that takes the rest; `most_lines`: more of them are too many (413).
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
        """Ends what hangs, waits until everything that was sent is dealt with, and forgets the rest of the script."""
        self.impatience.set()
        # Connections are taken in order: once this one is answered, no earlier one still waits.
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
        """Clients that were killed hang up; that is what they are here for."""


class Exchange(BaseHTTPRequestHandler):
    """One request and what can be done with it."""

    protocol_version = "HTTP/1.1"
    timeout = 30
    # An answer leaves when it is written: a client waits for no delayed acknowledgement.
    wbufsize = -1
    disable_nagle_algorithm = True

    @property
    def track(self) -> RememberingTrack:
        """The server's memory."""
        assert isinstance(self.server, _Server)
        return self.server.track

    @cached_property
    def body(self) -> dict[str, Any]:
        """The request's body, read when it is first asked for."""
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
        """A whole answer; a 4xx is the word that none of the lines was taken."""
        if status in (400, 404, 409, 413, 422):
            self.track.refused |= {line["send_id"] for line in self.body["import_lines"]}
        elif self.command == "POST":
            # What is not read of a request is taken for the next one.
            _ = self.body
        content = document if isinstance(document, bytes) else json.dumps(document).encode()
        self.send_response(status)
        for name, value in {"Content-Length": str(len(content)), **(headers or {})}.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(content)
        self.wfile.flush()

    def problem(self) -> int | None:
        """The status by which a healthy server refuses the request."""
        track, lines = self.track, self.body["import_lines"]
        if track.bad_token or self.headers["Authorization"] != f"Bearer {TOKEN}":
            return 401
        if {int(line["cd_atendimento"]) for line in lines} & track.indigestible:
            return 422
        return 413 if track.most_lines is not None and len(lines) > track.most_lines else None

    def accept(self) -> dict[str, object]:
        """Takes the good lines, and returns what a healthy server would say."""
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
        """Ends the connection, torn down (RST) or without a word."""
        if reset:
            linger = struct.pack("HH" if hasattr(socket, "SIO_RCVALL") else "ii", 1, 0)
            self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
            # The server would shut it down politely first.
            self.connection.close()
        self.close_connection = True

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - http.server's name
        """Says nothing."""


Behaviour = Callable[[Exchange], None]


def serve(exchange: Exchange) -> None:
    """What a healthy server does."""
    problem = exchange.problem()
    if problem is None:
        exchange.answer(201, exchange.accept())
    else:
        exchange.answer(problem, {"error": "refused"})
