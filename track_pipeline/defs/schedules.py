"""When the daily job runs: every morning, for late discharges, and for missing, failed or deferred hospital-days.

A repeated request is harmless, because the ledger prevents a second send. In the demo the schedules are stopped.
"""

from collections.abc import Iterator, Sequence
from datetime import date, datetime, timedelta
from typing import Final

import dagster as dg

from track_pipeline.defs.partitions import FIRST_DAY, TIME_ZONE, partition_key
from track_pipeline.domain.calendar import window_is_open
from track_pipeline.domain.encounter import GROUP_TIME_ZONE
from track_pipeline.domain.hospital import Registry
from track_pipeline.domain.outcomes import Deferral, Outcome
from track_pipeline.domain.pauses import scopes_over
from track_pipeline.runtime import Runtime

DAILY: Final = "daily"
SWEEP_DAYS: Final = 7
LATE_DAYS: Final = 3


def daily_definitions(
    assets: Sequence[dg.AssetsDefinition],
    partitions: dg.MultiPartitionsDefinition,
    registry: Registry,
    status: dg.DefaultScheduleStatus,
    sensors: dg.DefaultSensorStatus,
) -> dg.Definitions:
    """Return the job that reads, plans and sends one hospital-day in one process, its schedules and its sensor."""
    job = dg.define_asset_job(
        DAILY,
        selection=dg.AssetSelection.assets(*assets),
        executor_def=dg.in_process_executor,
        description="Reads a hospital-day, plans it and sends it: one run per hospital and day.",
    )
    at_eight = dg.build_schedule_from_partitioned_job(
        job,
        name="daily_0800",
        description="Runs yesterday of every hospital, at 08:00 in São Paulo.",
        hour_of_day=8,
        minute_of_hour=0,
        default_status=status,
    )

    keys = [key for asset in assets for key in asset.keys]
    return dg.Definitions(
        jobs=[job],
        schedules=[at_eight, _sweep(keys, partitions, registry, status), _late_discharges(registry, status)],
        sensors=[_deferred_lines(registry, sensors)],
    )


def _sweep(
    keys: list[dg.AssetKey],
    partitions: dg.MultiPartitionsDefinition,
    registry: Registry,
    status: dg.DefaultScheduleStatus,
) -> dg.ScheduleDefinition:
    @dg.schedule(
        name="sweep",
        job_name=DAILY,
        cron_schedule="15 9-19 * * *",
        execution_timezone=TIME_ZONE,
        default_status=status,
        description="Runs missing or failed hospital-days of 7 days, and all with unsent lines that may still be sent.",
    )
    def sweep(context: dg.ScheduleEvaluationContext, runtime: dg.ResourceParam[Runtime]) -> Iterator[dg.RunRequest]:
        tick = context.scheduled_execution_time
        days = sweep_days(tick.date())
        hospital_days = [partition_key(day, code) for day in days for code in registry.codes]
        unfinished, busy = _unfinished_and_busy(context.instance, keys, partitions, hospital_days)
        paused = set(runtime.ledger.pauses.all().get_column("scope"))
        # A hospital that may not send now is skipped: the run would read its database and send nothing.
        sending = {
            code
            for code in registry.codes
            if runtime.settings.sends
            and window_is_open_now(registry, code, tick)
            and paused.isdisjoint(scopes_over(code))
        }
        waiting = {partition_key(day, code) for day, code in _unsent(runtime, tick) if code in sending}
        for key in sorted((unfinished | waiting) - busy):
            yield dg.RunRequest(partition_key=key, run_key=f"{tick.isoformat()}|{key}")

    return sweep


def _late_discharges(registry: Registry, status: dg.DefaultScheduleStatus) -> dg.ScheduleDefinition:
    @dg.schedule(
        name="late_discharges",
        job_name=DAILY,
        cron_schedule="0 11 * * *",
        execution_timezone=TIME_ZONE,
        default_status=status,
        description="Reads the 3 days before yesterday again, for discharges typed late. Sends no line twice.",
    )
    def late_discharges(context: dg.ScheduleEvaluationContext) -> Iterator[dg.RunRequest]:
        tick = context.scheduled_execution_time
        for day in sweep_days(tick.date())[-1 - LATE_DAYS : -1]:
            for code in registry.codes:
                key = partition_key(day, code)
                yield dg.RunRequest(partition_key=key, run_key=f"{tick.isoformat()}|late|{key}")

    return late_discharges


def _deferred_lines(registry: Registry, status: dg.DefaultSensorStatus) -> dg.SensorDefinition:
    @dg.sensor(
        name="deferred_lines",
        job_name=DAILY,
        minimum_interval_seconds=300,
        default_status=status,
        description="Runs hospital-days with lines that wait for the send window, as soon as it opens.",
    )
    def deferred_lines(runtime: dg.ResourceParam[Runtime]) -> Iterator[dg.RunRequest | dg.SkipReason]:
        now = runtime.clock()
        requests: list[dg.RunRequest | dg.SkipReason] = [
            dg.RunRequest(partition_key=key, run_key=f"window|{key}|{now:%Y-%m-%d}")
            for day, code in _unsent(runtime, now, held=Outcome.deferred(Deferral.WINDOW))
            if window_is_open_now(registry, code, now)
            for key in [partition_key(day, code)]
        ]
        yield from requests or [dg.SkipReason("no line waits for a send window that is open now")]

    return deferred_lines


def window_is_open_now(registry: Registry, code: str, now: datetime) -> bool:
    """Whether a hospital's send window is open at an instant."""
    hospital = registry.hospital(code)
    return window_is_open(hospital.send_window, now.astimezone(hospital.zone))


def _unsent(runtime: Runtime, now: datetime, held: Outcome | None = None) -> Iterator[tuple[date, str]]:
    """Yield cohort date and hospital with unsent lines that are not older than the hospital's max_age_days."""
    today = now.astimezone(GROUP_TIME_ZONE).date()
    max_age = {hospital.code: hospital.max_age_days for hospital in runtime.hospitals}
    oldest = max(today - timedelta(days=max(max_age.values())), date.fromisoformat(FIRST_DAY))
    for day, code in runtime.ledger.encounters.unsent_partitions(oldest, today - timedelta(days=1), held=held):
        if code in max_age and (today - day).days <= max_age[code]:
            yield day, code


def sweep_days(today: date) -> list[date]:
    """Return the days that a sweep checks, oldest first: the 7 days before today, from `FIRST_DAY` on."""
    days = [today - timedelta(days=age) for age in range(SWEEP_DAYS, 0, -1)]
    return [day for day in days if day >= date.fromisoformat(FIRST_DAY)]


def _unfinished_and_busy(
    instance: dg.DagsterInstance,
    assets: list[dg.AssetKey],
    partitions: dg.MultiPartitionsDefinition,
    keys: list[dg.MultiPartitionKey],
) -> tuple[set[dg.MultiPartitionKey], set[dg.MultiPartitionKey]]:
    """Return the keys with a missing or failed asset, and the keys with an asset that is in progress."""
    finished, busy = set(keys), set[dg.MultiPartitionKey]()
    for asset in assets:
        statuses = instance.get_status_by_partition(asset, keys, partitions) or {}
        finished -= {key for key in keys if statuses.get(key) != dg.AssetPartitionStatus.MATERIALIZED}
        busy |= {key for key in keys if statuses.get(key) == dg.AssetPartitionStatus.IN_PROGRESS}
    return set(keys) - finished, busy
