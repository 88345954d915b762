"""The reactions of the demo's patients to messages: a pure function of a seed and the `send_id`, all invented.

`feedback` turns reactions into documents of Track.co's API.
"""

import random
from dataclasses import dataclass
from datetime import timedelta
from typing import Final, Literal

ReactionKind = Literal["silent", "bounced", "opted_out", "partial", "answered"]

_WHATSAPP_ADVANTAGE: Final = 1.4
_REMINDER_ADVANTAGE: Final = 2.0

# Promoters, passives and detractors: share, scores, comments.
_SHARES: Final = (0.60, 0.25, 0.15)
_OPINIONS: Final = (
    (range(9, 11), ("Equipe muito atenciosa, obrigado.", "Tudo ótimo, do começo ao fim.")),
    (range(7, 9), ("Bom atendimento, mas a espera foi longa.", "O estacionamento é pequeno.")),
    (range(7), ("Esperei mais de três horas.", "Ninguém explicou os próximos passos.")),
)
_COMMENT_SHARE: Final = 0.4
_STOP_TEXTS: Final = ("SAIR", "sair por favor", "Parar", "Cancelar.")

_SOONEST: Final = timedelta(minutes=10)
_MEAN_DELAY_HOURS: Final = 30.0
_LATEST: Final = timedelta(days=13)


@dataclass(frozen=True)
class Reaction:
    """A person's reaction and its delay after the message. `text` is a comment, or the reply that opts out."""

    kind: ReactionKind
    after: timedelta
    score: int | None = None
    text: str = ""


@dataclass(frozen=True)
class AnswerModel:
    """Probabilities per message. `response_rate` is for e-mail and link; WhatsApp has 1.4 times that.

    A reminder has twice the response rate of its invitation. `partial_rate` is the share of unfinished responses.
    """

    seed: int
    response_rate: float = 0.25
    partial_rate: float = 0.05
    opt_out_rate: float = 0.01
    bounce_rate: float = 0.03

    def reaction(self, send_id: str, channel: str, *, reminder: bool) -> Reaction:
        """Return the reaction to the message `send_id`; the same seed gives the same reaction."""
        draw = random.Random(f"{self.seed}:{send_id}")  # noqa: S311 - a demo, no secret
        # All numbers are drawn before the first is used, so that a changed rate affects only the reactions of its kind.
        bounce, opt_out, response, partial, comment = (draw.random() for _ in range(5))
        after = min(_SOONEST + timedelta(hours=draw.expovariate(1 / _MEAN_DELAY_HOURS)), _LATEST)
        chance = self.response_rate * (_WHATSAPP_ADVANTAGE if channel == "whatsapp" else 1)
        chance *= _REMINDER_ADVANTAGE if reminder else 1
        if channel != "link" and bounce < self.bounce_rate:
            return Reaction("bounced", timedelta(minutes=1))
        if channel != "link" and opt_out < self.opt_out_rate:
            return Reaction("opted_out", after, text=draw.choice(_STOP_TEXTS))
        if response >= chance:
            return Reaction("silent", after)
        ((scores, comments),) = draw.choices(_OPINIONS, _SHARES)
        score, text = draw.choice(scores), draw.choice(comments)
        if partial < self.partial_rate:
            return Reaction("partial", after, score)
        return Reaction("answered", after, score, text if comment < _COMMENT_SHARE else "")
