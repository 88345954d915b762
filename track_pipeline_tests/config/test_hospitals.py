"""The registry of hospitals: the shipped file loads, and an error names file, hospital and field."""

from datetime import time
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest

from track_pipeline.config.files import package_file, read_toml
from track_pipeline.config.hospitals import load_registry
from track_pipeline.domain.areas import AREAS
from track_pipeline.domain.hospital import Registry
from track_pipeline.errors import ConfigError

ONE = """
[[hospital]]
code = "NOVO"
his = "mv"
database = "NOVO"
time_zone = "America/Manaus"
[[hospital.unit]]
code = "NOVO"
name = "Hospital Novo"
surveys = ["internacao"]
"""

TWO_UNITS = """
[[hospital]]
code = "PAR"
his = "tasy"
database = "PAR"
time_zone = "America/Cuiaba"
unit_column = "cd_estabelecimento"
[[hospital.unit]]
code = "NORTE"
name = "Hospital Norte"
companies = [1, 2]
surveys = ["internacao"]
[[hospital.unit]]
code = "SUL"
name = "Hospital Sul"
companies = [3]
surveys = ["internacao"]
"""


def load(text: str, folder: Path) -> Registry:
    path = folder / "hospitals.toml"
    path.write_text(text, encoding="utf-8")
    return load_registry(path)


def problem(text: str, folder: Path) -> str:
    with pytest.raises(ConfigError) as caught:
        load(text, folder)
    return str(caught.value)


def test_the_shipped_registry_has_the_group_s_hospitals_and_their_units() -> None:
    registry = load_registry()

    units = {hospital.code: [unit.code for unit in hospital.units] for hospital in registry.hospitals}
    assert units.pop("OTO_ING") == ["OTOA", "OTOM", "OTOS", "OTOSD", "ING"]
    assert units.pop("HPM_HST") == ["HPM", "HST"]
    assert units == {code: [code] for code in ("HMS", "HPC", "HMV", "HMC", "HSF", "HSL", "HMSM", "HAT", "HAC", "HSMC")}
    assert registry.hospital("HMV").database == "HMSM"
    assert {hospital.code for hospital in registry.hospitals if hospital.his == "tasy"} == {"HAC", "HPM_HST", "HSMC"}


def test_what_a_block_leaves_out_has_a_default(tmp_path: Path) -> None:
    [hospital] = load(ONE, tmp_path).hospitals

    assert hospital.channels == ("email", "whatsapp")
    assert (hospital.links, hospital.minors, hospital.sample, hospital.max_age_days) == ("off", "exclude", 1.0, 7)
    assert (hospital.send_window.start, hospital.send_window.end) == (time(8), time(20))
    assert hospital.send_window.weekdays == {0, 1, 2, 3, 4, 5}
    assert hospital.zone == ZoneInfo("America/Manaus")


def test_a_hospital_may_have_a_send_window_of_its_own(tmp_path: Path) -> None:
    text = ONE.replace(
        "[[hospital.unit]]",
        "[hospital.send_window]\nstart = 09:30:00\nweekdays = [0, 6]\nholidays = true\n[[hospital.unit]]",
    )

    window = load(text, tmp_path).hospital("NOVO").send_window

    assert (window.start, window.end, window.holidays) == (time(9, 30), time(20), True)
    assert window.weekdays == {0, 6}


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ('his = "mv"', 'his = "mv"\ncolour = "blue"', "hospital NOVO: colour: Extra inputs are not permitted"),
        ('his = "mv"', 'his = "sap"', "hospital NOVO: his: Input should be 'mv' or 'tasy'"),
        ('his = "mv"', "", "hospital NOVO: his: Field required"),
        ('code = "NOVO"\nhis', "his", "hospital number 1: code: Field required"),
        ('code = "NOVO"\nhis', 'code = "novo"\nhis', "hospital novo: code: String should match pattern"),
        ('code = "NOVO"\nhis', 'code = "A/B"\nhis', "hospital A/B: code: String should match pattern"),
        ('"America/Manaus"', '"America/Gotham"', "hospital NOVO: time_zone: 'America/Gotham' is not an IANA time zone"),
        ('his = "mv"', 'his = "mv"\nchannels = []', "hospital NOVO: channels: name each channel once, at least one"),
        ('his = "mv"', 'his = "mv"\nchannels = ["email", "email"]', "hospital NOVO: channels: name each channel once"),
        ('his = "mv"', 'his = "mv"\nchannels = ["fax"]', "hospital NOVO: channels number 1: Input should be 'email'"),
        ('his = "mv"', 'his = "mv"\nsample = 0', "hospital NOVO: sample: Input should be greater than 0"),
        ('his = "mv"', 'his = "mv"\nmax_age_days = 31', "hospital NOVO: max_age_days: Input should be less than"),
        ('his = "mv"', 'his = "mv"\nlinks = "some"', "hospital NOVO: links: Input should be 'off', 'no_contact' or"),
        (
            'his = "mv"',
            'his = "mv"\nsend_window = { start = 20:00:00 }',
            "hospital NOVO: send_window: start must be before end",
        ),
        (
            'his = "mv"',
            'his = "mv"\nsend_window = { weekdays = [7] }',
            "hospital NOVO: send_window: weekdays number 1: Input should be less than or equal to 6",
        ),
        (
            'his = "mv"',
            'his = "mv"\nsend_window = { weekdays = [] }',
            "hospital NOVO: send_window: weekdays: Frozenset should have at least 1 item",
        ),
        ('["internacao"]', '["cardiologia"]', "hospital NOVO: unit NOVO: surveys number 1: Input should be"),
        ('"Hospital Novo"', '""', "hospital NOVO: unit NOVO: name: String should have at least 1 character"),
        (
            'surveys = ["internacao"]',
            'surveys = ["internacao"]\ncompanies = [1]',
            "hospital NOVO: unit: companies are given but unit_column is not",
        ),
        (
            'his = "mv"',
            'his = "mv"\nunit_column = "cd_multi_empresa"',
            "hospital NOVO: unit: unit_column is given, so every unit needs companies",
        ),
    ],
)
def test_a_mistake_in_a_hospital_is_named_by_hospital_and_field(old: str, new: str, said: str, tmp_path: Path) -> None:
    assert old in ONE

    assert f"hospitals.toml: {said}" in problem(ONE.replace(old, new, 1), tmp_path)


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ("[3]", "[2, 3]", "hospital PAR: unit: overlapping units, companies [2] belong to more than one"),
        ("companies = [3]\n", "", "hospital PAR: unit: unit_column is given, so every unit needs companies"),
        (
            'his = "tasy"',
            'his = "mv"',
            "hospital PAR: unit_column: write cd_multi_empresa, the column of a mv database",
        ),
        ('"SUL"', '"NORTE"', "unit: code NORTE is given twice"),
    ],
)
def test_a_mistake_between_units_is_named(old: str, new: str, said: str, tmp_path: Path) -> None:
    assert old in TWO_UNITS

    assert f"hospitals.toml: {said}" in problem(TWO_UNITS.replace(old, new, 1), tmp_path)


def test_several_mistakes_are_all_named_at_once(tmp_path: Path) -> None:
    right = ONE.replace("NOVO", "CERTO")
    text = ONE.replace('"mv"', '"sap"') + right + TWO_UNITS.replace('["internacao"]', '["cardiologia"]', 1)

    lines = problem(text, tmp_path).splitlines()

    assert [line.partition(": Input")[0] for line in lines] == [
        "hospitals.toml: hospital NOVO: his",
        "hospitals.toml: hospital PAR: unit NORTE: surveys number 1",
    ]


def test_a_hospital_that_is_given_twice_is_named(tmp_path: Path) -> None:
    assert "hospital: code NOVO is given twice" in problem(ONE + ONE, tmp_path)


def other(companies: str, database: str = "PAR") -> str:
    text = TWO_UNITS.partition('[[hospital.unit]]\ncode = "SUL"')[0].replace("NORTE", "LESTE")
    return text.replace('"PAR"', '"IMPAR"', 1).replace('"PAR"', f'"{database}"').replace("[1, 2]", companies)


def test_hospitals_may_share_a_database_but_not_its_encounters(tmp_path: Path) -> None:
    assert load(TWO_UNITS + other("[4]"), tmp_path).codes == ("PAR", "IMPAR")
    assert load(TWO_UNITS + other("[2]", database="IMPAR"), tmp_path).codes == ("PAR", "IMPAR")
    said = "hospital: PAR and IMPAR both read the database PAR; give them companies that do not overlap"
    assert said in problem(TWO_UNITS + other("[2, 4]"), tmp_path)


def test_a_hospital_that_reads_a_whole_database_shares_it_with_nobody(tmp_path: Path) -> None:
    whole = ONE.replace('database = "NOVO"', 'database = "PAR"').replace('"mv"', '"tasy"')

    assert "hospital: NOVO and PAR both read the database PAR" in problem(whole + TWO_UNITS, tmp_path)


@pytest.mark.parametrize("text", ["", "hospital = []"])
def test_a_registry_without_hospitals_is_a_mistake(text: str, tmp_path: Path) -> None:
    assert problem(text, tmp_path).startswith("hospitals.toml: hospital: ")


def test_a_file_that_is_not_toml_is_named(tmp_path: Path) -> None:
    assert problem("[[hospital", tmp_path).startswith("hospitals.toml: not valid TOML: ")


def test_a_file_in_another_encoding_is_named(tmp_path: Path) -> None:
    path = tmp_path / "hospitals.toml"
    path.write_bytes(ONE.replace("Novo", "São").encode("latin-1"))

    with pytest.raises(ConfigError, match=r"hospitals\.toml: not valid TOML"):
        load_registry(path)


def test_a_file_that_is_missing_or_is_a_folder_is_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"none\.toml: there is no file"):
        read_toml(tmp_path / "none.toml")
    with pytest.raises(ConfigError, match="cannot be read"):
        read_toml(tmp_path)


def test_an_unknown_hospital_is_answered_with_those_that_there_are(tmp_path: Path) -> None:
    registry = load(ONE + TWO_UNITS, tmp_path)

    with pytest.raises(ConfigError, match="no hospital 'XXX' in the registry; there are: NOVO, PAR"):
        registry.hospital("XXX")
    with pytest.raises(ConfigError, match="no hospital 'XXX'"):
        registry.only(("PAR", "XXX"))


def test_a_registry_can_be_cut_down_to_some_hospitals_in_the_order_of_the_file(tmp_path: Path) -> None:
    registry = load(ONE + TWO_UNITS, tmp_path)

    assert registry.only(()).codes == ("NOVO", "PAR")
    assert registry.only(("PAR",)).codes == ("PAR",)
    assert registry.only(("PAR", "NOVO", "PAR")).codes == ("NOVO", "PAR")


def test_every_unit_of_the_shipped_registry_has_surveys() -> None:
    for hospital in load_registry().hospitals:
        for unit in hospital.units:
            assert unit.surveys <= set(AREAS)
            assert unit.surveys


def test_the_shipped_files_are_found_beside_the_package() -> None:
    for name in ("hospitals.toml", "policy.toml", "rules", "sql"):
        assert package_file(name).exists()
