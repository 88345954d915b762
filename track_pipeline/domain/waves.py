"""The waves of an encounter: the invitation, then the reminders of the policy.

`[[reminder]]` in policy.toml defines the reminders and their days. The key of a wave is part of the ledger's unique key
and of asset keys.
"""

from dataclasses import dataclass
from typing import Final


@dataclass(frozen=True, order=True)
class Wave:
    """A wave, `days` after the invitation. 0 is the invitation itself."""

    days: int

    @property
    def key(self) -> str:
        """The key in the ledger, in asset keys and in job names: `invite`, `reminder_7d`."""
        return f"reminder_{self.days}d" if self.is_reminder else "invite"

    @property
    def label(self) -> str:
        """The name for people: `invitation`, `reminder after 7 days`."""
        return f"reminder after {self.days} days" if self.is_reminder else "invitation"

    @property
    def column(self) -> str:
        """The field of `track status --json` that counts its sends: `reminded_7d`."""
        return f"reminded_{self.days}d"

    @property
    def is_reminder(self) -> bool:
        """Whether the wave is a reminder and not the invitation."""
        return self.days > 0

    def __str__(self) -> str:
        return self.key

    @classmethod
    def parse(cls, key: str) -> "Wave":
        """Return the wave of a key. Raises ValueError for any other text."""
        if key == INVITE.key:
            return INVITE
        days = key.removeprefix("reminder_").removesuffix("d")
        if not days.isdecimal() or (wave := cls(int(days))).key != key:
            raise ValueError(f"{key} is not a wave; waves are invite and reminder_<days>d")
        return wave


def is_reminder(key: str) -> bool:
    """Whether a text, such as the name of a job or a step, is the key of a wave of reminders."""
    try:
        return Wave.parse(key).is_reminder
    except ValueError:
        return False


INVITE: Final = Wave(0)
# The first version of `track status --json` had these two, so they are shown even when the policy has no such reminder.
ALWAYS_SHOWN: Final = (Wave(7), Wave(14))
