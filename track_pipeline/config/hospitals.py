"""Reads the registry of hospitals (`hospitals.toml`)."""

from pathlib import Path

from pydantic import ValidationError

from track_pipeline.config.files import describe, package_file, read_toml
from track_pipeline.domain.hospital import Registry
from track_pipeline.errors import ConfigError


def load_registry(path: Path | None = None) -> Registry:
    """Read and validate the registry; `path` defaults to the one shipped with the package.

    Raises ConfigError naming file, hospital and field.
    """
    path = path or package_file("hospitals.toml")
    data = read_toml(path)
    try:
        return Registry.model_validate(data)
    except ValidationError as error:
        raise ConfigError(describe(path, data, error)) from None
