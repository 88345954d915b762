"""Open alerts in the ledger: of several callers, exactly one opens, sends and closes each alert."""

from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from typing import Any

from track_pipeline.adapters.ledger import Ledger
from track_pipeline_tests.adapters.conftest import FakeClock

DAY = timedelta(days=1)


def row(key: str = "gate|HMS|2025-03-09", **changes: Any) -> dict[str, Any]:
    kind, hospital, part = key.split("|")
    words = {"subject": f"{hospital}: {kind}", "text": "Look at it.", "link": "/runs"}
    return {"key": key, "kind": kind, "hospital": hospital, "part": part} | words | changes


def untold(ledger: Ledger) -> list[str]:
    return ledger.alerts.take_unreported(DAY).get_column("key").to_list()


def test_an_open_alert_keeps_its_words_and_the_time_it_began(ledger: Ledger, clock: FakeClock) -> None:
    began = clock.now
    ledger.alerts.open([row()])
    clock.now += timedelta(hours=1)
    ledger.alerts.open([row(text="Changed."), row("throttle||")])
    known = ledger.alerts.all()
    assert known.get_column("key").to_list() == ["gate|HMS|2025-03-09", "throttle||"]
    assert known.row(0, named=True) == {**row(), "opened_at": began, "told_at": None}


def test_nothing_to_open_and_nothing_to_close_is_fine(ledger: Ledger) -> None:
    ledger.alerts.open([])
    assert ledger.alerts.all().is_empty()
    assert untold(ledger) == []
    assert ledger.alerts.close(["run|HMS|2025-03-09 daily"]).is_empty()


def test_an_alert_is_handed_out_once_and_again_after_a_day(ledger: Ledger, clock: FakeClock) -> None:
    ledger.alerts.open([row()])
    assert untold(ledger) == ["gate|HMS|2025-03-09"]
    clock.now += DAY - timedelta(seconds=1)
    assert untold(ledger) == []
    clock.now += timedelta(seconds=1)
    assert untold(ledger) == ["gate|HMS|2025-03-09"]
    assert untold(ledger) == []


def test_what_could_not_be_told_is_handed_out_again(ledger: Ledger) -> None:
    ledger.alerts.open([row(), row("throttle||")])
    untold(ledger)
    ledger.alerts.return_unreported(["throttle||"])
    assert untold(ledger) == ["throttle||"]


def test_closing_gives_what_was_open_and_takes_it_away(ledger: Ledger) -> None:
    ledger.alerts.open([row(), row("throttle||")])
    untold(ledger)
    closed = ledger.alerts.close(["throttle||", "unknown|HMS|2025-03-09"])
    assert closed.get_column("key").to_list() == ["throttle||"]
    assert closed.get_column("told_at").null_count() == 0
    assert ledger.alerts.all().get_column("key").to_list() == ["gate|HMS|2025-03-09"]
    ledger.alerts.open([row("throttle||")])
    assert untold(ledger) == ["throttle||"]


def test_of_many_who_take_or_close_an_alert_one_gets_it(ledger: Ledger) -> None:
    ledger.alerts.open([row()])
    with ThreadPoolExecutor(4) as pool:
        taken = [keys for keys in pool.map(lambda _: untold(ledger), range(4)) if keys]
        closed = [frame.height for frame in pool.map(lambda _: ledger.alerts.close([row()["key"]]), range(4))]
    assert taken == [["gate|HMS|2025-03-09"]]
    assert sorted(closed) == [0, 0, 0, 1]
