"""Comparison of another system's list with the ledger: each difference has a reason, and a bad list changes nothing."""

from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from track_pipeline.adapters.ledger.encounters import EXTRACTED
from track_pipeline.domain.hospital import Registry
from track_pipeline.ports import Refused, Unknown
from track_pipeline.services.daily.sending import DispatchStopped
from track_pipeline.services.insight.compare import Comparer
from track_pipeline.services.insight.serialise import to_object
from track_pipeline.services.operator.imports import BadFile
from track_pipeline_tests.support.builders import DAY, hospital, planned
from track_pipeline_tests.support.installation import Office

HEADER = "hospital,encounter,area,channel"
EXCLUDED = {"result": "excluded", "reason": "no_contact", "channel": None, "decided_by": "no_contact"}


@pytest.fixture
def office(tmp_path: Path) -> Iterator[Office]:
    office = Office(tmp_path)
    yield office
    office.ledger.close()


def registry() -> Registry:
    return Registry.model_validate({"hospital": [hospital(code).model_dump(by_alias=True) for code in ("HMS", "HPC")]})


def compare(office: Office, *lines: str, header: str = HEADER) -> dict[str, Any]:
    path = office.home / "sends.csv"
    path.write_text("\n".join([header, *lines]) + "\n", encoding="utf-8")
    return to_object(Comparer(office.ledger, registry()).compare(path, DAY))


def numbers(result: dict[str, Any]) -> tuple[int, dict[str, int], dict[str, int], dict[str, int]]:
    return result["same"], result["different_by"], result["only_theirs_by"], result["only_ours_by"]


def test_what_both_sent_alike_is_the_same(office: Office) -> None:
    office.plan({}, {})
    office.dispatch()

    result = compare(office, "HMS,1,internacao,email", "hms,2,INTERNACAO,EMAIL")

    assert numbers(result) == (2, {}, {}, {})
    assert (result["theirs"], result["ours"], result["encounters"]) == (2, 2, [])


def test_a_dry_run_is_compared_by_what_it_would_have_sent(office: Office) -> None:
    office.sends = False
    office.plan({}, {})
    office.dispatch()
    assert numbers(compare(office, "HMS,1,internacao,email")) == (1, {}, {}, {"not_in_their_list": 1})


def test_what_may_have_left_counts_as_sent(office: Office) -> None:
    office.plan({})
    office.track.script = [Unknown("timeout", "No answer.")]
    with pytest.raises(DispatchStopped):
        office.dispatch()
    assert numbers(compare(office, "HMS,1,internacao,email")) == (1, {}, {}, {})


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        ("HMS,1,internacao,whatsapp", "other_channel"),
        ("HMS,1,exames,email", "other_area"),
        ("HMS,1,PRONTO SOCORRO GERAL,link", "other_area+other_channel"),
    ],
)
def test_another_area_or_channel_is_named(office: Office, line: str, reason: str) -> None:
    office.plan({})
    office.dispatch()

    result = compare(office, line)

    assert numbers(result) == (0, {reason: 1}, {}, {})
    [row] = result["encounters"]
    assert row["ours"] == {"area": "internacao", "channel": "email", "outcome": "sent"}


def test_somebody_whom_they_asked_twice_is_named(office: Office) -> None:
    office.plan({})
    office.dispatch()

    result = compare(office, "HMS,1,internacao,email", "HMS,1,internacao,whatsapp")

    assert numbers(result) == (0, {"more_than_once": 1}, {}, {})
    assert result["theirs"] == 1
    assert result["encounters"][0]["theirs"] == {
        "areas": ["internacao"], "channels": ["email", "whatsapp"], "lines": 2
    }  # fmt: skip


def test_what_only_they_sent_has_our_reason(office: Office) -> None:
    office.plan(EXCLUDED, {"channel": "whatsapp"}, {})
    office.ledger.encounters.record_extract("HMS", DAY, "exames", pl.DataFrame(schema=EXTRACTED))
    office.ledger.pauses.add("channel:email", "test", "test")
    office.dispatch()

    result = compare(office, *(f"HMS,{number},internacao,email" for number in (1, 2, 3, 4)))

    assert numbers(result) == (
        0,
        {},
        {"deferred:not_dispatched": 1, "deferred:paused": 1, "excluded:no_contact": 1, "not_extracted": 1},
        {},
    )
    assert {row["encounter"]: row["reason"] for row in result["encounters"]}[4] == "not_extracted"


def test_what_was_refused_was_not_sent(office: Office) -> None:
    office.plan({})
    office.track.script = [Refused("http_400", "It was refused.")]
    office.dispatch()
    assert numbers(compare(office, "HMS,1,internacao,email"))[2] == {"rejected:http_400": 1}


def test_a_suppressed_line_is_told_as_such(office: Office) -> None:
    office.plan({})
    office.now += timedelta(days=30)
    office.dispatch()
    assert numbers(compare(office, "HMS,1,internacao,email"))[2] == {"suppressed:stale": 1}


def test_a_hospital_whose_day_was_never_extracted_is_told_apart(office: Office) -> None:
    office.plan({})
    result = compare(office, "HPC,1,internacao,email")
    assert (result["hospitals"], result["only_theirs_by"]) == (["HPC"], {"day_not_extracted": 1})


def test_hospitals_that_the_list_does_not_name_are_not_compared(office: Office) -> None:
    office.plan({}, {})
    office.dispatch()
    office.ledger.encounters.record_plan("HPC", DAY, "internacao", decided())
    assert numbers(compare(office, "HPC,7,internacao,email")) == (0, {}, {"deferred:not_dispatched": 1}, {})


def decided() -> pl.DataFrame:
    """Planned encounters of HPC: one of the laboratory's database, one of its own."""
    rows = planned({"hospital": "HPC", "database": "HSL", "encounter_id": 7}, {"database": "HPC", "encounter_id": 8})
    return rows.select(
        "database", "encounter_id", "unit", "setor", "survey_uuid", "channel", "result", "reason", rule="decided_by"
    ).with_columns(rules_version=None, policy_version=None)


def test_a_number_without_a_database_is_found_in_any_of_the_hospitals(office: Office) -> None:
    office.ledger.encounters.record_plan("HPC", DAY, "internacao", decided())

    without = compare(office, "HPC,7,internacao,email")
    with_it = compare(office, "HPC,7,internacao,email,HPC", header=f"{HEADER},database")

    assert without["encounters"][0]["database"] == "HSL"
    assert with_it["only_theirs_by"] == {"day_not_extracted": 1}


def test_every_bad_line_is_named_without_its_values(office: Office) -> None:
    with pytest.raises(BadFile) as caught:
        compare(
            office,
            "HMS,1,internacao,email",
            "segredo,1,internacao,email",
            "HMS,segredo,internacao,email",
            "HMS,1,segredo,email",
            "HMS,1,internacao,segredo",
            "HMS,,internacao,email",
        )

    text = str(caught.value)
    assert [line.strip().split(":")[0] for line in text.splitlines()[1:]] == [f"line {n}" for n in range(3, 8)]
    assert "segredo" not in text


@pytest.mark.parametrize("header", ["hospital,encounter,area", "nome;canal"])
def test_a_list_without_its_columns_says_which_it_needs(office: Office, header: str) -> None:
    with pytest.raises(BadFile, match="hospital, encounter, area, channel"):
        compare(office, header=header)


def test_an_empty_list_is_no_list(office: Office) -> None:
    with pytest.raises(BadFile, match="has no sends"):
        compare(office)


def test_comparing_writes_nothing(office: Office) -> None:
    office.plan({}, EXCLUDED)
    office.dispatch()
    before = (
        [office.ledger.encounters.history("HMS", number) for number in (1, 2)],
        office.ledger.counts.outcomes().to_dicts(),
    )
    compare(office, "HMS,2,internacao,email")
    assert (
        [office.ledger.encounters.history("HMS", number) for number in (1, 2)],
        office.ledger.counts.outcomes().to_dicts(),
    ) == before
