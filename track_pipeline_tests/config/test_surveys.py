"""The surveys file: the survey and templates of a unit, and errors that name unit and field."""

from pathlib import Path
from uuid import UUID

import pytest

from track_pipeline.config.hospitals import load_registry
from track_pipeline.config.surveys import load_surveys
from track_pipeline.demo.surveys import DEMO_ORGANIZATION, demo_catalog
from track_pipeline.domain.areas import Area
from track_pipeline.domain.surveys import SurveyCatalog
from track_pipeline.errors import ConfigError

REGISTRY = load_registry()

SURVEYS = """
whatsapp_integration_uuid = "00000000-0000-4000-8000-000000000001"

[[unit]]
code = "OTOA"
surveys = { internacao = "00000000-0000-4000-8000-000000000002", exames = "00000000-0000-4000-8000-000000000003" }
email_templates = { invite = "Ab12Cd" }
[unit.whatsapp_template]
name = "pesquisa"
id_provider = "HX0"

[[unit]]
code = "HMS"
surveys = { internacao = "00000000-0000-4000-8000-000000000004" }
"""


def load(text: str, folder: Path) -> SurveyCatalog:
    path = folder / "surveys.toml"
    path.write_text(text, encoding="utf-8")
    return load_surveys(path, REGISTRY)


def test_surveys_are_per_unit_and_area(tmp_path: Path) -> None:
    assert load(SURVEYS, tmp_path).survey_uuids() == {
        ("OTOA", Area.INTERNACAO): "00000000-0000-4000-8000-000000000002",
        ("OTOA", Area.EXAMES): "00000000-0000-4000-8000-000000000003",
        ("HMS", Area.INTERNACAO): "00000000-0000-4000-8000-000000000004",
    }


def test_templates_that_are_left_out_are_left_to_track(tmp_path: Path) -> None:
    catalog = load(SURVEYS, tmp_path)

    templates = catalog.unit("OTOA").email_templates
    assert (templates.invite, templates.expired, templates.thanks) == ("Ab12Cd", None, None)
    assert catalog.unit("HMS").whatsapp_template is None
    template = catalog.unit("OTOA").whatsapp_template
    assert template is not None
    assert template.language == "pt_BR"
    assert template.variables == ("customer.firstname", "interaction.area_pesquisa")


def test_a_unit_without_an_entry_is_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="unit OTOM has no entry; add it to TRACK_SURVEYS_FILE"):
        load(SURVEYS, tmp_path).unit("OTOM")


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ('code = "HMS"', 'code = "HMS"\nsurvey = 1', "unit HMS: survey: Extra inputs are not permitted"),
        (
            "{ internacao = ",
            "{ cardiologia = ",
            "unit OTOA: surveys: cardiologia: [key]: Input should be 'ambulatorio'",
        ),
        ("000000000004", "4", "unit HMS: surveys: internacao: Input should be a valid UUID"),
        ('"Ab12Cd"', '"Ab12"', "unit OTOA: email_templates: invite: String should match pattern"),
        ('"Ab12Cd"', '""', "unit OTOA: email_templates: invite: String should match pattern"),
        ('id_provider = "HX0"', "", "unit OTOA: whatsapp_template: id_provider: Field required"),
        ('name = "pesquisa"', 'name = ""', "unit OTOA: whatsapp_template: name: String should have at least"),
        ('"HMS"', '"OTOA"', "unit: code OTOA is given twice"),
        ('"HMS"', '"XYZ"', "no such unit in the registry: XYZ"),
        (
            'whatsapp_integration_uuid = "',
            'whatsapp_integration_uuid = "x',
            "whatsapp_integration_uuid: Input should be",
        ),
    ],
)
def test_a_mistake_is_named_by_file_unit_and_field(old: str, new: str, said: str, tmp_path: Path) -> None:
    assert old in SURVEYS

    with pytest.raises(ConfigError) as caught:
        load(SURVEYS.replace(old, new, 1), tmp_path)

    assert f"surveys.toml: {said}" in str(caught.value)


def test_a_surveys_file_that_is_missing_or_empty_is_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"none\.toml: there is no file"):
        load_surveys(tmp_path / "none.toml", REGISTRY)
    with pytest.raises(ConfigError, match=r"surveys\.toml: unit: Field required"):
        load("", tmp_path)


def test_the_demo_has_surveys_for_exactly_what_the_registry_says() -> None:
    expected = {(unit.code, area) for each in REGISTRY.hospitals for unit in each.units for area in unit.surveys}

    assert set(demo_catalog(REGISTRY).survey_uuids()) == expected
    assert ("OTOS", Area.MATERNIDADE) not in expected


def test_the_demo_s_surveys_are_all_different_and_the_same_on_every_run() -> None:
    surveys = demo_catalog(REGISTRY).survey_uuids()

    assert len(set(surveys.values())) == len(surveys)
    assert demo_catalog(REGISTRY) == demo_catalog(REGISTRY)
    assert UUID(DEMO_ORGANIZATION)


def test_a_demo_of_fewer_hospitals_has_the_same_surveys_for_them() -> None:
    only_hms = demo_catalog(REGISTRY.only(("HMS",))).survey_uuids()

    assert only_hms.items() < demo_catalog(REGISTRY).survey_uuids().items()
