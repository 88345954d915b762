"""Eligibility: each rule excludes one encounter, and does not exclude another that is just outside the rule."""

import pytest

from track_pipeline.config.policy import load_policy
from track_pipeline.domain.eligibility import ELIGIBILITY_RULES, with_reason
from track_pipeline.domain.hospital import Hospital
from track_pipeline.domain.outcomes import Exclusion
from track_pipeline.domain.policy import EligibilityPolicy
from track_pipeline_tests.support.builders import Row, encounters, hospital

POLICY = load_policy().eligibility

EXCLUDED: dict[Exclusion, list[Row]] = {
    Exclusion.DECEASED: [{"died": True}],
    Exclusion.NEWBORN: [
        {"patient_name": "RN DE PESSOA EXEMPLO"},
        {"patient_name": "  rn pessoa"},
        {"patient_name": "RN"},
        {"patient_name": "RECÉM NASCIDO DE PESSOA"},
        {"patient_name": "Recem-Nascida Pessoa"},
        {"patient_name": "RECEMNASCIDO"},
        {"age": 0},
    ],
    Exclusion.MINOR: [{"age": 1}, {"age": 17}],
    Exclusion.OBSTETRIC_LOSS: [{"cid": "O03"}, {"cid": "o03.9"}, {"cid": "O36.4"}, {"cid": " P95 "}, {"cid": "Z37.7"}],
    Exclusion.PSYCHIATRIC: [{"cid": "F32.1"}, {"cid": "f20"}],
    Exclusion.CUSTODY: [{"cid": "Z65.1"}, {"cid": "Z651"}],
    Exclusion.TEST_PATIENT: [
        {"patient_name": "PACIENTE TESTE"},
        {"patient_name": "Teste Da Informatica"},
        {"patient_name": "TREINAMENTO-2"},
        {"patient_name": "paciente modelo"},
    ],
}

NEAR_MISSES: dict[Exclusion, list[Row]] = {
    Exclusion.DECEASED: [{"died": False}, {"died": None}],
    Exclusion.NEWBORN: [
        {"patient_name": "RNALDO EXEMPLO"},
        {"patient_name": "PESSOA RN EXEMPLO"},
        {"patient_name": "NASCIDA EXEMPLO"},
        {"patient_name": None},
        {"age": 18},
        {"age": None},
    ],
    Exclusion.MINOR: [{"age": 18}, {"age": None}],
    Exclusion.OBSTETRIC_LOSS: [{"cid": "O80"}, {"cid": "O36.5"}, {"cid": "Z37.0"}, {"cid": "P96"}],
    Exclusion.PSYCHIATRIC: [{"cid": "G40"}, {"cid": "AF3"}, {"cid": None}, {"cid": ""}],
    Exclusion.CUSTODY: [{"cid": "Z65.0"}, {"cid": "Z65"}],
    Exclusion.TEST_PATIENT: [
        {"patient_name": "TESTEMUNHA EXEMPLO"},
        {"patient_name": "PESSOA CONTESTE"},
        {"patient_name": "MODELO EXEMPLO"},
        {"patient_name": None},
    ],
}

ASKED = hospital()


def reason(fields: Row, policy: EligibilityPolicy = POLICY, of: Hospital = ASKED) -> str | None:
    [found] = with_reason(encounters(fields), policy, of).get_column("reason")
    return None if found is None else str(found)


def cases(examples: dict[Exclusion, list[Row]]) -> list[object]:
    return [
        pytest.param(reason, fields, id=f"{reason} {fields}") for reason, rows in examples.items() for fields in rows
    ]


def test_every_rule_has_examples() -> None:
    for rule in ELIGIBILITY_RULES:
        assert EXCLUDED.get(rule.reason), f"{rule.id} has no encounter that it excludes"
        assert NEAR_MISSES.get(rule.reason), f"{rule.id} has no near miss"


def test_rules_are_looked_at_in_the_order_of_the_reasons_and_say_where_they_come_from() -> None:
    reasons = [rule.reason for rule in ELIGIBILITY_RULES]

    assert reasons == [reason for reason in Exclusion if reason in reasons]
    assert all(rule.source for rule in ELIGIBILITY_RULES)


@pytest.mark.parametrize(("expected", "fields"), cases(EXCLUDED))
def test_an_encounter_is_excluded_by_its_rule(expected: Exclusion, fields: Row) -> None:
    assert reason(fields) == expected


@pytest.mark.parametrize(("near", "fields"), cases(NEAR_MISSES))
def test_a_near_miss_is_not_excluded(near: Exclusion, fields: Row) -> None:
    assert reason(fields) is None, f"looks like {near}, but is not"


def test_the_first_rule_that_holds_gives_the_reason_and_is_named() -> None:
    # Each row adds what an earlier rule looks for.
    rows: list[Row] = [
        {"patient_name": "TESTE", "cid": "O03"},
        {"patient_name": "TESTE", "cid": "O03", "age": 17},
        {"patient_name": "RN TESTE", "cid": "O03", "age": 17},
        {"patient_name": "RN TESTE", "cid": "O03", "age": 17, "died": True},
    ]

    result = with_reason(encounters(*rows), POLICY, ASKED)

    assert result.get_column("reason").to_list() == ["obstetric_loss", "minor", "newborn", "deceased"]
    assert result.get_column("decided_by").to_list() == ["obstetric_loss@1", "minor@1", "newborn@1", "deceased@1"]


def test_an_encounter_that_no_rule_holds_for_has_neither_reason_nor_rule() -> None:
    assert with_reason(encounters({}), POLICY, ASKED).select("reason", "decided_by").row(0) == (None, None)


def test_minors_are_asked_where_the_hospital_keeps_the_guardian_s_contact() -> None:
    with_guardians = hospital(minors="guardian_contact")

    assert reason({"age": 17}, of=with_guardians) is None
    assert reason({"age": 0}, of=with_guardians) == Exclusion.NEWBORN


def test_the_adult_age_is_the_policy_s() -> None:
    policy = POLICY.model_copy(update={"adult_age": 16})

    assert reason({"age": 16}, policy) is None
    assert reason({"age": 15}, policy) == Exclusion.MINOR


def test_a_policy_without_words_or_codes_excludes_nobody_by_them() -> None:
    policy = POLICY.model_copy(
        update={"test_patient_words": (), "obstetric_loss_cid": (), "psychiatric_cid": (), "custody_cid": ()}
    )

    assert reason({"patient_name": "PACIENTE TESTE", "cid": "F32"}, policy) is None


def test_words_of_the_policy_are_words_not_patterns() -> None:
    policy = POLICY.model_copy(update={"test_patient_words": ("T.STE", "Final (")})

    assert reason({"patient_name": "PACIENTE TESTE"}, policy) is None
    assert reason({"patient_name": "PACIENTE T.STE"}, policy) == Exclusion.TEST_PATIENT
