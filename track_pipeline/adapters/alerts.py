"""Telling people that something needs them: counts and a place to look, never a name or a contact.

The port, the log, and the channels that `TRACK_ALERT_URLS` names (e-mail, Teams, Slack, WhatsApp ...: all that apprise
knows). What was told before, and what is over, is `services.alerting`'s.
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
        """As Alerts."""
        logger.warning("%s: %s See %s", alert.subject, alert.text, alert.link)


class AppriseChannel:
    """The channels of a list of apprise URLs, which are secrets: they hold tokens and passwords."""

    def __init__(self, urls: Sequence[str], *, delivery_seconds: float = _DELIVERY_SECONDS) -> None:
        self._urls = tuple(urls)
        self._delivery_seconds = delivery_seconds

    def tell(self, title: str, body: str, *, is_recovery: bool = False) -> bool:
        """As AlertChannel; True when any URL took it within the time for delivery. The others are in the log."""
        taken: dict[int, bool] = {}

        def deliver(place: int, url: str) -> None:
            taken[place] = _notify(url, title, body, is_recovery=is_recovery)

        # Threads can be left behind when a mail server accepts and never answers; a call could not.
        numbered = enumerate(self._urls, 1)
        threads = [threading.Thread(target=deliver, args=one, name="alert", daemon=True) for one in numbered]
        for thread in threads:
            thread.start()
        deadline = monotonic() + self._delivery_seconds
        for thread in threads:
            thread.join(max(0.0, deadline - monotonic()))
        failed = [str(place) for place in range(1, len(self._urls) + 1) if not taken.get(place)]
        if failed:
            logger.error("TRACK_ALERT_URLS: an alert was not taken by address no. %s.", ", ".join(failed))
        return any(list(taken.values()))

    def unusable(self) -> list[int]:
        """The places in the list, from 1, of what apprise does not take for an address."""
        from apprise import Apprise  # noqa: PLC0415 - slow to import, and most processes have nothing to tell

        return [place for place, url in enumerate(self._urls, 1) if not Apprise.instantiate(url)]


def _notify(url: str, title: str, body: str, *, is_recovery: bool) -> bool:
    from apprise import Apprise, NotifyFormat, NotifyType  # noqa: PLC0415 - as above

    target, kind = Apprise(), NotifyType.SUCCESS if is_recovery else NotifyType.WARNING
    try:
        return target.add(url) and bool(target.notify(body, title, kind, NotifyFormat.TEXT))
    except Exception:  # noqa: BLE001 - a channel that breaks must not break what it tells of; its text may hold the URL
        return False
