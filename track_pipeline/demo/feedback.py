"""The simulator's answers, delivery statuses and opt-outs for accepted messages. All shapes are INVENTED.

It stores future events when a message is accepted, and returns those up to a given instant; `simulator` serves HTTP.
The codes 3 and 5 and the form of a single answer are those of Track.co's own survey page.
"""

import uuid
from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any, Final, Literal

from track_pipeline.demo.respondents import AnswerModel

Object = dict[str, Any]
AnswerState = Literal["done", "partial"]

_CODES: Final[dict[str, int]] = {"done": 3, "partial": 5}
_A_MOMENT: Final = timedelta(minutes=1)


@dataclass(frozen=True)
class Recipient:
    """An accepted line and its delivery statuses: instant, status, text of the person's reply."""

    organization: str
    distribution: str
    survey: str
    channel: str
    line: Object = field(repr=False)
    at: datetime
    history: list[tuple[datetime, str, str]] = field(default_factory=list)

    @property
    def send_id(self) -> str:
        """The line's `send_id`; empty when it has none."""
        return str(self.line.get("send_id") or "")


@dataclass(frozen=True)
class _Event:
    """A document that is visible from the instant `at` on, to one organisation, or to all when it is None."""

    at: datetime
    organization: str | None
    document: Object


class Feedback:
    """Reactions to accepted messages. Without a model people do not react, and messages stay `sent`."""

    def __init__(self, model: AnswerModel | None = None) -> None:
        self.model = model
        self.clear()

    def clear(self) -> None:
        """Delete all recipients and their reactions."""
        self.recipients: list[Recipient] = []
        self._by_distribution: dict[str, list[Recipient]] = {}
        self._by_send_id: dict[str, Recipient] = {}
        self._invited: set[tuple[str, str, str]] = set()
        self._answers: dict[str, _Event] = {}
        self._opt_outs: list[_Event] = []

    def accept(self, recipient: Recipient) -> None:
        """Accept a recipient and decide how the person will react."""
        self.recipients.append(recipient)
        self._by_distribution.setdefault(recipient.distribution, []).append(recipient)
        self._by_send_id[recipient.send_id] = recipient
        # The only delivery status of a link is that it was created.
        recipient.history.append((recipient.at, "created" if recipient.channel == "link" else "sent", ""))
        visit = (recipient.organization, recipient.survey, str(recipient.line.get("cd_atendimento")))
        if self.model is not None:
            self._react(recipient, self.model, reminder=visit in self._invited)
        if recipient.channel != "link":
            self._invited.add(visit)

    def _react(self, recipient: Recipient, model: AnswerModel, *, reminder: bool) -> None:
        reaction = model.reaction(recipient.send_id, recipient.channel, reminder=reminder)
        at = recipient.at + reaction.after
        by_email = recipient.channel == "email"
        if recipient.channel != "link":
            if reaction.kind == "bounced":
                recipient.history.append((at, "bounced" if by_email else "failed", ""))
                return
            if by_email:
                recipient.history.append((recipient.at + _A_MOMENT, "delivered", ""))
            if reaction.kind != "silent":
                recipient.history.append((at - _A_MOMENT, "opened", ""))
        if reaction.kind == "opted_out" and by_email:
            recipient.history.append((at, "unsubscribed", ""))
            self.opt_out(at, "email", send_id=recipient.send_id, email=recipient.line.get("email"))
        elif reaction.kind == "opted_out":
            recipient.history.append((at, "replied", reaction.text))
        elif reaction.kind in ("answered", "partial"):
            state: AnswerState = "done" if reaction.kind == "answered" else "partial"
            self.answer(recipient.send_id, at, state, reaction.score, reaction.text)

    def answer(
        self, send_id: str, at: datetime, state: AnswerState = "done", score: int | None = None, comment: str = ""
    ) -> None:
        """Record an answer; it replaces an earlier one to the same message. `send_id` may be unknown."""
        recipient = self._by_send_id.get(send_id)
        document = {
            "uuid": str(uuid.uuid5(uuid.NAMESPACE_OID, send_id)),
            "survey_uuid": recipient and recipient.survey,
            "channel": recipient and recipient.channel,
            "status": _CODES[state],
            "language": "pt_BR",
            "answered_at": at.isoformat(),
            "updated_at": at.isoformat(),
            "attributes": {"send_id": send_id, "cd_atendimento": recipient and recipient.line.get("cd_atendimento")},
            "answers": [{"type": "nps", "answer": {"response": score, "comment": comment}}],
        }
        self._answers[send_id] = _Event(at, recipient.organization if recipient else None, document)

    def status(self, send_id: str, at: datetime, status: str, text: str = "") -> None:
        """Record a delivery status. Raises ValueError when no message has that `send_id`."""
        if send_id not in self._by_send_id:
            raise ValueError(f"no message has the send_id {send_id!r}")
        self._by_send_id[send_id].history.append((at, status, text))

    def opt_out(
        self, at: datetime, channel: str = "", *, send_id: str = "", email: str | None = None, phone: str | None = None
    ) -> None:
        """Record an opt-out; an empty channel means all channels."""
        recipient = self._by_send_id.get(send_id)
        document = {
            "send_id": send_id,
            "email": email,
            "phone": phone,
            "channel": channel,
            "created_at": at.isoformat(),
        }
        self._opt_outs.append(_Event(at, recipient.organization if recipient else None, document))

    def answers_shown(self, organization: str, since: datetime | None, now: datetime) -> list[Object]:
        """Return the interactions of an organisation that were updated at `since` or later, oldest first."""
        return _shown(self._answers.values(), organization, since, now)

    def opt_outs_shown(self, organization: str, since: datetime | None, now: datetime) -> list[Object]:
        """Return the opt-outs of an organisation at `since` or later, oldest first."""
        return _shown(self._opt_outs, organization, since, now)

    def distributions_shown(self, organization: str, since: datetime | None, now: datetime) -> list[Object]:
        """Return the distributions of an organisation that were created at `since` or later, oldest first."""
        created = [recipients[0] for recipients in self._by_distribution.values()]
        return [
            {
                "uuid": first.distribution,
                "survey_uuid": first.survey,
                "channel": first.channel,
                "created_at": first.at.isoformat(),
            }
            for first in created
            if first.organization == organization and first.at <= now and (since is None or first.at >= since)
        ]

    def statuses_shown(self, organization: str, distribution: str, now: datetime, *, history: bool) -> list[Object]:
        """Return a row per recipient, with all statuses or the last. Raises LookupError for an unknown distribution."""
        recipients = self._by_distribution.get(distribution, [])
        if not recipients or recipients[0].organization != organization:
            raise LookupError(distribution)
        return [_status_row(recipient, now, history=history) for recipient in recipients]


def _shown(events: Iterable[_Event], organization: str, since: datetime | None, now: datetime) -> list[Object]:
    shown = [
        event
        for event in events
        if event.organization in (None, organization) and event.at <= now and (since is None or event.at >= since)
    ]
    return [event.document for event in sorted(shown, key=lambda event: event.at)]


def _status_row(recipient: Recipient, now: datetime, *, history: bool) -> Object:
    person = {"send_id": recipient.send_id, **{key: recipient.line.get(key) for key in ("name", "phone", "email")}}
    happened = sorted((entry for entry in recipient.history if entry[0] <= now), key=lambda entry: entry[0])
    statuses = [{"date": at.isoformat(), "status": status, "text": text} for at, status, text in happened]
    return {**person, "history": statuses} if history else {**person, **(statuses[-1] if statuses else {})}
