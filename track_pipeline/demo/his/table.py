"""The systems that the demo can make databases of. A new system gets one entry here; its tables are in its module."""

from collections.abc import Mapping
from typing import Final

from track_pipeline.demo.his.mv import MV
from track_pipeline.demo.his.system import DemoSystem
from track_pipeline.demo.his.tasy import TASY
from track_pipeline.errors import ConfigError

DEMO_SYSTEMS: Final[Mapping[str, DemoSystem]] = {each.key: each for each in (MV, TASY)}


def demo_system(key: str) -> DemoSystem:
    """Return the system of that key. Raises ConfigError when the demo has no tables for it."""
    found = DEMO_SYSTEMS.get(key)
    if found is None:
        raise ConfigError(
            f"the demo has no synthetic databases of {key!r}; add a module to demo/his/, or set TRACK_DEMO_DB"
        )
    return found
