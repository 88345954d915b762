"""Reads the surveys and templates of the units (`TRACK_SURVEYS_FILE`)."""

from pathlib import Path

from pydantic import ValidationError

from track_pipeline.config.files import describe, read_toml
from track_pipeline.domain.hospital import Registry
from track_pipeline.domain.surveys import SurveyCatalog
from track_pipeline.errors import ConfigError


def load_surveys(path: Path, registry: Registry) -> SurveyCatalog:
    """Read and validate a surveys file. Raises ConfigError naming file, unit and field."""
    data = read_toml(path)
    try:
        catalog = SurveyCatalog.model_validate(data)
    except ValidationError as error:
        raise ConfigError(describe(path, data, error)) from None
    known = {unit.code for hospital in registry.hospitals for unit in hospital.units}
    unknown = sorted({unit.code for unit in catalog.units} - known)
    if unknown:
        raise ConfigError(f"{path.name}: no such unit in the registry: {', '.join(unknown)}")
    return catalog
