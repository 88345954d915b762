"""The channels by which a survey reaches a person, and what the rest of the system asks of each.

A new channel is a member here, an entry in `_FACTS`, its fields and legal basis in `policy.toml`, and the requests of
the vendor (`adapters/track/`).
"""

from dataclasses import dataclass
from enum import StrEnum
from typing import Final


@dataclass(frozen=True)
class _Facts:
    """What is fixed of a channel; see the properties of `Channel`."""

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
        """The column of a plan with the contact that the channel uses; None when it uses none."""
        return _FACTS[self].contact_column

    @property
    def line_field(self) -> str:
        """The field without which a line of this channel is useless (the names are the original system's)."""
        return _FACTS[self].line_field

    @property
    def step(self) -> str:
        """The first part of the asset key of its dispatch, and the step of its files in the lake."""
        return _FACTS[self].step

    @property
    def contacts_person(self) -> bool:
        """Whether sending notifies a person. A link notifies no one: the front desk hands it over."""
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
    """What a person refuses: one channel, or all of them."""

    ALL = "all"
    EMAIL = "email"
    WHATSAPP = "whatsapp"

    @classmethod
    def refusing(cls, channel: Channel) -> tuple[str, ...]:
        """The opt-outs that forbid a channel."""
        return (cls.ALL.value, channel.value)


# The opt-out that an unsubscription from a send records, by the send's channel: of a link, all.
OPT_OUT_OF_SEND: Final = {
    channel.value: channel.value if channel.contacts_person else OptOutChannel.ALL.value for channel in Channel
}
