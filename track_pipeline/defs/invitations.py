"""`invitation/<area>`: decides which extracted encounters are invited, and why others are not. Sends nothing."""

from collections.abc import Iterator

import dagster as dg
import polars as pl

from track_pipeline.defs.failures import told_to_the_operator
from track_pipeline.defs.naming import AREA_TAG, OWNERS, Group, Names, check, results, selected_areas
from track_pipeline.defs.partitions import place_of
from track_pipeline.domain.areas import AREAS, Area
from track_pipeline.domain.gates import contact_share, planned_twice
from track_pipeline.runtime import Runtime
from track_pipeline.services.daily.extraction import EXTRACT
from track_pipeline.services.daily.invitation import INVITATION
from track_pipeline.services.insight.status import funnel_of


def invitation_assets(names: Names, partitions: dg.MultiPartitionsDefinition) -> dg.AssetsDefinition:
    """Return the multi-asset with the six plans of a hospital-day, made together: a person is invited once a day."""
    checks = {
        "funnel_closes": "every extracted encounter is planned, or excluded with a reason",
        "no_duplicate_encounter": "no encounter is planned twice",
        "contact_share": "enough of the eligible encounters have a usable contact",
    }

    @dg.multi_asset(
        name=INVITATION,
        specs=[_spec(names, area) for area in AREAS],
        check_specs=[
            check(name, key, partitions, description)
            for key in names.keys_of(INVITATION)
            for name, description in checks.items()
        ],
        partitions_def=partitions,
        can_subset=True,
    )
    def invitation(
        context: dg.AssetExecutionContext, runtime: dg.ResourceParam[Runtime]
    ) -> Iterator[dg.MaterializeResult[None]]:
        with told_to_the_operator(context):
            hospital, day = place_of(context, runtime.registry)
            for area, plan in runtime.daily.planner.invite(hospital, day, selected_areas(context)).items():
                key = names.key_of(INVITATION, area)
                funnel = funnel_of(runtime.ledger, day, hospital.code, area)
                share = contact_share(plan, runtime.policy.gates)
                verdicts = {
                    "funnel_closes": (funnel.closes and funnel.extracted == plan.height, f"{plan.height} rows"),
                    "no_duplicate_encounter": _no_duplicate(plan),
                    "contact_share": (share.passed, share.detail),
                }
                yield dg.MaterializeResult(
                    asset_key=key,
                    metadata={
                        "dagster/row_count": dg.MetadataValue.int(plan.height),
                        "planned": dg.MetadataValue.int(funnel.planned),
                        "excluded": dg.MetadataValue.int(funnel.excluded),
                        "funnel": dg.MetadataValue.md(funnel.markdown()),
                    },
                    check_results=results(context, key, verdicts),
                )

    return invitation


def _spec(names: Names, area: Area) -> dg.AssetSpec:
    return dg.AssetSpec(
        names.key_of(INVITATION, area),
        # A person is invited once a day, so the plan of an area depends on the encounters of all areas.
        deps=names.keys_of(EXTRACT),
        group_name=Group.INVITATION.value,
        tags={AREA_TAG: area.value},
        owners=OWNERS,
        kinds={INVITATION, "polars", "parquet"},
        description=(
            f"The plan of {area.label}: each encounter of the day is planned, with channel and survey, or excluded "
            "for one reason (eligibility, contact hygiene, one survey per person, quarantine; see policy.toml)."
        ),
    )


def _no_duplicate(plan: pl.DataFrame) -> tuple[bool, str]:
    repeated = planned_twice(plan)
    return repeated == 0, f"{repeated} repeated"
