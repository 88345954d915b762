"""A loopback listener with the part of Oracle's TNS protocol that is needed to fail a connection in a chosen way."""

import socket
import struct
import threading
from collections.abc import Callable
from types import TracebackType
from typing import Final, Self

ACCEPT: Final = 2
REFUSE: Final = 4

# A function that handles a connection after its CONNECT packet was read. The connection is closed afterwards.
Behaviour = Callable[["TnsStub", socket.socket], None]


def packet(kind: int, body: bytes) -> bytes:
    """Return a TNS packet: length, checksum, type, flags, checksum of the header, then the body."""
    return struct.pack(">HHBBH", 8 + len(body), 0, kind, 0, 0) + body


def answering(content: bytes) -> Behaviour:
    """Return a behaviour that sends these bytes. With no bytes, the listener only closes the connection."""

    def behave(_: "TnsStub", connection: socket.socket) -> None:
        connection.sendall(content)

    return behave


def refusing(code: int) -> Behaviour:
    """Return a behaviour that refuses the connection with this ORA code."""
    text = f"(DESCRIPTION=(TMP=)(VSNNUM=0)(ERR={code})(ERROR_STACK=(ERROR=(CODE={code})(EMFI=4))))".encode()
    return answering(packet(REFUSE, struct.pack(">BBH", 1, 0, len(text)) + text))


def accepting(version: int) -> Behaviour:
    """Return a behaviour that accepts with this protocol version (314 is a database 11g), then sends invalid data."""
    return answering(packet(ACCEPT, struct.pack(">HHHHHHH", version, 0, 8192, 65535, 256, 0, 32) + bytes(26)))


def silent(stub: "TnsStub", _connection: socket.socket) -> None:
    """Keep the connection open without an answer until the stub is closed."""
    stub.closed.wait()


class TnsStub:
    """A listener with one behaviour for all connections, on a free port of this machine while its context is open."""

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
        # A connection from here wakes the thread that waits for one, on every operating system.
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
