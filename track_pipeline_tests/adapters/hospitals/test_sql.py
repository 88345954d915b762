"""The two extract statements use only the SQL that Oracle and DuckDB share, and deliver the raw schema."""

from dataclasses import replace
from typing import Final

import pytest
import sqlglot
from sqlglot import exp

from track_pipeline.adapters.hospitals.extract import statement
from track_pipeline.config.files import package_file
from track_pipeline.config.hospitals import load_registry
from track_pipeline.domain.his.table import SYSTEMS, system
from track_pipeline.domain.hospital import Hospital
from track_pipeline.errors import ConfigError

# Whatever is not named here is not portable, or decides something that belongs to the rules.
ALLOWED: Final = {
    *("Select", "From", "Join", "Where", "Subquery", "Table", "TableAlias", "Alias", "Column", "Identifier", "Dot"),
    *("And", "Or", "Paren", "EQ", "GTE", "LT", "Count", "Star", "Placeholder", "Literal", "Anonymous"),
}
TASY_FUNCTIONS: Final = {
    "OBTER_PRIMEIRO_SETOR_ATEND",
    "OBTER_DADOS_PF",
    "OBTER_NOME_PACIENTE",
    "OBTER_COMPL_PF",
    "OBTER_EMAIL_PF_HPM",
    "OBTER_TELEFONE_PF",
    "OBTER_CPF_PESSOA_FISICA",
}


def offences(sql: str) -> set[str]:
    """What a statement contains beyond the portable subset."""
    tree = parsed(sql)
    found = {type(node).__name__ for node in tree.walk()} - ALLOWED
    found |= {join.sql() for join in tree.find_all(exp.Join) if join.side != "LEFT"}
    found |= {call.name for call in tree.find_all(exp.Anonymous)} - TASY_FUNCTIONS
    found |= {alias.alias for alias in tree.expressions if not alias.args["alias"].quoted}
    found |= {bind.name for bind in tree.find_all(exp.Placeholder)} - {"window_start", "window_end"}
    return found | {comment for node in tree.walk() for comment in node.comments or () if comment.startswith("+")}


def parsed(sql: str) -> exp.Select:
    tree = sqlglot.parse_one(sql, dialect="oracle")
    assert isinstance(tree, exp.Select)
    return tree


def shipped(his: str) -> exp.Select:
    return parsed(package_file(f"sql/{his}.sql").read_text(encoding="utf-8"))


@pytest.mark.parametrize("hospital", load_registry().hospitals, ids=lambda hospital: hospital.code)
def test_every_hospitals_statement_is_portable(hospital: Hospital) -> None:
    assert offences(statement(hospital)) == set()


@pytest.mark.parametrize(
    "bad",
    [
        'SELECT TRUNC(a.DT_ALTA) AS "d" FROM t a',
        'SELECT SYSDATE AS "d" FROM t a',
        "SELECT TO_CHAR(a.DT_ALTA, 'DD') AS \"d\" FROM t a",
        'SELECT CASE WHEN a.X = 1 THEN 2 END AS "d" FROM t a',
        'SELECT a.X || a.Y AS "d" FROM t a',
        'SELECT a.X AS "d" FROM t a WHERE a.X IN (1, 2)',
        'SELECT a.X AS "d" FROM t a JOIN u b ON a.X = b.X',
        'SELECT a.X AS "d" FROM t a, u b WHERE a.X = b.X (+)',
        'SELECT /*+ INDEX(a) */ a.X AS "d" FROM t a',
        "SELECT a.X AS d FROM t a",
        'SELECT a.X AS "d" FROM t a WHERE a.X = :company',
        'SELECT TASY.OBTER_SENHA(a.X) AS "d" FROM t a',
    ],
)
def test_the_check_of_portability_sees_what_it_must(bad: str) -> None:
    assert offences(bad)


@pytest.mark.parametrize("his", SYSTEMS)
def test_columns_are_the_raw_schema_in_its_order(his: str) -> None:
    assert shipped(his).named_selects == system(his).raw.names()


@pytest.mark.parametrize(
    ("his", "attended", "discharged"), [("mv", "DT_ATENDIMENTO", "DT_ALTA"), ("tasy", "DT_ENTRADA", "DT_ALTA")]
)
def test_window_is_half_open_on_both_bare_columns(his: str, attended: str, discharged: str) -> None:
    where = shipped(his).find(exp.Where)
    assert where is not None
    bounds = [(type(test).__name__, test.left.name, test.right.name) for test in where.find_all(exp.GTE, exp.LT)]
    assert sorted(bounds) == sorted(
        bound
        for column in (attended, discharged)
        for bound in (("GTE", column, "window_start"), ("LT", column, "window_end"))
    )


def test_the_email_function_is_the_one_of_the_hospitals_database() -> None:
    registry = load_registry()
    usual, other = statement(registry.hospital("HAC")), statement(registry.hospital("HPM_HST"))
    assert "OBTER_COMPL_PF" in usual
    assert "OBTER_EMAIL_PF_HPM" not in usual
    assert 'OBTER_EMAIL_PF_HPM(b.CD_PESSOA_FISICA) AS "email"' in other
    assert "OBTER_COMPL_PF" not in other


def test_a_statement_without_the_expected_email_function_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    tasy = system("tasy")
    sources = {**tasy.email_sources, "compl_pf": "TASY.OBTER_SOMETHING_ELSE(x)"}
    monkeypatch.setitem(SYSTEMS, tasy.key, replace(tasy, email_sources=sources))
    with pytest.raises(ConfigError, match=r"sql/tasy\.sql.*exactly once"):
        statement(load_registry().hospital("HPM_HST"))
