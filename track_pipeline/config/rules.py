"""Reads the folder of rule files (`rules/`): one `<HOSPITAL>.toml` per hospital, shared lists in `_shared.toml`.

`domain.ruleset` defines and validates their content; only reading files and error texts belong here.
"""

import hashlib
from collections.abc import Mapping
from pathlib import Path

from pydantic import ValidationError

from track_pipeline.config.files import describe, digest, package_file, read_toml
from track_pipeline.domain.hospital import Hospital, Registry
from track_pipeline.domain.ruleset import CodeLists, RuleSet, SharedLists
from track_pipeline.errors import ConfigError

_SHARED = "_shared.toml"


def load_rulebook(registry: Registry, folder: Path | None = None) -> dict[str, RuleSet]:
    """Read the rules of every hospital of the registry, by code; `folder` defaults to the one shipped with the package.

    Raises ConfigError naming hospital, file, rule and field.
    """
    return {hospital.code: load_rules(hospital, folder) for hospital in registry.hospitals}


def load_rules(hospital: Hospital, folder: Path | None = None) -> RuleSet:
    """Read the rules of one hospital; `folder` defaults to the one shipped with the package.

    Raises ConfigError naming hospital, file, rule and field.
    """
    folder = folder or package_file("rules")
    path = folder / f"{hospital.code}.toml"
    if not path.is_file():
        raise ConfigError(
            f"hospital {hospital.code} has no rules: create {path}; {_SHARED} in that folder explains how"
        )
    shared = folder / _SHARED
    data = read_toml(path)
    lists, own = _shared_lists(shared), data.get("sets", {})
    given = {
        "his": hospital.his,
        "version": _version(path, shared),
        "sets": lists | own if isinstance(own, dict) else own,
    }
    try:
        rules = RuleSet.model_validate(data | given)
    except ValidationError as error:
        raise ConfigError(describe(path, data, error)) from None
    if hospital.database in rules.other_databases:
        raise ConfigError(f"{path.name}: rule: database: {hospital.database} is the hospital's own; leave it out")
    return rules


def _shared_lists(path: Path) -> CodeLists:
    if not path.is_file():
        return {}
    data = read_toml(path)
    try:
        return SharedLists.model_validate(data).sets
    except ValidationError as error:
        raise ConfigError(describe(path, data, error)) from None


def _version(*paths: Path) -> str:
    digests = "".join(digest(path) for path in paths if path.is_file())
    return hashlib.sha256(digests.encode()).hexdigest()[:12]


def databases_read(registry: Registry, rules: Mapping[str, RuleSet]) -> dict[str, tuple[str, ...]]:
    """Return the database aliases of each hospital, by code: its own, then the others that its rules name."""
    return {
        hospital.code: (hospital.database, *rules[hospital.code].other_databases) for hospital in registry.hospitals
    }
