"""Where answers, delivery statuses and opt-outs are in Track.co's API: a mapping, read from one TOML file.

Paths and field names of these resources are not public, so they are data. Here are the form of that file and how a
place in a JSON document is named; what is made of the values found there is `track_answers`'.
"""

import re
import unicodedata
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, ClassVar, Final, Literal, NamedTuple, Self
from urllib.parse import quote
from zoneinfo import ZoneInfo

from pydantic import AfterValidator, BeforeValidator, Field, ValidationError, model_validator

from track_pipeline.config.files import describe, package_file, read_toml
from track_pipeline.domain.channels import OptOutChannel
from track_pipeline.domain.hospital import ContactChannel, is_time_zone
from track_pipeline.domain.model import Strict
from track_pipeline.errors import ConfigError
from track_pipeline.ports import StatusWord

_PLACEHOLDER: Final = re.compile(r"\{(\w*)\}")
_STEP: Final = re.compile(r"([\w-]+)(?:\[([\w-]+)=([\w -]+(?:\|[\w -]+)*)\])?")

# A time outside of this century is a number of another unit, or of something else.
_YEARS: Final = range(2000, 2100)


def _code(value: object) -> str | None:
    """A word or number that stands for something, as text; None for anything else."""
    return str(value) if isinstance(value, str | int) and not isinstance(value, bool) else None


class _Step(NamedTuple):
    name: str
    key: str | None
    wanted: frozenset[str]

    def takes(self, element: object) -> bool:
        return isinstance(element, dict) and _code(element.get(self.key)) in self.wanted


@dataclass(frozen=True)
class FieldPath:
    """A place in a JSON object: names with dots between them, into a list by the value of a field of its elements.

    `answers[type=nps|5].answer.response` is in the first element of `answers` whose `type` is nps or 5.
    """

    steps: tuple[_Step, ...]

    @classmethod
    def parse(cls, text: object) -> Self:
        """Reads a path as it stands in the mapping. Raises ValueError when it is none."""
        if isinstance(text, cls):
            return text
        found = [_STEP.fullmatch(part) for part in str(text).split(".")] if isinstance(text, str) else [None]
        steps = [_Step(step[1], step[2], frozenset((step[3] or "").split("|"))) for step in found if step]
        if len(steps) != len(found):
            raise ValueError("not a path; write one as attributes.send_id or answers[type=nps|5].answer.response")
        return cls(tuple(steps))

    def find(self, document: object) -> object:
        """The first value there that is not null; None when there is none."""
        return next(_walk(document, self.steps), None)


def _walk(value: object, steps: tuple[_Step, ...]) -> Iterator[object]:
    if not steps:
        if value is not None:
            yield value
        return
    step, rest = steps[0], steps[1:]
    child = value.get(step.name) if isinstance(value, dict) else None
    if step.key is None:
        yield from _walk(child, rest)
    elif isinstance(child, list):
        for element in child:
            if step.takes(element):
                yield from _walk(element, rest)


def fold(text: str) -> str:
    """A text as words are compared: without accents, case and blanks around it."""
    decomposed = unicodedata.normalize("NFKD", text)
    return "".join(letter for letter in decomposed if not unicodedata.combining(letter)).casefold().strip()


def _folded(words: tuple[str, ...]) -> tuple[str, ...]:
    return tuple(fold(word) for word in words)


def _known_zone(name: str) -> str:
    if not is_time_zone(name):
        raise ValueError(f"{name!r} is not an IANA time zone")
    return name


Place = Annotated[FieldPath, BeforeValidator(FieldPath.parse)]
Words = Annotated[tuple[str, ...], AfterValidator(_folded)]
Name = Annotated[str, Field(min_length=1)]


class Paging(Strict):
    """How the next page is asked for, and how the last is known; a page that is empty or a repetition always ends."""

    page: Name
    first: Annotated[int, Field(ge=0, le=1)] = 1
    limit: Name | None = None
    size: Annotated[int, Field(ge=1, le=10_000)] = 100
    # The number of all rows; a field that is null, false, empty or absent on the last page.
    total: Place | None = None
    more: Place | None = None

    def query(self, page: int) -> dict[str, str | int]:
        """The query parameters of a page; the first is number 0 here."""
        sizes: dict[str, str | int] = {self.limit: self.size} if self.limit else {}
        return {self.page: self.first + page, **sizes}


class Resource(Strict):
    """One GET of Track.co's: its address, its pages, its rows, and how it writes times."""

    placeholders: ClassVar[frozenset[str]] = frozenset({"organization"})

    path: Annotated[str, Field(pattern=r"^(/([\w~-][\w.~-]*|\{\w*\}))+$")]
    query: Mapping[str, str] = {}
    # The parameter that asks for what is new or has changed since an instant; without it all is read every time.
    since: Name | None = None
    paging: Paging | None = None
    # An object that an answer may be wrapped in; it is taken off where it is there.
    envelope: Name | None = None
    # The list of rows; without it the answer is the list.
    rows: Place | None = None
    time: Literal["iso", "epoch_s"] = "iso"
    # Of ISO times that name no zone.
    time_zone: Annotated[str, AfterValidator(_known_zone)] = "UTC"

    @model_validator(mode="after")
    def _placeholders_are_known(self) -> Self:
        texts = (self.path, *self.query.values())
        used = {name for text in texts for name in _PLACEHOLDER.findall(text)}
        if used - self.placeholders or any(set("{}") & set(_PLACEHOLDER.sub("", text)) for text in texts):
            raise ValueError(f"path and query: only {sorted(self.placeholders)} can be filled in, in braces")
        if "distribution" in self.placeholders - used:
            raise ValueError("path: {distribution} is missing, so no distribution would be asked for")
        return self

    def address(self, **values: str) -> str:
        """The path, filled in."""
        return self.path.format_map({name: quote(value, safe="") for name, value in values.items()})

    def parameters(self, page: int, since: datetime | None, **values: str) -> dict[str, str | int]:
        """The query of a page (the first is 0)."""
        asked: dict[str, str | int] = {name: text.format_map(values) for name, text in self.query.items()}
        if self.since and since:
            asked[self.since] = int(since.timestamp()) if self.time == "epoch_s" else since.isoformat()
        return asked | (self.paging.query(page) if self.paging else {})

    def rows_in(self, document: object) -> list[object] | None:
        """The rows of an answer; None when there is no list where they should be."""
        inner = self._unwrapped(document)
        found = self.rows.find(inner) if self.rows else inner
        return found if isinstance(found, list) else None

    def is_last(self, document: object, rows_so_far: int) -> bool:
        """Whether an answer says of itself that no page follows."""
        if self.paging is None:
            return True
        total = self._about(document, self.paging.total)
        if isinstance(total, int) and rows_so_far >= total:
            return True
        return self.paging.more is not None and not self._about(document, self.paging.more)

    def instant(self, value: object) -> datetime | None:
        """A time of this resource as a UTC instant; None when it cannot be read."""
        try:
            moment = self._moment(value)
        except (ValueError, OverflowError, OSError):
            return None
        return moment if moment and moment.year in _YEARS else None

    def _moment(self, value: object) -> datetime | None:
        if isinstance(value, bool):
            return None
        if self.time == "epoch_s":
            return datetime.fromtimestamp(float(value), UTC) if isinstance(value, int | float | str) else None
        if not isinstance(value, str):
            return None
        moment = datetime.fromisoformat(value.strip())
        return (moment if moment.tzinfo else moment.replace(tzinfo=ZoneInfo(self.time_zone))).astimezone(UTC)

    def _unwrapped(self, document: object) -> object:
        inner = document.get(self.envelope) if isinstance(document, dict) and self.envelope else None
        return inner if isinstance(inner, dict | list) else document

    def _about(self, document: object, place: FieldPath | None) -> object:
        """What an answer says of its pages, inside or beside the envelope."""
        if place is None:
            return None
        inside = place.find(self._unwrapped(document))
        return place.find(document) if inside is None else inside


class AnswersMapping(Resource):
    """Answers: one row per passage of a person through a survey."""

    send_id: Place
    answered_at: Place
    score: Place
    comment: Place | None = None
    interaction_id: Place | None = None
    # Without `state` every row is a finished answer.
    state: Place | None = None
    done: tuple[str | int, ...] = ()
    partial: tuple[str | int, ...] = ()

    def state_of(self, row: object) -> Literal["done", "partial"] | None:
        """Whether a row is a finished or a partial answer; None when it is no answer (yet)."""
        if self.state is None:
            return "done"
        code = _code(self.state.find(row))
        if code in {str(each) for each in self.done}:
            return "done"
        return "partial" if code in {str(each) for each in self.partial} else None


class StatusesMapping(Resource):
    """Delivery statuses of one distribution."""

    placeholders: ClassVar[frozenset[str]] = frozenset({"organization", "distribution"})

    send_id: Place
    # A list of several statuses in a row; the fields below are then those of its elements.
    history: Place | None = None
    status: Place
    at: Place
    # What the recipient wrote back, where that is shown.
    text: Place | None = None
    words: Mapping[StatusWord, Words]

    @model_validator(mode="after")
    def _words_mean_one_thing(self) -> Self:
        words = [word for several in self.words.values() for word in several]
        repeated = sorted({word for word in words if words.count(word) > 1})
        if repeated:
            raise ValueError(f"words: {', '.join(repeated)} given twice")
        return self

    def word(self, theirs: str) -> StatusWord | None:
        """Our word for one of theirs."""
        folded = fold(theirs)
        return next((ours for ours, several in self.words.items() if folded in several), None)


class OptOutsMapping(Resource):
    """People who asked not to be written to any more; one of the three contacts has to be there."""

    send_id: Place | None = None
    email: Place | None = None
    phone: Place | None = None
    at: Place | None = None
    # Without `channel`, or for a word that is not listed, an opt-out is of all channels.
    channel: Place | None = None
    channels: Mapping[ContactChannel, Words] = {}

    @model_validator(mode="after")
    def _names_somebody(self) -> Self:
        if not (self.send_id or self.email or self.phone):
            raise ValueError("send_id, email or phone: at least one is needed, else nobody is named")
        return self

    def channel_of(self, row: object) -> OptOutChannel:
        """The channel that a row refuses."""
        theirs = fold(_code(self.channel.find(row)) or "") if self.channel else ""
        named = (OptOutChannel(ours.value) for ours, several in self.channels.items() if theirs in several)
        return next(named, OptOutChannel.ALL)


class DistributionsMapping(Resource):
    """The distributions that were created, so that a send of which nobody saw the outcome can be looked for."""

    distribution_id: Place


class ApiMapping(Strict):
    """All that is read back. What an installation's Track.co does not offer is left out of the file."""

    answers: AnswersMapping
    distributions: DistributionsMapping | None = None
    statuses: StatusesMapping | None = None
    opt_outs: OptOutsMapping | None = None


def load_mapping(path: Path | None = None) -> ApiMapping:
    """Reads and validates a mapping; `path` defaults to the one shipped with the package, which fits the simulator.

    Raises ConfigError naming file and field.
    """
    path = path or package_file("track_api.toml")
    data = read_toml(path)
    try:
        return ApiMapping.model_validate(data)
    except ValidationError as error:
        raise ConfigError(describe(path, data, error)) from None
