"""A loopback listener that speaks just enough of Oracle's TNS protocol to fail a connection in a chosen way."""

import socket
import struct
import threading
from collections.abc import Callable
from types import TracebackType
from typing import Final, Self

ACCEPT: Final = 2
REFUSE: Final = 4

# Acts on a connection whose CONNECT packet has been read; afterwards the connection is closed.
Behaviour = Callable[["TnsStub", socket.socket], None]


def packet(kind: int, body: bytes) -> bytes:
    """A TNS packet: length, checksum, type, flags, checksum of the header, then the body."""
    return struct.pack(">HHBBH", 8 + len(body), 0, kind, 0, 0) + body


def answering(content: bytes) -> Behaviour:
    """Sends these bytes; none of them makes a listener that just hangs up."""

    def behave(_: "TnsStub", connection: socket.socket) -> None:
        connection.sendall(content)

    return behave


def refusing(code: int) -> Behaviour:
    """Refuses as a listener does that has this ORA code to tell."""
    text = f"(DESCRIPTION=(TMP=)(VSNNUM=0)(ERR={code})(ERROR_STACK=(ERROR=(CODE={code})(EMFI=4))))".encode()
    return answering(packet(REFUSE, struct.pack(">BBH", 1, 0, len(text)) + text))


def accepting(version: int) -> Behaviour:
    """Accepts in this version of the protocol (314 is a database 11g), with nothing sensible after it."""
    return answering(packet(ACCEPT, struct.pack(">HHHHHHH", version, 0, 8192, 65535, 256, 0, 32) + bytes(26)))


def silent(stub: "TnsStub", _connection: socket.socket) -> None:
    """Keeps the connection open and never answers, until the stub is closed."""
    stub.closed.wait()


class TnsStub:
    """Behaves the same towards everybody, on a free port of this machine while its context is open."""

    def __init__(self, behaviour: Behaviour) -> None:
        self._behaviour = behaviour
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listener.getsockname()[1]
        self._threads: list[threading.Thread] = []
        self.closed = threading.Event()
        self.connections = 0

    def __enter__(self) -> Self:
        self._start(self._accept)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.closed.set()
        # A connection of our own wakes the thread that waits for one, on every system.
        socket.create_connection(("127.0.0.1", self.port)).close()
        for thread in self._threads:
            thread.join()
        self._listener.close()

    def _start(self, target: Callable[..., None], *args: object) -> None:
        thread = threading.Thread(target=target, args=args, daemon=True)
        self._threads.append(thread)
        thread.start()

    def _accept(self) -> None:
        while True:
            connection, _ = self._listener.accept()
            if self.closed.is_set():
                connection.close()
                return
            self.connections += 1
            self._start(self._serve, connection)

    def _serve(self, connection: socket.socket) -> None:
        with connection:
            if connection.recv(4096):
                self._behaviour(self, connection)
