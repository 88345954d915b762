"""Reads configuration files: paths of packaged files, TOML as dicts, and errors that name file and field."""

import hashlib
import tomllib
from importlib.resources import files
from pathlib import Path

from pydantic import ValidationError

from track_pipeline.errors import ConfigError


def package_file(name: str) -> Path:
    """Return the path of a data file shipped with the package (hospitals.toml, policy.toml, rules/, sql/)."""
    return Path(str(files("track_pipeline").joinpath(name)))


def digest(path: Path) -> str:
    """Return the version of a rules or policy file: 12 hex digits of its SHA-256, equal for all line endings."""
    text = path.read_text(encoding="utf-8")
    return hashlib.sha256(text.encode()).hexdigest()[:12]


def read_toml(path: Path) -> dict[str, object]:
    """Read a TOML file as a dict. Raises ConfigError when it is missing, unreadable or not TOML."""
    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise ConfigError(f"{path.name}: there is no file {path}") from None
    except OSError as error:
        raise ConfigError(f"{path.name}: {path} cannot be read: {error.strerror}") from None
    except (ValueError, RecursionError) as error:
        # Not only invalid TOML: Python also rejects numbers with thousands of digits, and deep nesting.
        raise ConfigError(f"{path.name}: not valid TOML: {error}") from None


def describe(path: Path, data: object, error: ValidationError) -> str:
    """Describe each problem in one line, such as `rules.toml: rule inpatient: field: problem`, without values."""
    return "\n".join(
        f"{path.name}: {_location(data, problem['loc'])}{problem['msg'].removeprefix('Value error, ')}"
        for problem in error.errors(include_input=False, include_url=False)
    )


def _location(data: object, location: tuple[int | str, ...]) -> str:
    words: list[str] = []
    for step in location:
        data = _child(data, step)
        if isinstance(step, int):
            name = next((data[key] for key in ("code", "id") if key in data), None) if isinstance(data, dict) else None
            words[-1:] = [f"{words[-1] if words else 'entry'} {name or f'number {step + 1}'}"]
        else:
            words.append(step)
    return "".join(f"{word}: " for word in words)


def _child(data: object, step: int | str) -> object:
    if isinstance(data, dict):
        return data.get(step)
    if isinstance(data, list) and isinstance(step, int) and step < len(data):
        return data[step]
    return None
