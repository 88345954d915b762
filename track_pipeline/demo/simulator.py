"""A Track.co simulator for the demo and for tests: accepts distributions, keeps them in memory, sends nothing.

`request_checks` checks requests against the public knowledge of the API. The shapes of all ANSWERS are invented, as
are the paths of interactions and opt-outs, the survey page, and everything under `/_control/`, which orders faults,
sets the clock, adds answers and shows the received requests. It listens on 127.0.0.1 only.
"""

import argparse
import asyncio
import html
import json
import secrets
import socket
import subprocess
import sys
import threading
import uuid
from collections import Counter, deque
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from types import TracebackType
from typing import IO, Any, Final, Literal, Self, get_args
from urllib.parse import parse_qs

import requests
import uvicorn
from starlette.applications import Starlette
from starlette.requests import ClientDisconnect, Request
from starlette.responses import HTMLResponse, JSONResponse, Response
from starlette.routing import Route

from track_pipeline.demo.feedback import Feedback, Recipient
from track_pipeline.demo.request_checks import problem_of_distribution, problem_of_line, problem_of_link_list
from track_pipeline.demo.respondents import AnswerModel
from track_pipeline.errors import TrackPipelineError

Object = dict[str, Any]

FaultKind = Literal["429", "503", "405", "401", "422", "500", "500_after_accept", "reset", "slow", "hang_after_accept"]

HOST: Final = "127.0.0.1"
DEFAULT_IDENTIFIER: Final = "send_id"
LARGEST_PAGE: Final = 200
HIGHEST_SCORE: Final = 10

# Invented: the surveys of the simulated organisation. Distributions may name other surveys.
SURVEYS: Final[tuple[Object, ...]] = tuple(
    {"uuid": str(uuid.uuid5(uuid.NAMESPACE_URL, name)), "name": name, "public_hash": f"demo{number:02}"}
    for number, name in enumerate(("Ambulatório", "Exames", "Internação", "Maternidade", "Pronto-socorro", "Oncologia"))
)

_SURVEY_PAGE: Final = """<!doctype html><html lang=pt-BR><meta charset=utf-8><title>Pesquisa</title>
<h1>{title}</h1><form method=post><label>De 0 a 10, quanto você nos recomendaria?
<input name=score type=number min=0 max=10 required></label><br>
<label>Comentário <textarea name=comment maxlength=5000></textarea></label><br><button>Enviar</button></form>"""


@dataclass
class Fault:
    """A fault that replaces the normal answer to one POST. `seconds` is for `slow`, `retry_after` for 429 and 503."""

    kind: FaultKind
    retry_after: int | None = None
    seconds: float = 1.0

    def __post_init__(self) -> None:
        if self.kind not in get_args(FaultKind):
            raise ValueError(f"unknown kind of fault; the kinds are: {', '.join(get_args(FaultKind))}")


@dataclass
class Simulator:
    """The state of a simulated Track.co.

    token: the only accepted bearer; None accepts any. envelope: wraps answers in `data`. answers: the model of people's
    reactions; None: no reactions. now: a clock that stands still; None: the real time.
    """

    token: str | None = None
    envelope: bool = False
    identifier: str = DEFAULT_IDENTIFIER
    answers: AnswerModel | None = None
    surveys: tuple[Object, ...] = SURVEYS
    now: datetime | None = None
    faults: deque[Fault] = field(default_factory=deque)
    bodies: list[Object] = field(default_factory=list)
    counts: Counter[str] = field(default_factory=Counter)
    links: dict[str, Recipient] = field(default_factory=dict)
    feedback: Feedback = field(init=False)

    def __post_init__(self) -> None:
        self.feedback = Feedback(self.answers)

    def app(self) -> Starlette:
        """Return the ASGI application."""
        organization = "/v1/organizations/{organization}"
        distributions = f"{organization}/distributions"
        routes = [
            Route(distributions, self._post(self._distribution), methods=["POST"]),
            Route(distributions, self._get(self._distributions)),
            Route(f"{distributions}/createLinkList", self._post(self._link_list), methods=["POST"]),
            Route(f"{distributions}/{{distribution}}/status", self._get(self._statuses)),
            Route(f"{organization}/surveys", self._get(self._surveys)),
            Route(f"{organization}/interactions", self._get(self._interactions)),
            Route(f"{organization}/opt-outs", self._get(self._opt_outs)),
            Route("/_survey/{token}", self._survey_page, methods=["GET", "POST"]),
            Route("/_control/requests", self._show_requests),
            Route("/_control/stats", self._show_stats),
            Route("/_control/reset", self._reset, methods=["POST"]),
            Route("/_control/faults", self._add_faults, methods=["POST"]),
            Route("/_control/clock", self._set_clock, methods=["POST"]),
            Route("/_control/answers", self._plant, methods=["POST"]),
        ]
        return Starlette(routes=routes)

    def clock(self) -> datetime:
        """Return the simulator's present instant."""
        return self.now or datetime.now(UTC)

    def _authorized(self, request: Request) -> bool:
        scheme, _, token = request.headers.get("Authorization", "").partition(" ")
        if scheme.lower() != "bearer" or not token:
            return False
        return self.token is None or secrets.compare_digest(token.encode(), self.token.encode())

    def _wrapped(self, answer: object, status: int = 200) -> Response:
        return JSONResponse({"data": answer} if self.envelope else answer, status)

    # --- the API: sending

    def _post(self, answer: Callable[[Request, Object], Response]) -> Callable[[Request], Awaitable[Response]]:
        """Return a handler that checks the bearer, applies the next fault if there is one, and else answers."""

        async def handle(request: Request) -> Response:
            self.counts["posts"] += 1
            fault = self.faults.popleft() if self.faults else None
            refusal = _refusal(fault) if fault else None
            if refusal is not None:
                return refusal
            if not self._authorized(request):
                return _error(401, "invalid token")
            if fault and fault.kind == "reset":
                return await _hang_up(request)
            if fault and fault.kind == "slow":
                await asyncio.sleep(fault.seconds)
            try:
                body = await request.json()
            except (ValueError, ClientDisconnect):
                # After a disconnect nothing is accepted, and the answer reaches no client.
                return _error(422, "the body is not JSON")
            response = answer(request, body)
            if fault and fault.kind == "500_after_accept":
                return _error(500, "internal error")
            if fault and fault.kind == "hang_after_accept":
                while (await request.receive())["type"] != "http.disconnect":
                    pass
            return response

        return handle

    def _distribution(self, request: Request, body: Object) -> Response:
        problem = problem_of_distribution(body)
        if problem is not None:
            return self._invalid(request, body, problem)
        distribution = str(uuid.uuid4())
        taken, invalid = self._accept(request, body, distribution, body["distribution_channel"])
        self.counts["distributions"] += 1
        return self._wrapped({"uuid": distribution, "valid": len(taken), "invalid": invalid}, 201)

    def _link_list(self, request: Request, body: Object) -> Response:
        problem = problem_of_link_list(body)
        if problem is not None:
            return self._invalid(request, body, problem)
        distribution = str(uuid.uuid4())
        taken, invalid = self._accept(request, body, distribution, "link")
        self.counts["link_lists"] += 1
        links: list[Object] = []
        for index, recipient in taken.items():
            token = secrets.token_urlsafe(9)
            self.links[token] = recipient
            link = f"{request.base_url}_survey/{token}"
            links.append({"index": index, "send_id": recipient.line.get("send_id"), "link": link})
        return self._wrapped({"uuid": distribution, "links": links, "invalid": invalid}, 201)

    def _accept(
        self, request: Request, body: Object, distribution: str, channel: str
    ) -> tuple[dict[int, Recipient], list[Object]]:
        """Store a request. Return its accepted lines by index, and the refused ones as `{index, send_id, reason}`."""
        organization, at = request.path_params["organization"], self.clock()
        taken: dict[int, Recipient] = {}
        invalid: list[Object] = []
        for index, line in enumerate(body["import_lines"]):
            reason = problem_of_line(line, self.identifier, channel)
            if reason is None:
                taken[index] = Recipient(organization, distribution, body["survey_uuid"], channel, line, at)
                self.feedback.accept(taken[index])
            else:
                invalid.append({"index": index, "send_id": line.get("send_id"), "reason": reason})
        self.bodies.append({"org": organization, "at": at.isoformat(), "status": 201, "body": body})
        self.counts["accepted_lines"] += len(taken)
        self.counts["invalid_lines"] += len(invalid)
        return taken, invalid

    def _invalid(self, request: Request, body: object, problem: str) -> Response:
        organization, at = request.path_params["organization"], self.clock().isoformat()
        self.bodies.append({"org": organization, "at": at, "status": 422, "body": body})
        return _error(422, problem)

    # --- the API: reading

    def _get(self, answer: Callable[[Request], object]) -> Callable[[Request], Awaitable[Response]]:
        """Return a handler that checks the bearer and answers; 422 for a ValueError, 404 for a LookupError."""

        async def handle(request: Request) -> Response:
            if not self._authorized(request):
                return _error(401, "invalid token")
            try:
                return self._wrapped(answer(request))
            except ValueError as error:
                return _error(422, str(error))
            except LookupError:
                return _error(404, "not found")

        return handle

    def _surveys(self, request: Request) -> object:
        questions = {"questions": [{"type": "nps"}]} if request.query_params.get("include_questions") == "true" else {}
        return [{**survey, **questions} for survey in self.surveys[_page(request)]]

    def _interactions(self, request: Request) -> object:
        organization = request.path_params["organization"]
        shown = self.feedback.answers_shown(organization, _since(request), self.clock())
        return {"interactions": shown[_page(request)], "total": len(shown)}

    def _distributions(self, request: Request) -> object:
        organization = request.path_params["organization"]
        shown = self.feedback.distributions_shown(organization, _since(request, "created_since"), self.clock())
        return {"distributions": shown[_page(request)], "total": len(shown)}

    def _statuses(self, request: Request) -> object:
        history = request.query_params.get("history") == "true"
        shown = self.feedback.statuses_shown(**request.path_params, now=self.clock(), history=history)
        return {"statuses": shown[_page(request)], "total": len(shown)}

    def _opt_outs(self, request: Request) -> object:
        organization = request.path_params["organization"]
        shown = self.feedback.opt_outs_shown(organization, _since(request), self.clock())
        return {"opt_outs": shown[_page(request)], "total": len(shown)}

    # --- the page behind a personal link

    async def _survey_page(self, request: Request) -> Response:
        """Show the question; a POST of `score` (0 to 10), with an optional `comment`, records an answer."""
        recipient = self.links.get(request.path_params["token"])
        if recipient is None:
            return _error(404, "not found")
        if request.method != "POST":
            titles = (survey["name"] for survey in self.surveys if survey["uuid"] == recipient.survey)
            return HTMLResponse(_SURVEY_PAGE.format(title=html.escape(next(titles, "Pesquisa"))))
        form = parse_qs((await request.body()).decode(errors="replace"))
        score = form.get("score", [""])[0]
        if score not in {str(number) for number in range(HIGHEST_SCORE + 1)}:
            return _error(422, "score is 0 to 10")
        comment = form.get("comment", [""])[0]
        self.feedback.answer(recipient.send_id, self.clock(), "done", int(score), comment)
        return HTMLResponse("<!doctype html><html lang=pt-BR><meta charset=utf-8><p>Obrigado!")

    # --- the control

    async def _show_requests(self, _: Request) -> Response:
        lines = [_shown(recipient) for recipient in self.feedback.recipients]
        return JSONResponse({"lines": lines, "bodies": self.bodies})

    async def _show_stats(self, _: Request) -> Response:
        names = ("posts", "distributions", "link_lists", "accepted_lines", "invalid_lines")
        recipients = self.feedback.recipients
        repeated = len(recipients) - len({recipient.send_id for recipient in recipients})
        by_channel = Counter(recipient.channel for recipient in recipients)
        stats = {name: self.counts[name] for name in names}
        return JSONResponse(
            {**stats, "repeated_send_ids": repeated, "by_channel": by_channel, "faults_left": len(self.faults)}
        )

    async def _reset(self, _: Request) -> Response:
        for kept in (self.faults, self.bodies, self.counts, self.links, self.feedback):
            kept.clear()
        self.now = None
        return Response(status_code=204)

    async def _add_faults(self, request: Request) -> Response:
        document = await request.json()
        try:
            faults = [
                Fault(**{key: value for key, value in entry.items() if key != "times"})
                for entry in (document if isinstance(document, list) else [document])
                for _ in range(entry.get("times", 1))
            ]
        except (TypeError, ValueError, AttributeError) as error:
            return _error(422, str(error))
        self.faults.extend(faults)
        return JSONResponse({"faults_left": len(self.faults)})

    async def _set_clock(self, request: Request) -> Response:
        """Set the clock to `{"now": ISO}`, where it stands still; null sets it to the real time."""
        document = await request.json()
        try:
            self.now = None if document["now"] is None else _instant(document["now"])
        except (TypeError, KeyError, ValueError) as error:
            return _error(422, str(error))
        return JSONResponse({"now": self.clock().isoformat()})

    async def _plant(self, request: Request) -> Response:
        """Add `{"answers": [...], "statuses": [...], "opt_outs": [...]}`; each key is optional.

        Rows are the arguments of `Feedback.answer`, `.status` and `.opt_out`; a missing `at` means now. At a wrong row
        it answers 422, and keeps the rows before it.
        """
        document = await request.json()
        kinds: Mapping[str, Callable[..., None]] = {
            "answers": self.feedback.answer,
            "statuses": self.feedback.status,
            "opt_outs": self.feedback.opt_out,
        }
        try:
            for kind, rows in document.items():
                for row in rows:
                    kinds[kind](**{**row, "at": _instant(row["at"]) if "at" in row else self.clock()})
        except (TypeError, KeyError, ValueError, AttributeError) as error:
            return _error(422, str(error))
        return Response(status_code=204)


def _shown(recipient: Recipient) -> Object:
    described = {"org": recipient.organization, "survey": recipient.survey, "channel": recipient.channel}
    kept = {key: recipient.line.get(key) for key in ("send_id", "cd_atendimento")}
    return {**described, **kept, "at": recipient.at.isoformat()}


def _page(request: Request) -> slice:
    query = request.query_params
    page, limit = query.get("page", "1"), query.get("limit", str(LARGEST_PAGE))
    if not all(text.isdecimal() and int(text) for text in (page, limit)):
        raise ValueError("page and limit are numbers from 1")
    size = min(int(limit), LARGEST_PAGE)
    return slice((int(page) - 1) * size, int(page) * size)


def _since(request: Request, parameter: str = "updated_since") -> datetime | None:
    text = request.query_params.get(parameter)
    return _instant(text) if text else None


def _instant(text: str) -> datetime:
    moment = datetime.fromisoformat(text)
    if moment.tzinfo is None:
        raise ValueError("a time needs a time zone")
    return moment.astimezone(UTC)


def _error(status: int, text: str, headers: Mapping[str, str] | None = None) -> Response:
    return JSONResponse({"error": text}, status, headers)


def _refusal(fault: Fault) -> Response | None:
    """Return the answer of a fault that refuses the request; None for the other kinds."""
    if fault.kind == "405":
        return HTMLResponse("<html><body>Please solve the CAPTCHA to go on.</body></html>", 405)
    if fault.kind.isdecimal():
        after = {} if fault.retry_after is None else {"Retry-After": str(fault.retry_after)}
        return _error(int(fault.kind), "an ordered fault", after)
    return None


async def _hang_up(request: Request) -> Response:
    # ASGI cannot drop a connection. In uvicorn, `receive` is a method of the object that has the transport.
    request.receive.__self__.transport.abort()  # type: ignore[attr-defined]
    await request.receive()
    return Response()


# --- running it -----------------------------------------------------------------------------------------------------


def serve(port: int, simulator: Simulator | None = None, *, parent: IO[bytes] | None = None) -> None:
    """Run a simulator on 127.0.0.1 until it is interrupted, and print its address when it listens.

    Port 0 means a free port. Raises TrackPipelineError when the port is in use. With `parent` (a pipe) it also ends
    when the pipe is closed, so it never runs longer than the process at the other end.
    """
    config = uvicorn.Config(
        (simulator or Simulator()).app(), access_log=False, log_level="warning", lifespan="off",
        timeout_graceful_shutdown=1,
    )  # fmt: skip
    server = uvicorn.Server(config)
    try:
        listener = socket.create_server((HOST, port))
    except OSError:
        raise TrackPipelineError(f"the simulator cannot listen on {HOST}:{port}; choose a free --port") from None
    with listener:
        sys.stdout.write(f"http://{HOST}:{listener.getsockname()[1]}\n")
        sys.stdout.flush()
        if parent is not None:
            threading.Thread(target=_stop_at_end_of, args=[parent, server], daemon=True).start()
        server.run(sockets=[listener])


def _stop_at_end_of(parent: IO[bytes], server: uvicorn.Server) -> None:
    parent.read()
    server.should_exit = True


class SimulatorProcess:
    """A context manager that runs a simulator in its own process; inside the block it answers at `url`."""

    def __init__(
        self, *, port: int = 0, token: str | None = None, envelope: bool = False, answers: AnswerModel | None = None
    ) -> None:
        self._arguments = ["--port", str(port), "--until-stdin-closes"]
        self._arguments += ["--token", token] if token else []
        self._arguments += ["--envelope"] if envelope else []
        self._arguments += ["--answers", json.dumps(asdict(answers))] if answers else []
        self.url = ""

    def __enter__(self) -> Self:
        self._process = subprocess.Popen(  # noqa: S603 - this module, with arguments of its own
            [sys.executable, "-m", __name__, *self._arguments],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        try:
            self._wait_until_it_answers()
        except BaseException:
            self.stop()
            raise
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        self.stop()

    def _wait_until_it_answers(self) -> None:
        # The process prints its address when it listens; a request then waits until the start is complete.
        self.url = self._process.stdout.readline().strip() if self._process.stdout else ""
        if not self.url:
            raise TrackPipelineError(
                "the Track.co simulator did not start; see its errors, and check that its port is free"
            )
        self.control("stats")

    def control(self, what: str, document: object = None) -> Object:
        """Call `/_control/<what>`: GET for `requests` and `stats`, else POST of `document`. Returns the JSON."""
        method = "GET" if what in ("requests", "stats") else "POST"
        with requests.Session() as session:
            session.trust_env = False
            response = session.request(method, f"{self.url}/_control/{what}", json=document, timeout=10)
        response.raise_for_status()
        answer: Object = response.json() if response.content else {}
        return answer

    def stop(self) -> None:
        """End the process. Does nothing when it has ended."""
        try:
            self._process.communicate(timeout=5)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.communicate()


def main() -> None:
    """Run a simulator from the command line."""
    parser = argparse.ArgumentParser(description="Run a Track.co simulator on this machine.")
    parser.add_argument("--port", type=int, default=0)
    parser.add_argument("--token", help="the only accepted bearer; without it, any bearer is accepted")
    parser.add_argument("--identifier", default=DEFAULT_IDENTIFIER, help="the key that every line must have")
    parser.add_argument("--envelope", action="store_true", help="wrap answers in `data`")
    parser.add_argument(
        "--answers",
        type=lambda text: AnswerModel(**json.loads(text)),
        help='let people react by a model such as {"seed": 1, "response_rate": 0.3}',
    )
    parser.add_argument("--until-stdin-closes", action="store_true", help="end when the process that started it ends")
    arguments = parser.parse_args()
    simulator = Simulator(
        token=arguments.token,
        envelope=arguments.envelope,
        identifier=arguments.identifier,
        answers=arguments.answers,
    )
    serve(arguments.port, simulator, parent=sys.stdin.buffer if arguments.until_stdin_closes else None)


if __name__ == "__main__":
    main()
