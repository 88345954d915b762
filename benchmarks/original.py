"""The baseline: the method of the original system, rewritten from its description.

It fetches tuples into a pandas frame, formats two dates value by value, and makes a list of dicts. Branches in Python
find the area of an encounter. Each area is one POST, and there is no ledger.
"""

from collections.abc import Iterable, Mapping, Sequence
from datetime import date, datetime
from pathlib import Path
from typing import Any, Final
from uuid import uuid4

import duckdb
import requests

from benchmarks.measure import Watch

Record = dict[str, Any]

_DATES: Final = ("data_atendimento", "data_saida_alta")
# The twelve columns that a query of the original returned.
COLUMNS: Final = (
    *("id_cliente", *_DATES, "cd_atendimento", "name", "email", "medico", "phone", "cpf"),
    *("unidade", "area_pesquisa", "setor"),
)
_DEATHS: Final = (6, 7, 9, 17, 18, 19, 20, 21, 22)
_BIRTHS: Final = (
    *("O60", "O757", "O80", "O800", "O801", "O809", "O810", "O82", "O820", "O821", "O822", "O829"),
    *("O839", "O84", "O840", "O842", "Z380", "Z382"),
)
_DISCIPLINES: Final = (2, 3, 6, 11, 30, 51, 76, 85)


def records(columns: Sequence[str], tuples: list[tuple[Any, ...]], dates: Iterable[str] = _DATES) -> list[Record]:
    """Return fetched tuples as a list of dicts, with the date columns as text."""
    import pandas as pd  # noqa: PLC0415 - other trials import this module without pandas

    frame = pd.DataFrame(tuples, columns=list(columns))
    for column in dates:
        frame[column] = frame[column].apply(
            lambda value: value.strftime("%Y-%m-%d %H:%M:%S") if pd.notnull(value) else None
        )
    found: list[Record] = frame.to_dict(orient="records")
    return found


def area_of(row: Record, day: date) -> tuple[str, str | None] | None:
    """Return area and setor of a raw row of the measured hospital; None when it is in no area."""
    kind, origin = row["tp_atendimento"], row["cd_ori_ate"]
    attended, discharged = (_text(row[name]).startswith(str(day)) for name in ("dt_atendimento", "dt_alta"))
    if kind == "U" and discharged and row["cd_tip_res"] not in (1, 4, 11):
        setor = {1: "PA_OBSTÉTRICO", 27: "PA_PEDIATRICO"}.get(row["cd_servico"], "PA_ADULTO")
        return "PRONTO SOCORRO GERAL", setor
    if kind == "I" and discharged and row["cd_mot_alt"] not in _DEATHS:
        if row["qt_filhos"] > 0:
            return "MATERNIDADE", "MATERNIDADE"
        if not row["cd_atendimento_pai"] > 0 and row["cd_cid"] not in _BIRTHS:
            return "INTERNACAO", "INTERNACAO"
    if attended:
        return _area_of_a_visit(row, kind, origin)
    return None


def _area_of_a_visit(row: Record, kind: str, origin: float) -> tuple[str, str | None] | None:
    if kind == "A" and origin == 21:  # noqa: PLR2004 - codes inside the code, as in the original
        return "ONCOLOGIA", "ONCOLOGIA"
    if kind == "A" and origin == 9:  # noqa: PLR2004
        return "INTERNACAO", "INTERNACAO"
    if kind == "E" and origin in (7, 46):
        return "EXAMES", "HEMODINAMICA" if origin == 46 else "LABORATORIO"  # noqa: PLR2004
    if kind == "A" and row["cd_ser_dis"] > 0:
        return "AMBULATORIO", row["ds_ser_dis"] if row["cd_ser_dis"] in _DISCIPLINES else "GERAL_AMBULATORIO"
    return None


def classified(rows: list[Record], day: date) -> dict[str, list[Record]]:
    """Return area to rows, each with `area_pesquisa` and `setor`."""
    areas: dict[str, list[Record]] = {}
    for row in rows:
        found = area_of(row, day)
        if found is not None:
            areas.setdefault(found[0], []).append(row | {"area_pesquisa": found[0], "setor": found[1]})
    return areas


def read_day(database: Path, statement: str, window: Mapping[str, datetime]) -> list[Record]:
    """Read a hospital-day as the original did. `statement` has binds in DuckDB's form."""
    with duckdb.connect(database, read_only=True) as connection:
        cursor = connection.execute(statement, dict(window))
        columns = [column[0] for column in cursor.description or ()]
        tuples = cursor.fetchall()
    return records(columns, tuples, ("dt_atendimento", "hr_atendimento", "dt_alta", "hr_alta"))


def line_of(row: Record) -> Record:
    """Return the line that the original sent for an encounter; missing texts are empty."""
    return {
        "name": _text(row["nm_paciente"]),
        "email": _text(row["email"]),
        "phone": "".join(_text(row[name]) for name in ("nr_ddi_celular", "nr_ddd_celular", "nr_celular")),
        "cpf": _text(row["nr_cpf"]),
        "cd_atendimento": str(row["cd_atendimento"]),
        "unidade": "Meridional Serra",
        "area_pesquisa": row["area_pesquisa"],
        "setor": _text(row["setor"]),
        "medico": _text(row["nm_prestador"]),
        "data_atendimento": _text(row["hr_atendimento"]),
        "data_saida_alta": _text(row["hr_alta"]),
    }


def _text(value: object) -> str:
    """Return a text; pandas has NaN for a missing text, which becomes empty."""
    return value if isinstance(value, str) else ""


def send(areas: dict[str, list[Record]], url: str) -> int:
    """Send one POST per area; return the number of lines."""
    for rows in areas.values():
        body = {"survey_uuid": str(uuid4()), "distribution_channel": "email", "import_lines": list(map(line_of, rows))}
        answer = requests.post(
            f"{url}/v1/organizations/benchmark/distributions",
            json=body,
            timeout=60,
        )
        answer.raise_for_status()
    return sum(map(len, areas.values()))


# --- trials ---------------------------------------------------------------------------------------------------------


def convert(watch: Watch, database: Path) -> None:
    """Measure twelve columns of every row, from the fetch to a list of dicts."""
    import pandas  # noqa: F401, PLC0415 - the import is not measured

    with duckdb.connect(database, read_only=True) as connection, watch.lap():
        cursor = connection.execute("FROM twelve_columns")
        found = records(COLUMNS, cursor.fetchall())
    watch.notes["rows"] = len(found)


def classify(watch: Watch, database: Path, statement: str, window: dict[str, datetime], day: date) -> None:
    """Measure a hospital-day, from the query to rows by area."""
    import pandas  # noqa: F401, PLC0415 - as above

    with watch.lap():
        areas = classified(read_day(database, statement, window), day)
    watch.notes["rows"] = sum(map(len, areas.values()))


def run(watch: Watch, database: Path, statement: str, window: dict[str, datetime], day: date, url: str) -> None:
    """Measure a hospital-day, from the query to the last POST."""
    with watch.lap():
        watch.notes["lines"] = send(classified(read_day(database, statement, window), day), url)
