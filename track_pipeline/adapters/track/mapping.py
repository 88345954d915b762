"""The mapping of Track.co's answers, delivery statuses, distributions and opt-outs, read from one TOML file.

Paths and field names of these resources are not public, so they are data. This module defines the format of the file
and the paths into a JSON document; `answers` interprets the values.
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

# A time outside these years is a number in another unit, or not a time.
_YEARS: Final = range(2000, 2100)


def _code(value: object) -> str | None:
    """Return a code (text or whole number) as text; None for any other value."""
    return str(value) if isinstance(value, str | int) and not isinstance(value, bool) else None


class _Step(NamedTuple):
    name: str
    key: str | None
    wanted: frozenset[str]

    def takes(self, element: object) -> bool:
        return isinstance(element, dict) and _code(element.get(self.key)) in self.wanted


@dataclass(frozen=True)
class FieldPath:
    """A path into a JSON object: names joined by dots; a list element is chosen by the value of one of its fields.

    `answers[type=nps|5].answer.response` reads the first element of `answers` whose `type` is nps or 5.
    """

    steps: tuple[_Step, ...]

    @classmethod
    def parse(cls, text: object) -> Self:
        """Parse a path as written in the mapping. Raises ValueError when it is not a path."""
        if isinstance(text, cls):
            return text
        found = [_STEP.fullmatch(part) for part in str(text).split(".")] if isinstance(text, str) else [None]
        steps = [_Step(step[1], step[2], frozenset((step[3] or "").split("|"))) for step in found if step]
        if len(steps) != len(found):
            raise ValueError("not a path; write one as attributes.send_id or answers[type=nps|5].answer.response")
        return cls(tuple(steps))

    def find(self, document: object) -> object:
        """Return the first value at the path that is not null; None when there is none."""
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
    """Normalize a text for comparison: without accents, case and surrounding blanks."""
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
    """How pages are requested, and how the last one is recognised; an empty or repeated page is always the end."""

    page: Name
    first: Annotated[int, Field(ge=0, le=1)] = 1
    limit: Name | None = None
    size: Annotated[int, Field(ge=1, le=10_000)] = 100
    # `total`: the number of all rows. `more`: a field that is null, false, empty or absent on the last page.
    total: Place | None = None
    more: Place | None = None

    def query(self, page: int) -> dict[str, str | int]:
        """Return the query parameters of a page; the first page is 0."""
        sizes: dict[str, str | int] = {self.limit: self.size} if self.limit else {}
        return {self.page: self.first + page, **sizes}


class Resource(Strict):
    """One GET resource of Track.co: its path, paging, rows and time format."""

    placeholders: ClassVar[frozenset[str]] = frozenset({"organization"})

    path: Annotated[str, Field(pattern=r"^(/([\w~-][\w.~-]*|\{\w*\}))+$")]
    query: Mapping[str, str] = {}
    # The parameter that limits rows to those new or changed since an instant; without it, every read gets all rows.
    since: Name | None = None
    paging: Paging | None = None
    # The key of an object that may wrap the response; it is removed if present.
    envelope: Name | None = None
    # The path of the list of rows; without it, the response itself is the list.
    rows: Place | None = None
    time: Literal["iso", "epoch_s"] = "iso"
    # The zone of ISO times without an offset.
    time_zone: Annotated[str, AfterValidator(_known_zone)] = "UTC"

    @model_validator(mode="after")
    def _placeholders_are_known(self) -> Self:
        texts = (self.path, *self.query.values())
        used = {name for text in texts for name in _PLACEHOLDER.findall(text)}
        if used - self.placeholders or any(set("{}") & set(_PLACEHOLDER.sub("", text)) for text in texts):
            raise ValueError(f"path and query: only {sorted(self.placeholders)} are allowed as placeholders in braces")
        if "distribution" in self.placeholders - used:
            raise ValueError("path: {distribution} is missing; add it, since statuses are read per distribution")
        return self

    def address(self, **values: str) -> str:
        """Return the path with its placeholders filled in."""
        return self.path.format_map({name: quote(value, safe="") for name, value in values.items()})

    def parameters(self, page: int, since: datetime | None, **values: str) -> dict[str, str | int]:
        """Return the query parameters of a page (the first is 0)."""
        query: dict[str, str | int] = {name: text.format_map(values) for name, text in self.query.items()}
        if self.since and since:
            query[self.since] = int(since.timestamp()) if self.time == "epoch_s" else since.isoformat()
        return query | (self.paging.query(page) if self.paging else {})

    def rows_in(self, document: object) -> list[object] | None:
        """Return the rows of a response; None when there is no list at `rows`."""
        inner = self._unwrapped(document)
        found = self.rows.find(inner) if self.rows else inner
        return found if isinstance(found, list) else None

    def is_last(self, document: object, rows_so_far: int) -> bool:
        """Return whether a response is marked as the last page, by `total` or `more`."""
        if self.paging is None:
            return True
        total = self._about(document, self.paging.total)
        if isinstance(total, int) and rows_so_far >= total:
            return True
        return self.paging.more is not None and not self._about(document, self.paging.more)

    def instant(self, value: object) -> datetime | None:
        """Convert a time of this resource to a UTC instant; None when it cannot be read."""
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
        """Return a paging value of a response, from inside or outside the envelope."""
        if place is None:
            return None
        inside = place.find(self._unwrapped(document))
        return place.find(document) if inside is None else inside


class AnswersMapping(Resource):
    """The resource of answers: one row each time a person opens or fills in a survey."""

    send_id: Place
    answered_at: Place
    score: Place
    comment: Place | None = None
    interaction_id: Place | None = None
    # Without `state`, every row is a finished answer.
    state: Place | None = None
    done: tuple[str | int, ...] = ()
    partial: tuple[str | int, ...] = ()

    def state_of(self, row: object) -> Literal["done", "partial"] | None:
        """Return whether a row is a finished or a partial answer; None when it is not an answer (yet)."""
        if self.state is None:
            return "done"
        code = _code(self.state.find(row))
        if code in {str(each) for each in self.done}:
            return "done"
        return "partial" if code in {str(each) for each in self.partial} else None


class StatusesMapping(Resource):
    """The resource of delivery statuses, read per distribution."""

    placeholders: ClassVar[frozenset[str]] = frozenset({"organization", "distribution"})

    send_id: Place
    # A list of several statuses in one row; the fields below then belong to its elements.
    history: Place | None = None
    status: Place
    at: Place
    # The recipient's reply, if Track.co returns it.
    text: Place | None = None
    words: Mapping[StatusWord, Words]

    @model_validator(mode="after")
    def _words_mean_one_thing(self) -> Self:
        words = [word for several in self.words.values() for word in several]
        repeated = sorted({word for word in words if words.count(word) > 1})
        if repeated:
            raise ValueError(f"words: {', '.join(repeated)} given twice; list each word under one status")
        return self

    def word(self, theirs: str) -> StatusWord | None:
        """Return the status for a word of Track.co; None when the word is not listed."""
        folded = fold(theirs)
        return next((ours for ours, several in self.words.items() if folded in several), None)


class OptOutsMapping(Resource):
    """The resource of opt-outs; at least one of `send_id`, `email` and `phone` must identify the person."""

    send_id: Place | None = None
    email: Place | None = None
    phone: Place | None = None
    at: Place | None = None
    # Without `channel`, or with a word that is not listed, an opt-out applies to all channels.
    channel: Place | None = None
    channels: Mapping[ContactChannel, Words] = {}

    @model_validator(mode="after")
    def _identifies_a_person(self) -> Self:
        if not (self.send_id or self.email or self.phone):
            raise ValueError("send_id, email or phone: at least one is needed to identify the person")
        return self

    def channel_of(self, row: object) -> OptOutChannel:
        """Return the channel of the opt-out in a row."""
        theirs = fold(_code(self.channel.find(row)) or "") if self.channel else ""
        named = (OptOutChannel(ours.value) for ours, several in self.channels.items() if theirs in several)
        return next(named, OptOutChannel.ALL)


class DistributionsMapping(Resource):
    """The resource of created distributions, used to find sends with an unknown outcome."""

    distribution_id: Place


class ApiMapping(Strict):
    """All resources that are read. The file leaves out a resource that the installation's Track.co does not offer."""

    answers: AnswersMapping
    distributions: DistributionsMapping | None = None
    statuses: StatusesMapping | None = None
    opt_outs: OptOutsMapping | None = None


def load_mapping(path: Path | None = None) -> ApiMapping:
    """Read and validate a mapping; `path` defaults to the one shipped with the package, which fits the simulator.

    Raises ConfigError naming file and field.
    """
    path = path or package_file("track_api.toml")
    data = read_toml(path)
    try:
        return ApiMapping.model_validate(data)
    except ValidationError as error:
        raise ConfigError(describe(path, data, error)) from None
