"""Checks of an installation: a finding for each thing that it needs, and what to do next.

Every check is independent, so a failed check hides no other. Checks change nothing and contact no patient. No finding
has a secret or patient data.
"""

import os
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import datetime
from functools import cached_property
from pathlib import Path
from typing import Final, Literal, Protocol

from track_pipeline.adapters.alerts import AppriseChannel
from track_pipeline.adapters.lake import Lake
from track_pipeline.adapters.ledger.health import ledger_health
from track_pipeline.config.hospitals import load_registry
from track_pipeline.config.policy import load_policy
from track_pipeline.config.rules import load_rules
from track_pipeline.config.settings import Settings
from track_pipeline.domain.channels import Channel
from track_pipeline.domain.hospital import Hospital, Registry, Unit
from track_pipeline.domain.ruleset import RuleSet
from track_pipeline.domain.surveys import SurveyCatalog
from track_pipeline.errors import TrackPipelineError
from track_pipeline.ports import HospitalReader, SourceError, SurveyList

Status = Literal["ok", "warn", "fail"]

# Databases that are probed in parallel; each probe is a process that mostly waits.
_AT_ONCE: Final = 8


@dataclass(frozen=True)
class Finding:
    """The result of a check of its subject; `next_step` is empty when the status is ok."""

    check: str
    subject: str
    status: Status
    detail: str
    next_step: str = ""


class Installation(Protocol):
    """The parts of an installation that are checked; each is built at its first use, and may raise then."""

    @property
    def registry(self) -> Registry:
        """The hospitals."""
        ...

    @property
    def rules(self) -> dict[str, RuleSet]:
        """Rules by hospital code."""
        ...

    @property
    def catalog(self) -> SurveyCatalog:
        """The surveys and templates."""
        ...

    @property
    def reader(self) -> HospitalReader:
        """The reader of the hospitals' databases."""
        ...

    @property
    def requests(self) -> SurveyList:
        """The client that lists the surveys at Track.co."""
        ...

    @property
    def lake(self) -> Lake:
        """The lake with the patient data."""
        ...

    @property
    def clock(self) -> Callable[[], datetime]:
        """The clock."""
        ...


class _UnknownInstallationError(Exception):
    """Settings, registry or policy cannot be read; their own checks report it."""


@dataclass(frozen=True)
class Doctor:
    """The checks of an installation.

    load_settings and install: may raise ConfigError. daemons: the name of each of Dagster's daemons, and whether it
    sent a heartbeat recently. read_mapping: reads the mapping of the vendor's answers, and may raise ConfigError.
    """

    load_settings: Callable[[], Settings]
    install: Callable[[Settings], Installation]
    daemons: Callable[[Settings], Mapping[str, bool]]
    read_mapping: Callable[[Settings], object]

    def examine(self) -> Iterator[Finding]:
        """Yield all findings, in the order in which an operator corrects a new installation."""
        for check, subject, findings, remedy in self._checks():
            try:
                yield from findings()
            except Exception as error:  # noqa: BLE001 - a failed check hides no other
                yield _failure(check, subject, error, remedy)

    def _checks(self) -> Iterator[tuple[str, str, Callable[[], Iterator[Finding]], str]]:
        """Yield name, subject and function of each check, and what to do when its error does not say it."""
        yield "settings", "environment", self._settings, "set them in the environment or .env; see .env.example"
        yield "registry", "hospitals.toml", _registry, "correct hospitals.toml"
        yield "policy", "policy.toml", _policy, "correct policy.toml"
        yield "rules", "rules", self._rules, "correct the hospital's file in rules/"
        yield "mapping", "track_api.toml", self._mapping, "correct the file that TRACK_API_MAPPING names"
        yield "surveys", "all units", self._surveys, "correct the file that TRACK_SURVEYS_FILE names"
        yield "templates", "all units", self._templates, "correct the file that TRACK_SURVEYS_FILE names"
        yield "database", "all hospitals", self._databases, "correct settings and rules first"
        yield "track", "Track.co", self._track, "check TRACK_API_URL, ORGANIZATION_UUID and API_TOKEN"
        yield "alerts", "TRACK_ALERT_URLS", self._alerts, "correct TRACK_ALERT_URLS"
        yield "ledger", "ledger", self._ledger, "check TRACK_LEDGER_URL, or the folder that TRACK_HOME names"
        yield "lake", "lake", self._lake, "let this user write to the folder that TRACK_HOME names"
        yield "clock", "clock", self._clock, "correct the machine's clock and time zone data"
        yield "daemons", "Dagster", self._daemons, "check dagster.yaml and the database that it names"

    @cached_property
    def _known_settings(self) -> Settings:
        try:
            return self.load_settings()
        except TrackPipelineError:
            raise _UnknownInstallationError from None

    @cached_property
    def _installation(self) -> Installation:
        try:
            return self.install(self._known_settings)
        except TrackPipelineError:
            raise _UnknownInstallationError from None

    @property
    def _hospitals(self) -> tuple[Hospital, ...]:
        return self._installation.registry.hospitals

    @property
    def _units(self) -> Iterator[tuple[Hospital, Unit]]:
        return ((hospital, unit) for hospital in self._hospitals for unit in hospital.units)

    # --- files and settings

    def _settings(self) -> Iterator[Finding]:
        settings = self.load_settings()
        registry = load_registry().only(settings.hospitals)
        if not settings.is_demo:
            settings.check_production(registry)
        what = "sends" if settings.sends else "dry run: everything but the POST"
        what = f"{settings.env}, {what}; hospitals: {', '.join(registry.codes)}"
        yield Finding("settings", "environment", "ok", what)
        file = Path(".env")
        if file.exists() and _is_exposed(file):
            what = f"{file.absolute()} has secrets and is open to other users"
            yield Finding("settings", ".env", "warn", what, "chmod 600 .env")

    def _rules(self) -> Iterator[Finding]:
        for hospital in self._hospitals:
            try:
                load_rules(hospital)
                yield Finding("rules", hospital.code, "ok", "valid")
            except TrackPipelineError as error:
                yield _failure("rules", hospital.code, error, "correct the hospital's file in rules/")

    def _mapping(self) -> Iterator[Finding]:
        settings = self._known_settings
        self.read_mapping(settings)
        if settings.api_mapping or settings.is_demo:
            name = settings.api_mapping.name if settings.api_mapping else "track_api.toml"
            yield Finding("mapping", name, "ok", "answers, statuses and opt-outs can be read")
        else:
            yield Finding(
                "mapping",
                "track_api.toml",
                "warn",
                "the mapping of the package is invented and fits only the simulator",
                "ask Track.co for paths and fields, write them as in track_api.toml, set TRACK_API_MAPPING",
            )

    def _surveys(self) -> Iterator[Finding]:
        surveys, rules = self._installation.catalog.survey_uuids(), self._installation.rules
        for hospital, unit in self._units:
            ruled = {rule.area for rule in rules[hospital.code].rules}
            missing = sorted(area for area in ruled if (unit.code, area) not in surveys)
            expected = [area for area in missing if area in unit.surveys]
            what = f"no survey for {', '.join(missing)}: excluded:no_survey" if missing else "every area has a survey"
            if expected:
                step = f"add {', '.join(expected)} of unit {unit.code} to TRACK_SURVEYS_FILE"
                yield Finding("surveys", unit.code, "warn", what, step)
            else:
                yield Finding("surveys", unit.code, "ok", f"{what}, as in hospitals.toml" if missing else what)

    def _templates(self) -> Iterator[Finding]:
        catalog = self._installation.catalog
        with_template = {unit.code for unit in catalog.units if unit.whatsapp_template}
        for hospital, unit in self._units:
            if Channel.WHATSAPP not in hospital.channels:
                yield Finding("templates", unit.code, "ok", "WhatsApp is not used")
            elif unit.code not in with_template:
                step = f"add the template of unit {unit.code} to TRACK_SURVEYS_FILE, or remove the channel whatsapp"
                yield Finding("templates", unit.code, "fail", "no WhatsApp template", step)
            elif catalog.whatsapp_integration_uuid is None:
                step = "add whatsapp_integration_uuid to TRACK_SURVEYS_FILE"
                yield Finding("templates", unit.code, "fail", "no WhatsApp integration", step)
            else:
                yield Finding("templates", unit.code, "ok", "WhatsApp template and integration are set")

    # --- other systems

    def _databases(self) -> Iterator[Finding]:
        reader = self._installation.reader

        def probed(hospital: Hospital) -> Finding:
            try:
                versions = ", ".join(f"{alias}: {about}" for alias, about in reader.probe(hospital).items())
            except Exception as error:  # noqa: BLE001 - a failed hospital hides no other
                return _failure("database", hospital.code, error, "check the hospital's block in hospitals.toml")
            return Finding("database", hospital.code, "ok", f"{versions}; every table and column exists")

        with ThreadPoolExecutor(_AT_ONCE) as pool:
            yield from pool.map(probed, self._hospitals)

    def _track(self) -> Iterator[Finding]:
        settings, installation = self._known_settings, self._installation
        if settings.is_demo and settings.api_url is None:
            step = "none for `track demo`, which starts a simulator; else run `track simulator` and set TRACK_API_URL"
            yield Finding("track", "Track.co", "warn", "no address of Track.co is set", step)
            return
        known = {survey.uuid.lower() for survey in installation.requests.surveys()}
        yield Finding("track", "Track.co", "ok", f"reachable, the token is accepted, {len(known)} surveys")
        if settings.surveys_file is None:
            return
        codes = {unit.code for _, unit in self._units}
        for (unit, area), uuid in installation.catalog.survey_uuids().items():
            if unit in codes and uuid not in known:
                step = f"correct the survey of unit {unit}, {area} in TRACK_SURVEYS_FILE"
                yield Finding("track", f"{unit} {area}", "fail", f"the organisation has no survey {uuid}", step)

    def _alerts(self) -> Iterator[Finding]:
        settings = self._known_settings
        urls = [url.get_secret_value() for url in settings.alert_urls]
        if unusable := AppriseChannel(urls).unusable():
            what = f"apprise does not accept these entries of the list: {', '.join(map(str, unusable))}"
            yield Finding("alerts", "TRACK_ALERT_URLS", "fail", what, "write them as apprise's documentation says")
        elif urls or settings.is_demo:
            yield Finding("alerts", "TRACK_ALERT_URLS", "ok", f"{len(urls)} addresses; none was tested")
        else:
            step = "set TRACK_ALERT_URLS; until then alerts are only in system.log"
            yield Finding("alerts", "TRACK_ALERT_URLS", "warn", "no alert is sent when something is wrong", step)

    # --- local state

    def _ledger(self) -> Iterator[Finding]:
        health = ledger_health(self._known_settings.ledger)
        if health.version == health.wanted:
            what = f"{health.place}: writable, migrated to {health.version}"
            yield Finding("ledger", "ledger", "ok", what)
        elif health.version is None or health.version < health.wanted:
            what = f"{health.place}: migrated to {health.version or 'no version'}, this program needs {health.wanted}"
            step = "none: the next run or command that opens it, such as `track status`, migrates it"
            yield Finding("ledger", "ledger", "warn", what, step)
        else:
            what = f"{health.place}: migrated to {health.version} by a newer version; this one supports {health.wanted}"
            yield Finding("ledger", "ledger", "fail", what, "install the newer version here")

    def _lake(self) -> Iterator[Finding]:
        root = self._installation.lake.root
        nearest = next(folder for folder in (root.absolute(), *root.absolute().parents) if folder.exists())
        exposed = [path for path in (root, *root.rglob("*")) if root.exists() and _is_exposed(path)]
        if not os.access(nearest, os.W_OK):
            step = "give this user the right to write there"
            yield Finding("lake", "lake", "fail", f"{nearest} cannot be written", step)
        elif exposed:
            what = f"{len(exposed)} files and folders are open to other users, for example {exposed[0]}"
            yield Finding("lake", "lake", "fail", what, f"run chmod -R go= {root}, and find out what changed the modes")
        else:
            what = "closed to other users" if os.name == "posix" else "writable; this system has no modes to check"
            yield Finding("lake", "lake", "ok", f"{root}: {what}" if root.exists() else f"{root}: does not exist yet")

    def _clock(self) -> Iterator[Finding]:
        now = self._installation.clock()
        if now.tzinfo is None:
            yield Finding("clock", "clock", "fail", "the clock has no time zone", "give Runtime an aware clock")
            return
        zones = {hospital.time_zone: f"{now.astimezone(hospital.zone):%H:%M}" for hospital in self._hospitals}
        kind = "fixed, as in the demo" if self._known_settings.is_demo else "runs"
        local = ", ".join(f"{zone} {time}" for zone, time in zones.items())
        yield Finding("clock", "clock", "ok", f"{kind}: {now:%Y-%m-%d}, {local}")

    def _daemons(self) -> Iterator[Finding]:
        settings = self._known_settings
        silent = sorted(name for name, is_healthy in self.daemons(settings).items() if not is_healthy)
        if not silent:
            yield Finding("daemons", "Dagster", "ok", "all sent a heartbeat recently")
            return
        start = "`track ui`" if settings.is_demo else "`dagster-daemon run`, which deploy/ runs as a service"
        what = f"no recent heartbeat: {', '.join(silent)}; no schedule and no sensor runs"
        yield Finding("daemons", "Dagster", "warn" if settings.is_demo else "fail", what, f"start {start}")


def _registry() -> Iterator[Finding]:
    hospitals = load_registry().hospitals
    units = sum(len(hospital.units) for hospital in hospitals)
    yield Finding("registry", "hospitals.toml", "ok", f"{len(hospitals)} hospitals with {units} units")


def _policy() -> Iterator[Finding]:
    load_policy()
    yield Finding("policy", "policy.toml", "ok", "valid")


def _is_exposed(path: Path) -> bool:
    return os.name == "posix" and bool(path.stat().st_mode & 0o077)


def _failure(check: str, subject: str, error: Exception, remedy: str) -> Finding:
    """Return the finding for an error. Only texts of this project's errors are shown; others may quote secrets."""
    match error:
        case _UnknownInstallationError():
            step = "correct these first, then run `track doctor` again"
            return Finding(check, subject, "warn", "not checked: settings, registry or policy are wrong", step)
        case SourceError():
            return Finding(check, subject, "fail", f"database {error.database}: {error.cause}", error.next_step)
        case TrackPipelineError():
            return Finding(check, subject, "fail", str(error), remedy)
        case _:
            what = f"{type(error).__module__}.{type(error).__qualname__}; its text is hidden, it may quote a secret"
            return Finding(check, subject, "fail", what, remedy)
