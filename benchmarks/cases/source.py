"""From a database's rows to frames: the conversion alone, and the extraction up to classified encounters."""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import duckdb
import polars as pl

from benchmarks import original
from benchmarks.figures import Bench, Curve, Figure, Target
from benchmarks.measure import Sample, Watch
from benchmarks.people import DAY, HOSPITAL, hospital, reader, write_hospital
from track_pipeline.adapters.hospitals.extract import statement, window
from track_pipeline.config.rules import load_rules
from track_pipeline.domain.classification import classify

_FASTER: Final = Target("at least 50x faster", 1 / 50, of="ratio")
_LEANER: Final = Target("at least 5x less memory", 1 / 5, of="ratio")
_HOW: Final = "fetchall, pandas, strftime, dicts"


def results(bench: Bench) -> Iterator[Figure | Curve]:
    """Measure seconds and memory at the full size, and the growth of the seconds."""
    most = bench.size(full=1_000_000, quick=20_000)
    bare, whole = Curve("conversion", "Rows to frame", "rows", "seconds"), Curve(
        "extraction", "Hospital-day to classified encounters", "encounters", "seconds"
    )  # fmt: skip
    for size in bench.sizes_up_to(most):
        database = write_hospital(bench.folder / f"source-{size}", size) / f"{HOSPITAL}.duckdb"
        with duckdb.connect(database) as connection:
            connection.execute(_TWELVE_COLUMNS)
        query = re.sub(r":(window_start|window_end)\b", r"$\1", statement(hospital()))
        ours, theirs = bench.measure(convert, database), bench.measure(original.convert, database)
        mine = bench.measure(extract, database.parent)
        old = bench.measure(original.classify, database, query, window(DAY), DAY)
        if (ours.notes, mine.notes) != (theirs.notes, old.notes):
            raise RuntimeError(f"the results differ: {ours.notes}, {theirs.notes}; {mine.notes}, {old.notes}")
        for curve, here, there in ((bare, ours, theirs), (whole, mine, old)):
            curve.lines.setdefault("track_pipeline", []).append((size, here.seconds))
            curve.lines.setdefault("the original's way", []).append((size, there.seconds))
    yield from _figures("source.conversion", f"{most:,} rows x 12 columns to a frame", ours, theirs)
    yield from _figures("source.extraction", f"{most:,} rows x 33 columns, read and classified", mine, old)
    yield bare
    yield whole


def _figures(name: str, what: str, ours: Sample, theirs: Sample) -> Iterator[Figure]:
    yield Figure(f"{name}.seconds", what, ours.seconds, "s", theirs.seconds, _HOW, _FASTER, guard=0.7)
    yield Figure(f"{name}.memory", f"{what}: memory it takes", ours.grown, "MiB", theirs.grown, _HOW, _LEANER)
    yield Figure(f"{name}.peak", f"{what}: peak of the process", ours.peak, "MiB", theirs.peak, _HOW)


# The columns of the original's query, with its CASE expressions already evaluated.
_TWELVE_COLUMNS: Final = """
CREATE TABLE twelve_columns AS
SELECT '40085' AS id_cliente, a.HR_ATENDIMENTO AS data_atendimento, a.HR_ALTA AS data_saida_alta,
    a.CD_ATENDIMENTO AS cd_atendimento, p.NM_PACIENTE AS name, p.EMAIL AS email, 'DOUTORA EXEMPLO' AS medico,
    concat(p.NR_DDI_CELULAR, p.NR_DDD_CELULAR, p.NR_CELULAR) AS phone, p.NR_CPF AS cpf,
    'Meridional Serra' AS unidade, 'AMBULATORIO' AS area_pesquisa, 'GERAL_AMBULATORIO' AS setor
FROM DBAMV.ATENDIME a JOIN DBAMV.PACIENTE p USING (CD_PACIENTE)
"""


# --- trials ---------------------------------------------------------------------------------------------------------


def convert(watch: Watch, database: Path) -> None:
    """Measure twelve columns of every row, as the reader does it: a stream of Arrow to one frame."""
    with duckdb.connect(database, read_only=True) as connection, watch.lap():
        frame = pl.DataFrame(connection.sql("FROM twelve_columns"))
    watch.notes["rows"] = frame.height


def extract(watch: Watch, folder: Path) -> None:
    """Measure a hospital-day through the reader and the rules."""
    of, rules = hospital(), load_rules(hospital())
    databases = reader(folder)
    with watch.lap():
        encounters = classify(pl.concat(databases.extract(of, DAY)), of, rules, DAY)
    watch.notes["rows"] = encounters.get_column("area").count()
