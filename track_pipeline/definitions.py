"""The composition root of the Dagster project: settings and registry in, definitions out.

Importing this module reads nothing. Loading the definitions reads settings, registry and rules, and opens no
connection. Tests call `build_defs`.
"""

import gc
from collections.abc import Iterator
from contextlib import ExitStack, closing

import dagster as dg

from track_pipeline.config.settings import Settings, load_settings
from track_pipeline.defs.alerts import alert_definitions
from track_pipeline.defs.dispatches import dispatch_assets
from track_pipeline.defs.extracts import extract_assets
from track_pipeline.defs.feedback import feedback_definitions
from track_pipeline.defs.invitations import invitation_assets
from track_pipeline.defs.naming import Names
from track_pipeline.defs.partitions import patient_days
from track_pipeline.defs.reconciliation import reconciliation_definitions
from track_pipeline.defs.reminders import reminder_definitions
from track_pipeline.defs.reports import report_definitions
from track_pipeline.defs.retention import retention_definitions
from track_pipeline.defs.schedules import daily_definitions
from track_pipeline.hosting.instance import files_held_open
from track_pipeline.runtime import Runtime


def build_defs(settings: Settings, runtime: Runtime | None = None) -> dg.Definitions:
    """Return all assets, checks, jobs, schedules and sensors of an installation.

    Tests and the demo pass a `runtime`, which is then used instead of one made from `settings`. Raises ConfigError
    when registry or rules are wrong, or when a setting that production needs is missing.
    """
    shared = runtime or Runtime(settings)
    if not settings.is_demo:
        settings.check_production(shared.registry)
    names, partitions = Names(settings.hub), patient_days(shared.registry)
    assets = [
        extract_assets(names, partitions),
        invitation_assets(names, partitions),
        *dispatch_assets(names, partitions),
    ]
    if settings.is_demo:
        schedules, sensors = dg.DefaultScheduleStatus.STOPPED, dg.DefaultSensorStatus.STOPPED
    else:
        schedules, sensors = dg.DefaultScheduleStatus.RUNNING, dg.DefaultSensorStatus.RUNNING
    return dg.Definitions.merge(
        dg.Definitions(
            assets=assets,
            resources={"runtime": _runtime_of_a_run(settings, runtime)},
            executor=dg.in_process_executor,
        ),
        daily_definitions(assets, partitions, shared.registry, schedules, sensors),
        feedback_definitions(names, schedules),
        reconciliation_definitions(names, schedules),
        reminder_definitions(names, shared.registry, shared.policy.waves, schedules, sensors, in_demo=settings.is_demo),
        report_definitions(names, schedules),
        retention_definitions(schedules),
        alert_definitions(names, shared.registry, shared.policy.waves, sensors, in_demo=settings.is_demo),
    )


def _runtime_of_a_run(settings: Settings, given: Runtime | None) -> dg.ResourceDefinition:
    """Return a resource: the given runtime, else a runtime per run that is closed when the run ends."""

    @dg.resource(description="The parts of the installation: hospitals, ledger, lake, Track.co.")
    def runtime(context: dg.InitResourceContext) -> Iterator[Runtime]:
        with ExitStack() as stack:
            if context.instance and context.run:
                stack.enter_context(files_held_open(context.instance, context.run.run_id))
            yield given or stack.enter_context(closing(Runtime(settings)))

    return runtime


@dg.definitions
def defs() -> dg.Definitions:
    """Return the definitions that Dagster loads, made from the settings."""
    loaded = build_defs(load_settings())
    # These objects live as long as the process. Without the freeze the garbage collector searches them again and
    # again, and a run takes an eighth longer.
    gc.freeze()
    return loaded
