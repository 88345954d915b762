"""One request to Track.co: what became of it, whether it may be made again, and that nothing private is told of it.

Whether somebody may be sent to again is decided by the ledger; here is only said what became of the request:

| seen                                                            | raised                     | tried again |
|-----------------------------------------------------------------|----------------------------|-------------|
| not a byte of the body left: refused, DNS, time-out, TLS, reset | NotSent `unreachable`      | yes         |
| no room in the request budget                                   | NotSent `budget`           | no          |
| 429 or 503 with Retry-After                                     | NotSent `busy`             | yes         |
| 401, 403                                                        | Stopped `token_refused`    | no          |
| 405 (the throttle; only a captcha lifts it)                     | Stopped `throttled`        | no          |
| 400, 404, 409                                                   | Refused `http_<status>`    | no          |
| 413, 422                                                        | RefusedInPart, likewise    | no          |
| any other status; lost or timed out after the body left         | Unknown                    | never       |

A GET has no body and contacts nobody: a lost connection is `unreachable`, 429 and 5xx are tried again, and what would
be Unknown is NotSent.
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

# ValueError and HTTPError: what urllib3 and requests let through of a malformed answer.
_TRANSPORT_ERRORS: Final = (OSError, HTTPError, ValueError)

# The budget's window is kept longer by more than this (`budget`): a turn used late is still counted in time.
_TURN_LASTS: Final = 2.0

logger = logging.getLogger(__name__)


_TOKEN = (Stopped, "token_refused", "nothing was sent, Track.co refused the token. Renew API_TOKEN, then resume")
_REJECTED = "nobody was contacted, Track.co rejected the whole request. Check survey and templates there and here"
_REJECTED_GET = "Track.co rejected the request. Check its path and parameters (those of answers are in track_api.toml)"

# Statuses that say for certain that nothing was processed: the failure, its reason, what to do.
_CERTAIN: Final[Mapping[int | None, tuple[type[SendFailure], str, str]]] = {
    401: _TOKEN,
    403: _TOKEN,
    405: (Stopped, "throttled", "nothing was sent, Track.co throttles. Solve its captcha in a browser, then resume"),
    **{status: (Refused, f"http_{status}", _REJECTED) for status in (400, 404, 409)},
    **{status: (RefusedInPart, f"http_{status}", _REJECTED) for status in (413, 422)},
}
_SUCCESS: Final = range(200, 300)
_BUSY: Final = (429, 503)
_PASSING: Final = (429, *range(500, 600))


# --- the connection -------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Patience:
    """How long to wait for what, in seconds; `waiting` is the sum of all pauses between `attempts`.

    `turn` is a whole window of the request budget: after it there is room, unless more requests than fill one wait.
    `budget` is for requests that were not waited for in time; what they carry must not grow old.
    """

    connect: float = 5.0
    read: float = 60.0
    turn: float = 310.0
    budget: float = 30.0
    attempts: int = 4
    waiting: float = 120.0


@dataclass(frozen=True)
class Call:
    """One request. `what` names it in log and errors; it, `path` and `query` hold nothing of a patient."""

    method: Literal["GET", "POST"]
    path: str
    what: str
    body: Mapping[str, object] | None = field(default=None, repr=False)
    query: Mapping[str, str | int] | None = None


@dataclass(frozen=True)
class _Outcome:
    """What one attempt came to: a status with its content, or a fault; `left` once the body began to leave."""

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
    """A request body that remembers whether any of it was handed to the connection.

    The exceptions of requests and urllib3 do not tell a connection that was never made (TLS and its time-outs above
    all) from one lost after sending; this does, and without the body no server can process the lines.
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

    Proxies, `.netrc` and redirects are not followed. Raises ConfigError for an address that is neither https nor
    loopback, for any that is not loopback when `require_loopback` (the demo), and for a malformed token.
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
        sleep: Callable[[float], None] = time.sleep,
        clock: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        _check_address(base_url, require_loopback=require_loopback)
        if not organization:
            raise ConfigError("ORGANIZATION_UUID is empty; it is shown in Track.co's settings")
        # Also because requests would quote a malformed header, token and all, in its error.
        if not re.fullmatch(r"[!-~]+", token):
            raise ConfigError("API_TOKEN is empty or holds characters that no token has (a space, a line break)")
        self._base = base_url.rstrip("/")
        self.organization = organization
        self._budget = budget
        self._patience = patience or Patience()
        self._sleep = sleep
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
        """Closes the pooled connections."""
        self._session.close()

    def await_turn(self) -> None:
        """Waits until the next request may be made, so that what it carries can be settled on just before it.

        Raises NotSent `budget`. The turn is taken, and lasts two seconds.
        """
        if time.monotonic() < self._turn_until:
            return
        if not self._budget.acquire(self._patience.turn):
            raise _no_room("the next request")
        self._turn_until = time.monotonic() + _TURN_LASTS

    def exchange(self, call: Call) -> bytes:
        """The content of a 2xx answer, after as many attempts as are safe. Raises a SendFailure."""
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
            self._sleep(pause)
            attempt, waited = attempt + 1, waited + pause

    def _may_go(self, call: Call) -> bool:
        has_turn, self._turn_until = time.monotonic() < self._turn_until, 0.0
        # Who only reads carries nothing that could grow old.
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
                # Of a GET the content is all that counts: one that breaks off is a lost connection.
                content = response.content if body is None and status in _SUCCESS else _content(response)
                outcome = _Outcome(left=True, status=status, retry_after=retry_after, content=content)
        except _TRANSPORT_ERRORS as error:
            # Kept as a word: the library's own text holds the address and may hold the answer.
            fault: Literal["timeout", "connection_lost"] = (
                "timeout" if isinstance(error, requests.Timeout) else "connection_lost"
            )
            outcome = _Outcome(left=body is not None and body.left, fault=fault)
        elapsed = (time.monotonic() - started) * 1000
        logger.info("Track.co %s: %s in %.0f ms", call.what, outcome.status or outcome.reason, elapsed)
        return outcome

    def _retry_after(self, value: str | None) -> float | None:
        """Seconds of a Retry-After header, which is a number of them or a date; None for anything else."""
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
    # urllib3's own parser, because it is the one that decides where the connection goes.
    try:
        url = parse_url(base_url)
    except LocationParseError:
        raise ConfigError("TRACK_API_URL is not an address") from None
    if url.scheme not in ("http", "https") or not url.host or url.auth or url.query or url.fragment:
        raise ConfigError("TRACK_API_URL has to be https://host, without user, query or fragment")
    loopback = _is_loopback(url.host)
    if require_loopback and not loopback:
        raise ConfigError(f"TRACK_API_URL names {url.host}; in demo only a server on this machine is accepted")
    if url.scheme != "https" and not loopback:
        raise ConfigError("TRACK_API_URL has to be https: the token and patients' contacts go through it")


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return host == "localhost"


def _content(response: requests.Response) -> bytes:
    """The content; nothing when it breaks off, for the status alone already says what became of the request."""
    try:
        return response.content
    except _TRANSPORT_ERRORS:
        return b""


def _no_room(what: str) -> NotSent:
    return NotSent("budget", f"{what}: no room in the request budget; nothing was sent, it goes later")


def _pause(call: Call, outcome: _Outcome, attempt: int) -> float | None:
    """Seconds after which the request may be made again; None when it may not."""
    jitter = random.uniform(0.5, 1.0)  # noqa: S311 - spreads attempts, protects nothing
    if outcome.busy:
        return (outcome.retry_after or 0.0) + jitter
    if not outcome.left or (call.method == "GET" and outcome.status in _PASSING):
        return jitter * 2.0 ** (attempt - 1)
    return None


def _failure(call: Call, outcome: _Outcome) -> SendFailure:
    """The failure that an attempt came to, by the table of this module's docstring."""
    kind: type[SendFailure]
    if not outcome.left:
        kind, reason, text = NotSent, "unreachable", "nothing was sent, Track.co cannot be reached. Check the network"
    elif outcome.busy:
        kind, reason, text = NotSent, "busy", "nothing was sent, Track.co is busy and asked to wait. It goes later"
    elif outcome.status in _CERTAIN:
        kind, reason, text = _CERTAIN[outcome.status]
        text = _REJECTED_GET if issubclass(kind, Refused) and call.method == "GET" else text
    elif call.method == "GET":
        kind, reason, text = NotSent, outcome.reason, "Track.co did not deliver it. Try again later"
    else:
        kind, reason = Unknown, outcome.reason
        text = "sent but not confirmed, and not sent again. Look in Track.co, then use `track resolve`"
    return kind(reason, f"{call.what}: {text} ({outcome.reason})")


# --- what may be made of an answer ----------------------------------------------------------------------------------


def json_of(content: bytes) -> object:
    """The JSON of an answer; None when it is none."""
    try:
        document: object = json.loads(content)
    except (ValueError, RecursionError):
        return None
    return document


def slug(word: object, *, default: str) -> str:
    """A word of Track.co's that may be kept and shown, never a sentence that could quote a patient's data."""
    return word if isinstance(word, str) and re.fullmatch(r"[a-z_]{1,40}", word) else default
