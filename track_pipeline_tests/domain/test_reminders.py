"""Reminders: who is due on a day and through which channel; none after an answer or an opt-out, and none twice."""

from collections.abc import Iterable
from datetime import UTC, date, datetime, timedelta
from itertools import pairwise
from random import Random
from typing import Any

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from track_pipeline.config.policy import load_policy
from track_pipeline.domain.areas import AREAS
from track_pipeline.domain.channels import CONTACT_CHANNELS, Channel
from track_pipeline.domain.hospital import Hospital
from track_pipeline.domain.outcomes import Withheld
from track_pipeline.domain.policy import Policy, ReminderRule
from track_pipeline.domain.reminders import (
    CANDIDATES,
    CONTACTS,
    DONE,
    DUE,
    NOT_YET,
    REMINDERS,
    WITHHELD,
    decide,
    due_date,
)
from track_pipeline.domain.sends import SendState
from track_pipeline.domain.waves import Wave
from track_pipeline_tests.support.builders import (
    DAY,
    Row,
    cpf,
    email_of,
    hospital,
    key_of,
    phone_of,
    planned,
    survey_of,
)

POLICY = load_policy()
HMS = hospital()
FIRST, SECOND = WAVES = POLICY.waves
THIRD = Wave(21)
CHANNELS = CONTACT_CHANNELS
PERSONAL = ("patient_name", "doctor_name", "email_address", "phone_e164", "cpf_digits")
FLAGS = ("answered", "email_bounced", "whatsapp_bounced", "died_since", "returned_since")
NO_EMAIL: Row = {"email_address": None}
NO_PHONE: Row = {"phone_e164": None}
INVITED_AT = datetime(2025, 3, 10, 12, tzinfo=UTC)


def after(days: int) -> date:
    """A day counted from the local day of the default invitation."""
    return DAY + timedelta(days=days)


def candidates(*rows: Row) -> pl.DataFrame:
    """A frame of `CANDIDATES`; the n-th row is the n-th person's, invited by e-mail on `DAY`, silent since."""
    return pl.DataFrame([_candidate(place, row) for place, row in enumerate(rows, start=1)], schema=CANDIDATES)


def _candidate(person: int, row: Row) -> Row:
    defaults: Row = {
        "database": "HMS",
        "encounter_id": person,
        "unit": "HMS",
        "setor": "INTERNACAO",
        "survey_uuid": survey_of("HMS", AREAS[0]),
        "invite_channel": "email",
        "invited_at": INVITED_AT,
        "cpf_key": key_of("cpf", cpf(person)),
        "phone_key": key_of("phone", f"27{phone_of(person)[-8:]}"),
        "email_key": key_of("email", email_of(person)),
        "opted_out": [],
        "reminders": [],
    }
    return defaults | dict.fromkeys(FLAGS, False) | {name: row[name] for name in row if name in CANDIDATES}


def contacts(*rows: Row) -> pl.DataFrame:
    """What the plan says of the same people: a mail address and a mobile each, unless a row says otherwise."""
    of_plan = [{name: value for name, value in row.items() if name in CONTACTS} for row in rows]
    return planned(*of_plan).select(CONTACTS.names())


def decided(
    *rows: Row,
    wave: Wave = FIRST,
    today: date | None = None,
    of: Hospital = HMS,
    policy: Policy = POLICY,
) -> pl.DataFrame:
    today = today or after(wave.days)
    return decide(candidates(*rows), contacts(*rows), wave, today, of, policy)


def words(reminders: pl.DataFrame) -> list[str]:
    """Per row the channel it is due by, the reason why it is withheld, or its result."""
    return reminders.select(pl.coalesce("channel", "reason", "result")).to_series().to_list()


def word(row: Row, **how: Any) -> str:
    [found] = words(decided(row, **how))
    return found


def reminded(wave: Wave, days: int | None, channel: str = "whatsapp", state: str = "sent") -> Row:
    """What the ledger says of a reminder that was claimed so many days after the invitation; None: unknown."""
    at = None if days is None else INVITED_AT + timedelta(days=days)
    return {"reminders": [{"wave": wave.key, "state": state, "channel": channel, "at": at}]}


def policy_of(orders: Iterable[tuple[Channel, ...]], catch_up_days: int = 3, gap: int = 4) -> Policy:
    """A policy with a wave every seven days, one per order of channels."""
    rules = tuple(
        ReminderRule(days=7 * number, channels=order, catch_up_days=catch_up_days)
        for number, order in enumerate(orders, start=1)
    )
    return POLICY.model_copy(update={"reminders": rules, "min_days_between_reminders": gap})


# When.


@pytest.mark.parametrize(("wave", "days"), [(wave, wave.days) for wave in WAVES])
def test_a_reminder_is_due_from_its_day_on_and_is_caught_up_for_three_days(wave: Wave, days: int) -> None:
    results = [decided({}, wave=wave, today=after(day)).item(0, "result") for day in range(days - 2, days + 6)]

    assert results == [NOT_YET] * 2 + [DUE] * 4 + [WITHHELD] * 2
    assert word({}, wave=wave, today=after(days + 4)) == Withheld.LATE
    assert due_date(DAY, wave) == after(days)


@pytest.mark.parametrize(
    ("time_zone", "result"), [("America/Noronha", NOT_YET), ("America/Sao_Paulo", DUE), ("America/Cuiaba", DUE)]
)
def test_days_are_counted_from_the_hospital_s_own_day_of_the_invitation(time_zone: str, result: str) -> None:
    # Half past two in UTC is half past midnight of that day in Noronha, and still the day before on the mainland.
    row = {"invited_at": datetime(2025, 3, 11, 2, 30, tzinfo=UTC)}

    assert decided(row, of=hospital(time_zone=time_zone)).item(0, "result") == result


# By which channel.


@pytest.mark.parametrize(
    ("row", "channel"),
    [
        ({}, "whatsapp"),
        (NO_PHONE, "email"),
        (NO_EMAIL, "whatsapp"),
        ({"whatsapp_bounced": True}, "email"),
        ({"email_bounced": True}, "whatsapp"),
        ({"opted_out": ["whatsapp"]}, "email"),
        ({"opted_out": ["email"]}, "whatsapp"),
    ],
)
def test_the_first_reminder_goes_by_whatsapp_where_that_is_possible(row: Row, channel: str) -> None:
    assert word(row) == channel


@pytest.mark.parametrize(
    ("row", "channel"),
    [
        ({}, "email"),
        (NO_EMAIL, "whatsapp"),
        (reminded(FIRST, 7, "whatsapp"), "email"),
        (reminded(FIRST, 7, "email"), "whatsapp"),
        (reminded(FIRST, 7, "whatsapp") | NO_EMAIL, "whatsapp"),
        (reminded(FIRST, 7, "email") | {"whatsapp_bounced": True}, "email"),
        (reminded(FIRST, 7, "email") | {"opted_out": ["whatsapp"]}, "email"),
        (reminded(FIRST, 7, "email", state="rejected"), "whatsapp"),
    ],
)
def test_the_second_reminder_takes_the_channel_that_the_first_did_not(row: Row, channel: str) -> None:
    assert word(row, wave=SECOND) == channel


def test_the_order_of_the_channels_is_policy() -> None:
    by_email, by_whatsapp = (Channel.EMAIL, Channel.WHATSAPP), (Channel.WHATSAPP, Channel.EMAIL)
    other = policy_of([by_email, by_whatsapp, by_email])

    assert [word({}, wave=wave, policy=other) for wave in other.waves] == ["email", "whatsapp", "email"]


def test_a_third_reminder_takes_the_channel_that_the_second_did_not() -> None:
    policy = policy_of([CHANNELS] * 3)
    both = {"reminders": [*reminded(FIRST, 7, "whatsapp")["reminders"], *reminded(SECOND, 14, "email")["reminders"]]}

    assert word(both, wave=THIRD, policy=policy) == "whatsapp"
    assert word(both, wave=THIRD, today=after(20), policy=policy) == NOT_YET
    assert word(both | reminded(SECOND, 18), wave=THIRD, policy=policy) == Withheld.TOO_SOON


def test_a_hospital_reminds_by_its_own_channels_only() -> None:
    only_email = hospital(channels=("email",))

    assert [word({}, wave=wave, of=only_email) for wave in WAVES] == ["email", "email"]
    assert word(NO_EMAIL, of=only_email) == Withheld.NO_CONTACT


# Why not.


@pytest.mark.parametrize("state", ["claimed", "sent", "rejected", "unknown"])
@pytest.mark.parametrize("wave", WAVES)
def test_a_wave_that_has_its_send_is_done_whatever_became_of_it(wave: Wave, state: str) -> None:
    assert word(reminded(wave, wave.days, state=state) | {"answered": True}, wave=wave) == DONE


@pytest.mark.parametrize(
    ("row", "reason"),
    [
        ({"answered": True}, Withheld.ANSWERED),
        ({"opted_out": ["all"]}, Withheld.OPTED_OUT),
        ({"opted_out": ["whatsapp", "email"]}, Withheld.OPTED_OUT),
        ({"opted_out": ["email"]} | NO_PHONE, Withheld.OPTED_OUT),
        ({"opted_out": ["email"], "whatsapp_bounced": True}, Withheld.OPTED_OUT),
        ({"opted_out": ["all"]} | NO_PHONE | NO_EMAIL, Withheld.OPTED_OUT),
        ({"opted_out": ["email"]} | NO_PHONE | NO_EMAIL, Withheld.NO_CONTACT),
        ({"died_since": True}, Withheld.DECEASED),
        ({"returned_since": True}, Withheld.RETURNED),
        ({"email_bounced": True, "whatsapp_bounced": True}, Withheld.BOUNCED),
        ({"email_bounced": True} | NO_PHONE, Withheld.BOUNCED),
        ({"email_bounced": True} | NO_PHONE | NO_EMAIL, Withheld.NO_CONTACT),
        (NO_PHONE | NO_EMAIL, Withheld.NO_CONTACT),
    ],
)
def test_who_must_not_or_cannot_be_reminded_has_a_reason(row: Row, reason: Withheld) -> None:
    assert word(row) == reason


def test_where_track_reminds_nobody_is_reminded_here() -> None:
    of = hospital(reminders="track")

    assert words(decided({}, {"answered": True}, of=of)) == [Withheld.TRACKS_OWN, Withheld.ANSWERED]


def test_of_several_reasons_the_first_of_the_list_is_given() -> None:
    everything: Row = dict.fromkeys(FLAGS, True) | {"opted_out": ["email"]} | reminded(FIRST, 17)
    row, how = everything, {"of": hospital(reminders="track"), "today": after(18)}
    found = [word(row, wave=SECOND, **how)]
    # One reason less each time, from the first to the last but one.
    changes: list[tuple[Row, Row]] = [
        ({"answered": False}, {}),
        ({"opted_out": []}, {}),
        ({"died_since": False}, {}),
        ({"returned_since": False}, {}),
        (NO_EMAIL | NO_PHONE, {}),
        ({}, {"of": HMS}),
        ({}, {"today": after(17)}),
        (reminded(FIRST, 10), {}),
    ]
    for change_of_row, change_of_call in changes:
        row, how = row | change_of_row, how | change_of_call
        found.append(word(row, wave=SECOND, **how))

    assert found == list(Withheld)


@pytest.mark.parametrize(
    ("first", "expected"),
    [
        (reminded(FIRST, 10), "email"),
        (reminded(FIRST, 11), Withheld.TOO_SOON),
        (reminded(FIRST, 14), Withheld.TOO_SOON),
        (reminded(FIRST, 11, state="unknown"), Withheld.TOO_SOON),
        (reminded(FIRST, 11, state="rejected"), "email"),
        (reminded(FIRST, None), Withheld.TOO_SOON),
    ],
)
def test_four_days_lie_between_two_reminders_that_may_have_arrived(first: Row, expected: str) -> None:
    assert word(first, wave=SECOND) == expected


def test_who_is_not_in_the_lake_any_more_cannot_be_reminded() -> None:
    there = contacts({}).filter(pl.col("encounter_id") == 0)

    reminders = decide(candidates({}, {"answered": True}), there, FIRST, after(7), HMS, POLICY)

    assert words(reminders) == [Withheld.NO_CONTACT, Withheld.ANSWERED]


@pytest.mark.parametrize(
    ("unknown", "reason"),
    [
        (["answered"], Withheld.ANSWERED),
        (["opted_out"], Withheld.OPTED_OUT),
        (["died_since"], Withheld.DECEASED),
        (["returned_since"], Withheld.RETURNED),
        (["email_bounced", "whatsapp_bounced"], Withheld.BOUNCED),
    ],
)
def test_nobody_is_written_to_on_a_doubt(unknown: list[str], reason: Withheld) -> None:
    assert word(dict.fromkeys(unknown)) == reason


# The frame.


def test_due_rows_carry_their_contacts_and_no_other_row_does() -> None:
    reminders = decided({}, {"answered": True})

    assert reminders.schema == REMINDERS
    due, withheld = reminders.iter_rows(named=True)
    assert (due["result"], due["reason"]) == (DUE, None)
    assert [due[name] for name in PERSONAL] == ["Pessoa Exemplo 1", "Doutora Exemplo", email_of(1), phone_of(1), cpf(1)]
    assert [withheld[name] for name in (*PERSONAL, "channel")] == [None] * 6
    assert (withheld["unit_name"], withheld["area"]) == ("Hospital Exemplo", "internacao")


def test_contacts_are_found_by_database_and_encounter_and_the_order_is_kept() -> None:
    plan = planned({"encounter_id": 1, "database": "HSL"}, {"encounter_id": 2}, {"encounter_id": 1})

    reminders = decide(candidates({}, {}), plan, FIRST, after(7), HMS, POLICY)

    assert reminders.select("encounter_id", "email_address").rows() == [(1, email_of(3)), (2, email_of(2))]


def test_an_encounter_that_comes_twice_stops_the_decision() -> None:
    with pytest.raises(pl.exceptions.ComputeError, match="1:1"):
        decide(candidates({}), planned({}, {"encounter_id": 1}), FIRST, after(7), HMS, POLICY)


def test_nobody_to_remind_is_an_empty_frame() -> None:
    reminders = decided()

    assert reminders.is_empty()
    assert reminders.schema == REMINDERS


# Whatever comes.


def of_few(values: Iterable[object]) -> st.SearchStrategy[object]:
    return st.sampled_from([None, *values])


_INSTANTS = st.integers(0, 24 * 20).map(lambda hours: INVITED_AT + timedelta(hours=hours))
_REMINDED = st.lists(
    st.fixed_dictionaries(
        {
            "wave": st.sampled_from([wave.key for wave in (*WAVES, THIRD)]),
            "state": st.sampled_from([state.value for state in SendState]),
            "channel": st.sampled_from(CHANNELS),
            "at": st.none() | _INSTANTS,
        }
    ),
    max_size=3,
    unique_by=lambda send: str(send["wave"]),
)
_ROW = st.fixed_dictionaries(
    {
        "invited_at": _INSTANTS,
        "answered": st.sampled_from([False, False, False, True]),
        "died_since": st.sampled_from([False, False, False, True]),
        "returned_since": st.sampled_from([False, False, False, True]),
        "email_bounced": st.booleans(),
        "whatsapp_bounced": st.booleans(),
        "reminders": _REMINDED,
        "opted_out": st.lists(st.sampled_from(["all", "email", "whatsapp"]), max_size=2),
        "email_address": of_few(["ana@exemplo.com.br"]),
        "phone_e164": of_few([phone_of(1)]),
    }
)
_DAYS = st.integers(0, 40).map(after)
_HOSPITALS = st.builds(
    hospital,
    channels=st.sampled_from([("email", "whatsapp"), ("email",), ("whatsapp",)]),
    reminders=st.sampled_from(["ours", "ours", "ours", "track"]),
    time_zone=st.sampled_from(["America/Sao_Paulo", "America/Noronha", "America/Cuiaba"]),
)
_POLICIES = st.builds(
    policy_of,
    st.lists(st.permutations(CHANNELS).map(tuple), min_size=2, max_size=3),
    catch_up_days=st.integers(0, 6),
    gap=st.integers(1, 7),
)


@given(st.lists(_ROW, max_size=8), st.sampled_from(WAVES), _DAYS, _HOSPITALS, _POLICIES)
@settings(max_examples=150, deadline=None)
def test_only_who_is_silent_alive_and_willing_is_due_and_by_a_channel_that_works(
    rows: list[Row], wave: Wave, today: date, of: Hospital, policy: Policy
) -> None:
    reminders = decided(*rows, wave=wave, today=today, of=of, policy=policy)

    assert reminders.schema == REMINDERS
    assert reminders.height == len(rows)
    for row in reminders.iter_rows(named=True):
        assert row["result"] in (DUE, DONE, NOT_YET, WITHHELD)
        assert (row["reason"] in set(Withheld)) == (row["result"] == WITHHELD)
        if row["result"] != DUE:
            assert [row[name] for name in (*PERSONAL, "channel")] == [None] * 6
            continue
        assert of.reminders == "ours"
        assert row["channel"] in of.channels
        assert row["channel"] not in row["opted_out"]
        assert "all" not in row["opted_out"]
        assert not any(row[flag] for flag in ("answered", "died_since", "returned_since", f"{row['channel']}_bounced"))
        assert row["email_address" if row["channel"] == "email" else "phone_e164"] is not None
        invited_on = row["invited_at"].astimezone(of.zone).date()
        assert 0 <= (today - due_date(invited_on, wave)).days <= policy.reminder(wave).catch_up_days


@given(_ROW, st.sampled_from(WAVES), _DAYS, _HOSPITALS, st.sampled_from(("answered", "died_since", "returned_since")))
@settings(max_examples=100, deadline=None)
def test_news_of_a_person_never_makes_a_reminder_due(
    row: Row, wave: Wave, today: date, of: Hospital, news: str
) -> None:
    for told in ({news: True}, {"opted_out": ["all"]}, dict.fromkeys(("email_bounced", "whatsapp_bounced"), True)):
        assert decided(row | told, wave=wave, today=today, of=of).item(0, "result") != DUE


@given(st.lists(_ROW, max_size=8), _DAYS, _HOSPITALS, _POLICIES)
@settings(max_examples=100, deadline=None)
def test_two_waves_of_an_encounter_are_never_due_on_one_day(
    rows: list[Row], today: date, of: Hospital, policy: Policy
) -> None:
    due = [
        encounter
        for wave in policy.waves
        for encounter in decided(*rows, wave=wave, today=today, of=of, policy=policy)
        .filter(result=DUE)
        .get_column("encounter_id")
    ]

    assert len(due) == len(set(due))


@given(st.lists(st.booleans(), min_size=30, max_size=30), _HOSPITALS, _POLICIES, st.randoms())
@settings(max_examples=40, deadline=None)
def test_on_whatever_days_somebody_looks_each_wave_goes_once_at_most_and_apart(
    looks: list[bool], of: Hospital, policy: Policy, shuffled: Random
) -> None:
    row: Row = {"reminders": []}
    went: list[tuple[Wave, int]] = []
    order = list(policy.waves)
    shuffled.shuffle(order)
    for day, somebody_looks in enumerate(looks):
        for wave in order if somebody_looks else []:
            found = word(row, wave=wave, today=after(day), of=of, policy=policy)
            if found in CHANNELS:
                row = {"reminders": [*row["reminders"], *reminded(wave, day, found)["reminders"]]}
                went.append((wave, day))

    waves = [wave for wave, _ in went]
    assert waves == sorted(set(waves))
    assert all(later - earlier >= policy.min_days_between_reminders for (_, earlier), (_, later) in pairwise(went))
