"""Reads configuration files: where the packaged ones are, TOML into dicts, and errors that name file and field."""

import hashlib
import tomllib
from importlib.resources import files
from pathlib import Path

from pydantic import ValidationError

from track_pipeline.errors import ConfigError


def package_file(name: str) -> Path:
    """The path of a data file shipped with the package (hospitals.toml, policy.toml, rules/, sql/)."""
    return Path(str(files("track_pipeline").joinpath(name)))


def digest(path: Path) -> str:
    """The version of a file of rules: the first 12 hex digits of its SHA-256 (line endings do not count)."""
    text = path.read_text(encoding="utf-8")
    return hashlib.sha256(text.encode()).hexdigest()[:12]


def read_toml(path: Path) -> dict[str, object]:
    """A TOML file as a dict. Raises ConfigError when it is missing, unreadable or not TOML."""
    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise ConfigError(f"{path.name}: there is no file {path}") from None
    except OSError as error:
        raise ConfigError(f"{path.name}: {path} cannot be read: {error.strerror}") from None
    except (ValueError, RecursionError) as error:
        # Not only what is no TOML: Python gives up on numbers of thousands of digits, and on deep nesting.
        raise ConfigError(f"{path.name}: not valid TOML: {error}") from None


def describe(path: Path, data: object, error: ValidationError) -> str:
    """One line per problem, `file: block 'code': field: problem`, values left out."""
    return "\n".join(
        f"{path.name}: {_place(data, problem['loc'])}{problem['msg'].removeprefix('Value error, ')}"
        for problem in error.errors(include_input=False, include_url=False)
    )


def _place(data: object, location: tuple[int | str, ...]) -> str:
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
