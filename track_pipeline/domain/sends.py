"""The states of a send, and the verdict of an operator on a send."""

from enum import StrEnum
from typing import Final


class SendState(StrEnum):
    """The state of a send in the ledger. Only `claimed` and `unknown` change."""

    CLAIMED = "claimed"
    SENT = "sent"
    REJECTED = "rejected"
    UNKNOWN = "unknown"


# Sends without a known outcome: the process that claimed them recorded none, or could not determine it.
OPEN_STATES: Final = (SendState.CLAIMED, SendState.UNKNOWN)
# Sends that may have reached the person. A rejected send did not.
STANDING_STATES: Final = (SendState.CLAIMED, SendState.SENT, SendState.UNKNOWN)


class Verdict(StrEnum):
    """What an operator found at Track.co about a send without a known outcome (`track resolve`)."""

    SENT = "sent"
    NOT_SENT = "not_sent"
