"""The states of a send in the ledger."""

from enum import StrEnum
from typing import Final


class SendState(StrEnum):
    """What is known of a send. Only `claimed` and `unknown` change."""

    CLAIMED = "claimed"
    SENT = "sent"
    REJECTED = "rejected"
    UNKNOWN = "unknown"


# Sends without a known outcome: a process claimed them and did not record one, or could not tell.
OPEN_STATES: Final = (SendState.CLAIMED, SendState.UNKNOWN)
# Sends that may have reached the person; only a rejected one has not.
STANDING_STATES: Final = (SendState.CLAIMED, SendState.SENT, SendState.UNKNOWN)


class Verdict(StrEnum):
    """What an operator found at Track.co about a send without a known outcome (`track resolve`)."""

    SENT = "sent"
    NOT_SENT = "not_sent"
