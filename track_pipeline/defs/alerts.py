"""What tells people that something needs them: a look every five minutes, and what becomes of runs.

They ask the ledger and Dagster, never a hospital or Track.co, and start nothing.
"""

from collections.abc import Sequence
from datetime import date
from typing import Final

import dagster as dg

from track_pipeline.defs.naming import Names
from track_pipeline.defs.partitions import patient_days
from track_pipeline.defs.reminders import cohorts
from track_pipeline.defs.schedules import DAILY
from track_pipeline.domain.areas import AREAS
from track_pipeline.domain.channels import Channel
from track_pipeline.domain.hospital import Registry
from track_pipeline.domain.waves import Wave, is_reminder
from track_pipeline.ports import Alert, AlertKind
from track_pipeline.runtime import Runtime
from track_pipeline.services.alerting.problems import WATCHED, gate, problems, throttled
from track_pipeline.services.daily.dispatch import GateTripped
from track_pipeline.services.daily.extraction import EXTRACT
from track_pipeline.services.daily.invitation import INVITATION
from track_pipeline.services.daily.sending import DispatchStopped

_DAILY_STEPS: Final = (EXTRACT, INVITATION, *(channel.step for channel in Channel))
_PARTITION, _WILL_RETRY = "dagster/partition", "dagster/will_retry"

# Of a run in which everything failed, so many failures are told; the others are in Dagster.
_MOST_FAILURES_TOLD: Final = 3


def alert_definitions(
    names: Names, registry: Registry, waves: Sequence[Wave], status: dg.DefaultSensorStatus, *, in_demo: bool
) -> dg.Definitions:
    """The sensors that tell of problems, failed runs, and their end."""
    partitions: dict[str, dg.MultiPartitionsDefinition] = {
        DAILY: patient_days(registry),
        **{wave.key: cohorts(registry, wave, in_demo=in_demo) for wave in waves},
    }

    @dg.sensor(
        name="alert_problems",
        minimum_interval_seconds=300,
        default_status=status,
        description="Tells of tripped gates, a throttle, unknown sends and silent hospitals, and when they are over.",
    )
    def alert_problems(runtime: dg.ResourceParam[Runtime]) -> dg.SkipReason:
        found = problems(runtime.ledger, runtime.registry, runtime.clock())
        runtime.alerting.watch(found, WATCHED, runtime.registry.codes)
        return dg.SkipReason(f"problems: {len(found)}")

    @dg.run_failure_sensor(
        name="alert_failed_runs",
        default_status=status,
        description="Tells of runs that failed, once per hospital-day, with what their steps said.",
    )
    def alert_failed_runs(context: dg.RunFailureSensorContext, runtime: dg.ResourceParam[Runtime]) -> None:
        if context.dagster_run.tags.get(_WILL_RETRY) == "true":
            return
        is_throttled = throttled().key in runtime.ledger.alerts.all().get_column("key")
        failures = context.get_step_failure_events()
        for alert in _failure_alerts(names.hub, context.dagster_run, failures, is_throttled=is_throttled):
            runtime.alerting.send(alert)

    @dg.run_status_sensor(
        run_status=dg.DagsterRunStatus.SUCCESS,
        name="alert_recovered_runs",
        default_status=status,
        description="Tells that what a failed run left undone is done.",
    )
    def alert_recovered_runs(context: dg.RunStatusSensorContext, runtime: dg.ResourceParam[Runtime]) -> None:
        run = context.dagster_run
        key = _run_alert(names.hub, run, []).key
        if key not in runtime.ledger.alerts.all().get_column("key"):
            return
        job = _job_of(run)
        keys = [key for step in _steps_of(job) for key in names.keys_of(step)]
        if not keys or not _has_failed(context.instance, keys, partitions[job], run.tags[_PARTITION]):
            runtime.alerting.close([key])

    return dg.Definitions(sensors=[alert_problems, alert_failed_runs, alert_recovered_runs])


def _failure_alerts(
    hub: str, run: dg.DagsterRun, events: Sequence[dg.DagsterEvent], *, is_throttled: bool
) -> list[Alert]:
    """One alert for the gates that tripped in a run, one for all else; none for what the open throttle explains."""
    told = [_told(event) for event in events]
    tripped = [text for error, text in told if error == GateTripped.__name__]
    others = [
        text
        for error, text in told
        if error != GateTripped.__name__ and not (is_throttled and error == DispatchStopped.__name__)
    ]
    alerts = []
    if tripped:
        day, hospital = _place(run)
        alerts.append(gate(hospital, date.fromisoformat(day), _joined(tripped)))
    if others or not told:
        alerts.append(_run_alert(hub, run, others))
    return alerts


def _told(event: dg.DagsterEvent) -> tuple[str, str]:
    """The kind of error that failed a step, and what may be told of it: only what the step itself wrote for people."""
    written = event.step_failure_data.user_failure_data
    if written is None:
        return "", f"{event.step_key} failed; look at its run."
    error = written.metadata.get("error")
    return str(error.value) if error else "", written.description or ""


def _run_alert(hub: str, run: dg.DagsterRun, failures: Sequence[str]) -> Alert:
    day, hospital = _place(run)
    job = _job_of(run)
    # Hubs share the ledger that remembers what was told: what is of no hospital is told apart by the hub.
    detail = " ".join(part for part in ("" if hospital else hub, day, job) if part)
    what = f"{hospital} {detail}".strip()
    told = _joined(failures) or "It failed outside its steps: its process died, or could not start."
    again = (
        "The sweep runs it again every hour until 19:15, for 7 days" if job == DAILY else "Its schedule runs it again"
    )
    text = f"{told} {again}; or launch it again in Dagster once the cause is mended."
    return Alert(f"{what}: the run failed", text, f"/runs/{run.run_id}", AlertKind.RUN, hospital, detail)


def _joined(texts: Sequence[str]) -> str:
    more = len(texts) - _MOST_FAILURES_TOLD
    return " ".join([*texts[:_MOST_FAILURES_TOLD], *([f"And {more} more."] if more > 0 else [])])


def _place(run: dg.DagsterRun) -> tuple[str, str]:
    """Day and hospital of a run's partition, each empty where it has none."""
    tags = run.tags
    return tags.get(f"{_PARTITION}/date", tags.get(_PARTITION, "")), tags.get(f"{_PARTITION}/hospital", "")


def _job_of(run: dg.DagsterRun) -> str:
    """The job whose work a run does: its own, or that of the assets which somebody materialised by hand."""
    if _steps_of(run.job_name):
        return run.job_name
    steps = {key.path[-2] for key in run.asset_selection or () if key.path[-1] in AREAS}
    if steps & set(_DAILY_STEPS):
        return DAILY
    return next((step for step in sorted(steps) if _steps_of(step)), run.job_name)


def _steps_of(job: str) -> tuple[str, ...]:
    """The steps of a job whose failures are reported per hospital-day; none for other jobs."""
    if job == DAILY:
        return _DAILY_STEPS
    return (job,) if is_reminder(job) else ()


def _has_failed(
    instance: dg.DagsterInstance,
    keys: Sequence[dg.AssetKey],
    partitions: dg.MultiPartitionsDefinition,
    partition_key: str,
) -> bool:
    """Whether one of the assets is still as a failed run left it."""
    statuses = (instance.get_status_by_partition(key, [partition_key], partitions) or {} for key in keys)
    return any(status.get(partition_key) == dg.AssetPartitionStatus.FAILED for status in statuses)
