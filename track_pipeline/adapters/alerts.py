"""Delivers alerts: counts and a link, never a patient's name or contact.

To the log, and to the channels of `TRACK_ALERT_URLS` (e-mail, Teams, Slack, WhatsApp and all others that apprise
supports). `services.alerting` decides which problems are new, already reported, or over.
"""

import logging
import threading
from collections.abc import Sequence
from time import monotonic
from typing import Final

from track_pipeline.ports import Alert

logger = logging.getLogger("track_pipeline.alerts")

_DELIVERY_SECONDS: Final = 20.0


class LogAlerts:
    """Writes alerts to the log, as warnings."""

    def send(self, alert: Alert) -> None:
        """See `Alerts.send`."""
        logger.warning("%s: %s See %s", alert.subject, alert.text, alert.link)


class AppriseChannel:
    """The alert channels of a list of apprise URLs; the URLs are secrets, since they hold tokens and passwords."""

    def __init__(self, urls: Sequence[str], *, delivery_seconds: float = _DELIVERY_SECONDS) -> None:
        self._urls = tuple(urls)
        self._delivery_seconds = delivery_seconds

    def tell(self, title: str, body: str, *, is_recovery: bool = False) -> bool:
        """See `AlertChannel.tell`; True when any URL accepted the message in time. The log lists the failed ones."""
        taken: dict[int, bool] = {}

        def deliver(number: int, url: str) -> None:
            taken[number] = _notify(url, title, body, is_recovery=is_recovery)

        # Threads can be abandoned when a mail server accepts a connection and never answers; a direct call cannot.
        numbered = enumerate(self._urls, 1)
        threads = [threading.Thread(target=deliver, args=one, name="alert", daemon=True) for one in numbered]
        for thread in threads:
            thread.start()
        deadline = monotonic() + self._delivery_seconds
        for thread in threads:
            thread.join(max(0.0, deadline - monotonic()))
        failed = [str(number) for number in range(1, len(self._urls) + 1) if not taken.get(number)]
        if failed:
            logger.error(
                "TRACK_ALERT_URLS: an alert could not be delivered to address no. %s. Check address and server.",
                ", ".join(failed),
            )
        return any(list(taken.values()))

    def unusable(self) -> list[int]:
        """Return the numbers, from 1, of the URLs that apprise does not accept."""
        from apprise import Apprise  # noqa: PLC0415 - slow to import, and most processes send no alert

        return [number for number, url in enumerate(self._urls, 1) if not Apprise.instantiate(url)]


def _notify(url: str, title: str, body: str, *, is_recovery: bool) -> bool:
    from apprise import Apprise, NotifyFormat, NotifyType  # noqa: PLC0415 - as above

    target, kind = Apprise(), NotifyType.SUCCESS if is_recovery else NotifyType.WARNING
    try:
        return target.add(url) and bool(target.notify(body, title, kind, NotifyFormat.TEXT))
    except Exception:  # noqa: BLE001 - a broken channel must not fail the run it reports; its text may hold the URL
        return False
