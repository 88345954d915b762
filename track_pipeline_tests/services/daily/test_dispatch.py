"""The effect on a dispatch of every answer that Track.co can give, and re-runs that invite no person twice."""

import json
from collections.abc import Iterator
from datetime import datetime, timedelta
from itertools import count
from pathlib import Path

import pytest

from track_pipeline.adapters.lake import NotInLake
from track_pipeline.adapters.track.requests import LinkList
from track_pipeline.config.policy import load_policy
from track_pipeline.domain.channels import Channel, OptOutChannel
from track_pipeline.domain.sends import Verdict
from track_pipeline.errors import ConfigError
from track_pipeline.ports import Accepted, NotSent, Refused, RefusedInPart, Stopped, Unknown
from track_pipeline.services.daily.dispatch import Approval, Dispatcher, GateTripped
from track_pipeline.services.daily.sending import DispatchStopped
from track_pipeline_tests.support.builders import DAY, encounters, hospital, keys_of, planned
from track_pipeline_tests.support.installation import AREA, NINE, Office


@pytest.fixture
def office(tmp_path: Path) -> Iterator[Office]:
    office = Office(tmp_path)
    yield office
    office.ledger.close()


def test_what_the_plan_has_and_the_ledger_has_not_is_sent_once(office: Office) -> None:
    office.plan({}, {}, {})

    first, second = office.dispatch(), office.dispatch()

    assert (first.sent, second.sent, second.earlier) == (3, 0, 3)
    assert office.track.accepted_encounters() == ["1", "2", "3"]
    assert office.funnel() == {"sent": 3}


def test_a_line_carries_only_what_the_policy_allows(office: Office) -> None:
    office.plan({})
    office.dispatch()
    assert set(office.track.accepted[0]) == set(load_policy().line_fields[Channel.EMAIL])


def test_each_survey_of_each_unit_is_a_distribution_of_its_own_in_batches(office: Office) -> None:
    office.batch_size = 2
    office.plan({}, {}, {}, {"survey_uuid": "a-second-survey"})

    office.dispatch()

    assert sorted(len(request.lines) for request in office.track.requests) == [1, 1, 2]


def test_without_a_plan_it_says_what_to_materialise(office: Office) -> None:
    with pytest.raises(NotInLake, match="invitation/internacao"):
        office.dispatch()


@pytest.mark.parametrize("reason", ["unreachable", "busy"])
def test_what_certainly_did_not_leave_goes_with_the_next_run(office: Office, reason: str) -> None:
    office.plan({}, {})
    office.track.script = [NotSent(reason, "Track.co did not answer.")]

    with pytest.raises(DispatchStopped, match="again"):
        office.dispatch()
    assert office.funnel() == {"deferred": 2, f"deferred:{reason}": 2}

    office.dispatch()
    assert office.funnel() == {"sent": 2}


def test_an_exhausted_budget_defers_without_failing(office: Office) -> None:
    office.plan({}, {})
    office.track.script = [NotSent("budget", "The request budget is used up.")]

    office.dispatch()

    assert office.funnel() == {"deferred": 2, "deferred:budget": 2}


def test_no_turn_within_a_whole_window_defers_what_is_left_and_claims_none_of_it(office: Office) -> None:
    office.plan({}, {})

    def no_room() -> None:
        raise NotSent("budget", "The request budget is used up.")

    office.track.on_turn = no_room
    office.dispatch()

    assert office.funnel() == {"deferred": 2, "deferred:budget": 2}
    assert office.ledger.encounters.history("HMS", 1).sends == []


def test_who_says_no_or_pauses_while_a_turn_is_waited_for_is_heard(office: Office) -> None:
    office.batch_size = 1
    office.plan({}, {}, {})
    turns = count(1)

    def wait() -> None:
        turn = next(turns)
        if turn == 2:
            office.ledger.people.opt_out(str(keys_of(2)["cpf_key"]), OptOutChannel.ALL, "Track.co")
        elif turn == 3:
            office.ledger.pauses.add("all", "an operator wants to look", "operator")

    office.track.on_turn = wait
    office.dispatch()

    assert office.track.accepted_encounters() == ["1"]
    assert office.funnel() == {
        "sent": 1, "suppressed": 1, "suppressed:opted_out": 1, "deferred": 1, "deferred:paused": 1
    }  # fmt: skip


def test_what_may_have_left_is_unknown_and_never_goes_again_by_itself(office: Office) -> None:
    office.batch_size = 2
    office.plan({}, {}, {})
    office.track.script = [Unknown("timeout", "No answer within 60 s.")]

    with pytest.raises(DispatchStopped):
        office.dispatch()
    assert office.funnel() == {"unknown": 2, "unknown:timeout": 2, "deferred": 1, "deferred:unreachable": 1}

    office.dispatch()
    assert office.funnel() == {"unknown": 2, "unknown:timeout": 2, "sent": 1}
    assert office.track.accepted_encounters() == ["3"]


def test_a_run_that_dies_between_claim_and_answer_leaves_unknown(office: Office) -> None:
    office.plan({}, {})
    office.track.script = [KeyboardInterrupt()]

    with pytest.raises(KeyboardInterrupt):
        office.dispatch()
    office.dispatch()

    assert office.funnel() == {"unknown": 2, "unknown:no_outcome": 2}
    assert office.track.accepted == []


def test_an_operator_may_say_that_an_unknown_send_never_left(office: Office) -> None:
    office.plan({})
    office.track.script = [Unknown("timeout", "No answer.")]
    with pytest.raises(DispatchStopped):
        office.dispatch()

    unknown = office.ledger.sends.unresolved("HMS").get_column("send_id")
    office.ledger.sends.resolve(unknown, Verdict.NOT_SENT, "the screen shows no such distribution", by="test")
    office.dispatch()

    assert office.funnel() == {"sent": 1}


def test_the_throttle_pauses_everything_until_somebody_resumes(office: Office) -> None:
    office.plan({}, {})
    office.track.script = [Stopped("throttled", "Track.co asks for a captcha.")]

    with pytest.raises(DispatchStopped, match="captcha"):
        office.dispatch()
    office.dispatch()
    assert len(office.track.requests) == 1
    assert office.funnel() == {"deferred": 2, "deferred:paused": 2}
    assert len(office.alerts) == 1
    assert "captcha" in office.alerts[0].text

    office.ledger.pauses.remove("all")
    office.dispatch()
    assert office.funnel() == {"sent": 2}


def test_a_refused_token_stops_and_keeps_the_lines(office: Office) -> None:
    office.plan({}, {})
    office.track.script = [Stopped("token_refused", "Track.co refused the token.")]

    with pytest.raises(DispatchStopped, match="API_TOKEN"):
        office.dispatch()

    assert office.funnel() == {"deferred": 2, "deferred:token_refused": 2}
    assert office.ledger.pauses.all().is_empty()


def test_lines_that_the_answer_names_are_rejected_and_the_others_sent(office: Office) -> None:
    office.plan({}, {}, {})
    office.track.script = [{"2": "invalid_email"}]

    office.dispatch()

    assert office.funnel() == {"sent": 2, "rejected": 1, "rejected:invalid_email": 1}


def test_one_bad_line_does_not_hold_back_the_good_ones_of_its_batch(office: Office) -> None:
    office.plan(*({} for _ in range(9)))
    bad = "6"

    def refuse_batches_with_the_bad_line() -> None:
        lines = office.track.requests[-1].lines
        refused = RefusedInPart("http_422", "Track.co refused the request.")
        office.track.script = [refused if any(line["cd_atendimento"] == bad for line in lines) else None]

    office.track.on_request = refuse_batches_with_the_bad_line
    office.dispatch()

    assert office.funnel() == {"sent": 8, "rejected": 1, "rejected:http_422": 1}
    assert sorted(office.track.accepted_encounters()) == sorted({str(n) for n in range(1, 10)} - {bad})


def test_a_survey_that_is_refused_altogether_costs_few_requests(office: Office) -> None:
    office.plan(*({} for _ in range(300)))
    office.track.script = [RefusedInPart("http_422", "Track.co refused the request.")] * 1000

    office.dispatch()

    assert office.funnel() == {"rejected": 300, "rejected:http_422": 300}
    assert len(office.track.requests) <= 50


def test_another_refusal_rejects_the_batch_at_once(office: Office) -> None:
    office.plan({}, {})
    office.track.script = [Refused("http_404", "There is no such survey.")]

    office.dispatch()

    assert office.funnel() == {"rejected": 2, "rejected:http_404": 2}
    assert len(office.track.requests) == 1


@pytest.mark.parametrize(
    ("now", "opens"),
    [
        (NINE.replace(hour=7, minute=59), NINE.replace(hour=8)),
        (NINE.replace(hour=20), NINE + timedelta(days=1)),
        (NINE.replace(day=16), NINE.replace(day=17)),  # a Sunday
    ],
)
def test_outside_the_window_lines_wait_and_go_when_it_opens(office: Office, now: datetime, opens: datetime) -> None:
    office.plan({})
    office.now = now
    office.dispatch()
    assert office.funnel() == {"deferred": 1, "deferred:window": 1}
    assert office.track.requests == []

    office.now = opens
    office.dispatch()
    assert office.funnel() == {"sent": 1}


def test_the_window_closes_between_two_batches(office: Office) -> None:
    office.batch_size = 1
    office.plan({}, {})

    def evening_falls() -> None:
        office.now = NINE.replace(hour=20)

    office.track.on_request = evening_falls
    office.dispatch()

    assert office.funnel() == {"sent": 1, "deferred": 1, "deferred:window": 1}


@pytest.mark.parametrize("scope", ["all", "hospital:HMS", "channel:email"])
def test_a_pause_holds_everything_in_its_scope(office: Office, scope: str) -> None:
    office.plan({})
    office.ledger.pauses.add(scope, "audit", "test")
    office.dispatch()
    assert office.funnel() == {"deferred": 1, "deferred:paused": 1}


@pytest.mark.parametrize("scope", ["hospital:HMC", "channel:whatsapp"])
def test_a_pause_holds_nothing_else(office: Office, scope: str) -> None:
    office.plan({})
    office.ledger.pauses.add(scope, "audit", "test")
    office.dispatch()
    assert office.funnel() == {"sent": 1}


def test_a_dry_run_does_everything_but_claim_and_post(office: Office) -> None:
    office.sends = False
    office.plan({}, {})
    office.dispatch()
    assert office.funnel() == {"deferred": 2, "deferred:dry_run": 2}
    assert office.track.requests == []

    office.sends = True
    office.dispatch()
    assert office.funnel() == {"sent": 2}


def test_what_should_have_gone_long_ago_does_not_go(office: Office) -> None:
    office.plan({})
    office.now = NINE + timedelta(days=7)
    office.dispatch()
    assert office.funnel() == {"suppressed": 1, "suppressed:stale": 1}


def test_somebody_who_opted_out_after_the_plan_is_not_written_to(office: Office) -> None:
    office.plan({}, {})
    key = planned({}).get_column("phone_key").item()
    office.ledger.people.opt_out(key, OptOutChannel.ALL, "test")

    office.dispatch()

    assert office.funnel() == {"sent": 1, "suppressed": 1, "suppressed:opted_out": 1}


def test_a_person_whom_another_hospital_asked_this_morning_is_left_alone(office: Office) -> None:
    office.plan({}, {"cpf_key": planned({}).get_column("cpf_key").item()})

    office.dispatch()

    assert office.funnel() == {"sent": 1, "suppressed": 1, "suppressed:quarantine": 1}


def test_a_line_that_was_dropped_keeps_its_reason_when_the_day_is_run_again(office: Office) -> None:
    office.plan({}, {"cpf_key": planned({}).get_column("cpf_key").item()})
    office.dispatch()
    for key in ("cpf_key", "phone_key", "email_key"):
        office.ledger.people.opt_out(planned({}, {}).get_column(key)[1], OptOutChannel.ALL, "test")

    report = office.dispatch()

    assert (report.lines, report.earlier, report.held) == (2, 2, {})
    assert office.funnel() == {"sent": 1, "suppressed": 1, "suppressed:quarantine": 1}


def test_the_policy_that_something_was_sent_under_is_kept_with_its_legal_basis_and_fields(office: Office) -> None:
    office.plan({})
    office.dispatch()
    [send] = office.ledger.encounters.history("HMS", 1).sends

    kept = json.loads(office.ledger.policies.document(send["policy_version"]) or "")

    assert kept["legal_basis"]["email"] == office.policy.legal_basis[Channel.EMAIL]
    assert kept["line_fields"]["email"] == list(office.policy.line_fields[Channel.EMAIL])


def test_a_plan_that_lacks_rows_of_its_extract_is_never_sent(office: Office) -> None:
    office.plan({}, extract=2)

    with pytest.raises(GateTripped, match="plan_covers_extract"):
        office.dispatch(approval=Approval(frozenset({"plan_covers_extract"}), "please"))

    assert office.track.requests == []
    assert office.funnel() == {"deferred": 1, "deferred:gate": 1}


def test_a_doubt_stops_the_partition_until_an_operator_gives_a_reason(office: Office) -> None:
    nobody = {"result": "excluded", "reason": "no_contact", "channel": None}
    office.plan({}, *([nobody] * 30))

    with pytest.raises(GateTripped, match="contact_share"):
        office.dispatch()
    with pytest.raises(GateTripped, match="contact_share"):
        office.dispatch(approval=Approval(frozenset({"contact_share"})))
    assert office.track.requests == []

    office.dispatch(approval=Approval(frozenset({"contact_share"}), "new front desk, seen with the unit"))
    assert len(office.track.accepted) == 1


def test_a_repeated_encounter_in_the_plan_is_never_sent(office: Office) -> None:
    office.plan({}, {})
    plan = office.lake.read("invitation", AREA, DAY, "HMS")
    office.lake.write(plan.with_columns(encounter_id=1), "invitation", AREA, DAY, "HMS")

    with pytest.raises(GateTripped, match="no_duplicate_encounter"):
        office.dispatch()


def test_whatsapp_goes_with_its_template_and_without_an_address(office: Office) -> None:
    office.plan({"channel": "whatsapp"})

    office.dispatch(Channel.WHATSAPP)

    body = office.track.requests[0].body()
    assert body["distribution_channel"] == "whatsapp"
    assert set(office.track.accepted[0]) == set(load_policy().line_fields[Channel.WHATSAPP])
    assert {"whatsapp_template", "whatsapp_integration_uuid"} <= set(body)


def test_a_unit_without_a_whatsapp_template_stops_before_anything_is_claimed(office: Office) -> None:
    unit = office.catalog.unit("HMS").model_copy(update={"whatsapp_template": None})
    office.catalog = office.catalog.model_copy(update={"units": (unit,)})
    office.plan({"channel": "whatsapp"})

    with pytest.raises(ConfigError, match="HMS has no whatsapp_template"):
        office.dispatch(Channel.WHATSAPP)

    assert office.ledger.sends.unresolved().is_empty()


def test_links_for_people_without_a_contact_are_their_invitation(office: Office) -> None:
    office.hospital = hospital(links="no_contact")
    office.plan({"channel": "link"}, {})

    office.dispatch(Channel.LINK)
    office.dispatch(Channel.LINK)

    links = office.lake.read("survey_link", AREA, DAY, "HMS")
    assert links.get_column("encounter_id").to_list() == [1]
    assert office.funnel() == {"sent": 1, "deferred": 1, "deferred:not_dispatched": 1}


def test_links_for_all_are_made_beside_the_invitations(office: Office) -> None:
    office.hospital = hospital(links="all")
    office.plan({}, {"channel": "whatsapp"})

    for channel in (Channel.LINK, Channel.EMAIL, Channel.WHATSAPP):
        office.dispatch(channel)

    assert office.lake.read("survey_link", AREA, DAY, "HMS").height == 2
    assert office.funnel() == {"sent": 2}


def test_a_link_that_is_missing_in_the_answer_is_not_called_sent(
    office: Office, monkeypatch: pytest.MonkeyPatch
) -> None:
    office.hospital = hospital(links="no_contact")
    office.plan({"channel": "link"}, {"channel": "link"})
    whole = office.track.create_link_list

    def one_left_out(link_list: LinkList) -> Accepted:
        receipt = whole(link_list)
        return Accepted(None, receipt.refused, dict(list(receipt.links.items())[:1]))

    monkeypatch.setattr(office.track, "create_link_list", one_left_out)
    report = office.dispatch(Channel.LINK)

    assert (report.sent, report.unknown) == (1, 1)
    assert office.lake.read("survey_link", AREA, DAY, "HMS").height == 1
    assert office.funnel() == {"sent": 1, "unknown": 1, "unknown:no_link": 1}


def test_what_was_dropped_with_a_batch_that_then_failed_stays_dropped(office: Office) -> None:
    office.plan({}, {}, {})
    office.ledger.people.opt_out(str(keys_of(1)["cpf_key"]), OptOutChannel.ALL, "track")
    office.track.script = [NotSent("unreachable", "Track.co did not answer.")]

    with pytest.raises(DispatchStopped):
        office.dispatch()

    assert office.funnel() == {
        "suppressed": 1, "suppressed:opted_out": 1, "deferred": 2, "deferred:unreachable": 2,
    }  # fmt: skip


def test_a_plan_of_an_earlier_extract_is_not_sent(office: Office) -> None:
    office.plan({}, {})
    office.lake.write(encounters({}, {"died": True}), "extract", AREA, DAY, "HMS")

    with pytest.raises(GateTripped, match=r"plan_is_of_extract.*materialise the invitation again"):
        office.dispatch()

    assert office.track.requests == []
    assert office.funnel() == {"deferred": 2, "deferred:gate": 2}


def test_what_waits_is_not_stale_in_a_dry_run_and_what_left_never_is(office: Office) -> None:
    office.sends = False
    office.plan({})
    office.dispatch()
    office.now += timedelta(days=30)
    assert Dispatcher(office.outbox).drop_stale(office.hospital) == 0
    assert office.funnel() == {"deferred": 1, "deferred:dry_run": 1}

    office.sends, office.now = True, NINE
    office.dispatch()
    office.now += timedelta(days=30)
    assert Dispatcher(office.outbox).drop_stale(office.hospital) == 0
    assert office.funnel() == {"sent": 1}


def test_a_link_lost_with_its_answer_is_unknown_too(office: Office) -> None:
    office.hospital = hospital(links="no_contact")
    office.plan({"channel": "link"})
    office.track.script = [Unknown("connection_lost", "The connection broke off.")]

    with pytest.raises(DispatchStopped):
        office.dispatch(Channel.LINK)

    assert office.funnel() == {"unknown": 1, "unknown:connection_lost": 1}


def test_reminders_left_to_track_are_asked_for_with_the_invitation_on_its_own_channel(office: Office) -> None:
    office.hospital = hospital(reminders="track")
    office.plan({}, {"channel": "whatsapp"})

    office.dispatch(Channel.EMAIL)
    office.dispatch(Channel.WHATSAPP)

    by_email, by_whatsapp = (request.body() for request in office.track.requests)
    in_a_week = int(datetime(2025, 3, 18, 9, tzinfo=office.hospital.zone).timestamp())
    assert (by_email["reminder_at"], by_email["reminder_channel"]) == (in_a_week, "email")
    assert not [key for key in by_email if "whatsapp" in key]
    assert (by_whatsapp["reminder_at"], by_whatsapp["reminder_channel"]) == (in_a_week, "whatsapp")
    assert by_whatsapp["whatsapp_reminder_template"] == by_whatsapp["whatsapp_template"]


def test_tracks_own_reminder_waits_for_an_open_window_too(office: Office) -> None:
    office.hospital = hospital(reminders="track", send_window={"start": "10:30"})
    office.now = NINE.replace(hour=11)
    office.plan({})

    office.dispatch()

    [request] = office.track.requests
    assert request.body()["reminder_at"] == int(datetime(2025, 3, 18, 10, 30, tzinfo=office.hospital.zone).timestamp())


def test_reminders_of_our_own_leave_no_trace_in_the_invitation(office: Office) -> None:
    office.plan({})
    office.dispatch()
    assert not [key for key in office.track.requests[0].body() if "reminder" in key]


def test_a_request_that_cannot_be_written_leaves_nothing_claimed(office: Office) -> None:
    office.hospital = hospital(reminders="track")
    office.validity_days = 6  # the survey would end before Track.co's reminder of a week
    office.plan({}, {})

    with pytest.raises(ConfigError, match="nothing was sent"):
        office.dispatch()
    assert office.funnel() == {"deferred": 2, "deferred:not_dispatched": 2}

    office.validity_days = 15
    office.dispatch()
    assert office.funnel() == {"sent": 2}


@pytest.mark.parametrize(
    ("failure", "outcome"),
    [
        (NotSent("busy", "Track.co is busy."), {"deferred": 4, "deferred:busy": 4}),
        (
            Unknown("timeout", "No answer."),
            {"unknown": 2, "unknown:timeout": 2, "deferred": 2, "deferred:unreachable": 2},
        ),
    ],
)
def test_the_half_of_a_refused_batch_that_was_not_tried_is_not_unknown(
    office: Office, failure: NotSent | Unknown, outcome: dict[str, int]
) -> None:
    office.plan(*({} for _ in range(4)))
    office.track.script = [RefusedInPart("http_422", "Track.co refused the request."), failure]

    with pytest.raises(DispatchStopped):
        office.dispatch()

    assert office.funnel() == outcome
