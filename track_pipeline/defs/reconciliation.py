"""`reconciliation`: compares the ledger with Track.co every morning. Sends nothing."""

from collections.abc import Mapping
from typing import Final

import dagster as dg

from track_pipeline.defs.failures import told_to_the_operator
from track_pipeline.defs.feedback import ANSWERS
from track_pipeline.defs.naming import OWNERS, Group, Names
from track_pipeline.defs.partitions import TIME_ZONE
from track_pipeline.runtime import Runtime
from track_pipeline.services.feedback.reconciliation import IN_FLIGHT

RECONCILE: Final = "reconcile"


def _warning(
    key: dg.AssetKey,
    name: str,
    passed: bool,  # noqa: FBT001 - as Dagster's
    found: Mapping[str, object],
) -> dg.AssetCheckResult:
    return dg.AssetCheckResult(
        check_name=name,
        asset_key=key,
        passed=passed,
        severity=dg.AssetCheckSeverity.WARN,
        metadata={"found": dg.MetadataValue.json(found)},
    )


def reconciliation_definitions(names: Names, status: dg.DefaultScheduleStatus) -> dg.Definitions:
    """Return the asset, its job and its schedule, at 06:30, before the day's sending begins."""
    reconciliation = _reconciliation(names)
    job = dg.define_asset_job(RECONCILE, selection=[reconciliation], executor_def=dg.in_process_executor)
    morning = dg.ScheduleDefinition(
        name="reconcile_daily",
        job=job,
        cron_schedule="30 6 * * *",
        execution_timezone=TIME_ZONE,
        default_status=status,
        description="Compares ledger and Track.co every morning.",
    )
    return dg.Definitions(assets=[reconciliation], jobs=[job], schedules=[morning])


def _reconciliation(names: Names) -> dg.AssetsDefinition:
    key = names.key("reconciliation")

    @dg.asset(
        key=key,
        deps=[names.key(ANSWERS)],
        group_name=Group.FEEDBACK.value,
        owners=OWNERS,
        kinds={"track"},
        pool="track_api",
        check_specs=[
            dg.AssetCheckSpec("no_unknown_send", asset=key, description="the outcome of every send is known"),
            dg.AssetCheckSpec("ledger_agrees_with_track", asset=key, description="Track.co has the same messages"),
        ],
        description=(
            "Compares the sends of the last days with the messages at Track.co, one by one. An unknown send that "
            "Track.co has becomes sent; unknown sends that it lacks are counted, for `track resolve`."
        ),
    )
    def reconciliation(runtime: dg.ResourceParam[Runtime]) -> dg.MaterializeResult:  # type: ignore[type-arg]  # Dagster reads the bare class
        with told_to_the_operator():
            report = runtime.feedback.reconciler.reconcile()
            unknown = runtime.ledger.sends.unresolved(claimed_before=runtime.clock() - IN_FLIGHT).height
            counts = {"compared": report.compared, "strangers": report.strangers, "unreadable": report.unreadable}
            by_hospital = {name: getattr(report, name) for name in ("confirmed", "absent", "missing", "denied")}
            return dg.MaterializeResult(
                metadata={
                    **{name: dg.MetadataValue.int(count) for name, count in counts.items()},
                    **{name: dg.MetadataValue.json(found) for name, found in by_hospital.items()},
                    "track_lists_distributions": dg.MetadataValue.bool(report.lists_distributions),
                },
                check_results=[
                    _warning(key, "no_unknown_send", unknown == 0, {"unknown": unknown}),
                    _warning(key, "ledger_agrees_with_track", report.agrees, counts | by_hospital),
                ],
            )

    return reconciliation
