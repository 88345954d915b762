"""The installation that is measured: demo settings with the benchmark's folders, databases and Track.co."""

from pathlib import Path

from benchmarks.people import NOW
from track_pipeline.config.settings import Settings, load_settings


def settings(home: Path, databases: Path, url: str, hospitals: tuple[str, ...] = ()) -> Settings:
    """Return settings with the clock at `NOW`. `databases`: folder of DuckDB files; `url`: a Track.co on loopback."""
    return load_settings(
        {},
        env_file=None,
        TRACK_HOME=str(home),
        TRACK_DEMO_DB=str(databases),
        TRACK_API_URL=url,
        TRACK_HOSPITALS=",".join(hospitals),
        TRACK_NOW=NOW.isoformat(),
    )
