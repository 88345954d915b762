from collections import Counter
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from itertools import chain, count
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from filelock import FileLock
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from polars.testing import assert_frame_equal

from track_pipeline.adapters.ledger import Ledger, LedgerError, open_ledger
from track_pipeline.adapters.ledger.encounters import DECIDED, EXTRACTED
from track_pipeline.domain.channels import Channel, OptOutChannel
from track_pipeline.domain.claims import LINES
from track_pipeline.domain.sends import SendState, Verdict
from track_pipeline.domain.waves import INVITE, Wave
from track_pipeline_tests.adapters.conftest import FakeClock
from track_pipeline_tests.support.drills.full_disk import needs_a_full_disk, room_for
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
    line,
    send,
)

QUARANTINE = replace(INVITATION, any_survey_since=NOW - timedelta(days=7), this_survey_since=NOW - timedelta(days=30))


def row(encounter_id: int = 1, **changes: Any) -> dict[str, Any]:
    return {
        "database": "HMS",
        "encounter_id": encounter_id,
        "unit": "HMS",
        "setor": "RAIO X",
        "survey_uuid": "survey",
        "channel": "email",
        "result": "planned",
        "reason": None,
        "rule": "exames",
        "rules_version": "rules",
        "policy_version": "policy",
    } | changes


def decide(ledger: Ledger, *rows: dict[str, Any], hospital: str = "HMS", day: date = DAY, area: str = "exames") -> None:
    ledger.encounters.record_plan(hospital, day, area, pl.DataFrame(rows, schema=DECIDED))


def register(ledger: Ledger, *rows: dict[str, Any], day: date = DAY) -> None:
    ledger.encounters.record_extract("HMS", day, "exames", pl.DataFrame(rows, schema=DECIDED).select(EXTRACTED.names()))


def hold(ledger: Ledger, encounter_id: int, held: str) -> None:
    rows = pl.DataFrame({"database": ["HMS"], "encounter_id": [encounter_id], "held": [held]})
    ledger.encounters.hold("HMS", DAY, "exames", rows)


def outcomes(ledger: Ledger, **kwargs: Any) -> list[tuple[str, str, int]]:
    return ledger.counts.outcomes(**kwargs).select("outcome", "reason", "count").rows()


# --- claims


@pytest.mark.parametrize("days_ago", [0, 20])
@pytest.mark.parametrize("wave", [INVITATION, REMINDER_7D])
def test_nobody_who_was_seen_to_have_died_is_written_to(ledger: Ledger, wave: Any, days_ago: int) -> None:
    seen = {"person_key": "cpf-1", "database": "HSL", "encounter_id": 77, "died": True}
    ledger.people.record_sightings("HSL", DAY - timedelta(days=days_ago), pl.DataFrame([seen]))

    assert claim(ledger, line(1), line(2), line(1, channel="link", extra=True), claim=wave) == [
        "deceased", "claimed", "deceased",
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("days_away", "verdict"), [(-6, "quarantine"), (6, "quarantine"), (7, "claimed"), (-7, "claimed")]
)
def test_an_invitation_of_a_day_that_is_near_counts_whatever_the_clock_said(
    ledger: Ledger, clock: FakeClock, days_away: int, verdict: str
) -> None:
    clock.now = NOW - timedelta(days=100)
    send(ledger, line(1), claim=replace(QUARANTINE, cohort_date=DAY + timedelta(days=days_away)))
    clock.now = NOW
    claimed = replace(QUARANTINE, any_survey_days=7)

    assert claim(ledger, line(2, cpf_key="cpf-1", survey_uuid="other"), claim=claimed) == [verdict]


def test_an_invitation_to_the_same_survey_counts_for_longer(ledger: Ledger, clock: FakeClock) -> None:
    clock.now = NOW - timedelta(days=100)
    send(ledger, line(1), claim=replace(QUARANTINE, cohort_date=DAY - timedelta(days=20)))
    clock.now = NOW
    claimed = replace(QUARANTINE, any_survey_days=7, this_survey_days=30)

    assert claim(ledger, line(2, cpf_key="cpf-1", survey_uuid="other"), claim=claimed) == ["claimed"]
    assert claim(ledger, line(3, cpf_key="cpf-1"), claim=claimed) == ["quarantine"]


def test_what_a_later_plan_excludes_or_the_hospital_takes_back_is_not_sent(ledger: Ledger) -> None:
    register(ledger, *(row(number, result="planned") for number in (1, 2, 3)))
    decide(ledger, row(1), row(2, result="excluded", reason="deceased"), row(3))
    hold(ledger, 3, "suppressed:opted_out")
    lines = [line(number) for number in (1, 2, 3, 4)]
    links = [line(number, channel="link", extra=True) for number in (1, 2, 3, 4)]

    assert claim(ledger, *lines, *links) == [
        "claimed", "withdrawn", "withdrawn", "withdrawn", "claimed", "withdrawn", "claimed", "withdrawn",
    ]  # fmt: skip
    assert claim(ledger, line(2), claim=REMINDER_7D) == ["claimed"]


def test_an_opt_out_by_a_key_of_an_earlier_send_to_the_encounter_holds(ledger: Ledger) -> None:
    send(ledger, line(1, email_key="old"), line(2, email_key="other"))
    ledger.people.opt_out("old", OptOutChannel.EMAIL, "test")

    corrected = [line(number, cpf_key=None, email_key=f"new-{number}") for number in (1, 2)]

    assert claim(ledger, *corrected, claim=REMINDER_7D) == ["opted_out", "claimed"]


def test_a_replay_claims_nothing(ledger: Ledger) -> None:
    lines = [line(number) for number in range(500)]
    assert claim(ledger, *lines) == ["claimed"] * 500
    assert claim(ledger, *lines) == ["already"] * 500
    assert ledger.sends.of_wave("HMS", DAY, INVITE).height == 500


def test_a_claim_returns_the_lines_as_they_came_with_what_became_of_each(ledger: Ledger) -> None:
    send(ledger, line(2))
    lines = batch(line(3), line(2), line(1)).with_columns(template=pl.lit("t"))
    claimed = ledger.sends.claim(lines, INVITATION)
    assert_frame_equal(claimed.select(lines.columns), lines)
    assert claimed.get_column("verdict").to_list() == ["claimed", "already", "claimed"]
    for column in ("send_id", "batch_id"):
        assert claimed.get_column(column).is_null().to_list() == [False, True, False]
    assert claimed.get_column("batch_id").n_unique() == 2
    assert claimed.get_column("send_id").n_unique() == 3


def test_an_empty_batch_is_an_empty_answer(ledger: Ledger) -> None:
    assert ledger.sends.claim(batch(), QUARANTINE).columns == [*LINES.names(), "verdict", "send_id", "batch_id"]


def test_lines_without_any_key_are_claimed_each_for_itself(ledger: Ledger) -> None:
    keyless = {"cpf_key": None, "email_key": None, "setor": None}
    assert claim(ledger, line(1, **keyless), line(2, **keyless), claim=QUARANTINE) == ["claimed", "claimed"]


@pytest.mark.parametrize(
    ("changes", "verdict"),
    [
        ({}, "already"),
        ({"channel": "whatsapp"}, "already_asked"),
        ({"survey_uuid": "other"}, "already_asked"),
        ({"channel": "link", "extra": True}, "claimed"),
        ({"hospital": "HPC"}, "claimed"),
        ({"database": "HSL"}, "claimed"),
        ({"encounter_id": 2}, "claimed"),
    ],
)
def test_an_encounter_is_asked_once(ledger: Ledger, changes: dict[str, Any], verdict: str) -> None:
    claim(ledger, line())
    assert claim(ledger, line() | changes) == [verdict]


def test_waves_are_claimed_apart(ledger: Ledger) -> None:
    send(ledger, line())
    assert claim(ledger, line(), claim=REMINDER_7D) == ["claimed"]
    assert claim(ledger, line(), claim=REMINDER_7D) == ["already"]


def test_after_a_rejection_another_channel_is_free_and_the_same_is_not(ledger: Ledger) -> None:
    ledger.sends.settle(claim_ids(ledger, line()), SendState.REJECTED, reason="invalid_email")
    assert claim(ledger, line()) == ["already"]
    assert claim(ledger, line(channel="whatsapp")) == ["claimed"]


def test_an_extra_link_does_not_stand_in_the_way_of_the_invitation(ledger: Ledger) -> None:
    claim(ledger, line(channel="link", extra=True))
    assert claim(ledger, line(), line(2, cpf_key="cpf-1"), claim=QUARANTINE) == ["claimed", "quarantine"]


@pytest.mark.parametrize(
    ("refused", "channel", "verdict"),
    [
        (OptOutChannel.ALL, "email", "opted_out"),
        (OptOutChannel.ALL, "link", "opted_out"),
        (OptOutChannel.EMAIL, "email", "opted_out"),
        (OptOutChannel.EMAIL, "whatsapp", "claimed"),
        (OptOutChannel.EMAIL, "link", "claimed"),
        (OptOutChannel.WHATSAPP, "whatsapp", "opted_out"),
    ],
)
def test_an_opt_out_is_of_a_channel_or_of_all(
    ledger: Ledger, refused: OptOutChannel, channel: str, verdict: str
) -> None:
    ledger.people.opt_out("cpf-1", refused, "cli")
    assert claim(ledger, line(1, channel=channel), line(2)) == [verdict, "claimed"]
    assert claim(ledger, line(4, channel=channel, cpf_key="cpf-1", extra=True)) == [verdict]
    ledger.people.opt_in("cpf-1", refused)
    assert claim(ledger, line(3, channel=channel, cpf_key="cpf-1")) == ["claimed"]


@pytest.mark.parametrize("key", ["cpf_key", "phone_key", "email_key"])
def test_an_opt_out_is_found_by_any_key(ledger: Ledger, key: str) -> None:
    ledger.people.opt_out("person", OptOutChannel.ALL, "cli")
    assert claim(ledger, line() | {key: "person"}) == ["opted_out"]


@pytest.mark.parametrize(
    ("days_ago", "changes", "verdict"),
    [
        (7, {"cpf_key": "cpf-1"}, "quarantine"),
        (7, {"email_key": "email-1", "survey_uuid": "other"}, "quarantine"),
        (8, {"cpf_key": "cpf-1", "survey_uuid": "other"}, "claimed"),
        (30, {"cpf_key": "cpf-1"}, "quarantine"),
        (31, {"cpf_key": "cpf-1"}, "claimed"),
        (7, {"cpf_key": "cpf-1", "hospital": "HMC", "database": "HMC"}, "quarantine"),
        (7, {"cpf_key": "cpf-1", "extra": True, "channel": "link"}, "claimed"),
        (7, {}, "claimed"),
    ],
)
def test_a_person_is_left_alone_for_a_while(
    ledger: Ledger, clock: FakeClock, days_ago: int, changes: dict[str, Any], verdict: str
) -> None:
    clock.now = NOW - timedelta(days=days_ago)
    send(ledger, line(1))
    clock.now = NOW
    assert claim(ledger, line(2) | changes, claim=QUARANTINE) == [verdict]


def test_a_rejected_invitation_or_a_reminder_is_no_reason_for_quarantine(ledger: Ledger) -> None:
    ledger.sends.settle(claim_ids(ledger, line(1)), SendState.REJECTED)
    send(ledger, line(3, cpf_key="cpf-1"), claim=REMINDER_7D)
    assert claim(ledger, line(2, cpf_key="cpf-1"), claim=QUARANTINE) == ["claimed"]


def test_the_invitation_of_the_encounter_itself_is_no_reason_for_quarantine(ledger: Ledger) -> None:
    send(ledger, line(1))
    assert claim(ledger, line(1), claim=replace(QUARANTINE, wave=Wave(7))) == ["claimed"]


def test_earlier_lines_of_a_batch_count_as_sends(ledger: Ledger) -> None:
    verdicts = claim(
        ledger,
        line(1),
        line(1),
        line(1, channel="whatsapp"),
        line(2, phone_key="phone"),
        line(3, cpf_key=None, phone_key="phone"),
        line(4, email_key="email-1", survey_uuid="other"),
        line(5, cpf_key="cpf-1", channel="link", extra=True),
        claim=QUARANTINE,
    )
    assert verdicts == ["claimed", "already", "already_asked", "claimed", "quarantine", "quarantine", "claimed"]


@pytest.mark.parametrize(
    ("any_survey", "this_survey", "verdicts"),
    [
        (True, True, ["claimed", "quarantine", "quarantine"]),
        (False, True, ["claimed", "claimed", "quarantine"]),
        (False, False, ["claimed", "claimed", "claimed"]),
    ],
)
def test_two_encounters_of_one_person_in_a_batch(
    ledger: Ledger, any_survey: bool, this_survey: bool, verdicts: list[str]
) -> None:
    rules = replace(
        INVITATION, any_survey_since=NOW if any_survey else None, this_survey_since=NOW if this_survey else None
    )
    lines = [line(1), line(2, cpf_key="cpf-1", survey_uuid="other"), line(3, cpf_key="cpf-1")]
    assert claim(ledger, *lines, claim=rules) == verdicts


def test_an_encounter_that_has_answered_is_written_to_no_more(ledger: Ledger) -> None:
    [invitation, _] = send(ledger, line(1), line(2))
    [reminder] = send(ledger, line(3), claim=REMINDER_7D)
    for send_id in (invitation, reminder):
        answer(ledger, send_id, NOW)

    lines = [line(1), line(1, channel="link", extra=True), line(2), line(3)]
    assert claim(ledger, *lines, claim=REMINDER_14D) == ["answered", "answered", "claimed", "answered"]


def test_as_many_reminders_as_the_policy_has_are_enough_whatever_their_waves(ledger: Ledger) -> None:
    for wave in (REMINDER_7D, REMINDER_14D):
        send(ledger, line(1), claim=wave)

    third = replace(INVITATION, wave=Wave(21))
    assert claim(ledger, line(1), line(2), claim=third) == ["too_many", "claimed"]
    assert claim(ledger, line(1), claim=replace(third, most_reminders=3)) == ["claimed"]


def test_the_first_verdict_that_applies_is_given(ledger: Ledger) -> None:
    send(ledger, line(1))
    ledger.people.opt_out("cpf-1", OptOutChannel.ALL, "cli")
    verdicts = claim(
        ledger, line(1), line(1, channel="whatsapp"), line(2, cpf_key="cpf-1"), line(3, email_key="email-1"),
        claim=QUARANTINE,
    )  # fmt: skip
    assert verdicts == ["already", "already_asked", "opted_out", "quarantine"]


def test_more_keys_than_a_statement_may_bind(ledger: Ledger) -> None:
    ids = send(ledger, line(1))
    ledger.people.opt_out("cpf-1", OptOutChannel.EMAIL, "cli")
    keys = [f"cpf-{number}" for number in range(70_000)]
    assert ledger.people.opted_out(keys, NOW).rows() == [("cpf-1", "email")]
    assert ledger.people.recent_contacts(keys, cohort_from=DAY, cohort_before=date.max).height == 1
    assert ledger.sends.settle([*keys, *ids], SendState.SENT) == 0


# --- what becomes of sends


@pytest.mark.parametrize(
    ("before", "after", "changed"),
    [
        ("claimed", "sent", True),
        ("claimed", "rejected", True),
        ("claimed", "unknown", True),
        ("unknown", "sent", True),
        ("unknown", "rejected", True),
        ("unknown", "unknown", False),
        ("sent", "unknown", False),
        ("sent", "rejected", False),
        ("rejected", "sent", False),
        ("rejected", "unknown", False),
    ],
)
def test_settling_goes_one_way(ledger: Ledger, clock: FakeClock, before: Any, after: Any, changed: bool) -> None:
    ids = claim_ids(ledger, line(1))
    if before != "claimed":
        ledger.sends.settle(ids, before, reason="first", distribution_id="d1")
    clock.now += timedelta(minutes=1)
    assert ledger.sends.settle(ids, after, reason="second") == int(changed)
    found = ledger.sends.of_wave("HMS", DAY, INVITE).row(0, named=True)
    assert (found["state"], found["reason"]) == ((after, "second") if changed else (before, "first"))
    assert (found["settled_at"] == clock.now) is changed
    assert found["distribution_id"] == (None if before == "claimed" else "d1")


def test_release_frees_claims_and_nothing_else(ledger: Ledger) -> None:
    first, second = claim_ids(ledger, line(1), line(2))
    ledger.sends.settle([second], SendState.UNKNOWN)
    assert ledger.sends.release([first, second]) == 1
    assert claim(ledger, line(1), line(2)) == ["claimed", "already"]


def test_resolving_as_sent_keeps_the_send_and_the_reason(ledger: Ledger) -> None:
    ids = claim_ids(ledger, line(1), line(2), line(3))
    ledger.sends.settle(ids[1:2], SendState.UNKNOWN, reason="timeout")
    ledger.sends.settle(ids[2:], SendState.SENT)
    assert ledger.sends.unresolved().get_column("encounter_id").to_list() == [1, 2]
    assert ledger.sends.resolve(ids, Verdict.SENT, "seen in the panel", by="ana") == 2
    assert ledger.sends.unresolved().is_empty()
    (decision,) = ledger.encounters.history("HMS", 2).decisions
    assert (decision["step"], decision["result"], decision["rule"]) == ("resolve", "sent", "by ana")
    assert (decision["reason"], decision["version"]) == ("seen in the panel", ids[1])
    assert ledger.encounters.history("HMS", 3).decisions == []


def test_resolving_as_not_sent_lets_it_go_again(ledger: Ledger) -> None:
    for round_number in (1, 2):
        ids = claim_ids(ledger, line(1))
        ledger.sends.settle(ids, SendState.UNKNOWN)
        assert ledger.sends.resolve(ids, Verdict.NOT_SENT, "not in the panel", by="ana") == 1
        assert len(ledger.encounters.history("HMS", 1).decisions) == round_number
    assert claim(ledger, line(1)) == ["claimed"]


def test_unresolved_is_by_place_channel_and_encounter(ledger: Ledger) -> None:
    claim(ledger, line(1))
    claim(ledger, line(2, hospital="HMC"), claim=replace(INVITATION, cohort_date=DAY + timedelta(days=1)))
    assert ledger.sends.unresolved("HMC").get_column("encounter_id").to_list() == [2]
    assert ledger.sends.unresolved(cohort_date=DAY).get_column("encounter_id").to_list() == [1]
    assert ledger.sends.unresolved("HMC", DAY).is_empty()
    assert ledger.sends.unresolved("HMS", DAY, area="exames", channel=Channel.EMAIL, encounter_id=1).height == 1
    assert ledger.sends.unresolved("HMS", DAY, area="internacao").is_empty()


def test_sends_of_a_partition_by_wave_and_channel(ledger: Ledger, clock: FakeClock) -> None:
    claim(ledger, line(1), line(2, channel="whatsapp"))
    claim(ledger, line(1), claim=REMINDER_7D)
    found = ledger.sends.of_wave("HMS", DAY, INVITE)
    assert found.select("encounter_id", "channel", "state").rows() == [
        (1, "email", "claimed"),
        (2, "whatsapp", "claimed"),
    ]
    assert found.get_column("claimed_at").to_list() == [clock.now] * 2
    assert found.get_column("cohort_date").to_list() == [DAY] * 2
    assert ledger.sends.of_wave("HMS", DAY, INVITE, Channel.WHATSAPP).height == 1
    assert ledger.sends.of_wave("HMS", DAY, Wave(7)).height == 1
    assert ledger.sends.of_wave("HMC", DAY, INVITE).is_empty()


def test_asked_leaves_out_extra_links_and_reminders_and_puts_the_standing_one_first(ledger: Ledger) -> None:
    ledger.sends.settle(claim_ids(ledger, line(1)), SendState.REJECTED)
    send(ledger, line(1, channel="whatsapp"))
    claim(ledger, line(1, channel="link", extra=True))
    claim(ledger, line(1), claim=REMINDER_7D)
    assert ledger.sends.invitations("HMS", DAY).rows() == [
        ("HMS", 1, "exames", "survey", "whatsapp", "sent"),
        ("HMS", 1, "exames", "survey", "email", "rejected"),
    ]


def test_only_what_was_dropped_for_good_is_suppressed(ledger: Ledger) -> None:
    decide(ledger, row(1), row(2), row(3))
    hold(ledger, 1, "suppressed:quarantine")
    hold(ledger, 2, "deferred:window")
    assert ledger.encounters.suppressed("HMS", DAY).rows() == [("HMS", 1, "exames", "survey", "email")]
    assert ledger.encounters.suppressed("HMC", DAY).is_empty()


def test_recent_contacts_are_found_by_any_key_within_the_days(ledger: Ledger) -> None:
    send(ledger, line(1, phone_key="phone-1"))
    send(
        ledger, line(2, cpf_key="cpf-1", hospital="HMC"), claim=replace(INVITATION, cohort_date=DAY - timedelta(days=1))
    )
    send(ledger, line(3, cpf_key="cpf-1"), claim=replace(INVITATION, cohort_date=DAY - timedelta(days=2)))
    ledger.sends.settle(claim_ids(ledger, line(4, cpf_key="cpf-1")), SendState.REJECTED)
    claim(ledger, line(5, cpf_key="cpf-1", channel="link", extra=True))
    (reminder,) = send(ledger, line(1), claim=REMINDER_7D)
    answer(ledger, reminder, datetime(2025, 3, 12, 1, tzinfo=UTC))

    found = ledger.people.recent_contacts(
        ["cpf-1", "phone-1", "nobody"], cohort_from=DAY - timedelta(days=1), cohort_before=DAY + timedelta(days=1)
    )
    assert found.columns == [
        "person_key", "hospital", "database", "encounter_id", "survey_uuid", "cohort_date", "answered_on",
    ]  # fmt: skip
    assert sorted(found.rows()) == [
        ("cpf-1", "HMC", "HMS", 2, "survey", DAY - timedelta(days=1), None),
        ("cpf-1", "HMS", "HMS", 1, "survey", DAY, date(2025, 3, 11)),
        ("phone-1", "HMS", "HMS", 1, "survey", DAY, date(2025, 3, 11)),
    ]
    assert ledger.people.recent_contacts(
        ["cpf-1"], cohort_from=DAY + timedelta(days=1), cohort_before=date.max
    ).is_empty()
    assert ledger.people.recent_contacts([], cohort_from=date.min, cohort_before=date.max).is_empty()


# --- encounters


def test_replacing_encounters_again_changes_nothing(ledger: Ledger, clock: FakeClock) -> None:
    rows = [row(1), row(2, result="excluded", reason="newborn")]
    decide(ledger, *rows)
    hold(ledger, 1, "deferred:window")
    before = ledger.encounters.history("HMS", 1)
    decide(ledger, *rows)
    hold(ledger, 1, "deferred:window")
    assert ledger.encounters.history("HMS", 1) == before
    assert [(found["step"], found["result"], found["reason"]) for found in before.decisions] == [
        ("invitation", "planned", ""),
        ("dispatch", "deferred", "window"),
    ]
    assert before.encounters[0]["held"] == "deferred:window"
    assert before.encounters[0]["updated_at"] == clock.now


def test_replacing_encounters_touches_its_own_partition_and_area_only(ledger: Ledger) -> None:
    decide(ledger, row(1), row(2))
    decide(ledger, row(3), area="internacao")
    decide(ledger, row(4), hospital="HMC")
    decide(ledger, row(5), day=DAY - timedelta(days=1))
    decide(ledger, row(2))
    assert sum(ledger.counts.outcomes().get_column("count")) == 4
    assert ledger.encounters.history("HMS", 1).encounters == []
    decide(ledger)
    assert sum(ledger.counts.outcomes().get_column("count")) == 3


def test_an_encounter_that_is_no_longer_planned_is_no_longer_held(ledger: Ledger) -> None:
    decide(ledger, row(1))
    hold(ledger, 1, "suppressed:opted_out")
    decide(ledger, row(1, result="excluded", reason="opted_out"))
    assert outcomes(ledger) == [("excluded", "opted_out", 1)]
    hold(ledger, 1, "deferred:window")
    assert outcomes(ledger) == [("excluded", "opted_out", 1)]


def test_an_extracted_row_waits_for_its_invitation(ledger: Ledger) -> None:
    register(ledger, row(1), row(2, result="excluded", reason="unclassified", setor=None))
    assert outcomes(ledger) == [("deferred", "not_dispatched", 1), ("excluded", "unclassified", 1)]
    (decision,) = ledger.encounters.history("HMS", 1).decisions
    assert (decision["step"], decision["result"], decision["version"]) == ("extract", "classified", "rules")


def test_a_new_extract_keeps_the_word_of_the_invitation_and_drops_what_is_gone(ledger: Ledger) -> None:
    register(ledger, row(1), row(2), row(3))
    decide(ledger, row(1), row(2, result="excluded", reason="newborn"), row(3))
    hold(ledger, 1, "suppressed:opted_out")
    register(ledger, row(1), row(2), row(4))
    assert outcomes(ledger) == [
        ("deferred", "not_dispatched", 1),
        ("excluded", "newborn", 1),
        ("suppressed", "opted_out", 1),
    ]
    assert ledger.encounters.history("HMS", 1).encounters[0]["survey_uuid"] == "survey"
    assert ledger.encounters.history("HMS", 3).encounters == []


def test_a_new_extract_corrects_rows_that_no_invitation_decided_on(ledger: Ledger) -> None:
    for reason in ("unclassified", "other_day"):
        register(ledger, row(1, result="excluded", reason=reason))
    assert outcomes(ledger) == [("excluded", "other_day", 1)]
    assert [found["reason"] for found in ledger.encounters.history("HMS", 1).decisions] == ["unclassified", "other_day"]


def test_history_keeps_to_the_hospital(ledger: Ledger) -> None:
    decide(ledger, row(1))
    send(ledger, line(1))
    history = ledger.encounters.history("HMS", 1)
    assert [len(part) for part in (history.encounters, history.decisions, history.sends)] == [1, 1, 1]
    assert history.sends[0]["state"] == "sent"
    assert ledger.encounters.history("HMC", 1).sends == []


def test_volumes_count_the_rows_of_each_extract_also_of_an_empty_one(ledger: Ledger) -> None:
    days = [DAY - timedelta(days=7 * weeks) for weeks in range(4)]
    register(ledger, row(1), row(2, result="excluded", reason="newborn"))
    register(ledger, row(3), row(4), day=days[1])
    register(ledger, row(3), day=days[1])
    register(ledger, day=days[2])
    assert ledger.encounters.volumes("HMS", "exames", days) == {days[0]: 2, days[1]: 1, days[2]: 0}
    extracted = ledger.counts.extracted((days[2], days[2]))
    assert extracted.select("date", "hospital", "area", "rows").rows() == [(days[2], "HMS", "exames", 0)]
    assert ledger.encounters.volumes("HMS", "internacao", days) == {}


def test_unsent_partitions_have_planned_rows_without_send_or_suppression(ledger: Ledger) -> None:
    decide(ledger, row(1), row(2), row(3, result="excluded", reason="newborn"))
    assert ledger.encounters.unsent_partitions(DAY, DAY) == [(DAY, "HMS")]
    send(ledger, line(1))
    hold(ledger, 2, "deferred:window")
    assert ledger.encounters.unsent_partitions(DAY, DAY) == [(DAY, "HMS")]
    hold(ledger, 2, "suppressed:quarantine")
    assert ledger.encounters.unsent_partitions(DAY, DAY) == []
    assert ledger.encounters.unsent_partitions(DAY + timedelta(days=1), DAY + timedelta(days=2)) == []


# --- counts


def test_every_outcome_has_its_word(ledger: Ledger) -> None:
    decide(ledger, *(row(number) for number in range(1, 8)), row(8, result="excluded", reason="newborn"))
    ids = claim_ids(ledger, line(1), line(2), line(3), line(4))
    ledger.sends.settle(ids[:1], SendState.SENT)
    ledger.sends.settle(ids[1:2], SendState.REJECTED, reason="invalid_email")
    ledger.sends.settle(ids[2:3], SendState.UNKNOWN, reason="timeout")
    hold(ledger, 5, "deferred:window")
    hold(ledger, 6, "suppressed:quarantine")
    assert outcomes(ledger) == [
        ("deferred", "not_dispatched", 1),
        ("deferred", "window", 1),
        ("excluded", "newborn", 1),
        ("rejected", "invalid_email", 1),
        ("sent", "", 1),
        ("suppressed", "quarantine", 1),
        ("unknown", "no_outcome", 1),
        ("unknown", "timeout", 1),
    ]
    assert ledger.counts.outcomes().row(0) == (DAY, "HMS", "exames", "deferred", "not_dispatched", 1)


def test_the_send_that_got_furthest_is_the_outcome(ledger: Ledger) -> None:
    decide(ledger, row(1))
    hold(ledger, 1, "deferred:window")
    ledger.sends.settle(claim_ids(ledger, line(1)), SendState.REJECTED, reason="invalid_email")
    assert outcomes(ledger) == [("rejected", "invalid_email", 1)]
    (claimed,) = claim_ids(ledger, line(1, channel="whatsapp"))
    assert outcomes(ledger) == [("unknown", "no_outcome", 1)]
    ledger.sends.settle([claimed], SendState.SENT)
    assert outcomes(ledger) == [("sent", "", 1)]


def test_every_encounter_of_a_day_has_one_outcome_and_its_channel(ledger: Ledger) -> None:
    decide(ledger, row(1), row(2), row(3, result="excluded", reason="newborn", channel=None))
    decide(ledger, row(4), hospital="HMC")
    decide(ledger, row(5), day=DAY - timedelta(days=1))
    ledger.sends.settle(claim_ids(ledger, line(1)), SendState.REJECTED, reason="invalid_email")
    ledger.sends.settle(claim_ids(ledger, line(1, channel="whatsapp")), SendState.SENT)

    each = ledger.counts.outcome_of_each("HMS", DAY).select("encounter_id", "channel", "outcome", "reason")

    assert each.rows() == [
        (1, "whatsapp", "sent", ""), (2, "email", "deferred", "not_dispatched"), (3, None, "excluded", "newborn")
    ]  # fmt: skip


def test_outcomes_by_days_and_hospital(ledger: Ledger) -> None:
    decide(ledger, row(1))
    decide(ledger, row(2), hospital="HMC")
    decide(ledger, row(3), day=DAY - timedelta(days=1))
    assert ledger.counts.outcomes((DAY, DAY)).get_column("hospital").to_list() == ["HMC", "HMS"]
    assert ledger.counts.outcomes((DAY - timedelta(days=1), DAY), "HMS").get_column("date").to_list() == [
        DAY - timedelta(days=1),
        DAY,
    ]


def test_what_left_has_left_whatever_is_decided_afterwards(ledger: Ledger) -> None:
    decide(ledger, row(1), row(2))
    send(ledger, line(1))
    decide(ledger, row(2, result="excluded", reason="deceased"))
    decide(ledger, row(1, result="excluded", reason="already_asked"), area="internacao")
    # The deciding date of both was corrected: neither was sent under the other day.
    decide(ledger, row(1, result="excluded", reason="already_asked"), row(2), day=DAY + timedelta(days=1))

    found = ledger.counts.outcomes().select("date", "area", "outcome", "reason").rows()

    assert found == [
        (DAY, "exames", "excluded", "deceased"),
        (DAY, "internacao", "sent", ""),
        (DAY + timedelta(days=1), "exames", "deferred", "not_dispatched"),
        (DAY + timedelta(days=1), "exames", "excluded", "already_asked"),
    ]


def test_a_send_of_another_day_is_no_send_of_this_one_and_is_not_made_again(ledger: Ledger) -> None:
    send(ledger, line(1), line(1, channel="link", extra=True))
    another_day = replace(INVITATION, cohort_date=DAY + timedelta(days=1))

    lines = (line(1), line(1, channel="whatsapp"), line(1, channel="link", extra=True))
    assert claim(ledger, *lines, claim=another_day) == ["already_asked"] * 3
    assert claim(ledger, *lines) == ["already", "already_asked", "already"]


HOSPITALS = count()
ENCOUNTER = st.fixed_dictionaries(
    {
        "database": st.sampled_from(["HMS", "HSL"]),
        "encounter_id": st.integers(1, 4),
        "area": st.sampled_from(["exames", "internacao", "unclassified"]),
        "result": st.sampled_from(["planned", "excluded"]),
        "held": st.sampled_from(["", "deferred:window", "suppressed:quarantine"]),
        "sends": st.lists(
            st.tuples(
                st.sampled_from(["email", "whatsapp", "link"]),
                st.booleans(),
                st.sampled_from(["claimed", "sent", "rejected", "unknown"]),
            ),
            max_size=3,
        ),
    }
)


@settings(max_examples=20, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(ENCOUNTER, max_size=6, unique_by=lambda found: (found["database"], found["encounter_id"])))
def test_the_funnel_counts_every_encounter_once(ledger: Ledger, found: list[dict[str, Any]]) -> None:
    hospital = f"H{next(HOSPITALS)}"
    for area in {encounter["area"] for encounter in found}:
        rows = [
            row(encounter["encounter_id"], database=encounter["database"], result=encounter["result"])
            for encounter in found
            if encounter["area"] == area
        ]
        decide(ledger, *rows, hospital=hospital, area=area)
    for encounter in found:
        key = {"hospital": hospital, "database": encounter["database"]}
        if encounter["held"]:
            held = pl.DataFrame([{name: encounter[name] for name in ("database", "encounter_id", "held")}])
            ledger.encounters.hold(hospital, DAY, encounter["area"], held)
        for channel, extra, state in encounter["sends"]:
            send_ids = claim_ids(ledger, line(encounter["encounter_id"], **key, channel=channel, extra=extra))
            if state != "claimed" and None not in send_ids:
                ledger.sends.settle(send_ids, state)

    counted = ledger.counts.outcomes(hospital=hospital)
    per_area = counted.group_by("area").agg(pl.col("count").sum()).rows()
    assert dict(per_area) == Counter(encounter["area"] for encounter in found)
    assert set(counted.get_column("outcome")) <= {"excluded", "sent", "rejected", "unknown", "deferred", "suppressed"}
    excluded = counted.filter(outcome="excluded").get_column("count").sum()
    left = set(ledger.sends.invitations(hospital, DAY).select("database", "encounter_id").rows())
    never_left = [each for each in found if (each["database"], each["encounter_id"]) not in left]
    assert excluded == sum(encounter["result"] == "excluded" for encounter in never_left)


def test_reminders_and_answers_are_counted_by_the_day_of_the_encounter(ledger: Ledger) -> None:
    invited = send(ledger, line(1), line(2))
    reminders = [send(ledger, line(1), claim=wave) for wave in (REMINDER_7D, REMINDER_14D)]
    claim(ledger, line(2), claim=REMINDER_7D)
    for send_id in (*chain(*reminders), invited[1]):
        answer(ledger, send_id, NOW)
    assert ledger.counts.reminded().rows() == [
        (DAY, "HMS", "exames", "reminder_14d", 1),
        (DAY, "HMS", "exames", "reminder_7d", 1),
    ]
    assert ledger.counts.answered((DAY, DAY), "HMS").rows() == [(DAY, "HMS", "exames", 2)]
    assert ledger.counts.answered(hospital="HMC").is_empty()
    assert ledger.counts.reminded((DAY + timedelta(days=1), date.max)).is_empty()


# --- opt-outs and pauses


ODD_KEYS = ['a"b', "a\\b", "a,b", "{a}", "a\nb", "NULL", "", "ã", "'; --", "a"]


def test_people_are_found_by_the_very_key_whatever_characters_it_has(ledger: Ledger) -> None:
    for key in ODD_KEYS:
        assert ledger.people.opt_out(key, OptOutChannel.ALL, "cli")
        assert ledger.people.opted_out([key, key, "nobody's"], NOW).get_column("person_key").to_list() == [key]
    assert set(ledger.people.opted_out(ODD_KEYS, NOW).get_column("person_key")) == set(ODD_KEYS)
    assert ledger.people.opted_out(["b", "a\\", 'a"'], NOW).is_empty()


def test_an_opt_out_is_known_from_when_it_was_recorded(ledger: Ledger, clock: FakeClock) -> None:
    ledger.people.opt_out("person", OptOutChannel.ALL, "track")
    assert ledger.people.opted_out(["person"], clock.now - timedelta(seconds=1)).is_empty()
    assert not ledger.people.opted_out(["person"], clock.now).is_empty()


def test_an_opt_out_is_active_once_and_can_be_undone_and_done_again(ledger: Ledger, clock: FakeClock) -> None:
    assert ledger.people.opt_out("person", OptOutChannel.EMAIL, "cli")
    assert not ledger.people.opt_out("person", OptOutChannel.EMAIL, "track")
    assert ledger.people.opt_out("person", OptOutChannel.ALL, "track")
    assert ledger.people.opt_outs().rows() == [
        ("person", "email", "cli", clock.now),
        ("person", "all", "track", clock.now),
    ]
    assert sorted(ledger.people.opted_out(["person", "nobody"], clock.now).rows()) == [
        ("person", "all"),
        ("person", "email"),
    ]
    assert ledger.people.opt_in("person", OptOutChannel.EMAIL)
    assert not ledger.people.opt_in("person", OptOutChannel.EMAIL)
    assert ledger.people.opted_out(["person"], clock.now).rows() == [("person", "all")]
    assert ledger.people.opt_out("person", OptOutChannel.EMAIL, "cli")
    assert ledger.people.opt_outs().height == 2


def test_a_pause_holds_until_it_is_resumed(ledger: Ledger, clock: FakeClock) -> None:
    assert ledger.pauses.add("hospital:HMS", "throttled", "track_api")
    assert not ledger.pauses.add("hospital:HMS", "holiday", "cli")
    assert ledger.pauses.all().rows() == [("hospital:HMS", "throttled", "track_api", clock.now)]
    assert ledger.pauses.remove("hospital:HMS")
    assert not ledger.pauses.remove("hospital:HMS")
    assert ledger.pauses.all().is_empty()


# --- what an operator is told when its file is not in order -----------------------------------------------------------

RIGHTS, ROOM, DISK, BACKUP, WAIT = (
    "right to write",
    "Free space",
    "full or broken",
    "restore a backup",
    "Another program",
)


def told_on_opening(path: Path, clock: FakeClock) -> str:
    with pytest.raises(LedgerError) as caught:
        open_ledger(f"sqlite:///{path}", clock=clock)
    assert str(path) in str(caught.value)
    return only_remedy(str(caught.value))


def only_remedy(message: str) -> str:
    """The one next step of a message: of two, one would be wrong."""
    [remedy] = [each for each in (RIGHTS, ROOM, DISK, BACKUP, WAIT) if each in message]
    return remedy


@pytest.fixture
def path(tmp_path: Path, clock: FakeClock) -> Path:
    """A ledger's file that nobody has open."""
    path = tmp_path / "ledger.sqlite"
    open_ledger(f"sqlite:///{path}", clock=clock).close()
    return path


def test_a_file_that_is_no_database_is_no_matter_of_rights(path: Path, clock: FakeClock) -> None:
    path.write_text("a letter to the hospital\n" * 100, encoding="utf-8")

    assert told_on_opening(path, clock) == BACKUP


def test_a_damaged_file_is_no_matter_of_rights(path: Path, clock: FakeClock) -> None:
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])

    assert told_on_opening(path, clock) == BACKUP


def test_damage_that_is_found_later_is_no_matter_of_reach(path: Path, clock: FakeClock) -> None:
    ledger = open_ledger(f"sqlite:///{path}", clock=clock)
    with path.open("r+b") as file:
        file.seek(4096)
        file.write(b"\xff" * (path.stat().st_size - 4096))

    with pytest.raises(LedgerError) as caught:
        ledger.counts.outcomes()

    assert only_remedy(str(caught.value)) == BACKUP
    ledger.close()


def test_a_folder_where_the_file_should_be_is_a_matter_of_rights(tmp_path: Path, clock: FakeClock) -> None:
    assert told_on_opening(tmp_path, clock) == RIGHTS


def test_a_file_that_another_program_is_opening_for_long_is_waited_for(
    path: Path, clock: FakeClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("track_pipeline.adapters.ledger.database._WAIT_SECONDS", 0.01)

    with FileLock(f"{path}.lock"):
        assert told_on_opening(path, clock) == WAIT


@needs_a_full_disk
@pytest.mark.parametrize("room", [0, 100, 5_000, 100_000])
def test_a_disk_that_is_full_when_the_ledger_is_made_is_a_matter_of_the_disk(
    room: int, tmp_path: Path, clock: FakeClock
) -> None:
    with room_for(room):
        assert told_on_opening(tmp_path / "ledger.sqlite", clock) == DISK

    open_ledger(f"sqlite:///{tmp_path / 'ledger.sqlite'}", clock=clock).close()


@needs_a_full_disk
def test_a_disk_that_fills_up_in_a_claim_leaves_none_of_it(path: Path, clock: FakeClock) -> None:
    ledger = open_ledger(f"sqlite:///{path}", clock=clock)

    with room_for(10_000), pytest.raises(LedgerError, match="stay claimed") as caught:
        ledger.sends.claim(batch(*(line(encounter) for encounter in range(1, 50))), INVITATION)

    assert only_remedy(str(caught.value)) == DISK
    assert ledger.sends.unresolved().is_empty()
    assert len(claim_ids(ledger, line(1))) == 1
    ledger.close()


def test_a_database_with_no_room_is_a_matter_of_room(path: Path, clock: FakeClock) -> None:
    ledger = open_ledger(f"sqlite:///{path}", clock=clock)
    with ledger._database.read() as connection:
        connection.exec_driver_sql("PRAGMA max_page_count = 1")

    with pytest.raises(LedgerError) as caught:
        ledger.sends.claim(batch(*(line(encounter) for encounter in range(1, 200))), INVITATION)

    assert only_remedy(str(caught.value)) == ROOM
    ledger.close()
