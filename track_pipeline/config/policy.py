"""Reads the policy of all hospitals (`policy.toml`)."""

from pathlib import Path

from pydantic import ValidationError

from track_pipeline.config.files import describe, digest, package_file, read_toml
from track_pipeline.domain.policy import Policy
from track_pipeline.errors import ConfigError


def load_policy(path: Path | None = None) -> Policy:
    """Read and validate the policy; `path` defaults to the one shipped with the package.

    Raises ConfigError naming file and field.
    """
    path = path or package_file("policy.toml")
    data = read_toml(path)
    try:
        return Policy.model_validate(data | {"version": digest(path)})
    except ValidationError as error:
        raise ConfigError(describe(path, data, error)) from None
