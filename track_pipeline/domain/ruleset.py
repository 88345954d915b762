"""The rules of one hospital as validated values: which encounters are invited, under which area and setor.

This module defines the fields of the rule files and checks that a rule file fits the hospital's system. The head of
`rules/_shared.toml` describes how to write one. The rulebook reads the files; `classification` applies the rules.
"""

from collections.abc import Iterator, Sequence
from datetime import datetime
from typing import Annotated, Final, Literal, Self

from pydantic import (
    Field,
    StrictInt,
    StrictStr,
    StringConstraints,
    field_validator,
    model_validator,
)

from track_pipeline.domain.areas import Area
from track_pipeline.domain.his.system import DayOf
from track_pipeline.domain.his.table import His, system
from track_pipeline.domain.hospital import Code
from track_pipeline.domain.model import Strict
from track_pipeline.domain.outcomes import Exclusion

# The reasons for which a rule file may exclude an encounter. Other modules decide on the other exclusions.
Reason = Literal[Exclusion.CANCELLED, Exclusion.DECEASED, Exclusion.NEWBORN]

Word = Annotated[str, StringConstraints(pattern=r"^[a-z][a-z0-9_]*$")]
Codes = Annotated[tuple[StrictInt | StrictStr, ...], Field(min_length=1)]
CodeLists = dict[Word, Codes]

_HOLDS: Final[dict[type, str]] = {int: "whole numbers", str: "texts", datetime: "dates", bool: "true or false"}


class Condition(Strict):
    """One test of one raw column, with exactly one operator. A null value satisfies only `is = "empty"`."""

    column: str
    listed: Annotated[Codes | None, Field(alias="in")] = None
    in_set: str | None = None
    state: Annotated[Literal["set", "empty", "true", "false"] | None, Field(alias="is")] = None
    below: StrictInt | None = None
    starts_with: Annotated[str | None, StringConstraints(min_length=1)] = None

    @model_validator(mode="after")
    def _has_one_operator(self) -> Self:
        if len(self._operators()) != 1:
            raise ValueError(f"column {self.column}: give exactly one of in, in_set, is, below, starts_with")
        return self

    @property
    def operator(self) -> str:
        """The name of the operator in the rule files."""
        return self._operators()[0]

    def _operators(self) -> list[str]:
        given = {
            "in": self.listed,
            "in_set": self.in_set,
            "is": self.state,
            "below": self.below,
            "starts_with": self.starts_with,
        }
        return [word for word, value in given.items() if value is not None]


class Bar(Condition):
    """A condition that bars an encounter from a rule. An encounter that no rule takes gets the `reason`, if given."""

    reason: Reason | None = None


class ExclusionRule(Strict):
    """An exclusion of an encounter from all areas of the hospital, when all conditions hold."""

    reason: Reason
    when: Annotated[tuple[Condition, ...], Field(min_length=1)]


class SetorCase(Strict):
    """The setor of encounters for which all conditions hold, as a fixed text or from a text column."""

    text: Annotated[str | None, StringConstraints(min_length=1)] = None
    source: Annotated[str | None, Field(alias="from")] = None
    when: tuple[Condition, ...] = ()

    @model_validator(mode="after")
    def _has_one_origin(self) -> Self:
        if (self.text is None) == (self.source is None):
            raise ValueError("give either text or from")
        return self


class Rule(Strict):
    """A rule that assigns encounters to an area: all of `when` and none of `unless` hold, on the deciding date."""

    id: Word
    area: Area
    day_of: DayOf
    database: Code | None = None
    when: Annotated[tuple[Condition, ...], Field(min_length=1)]
    unless: tuple[Bar, ...] = ()
    setor: tuple[SetorCase, ...]

    @field_validator("setor", mode="before")
    @classmethod
    def _one_text_is_one_case(cls, setor: object) -> object:
        return [{"text": setor}] if isinstance(setor, str) else setor


class SharedLists(Strict):
    """The code lists that the rules of all hospitals may name."""

    sets: CodeLists = {}


class RuleSet(Strict):
    """All rules of one hospital, in the order in which they are tried.

    `version` is the digest of the source files and is stored with every decision. `sets` holds the shared code lists
    and those of the hospital.
    """

    his: His
    version: str
    sets: CodeLists = {}
    exclusions: Annotated[tuple[ExclusionRule, ...], Field(alias="exclusion")] = ()
    rules: Annotated[tuple[Rule, ...], Field(alias="rule", min_length=1)]

    @model_validator(mode="after")
    def _is_sound(self) -> Self:
        problems = [*self._misfits(), *self._repeated_ids()] or list(self._unreachable())
        if problems:
            raise ValueError("; ".join(problems))
        return self

    @property
    def other_databases(self) -> tuple[str, ...]:
        """The databases that rules name, in addition to the hospital's own database."""
        return tuple(dict.fromkeys(rule.database for rule in self.rules if rule.database is not None))

    def codes(self, condition: Condition) -> tuple[int | str, ...]:
        """Return the codes of a condition, from its list or from its set; empty for the other operators."""
        return self.sets[condition.in_set] if condition.in_set is not None else condition.listed or ()

    def _misfits(self) -> Iterator[str]:
        for location, condition in self._conditions():
            if misfit := self._misfit(condition):
                yield f"{location}: {misfit}"
        for rule in self.rules:
            for case in rule.setor:
                if case.source is not None and system(self.his).rule_columns.get(case.source) is not str:
                    yield f"rule {rule.id}: setor: from: {case.source!r} is not a text column of {self.his}"

    def _conditions(self) -> Iterator[tuple[str, Condition]]:
        groups: list[tuple[str, Sequence[Condition]]] = [
            (f"exclusion {exclusion.reason}: when", exclusion.when) for exclusion in self.exclusions
        ]
        for rule in self.rules:
            groups += [(f"rule {rule.id}: when", rule.when), (f"rule {rule.id}: unless", rule.unless)]
            groups += [(f"rule {rule.id}: setor number {n}: when", case.when) for n, case in enumerate(rule.setor, 1)]
        for location, conditions in groups:
            yield from ((f"{location} number {n}", condition) for n, condition in enumerate(conditions, 1))

    def _misfit(self, condition: Condition) -> str | None:
        holds = system(self.his).rule_columns.get(condition.column)
        if holds is None:
            return f"column: {condition.column!r} is not a column of {self.his}"
        if condition.in_set is not None and condition.in_set not in self.sets:
            return f"in_set: there is no set {condition.in_set!r}; there are: {', '.join(sorted(self.sets))}"
        match condition.operator:
            case "is":
                fits = (holds is bool) == (condition.state in ("true", "false"))
            case "below":
                fits = holds is int
            case "starts_with":
                fits = holds is str
            case _:
                fits = all(type(code) is holds for code in self.codes(condition))
        return None if fits else f"{condition.operator}: does not fit {condition.column}, which holds {_HOLDS[holds]}"

    def _repeated_ids(self) -> Iterator[str]:
        ids = [rule.id for rule in self.rules]
        yield from (
            f"rule {id_}: id: given twice; give each rule its own id"
            for id_ in dict.fromkeys(ids)
            if ids.count(id_) > 1
        )

    def _unreachable(self) -> Iterator[str]:
        for n, rule in enumerate(self.rules):
            for earlier in self.rules[:n]:
                if self._takes_all_of(earlier, rule):
                    yield f"rule {rule.id}: when: never reached, because rule {earlier.id} takes all its encounters"
            for m, case in enumerate(rule.setor):
                if any(self._all_hold(earlier_case.when, given=case.when) for earlier_case in rule.setor[:m]):
                    yield (
                        f"rule {rule.id}: setor number {m + 1}: never reached, because an earlier case takes all its "
                        "encounters"
                    )

    def _takes_all_of(self, earlier: Rule, later: Rule) -> bool:
        return (
            (earlier.day_of, earlier.database) == (later.day_of, later.database)
            and self._all_hold(earlier.when, given=later.when)
            and all(any(self._implies(bar, own) for own in later.unless) for bar in earlier.unless)
        )

    def _all_hold(self, conditions: Sequence[Condition], *, given: Sequence[Condition]) -> bool:
        return all(any(self._implies(one, condition) for one in given) for condition in conditions)

    def _implies(self, one: Condition, other: Condition) -> bool:
        """Whether `other` holds for every value for which `one` holds."""
        if one.column != other.column:
            return False
        if codes := self.codes(one):
            return all(self._admits(other, code) for code in codes)
        if one.below is not None and other.below is not None:
            return one.below <= other.below
        if one.starts_with is not None and other.starts_with is not None:
            return one.starts_with.upper().startswith(other.starts_with.upper())
        if other.state == "set":
            return one.state != "empty"
        return one.state is not None and one.state == other.state

    def _admits(self, condition: Condition, code: int | str) -> bool:
        if condition.state is not None:
            return condition.state == "set"
        if condition.below is not None:
            return isinstance(code, int) and code < condition.below
        if condition.starts_with is not None:
            return str(code).upper().startswith(condition.starts_with.upper())
        return code in self.codes(condition)
