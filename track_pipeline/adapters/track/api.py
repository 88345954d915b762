"""Makes Track.co's sending requests and reads its responses.

`http` handles failures and retries; `answers` reads the answers of patients.
"""

import itertools
import re
from collections.abc import Iterator, Mapping
from typing import Final
from urllib.parse import quote

from track_pipeline.adapters.track.http import Call, TrackHttp, json_of, slug
from track_pipeline.adapters.track.requests import Distribution, Line, LinkList
from track_pipeline.ports import Accepted, NotSent, Survey

SURVEYS_PER_PAGE: Final = 100


class TrackApi(TrackHttp):
    """Track.co's sending requests, for one organisation."""

    @property
    def _root(self) -> str:
        return f"/v1/organizations/{quote(self.organization, safe='')}"

    def create_distribution(self, distribution: Distribution) -> Accepted:
        """Create and send one distribution. Any 2xx means that Track.co accepted it, even with an unreadable body."""
        what = f"distribution of {len(distribution.lines)} lines by {distribution.channel}"
        content = self.exchange(Call("POST", f"{self._root}/distributions", what, distribution.body()))
        answer = _payload(content)
        return Accepted(_distribution_id(answer), _refused(answer, distribution.lines))

    def create_link_list(self, link_list: LinkList) -> Accepted:
        """Create personal links; a line without a link in the response has none in the result."""
        what = f"link list of {len(link_list.lines)} lines"
        content = self.exchange(Call("POST", f"{self._root}/distributions/createLinkList", what, link_list.body()))
        answer = _payload(content)
        return Accepted(None, _refused(answer, link_list.lines), _links(answer, link_list.lines))

    def surveys(self) -> list[Survey]:
        """Return all surveys of the organisation; reads pages until one has no new survey.

        A short page does not end the reading: the largest `limit` that Track.co accepts is not documented.
        """
        found: dict[str, Survey] = {}
        for page in itertools.count(1):
            query: dict[str, str | int] = {"include_questions": "false", "limit": SURVEYS_PER_PAGE, "page": page}
            answer = _payload(self.exchange(Call("GET", f"{self._root}/surveys", "list of surveys", query=query)))
            entries = _entries(answer, "surveys", "items", "results")
            if entries is None:
                raise NotSent("unreadable", "list of surveys: the shape of Track.co's response is unknown")
            new = {survey.uuid: survey for survey in map(_survey, entries) if survey and survey.uuid not in found}
            if not new:
                break
            found |= new
        return list(found.values())


# --- reading responses ----------------------------------------------------------------------------------------------


def _payload(content: bytes) -> object:
    """Return the JSON of a response, without its `data` envelope if it has one; None when it is not JSON."""
    document = json_of(content)
    if isinstance(document, dict) and isinstance(document.get("data"), dict | list):
        return document["data"]
    return document


def _first(entry: Mapping[str, object], *keys: str) -> str | None:
    """Return the value of the first key that holds a text or a whole number, as text."""
    values = (entry.get(key) for key in keys)
    return next((str(value) for value in values if isinstance(value, str | int) and not isinstance(value, bool)), None)


def _distribution_id(answer: object) -> str | None:
    found = _first(answer, "uuid", "id", "distribution_uuid") if isinstance(answer, dict) else None
    return found if found and re.fullmatch(r"[\w-]{1,64}", found) else None


def _entries(answer: object, *keys: str) -> list[dict[str, object]] | None:
    """Return the objects of a list: the response itself, or under one of the keys; None when there is no list."""
    if isinstance(answer, dict):
        answer = next((answer[key] for key in keys if isinstance(answer.get(key), list)), None)
    return [entry for entry in answer if isinstance(entry, dict)] if isinstance(answer, list) else None


def _survey(entry: Mapping[str, object]) -> Survey | None:
    uuid = _first(entry, "uuid", "id", "survey_uuid")
    if uuid is None:
        return None
    return Survey(uuid, _first(entry, "name", "title") or "", _first(entry, "public_hash", "hash"))


def _refused(answer: object, lines: tuple[Line, ...]) -> dict[str, str]:
    """Return reasons by `send_id`, from `invalid: [{index | send_id, reason}]` (assumed: the real shape is unknown)."""
    if not isinstance(answer, dict):
        return {}
    return {
        send_id: slug(entry.get("reason"), default="line_refused")
        for send_id, entry in _by_line(_entries(answer, "invalid"), lines)
    }


def _links(answer: object, lines: tuple[Line, ...]) -> dict[str, str]:
    """Return links by `send_id`, from `links: [{index | send_id, link}]` or such a list alone (also assumed).

    The order of the list is never used: one missing entry would give every later line another person's link.
    """
    named = ((send_id, _first(entry, "link", "url")) for send_id, entry in _by_line(_entries(answer, "links"), lines))
    return {send_id: link for send_id, link in named if link and re.fullmatch(r"https?://[!-~]{1,2000}", link)}


def _by_line(
    entries: list[dict[str, object]] | None, lines: tuple[Line, ...]
) -> Iterator[tuple[str, dict[str, object]]]:
    """Yield `send_id` and entry for each entry that names a line, by `send_id` or by `index`."""
    ids = [str(line["send_id"]) for line in lines]
    known = set(ids)
    for entry in entries or ():
        index, send_id = entry.get("index"), _first(entry, "send_id")
        if send_id is None and isinstance(index, int) and 0 <= index < len(ids):
            send_id = ids[index]
        if send_id in known:
            yield send_id, entry
