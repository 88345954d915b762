"""Comparison of another system's sends of a day with ours, with a reason for every difference.

For days when both systems run. Our sends are the invitations with the outcome sent or unknown, and those that a dry run
would have sent, because this system must not send while the other one does. Nothing is written.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import date
from functools import partial
from pathlib import Path
from typing import Final

import polars as pl

from track_pipeline.adapters.ledger import Ledger
from track_pipeline.domain.areas import AREAS
from track_pipeline.domain.channels import Channel
from track_pipeline.domain.encounter import LEDGER_ENCOUNTER_KEY
from track_pipeline.domain.hospital import Hospital, Registry
from track_pipeline.domain.outcomes import EXCLUDED, Deferral, Exclusion, OutcomeKind
from track_pipeline.services.insight.serialise import INLINE, Counted
from track_pipeline.services.operator.imports import BadFile, Line, filled, read_whole

COLUMNS: Final = ("hospital", "encounter", "area", "channel")
CHANNELS: Final = tuple(channel.value for channel in Channel)

# Why only their list has an encounter, when the ledger has no outcome for it.
NOT_EXTRACTED: Final = "not_extracted"
DAY_NOT_EXTRACTED: Final = "day_not_extracted"

_LINE: Final = pl.Schema(
    {
        "hospital": pl.String(),
        "database": pl.String(),
        "encounter_id": pl.Int64(),
        "area": pl.String(),
        "channel": pl.String(),
    }
)
# The list may name an area by our key or by its label in the survey.
_AREAS: Final = {name.casefold(): area.value for area in AREAS for name in (area.value, area.label)}


@dataclass(frozen=True)
class TheirSends:
    """The lines of the list for one encounter."""

    areas: list[str]
    channels: list[str]
    lines: int


@dataclass(frozen=True)
class OurSend:
    """The ledger's outcome of one encounter; `outcome` is `outcome:reason`."""

    area: str
    channel: str | None
    outcome: str


@dataclass(frozen=True)
class ComparedEncounter:
    """An encounter that differs between the two sides; `result` is different, only_theirs or only_ours."""

    hospital: str
    database: str
    result: str
    reason: str
    encounter: int
    theirs: TheirSends | None
    ours: OurSend | None


@dataclass(frozen=True)
class ComparedCounts:
    """Counts of a comparison: the encounters of each side, and the differences by reason."""

    theirs: int
    ours: int
    same: int
    different: Counted
    only_theirs: Counted
    only_ours: Counted


@dataclass(frozen=True)
class Comparison:
    """The comparison of one day, for the hospitals that the list names."""

    date: date
    hospitals: tuple[str, ...]
    counts: ComparedCounts = field(metadata=INLINE)
    encounters: tuple[ComparedEncounter, ...]


@dataclass(frozen=True)
class Comparer:
    """Comparison of lists of sends with the ledger."""

    ledger: Ledger
    registry: Registry

    def compare(self, path: Path, day: date) -> Comparison:
        """Compare a CSV of the other system's sends for the encounters of a day with our own.

        Columns: hospital (a code of the registry), encounter, area (as ours, or the survey's label), channel (email,
        whatsapp, link). The column database is optional: without it the hospital's own database is tried first.
        Hospitals that the list does not name are not compared.

        Raises BadFile with a line per problem, LedgerError.
        """
        lines = read_whole(path, partial(_line, self.registry), COLUMNS)
        if not lines:
            raise BadFile(f"{path.name}: the file has no sends, so nothing was compared. Export the list again")
        listed = pl.DataFrame(lines, schema=_LINE, orient="row")
        named = [each for each in self.registry.hospitals if each.code in set(listed.get_column("hospital"))]
        ours = _one_each(pl.concat(self._ours(hospital, day) for hospital in named))
        theirs = _by_encounter(_with_database(listed, ours, named))
        days = set(self.ledger.counts.extracted((day, day)).get_column("hospital"))
        rows = _judged(theirs, ours, [hospital.code for hospital in named if hospital.code in days])
        counts = ComparedCounts(
            theirs=theirs.height,
            ours=ours.filter("is_sent").height,
            same=rows.filter(pl.col("result") == "same").height,
            different=_counted(rows, "different"),
            only_theirs=_counted(rows, "only_theirs"),
            only_ours=_counted(rows, "only_ours"),
        )
        different = rows.filter(pl.col("result") != "same")
        return Comparison(day, tuple(hospital.code for hospital in named), counts, _encounters(different))

    def _ours(self, hospital: Hospital, day: date) -> pl.DataFrame:
        rows = self.ledger.counts.outcome_of_each(hospital.code, day)
        own = pl.col("database") == hospital.database
        return rows.with_columns(hospital=pl.lit(hospital.code), is_own=own, is_sent=_is_sent())


def _line(registry: Registry, line: Line) -> tuple[str, str | None, int, str, str]:
    """Return a line as a row of `_LINE`. Raises ValueError; its text never has the values of the line."""
    code, number = filled(line, "hospital").upper(), filled(line, "encounter")
    if code not in registry.codes:
        raise ValueError(f"hospital: write one of {', '.join(registry.codes)}")
    if not (number.isascii() and number.isdecimal() and 0 < len(number) <= 18):  # noqa: PLR2004 - what Int64 holds
        raise ValueError("encounter: write its number, digits only")
    area = _AREAS.get(filled(line, "area").casefold())
    if area is None:
        raise ValueError(f"area: write one of {', '.join(AREAS)}")
    channel = filled(line, "channel").lower()
    if channel not in CHANNELS:
        raise ValueError(f"channel: write one of {', '.join(CHANNELS)}")
    return code, line.get("database", "").strip().upper() or None, int(number), area, channel


def _is_sent() -> pl.Expr:
    dry_run = (pl.col("outcome") == OutcomeKind.DEFERRED.value) & (pl.col("reason") == Deferral.DRY_RUN.value)
    return pl.col("outcome").is_in([OutcomeKind.SENT.value, OutcomeKind.UNKNOWN.value]) | dry_run


def _one_each(ours: pl.DataFrame) -> pl.DataFrame:
    """Keep one row per encounter: the row of the area that sends, else the row with the most specific reason."""
    is_vague = pl.col("reason").is_in([Exclusion.OTHER_DAY.value, Exclusion.DUPLICATE_ENCOUNTER.value])
    return ours.sort(~pl.col("is_sent"), pl.col("outcome") == EXCLUDED, is_vague, maintain_order=True).unique(
        LEDGER_ENCOUNTER_KEY, keep="first", maintain_order=True
    )


def _with_database(listed: pl.DataFrame, ours: pl.DataFrame, named: Sequence[Hospital]) -> pl.DataFrame:
    """Add the database of each line: as listed, else one in which we know the number, else the hospital's own."""
    number = ["hospital", "encounter_id"]
    known = ours.sort(~pl.col("is_own"), "database", maintain_order=True).unique(number, keep="first").select(
        *number, known="database"
    )  # fmt: skip
    own = pl.col("hospital").replace_strict(
        {hospital.code: hospital.database for hospital in named}, return_dtype=pl.String
    )
    return (
        listed.join(known, on=number, how="left", maintain_order="left")
        .with_columns(database=pl.coalesce("database", "known", own))
        .drop("known")
    )


def _by_encounter(lines: pl.DataFrame) -> pl.DataFrame:
    """Return one row per encounter of the list, with `areas`, `channels` and the number of `lines`."""
    return lines.group_by(LEDGER_ENCOUNTER_KEY).agg(
        areas=pl.col("area").unique().sort(), channels=pl.col("channel").unique().sort(), lines=pl.len()
    )


def _judged(theirs: pl.DataFrame, ours: pl.DataFrame, extracted: Sequence[str]) -> pl.DataFrame:
    """Return every encounter of either side: `result` (same, different, only_theirs, only_ours) and `reason`."""
    rows = theirs.join(ours, on=LEDGER_ENCOUNTER_KEY, how="full", coalesce=True)
    is_theirs, is_ours = pl.col("lines").is_not_null(), pl.col("is_sent").fill_null(value=False)
    differences = {
        "more_than_once": pl.col("lines") > 1,
        "other_area": ~pl.col("areas").list.contains(pl.col("area")),
        "other_channel": ~pl.col("channels").list.contains(pl.col("channel")),
    }
    different = pl.concat_str(
        (pl.when(holds).then(pl.lit(name)) for name, holds in differences.items()), separator="+", ignore_nulls=True
    )
    outcome = pl.concat_str("outcome", pl.col("reason").replace("", None), separator=":", ignore_nulls=True)
    not_extracted = (
        pl.when(pl.col("hospital").is_in(extracted))
        .then(pl.lit(NOT_EXTRACTED))
        .otherwise(pl.lit(DAY_NOT_EXTRACTED))
    )  # fmt: skip
    return (
        rows.filter(is_theirs | is_ours)
        .with_columns(
            different=different, held=pl.when(pl.col("outcome").is_null()).then(not_extracted).otherwise(outcome)
        )
        .with_columns(
            result=pl.when(is_theirs & is_ours)
            .then(pl.when(pl.col("different") == "").then(pl.lit("same")).otherwise(pl.lit("different")))
            .when(is_theirs)
            .then(pl.lit("only_theirs"))
            .otherwise(pl.lit("only_ours")),
            reason=pl.when(is_theirs & is_ours)
            .then("different")
            .when(is_theirs)
            .then("held")
            .otherwise(pl.lit("not_in_their_list")),
            our_outcome=outcome,
        )
        .sort("result", "reason", *LEDGER_ENCOUNTER_KEY)
    )


def _counted(rows: pl.DataFrame, result: str) -> Counted:
    found = rows.filter(pl.col("result") == result)
    by_reason = found.group_by("reason").len().sort("len", "reason", descending=[True, False])
    return Counted(found.height, dict(by_reason.iter_rows()))


def _encounters(rows: pl.DataFrame) -> tuple[ComparedEncounter, ...]:
    theirs = pl.when(pl.col("lines").is_not_null()).then(pl.struct("areas", "channels", "lines"))
    ours = pl.when(pl.col("outcome").is_not_null()).then(pl.struct("area", "channel", outcome="our_outcome"))
    shown = rows.select("hospital", "database", "result", "reason", encounter="encounter_id", theirs=theirs, ours=ours)
    sides = {"theirs": TheirSends, "ours": OurSend}
    return tuple(
        ComparedEncounter(**row | {side: kind(**row[side]) if row[side] else None for side, kind in sides.items()})
        for row in shown.iter_rows(named=True)
    )
