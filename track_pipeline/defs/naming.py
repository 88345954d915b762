"""Names, groups, tags and checks of assets, shared by all factories of assets."""

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

# The first kind of every asset with an area is its step: of a key, Dagster's graph shows the last part only, the area.


@dataclass(frozen=True)
class Names:
    """The asset keys of an installation. Hubs (`TRACK_HUB`) share a Dagster, so its keys begin with its name."""

    hub: str

    def key(self, *parts: str) -> dg.AssetKey:
        """Return the asset key of these parts, below the hub's name."""
        return dg.AssetKey([self.hub, *parts] if self.hub else parts)

    def key_of(self, step: str, area: Area) -> dg.AssetKey:
        """Return the asset key `<step>/<area>`."""
        return self.key(step, area.value)

    def keys_of(self, step: str) -> list[dg.AssetKey]:
        """Return the asset keys of a step, in the order of `AREAS`."""
        return [self.key_of(step, area) for area in AREAS]


def selected_areas(context: dg.AssetExecutionContext) -> list[Area]:
    """Return the areas that a run selected of a step with one output per area, in the order of `AREAS`."""
    selected = {key.path[-1] for key in context.selected_asset_keys}
    return [area for area in AREAS if area.value in selected]


def check(name: str, key: dg.AssetKey, partitions: dg.PartitionsDefinition, description: str) -> dg.AssetCheckSpec:
    """Return the spec of a check that the step of its asset evaluates, per partition."""
    with warnings.catch_warnings():
        # Partitioned checks are in preview since Dagster 1.13. Without them only the display of these checks would be
        # lost: the gates that hold back a dispatch do not use them (domain/gates.py).
        warnings.simplefilter("ignore", dg.PreviewWarning)
        return dg.AssetCheckSpec(name, asset=key, description=description, partitions_def=partitions)


def results(
    context: dg.AssetExecutionContext, key: dg.AssetKey, verdicts: dict[str, tuple[bool, str]]
) -> list[dg.AssetCheckResult]:
    """Return results for the checks that the run selected. `verdicts`: name of a check to (passed, detail)."""
    wanted = context.selected_asset_check_keys
    return [
        dg.AssetCheckResult(check_name=name, asset_key=key, passed=passed, metadata={"detail": detail})
        for name, (passed, detail) in verdicts.items()
        if dg.AssetCheckKey(key, name) in wanted
    ]
