"""An installation to measure: settings of the demo with folders, databases and a Track.co of the benchmark's."""

from pathlib import Path

from benchmarks.people import NOW
from track_pipeline.config.settings import Settings, load_settings


def settings(home: Path, databases: Path, url: str, hospitals: tuple[str, ...] = ()) -> Settings:
    """Settings whose clock stands at `NOW`; `databases` is a folder of DuckDB files, `url` a Track.co on loopback."""
    return load_settings(
        {},
        env_file=None,
        TRACK_HOME=str(home),
        TRACK_DEMO_DB=str(databases),
        TRACK_API_URL=url,
        TRACK_HOSPITALS=",".join(hospitals),
        TRACK_NOW=NOW.isoformat(),
    )
