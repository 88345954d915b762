"""The systems of which the demo can make databases. A new system needs one entry here and a module with its tables."""

from collections.abc import Mapping
from typing import Final

from track_pipeline.demo.his.mv import MV
from track_pipeline.demo.his.system import DemoSystem
from track_pipeline.demo.his.tasy import TASY
from track_pipeline.errors import ConfigError

DEMO_SYSTEMS: Final[Mapping[str, DemoSystem]] = {each.key: each for each in (MV, TASY)}


def demo_system(key: str) -> DemoSystem:
    """Return the system with a key. Raises ConfigError when the demo has no tables for it."""
    found = DEMO_SYSTEMS.get(key)
    if found is None:
        raise ConfigError(
            f"the demo has no synthetic databases of {key!r}; add a module to demo/his/, or set TRACK_DEMO_DB"
        )
    return found
