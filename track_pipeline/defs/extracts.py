"""`extract/<area>`: one step reads a hospital-day and splits it by the rules. Sends nothing.

The areas are read together, so all of them are written even when a run selects some.
"""

from collections.abc import Iterator

import dagster as dg

from track_pipeline.defs.failures import told_to_the_operator
from track_pipeline.defs.naming import AREA_TAG, OWNERS, Group, Names, check, results, selected_areas
from track_pipeline.defs.partitions import place_of
from track_pipeline.domain.areas import AREAS, UNCLASSIFIED, Area
from track_pipeline.domain.gates import volume, volume_days
from track_pipeline.runtime import Runtime
from track_pipeline.services.daily.extraction import EXTRACT, Extraction

_RETRIES = dg.RetryPolicy(max_retries=2, delay=60, backoff=dg.Backoff.EXPONENTIAL, jitter=dg.Jitter.PLUS_MINUS)


def extract_assets(names: Names, partitions: dg.MultiPartitionsDefinition) -> dg.AssetsDefinition:
    """Return the multi-asset with the six extracts of a hospital-day, from one query per database."""

    @dg.multi_asset(
        name=EXTRACT,
        specs=[_spec(names, area) for area in AREAS],
        check_specs=[
            check("volume", key, partitions, "the rows are not far more than on the same weekday of earlier weeks")
            for key in names.keys_of(EXTRACT)
        ],
        partitions_def=partitions,
        can_subset=True,
        pool="oracle",
        retry_policy=_RETRIES,
    )
    def extract(
        context: dg.AssetExecutionContext, runtime: dg.ResourceParam[Runtime]
    ) -> Iterator[dg.MaterializeResult[None]]:
        with told_to_the_operator(context):
            hospital, day = place_of(context, runtime.registry)
            extraction = runtime.daily.extractor.extract(hospital, day)
            for area in selected_areas(context):
                key, rows = names.key_of(EXTRACT, area), extraction.rows[area]
                usual = runtime.ledger.encounters.volumes(hospital.code, area, volume_days(day, runtime.policy.gates))
                finding = volume(rows, usual, runtime.policy.gates)
                yield dg.MaterializeResult(
                    asset_key=key,
                    metadata=_metadata(extraction, area),
                    check_results=results(context, key, {"volume": (finding.passed, finding.detail)}),
                )

    return extract


def _spec(names: Names, area: Area) -> dg.AssetSpec:
    return dg.AssetSpec(
        names.key_of(EXTRACT, area),
        group_name=Group.EXTRACT.value,
        tags={AREA_TAG: area.value},
        owners=OWNERS,
        kinds={EXTRACT, "oracle", "parquet"},
        description=(
            f"Encounters of the day that the hospital's rules (rules/<hospital>.toml) assign to {area.label}: "
            "one row per encounter, with area, setor and unit set by the rules. Parquet in the lake."
        ),
    )


def _metadata(extraction: Extraction, area: Area) -> dict[str, dg.MetadataValue]:
    return {
        "dagster/row_count": dg.MetadataValue.int(extraction.rows[area]),
        "rows_without_area": dg.MetadataValue.int(extraction.rows[UNCLASSIFIED]),
        "without_area_by_reason": dg.MetadataValue.json(dict(extraction.unclassified_by)),
    }
