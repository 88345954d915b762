"""The folder of rule files: the shipped files load, and an error names file, rule and field."""

import tomllib
from datetime import UTC, datetime
from pathlib import Path

import polars as pl
import pytest

from track_pipeline.config.files import package_file
from track_pipeline.config.hospitals import load_registry
from track_pipeline.config.rules import load_rulebook, load_rules
from track_pipeline.domain.classification import classify
from track_pipeline.domain.hospital import Hospital
from track_pipeline.domain.schema import raw_schema
from track_pipeline.errors import ConfigError

REGISTRY = """
[[hospital]]
code = "NEW"
his = "mv"
database = "NEW"
time_zone = "America/Manaus"
[[hospital.unit]]
code = "NEW"
name = "Hospital Novo"
surveys = ["internacao"]

[[hospital]]
code = "OTHER"
his = "tasy"
database = "OTHER"
time_zone = "America/Recife"
unit_column = "cd_estabelecimento"
[[hospital.unit]]
code = "NORTE"
name = "Hospital Norte"
companies = [5]
surveys = ["exames"]
"""

RULES = """
[[rule]]
id = "inpatient"
area = "internacao"
day_of = "discharge"
when = [{ column = "tp_atendimento", in = ["I"] }]
unless = [{ column = "cd_mot_alt", in_set = "death_motives", reason = "deceased" }]
setor = "INTERNACAO"

[sets]
death_motives = [6, 7]
"""

TASY_RULES = """
[[exclusion]]
reason = "cancelled"
when = [{ column = "dt_cancelamento", is = "set" }]

[[rule]]
id = "exams"
area = "exames"
day_of = "attendance"
when = [{ column = "ie_tipo_atendimento", in = [7] }]
setor = "EXAMES"
"""

NOON = datetime(2026, 3, 10, 12)  # noqa: DTZ001 - wall time

HOSPITAL = Hospital.model_validate(tomllib.loads(REGISTRY)["hospital"][0])


def write(folder: Path, name: str, text: str) -> Path:
    path = folder / name
    path.write_text(text, encoding="utf-8")
    return path


def test_every_hospital_of_the_registry_has_rules_and_every_rule_file_a_hospital() -> None:
    registry = load_registry()

    rulebook = load_rulebook(registry)

    assert tuple(rulebook) == registry.codes
    files = {path.stem for path in package_file("rules").glob("*.toml")}
    assert files == {*registry.codes, "_shared"}
    assert {code: rules.other_databases for code, rules in rulebook.items() if rules.other_databases} == {
        "HPC": ("HSL",)
    }


def test_a_missing_file_names_the_hospital_and_the_file_to_create(tmp_path: Path) -> None:
    with pytest.raises(ConfigError) as caught:
        load_rulebook(load_registry().only(("HMS",)), tmp_path)

    assert "hospital HMS has no rules" in str(caught.value)
    assert f"create {tmp_path / 'HMS.toml'}" in str(caught.value)


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        (
            "cd_mot_alt",
            "cd_motivo",
            "NEW.toml: rule inpatient: unless number 1: column: 'cd_motivo' is not a column of",
        ),
        ("[6, 7]", '["6"]', "NEW.toml: rule inpatient: unless number 1: in_set: does not fit cd_mot_alt"),
        ("[6, 7]", "[]", "NEW.toml: sets: death_motives: "),
        ("in_set", "not_in_set", "NEW.toml: rule inpatient: unless number 1: not_in_set: Extra inputs"),
        ('"internacao"', '"ward"', "NEW.toml: rule inpatient: area: "),
        ("[[rule]]", "[[rules]]", "NEW.toml: rule: Field required"),
        ("setor = ", "setor ", "NEW.toml: not valid TOML"),
    ],
)
def test_an_error_names_file_rule_and_field(tmp_path: Path, old: str, new: str, said: str) -> None:
    write(tmp_path, "NEW.toml", RULES.replace(old, new))

    with pytest.raises(ConfigError) as caught:
        load_rules(HOSPITAL, tmp_path)

    assert said in str(caught.value)


def test_an_error_in_the_shared_lists_names_their_file(tmp_path: Path) -> None:
    write(tmp_path, "NEW.toml", RULES)
    write(tmp_path, "_shared.toml", "[sets]\nobstetric_cid = [1.5]\n")

    with pytest.raises(ConfigError, match=r"_shared\.toml: sets: obstetric_cid"):
        load_rules(HOSPITAL, tmp_path)


def test_a_rule_does_not_name_the_hospitals_own_database(tmp_path: Path) -> None:
    write(tmp_path, "NEW.toml", RULES.replace("day_of", 'database = "NEW"\nday_of'))

    with pytest.raises(ConfigError, match=r"NEW\.toml: rule: database: NEW is the hospital's own"):
        load_rules(HOSPITAL, tmp_path)


def test_a_hospitals_own_list_wins_over_the_shared_one_of_the_same_name(tmp_path: Path) -> None:
    write(tmp_path, "NEW.toml", RULES)
    write(tmp_path, "_shared.toml", "[sets]\ndeath_motives = [1]\nothers = [2]\n")

    assert load_rules(HOSPITAL, tmp_path).sets == {"death_motives": (6, 7), "others": (2,)}


def test_the_version_changes_with_the_hospitals_file_and_with_the_shared_one(tmp_path: Path) -> None:
    versions = []
    for own, shared in (("", ""), ("", ""), ("# changed\n", ""), ("# changed\n", "# changed\n")):
        write(tmp_path, "NEW.toml", RULES + own)
        write(tmp_path, "_shared.toml", shared)
        versions.append(load_rules(HOSPITAL, tmp_path).version)

    assert versions[0] == versions[1]
    assert len(set(versions)) == 3


def test_a_new_hospital_is_a_block_of_the_registry_and_a_rule_file(tmp_path: Path) -> None:
    registry = load_registry(write(tmp_path, "hospitals.toml", REGISTRY))
    write(tmp_path, "NEW.toml", RULES)
    write(tmp_path, "OTHER.toml", TASY_RULES)
    inpatient = {"database": "NEW", "cd_atendimento": 1, "tp_atendimento": "I", "dt_alta": NOON}
    exam = {
        "database": "OTHER",
        "nr_atendimento": 2,
        "cd_estabelecimento": 5,
        "ie_tipo_atendimento": 7,
        "dt_entrada": NOON,
    }

    rulebook = load_rulebook(registry, tmp_path)
    encounters = [
        classify(pl.DataFrame([row], raw_schema(hospital.his)), hospital, rulebook[hospital.code], NOON.date()).select(
            "hospital", "unit_name", "area", "setor", "rule", "attended_at", "discharged_at"
        )
        for hospital, row in zip(registry.hospitals, (inpatient, exam), strict=True)
    ]

    assert pl.concat(encounters).rows() == [
        ("NEW", "Hospital Novo", "INTERNACAO", "INTERNACAO", "inpatient", None, datetime(2026, 3, 10, 16, tzinfo=UTC)),
        ("OTHER", "Hospital Norte", "EXAMES", "EXAMES", "exams", datetime(2026, 3, 10, 15, tzinfo=UTC), None),
    ]
