"""Track.co's API: the requests this project makes, what it reads of the answers, and what a failure means.

The bodies are those of the public copy of the API's documentation and of the original system. Whether somebody may
be sent to again is decided by the ledger; here is only said, for every failure, what became of the request:

| seen                                                            | raised                     | tried again |
|-----------------------------------------------------------------|----------------------------|-------------|
| not a byte of the body left: refused, DNS, time-out, TLS, reset | NotSent `unreachable`      | yes         |
| no room in the request budget                                   | NotSent `budget`           | no          |
| 429 or 503 with Retry-After                                     | NotSent `busy`             | yes         |
| 401, 403                                                        | Stopped `token_refused`    | no          |
| 405 (the throttle; only a captcha lifts it)                     | Stopped `throttled`        | no          |
| 400, 404, 409, 413, 422                                         | Refused `http_<status>`    | no          |
| any other status; lost or timed out after the body left         | Unknown                    | never       |

A GET has no body and contacts nobody: a lost connection is `unreachable`, 429 and 5xx are tried again, and what would
be Unknown is NotSent.
"""

import ipaddress
import itertools
import json
import logging
import random
import re
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Final, Literal, Protocol
from urllib.parse import quote

import requests
from urllib3.exceptions import HTTPError, LocationParseError
from urllib3.util import parse_url

from track_pipeline.errors import ConfigError, TrackPipelineError

SendChannel = Literal["email", "whatsapp"]
# One recipient: flat, JSON scalars only, and always with `send_id`.
Line = Mapping[str, str | int | float | bool | None]

SURVEYS_PER_PAGE: Final = 100

# ValueError and HTTPError: what urllib3 and requests let through of a malformed answer.
_TRANSPORT_ERRORS: Final = (OSError, HTTPError, ValueError)

logger = logging.getLogger(__name__)


# --- requests -------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class WhatsAppTemplate:
    """A registered WhatsApp template; `variables` are attribute paths in the order of its placeholders."""

    name: str
    language: str
    variables: tuple[str, ...]
    id_provider: str

    def body(self) -> dict[str, object]:
        """The object as Track.co takes it."""
        return {
            "name": self.name,
            "language": self.language,
            "variables": list(self.variables),
            "id_provider": self.id_provider,
        }


@dataclass(frozen=True)
class Distribution:
    """One sending: every line is a recipient, on one channel, about one survey.

    Instants are aware. Raises ConfigError when the parts do not fit together; nothing can be sent then.
    """

    survey_uuid: str
    channel: SendChannel
    lines: tuple[Line, ...] = field(repr=False)
    validity_at: datetime
    template_invite_hash: str | None = None
    template_expired_hash: str | None = None
    template_thanks_hash: str | None = None
    whatsapp_template: WhatsAppTemplate | None = None
    whatsapp_integration_uuid: str | None = None
    reminder_at: datetime | None = None
    reminder_channel: SendChannel | None = None
    whatsapp_reminder_template: WhatsAppTemplate | None = None

    def __post_init__(self) -> None:
        """Refuses what Track.co would answer with an error, or worse, take."""
        problem = next((text for wrong, text in self._checks() if wrong), None)
        if problem is not None:
            raise ConfigError(f"survey {self.survey_uuid}, {self.channel}: {problem}; nothing was sent")

    def _checks(self) -> Iterator[tuple[bool, str]]:
        templates = self.whatsapp_template or self.whatsapp_reminder_template
        yield _unnamed(self.lines), _UNNAMED
        yield self.channel == "whatsapp" and self.whatsapp_template is None, "WhatsApp needs its template"
        yield templates is not None and not self.whatsapp_integration_uuid, "a template needs the WhatsApp integration"
        yield (self.reminder_at is None) != (self.reminder_channel is None), "a reminder needs an instant and a channel"
        yield (
            (self.reminder_channel == "whatsapp") != (self.whatsapp_reminder_template is not None),
            "a reminder by WhatsApp needs its template, and no other reminder has one",
        )
        instants = [instant for instant in (self.reminder_at, self.validity_at) if instant is not None]
        yield any(instant.tzinfo is None for instant in instants), "an instant without a time zone"
        yield instants != sorted(instants), "the reminder comes after the end of the survey's validity"

    def body(self) -> dict[str, object]:
        """The request body. What is not set is absent, never null; instants are epoch seconds."""
        optional = {
            "template_invite_hash": self.template_invite_hash,
            "template_expired_hash": self.template_expired_hash,
            "template_thanks_hash": self.template_thanks_hash,
            "whatsapp_template": self.whatsapp_template and self.whatsapp_template.body(),
            "whatsapp_integration_uuid": self.whatsapp_integration_uuid,
            "reminder_at": self.reminder_at and int(self.reminder_at.timestamp()),
            "reminder_channel": self.reminder_channel,
            "whatsapp_reminder_template": self.whatsapp_reminder_template and self.whatsapp_reminder_template.body(),
        }
        return {
            "survey_uuid": self.survey_uuid,
            "distribution_channel": self.channel,
            "import_lines": [dict(line) for line in self.lines],
            "validity_at": int(self.validity_at.timestamp()),
            **{key: value for key, value in optional.items() if value is not None},
        }


@dataclass(frozen=True)
class LinkList:
    """A request for one personal link per line; Track.co sends nothing."""

    survey_uuid: str
    lines: tuple[Line, ...] = field(repr=False)
    shortened_link: bool = False

    def __post_init__(self) -> None:
        """Refuses lines that the answer could not be joined to."""
        if _unnamed(self.lines):
            raise ConfigError(f"survey {self.survey_uuid}, links: {_UNNAMED}; nothing was sent")

    def body(self) -> dict[str, object]:
        """The request body; not `async`, so the answer waits for the links."""
        return {
            "survey_uuid": self.survey_uuid,
            "import_lines": [dict(line) for line in self.lines],
            "async": False,
            "shortened_link": self.shortened_link,
        }


_UNNAMED: Final = "every line needs a `send_id` of its own, and there has to be one"


def _unnamed(lines: tuple[Line, ...]) -> bool:
    ids = {line.get("send_id") for line in lines} - {None, ""}
    return not lines or len(ids) != len(lines)


# --- answers --------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Receipt:
    """Track.co took the distribution, except the `refused` lines (`send_id` to a reason of a few letters)."""

    distribution_id: str | None
    refused: Mapping[str, str]


@dataclass(frozen=True)
class LinkReceipt:
    """The personal links by `send_id`, and the refused lines as in `Receipt`."""

    links: Mapping[str, str] = field(repr=False)
    refused: Mapping[str, str]


@dataclass(frozen=True)
class Survey:
    """A survey of the organisation."""

    uuid: str
    name: str
    public_hash: str | None


# --- failures -------------------------------------------------------------------------------------------------------


class SendFailure(TrackPipelineError):  # noqa: N818 - its kinds read as states of the request
    """Track.co did not confirm a request; `reason` is a short slug for the ledger and for counting."""

    def __init__(self, reason: str, text: str) -> None:
        super().__init__(reason, text)
        self.reason = reason

    def __str__(self) -> str:
        return str(self.args[1])


class NotSent(SendFailure):
    """Certainly nothing was processed: the same lines may be sent later."""


class Stopped(SendFailure):
    """Nothing was processed and nothing else would be: all sending has to stop until somebody acts."""


class Refused(SendFailure):
    """Track.co rejected the request as a whole; sending it again unchanged is useless."""


class Unknown(SendFailure):
    """The request left and nobody knows what became of it: it must never be sent again by itself."""


_TOKEN = (Stopped, "token_refused", "nothing was sent, Track.co refused the token. Renew API_TOKEN, then resume")
_REJECTED = "nobody was contacted, Track.co rejected the whole request. Check survey and templates there and here"

# Statuses that say for certain that nothing was processed: the failure, its reason, what to do.
_CERTAIN: Final[Mapping[int | None, tuple[type[SendFailure], str, str]]] = {
    401: _TOKEN,
    403: _TOKEN,
    405: (Stopped, "throttled", "nothing was sent, Track.co throttles. Solve its captcha in a browser, then resume"),
    **{status: (Refused, f"http_{status}", _REJECTED) for status in (400, 404, 409, 413, 422)},
}
_SUCCESS: Final = range(200, 300)
_BUSY: Final = (429, 503)
_PASSING: Final = (429, *range(500, 600))


# --- the port -------------------------------------------------------------------------------------------------------


class SurveySender(Protocol):
    """What the services need of Track.co. Every method raises a SendFailure."""

    def create_distribution(self, distribution: Distribution) -> Receipt:
        """Creates and sends one distribution."""
        ...

    def create_link_list(self, link_list: LinkList) -> LinkReceipt:
        """Makes personal links; contacts nobody."""
        ...

    def surveys(self) -> list[Survey]:
        """All surveys of the organisation."""
        ...


class Budget(Protocol):
    """Leave to make one request."""

    def acquire(self, timeout: float) -> bool:
        """Waits up to `timeout` seconds for leave; False when there is none."""
        ...


# --- the HTTP adapter -----------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Patience:
    """How long to wait for what, in seconds; `waiting` is the sum of all pauses between `attempts`."""

    connect: float = 5.0
    read: float = 60.0
    budget: float = 30.0
    attempts: int = 4
    waiting: float = 120.0


@dataclass(frozen=True)
class _Call:
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


class TrackApi:
    """Track.co over HTTPS, for one organisation; one instance keeps one pool of connections.

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
        self._root = f"/v1/organizations/{quote(organization, safe='')}"
        self._budget = budget
        self._patience = patience or Patience()
        self._sleep = sleep
        self._clock = clock
        self._session = requests.Session()
        self._session.trust_env = False
        self._session.headers.update(
            {"Authorization": f"Bearer {token}", "Accept": "application/json", "User-Agent": "track-pipeline"}
        )

    def __repr__(self) -> str:
        return f"TrackApi({self._base!r})"

    def close(self) -> None:
        """Closes the pooled connections."""
        self._session.close()

    def create_distribution(self, distribution: Distribution) -> Receipt:
        """Creates and sends one distribution. Any 2xx means that Track.co took it, readable answer or not."""
        what = f"distribution of {len(distribution.lines)} lines by {distribution.channel}"
        content = self._exchange(_Call("POST", "/distributions", what, distribution.body()))
        answer = _payload(content)
        return Receipt(_distribution_id(answer), _refused(answer, distribution.lines))

    def create_link_list(self, link_list: LinkList) -> LinkReceipt:
        """Makes personal links; a line without one in the answer has none in the receipt either."""
        what = f"link list of {len(link_list.lines)} lines"
        content = self._exchange(_Call("POST", "/distributions/createLinkList", what, link_list.body()))
        answer = _payload(content)
        return LinkReceipt(_links(answer, link_list.lines), _refused(answer, link_list.lines))

    def surveys(self) -> list[Survey]:
        """All surveys of the organisation, page after page until one brings nothing new.

        A short page does not end it: the largest `limit` Track.co grants is not documented.
        """
        found: dict[str, Survey] = {}
        for page in itertools.count(1):
            query: dict[str, str | int] = {"include_questions": "false", "limit": SURVEYS_PER_PAGE, "page": page}
            answer = _payload(self._exchange(_Call("GET", "/surveys", "list of surveys", query=query)))
            entries = _entries(answer, "surveys", "items", "results")
            if entries is None:
                raise NotSent("unreadable", "list of surveys: Track.co's answer is not in a known shape")
            new = {survey.uuid: survey for survey in map(_survey, entries) if survey and survey.uuid not in found}
            if not new:
                break
            found |= new
        return list(found.values())

    def _exchange(self, call: _Call) -> bytes:
        """The content of a 2xx answer, after as many attempts as are safe. Raises a SendFailure."""
        attempt, waited = 1, 0.0
        while True:
            if not self._budget.acquire(self._patience.budget):
                raise NotSent("budget", f"{call.what}: no room in the request budget; nothing was sent, it goes later")
            outcome = self._attempt(call)
            if outcome.accepted:
                return outcome.content
            pause = _pause(call, outcome, attempt)
            if pause is None or attempt == self._patience.attempts or waited + pause > self._patience.waiting:
                raise _failure(call, outcome)
            self._sleep(pause)
            attempt, waited = attempt + 1, waited + pause

    def _attempt(self, call: _Call) -> _Outcome:
        body = None if call.body is None else _Body(json.dumps(call.body, allow_nan=False).encode())
        started = time.monotonic()
        status: int | None = None
        try:
            with self._session.request(
                call.method,
                f"{self._base}{self._root}{call.path}",
                params=call.query,
                data=body,
                headers={"Content-Type": "application/json"} if body else None,
                timeout=(self._patience.connect, self._patience.read),
                allow_redirects=False,
                stream=True,
            ) as response:
                status = response.status_code
                retry_after = self._retry_after(response.headers.get("Retry-After"))
                outcome = _Outcome(left=True, status=status, retry_after=retry_after, content=_content(response))
        except _TRANSPORT_ERRORS as error:
            # Kept as a word: the library's own text holds the address and may hold the answer.
            fault: Literal["timeout", "connection_lost"] = (
                "timeout" if isinstance(error, requests.Timeout) else "connection_lost"
            )
            outcome = _Outcome(left=body is not None and body.left, fault=fault)
        logger.info(
            "Track.co %s: %s in %.0f ms", call.what, status or outcome.reason, (time.monotonic() - started) * 1000
        )
        return outcome

    def _retry_after(self, value: str | None) -> float | None:
        """Seconds of a Retry-After header, which is a number of them or a date; None for anything else."""
        if value is None:
            return None
        if re.fullmatch(r"\d{1,9}", value.strip()):
            return float(value)
        try:
            moment = parsedate_to_datetime(value)
        except ValueError:
            return None
        moment = moment if moment.tzinfo else moment.replace(tzinfo=UTC)
        return max(0.0, (moment - self._clock()).total_seconds())


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


def _pause(call: _Call, outcome: _Outcome, attempt: int) -> float | None:
    """Seconds after which the request may be made again; None when it may not."""
    jitter = random.uniform(0.5, 1.0)  # noqa: S311 - spreads attempts, protects nothing
    if outcome.busy:
        return (outcome.retry_after or 0.0) + jitter
    if not outcome.left or (call.method == "GET" and outcome.status in _PASSING):
        return jitter * 2.0 ** (attempt - 1)
    return None


def _failure(call: _Call, outcome: _Outcome) -> SendFailure:
    """The failure that an attempt came to, by the table of this module's docstring."""
    kind: type[SendFailure]
    if not outcome.left:
        kind, reason, text = NotSent, "unreachable", "nothing was sent, Track.co cannot be reached. Check the network"
    elif outcome.busy:
        kind, reason, text = NotSent, "busy", "nothing was sent, Track.co is busy and asked to wait. It goes later"
    elif outcome.status in _CERTAIN:
        kind, reason, text = _CERTAIN[outcome.status]
    elif call.method == "GET":
        kind, reason, text = NotSent, outcome.reason, "Track.co did not deliver it. Try again later"
    else:
        kind, reason = Unknown, outcome.reason
        text = "sent but not confirmed, and not sent again. Look in Track.co, then use `track resolve`"
    return kind(reason, f"{call.what}: {text} ({outcome.reason})")


# --- reading answers ------------------------------------------------------------------------------------------------


def _payload(content: bytes) -> object:
    """The JSON of an answer, out of its `data` envelope if it has one; None when it is not JSON."""
    try:
        document = json.loads(content)
    except (ValueError, RecursionError):
        return None
    if isinstance(document, dict) and isinstance(document.get("data"), dict | list):
        return document["data"]
    return document


def _first(entry: Mapping[str, object], *keys: str) -> str | None:
    """The first of the keys that holds a text or a whole number, as text."""
    values = (entry.get(key) for key in keys)
    return next((str(value) for value in values if isinstance(value, str | int) and not isinstance(value, bool)), None)


def _distribution_id(answer: object) -> str | None:
    found = _first(answer, "uuid", "id", "distribution_uuid") if isinstance(answer, dict) else None
    return found if found and re.fullmatch(r"[\w-]{1,64}", found) else None


def _entries(answer: object, *keys: str) -> list[dict[str, object]] | None:
    """The objects of a list that is the answer itself or under one of the keys; None when there is no list."""
    if isinstance(answer, dict):
        answer = next((answer[key] for key in keys if isinstance(answer.get(key), list)), None)
    return [entry for entry in answer if isinstance(entry, dict)] if isinstance(answer, list) else None


def _survey(entry: Mapping[str, object]) -> Survey | None:
    uuid = _first(entry, "uuid", "id", "survey_uuid")
    if uuid is None:
        return None
    return Survey(uuid, _first(entry, "name", "title") or "", _first(entry, "public_hash", "hash"))


def _refused(answer: object, lines: tuple[Line, ...]) -> dict[str, str]:
    """Reasons by `send_id`, from `invalid: [{index | send_id, reason}]` (invented: the real shape is unknown)."""
    if not isinstance(answer, dict):
        return {}
    return {send_id: _slug(entry.get("reason")) for send_id, entry in _by_line(_entries(answer, "invalid"), lines)}


def _links(answer: object, lines: tuple[Line, ...]) -> dict[str, str]:
    """Links by `send_id`, from `links: [{index | send_id, link}]` or such a list alone (invented too).

    A link is never given to a line by its place in the list: one entry left out would give away everybody's link.
    """
    named = ((send_id, _first(entry, "link", "url")) for send_id, entry in _by_line(_entries(answer, "links"), lines))
    return {send_id: link for send_id, link in named if link and re.match(r"https?://", link)}


def _by_line(
    entries: list[dict[str, object]] | None, lines: tuple[Line, ...]
) -> Iterator[tuple[str, dict[str, object]]]:
    """The entries that name one of the lines, by its `send_id` or its place, with the `send_id`."""
    ids = [str(line["send_id"]) for line in lines]
    known = set(ids)
    for entry in entries or ():
        index, send_id = entry.get("index"), _first(entry, "send_id")
        if send_id is None and isinstance(index, int) and 0 <= index < len(ids):
            send_id = ids[index]
        if send_id in known:
            yield send_id, entry


def _slug(reason: object) -> str:
    """A reason the ledger may keep: a word of Track.co's, never a sentence that could quote a patient's data."""
    return reason if isinstance(reason, str) and re.fullmatch(r"[a-z_]{1,40}", reason) else "line_refused"
