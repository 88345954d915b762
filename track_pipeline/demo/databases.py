"""The demo's databases: files in the folder `TRACK_DEMO_DB`, else synthetic ones, made for the day that is read.

The contents of a synthetic database follow from the registry and the rules, so a hospital that is added to them has
data in the demo without a change of code.
"""

from collections.abc import Callable, Iterator, Mapping
from datetime import datetime

from track_pipeline.adapters.hospitals.duckdb import DuckDbReader, folder_connector
from track_pipeline.config.rules import databases_read
from track_pipeline.config.settings import Settings
from track_pipeline.demo.his.system import Code, DatabaseProfile
from track_pipeline.demo.his.table import demo_system
from track_pipeline.demo.hospitals import synthetic_connector
from track_pipeline.domain.hospital import Registry
from track_pipeline.domain.ruleset import Condition, RuleSet


def demo_reader(
    settings: Settings, registry: Registry, rules: Mapping[str, RuleSet], clock: Callable[[], datetime]
) -> DuckDbReader:
    """Return a reader of the demo's databases, one per alias that the registry or a rule names."""
    databases = databases_read(registry, rules)
    if settings.demo_db is not None:
        return DuckDbReader(folder_connector(settings.demo_db), databases)
    connect = synthetic_connector(profiles(registry, rules), settings.demo_seed, clock, settings.demo_volume)
    return DuckDbReader(connect, databases)


def profiles(registry: Registry, rules: Mapping[str, RuleSet]) -> Iterator[DatabaseProfile]:
    """Yield one profile per database: its HIS, the companies in use and the codes that rules name."""
    read = databases_read(registry, rules)
    his = {alias: hospital.his for hospital in registry.hospitals for alias in read[hospital.code]}
    for alias, kind in his.items():
        readers = [hospital for hospital in registry.hospitals if alias in read[hospital.code]]
        companies = {
            company
            for hospital in readers
            if hospital.database == alias
            for unit in hospital.units
            for company in unit.companies
        }
        conditions = [
            (rules[hospital.code], condition)
            for hospital in readers
            for condition in _conditions(rules[hospital.code], own=hospital.database == alias, alias=alias)
        ]
        codes: dict[str, dict[Code, None]] = {}
        for ruleset, condition in conditions:
            codes.setdefault(condition.column, {}).update(dict.fromkeys(ruleset.codes(condition)))
        pools = {column: tuple(listed) for column, listed in codes.items() if listed}
        yield DatabaseProfile(alias, demo_system(kind), tuple(sorted(companies)), pools)


def _conditions(rules: RuleSet, *, own: bool, alias: str) -> Iterator[Condition]:
    """Yield the conditions of the rules that read a database. Rules for the hospital's own database name none."""
    for rule in rules.rules:
        if rule.database == (None if own else alias):
            yield from rule.when
            yield from rule.unless
            for case in rule.setor:
                yield from case.when
    for exclusion in rules.exclusions:
        yield from exclusion.when
