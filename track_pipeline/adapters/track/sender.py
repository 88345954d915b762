"""Sends lines through Track.co: implements `SurveySender` with requests of survey, templates, validity and fields.

`api` and `http` make the requests and define their failures.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, time, timedelta
from typing import Final, Protocol

import polars as pl

from track_pipeline.adapters.track.lines import import_lines
from track_pipeline.adapters.track.requests import Distribution, LinkList, WhatsAppTemplate
from track_pipeline.domain.calendar import end_of_validity, window_opens_at
from track_pipeline.domain.channels import Channel
from track_pipeline.domain.hospital import Hospital
from track_pipeline.domain.policy import Policy
from track_pipeline.domain.surveys import SurveyCatalog
from track_pipeline.errors import ConfigError
from track_pipeline.ports import Accepted, Clock, Survey

# When Track.co sends its own reminder (`reminders = "track"`); values of the original system.
_REMINDER_DAYS: Final = 7
_REMINDER_TIME: Final = time(9)


class TrackRequests(Protocol):
    """Track.co's sending requests; `api.TrackApi` implements them. Every method raises a SendFailure."""

    def await_turn(self) -> None:
        """Wait until the next request may be made."""
        ...

    def create_distribution(self, distribution: Distribution) -> Accepted:
        """Create and send one distribution."""
        ...

    def create_link_list(self, link_list: LinkList) -> Accepted:
        """Create personal links; notifies no one."""
        ...

    def surveys(self) -> list[Survey]:
        """Return all surveys of the organisation."""
        ...


@dataclass(frozen=True)
class _Reminder:
    at: datetime | None = None
    channel: Channel | None = None
    template: WhatsAppTemplate | None = None


@dataclass(frozen=True)
class TrackSender:
    """The `SurveySender` of Track.co: builds and posts requests; holds no state."""

    requests: TrackRequests
    catalog: SurveyCatalog
    policy: Policy
    clock: Clock

    def await_turn(self) -> None:
        """See `SurveySender.await_turn`. Raises SendFailure when the turn would come too late."""
        self.requests.await_turn()

    def check(self, unit: str, channel: Channel) -> None:
        """See `SurveySender.check`; WhatsApp needs a template."""
        if channel == Channel.WHATSAPP:
            self._whatsapp_template(unit)

    def post(self, hospital: Hospital, channel: Channel, lines: pl.DataFrame) -> Accepted:
        """See `SurveySender.post`."""
        unit, survey_uuid = lines.select("unit", "survey_uuid").row(0)
        body = tuple(import_lines(lines, hospital, self.policy.line_fields[channel]))
        if channel == Channel.LINK:
            return self.requests.create_link_list(LinkList(survey_uuid, body))
        return self.requests.create_distribution(self._distribution(hospital, channel, unit, survey_uuid, body))

    def _distribution(
        self,
        hospital: Hospital,
        channel: Channel,
        unit: str,
        survey_uuid: str,
        lines: tuple[Mapping[str, str | None], ...],
    ) -> Distribution:
        templates = self.catalog.unit(unit).email_templates
        by_email, by_whatsapp = channel == Channel.EMAIL, channel is Channel.WHATSAPP
        local = self.clock().astimezone(hospital.zone)
        tracks_own = hospital.reminders == "track"
        reminder = self._tracks_own_reminder(hospital, channel, unit) if tracks_own else _Reminder()
        return Distribution(
            survey_uuid=survey_uuid,
            channel=channel,
            lines=lines,
            validity_at=end_of_validity(local, self.policy.sending.validity_days),
            template_invite_hash=templates.invite if by_email else None,
            template_expired_hash=templates.expired if by_email else None,
            template_thanks_hash=templates.thanks if by_email else None,
            whatsapp_template=self._whatsapp_template(unit) if by_whatsapp else None,
            whatsapp_integration_uuid=str(self.catalog.whatsapp_integration_uuid) if by_whatsapp else None,
            reminder_at=reminder.at,
            reminder_channel=reminder.channel,
            whatsapp_reminder_template=reminder.template,
        )

    def _tracks_own_reminder(self, hospital: Hospital, channel: Channel, unit: str) -> "_Reminder":
        """Return the reminder that Track.co itself sends: after a week, when the send window is open.

        It uses the invitation's channel: the person agreed to it, and the line holds its contact.
        """
        local = self.clock().astimezone(hospital.zone)
        in_a_week = local.date() + timedelta(days=_REMINDER_DAYS)
        at = window_opens_at(hospital.send_window, datetime.combine(in_a_week, _REMINDER_TIME, local.tzinfo))
        return _Reminder(at, channel, self._whatsapp_template(unit) if channel == Channel.WHATSAPP else None)

    def _whatsapp_template(self, unit: str) -> WhatsAppTemplate:
        template = self.catalog.unit(unit).whatsapp_template
        if template is None or self.catalog.whatsapp_integration_uuid is None:
            raise ConfigError(
                f"surveys: unit {unit} has no whatsapp_template, or whatsapp_integration_uuid is missing; "
                "add them to TRACK_SURVEYS_FILE, or remove whatsapp from the hospital's channels"
            )
        return WhatsAppTemplate(template.name, template.language, template.variables, template.id_provider)
