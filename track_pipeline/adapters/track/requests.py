"""The requests to Track.co as plain values, with their bodies.

The bodies follow the public copy of the API's documentation and the original system. `http` sends them; `api` reads
the responses.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Final

from track_pipeline.domain.channels import Channel
from track_pipeline.errors import ConfigError

# One recipient: a flat object of JSON scalars, always with `send_id`.
Line = Mapping[str, str | int | float | bool | None]


# --- requests -------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class WhatsAppTemplate:
    """A registered WhatsApp template; `variables` are attribute paths in the order of its placeholders."""

    name: str
    language: str
    variables: tuple[str, ...]
    id_provider: str

    def body(self) -> dict[str, object]:
        """Return the template as an object in Track.co's format."""
        return {
            "name": self.name,
            "language": self.language,
            "variables": list(self.variables),
            "id_provider": self.id_provider,
        }


@dataclass(frozen=True)
class Distribution:
    """One POST with many lines, for one channel and one survey; every line is a recipient.

    Instants are aware. Raises ConfigError when the parts do not fit together; then nothing is sent.
    """

    survey_uuid: str
    channel: Channel
    lines: tuple[Line, ...] = field(repr=False)
    validity_at: datetime
    template_invite_hash: str | None = None
    template_expired_hash: str | None = None
    template_thanks_hash: str | None = None
    whatsapp_template: WhatsAppTemplate | None = None
    whatsapp_integration_uuid: str | None = None
    reminder_at: datetime | None = None
    reminder_channel: Channel | None = None
    whatsapp_reminder_template: WhatsAppTemplate | None = None

    def __post_init__(self) -> None:
        """Reject parts that Track.co would reject, or wrongly accept."""
        problem = next((text for wrong, text in self._checks() if wrong), None)
        if problem is not None:
            raise ConfigError(f"survey {self.survey_uuid}, {self.channel}: {problem}; nothing was sent")

    def _checks(self) -> Iterator[tuple[bool, str]]:
        templates = self.whatsapp_template or self.whatsapp_reminder_template
        yield _unnamed(self.lines), _UNNAMED
        yield self.channel == Channel.WHATSAPP and self.whatsapp_template is None, "WhatsApp needs its template"
        yield templates is not None and not self.whatsapp_integration_uuid, "a template needs the WhatsApp integration"
        yield (self.reminder_at is None) != (self.reminder_channel is None), "a reminder needs an instant and a channel"
        yield (
            (self.reminder_channel == Channel.WHATSAPP) != (self.whatsapp_reminder_template is not None),
            "a reminder by WhatsApp needs its template, and no other reminder has one",
        )
        instants = [instant for instant in (self.reminder_at, self.validity_at) if instant is not None]
        yield any(instant.tzinfo is None for instant in instants), "an instant without a time zone"
        yield instants != sorted(instants), "the reminder comes after the end of the survey's validity"

    def body(self) -> dict[str, object]:
        """Return the request body. Values that are not set are absent, never null; instants are epoch seconds."""
        optional = {
            "template_invite_hash": self.template_invite_hash,
            "template_expired_hash": self.template_expired_hash,
            "template_thanks_hash": self.template_thanks_hash,
            "whatsapp_template": self.whatsapp_template and self.whatsapp_template.body(),
            "whatsapp_integration_uuid": self.whatsapp_integration_uuid,
            "reminder_at": self.reminder_at and int(self.reminder_at.timestamp()),
            "reminder_channel": self.reminder_channel and self.reminder_channel.value,
            "whatsapp_reminder_template": self.whatsapp_reminder_template and self.whatsapp_reminder_template.body(),
        }
        return {
            "survey_uuid": self.survey_uuid,
            "distribution_channel": self.channel.value,
            "import_lines": [dict(line) for line in self.lines],
            "validity_at": int(self.validity_at.timestamp()),
            **{key: value for key, value in optional.items() if value is not None},
        }


@dataclass(frozen=True)
class LinkList:
    """A request for one personal link per line; Track.co sends no message."""

    survey_uuid: str
    lines: tuple[Line, ...] = field(repr=False)
    shortened_link: bool = False

    def __post_init__(self) -> None:
        """Reject lines that could not be joined with the response."""
        if _unnamed(self.lines):
            raise ConfigError(f"survey {self.survey_uuid}, links: {_UNNAMED}; nothing was sent")

    def body(self) -> dict[str, object]:
        """Return the request body; `async` is false, so that the response contains the links."""
        return {
            "survey_uuid": self.survey_uuid,
            "import_lines": [dict(line) for line in self.lines],
            "async": False,
            "shortened_link": self.shortened_link,
        }


_UNNAMED: Final = "at least one line is needed, and every line needs a different `send_id`"


def _unnamed(lines: tuple[Line, ...]) -> bool:
    ids = {line.get("send_id") for line in lines} - {None, ""}
    return not lines or len(ids) != len(lines)
