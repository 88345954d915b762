"""Delivery of alerts: a problem when it begins and again after a day, its end, and other messages at once.

`problems` finds the problems. The ledger records the open ones, so that two processes do not send the same alert. An
alert that the channel did not deliver is sent at the next check.
"""

import logging
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import timedelta
from typing import Any, Final

from track_pipeline.adapters.alerts import LogAlerts
from track_pipeline.adapters.ledger import Ledger
from track_pipeline.logs.redaction import told_of
from track_pipeline.logs.system_log import about
from track_pipeline.ports import Alert, AlertChannel, AlertKind

logger = logging.getLogger(__name__)

_AGAIN_AFTER: Final = timedelta(days=1)


@dataclass(frozen=True)
class Alerting:
    """The alerts of an installation. Every alert is logged; with a channel it is also sent.

    channel: None when `TRACK_ALERT_URLS` is empty. ui_url: the address of Dagster's web interface, for full links;
    without it links are paths. hub: the prefix of asset keys (`TRACK_HUB`), and of links to assets.
    """

    ledger: Ledger
    channel: AlertChannel | None
    ui_url: str = ""
    hub: str = ""

    def send(self, alert: Alert) -> None:
        """Send a message without a kind at once, and a problem if it was not sent within the last day. Never raises."""
        alert = self._of_hub(alert)
        if alert.kind is None:
            self._deliver([alert])
            return
        try:
            self.ledger.alerts.open([_row(alert)])
            self.tell_due()
        except Exception as error:  # noqa: BLE001 - the event of the alert has happened anyway
            logger.error("The ledger could not record an alert: %s", told_of(error))  # noqa: TRY400 - may quote a secret
            # A repeated alert is better than none.
            self._deliver([alert])

    def watch(self, problems: Sequence[Alert], kinds: Collection[AlertKind], hospitals: Collection[str]) -> None:
        """Open the present problems, and close the earlier ones of these kinds and hospitals that are over.

        Raises LedgerError. An error of the channel is not raised.
        """
        self.ledger.alerts.open([_row(self._of_hub(problem)) for problem in problems])
        lasting = {problem.key for problem in problems}
        known = self.ledger.alerts.all().iter_rows(named=True)
        watched = [row for row in known if row["kind"] in kinds and row["hospital"] in {"", *hospitals}]
        self.close([row["key"] for row in watched if row["key"] not in lasting])
        self.tell_due()

    def close(self, keys: Collection[str]) -> None:
        """Close these problems; send a recovery for each one that was open and reported. Raises LedgerError."""
        if not keys:
            return
        for row in self.ledger.alerts.close(keys).iter_rows(named=True):
            with about(row["hospital"]):
                logger.info("%s: the problem is over.", row["subject"])
            if row["told_at"] is not None and self.channel is not None:
                since = f"It began at {row['opened_at']:%Y-%m-%d %H:%M} UTC. No action is needed."
                self.channel.tell(f"Over: {row['subject']}", since, is_recovery=True)

    def tell_due(self) -> None:
        """Send open problems that were never sent, or not within the last day. Raises LedgerError."""
        due = self.ledger.alerts.take_unreported(_AGAIN_AFTER)
        if not due.is_empty() and not self._deliver([_alert(row) for row in due.iter_rows(named=True)]):
            self.ledger.alerts.return_unreported(due.get_column("key"))

    def _deliver(self, alerts: Sequence[Alert]) -> bool:
        """Log alerts and send them in one message: a network failure is one message, not one per hospital."""
        for alert in alerts:
            with about(alert.hospital):
                LogAlerts().send(alert)
        if self.channel is None:
            return True
        title = alerts[0].subject if len(alerts) == 1 else f"{len(alerts)} problems"
        return self.channel.tell(f"track: {title}", "\n\n".join(self._paragraph(alert) for alert in alerts))

    def _of_hub(self, alert: Alert) -> Alert:
        assets = "/assets/"
        return replace(alert, link=alert.link.replace(assets, f"{assets}{self.hub}/")) if self.hub else alert

    def _paragraph(self, alert: Alert) -> str:
        return f"{alert.subject}\n{alert.text}\n{self.ui_url.rstrip('/')}{alert.link}"


def _row(alert: Alert) -> Mapping[str, Any]:
    return {
        "key": alert.key,
        "kind": alert.kind,
        "hospital": alert.hospital,
        "part": alert.part,
        "subject": alert.subject,
        "text": alert.text,
        "link": alert.link,
    }


def _alert(row: Mapping[str, Any]) -> Alert:
    names = ("subject", "text", "link", "hospital", "part")
    return Alert(kind=AlertKind(row["kind"]), **{name: row[name] for name in names})
