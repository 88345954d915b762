"""The key of an encounter, and the time zone of the group. Both are defined here only."""

from typing import Final
from zoneinfo import ZoneInfo

# An encounter number is unique within a database. A hospital may read several databases.
ENCOUNTER_KEY: Final = ("database", "encounter_id")
# The key within the ledger, which holds the encounters of all hospitals.
LEDGER_ENCOUNTER_KEY: Final = ("hospital", *ENCOUNTER_KEY)

# The time zone of partitions, schedules, cohort dates and the log. A hospital's own zone is in hospitals.toml.
GROUP_TIME_ZONE: Final = ZoneInfo("America/Sao_Paulo")
