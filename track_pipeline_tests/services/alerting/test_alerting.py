"""A problem is reported daily while it lasts, and once at its end; an event at once. A failed channel stops nothing."""

import logging
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from track_pipeline.adapters.ledger import Ledger, open_ledger
from track_pipeline.ports import Alert, AlertKind
from track_pipeline.services.alerting.alerting import Alerting
from track_pipeline_tests.support.fake_channel import FakeChannel

THROTTLE = Alert("Track.co throttles", "Solve the captcha.", "/runs", AlertKind.THROTTLE)
GATE = Alert("HMS 2025-03-09: a gate tripped", "Look at it.", "/runs/1", AlertKind.GATE, "HMS", "2025-03-09")
NEWS = Alert("HMS", "3 new answers of detractors", "/assets/daily_report")


class Desk:
    """Alerting with a clock that can be moved."""

    def __init__(self, home: Path) -> None:
        self.home = home
        self.now = datetime(2025, 3, 10, 12, tzinfo=UTC)
        self.channel = FakeChannel()
        self.ledger: Ledger = open_ledger(f"sqlite:///{home}/ledger.sqlite", clock=lambda: self.now)
        self.alerting = Alerting(self.ledger, self.channel, "https://dagster.example/")

    def watch(self, *problems: Alert, hospitals: tuple[str, ...] = ("HMS",)) -> None:
        self.alerting.watch(problems, (AlertKind.GATE, AlertKind.THROTTLE), hospitals)

    def later(self, **delta: float) -> None:
        self.now += timedelta(**delta)


@pytest.fixture
def desk(tmp_path: Path) -> Iterator[Desk]:
    desk = Desk(tmp_path)
    yield desk
    desk.ledger.close()


def test_a_problem_is_told_with_what_to_do_and_where_to_look(desk: Desk) -> None:
    desk.alerting.send(GATE)
    assert desk.channel.told == [
        (
            "track: HMS 2025-03-09: a gate tripped",
            "HMS 2025-03-09: a gate tripped\nLook at it.\nhttps://dagster.example/runs/1",
            False,
        )
    ]


def test_a_hubs_links_lead_to_its_own_assets(desk: Desk) -> None:
    of_hub = Alerting(desk.ledger, desk.channel, "https://dagster.example", "es")

    of_hub.send(NEWS)
    of_hub.watch([GATE], (AlertKind.GATE,), ("HMS",))

    links = [text.rpartition("\n")[2] for _, text, _ in desk.channel.told]
    assert links == ["https://dagster.example/assets/es/daily_report", "https://dagster.example/runs/1"]


def test_a_problem_is_told_once_and_again_after_a_day(desk: Desk) -> None:
    for _ in range(3):
        desk.alerting.send(THROTTLE)
        desk.watch(THROTTLE)
        desk.later(hours=7)
    assert len(desk.channel.told) == 1
    desk.later(hours=4)
    desk.watch(THROTTLE)
    assert len(desk.channel.told) == 2


def test_a_problem_that_is_over_is_told_once(desk: Desk) -> None:
    desk.watch(GATE)
    desk.watch()
    desk.watch()
    assert desk.channel.titles == ["track: HMS 2025-03-09: a gate tripped", "Over: HMS 2025-03-09: a gate tripped"]
    assert desk.channel.told[1][2]
    assert desk.ledger.alerts.all().is_empty()


def test_a_problem_that_comes_back_is_told_again(desk: Desk) -> None:
    desk.watch(GATE)
    desk.watch()
    desk.watch(GATE)
    assert len(desk.channel.told) == 3


def test_what_is_not_looked_at_is_left_open(desk: Desk) -> None:
    run = Alert("HMS: the run failed", "Look.", "/runs/2", AlertKind.RUN, "HMS", "2025-03-09 daily")
    elsewhere = Alert("HMC: a gate tripped", "Look.", "/runs", AlertKind.GATE, "HMC", "2025-03-09")
    for alert in (run, elsewhere, GATE):
        desk.alerting.send(alert)
    desk.watch()
    assert desk.ledger.alerts.all().get_column("key").to_list() == [elsewhere.key, run.key]


def test_several_problems_are_one_message(desk: Desk) -> None:
    desk.watch(GATE, THROTTLE)
    [(title, body, _)] = desk.channel.told
    assert title == "track: 2 problems"
    assert GATE.text in body
    assert THROTTLE.text in body


def test_news_is_told_every_time_and_is_never_over(desk: Desk) -> None:
    desk.alerting.send(NEWS)
    desk.alerting.send(NEWS)
    desk.watch()
    assert desk.channel.titles == ["track: HMS", "track: HMS"]


def test_what_a_channel_did_not_take_is_told_at_the_next_look(desk: Desk) -> None:
    desk.channel.works = False
    desk.alerting.send(GATE)
    desk.watch(GATE)
    assert desk.channel.told == []
    desk.channel.works = True
    desk.watch(GATE)
    desk.watch(GATE)
    assert len(desk.channel.told) == 1


def test_the_end_of_what_nobody_heard_of_is_told_to_nobody(desk: Desk) -> None:
    desk.channel.works = False
    desk.alerting.send(GATE)
    desk.channel.works = True
    desk.watch()
    assert desk.channel.told == []
    assert desk.ledger.alerts.all().is_empty()


def test_without_a_ledger_a_problem_is_told_all_the_same(desk: Desk, caplog: pytest.LogCaptureFixture) -> None:
    desk.ledger.close()
    (desk.home / "ledger.sqlite").unlink()
    (desk.home / "ledger.sqlite").mkdir()
    desk.alerting.send(GATE)
    desk.alerting.send(GATE)
    assert len(desk.channel.told) == 2
    assert "The ledger could not record an alert" in caplog.text


def test_without_a_channel_the_log_has_each_problem_once_and_its_end(
    desk: Desk, caplog: pytest.LogCaptureFixture
) -> None:
    alerting = Alerting(desk.ledger, None)
    with caplog.at_level(logging.INFO, "track_pipeline"):
        alerting.send(GATE)
        alerting.send(GATE)
        alerting.close([GATE.key])
    assert [(record.levelname, record.getMessage()) for record in caplog.records] == [
        ("WARNING", "HMS 2025-03-09: a gate tripped: Look at it. See /runs/1"),
        ("INFO", "HMS 2025-03-09: a gate tripped: the problem is over."),
    ]
