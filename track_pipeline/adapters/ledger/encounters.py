"""The current word on every extracted row, and the journal of how it came to be.

What is counted from these rows is in `funnel`; who was written to is in `sends`.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import date
from typing import Any, Final, Literal

import polars as pl
from sqlalchemy import bindparam, delete, exists, func, insert, select, update

from track_pipeline.adapters.ledger.database import Store, fetch, insert_new
from track_pipeline.adapters.ledger.sends import IS_INVITATION
from track_pipeline.adapters.ledger.tables import decisions, encounters, sends
from track_pipeline.domain.plan import PLANNED

# The rows of a partition and area as their step decided them; nulls are kept as empty strings.
DECIDED: Final = pl.Schema(
    {
        "database": pl.String(),
        "encounter_id": pl.Int64(),
        "unit": pl.String(),
        "setor": pl.String(),
        "survey_uuid": pl.String(),
        "channel": pl.String(),
        "result": pl.String(),
        "reason": pl.String(),
        "rule": pl.String(),
        "rules_version": pl.String(),
        "policy_version": pl.String(),
    }
)
_JOURNALED: Final = ("hospital", "database", "encounter_id", "cohort_date", "step", "result", "reason", "rule")
_KEY: Final = ["database", "encounter_id"]


@dataclass(frozen=True)
class EncounterHistory:
    """All that the ledger has on an encounter, as rows of the tables of the same names, oldest first.

    Two databases may use one number, so look at `database`.
    """

    encounters: list[dict[str, Any]]
    decisions: list[dict[str, Any]]
    sends: list[dict[str, Any]]


class Encounters(Store):
    """The part of the ledger that knows what was decided about every extracted row."""

    def replace_encounters(
        self,
        hospital: str,
        cohort_date: date,
        area: str,
        rows: pl.DataFrame,
        *,
        step: Literal["extract", "invitation"],
    ) -> None:
        """Puts the rows (`DECIDED`) in the place of the partition's rows of that area, and journals them.

        `area` is an `Area` value or `unclassified`. A row that was held and still is planned stays held.
        """
        now = self._clock()
        fresh = rows.select(pl.col(name).cast(kind) for name, kind in DECIDED.items()).with_columns(
            pl.col(pl.String).fill_null(""),
            hospital=pl.lit(hospital),
            cohort_date=pl.lit(cohort_date),
            area=pl.lit(area),
        )
        version = "rules_version" if step == "extract" else "policy_version"
        journal = fresh.with_columns(step=pl.lit(step)).select(*_JOURNALED, version=version, at=pl.lit(now))
        mine = (
            encounters.c.hospital == hospital,
            encounters.c.cohort_date == cohort_date,
            encounters.c.area == area,
        )
        with self._database.write() as connection:
            held = fetch(
                connection, select(encounters.c.database, encounters.c.encounter_id, encounters.c.held).where(*mine)
            )
            fresh = fresh.join(held, on=_KEY, how="left", maintain_order="left").with_columns(
                held=pl.when(pl.col("result") == PLANNED).then("held").fill_null(""), updated_at=pl.lit(now)
            )
            connection.execute(delete(encounters).where(*mine))
            if not fresh.is_empty():
                connection.execute(insert(encounters), fresh.to_dicts())
            insert_new(connection, decisions, journal.to_dicts())

    def hold(self, hospital: str, cohort_date: date, area: str, rows: pl.DataFrame) -> None:
        """Notes and journals why planned encounters were not claimed.

        rows: database, encounter_id, held (`deferred:<reason>` or `suppressed:<reason>`).
        """
        if rows.is_empty():
            return
        now = self._clock()
        what = pl.col("held").str.split_exact(":", 1).struct
        journal = rows.select(
            *_KEY,
            hospital=pl.lit(hospital),
            cohort_date=pl.lit(cohort_date),
            step=pl.lit("dispatch"),
            result=what.field("field_0"),
            reason=what.field("field_1"),
            rule=pl.lit(""),
            version=pl.lit(""),
            at=pl.lit(now),
        )
        statement = update(encounters).where(
            encounters.c.hospital == hospital,
            encounters.c.cohort_date == cohort_date,
            encounters.c.area == area,
            encounters.c.database == bindparam("of_database"),
            encounters.c.encounter_id == bindparam("of_encounter"),
            encounters.c.result == PLANNED,
        )
        values = rows.select(of_database="database", of_encounter="encounter_id", held="held", updated_at=pl.lit(now))
        with self._database.write() as connection:
            connection.execute(statement, values.to_dicts())
            insert_new(connection, decisions, journal.to_dicts())

    def volumes(self, hospital: str, area: str, dates: Iterable[date]) -> dict[date, int]:
        """Rows per day of the hospital's area; a day without any row is not among them."""
        statement = (
            select(encounters.c.cohort_date, func.count())
            .where(
                encounters.c.hospital == hospital,
                encounters.c.area == area,
                encounters.c.cohort_date.in_(list(dates)),
            )
            .group_by(encounters.c.cohort_date)
        )
        with self._database.read() as connection:
            return dict(connection.execute(statement).tuples())

    def unsent_partitions(self, date_from: date, date_to: date) -> list[tuple[date, str]]:
        """Days (both ends included) and hospitals with planned rows that were neither sent nor suppressed."""
        sent = exists().where(
            sends.c.hospital == encounters.c.hospital,
            sends.c.encounter_id == encounters.c.encounter_id,
            sends.c.database == encounters.c.database,
            IS_INVITATION,
        )
        statement = (
            select(encounters.c.cohort_date, encounters.c.hospital)
            .where(
                encounters.c.cohort_date.between(date_from, date_to),
                encounters.c.result == PLANNED,
                ~encounters.c.held.startswith("suppressed:"),
                ~sent,
            )
            .distinct()
            .order_by(encounters.c.cohort_date, encounters.c.hospital)
        )
        with self._database.read() as connection:
            return list(connection.execute(statement).tuples())

    def history(self, hospital: str, encounter_id: int) -> EncounterHistory:
        """All that is known of an encounter of the hospital; empty lists when nothing is."""
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
        return EncounterHistory(**rows)
