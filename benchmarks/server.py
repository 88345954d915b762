"""A Track.co that accepts every request at once, and counts requests with their times, and lines."""

import json
import threading
import time
from bisect import bisect_right
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import TracebackType
from typing import Self


@dataclass
class CountingServer:
    """The server as a context manager, on loopback, in threads of this process. `arrivals`: monotonic seconds."""

    arrivals: list[float] = field(default_factory=list)
    lines: int = 0

    def __enter__(self) -> Self:
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), _handler(self))
        self._server.daemon_threads = True
        threading.Thread(target=self._server.serve_forever, daemon=True).start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        self._server.shutdown()
        self._server.server_close()

    @property
    def url(self) -> str:
        """The server's base address."""
        return f"http://127.0.0.1:{self._server.server_address[1]}"

    def forget(self) -> None:
        """Reset the counts."""
        self.arrivals, self.lines = [], 0

    def most_within(self, seconds: float) -> int:
        """Return the most requests that arrived within any period of `seconds`."""
        arrivals = sorted(self.arrivals)
        return max((bisect_right(arrivals, start + seconds) - index for index, start in enumerate(arrivals)), default=0)


def _handler(counts: CountingServer) -> type[BaseHTTPRequestHandler]:
    lock = threading.Lock()

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self) -> None:
            arrived = time.monotonic()
            body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            with lock:
                counts.arrivals.append(arrived)
                counts.lines += len(body["import_lines"])
                answer = json.dumps({"uuid": f"distribution-{len(counts.arrivals)}"}).encode()
            self.send_response(201)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(answer)))
            self.end_headers()
            self.wfile.write(answer)

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the name in the base class
            pass

    return Handler
