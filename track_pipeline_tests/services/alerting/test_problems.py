"""What counts as a problem, with its start and end. Hospitals of another installation are ignored."""

from collections.abc import Iterator
from datetime import date, timedelta
from pathlib import Path

import polars as pl
import pytest

from track_pipeline.adapters.ledger.encounters import EXTRACTED
from track_pipeline.config.hospitals import load_registry
from track_pipeline.domain.channels import Channel
from track_pipeline.domain.hospital import Registry
from track_pipeline.domain.sends import Verdict
from track_pipeline.ports import AlertKind, Stopped, Unknown
from track_pipeline.services.alerting.problems import due_day, problems
from track_pipeline.services.daily.dispatch import Dispatcher, GateTripped
from track_pipeline.services.daily.sending import DispatchStopped
from track_pipeline_tests.support.builders import DAY
from track_pipeline_tests.support.installation import AREA, NINE, Office

HMS = load_registry().only(("HMS",))
PLACE = f"HMS|{DAY}"


@pytest.fixture
def office(tmp_path: Path) -> Iterator[Office]:
    """Its extract of DAY is there."""
    office = Office(tmp_path)
    extract(office, DAY)
    yield office
    office.ledger.close()


def extract(office: Office, day: date) -> None:
    """Reads a day of the hospital on which nobody came."""
    office.ledger.encounters.record_extract("HMS", day, AREA, pl.DataFrame(schema=EXTRACTED))


def found(office: Office, registry: Registry = HMS) -> list[str]:
    return [alert.key for alert in problems(office.ledger, registry, office.now)]


def test_a_morning_on_which_all_went_well_has_none(office: Office) -> None:
    office.plan({}, {})
    office.dispatch()
    assert found(office) == []


def test_a_hospital_without_yesterdays_extract_is_silent_from_nine_on(office: Office) -> None:
    office.now = NINE + timedelta(days=1, seconds=-1)
    assert found(office) == []
    office.now = NINE + timedelta(days=1)
    assert found(office) == ["silence|HMS|"]
    extract(office, DAY + timedelta(days=1))
    assert found(office) == []


def test_silence_is_by_each_hospitals_own_clock() -> None:
    hospital = HMS.hospital("HMS")
    manaus = hospital.model_copy(update={"time_zone": "America/Manaus"})
    assert due_day(hospital, NINE) == date(2025, 3, 10)
    assert due_day(manaus, NINE) == date(2025, 3, 9)
    assert due_day(manaus, NINE + timedelta(hours=1)) == date(2025, 3, 10)


def test_a_tripped_gate_is_a_problem_until_its_lines_have_left(office: Office) -> None:
    office.plan({}, extract=3)
    with pytest.raises(GateTripped):
        office.dispatch()
    assert found(office) == [f"gate|{PLACE}"]
    office.plan({})
    office.dispatch()
    assert found(office) == []


def test_a_tripped_gate_is_a_problem_until_its_lines_are_dropped_as_stale(office: Office) -> None:
    office.plan({}, extract=3)
    with pytest.raises(GateTripped):
        office.dispatch()
    dispatcher = Dispatcher(office.outbox)

    office.now = NINE + timedelta(days=6)
    extract(office, DAY + timedelta(days=6))
    assert dispatcher.drop_stale(office.hospital) == 0
    assert found(office) == [f"gate|{PLACE}"]

    office.now = NINE + timedelta(days=7)
    extract(office, DAY + timedelta(days=7))
    assert found(office) == [f"gate|{PLACE}"]
    assert dispatcher.drop_stale(office.hospital) == 1
    assert found(office) == []
    assert office.funnel() == {"suppressed": 1, "suppressed:stale": 1}
    assert dispatcher.drop_stale(office.hospital) == 0


def test_a_throttle_is_a_problem_until_the_pause_is_taken_back(office: Office) -> None:
    office.plan({})
    office.track.script = [Stopped("throttled", "405")]
    with pytest.raises(DispatchStopped):
        office.dispatch()
    assert found(office) == ["throttle||"]
    office.ledger.pauses.remove("all")
    assert found(office) == []


def test_a_pause_by_hand_is_no_problem(office: Office) -> None:
    office.plan({})
    office.ledger.pauses.add("all", "holiday", "operator")
    assert found(office) == []


def test_unknown_sends_are_a_problem_once_they_cannot_be_on_their_way_until_they_are_resolved(office: Office) -> None:
    office.plan({})
    office.track.script = [Unknown("timeout", "No answer.")]
    with pytest.raises(DispatchStopped):
        office.dispatch()
    office.now += timedelta(minutes=14)
    assert found(office) == []
    office.now += timedelta(minutes=2)
    assert found(office) == [f"unknown|{PLACE}"]
    office.ledger.sends.resolve([office.send_id(1)], Verdict.SENT, "seen", by="test")
    assert found(office) == []


def test_problems_of_hospitals_of_another_installation_are_theirs(office: Office) -> None:
    office.plan({})
    office.track.script = [Unknown("timeout", "No answer.")]
    with pytest.raises(DispatchStopped):
        office.dispatch()
    office.now += timedelta(minutes=16)
    assert found(office, load_registry().only(("HMC",))) == ["silence|HMC|"]


def test_every_kind_says_what_to_do_and_where_to_look(office: Office) -> None:
    office.plan({}, {"channel": "whatsapp"}, extract=2)
    office.track.script = [Unknown("timeout", "No answer."), Stopped("throttled", "405")]
    for channel in (Channel.EMAIL, Channel.WHATSAPP):
        with pytest.raises(DispatchStopped):
            office.dispatch(channel)
    office.plan({}, {"channel": "whatsapp"}, extract=3)
    office.ledger.pauses.remove("all")
    with pytest.raises(GateTripped):
        office.dispatch(Channel.WHATSAPP)
    office.ledger.pauses.add("all", "throttled", "test")
    office.now += timedelta(days=1)
    alerts = problems(office.ledger, HMS, office.now)
    assert {alert.kind for alert in alerts} == {
        AlertKind.THROTTLE,
        AlertKind.GATE,
        AlertKind.UNKNOWN,
        AlertKind.SILENCE,
    }
    remedies = ("track pause remove", "approve_gates", "track resolve", "track doctor")
    for alert in alerts:
        assert any(remedy in alert.text for remedy in remedies)
        assert alert.link.startswith("/")
