"""Sending at the rate that Track.co allows: several processes, one request budget, a server that counts.

The budget's period of five minutes is shortened to seconds, and the waits of the client in proportion.
"""

import time
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from dataclasses import replace
from datetime import timedelta
from multiprocessing import get_context
from pathlib import Path
from typing import Final

import polars as pl

from benchmarks.figures import Bench, Figure, Target
from benchmarks.installation import settings
from benchmarks.measure import Watch, measure
from benchmarks.people import DAY, HOSPITAL, NOW, hospital
from benchmarks.server import CountingServer
from track_pipeline.adapters.budget import WINDOW_SECONDS, open_budget
from track_pipeline.adapters.track.api import TrackApi
from track_pipeline.adapters.track.http import Patience
from track_pipeline.config.hospitals import load_registry
from track_pipeline.config.policy import load_policy
from track_pipeline.demo.surveys import demo_catalog
from track_pipeline.domain.areas import Area
from track_pipeline.domain.channels import Channel
from track_pipeline.domain.plan import PLAN
from track_pipeline.runtime import Runtime
from track_pipeline.services.daily.sending import Partition, SendReport

_PROCESSES: Final = 4
_PERIODS: Final = 10
# Seconds by which the delay between budget and server may differ from request to request while all cores are busy.
_JITTER: Final = 0.2


def results(bench: Bench) -> Iterator[Figure]:
    """Measure ten periods of the budget: share of the rate that is used, requests per period, lines sent."""
    lines, seconds = bench.size(full=100_000, quick=1_000), bench.size(full=20, quick=1)
    batch = bench.size(full=500, quick=50)
    requests = lines // batch
    allowed = requests // _PERIODS
    with CountingServer() as track:
        sample = measure(dispatch, bench.folder / "dispatch", track.url, lines, batch, allowed, seconds)
        most, arrivals = track.most_within(seconds - _JITTER), sorted(track.arrivals)
    # The requests of a period may all come at its start, so the last period needs no time.
    least = (-(-len(arrivals) // allowed) - 1) * seconds
    took = max(arrivals[-1] - arrivals[0], least)
    yield Figure(
        "dispatch.rate", f"{lines:,} lines, {allowed} requests per {seconds} s, {_PROCESSES} processes: share of the "
        "allowed rate that is used", 100 * least / took, "%", target=Target("at least 95 %", 95, sense="at least"),
    )  # fmt: skip
    yield Figure(
        "dispatch.most", "requests in the fullest period, as the server counts", most, "requests",
        allowed, "requests allowed", Target("never above it", 1, of="ratio"), guard=2,
    )  # fmt: skip
    yield Figure(
        "dispatch.sent", "lines that were sent by these runs, none deferred", sample.notes["sent"], "lines",
        lines, "lines planned", Target("all", 1, of="ratio", sense="at least"),
    )  # fmt: skip


# --- trials ---------------------------------------------------------------------------------------------------------


def dispatch(watch: Watch, home: Path, url: str, lines: int, batch: int, allowed: int, seconds: int) -> None:
    """Measure several processes, each of which sends the lines of a different day."""
    start = time.time() + 3
    share = lines // _PROCESSES
    with watch.lap(), ProcessPoolExecutor(_PROCESSES, get_context("spawn")) as executor:
        sent = [
            executor.submit(_send, home, url, number, share, batch, allowed, seconds, start)
            for number in range(_PROCESSES)
        ]
        watch.notes["sent"] = sum(each.result() for each in sent)


def _send(home: Path, url: str, number: int, lines: int, batch: int, allowed: int, seconds: int, start: float) -> int:
    policy = load_policy()
    policy = policy.model_copy(update={"sending": policy.sending.model_copy(update={"batch_size": batch})})
    usual = Patience()
    patience = replace(usual, turn=usual.turn * seconds / WINDOW_SECONDS)
    api = TrackApi(url, "benchmark", "token", budget=open_budget(home, None, allowed, seconds), patience=patience)
    runtime = Runtime(settings(home, home, url, (HOSPITAL,)), requests=api, policy=policy)
    planned, outbox, report = _planned(number, lines), runtime.daily.outbox, SendReport()
    time.sleep(max(0.0, start - time.time()))
    partition = Partition(hospital(), DAY - timedelta(days=number), Area.EXAMES, Channel.EMAIL)
    outbox.send(partition, planned, "benchmark", report)
    runtime.close()
    return report.sent


def _planned(number: int, lines: int) -> pl.DataFrame:
    """Return planned lines by e-mail (`PLAN`, and `extra`), for distinct people."""
    encounter, survey = pl.int_range(number * lines, (number + 1) * lines), demo_catalog(load_registry())
    given = {
        "hospital": pl.lit(HOSPITAL),
        "database": pl.lit(HOSPITAL),
        "encounter_id": encounter,
        "unit": pl.lit(HOSPITAL),
        "unit_name": pl.lit("Hospital Exemplo"),
        "area": pl.lit(Area.EXAMES.value),
        "setor": pl.lit("LABORATORIO"),
        "attended_at": pl.lit(NOW),
        "result": pl.lit("planned"),
        "channel": pl.lit("email"),
        "survey_uuid": pl.lit(survey.survey_uuids()[HOSPITAL, Area.EXAMES]),
        "patient_name": pl.lit("Pessoa Exemplo"),
        "email_address": pl.format("pessoa{}@exemplo.com.br", encounter),
        "email_key": encounter.cast(pl.String).str.zfill(32),
    }
    columns = [given.get(name, pl.lit(None)).cast(kind).alias(name) for name, kind in PLAN.items()]
    return pl.select(encounter.alias("row")).select(columns).with_columns(extra=pl.lit(value=False))
