"""Comparison of the plan of a day by the present rules and policy with the plan by candidate rules or policy.

Nothing is sent or written. Both plans use the same rows and the ledger as of the morning after the day, as if no line
of the day had been sent: a real plan keeps sent lines, which would hide a wrong rule in use. The comparison also shows
which encounters were in fact invited.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import date, datetime, timedelta
from pathlib import Path
from typing import Final

import polars as pl

from track_pipeline.config.policy import load_policy
from track_pipeline.config.rules import load_rules
from track_pipeline.domain.classification import classify
from track_pipeline.domain.encounter import ENCOUNTER_KEY
from track_pipeline.domain.hospital import Hospital, Registry
from track_pipeline.domain.outcomes import EXCLUDED, PLANNED
from track_pipeline.domain.policy import Policy
from track_pipeline.domain.ruleset import RuleSet
from track_pipeline.domain.schema import DATABASE_COLUMN, raw_schema
from track_pipeline.domain.sends import SendState
from track_pipeline.errors import ConfigError, TrackPipelineError
from track_pipeline.ports import HospitalReader
from track_pipeline.services.daily.extraction import extract_of
from track_pipeline.services.daily.invitation import Planner
from track_pipeline.services.insight.serialise import INLINE, Counted

# The reason on the side without a row of an encounter: its rules do not read that database, or the hospital no longer
# has the encounter on that day.
NOT_READ: Final = "not_read"

_DECIDED: Final = ("result", "reason", "unit", "area", "setor", "channel")
# Columns that may differ when both sides plan or both exclude an encounter; True if the values are few enough to count.
_MAY_DIFFER: Final = {"reason": True, "unit": True, "area": True, "channel": True, "setor": False}


@dataclass(frozen=True)
class Candidate:
    """Rules and policy to try instead of the present ones; None keeps the present one."""

    rules: RuleSet | None = None
    policy: Policy | None = None


@dataclass(frozen=True)
class Versions:
    """The versions of the rules, or of the policy, on both sides of a comparison."""

    present: str
    candidate: str


@dataclass(frozen=True)
class PlanBasis:
    """The common basis of both plans; `source` says where the rows were read: `lake` or `hospital`."""

    hospital: str
    source: str
    as_of: datetime
    rules: Versions
    policy: Versions
    extracted: int


@dataclass(frozen=True)
class PlanCounts:
    """Counts of a plan: planned by area and channel, excluded by reason."""

    planned: Counted
    excluded: Counted


@dataclass(frozen=True)
class PlanDecision:
    """The decision of one side about an encounter."""

    result: str
    reason: str | None
    unit: str | None
    area: str | None
    setor: str | None
    channel: str | None


@dataclass(frozen=True)
class ComparedEncounter:
    """An encounter on both sides. `change` is added, removed, changed or None; `asked`: its invitation was sent."""

    database: str
    change: str | None
    asked: bool
    encounter: int
    present: PlanDecision
    candidate: PlanDecision


@dataclass(frozen=True)
class PlanDifference:
    """The difference of two plans.

    added, removed: by the reason of the side that excludes. changed: by field and values. asked: encounters with a sent
    invitation; asked_not_planned: encounters of `asked` that the candidate excludes, by reason. encounters: all with a
    change, and all of asked_not_planned.
    """

    added: Counted
    removed: Counted
    changed: Counted
    asked: int
    asked_not_planned: Counted
    encounters: tuple[ComparedEncounter, ...]


@dataclass(frozen=True)
class PlanComparison:
    """The plan of a hospital-day by the present rules and policy, the candidate's plan, and the difference."""

    basis: PlanBasis = field(metadata=INLINE)
    present: PlanCounts
    candidate: PlanCounts
    difference: PlanDifference = field(metadata=INLINE)


@dataclass(frozen=True)
class PlanFailure:
    """A hospital whose day could not be planned, with the error."""

    hospital: str
    error: str


@dataclass(frozen=True)
class DayComparison:
    """The comparisons of a day, one per hospital, and the hospitals that failed."""

    date: date
    hospitals: tuple[PlanComparison, ...]
    failures: tuple[PlanFailure, ...]


@dataclass(frozen=True)
class WhatIf:
    """Plans of days by the present rules and policy and by a candidate's."""

    planner: Planner
    reader: HospitalReader

    def compare(self, hospital: Hospital, day: date, candidate: Candidate) -> PlanComparison:
        """Return the plan of a day by the present rules and policy, the candidate's plan, and how they differ.

        An encounter counts as asked if an invitation of the day was claimed and not rejected. With a candidate policy
        the rows come from the lake if it has the day; otherwise they are read from the hospital, because rules need
        codes that the lake does not keep. Raises SourceError, LakeError, LedgerError, and ConfigError when the
        candidate's rules need a database that is not read at present.
        """
        as_of = self._as_of(hospital, day)
        present_rules = self.planner.rules[hospital.code]
        rules, policy = candidate.rules or present_rules, candidate.policy or self.planner.policy
        _check_databases(hospital, present_rules, rules)
        extract = extract_of(self.planner.lake, hospital, day) if candidate.policy else None
        if extract is None:
            source, raw = "hospital", self._read(hospital, day)
            rows = [_classified(raw, hospital, each, day) for each in (present_rules, rules)]
        else:
            source, rows = "lake", [extract, extract]
        planner = replace(self.planner, clock=lambda: as_of)
        now, then = (
            _decisions(replace(planner, policy=each).as_if_unsent(hospital, day, encounters), encounters)
            for each, encounters in zip((planner.policy, policy), rows, strict=True)
        )
        basis = PlanBasis(
            hospital.code,
            source,
            as_of,
            Versions(present_rules.version, rules.version),
            Versions(planner.policy.version, policy.version),
            now.height,
        )
        return PlanComparison(basis, _summary(now), _summary(then), _difference(now, then, self._asked(hospital, day)))

    def _as_of(self, hospital: Hospital, day: date) -> datetime:
        """Return when the plan of the day was due; a plan as of now would exclude an old day as stale."""
        morning = datetime.combine(day + timedelta(days=1), hospital.send_window.start, hospital.zone)
        return min(self.planner.clock().astimezone(hospital.zone), morning)

    def _read(self, hospital: Hospital, day: date) -> pl.DataFrame:
        batches = list(self.reader.extract(hospital, day))
        return pl.concat(batches) if batches else pl.DataFrame(schema=raw_schema(hospital.his))

    def _asked(self, hospital: Hospital, day: date) -> pl.DataFrame:
        asked = self.planner.ledger.sends.invitations(hospital.code, day).filter(
            pl.col("state") != SendState.REJECTED.value
        )
        return asked.select(ENCOUNTER_KEY).unique().with_columns(asked=pl.lit(value=True))


def compare_day(
    what_if: Callable[[], WhatIf],
    day: date,
    candidates: Iterable[tuple[Hospital, Candidate]],
    on_hospital: Callable[[str], None],
) -> DayComparison:
    """Compare the plans of several hospitals; a hospital that fails does not stop the others.

    Args:
        what_if: returns the service; its error counts as the failure of the hospital.
        day: the cohort date.
        candidates: hospitals, each with its candidate.
        on_hospital: called with the code of every finished hospital.
    """
    compared: list[PlanComparison] = []
    failures: list[PlanFailure] = []
    for hospital, candidate in candidates:
        try:
            compared.append(what_if().compare(hospital, day, candidate))
        except TrackPipelineError as error:
            failures.append(PlanFailure(hospital.code, str(error)))
        on_hospital(hospital.code)
    return DayComparison(day, tuple(compared), tuple(failures))


def candidates_of(
    registry: Registry, rules_folder: Path | None, policy_file: Path | None
) -> Sequence[tuple[Hospital, Candidate]]:
    """Return the hospitals to compare, each with its candidate; None keeps the present one.

    Hospitals without a file in the folder of rules are skipped. Raises ConfigError when a file is wrong.
    """
    policy = load_policy(policy_file) if policy_file else None
    if rules_folder is None:
        return [(hospital, Candidate(policy=policy)) for hospital in registry.hospitals]
    rules = candidate_rules(registry, rules_folder)
    return [(each, Candidate(rules[each.code], policy)) for each in registry.hospitals if each.code in rules]


def candidate_rules(registry: Registry, folder: Path) -> Mapping[str, RuleSet]:
    """Return the rules in a folder, by hospital code; hospitals of the registry without a file there are skipped.

    Raises ConfigError when the folder has none of them, or when a file is wrong.
    """
    found = [hospital for hospital in registry.hospitals if (folder / f"{hospital.code}.toml").is_file()]
    if not found:
        raise ConfigError(f"{folder}: the folder has no rules. Copy track_pipeline/rules to it and edit the copy")
    return {hospital.code: load_rules(hospital, folder) for hospital in found}


def _check_databases(hospital: Hospital, present: RuleSet, rules: RuleSet) -> None:
    unread = sorted(set(rules.other_databases) - set(present.other_databases))
    if unread:
        raise ConfigError(
            f"hospital {hospital.code}: the rules need the database {', '.join(unread)}, which is not read at present. "
            "Add it to the rules in track_pipeline/rules first; then compare again"
        )


def _classified(raw: pl.DataFrame, hospital: Hospital, rules: RuleSet, day: date) -> pl.DataFrame:
    read = [hospital.database, *rules.other_databases]
    return classify(raw.filter(pl.col(DATABASE_COLUMN).is_in(read)), hospital, rules, day)


def _decisions(plan: pl.DataFrame, encounters: pl.DataFrame) -> pl.DataFrame:
    """Return one decision per encounter, also for encounters in no area; a planned row wins over an excluded one."""
    in_no_area = encounters.filter(pl.col("area").is_null()).with_columns(
        result=pl.lit(EXCLUDED), channel=pl.lit(None, pl.String)
    )
    columns = [*ENCOUNTER_KEY, *_DECIDED]
    return (
        pl.concat([plan.select(columns), in_no_area.select(columns)])
        .sort(pl.col("result") != PLANNED, maintain_order=True)
        .unique(ENCOUNTER_KEY, keep="first", maintain_order=True)
    )


def _summary(side: pl.DataFrame) -> PlanCounts:
    planned = side.filter(pl.col("result") == PLANNED)
    excluded = side.filter(pl.col("result") == EXCLUDED)
    return PlanCounts(_counted(planned, pl.format("{} by {}", "area", "channel")), _counted(excluded, pl.col("reason")))


def _difference(present: pl.DataFrame, candidate: pl.DataFrame, asked: pl.DataFrame) -> PlanDifference:
    rows = _side_by_side(present, candidate, asked)
    added, removed, changed = (rows.filter(pl.col("change") == change) for change in ("added", "removed", "changed"))
    is_wrong = pl.col("asked") & (pl.col("result_new") != PLANNED)
    changes = pl.concat(
        changed.filter(_differs(name)).with_columns(what=_what_changed(name, counted=counted)).select("what")
        for name, counted in _MAY_DIFFER.items()
    )
    return PlanDifference(
        added=_counted(added, pl.col("reason")),
        removed=_counted(removed, pl.col("reason_new")),
        changed=Counted(changed.height, _counts(changes, pl.col("what"))),
        asked=rows.filter("asked").height,
        asked_not_planned=_counted(rows.filter(is_wrong), pl.col("reason_new")),
        encounters=_encounters(rows.filter(pl.col("change").is_not_null() | is_wrong)),
    )


def _encounters(rows: pl.DataFrame) -> tuple[ComparedEncounter, ...]:
    shown = rows.sort(ENCOUNTER_KEY).select(
        *("database", "change", "asked"),
        encounter="encounter_id",
        present=pl.struct(_DECIDED),
        candidate=pl.struct(pl.col(f"{name}_new").alias(name) for name in _DECIDED),
    )
    return tuple(
        ComparedEncounter(**row | {side: PlanDecision(**row[side]) for side in ("present", "candidate")})
        for row in shown.iter_rows(named=True)
    )


def _side_by_side(present: pl.DataFrame, candidate: pl.DataFrame, asked: pl.DataFrame) -> pl.DataFrame:
    """Return one row per encounter: the decisions of both sides (candidate: `<name>_new`), `change` and `asked`."""
    joined = present.join(candidate, on=ENCOUNTER_KEY, how="full", coalesce=True, suffix="_new")
    joined = joined.join(asked, on=ENCOUNTER_KEY, how="full", coalesce=True).with_columns(
        pl.when(pl.col(f"result{side}").is_null())
        .then(pl.lit(NOT_READ))
        .otherwise(f"reason{side}")
        .alias(f"reason{side}")
        for side in ("", "_new")
    )
    was, is_now = pl.col("result") == PLANNED, pl.col("result_new") == PLANNED
    return joined.with_columns(
        pl.col("result", "result_new").fill_null(EXCLUDED), pl.col("asked").fill_null(value=False)
    ).with_columns(
        change=pl.when(~was & is_now)
        .then(pl.lit("added"))
        .when(was & ~is_now)
        .then(pl.lit("removed"))
        .when(pl.any_horizontal(_differs(name) for name in _MAY_DIFFER))
        .then(pl.lit("changed"))
    )


def _differs(name: str) -> pl.Expr:
    return pl.col(name).ne_missing(pl.col(f"{name}_new"))


def _what_changed(name: str, *, counted: bool) -> pl.Expr:
    if not counted:
        return pl.lit(name)
    values = [pl.col(column).fill_null("none") for column in (name, f"{name}_new")]
    return pl.format(f"{name}: {{}} -> {{}}", *values)


def _counted(frame: pl.DataFrame, what: pl.Expr) -> Counted:
    return Counted(frame.height, _counts(frame, what))


def _counts(frame: pl.DataFrame, what: pl.Expr) -> dict[str, int]:
    counted = frame.group_by(what.alias("what")).len().sort("len", "what", descending=[True, False])
    return dict(counted.iter_rows())
