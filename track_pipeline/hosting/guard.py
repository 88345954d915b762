"""The guard in front of Dagster's web server: refuses requests that a page of another site makes a browser send.

Dagster's server runs GraphQL mutations from a GET or from a form, and checks neither Host nor Origin. A browser sends
such requests for any page. The rules use two facts: a browser sends JSON to another site only after asking that site,
and it states correctly from which site a request comes. deploy/Caddyfile has the same rules.
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
# Dagster acts on requests to paths that begin so; they must come from its own pages.
_ACTING: Final = ("/graphql", "/report_")
_READING: Final = ("GET", "HEAD")


def known_hosts(hosts: Sequence[str] = LOOPBACK_HOSTS) -> Middleware:
    """Middleware that refuses a request, with 400, unless its `Host` is one of `hosts` (names without ports).

    A page of another site can make its own name resolve to this machine (DNS rebinding). The browser still sends
    that name as `Host`.
    """
    return Middleware(TrustedHostMiddleware, allowed_hosts=list(hosts), www_redirect=False)


def refusal(scope: Scope) -> str | None:
    """Return why an HTTP or websocket request is refused; None when it may pass.

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
    """ASGI middleware: answers 403 when `refusal` returns a reason, and forbids other sites to frame the pages."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass the request on, or refuse it with 403."""
        if scope["type"] not in ("http", "websocket"):
            await self._app(scope, receive, send)
        elif (reason := refusal(scope)) is None:
            await self._app(scope, receive, _without_frames(send))
        elif scope["type"] == "websocket":
            # Closing a websocket before it is accepted answers 403.
            await WebSocketClose(reason=reason)(scope, receive, send)
        else:
            await PlainTextResponse(f"Refused: {reason}.", 403)(scope, receive, send)


def _without_frames(send: Send) -> Send:
    async def sending(message: Message) -> None:
        if message["type"] == "http.response.start":
            message["headers"] = [*message.get("headers", ()), (b"x-frame-options", b"DENY")]
        await send(message)

    return sending
