"""A Track.co that is a list: it records the accepted requests and fails as its script says. No network."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from track_pipeline.adapters.track.requests import Distribution, LinkList
from track_pipeline.ports import Accepted, SendFailure, Survey

Answer = SendFailure | BaseException | Mapping[str, str] | None
Line = Mapping[str, object]


@dataclass
class FakeSender:
    """Answers requests from `script`, first to last: a failure to raise, refused lines, or None to accept.

    After the end of the script it accepts everything. `on_request` is called before each answer, `on_turn` while a
    request waits for its turn.
    """

    script: list[Answer] = field(default_factory=list)
    on_request: Callable[[], None] = lambda: None
    on_turn: Callable[[], None] = lambda: None
    requests: list[Distribution | LinkList] = field(default_factory=list)
    accepted: list[Line] = field(default_factory=list)

    def await_turn(self) -> None:
        self.on_turn()

    def create_distribution(self, distribution: Distribution) -> Accepted:
        return Accepted("distribution-1", self._answer(distribution))

    def create_link_list(self, link_list: LinkList) -> Accepted:
        refused = self._answer(link_list)
        send_ids = [str(line["send_id"]) for line in link_list.lines]
        return Accepted(None, refused, {one: f"http://127.0.0.1/{one}" for one in send_ids if one not in refused})

    def surveys(self) -> list[Survey]:
        return []

    def accepted_encounters(self) -> list[str]:
        """Return `cd_atendimento` of every accepted line, in order."""
        return [str(line["cd_atendimento"]) for line in self.accepted]

    def _answer(self, request: Distribution | LinkList) -> Mapping[str, str]:
        self.requests.append(request)
        self.on_request()
        answer = self.script.pop(0) if self.script else None
        if isinstance(answer, BaseException):
            raise answer
        wanted = answer or {}
        refused = {
            str(line["send_id"]): reason
            for line in request.lines
            for encounter, reason in wanted.items()
            if line["cd_atendimento"] == encounter
        }
        self.accepted += [line for line in request.lines if line["send_id"] not in refused]
        return refused
