"""Alerts told once: a problem when it begins and again after a day, its end, and news at once.

What is a problem is `services.problems`'s. The ledger keeps what is open, so that no process tells what another has
told, and what a failed channel owes is told at the next look.
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
    """The alerts of an installation. Without a channel they go to the log alone, where they go in any case.

    channel: None when `TRACK_ALERT_URLS` names none. ui_url: where Dagster's web interface is, so that links can be
    followed; without it they are paths. hub: with what its asset keys begin (`TRACK_HUB`), and so the links to assets.
    """

    ledger: Ledger
    channel: AlertChannel | None
    ui_url: str = ""
    hub: str = ""

    def send(self, alert: Alert) -> None:
        """Tells news, and a problem that nobody was told of today. Never raises."""
        alert = self._of_hub(alert)
        if alert.kind is None:
            self._tell([alert])
            return
        try:
            self.ledger.alerts.open([_row(alert)])
            self.tell_due()
        except Exception as error:  # noqa: BLE001 - what it tells of has happened anyway
            logger.error("The ledger did not take an alert: %s", told_of(error))  # noqa: TRY400 - may quote a secret
            # Better told twice than never.
            self._tell([alert])

    def watch(self, problems: Sequence[Alert], kinds: Collection[AlertKind], hospitals: Collection[str]) -> None:
        """Opens what is wrong now, and closes what was wrong before of these kinds and hospitals and is no more.

        Raises LedgerError; no other trouble of telling is the caller's.
        """
        self.ledger.alerts.open([_row(self._of_hub(problem)) for problem in problems])
        lasting = {problem.key for problem in problems}
        known = self.ledger.alerts.all().iter_rows(named=True)
        theirs = [row for row in known if row["kind"] in kinds and row["hospital"] in {"", *hospitals}]
        self.close([row["key"] for row in theirs if row["key"] not in lasting])
        self.tell_due()

    def close(self, keys: Collection[str]) -> None:
        """Tells that these problems are over, where they were open and people had heard of them. Raises LedgerError."""
        if not keys:
            return
        for row in self.ledger.alerts.close(keys).iter_rows(named=True):
            with about(row["hospital"]):
                logger.info("%s: this is over.", row["subject"])
            if row["told_at"] is not None and self.channel is not None:
                since = f"It began at {row['opened_at']:%Y-%m-%d %H:%M} UTC. Nothing has to be done."
                self.channel.tell(f"Over: {row['subject']}", since, is_recovery=True)

    def tell_due(self) -> None:
        """Tells what nobody was told of yet, and what is open for another day. Raises LedgerError."""
        due = self.ledger.alerts.take_unreported(_AGAIN_AFTER)
        if not due.is_empty() and not self._tell([_alert(row) for row in due.iter_rows(named=True)]):
            self.ledger.alerts.return_unreported(due.get_column("key"))

    def _tell(self, alerts: Sequence[Alert]) -> bool:
        """Tells all in one message: a morning without network is one message, not one per hospital."""
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
