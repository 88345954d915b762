"""The rule files: every error is found when the file is loaded, and names rule and field."""

from typing import Any

import pytest
from pydantic import ValidationError

from track_pipeline.domain.areas import Area
from track_pipeline.domain.ruleset import RuleSet

Data = dict[str, Any]

INPATIENT: Data = {"column": "tp_atendimento", "in": ["I"]}


def rule(**fields: Any) -> Data:
    return {
        "id": "inpatient",
        "area": "internacao",
        "day_of": "discharge",
        "when": [INPATIENT],
        "setor": "INTERNACAO",
    } | fields


def rule_set(*rules: Data, his: str = "mv", **fields: Any) -> RuleSet:
    return RuleSet.model_validate({"his": his, "version": "v1", "rule": list(rules)} | fields)


def problem(*rules: Data, **fields: Any) -> str:
    with pytest.raises(ValidationError) as caught:
        rule_set(*rules, **fields)
    return str(caught.value)


def test_a_rule_set_keeps_the_order_of_its_rules_and_names_the_other_databases_it_reads() -> None:
    rules = rule_set(
        rule(), rule(id="lab", area="exames", database="HSL"), rule(id="scan", database="HSL", day_of="attendance")
    )

    assert [each.id for each in rules.rules] == ["inpatient", "lab", "scan"]
    assert rules.rules[1].area is Area.EXAMES
    assert rules.other_databases == ("HSL",)


def test_a_single_setor_is_a_case_without_conditions() -> None:
    [case] = rule_set(rule(setor="INTERNACAO")).rules[0].setor

    assert (case.text, case.when) == ("INTERNACAO", ())


@pytest.mark.parametrize(
    ("condition", "said"),
    [
        ({"column": "cd_unknown", "in": [1]}, "column: 'cd_unknown' is not a column of mv"),
        ({"column": "ie_clinica", "in": [1]}, "column: 'ie_clinica' is not a column of mv"),
        ({"column": "cd_cid", "in_set": "unheard_of"}, "in_set: there is no set 'unheard_of'"),
        ({"column": "cd_ori_ate", "in": ["7"]}, "in: does not fit cd_ori_ate, which holds whole numbers"),
        ({"column": "cd_cid", "in": [60]}, "in: does not fit cd_cid, which holds texts"),
        ({"column": "cd_ori_ate", "in_set": "cids"}, "in_set: does not fit cd_ori_ate"),
        ({"column": "dt_alta", "in": [1]}, "in: does not fit dt_alta, which holds dates"),
        ({"column": "cd_cid", "below": 1}, "below: does not fit cd_cid"),
        ({"column": "cd_ori_ate", "starts_with": "RN"}, "starts_with: does not fit cd_ori_ate"),
        ({"column": "cd_ori_ate", "is": "true"}, "is: does not fit cd_ori_ate"),
        ({"column": "tem_filho", "is": "set"}, "is: does not fit tem_filho, which holds true or false"),
    ],
)
@pytest.mark.parametrize(
    ("place", "fields"),
    [
        ("rule inpatient: when number 2", lambda condition: {"when": [INPATIENT, condition]}),
        ("rule inpatient: unless number 1", lambda condition: {"unless": [condition]}),
        (
            "rule inpatient: setor number 1: when number 1",
            lambda condition: {"setor": [{"text": "X", "when": [condition]}]},
        ),
    ],
)
def test_a_condition_that_does_not_fit_its_column_is_named(condition: Data, said: str, place: str, fields: Any) -> None:
    assert f"{place}: {said}" in problem(rule(**fields(condition)), sets={"cids": ["O80"]})


def test_an_exclusion_is_checked_like_a_rule() -> None:
    exclusion = {"reason": "cancelled", "when": [{"column": "dt_cancelamento", "is": "set"}]}

    assert rule_set(rule(when=[{"column": "idade", "below": 9}]), his="tasy", exclusion=[exclusion]).exclusions
    assert "exclusion cancelled: when number 1: column: 'dt_cancelamento'" in problem(rule(), exclusion=[exclusion])


@pytest.mark.parametrize(
    "condition",
    [
        {"column": "cd_ori_ate"},
        {"column": "cd_ori_ate", "in": [1], "is": "set"},
        {"column": "cd_ori_ate", "in": [1], "in_set": "codes"},
    ],
)
def test_a_condition_has_exactly_one_operator(condition: Data) -> None:
    assert "column cd_ori_ate: give exactly one of in, in_set, is, below, starts_with" in problem(
        rule(unless=[condition])
    )


@pytest.mark.parametrize(
    "fields",
    [
        {"when": [{"column": "cd_ori_ate", "not_in": [1]}]},
        {"when": [{"column": "cd_ori_ate", "in": []}]},
        {"when": [{"column": "cd_ori_ate", "in": [True]}]},
        {"when": [{"column": "cd_ori_ate", "is": "null"}]},
        {"when": []},
        {"unless": [INPATIENT | {"reason": "moody"}]},
        {"unless": [INPATIENT | {"reason": "minor"}]},
        {"area": "ambulatory"},
        {"day_of": "birth"},
        {"id": "In Patient"},
        {"setor": ""},
        {"setor": [{"when": [INPATIENT]}]},
        {"setor": [{"text": "X", "from": "ds_ser_dis"}]},
        {"sectors": "X"},
    ],
)
def test_words_that_the_schema_does_not_know_are_refused(fields: Data) -> None:
    assert "rule" in problem(rule(**fields))


def test_a_setor_comes_from_a_text_column_only() -> None:
    said = "rule inpatient: setor: from: 'cd_ser_dis' is not a text column of mv"

    assert said in problem(rule(setor=[{"from": "cd_ser_dis"}]))


def test_rules_are_told_apart_by_their_ids() -> None:
    assert "rule inpatient: id: given twice" in problem(rule(), rule(when=[{"column": "cd_ori_ate", "in": [1]}]))


def test_every_problem_is_reported_at_once() -> None:
    said = problem(rule(when=[{"column": "a", "in": [1]}]), rule(unless=[{"column": "b", "in": [1]}]))

    assert "'a' is not" in said
    assert "'b' is not" in said
    assert "given twice" in said


ORIGIN: Data = {"column": "cd_ori_ate", "in": [1, 2]}
DIED: Data = {"column": "cd_mot_alt", "in": [1, 2], "reason": "deceased"}


@pytest.mark.parametrize(
    ("earlier", "later"),
    [
        ({"when": [INPATIENT]}, {"when": [INPATIENT]}),
        ({"when": [INPATIENT]}, {"when": [INPATIENT, ORIGIN]}),
        ({"when": [INPATIENT]}, {"when": [INPATIENT], "unless": [ORIGIN]}),
        ({"when": [ORIGIN]}, {"when": [{"column": "cd_ori_ate", "in": [2]}]}),
        ({"when": [{"column": "cd_ori_ate", "in_set": "codes"}]}, {"when": [ORIGIN]}),
        ({"when": [{"column": "cd_ori_ate", "is": "set"}]}, {"when": [ORIGIN]}),
        ({"when": [{"column": "cd_ori_ate", "is": "empty"}]}, {"when": [{"column": "cd_ori_ate", "is": "empty"}]}),
        ({"when": [{"column": "cd_ori_ate", "below": 3}]}, {"when": [ORIGIN]}),
        ({"when": [{"column": "cd_ori_ate", "below": 3}]}, {"when": [{"column": "cd_ori_ate", "below": 2}]}),
        ({"when": [{"column": "cd_cid", "starts_with": "o"}]}, {"when": [{"column": "cd_cid", "in": ["O80", "O82"]}]}),
        ({"when": [{"column": "cd_cid", "starts_with": "O"}]}, {"when": [{"column": "cd_cid", "starts_with": "O8"}]}),
        ({"when": [{"column": "tem_filho", "is": "true"}]}, {"when": [{"column": "tem_filho", "is": "true"}]}),
        ({"unless": [DIED]}, {"unless": [DIED | {"in": [1, 2, 3]}, ORIGIN]}),
    ],
)
def test_a_rule_that_an_earlier_one_leaves_nothing_to_is_refused(earlier: Data, later: Data) -> None:
    said = problem(rule(id="wide", **earlier), rule(id="narrow", **later), sets={"codes": [1, 2, 3]})

    assert "rule narrow: when: never reached, because rule wide takes all its encounters" in said


@pytest.mark.parametrize(
    ("earlier", "later"),
    [
        ({"when": [INPATIENT, ORIGIN]}, {"when": [INPATIENT]}),
        ({"when": [INPATIENT], "unless": [DIED]}, {"when": [INPATIENT]}),
        ({"unless": [DIED]}, {"unless": [DIED | {"in": [1]}]}),
        ({"day_of": "attendance"}, {"day_of": "discharge"}),
        ({"database": "HSL"}, {}),
        ({"when": [{"column": "cd_ori_ate", "in": [1]}]}, {"when": [ORIGIN]}),
        ({"when": [{"column": "cd_ori_ate", "is": "set"}]}, {"when": [{"column": "cd_ori_ate", "is": "empty"}]}),
        ({"when": [{"column": "cd_ori_ate", "below": 2}]}, {"when": [ORIGIN]}),
        ({"when": [{"column": "tem_filho", "is": "true"}]}, {"when": [{"column": "tem_filho", "is": "false"}]}),
        ({"when": [{"column": "cd_cid", "starts_with": "O8"}]}, {"when": [{"column": "cd_cid", "starts_with": "O"}]}),
    ],
)
def test_a_rule_that_an_earlier_one_leaves_something_to_is_not(earlier: Data, later: Data) -> None:
    assert len(rule_set(rule(id="first", **earlier), rule(id="second", **later)).rules) == 2


def test_a_setor_case_after_a_wider_one_is_refused() -> None:
    cases = [{"text": "A", "when": [ORIGIN]}, {"text": "B"}, {"text": "C", "when": [INPATIENT]}]

    assert "rule inpatient: setor number 3: never reached, because an earlier case takes all its encounters" in problem(
        rule(setor=cases)
    )
    assert len(rule_set(rule(setor=cases[:2])).rules[0].setor) == 2
