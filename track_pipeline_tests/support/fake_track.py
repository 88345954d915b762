"""A loopback server with scripted failures: each request that it reads uses the next behaviour of its script.

It uses raw sockets, because a web framework prevents the failures to test (a reset, silence, half an answer).
"""

import json
import socket
import struct
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from types import TracebackType
from typing import Final, Self


@dataclass(frozen=True)
class Request:
    """One received request."""

    method: str
    path: str
    headers: Mapping[str, str]
    body: bytes

    def json(self) -> dict[str, object]:
        """Return the body, which must be a JSON object."""
        document = json.loads(self.body)
        assert isinstance(document, dict)
        return document


# A function that handles the connection of a request that was read. It returns whether the connection stays open.
Behaviour = Callable[["FakeTrack", socket.socket], bool]


def reply(
    status: int, body: object = None, *, headers: Mapping[str, str] | None = None, keep_alive: bool = True
) -> Behaviour:
    """Return a behaviour that sends a complete answer. `body` is sent as bytes or as JSON, or left out when None.

    Without `keep_alive` the connection is closed afterwards without notice, as a load balancer does.
    """
    content = body if isinstance(body, bytes) else b"" if body is None else json.dumps(body).encode()
    lines = {"Content-Type": "application/json", "Content-Length": str(len(content)), **(headers or {})}
    head = "".join(f"{name}: {value}\r\n" for name, value in lines.items())

    def behave(_: "FakeTrack", connection: socket.socket) -> bool:
        connection.sendall(f"HTTP/1.1 {status} Whatever\r\n{head}\r\n".encode() + content)
        return keep_alive

    return behave


def raw(content: bytes) -> Behaviour:
    """Return a behaviour that sends exactly these bytes and closes the connection."""

    def behave(_: "FakeTrack", connection: socket.socket) -> bool:
        connection.sendall(content)
        return False

    return behave


def hang(server: "FakeTrack", _: socket.socket) -> bool:
    """Send no answer until the server is stopped."""
    server.stopped.wait()
    return False


def close(_: "FakeTrack", __: socket.socket) -> bool:
    """Close the connection without an answer."""
    return False


def reset(_: "FakeTrack", connection: socket.socket) -> bool:
    """Reset the connection (RST)."""
    linger = struct.pack("HH" if hasattr(socket, "SIO_RCVALL") else "ii", 1, 0)
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
    return False


ACCEPT: Final = reply(201, {"uuid": "d-1"})


@dataclass
class FakeTrack:
    """The server, as a context manager. After its script it answers `ACCEPT`.

    With `on_connect` the behaviour runs at the connection, before anything is read. A TLS client sees this as a broken
    handshake.
    """

    script: list[Behaviour] = field(default_factory=list)
    on_connect: Behaviour | None = None
    port: int = 0
    requests: list[Request] = field(default_factory=list)
    connections: int = 0
    stopped: threading.Event = field(default_factory=threading.Event)

    def __enter__(self) -> Self:
        self._listener = socket.create_server(("127.0.0.1", self.port))
        self.port = self._listener.getsockname()[1]
        self._listener.settimeout(0.05)
        self._acceptor = threading.Thread(target=self._accept, daemon=True)
        self._acceptor.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        self.stopped.set()
        self._acceptor.join()
        self._listener.close()

    @property
    def url(self) -> str:
        """The address of the server, without TLS."""
        return f"http://127.0.0.1:{self.port}"

    def _accept(self) -> None:
        while not self.stopped.is_set():
            try:
                connection, _ = self._listener.accept()
            except TimeoutError:
                continue
            self.connections += 1
            threading.Thread(target=self._serve, args=[connection], daemon=True).start()

    def _serve(self, connection: socket.socket) -> None:
        with connection:
            connection.settimeout(10)
            if self.on_connect is not None:
                self.on_connect(self, connection)
                return
            stream = connection.makefile("rb")
            try:
                while (request := _read(stream.readline, stream.read)) is not None:
                    self.requests.append(request)
                    behaviour = self.script.pop(0) if self.script else ACCEPT
                    if not behaviour(self, connection):
                        # The file object keeps the socket open until the file object is closed.
                        return
            except OSError:
                return
            finally:
                stream.close()


def _read(readline: Callable[[], bytes], read: Callable[[int], bytes]) -> Request | None:
    """Return the next request of a connection; None at its end and for bytes that are not HTTP (a TLS greeting)."""
    words = readline().split()
    if len(words) != 3:
        return None
    headers: dict[str, str] = {}
    while line := readline().strip():
        name, _, value = line.decode("latin-1").partition(":")
        headers[name.lower()] = value.strip()
    body = read(int(headers.get("content-length", "0")))
    return Request(words[0].decode(), words[1].decode(), headers, body)
