"""The composition of adapters and services from settings: what assets and command line both work with.

Everything is made when it is first asked for, so making a Runtime opens nothing. Tests and the demo hand in
parts of their own.
"""

from collections.abc import Callable
from datetime import datetime
from functools import cached_property

from track_pipeline.adapters.alerts import AppriseChannel
from track_pipeline.adapters.budget import RequestBudget, open_budget
from track_pipeline.adapters.clock import clock_for
from track_pipeline.adapters.lake import Lake
from track_pipeline.adapters.ledger import Ledger, open_ledger
from track_pipeline.adapters.track.answers import TrackAnswers
from track_pipeline.adapters.track.api import TrackApi
from track_pipeline.adapters.track.mapping import load_mapping
from track_pipeline.adapters.track.sender import TrackRequests, TrackSender
from track_pipeline.config.hospitals import load_registry
from track_pipeline.config.policy import load_policy
from track_pipeline.config.rules import databases_read, load_rulebook
from track_pipeline.config.settings import PRODUCTION_API, Settings
from track_pipeline.config.surveys import load_surveys
from track_pipeline.domain.hospital import Hospital, Registry
from track_pipeline.domain.identity import Hasher, keyed_hasher
from track_pipeline.domain.policy import Policy
from track_pipeline.domain.ruleset import RuleSet
from track_pipeline.domain.surveys import SurveyCatalog
from track_pipeline.errors import ConfigError
from track_pipeline.logs.system_log import write_system_log
from track_pipeline.ports import Alerts, FeedbackSource, HospitalReader, SurveySender
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


class Runtime:
    """One installation at work."""

    def __init__(
        self,
        settings: Settings,
        *,
        registry: Registry | None = None,
        policy: Policy | None = None,
        rules: dict[str, RuleSet] | None = None,
        reader: HospitalReader | None = None,
        requests: TrackRequests | None = None,
        feedback_source: FeedbackSource | None = None,
        clock: Callable[[], datetime] | None = None,
        alerts: Alerts | None = None,
    ) -> None:
        self.settings = settings
        self.registry = registry or load_registry().only(settings.hospitals)
        self.policy = policy or load_policy()
        self.clock = clock or clock_for(settings)
        self._alerts = alerts
        self._rules, self._reader, self._requests = rules, reader, requests
        self._feedback_source = feedback_source
        write_system_log(settings.home)

    @cached_property
    def rules(self) -> dict[str, RuleSet]:
        """Hospital code to its classification rules."""
        return self._rules or load_rulebook(self.registry)

    @cached_property
    def lake(self) -> Lake:
        """Extracts, plans and links."""
        return Lake(self.settings.home)

    @cached_property
    def ledger(self) -> Ledger:
        """The permanent record of sends; opening it migrates it."""
        return open_ledger(self.settings.ledger, clock=self.clock)

    @cached_property
    def catalog(self) -> SurveyCatalog:
        """Surveys and templates per unit."""
        if self.settings.surveys_file:
            return load_surveys(self.settings.surveys_file, load_registry())
        if not self.settings.is_demo:
            raise ConfigError("TRACK_SURVEYS_FILE is not set; it names the surveys and templates of every unit")
        from track_pipeline.demo.surveys import demo_catalog  # noqa: PLC0415 - the demo stays out of production

        return demo_catalog(self.registry)

    @cached_property
    def reader(self) -> HospitalReader:
        """The hospitals' databases."""
        if self._reader is not None:
            return self._reader
        if self.settings.is_demo:
            from track_pipeline.demo.databases import demo_reader  # noqa: PLC0415 - as above

            return demo_reader(self.settings, self.registry, self.rules, self.clock)
        from track_pipeline.adapters.hospitals.oracle import OracleReader  # noqa: PLC0415 - only extracts need the driver

        databases = databases_read(self.registry, self.rules)
        return OracleReader(self.settings, databases, self.policy.source)

    @cached_property
    def requests(self) -> TrackRequests:
        """The requests of Track.co's sending side."""
        return self._requests or self.track

    @cached_property
    def sender(self) -> SurveySender:
        """The vendor, to send through."""
        return TrackSender(self.requests, self.catalog, self.policy, self.clock)

    @cached_property
    def track(self) -> TrackApi:
        """The connection to Track.co."""
        settings = self.settings
        if settings.is_demo and settings.api_url is None:
            raise ConfigError("no Track.co to talk to: start `track simulator` and set TRACK_API_URL to its address")
        return TrackApi(
            settings.api_url or PRODUCTION_API,
            settings.organization_uuid or _demo_organization(),
            settings.api_token.get_secret_value() if settings.api_token else "demo",
            budget=self.budget,
            require_loopback=settings.is_demo,
        )

    @cached_property
    def budget(self) -> RequestBudget:
        """Leave to make requests, shared with all other processes."""
        return open_budget(self.settings.home, self.settings.ledger, self.policy.sending.requests_per_5_minutes)

    @cached_property
    def alerting(self) -> Alerting:
        """Problems and news, told once."""
        urls = [url.get_secret_value() for url in self.settings.alert_urls]
        channel = AppriseChannel(urls) if urls else None
        return Alerting(self.ledger, channel, self.settings.ui_url, self.settings.hub)

    @property
    def alerts(self) -> Alerts:
        """Where services send theirs."""
        return self._alerts or self.alerting

    @property
    def hospitals(self) -> tuple[Hospital, ...]:
        """The hospitals of this installation."""
        return self.registry.hospitals

    @cached_property
    def hasher(self) -> Hasher:
        """Makes person keys."""
        return keyed_hasher(self.settings.person_key_secret)

    @cached_property
    def extractor(self) -> Extractor:
        """Extraction of hospital-days."""
        return Extractor(self.reader, self.rules, self.lake, self.ledger)

    @cached_property
    def planner(self) -> Planner:
        """Plans of hospital-days."""
        surveys = self.catalog.survey_uuids()
        return Planner(self.lake, self.ledger, self.rules, self.policy, surveys, self.hasher, self.clock)

    @cached_property
    def what_if(self) -> WhatIf:
        """Plans by other rules or another policy."""
        return WhatIf(self.planner, self.reader)

    @cached_property
    def comparer(self) -> Comparer:
        """Another system's sends beside ours."""
        return Comparer(self.ledger, self.registry)

    @cached_property
    def explainer(self) -> Explainer:
        """Stories of encounters in sentences."""
        return Explainer(self.lake, self.rules, self.policy)

    @cached_property
    def contact_quality(self) -> ContactQuality:
        """Quality of what front desks type."""
        return ContactQuality(self.lake, self.policy)

    @cached_property
    def outbox(self) -> Outbox:
        """The way out of the house."""
        versions = {code: rules.version for code, rules in self.rules.items()}
        sends = self.settings.sends
        return Outbox(self.lake, self.ledger, self.sender, self.policy, versions, self.clock, self.alerts, sends)

    @cached_property
    def dispatcher(self) -> Dispatcher:
        """Dispatch of plans."""
        return Dispatcher(self.outbox)

    @cached_property
    def reminder(self) -> Reminder:
        """Reminders of cohorts."""
        return Reminder(self.outbox)

    @cached_property
    def feedback_source(self) -> FeedbackSource:
        """Track.co, to read from."""
        return self._feedback_source or TrackAnswers(self.track, load_mapping(self.settings.api_mapping))

    @cached_property
    def feedback(self) -> FeedbackReader:
        """Answers, statuses and opt-outs."""
        return FeedbackReader(self.feedback_source, self.ledger, self.hasher, self.policy, self.clock, self.alerts)

    @cached_property
    def reconciler(self) -> Reconciler:
        """The comparison of ledger and Track.co."""
        return Reconciler(self.feedback_source, self.ledger, self.policy, self.clock)

    @cached_property
    def importer(self) -> Importer:
        """Files of opt-outs and consents."""
        return Importer(self.ledger, self.hasher, self.policy.placeholders)

    @cached_property
    def retention(self) -> Retention:
        """Deletion of what need not be kept."""
        return Retention(self.lake, self.ledger, self.policy, self.clock)

    @cached_property
    def eraser(self) -> Eraser:
        """Erasure of one person."""
        return Eraser(self.lake, self.ledger, self.policy, self.hasher)

    def close(self) -> None:
        """Gives back what was opened."""
        for name in ("track", "budget", "ledger"):
            if name in self.__dict__:
                getattr(self, name).close()


def _demo_organization() -> str:
    from track_pipeline.demo.surveys import DEMO_ORGANIZATION  # noqa: PLC0415 - the demo stays out of production

    return DEMO_ORGANIZATION
