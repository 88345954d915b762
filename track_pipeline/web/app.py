"""The web application: three GET addresses (`/`, `/healthz`, `/metrics`), answered from `sources`.

It listens on loopback by default and has no login; on any other address run it behind the proxy's login.
"""

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Final

import uvicorn
from jinja2 import Environment, FileSystemLoader, StrictUndefined
from prometheus_client import CONTENT_TYPE_PLAIN_0_0_4
from starlette.applications import Starlette
from starlette.datastructures import MutableHeaders
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import HTMLResponse, JSONResponse, PlainTextResponse, Response
from starlette.routing import Mount, Route
from starlette.staticfiles import StaticFiles
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from track_pipeline.hosting.guard import LOOPBACK_HOSTS, known_hosts
from track_pipeline.logs.redaction import told_of
from track_pipeline.runtime import LedgerRuntime
from track_pipeline.web.health import health
from track_pipeline.web.metrics import metrics
from track_pipeline.web.overview import COUNTS, overview
from track_pipeline.web.sources import Sources

_HERE: Final = Path(__file__).parent
_HEADERS: Final = {
    "Content-Security-Policy": (
        "default-src 'none'; style-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    ),
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cache-Control": "no-store",
}


def serve(runtime: LedgerRuntime, host: str, port: int, *, ui_url: str = "", hosts: Sequence[str] = ()) -> None:
    """Serve until interrupted, then close the runtime.

    Args:
        runtime: the installation.
        host: the address to listen on; requests may have it as their `Host`.
        port: the port to listen on.
        ui_url: the address of Dagster's web interface; when empty, the page has no links to it.
        hosts: more names that requests may have as their `Host`.
    """
    application = app(Sources(runtime), ui_url=ui_url, hosts=(*LOOPBACK_HOSTS, host, *hosts))
    uvicorn.run(application, host=host, port=port, log_level="warning", access_log=False, server_header=False)


def app(sources: Sources, *, ui_url: str = "", hosts: Sequence[str] = LOOPBACK_HOSTS) -> Starlette:
    """Return the application. It answers requests to `hosts` only, and closes the sources when it ends."""
    templates = Environment(
        loader=FileSystemLoader(_HERE / "templates"), autoescape=True, undefined=StrictUndefined, trim_blocks=True
    )
    page = templates.get_template("status.html")

    # Plain functions: Starlette runs them in threads, where they may wait for a database.
    def show(_request: Request) -> Response:
        return HTMLResponse(page.render(overview=overview(sources), counts=COUNTS, ui_url=ui_url.rstrip("/")))

    def healthz(_request: Request) -> Response:
        found = health(sources)
        return JSONResponse(found.as_json(), 200 if found.healthy else 503)

    def numbers(_request: Request) -> Response:
        try:
            return Response(metrics(sources), headers={"Content-Type": CONTENT_TYPE_PLAIN_0_0_4})
        except Exception as error:  # noqa: BLE001 - its text may quote a secret
            return PlainTextResponse(told_of(error), 503)

    @asynccontextmanager
    async def lifespan(_app: Starlette) -> AsyncIterator[None]:
        yield
        sources.close()

    routes = [
        Route("/", show),
        Route("/healthz", healthz),
        Route("/metrics", numbers),
        Mount("/static", StaticFiles(directory=_HERE / "static")),
    ]
    return Starlette(routes=routes, middleware=[Middleware(_SafeHeaders), known_hosts(hosts)], lifespan=lifespan)


class _SafeHeaders:
    """ASGI middleware: adds the headers to every response (no script, no frame, no cache)."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        async def send_with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                MutableHeaders(scope=message).update(_HEADERS)
            await send(message)

        await self._app(scope, receive, send_with_headers)
