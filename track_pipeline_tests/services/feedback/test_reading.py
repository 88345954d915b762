"""Data from Track.co is counted once, joined to its send, and shown without personal data."""

import logging
from collections.abc import Iterator
from datetime import datetime, timedelta
from pathlib import Path

import pytest
from sqlalchemy import update

from track_pipeline.adapters.ledger.tables import sends
from track_pipeline.domain.channels import OptOutChannel
from track_pipeline.ports import Answer, DeliveryStatus, NotSent, OptOut, Page, Refused, Unknown
from track_pipeline.services.daily.reminders import AnswersStale, Reminder
from track_pipeline.services.daily.sending import DispatchStopped
from track_pipeline.services.feedback.reading import Unreadable
from track_pipeline_tests.support.builders import DAY, cpf, email_of, key_of, phone_of
from track_pipeline_tests.support.installation import AREA, Office

SECRET = "A senhora Segredo de Teste me atendeu mal"


@pytest.fixture
def office(tmp_path: Path) -> Iterator[Office]:
    office = Office(tmp_path)
    office.plan({}, {}, {})
    office.dispatch()
    yield office
    office.ledger.close()


def answer(office: Office, encounter: int, score: int | None = 9, *, at: datetime | None = None) -> Answer:
    return Answer(office.send_id(encounter), at or office.now, "done", score, SECRET, f"interaction-{encounter}")


def answered(office: Office) -> int:
    return int(office.ledger.counts.answered((DAY, DAY)).get_column("count").sum())


def test_an_answer_counts_once_however_often_and_in_whatever_order_it_comes(office: Office) -> None:
    first = answer(office, 1)
    again = answer(office, 1, at=office.now + timedelta(hours=2))
    office.reader.answered = [again, first, first]

    assert office.refresh().new_answers == 1
    assert office.refresh().new_answers == 0
    assert answered(office) == 1


def test_a_partial_answer_is_none(office: Office) -> None:
    partial = Answer(office.send_id(1), office.now, "partial", None, None, None)
    office.reader.answered = [partial]
    report = office.refresh()
    assert (report.new_answers, report.partial_answers, answered(office)) == (0, 1, 0)


def test_answers_to_sends_of_others_are_counted_and_left(office: Office) -> None:
    office.reader.answered = [Answer("somebody-elses", office.now, "done", 3, None, None)]
    report = office.refresh()
    assert (report.new_answers, report.strangers) == (0, 1)
    assert office.alerts == []


def test_an_answer_proves_that_an_unknown_send_arrived(tmp_path: Path) -> None:
    office = Office(tmp_path / "other")
    office.plan({})
    office.track.script = [Unknown("timeout", "No answer.")]
    with pytest.raises(DispatchStopped):
        office.dispatch()
    office.reader.answered = [answer(office, 1)]

    office.refresh()

    assert office.funnel() == {"sent": 1}
    office.ledger.close()


def test_new_detractors_are_told_of_once_by_hospital_in_numbers(office: Office) -> None:
    office.reader.answered = [answer(office, 1, 6), answer(office, 2, 0), answer(office, 3, 7)]
    assert office.refresh().detractors == {"HMS": 2}
    office.now += timedelta(hours=1)
    assert office.refresh().detractors == {}
    [alert] = office.alerts
    assert (alert.subject, alert.link) == ("HMS", "/assets/daily_report")
    assert "2 new answers" in alert.text


def test_a_detractor_whom_several_pages_bring_is_told_of_once(office: Office) -> None:
    office.reader.page_size = 2
    office.reader.answered = [answer(office, 1, 3), answer(office, 2, 10), answer(office, 1, 3), answer(office, 3, 0)]
    assert office.refresh().detractors == {"HMS": 2}


def test_detractors_are_told_of_although_the_reading_breaks_off_after_them(office: Office) -> None:
    office.reader.answered = [answer(office, 1, 3)]
    office.reader.failures = {"statuses": NotSent("unreachable", "Track.co cannot be reached.")}
    with pytest.raises(NotSent):
        office.refresh()
    assert [alert.subject for alert in office.alerts] == ["HMS"]

    office.now += timedelta(hours=1)
    office.reader.failures = {}
    assert office.refresh().detractors == {}
    assert len(office.alerts) == 1


def test_an_opt_out_by_send_reaches_every_key_of_the_person(office: Office) -> None:
    office.reader.refused = [OptOut(office.send_id(1), None, None, OptOutChannel.ALL, None)]
    assert office.refresh().new_opt_outs == 3
    assert office.refresh().new_opt_outs == 0
    keys = set(office.ledger.people.opt_outs().get_column("person_key"))
    assert keys == {
        key_of("cpf", cpf(1)),
        key_of("email", email_of(1)),
        key_of("phone", f"27{phone_of(1)[-8:]}"),
    }


def test_an_opt_out_by_contact_is_read_as_people_write_contacts(office: Office) -> None:
    office.reader.refused = [
        OptOut(None, f" {email_of(1).upper()} ", "27 " + phone_of(2)[-8:], OptOutChannel.EMAIL, None)
    ]
    office.refresh()
    found = office.ledger.people.opt_outs().select("person_key", "channel").rows()
    assert set(found) == {
        (key_of("email", email_of(1)), "email"),
        (key_of("phone", f"27{phone_of(2)[-8:]}"), "email"),
    }


def test_a_contact_that_cannot_be_read_is_counted_and_loses_no_other(office: Office) -> None:
    office.reader.refused = [
        OptOut(None, "not an address", None, OptOutChannel.ALL, None),
        OptOut(None, email_of(2), None, OptOutChannel.ALL, None),
    ]
    report = office.refresh()
    assert (report.new_opt_outs, dict(report.skipped)) == (1, {"opt_out_unreadable": 1})


@pytest.mark.parametrize("status", ["unsubscribed", "refused"])
def test_a_refusal_by_status_is_an_opt_out_of_the_channel_it_came_on(office: Office, status: str) -> None:
    told = DeliveryStatus(office.send_id(1), status, office.now, status)  # type: ignore[arg-type]
    office.reader.delivered = {"distribution-1": [told]}
    office.refresh()
    assert set(office.ledger.people.opt_outs().get_column("channel")) == {"email"}


def test_the_next_reading_begins_where_this_one_did_with_an_overlap(office: Office) -> None:
    started = office.now
    office.refresh()
    office.now += timedelta(hours=1)
    office.refresh()
    assert office.reader.asked_since == [None, started - timedelta(days=1)]


def test_a_clock_that_was_ahead_is_not_believed(office: Office) -> None:
    office.now += timedelta(days=1)
    office.refresh()
    office.now -= timedelta(days=1) - timedelta(minutes=10)

    with pytest.raises(AnswersStale):
        Reminder(office.outbox)._demand_fresh_answers(office.hospital, DAY)
    asked = len(office.reader.asked_for)
    office.refresh()

    assert office.reader.asked_since[-1] is None
    assert len(office.reader.asked_for) == asked + 1
    Reminder(office.outbox)._demand_fresh_answers(office.hospital, DAY)


def test_an_unsubscribe_or_an_answer_without_a_readable_time_counts_from_now(office: Office) -> None:
    office.reader.answered = [Answer(office.send_id(1), None, "done", 9, None, None)]
    office.reader.delivered = {"distribution-1": [DeliveryStatus(office.send_id(2), "unsubscribed", None, "sair")]}

    report = office.refresh()

    assert (report.new_answers, report.new_statuses, report.skipped) == (1, 1, {})
    assert office.ledger.encounters.history("HMS", 1).answers[0]["answered_at"] == office.now
    assert not office.ledger.people.opt_outs().is_empty()


@pytest.mark.parametrize(("rows", "skipped", "believed"), [(0, 5, False), (1, 50, True), (0, 4, True)])
def test_a_reading_in_which_nothing_could_be_read_is_none(
    office: Office, monkeypatch: pytest.MonkeyPatch, rows: int, skipped: int, believed: bool
) -> None:
    opt_outs = (OptOut("s-1", None, None, OptOutChannel.ALL, None),) * rows
    monkeypatch.setattr(office.reader, "opt_outs", lambda _since: iter([Page(opt_outs, {"no_contact": skipped})]))

    if believed:
        office.refresh()
    else:
        with pytest.raises(Unreadable, match="none of 5 opt-outs"):
            office.refresh()
    assert (office.ledger.answers.last_refresh("opt_outs") is not None) == believed


def test_a_distribution_that_track_cannot_tell_of_does_not_hide_the_others(office: Office) -> None:
    settle_in(office, 3, "distribution-2")
    office.reader.delivered = {"distribution-2": [DeliveryStatus(office.send_id(3), "unsubscribed", None, "sair")]}
    office.reader.failures = {"distribution-1": NotSent("http_500", "Track.co failed.")}

    assert office.refresh().skipped == {"distribution_http_500": 1}
    assert not office.ledger.people.opt_outs().is_empty()


def test_a_track_that_can_tell_of_nothing_is_not_asked_about_everything(office: Office) -> None:
    for number in (1, 2, 3):
        settle_in(office, number, f"broken-{number}")
    office.reader.failures = {f"broken-{number}": NotSent("http_500", "Track.co failed.") for number in (1, 2, 3)}

    with pytest.raises(NotSent):
        office.refresh()


def settle_in(office: Office, encounter: int, distribution: str) -> None:
    """Puts the send of an encounter into a distribution of its own."""
    with office.ledger._database.write() as connection:
        which = sends.c.send_id == office.send_id(encounter)
        connection.execute(update(sends).where(which).values(distribution_id=distribution))


def times_asked(office: Office, **later: float) -> int:
    """How often the only distribution is asked about in a reading some time after the last one."""
    office.now += timedelta(**later)
    before = len(office.reader.asked_for)
    office.refresh()
    return len(office.reader.asked_for) - before


def test_statuses_of_new_distributions_are_asked_for_at_most_hourly(office: Office) -> None:
    assert [times_asked(office, minutes=30) for _ in range(5)] == [1, 0, 1, 0, 1]


def test_statuses_of_old_ones_are_asked_for_as_long_as_there_may_be_a_reminder_but_less_often(office: Office) -> None:
    assert times_asked(office, days=16) == 1
    assert [times_asked(office, hours=1) for _ in range(4)] == [0, 1, 0, 1]
    assert times_asked(office, days=3) == 0


def test_what_could_not_be_read_counts_as_old_as_it_was(office: Office) -> None:
    office.refresh()
    before = office.now
    office.now += timedelta(hours=2)
    office.reader.failures = {"answers": NotSent("unreachable", "Track.co cannot be reached.")}
    with pytest.raises(NotSent):
        office.refresh()
    read = {source: office.ledger.answers.last_refresh(source) for source in ("answers", "opt_outs")}
    assert read["answers"] is not None
    assert read["answers"][0] == before
    assert read["opt_outs"] is not None
    assert read["opt_outs"][0] == office.now


def test_a_distribution_that_track_does_not_know_is_counted_and_the_others_are_read(office: Office) -> None:
    office.reader.failures = {"statuses": Refused("http_404", "Track.co refused.")}
    assert office.refresh().skipped == {"distribution_http_404": 1}


def test_comments_are_nowhere_but_in_their_own_table(office: Office, caplog: pytest.LogCaptureFixture) -> None:
    office.reader.answered = [answer(office, 1, 0)]
    with caplog.at_level(logging.DEBUG):
        report = office.refresh()
    told = [caplog.text, repr(report), repr(office.alerts), repr(office.reader.answered)]
    told += [
        repr(office.ledger.encounters.history("HMS", 1)),
        repr(office.ledger.counts.responses((DAY, DAY)).to_dicts()),
    ]
    assert not [text for text in told if "Segredo" in text]
    assert AREA in told[-1]
