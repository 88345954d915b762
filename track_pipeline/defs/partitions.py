"""The partitions of the assets: one per date and hospital. The area is part of the asset key.

Never change the first day and never rename a hospital: Dagster's records of the old partitions would be orphaned.
"""

from datetime import date
from typing import Final

import dagster as dg

from track_pipeline.domain.encounter import GROUP_TIME_ZONE
from track_pipeline.domain.hospital import Hospital, Registry

TIME_ZONE: Final = GROUP_TIME_ZONE.key
FIRST_DAY: Final = "2025-01-01"


def patient_days(registry: Registry) -> dg.MultiPartitionsDefinition:
    """Return the partitions cohort date x hospital; a date's keys exist once the day is over in São Paulo."""
    return dg.MultiPartitionsDefinition(
        {
            "date": dg.DailyPartitionsDefinition(start_date=FIRST_DAY, timezone=TIME_ZONE),
            "hospital": dg.StaticPartitionsDefinition(list(registry.codes)),
        }
    )


def partition_key(day: date, hospital: str) -> dg.MultiPartitionKey:
    """Return the partition key of a hospital-day."""
    return dg.MultiPartitionKey({"date": day.isoformat(), "hospital": hospital})


def place_of(context: dg.AssetExecutionContext, registry: Registry) -> tuple[Hospital, date]:
    """Return the hospital and the date of a step's partition. Raises TypeError when its key lacks one of them."""
    key = context.partition_key
    if not isinstance(key, dg.MultiPartitionKey):
        raise TypeError(f"{key!r} is not a partition key with date and hospital; launch the run for a hospital-day")
    dimensions = key.keys_by_dimension
    return registry.hospital(dimensions["hospital"]), date.fromisoformat(dimensions["date"])
