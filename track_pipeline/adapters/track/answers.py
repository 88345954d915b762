"""Reads answers, distributions, delivery statuses and opt-outs from Track.co, page by page, as plain values.

`mapping` describes their paths and fields. An unreadable row is skipped and counted; the other rows are still read.
The caller handles rows that arrive twice or out of order, and what they mean for a patient.
"""

import hashlib
import json
import re
from collections import Counter
from collections.abc import Callable, Iterator
from datetime import datetime
from typing import Final, Protocol

from track_pipeline.adapters.track.http import Call, json_of, slug
from track_pipeline.adapters.track.mapping import (
    AnswersMapping,
    ApiMapping,
    DistributionsMapping,
    OptOutsMapping,
    Resource,
    StatusesMapping,
    fold,
)
from track_pipeline.ports import Answer, DeliveryStatus, KnownDistribution, NotSent, OptOut, Page, Row

# The words in a reply that mean an opt-out.
STOP_WORDS: Final = frozenset({"sair", "parar", "cancelar"})

# Track.co's limit for a comment, in characters.
LONGEST_COMMENT: Final = 5_000
HIGHEST_SCORE: Final = 10

# Stops reading if the server never returns a last page.
MOST_PAGES: Final = 10_000


class Connection(Protocol):
    """The connection that makes the requests; `http.TrackHttp` implements it."""

    organization: str

    def exchange(self, call: Call) -> bytes:
        """Make a request and return the content of its 2xx response. Raises a SendFailure."""
        ...


class TrackAnswers:
    """The `FeedbackSource` of Track.co. A resource that is not in the mapping has no pages."""

    def __init__(self, connection: Connection, mapping: ApiMapping) -> None:
        self._connection = connection
        self._mapping = mapping

    def answers(self, since: datetime | None) -> Iterator[Page[Answer]]:
        """See `FeedbackSource.answers`."""
        mapping = self._mapping.answers
        return self._pages(mapping, "answers", lambda row: _answer(mapping, row), since)

    def distributions(self, since: datetime | None) -> Iterator[Page[KnownDistribution]] | None:
        """See `FeedbackSource.distributions`."""
        mapping = self._mapping.distributions
        if mapping is None or self._mapping.statuses is None:
            return None
        return self._pages(mapping, "distributions", lambda row: _distribution(mapping, row), since)

    def statuses(self, distribution_id: str) -> Iterator[Page[DeliveryStatus]]:
        """See `FeedbackSource.statuses`."""
        mapping = self._mapping.statuses
        if mapping is None:
            return iter(())
        return self._pages(mapping, "delivery statuses", lambda row: _statuses(mapping, row), None, distribution_id)

    def opt_outs(self, since: datetime | None) -> Iterator[Page[OptOut]]:
        """See `FeedbackSource.opt_outs`."""
        mapping = self._mapping.opt_outs
        if mapping is None:
            return iter(())
        return self._pages(mapping, "opt-outs", lambda row: _opt_out(mapping, row), since)

    def _pages(
        self,
        resource: Resource,
        what: str,
        read: Callable[[dict[str, object]], Iterator[Row | str]],
        since: datetime | None,
        distribution: str = "",
    ) -> Iterator[Page[Row]]:
        """Yield pages until one is empty, repeats an earlier page, or is marked as the last.

        A short page does not end the reading: the largest `limit` that Track.co accepts is not documented.
        """
        seen: set[bytes] = set()
        count = 0
        for number in range(MOST_PAGES):
            content = self._connection.exchange(
                Call(
                    "GET",
                    resource.address(organization=self._connection.organization, distribution=distribution),
                    f"{what}, page {number + 1}",
                    query=resource.parameters(
                        number, since, organization=self._connection.organization, distribution=distribution
                    ),
                )
            )
            document = json_of(content)
            rows = resource.rows_in(document)
            digest = _digest(rows)
            if rows is None or digest is None:
                raise NotSent(
                    "unreadable", f"{what}: Track.co's response has no list at `rows`; correct track_api.toml"
                )
            if not rows or digest in seen:
                return
            yield _page(rows, read)
            seen.add(digest)
            count += len(rows)
            if resource.is_last(document, count):
                return
        raise NotSent("endless", f"{what}: no last page after {MOST_PAGES} pages; correct paging in track_api.toml")


def asks_to_stop(text: str) -> bool:
    """Return whether a text holds SAIR, PARAR or CANCELAR as a word: any case, with accents, or with spaced letters."""
    words = re.findall(r"[^\W\d_]+", fold(text))
    return not STOP_WORDS.isdisjoint([*words, "".join(words)])


def _digest(rows: list[object] | None) -> bytes | None:
    """Return a fingerprint of a page; None when its nesting is too deep to be a valid page."""
    try:
        return hashlib.sha256(json.dumps(rows).encode()).digest()
    except RecursionError:
        return None


def _page(rows: list[object], read: Callable[[dict[str, object]], Iterator[Row | str]]) -> Page[Row]:
    results = [result for row in rows for result in (read(row) if isinstance(row, dict) else iter(("not_an_object",)))]
    skipped = Counter(result for result in results if isinstance(result, str))
    return Page(tuple(result for result in results if not isinstance(result, str)), dict(skipped))


# --- rows: the value that was read, or the reason why the row is skipped ----------------------------------------------


def _answer(mapping: AnswersMapping, row: dict[str, object]) -> Iterator[Answer | str]:
    state = mapping.state_of(row)
    send_id = _identifier(mapping.send_id.find(row))
    answered_at = mapping.instant(mapping.answered_at.find(row))
    if state is None:
        yield "no_answer"
    elif send_id is None:
        yield "no_send_id"
    elif answered_at is None and mapping.state is None:
        # Without a mapped state, only the time shows that the row is an answer.
        yield "no_time"
    else:
        comment = mapping.comment.find(row) if mapping.comment else None
        yield Answer(
            send_id,
            answered_at,
            state,
            _score(mapping.score.find(row)),
            _text(comment)[:LONGEST_COMMENT] or None,
            _identifier(mapping.interaction_id.find(row)) if mapping.interaction_id else None,
        )


def _distribution(mapping: DistributionsMapping, row: dict[str, object]) -> Iterator[KnownDistribution | str]:
    found = _identifier(mapping.distribution_id.find(row))
    yield KnownDistribution(found) if found else "no_identifier"


def _statuses(mapping: StatusesMapping, row: dict[str, object]) -> Iterator[DeliveryStatus | str]:
    history = mapping.history.find(row) if mapping.history else [row]
    if not isinstance(history, list):
        yield "no_status"
        return
    send_id = _identifier(mapping.send_id.find(row))
    for entry in history:
        word = _text(mapping.status.find(entry))
        text = _text(mapping.text.find(entry)) if mapping.text else ""
        if not (word or text):
            yield "no_status"
        elif send_id is None:
            yield "no_send_id"
        else:
            at = mapping.instant(mapping.at.find(entry))
            status = "unsubscribed" if asks_to_stop(word) or asks_to_stop(text) else mapping.word(word) or "other"
            yield DeliveryStatus(send_id, status, at, slug(fold(word), default="unreadable"))


def _opt_out(mapping: OptOutsMapping, row: dict[str, object]) -> Iterator[OptOut | str]:
    send_id = _identifier(mapping.send_id.find(row)) if mapping.send_id else None
    email = _text(mapping.email.find(row)) if mapping.email else ""
    phone = _text(mapping.phone.find(row)) if mapping.phone else ""
    if not (send_id or email or phone):
        yield "no_contact"
    else:
        at = mapping.instant(mapping.at.find(row)) if mapping.at else None
        yield OptOut(send_id, email or None, phone or None, mapping.channel_of(row), at)


def _identifier(value: object) -> str | None:
    text = _text(value)
    return text if re.fullmatch(r"[A-Za-z0-9_-]{1,64}", text) else None


def _text(value: object) -> str:
    """Return a text or whole number as text that every database accepts; an empty text for any other value."""
    if isinstance(value, bool) or not isinstance(value, str | int):
        return ""
    # JSON may contain NUL characters and unpaired surrogates.
    return str(value).replace("\0", "").encode(errors="replace").decode().strip()


def _score(value: object) -> int | None:
    text = _text(int(value) if isinstance(value, float) and value.is_integer() else value)
    return int(text) if re.fullmatch(r"[0-9]{1,2}", text) and int(text) <= HIGHEST_SCORE else None
