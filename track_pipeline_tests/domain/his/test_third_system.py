"""A third hospital system needs only a module, an entry in a table and a statement, and no other change of the code.

The system, "vitae", is invented. This file holds what its module would hold; the fixture adds the entries.
"""

from collections.abc import Mapping
from datetime import UTC, date, datetime
from pathlib import Path

import duckdb
import polars as pl
import pytest

from track_pipeline.adapters.hospitals import extract
from track_pipeline.adapters.hospitals.duckdb import DuckDbReader, folder_connector
from track_pipeline.adapters.hospitals.extract import conform, statement
from track_pipeline.adapters.hospitals.oracle import OracleReader
from track_pipeline.config.hospitals import load_registry
from track_pipeline.config.policy import load_policy
from track_pipeline.config.rules import load_rulebook
from track_pipeline.config.settings import load_settings
from track_pipeline.demo.databases import demo_reader
from track_pipeline.demo.his.system import DatabaseProfile, DemoSystem, Habit
from track_pipeline.demo.his.table import DEMO_SYSTEMS
from track_pipeline.domain.classification import classify
from track_pipeline.domain.his.system import WALL_TIME, HospitalSystem, KeyColumns, instant
from track_pipeline.domain.his.table import SYSTEMS
from track_pipeline.domain.hospital import Hospital, Registry
from track_pipeline.domain.ruleset import RuleSet
from track_pipeline.domain.schema import ENCOUNTERS, raw_schema
from track_pipeline.errors import ConfigError
from track_pipeline.ports import SourceError

DAY = date(2026, 3, 10)

# What domain/his/vitae.py would hold.


def canonical(zone: str) -> list[pl.Expr]:
    return [
        pl.col("visit").alias("encounter_id"),
        (pl.col("nights") > 0).fill_null(value=False).alias("overnight"),
        instant(pl.col("came_at"), zone).alias("attended_at"),
        instant(pl.col("left_at"), zone).alias("discharged_at"),
        pl.col("patient").alias("patient_name"),
        pl.col("doctor").alias("doctor_name"),
        pl.lit(None, pl.String).alias("phone_country"),
        pl.lit(None, pl.String).alias("phone_area"),
        pl.col("phone").alias("phone_number"),
        pl.lit(None, pl.Int64).alias("age"),
        pl.lit(None, pl.String).alias("cid"),
        (pl.col("outcome") == "DEAD").fill_null(value=False).alias("died"),
        pl.lit(None, pl.Boolean).alias("death_flag_missing"),
    ]


VITAE = HospitalSystem(
    key="vitae",
    label="Vitae",
    raw=pl.Schema(
        {
            "visit": pl.Int64(),
            "site": pl.Int64(),
            "came_at": WALL_TIME,
            "left_at": WALL_TIME,
            "ward": pl.Int64(),
            "nights": pl.Int64(),
            "outcome": pl.String(),
            "patient": pl.String(),
            "doctor": pl.String(),
            "email": pl.String(),
            "phone": pl.String(),
            "cpf": pl.String(),
        }
    ),
    columns=KeyColumns(encounter="visit", unit="site", deciding={"attendance": "came_at", "discharge": "left_at"}),
    canonical=canonical,
    credential_suffix="_VITAE",
    derived={"overnight": bool},
    email_sources={"main": "p.email", "second": "p.second_email"},
)

# What sql/vitae.sql would hold.

SQL = """
SELECT v.visit AS "visit", v.site AS "site", v.came_at AS "came_at", v.left_at AS "left_at", v.ward AS "ward",
    v.nights AS "nights", v.outcome AS "outcome", p.name AS "patient", v.doctor AS "doctor", p.email AS "email",
    p.phone AS "phone", p.cpf AS "cpf"
FROM VITAE.visits v LEFT JOIN VITAE.patients p ON p.visit = v.visit
WHERE (v.came_at >= :window_start AND v.came_at < :window_end)
   OR (v.left_at >= :window_start AND v.left_at < :window_end)
"""

# What demo/his/vitae.py would hold.


def tables(_profile: DatabaseProfile, encounters: pl.DataFrame) -> Mapping[str, pl.DataFrame]:
    return {
        "visits": encounters.select(
            pl.lit(None, pl.String).alias("outcome"),
            pl.col("doctor").cast(pl.String),
            (pl.col("discharged_at") - pl.col("attended_at")).dt.total_days().alias("nights"),
            "ward",
            visit="id",
            site="company",
            came_at="attended_at",
            left_at="discharged_at",
        ),
        "patients": encounters.select("name", "email", "cpf", visit="id", phone="telephone", second_email="email"),
    }


DEMO_VITAE = DemoSystem(key="vitae", schema="VITAE", tables=tables, habits={"ward": Habit(0.5, 0.1)}, ward="ward")

# A hospital that has it, as in hospitals.toml and rules/.

HOSPITALS = """
[[hospital]]
code = "NOVO"
his = "vitae"
database = "NOVO"
time_zone = "America/Manaus"
unit_column = "site"
[[hospital.unit]]
code = "SUL"
name = "Hospital Novo Sul"
companies = [1]
surveys = ["internacao"]
[[hospital.unit]]
code = "NORTE"
name = "Hospital Novo Norte"
companies = [2]
surveys = ["internacao"]
"""

RULES = """
[[exclusion]]
reason = "deceased"
when = [{ column = "outcome", in = ["DEAD"] }]

[[rule]]
id = "stays"
area = "internacao"
day_of = "discharge"
when = [{ column = "overnight", is = "true" }]
setor = "INTERNACAO"

[[rule]]
id = "visits"
area = "ambulatorio"
day_of = "attendance"
when = [{ column = "ward", in = [7] }]
setor = "AMBULATORIO"
"""

DATABASE = """
CREATE SCHEMA VITAE;
CREATE TABLE VITAE.visits AS SELECT * FROM (VALUES
    (1, 1, TIMESTAMP '2026-03-08 10:00', TIMESTAMP '2026-03-10 12:00', 3, 2, NULL, 'Doutora Exemplo'),
    (2, 2, TIMESTAMP '2026-03-10 09:00', NULL, 7, 0, NULL, NULL),
    (3, 1, TIMESTAMP '2026-03-09 09:00', TIMESTAMP '2026-03-10 10:00', 3, 1, 'DEAD', NULL),
    (4, 9, TIMESTAMP '2026-03-10 09:00', NULL, 7, 0, NULL, NULL),
    (5, 1, TIMESTAMP '2026-03-10 00:00', NULL, 8, 0, NULL, NULL),
    (6, 1, TIMESTAMP '2026-03-11 00:00', NULL, 7, 0, NULL, NULL)
) AS t (visit, site, came_at, left_at, ward, nights, outcome, doctor);
CREATE TABLE VITAE.patients AS
    SELECT visit, 'Pessoa Exemplo ' || visit AS name, 'main' || visit || '@example.org' AS email,
    'second' || visit || '@example.org' AS second_email, '92988887777' AS phone, NULL::VARCHAR AS cpf
    FROM VITAE.visits;
"""


@pytest.fixture(autouse=True)
def vitae(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """The entries in the tables, and the statement in the folder of statements."""
    monkeypatch.setitem(SYSTEMS, VITAE.key, VITAE)
    monkeypatch.setitem(DEMO_SYSTEMS, DEMO_VITAE.key, DEMO_VITAE)
    (tmp_path / "sql").mkdir()
    (tmp_path / "sql" / "vitae.sql").write_text(SQL, encoding="utf-8")
    monkeypatch.setattr(extract, "package_file", tmp_path.joinpath)


@pytest.fixture
def registry(tmp_path: Path) -> Registry:
    return registry_of(tmp_path, HOSPITALS)


@pytest.fixture
def rules(tmp_path: Path, registry: Registry) -> dict[str, RuleSet]:
    (tmp_path / "NOVO.toml").write_text(RULES, encoding="utf-8")
    return load_rulebook(registry, tmp_path)


def registry_of(folder: Path, text: str) -> Registry:
    file = folder / "hospitals.toml"
    file.write_text(text, encoding="utf-8")
    return load_registry(file)


def read(folder: Path, hospital: Hospital) -> pl.DataFrame:
    with duckdb.connect(folder / "NOVO.duckdb") as connection:
        connection.execute(DATABASE)
    return pl.concat(DuckDbReader(folder_connector(folder), {"NOVO": ("NOVO",)}).extract(hospital, DAY))


def test_a_hospital_day_is_extracted_and_classified(
    tmp_path: Path, registry: Registry, rules: dict[str, RuleSet]
) -> None:
    hospital = registry.hospital("NOVO")

    raw = read(tmp_path, hospital)
    assert raw.schema == raw_schema("vitae")

    found = classify(raw, hospital, rules["NOVO"], DAY)
    assert found.schema == ENCOUNTERS
    assert found.select("encounter_id", "unit", "area", "setor", "rule", "reason", "died").rows() == [
        (1, "SUL", "INTERNACAO", "INTERNACAO", "stays", None, False),
        (2, "NORTE", "AMBULATORIO", "AMBULATORIO", "visits", None, False),
        (3, "SUL", None, None, None, "deceased", True),
        (4, None, None, None, None, "unclassified", False),
        (5, "SUL", None, None, None, "unclassified", False),
    ]
    # 12:00 in Manaus.
    assert found.row(0, named=True)["discharged_at"] == datetime(2026, 3, 10, 16, tzinfo=UTC)
    assert found.row(0, named=True)["email"] == "main1@example.org"


def test_the_demo_makes_its_databases(registry: Registry, rules: dict[str, RuleSet]) -> None:
    settings = load_settings({"TRACK_DEMO_VOLUME": "60"}, None)
    reader = demo_reader(settings, registry, rules, lambda: datetime(2026, 3, 20, 12, tzinfo=UTC))
    hospital = registry.hospital("NOVO")

    raw = pl.concat(reader.extract(hospital, DAY))

    assert raw.height >= 60
    assert {"AMBULATORIO", "INTERNACAO"} <= set(classify(raw, hospital, rules["NOVO"], DAY)["area"].drop_nulls())


def test_a_hospital_may_have_another_email_source_of_its_system(tmp_path: Path) -> None:
    text = HOSPITALS.replace('unit_column = "site"', 'unit_column = "site"\nemail_source = "second"')
    hospital = registry_of(tmp_path, text).hospital("NOVO")

    assert 'p.second_email AS "email"' in statement(hospital)
    assert read(tmp_path, hospital)["email"].sort().to_list()[0] == "second1@example.org"


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ('"vitae"', '"sap"', "his: Input should be 'mv', 'tasy' or 'vitae'"),
        ('"site"', '"cd_estabelecimento"', "unit_column: write site, the column of a vitae database"),
        (
            '"site"',
            '"room"',
            "unit_column: Input should be 'cd_multi_empresa', 'cd_estabelecimento' or 'site'",
        ),
        (
            '"site"',
            '"site"\nemail_source = "compl_pf"',
            "email_source: write one of main, second, the sources of a vitae database",
        ),
        (
            '"site"',
            '"site"\nemail_source = "fax"',
            "email_source: Input should be 'compl_pf', 'email_pf_hpm', 'main' or 'second'",
        ),
    ],
)
def test_a_mistake_in_its_hospital_is_named(old: str, new: str, said: str, tmp_path: Path) -> None:
    with pytest.raises(ConfigError) as caught:
        registry_of(tmp_path, HOSPITALS.replace(old, new, 1))

    assert str(caught.value).splitlines()[0] == f"hospitals.toml: hospital NOVO: {said}"


def test_a_mistake_in_its_rules_is_named(tmp_path: Path, registry: Registry) -> None:
    (tmp_path / "NOVO.toml").write_text(RULES.replace('"ward"', '"cd_ori_ate"'), encoding="utf-8")

    with pytest.raises(ConfigError, match=r"NOVO.*'cd_ori_ate' is not a column of vitae"):
        load_rulebook(registry, tmp_path)


def test_a_batch_that_does_not_fit_its_schema_is_refused() -> None:
    rows = pl.DataFrame([{"visit": None}], schema=VITAE.raw)

    with pytest.raises(SourceError, match="1 rows without visit"):
        conform(rows, "vitae", "NOVO")
    with pytest.raises(SourceError, match="columns missing: cpf"):
        conform(rows.drop("cpf"), "vitae", "NOVO")


def test_its_user_is_read_from_the_variables_with_its_suffix(tmp_path: Path, registry: Registry) -> None:
    file = tmp_path / ".env"
    file.write_text("DB_USERNAME_VITAE=reader\nDB_PASSWORD_VITAE='marked #1'\n", encoding="utf-8")
    settings = load_settings({"DB_USERNAME_VITAE": "environment"}, file)

    user, password = settings.credentials(registry.hospital("NOVO"))

    assert (user, password.get_secret_value()) == ("environment", "marked #1")
    assert "marked" not in repr(settings)
    assert "marked" not in str(settings.model_dump_json())


def test_its_missing_user_is_named_by_its_variables(registry: Registry) -> None:
    hospital = registry.hospital("NOVO")
    connection = {"DB_NOVO_HOST": "novo.example", "DB_NOVO_NAME": "PRD"}
    other = load_settings({"DB_USERNAME": "reader", "DB_PASSWORD": "marked", **connection}, None)

    with pytest.raises(ConfigError, match="NOVO: set DB_USERNAME_VITAE and DB_PASSWORD_VITAE"):
        other.credentials(hospital)
    with pytest.raises(SourceError, match="set DB_USERNAME_VITAE and DB_PASSWORD_VITAE"):
        OracleReader(other, {"NOVO": ("NOVO",)}, load_policy().source).probe(hospital)
    with pytest.raises(ConfigError) as caught:
        load_settings({"TRACK_ENV": "production"}, None).check_production(registry)
    assert "DB_USERNAME_VITAE: user that reads NOVO\n" in str(caught.value)
    assert "DB_PASSWORD_VITAE: password of the user that reads NOVO\n" in str(caught.value)
    assert "TASY" not in str(caught.value)
