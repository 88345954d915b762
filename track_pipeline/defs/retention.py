"""The nightly job: patient data that need not be kept is deleted, lines that waited too long get their name.

It makes no asset: it takes away.
"""

import dagster as dg

from track_pipeline.defs.failures import told_to_the_operator
from track_pipeline.defs.partitions import TIME_ZONE
from track_pipeline.runtime import Runtime


@dg.op(description="Deletes lake days, comments and sightings older than the policy keeps them.")
def purge_old_data(context: dg.OpExecutionContext, runtime: dg.ResourceParam[Runtime]) -> None:
    """Logs how much went, by kind."""
    with told_to_the_operator():
        for kind, count in runtime.operator.retention.purge().items():
            context.log.info("deleted %s: %d", kind, count)


@dg.op(description="Suppresses lines that waited for longer than their hospital's max_age_days.")
def drop_stale_lines(context: dg.OpExecutionContext, runtime: dg.ResourceParam[Runtime]) -> None:
    """Logs how many, by hospital."""
    with told_to_the_operator():
        for hospital in runtime.hospitals:
            if dropped := runtime.daily.dispatcher.drop_stale(hospital):
                context.log.info("%s: %d lines waited too long", hospital.code, dropped)


@dg.job(name="purge", executor_def=dg.in_process_executor)
def purge_job() -> None:
    """Two ops that need nothing of each other."""
    purge_old_data()
    drop_stale_lines()


def retention_definitions(status: dg.DefaultScheduleStatus) -> dg.Definitions:
    """The job and its nightly schedule."""
    nightly = dg.ScheduleDefinition(
        name="purge_nightly",
        job=purge_job,
        cron_schedule="30 2 * * *",
        execution_timezone=TIME_ZONE,
        default_status=status,
    )
    return dg.Definitions(jobs=[purge_job], schedules=[nightly])
