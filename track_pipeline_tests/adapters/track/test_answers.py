"""Reading from Track.co: recordings with their mapping, pages, and invalid rows.

A recording is a folder of `data/track_recordings/`: an answer of Track.co, a mapping (if missing, the shipped one), and
the expected result. Put the first real answer there, without personal data.
"""

import json
import logging
import tomllib
import traceback
from collections.abc import Callable, Iterator
from contextlib import suppress
from copy import deepcopy
from dataclasses import asdict
from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from track_pipeline.adapters.track import answers as track_answers
from track_pipeline.adapters.track.answers import TrackAnswers, asks_to_stop
from track_pipeline.adapters.track.api import TrackApi
from track_pipeline.adapters.track.http import Call, Patience
from track_pipeline.adapters.track.mapping import ApiMapping, FieldPath, load_mapping
from track_pipeline.config.files import package_file
from track_pipeline.errors import ConfigError
from track_pipeline.ports import Answer, DeliveryStatus, NotSent, OptOut, Page, Refused, SendFailure, Stopped
from track_pipeline_tests.support.fake_track import Behaviour, FakeTrack, raw, reply

RECORDINGS = Path(__file__).parents[2] / "data" / "track_recordings"
NOW = datetime(2026, 3, 2, 14, 0, tzinfo=UTC)
MAPPING = load_mapping()
READ: dict[str, Callable[[TrackAnswers], Iterator[Page[Any]]]] = {
    "answers": lambda reader: reader.answers(None),
    "distributions": lambda reader: reader.distributions(None) or iter(()),
    "statuses": lambda reader: reader.statuses("d-1"),
    "opt_outs": lambda reader: reader.opt_outs(None),
}


class Canned:
    """A connection that answers with prepared pages, the last of them for ever, and remembers what was asked."""

    def __init__(self, *pages: object) -> None:
        self.organization = "org/1"
        self.pages = [page if isinstance(page, bytes) else json.dumps(page).encode() for page in pages]
        self.calls: list[Call] = []

    def exchange(self, call: Call) -> bytes:
        self.calls.append(call)
        return self.pages[min(len(self.calls), len(self.pages)) - 1]

    @property
    def queries(self) -> list[dict[str, object]]:
        return [dict(call.query or {}) for call in self.calls]


class Unlimited:
    """A budget without end."""

    def acquire(self, timeout: float) -> bool:
        return timeout >= 0


def mapping_with(resource: str, **changes: object) -> ApiMapping:
    """The shipped mapping with fields of one resource changed, or left out where None."""
    data = shipped()
    data[resource] = {key: value for key, value in (data[resource] | changes).items() if value is not None}
    return ApiMapping.model_validate(data)


def shipped() -> dict[str, Any]:
    return tomllib.loads(package_file("track_api.toml").read_text(encoding="utf-8"))


def row(number: int, **changes: object) -> dict[str, Any]:
    return {
        "uuid": f"i-{number}",
        "status": 3,
        "answered_at": NOW.isoformat(),
        "attributes": {"send_id": f"s-{number}"},
        "answers": [{"type": "nps", "answer": {"response": 9, "comment": "Segredo da Ana"}}],
    } | changes


def interactions(*numbers: int, **about: object) -> dict[str, object]:
    return {"interactions": [row(number) for number in numbers], **about}


def ids(pages: Iterator[Page[Answer]]) -> list[list[str]]:
    return [[answer.send_id for answer in page.rows] for page in pages]


# --- recordings -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("resource", READ)
@pytest.mark.parametrize("recording", sorted(RECORDINGS.iterdir()), ids=lambda path: path.name)
def test_a_recording_is_read_by_its_mapping_alone(recording: Path, resource: str) -> None:
    own = recording / "mapping.toml"
    connection = Canned((recording / f"{resource}.json").read_bytes())

    pages = list(READ[resource](TrackAnswers(connection, load_mapping(own if own.exists() else None))))

    expected = json.loads((recording / "expected.json").read_text(encoding="utf-8"))[resource]
    (page,) = pages
    assert (
        json.loads(json.dumps([asdict(found) for found in page.rows], default=datetime.isoformat)) == expected["rows"]
    )
    assert page.skipped == expected["skipped"]


def test_a_resource_that_is_not_offered_has_no_pages_and_is_not_asked_for() -> None:
    data = shipped()
    reader = TrackAnswers(connection := Canned({}), ApiMapping.model_validate({"answers": data["answers"]}))

    assert [*reader.statuses("d-1"), *reader.opt_outs(NOW)] == []
    assert reader.distributions(NOW) is None
    assert connection.calls == []


def test_distributions_without_statuses_cannot_be_compared_and_are_not_asked_for() -> None:
    data = shipped()
    mapping = ApiMapping.model_validate({name: data[name] for name in ("answers", "distributions")})

    assert TrackAnswers(Canned({}), mapping).distributions(NOW) is None


# --- the request ----------------------------------------------------------------------------------------------------


def test_addresses_are_filled_in_and_escaped() -> None:
    connection = Canned({"statuses": []})
    list(TrackAnswers(connection, MAPPING).statuses("d/1?x"))
    assert connection.calls[0].path == "/v1/organizations/org%2F1/distributions/d%2F1%3Fx/status"
    assert connection.queries == [{"history": "true", "page": 1, "limit": 200}]


def test_a_distribution_may_be_named_in_the_query() -> None:
    mapping = mapping_with("statuses", path="/v1/status", query={"distribution": "{distribution}"}, paging=None)
    connection = Canned({"statuses": []})
    list(TrackAnswers(connection, mapping).statuses("d-1"))
    assert (connection.calls[0].path, connection.queries) == ("/v1/status", [{"distribution": "d-1"}])


@pytest.mark.parametrize(
    ("changes", "asked"),
    [
        ({}, {"updated_since": "2026-03-02T11:00:00-03:00"}),
        ({"time": "epoch_s", "since": "from"}, {"from": int(NOW.timestamp())}),
        ({"since": None}, {}),
    ],
)
def test_only_what_is_new_is_asked_for(changes: dict[str, object], asked: dict[str, object]) -> None:
    connection = Canned({"interactions": []})
    since = NOW.astimezone(timezone(timedelta(hours=-3)))

    list(TrackAnswers(connection, mapping_with("answers", **changes)).answers(since))

    assert connection.queries == [{"page": 1, "limit": 200} | asked]


def test_the_first_time_everything_is_asked_for() -> None:
    connection = Canned({"interactions": []})
    list(TrackAnswers(connection, MAPPING).answers(None))
    assert connection.queries == [{"page": 1, "limit": 200}]


# --- pages ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "pages",
    [
        [interactions(1, 2), interactions(3), interactions()],
        [interactions(1, 2), interactions(3), interactions(3)],
        [interactions(1, 2), interactions(3), interactions(1, 2, page=3)],
        [interactions(1, 2, total=3), interactions(3, total=3)],
        [{"data": interactions(1, 2), "total": 3}, {"data": interactions(3), "total": 3}],
        [interactions(1, 2, total=None), interactions(3, total="many"), interactions()],
    ],
    ids=["an empty page", "the same page again", "an earlier page again", "total", "total beside", "no usable total"],
)
def test_pages_are_read_until_nothing_new_comes(pages: list[object]) -> None:
    connection = Canned(*pages)
    assert ids(TrackAnswers(connection, MAPPING).answers(None)) == [["s-1", "s-2"], ["s-3"]]
    assert [query["page"] for query in connection.queries] == list(range(1, len(pages) + 1))


@pytest.mark.parametrize("last", [{"next": None}, {"next": ""}, {"next": False}, {}])
def test_a_page_may_say_that_it_is_the_last(last: dict[str, object]) -> None:
    mapping = mapping_with("answers", paging={"page": "p", "first": 0, "more": "links.next"})
    connection = Canned(interactions(1, links={"next": "/p/2"}), interactions(2, links=last))

    assert ids(TrackAnswers(connection, mapping).answers(None)) == [["s-1"], ["s-2"]]
    assert connection.queries == [{"p": 0}, {"p": 1}]


def test_without_paging_there_is_one_request() -> None:
    connection = Canned(interactions(1))
    assert ids(TrackAnswers(connection, mapping_with("answers", paging=None)).answers(None)) == [["s-1"]]
    assert connection.queries == [{}]


def test_a_page_of_rows_that_are_no_answers_does_not_end_it() -> None:
    connection = Canned({"interactions": [row(1, status=1)]}, interactions(2), interactions())
    pages = list(TrackAnswers(connection, MAPPING).answers(None))
    assert [page.skipped for page in pages] == [{"no_answer": 1}, {}]


def test_pages_before_a_failure_are_delivered() -> None:
    pages = TrackAnswers(Canned(interactions(1), b"<html>"), MAPPING).answers(None)
    assert [answer.send_id for answer in next(pages).rows] == ["s-1"]
    with pytest.raises(NotSent):
        next(pages)


def test_a_server_without_a_last_page_is_left_in_the_end(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(track_answers, "MOST_PAGES", 3)
    connection = Canned(*(interactions(number) for number in range(9)))
    with pytest.raises(NotSent) as caught:
        list(TrackAnswers(connection, MAPPING).answers(None))
    assert (caught.value.reason, len(connection.calls)) == ("endless", 3)


@pytest.mark.parametrize(
    "answer",
    [b"", b"<html>", b"[" * 100_000, {"interactions": None}, {"rows": []}, {"data": []}, [row(1)], "text", None],
)
def test_an_answer_without_the_list_is_not_an_empty_one(answer: object) -> None:
    with pytest.raises(NotSent) as caught:
        list(TrackAnswers(Canned(answer), MAPPING).answers(None))
    assert caught.value.reason == "unreadable"
    assert caught.value.__context__ is None


# --- rows -----------------------------------------------------------------------------------------------------------


def one_answer(changed: dict[str, Any], mapping: ApiMapping = MAPPING) -> Answer:
    ((page,)) = list(TrackAnswers(Canned({"interactions": [changed]}), mapping).answers(None))
    (answer,) = page.rows
    return answer


@pytest.mark.parametrize(
    ("response", "score"),
    [(0, 0), (10, 10), ("7", 7), (8.0, 8), (11, None), (-1, None), (7.5, None), (True, None), ([9], None), ("x", None)],
)
def test_a_score_is_0_to_10_or_none(response: object, score: int | None) -> None:
    assert one_answer(row(1, answers=[{"type": "nps", "answer": {"response": response}}])).score == score


def test_a_comment_is_as_long_as_track_co_allows_and_fit_for_any_database() -> None:
    item = {"type": "nps", "answer": {"response": 9, "comment": " \0a\ud800" + "b" * 6000}}
    comment = one_answer(row(1, answers=[item])).comment
    assert comment is not None
    assert (comment[:3], len(comment)) == ("a?b", 5000)


@pytest.mark.parametrize("contact", ["ana@example.org", "Ana Ficticia", "", None, True, {"id": 1}, "x" * 65])
def test_what_is_no_send_id_is_not_taken_for_one(contact: object) -> None:
    (page,) = TrackAnswers(Canned({"interactions": [row(1, attributes={"send_id": contact})]}), MAPPING).answers(None)
    assert (page.rows, page.skipped) == ((), {"no_send_id": 1})


@pytest.mark.parametrize("text", ["SAIR", " sair. ", "Pode PARAR?", "cancélar", "S A I R", "sa\u200bir", "ＳＡＩＲ"])
def test_people_who_ask_to_stop_are_understood(text: str) -> None:
    assert asks_to_stop(text)


@pytest.mark.parametrize("text", ["", "sairei", "separar", "cancelarei a consulta", "Obrigado", "pa rar!x"])
def test_other_words_are_no_request_to_stop(text: str) -> None:
    assert not asks_to_stop(text)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=6,
)

DOCUMENTS: dict[str, dict[str, Any]] = {
    "answers": {"interactions": [row(1), row(2)], "total": 2},
    "statuses": {
        "statuses": [
            {"send_id": f"s-{n}", "history": [{"status": "sent", "date": NOW.isoformat(), "text": "oi"}]}
            for n in (1, 2)
        ],
        "total": 2,
    },
    "opt_outs": {
        "opt_outs": [
            {"send_id": f"s-{n}", "email": None, "phone": None, "channel": "", "created_at": NOW.isoformat()}
            for n in (1, 2)
        ],
        "total": 2,
    },
}


def places(value: object, path: tuple[str | int, ...] = ()) -> Iterator[tuple[str | int, ...]]:
    """Every place in a JSON document but itself."""
    children = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, child in children:
        yield (*path, key)
        yield from places(child, (*path, key))


def replaced(document: Any, path: tuple[str | int, ...], value: object) -> Any:
    changed = deepcopy(document)
    holder = changed
    for step in path[:-1]:
        holder = holder[step]
    holder[path[-1]] = value
    return changed


@given(data=st.data(), resource=st.sampled_from(sorted(DOCUMENTS)), value=JSON)
def test_whatever_stands_in_a_field_the_other_rows_are_read(data: st.DataObject, resource: str, value: object) -> None:
    rows = next(iter(DOCUMENTS[resource]))
    path = data.draw(st.sampled_from([place for place in places(DOCUMENTS[resource]) if place[:2] != (rows, 1)]))
    connection = Canned(replaced(DOCUMENTS[resource], path, value), {rows: []})

    try:
        pages = list(READ[resource](TrackAnswers(connection, MAPPING)))
    except SendFailure:
        assert path == (rows,)
        return

    found = [each for page in pages for each in page.rows]
    assert path == (rows,) or any(each.send_id == "s-2" for each in found)
    for each in found:
        check_row(each)


def check_row(each: Answer | DeliveryStatus | OptOut) -> None:
    at = each.answered_at if isinstance(each, Answer) else each.at
    assert at is None or at.tzinfo is UTC
    json.dumps(asdict(each), default=str, ensure_ascii=False).encode()


@given(document=JSON, resource=st.sampled_from(sorted(DOCUMENTS)))
def test_any_json_at_all_is_read_or_refused(document: object, resource: str) -> None:
    with suppress(NotSent):
        assert not any(page.rows for page in READ[resource](TrackAnswers(Canned(document), MAPPING)))


# --- over HTTP ------------------------------------------------------------------------------------------------------


@pytest.fixture
def track() -> Iterator[FakeTrack]:
    with FakeTrack() as server:
        yield server


def reader_at(url: str) -> TrackAnswers:
    patience = Patience(connect=1, read=0.3, budget=0, sleep=lambda _: None)
    return TrackAnswers(TrackApi(url, "org-1", "tok", budget=Unlimited(), patience=patience), MAPPING)


@pytest.mark.parametrize(
    ("behaviour", "kind", "reason", "seen"),
    [
        (reply(401), Stopped, "token_refused", 1),
        (reply(405, b"<html>captcha</html>"), Stopped, "throttled", 1),
        (reply(404, {"error": "Ana"}), Refused, "http_404", 1),
        (reply(500, b"Ana"), NotSent, "http_500", 4),
        (raw(b'HTTP/1.1 200 OK\r\nContent-Length: 500\r\n\r\n{"interactions": ['), NotSent, "unreachable", 4),
    ],
)
def test_failures_are_those_of_sending(
    track: FakeTrack, behaviour: Behaviour, kind: type[SendFailure], reason: str, seen: int
) -> None:
    track.script = [behaviour] * 9
    with pytest.raises(SendFailure) as caught:
        list(reader_at(track.url).answers(None))
    assert (type(caught.value), caught.value.reason, len(track.requests)) == (kind, reason, seen)


def test_a_page_that_breaks_off_is_fetched_again(track: FakeTrack) -> None:
    whole = json.dumps(interactions(1, total=1)).encode()
    track.script = [raw(b"HTTP/1.1 200 OK\r\nContent-Length: 500\r\n\r\n" + whole), reply(200, whole)]
    assert ids(reader_at(track.url).answers(NOW)) == [["s-1"]]
    assert track.requests[1].path.startswith("/v1/organizations/org-1/interactions?updated_since=2026-03-02T14%3A00")


def test_no_free_text_and_no_contact_is_shown(track: FakeTrack, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    opt_outs = {"opt_outs": [{"email": "ana@example.org", "phone": "5511900000000"}], "total": 1}
    statuses = {"statuses": [{"send_id": "s-1", "name": "Ana", "history": [
        {"status": "Segredo da Ana", "date": NOW.isoformat(), "text": "Segredo da Ana"}]}], "total": 1}  # fmt: skip
    track.script = [
        reply(200, interactions(1, total=1)),
        reply(200, opt_outs),
        reply(200, statuses),
        reply(200, {"error": "Segredo da Ana"}),
    ]
    reader = reader_at(track.url)

    (answers,) = reader.answers(None)
    others: list[Page[Any]] = [*reader.opt_outs(None), *reader.statuses("d-1")]
    with pytest.raises(NotSent) as caught:
        list(reader.answers(None))

    assert [len(page.rows) for page in others] == [1, 1]
    assert answers.rows[0].comment == "Segredo da Ana"
    told = repr([answers, *others]) + caplog.text + "".join(traceback.format_exception(caught.value))
    for secret in ("Segredo", "segredo", "Ana", "example.org", "5511900000000"):
        assert secret not in told


# --- the mapping ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("a", 1),
        ("b.c", 2),
        ("b.missing.d", None),
        ("list[kind=x].v", 3),
        ("list[kind=5|y].v", 4),
        ("list[kind=x|5].w", 6),
        ("list[kind=z].v", None),
        ("a[kind=x].v", None),
        ("list.v", None),
    ],
)
def test_a_path_finds_the_first_value_that_is_there(text: str, found: object) -> None:
    document = {
        "a": 1,
        "b": {"c": 2},
        "list": ["x", {"kind": True}, {"kind": "x", "v": 3}, {"kind": 5, "v": 4, "w": 6}],
    }
    assert FieldPath.parse(text).find(document) == found


@pytest.mark.parametrize("text", ["", ".", "a..b", "a[", "a[k]", "a[k=]", "a[k=v|]", "a b", "$.a", 7, None])
def test_what_is_no_path_is_refused(text: object) -> None:
    with pytest.raises(ValueError, match="not a path"):
        FieldPath.parse(text)


@pytest.mark.parametrize(
    ("resource", "changes", "complaint"),
    [
        ("answers", {"send_id": None}, "answers: send_id: Field required"),
        ("answers", {"send_id": "attributes..send_id"}, "answers: send_id: not a path"),
        ("answers", {"score_path": "x"}, "answers: score_path: Extra inputs"),
        ("answers", {"path": "https://elsewhere.example/x"}, "answers: path: "),
        ("answers", {"path": "/v1/../admin"}, "answers: path: "),
        ("answers", {"path": "/v1/{distribution}"}, "answers: path and query: only"),
        ("answers", {"query": {"x": "{0.secret}"}}, "answers: path and query: only"),
        ("answers", {"time": "rfc822"}, "answers: time: "),
        ("answers", {"time_zone": "Brasilia"}, "answers: time_zone: 'Brasilia' is not an IANA time zone"),
        ("answers", {"paging": {"page": "page", "size": 0}}, "answers: paging: size: "),
        ("statuses", {"path": "/v1/status"}, "statuses: path: {distribution} is missing"),
        ("statuses", {"words": {"sent": ["Enviado"], "failed": ["ENVIADO"]}}, "statuses: words: enviado given twice"),
        ("statuses", {"words": {"seen": ["lido"]}}, "statuses: words: seen: "),
        ("opt_outs", {"send_id": None, "email": None, "phone": None}, "opt_outs: send_id, email or phone: "),
    ],
)
def test_a_wrong_mapping_is_refused_by_file_and_field(
    tmp_path: Path, resource: str, changes: dict[str, object], complaint: str
) -> None:
    data = shipped()
    data[resource] = {key: value for key, value in (data[resource] | changes).items() if value is not None}
    path = tmp_path / "ours.toml"
    path.write_text(toml_of(data), encoding="utf-8")

    with pytest.raises(ConfigError) as caught:
        load_mapping(path)

    assert str(caught.value).startswith(f"ours.toml: {complaint}")


def toml_of(data: dict[str, Any]) -> str:
    """A mapping as TOML: JSON is nearly that."""

    def inline(value: object) -> str:
        if isinstance(value, dict):
            return "{" + ", ".join(f"{key} = {inline(each)}" for key, each in value.items()) + "}"
        return json.dumps(value, ensure_ascii=False)

    return "\n".join(f"{name} = {inline(resource)}" for name, resource in data.items())


def test_a_mapping_that_is_not_there_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"ours\.toml: there is no file"):
        load_mapping(tmp_path / "ours.toml")


def test_the_shipped_mapping_says_that_it_is_invented() -> None:
    assert "INVENTED" in package_file("track_api.toml").read_text(encoding="utf-8").splitlines()[2]
