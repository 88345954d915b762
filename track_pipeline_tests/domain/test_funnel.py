"""The funnel counts every encounter once. It does not close when an encounter is lost or has no reason."""

from dataclasses import replace
from datetime import date

import polars as pl
import pytest

from track_pipeline.domain.funnel import Funnel, funnels
from track_pipeline.domain.outcomes import PLANNED_KINDS

FULL = Funnel(
    date="2025-03-10",
    hospital="HMS",
    area="internacao",
    extracted=20,
    excluded=5,
    planned=15,
    sent=8,
    rejected=1,
    unknown=1,
    deferred=3,
    suppressed=2,
    excluded_by={"no_contact": 2, "deceased": 1, "same_person": 2},
    held_by={"deferred:window": 3, "suppressed:opted_out": 2},
)


def outcomes(*rows: tuple[str, str, str, str, str, int]) -> pl.DataFrame:
    columns = ("date", "hospital", "area", "outcome", "reason", "count")
    return pl.DataFrame(rows, schema=columns, orient="row").with_columns(pl.col("date").str.to_date())


def row(outcome: str, reason: str, count: int, area: str = "internacao") -> tuple[str, str, str, str, str, int]:
    return ("2025-03-10", "HMS", area, outcome, reason, count)


def funnels_of(counts: pl.DataFrame, *extracted: tuple[date, str, str]) -> list[Funnel]:
    schema = {"date": pl.Date, "hospital": pl.String, "area": pl.String}
    return funnels(counts, pl.DataFrame(extracted, schema=schema, orient="row"))


def test_a_partition_that_was_extracted_empty_is_a_funnel_of_zeros() -> None:
    counts = outcomes(row("sent", "", 4))
    day = date(2025, 3, 10)
    [exams, inpatients] = funnels_of(counts, (day, "HMS", "exames"), (day, "HMS", "internacao"))
    assert exams == Funnel(date="2025-03-10", hospital="HMS", area="exames")
    assert inpatients.sent == 4


def test_a_funnel_in_which_every_encounter_has_a_place_closes() -> None:
    assert FULL.closes
    assert Funnel(date="2025-03-10", hospital="HMS", area="exames").closes


@pytest.mark.parametrize("name", ["extracted", "excluded", "planned", *PLANNED_KINDS])
def test_a_funnel_that_lost_or_gained_an_encounter_anywhere_does_not_close(name: str) -> None:
    assert not replace(FULL, **{name: getattr(FULL, name) - 1}).closes
    assert not replace(FULL, **{name: getattr(FULL, name) + 1}).closes


def test_a_funnel_with_an_exclusion_without_a_reason_does_not_close() -> None:
    assert not replace(FULL, excluded_by={"no_contact": 4}).closes
    assert not replace(FULL, excluded_by={"no_contact": 4, "": 1}).closes


def test_a_funnel_as_markdown_has_a_line_per_outcome_and_reasons_by_their_number() -> None:
    assert FULL.markdown().splitlines() == [
        "| outcome | encounters |",
        "|---|---:|",
        "| extracted | 20 |",
        "| excluded | 5 |",
        "| &nbsp;&nbsp;no_contact | 2 |",
        "| &nbsp;&nbsp;same_person | 2 |",
        "| &nbsp;&nbsp;deceased | 1 |",
        "| planned | 15 |",
        "| sent | 8 |",
        "| rejected | 1 |",
        "| unknown | 1 |",
        "| deferred | 3 |",
        "| suppressed | 2 |",
        "| &nbsp;&nbsp;deferred:window | 3 |",
        "| &nbsp;&nbsp;suppressed:opted_out | 2 |",
    ]


def test_outcomes_become_the_funnel_of_their_partition() -> None:
    [found] = funnels_of(
        outcomes(
            row("excluded", "no_contact", 2),
            row("excluded", "deceased", 1),
            row("excluded", "same_person", 2),
            row("sent", "", 8),
            row("rejected", "", 1),
            row("unknown", "", 1),
            row("deferred", "window", 3),
            row("suppressed", "opted_out", 2),
        )
    )

    assert found == FULL
    assert found.closes


def test_the_same_reason_in_several_rows_is_added_up() -> None:
    [found] = funnels_of(outcomes(row("excluded", "minor", 1), row("excluded", "minor", 2), row("sent", "", 4)))

    assert (found.excluded_by, found.extracted) == ({"minor": 3}, 7)


def test_there_is_one_funnel_per_date_hospital_and_area_in_that_order() -> None:
    found = funnels_of(
        outcomes(
            ("2025-03-11", "HAC", "exames", "sent", "", 1),
            ("2025-03-10", "HMS", "internacao", "sent", "", 1),
            ("2025-03-10", "HMS", "exames", "sent", "", 1),
            ("2025-03-10", "HAC", "unclassified", "excluded", "unclassified", 1),
        )
    )

    assert [(each.date, each.hospital, each.area) for each in found] == [
        ("2025-03-10", "HAC", "unclassified"),
        ("2025-03-10", "HMS", "exames"),
        ("2025-03-10", "HMS", "internacao"),
        ("2025-03-11", "HAC", "exames"),
    ]


def test_an_outcome_that_is_not_of_the_list_keeps_the_funnel_from_closing() -> None:
    [found] = funnels_of(outcomes(row("sent", "", 4), row("lost", "", 1)))

    assert not found.closes


def test_without_outcomes_there_is_no_funnel() -> None:
    empty = pl.DataFrame(
        schema={
            "date": pl.Date,
            "hospital": pl.String,
            "area": pl.String,
            "outcome": pl.String,
            "reason": pl.String,
            "count": pl.Int64,
        }
    )

    assert funnels_of(empty) == []


def test_dates_are_iso_text_whatever_they_were() -> None:
    frame = outcomes(row("sent", "", 1))

    assert frame.schema["date"] == pl.Date
    assert funnels_of(frame)[0].date == date(2025, 3, 10).isoformat()
