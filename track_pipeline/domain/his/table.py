"""The table of hospital information systems, and the values that `hospitals.toml` may contain for them.

A new system needs one entry here. Its description belongs in its own module.
"""

from collections.abc import Iterable, Mapping
from typing import Annotated, Final

from pydantic import BeforeValidator

from track_pipeline.domain.his.mv import MV
from track_pipeline.domain.his.system import HospitalSystem
from track_pipeline.domain.his.tasy import TASY
from track_pipeline.errors import ConfigError

SYSTEMS: Final[Mapping[str, HospitalSystem]] = {each.key: each for each in (MV, TASY)}


def system(key: str) -> HospitalSystem:
    """Return the system with this key. Raises ConfigError when there is none."""
    found = SYSTEMS.get(key)
    if found is None:
        known = ", ".join(f"{each.key} ({each.label})" for each in SYSTEMS.values())
        raise ConfigError(f"no hospital information system {key!r}; there are: {known}")
    return found


def _one_of(value: object, choices: Iterable[str]) -> object:
    """Return the value if it is one of the choices. Raises ValueError with pydantic's text for a Literal."""
    known = tuple(dict.fromkeys(choices))
    if value not in known:
        *others, last = map(repr, known)
        raise ValueError(f"Input should be {' or '.join([*filter(None, [', '.join(others)]), last])}")
    return value


def _key(value: object) -> object:
    return _one_of(value, SYSTEMS)


def _unit_column(value: object) -> object:
    return _one_of(value, (each.columns.unit for each in SYSTEMS.values()))


def _email_source(value: object) -> object:
    return _one_of(value, (source for each in SYSTEMS.values() for source in each.email_sources))


# The key of a system in the table. It is checked when a model is validated, so that a new entry needs no other change.
His = Annotated[str, BeforeValidator(_key)]
# A column that distinguishes units in one of the systems, and an e-mail source of one of the systems.
UnitColumn = Annotated[str, BeforeValidator(_unit_column)]
EmailSource = Annotated[str, BeforeValidator(_email_source)]
