"""The faults of a drill, one function each. A function adds its fault to a round, with random values from the seed.

`drill` runs the rounds and the operator's work after them.
"""

import os
import shutil
import signal
import socket
import sys
import threading
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from sqlalchemy import text
from sqlalchemy.exc import DBAPIError

from track_pipeline_tests.support.drills.full_disk import CAN_BE_FULL
from track_pipeline_tests.support.drills.remembering_track import TOKEN, Behaviour, Exchange, serve
from track_pipeline_tests.support.drills.scene import AREAS, Scene
from track_pipeline_tests.support.drills.worker import Mishap, Trouble

# More than the steps of a run of these scenes, from its plan to its last batch. A later step triggers nothing.
STEPS: Final = 250
# In bytes, more than the size of any file that such a run writes, except the ledger.
MOST_ROOM: Final = 60_000
# The longest time, in seconds, until a run is killed by the clock.
LONGEST_LIFE: Final = 0.5
# The timeout, in seconds, of a client for an answer that never arrives.
SHORT: Final = 0.25


@dataclass
class Round:
    """One run of the pipeline in a drill.

    before, after: functions called before and after the run.
    kill_after: seconds after which the first of the `workers` is killed.
    hours: the time of the run, in hours after `scene.now`.
    """

    scene: Scene
    script: list[Behaviour] = field(default_factory=list)
    trouble: Trouble | None = None
    kill_after: float | None = None
    workers: int = 1
    hours: float = 0.0
    token: str = TOKEN
    scheme: str = "http"
    port: int | None = None
    read_seconds: float = 20.0
    requests: int = 600
    budget_seconds: float = 20.0
    plans: bool = True
    before: list[Callable[[], None]] = field(default_factory=list)
    after: list[Callable[[], None]] = field(default_factory=list)


Fault = Callable[[Round], None]


# --- how the server behaves -----------------------------------------------------------------------------------------


def refusing(status: int, body: object = None, headers: Mapping[str, str] | None = None) -> Behaviour:
    """Return a behaviour that accepts no line and answers with a status."""
    return lambda exchange: exchange.answer(status, body, headers)


def accepting(act: Callable[[Exchange, dict[str, object]], None]) -> Behaviour:
    """Return a behaviour that accepts the lines that a healthy server accepts, and then calls `act`."""

    def behave(exchange: Exchange) -> None:
        if exchange.problem() is not None:
            serve(exchange)
        else:
            act(exchange, exchange.accept())

    return behave


def accepting_all(act: Callable[[Exchange, dict[str, object]], None]) -> Behaviour:
    """Return the behaviour of `accepting` for requests without invalid lines, else that of a healthy server.

    A line that the answer of a successful request refuses counts as sent when the answer cannot be read;
    docs/reliability.md describes this known limit.
    """

    def behave(exchange: Exchange) -> None:
        lines = {int(line["cd_atendimento"]) for line in exchange.body["import_lines"]}
        (serve if lines & exchange.track.invalid else accepting(act))(exchange)

    return behave


def saying(status: int, body: object = None, headers: Mapping[str, str] | None = None) -> Behaviour:
    """Return a behaviour that accepts the lines and answers with a status that does not show it."""
    return accepting(lambda exchange, _: exchange.answer(status, body, headers))


def _reset(exchange: Exchange, _: object = None) -> None:
    exchange.hang_up(reset=True)


def _hang_up(exchange: Exchange, _: object = None) -> None:
    exchange.hang_up(reset=False)


def _hang(exchange: Exchange, _: object = None) -> None:
    exchange.track.impatience.wait(10)
    exchange.hang_up(reset=False)


def _break_off(exchange: Exchange, _: object) -> None:
    exchange.wfile.write(b'HTTP/1.1 201 Created\r\nContent-Length: 500\r\n\r\n{"uuid": "d-')
    exchange.wfile.flush()
    exchange.hang_up(reset=True)


def _drip(exchange: Exchange, _: object) -> None:
    for byte in b'HTTP/1.1 201 Created\r\nContent-Length: 14\r\n\r\n{"uuid":"d-1"}':
        exchange.wfile.write(bytes([byte]))
        exchange.wfile.flush()
        time.sleep(0.004)


def _babble(exchange: Exchange, _: object) -> None:
    exchange.wfile.write(b"\xff\x00 what was the question? \r\n\r\n")
    exchange.wfile.flush()
    exchange.hang_up(reset=False)


def _at_some_request(round_: Round, *behaviours: Behaviour) -> None:
    """Add behaviours that start at one of the first requests."""
    round_.script += [serve] * round_.scene.chance.randint(0, 4) + list(behaviours)


# --- Track.co -------------------------------------------------------------------------------------------------------


def busy_for_a_moment(round_: Round) -> None:
    """One answer 429 or 503 with Retry-After: the request is made again."""
    _at_some_request(round_, refusing(round_.scene.chance.choice((429, 503)), headers={"Retry-After": "0"}))


def busy_for_long(round_: Round) -> None:
    """429 or 503 with a longer Retry-After than the pipeline waits."""
    _at_some_request(round_, refusing(429, headers={"Retry-After": "86400"}))


def busy_without_a_word(round_: Round) -> None:
    """429 or 503 without Retry-After, before or after accepting the lines."""
    status = round_.scene.chance.choice((429, 503))
    _at_some_request(round_, round_.scene.chance.choice((refusing(status), saying(status))))


def throttled(round_: Round) -> None:
    """405 with a captcha."""
    _at_some_request(round_, refusing(405, b"<html><body>Please solve the CAPTCHA to go on.</body></html>"))


def token_expires(round_: Round) -> None:
    """401 or 403, starting at a random request."""
    _at_some_request(round_, *[refusing(round_.scene.chance.choice((401, 403)))] * 4)


def token_is_wrong(round_: Round) -> None:
    """The pipeline has a wrong token."""
    round_.token = "an-old-token"


def batch_is_refused(round_: Round) -> None:
    """Track.co refuses a whole batch."""
    _at_some_request(round_, refusing(round_.scene.chance.choice((400, 404, 409)), {"error": "no such survey"}))


def batch_is_unreadable(round_: Round) -> None:
    """422 for a batch, although each of its lines alone is valid."""
    _at_some_request(round_, refusing(422, {"error": "unprocessable"}))


def batches_are_too_large(round_: Round) -> None:
    """413 for more than a few lines."""
    round_.scene.track.most_lines = round_.scene.chance.randint(1, 3)

    def forget() -> None:
        round_.scene.track.most_lines = None

    round_.after.append(forget)


def fails_before_accepting(round_: Round) -> None:
    """5xx, and no line was accepted."""
    _at_some_request(round_, refusing(round_.scene.chance.choice((500, 502, 504))))


def fails_after_accepting(round_: Round) -> None:
    """5xx, and all lines were accepted."""
    _at_some_request(round_, saying(round_.scene.chance.choice((500, 502, 504))))


def resets_before_accepting(round_: Round) -> None:
    """The connection is reset (RST) or closed before the lines are accepted."""
    _at_some_request(round_, round_.scene.chance.choice((_reset, _hang_up)))


def resets_after_accepting(round_: Round) -> None:
    """The connection is reset (RST) or closed after the lines were accepted."""
    _at_some_request(round_, accepting(round_.scene.chance.choice((_reset, _hang_up))))


def breaks_off_in_mid_answer(round_: Round) -> None:
    """201, and the answer's body ends in the middle."""
    _at_some_request(round_, accepting_all(_break_off))


def hangs(round_: Round) -> None:
    """The server never answers; it may or may not have accepted the lines."""
    round_.read_seconds = SHORT
    _at_some_request(round_, round_.scene.chance.choice((_hang, accepting(_hang))))


def drips(round_: Round) -> None:
    """The answer comes byte by byte."""
    _at_some_request(round_, accepting_all(_drip))


def talks_gibberish(round_: Round) -> None:
    """201 with a body that is not JSON, or is JSON of another shape."""
    bodies: tuple[object, ...] = (b"<html>created", b"\xff\xfe{", [], {"uuid": 7, "invalid": [{"index": -1}, None, 3]})
    body = round_.scene.chance.choice(bodies)
    _at_some_request(round_, accepting_all(lambda exchange, _: exchange.answer(201, body)))


def talks_no_http(round_: Round) -> None:
    """An answer of bytes that are not HTTP."""
    _at_some_request(round_, accepting(_babble))


def redirects(round_: Round) -> None:
    """302, before or after accepting the lines."""
    answer = round_.scene.chance.choice((refusing, saying))
    _at_some_request(round_, answer(302, headers={"Location": "http://127.0.0.1:9/"}))


def speaks_no_tls(round_: Round) -> None:
    """The server's TLS is broken."""
    round_.scheme = "https"


def nobody_listens(round_: Round) -> None:
    """Connections are refused."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        round_.port = free.getsockname()[1]


# --- the process ----------------------------------------------------------------------------------------------------


def _in_trouble(round_: Round, mishap: Mishap) -> None:
    round_.trouble = Trouble(mishap, round_.scene.chance.randint(1, STEPS))


def killed_at_a_step(round_: Round) -> None:
    """SIGKILL between two statements."""
    _in_trouble(round_, "kill")


def killed_at_a_moment(round_: Round) -> None:
    """SIGKILL at any time, also inside a request or a commit."""
    round_.kill_after = round_.scene.chance.uniform(0, LONGEST_LIFE)


def terminated(round_: Round) -> None:
    """SIGTERM, which Dagster turns into an exception at any point of the code."""
    _in_trouble(round_, "terminate")


def two_at_once(round_: Round) -> None:
    """Two runs dispatch every partition at the same time."""
    round_.workers = 2


def two_at_once_one_killed(round_: Round) -> None:
    """Two runs dispatch every partition at the same time, and one is killed."""
    round_.workers = 2
    killed_at_a_moment(round_)


def disk_is_full(round_: Round) -> None:
    """From a random step on, no file of lake, ledger or budget can exceed a random size, so that writing fails there.

    With a ledger on SQLite this mostly affects the ledger; with PostgreSQL it affects the lake.
    """
    chance = round_.scene.chance
    round_.trouble = Trouble("disk_full", chance.randint(1, STEPS), chance.randint(0, MOST_ROOM))


# --- the ledger -----------------------------------------------------------------------------------------------------


def _lock(scene: Scene, seconds: float) -> None:
    """Lock the ledger in another writer for `seconds`; return as soon as the lock is held."""
    held = threading.Event()

    def hold() -> None:
        with scene.engine().connect() as connection:
            lock = "BEGIN IMMEDIATE" if scene.is_sqlite else "LOCK TABLE sends IN ACCESS EXCLUSIVE MODE"
            connection.exec_driver_sql(lock)
            held.set()
            time.sleep(seconds)
            connection.rollback()

    threading.Thread(target=hold, daemon=True).start()
    held.wait(10)


def ledger_is_locked(round_: Round) -> None:
    """Another program locks the ledger for a short time after the lines were accepted."""
    scene, seconds = round_.scene, round_.scene.chance.uniform(0.05, 0.3)

    def act(exchange: Exchange, answer: dict[str, object]) -> None:
        _lock(scene, seconds)
        exchange.answer(201, answer)

    _at_some_request(round_, accepting(act))


def ledger_is_locked_for_long(round_: Round) -> None:
    """Another program locks the ledger for longer than the pipeline waits."""
    ledger_is_locked(round_)
    round_.trouble = Trouble("impatient", 1)


def ledger_is_full(round_: Round) -> None:
    """The ledger cannot grow by another page."""
    _in_trouble(round_, "ledger_full")


def ledger_is_read_only(round_: Round) -> None:
    """The ledger can be read but not written."""
    _in_trouble(round_, "ledger_read_only")


def ledger_connections_are_lost(round_: Round) -> None:
    """PostgreSQL ends all sessions after the lines were accepted."""
    scene = round_.scene

    def act(exchange: Exchange, answer: dict[str, object]) -> None:
        with scene.engine().connect() as connection:
            connection.execute(text(f"SELECT pg_terminate_backend(pid) {_OTHER_SESSIONS}"))
        exchange.answer(201, answer)

    _at_some_request(round_, accepting(act))


def ledger_restarts(round_: Round) -> None:
    """PostgreSQL crashes after the lines were accepted, and recovers."""
    scene = round_.scene

    def act(exchange: Exchange, answer: dict[str, object]) -> None:
        _crash(scene)
        exchange.answer(201, answer)

    _at_some_request(round_, accepting(act))
    round_.after.append(lambda: _wait_for_database(scene))


_OTHER_SESSIONS: Final = (
    "FROM pg_stat_activity WHERE backend_type = 'client backend' "
    "AND datname = current_database() AND pid <> pg_backend_pid()"
)


def _crash(scene: Scene) -> None:
    # When one server process is killed, PostgreSQL ends all others: from outside this is a crash.
    with scene.engine().connect() as connection:
        pid = connection.execute(text(f"SELECT pid {_OTHER_SESSIONS} LIMIT 1")).scalar()
    if pid is not None:
        os.kill(pid, getattr(signal, "SIGKILL", signal.SIGTERM))


def _wait_for_database(scene: Scene) -> None:
    for _ in range(200):
        with suppress(DBAPIError), scene.engine().connect():
            return
        time.sleep(0.05)


# --- the lake -------------------------------------------------------------------------------------------------------


def _files(scene: Scene, step: str) -> list[Path]:
    paths = [scene.lake.path(step, area, day, scene.hospital.code) for day in scene.days for area in AREAS]
    return [path for path in paths if path.exists()]


def plan_is_half_written(round_: Round) -> None:
    """The file of a plan is truncated, and the day is not planned again in this round."""

    def cut() -> None:
        for path in _files(round_.scene, "invitation"):
            path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])

    round_.plans = False
    round_.before.append(cut)


def plan_is_missing(round_: Round) -> None:
    """The file of a plan is missing, and the day is not planned again in this round."""

    def remove() -> None:
        for path in _files(round_.scene, "invitation"):
            path.unlink()

    round_.plans = False
    round_.before.append(remove)


def extract_is_half_written(round_: Round) -> None:
    """The file of an extract is truncated, and is written again later."""

    def cut() -> None:
        path = round_.scene.chance.choice(_files(round_.scene, "extract"))
        path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])

    round_.before.append(cut)
    round_.after.append(round_.scene.extract)


def lake_cannot_be_written(round_: Round) -> None:
    """Plans and links cannot be written: their folders are gone and cannot be created."""
    steps = [round_.scene.lake.root / step for step in ("invitation", "survey_link")]

    def block() -> None:
        for folder in steps:
            if folder.exists():
                folder.rename(folder.with_suffix(".aside"))
            folder.touch()

    def unblock() -> None:
        for folder in steps:
            folder.unlink()
            aside = folder.with_suffix(".aside")
            if aside.exists():
                shutil.move(aside, folder)

    round_.before.append(block)
    round_.after.append(unblock)


# --- the hospital, the clock, the operator ---------------------------------------------------------------------------


def rows_change(round_: Round) -> None:
    """The day is extracted again and has other rows."""
    round_.before += [round_.scene.change_visits, round_.scene.extract]


def rows_change_and_nobody_plans(round_: Round) -> None:
    """The day is extracted again and has other rows, but is not planned again: the plan is older than the extract."""
    rows_change(round_)
    round_.plans = False


def clock_goes_back(round_: Round) -> None:
    """The clock shows a time before the previous round, by up to most of a day."""
    round_.hours = -round_.scene.chance.uniform(0.5, 20)


def window_is_closed(round_: Round) -> None:
    """The run starts in the evening, outside the send window."""
    round_.hours = 12


def budget_is_used_up(round_: Round) -> None:
    """The budget allows only a few requests."""
    round_.requests = round_.scene.chance.randint(1, 3)
    round_.budget_seconds = SHORT


def operator_pauses(round_: Round) -> None:
    """An operator pauses all sending during the run."""
    scene = round_.scene

    def behave(exchange: Exchange) -> None:
        with scene.ledger() as ledger:
            ledger.pauses.add("all", "an operator wants to look", "a drill")
        serve(exchange)

    _at_some_request(round_, behave)


def _waits_for_answers(round_: Round) -> bool:
    """Whether no line is claimed while a request is answered, by a second run or by a run after its timeout."""
    return round_.workers == 1 and round_.read_seconds > SHORT


def people_opt_out(round_: Round) -> None:
    """People opt out during the sending. A person whose line is not claimed yet must get no more messages."""
    scene = round_.scene

    def act(exchange: Exchange, answer: dict[str, object]) -> None:
        if _waits_for_answers(round_):
            for _ in range(3):
                scene.opt_out_somebody()
        exchange.answer(201, answer)

    _at_some_request(round_, accepting(act))


def people_answer(round_: Round) -> None:
    """Answers arrive during the sending of reminders. A person whose line is not claimed yet must get no reminder."""
    scene = round_.scene

    def act(exchange: Exchange, answer: dict[str, object]) -> None:
        if _waits_for_answers(round_):
            scene.somebody_answers()
        exchange.answer(201, answer)

    _at_some_request(round_, accepting(act))


_SENDING: Final = (
    busy_for_a_moment, busy_for_long, busy_without_a_word, throttled, token_expires, token_is_wrong, batch_is_refused,
    batch_is_unreadable, batches_are_too_large, fails_before_accepting, fails_after_accepting, resets_before_accepting,
    resets_after_accepting, breaks_off_in_mid_answer, hangs, drips, talks_gibberish, talks_no_http, redirects,
    speaks_no_tls, nobody_listens, killed_at_a_step, killed_at_a_moment, terminated, two_at_once,
    two_at_once_one_killed, ledger_is_locked, ledger_is_read_only, window_is_closed, budget_is_used_up, operator_pauses,
    people_opt_out, *((disk_is_full,) if CAN_BE_FULL else ()),
)  # fmt: skip
_PLANNING: Final = (
    plan_is_half_written, plan_is_missing, extract_is_half_written, lake_cannot_be_written, rows_change,
    rows_change_and_nobody_plans, clock_goes_back,
)  # fmt: skip
_REMINDING: Final = (people_answer,)
_SQLITE: Final = (ledger_is_locked_for_long, ledger_is_full)
# On Windows the test cannot crash a single process of the server.
_POSTGRESQL: Final = (ledger_connections_are_lost, ledger_restarts)[: 1 if sys.platform == "win32" else 2]
ALL: Final[tuple[Fault, ...]] = _SENDING + _PLANNING + _REMINDING + _SQLITE + _POSTGRESQL


def faults_of(scene: Scene) -> tuple[Fault, ...]:
    """Return all faults that are possible for invitations in this scene."""
    return _SENDING + _PLANNING + (_SQLITE if scene.is_sqlite else _POSTGRESQL)


def faults_of_reminders(scene: Scene) -> tuple[Fault, ...]:
    """Return all faults that are possible for reminders, whose plan already exists."""
    return _REMINDING + _SENDING + (_SQLITE if scene.is_sqlite else _POSTGRESQL)
