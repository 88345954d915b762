"""The nightly job `purge`: deletes data past its retention and suppresses lines that waited too long.

It has ops and no assets, because it produces no data.
"""

import dagster as dg

from track_pipeline.defs.failures import told_to_the_operator
from track_pipeline.defs.partitions import TIME_ZONE
from track_pipeline.runtime import Runtime


@dg.op(description="Deletes days of the lake, comments and sightings that are past the policy's retention.")
def purge_old_data(context: dg.OpExecutionContext, runtime: dg.ResourceParam[Runtime]) -> None:
    """Delete data past its retention and log the counts by kind."""
    with told_to_the_operator():
        for kind, count in runtime.operator.retention.purge().items():
            context.log.info("deleted %s: %d", kind, count)


@dg.op(description="Suppresses lines that waited longer than their hospital's max_age_days.")
def drop_stale_lines(context: dg.OpExecutionContext, runtime: dg.ResourceParam[Runtime]) -> None:
    """Suppress lines that waited too long and log the counts by hospital."""
    with told_to_the_operator():
        for hospital in runtime.hospitals:
            if dropped := runtime.daily.dispatcher.drop_stale(hospital):
                context.log.info("%s: suppressed %d lines that waited longer than max_age_days", hospital.code, dropped)


@dg.job(name="purge", executor_def=dg.in_process_executor)
def purge_job() -> None:
    """Run both ops; they are independent."""
    purge_old_data()
    drop_stale_lines()


def retention_definitions(status: dg.DefaultScheduleStatus) -> dg.Definitions:
    """Return the job and its schedule, at 02:30."""
    nightly = dg.ScheduleDefinition(
        name="purge_nightly",
        job=purge_job,
        cron_schedule="30 2 * * *",
        execution_timezone=TIME_ZONE,
        default_status=status,
    )
    return dg.Definitions(jobs=[purge_job], schedules=[nightly])
