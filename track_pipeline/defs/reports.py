"""`daily_report`: funnel, response rate and NPS as charts, tables and one page. Has counts only; sends nothing."""

from datetime import date
from typing import Final

import dagster as dg

from track_pipeline.defs.failures import told_to_the_operator
from track_pipeline.defs.feedback import ANSWERS
from track_pipeline.defs.naming import OWNERS, Group, Names
from track_pipeline.defs.partitions import FIRST_DAY, TIME_ZONE
from track_pipeline.domain.channels import CONTACT_CHANNELS
from track_pipeline.reporting.page import data_uri, write_page
from track_pipeline.runtime import Runtime
from track_pipeline.services.insight.report import day_report

REPORT: Final = "report"


def report_definitions(names: Names, status: dg.DefaultScheduleStatus) -> dg.Definitions:
    """Return the asset, its job and its schedule, at 20:30, when the day's sending is over."""
    daily_report = _daily_report(names)
    job = dg.define_asset_job(REPORT, selection=[daily_report], executor_def=dg.in_process_executor)
    evening = dg.build_schedule_from_partitioned_job(
        job, name="report_daily", hour_of_day=20, minute_of_hour=30, default_status=status
    )
    return dg.Definitions(assets=[daily_report], jobs=[job], schedules=[evening])


def _daily_report(names: Names) -> dg.AssetsDefinition:
    @dg.asset(
        key=names.key("daily_report"),
        deps=[names.key(ANSWERS), *(key for channel in CONTACT_CHANNELS for key in names.keys_of(channel.step))],
        partitions_def=dg.DailyPartitionsDefinition(start_date=FIRST_DAY, timezone=TIME_ZONE),
        group_name=Group.REPORT.value,
        owners=OWNERS,
        kinds={"polars", "matplotlib"},
        description=(
            "The outcomes of a day's encounters in every hospital, and the answers to the surveys sent in the month "
            "before. A score is shown from 5 answers on and is preliminary below 30 (policy.toml)."
        ),
    )
    def daily_report(context: dg.AssetExecutionContext, runtime: dg.ResourceParam[Runtime]) -> dg.MaterializeResult:  # type: ignore[type-arg]  # Dagster reads the bare class
        from track_pipeline.reporting.charts import charts  # noqa: PLC0415 - half a second, for reports only

        with told_to_the_operator():
            report = day_report(runtime.ledger, runtime.policy, date.fromisoformat(context.partition_key))
            images = charts(report)
            page = write_page(report, images, runtime.settings.home)
            return dg.MaterializeResult(
                metadata={
                    "page": dg.MetadataValue.path(page.absolute()),
                    **{title: dg.MetadataValue.md(f"![{title}]({data_uri(png)})") for title, png in images.items()},
                    **{name: dg.MetadataValue.int(count) for name, count in report.numbers.items()},
                    **{table.title: dg.MetadataValue.md(table.markdown()) for table in report.tables},
                }
            )

    return daily_report
