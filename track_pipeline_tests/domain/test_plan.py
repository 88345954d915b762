"""The plan of a hospital-day: one row out per row in, each with a channel or a reason; one survey per person."""

from collections import Counter
from datetime import UTC, date, datetime, timedelta
from typing import Any

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from track_pipeline.config.policy import load_policy
from track_pipeline.domain.areas import AREAS, PRIORITY, Area
from track_pipeline.domain.hospital import Hospital
from track_pipeline.domain.identity import KEY_COLUMNS
from track_pipeline.domain.outcomes import EXCLUDED, PLANNED, Exclusion
from track_pipeline.domain.plan import PLAN
from track_pipeline.domain.policy import Policy
from track_pipeline_tests.support.builders import (
    DAY,
    Row,
    cpf,
    email_of,
    encounters,
    hospital,
    key_of,
    keys_of,
    ledger_facts,
    phone_of,
    plan_of,
    plan_request,
    survey_of,
)

CONTACTS = ("patient_name", "doctor_name", "email_address", "phone_e164", "cpf_digits", *KEY_COLUMNS)
INPATIENT_SURVEY = survey_of("HMS", Area.INTERNACAO)
OTHER_SURVEY = survey_of("HMS", Area.EXAMES)
NO_EMAIL: Row = {"email": None}
NO_PHONE: Row = {"phone_number": None}
NO_CONTACT: Row = {"email": None, "phone_number": None}


def verdicts(plan: pl.DataFrame) -> list[str]:
    """Per row the channel it is planned by, or the reason why it is not."""
    return plan.select(pl.coalesce("channel", "reason")).to_series().to_list()


def verdict(row: Row, of: Hospital | None = None, **facts: Any) -> str:
    [found] = verdicts(plan_of(encounters(row), plan_request(of), ledger_facts(**facts)))
    return found


def invited(**fields: object) -> Row:
    """An earlier invitation of person 1, to the inpatient survey, by another encounter."""
    return {
        "person_key": key_of("cpf", cpf(1)),
        "hospital": "HMS",
        "database": "HMS",
        "encounter_id": 999,
        "survey_uuid": INPATIENT_SURVEY,
        "cohort_date": DAY - timedelta(days=1),
        "answered_on": None,
    } | fields


def asked(encounter_id: int = 1, **fields: object) -> Row:
    """An invitation of this hospital-day that left by WhatsApp."""
    return {
        "database": "HMS",
        "encounter_id": encounter_id,
        "area": "internacao",
        "survey_uuid": INPATIENT_SURVEY,
        "channel": "whatsapp",
    } | fields


# Which channel.


def test_a_planned_row_says_whom_to_ask_what_and_how() -> None:
    plan = plan_of(encounters({}))

    assert plan.schema == PLAN
    row = plan.row(0, named=True)
    assert (row["result"], row["reason"], row["decided_by"]) == (PLANNED, None, "inpatient")
    assert (row["area"], row["channel"], row["survey_uuid"]) == ("internacao", "email", INPATIENT_SURVEY)
    assert (row["email_address"], row["phone_e164"], row["cpf_digits"]) == (email_of(1), phone_of(1), cpf(1))


@pytest.mark.parametrize(
    ("channels", "row", "channel"),
    [
        (("email", "whatsapp"), {}, "email"),
        (("email", "whatsapp"), NO_EMAIL, "whatsapp"),
        (("whatsapp", "email"), {}, "whatsapp"),
        (("whatsapp", "email"), NO_PHONE, "email"),
        (("email",), NO_EMAIL, "no_contact"),
        (("whatsapp",), NO_PHONE, "no_contact"),
    ],
)
def test_the_first_channel_of_the_hospital_with_a_usable_contact_is_taken(
    channels: tuple[str, ...], row: Row, channel: str
) -> None:
    assert verdict(row, hospital(channels=channels)) == channel


@pytest.mark.parametrize(
    ("links", "row", "channel"),
    [
        ("no_contact", NO_CONTACT, "link"),
        ("no_contact", {}, "email"),
        ("off", NO_CONTACT, "no_contact"),
        ("all", NO_CONTACT, "no_contact"),
    ],
)
def test_a_link_takes_the_place_of_a_missing_contact_where_the_hospital_wants_it(
    links: str, row: Row, channel: str
) -> None:
    assert verdict(row, hospital(links=links)) == channel


# Why not: the contact.


@pytest.mark.parametrize(
    ("row", "reason"),
    [
        (NO_CONTACT, Exclusion.NO_CONTACT),
        ({"email": "ana@", "phone_number": None}, Exclusion.INVALID_CONTACT),
        ({"email": None, "phone_number": "33334455"}, Exclusion.INVALID_CONTACT),
        ({"email": None, "phone_country": "351"}, Exclusion.FOREIGN),
        ({"email": "ana@", "phone_country": "351"}, Exclusion.FOREIGN),
        ({"email": "naotem@exemplo.com.br", "phone_country": "351"}, Exclusion.PLACEHOLDER_CONTACT),
    ],
)
def test_without_a_usable_contact_the_reason_says_what_is_wrong_with_it(row: Row, reason: Exclusion) -> None:
    assert verdict(row) == reason


def test_one_usable_contact_is_enough_whatever_the_other_is() -> None:
    assert verdict({"email": "naotem@exemplo.com.br"}) == "whatsapp"
    assert verdict({"phone_country": "351"}) == "email"


def test_a_contact_of_too_many_people_is_the_reason_before_a_placeholder() -> None:
    family = {"email": "familia@exemplo.com.br", "phone_number": "999999999"}

    assert verdicts(plan_of(encounters(*[family] * 4))) == [Exclusion.SHARED_CONTACT] * 4


# Why not: opt-outs.


@pytest.mark.parametrize("key", [key_of("cpf", cpf(1)), key_of("email", email_of(1))])
def test_who_refuses_one_channel_is_asked_by_the_other(key: str) -> None:
    assert verdict({}, opted_out=[{"person_key": key, "channel": "email"}]) == "whatsapp"


@pytest.mark.parametrize("refused", [["all"], ["email", "whatsapp"]])
def test_who_refuses_every_channel_is_not_asked(refused: list[str]) -> None:
    key = key_of("phone", phone_of(1)[3:5] + phone_of(1)[-8:])

    opted_out = [{"person_key": key, "channel": channel} for channel in refused]

    assert verdict({}, opted_out=opted_out) == Exclusion.OPTED_OUT


def test_who_refuses_the_only_usable_channel_is_opted_out() -> None:
    opted_out = [{"person_key": key_of("cpf", cpf(1)), "channel": "email"}]

    assert verdict(NO_PHONE, opted_out=opted_out) == Exclusion.OPTED_OUT


def test_who_could_not_be_asked_anyway_is_not_called_opted_out() -> None:
    opted_out = [{"person_key": key_of("cpf", cpf(1)), "channel": "all"}]

    assert verdict(NO_CONTACT, opted_out=opted_out) == Exclusion.NO_CONTACT


def test_who_refuses_all_gets_no_link_either() -> None:
    opted_out = [{"person_key": key_of("cpf", cpf(1)), "channel": "all"}]

    assert verdict({}, hospital(links="no_contact"), opted_out=opted_out) == Exclusion.OPTED_OUT


def test_the_opt_out_of_one_person_is_nobody_else_s() -> None:
    opted_out = [{"person_key": key_of("cpf", cpf(2)), "channel": "all"}]

    assert verdict({}, opted_out=opted_out) == "email"


# Why not: rules, surveys, age.


def test_an_eligibility_rule_gives_reason_and_rule() -> None:
    row = plan_of(encounters({"died": True} | NO_CONTACT)).row(0, named=True)

    assert (row["result"], row["reason"], row["decided_by"]) == (EXCLUDED, "deceased", "deceased@1")


def test_a_unit_without_a_survey_for_the_area_asks_nobody_there() -> None:
    request = plan_request(surveys={("HMS", Area.EXAMES): OTHER_SURVEY, ("HMC", Area.INTERNACAO): INPATIENT_SURVEY})

    assert verdicts(plan_of(encounters({}, {"area": "EXAMES"}, {"unit": None}), request)) == [
        Exclusion.NO_SURVEY,
        "email",
        Exclusion.NO_SURVEY,
    ]


@pytest.mark.parametrize(("days", "expected"), [(0, "email"), (7, "email"), (8, Exclusion.STALE)])
def test_a_plan_made_more_than_max_age_days_later_is_stale(days: int, expected: str) -> None:
    request = plan_request(hospital(max_age_days=7), today=DAY + timedelta(days=days))

    assert verdicts(plan_of(encounters({}), request)) == [expected]


# One survey per person.


SAME_PERSON: dict[str, Row] = {
    "cpf": {"cpf": cpf(77)},
    "phone": {"phone_number": "981234567"},
    "email": {"email": "ana@exemplo.com.br"},
}


@pytest.mark.parametrize("same", SAME_PERSON.values(), ids=SAME_PERSON)
def test_encounters_that_share_any_key_are_one_person_s(same: Row) -> None:
    assert verdicts(plan_of(encounters(same, same, {}))) == ["email", Exclusion.SAME_PERSON, "email"]


def test_a_person_without_a_cpf_is_known_by_the_old_form_of_the_number() -> None:
    rows = ({"cpf": None, "phone_number": "981234567"}, {"cpf": None, "phone_number": "81234567"})

    assert verdicts(plan_of(encounters(*rows))) == ["email", Exclusion.SAME_PERSON]


def test_encounters_that_share_no_contact_but_missing_ones_are_of_different_people() -> None:
    assert verdicts(plan_of(encounters(*[NO_EMAIL | {"cpf": None}] * 3))) == ["whatsapp"] * 3


def test_of_one_person_the_area_that_comes_first_is_asked() -> None:
    rows = [{"person": 1, "area": area.label} for area in reversed(PRIORITY)]

    for first in range(len(PRIORITY)):
        plan = plan_of(encounters(*rows[: len(rows) - first]))

        [asked_about] = plan.filter(pl.col("result") == PLANNED).get_column("area")
        assert asked_about == PRIORITY[first]
        assert plan.get_column("reason").drop_nulls().unique().to_list() in ([Exclusion.SAME_PERSON], [])


def test_of_one_person_in_one_area_the_earliest_discharge_is_asked_then_the_lowest_encounter() -> None:
    def plan(*discharges: datetime | None) -> list[str]:
        return verdicts(plan_of(encounters(*({"person": 1, "discharged_at": each} for each in discharges))))

    morning, evening = datetime(2025, 3, 10, 9, tzinfo=UTC), datetime(2025, 3, 10, 21, tzinfo=UTC)

    assert plan(evening, morning) == [Exclusion.SAME_PERSON, "email"]
    assert plan(None, morning) == [Exclusion.SAME_PERSON, "email"]
    assert plan(morning, morning) == ["email", Exclusion.SAME_PERSON]


def test_who_cannot_be_asked_does_not_take_the_place_of_who_can() -> None:
    unreachable_stay = {"person": 1, "area": "INTERNACAO"} | NO_CONTACT

    assert verdicts(plan_of(encounters(unreachable_stay, {"person": 1, "area": "EXAMES"}))) == ["no_contact", "email"]


# What is true of a person.


@pytest.mark.parametrize(
    ("mark", "reason"),
    [
        ({"died": True}, Exclusion.DECEASED),
        ({"area": None, "reason": "deceased", "rule": None}, Exclusion.DECEASED),
        ({"area": None, "reason": "unclassified", "rule": None, "died": True}, Exclusion.DECEASED),
        ({"cid": "O364"}, Exclusion.OBSTETRIC_LOSS),
        ({"cid": "F32"}, Exclusion.PSYCHIATRIC),
        ({"cid": "Z651"}, Exclusion.CUSTODY),
    ],
    ids=["died", "a rule says so", "died, in no area", "loss", "psychiatric", "custody"],
)
@pytest.mark.parametrize(
    "in_common",
    [{"email": None, "phone_number": None}, {"email": None, "cpf": None}, {"phone_number": None, "cpf": None}],
    ids=["cpf", "phone", "email"],
)
def test_what_one_encounter_says_of_a_person_keeps_all_others_of_the_day_from_being_asked_about(
    mark: Row, reason: Exclusion, in_common: Row
) -> None:
    marked = {"person": 1} | mark | in_common
    emergency = {"person": 1, "area": Area.PRONTO_SOCORRO.label}

    plan = plan_of(encounters(marked, emergency, {"person": 2}))

    assert verdicts(plan)[-2:] == [reason, "email"]
    assert plan.get_column("decided_by")[-2] == f"{reason}@1"


def test_a_cancelled_encounter_says_nothing_of_a_person() -> None:
    cancelled = {"person": 1, "area": None, "rule": None, "reason": "cancelled", "died": True}

    assert verdicts(plan_of(encounters(cancelled, {"person": 1}))) == ["email"]


@pytest.mark.parametrize("kind", KEY_COLUMNS)
def test_whoever_is_known_to_have_died_is_not_asked_about_anything(kind: str) -> None:
    dead = {"person_key": keys_of(1)[kind]}

    assert verdicts(plan_of(encounters({}, {}), facts=ledger_facts(died=[dead]))) == ["deceased", "email"]


def test_what_left_before_the_death_was_known_stays_in_the_plan() -> None:
    facts = ledger_facts(asked=[asked()], died=[{"person_key": keys_of(1)["cpf_key"]}])

    assert verdicts(plan_of(encounters({}), facts=facts)) == ["whatsapp"]


def test_an_encounter_that_comes_twice_is_asked_about_once() -> None:
    rows = ({"encounter_id": 5}, {"encounter_id": 5}, {"encounter_id": 5, "database": "HSL"})

    assert verdicts(plan_of(encounters(*rows))) == ["email", Exclusion.DUPLICATE_ENCOUNTER, "email"]


# Quarantine.


def quarantine_policy() -> Policy:
    policy = load_policy()
    return policy.model_copy(
        update={
            "quarantine": policy.quarantine.model_copy(
                update={
                    "this_survey_after_invite": 30,
                    "any_survey_after_invite": 7,
                    "this_survey_after_answer": 60,
                    "any_survey_after_answer": 14,
                }
            )
        }
    )


@pytest.mark.parametrize(
    ("survey", "invited_ago", "answered_ago", "expected"),
    [
        pytest.param(OTHER_SURVEY, 6, None, Exclusion.QUARANTINE, id="any survey after an invitation"),
        pytest.param(OTHER_SURVEY, 7, None, "email", id="any survey, cooldown over"),
        pytest.param(INPATIENT_SURVEY, 29, None, Exclusion.QUARANTINE, id="this survey after an invitation"),
        pytest.param(INPATIENT_SURVEY, 30, None, "email", id="this survey, cooldown over"),
        pytest.param(OTHER_SURVEY, 20, 13, Exclusion.QUARANTINE, id="any survey after an answer"),
        pytest.param(OTHER_SURVEY, 20, 14, "email", id="any survey after an answer, cooldown over"),
        pytest.param(INPATIENT_SURVEY, 70, 59, Exclusion.QUARANTINE, id="this survey after an answer"),
        pytest.param(INPATIENT_SURVEY, 70, 60, "email", id="this survey after an answer, cooldown over"),
    ],
)
def test_a_cooldown_holds_until_its_last_day(
    survey: str, invited_ago: int, answered_ago: int | None, expected: str
) -> None:
    answered_on = None if answered_ago is None else DAY - timedelta(days=answered_ago)
    contact = invited(survey_uuid=survey, cohort_date=DAY - timedelta(days=invited_ago), answered_on=answered_on)

    plan = plan_of(encounters({}), plan_request(policy=quarantine_policy()), ledger_facts(contacted=[contact]))

    assert verdicts(plan) == [expected]


@pytest.mark.parametrize("key", [key_of("email", email_of(1)), key_of("phone", "27" + phone_of(1)[-8:])])
def test_a_person_is_in_quarantine_by_any_key_and_whichever_hospital_asked(key: str) -> None:
    assert verdict({}, contacted=[invited(person_key=key, hospital="HSL", database="HSL")]) == Exclusion.QUARANTINE


def test_the_quarantine_of_one_person_is_nobody_else_s() -> None:
    assert verdict({"person": 2}, contacted=[invited()]) == "email"


# What left already.


def test_an_encounter_that_was_invited_under_another_day_is_not_invited_again() -> None:
    contact = invited(encounter_id=1, cohort_date=DAY - timedelta(days=300))

    assert verdict({}, contacted=[contact]) == Exclusion.ALREADY_ASKED


def test_another_hospital_s_encounter_of_the_same_number_is_another_encounter() -> None:
    contact = invited(encounter_id=1, hospital="HSL", cohort_date=DAY - timedelta(days=300))

    assert verdict({}, contacted=[contact]) == "email"


def test_an_encounter_that_was_invited_under_another_area_is_not_invited_again() -> None:
    plan = plan_of(encounters({"area": "EXAMES"}), facts=ledger_facts(asked=[asked()]))

    assert verdicts(plan) == [Exclusion.ALREADY_ASKED]
    assert plan.get_column("decided_by").to_list() == ["already_asked"]


def test_the_reason_that_is_looked_for_first_is_the_reason_also_of_what_was_asked_under_another_area() -> None:
    plan = plan_of(encounters({"area": "EXAMES", "died": True}), facts=ledger_facts(asked=[asked()]))

    assert plan.select("reason", "decided_by").row(0) == ("deceased", "deceased@1")


@pytest.mark.parametrize(
    "row",
    [
        {},
        {"died": True},
        NO_CONTACT,
        {"email": "naotem@exemplo.com.br", "phone_number": "999999999"},
        {"unit": "UNKNOWN"},
    ],
)
def test_an_invitation_that_left_stays_planned_with_its_channel_and_survey(row: Row) -> None:
    facts = ledger_facts(
        opted_out=[{"person_key": key_of("cpf", cpf(1)), "channel": "all"}],
        contacted=[invited(), invited(encounter_id=1)],
        asked=[asked(survey_uuid=OTHER_SURVEY)],
    )
    request = plan_request(hospital(sample=0.000001), today=DAY + timedelta(days=100))

    [planned] = plan_of(encounters(row), request, facts).rows(named=True)

    assert (planned["result"], planned["reason"], planned["decided_by"]) == (PLANNED, None, "inpatient")
    assert (planned["channel"], planned["survey_uuid"]) == ("whatsapp", OTHER_SURVEY)


def test_a_line_that_was_dropped_stays_planned_when_its_person_opts_out_later() -> None:
    facts = ledger_facts(
        opted_out=[{"person_key": key_of("cpf", cpf(1)), "channel": "all"}], suppressed=[asked(channel="email")]
    )

    assert verdicts(plan_of(encounters({}), facts=facts)) == ["email"]


def test_a_line_that_was_dropped_in_another_area_was_not_asked_and_is_decided_anew() -> None:
    plan = plan_of(encounters({"area": "EXAMES"}), facts=ledger_facts(suppressed=[asked(channel="whatsapp")]))

    assert verdicts(plan) == ["email"]


def test_an_invitation_that_left_wins_over_the_other_encounters_of_its_person() -> None:
    frame = encounters({"person": 1}, {"person": 1, "area": "AMBULATORIO"})

    plan = plan_of(frame, facts=ledger_facts(asked=[asked(2, area="ambulatorio")]))

    assert verdicts(plan) == [Exclusion.SAME_PERSON, "whatsapp"]


def test_an_encounter_that_left_and_comes_twice_is_planned_once() -> None:
    plan = plan_of(encounters({"encounter_id": 1}, {"encounter_id": 1}), facts=ledger_facts(asked=[asked()]))

    assert verdicts(plan) == ["whatsapp", Exclusion.DUPLICATE_ENCOUNTER]


def test_of_several_sends_of_one_encounter_the_first_is_its_invitation() -> None:
    facts = ledger_facts(asked=[asked(channel="email"), asked(channel="whatsapp")])

    assert verdicts(plan_of(encounters({}), facts=facts)) == ["email"]


# Samples.


def test_a_sample_is_about_the_share_and_the_same_every_time() -> None:
    frame = encounters(*[{}] * 2000)
    request = plan_request(hospital(sample=0.3))

    plan = plan_of(frame, request)

    counts = Counter(verdicts(plan))
    assert set(counts) == {"email", Exclusion.SAMPLED_OUT}
    assert 500 < counts["email"] < 700
    assert plan_of(frame, request).equals(plan)


def test_a_larger_sample_keeps_whom_the_smaller_one_had() -> None:
    frame = encounters(*[{}] * 200)

    small, large = (
        set(plan_of(frame, plan_request(hospital(sample=share))).filter(result=PLANNED).get_column("encounter_id"))
        for share in (0.2, 0.5)
    )

    assert small < large


def test_whether_an_encounter_is_in_the_sample_does_not_depend_on_the_others() -> None:
    request = plan_request(hospital(sample=0.5))
    together = plan_of(encounters(*[{}] * 20), request)

    alone = [verdicts(plan_of(encounters({"encounter_id": place}), request))[0] for place in range(1, 21)]

    assert alone == verdicts(together)


@pytest.mark.parametrize("sample", [1.0, 0.5])
def test_a_day_without_encounters_has_an_empty_plan(sample: float) -> None:
    plan = plan_of(encounters(), plan_request(hospital(sample=sample)))

    assert plan.is_empty()
    assert plan.schema == PLAN


# Whatever comes.


def of_few(values: list[object]) -> st.SearchStrategy[object]:
    return st.sampled_from([None, *values])


_ROWS = st.lists(
    st.fixed_dictionaries(
        {
            "encounter_id": st.integers(1, 9),
            "area": st.sampled_from([area.label for area in AREAS]),
            "cpf": of_few([cpf(1), cpf(2), cpf(3)]),
            "email": of_few(["ana@exemplo.com.br", "ANA@exemplo.com.br", "bia@exemplo.com.br", "naotem@x.com.br"]),
            "phone_number": of_few(["981234567", "81234567", "27981234568", "33334455"]),
            "patient_name": st.sampled_from(["Ana Exemplo", "Bia Exemplo", "PACIENTE TESTE", None]),
            "discharged_at": of_few([datetime(2025, 3, 10, hour, tzinfo=UTC) for hour in (9, 15)]),
            "died": st.sampled_from([False, False, False, True, None]),
            "unit": st.sampled_from(["HMS", "HMS", "HMS", None]),
        }
    ),
    max_size=9,
)
_PEOPLE = st.sampled_from(
    [
        key_of("cpf", cpf(1)),
        key_of("cpf", cpf(2)),
        key_of("email", "ana@exemplo.com.br"),
        key_of("phone", "2781234567"),
    ]
)
_SURVEYS = st.sampled_from([INPATIENT_SURVEY, OTHER_SURVEY])
_DAYS = st.integers(1, 70).map(lambda days: DAY - timedelta(days=days))
_FACTS = st.builds(
    ledger_facts,
    opted_out=st.lists(
        st.fixed_dictionaries({"person_key": _PEOPLE, "channel": st.sampled_from(["all", "email", "whatsapp"])}),
        max_size=2,
    ),
    contacted=st.lists(
        st.fixed_dictionaries(
            {
                "person_key": _PEOPLE,
                "hospital": st.just("HMS"),
                "database": st.just("HMS"),
                "encounter_id": st.integers(1, 99),
                "survey_uuid": _SURVEYS,
                "cohort_date": _DAYS,
                "answered_on": st.none() | _DAYS,
            }
        ),
        max_size=2,
    ),
    asked=st.lists(
        st.builds(
            asked,
            st.integers(1, 9),
            area=st.sampled_from([area.value for area in AREAS]),
            channel=st.sampled_from(["email", "whatsapp", "link"]),
        ),
        max_size=2,
    ),
)
_HOSPITALS = st.builds(
    hospital,
    sample=st.sampled_from([1.0, 1.0, 0.5]),
    links=st.sampled_from(["off", "no_contact"]),
    channels=st.sampled_from([("email", "whatsapp"), ("whatsapp", "email"), ("email",)]),
)
_REQUESTS = st.builds(
    plan_request, _HOSPITALS, today=st.sampled_from([DAY, DAY + timedelta(days=1), DAY + timedelta(days=9)])
)


@given(_ROWS, _REQUESTS, _FACTS)
@settings(max_examples=80, deadline=None)
def test_every_encounter_is_planned_or_excluded_by_a_reason_of_the_list(
    rows: list[Row], request: Any, facts: Any
) -> None:
    frame = encounters(*rows)

    plan = plan_of(frame, request, facts)

    assert plan.schema == PLAN
    assert plan.select("database", "encounter_id").equals(frame.select("database", "encounter_id"))
    for row in plan.iter_rows(named=True):
        assert row["decided_by"] is not None
        if row["result"] == PLANNED:
            assert row["reason"] is None
            assert row["channel"] in ("email", "whatsapp", "link")
            assert row["survey_uuid"] is not None
        else:
            assert row["result"] == EXCLUDED
            assert row["reason"] in set(Exclusion)
            assert [row[name] for name in ("channel", *CONTACTS)] == [None] * (1 + len(CONTACTS))


@given(_ROWS, _REQUESTS, _FACTS)
@settings(max_examples=80, deadline=None)
def test_no_two_planned_encounters_are_of_one_person_unless_both_had_left(
    rows: list[Row], request: Any, facts: Any
) -> None:
    plan = plan_of(encounters(*rows), request, facts).filter(result=PLANNED)
    left = set(facts.asked.select("database", "encounter_id").rows())

    assert not plan.select("database", "encounter_id").is_duplicated().any()
    for key in KEY_COLUMNS:
        for _, same in plan.filter(pl.col(key).is_not_null()).group_by(key):
            if same.height > 1:
                assert set(same.select("database", "encounter_id").rows()) <= left


@given(_ROWS, _REQUESTS, _FACTS)
@settings(max_examples=40, deadline=None)
def test_a_replay_is_identical(rows: list[Row], request: Any, facts: Any) -> None:
    frame = encounters(*rows)

    assert plan_of(frame, request, facts).equals(plan_of(frame, request, facts))


@given(_ROWS, _REQUESTS, _FACTS, st.randoms(use_true_random=False))
@settings(max_examples=60, deadline=None)
def test_the_order_of_the_rows_does_not_change_who_is_planned(
    rows: list[Row], request: Any, facts: Any, random: Any
) -> None:
    distinct = list({row["encounter_id"]: row for row in rows}.values())
    shuffled = random.sample(distinct, len(distinct))

    first, second = (plan_of(encounters(*each), request, facts).sort("encounter_id") for each in (distinct, shuffled))

    assert first.equals(second)


def test_every_reason_that_a_plan_can_give_is_given_by_a_test_here_or_by_classification() -> None:
    by_classification = {Exclusion.CANCELLED, Exclusion.OTHER_DAY, Exclusion.UNCLASSIFIED}
    by_eligibility = {
        Exclusion.DECEASED,
        Exclusion.NEWBORN,
        Exclusion.MINOR,
        Exclusion.OBSTETRIC_LOSS,
        Exclusion.PSYCHIATRIC,
        Exclusion.CUSTODY,
        Exclusion.TEST_PATIENT,
    }
    ten_days_ago = date(2025, 2, 28)
    found: set[str] = set()
    for rows, request, facts in (
        ([NO_CONTACT, {"email": "x@"} | NO_PHONE, NO_EMAIL | {"phone_country": "1"}], plan_request(), ledger_facts()),
        ([{"email": "naotem@x.com.br"} | NO_PHONE, {}, {"person": 2}, {"unit": None}], plan_request(), ledger_facts()),
        ([{"email": "f@x.com.br"} | NO_PHONE] * 4, plan_request(), ledger_facts()),
        ([{"encounter_id": 1}, {"encounter_id": 1}], plan_request(), ledger_facts()),
        ([{}], plan_request(day=ten_days_ago, today=DAY), ledger_facts()),
        ([{}], plan_request(), ledger_facts(opted_out=[{"person_key": key_of("cpf", cpf(1)), "channel": "all"}])),
        ([{}], plan_request(), ledger_facts(contacted=[invited()])),
        ([{}], plan_request(), ledger_facts(contacted=[invited(encounter_id=1)])),
        ([{}] * 9, plan_request(hospital(sample=0.1)), ledger_facts()),
        ([NO_EMAIL], plan_request(hospital(whatsapp_consent="required")), ledger_facts()),
    ):
        found |= set(plan_of(encounters(*rows), request, facts).get_column("reason").drop_nulls())

    assert found == set(Exclusion) - by_classification - by_eligibility


def test_where_consent_is_required_whatsapp_goes_to_who_has_agreed_and_email_to_the_others() -> None:
    asks_first = hospital(channels=["whatsapp", "email"], whatsapp_consent="required")
    people = encounters({}, {}, {"email": None})
    agreed = key_of("cpf", cpf(1))

    plan = plan_of(people, plan_request(asks_first), ledger_facts(consented=[{"person_key": agreed}]))

    assert plan.get_column("channel").to_list() == ["whatsapp", "email", None]
    assert plan.get_column("reason").to_list() == [None, None, "no_consent"]
