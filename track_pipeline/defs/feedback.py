"""`answers`: copies answers, delivery statuses and opt-outs from Track.co into the ledger. Sends nothing.

It runs every hour, and once more at the start of each reminder job.
"""

from typing import Final

import dagster as dg

from track_pipeline.defs.failures import told_to_the_operator
from track_pipeline.defs.naming import OWNERS, Group, Names
from track_pipeline.defs.partitions import TIME_ZONE
from track_pipeline.domain.channels import Channel
from track_pipeline.runtime import Runtime

READ_ANSWERS: Final = "read_answers"
ANSWERS: Final = "answers"


def feedback_definitions(names: Names, status: dg.DefaultScheduleStatus) -> dg.Definitions:
    """Return the asset, its job and its hourly schedule."""
    answers = _answers(names)
    job = dg.define_asset_job(READ_ANSWERS, selection=[answers], executor_def=dg.in_process_executor)
    hourly = dg.ScheduleDefinition(
        name="answers_hourly",
        job=job,
        cron_schedule="5 * * * *",
        execution_timezone=TIME_ZONE,
        default_status=status,
        description="Reads answers, delivery statuses and opt-outs every hour.",
    )
    return dg.Definitions(assets=[answers], jobs=[job], schedules=[hourly])


def _answers(names: Names) -> dg.AssetsDefinition:
    @dg.asset(
        key=names.key(ANSWERS),
        deps=[key for channel in Channel for key in names.keys_of(channel.step)],
        group_name=Group.FEEDBACK.value,
        owners=OWNERS,
        kinds={"track"},
        pool="track_api",
        description=(
            "Answers, delivery statuses and opt-outs of Track.co, joined to their sends by `send_id`. Incremental and "
            "idempotent; reminders are sent only while this asset is fresh."
        ),
    )
    def answers(
        runtime: dg.ResourceParam[Runtime],
    ) -> dg.MaterializeResult:  # type: ignore[type-arg]  # Dagster reads the bare class
        with told_to_the_operator():
            report = runtime.feedback.reading.refresh()
            return dg.MaterializeResult(
                metadata={
                    "new_answers": report.new_answers,
                    "partial_answers": report.partial_answers,
                    "new_statuses": report.new_statuses,
                    "new_opt_outs": report.new_opt_outs,
                    "answers_to_sends_of_others": report.strangers,
                    "skipped": dg.MetadataValue.json(dict(report.skipped)),
                    "detractors": dg.MetadataValue.json(dict(report.detractors)),
                }
            )

    return answers
