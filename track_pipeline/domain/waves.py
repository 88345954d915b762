"""The waves in which one encounter is written to: the invitation, then the reminders of the policy.

Which reminders there are, and after how many days, is data (`[[reminder]]` in policy.toml). A wave's key is part of
the ledger's unique key and of asset keys.
"""

from dataclasses import dataclass
from typing import Final


@dataclass(frozen=True, order=True)
class Wave:
    """A wave: `days` after the invitation; 0 is the invitation itself."""

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
        """Whether it follows an invitation."""
        return self.days > 0

    def __str__(self) -> str:
        return self.key

    @classmethod
    def parse(cls, key: str) -> "Wave":
        """The wave of a key. Raises ValueError for any other text."""
        if key == INVITE.key:
            return INVITE
        days = key.removeprefix("reminder_").removesuffix("d")
        if not days.isdecimal() or (wave := cls(int(days))).key != key:
            raise ValueError(f"{key} is not a wave; waves are invite and reminder_<days>d")
        return wave


def is_reminder(key: str) -> bool:
    """Whether a key, such as the name of a job or a step, is that of a wave of reminders."""
    try:
        return Wave.parse(key).is_reminder
    except ValueError:
        return False


INVITE: Final = Wave(0)
# `track status --json` has had these two since its first version; they stay when the policy has no such reminder.
ALWAYS_SHOWN: Final = (Wave(7), Wave(14))
