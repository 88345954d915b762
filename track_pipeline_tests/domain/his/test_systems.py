"""Every hospital system of the table defines all that the package needs, without contradictions."""

import polars as pl
import pytest

from track_pipeline.config.files import package_file
from track_pipeline.demo.his.table import DEMO_SYSTEMS, demo_system
from track_pipeline.domain.his.system import WALL_TIME, HospitalSystem
from track_pipeline.domain.his.table import SYSTEMS, system
from track_pipeline.domain.schema import DATABASE_COLUMN, ENCOUNTERS
from track_pipeline.errors import ConfigError

# What classification adds to a row, whatever its system.
ADDED = {"hospital", DATABASE_COLUMN, "unit", "unit_name", "area", "setor", "rule", "reason"}

every_system = pytest.mark.parametrize("his", SYSTEMS.values(), ids=lambda each: each.key)


@every_system
def test_a_row_of_the_system_becomes_a_canonical_encounter(his: HospitalSystem) -> None:
    given = pl.DataFrame(schema=his.raw).with_columns(his.canonical("America/Sao_Paulo")).schema

    assert {name: given.get(name) for name in ENCOUNTERS if name not in ADDED} == {
        name: kind for name, kind in ENCOUNTERS.items() if name not in ADDED
    }
    assert {name: given[name].to_python() for name in his.derived} == his.derived


@every_system
def test_the_key_columns_are_raw_columns_of_fitting_types(his: HospitalSystem) -> None:
    columns = his.columns

    assert his.raw[columns.encounter] == pl.Int64
    assert his.raw[columns.unit] == pl.Int64
    assert columns.deciding.keys() == {"attendance", "discharge"}
    assert all(his.raw[column] == WALL_TIME for column in columns.deciding.values())
    assert his.derived.keys().isdisjoint(his.raw)


@every_system
def test_the_system_has_a_statement_that_holds_its_first_email_source_once(his: HospitalSystem) -> None:
    text = package_file(f"sql/{his.key}.sql").read_text(encoding="utf-8")

    assert all(text.count(expression) == 1 for expression in [*his.email_sources.values()][:1])


def test_keys_labels_and_users_are_each_of_one_system() -> None:
    assert [each.key for each in SYSTEMS.values()] == list(SYSTEMS)
    for values in ({each.label for each in SYSTEMS.values()}, {each.credential_suffix for each in SYSTEMS.values()}):
        assert len(values) == len(SYSTEMS)


def test_the_demo_has_databases_of_every_system() -> None:
    assert list(DEMO_SYSTEMS) == [each.key for each in DEMO_SYSTEMS.values()] == list(SYSTEMS)


def test_a_system_that_is_not_there_is_named_with_those_that_are() -> None:
    with pytest.raises(ConfigError, match=r"no hospital information system 'sap'; there are: mv \(MV Soul\), tasy"):
        system("sap")
    with pytest.raises(ConfigError, match=r"no synthetic databases of 'sap'; add a module to demo/his/"):
        demo_system("sap")
