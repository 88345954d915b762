"""Convert raw rows to canonical encounters, each with the area of the first rule that takes it, or with a reason.

This module evaluates the rules. `domain/his/` converts a system's raw columns to canonical ones. `eligibility` and
`plan` decide whether an encounter of an area is invited (death, contacts, quarantine).
"""

from collections.abc import Callable, Sequence
from datetime import date, datetime, time, timedelta
from typing import Final

import polars as pl

from track_pipeline.domain.encounter import ENCOUNTER_KEY
from track_pipeline.domain.his.table import system
from track_pipeline.domain.hospital import Hospital, Unit
from track_pipeline.domain.outcomes import Exclusion
from track_pipeline.domain.ruleset import Condition, Rule, RuleSet
from track_pipeline.domain.schema import DATABASE_COLUMN, ENCOUNTERS

# The order of priority when the rows of one encounter have different reasons.
_REASONS: Final = pl.Enum(
    [
        Exclusion.CANCELLED.value,
        Exclusion.DECEASED.value,
        Exclusion.NEWBORN.value,
        Exclusion.OTHER_DAY.value,
        Exclusion.UNCLASSIFIED.value,
    ]
)

# The rules need about twenty masks and copies of the rows. Slices of this size limit the memory on large days.
_ROWS_AT_ONCE: Final = 100_000


def classify(raw: pl.DataFrame, hospital: Hospital, rules: RuleSet, day: date) -> pl.DataFrame:
    """Classify raw rows as encounters for one day of the hospital's calendar.

    Takes rows of `raw_schema(hospital.his)` with wall times in the hospital's zone; an encounter may have several
    rows. Returns `ENCOUNTERS`, one row per (database, encounter_id), sorted by it, with instants in UTC. The first rule
    that takes a row of the encounter counts. A death on any row counts for the encounter.

    If no rule takes a row, `area`, `setor` and `rule` are null, and `reason` is the first that applies: `unclassified`
    for a company of no unit; the reason of an exclusion; the reason of the first condition that bars the encounter from
    a rule; `other_day` if a rule would take it but its deciding date is empty or on another day; else `unclassified`.
    """
    judged = pl.concat(_judged(part, hospital, rules, day) for part in [*raw.iter_slices(_ROWS_AT_ONCE)] or [raw])
    ordered = judged.sort(*ENCOUNTER_KEY, "rule_number", "reason", "setor", nulls_last=True, maintain_order=True)
    return _one_of_each(ordered.with_columns(pl.col("reason").cast(pl.String)).select(ENCOUNTERS.names()))


def _judged(raw: pl.DataFrame, hospital: Hospital, rules: RuleSet, day: date) -> pl.DataFrame:
    """Classify each row alone: `ENCOUNTERS` with `reason` as one of `_REASONS`, and `rule_number`."""
    return (
        raw.lazy()
        .with_columns(
            *system(hospital.his).canonical(hospital.time_zone),
            hospital=pl.lit(hospital.code),
            unit=_by_company(hospital, lambda unit: unit.code),
            unit_name=_by_company(hospital, lambda unit: unit.name),
        )
        .with_columns(rule_number=_rule_number(rules, day))
        .with_columns(
            area=_by_rule(rules, lambda rule: pl.lit(rule.area.label)),
            setor=_by_rule(rules, lambda rule: _setor(rule, rules)),
            rule=_by_rule(rules, lambda rule: pl.lit(rule.id)),
            reason=_reason(rules, day),
        )
        .select(*ENCOUNTERS.names(), "rule_number")
        .collect()
    )


def _one_of_each(judged: pl.DataFrame) -> pl.DataFrame:
    """Return the first row of each encounter, from rows sorted by encounter, with `died` if any of its rows says so."""
    is_first = judged.select(
        pl.any_horizontal(pl.col(name).ne_missing(pl.col(name).shift(1)) for name in ENCOUNTER_KEY)
    ).to_series()
    if is_first.all():
        return judged
    dead = judged.filter(pl.col("died") | (pl.col("reason") == Exclusion.DECEASED)).select(pl.struct(ENCOUNTER_KEY))
    of_dead = pl.struct(ENCOUNTER_KEY).is_in(dead.to_series().implode())
    return judged.filter(is_first).with_columns(died=pl.col("died") | of_dead)


def _rule_number(rules: RuleSet, day: date) -> pl.Expr:
    excluded = pl.any_horizontal(
        pl.col("unit").is_null(), *(_all_hold(exclusion.when, rules) for exclusion in rules.exclusions)
    )
    taken = [
        (_is_meant(rule, rules) & _is_on(day, rule, rules) & ~_is_barred(rule, rules), pl.lit(number, pl.Int16))
        for number, rule in enumerate(rules.rules)
    ]
    return _first([(excluded, pl.lit(None, pl.Int16)), *taken])


def _reason(rules: RuleSet, day: date) -> pl.Expr:
    excluded = [(_all_hold(exclusion.when, rules), _reason_of(exclusion.reason)) for exclusion in rules.exclusions]
    barred = [
        (_is_meant(rule, rules) & _is_on(day, rule, rules) & _holds(bar, rules), _reason_of(bar.reason))
        for rule in rules.rules
        for bar in rule.unless
        if bar.reason is not None
    ]
    on_some_day = pl.any_horizontal(_is_meant(rule, rules) & ~_is_barred(rule, rules) for rule in rules.rules)
    return _first(
        [
            (pl.col("rule_number").is_not_null(), pl.lit(None, _REASONS)),
            (pl.col("unit").is_null(), _reason_of(Exclusion.UNCLASSIFIED)),
            *excluded,
            *barred,
            (on_some_day, _reason_of(Exclusion.OTHER_DAY)),
        ],
        otherwise=_reason_of(Exclusion.UNCLASSIFIED),
    )


def _reason_of(reason: Exclusion) -> pl.Expr:
    return pl.lit(reason.value, _REASONS)


def _by_rule(rules: RuleSet, value: Callable[[Rule], pl.Expr]) -> pl.Expr:
    return _first([(pl.col("rule_number") == number, value(rule)) for number, rule in enumerate(rules.rules)])


def _setor(rule: Rule, rules: RuleSet) -> pl.Expr:
    return _first(
        [
            (_all_hold(case.when, rules), pl.col(case.source) if case.source is not None else pl.lit(case.text))
            for case in rule.setor
        ]
    )


def _is_meant(rule: Rule, rules: RuleSet) -> pl.Expr:
    database = pl.col(DATABASE_COLUMN)
    here = ~database.is_in(rules.other_databases) if rule.database is None else database == rule.database
    return here & _all_hold(rule.when, rules)


def _is_barred(rule: Rule, rules: RuleSet) -> pl.Expr:
    return pl.any_horizontal(pl.lit(value=False), *(_holds(bar, rules) for bar in rule.unless))


def _is_on(day: date, rule: Rule, rules: RuleSet) -> pl.Expr:
    start = datetime.combine(day, time())
    decides = pl.col(system(rules.his).columns.deciding[rule.day_of])
    return decides.is_between(start, start + timedelta(days=1), closed="left").fill_null(value=False)


def _all_hold(conditions: Sequence[Condition], rules: RuleSet) -> pl.Expr:
    return pl.all_horizontal(pl.lit(value=True), *(_holds(condition, rules) for condition in conditions))


def _holds(condition: Condition, rules: RuleSet) -> pl.Expr:
    column = pl.col(condition.column)
    match condition.operator, condition.state:
        case "is", "set":
            return column.is_not_null()
        case "is", "empty":
            return column.is_null()
        case "is", "true":
            holds = column
        case "is", "false":
            holds = ~column
        case "below", _:
            holds = column < condition.below
        case "starts_with", _:
            holds = column.str.to_uppercase().str.starts_with(str(condition.starts_with).upper())
        case _:
            holds = column.is_in(rules.codes(condition))
    return holds.fill_null(value=False)


def _first(cases: Sequence[tuple[pl.Expr, pl.Expr]], otherwise: pl.Expr | None = None) -> pl.Expr:
    """Return the value of the first case that holds, else `otherwise`, else null."""
    chosen = pl.lit(None) if otherwise is None else otherwise
    for holds, value in reversed(cases):
        chosen = pl.when(holds).then(value).otherwise(chosen)
    return chosen


def _by_company(hospital: Hospital, value: Callable[[Unit], str]) -> pl.Expr:
    if hospital.unit_column is None:
        return pl.lit(value(hospital.units[0]))
    values = {company: value(unit) for unit in hospital.units for company in unit.companies}
    return pl.col(hospital.unit_column).replace_strict(values, default=None, return_dtype=pl.String)
