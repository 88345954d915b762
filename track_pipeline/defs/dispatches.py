"""`dispatch_email/<area>`, `dispatch_whatsapp/<area>`, `survey_link/<area>`: send planned lines to Track.co.

They send the lines of the plan that the ledger does not have. These assets contact patients, so they never have a
retry policy, an automation condition or a single-run backfill: the ledger decides line by line what is sent again.
"""

import dagster as dg
from pydantic import Field

from track_pipeline.defs.failures import told_to_the_operator
from track_pipeline.defs.naming import AREA_TAG, OWNERS, Group, Names, check, results
from track_pipeline.defs.partitions import place_of
from track_pipeline.domain.areas import AREAS, Area
from track_pipeline.domain.channels import Channel
from track_pipeline.domain.funnel import Funnel
from track_pipeline.runtime import Runtime
from track_pipeline.services.daily.dispatch import Approval
from track_pipeline.services.daily.invitation import INVITATION
from track_pipeline.services.daily.sending import Partition, SendReport
from track_pipeline.services.insight.status import funnel_of


def _description(channel: Channel) -> str:
    if channel.contacts_person:
        return f"Invitations by {channel.label}"
    return "Personal links for the front desk, which notify no one"


class DispatchConfig(dg.Config):
    """An operator's approval of tripped gates; both fields are kept with the partition."""

    approve_gates: list[str] = Field(default=[], description="tripped gates to pass: volume, contact_share, ...")
    approval_reason: str = Field(default="", description="why; without a reason no gate is passed. No patient data.")


def dispatch_assets(names: Names, partitions: dg.MultiPartitionsDefinition) -> list[dg.AssetsDefinition]:
    """Return one asset per channel and area."""
    return [_dispatch(names, channel, area, partitions) for channel in Channel for area in AREAS]


def _dispatch(
    names: Names, channel: Channel, area: Area, partitions: dg.MultiPartitionsDefinition
) -> dg.AssetsDefinition:
    key = names.key_of(channel.step, area)

    @dg.asset(
        key=key,
        deps=[names.key_of(INVITATION, area)],
        partitions_def=partitions,
        check_specs=[check("ledger_agrees", key, partitions, "every planned line has a known outcome")],
        group_name=Group.DISPATCH.value,
        tags={AREA_TAG: area.value},
        owners=OWNERS,
        kinds={channel.step, "track"},
        pool="track_api",
        description=(
            f"{_description(channel)} for {area.label}: the planned lines that the ledger does not have yet. "
            "Running it again, backfilling it or killing it never sends a survey twice."
        ),
    )
    def dispatch(
        context: dg.AssetExecutionContext, config: DispatchConfig, runtime: dg.ResourceParam[Runtime]
    ) -> dg.MaterializeResult:  # type: ignore[type-arg]  # Dagster reads the bare class
        with told_to_the_operator(context):
            hospital, day = place_of(context, runtime.registry)
            approval = Approval(frozenset(config.approve_gates), config.approval_reason)
            report = runtime.daily.dispatcher.dispatch(
                Partition(hospital, day, area, channel), context.run.run_id, approval
            )
            unsettled = runtime.ledger.sends.unresolved(hospital.code, day, area=area, channel=channel).height
            return dg.MaterializeResult(
                metadata=_metadata(report, funnel_of(runtime.ledger, day, hospital.code, area)),
                check_results=results(context, key, {"ledger_agrees": (unsettled == 0, f"{unsettled} unknown")}),
            )

    return dispatch


def _metadata(report: SendReport, funnel: Funnel) -> dict[str, dg.MetadataValue]:
    counts = {
        "lines": report.lines,
        "sent_earlier": report.earlier,
        "sent": report.sent,
        "rejected": report.rejected,
        "unknown": report.unknown,
    } | {f"held/{reason}": count for reason, count in sorted(report.held.items())}
    return {name: dg.MetadataValue.int(count) for name, count in counts.items()} | {
        "funnel": dg.MetadataValue.md(funnel.markdown())
    }
