"""The partitions: one per day and hospital. Which areas there are is in the asset keys.

The start is fixed for good: changing it, or renaming a hospital, would orphan what has been recorded.
"""

from datetime import date
from typing import Final

import dagster as dg

from track_pipeline.domain.encounter import GROUP_TIME_ZONE
from track_pipeline.domain.hospital import Hospital, Registry

TIME_ZONE: Final = GROUP_TIME_ZONE.key
FIRST_DAY: Final = "2025-01-01"


def patient_days(registry: Registry) -> dg.MultiPartitionsDefinition:
    """Day of the encounter x hospital; a day's key exists once the day is over in São Paulo."""
    return dg.MultiPartitionsDefinition(
        {
            "date": dg.DailyPartitionsDefinition(start_date=FIRST_DAY, timezone=TIME_ZONE),
            "hospital": dg.StaticPartitionsDefinition(list(registry.codes)),
        }
    )


def partition_key(day: date, hospital: str) -> dg.MultiPartitionKey:
    """The key of a hospital-day."""
    return dg.MultiPartitionKey({"date": day.isoformat(), "hospital": hospital})


def place_of(context: dg.AssetExecutionContext, registry: Registry) -> tuple[Hospital, date]:
    """The hospital and day that a step is about."""
    key = context.partition_key
    if not isinstance(key, dg.MultiPartitionKey):
        raise TypeError(f"{key!r} is not a key of date and hospital")
    dimensions = key.keys_by_dimension
    return registry.hospital(dimensions["hospital"]), date.fromisoformat(dimensions["date"])
