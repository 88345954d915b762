"""The content of the status page: the day's funnel, open alerts, the last runs and the last lines of the log.

It has counts, texts of this project and names of partitions, and no patient data. A part that cannot be read is empty
and shows the reason.
"""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import date, datetime
from typing import Final, Generic, TypeVar

import dagster as dg

from track_pipeline.adapters.ledger import Ledger
from track_pipeline.domain.encounter import GROUP_TIME_ZONE
from track_pipeline.logs.redaction import told_of
from track_pipeline.logs.system_log import last_lines
from track_pipeline.services.insight.status import PartitionStatus, status
from track_pipeline.web.sources import Sources

COUNTS: Final = (
    "extracted",
    "excluded",
    "planned",
    "sent",
    "rejected",
    "unknown",
    "deferred",
    "suppressed",
    "answered",
)
_MOST_RUNS: Final = 25
_MOST_LINES: Final = 60

T = TypeVar("T")


@dataclass(frozen=True)
class Part(Generic[T]):
    """A part of the page; `error` says why it could not be read."""

    content: T
    error: str = ""


@dataclass(frozen=True)
class OpenAlert:
    """An alert that is open; `opened_at` is in the group's time zone."""

    kind: str
    subject: str
    text: str
    link: str
    opened_at: datetime


@dataclass(frozen=True)
class Run:
    """A Dagster run; `started` and `ended` are in the group's time zone."""

    run_id: str
    job: str
    partition: str
    status: str
    started: datetime | None
    ended: datetime | None


@dataclass(frozen=True)
class Overview:
    """All parts of the page. `not_extracted`: hospitals without an extract of the day."""

    day: date
    now: datetime
    funnel: Part[list[PartitionStatus]]
    alerts: Part[list[OpenAlert]]
    runs: Part[list[Run]]
    log: Part[list[str]]
    not_extracted: list[str]

    @property
    def totals(self) -> dict[str, int]:
        """The counts summed over all hospitals and areas."""
        return {name: sum(row.count(name) for row in self.funnel.content) for name in COUNTS}


def overview(sources: Sources) -> Overview:
    """Read all parts of the page; never raises."""
    funnel = _part(lambda: status(sources.ledger, (sources.day, sources.day)))
    seen = {row.hospital for row in funnel.content}
    return Overview(
        day=sources.day,
        now=sources.clock().astimezone(GROUP_TIME_ZONE),
        funnel=funnel,
        alerts=_part(lambda: _alerts(sources.ledger)),
        runs=_part(lambda: _runs(sources.instance)),
        log=_part(lambda: last_lines(sources.log, _MOST_LINES)),
        not_extracted=[] if funnel.error else [code for code in sources.registry.codes if code not in seen],
    )


def _part(read: Callable[[], list[T]]) -> Part[list[T]]:
    try:
        return Part(read())
    except Exception as error:  # noqa: BLE001 - the other parts are shown anyway
        return Part([], told_of(error))


def _alerts(ledger: Ledger) -> list[OpenAlert]:
    rows = ledger.alerts.all().select("kind", "subject", "text", "link", "opened_at").iter_rows(named=True)
    return [OpenAlert(**row | {"opened_at": row["opened_at"].astimezone(GROUP_TIME_ZONE)}) for row in rows]


def _runs(instance: dg.DagsterInstance) -> list[Run]:
    return [
        Run(
            run_id=record.dagster_run.run_id,
            job=record.dagster_run.job_name,
            partition=record.dagster_run.tags.get("dagster/partition", ""),
            status=record.dagster_run.status.value,
            started=_instant(record.start_time),
            ended=_instant(record.end_time),
        )
        for record in instance.get_run_records(limit=_MOST_RUNS)
    ]


def _instant(seconds: float | None) -> datetime | None:
    return None if seconds is None else datetime.fromtimestamp(seconds, GROUP_TIME_ZONE)
