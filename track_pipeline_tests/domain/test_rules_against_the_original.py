"""The shipped rules against those of the original system, written down independently: all encounters must agree.

The original is evaluated here row by row in plain Python, without the project's own evaluation.
"""

import random
import tomllib
from collections.abc import Iterator
from datetime import date, datetime, time, timedelta
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from track_pipeline.config.hospitals import load_registry
from track_pipeline.config.rules import load_rulebook
from track_pipeline.domain.areas import Area
from track_pipeline.domain.classification import classify
from track_pipeline.domain.hospital import Hospital
from track_pipeline.domain.schema import raw_schema

Row = dict[str, Any]
Original = dict[str, Any]

ORIGINAL: Original = tomllib.loads((Path(__file__).parents[1] / "data" / "original_rules.toml").read_text("utf-8"))
REGISTRY = load_registry()
RULEBOOK = load_rulebook(REGISTRY)

DAY = date(2026, 3, 10)
MIDNIGHT = datetime.combine(DAY, time())
MOMENTS = [
    MIDNIGHT,
    MIDNIGHT + timedelta(hours=13, minutes=7),
    MIDNIGHT + timedelta(days=1, microseconds=-1),
    MIDNIGHT + timedelta(days=1),
    MIDNIGHT - timedelta(microseconds=1),
    MIDNIGHT - timedelta(days=3),
    MIDNIGHT + timedelta(days=1, hours=9),
]
ROWS = 3_000


# The original, read literally -----------------------------------------------------------------------------------


def intended(entries: list[Original]) -> list[Original]:
    return [entry for entry in entries if entry.get("mode", "intended") == "intended"]


def holds(condition: Original, row: Row) -> bool:
    value = row[condition["col"]]
    match condition:
        case {"in": _} | {"in_set": _}:
            verdict = value is not None and value in listed(condition, "in")
        case {"is_null": _}:
            verdict = value is None
        case {"not_null": _}:
            verdict = value is not None
        case {"is": wanted}:
            verdict = value is wanted
        case {"null_code": null_code} if value is None:
            verdict = null_code == "keep"
        case {"min": least}:
            verdict = value >= least
        case {"not_starts_with": start}:
            verdict = not value.upper().startswith(start)
        case _:
            verdict = value not in listed(condition, "not_in")
    return verdict


def listed(condition: Original, operator: str) -> list[Any]:
    codes: list[Any] = condition[operator] if operator in condition else ORIGINAL["sets"][condition[f"{operator}_set"]]
    return codes


def all_hold(conditions: list[Original], row: Row) -> bool:
    return all(holds(condition, row) for condition in intended(conditions))


def unit_of(original: Original, row: Row) -> str | None:
    for unit in original["unit"]:
        if not unit["companies"] or row[original["unit_column"]] in unit["companies"]:
            return str(unit["code"])
    return None


def is_on_the_day(original: Original, rule: Original, row: Row) -> bool:
    attendance = "dt_atendimento" if original["his"] == "MV" else "dt_entrada"
    moment = row[attendance if rule["date"] == "attendance" else "dt_alta"]
    return moment is not None and moment.date() == DAY


def rule_of(original: Original, row: Row) -> int | None:
    if unit_of(original, row) is None or not all_hold(original["always"], row):
        return None
    for number, rule in enumerate(original["rule"]):
        here = row["database"] == rule.get("database", original["database"])
        if here and is_on_the_day(original, rule, row) and all_hold(rule["when"], row):
            return number
    return None


def setor_of(rule: Original, row: Row) -> str | None:
    if isinstance(rule["setor"], str):
        return rule["setor"] or None
    for case in intended(rule["setor"]):
        if all_hold(case.get("when", []), row):
            setor: str | None = row[case["from"]] if "from" in case else case["text"]
            return setor
    return None


def expected(original: Original, rows: list[Row]) -> dict[tuple[str, int], tuple[str | None, str | None, str | None]]:
    best: dict[tuple[str, int], tuple[int, Row]] = {}
    for row in rows:
        key = (row["database"], row["cd_atendimento" if original["his"] == "MV" else "nr_atendimento"])
        number = rule_of(original, row)
        rank = len(original["rule"]) if number is None else number
        if key not in best or rank < best[key][0]:
            best[key] = (rank, row)
    answers = {}
    for key, (rank, row) in best.items():
        rule = original["rule"][rank] if rank < len(original["rule"]) else None
        area, setor = (rule["area"], setor_of(rule, row)) if rule else (None, None)
        answers[key] = (unit_of(original, row), area, setor)
    return answers


# Random encounters ----------------------------------------------------------------------------------------------


def codes_by_column(original: Original, hospital: Hospital) -> dict[str, list[Any]]:
    """Every code that either side's rules name, by column."""
    codes: dict[str, set[Any]] = {}
    for condition in conditions_in(original):
        for operator in ("in", "not_in"):
            if operator in condition or f"{operator}_set" in condition:
                codes.setdefault(condition["col"], set()).update(listed(condition, operator))
    rules = RULEBOOK[hospital.code]
    ours = [condition for exclusion in rules.exclusions for condition in exclusion.when]
    for rule in rules.rules:
        ours += [*rule.when, *rule.unless, *(condition for case in rule.setor for condition in case.when)]
    for own in ours:
        codes.setdefault(own.column, set()).update(rules.codes(own))
    return {column: sorted(values) for column, values in codes.items() if values}


def conditions_in(entry: Any) -> Iterator[Original]:
    if isinstance(entry, list):
        for child in entry:
            yield from conditions_in(child)
    elif isinstance(entry, dict):
        if "col" in entry:
            yield entry
        for child in entry.values():
            yield from conditions_in(child)


def random_rows(original: Original, hospital: Hospital) -> list[Row]:
    """Encounters whose ids are unique in their database only; in Tasy some come once per sector of one name."""
    dice = random.Random(hospital.code)
    codes = codes_by_column(original, hospital)
    databases = [hospital.database, *RULEBOOK[hospital.code].other_databases]
    companies = [company for unit in original["unit"] for company in unit["companies"]]
    rows = []
    for number in range(ROWS):
        row = {column: random_value(dice, column, codes, kind) for column, kind in raw_schema(hospital.his).items()}
        row["tem_filho"] = dice.random() < 0.5
        make_nearly_fit(dice, original, row)
        row["qt_filhos"] = dice.choice([1, 2]) if row["tem_filho"] else 0
        row["database"] = databases[number % len(databases)]
        row["cd_atendimento" if hospital.his == "mv" else "nr_atendimento"] = number // len(databases)
        row["cd_multi_empresa" if hospital.his == "mv" else "cd_estabelecimento"] = dice.choice([*companies, 1, 2, 999])
        rows.append(row)
        while hospital.his == "tasy" and dice.random() < 0.3:
            rows.append(row | {"cd_setor_internacao": random_value(dice, "cd_setor_internacao", codes, pl.Int64())})
    dice.shuffle(rows)
    return rows


def random_value(dice: random.Random, column: str, codes: dict[str, list[Any]], kind: pl.DataType) -> Any:
    if isinstance(kind, pl.Datetime):
        return dice.choice([*MOMENTS, None])
    other = [None, 0, 1, 2, 77] if kind == pl.Int64() else [None, "RN DE ANA", "rn ana", "Bruno Rn", "X99", "O", "S"]
    return dice.choice(codes[column] if column in codes and dice.random() < 0.6 else other)


def make_nearly_fit(dice: random.Random, original: Original, row: Row) -> None:
    """Makes the row fit some rule and setor case of the original, save for one column that may spoil it."""
    rule = dice.choice(original["rule"])
    case = {} if isinstance(rule["setor"], str) else dice.choice(rule["setor"])
    conditions = intended([*original["always"], *rule["when"], *case.get("when", [])])
    deciding = (
        "dt_alta" if rule["date"] == "discharge" else "dt_atendimento" if "dt_atendimento" in row else "dt_entrada"
    )
    spoilt = dice.choice([deciding, *(condition["col"] for condition in conditions)])
    spoiling = row[spoilt]
    row[deciding] = dice.choice(MOMENTS[:3])
    for condition in conditions:
        match condition:
            case {"in": _} | {"in_set": _}:
                row[condition["col"]] = dice.choice(listed(condition, "in"))
            case {"is": wanted}:
                row[condition["col"]] = wanted
            case {"not_null": _}:
                row[condition["col"]] = row[condition["col"]] or (MIDNIGHT if condition["col"] == "dt_alta" else 3)
            case _:
                row[condition["col"]] = None
    row[spoilt] = spoiling


# The comparison -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("original", ORIGINAL["hospital"], ids=lambda original: original["code"])
def test_every_encounter_gets_the_unit_area_and_setor_of_the_original(original: Original) -> None:
    hospital = REGISTRY.hospital(original["code"])
    rows = random_rows(original, hospital)
    raw = pl.DataFrame(rows, schema_overrides=raw_schema(hospital.his)).select(raw_schema(hospital.his).names())

    classified = classify(raw, hospital, RULEBOOK[hospital.code], DAY)

    ours = {row[:2]: row[2:] for row in classified.select("database", "encounter_id", "unit", "area", "setor").rows()}
    theirs = expected(original, rows)
    assert classified.height == len(ours) == len(theirs) == ROWS
    assert [(key, ours[key], theirs[key]) for key in theirs if ours[key] != theirs[key]] == []
    assert set(classified["rule"].drop_nulls()) == {rule["id"] for rule in original["rule"]}, "a rule was not tried"


def test_units_are_those_of_the_original() -> None:
    assert [
        (hospital.code, hospital.his, hospital.database, hospital.unit_column, units_of(hospital))
        for hospital in REGISTRY.hospitals
    ] == [
        (
            original["code"],
            original["his"].lower(),
            original["database"],
            original.get("unit_column"),
            [(unit["code"], unit["name"], unit["companies"], set(unit["surveys"])) for unit in original["unit"]],
        )
        for original in ORIGINAL["hospital"]
    ]


def units_of(hospital: Hospital) -> list[tuple[str, str, list[int], set[str]]]:
    return [
        (unit.code, unit.name, list(unit.companies), {area.label for area in unit.surveys}) for unit in hospital.units
    ]


def test_areas_are_called_as_in_the_original() -> None:
    assert {area.label for area in Area} == set(ORIGINAL["areas"])
