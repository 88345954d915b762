"""Reminders go exactly to the people who are due, once per wave; none is sent when answers or opt-outs are stale."""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from pathlib import Path

import polars as pl
import pytest

from track_pipeline.domain.channels import Channel, OptOutChannel
from track_pipeline.domain.waves import Wave
from track_pipeline.ports import Answer, DeliveryStatus, NotSent, OptOut, Unknown
from track_pipeline.services.daily.reminders import AnswersStale
from track_pipeline.services.daily.sending import DispatchStopped
from track_pipeline_tests.support.builders import DAY, cpf, email_of, hospital, key_of, phone_of
from track_pipeline_tests.support.installation import AREA, Office

BY_WHATSAPP_THEN_EMAIL = ["whatsapp", "email"]


@pytest.fixture
def office(tmp_path: Path) -> Iterator[Office]:
    office = Office(tmp_path)
    yield office
    office.ledger.close()


def invite(office: Office, *rows: dict[str, object]) -> None:
    """Plans and invites by e-mail, and forgets what was sent so far."""
    office.plan(*rows)
    office.dispatch()
    office.track.accepted.clear()
    office.track.requests.clear()


def answer(office: Office, encounter: int, *, state: str = "done", wave: str = "invite") -> Answer:
    return Answer(office.send_id(encounter, wave), office.now, state, 9, None, None)  # type: ignore[arg-type]


def channels(office: Office) -> list[object]:
    return [request.body().get("distribution_channel") for request in office.track.requests]


def test_after_seven_and_fourteen_days_each_open_invitation_is_reminded_once_by_another_channel(office: Office) -> None:
    invite(office, {}, {})

    office.later(days=7)
    assert office.remind(Wave(7)).sent == 2
    assert office.remind(Wave(7)).sent == 0
    assert office.remind(Wave(14)).sent == 0

    office.later(days=7)
    assert office.remind(Wave(14)).sent == 2
    assert office.remind(Wave(14)).sent == 0
    assert office.remind(Wave(7)).sent == 0

    assert channels(office) == BY_WHATSAPP_THEN_EMAIL
    assert office.track.accepted_encounters() == ["1", "2"] * 2


def test_nobody_is_reminded_a_day_early(office: Office) -> None:
    invite(office, {})
    office.later(days=6)
    assert office.remind().results == {"not_yet": 1}
    assert office.track.requests == []


def test_who_answered_is_left_alone_and_a_partial_answer_is_none(office: Office) -> None:
    invite(office, {}, {}, {})
    office.reader.answered = [answer(office, 1), answer(office, 2, state="partial")]

    office.later(days=7)
    report = office.remind()

    assert office.track.accepted_encounters() == ["2", "3"]
    assert report.results == {"due": 2, "withheld:answered": 1}


def test_who_answered_the_first_reminder_gets_no_second(office: Office) -> None:
    invite(office, {}, {})
    office.later(days=7)
    office.remind()
    office.reader.answered = [answer(office, 1, wave="reminder_7d")]

    office.later(days=7)
    office.track.accepted.clear()
    office.remind(Wave(14))

    assert office.track.accepted_encounters() == ["2"]


@pytest.mark.parametrize(
    "contact",
    [
        OptOut(None, email_of(1).upper(), None, OptOutChannel.ALL, None),
        OptOut(None, None, phone_of(1), OptOutChannel.ALL, None),
        OptOut(None, None, "(27) " + phone_of(1)[-8:], OptOutChannel.ALL, None),
    ],
    ids=["e-mail in other case", "phone", "phone without its ninth digit"],
)
def test_an_opt_out_under_any_identity_stops_every_reminder(office: Office, contact: OptOut) -> None:
    invite(office, {}, {})
    office.reader.refused = [contact]

    office.later(days=7)
    report = office.remind()

    assert office.track.accepted_encounters() == ["2"]
    assert report.results == {"due": 1, "withheld:opted_out": 1}


def test_an_opt_out_of_one_channel_leaves_the_other(office: Office) -> None:
    invite(office, {})
    office.ledger.people.opt_out(key_of("cpf", cpf(1)), OptOutChannel.WHATSAPP, "test")
    office.later(days=7)
    office.remind()
    assert channels(office) == ["email"]


def test_writing_sair_back_stops_the_channel_it_was_written_on(office: Office) -> None:
    invite(office, {})
    office.reader.delivered = {
        "distribution-1": [DeliveryStatus(office.send_id(1), "unsubscribed", office.now, "reply")]
    }
    office.later(days=1)
    office.later(days=6)
    office.remind()
    assert channels(office) == ["whatsapp"]


def test_a_bounced_address_is_not_written_to_again(office: Office) -> None:
    invite(office, {"phone_e164": None, "phone_key": None})
    office.reader.delivered = {"distribution-1": [DeliveryStatus(office.send_id(1), "bounced", office.now, "bounced")]}
    office.later(days=1)
    office.later(days=6)
    assert office.remind().results == {"withheld:bounced": 1}


def test_nobody_is_reminded_of_a_visit_after_a_death_or_a_new_visit_anywhere(office: Office) -> None:
    invite(office, {}, {}, {}, {})
    office.see(900, key=key_of("cpf", cpf(1)), days=3, died=True)
    office.see(901, key=key_of("email", email_of(2)), days=5, code="HAT")
    office.see(3, key=key_of("cpf", cpf(3)), days=0, died=True, code="HMS")

    office.later(days=7)
    report = office.remind()

    assert office.track.accepted_encounters() == ["4"]
    assert report.results == {"due": 1, "withheld:deceased": 2, "withheld:returned": 1}


def test_a_corrected_number_whose_owner_has_opted_out_is_not_written_to(office: Office) -> None:
    invite(office, {}, {})
    office.ledger.people.opt_out(key_of("phone", f"27{phone_of(77)[-8:]}"), OptOutChannel.WHATSAPP, "test")
    office.plan({"phone_e164": phone_of(77), "phone_key": key_of("phone", f"27{phone_of(77)[-8:]}")}, {})

    office.later(days=7)
    office.remind()

    # The first by e-mail instead.
    assert sorted(map(str, channels(office))) == ["email", "whatsapp"]
    assert phone_of(77).removeprefix("+") not in str(office.track.accepted)


def test_an_opt_out_of_the_number_that_was_invited_holds_after_it_was_corrected(office: Office) -> None:
    invite(
        office, {"email_address": None, "email_key": None, "cpf_digits": None, "cpf_key": None, "channel": "whatsapp"}
    )
    office.dispatch(Channel.WHATSAPP)
    office.track.accepted.clear()
    office.ledger.people.opt_out(key_of("phone", f"27{phone_of(1)[-8:]}"), OptOutChannel.ALL, "test")
    office.plan({"phone_e164": phone_of(77), "phone_key": key_of("phone", f"27{phone_of(77)[-8:]}")})

    office.later(days=7)

    assert office.remind().results == {"withheld:opted_out": 1}


def test_a_missed_day_is_caught_up_within_three(office: Office) -> None:
    invite(office, {}, {})
    office.later(days=10)
    assert office.remind().sent == 2


def test_after_that_it_is_late_for_good_and_the_story_says_so(office: Office) -> None:
    invite(office, {})
    office.later(days=11)
    assert office.remind().sent == 0
    late = office.ledger.encounters.history("HMS", 1).decisions[-1]
    assert (late["step"], late["result"], late["reason"]) == ("reminder_7d", "suppressed", "late")


def test_a_late_invitation_is_reminded_seven_days_after_itself(office: Office) -> None:
    office.now += timedelta(days=3)
    invite(office, {})
    office.later(days=5)
    assert office.remind().sent == 0
    office.later(days=2)
    assert office.remind().sent == 1


def test_both_waves_never_go_together_however_late_the_first_was(office: Office) -> None:
    invite(office, {})
    office.later(days=10)
    office.remind(Wave(7))
    assert office.remind(Wave(14)).sent == 0
    office.later(days=3)
    assert office.remind(Wave(14)).sent == 0
    office.later(days=1)
    assert office.remind(Wave(14)).sent == 1


@pytest.mark.parametrize("source", ["answers", "opt_outs", "distribution-1"])
def test_stale_knowledge_reminds_nobody_and_says_what_to_do(office: Office, source: str) -> None:
    invite(office, {}, {})
    office.refresh()
    office.reader.failures = {source: NotSent("unreachable", "Track.co cannot be reached.")}
    office.now += timedelta(days=7)
    with pytest.raises(NotSent):
        office.refresh()

    with pytest.raises(AnswersStale, match="Materialise the asset `answers`"):
        office.remind()

    assert office.track.requests == []


def test_who_unsubscribed_days_after_the_invitation_is_not_reminded_by_that_channel(office: Office) -> None:
    invite(office, {}, {})
    office.later(days=5)
    unsubscribed = DeliveryStatus(office.send_id(1), "unsubscribed", office.now, "unsubscribed")
    office.reader.delivered = {"distribution-1": [unsubscribed]}

    office.later(days=2)
    office.remind(Wave(7))
    office.later(days=7)
    office.remind(Wave(14))

    # The first said no to e-mail: not even the second reminder, which prefers it, goes that way.
    assert channels(office) == ["whatsapp", "email", "whatsapp"]
    assert office.track.accepted_encounters() == ["1", "2", "2", "1"]


def test_knowledge_that_was_never_read_is_stale(office: Office) -> None:
    invite(office, {})
    office.now += timedelta(days=7)
    with pytest.raises(AnswersStale, match="never read"):
        office.remind()


def test_reminders_left_to_track_are_not_ours_to_send(office: Office) -> None:
    office.hospital = hospital(reminders="track")
    invite(office, {})
    office.later(days=7)
    assert office.remind().results == {"withheld:tracks_own": 1}
    assert office.track.requests == []


def test_a_purged_plan_leaves_nobody_to_remind_each_by_name(office: Office) -> None:
    invite(office, {})
    office.lake.path("invitation", AREA, DAY, "HMS").unlink()
    office.later(days=7)
    assert office.remind().results == {"withheld:no_contact": 1}


def test_a_reminder_whose_outcome_nobody_saw_is_never_repeated(office: Office) -> None:
    invite(office, {})
    office.later(days=7)
    office.track.script = [Unknown("timeout", "No answer.")]
    with pytest.raises(DispatchStopped):
        office.remind()
    assert office.remind().results == {"done": 1}
    assert office.track.accepted == []


def test_outside_the_window_reminders_wait_for_the_next_run(office: Office) -> None:
    invite(office, {})
    office.later(days=7, hours=12)
    assert office.remind().held == {"deferred:window": 1}
    office.later(hours=12)
    assert office.remind().sent == 1


def test_an_opt_out_between_the_plan_and_the_claim_is_honoured(office: Office) -> None:
    invite(office, {}, {})
    office.batch_size = 1
    office.later(days=7)

    def refuse_meanwhile() -> None:
        office.ledger.people.opt_out(key_of("cpf", cpf(2)), OptOutChannel.ALL, "test")

    office.track.on_request = refuse_meanwhile
    assert office.remind().held == {"suppressed:opted_out": 1}
    assert office.track.accepted_encounters() == ["1"]


def test_a_hospital_that_requires_consent_reminds_by_whatsapp_only_who_has_agreed(office: Office) -> None:
    office.hospital = hospital(whatsapp_consent="required")
    invite(office, {}, {})
    agreed = {"person_key": key_of("phone", f"27{phone_of(2)[-8:]}"), "channel": "whatsapp", "source": "form"}
    office.ledger.people.record_consents(pl.DataFrame([agreed | {"given_at": DAY, "text_version": "v1"}]))
    office.later(days=7)

    office.remind()

    by_channel = {
        str(request.body()["distribution_channel"]): [line["cd_atendimento"] for line in request.lines]
        for request in office.track.requests
    }
    assert by_channel == {"email": ["1"], "whatsapp": ["2"]}


def test_of_a_thousand_exactly_the_open_ones_are_reminded(office: Office) -> None:
    invite(office, *({} for _ in range(1000)))
    office.reader.answered = [answer(office, number) for number in range(1, 301)]
    office.reader.refused = [
        OptOut(None, email_of(number), None, OptOutChannel.ALL, None) for number in range(301, 401)
    ]

    office.later(days=7)
    office.remind()
    office.remind()

    assert sorted(map(int, office.track.accepted_encounters())) == list(range(401, 1001))


def test_runs_at_once_remind_everybody_once(office: Office) -> None:
    invite(office, *({} for _ in range(30)))
    office.later(days=7)
    office.batch_size = 5

    with ThreadPoolExecutor(4) as pool:
        reports = list(pool.map(lambda number: office.remind(run_id=f"run-{number}"), range(4)))

    assert sum(report.sent for report in reports) == 30
    assert sorted(map(int, office.track.accepted_encounters())) == list(range(1, 31))


def test_whoever_tries_both_waves_every_day_sends_two_reminders_a_week_apart(office: Office) -> None:
    invite(office, {}, {})
    sent: list[int] = []
    for age in range(1, 25):
        office.later(days=1)
        for wave in (Wave(14), Wave(7)):
            sent += [age] * office.remind(wave).sent
    assert sent == [7, 7, 14, 14]


@pytest.mark.parametrize("scope", ["all", "hospital:HMS", "channel:whatsapp"])
def test_a_pause_holds_reminders_until_it_is_over(office: Office, scope: str) -> None:
    invite(office, {})
    office.later(days=7)
    office.ledger.pauses.add(scope, "audit", "test")
    assert office.remind().held == {"deferred:paused": 1}

    office.ledger.pauses.remove(scope)
    assert office.remind().sent == 1
