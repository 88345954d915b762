"""Data from Track.co in the ledger and its effects: answers, deliveries, opt-outs, reminders, counts, erasure."""

import random
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from itertools import count
from typing import Any

import polars as pl
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import Table, select

from track_pipeline.adapters.ledger import Ledger, Recorded
from track_pipeline.adapters.ledger.answers import ANSWERS, DELIVERIES
from track_pipeline.adapters.ledger.frames import fetch
from track_pipeline.adapters.ledger.people import CONSENTS, OPT_OUTS, SEEN
from track_pipeline.adapters.ledger.tables import answers, comments, consents, deliveries, opt_outs, sends, sightings
from track_pipeline.domain.channels import Channel, OptOutChannel
from track_pipeline.domain.nps import COUNTS
from track_pipeline.domain.reminders import CANDIDATES
from track_pipeline.domain.sends import SendState
from track_pipeline.domain.waves import Wave
from track_pipeline_tests.adapters.conftest import FakeClock
from track_pipeline_tests.support.ledger_lines import (
    DAY,
    INVITATION,
    NOW,
    REMINDER_7D,
    REMINDER_14D,
    answer,
    batch,
    claim,
    claim_ids,
    deliver,
    line,
    send,
)

LATER = NOW + timedelta(hours=1)
NEXT_DAY = DAY + timedelta(days=1)


def rows_of(ledger: Ledger, table: Table, *names: str) -> list[tuple[Any, ...]]:
    with ledger._database.read() as connection:
        return sorted(fetch(connection, select(*(table.c[name] for name in names))).rows())


def kept_answers(ledger: Ledger) -> list[tuple[Any, ...]]:
    return rows_of(ledger, answers, "send_id", "answered_at", "score", "interaction_id")


def candidates(ledger: Ledger) -> list[dict[str, Any]]:
    found = ledger.reminders.candidates("HMS", DAY, "exames")
    assert found.schema == CANDIDATES
    return found.to_dicts()


def candidate(ledger: Ledger) -> dict[str, Any]:
    (found,) = candidates(ledger)
    return found


def see(ledger: Ledger, *rows: tuple[str | None, int, bool], day: date = DAY, hospital: str = "HMS") -> None:
    """Rows of person_key, encounter_id, died."""
    _see_in(ledger, hospital, *rows, day=day, hospital=hospital)


def _see_in(ledger: Ledger, database: str, *rows: tuple[str | None, int, bool], day: date, hospital: str) -> None:
    frame = pl.DataFrame([(key, database, encounter, died) for key, encounter, died in rows], schema=SEEN, orient="row")
    ledger.people.record_sightings(hospital, day, frame)


def consent(ledger: Ledger, key: str, given_at: date = DAY, source: str = "form", channel: str = "whatsapp") -> int:
    row = {"person_key": key, "channel": channel, "source": source, "given_at": given_at, "text_version": "v1"}
    return ledger.people.record_consents(pl.DataFrame([row], schema=CONSENTS))


# --- answers


def test_an_answer_that_comes_again_counts_once(ledger: Ledger, clock: FakeClock) -> None:
    first, second = send(ledger, line(1), line(2))
    assert answer(ledger, first, NOW, 9, "Muito bom", "i1") == Recorded(new=1, known=0, strangers=0)
    clock.now = LATER
    assert answer(ledger, first, NOW, 9, "Muito bom", "i1") == Recorded(new=0, known=1, strangers=0)
    frame = pl.DataFrame(
        [(first, NOW, 9, "i1", None), (second, NOW, None, None, None), (second, LATER, 3, "i2", None)]
        + [("nobody", LATER, 3, None, None)] * 2,
        schema=ANSWERS,
        orient="row",
    )  # fmt: skip
    assert ledger.answers.record(frame) == Recorded(new=1, known=1, strangers=1)
    assert kept_answers(ledger) == sorted([(first, NOW, 9, "i1"), (second, NOW, None, None)])
    assert dict(rows_of(ledger, answers, "send_id", "received_at")) == {first: NOW, second: LATER}
    assert rows_of(ledger, comments, "send_id", "comment") == [(first, "Muito bom")]
    assert ledger.answers.record(frame.clear()) == Recorded(0, 0, 0)


def test_the_earliest_answer_stays_with_its_own_comment(ledger: Ledger, clock: FakeClock) -> None:
    (send_id,) = send(ledger, line(1))
    answer(ledger, send_id, LATER, 2, "later")
    clock.now = LATER
    answer(ledger, send_id, NOW, 8)
    assert kept_answers(ledger) == [(send_id, NOW, 8, None)]
    assert rows_of(ledger, answers, "received_at") == [(NOW,)]
    assert rows_of(ledger, comments, "send_id") == []


INSTANTS = st.sampled_from([NOW, NOW + timedelta(microseconds=1), LATER])
ANSWER = st.tuples(
    st.integers(0, 2), INSTANTS, st.none() | st.integers(0, 10), st.none() | st.sampled_from(["i1", "i2"])
)
ENCOUNTERS = count(1)


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(ANSWER, max_size=8), st.randoms(use_true_random=False))
def test_answers_in_any_order_and_repetition_leave_the_same_table(
    ledger: Ledger, told: list[tuple[int, datetime, int | None, str | None]], chance: random.Random
) -> None:
    def tell(*chunks: list[tuple[int, datetime, int | None, str | None]]) -> list[tuple[Any, ...]]:
        send_ids = send(ledger, *(line(next(ENCOUNTERS)) for _ in range(3)))
        new = 0
        for chunk in chunks:
            rows = [(send_ids[of], at, score, who, f"{at}{score}{who}") for of, at, score, who in chunk]
            new += ledger.answers.record(pl.DataFrame(rows, schema=ANSWERS, orient="row")).new
        assert new == len({of for of, *_ in told})
        said = dict(rows_of(ledger, comments, "send_id", "comment"))
        return sorted(
            (send_ids.index(send_id), *rest, said[send_id])
            for send_id, *rest in kept_answers(ledger)
            if send_id in send_ids
        )

    mixed = told * 2
    chance.shuffle(mixed)
    cut = chance.randint(0, len(mixed))
    assert tell(mixed[:cut], mixed[cut:], mixed) == tell(told)


def test_a_comment_is_kept_only_where_it_could_be_erased(ledger: Ledger) -> None:
    (send_id,) = send(ledger, line(1, cpf_key=None, email_key=None, channel="link"))
    assert answer(ledger, send_id, NOW, 10, "Sou a vizinha").new == 1
    assert rows_of(ledger, comments, "send_id") == []


# --- deliveries and refreshes


def test_a_status_is_kept_with_its_first_instant(ledger: Ledger) -> None:
    (send_id,) = send(ledger, line(1))
    assert deliver(ledger, send_id, "delivered", "opened", at=LATER) == Recorded(new=2, known=0, strangers=0)
    assert deliver(ledger, send_id, "delivered", at=NOW) == Recorded(new=0, known=1, strangers=0)
    assert deliver(ledger, send_id, "opened", "opened", "bounced", at=LATER + timedelta(1)) == Recorded(1, 1, 0)
    assert deliver(ledger, "nobody", "opened", "bounced") == Recorded(new=0, known=0, strangers=1)
    assert rows_of(ledger, deliveries, "status", "at") == [
        ("bounced", LATER + timedelta(1)),
        ("delivered", NOW),
        ("opened", LATER),
    ]
    assert ledger.answers.record_deliveries(pl.DataFrame(schema=DELIVERIES)) == Recorded(0, 0, 0)


def test_a_refresh_is_remembered_by_source(ledger: Ledger, clock: FakeClock) -> None:
    assert ledger.answers.last_refresh("answers") is None
    ledger.answers.record_refresh("answers", NOW - timedelta(minutes=5))
    ledger.answers.record_refresh("statuses", None)
    assert ledger.answers.last_refresh("answers") == (NOW, NOW - timedelta(minutes=5))
    assert ledger.answers.last_refresh("statuses") == (NOW, None)
    clock.now = LATER
    ledger.answers.record_refresh("answers", NOW)
    assert ledger.answers.last_refresh("answers") == (LATER, NOW)
    assert ledger.answers.last_refresh("opt_outs") is None


# --- claims after the invitation


@pytest.mark.parametrize("answered", ["invite", "reminder_7d", "extra"])
def test_who_answered_by_whatever_send_is_not_asked_again(ledger: Ledger, answered: str) -> None:
    ids = {
        "invite": send(ledger, line(1))[0],
        "reminder_7d": send(ledger, line(1), claim=REMINDER_7D)[0],
        "extra": send(ledger, line(1, channel="link", extra=True))[0],
    }
    answer(ledger, ids[answered], NOW)
    assert claim(ledger, line(1), claim=REMINDER_14D) == ["answered"]
    assert claim(ledger, line(1, channel="link", survey_uuid="other", extra=True)) == ["answered"]
    assert claim(ledger, line(1, database="HSL"), line(2), claim=REMINDER_14D) == ["claimed", "claimed"]


def test_an_answer_to_a_rejected_invitation_counts_for_the_next_one(ledger: Ledger) -> None:
    (send_id,) = claim_ids(ledger, line(1))
    ledger.sends.settle([send_id], SendState.REJECTED)
    answer(ledger, send_id, NOW)
    assert claim(ledger, line(1, channel="whatsapp")) == ["answered"]


def test_reminders_know_no_quarantine_but_opt_outs(ledger: Ledger) -> None:
    strict = replace(REMINDER_7D, any_survey_since=NOW - timedelta(days=7), this_survey_since=NOW - timedelta(days=30))
    send(ledger, line(1), line(2, email_key="email-3"), line(3, cpf_key="cpf-1", email_key=None))
    ledger.people.opt_out("email-3", OptOutChannel.EMAIL, "track")
    lines = [line(1), line(2, email_key="email-3"), line(3, cpf_key="cpf-1", email_key=None)]
    assert claim(ledger, *lines, claim=strict) == ["claimed", "opted_out", "claimed"]


def test_one_reminder_per_wave_whatever_its_outcome_but_a_rejection(ledger: Ledger) -> None:
    ids = claim_ids(ledger, line(1), line(2), claim=REMINDER_7D)
    ledger.sends.settle(ids[:1], SendState.UNKNOWN)
    ledger.sends.settle(ids[1:], SendState.REJECTED)
    lines = [line(1, channel="whatsapp"), line(2, channel="whatsapp")]
    assert claim(ledger, *lines, claim=REMINDER_7D) == ["already_asked", "claimed"]


def test_two_reminders_are_enough_even_if_nobody_saw_what_became_of_one(ledger: Ledger) -> None:
    another = replace(REMINDER_7D, wave=Wave(21))
    for wave in (REMINDER_7D, REMINDER_14D):
        ids = claim_ids(ledger, line(1), line(2), line(3), claim=wave)
        ledger.sends.settle(ids[:1], SendState.SENT if wave is REMINDER_7D else SendState.UNKNOWN)
        ledger.sends.settle(ids[1:2], SendState.REJECTED if wave is REMINDER_7D else SendState.SENT)
    assert claim(ledger, line(1), line(2), line(3), claim=another) == ["too_many", "claimed", "too_many"]


# --- candidates for reminders


def test_a_candidate_is_an_encounter_whose_invitation_was_sent(ledger: Ledger) -> None:
    send(ledger, line(1, phone_key="phone-1"))
    ledger.sends.settle(claim_ids(ledger, line(2), line(3)), SendState.REJECTED)
    send(ledger, line(2, channel="whatsapp"))
    send(ledger, line(4, channel="link", extra=True), line(5, area="internacao"), line(6, hospital="HMC"))
    send(ledger, line(7), claim=replace(INVITATION, cohort_date=NEXT_DAY))
    send(ledger, line(8, cpf_key=None, email_key=None, channel="link"))
    claim(ledger, line(9))
    found = candidates(ledger)
    assert [(row["encounter_id"], row["invite_channel"]) for row in found] == [(1, "email"), (2, "whatsapp")]
    assert found[0] == {
        "database": "HMS",
        "encounter_id": 1,
        "unit": "HMS",
        "setor": "RAIO X",
        "survey_uuid": "survey",
        "invite_channel": "email",
        "invited_at": NOW,
        "cpf_key": "cpf-1",
        "phone_key": "phone-1",
        "email_key": "email-1",
        "answered": False,
        "email_bounced": False,
        "whatsapp_bounced": False,
        "died_since": False,
        "returned_since": False,
        "reminders": [],
        "opted_out": [],
    }
    assert ledger.reminders.candidates("HMS", DAY, "maternidade").schema == CANDIDATES


@pytest.mark.parametrize("by", ["invite", "reminder", "extra"])
def test_a_candidate_answered_by_whatever_send(ledger: Ledger, by: str) -> None:
    ids = {
        "invite": send(ledger, line(1), line(2))[0],
        "reminder": send(ledger, line(1), claim=REMINDER_7D)[0],
        "extra": send(ledger, line(1, channel="link", extra=True))[0],
    }
    answer(ledger, ids[by], NOW)
    assert [row["answered"] for row in candidates(ledger)] == [True, False]


@pytest.mark.parametrize("status", ["bounced", "refused", "failed"])
def test_a_message_that_did_not_arrive_closes_its_channel(ledger: Ledger, status: str) -> None:
    (invite,) = send(ledger, line(1))
    deliver(ledger, invite, "sent", "delivered", "opened", "unsubscribed", "other")
    assert not candidate(ledger)["email_bounced"]
    (reminder,) = send(ledger, line(1, channel="whatsapp"), claim=REMINDER_7D)
    deliver(ledger, reminder, status)
    assert (candidate(ledger)["email_bounced"], candidate(ledger)["whatsapp_bounced"]) == (False, True)
    deliver(ledger, invite, status)
    assert candidate(ledger)["email_bounced"]


@pytest.mark.parametrize(
    ("seen", "encounter", "died", "day", "hospital", "flags"),
    [
        ("cpf-1", 1, False, DAY, "HMS", (False, False)),
        ("cpf-1", 1, True, DAY, "HMS", (True, False)),
        ("cpf-1", 1, True, NEXT_DAY, "HMS", (True, False)),
        ("cpf-1", 1, False, NEXT_DAY, "HMS", (False, False)),
        ("cpf-1", 1, False, NEXT_DAY, "HMC", (False, True)),
        ("email-1", 2, False, NEXT_DAY, "HMS", (False, True)),
        ("email-1", 2, True, NEXT_DAY, "HMS", (True, True)),
        ("email-1", 2, False, DAY, "HMS", (False, False)),
        # A discharge that was typed late: the death is older than the invitation, and nobody knew of it then.
        ("cpf-1", 2, True, DAY - timedelta(days=1), "HMS", (True, False)),
        ("cpf-1", 2, False, DAY - timedelta(days=1), "HMS", (False, False)),
        ("cpf-2", 2, True, NEXT_DAY, "HMS", (False, False)),
    ],
)
def test_a_candidate_who_died_or_came_back(
    ledger: Ledger, seen: str, encounter: int, died: bool, day: date, hospital: str, flags: tuple[bool, bool]
) -> None:
    send(ledger, line(1))
    see(ledger, (seen, encounter, died), day=day, hospital=hospital)
    assert (candidate(ledger)["died_since"], candidate(ledger)["returned_since"]) == flags


def test_another_hospital_that_reads_the_same_database_sees_no_return(ledger: Ledger) -> None:
    send(ledger, line(1))

    _see_in(ledger, "HMS", ("cpf-1", 1, False), day=NEXT_DAY, hospital="HPC")
    assert not candidate(ledger)["returned_since"]

    _see_in(ledger, "HMS", ("cpf-1", 2, False), day=NEXT_DAY, hospital="HPC")
    assert candidate(ledger)["returned_since"]


def test_what_the_hospital_says_of_a_candidate_now_counts_beside_what_it_said_then(ledger: Ledger) -> None:
    send(ledger, line(1), line(2), line(3), line(4))
    ledger.people.opt_out("phone-1-new", OptOutChannel.WHATSAPP, "test")
    ledger.people.opt_out("email-2", OptOutChannel.ALL, "test")
    see(ledger, ("cpf-3-new", 9, True), day=NEXT_DAY)
    now = pl.DataFrame(
        [
            {"encounter_id": 1, "cpf_key": None, "phone_key": "phone-1-new", "email_key": "email-1"},
            {"encounter_id": 2, "cpf_key": "cpf-2", "phone_key": None, "email_key": "email-2-new"},
            {"encounter_id": 3, "cpf_key": "cpf-3-new", "phone_key": None, "email_key": "email-3"},
        ]
    ).with_columns(database=pl.lit("HMS"))

    found = ledger.reminders.candidates("HMS", DAY, "exames", now).sort("encounter_id")

    assert found.select("cpf_key", "phone_key", "email_key").rows() == [
        ("cpf-1", "phone-1-new", "email-1"),
        ("cpf-2", None, "email-2-new"),
        ("cpf-3-new", None, "email-3"),
        ("cpf-4", None, "email-4"),
    ]
    assert found.get_column("opted_out").to_list() == [["whatsapp"], ["all"], [], []]
    assert found.get_column("died_since").to_list() == [False, False, True, False]


def test_what_was_seen_of_a_hospital_day_is_replaced(ledger: Ledger) -> None:
    see(ledger, ("a", 1, False), ("b", 1, False), ("a", 1, True), (None, 2, True))
    see(ledger, ("a", 3, False), day=NEXT_DAY)
    see(ledger, ("a", 3, False), hospital="HMC")
    assert rows_of(ledger, sightings, "person_key", "encounter_id", "died")[:3] == [
        ("a", 1, True), ("a", 3, False), ("a", 3, False),
    ]  # fmt: skip
    see(ledger, ("b", 1, False))
    assert rows_of(ledger, sightings, "person_key", "hospital", "cohort_date") == [
        ("a", "HMC", DAY), ("a", "HMS", NEXT_DAY), ("b", "HMS", DAY),
    ]  # fmt: skip
    see(ledger)
    assert len(rows_of(ledger, sightings, "person_key")) == 2


def test_a_candidate_tells_the_reminders_it_got(ledger: Ledger, clock: FakeClock) -> None:
    send(ledger, line(1))
    clock.now = NOW + timedelta(days=7)
    ledger.sends.settle(claim_ids(ledger, line(1), claim=REMINDER_7D), SendState.REJECTED)
    [rejected] = candidate(ledger)["reminders"]
    assert rejected == {"wave": "reminder_7d", "state": "rejected", "channel": "email", "at": clock.now}
    clock.now = NOW + timedelta(days=8)
    ledger.sends.settle(claim_ids(ledger, line(1, channel="whatsapp"), claim=REMINDER_7D), SendState.UNKNOWN)
    first = {"wave": "reminder_7d", "state": "unknown", "channel": "whatsapp", "at": clock.now}
    assert candidate(ledger)["reminders"] == [first]
    clock.now = NOW + timedelta(days=14)
    claim(ledger, line(1), claim=REMINDER_14D)
    second = {"wave": "reminder_14d", "state": "claimed", "channel": "email", "at": clock.now}
    assert candidate(ledger)["reminders"] == [first, second]
    assert candidate(ledger)["invited_at"] == NOW


def test_a_candidate_tells_what_any_of_its_keys_refuses(ledger: Ledger) -> None:
    send(ledger, line(1, phone_key="phone-1"), line(2))
    ledger.people.opt_out("phone-1", OptOutChannel.WHATSAPP, "cli")
    ledger.people.opt_out("email-1", OptOutChannel.EMAIL, "track")
    ledger.people.opt_out("cpf-1", OptOutChannel.EMAIL, "track")
    ledger.people.opt_out("cpf-2", OptOutChannel.ALL, "cli")
    ledger.people.opt_in("cpf-2", OptOutChannel.ALL)
    assert [row["opted_out"] for row in candidates(ledger)] == [["email", "whatsapp"], []]


# --- what is due


def due(ledger: Ledger, first: date = date(2025, 3, 10), last: date | None = None) -> list[tuple[date, str]]:
    return ledger.reminders.cohorts_due(Wave(7), first, last or first)


def test_due_are_the_partitions_with_a_silent_invitation(ledger: Ledger) -> None:
    send(ledger, line(1), line(2, hospital="HMC"))
    send(ledger, line(3), claim=replace(INVITATION, cohort_date=NEXT_DAY))
    send(ledger, line(4, channel="link", extra=True, hospital="HPC"))
    ledger.sends.settle(claim_ids(ledger, line(5, hospital="HSF")), SendState.UNKNOWN)
    # A clock that was behind invited the third on the day of the visit; by a right one that was the day after.
    assert due(ledger) == [(DAY, "HMC"), (DAY, "HMS")]
    assert due(ledger, date(2025, 3, 11)) == []
    assert due(ledger, date(2025, 3, 1), date(2025, 3, 31)) == [*due(ledger), (NEXT_DAY, "HMS")]


def test_an_invitation_counts_from_the_day_after_the_visit_at_the_earliest(ledger: Ledger, clock: FakeClock) -> None:
    clock.now = NOW - timedelta(days=8)
    send(ledger, line(1))
    assert candidate(ledger)["invited_at"] == datetime(2025, 3, 10, 3, tzinfo=UTC)
    clock.now = NOW + timedelta(days=2)
    send(ledger, line(2))
    assert ledger.reminders.candidates("HMS", DAY, "exames").get_column("invited_at")[-1] == clock.now


def test_who_died_in_the_encounter_itself_needs_no_contact_in_common(ledger: Ledger) -> None:
    send(ledger, line(1), line(2))
    died = pl.DataFrame([("encounter:HMS:1", "HMS", 1, True)], schema=SEEN, orient="row")
    ledger.people.record_sightings("HMS", DAY + timedelta(days=4), died)

    flags = ledger.reminders.candidates("HMS", DAY, "exames").sort("encounter_id").get_column("died_since")
    assert flags.to_list() == [True, False]
    lines = [line(number, cpf_key=None, email_key="new") for number in (1, 2)]
    assert ledger.sends.claim(batch(*lines), REMINDER_7D).get_column("verdict").to_list() == ["deceased", "claimed"]


@pytest.mark.parametrize(
    ("invited_at", "day"),
    [
        (datetime(2025, 3, 10, 2, 59, tzinfo=UTC), date(2025, 3, 9)),
        (datetime(2025, 3, 10, 3, 0, tzinfo=UTC), date(2025, 3, 10)),
        (datetime(2025, 3, 11, 2, 59, tzinfo=UTC), date(2025, 3, 10)),
        (datetime(2025, 3, 11, 3, 0, tzinfo=UTC), date(2025, 3, 11)),
    ],
)
def test_the_day_of_an_invitation_is_the_local_one(
    ledger: Ledger, clock: FakeClock, invited_at: datetime, day: date
) -> None:
    clock.now = invited_at
    send(ledger, line(1), claim=replace(INVITATION, cohort_date=DAY - timedelta(days=1)))
    assert [other for other in (day + timedelta(days=shift) for shift in (-1, 0, 1)) if due(ledger, other)] == [day]


def test_nothing_is_due_after_an_answer_or_a_send_of_the_wave(ledger: Ledger) -> None:
    answered, reminded, open_ = [(line(number),) for number in (1, 2, 3)]
    send(ledger, *answered)
    (extra,) = send(ledger, line(1, channel="link", extra=True))
    answer(ledger, extra, NOW)
    assert due(ledger) == []
    send(ledger, *reminded)
    ledger.sends.settle(claim_ids(ledger, *reminded, claim=REMINDER_7D), SendState.REJECTED)
    assert due(ledger) == []
    assert ledger.reminders.cohorts_due(Wave(14), NEXT_DAY, NEXT_DAY) == [(DAY, "HMS")]
    send(ledger, *open_)
    assert due(ledger) == [(DAY, "HMS")]


# --- the journal


def test_decisions_on_reminders_are_journaled_once(ledger: Ledger) -> None:
    rows = pl.DataFrame(
        [("HMS", 1, "withheld", "answered"), ("HMS", 2, "due", None)],
        schema=["database", "encounter_id", "result", "reason"],
        orient="row",
    )
    for _ in range(2):
        ledger.encounters.note("HMS", DAY, "reminder_7d", rows)
    ledger.encounters.note("HMS", DAY, "reminder_7d", rows.clear())
    (decision,) = ledger.encounters.history("HMS", 1).decisions
    assert [decision[name] for name in ("step", "result", "reason", "at")] == [
        "reminder_7d", "withheld", "answered", NOW,
    ]  # fmt: skip
    assert [decision["reason"] for decision in ledger.encounters.history("HMS", 2).decisions] == [""]


# --- opt-outs and consents


def test_many_opt_outs_at_once_are_counted_when_new(ledger: Ledger) -> None:
    ledger.people.opt_out("a", OptOutChannel.ALL, "cli")
    frame = pl.DataFrame(
        [("a", "all", "track"), ("a", "email", "track"), ("b", "all", "track"), ("b", "all", "csv")],
        schema=OPT_OUTS,
        orient="row",
    )
    assert ledger.people.opt_out_many(frame) == 2
    assert ledger.people.opt_out_many(frame) == 0
    assert ledger.people.opt_out_many(frame.clear()) == 0
    assert rows_of(ledger, opt_outs, "person_key", "channel", "source") == [
        ("a", "all", "cli"), ("a", "email", "track"), ("b", "all", "track"),
    ]  # fmt: skip


def test_the_keys_of_a_send_are_all_its_persons(ledger: Ledger) -> None:
    first, second = send(ledger, line(1, phone_key="phone-1"), line(2, channel="whatsapp"))
    assert ledger.sends.keys_of([first, second, "nobody"]).sort("cpf_key").rows() == [
        (first, "email", "cpf-1", "phone-1", "email-1"),
        (second, "whatsapp", "cpf-2", None, "email-2"),
    ]
    assert ledger.sends.keys_of([]).columns == ["send_id", "channel", "cpf_key", "phone_key", "email_key"]


def test_the_newest_consent_is_kept(ledger: Ledger) -> None:
    assert consent(ledger, "a", DAY, "form") == 1
    assert consent(ledger, "a", DAY, "copy") == 0
    assert consent(ledger, "a", DAY - timedelta(days=1), "older") == 0
    assert rows_of(ledger, consents, "person_key", "source", "given_at") == [("a", "form", DAY)]
    assert consent(ledger, "a", NEXT_DAY, "newer") == 0
    assert consent(ledger, "a", channel="email") == 1
    assert rows_of(ledger, consents, "source", "channel") == [("form", "email"), ("newer", "whatsapp")]
    assert consent(ledger, "b", channel="email") == 1
    assert ledger.people.consented(["a", "b", "c"], Channel.WHATSAPP).rows() == [("a",)]
    assert ledger.people.consented([], Channel.WHATSAPP).columns == ["person_key"]


# --- counts


def counted(ledger: Ledger, *names: str, **kwargs: Any) -> list[tuple[Any, ...]]:
    found = ledger.counts.responses(**kwargs)
    assert found.schema == COUNTS
    return found.select(names).rows()


SCORES = ("answered", "promoters", "passives", "detractors")


@pytest.mark.parametrize(
    ("score", "numbers"),
    [(10, (1, 1, 0, 0)), (9, (1, 1, 0, 0)), (8, (1, 0, 1, 0)), (7, (1, 0, 1, 0)), (6, (1, 0, 0, 1)), (0, (1, 0, 0, 1)),
     (None, (1, 0, 0, 0))],
)  # fmt: skip
def test_an_answer_is_in_its_band(ledger: Ledger, score: int | None, numbers: tuple[int, ...]) -> None:
    ids = send(ledger, line(1), line(2))
    answer(ledger, ids[0], NOW, score)
    assert counted(ledger, "sent", *SCORES) == [(2, *numbers)]


def test_an_encounter_counts_once_by_its_invitation(ledger: Ledger) -> None:
    (invite,) = send(ledger, line(1))
    (first,) = send(ledger, line(1, channel="whatsapp"), claim=REMINDER_7D)
    (extra,) = send(ledger, line(1, channel="link", extra=True))
    answer(ledger, invite, NOW)
    answer(ledger, first, LATER, 10)
    answer(ledger, extra, LATER + timedelta(hours=1), 0)
    assert counted(ledger, "channel", "sent", *SCORES) == [("email", 1, 1, 1, 0, 0)]


def test_responses_by_place_and_channel_of_what_was_sent(ledger: Ledger) -> None:
    send(ledger, line(1), line(2, channel="whatsapp"), line(3, unit="ING"), line(4, hospital="HMC"))
    send(ledger, line(5), claim=replace(INVITATION, cohort_date=NEXT_DAY))
    (unknown, _) = claim_ids(ledger, line(6), line(7))
    ledger.sends.settle([unknown], SendState.UNKNOWN)
    answer(ledger, unknown, NOW, 10)
    assert counted(ledger, "date", "hospital", "unit", "area", "channel", "sent", "answered") == [
        (DAY, "HMC", "HMS", "exames", "email", 1, 0),
        (DAY, "HMS", "HMS", "exames", "email", 1, 0),
        (DAY, "HMS", "HMS", "exames", "whatsapp", 1, 0),
        (DAY, "HMS", "ING", "exames", "email", 1, 0),
        (NEXT_DAY, "HMS", "HMS", "exames", "email", 1, 0),
    ]
    assert counted(ledger, "hospital", dates=(DAY, DAY), hospital="HMC") == [("HMC",)]
    assert counted(ledger, "date", dates=(NEXT_DAY, date.max)) == [(NEXT_DAY,)]
    assert counted(ledger, "date", hospital="HSL") == []


def test_delivered_is_null_where_nobody_says_so(ledger: Ledger) -> None:
    emails = send(ledger, line(1), line(2), line(3))
    (message,) = send(ledger, line(4, channel="whatsapp"))
    send(ledger, line(5), claim=replace(INVITATION, cohort_date=NEXT_DAY))
    assert counted(ledger, "delivered") == [(None,)] * 3
    deliver(ledger, message, "sent", "opened")
    deliver(ledger, emails[0], "delivered", "opened")
    deliver(ledger, emails[1], "opened")
    deliver(ledger, emails[2], "bounced")
    assert counted(ledger, "date", "channel", "delivered") == [
        (DAY, "email", 2), (DAY, "whatsapp", None), (NEXT_DAY, "email", None),
    ]  # fmt: skip


# --- purging and erasing


def test_purging_forgets_old_sightings_and_comments_and_no_send(ledger: Ledger) -> None:
    first, second = send(ledger, line(1), line(2))
    # The last instant of the ninth and the first of the tenth of March, in the hospitals' zone.
    midnight = datetime(2025, 3, 10, 3, tzinfo=UTC)
    answer(ledger, first, midnight - timedelta(seconds=1), 9, "old", "i1")
    answer(ledger, second, midnight, 9, "new")
    see(ledger, ("cpf-1", 1, False), ("email-1", 1, False), day=DAY)
    see(ledger, ("cpf-1", 2, False), day=NEXT_DAY)
    assert ledger.erasure.purge(NEXT_DAY) == {"sightings": 2, "comments": 1}
    assert ledger.erasure.purge(NEXT_DAY) == {"sightings": 0, "comments": 0}
    assert rows_of(ledger, comments, "comment") == [("new",)]
    assert rows_of(ledger, sightings, "encounter_id") == [(2,)]
    assert len(kept_answers(ledger)) == len(rows_of(ledger, sends, "send_id")) == 2
    answer(ledger, first, midnight - timedelta(seconds=1), 9, "old", "i1")
    assert rows_of(ledger, comments, "comment") == [("new",)]


def test_an_erased_person_is_forgotten_and_never_written_to_again(ledger: Ledger) -> None:
    erased, other = send(ledger, line(1, phone_key="phone"), line(2, phone_key="phone"))
    answer(ledger, erased, NOW, 9, "Sou Fulana")
    answer(ledger, other, NOW, 3, "Sou Beltrana")
    see(ledger, ("cpf-1", 1, False), ("email-1", 1, False), ("phone", 1, False), ("cpf-2", 2, False))
    for key in ("email-1", "cpf-2"):
        consent(ledger, key)
    ledger.people.opt_out("email-1", OptOutChannel.ALL, "track")
    before = ledger.counts.responses()

    assert ledger.erasure.erase_person(["cpf-1", "phone-old"]) == {
        "comments": 1, "sightings": 3, "consents": 1, "sends": 1, "opt_outs": 3,
    }  # fmt: skip

    assert ledger.sends.keys_of([erased]).row(0)[2:] == (None, None, None)
    assert ledger.sends.keys_of([other]).row(0)[2:] == ("cpf-2", "phone", "email-2")
    assert rows_of(ledger, comments, "send_id") == [(other,)]
    assert rows_of(ledger, sightings, "person_key") == [("cpf-2",)]
    assert rows_of(ledger, consents, "person_key") == [("cpf-2",)]
    assert rows_of(ledger, opt_outs, "person_key", "channel") == [
        (key, "all") for key in ("cpf-1", "email-1", "phone", "phone-old")
    ]
    assert ledger.counts.responses().equals(before)
    assert [row["encounter_id"] for row in candidates(ledger)] == [2]
    assert claim(ledger, line(1, phone_key="phone")) == ["already"]
    assert claim(ledger, line(3, cpf_key=None, email_key="email-1")) == ["opted_out"]
    assert claim(ledger, line(1, phone_key="phone"), claim=REMINDER_7D) == ["answered"]


def test_a_comment_that_comes_after_an_erasure_is_not_kept(ledger: Ledger) -> None:
    (send_id,) = send(ledger, line(1))
    ledger.erasure.erase_person(["email-1"])
    assert answer(ledger, send_id, NOW, 9, "Sou Fulana").new == 1
    assert rows_of(ledger, comments, "send_id") == []
    assert ledger.erasure.erase_person([]) == dict.fromkeys(
        ("comments", "sightings", "consents", "sends", "opt_outs"), 0
    )


def test_an_answer_a_moment_before_a_claim_stops_it(ledger: Ledger) -> None:
    ids = send(ledger, *(line(number) for number in range(1000)))
    frame = pl.DataFrame({"send_id": ids[::2]}).with_columns(
        answered_at=pl.lit(NOW), score=pl.lit(10), interaction_id=pl.lit(None), comment=pl.lit(None)
    )
    assert ledger.answers.record(frame).new == 500
    verdicts = ledger.sends.claim(batch(*(line(number) for number in range(1000))), REMINDER_7D).get_column("verdict")
    assert verdicts.to_list() == ["answered", "claimed"] * 500
