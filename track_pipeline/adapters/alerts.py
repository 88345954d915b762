"""Telling people that something needs them: counts and a place to look, never a name or a contact.

The port and the one way there is without configuration: the log, which Dagster captures.
"""

import logging
from dataclasses import dataclass
from typing import Protocol

logger = logging.getLogger("track_pipeline.alerts")


@dataclass(frozen=True)
class Alert:
    """What happened, to whom, what to do next, and where in Dagster's web interface to look (a path)."""

    subject: str
    text: str
    link: str


class Alerts(Protocol):
    """Where alerts go."""

    def send(self, alert: Alert) -> None:
        """Delivers an alert; never raises, since what it tells of has happened anyway."""
        ...


class LogAlerts:
    """Writes alerts to the log, as warnings."""

    def send(self, alert: Alert) -> None:
        """As Alerts."""
        logger.warning("%s: %s See %s", alert.subject, alert.text, alert.link)
