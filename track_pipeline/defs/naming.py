"""How assets are called and described, so that every factory does it the same way."""

import warnings
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

import dagster as dg

from track_pipeline.domain.areas import AREAS, Area


class Group(StrEnum):
    """The groups of the assets: the stages of the pipeline, in the order in which data flows."""

    EXTRACT = "extract"
    INVITATION = "invitation"
    DISPATCH = "dispatch"
    FEEDBACK = "feedback"
    REMINDERS = "reminders"
    REPORT = "report"


# The tag of every asset that belongs to a care area; `tag:area=exames` finds an area's assets.
AREA_TAG: Final = "area"
OWNERS: Final = ["team:patient-experience"]

# The first kind of every asset with an area is its step: Dagster's graph shows of a key its last part only, the area.


@dataclass(frozen=True)
class Names:
    """The asset keys of an installation. Those of a hub (`TRACK_HUB`) begin with its name: hubs share a Dagster."""

    hub: str

    def key(self, *parts: str) -> dg.AssetKey:
        """The asset key of these parts."""
        return dg.AssetKey([self.hub, *parts] if self.hub else parts)

    def key_of(self, step: str, area: Area) -> dg.AssetKey:
        """The asset key `<step>/<area>`."""
        return self.key(step, area.value)

    def keys_of(self, step: str) -> list[dg.AssetKey]:
        """The asset keys of a step, in the areas' order."""
        return [self.key_of(step, area) for area in AREAS]


def selected_areas(context: dg.AssetExecutionContext) -> list[Area]:
    """The areas that a step with one output per area was asked for, in the usual order."""
    selected = {key.path[-1] for key in context.selected_asset_keys}
    return [area for area in AREAS if area.value in selected]


def check(name: str, key: dg.AssetKey, partitions: dg.PartitionsDefinition, description: str) -> dg.AssetCheckSpec:
    """A check that is evaluated by the step of its asset, per partition."""
    with warnings.catch_warnings():
        # Partitioned checks are in preview since 1.13. If they ever go, only the display of these checks goes with
        # them: what a dispatch must hold back for is code of its own (domain/gates.py).
        warnings.simplefilter("ignore", dg.PreviewWarning)
        return dg.AssetCheckSpec(name, asset=key, description=description, partitions_def=partitions)


def results(
    context: dg.AssetExecutionContext, key: dg.AssetKey, verdicts: dict[str, tuple[bool, str]]
) -> list[dg.AssetCheckResult]:
    """The results of the checks that this step was asked to evaluate: name to (passed, detail)."""
    wanted = context.selected_asset_check_keys
    return [
        dg.AssetCheckResult(check_name=name, asset_key=key, passed=passed, metadata={"detail": detail})
        for name, (passed, detail) in verdicts.items()
        if dg.AssetCheckKey(key, name) in wanted
    ]
