"""Compose adapters and services from settings, for assets, the command line and the status page.

A part is made, and its module imported, on first use: a new Runtime opens no connection and `track status` imports
little. Tests and the demo replace parts with their own.
"""

from __future__ import annotations

from functools import cached_property
from typing import TYPE_CHECKING, TypedDict

from track_pipeline.errors import ConfigError
from track_pipeline.ports import SurveySender

if TYPE_CHECKING:
    from collections.abc import Callable
    from datetime import datetime
    from typing import Unpack

    from track_pipeline.adapters.budget import RequestBudget
    from track_pipeline.adapters.lake import Lake
    from track_pipeline.adapters.ledger import Ledger
    from track_pipeline.adapters.track.api import TrackApi
    from track_pipeline.adapters.track.mapping import ApiMapping
    from track_pipeline.adapters.track.sender import TrackRequests
    from track_pipeline.config.settings import Settings
    from track_pipeline.domain.hospital import Hospital, Registry
    from track_pipeline.domain.identity import Hasher
    from track_pipeline.domain.policy import Policy
    from track_pipeline.domain.ruleset import RuleSet
    from track_pipeline.domain.surveys import SurveyCatalog
    from track_pipeline.ports import Alerts, FeedbackSource, HospitalReader
    from track_pipeline.services.alerting.alerting import Alerting
    from track_pipeline.services.daily.dispatch import Dispatcher
    from track_pipeline.services.daily.extraction import Extractor
    from track_pipeline.services.daily.invitation import Planner
    from track_pipeline.services.daily.reminders import Reminder
    from track_pipeline.services.daily.sending import Outbox
    from track_pipeline.services.feedback.reading import FeedbackReader
    from track_pipeline.services.feedback.reconciliation import Reconciler
    from track_pipeline.services.insight.compare import Comparer
    from track_pipeline.services.insight.contact_quality import ContactQuality
    from track_pipeline.services.insight.explain import Explainer
    from track_pipeline.services.insight.what_if import WhatIf
    from track_pipeline.services.operator.erasure import Eraser
    from track_pipeline.services.operator.imports import Importer
    from track_pipeline.services.operator.retention import Retention


class Parts(TypedDict, total=False):
    """Parts that a caller passes; each is used instead of the one that the settings would make."""

    registry: Registry
    policy: Policy
    rules: dict[str, RuleSet]
    reader: HospitalReader
    requests: TrackRequests
    feedback_source: FeedbackSource
    clock: Callable[[], datetime]
    alerts: Alerts


class LedgerRuntime:
    """The parts that are needed to read the ledger. Reads no file and writes no log until a part is used."""

    def __init__(self, settings: Settings, **parts: Unpack[Parts]) -> None:
        self.settings = settings
        # Python finds an attribute of the instance before the cached property of the same name.
        self.__dict__.update(parts)

    @cached_property
    def registry(self) -> Registry:
        """The hospitals of this installation."""
        from track_pipeline.config.hospitals import load_registry

        return load_registry().only(self.settings.hospitals)

    @cached_property
    def clock(self) -> Callable[[], datetime]:
        """The clock that the settings choose."""
        from track_pipeline.adapters.clock import clock_for

        return clock_for(self.settings)

    @cached_property
    def ledger(self) -> Ledger:
        """The permanent record of sends. Opening it migrates its schema."""
        from track_pipeline.adapters.ledger import open_ledger

        return open_ledger(self.settings.ledger, clock=self._now)

    def _now(self) -> datetime:
        """Return the present instant. Only writes call this, so reads do not load the clock's calendar of holidays."""
        return self.clock()

    def close(self) -> None:
        """Close the parts that were opened."""
        for name in ("track", "budget", "ledger"):
            if name in self.__dict__:
                getattr(self, name).close()


class Runtime(LedgerRuntime):
    """All parts of an installation. Raises ConfigError when hospitals.toml or policy.toml is wrong."""

    def __init__(self, settings: Settings, **parts: Unpack[Parts]) -> None:
        from track_pipeline.logs.system_log import write_system_log

        super().__init__(settings, **parts)
        # Loaded now, so that a wrong file fails before a run begins.
        for name in ("registry", "policy", "clock"):
            getattr(self, name)
        write_system_log(settings.home)
        self.daily = DailyServices(self)
        self.feedback = FeedbackServices(self)
        self.operator = OperatorServices(self)
        self.insight = InsightServices(self)

    @cached_property
    def policy(self) -> Policy:
        """The sending policy."""
        from track_pipeline.config.policy import load_policy

        return load_policy()

    @cached_property
    def rules(self) -> dict[str, RuleSet]:
        """Hospital code to its classification rules."""
        from track_pipeline.config.rules import load_rulebook

        return load_rulebook(self.registry)

    @cached_property
    def lake(self) -> Lake:
        """The lake: files with extracts, plans and links."""
        from track_pipeline.adapters.lake import Lake

        return Lake(self.settings.home)

    @cached_property
    def catalog(self) -> SurveyCatalog:
        """Surveys and templates per unit."""
        if self.settings.surveys_file:
            from track_pipeline.config.hospitals import load_registry
            from track_pipeline.config.surveys import load_surveys

            return load_surveys(self.settings.surveys_file, load_registry())
        if not self.settings.is_demo:
            raise ConfigError(
                "TRACK_SURVEYS_FILE is not set; set it to the file with every unit's surveys and templates"
            )
        from track_pipeline.demo.surveys import demo_catalog

        return demo_catalog(self.registry)

    @cached_property
    def reader(self) -> HospitalReader:
        """The hospitals' databases."""
        if self.settings.is_demo:
            from track_pipeline.demo.databases import demo_reader

            return demo_reader(self.settings, self.registry, self.rules, self.clock)
        from track_pipeline.adapters.hospitals.oracle import OracleReader
        from track_pipeline.config.rules import databases_read

        databases = databases_read(self.registry, self.rules)
        return OracleReader(self.settings, databases, self.policy.source)

    @cached_property
    def requests(self) -> TrackRequests:
        """The requests to Track.co that send distributions."""
        return self.track

    @cached_property
    def sender(self) -> SurveySender:
        """The sender of surveys: Track.co."""
        from track_pipeline.adapters.track.sender import TrackSender

        return TrackSender(self.requests, self.catalog, self.policy, self.clock)

    @cached_property
    def track(self) -> TrackApi:
        """The connection to Track.co."""
        from track_pipeline.adapters.track.api import TrackApi
        from track_pipeline.config.settings import PRODUCTION_API

        settings = self.settings
        if settings.is_demo and settings.api_url is None:
            raise ConfigError("TRACK_API_URL is not set: start `track simulator` and set TRACK_API_URL to its address")
        return TrackApi(
            settings.api_url or PRODUCTION_API,
            settings.organization_uuid or _demo_organization(),
            settings.api_token.get_secret_value() if settings.api_token else "demo",
            budget=self.budget,
            require_loopback=settings.is_demo,
        )

    @cached_property
    def budget(self) -> RequestBudget:
        """The request budget, shared with all other processes."""
        from track_pipeline.adapters.budget import open_budget

        return open_budget(self.settings.home, self.settings.ledger, self.policy.sending.requests_per_5_minutes)

    @cached_property
    def alerting(self) -> Alerting:
        """The service that reports each alert once, and its end."""
        from track_pipeline.adapters.alerts import AppriseChannel
        from track_pipeline.services.alerting.alerting import Alerting

        urls = [url.get_secret_value() for url in self.settings.alert_urls]
        channel = AppriseChannel(urls) if urls else None
        return Alerting(self.ledger, channel, self.settings.ui_url, self.settings.hub)

    @cached_property
    def alerts(self) -> Alerts:
        """The port through which services send alerts."""
        return self.alerting

    @property
    def hospitals(self) -> tuple[Hospital, ...]:
        """The hospitals of this installation."""
        return self.registry.hospitals

    @cached_property
    def hasher(self) -> Hasher:
        """The keyed hash that makes person keys."""
        from track_pipeline.domain.identity import keyed_hasher

        return keyed_hasher(self.settings.person_key_secret)

    @cached_property
    def feedback_source(self) -> FeedbackSource:
        """The source of answers: Track.co."""
        from track_pipeline.adapters.track.answers import TrackAnswers

        return TrackAnswers(self.track, read_mapping(self.settings))


class DailyServices:
    """The services of a hospital-day: extraction, plan, dispatch and reminders."""

    def __init__(self, runtime: Runtime) -> None:
        self._runtime = runtime

    @cached_property
    def extractor(self) -> Extractor:
        """Extraction of hospital-days."""
        from track_pipeline.services.daily.extraction import Extractor

        return Extractor(self._runtime.reader, self._runtime.rules, self._runtime.lake, self._runtime.ledger)

    @cached_property
    def planner(self) -> Planner:
        """Plans of hospital-days."""
        from track_pipeline.services.daily.invitation import Planner

        surveys = self._runtime.catalog.survey_uuids()
        return Planner(
            self._runtime.lake,
            self._runtime.ledger,
            self._runtime.rules,
            self._runtime.policy,
            surveys,
            self._runtime.hasher,
            self._runtime.clock,
        )

    @cached_property
    def outbox(self) -> Outbox:
        """The service that sends lines in batches."""
        from track_pipeline.services.daily.sending import Outbox, Terms

        versions = {code: rules.version for code, rules in self._runtime.rules.items()}
        terms = Terms(self._runtime.policy, versions, self._runtime.settings.sends)
        return Outbox(
            self._runtime.lake,
            self._runtime.ledger,
            self._runtime.sender,
            terms,
            self._runtime.clock,
            self._runtime.alerts,
        )

    @cached_property
    def dispatcher(self) -> Dispatcher:
        """Dispatch of plans."""
        from track_pipeline.services.daily.dispatch import Dispatcher

        return Dispatcher(self.outbox)

    @cached_property
    def reminder(self) -> Reminder:
        """Reminders of cohorts."""
        from track_pipeline.services.daily.reminders import Reminder

        return Reminder(self.outbox)


class FeedbackServices:
    """The services that read back from the vendor."""

    def __init__(self, runtime: Runtime) -> None:
        self._runtime = runtime

    @cached_property
    def reading(self) -> FeedbackReader:
        """Answers, statuses and opt-outs."""
        from track_pipeline.services.feedback.reading import FeedbackReader

        return FeedbackReader(
            self._runtime.feedback_source,
            self._runtime.ledger,
            self._runtime.hasher,
            self._runtime.policy,
            self._runtime.clock,
            self._runtime.alerts,
        )

    @cached_property
    def reconciler(self) -> Reconciler:
        """The comparison of ledger and Track.co."""
        from track_pipeline.services.feedback.reconciliation import Reconciler

        return Reconciler(
            self._runtime.feedback_source, self._runtime.ledger, self._runtime.policy, self._runtime.clock
        )


class OperatorServices:
    """The services of the operator's commands that change data."""

    def __init__(self, runtime: Runtime) -> None:
        self._runtime = runtime

    @cached_property
    def importer(self) -> Importer:
        """Files of opt-outs and consents."""
        from track_pipeline.services.operator.imports import Importer

        return Importer(self._runtime.ledger, self._runtime.hasher, self._runtime.policy.placeholders)

    @cached_property
    def retention(self) -> Retention:
        """Deletion of data past its retention."""
        from track_pipeline.services.operator.retention import Retention

        return Retention(self._runtime.lake, self._runtime.ledger, self._runtime.policy, self._runtime.clock)

    @cached_property
    def eraser(self) -> Eraser:
        """Erasure of one person."""
        from track_pipeline.services.operator.erasure import Eraser

        return Eraser(self._runtime.lake, self._runtime.ledger, self._runtime.policy, self._runtime.hasher)


class InsightServices:
    """The services that answer questions about an installation."""

    def __init__(self, runtime: Runtime) -> None:
        self._runtime = runtime

    @cached_property
    def what_if(self) -> WhatIf:
        """Plans made with other rules or another policy."""
        from track_pipeline.services.insight.what_if import WhatIf

        return WhatIf(self._runtime.daily.planner, self._runtime.reader)

    @cached_property
    def comparer(self) -> Comparer:
        """The comparison of another system's sends with ours."""
        from track_pipeline.services.insight.compare import Comparer

        return Comparer(self._runtime.ledger, self._runtime.registry)

    @cached_property
    def explainer(self) -> Explainer:
        """Histories of encounters in sentences."""
        from track_pipeline.services.insight.explain import Explainer

        return Explainer(self._runtime.lake, self._runtime.rules, self._runtime.policy)

    @cached_property
    def contact_quality(self) -> ContactQuality:
        """The quality of the contacts that front desks type."""
        from track_pipeline.services.insight.contact_quality import ContactQuality

        return ContactQuality(self._runtime.lake, self._runtime.policy)


def read_mapping(settings: Settings) -> ApiMapping:
    """Where answers, statuses and opt-outs are in Track.co's responses. Raises ConfigError when the file is wrong."""
    from track_pipeline.adapters.track.mapping import load_mapping

    return load_mapping(settings.api_mapping)


def _demo_organization() -> str:
    from track_pipeline.demo.surveys import DEMO_ORGANIZATION

    return DEMO_ORGANIZATION
