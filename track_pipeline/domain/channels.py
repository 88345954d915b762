"""The channels by which a survey reaches a person, and their properties.

A new channel needs a member here, an entry in `_FACTS`, its fields and legal basis in `policy.toml`, and the requests
to Track.co (`adapters/track/`).
"""

from dataclasses import dataclass
from enum import StrEnum
from typing import Final


@dataclass(frozen=True)
class _Facts:
    """The constants of a channel. The properties of `Channel` describe them."""

    label: str
    contact_column: str | None
    line_field: str
    step: str
    needs_consent: bool = False


class Channel(StrEnum):
    """A channel; the value is its key in the ledger, the lake and the configuration."""

    EMAIL = "email"
    WHATSAPP = "whatsapp"
    LINK = "link"

    @property
    def label(self) -> str:
        """The name for people, in English and in Portuguese: e-mail, WhatsApp, link."""
        return _FACTS[self].label

    @property
    def contact_column(self) -> str | None:
        """The column of a plan that holds the contact for the channel; None for a link."""
        return _FACTS[self].contact_column

    @property
    def line_field(self) -> str:
        """The field that a line of this channel must contain (the names are those of the original system)."""
        return _FACTS[self].line_field

    @property
    def step(self) -> str:
        """The first part of the asset key of its dispatch, and the step of its files in the lake."""
        return _FACTS[self].step

    @property
    def contacts_person(self) -> bool:
        """Whether sending notifies a person. A link notifies no one: the front desk gives it to the patient."""
        return self.contact_column is not None

    @property
    def needs_consent(self) -> bool:
        """Whether a hospital may demand evidence of consent before it uses the channel (`whatsapp_consent`)."""
        return _FACTS[self].needs_consent


_FACTS: Final[dict[Channel, _Facts]] = {
    Channel.EMAIL: _Facts("e-mail", "email_address", "email", "dispatch_email"),
    Channel.WHATSAPP: _Facts("WhatsApp", "phone_e164", "phone", "dispatch_whatsapp", needs_consent=True),
    Channel.LINK: _Facts("link", None, "send_id", "survey_link"),
}

# The channels that notify a person, in the order of this file.
CONTACT_CHANNELS: Final = tuple(channel for channel in Channel if channel.contacts_person)
# The contact columns of a plan, by channel.
CONTACT_COLUMNS: Final = {channel: channel.contact_column for channel in Channel if channel.contact_column is not None}


class OptOutChannel(StrEnum):
    """The scope of an opt-out: one channel, or all channels."""

    ALL = "all"
    EMAIL = "email"
    WHATSAPP = "whatsapp"

    @classmethod
    def refusing(cls, channel: Channel) -> tuple[str, ...]:
        """Return the opt-outs that forbid a channel."""
        return (cls.ALL.value, channel.value)


# The opt-out that an unsubscription from a send records, by the channel of the send. A link gives an opt-out of all.
OPT_OUT_OF_SEND: Final = {
    channel.value: channel.value if channel.contacts_person else OptOutChannel.ALL.value for channel in Channel
}
