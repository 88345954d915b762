"""What became of one encounter, decided from the rows that the ledger has of it.

The ledger counts by the same rule; this module applies it to the history of a single encounter.
"""

from collections.abc import Mapping
from dataclasses import dataclass

from track_pipeline.adapters.ledger import NO_OUTCOME
from track_pipeline.domain.outcomes import EXCLUDED, Deferral


@dataclass(frozen=True)
class EncounterOutcome:
    """An outcome and its reason; the reason is empty where the outcome needs none."""

    outcome: str
    reason: str = ""

    def __str__(self) -> str:
        """Return `outcome:reason`, or the outcome alone."""
        return f"{self.outcome}:{self.reason}" if self.reason else self.outcome


@dataclass(frozen=True)
class Decided:
    """What the plan decided about an encounter; `held` is `outcome:reason` of a line that was held, or empty."""

    result: str
    reason: str
    held: str


def outcome_of(decided: Decided | None, states: Mapping[str, str]) -> EncounterOutcome | None:
    """Return the outcome of an encounter; None when the ledger has neither a decision nor an invitation.

    Args:
        decided: what the plan decided.
        states: the states of the encounter's invitations, each with its reason. An invitation that left counts
            before every later decision: sent first, then unknown, rejected, claimed.
    """
    for state in ("sent", "unknown", "rejected"):
        if state in states:
            return EncounterOutcome(state, states[state])
    if states:
        return EncounterOutcome("unknown", NO_OUTCOME)
    if decided is None:
        return None
    if decided.result == EXCLUDED:
        return EncounterOutcome(EXCLUDED, decided.reason)
    if not decided.held:
        return EncounterOutcome("deferred", Deferral.NOT_DISPATCHED.value)
    outcome, _, reason = decided.held.partition(":")
    return EncounterOutcome(outcome, reason)
