"""The sensors that send alerts: one checks for problems every five minutes, two watch the status of runs.

They read the ledger and Dagster, never a hospital or Track.co, and start no run.
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

# An alert quotes at most this many failures of a run; Dagster shows all of them.
_MOST_FAILURES_QUOTED: Final = 3


def alert_definitions(
    names: Names, registry: Registry, waves: Sequence[Wave], status: dg.DefaultSensorStatus, *, in_demo: bool
) -> dg.Definitions:
    """Return the sensors that report problems and failed runs, and close their alerts."""
    partitions: dict[str, dg.MultiPartitionsDefinition] = {
        DAILY: patient_days(registry),
        **{wave.key: cohorts(registry, wave, in_demo=in_demo) for wave in waves},
    }

    @dg.sensor(
        name="alert_problems",
        minimum_interval_seconds=300,
        default_status=status,
        description="Reports tripped gates, a throttle, unknown sends and missing extracts, and their end.",
    )
    def alert_problems(runtime: dg.ResourceParam[Runtime]) -> dg.SkipReason:
        found = problems(runtime.ledger, runtime.registry, runtime.clock())
        runtime.alerting.watch(found, WATCHED, runtime.registry.codes)
        return dg.SkipReason(f"problems: {len(found)}")

    @dg.run_failure_sensor(
        name="alert_failed_runs",
        default_status=status,
        description="Reports failed runs, once per hospital-day, with the errors of their steps.",
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
        description="Closes the alert of a failed run when a later run has done its work.",
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
    """Return one alert for the gates that tripped in a run and one for its other failures.

    While Track.co throttles, a stopped dispatch gets no alert: the alert of the throttle covers it.
    """
    failed = [_error_and_text(event) for event in events]
    tripped = [text for error, text in failed if error == GateTripped.__name__]
    others = [
        text
        for error, text in failed
        if error != GateTripped.__name__ and not (is_throttled and error == DispatchStopped.__name__)
    ]
    alerts = []
    if tripped:
        day, hospital = _day_and_hospital(run)
        alerts.append(gate(hospital, date.fromisoformat(day), _joined(tripped)))
    if others or not failed:
        alerts.append(_run_alert(hub, run, others))
    return alerts


def _error_and_text(event: dg.DagsterEvent) -> tuple[str, str]:
    """Return the kind of error that failed a step, and its text for operators.

    Only a text that the step wrote for operators is used: any other may quote patient data.
    """
    written = event.step_failure_data.user_failure_data
    if written is None:
        return "", f"{event.step_key} failed; see its run in Dagster."
    error = written.metadata.get("error")
    return str(error.value) if error else "", written.description or ""


def _run_alert(hub: str, run: dg.DagsterRun, failures: Sequence[str]) -> Alert:
    day, hospital = _day_and_hospital(run)
    job = _job_of(run)
    # Hubs share the ledger with its alerts, so an alert without a hospital carries the name of its hub.
    detail = " ".join(part for part in ("" if hospital else hub, day, job) if part)
    what = f"{hospital} {detail}".strip()
    cause = _joined(failures) or "The run failed outside its steps: its process died or could not start."
    again = (
        "The sweep runs it again every hour until 19:15, for 7 days" if job == DAILY else "Its schedule runs it again"
    )
    text = f"{cause} {again}. To run it sooner, fix the cause and launch it again in Dagster."
    return Alert(f"{what}: the run failed", text, f"/runs/{run.run_id}", AlertKind.RUN, hospital, detail)


def _joined(texts: Sequence[str]) -> str:
    more = len(texts) - _MOST_FAILURES_QUOTED
    return " ".join([*texts[:_MOST_FAILURES_QUOTED], *([f"And {more} more."] if more > 0 else [])])


def _day_and_hospital(run: dg.DagsterRun) -> tuple[str, str]:
    """Return the date and the hospital of a run's partition; a missing one is empty."""
    tags = run.tags
    return tags.get(f"{_PARTITION}/date", tags.get(_PARTITION, "")), tags.get(f"{_PARTITION}/hospital", "")


def _job_of(run: dg.DagsterRun) -> str:
    """Return the job whose work a run does: its own, or the job of the assets that an operator materialised."""
    if _steps_of(run.job_name):
        return run.job_name
    steps = {key.path[-2] for key in run.asset_selection or () if key.path[-1] in AREAS}
    if steps & set(_DAILY_STEPS):
        return DAILY
    return next((step for step in sorted(steps) if _steps_of(step)), run.job_name)


def _steps_of(job: str) -> tuple[str, ...]:
    """Return the steps of a job whose failures are reported per hospital-day; none for other jobs."""
    if job == DAILY:
        return _DAILY_STEPS
    return (job,) if is_reminder(job) else ()


def _has_failed(
    instance: dg.DagsterInstance,
    keys: Sequence[dg.AssetKey],
    partitions: dg.MultiPartitionsDefinition,
    partition_key: str,
) -> bool:
    """Whether one of the assets is still failed for the partition."""
    statuses = (instance.get_status_by_partition(key, [partition_key], partitions) or {} for key in keys)
    return any(status.get(partition_key) == dg.AssetPartitionStatus.FAILED for status in statuses)
