"""The ledger: claims and outcomes in batches of 500 beside bare writes of the same rows, empty and full."""

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from itertools import count
from pathlib import Path
from typing import Any, Final
from uuid import uuid4

import polars as pl
from sqlalchemy import (
    Connection,
    Engine,
    Insert,
    Update,
    bindparam,
    create_engine,
    func,
    insert,
    make_url,
    select,
    update,
)

from benchmarks.figures import Bench, Curve, Figure, Target
from benchmarks.measure import Sample, Watch, measure
from benchmarks.people import DAY, NOW
from benchmarks.postgres import postgres, schema
from track_pipeline.adapters.ledger import open_ledger
from track_pipeline.adapters.ledger.tables import sends
from track_pipeline.domain.claims import Claim
from track_pipeline.domain.sends import SendState
from track_pipeline.domain.waves import INVITE

BATCH: Final = 500
_TWICE: Final = Target("within 2x of the bare bulk write", 2, of="ratio")
_FLAT: Final = Target("no more than 1.3x slower", 1.3, of="ratio")
_CLAIM: Final = Claim(INVITE, DAY, "benchmark", "policy", "rules", None, None, most_reminders=2)

_CLAIMED: Final = {
    "wave": INVITE.key,
    "cohort_date": DAY,
    "state": SendState.CLAIMED.value,
    "reason": "",
    "batch_id": uuid4().hex,
    "run_id": "benchmark",
    "policy_version": "policy",
    "rules_version": "rules",
    "claimed_at": NOW,
    "settled_at": None,
    "distribution_id": None,
}
_CHUNK: Final = 20_000
# One in this many rows of a filled ledger is inserted after its indexes exist.
_GROWN: Final = 30

# Name to the URL of a new empty database, for a block.
_NewDatabase = Callable[[str], AbstractContextManager[str]]


def results(bench: Bench) -> Iterator[Figure | Curve]:
    """Measure SQLite and PostgreSQL; starts PostgreSQL."""
    yield from _of("sqlite", "SQLite", bench, lambda name: _file(bench.folder / f"{name}.sqlite"))
    with postgres() as server:
        yield from _of("postgresql", "PostgreSQL", bench, lambda name: schema(server, name))


@contextmanager
def _file(path: Path) -> Iterator[str]:
    yield f"sqlite:///{path}"
    for each in path.parent.glob(f"{path.name}*"):
        each.unlink()


def _of(kind: str, name: str, bench: Bench, new_database: _NewDatabase) -> Iterator[Figure | Curve]:
    lines = bench.size(full=100_000, quick=3_000)
    ours, bare = (_on_empty(bench, new_database, trial, lines) for trial in (claim_and_settle, write_barely))
    for step, what in (("claim", "claims"), ("settle", "outcomes")):
        yield Figure(
            f"ledger.{kind}.{step}.seconds", f"{name}: {what} of {lines:,} lines", ours.laps[step], "s",
            bare.laps[step], "bare write of the same rows, same table, same batches", _TWICE, guard=8,
        )  # fmt: skip
    yield Figure(
        f"ledger.{kind}.both.seconds", f"{name}: claims and outcomes of {lines:,} lines", ours.seconds, "s",
        bare.seconds, "bare write of the same rows, same table, same batches", _TWICE, guard=8,
    )  # fmt: skip
    if not bench.quick:
        plain = _on_empty(bench, new_database, write_without_indexes, lines)
        yield Figure(
            f"ledger.{kind}.seconds", f"{name}: claims and outcomes of {lines:,} lines", ours.seconds, "s",
            plain.seconds, "bare write into a table with its unique keys alone", _TWICE,
        )  # fmt: skip
    yield from _when_full(kind, name, bench, new_database)


def _on_empty(bench: Bench, new_database: _NewDatabase, trial: Callable[[Watch, str, int], None], lines: int) -> Sample:
    """Run a trial with an empty ledger in each repetition."""
    numbers = count()

    def one() -> Sample:
        with new_database(f"{trial.__name__}_{next(numbers)}") as url:
            return measure(trial, url, lines)

    return bench.repeat(one)


def _when_full(kind: str, name: str, bench: Bench, new_database: _NewDatabase) -> Iterator[Figure | Curve]:
    """Measure the same number of new lines with more and more rows in the ledger."""
    most, lines = bench.size(full=10_000_000, quick=20_000), bench.size(full=50_000, quick=2_000)
    curve = Curve(f"ledger-{kind}", f"{lines:,} more lines on {name}", "rows already there", "seconds")
    found: list[Sample] = []
    with new_database("full") as url:
        for rows in (0, *bench.sizes_up_to(most)):
            if rows:
                measure(fill, url, rows)
            found.append(bench.measure(claim_and_settle, url, lines))
            curve.lines.setdefault("claims", []).append((rows, found[-1].laps["claim"]))
            curve.lines.setdefault("outcomes", []).append((rows, found[-1].laps["settle"]))
    yield Figure(
        f"ledger.{kind}.full.seconds", f"{name}: {lines:,} lines with {most:,} rows already there", found[-1].seconds,
        "s", found[0].seconds, "the same on a new ledger, one trial after the other", _FLAT, guard=6,
    )  # fmt: skip
    yield curve


def _lines(size: int) -> pl.DataFrame:
    """Return lines of distinct people; every call returns other people."""
    start = uuid4().int % 2**50
    number = pl.int_range(start, start + size, eager=True).alias("encounter_id")

    def key(kind: str) -> pl.Expr:
        digest = pl.concat_str(pl.lit(f"{kind}-{start}"), "encounter_id").hash(seed=1).cast(pl.String)
        return (digest + pl.concat_str(pl.lit(kind), "encounter_id").hash(seed=2).cast(pl.String)).str.head(32)

    return number.to_frame().select(
        hospital=pl.lit("HMS"),
        database=pl.lit("HMS"),
        encounter_id="encounter_id",
        unit=pl.lit("HMS"),
        area=pl.lit("exames"),
        setor=pl.lit("RAIO X"),
        survey_uuid=pl.lit(str(uuid4())),
        channel=pl.lit("email"),
        cpf_key=key("cpf"),
        phone_key=key("phone"),
        email_key=key("email"),
        extra=pl.lit(value=False),
    )


# --- trials ---------------------------------------------------------------------------------------------------------


def claim_and_settle(watch: Watch, url: str, size: int) -> None:
    """Measure claims and outcomes as a dispatch makes them: batch by batch."""
    ledger, lines = open_ledger(url, clock=lambda: NOW), _lines(size)
    week = NOW - timedelta(days=7)
    claim = replace(_CLAIM, any_survey_since=week, this_survey_since=week)
    for batch in lines.iter_slices(BATCH):
        with watch.lap("claim"):
            claimed = ledger.sends.claim(batch, claim)
        with watch.lap("settle"):
            sent = ledger.sends.settle(claimed["send_id"], SendState.SENT)
            watch.notes["sent"] = watch.notes.get("sent", 0) + sent
    if watch.notes["sent"] != size:
        raise RuntimeError(f"{size} new lines were claimed, but {watch.notes['sent']} were sent")
    ledger.close()


def write_barely(watch: Watch, url: str, size: int) -> None:
    """Measure one insert and one update per batch of the same rows into the ledger's table with all its indexes."""
    open_ledger(url, clock=lambda: NOW).close()
    _write(watch, url, size)


def write_without_indexes(watch: Watch, url: str, size: int) -> None:
    """Measure the same writes into a table with primary key and unique key, and no other index."""
    open_ledger(url, clock=lambda: NOW).close()
    with _engine(url).begin() as connection:
        for index in sends.indexes:
            index.drop(connection)
    _write(watch, url, size)


def _write(watch: Watch, url: str, size: int) -> None:
    """Write with the driver's bulk statements and prepared values, which is the least work possible."""
    engine, lines = _engine(url), _lines(size)
    outcome = (
        update(sends).where(sends.c.send_id == bindparam("id")).values(state=SendState.SENT, reason="", settled_at=NOW)
    )
    for batch in lines.iter_slices(BATCH):
        rows = [row | _CLAIMED | {"send_id": uuid4().hex} for row in batch.to_dicts()]
        claims = _ready(engine, insert(sends), rows)
        outcomes = _ready(engine, outcome, [{"id": row["send_id"]} for row in rows])
        for lap, (statement, values) in (("claim", claims), ("settle", outcomes)):
            with watch.lap(lap), engine.begin() as connection:
                connection.exec_driver_sql(statement, values)
    engine.dispose()


def _ready(engine: Engine, statement: Insert | Update, rows: list[dict[str, Any]]) -> tuple[str, list[Any]]:
    """Return a statement and its rows in the form of the driver."""
    columns = list(rows[0]) if isinstance(statement, Insert) else None
    compiled = statement.compile(engine, column_keys=columns, for_executemany=True)
    whole = [compiled.params | row for row in rows]
    if not compiled.positiontup:
        return str(compiled), whole
    return str(compiled), [tuple(_as_text(row[name]) for name in compiled.positiontup) for row in whole]


def _as_text(value: object) -> object:
    """Return dates and instants as SQLite stores them; other values unchanged."""
    if isinstance(value, datetime):
        return f"{value.astimezone(UTC):%Y-%m-%d %H:%M:%S.%f}"
    return value.isoformat() if isinstance(value, date) else value


def fill(watch: Watch, url: str, rows: int) -> None:
    """Fill a ledger up to `rows` rows, all of them sent 60 days ago."""
    open_ledger(url, clock=lambda: NOW).close()
    engine = _engine(url)
    with watch.lap(), engine.begin() as connection:
        missing = rows - connection.execute(select(func.count()).select_from(sends)).scalar_one()
        if missing <= 0:
            return
        # Most rows are inserted before the indexes are made: with indexes, ten million would take an hour. The last
        # rows are inserted after that, as a real ledger grows: pages of a new index are full, and the first insert into
        # each page splits it.
        grown = missing // _GROWN
        for index in sends.indexes:
            index.drop(connection)
        _insert_sent(connection, missing - grown)
        for index in sends.indexes:
            index.create(connection)
        _insert_sent(connection, grown)
    engine.dispose()


def _insert_sent(connection: Connection, rows: int) -> None:
    earlier = _CLAIMED | {"state": SendState.SENT, "claimed_at": NOW - timedelta(days=60), "settled_at": NOW}
    for start in range(0, rows, _CHUNK):
        chunk = _lines(min(_CHUNK, rows - start)).to_dicts()
        ids = (f"{(start + index) * (2**64 // rows):016x}{uuid4().hex[:16]}" for index in range(len(chunk)))
        connection.execute(
            insert(sends), [row | earlier | {"send_id": send_id} for row, send_id in zip(chunk, ids, strict=True)]
        )


def _engine(url: str) -> Engine:
    parsed = make_url(url)
    return create_engine(parsed if parsed.drivername == "sqlite" else parsed.set(drivername="postgresql+psycopg"))
