"""No page of another site can act in Dagster: the same attacks on the guard and on the proxy, over real HTTP.

`test_browser.py` tries them with a real Chromium on `track ui` and through the proxy.
"""

import http.client
import ssl
import sys
import threading
from base64 import b64encode
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from time import monotonic, sleep

import pytest
import uvicorn
from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import PlainTextResponse
from starlette.routing import Route, WebSocketRoute
from starlette.websockets import WebSocket

from track_pipeline.hosting.guard import ForgeryGuard, known_hosts
from track_pipeline_tests.support.proxy import PASSWORD, USER, proxy, upstream

METHODS = ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE"]
UPGRADE = {
    "Connection": "Upgrade",
    "Upgrade": "websocket",
    "Sec-WebSocket-Version": "13",
    "Sec-WebSocket-Key": "AAAAAAAAAAAAAAAAAAAAAA==",
    "Sec-WebSocket-Protocol": "graphql-ws",
}
JSON = {"Content-Type": "application/json"}
MUTATION = "/graphql?query=mutation%7BsetConcurrencyLimit%7D"


@dataclass
class Server:
    """A guarded server: how it is reached, and what came through the guard."""

    port: int
    asked: list[str]
    headers: dict[str, str] = field(default_factory=dict)
    trust: ssl.SSLContext | None = None

    @property
    def origin(self) -> str:
        return f"{'https' if self.trust else 'http'}://127.0.0.1:{self.port}"

    def send(self, method: str, path: str, headers: dict[str, str]) -> int:
        """The status that a request gets; `own` as Origin stands for the server's own."""
        sent = {"Host": f"127.0.0.1:{self.port}"} | self.headers | headers
        if sent.get("Origin") == "own":
            sent["Origin"] = self.origin
        connection = (
            http.client.HTTPSConnection("127.0.0.1", self.port, timeout=20, context=self.trust)
            if self.trust
            else http.client.HTTPConnection("127.0.0.1", self.port, timeout=20)
        )
        try:
            connection.putrequest(method, path, skip_host=True, skip_accept_encoding=True)
            body = b"{}" if method not in ("GET", "HEAD") else b""
            if body:
                sent["Content-Length"] = str(len(body))
            for name, value in sent.items():
                connection.putheader(name, value)
            connection.endheaders(body)
            return connection.getresponse().status
        finally:
            connection.close()


@contextmanager
def guarded_server() -> Iterator[Server]:
    asked: list[str] = []

    async def answer(request: Request) -> PlainTextResponse:
        asked.append(f"{request.method} {request.url.path}")
        return PlainTextResponse("here")

    async def accept(socket: WebSocket) -> None:
        asked.append(f"GET {socket.url.path}")
        await socket.accept()
        await socket.close()

    routes = [WebSocketRoute("/{path:path}", accept), Route("/{path:path}", answer, methods=METHODS)]
    app = Starlette(routes=routes, middleware=[known_hosts(), Middleware(ForgeryGuard)])
    server = uvicorn.Server(uvicorn.Config(app, port=0, log_level="error"))
    thread = threading.Thread(target=server.run, daemon=True)
    thread.start()
    deadline = monotonic() + 20
    while not server.started and monotonic() < deadline:
        sleep(0.01)
    yield Server(server.servers[0].sockets[0].getsockname()[1], asked)
    server.should_exit = True
    thread.join(10)


@contextmanager
def proxied_server(folder: Path) -> Iterator[Server]:
    login = {"Authorization": "Basic " + b64encode(f"{USER}:{PASSWORD}".encode()).decode()}
    with upstream() as behind, proxy(folder, behind.port, behind.port) as running:
        yield Server(running.port, behind.asked, login, running.trust)


@pytest.fixture(scope="module", params=["track ui", "proxy"])
def server(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    if request.param == "proxy" and sys.platform == "win32":
        pytest.skip("this wheel of Caddy is not for Windows")
    made = guarded_server() if request.param == "track ui" else proxied_server(tmp_path_factory.mktemp("proxy"))
    with made as server:
        yield server


@pytest.mark.parametrize(
    ("method", "path", "headers"),
    [
        # An image, a link, a redirect, a style sheet: a GET with whatever a browser says of it.
        ("GET", MUTATION, {}),
        ("GET", MUTATION, {"Accept": "text/html"}),
        ("GET", MUTATION, {"Sec-Fetch-Site": "cross-site", "Sec-Fetch-Dest": "image"}),
        ("GET", MUTATION, {"Sec-Fetch-Site": "none"}),
        ("GET", MUTATION, {"Origin": "own"}),
        ("GET", MUTATION, JSON),
        ("GET", MUTATION.replace("graphql", "%67raphql"), {}),
        ("GET", MUTATION.replace("graphql", "graphql/"), {}),
        ("HEAD", MUTATION, {}),
        # A form: POST with one of the three types that need no leave.
        ("POST", MUTATION, {"Content-Type": "application/x-www-form-urlencoded"}),
        ("POST", MUTATION, {"Content-Type": "multipart/form-data; boundary=x"}),
        ("POST", MUTATION, {"Content-Type": "text/plain"}),
        ("POST", MUTATION, {}),
        ("POST", "/graphql", {"Content-Type": "application/graphql"}),
        ("POST", "/graphql", {"Content-Type": "text/plain; application/json"}),
        ("POST", "/graphql", {"Content-Type": "text/plain;application/json", "Origin": "own"}),
        ("POST", "/graphql", {"Content-Type": "application/jsonp"}),
        # JSON, but from elsewhere.
        ("POST", "/graphql", JSON | {"Origin": "https://elsewhere.example"}),
        ("POST", "/graphql", JSON | {"Origin": "null"}),
        ("POST", "/graphql", JSON | {"Origin": "http://127.0.0.1:1"}),
        ("POST", "/graphql", JSON | {"Origin": "own", "Sec-Fetch-Site": "cross-site"}),
        ("POST", "/graphql", JSON | {"Sec-Fetch-Site": "cross-site"}),
        ("POST", "/graphql", JSON | {"Sec-Fetch-Site": "same-site"}),
        # What Dagster lets others report.
        ("POST", "/report_asset_materialization/extract", {}),
        ("POST", "/report_asset_check/extract?check_name=x", {"Content-Type": "text/plain"}),
        ("POST", "/report_asset_observation/extract", JSON | {"Origin": "https://elsewhere.example"}),
        ("GET", "/report_asset_materialization/extract", {}),
        # Other methods and other places.
        ("PUT", "/graphql", JSON),
        ("DELETE", "/graphql", JSON),
        ("POST", "/", JSON),
        ("POST", "/runs", {"Content-Type": "text/plain"}),
        # Websockets.
        ("GET", "/graphql", UPGRADE),
        ("GET", "/graphql", UPGRADE | {"Origin": "https://elsewhere.example"}),
        ("GET", "/graphql", UPGRADE | {"Origin": "null"}),
        ("GET", "/graphql", UPGRADE | {"Origin": "http://127.0.0.1"}),
    ],
)
def test_what_another_site_can_make_a_browser_send_is_refused(
    server: Server, method: str, path: str, headers: dict[str, str]
) -> None:
    server.asked.clear()
    assert server.send(method, path, headers) == 403
    assert server.asked == []


@pytest.mark.parametrize(
    ("method", "path", "headers", "status"),
    [
        ("GET", "/", {}, 200),
        ("HEAD", "/server_info", {}, 200),
        # A link to a run in an e-mail, from a mailbox on the web.
        ("GET", "/runs/1?tab=logs", {"Sec-Fetch-Site": "cross-site", "Sec-Fetch-Mode": "navigate"}, 200),
        ("GET", "/_next/static/main.js", {"Origin": "own", "Sec-Fetch-Site": "same-origin"}, 200),
        ("POST", "/graphql", JSON | {"Origin": "own", "Sec-Fetch-Site": "same-origin"}, 200),
        ("POST", "/graphql?op=Assets", {"Content-Type": "Application/JSON; charset=utf-8", "Origin": "own"}, 200),
        # A program on this machine, which no page drives.
        ("POST", "/graphql", JSON, 200),
        ("POST", "/report_asset_materialization/extract", JSON, 200),
        ("GET", "/graphql", UPGRADE | {"Origin": "own"}, 101),
    ],
)
def test_what_our_own_pages_and_programs_send_arrives(
    server: Server, method: str, path: str, headers: dict[str, str], status: int
) -> None:
    server.asked.clear()
    assert server.send(method, path, headers) == status
    assert [each.partition("?")[0] for each in server.asked] == [f"{method} {path.partition('?')[0]}"]


@pytest.mark.parametrize(
    "host",
    ["elsewhere.example", "127.0.0.1.elsewhere.example", "127.0.0.1@elsewhere.example", "localhost.", "", "[::2]"],
)
def test_a_name_that_was_made_to_lead_here_is_refused(host: str) -> None:
    with guarded_server() as server:
        own = {"Host": f"{host}:{server.port}", "Origin": f"http://{host}:{server.port}"}
        assert server.send("POST", "/graphql", JSON | own) == 400
        assert server.send("GET", "/", own) == 400
        assert server.send("GET", "/graphql", UPGRADE | own) == 400
        assert server.asked == []


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost", "LOCALHOST", "[::1]"])
def test_the_names_of_this_machine_are_known_with_and_without_a_port(host: str) -> None:
    with guarded_server() as server:
        assert server.send("GET", "/", {"Host": host}) == 200
        assert server.send("GET", "/", {"Host": f"{host}:{server.port}"}) == 200
