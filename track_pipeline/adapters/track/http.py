"""Makes one request to Track.co: classifies its outcome, retries when that is safe, and logs no private data.

The ledger decides whether a line may be sent again; this module only reports the outcome of the request:

| outcome                                                         | raised                     | retried     |
|-----------------------------------------------------------------|----------------------------|-------------|
| not a byte of the body left: refused, DNS, time-out, TLS, reset | NotSent `unreachable`      | yes         |
| no room in the request budget                                   | NotSent `budget`           | no          |
| 429 or 503 with Retry-After                                     | NotSent `busy`             | yes         |
| 401, 403                                                        | Stopped `token_refused`    | no          |
| 405 (the throttle; only a captcha lifts it)                     | Stopped `throttled`        | no          |
| 400, 404, 409                                                   | Refused `http_<status>`    | no          |
| 413, 422                                                        | RefusedInPart, likewise    | no          |
| any other status; lost or timed out after the body left         | Unknown                    | never       |

A GET has no body and contacts no one: a lost connection is `unreachable`, 429 and 5xx are retried, and every outcome
that would be Unknown is NotSent.
"""

import ipaddress
import json
import logging
import random
import re
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Final, Literal

import requests
from urllib3.exceptions import HTTPError, LocationParseError
from urllib3.util import parse_url

from track_pipeline.errors import ConfigError
from track_pipeline.ports import Budget, NotSent, Refused, RefusedInPart, SendFailure, Stopped, Unknown

# ValueError and HTTPError: urllib3 and requests pass them on when a response is malformed.
_TRANSPORT_ERRORS: Final = (OSError, HTTPError, ValueError)

# The budget extends its window by more than this (`_SLACK` in `budget`), so a turn that is used late still counts.
_TURN_LASTS: Final = 2.0

logger = logging.getLogger(__name__)


_TOKEN = (Stopped, "token_refused", "nothing was sent: Track.co refused the token. Set a valid API_TOKEN, then resume")
_REJECTED = (
    "no one was contacted: Track.co rejected the whole request. "
    "Check survey and templates in Track.co and in TRACK_SURVEYS_FILE"
)
_REJECTED_GET = "Track.co rejected the request. Check its path and parameters (for answers: track_api.toml)"

# Statuses that prove that nothing was processed: the failure, its reason, the text with the next step.
_CERTAIN: Final[Mapping[int | None, tuple[type[SendFailure], str, str]]] = {
    401: _TOKEN,
    403: _TOKEN,
    405: (Stopped, "throttled", "nothing was sent: Track.co throttles. Solve its captcha in a browser, then resume"),
    **{status: (Refused, f"http_{status}", _REJECTED) for status in (400, 404, 409)},
    **{status: (RefusedInPart, f"http_{status}", _REJECTED) for status in (413, 422)},
}
_SUCCESS: Final = range(200, 300)
_BUSY: Final = (429, 503)
_PASSING: Final = (429, *range(500, 600))


# --- the connection -------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Patience:
    """Time limits in seconds, and the number of `attempts`; `waiting` limits the sum of the pauses between them.

    `turn` is a whole window of the request budget: after it there is room, unless more requests wait than fit in one.
    `budget` is for POST requests without a turn: it is short, so that the data they carry stays current.
    """

    connect: float = 5.0
    read: float = 60.0
    turn: float = 310.0
    budget: float = 30.0
    attempts: int = 4
    waiting: float = 120.0
    sleep: Callable[[float], None] = time.sleep


@dataclass(frozen=True)
class Call:
    """One request. `what` names it in log and errors; `what`, `path` and `query` hold no patient data."""

    method: Literal["GET", "POST"]
    path: str
    what: str
    body: Mapping[str, object] | None = field(default=None, repr=False)
    query: Mapping[str, str | int] | None = None


@dataclass(frozen=True)
class _Outcome:
    """The outcome of one attempt: a status with its content, or a fault; `left` if sending the body had begun."""

    left: bool
    status: int | None = None
    fault: Literal["timeout", "connection_lost"] = "connection_lost"
    retry_after: float | None = None
    content: bytes = field(default=b"", repr=False)

    @property
    def accepted(self) -> bool:
        return self.status in _SUCCESS

    @property
    def busy(self) -> bool:
        return self.status in _BUSY and self.retry_after is not None

    @property
    def reason(self) -> str:
        return self.fault if self.status is None else f"http_{self.status}"


class _Body:
    """A request body that records whether the connection began to send it (`left`).

    The exceptions of requests and urllib3 do not distinguish a connection that was never made (above all in TLS and
    its time-outs) from one lost after sending. `left` does: without the body, no server can process the lines.
    """

    def __init__(self, content: bytes) -> None:
        self._content = content
        self.left = False

    def __len__(self) -> int:
        return len(self._content)

    def __iter__(self) -> Iterator[bytes]:
        self.left = True
        yield self._content


class TrackHttp:
    """Requests to Track.co over HTTPS, for one organisation; one instance keeps one pool of connections.

    Proxies, `.netrc` and redirects are not used. Raises ConfigError for an address that is neither https nor
    loopback, for a non-loopback address when `require_loopback` (the demo), for an empty organisation, and for a
    malformed token.
    """

    def __init__(
        self,
        base_url: str,
        organization: str,
        token: str,
        *,
        budget: Budget,
        patience: Patience | None = None,
        require_loopback: bool = False,
        clock: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        _check_address(base_url, require_loopback=require_loopback)
        if not organization:
            raise ConfigError("ORGANIZATION_UUID is empty; copy it from Track.co's settings")
        # Checked here also because requests would quote a malformed header, with the token, in its error.
        if not re.fullmatch(r"[!-~]+", token):
            raise ConfigError("API_TOKEN is empty or holds an invalid character (a space, a line break); set it again")
        self._base = base_url.rstrip("/")
        self.organization = organization
        self._budget = budget
        self._patience = patience or Patience()
        self._clock = clock
        self._turn_until = 0.0
        self._session = requests.Session()
        self._session.trust_env = False
        self._session.headers.update(
            {"Authorization": f"Bearer {token}", "Accept": "application/json", "User-Agent": "track-pipeline"}
        )

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self._base!r})"

    def close(self) -> None:
        """Close the pooled connections."""
        self._session.close()

    def await_turn(self) -> None:
        """Wait until the next request may be made, so that its lines can be claimed immediately before it.

        Raises NotSent `budget`. The turn is taken from the budget and lasts two seconds.
        """
        if time.monotonic() < self._turn_until:
            return
        if not self._budget.acquire(self._patience.turn):
            raise _no_room("the next request")
        self._turn_until = time.monotonic() + _TURN_LASTS

    def exchange(self, call: Call) -> bytes:
        """Make a request, with retries where they are safe, and return the 2xx content. Raises a SendFailure."""
        attempt, waited = 1, 0.0
        while True:
            if not self._may_go(call):
                raise _no_room(call.what)
            outcome = self._attempt(call)
            if outcome.accepted:
                return outcome.content
            pause = _pause(call, outcome, attempt)
            if pause is None or attempt == self._patience.attempts or waited + pause > self._patience.waiting:
                raise _failure(call, outcome)
            self._patience.sleep(pause)
            attempt, waited = attempt + 1, waited + pause

    def _may_go(self, call: Call) -> bool:
        has_turn, self._turn_until = time.monotonic() < self._turn_until, 0.0
        # A GET carries no lines that could become outdated, so it may wait for a whole window.
        return has_turn or self._budget.acquire(self._patience.turn if call.method == "GET" else self._patience.budget)

    def _attempt(self, call: Call) -> _Outcome:
        body = None if call.body is None else _Body(json.dumps(call.body, allow_nan=False).encode())
        started = time.monotonic()
        try:
            with self._session.request(
                call.method,
                f"{self._base}{call.path}",
                params=call.query,
                data=body,
                headers={"Content-Type": "application/json"} if body else None,
                timeout=(self._patience.connect, self._patience.read),
                allow_redirects=False,
                stream=True,
            ) as response:
                status = response.status_code
                retry_after = self._retry_after(response.headers.get("Retry-After"))
                # A GET needs its whole content: a truncated response counts as a lost connection.
                content = response.content if body is None and status in _SUCCESS else _content(response)
                outcome = _Outcome(left=True, status=status, retry_after=retry_after, content=content)
        except _TRANSPORT_ERRORS as error:
            # Only the kind of fault is kept: the library's text holds the address and may hold the response.
            fault: Literal["timeout", "connection_lost"] = (
                "timeout" if isinstance(error, requests.Timeout) else "connection_lost"
            )
            outcome = _Outcome(left=body is not None and body.left, fault=fault)
        elapsed = (time.monotonic() - started) * 1000
        logger.info("Track.co %s: %s in %.0f ms", call.what, outcome.status or outcome.reason, elapsed)
        return outcome

    def _retry_after(self, value: str | None) -> float | None:
        """Return the seconds of a Retry-After header, given as a number or a date; None for any other value."""
        if value is None:
            return None
        if re.fullmatch(r"\d{1,9}", value.strip()):
            return float(value)
        try:
            moment = parsedate_to_datetime(value)
            moment = moment if moment.tzinfo else moment.replace(tzinfo=UTC)
            return max(0.0, (moment - self._clock()).total_seconds())
        except (ValueError, OverflowError):
            return None


def _check_address(base_url: str, *, require_loopback: bool) -> None:
    # urllib3's parser, because urllib3 decides where the connection goes.
    try:
        url = parse_url(base_url)
    except LocationParseError:
        raise ConfigError("TRACK_API_URL is not an address; set it to https://host") from None
    if url.scheme not in ("http", "https") or not url.host or url.auth or url.query or url.fragment:
        raise ConfigError("TRACK_API_URL must be https://host, without user, query or fragment")
    loopback = _is_loopback(url.host)
    if require_loopback and not loopback:
        raise ConfigError(f"TRACK_API_URL names {url.host}; in demo only a server on this machine is accepted")
    if url.scheme != "https" and not loopback:
        raise ConfigError("TRACK_API_URL must be https: it carries the token and patients' contacts")


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return host == "localhost"


def _content(response: requests.Response) -> bytes:
    """Return the content; empty when it is truncated, because the status alone decides the outcome."""
    try:
        return response.content
    except _TRANSPORT_ERRORS:
        return b""


def _no_room(what: str) -> NotSent:
    return NotSent("budget", f"{what}: no room in the request budget; nothing was sent, a later run sends it")


def _pause(call: Call, outcome: _Outcome, attempt: int) -> float | None:
    """Return the seconds after which the request may be retried; None when it may not."""
    jitter = random.uniform(0.5, 1.0)  # noqa: S311 - spreads attempts; not for security
    if outcome.busy:
        return (outcome.retry_after or 0.0) + jitter
    if not outcome.left or (call.method == "GET" and outcome.status in _PASSING):
        return jitter * 2.0 ** (attempt - 1)
    return None


def _failure(call: Call, outcome: _Outcome) -> SendFailure:
    """Return the failure of an attempt, by the table in the module docstring."""
    kind: type[SendFailure]
    if not outcome.left:
        kind, reason, text = NotSent, "unreachable", "nothing was sent: Track.co cannot be reached. Check the network"
    elif outcome.busy:
        kind, reason, text = (
            NotSent,
            "busy",
            "nothing was sent: Track.co is busy and asked to wait. A later run sends",
        )
    elif outcome.status in _CERTAIN:
        kind, reason, text = _CERTAIN[outcome.status]
        text = _REJECTED_GET if issubclass(kind, Refused) and call.method == "GET" else text
    elif call.method == "GET":
        kind, reason, text = NotSent, outcome.reason, "Track.co did not return it. Run it again later"
    else:
        kind, reason = Unknown, outcome.reason
        text = "sent but not confirmed, and not sent again. Look it up in Track.co, then use `track resolve`"
    return kind(reason, f"{call.what}: {text} ({outcome.reason})")


# --- reading responses ----------------------------------------------------------------------------------------------


def json_of(content: bytes) -> object:
    """Return the JSON of a response; None when it is not JSON."""
    try:
        document: object = json.loads(content)
    except (ValueError, RecursionError):
        return None
    return document


def slug(word: object, *, default: str) -> str:
    """Return a word of Track.co if it is a plain slug, else `default`: a sentence could quote a patient's data."""
    return word if isinstance(word, str) and re.fullmatch(r"[a-z_]{1,40}", word) else default
