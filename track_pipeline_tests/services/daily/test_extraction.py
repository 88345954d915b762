"""A hospital-day is read once, and each of its rows gets an area or a reason."""

from collections.abc import Iterator
from pathlib import Path

import polars as pl
import pytest

from track_pipeline.config.hospitals import load_registry
from track_pipeline.config.rules import load_rulebook
from track_pipeline.domain.areas import AREAS, UNCLASSIFIED, Area
from track_pipeline.domain.schema import ENCOUNTERS
from track_pipeline.ports import SourceError
from track_pipeline.services.daily.extraction import EXTRACT, Extraction, Extractor
from track_pipeline.services.insight.status import status, why
from track_pipeline_tests.support.builders import DAY, Row, raw_encounters
from track_pipeline_tests.support.fake_reader import FakeHospitals
from track_pipeline_tests.support.installation import Office

RULES = load_rulebook(load_registry().only(("HMS",)))
# As HMS codes them: an emergency visit, an inpatient who died, an encounter of no kind that a rule knows.
EMERGENCY: Row = {"tp_atendimento": "U"}
DEAD: Row = {"cd_mot_alt": 6}
NOBODYS: Row = {"tp_atendimento": "X"}


@pytest.fixture
def office(tmp_path: Path) -> Iterator[Office]:
    office = Office(tmp_path)
    yield office
    office.ledger.close()


def extract(office: Office, *batches: pl.DataFrame) -> Extraction:
    return extractor(office, FakeHospitals({"HMS": batches})).extract(office.hospital, DAY)


def extractor(office: Office, hospitals: FakeHospitals) -> Extractor:
    return Extractor(hospitals, RULES, office.lake, office.ledger)


def found(office: Office, area: str) -> list[int] | None:
    frame = office.lake.find(EXTRACT, area, DAY, "HMS")
    return None if frame is None else frame.get_column("encounter_id").to_list()


def test_every_row_of_the_day_is_in_one_area_or_in_none_by_a_reason(office: Office) -> None:
    extraction = extract(office, raw_encounters({}, EMERGENCY, {}), raw_encounters(DEAD | {"cd_atendimento": 8}))

    assert {area: count for area, count in extraction.rows.items() if count} == {
        "internacao": 2, "pronto_socorro": 1, "unclassified": 1
    }  # fmt: skip
    assert extraction.unclassified_by == {"deceased": 1}
    assert (found(office, "internacao"), found(office, "pronto_socorro")) == ([1, 3], [2])
    assert found(office, UNCLASSIFIED) == [8]


def test_an_area_without_rows_is_written_too(office: Office) -> None:
    extract(office)
    for area in (*AREAS, UNCLASSIFIED):
        assert office.lake.read(EXTRACT, area, DAY, "HMS").schema == ENCOUNTERS
    assert office.ledger.encounters.volumes("HMS", Area.EXAMES, [DAY]) == {DAY: 0}


def test_the_ledger_knows_every_row_before_anybody_is_planned(office: Office) -> None:
    extract(office, raw_encounters({}, EMERGENCY, NOBODYS))

    counted = {row.area: row for row in status(office.ledger, (DAY, DAY))}
    assert {area: row.extracted for area, row in counted.items() if row.extracted} == {
        "internacao": 1, "pronto_socorro": 1, "unclassified": 1
    }  # fmt: skip
    assert counted["internacao"].held_by == {"deferred:not_dispatched": 1}
    assert counted[UNCLASSIFIED].excluded_by == {"unclassified": 1}
    [decision] = why(office.ledger, "HMS", 1).decisions
    assert (decision.step, decision.result, decision.rule) == ("extract", "classified", "inpatient")
    assert decision.version == RULES["HMS"].version


def test_an_encounter_that_is_nobodys_now_is_in_no_area_any_more(office: Office) -> None:
    extract(office, raw_encounters({}, EMERGENCY))
    extract(office, raw_encounters(NOBODYS, EMERGENCY))

    assert (found(office, "internacao"), found(office, "pronto_socorro")) == ([], [2])
    assert sum(row.extracted for row in status(office.ledger, (DAY, DAY))) == 2


def test_reading_again_replaces_what_was_read(office: Office) -> None:
    extract(office, raw_encounters({}, {}))
    extract(office, raw_encounters({}, EMERGENCY))

    assert (found(office, "internacao"), found(office, "pronto_socorro")) == ([1], [2])
    assert sum(row.extracted for row in status(office.ledger, (DAY, DAY))) == 2


def test_a_database_that_cannot_be_read_changes_nothing(office: Office) -> None:
    extract(office, raw_encounters({}, EMERGENCY))
    before = status(office.ledger, (DAY, DAY))

    refused = SourceError("HMS", "the listener refused the connection", "try again", transient=True)
    with pytest.raises(SourceError, match="database HMS"):
        extractor(office, FakeHospitals({"HMS": refused})).extract(office.hospital, DAY)

    assert found(office, "internacao") == [1]
    assert status(office.ledger, (DAY, DAY)) == before


def test_a_database_that_breaks_off_after_some_rows_writes_none_of_them(office: Office) -> None:
    class BreaksOff(FakeHospitals):
        def extract(self, *_: object) -> Iterator[pl.DataFrame]:
            yield raw_encounters({})
            raise SourceError("HMS", "the connection was lost", "try again", transient=True)

    with pytest.raises(SourceError):
        extractor(office, BreaksOff()).extract(office.hospital, DAY)
    assert [found(office, area) for area in (*AREAS, UNCLASSIFIED)] == [None] * 7
    assert status(office.ledger, (DAY, DAY)) == []
