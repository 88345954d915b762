"""A Track.co on this machine, for the demo and for tests: it takes distributions, keeps them in memory, sends nothing.

Requests are checked against what the public copy of the API's documentation and the original system show. The shapes
of all ANSWERS are invented (the real ones are not public), as are the reasons of refused lines and everything under
`/_control/`, which makes it fail on purpose and shows what it was sent. It listens on 127.0.0.1 only.
"""

import argparse
import asyncio
import re
import secrets
import socket
import subprocess
import sys
import threading
import uuid
from collections import Counter, deque
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from types import TracebackType
from typing import IO, Any, Final, Literal, Self, get_args

import requests
import uvicorn
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import HTMLResponse, JSONResponse, Response
from starlette.routing import Route

from track_pipeline.errors import TrackPipelineError

Object = dict[str, Any]

FaultKind = Literal["429", "503", "405", "401", "422", "500", "500_after_accept", "reset", "slow", "hang_after_accept"]

HOST: Final = "127.0.0.1"
DEFAULT_IDENTIFIER: Final = "send_id"
LARGEST_PAGE: Final = 50

# Invented: the surveys of the simulated organisation. Distributions may name any other.
SURVEYS: Final[tuple[Object, ...]] = tuple(
    {"uuid": str(uuid.uuid5(uuid.NAMESPACE_URL, name)), "name": name, "public_hash": f"demo{number:02}"}
    for number, name in enumerate(("Ambulatório", "Exames", "Internação", "Maternidade", "Pronto-socorro", "Oncologia"))
)


@dataclass
class Fault:
    """What happens to one POST instead of a normal answer; `seconds` is for `slow`, `retry_after` for 429 and 503."""

    kind: FaultKind
    retry_after: int | None = None
    seconds: float = 1.0

    def __post_init__(self) -> None:
        if self.kind not in get_args(FaultKind):
            raise ValueError(f"unknown kind of fault; there are: {', '.join(get_args(FaultKind))}")


@dataclass
class Simulator:
    """The state of a simulated Track.co; `token` None takes any bearer, `envelope` wraps answers in `data`."""

    token: str | None = None
    envelope: bool = False
    identifier: str = DEFAULT_IDENTIFIER
    surveys: tuple[Object, ...] = SURVEYS
    faults: deque[Fault] = field(default_factory=deque)
    lines: list[Object] = field(default_factory=list)
    bodies: list[Object] = field(default_factory=list)
    counts: Counter[str] = field(default_factory=Counter)

    def app(self) -> Starlette:
        """The ASGI application."""
        organization = "/v1/organizations/{organization}"
        routes = [
            Route(f"{organization}/distributions", self._post(self._distribution), methods=["POST"]),
            Route(f"{organization}/distributions/createLinkList", self._post(self._link_list), methods=["POST"]),
            Route(f"{organization}/surveys", self._surveys),
            Route("/_control/requests", self._show_requests),
            Route("/_control/stats", self._show_stats),
            Route("/_control/reset", self._reset, methods=["POST"]),
            Route("/_control/faults", self._add_faults, methods=["POST"]),
        ]
        return Starlette(routes=routes)

    # --- the API

    def _authorized(self, request: Request) -> bool:
        scheme, _, token = request.headers.get("Authorization", "").partition(" ")
        if scheme.lower() != "bearer" or not token:
            return False
        return self.token is None or secrets.compare_digest(token.encode(), self.token.encode())

    def _post(self, answer: Callable[[str, Object], Response]) -> Callable[[Request], Awaitable[Response]]:
        """A handler that checks the bearer, plays the next fault if there is one, and else answers."""

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
            except ValueError:
                return _error(422, "the body is not JSON")
            response = answer(request.path_params["organization"], body)
            if fault and fault.kind == "500_after_accept":
                return _error(500, "internal error")
            if fault and fault.kind == "hang_after_accept":
                while (await request.receive())["type"] != "http.disconnect":
                    pass
            return response

        return handle

    def _distribution(self, organization: str, body: Object) -> Response:
        problem = _problem_of_distribution(body)
        if problem is not None:
            return self._invalid(organization, body, problem)
        channel = body["distribution_channel"]
        distribution = str(uuid.uuid4())
        invalid = self._accept(organization, body, channel)
        self.counts["distributions"] += 1
        valid = len(body["import_lines"]) - len(invalid)
        return self._created({"uuid": distribution, "valid": valid, "invalid": invalid})

    def _link_list(self, organization: str, body: Object) -> Response:
        problem = _problem_of_link_list(body)
        if problem is not None:
            return self._invalid(organization, body, problem)
        invalid = self._accept(organization, body, "link")
        self.counts["link_lists"] += 1
        refused = {entry["index"] for entry in invalid}
        links = [
            {
                "index": index,
                "send_id": line.get("send_id"),
                "link": f"http://{HOST}/_survey/{secrets.token_urlsafe(9)}",
            }
            for index, line in enumerate(body["import_lines"])
            if index not in refused
        ]
        return self._created({"uuid": str(uuid.uuid4()), "links": links, "invalid": invalid})

    def _accept(self, organization: str, body: Object, channel: str) -> list[Object]:
        """Keeps the request and its good lines; returns the others as `{index, send_id, reason}`."""
        at = datetime.now(UTC).isoformat()
        invalid: list[Object] = []
        for index, line in enumerate(body["import_lines"]):
            reason = _problem_of_line(line, self.identifier, channel)
            if reason is None:
                kept = {key: line.get(key) for key in ("send_id", "cd_atendimento")}
                self.lines.append(
                    {"org": organization, "survey": body["survey_uuid"], "channel": channel, **kept, "at": at}
                )
            else:
                invalid.append({"index": index, "send_id": line.get("send_id"), "reason": reason})
        self.bodies.append({"org": organization, "at": at, "status": 201, "body": body})
        self.counts["accepted_lines"] += len(body["import_lines"]) - len(invalid)
        self.counts["invalid_lines"] += len(invalid)
        return invalid

    def _invalid(self, organization: str, body: object, problem: str) -> Response:
        at = datetime.now(UTC).isoformat()
        self.bodies.append({"org": organization, "at": at, "status": 422, "body": body})
        return _error(422, problem)

    def _created(self, answer: Object) -> Response:
        return JSONResponse({"data": answer} if self.envelope else answer, 201)

    async def _surveys(self, request: Request) -> Response:
        if not self._authorized(request):
            return _error(401, "invalid token")
        query = request.query_params
        try:
            page, limit = int(query.get("page", 1)), min(int(query.get("limit", LARGEST_PAGE)), LARGEST_PAGE)
        except ValueError:
            return _error(422, "page and limit are numbers")
        if page < 1 or limit < 1:
            return _error(422, "page and limit begin at 1")
        questions = {"questions": [{"type": "nps"}]} if query.get("include_questions") == "true" else {}
        shown = [{**survey, **questions} for survey in self.surveys[(page - 1) * limit : page * limit]]
        return JSONResponse({"data": shown} if self.envelope else shown)

    # --- the control

    async def _show_requests(self, _: Request) -> Response:
        return JSONResponse({"lines": self.lines, "bodies": self.bodies})

    async def _show_stats(self, _: Request) -> Response:
        names = ("posts", "distributions", "link_lists", "accepted_lines", "invalid_lines")
        repeated = len(self.lines) - len({line["send_id"] for line in self.lines})
        by_channel = Counter(line["channel"] for line in self.lines)
        stats = {name: self.counts[name] for name in names}
        return JSONResponse(
            {**stats, "repeated_send_ids": repeated, "by_channel": by_channel, "faults_left": len(self.faults)}
        )

    async def _reset(self, _: Request) -> Response:
        for kept in (self.faults, self.lines, self.bodies, self.counts):
            kept.clear()
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


def _error(status: int, text: str, headers: Mapping[str, str] | None = None) -> Response:
    return JSONResponse({"error": text}, status, headers)


def _refusal(fault: Fault) -> Response | None:
    """The answer of a fault that keeps the request from being taken."""
    if fault.kind == "405":
        return HTMLResponse("<html><body>Please solve the CAPTCHA to go on.</body></html>", 405)
    if fault.kind.isdecimal():
        after = {} if fault.retry_after is None else {"Retry-After": str(fault.retry_after)}
        return _error(int(fault.kind), "a fault, as ordered", after)
    return None


async def _hang_up(request: Request) -> Response:
    # ASGI has no way to drop a connection; uvicorn's receive belongs to the object that holds it.
    request.receive.__self__.transport.abort()  # type: ignore[attr-defined]
    await request.receive()
    return Response()


# --- running it -----------------------------------------------------------------------------------------------------


def serve(port: int, simulator: Simulator | None = None, *, parent: IO[bytes] | None = None) -> None:
    """Runs a simulator on 127.0.0.1 until it is interrupted, and prints its address once it listens.

    Port 0 takes a free one; raises TrackPipelineError when the port is taken. With `parent` (a pipe) it also ends when
    that is closed, so it never outlives whoever holds the other end.
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
    """A simulator in a process of its own, as a context manager: started and answering inside, gone outside."""

    def __init__(self, *, port: int = 0, token: str | None = None, envelope: bool = False) -> None:
        self._arguments = ["--port", str(port), "--until-stdin-closes"]
        self._arguments += ["--token", token] if token else []
        self._arguments += ["--envelope"] if envelope else []
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
        # It prints its address once it listens; a request made then waits for the rest of the start.
        self.url = self._process.stdout.readline().strip() if self._process.stdout else ""
        if not self.url:
            raise TrackPipelineError("the simulator of Track.co did not start; is its port taken by something else?")
        self.control("stats")

    def control(self, what: str, document: object = None) -> Object:
        """Calls `/_control/<what>`: a GET for `requests` and `stats`, else a POST of `document`; returns the JSON."""
        method = "GET" if what in ("requests", "stats") else "POST"
        with requests.Session() as session:
            session.trust_env = False
            response = session.request(method, f"{self.url}/_control/{what}", json=document, timeout=10)
        response.raise_for_status()
        answer: Object = response.json() if response.content else {}
        return answer

    def stop(self) -> None:
        """Ends the process; harmless when it has ended."""
        try:
            self._process.communicate(timeout=5)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.communicate()


def main() -> None:
    """Runs a simulator from the command line."""
    parser = argparse.ArgumentParser(description="A Track.co on this machine.")
    parser.add_argument("--port", type=int, default=0)
    parser.add_argument("--token", help="the only bearer that is accepted; any one when left out")
    parser.add_argument("--identifier", default=DEFAULT_IDENTIFIER, help="the key that every line needs")
    parser.add_argument("--envelope", action="store_true", help="wrap answers in `data`")
    parser.add_argument("--until-stdin-closes", action="store_true", help="end with the process that started it")
    arguments = parser.parse_args()
    simulator = Simulator(token=arguments.token, envelope=arguments.envelope, identifier=arguments.identifier)
    serve(arguments.port, simulator, parent=sys.stdin.buffer if arguments.until_stdin_closes else None)


if __name__ == "__main__":
    main()
