"""The output of `track status` and `track why`: the funnel of every partition, and the history of an encounter."""

from collections.abc import Iterator
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest

from track_pipeline.domain.channels import OptOutChannel
from track_pipeline.domain.waves import Wave
from track_pipeline.ports import Answer, NotSent, Unknown
from track_pipeline.services.daily.sending import DispatchStopped
from track_pipeline.services.insight.serialise import to_json
from track_pipeline.services.insight.status import funnel_of, status, why
from track_pipeline_tests.support.builders import DAY, Row, cpf, key_of
from track_pipeline_tests.support.installation import AREA, Office

EXCLUDED = {"result": "excluded", "reason": "no_contact", "channel": None, "decided_by": "no_contact"}


@pytest.fixture
def office(tmp_path: Path) -> Iterator[Office]:
    office = Office(tmp_path)
    yield office
    office.ledger.close()


def answer(office: Office, encounter: int, wave: str = "invite") -> Answer:
    return Answer(office.send_id(encounter, wave), office.now, "done", 9, None, None)


def reminders_in_the_story_of(office: Office, encounter: int) -> list[tuple[str, str, str]]:
    decisions = why(office.ledger, "HMS", encounter).decisions
    told = [(each.step, each.result, each.reason) for each in decisions]
    return [each for each in told if each[0].startswith("reminder")]


def test_a_row_of_the_status_has_everything_that_became_of_a_partition(office: Office) -> None:
    office.plan({}, {}, {"channel": "whatsapp"}, EXCLUDED)
    office.dispatch()
    office.later(days=7)
    office.remind(Wave(7))
    office.reader.answered = [answer(office, 1, "reminder_7d")]
    office.later(days=7)
    office.remind(Wave(14))

    [row] = status(office.ledger, (DAY, DAY))

    assert to_json(row) == {
        "date": "2025-03-10", "hospital": "HMS", "area": "internacao",
        "extracted": 4, "excluded": 1, "planned": 3, "sent": 2, "rejected": 0, "unknown": 0, "deferred": 1,
        "suppressed": 0, "excluded_by": {"no_contact": 1}, "held_by": {"deferred:not_dispatched": 1},
        "reminded_7d": 2, "reminded_14d": 1, "answered": 1,
    }  # fmt: skip
    assert row.closes


def test_a_row_that_does_not_add_up_is_found_out(office: Office) -> None:
    office.plan({}, EXCLUDED)
    [row] = status(office.ledger)
    assert row.closes
    wrongs: list[Row] = [{"sent": 5}, {"excluded": 0}, {"excluded_by": {}}, {"excluded_by": {"": 1}}]
    assert not [wrong for wrong in wrongs if replace(row, **wrong).closes]


def test_other_days_and_hospitals_are_left_out(office: Office) -> None:
    office.plan({})
    day_before = DAY - timedelta(days=1)
    assert status(office.ledger, (day_before, day_before)) == []
    assert status(office.ledger, hospital="HMC") == []
    assert len(status(office.ledger, (day_before, DAY), "HMS")) == 1


def test_a_partition_that_was_never_extracted_is_all_zeros(office: Office) -> None:
    funnel = funnel_of(office.ledger, DAY, "HMS", AREA)
    assert funnel.closes
    assert (funnel.extracted, funnel.planned) == (0, 0)


def test_the_story_of_an_encounter_goes_from_its_plan_to_its_answer(office: Office) -> None:
    office.plan({})
    office.dispatch()
    office.later(days=7)
    office.remind()
    office.reader.answered = [answer(office, 1, "reminder_7d")]
    office.later(hours=2)

    story = why(office.ledger, "HMS", 1)

    assert (story.hospital, story.encounter, story.area, story.setor) == (
        "HMS", 1, "internacao", "INTERNACAO"
    )  # fmt: skip
    assert str(story.outcome) == "sent"
    sends = [(each.wave, each.channel, each.state, each.answered_at is not None) for each in story.sends]
    assert sends == [("invite", "email", "sent", False), ("reminder_7d", "whatsapp", "sent", True)]


def test_the_story_tells_why_somebody_was_not_reminded(office: Office) -> None:
    office.plan({}, {}, {}, {}, {})
    office.dispatch()
    office.reader.answered = [answer(office, 2)]
    office.ledger.people.opt_out(key_of("cpf", cpf(3)), OptOutChannel.ALL, "test")
    office.see(4, key=key_of("cpf", cpf(4)), days=1, died=True)
    office.see(900, key=key_of("cpf", cpf(5)), days=2, code="HAT")
    office.later(days=7)

    office.remind()
    office.remind()

    reasons = {2: "answered", 3: "opted_out", 4: "deceased", 5: "returned"}
    for encounter, reason in reasons.items():
        assert reminders_in_the_story_of(office, encounter) == [("reminder_7d", "suppressed", reason)]
    assert reminders_in_the_story_of(office, 1) == []


@pytest.mark.parametrize(("sends", "paused", "reason"), [(False, False, "dry_run"), (True, True, "paused")])
def test_the_story_tells_what_a_reminder_waited_for(office: Office, *, sends: bool, paused: bool, reason: str) -> None:
    office.plan({})
    office.dispatch()
    office.later(days=7)
    office.sends = sends
    if paused:
        office.ledger.pauses.add("hospital:HMS", "audit", "test")
    assert office.remind().held == {f"deferred:{reason}": 1}
    assert reminders_in_the_story_of(office, 1) == [("reminder_7d", "deferred", reason)]

    office.sends = True
    office.ledger.pauses.remove("hospital:HMS")
    office.later(days=1)
    assert office.remind().sent == 1


@pytest.mark.parametrize(
    ("failure", "outcome"),
    [
        (Unknown("timeout", "No answer."), "unknown:timeout"),
        (NotSent("busy", "Track.co is busy."), "deferred:busy"),
        (KeyboardInterrupt(), "unknown:no_outcome"),
    ],
)
def test_the_outcome_is_that_of_the_invitation(office: Office, failure: BaseException, outcome: str) -> None:
    office.plan({})
    office.track.script = [failure]
    with pytest.raises((DispatchStopped, KeyboardInterrupt)):
        office.dispatch()
    assert str(why(office.ledger, "HMS", 1).outcome) == outcome


def test_who_was_excluded_or_not_dispatched_or_never_seen_has_an_outcome_too(office: Office) -> None:
    office.plan({}, EXCLUDED)
    assert str(why(office.ledger, "HMS", 1).outcome) == "deferred:not_dispatched"
    assert str(why(office.ledger, "HMS", 2).outcome) == "excluded:no_contact"
    unknown = why(office.ledger, "HMS", 3)
    assert (unknown.outcome, unknown.area, unknown.decisions, unknown.sends) == (None, None, (), ())
