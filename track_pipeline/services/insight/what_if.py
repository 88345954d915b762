"""What other rules, or another policy, would have decided about a day, beside what the present ones do.

Nothing is sent and nothing is written. Both sides judge the same rows with the same knowledge of the ledger, as it
was on the morning after the day, and as if nothing of the day had left: what left keeps its place in a real plan, so
a rule that was wrong and live would look right. Who was in fact asked is told beside it.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import date, datetime, timedelta
from pathlib import Path
from typing import Any, Final

import polars as pl

from track_pipeline.config.rules import load_rules
from track_pipeline.domain.classification import classify
from track_pipeline.domain.hospital import Hospital, Registry
from track_pipeline.domain.outcomes import EXCLUDED, PLANNED
from track_pipeline.domain.policy import Policy
from track_pipeline.domain.ruleset import RuleSet
from track_pipeline.domain.schema import DATABASE_COLUMN, raw_schema
from track_pipeline.errors import ConfigError
from track_pipeline.ports import HospitalReader
from track_pipeline.services.daily.extraction import extract_of
from track_pipeline.services.daily.invitation import Planner

JsonObject = dict[str, Any]

# The reason on the side that has no row of an encounter: its rules do not read that database, or the hospital has
# no such encounter on that day any more.
NOT_READ: Final = "not_read"

_ENCOUNTER: Final = ["database", "encounter_id"]
_DECIDED: Final = ("result", "reason", "unit", "area", "setor", "channel")
# What may differ on an encounter that both sides decide alike, and whether its values are few enough to be counted.
_MAY_DIFFER: Final = {"reason": True, "unit": True, "area": True, "channel": True, "setor": False}


@dataclass(frozen=True)
class Candidate:
    """What is tried in the place of the present rules or policy; None is the present one."""

    rules: RuleSet | None = None
    policy: Policy | None = None


@dataclass(frozen=True)
class WhatIf:
    """Plans days twice."""

    planner: Planner
    reader: HospitalReader

    def compare(self, hospital: Hospital, day: date, candidate: Candidate) -> JsonObject:
        """The plan of a day by the present rules and policy and by the candidate's, and how they differ.

        hospital, source (`lake` or `hospital`: where the rows are from), as_of, rules and policy (`present` and
        `candidate`: their versions), extracted; present and candidate (planned, planned_by area and channel, excluded,
        excluded_by reason); added, removed, changed, and what they are by (the reason of the side that excludes, or
        the field and its values); asked, and of them asked_not_planned (by the candidate), by reason; encounters
        (database, encounter, change, asked, present, candidate), those only of which there is something to say.

        `asked`: an invitation of the day has left, or may have; a rejected one has not. A policy judges the lake's
        rows; rules need codes that the lake does not keep, so the day is read again from the hospital. Raises
        SourceError, LakeError, LedgerError, and ConfigError when the candidate's rules need a database that is not
        read at present.
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
        return {
            "hospital": hospital.code,
            "source": source,
            "as_of": as_of.isoformat(),
            "rules": {"present": present_rules.version, "candidate": rules.version},
            "policy": {"present": planner.policy.version, "candidate": policy.version},
            "extracted": now.height,
            "present": _summary(now),
            "candidate": _summary(then),
            **_difference(now, then, self._asked(hospital, day)),
        }

    def _as_of(self, hospital: Hospital, day: date) -> datetime:
        """When the day was due to be planned: a plan of today's would call everybody of an old day stale."""
        morning = datetime.combine(day + timedelta(days=1), hospital.send_window.start, hospital.zone)
        return min(self.planner.clock().astimezone(hospital.zone), morning)

    def _read(self, hospital: Hospital, day: date) -> pl.DataFrame:
        batches = list(self.reader.extract(hospital, day))
        return pl.concat(batches) if batches else pl.DataFrame(schema=raw_schema(hospital.his))

    def _asked(self, hospital: Hospital, day: date) -> pl.DataFrame:
        asked = self.planner.ledger.sends.invitations(hospital.code, day).filter(pl.col("state") != "rejected")
        return asked.select(_ENCOUNTER).unique().with_columns(asked=pl.lit(value=True))


def candidate_rules(registry: Registry, folder: Path) -> Mapping[str, RuleSet]:
    """The rules in a folder, by hospital code; hospitals of the registry that have no file there are left out.

    Raises ConfigError when the folder has none of them, or when a file is wrong.
    """
    found = [hospital for hospital in registry.hospitals if (folder / f"{hospital.code}.toml").is_file()]
    if not found:
        raise ConfigError(f"{folder}: no rules there; it is a copy of track_pipeline/rules with a file per hospital")
    return {hospital.code: load_rules(hospital, folder) for hospital in found}


def _check_databases(hospital: Hospital, present: RuleSet, rules: RuleSet) -> None:
    unread = sorted(set(rules.other_databases) - set(present.other_databases))
    if unread:
        raise ConfigError(
            f"hospital {hospital.code}: the rules need the database {', '.join(unread)}, which is not read at present; "
            "what it holds cannot be compared before they are in track_pipeline/rules"
        )


def _classified(raw: pl.DataFrame, hospital: Hospital, rules: RuleSet, day: date) -> pl.DataFrame:
    read = [hospital.database, *rules.other_databases]
    return classify(raw.filter(pl.col(DATABASE_COLUMN).is_in(read)), hospital, rules, day)


def _decisions(plan: pl.DataFrame, encounters: pl.DataFrame) -> pl.DataFrame:
    """One decision per encounter, also on those in no area; of several the one that asks."""
    nobodys = encounters.filter(pl.col("area").is_null()).with_columns(
        result=pl.lit(EXCLUDED), channel=pl.lit(None, pl.String)
    )
    columns = [*_ENCOUNTER, *_DECIDED]
    return (
        pl.concat([plan.select(columns), nobodys.select(columns)])
        .sort(pl.col("result") != PLANNED, maintain_order=True)
        .unique(_ENCOUNTER, keep="first", maintain_order=True)
    )


def _summary(side: pl.DataFrame) -> JsonObject:
    planned = side.filter(pl.col("result") == PLANNED)
    excluded = side.filter(pl.col("result") == EXCLUDED)
    return {
        "planned": planned.height,
        "planned_by": _counts(planned, pl.format("{} by {}", "area", "channel")),
        "excluded": excluded.height,
        "excluded_by": _counts(excluded, pl.col("reason")),
    }


def _difference(present: pl.DataFrame, candidate: pl.DataFrame, asked: pl.DataFrame) -> JsonObject:
    rows = _side_by_side(present, candidate, asked)
    added, removed, changed = (rows.filter(pl.col("change") == change) for change in ("added", "removed", "changed"))
    was_asked = rows.filter("asked")
    wrongly = was_asked.filter(pl.col("result_new") != PLANNED)
    changes = pl.concat(
        changed.filter(_differs(name)).with_columns(what=_what_changed(name, counted=counted)).select("what")
        for name, counted in _MAY_DIFFER.items()
    )
    telling = rows.filter(pl.col("change").is_not_null() | (pl.col("asked") & (pl.col("result_new") != PLANNED)))
    return {
        "added": added.height,
        "added_by": _counts(added, pl.col("reason")),
        "removed": removed.height,
        "removed_by": _counts(removed, pl.col("reason_new")),
        "changed": changed.height,
        "changed_by": _counts(changes, pl.col("what")),
        "asked": was_asked.height,
        "asked_not_planned": wrongly.height,
        "asked_not_planned_by": _counts(wrongly, pl.col("reason_new")),
        "encounters": telling.sort(_ENCOUNTER)
        .select(
            "database",
            "change",
            "asked",
            encounter="encounter_id",
            present=pl.struct(_DECIDED),
            candidate=pl.struct(pl.col(f"{name}_new").alias(name) for name in _DECIDED),
        )
        .to_dicts(),
    }


def _side_by_side(present: pl.DataFrame, candidate: pl.DataFrame, asked: pl.DataFrame) -> pl.DataFrame:
    """One row per encounter: what both sides decided (the candidate's as `<name>_new`), `change` and `asked`."""
    joined = present.join(candidate, on=_ENCOUNTER, how="full", coalesce=True, suffix="_new")
    joined = joined.join(asked, on=_ENCOUNTER, how="full", coalesce=True).with_columns(
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


def _counts(frame: pl.DataFrame, what: pl.Expr) -> dict[str, int]:
    counted = frame.group_by(what.alias("what")).len().sort("len", "what", descending=[True, False])
    return dict(counted.iter_rows())
