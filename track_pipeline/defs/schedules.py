"""When things run: the daily job, and the sweep that fetches what is missing, failed or deferred.

Every request may be repeated without harm; safety is the ledger's. Schedules run by themselves in production only.
"""

from collections.abc import Iterator, Sequence
from datetime import date, timedelta

import dagster as dg

from track_pipeline.defs.partitions import FIRST_DAY, TIME_ZONE, partition_key
from track_pipeline.registry import Registry
from track_pipeline.runtime import Runtime

DAILY = "daily"
SWEEP_DAYS = 7


def daily_definitions(
    assets: Sequence[dg.AssetsDefinition],
    partitions: dg.MultiPartitionsDefinition,
    registry: Registry,
    status: dg.DefaultScheduleStatus,
) -> dg.Definitions:
    """The job that reads, plans and sends one hospital-day in one process, and the two schedules that start it."""
    job = dg.define_asset_job(
        DAILY,
        selection=dg.AssetSelection.assets(*assets),
        executor_def=dg.in_process_executor,
        description="Reads a hospital-day, plans it and sends it: one run per hospital and day.",
    )
    at_eight = dg.build_schedule_from_partitioned_job(
        job,
        name="daily_0800",
        description="Yesterday of every hospital, at 08:00 in São Paulo.",
        hour_of_day=8,
        minute_of_hour=0,
        default_status=status,
    )
    keys = [key for asset in assets for key in asset.keys]

    @dg.schedule(
        name="sweep",
        job=job,
        cron_schedule="15 9-19 * * *",
        execution_timezone=TIME_ZONE,
        default_status=status,
        description="Runs hospital-days of the last 7 days again that are missing, failed or have deferred lines.",
    )
    def sweep(context: dg.ScheduleEvaluationContext, runtime: dg.ResourceParam[Runtime]) -> Iterator[dg.RunRequest]:
        tick = context.scheduled_execution_time
        days = sweep_days(tick.date())
        hospital_days = [partition_key(day, code) for day in days for code in registry.codes]
        wanted = _unfinished(context.instance, keys, partitions, hospital_days)
        deferred = runtime.ledger.unsent_partitions(days[0], days[-1])
        wanted |= {partition_key(day, code) for day, code in deferred if code in registry.codes}
        for key in sorted(wanted):
            yield dg.RunRequest(partition_key=key, run_key=f"{tick.isoformat()}|{key}")

    return dg.Definitions(jobs=[job], schedules=[at_eight, sweep])


def sweep_days(today: date) -> list[date]:
    """The days that a sweep looks at, oldest first: those before today that the partitions have."""
    days = [today - timedelta(days=age) for age in range(SWEEP_DAYS, 0, -1)]
    return [day for day in days if day >= date.fromisoformat(FIRST_DAY)]


def _unfinished(
    instance: dg.DagsterInstance,
    assets: list[dg.AssetKey],
    partitions: dg.MultiPartitionsDefinition,
    keys: list[dg.MultiPartitionKey],
) -> set[dg.MultiPartitionKey]:
    """The keys of which some asset is missing or failed and none is being made."""
    finished, busy = set(keys), set[dg.MultiPartitionKey]()
    for asset in assets:
        statuses = instance.get_status_by_partition(asset, keys, partitions) or {}
        finished -= {key for key in keys if statuses.get(key) != dg.AssetPartitionStatus.MATERIALIZED}
        busy |= {key for key in keys if statuses.get(key) == dg.AssetPartitionStatus.IN_PROGRESS}
    return set(keys) - finished - busy
