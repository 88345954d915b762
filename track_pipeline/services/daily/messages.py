"""Claimed lines turned into requests to Track.co: survey, templates, validity and the allow-listed fields.

Which lines, and what their answer means for the ledger, is `dispatch`'s.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime, time, timedelta
from typing import Final, Literal

import polars as pl

from track_pipeline.adapters.track.api import Distribution, LinkList, SendChannel, SurveySender, WhatsAppTemplate
from track_pipeline.domain.hospital import Hospital
from track_pipeline.domain.policy import Policy
from track_pipeline.domain.reminders import WAVE_DAYS
from track_pipeline.domain.sending import end_of_validity, import_lines, window_opens_at
from track_pipeline.domain.surveys import SurveyCatalog
from track_pipeline.errors import ConfigError

LineChannel = Literal["email", "whatsapp", "link"]

# When Track.co sends a reminder of its own, in the hospital's time zone.
_REMINDER_TIME: Final = time(9)


@dataclass(frozen=True)
class Accepted:
    """Track.co took a request: its id if it gave one, the lines it refused (`send_id` to reason), the links made."""

    distribution_id: str | None
    refused: Mapping[str, str]
    links: Mapping[str, str] = field(default_factory=dict, repr=False)


@dataclass(frozen=True)
class _Reminder:
    at: datetime | None = None
    channel: SendChannel | None = None
    template: WhatsAppTemplate | None = None


@dataclass(frozen=True)
class Mailroom:
    """Writes and posts requests; holds no state."""

    sender: SurveySender
    catalog: SurveyCatalog
    policy: Policy
    clock: Callable[[], datetime]

    def post(self, hospital: Hospital, channel: LineChannel, lines: pl.DataFrame) -> Accepted:
        """Posts lines (`PLAN` and `send_id`) of one unit and survey. Raises SendFailure as the API adapter does."""
        unit, survey_uuid = lines.select("unit", "survey_uuid").row(0)
        fields = getattr(self.policy.line_fields, channel)
        body = tuple(import_lines(lines, hospital, fields))
        if channel == "link":
            made = self.sender.create_link_list(LinkList(survey_uuid, body))
            return Accepted(None, made.refused, made.links)
        receipt = self.sender.create_distribution(self._distribution(hospital, channel, unit, survey_uuid, body))
        return Accepted(receipt.distribution_id, receipt.refused)

    def await_turn(self) -> None:
        """Waits until lines may be posted; it may take minutes. Raises SendFailure when it would take too long."""
        self.sender.await_turn()

    def check(self, unit: str, channel: LineChannel) -> None:
        """Raises ConfigError when a unit cannot be written to through a channel, before anything is claimed."""
        if channel == "whatsapp":
            self._whatsapp_template(unit)

    def _distribution(
        self,
        hospital: Hospital,
        channel: SendChannel,
        unit: str,
        survey_uuid: str,
        lines: tuple[Mapping[str, str | None], ...],
    ) -> Distribution:
        templates = self.catalog.unit(unit).email_templates
        by_email, by_whatsapp = channel == "email", channel == "whatsapp"
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

    def _tracks_own_reminder(self, hospital: Hospital, channel: SendChannel, unit: str) -> "_Reminder":
        """The one reminder that Track.co sends itself, as the original had it: after a week, when the window is open.

        By the invitation's own channel: only that one is known to be agreed to, and reachable by what the line holds.
        """
        local = self.clock().astimezone(hospital.zone)
        in_a_week = local.date() + timedelta(days=WAVE_DAYS["reminder_7d"])
        at = window_opens_at(hospital.send_window, datetime.combine(in_a_week, _REMINDER_TIME, local.tzinfo))
        return _Reminder(at, channel, self._whatsapp_template(unit) if channel == "whatsapp" else None)

    def _whatsapp_template(self, unit: str) -> WhatsAppTemplate:
        template = self.catalog.unit(unit).whatsapp_template
        if template is None or self.catalog.whatsapp_integration_uuid is None:
            raise ConfigError(
                f"surveys: unit {unit} has no whatsapp_template, or there is no whatsapp_integration_uuid; "
                "add them to TRACK_SURVEYS_FILE, or take whatsapp out of the hospital's channels"
            )
        return WhatsAppTemplate(template.name, template.language, template.variables, template.id_provider)
