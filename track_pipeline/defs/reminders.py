"""`reminder_7d/<area>`, `reminder_14d/<area>`: send the first and second reminder. There is no third.

Partitions are cohort dates x hospitals; a key exists once its reminder is due. These assets contact patients, so
they have no retry policy, no automation condition and no single-run backfill.
"""

from collections.abc import Iterator, Sequence
from datetime import datetime, time, timedelta
from typing import Final

import dagster as dg

from track_pipeline.defs.failures import told_to_the_operator
from track_pipeline.defs.feedback import ANSWERS
from track_pipeline.defs.naming import AREA_TAG, OWNERS, Group, Names
from track_pipeline.defs.partitions import FIRST_DAY, TIME_ZONE, partition_key, place_of
from track_pipeline.domain.areas import AREAS, Area
from track_pipeline.domain.calendar import window_is_open
from track_pipeline.domain.hospital import Hospital, Registry
from track_pipeline.domain.waves import Wave
from track_pipeline.runtime import Runtime
from track_pipeline.services.daily.invitation import INVITATION
from track_pipeline.services.daily.reminders import ReminderReport

# Reminders start two hours after the daily job (08:00), and the sensors start half an hour after the schedule.
_SCHEDULE_HOUR: Final = 10
_SENSORS_FROM: Final = time(10, 30)


def cohorts(registry: Registry, wave: Wave, *, in_demo: bool) -> dg.MultiPartitionsDefinition:
    """Return the partitions cohort date x hospital of a wave; a date's keys exist once its reminder is due.

    Invitations of cohort date D are sent on D+1, so the reminder of 7 days is due on D+8: `end_offset` is -7.
    Dagster does not see the clock that the demo sets forward. There a cohort's keys exist at once, and the rules of
    reminders still wait until the reminder is due.
    """
    offset = 0 if in_demo else -wave.days
    return dg.MultiPartitionsDefinition(
        {
            "date": dg.DailyPartitionsDefinition(start_date=FIRST_DAY, timezone=TIME_ZONE, end_offset=offset),
            "hospital": dg.StaticPartitionsDefinition(list(registry.codes)),
        }
    )


def reminder_definitions(
    names: Names,
    registry: Registry,
    waves: Sequence[Wave],
    schedules: dg.DefaultScheduleStatus,
    sensors: dg.DefaultSensorStatus,
    *,
    in_demo: bool,
) -> dg.Definitions:
    """Return the assets, jobs, schedules and sensors of the policy's waves of reminders."""
    of_each = [_wave_definitions(names, registry, wave, schedules, sensors, in_demo=in_demo) for wave in waves]
    return dg.Definitions.merge(*of_each)


def _wave_definitions(
    names: Names,
    registry: Registry,
    wave: Wave,
    schedules: dg.DefaultScheduleStatus,
    sensors: dg.DefaultSensorStatus,
    *,
    in_demo: bool,
) -> dg.Definitions:
    partitions = cohorts(registry, wave, in_demo=in_demo)
    assets = [_reminder(names, wave, area, partitions) for area in AREAS]
    # The run reads answers first, so a person who answered a minute ago gets no reminder.
    selection = dg.AssetSelection.assets(*assets) | dg.AssetSelection.assets(names.key(ANSWERS))
    job = dg.define_asset_job(wave.key, selection=selection, executor_def=dg.in_process_executor)
    daily = dg.build_schedule_from_partitioned_job(
        job,
        name=f"{wave}_daily",
        description=f"Reminders of the cohort date that falls due today, at {_SCHEDULE_HOUR}:00 in São Paulo.",
        hour_of_day=_SCHEDULE_HOUR,
        minute_of_hour=0,
        default_status=schedules,
    )

    @dg.sensor(
        name=f"{wave}_stragglers",
        job=job,
        minimum_interval_seconds=600,
        default_status=sensors,
        description="Runs cohorts with reminders due but not sent: invited late, missed, or refused for stale answers.",
    )
    def stragglers(runtime: dg.ResourceParam[Runtime]) -> Iterator[dg.RunRequest | dg.SkipReason]:
        yield from _due(runtime, wave, runtime.clock())

    @dg.asset_sensor(
        asset_key=names.key(ANSWERS),
        name=f"{wave}_fresh_answers",
        job=job,
        default_status=sensors,
        description=f"Runs the same cohorts as {wave}_stragglers, as soon as answers have been read.",
    )
    def fresh_answers(
        _context: dg.SensorEvaluationContext, _event: dg.EventLogEntry, runtime: dg.ResourceParam[Runtime]
    ) -> Iterator[dg.RunRequest | dg.SkipReason]:
        yield from _due(runtime, wave, runtime.clock())

    return dg.Definitions(assets=assets, jobs=[job], schedules=[daily], sensors=[stragglers, fresh_answers])


def _due(runtime: Runtime, wave: Wave, now: datetime) -> Iterator[dg.RunRequest | dg.SkipReason]:
    """Yield one request a day per hospital and cohort date with reminders due; reads the ledger only."""
    newest_day = now.astimezone(runtime.registry.hospitals[0].zone).date() - timedelta(days=wave.days)
    oldest_day = newest_day - timedelta(days=runtime.policy.reminder(wave).catch_up_days)
    requested = False
    for day, code in runtime.ledger.reminders.cohorts_due(wave, oldest_day, newest_day):
        if code in runtime.registry.codes and _may_start(runtime.registry.hospital(code), now):
            requested = True
            key = partition_key(day, code)
            yield dg.RunRequest(partition_key=key, run_key=f"{wave}|{key}|{now:%Y-%m-%d}")
    if not requested:
        yield dg.SkipReason(f"no hospital has a {wave} that is due and may start now")


def _may_start(hospital: Hospital, now: datetime) -> bool:
    local = now.astimezone(hospital.zone)
    is_ours = hospital.reminders == "ours"
    return is_ours and local.time() >= _SENSORS_FROM and window_is_open(hospital.send_window, local)


def _reminder(names: Names, wave: Wave, area: Area, partitions: dg.MultiPartitionsDefinition) -> dg.AssetsDefinition:
    @dg.asset(
        key=names.key_of(wave.key, area),
        deps=[names.key_of(INVITATION, area), names.key(ANSWERS)],
        partitions_def=partitions,
        group_name=Group.REMINDERS.value,
        tags={AREA_TAG: area.value},
        owners=OWNERS,
        kinds={wave.key, "track"},
        pool="track_api",
        description=(
            f"Reminders of {area.label} to people invited {wave.days} days ago who have not answered, opted out, "
            "died or had another encounter since. At most one per person and wave, however often it is run."
        ),
    )
    def reminder(context: dg.AssetExecutionContext, runtime: dg.ResourceParam[Runtime]) -> dg.MaterializeResult:  # type: ignore[type-arg]  # Dagster reads the bare class
        with told_to_the_operator(context):
            hospital, day = place_of(context, runtime.registry)
            report = runtime.daily.reminder.remind(hospital, day, area, wave, context.run.run_id)
            return dg.MaterializeResult(metadata=_metadata(report))

    return reminder


def _metadata(report: ReminderReport) -> dict[str, dg.MetadataValue]:
    counts = {
        "candidates": report.candidates,
        "due": report.lines,
        "sent": report.sent,
        "rejected": report.rejected,
        "unknown": report.unknown,
    }
    return {name: dg.MetadataValue.int(count) for name, count in counts.items()} | {
        "candidates_by_result": dg.MetadataValue.json(report.results),
        "held": dg.MetadataValue.json(report.held),
    }
