"""The application of rules: nulls, order, days, databases, units, reasons, and the canonical row."""

from datetime import UTC, date, datetime, timedelta
from typing import Any

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from track_pipeline.config.hospitals import load_registry
from track_pipeline.config.rules import load_rulebook
from track_pipeline.domain.classification import classify
from track_pipeline.domain.hospital import Hospital
from track_pipeline.domain.ruleset import RuleSet
from track_pipeline.domain.schema import ENCOUNTERS, raw_schema

Data = dict[str, Any]

REGISTRY = load_registry()
RULEBOOK = load_rulebook(REGISTRY)

DAY = date(2026, 3, 10)
NOON = datetime(2026, 3, 10, 12)  # noqa: DTZ001 - wall time
ONE_DAY = timedelta(days=1)

ANYBODY = [{"column": "cd_ori_ate", "is": "set"}]


def hospital(
    his: str = "mv", *, units: dict[str, list[int]] | None = None, zone: str = "America/Sao_Paulo"
) -> Hospital:
    column = "cd_multi_empresa" if his == "mv" else "cd_estabelecimento"
    blocks = [
        {"code": code, "name": f"Hospital {code}", "companies": companies, "surveys": ["internacao"]}
        for code, companies in (units or {"HXX": []}).items()
    ]
    return Hospital.model_validate(
        {"code": "HXX", "his": his, "database": "HXX", "time_zone": zone, "unit": blocks}
        | ({"unit_column": column} if units else {})
    )


def rule(id_: str, **fields: Any) -> Data:
    return {"id": id_, "area": "internacao", "day_of": "discharge", "when": ANYBODY, "setor": id_.upper()} | fields


def rule_set(*rules: Data, his: str = "mv", **fields: Any) -> RuleSet:
    return RuleSet.model_validate({"his": his, "version": "v1", "rule": list(rules)} | fields)


def mv(**values: Any) -> Data:
    return {"database": "HXX", "cd_atendimento": 1, "cd_ori_ate": 7, "dt_atendimento": NOON, "dt_alta": NOON} | values


def tasy(**values: Any) -> Data:
    return {"database": "HXX", "nr_atendimento": 1, "dt_entrada": NOON, "dt_alta": NOON} | values


def classified(rows: list[Data], rules: RuleSet, where: Hospital | None = None) -> pl.DataFrame:
    return classify(pl.DataFrame(rows, raw_schema(rules.his)), where or hospital(rules.his), rules, DAY)


def one(row: Data, rules: RuleSet, where: Hospital | None = None) -> Data:
    [encounter] = classified([row], rules, where).to_dicts()
    return encounter


# Conditions -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("condition", "holding", "failing"),
    [
        ({"column": "cd_ori_ate", "in": [0, 7]}, [0, 7], [1, None]),
        ({"column": "cd_cid", "in_set": "births"}, ["O80", "O82"], ["O8", "o80", None]),
        ({"column": "cd_ori_ate", "is": "set"}, [0, 7], [None]),
        ({"column": "cd_ori_ate", "is": "empty"}, [None], [0, 7]),
        ({"column": "cd_ori_ate", "below": 1}, [0, -3], [1, None]),
        ({"column": "nm_paciente", "starts_with": "RN"}, ["RN DE ANA", "Rn de Ana"], ["ANA RN", "", None]),
    ],
)
def test_a_condition_holds_for_its_values_and_a_null_only_for_empty(
    condition: Data, holding: list[Any], failing: list[Any]
) -> None:
    rules = rule_set(rule("first", when=[condition]), sets={"births": ["O80", "O82"]})
    column = condition["column"]

    assert {one(mv(**{column: value}), rules)["rule"] for value in holding} == {"first"}
    assert {one(mv(**{column: value}), rules)["rule"] for value in failing} == {None}


@pytest.mark.parametrize(
    "condition",
    [
        {"column": "cd_mot_alt", "in": [6]},
        {"column": "cd_mot_alt", "below": 9},
        {"column": "cd_mot_alt", "is": "set"},
        {"column": "nm_paciente", "starts_with": "RN"},
    ],
)
def test_a_null_bars_nobody(condition: Data) -> None:
    rules = rule_set(rule("first", unless=[condition]))

    assert one(mv(), rules)["rule"] == "first"
    assert one(mv(cd_mot_alt=6, nm_paciente="RN DE ANA"), rules)["rule"] is None


@pytest.mark.parametrize(("children", "is_mother"), [(2, True), (1, True), (0, False), (None, False)])
def test_a_mother_is_one_whom_some_encounter_names_as_its_parent(children: int | None, *, is_mother: bool) -> None:
    rules = rule_set(
        rule("mother", when=[{"column": "tem_filho", "is": "true"}]),
        rule("other", when=[{"column": "tem_filho", "is": "false"}]),
    )

    assert one(mv(qt_filhos=children), rules)["rule"] == ("mother" if is_mother else "other")


def test_all_conditions_must_hold_and_no_bar_may() -> None:
    rules = rule_set(
        rule(
            "first",
            when=[{"column": "tp_atendimento", "in": ["I"]}, {"column": "cd_ori_ate", "in": [7]}],
            unless=[{"column": "cd_cid", "in": ["O80"]}, {"column": "cd_mot_alt", "in": [6]}],
        )
    )

    assert one(mv(tp_atendimento="I"), rules)["rule"] == "first"
    assert one(mv(tp_atendimento="A"), rules)["rule"] is None
    assert one(mv(tp_atendimento="I", cd_mot_alt=6), rules)["rule"] is None


# Order, days, databases, units, setores ---------------------------------------------------------------------------


def test_the_first_rule_wins_and_a_barred_encounter_goes_on_to_the_next() -> None:
    rules = rule_set(
        rule("maternity", area="maternidade", unless=[{"column": "cd_mot_alt", "in": [55], "reason": "deceased"}]),
        rule("inpatient"),
    )

    assert one(mv(), rules)["area"] == "MATERNIDADE"
    barred = one(mv(cd_mot_alt=55), rules)
    assert (barred["area"], barred["rule"], barred["reason"]) == ("INTERNACAO", "inpatient", None)


def test_the_area_is_called_as_track_knows_it() -> None:
    assert one(mv(), rule_set(rule("emergency", area="pronto_socorro")))["area"] == "PRONTO SOCORRO GERAL"


@pytest.mark.parametrize(
    ("moment", "is_on_the_day"),
    [
        (datetime(2026, 3, 10), True),  # noqa: DTZ001
        (datetime(2026, 3, 10, 23, 59, 59, 999_999), True),  # noqa: DTZ001
        (datetime(2026, 3, 11), False),  # noqa: DTZ001
        (datetime(2026, 3, 9, 23, 59, 59, 999_999), False),  # noqa: DTZ001
        (None, False),
    ],
)
@pytest.mark.parametrize(
    ("his", "day_of", "column"),
    [
        ("mv", "attendance", "dt_atendimento"),
        ("mv", "discharge", "dt_alta"),
        ("tasy", "attendance", "dt_entrada"),
        ("tasy", "discharge", "dt_alta"),
    ],
)
def test_the_deciding_date_must_fall_on_the_asked_day(
    his: str, day_of: str, column: str, moment: datetime | None, *, is_on_the_day: bool
) -> None:
    code = "cd_ori_ate" if his == "mv" else "ie_clinica"
    rules = rule_set(rule("first", day_of=day_of, when=[{"column": code, "in": [7]}]), his=his)
    row = (mv if his == "mv" else tasy)(**{code: 7}) | {column: moment}

    encounter = one(row, rules)

    assert (encounter["rule"], encounter["reason"]) == (("first", None) if is_on_the_day else (None, "other_day"))


def test_a_rule_of_another_database_takes_its_encounters_only_and_ids_may_collide() -> None:
    rules = rule_set(rule("lab", area="exames", database="HSL"), rule("inpatient"))
    rows = [mv(), mv(database="HSL"), mv(database="HSL", cd_atendimento=2, cd_ori_ate=None)]

    assert classified(rows, rules).select("database", "encounter_id", "rule").rows() == [
        ("HSL", 1, "lab"),
        ("HSL", 2, None),
        ("HXX", 1, "inpatient"),
    ]


def test_the_company_tells_the_unit_and_one_of_nobody_is_unclassified() -> None:
    where = hospital(units={"NORTE": [1, 3], "SUL": [2]})
    rules = rule_set(
        rule("inpatient"), exclusion=[{"reason": "deceased", "when": [{"column": "sn_obito", "in": ["S"]}]}]
    )
    rows = [
        mv(cd_atendimento=number, cd_multi_empresa=company, sn_obito=died)
        for number, (company, died) in enumerate([(3, None), (2, "S"), (9, "S"), (None, None)])
    ]

    assert classified(rows, rules, where).select("unit", "unit_name", "rule", "reason").rows() == [
        ("NORTE", "Hospital NORTE", "inpatient", None),
        ("SUL", "Hospital SUL", None, "deceased"),
        (None, None, None, "unclassified"),
        (None, None, None, "unclassified"),
    ]


def test_the_setor_is_that_of_the_first_case_that_holds_or_none() -> None:
    cases = [
        {"from": "ds_ser_dis", "when": [{"column": "cd_ser_dis", "in": [1]}]},
        {"text": "PA_PEDIATRICO", "when": [{"column": "cd_servico", "in": [40]}]},
    ]
    with_default = rule_set(rule("first", setor=[*cases, {"text": "PA_ADULTO"}]))
    without = rule_set(rule("first", setor=cases))

    assert one(mv(cd_ser_dis=1, ds_ser_dis="CARDIO", cd_servico=40), with_default)["setor"] == "CARDIO"
    assert one(mv(cd_ser_dis=1, ds_ser_dis=None, cd_servico=40), with_default)["setor"] is None
    assert one(mv(cd_servico=40), with_default)["setor"] == "PA_PEDIATRICO"
    assert one(mv(), with_default)["setor"] == "PA_ADULTO"
    assert (one(mv(), without)["rule"], one(mv(), without)["setor"]) == ("first", None)


# Reasons --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("row", "reason"),
    [
        (mv(dt_alta=NOON - ONE_DAY, sn_obito="S"), "deceased"),
        (mv(cd_mot_alt=6), "deceased"),
        (mv(cd_atendimento_pai=9, cd_mot_alt=6), "newborn"),
        (mv(cd_cid="O80"), "unclassified"),
        (mv(cd_cid="O80", cd_mot_alt=6), "deceased"),
        (mv(dt_alta=NOON + ONE_DAY), "other_day"),
        (mv(dt_alta=None), "other_day"),
        (mv(dt_alta=None, cd_mot_alt=6), "unclassified"),
        (mv(cd_ori_ate=None), "unclassified"),
    ],
)
def test_an_encounter_in_no_area_says_why(row: Data, reason: str) -> None:
    bars = [
        {"column": "cd_atendimento_pai", "is": "set", "reason": "newborn"},
        {"column": "cd_cid", "in": ["O80"]},
        {"column": "cd_mot_alt", "in": [6], "reason": "deceased"},
    ]
    rules = rule_set(
        rule("inpatient", unless=bars),
        exclusion=[{"reason": "deceased", "when": [{"column": "sn_obito", "in": ["S"]}]}],
    )

    encounter = one(row, rules)

    assert [encounter[name] for name in ("area", "setor", "rule", "reason")] == [None, None, None, reason]


def test_an_exclusion_holds_before_every_rule() -> None:
    rules = rule_set(
        rule("emergency", when=[{"column": "ie_tipo_atendimento", "in": [3]}]),
        his="tasy",
        exclusion=[
            {"reason": "cancelled", "when": [{"column": "dt_cancelamento", "is": "set"}]},
            {"reason": "deceased", "when": [{"column": "cd_motivo_alta", "in": [7]}]},
        ],
    )
    row = tasy(ie_tipo_atendimento=3)

    assert one(row, rules)["rule"] == "emergency"
    assert one(row | {"dt_cancelamento": NOON, "cd_motivo_alta": 7}, rules)["reason"] == "cancelled"
    assert one(row | {"cd_motivo_alta": 7}, rules)["reason"] == "deceased"


# Several rows of one encounter ------------------------------------------------------------------------------------


@pytest.mark.parametrize("at_once", [1, 3, 100])
@pytest.mark.parametrize("order", [[0, 1, 2, 3], [3, 2, 1, 0], [2, 0, 3, 1]])
def test_of_several_rows_the_one_that_the_first_rule_takes_counts(
    order: list[int], at_once: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("track_pipeline.domain.classification._ROWS_AT_ONCE", at_once)
    rules = rule_set(
        rule("maternity", when=[{"column": "cd_setor_internacao", "in": [54]}]),
        rule("inpatient", when=[{"column": "cd_setor_internacao", "is": "set"}]),
        his="tasy",
    )
    rows = [
        tasy(nr_atendimento=1, cd_setor_internacao=9),
        tasy(nr_atendimento=1, cd_setor_internacao=54),
        tasy(nr_atendimento=1),
        tasy(nr_atendimento=2, cd_setor_internacao=9),
    ]

    encounters = classified([rows[place] for place in order], rules)

    assert encounters.select("encounter_id", "rule", "reason").rows() == [
        (1, "maternity", None),
        (2, "inpatient", None),
    ]


# The canonical row ------------------------------------------------------------------------------------------------


def test_an_mv_encounter_is_delivered_in_canonical_columns() -> None:
    row = mv(
        hr_atendimento=datetime(2026, 3, 10, 8, 30),  # noqa: DTZ001
        nm_paciente="Ana Exemplo ",
        nm_prestador="Dr. Exemplo",
        email="ANA@exemplo.test",
        nr_ddi_celular="55",
        nr_ddd_celular="027",
        nr_celular="9 0000-0000",
        nr_cpf="000.000.000-00",
        cd_cid="I10",
    )

    assert one(row, rule_set(rule("inpatient"))) == {
        "hospital": "HXX",
        "database": "HXX",
        "encounter_id": 1,
        "unit": "HXX",
        "unit_name": "Hospital HXX",
        "area": "INTERNACAO",
        "setor": "INPATIENT",
        "rule": "inpatient",
        "reason": None,
        "attended_at": datetime(2026, 3, 10, 11, 30, tzinfo=UTC),
        "discharged_at": datetime(2026, 3, 10, 15, tzinfo=UTC),
        "patient_name": "Ana Exemplo ",
        "doctor_name": "Dr. Exemplo",
        "email": "ANA@exemplo.test",
        "phone_country": "55",
        "phone_area": "027",
        "phone_number": "9 0000-0000",
        "cpf": "000.000.000-00",
        "age": None,
        "cid": "I10",
        "died": False,
        "death_flag_missing": None,
    }


def test_a_tasy_encounter_is_delivered_in_canonical_columns() -> None:
    row = tasy(
        ie_clinica=1,
        nm_paciente="Ana Exemplo",
        nm_medico="Dr. Exemplo",
        email="ana@exemplo.test",
        telefone="(63) 9 0000-0000",
        cpf="00000000000",
        idade=41,
    )

    encounter = one(row, rule_set(rule("first", when=[{"column": "ie_clinica", "in": [1]}]), his="tasy"))

    assert {name: encounter[name] for name in ENCOUNTERS.names()[11:]} == {
        "patient_name": "Ana Exemplo",
        "doctor_name": "Dr. Exemplo",
        "email": "ana@exemplo.test",
        "phone_country": None,
        "phone_area": None,
        "phone_number": "(63) 9 0000-0000",
        "cpf": "00000000000",
        "age": 41,
        "cid": None,
        "died": False,
        "death_flag_missing": None,
    }


@pytest.mark.parametrize(
    ("flags", "died", "missing"),
    [
        ({"cd_mot_alt": 6, "tp_mot_alta": "O"}, True, False),
        ({"cd_tip_res": 1, "sn_obito": "S"}, True, False),
        ({"cd_mot_alt": 6, "tp_mot_alta": "A", "cd_tip_res": 1, "sn_obito": "N"}, False, False),
        ({"cd_mot_alt": 6}, False, True),
        ({"cd_tip_res": 1, "tp_mot_alta": "O"}, True, True),
        ({}, False, None),
    ],
)
def test_mv_death_flags_are_told_from_missing_ones(flags: Data, *, died: bool, missing: bool | None) -> None:
    encounter = one(mv(**flags), rule_set(rule("first")))

    assert (encounter["died"], encounter["death_flag_missing"]) == (died, missing)


@pytest.mark.parametrize(
    ("zone", "wall_time", "instant"),
    [
        ("America/Cuiaba", datetime(2026, 3, 10, 8), datetime(2026, 3, 10, 12, tzinfo=UTC)),  # noqa: DTZ001
        # Summer time ended in the night of 18 February 2018: 23:30 came twice, the first time at -02:00.
        ("America/Sao_Paulo", datetime(2018, 2, 17, 23, 30), datetime(2018, 2, 18, 1, 30, tzinfo=UTC)),  # noqa: DTZ001
        # It began on 4 November 2018: there was no 00:30.
        ("America/Sao_Paulo", datetime(2018, 11, 4, 0, 30), None),  # noqa: DTZ001
        ("America/Sao_Paulo", datetime(1, 1, 1), None),  # noqa: DTZ001
        ("America/Sao_Paulo", datetime(9999, 12, 31, 23, 59), None),  # noqa: DTZ001
    ],
)
def test_wall_times_become_instants_of_the_hospitals_zone(
    zone: str, wall_time: datetime, instant: datetime | None
) -> None:
    encounter = one(mv(hr_atendimento=wall_time), rule_set(rule("first")), hospital(zone=zone))

    assert encounter["attended_at"] == instant


def test_no_rows_give_an_empty_frame_of_encounters() -> None:
    for each in REGISTRY.hospitals:
        assert classify(pl.DataFrame(schema=raw_schema(each.his)), each, RULEBOOK[each.code], DAY).schema == ENCOUNTERS


# Whatever comes -------------------------------------------------------------------------------------------------


def values_of(column: str, kind: pl.DataType) -> st.SearchStrategy[Any]:
    if isinstance(kind, pl.Datetime):
        return st.none() | st.datetimes() | st.datetimes(datetime(2026, 3, 9), datetime(2026, 3, 12))  # noqa: DTZ001
    if column in ("cd_atendimento", "nr_atendimento"):
        return st.integers(1, 6)
    if kind == pl.Int64():
        return st.none() | st.integers(-1, 130)
    return st.none() | st.sampled_from(["A", "E", "I", "U", "O", "S", "O80"]) | st.text(max_size=4)


@st.composite
def raw_rows(draw: st.DrawFn) -> tuple[Hospital, list[Data]]:
    where = draw(st.sampled_from(REGISTRY.hospitals))
    columns = {column: values_of(column, kind) for column, kind in raw_schema(where.his).items()}
    columns["database"] = st.sampled_from([where.database, *RULEBOOK[where.code].other_databases])
    return where, draw(st.lists(st.fixed_dictionaries(columns), max_size=8))


@settings(deadline=None)
@given(raw_rows())
def test_every_encounter_comes_out_once_with_an_area_or_a_reason(given_rows: tuple[Hospital, list[Data]]) -> None:
    where, rows = given_rows
    key = "cd_atendimento" if where.his == "mv" else "nr_atendimento"

    encounters = classified(rows, RULEBOOK[where.code], where)

    assert encounters.schema == ENCOUNTERS
    assert encounters.select("database", "encounter_id").rows() == sorted({(row["database"], row[key]) for row in rows})
    for encounter in encounters.to_dicts():
        has_area = encounter["area"] is not None
        assert has_area == (encounter["rule"] is not None) == (encounter["reason"] is None)
        assert encounter["setor"] is None or has_area
        assert encounter["unit"] is not None or not has_area


@pytest.mark.parametrize("dead_first", [True, False])
@pytest.mark.parametrize("dead", [{"tp_mot_alta": "O", "cd_mot_alt": 9}, {"cd_mot_alt": 9}], ids=["flag", "list"])
def test_of_two_rows_of_an_encounter_the_one_that_says_that_the_patient_died_is_heard(
    dead: Data, *, dead_first: bool
) -> None:
    exclusion = {"reason": "deceased", "when": [{"column": "cd_mot_alt", "in": [9]}]}
    rows = [mv(**dead), mv(cd_mot_alt=1), mv(cd_atendimento=2, cd_mot_alt=1)]

    found = classified(rows if dead_first else rows[::-1], rule_set(rule("all"), exclusion=[exclusion]))

    assert found.select("encounter_id", "rule", "died").rows() == [(1, "all", True), (2, "all", False)]
