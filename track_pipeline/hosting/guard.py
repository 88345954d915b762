"""The guard in front of Dagster's web server: refuses requests that a page of another site made a browser send.

Dagster's server runs GraphQL mutations from a GET or from a form, and checks neither Host nor Origin. A browser sends
such a request for any page. It does not send JSON to another site without asking that site first, and says truly
where a request comes from; the rules below rest on these two facts. deploy/Caddyfile has the same rules.
"""

from collections.abc import Sequence
from typing import Final

from starlette.datastructures import Headers
from starlette.middleware import Middleware
from starlette.middleware.trustedhost import TrustedHostMiddleware
from starlette.responses import PlainTextResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send
from starlette.websockets import WebSocketClose

LOOPBACK_HOSTS: Final = ("127.0.0.1", "localhost", "[::1]", "::1")
# What a request must not begin with unless it comes from a page of ours: Dagster acts on what is sent there.
_ACTING: Final = ("/graphql", "/report_")
_READING: Final = ("GET", "HEAD")


def known_hosts(hosts: Sequence[str] = LOOPBACK_HOSTS) -> Middleware:
    """Middleware that refuses a request, with 400, unless its `Host` is one of `hosts` (names without ports).

    Another site can have its own name lead to this machine (DNS rebinding); the browser still sends that name.
    """
    return Middleware(TrustedHostMiddleware, allowed_hosts=list(hosts), www_redirect=False)


def refusal(scope: Scope) -> str | None:
    """Why an HTTP or websocket request is refused; None when it may pass.

    Args:
        scope: the ASGI scope of the request, of type `http` or `websocket`.
    """
    headers = Headers(scope=scope)
    secure = scope["scheme"] in ("https", "wss")
    own_origin = f"{'https' if secure else 'http'}://{headers.get('host', '')}"
    origins = headers.getlist("origin")
    if scope["type"] == "websocket":
        return None if origins == [own_origin] else "a websocket from another site"
    acting = scope["path"].startswith(_ACTING)
    if not acting and scope["method"] in _READING:
        return None
    if origins not in ([], [own_origin]) or headers.get("sec-fetch-site", "none") not in ("same-origin", "none"):
        return "a request from another site"
    media_type = headers.get("content-type", "").partition(";")[0].strip().lower()
    if not acting or scope["method"] != "POST" or media_type != "application/json":
        return "only POST with JSON, below /graphql and /report_"
    return None


class ForgeryGuard:
    """ASGI middleware: answers 403 where `refusal` has a reason; no other site may show a page in a frame."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Passes the request on, or answers it."""
        if scope["type"] not in ("http", "websocket"):
            await self._app(scope, receive, send)
        elif (reason := refusal(scope)) is None:
            await self._app(scope, receive, _without_frames(send))
        elif scope["type"] == "websocket":
            # Before it is accepted, closing a websocket is answering 403.
            await WebSocketClose(reason=reason)(scope, receive, send)
        else:
            await PlainTextResponse(f"Refused: {reason}.", 403)(scope, receive, send)


def _without_frames(send: Send) -> Send:
    async def sending(message: Message) -> None:
        if message["type"] == "http.response.start":
            message["headers"] = [*message.get("headers", ()), (b"x-frame-options", b"DENY")]
        await send(message)

    return sending
