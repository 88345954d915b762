"""The latest decision for each extracted row, and the journal of all decisions.

`counts` counts these rows; `sends` stores the sends.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, date
from typing import Any, Final

import polars as pl
from sqlalchemy import ColumnElement, Connection, and_, bindparam, delete, exists, insert, select, update

from track_pipeline.adapters.ledger.database import Store, matches
from track_pipeline.adapters.ledger.frames import fetch, insert_new, insert_rows
from track_pipeline.adapters.ledger.queries import IS_INVITATION_OF_ROW
from track_pipeline.adapters.ledger.tables import answers, decisions, encounters, extracts, sends
from track_pipeline.domain.encounter import ENCOUNTER_KEY
from track_pipeline.domain.outcome_columns import outcome_kind, outcome_reason
from track_pipeline.domain.outcomes import PLANNED, Outcome, OutcomeKind

# The rows of a hospital-day and area: after the extract (`EXTRACTED`), and as the invitation decided (`DECIDED`).
# Nulls are stored as empty strings.
EXTRACTED: Final = pl.Schema(
    {
        "database": pl.String(),
        "encounter_id": pl.Int64(),
        "unit": pl.String(),
        "setor": pl.String(),
        "result": pl.String(),
        "reason": pl.String(),
        "rule": pl.String(),
        "rules_version": pl.String(),
    }
)
DECIDED: Final = pl.Schema(
    {**EXTRACTED, "survey_uuid": pl.String(), "channel": pl.String(), "policy_version": pl.String()}
)
# The journal's result for a row that an extract assigned to an area.
CLASSIFIED: Final = "classified"
_JOURNALED: Final = ("hospital", "database", "encounter_id", "cohort_date", "result", "reason", "rule")
_SUPPRESSED: Final = f"{OutcomeKind.SUPPRESSED}:"
# Planned, not suppressed, and without an invitation in the ledger.
_WAITS: Final = and_(
    encounters.c.result == PLANNED,
    ~encounters.c.held.startswith(_SUPPRESSED),
    ~exists().where(IS_INVITATION_OF_ROW),
)


@dataclass(frozen=True)
class EncounterHistory:
    """All rows of the ledger about an encounter, from the tables of the same names, oldest first.

    Two databases of a hospital may use the same number: `database` distinguishes them.
    """

    encounters: list[dict[str, Any]]
    decisions: list[dict[str, Any]]
    sends: list[dict[str, Any]]
    answers: list[dict[str, Any]]


class Encounters(Store):
    """The part of the ledger that stores the decision for each extracted row."""

    def record_extract(self, hospital: str, cohort_date: date, area: str, rows: pl.DataFrame) -> None:
        """Replace the rows of a hospital-day and area with the extracted rows (`EXTRACTED`), and journal them.

        `area` is an `Area` value or `unclassified`. A row that the invitation has decided keeps that decision until
        the invitation decides again.
        """
        fresh = self._rows(hospital, cohort_date, area, rows, EXTRACTED).with_columns(
            held=pl.lit(""), **dict.fromkeys(("survey_uuid", "channel", "policy_version"), pl.lit(""))
        )
        # An extract plans no send: it only assigns the area, by a rule of the hospital.
        found = fresh.with_columns(pl.col("result").replace(PLANNED, CLASSIFIED))
        with self._database.write() as connection:
            decided = _current(connection, hospital, cohort_date, area).filter(pl.col("policy_version") != "")
            kept = decided.join(fresh, on=ENCOUNTER_KEY, how="semi")
            new = fresh.join(kept, on=ENCOUNTER_KEY, how="anti").select(kept.columns)
            _replace(connection, hospital, cohort_date, area, pl.concat([kept, new]))
            self._note_extract(connection, hospital, cohort_date, area, fresh.height)
            _journal(connection, found, step="extract", version="rules_version")

    def record_plan(self, hospital: str, cohort_date: date, area: str, rows: pl.DataFrame) -> None:
        """Replace the rows of a hospital-day and area with the decided rows (`DECIDED`), and journal them.

        A row that is still planned keeps its `held`.
        """
        fresh = self._rows(hospital, cohort_date, area, rows, DECIDED)
        with self._database.write() as connection:
            held = _current(connection, hospital, cohort_date, area).select(*ENCOUNTER_KEY, "held")
            fresh = fresh.join(held, on=ENCOUNTER_KEY, how="left", maintain_order="left").with_columns(
                held=pl.when(pl.col("result") == PLANNED).then("held").fill_null("")
            )
            _replace(connection, hospital, cohort_date, area, fresh)
            _journal(connection, fresh, step="invitation", version="policy_version")

    def _rows(self, hospital: str, cohort_date: date, area: str, rows: pl.DataFrame, shape: pl.Schema) -> pl.DataFrame:
        """Convert rows of a step to rows of the table, with nulls as empty strings."""
        return rows.select(pl.col(name).cast(kind) for name, kind in shape.items()).with_columns(
            pl.col(pl.String).fill_null(""),
            hospital=pl.lit(hospital),
            cohort_date=pl.lit(cohort_date),
            area=pl.lit(area),
            updated_at=pl.lit(self._clock().astimezone(UTC)),
        )

    def _note_extract(self, connection: Connection, hospital: str, cohort_date: date, area: str, rows: int) -> None:
        key = {"hospital": hospital, "cohort_date": cohort_date, "area": area}
        connection.execute(delete(extracts).where(*(extracts.c[name] == value for name, value in key.items())))
        connection.execute(insert(extracts), key | {"rows": rows, "extracted_at": self._clock()})

    def hold(self, hospital: str, cohort_date: date, area: str, rows: pl.DataFrame) -> None:
        """Record and journal why planned encounters were not claimed.

        rows: database, encounter_id, held (`deferred:<reason>` or `suppressed:<reason>`).
        """
        if rows.is_empty():
            return
        decided = rows.select(*ENCOUNTER_KEY, result=outcome_kind("held"), reason=outcome_reason("held"))
        statement = update(encounters).where(
            _of_partition(hospital, cohort_date, area),
            encounters.c.database == bindparam("of_database"),
            encounters.c.encounter_id == bindparam("of_encounter"),
            encounters.c.result == PLANNED,
        )
        values = rows.select(
            "held", of_database="database", of_encounter="encounter_id", updated_at=pl.lit(self._clock())
        )
        with self._database.write() as connection:
            connection.execute(statement, values.to_dicts())
            self._note(connection, hospital, cohort_date, "dispatch", decided)

    def note(self, hospital: str, cohort_date: date, step: str, rows: pl.DataFrame) -> None:
        """Journal a step's decisions about encounters: database, encounter_id, result, reason (empty for none)."""
        with self._database.write() as connection:
            self._note(connection, hospital, cohort_date, step, rows)

    def _note(self, connection: Connection, hospital: str, cohort_date: date, step: str, rows: pl.DataFrame) -> None:
        journal = rows.select(
            *ENCOUNTER_KEY,
            "result",
            pl.col("reason").fill_null(""),
            hospital=pl.lit(hospital),
            cohort_date=pl.lit(cohort_date),
            rule=pl.lit(""),
            version=pl.lit(""),
            updated_at=pl.lit(self._clock()),
        )
        _journal(connection, journal, step=step, version="version")

    def volumes(self, hospital: str, area: str, dates: Iterable[date]) -> dict[date, int]:
        """Return the extracted rows per date of the hospital's area; dates that were never extracted are missing."""
        statement = select(extracts.c.cohort_date, extracts.c.rows).where(
            extracts.c.hospital == hospital, extracts.c.area == area, extracts.c.cohort_date.in_(list(dates))
        )
        with self._database.read() as connection:
            return dict(fetch(connection, statement).rows())

    def suppressed(self, hospital: str, cohort_date: date) -> pl.DataFrame:
        """Return the planned encounters of a hospital-day that were suppressed when they should have been sent.

        Columns: database, encounter_id, area, survey_uuid, channel.
        """
        statement = select(*(encounters.c[name] for name in (*ENCOUNTER_KEY, "area", "survey_uuid", "channel"))).where(
            encounters.c.hospital == hospital,
            encounters.c.cohort_date == cohort_date,
            encounters.c.result == PLANNED,
            encounters.c.held.startswith(_SUPPRESSED),
        )
        with self._database.read() as connection:
            return fetch(
                connection, statement.order_by(encounters.c.area, encounters.c.database, encounters.c.encounter_id)
            )

    def unsent_partitions(self, date_from: date, date_to: date, held: Outcome | None = None) -> list[tuple[date, str]]:
        """Return the hospital-days (both dates included) with planned rows that were neither sent nor suppressed.

        `held`: only rows held with exactly this outcome, such as `deferred:window`.
        """
        statement = (
            select(encounters.c.cohort_date, encounters.c.hospital)
            .where(
                encounters.c.cohort_date.between(date_from, date_to),
                matches(encounters.c.held, None if held is None else str(held)),
                _WAITS,
            )
            .distinct()
            .order_by(encounters.c.cohort_date, encounters.c.hospital)
        )
        with self._database.read() as connection:
            return fetch(connection, statement).rows()

    def suppress_waiting(self, hospital: str, before: date, held: Outcome) -> int:
        """Hold planned rows of earlier cohort dates that still wait, with the outcome `held`; return how many."""
        columns = [encounters.c[name] for name in ("cohort_date", "area", *ENCOUNTER_KEY)]
        earlier = (encounters.c.hospital == hospital, encounters.c.cohort_date < before)
        with self._database.read() as connection:
            waiting = fetch(connection, select(*columns).where(*earlier, _WAITS))
        for (day, area), rows in waiting.partition_by("cohort_date", "area", as_dict=True).items():
            self.hold(hospital, day, area, rows.select(*ENCOUNTER_KEY, held=pl.lit(str(held))))
        return waiting.height

    def history(self, hospital: str, encounter_id: int) -> EncounterHistory:
        """Return all rows about an encounter of the hospital; empty lists when there are none."""
        with self._database.read() as connection:
            rows = {
                table.name: fetch(
                    connection,
                    select(table)
                    .where(table.c.hospital == hospital, table.c.encounter_id == encounter_id)
                    .order_by(*order),
                ).to_dicts()
                for table, order in (
                    (encounters, (encounters.c.cohort_date, encounters.c.area)),
                    (decisions, (decisions.c.at, decisions.c.id)),
                    (sends, (sends.c.claimed_at, sends.c.send_id)),
                )
            }
            answered = (
                select(answers.c.send_id, answers.c.answered_at)
                .join(sends, sends.c.send_id == answers.c.send_id)
                .where(sends.c.hospital == hospital, sends.c.encounter_id == encounter_id)
                .order_by(answers.c.answered_at, answers.c.send_id)
            )
            return EncounterHistory(**rows, answers=fetch(connection, answered).to_dicts())


def _of_partition(hospital: str, cohort_date: date, area: str) -> ColumnElement[bool]:
    return and_(encounters.c.hospital == hospital, encounters.c.cohort_date == cohort_date, encounters.c.area == area)


def _current(connection: Connection, hospital: str, cohort_date: date, area: str) -> pl.DataFrame:
    return fetch(connection, select(encounters).where(_of_partition(hospital, cohort_date, area)))


def _replace(connection: Connection, hospital: str, cohort_date: date, area: str, rows: pl.DataFrame) -> None:
    connection.execute(delete(encounters).where(_of_partition(hospital, cohort_date, area)))
    insert_rows(connection, encounters, rows)


def _journal(connection: Connection, rows: pl.DataFrame, *, step: str, version: str) -> None:
    """Add a step's decisions to the journal; `version` is the column with the version of the rules or policy used."""
    decided = rows.select(*_JOURNALED, step=pl.lit(step), version=version, at="updated_at")
    insert_new(connection, decisions, decided)
