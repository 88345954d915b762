"""The results of services as JSON objects, which `--json` prints.

Field names become keys in the order of the fields; dates become ISO text. The keys are an interface.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields, is_dataclass
from datetime import date
from typing import TYPE_CHECKING, Final, TypeAlias

from track_pipeline.domain.outcomes import Outcome

if TYPE_CHECKING:
    from _typeshed import DataclassInstance

    from track_pipeline.services.insight.explain import Explanation
    from track_pipeline.services.insight.status import Story

Json: TypeAlias = "bool | int | float | str | list[Json] | dict[str, Json] | None"

_INLINE: Final = "inline"
# Metadata of a field: its own fields, or its keys when it is a mapping, become keys of the object around it.
INLINE: Final[Mapping[str, bool]] = {_INLINE: True}


@dataclass(frozen=True)
class Counted:
    """A number and its parts. As JSON, a field `x` becomes the keys `x` and `x_by`."""

    total: int
    by: Mapping[str, int]


def to_json(value: object) -> Json:
    """Return a value as `json` writes it. Raises TypeError for a type that services do not return."""
    if value is None or isinstance(value, bool | int | float | str):
        return value
    if isinstance(value, date):
        return value.isoformat()
    if isinstance(value, Outcome):
        return str(value)
    if isinstance(value, Mapping):
        return {str(key): to_json(each) for key, each in value.items()}
    if isinstance(value, Sequence):
        return [to_json(each) for each in value]
    if is_dataclass(value) and not isinstance(value, type):
        return to_object(value)
    raise TypeError(f"{type(value).__name__} cannot be written as JSON. Add it to `to_json`")


def to_object(result: "DataclassInstance") -> dict[str, Json]:
    """Return a dataclass as a JSON object."""
    found: dict[str, Json] = {}
    for field in fields(result):
        value = getattr(result, field.name)
        if isinstance(value, Counted):
            found |= {field.name: value.total, f"{field.name}_by": to_json(value.by)}
        elif field.metadata.get(_INLINE):
            inline = to_json(value)
            found |= inline if isinstance(inline, dict) else {}
        else:
            found[field.name] = to_json(value)
    return found


def why_object(story: "Story", explanation: "Explanation") -> dict[str, Json]:
    """Return what `track why --json` prints: the story, then the path through the rules and what must change."""
    explained = to_object(explanation)
    return to_object(story) | {name: explained[name] for name in ("path", "path_note", "change_needed")}
