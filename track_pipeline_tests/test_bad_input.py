"""Bad input (typed, configured, imported or answered): one outcome per row, or one clear error of the package.

The good rows of the same partition are sent, requests to Track.co are valid JSON, and an error changes nothing.
"""

import csv
import json
import re
import shutil
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Final

import polars as pl
import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from sqlalchemy import delete, func, select

from track_pipeline.adapters.hospitals.extract import conform
from track_pipeline.adapters.lake import Lake
from track_pipeline.adapters.ledger import open_ledger
from track_pipeline.adapters.ledger.tables import consents, metadata
from track_pipeline.adapters.track.answers import TrackAnswers
from track_pipeline.adapters.track.api import TrackApi
from track_pipeline.adapters.track.http import Call, Patience, json_of
from track_pipeline.adapters.track.mapping import load_mapping
from track_pipeline.adapters.track.requests import Distribution
from track_pipeline.adapters.track.sender import TrackSender
from track_pipeline.config.files import package_file
from track_pipeline.config.hospitals import load_registry
from track_pipeline.config.policy import load_policy
from track_pipeline.config.rules import load_rulebook, load_rules
from track_pipeline.config.surveys import load_surveys
from track_pipeline.domain.areas import Area
from track_pipeline.domain.calendar import window_opens_at
from track_pipeline.domain.channels import CONTACT_CHANNELS, Channel
from track_pipeline.domain.hospital import Registry
from track_pipeline.domain.outcomes import Exclusion
from track_pipeline.domain.schema import raw_schema
from track_pipeline.errors import ConfigError
from track_pipeline.ports import SendFailure, SourceError
from track_pipeline.services.daily.dispatch import Dispatcher
from track_pipeline.services.daily.extraction import Extractor
from track_pipeline.services.daily.invitation import Planner
from track_pipeline.services.daily.sending import LINKS, SURVEY_LINK, Partition
from track_pipeline.services.feedback.reading import FeedbackReader
from track_pipeline.services.feedback.reconciliation import Reconciler
from track_pipeline.services.insight.status import status, why
from track_pipeline.services.operator.imports import BadFile, Importer
from track_pipeline.services.operator.links import export_links
from track_pipeline_tests.support.builders import DAY, HASHER, Row, cpf, email_of, hospital, keys_of, raw_encounters
from track_pipeline_tests.support.fake_reader import FakeHospitals
from track_pipeline_tests.support.fake_sender import FakeSender
from track_pipeline_tests.support.fake_track import FakeTrack, raw
from track_pipeline_tests.support.installation import AREA, NINE, AlertList, Office

FEW = settings(
    derandomize=True,
    database=None,
    deadline=None,
    max_examples=30,
    # Files and ledger of a test are the same for all its examples, on purpose.
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow, HealthCheck.data_too_large],
)
REGISTRY: Final = load_registry()
RULES: Final = load_rulebook(REGISTRY.only(("HMS",)))


@pytest.fixture
def office(tmp_path: Path) -> Iterator[Office]:
    office = Office(tmp_path)
    yield office
    office.ledger.close()


@pytest.fixture
def office_on_postgresql(tmp_path: Path, postgres_url: str) -> Iterator[Office]:
    """PostgreSQL takes less than SQLite does: no NUL, no number that is too large."""
    office = Office(tmp_path)
    office.ledger.close()
    office.ledger = open_ledger(postgres_url, clock=lambda: office.now)
    yield office
    office.ledger.close()


@contextmanager
def refused(error: type[Exception], match: str) -> Iterator[None]:
    """It works, or there is this one error, with this text."""
    try:
        yield
    except error as raised:
        if re.search(match, str(raised), re.DOTALL) is None:
            raise


def emptied(office: Office) -> None:
    """For the next example: an office in which nothing has happened."""
    office.track = FakeSender()
    shutil.rmtree(office.lake.root, ignore_errors=True)
    with office.ledger._database.write() as connection:
        for table in metadata.sorted_tables:
            connection.execute(delete(table))


# --- rows of a hospital ---------------------------------------------------------------------------------------------

NASTY: Final = (
    "",
    "\0",
    "Jo\0ão\x01\x7f\x85",
    "\r\n[2025-03-11 09:00:00] - HMS - * - ERROR - forged",
    "\u202eairaM\u202c \u200f\u2066x",
    "\ufeff\u200b\u2028\u2029",
    "\U000e0041\uffff\U0010ffff",
    "=HYPERLINK('http://x')",
    "+1+1",
    "@SUM(A1)",
    "JOSE;=cmd|'/C calc'!A0",
    "'; DROP TABLE sends; --",
    "{{7*7}} ${7*7} %(x)s %s {0}",
    "../../../etc/passwd",
    "٣٣٣٣٣٣٣٣٣٣٣",
    "e\u0301" * 300,
    "a@b@c.com",
    "a@" + "b." * 200 + "com",
    "a@[127.0.0.1]",
    "a@xn--a.com",
    ";;;",
    "9" * 400,
    "Maria " * 166_667,
)
TEXT: Final = st.none() | st.sampled_from(NASTY) | st.text(st.characters(exclude_categories=["Cs"]), max_size=30)
WALL_TIME: Final = st.none() | st.sampled_from(
    [
        datetime(*parts)  # noqa: DTZ001 - a hospital's clock on the wall
        for parts in ((1, 1, 1), (9999, 12, 31, 23, 59, 59), (1899, 12, 30), (2018, 11, 4, 0, 30))
    ]
)
CODE: Final = st.none() | st.sampled_from([-(2**63), -1, 0, 2**31, 2**63 - 1])
TEXTS: Final = (
    *("tp_atendimento", "cd_cid", "tp_mot_alta", "sn_obito", "ori_tp_origem", "ds_ser_dis", "ds_especialid"),
    *("ds_ori_ate", "nm_setor", "ds_unid_int", "nm_paciente", "email", "nr_ddi_celular", "nr_ddd_celular"),
    *("nr_celular", "nr_cpf", "nm_prestador"),
)
TIMES: Final = ("dt_atendimento", "hr_atendimento", "dt_alta", "hr_alta")
CODES: Final = ("cd_multi_empresa", "cd_ori_ate", "cd_servico", "cd_tip_res", "cd_mot_alt", "cd_atendimento_pai")
SPOILT: Final = st.one_of(
    st.dictionaries(st.sampled_from(TEXTS), TEXT, min_size=1, max_size=4),
    st.dictionaries(st.sampled_from(TIMES), WALL_TIME, min_size=1, max_size=4),
    st.dictionaries(st.sampled_from(CODES), CODE, min_size=1, max_size=4),
)
NAMED_ENDS: Final = {f"excluded:{reason}" for reason in Exclusion} | {"sent"}
# An outpatient of a service whose name, as the hospital typed it, is the setor.
TYPED_SETOR: Final = {"tp_atendimento": "A", "cd_ser_dis": 2}


def run_day(office: Office, *rows: Row) -> None:
    """A day of these rows, from the reader's port to Track.co by both channels."""
    frame = conform(raw_encounters(*rows).drop("database"), "mv", "HMS")
    Extractor(FakeHospitals({"HMS": [frame]}), RULES, office.lake, office.ledger).extract(office.hospital, DAY)
    surveys = office.catalog.survey_uuids()
    planner = Planner(office.lake, office.ledger, RULES, office.policy, surveys, HASHER, lambda: office.now)
    dispatcher = Dispatcher(office.outbox)
    for area, plan in planner.invite(office.hospital, DAY).items():
        channels = CONTACT_CHANNELS if plan.height else ()
        for channel in channels:
            dispatcher.dispatch(Partition(office.hospital, DAY, area, channel), "run")


# Not shrunk: twenty rows say enough, and take minutes to be made fewer.
@settings(FEW, max_examples=6, phases=[Phase.generate])
@given(spoilt=st.lists(SPOILT, min_size=20, max_size=20))
def test_every_bad_row_has_one_named_end_and_the_good_ones_go(office: Office, spoilt: list[Row]) -> None:
    emptied(office)

    run_day(office, *spoilt, {}, {})

    outcomes = [str(why(office.ledger, "HMS", number).outcome) for number in range(1, len(spoilt) + 3)]
    assert set(outcomes) <= NAMED_ENDS
    assert outcomes[-2:] == ["sent", "sent"]
    assert all(row.closes for row in status(office.ledger))
    check_requests(office)


def test_on_postgresql_too_nothing_nasty_stops_the_day(office_on_postgresql: Office) -> None:
    office = office_on_postgresql
    rows = [{"nm_paciente": text, "nm_prestador": text, "ds_ser_dis": text} | TYPED_SETOR for text in NASTY]

    run_day(office, *rows, {})

    outcomes = [str(why(office.ledger, "HMS", number).outcome) for number in range(1, len(rows) + 2)]
    assert set(outcomes) <= NAMED_ENDS
    assert outcomes[-1] == "sent"
    assert "sent" in outcomes[:-1]
    assert office.ledger.encounters.history("HMS", len(NASTY)).sends[0]["setor"].startswith("Maria")
    check_requests(office)


def check_requests(office: Office) -> None:
    """What leaves is JSON of one meaning, in values of sane lengths without control characters."""
    for request in office.track.requests:
        assert json.loads(json.dumps(request.body(), allow_nan=False).encode("ascii")) == request.body()
        for line in request.lines:
            for value in line.values():
                assert value is None or (len(str(value)) <= 320 and str(value).isprintable())


NOT_CONVERTIBLE: Final = {
    "bytes": pl.Series([b"\xffAna Segredo", b"1"], dtype=pl.Binary),
    "lists": pl.Series([["Ana Segredo"], []]),
    "structs": pl.Series([{"name": "Ana Segredo"}, {"name": "x"}]),
    "durations": pl.Series([timedelta(1), timedelta(2)]),
    "objects": pl.Series([object(), object()], dtype=pl.Object),
    "text": pl.Series(["Ana Segredo", "2025-03-10"]),
}


@pytest.mark.parametrize("kind", NOT_CONVERTIBLE)
def test_a_column_of_another_type_is_one_error_that_names_it_without_a_value(kind: str) -> None:
    frame = raw_encounters({}, {}).drop("database").with_columns(NOT_CONVERTIBLE[kind].alias("dt_alta"))
    with pytest.raises(SourceError, match=r"expected type in dt_alta \(all of it: ") as caught:
        conform(frame, "mv", "HMS")
    assert "Segredo" not in str(caught.value)
    with suppress(SourceError):
        assert conform(frame.clear(), "mv", "HMS").schema == raw_schema("mv")


def test_a_row_of_no_encounter_is_an_error() -> None:
    frame = raw_encounters({}, {}).drop("database").with_columns(cd_atendimento=pl.Series([1, None]))
    with pytest.raises(SourceError, match="database HMS: 1 rows without cd_atendimento"):
        conform(frame, "mv", "HMS")


FORMULA: Final = re.compile(r"\s*[=+\-@＝＋－＠]")


@FEW
@given(typed=st.lists(st.sampled_from(NASTY) | st.text(max_size=20), min_size=1, max_size=6))
def test_no_cell_of_an_export_is_a_formula(tmp_path: Path, typed: list[str]) -> None:
    lake = Lake(tmp_path)
    rows = [
        {"encounter_id": n, "unit": "HMS", "area": "exames", "setor": text, "patient_name": text, "link": "http://x"}
        for n, text in enumerate(text.encode(errors="replace").decode() for text in typed)
    ]
    lake.write(pl.DataFrame(rows, schema=LINKS), SURVEY_LINK, Area.EXAMES, DAY, "HMS")

    assert export_links(lake, hospital(), DAY, tmp_path / "links.csv") == len(typed)

    csv.field_size_limit(2_000_000)
    with (tmp_path / "links.csv").open(encoding="utf-8", newline="") as file:
        cells = list(csv.reader(file))
    assert len(cells) == len(typed) + 1
    # Where the comma is for decimals, spreadsheets begin a cell at every semicolon.
    cells += [cell.split(";") for row in cells for cell in row]
    assert [cell for row in cells for cell in row if FORMULA.match(cell) or not cell.isprintable()] == []


def test_an_export_is_for_its_owner_alone_and_follows_no_link(tmp_path: Path) -> None:
    lake = Lake(tmp_path)
    row = {"encounter_id": 1, "unit": "HMS", "area": "exames", "setor": "", "patient_name": "Ana", "link": "http://x"}
    lake.write(pl.DataFrame([row], schema=LINKS), SURVEY_LINK, Area.EXAMES, DAY, "HMS")
    there, elsewhere, linked = tmp_path / "there.csv", tmp_path / "elsewhere.txt", tmp_path / "linked.csv"
    for file in (there, elsewhere):
        file.write_text("old")
        file.chmod(0o666)
    linked.symlink_to(elsewhere)

    for path in (there, linked):
        export_links(lake, hospital(), DAY, path)
        assert path.stat().st_mode & 0o777 == (0o600 if sys.platform != "win32" else 0o666)
    assert elsewhere.read_text() == "old"


# --- files of configuration -----------------------------------------------------------------------------------------

VALUES: Final = (
    *("0", "-1", "99999999999999999999", "1e400", "nan", "-inf", "true", '""', '"x"', r'"\u0000"', '"../../x"'),
    *("[]", "[[]]", "[1]", '["x", "x"]', "{}", "{ x = 1 }", "08:00:00", "2025-03-10", '"08:00:00Z"', "3600"),
    *("9" * 5_000, "[" * 3_000, "'''", "\x00", "=", "\U0001f600", f'"{"A" * 100_000}"'),
    *(r'"HMS\n"', '"hms"', '"HMS|HPC"', r'"C:\\x"'),
)
LOADERS: Final[Mapping[str, Callable[[Path], object]]] = {
    "hospitals.toml": load_registry,
    "policy.toml": load_policy,
    "track_api.toml": load_mapping,
    "HMS.toml": lambda path: load_rules(REGISTRY.hospital("HMS"), path.parent),
    "_shared.toml": lambda path: load_rules(REGISTRY.hospital("HMS"), path.parent),
    "surveys.toml": lambda path: load_surveys(path, REGISTRY),
}
_SURVEYS: Final = """
whatsapp_integration_uuid = "00000000-0000-4000-8000-000000000001"
[[unit]]
code = "HMS"
[unit.surveys]
internacao = "00000000-0000-4000-8000-000000000002"
[unit.email_templates]
invite = "Ab12Cd"
[unit.whatsapp_template]
name = "convite"
language = "pt_BR"
variables = ["customer.firstname"]
id_provider = "1"
"""


def shipped(name: str) -> str:
    """A file as it is when nothing is wrong with it."""
    if name == "surveys.toml":
        return _SURVEYS
    return next(
        path.read_text(encoding="utf-8")
        for path in (package_file(name), package_file(f"rules/{name}"))
        if path.exists()
    )


def spoil(text: str, place: float, how: str, value: str) -> str:
    """The text with one of its lines given another value or key, left out, written twice, or cut off there."""
    lines = text.splitlines()
    written = [number for number, line in enumerate(lines) if line.strip() and not line.startswith("#")]
    number = written[int(place * (len(written) - 1))]
    key, equals, old = lines[number].partition("=")
    changed = {
        "value": [f"{key}= {value}"] if equals else [value],
        "key": [f"x{key}{equals}{old}"],
        "left out": [],
        "twice": [lines[number]] * 2,
    }
    if how == "cut off":
        return "\n".join([*lines[:number], lines[number][: len(key)]])
    return "\n".join([*lines[:number], *changed[how], *lines[number + 1 :]])


@pytest.mark.parametrize("name", LOADERS)
@settings(FEW, max_examples=50)
@given(
    place=st.floats(0, 1),
    how=st.sampled_from(["value", "value", "value", "key", "left out", "twice", "cut off"]),
    value=st.sampled_from(VALUES),
)
def test_a_spoilt_file_is_read_or_refused_by_its_name(
    tmp_path: Path, name: str, place: float, how: str, value: str
) -> None:
    (tmp_path / "HMS.toml").write_text(shipped("HMS.toml"), encoding="utf-8")
    (tmp_path / name).write_text(spoil(shipped(name), place, how, value), encoding="utf-8")
    # What is wrong with a shared list may show in the rules that name it.
    with refused(ConfigError, name if name != "_shared.toml" else r"_shared\.toml|HMS\.toml"):
        read = LOADERS[name](tmp_path / name)
        if isinstance(read, Registry):
            for each in read.hospitals:
                window_opens_at(each.send_window, NINE.astimezone(each.zone))


@pytest.mark.parametrize("name", LOADERS)
@pytest.mark.parametrize("value", ["9" * 5_000, "[" * 3_000], ids=["a number", "a nesting"])
def test_what_python_gives_up_on_is_refused_by_its_name(tmp_path: Path, name: str, value: str) -> None:
    (tmp_path / "HMS.toml").write_text(shipped("HMS.toml"), encoding="utf-8")
    (tmp_path / name).write_text(f"{shipped(name)}\nx = {value}\n", encoding="utf-8")
    with pytest.raises(ConfigError, match=f"^{name}: not valid TOML: "):
        LOADERS[name](tmp_path / name)


@pytest.mark.parametrize("start", ['"08:00:00Z"', '"08:00:00-03:00"', "3600", "25:00:00", "nan", "[]"])
def test_a_send_window_is_in_the_hospitals_own_time(tmp_path: Path, start: str) -> None:
    text = shipped("hospitals.toml").replace("his =", f"send_window = {{ start = {start} }}\nhis =", 1)
    (tmp_path / "hospitals.toml").write_text(text, encoding="utf-8")
    with pytest.raises(ConfigError, match=r"^hospitals\.toml: "):
        load_registry(tmp_path / "hospitals.toml")


@pytest.mark.parametrize("name", LOADERS)
@settings(FEW, max_examples=10)
@given(content=st.binary(max_size=50))
def test_a_file_that_is_no_text_is_refused_by_its_name(tmp_path: Path, name: str, content: bytes) -> None:
    (tmp_path / "HMS.toml").write_text(shipped("HMS.toml"), encoding="utf-8")
    (tmp_path / name).write_bytes(b"\xff" + content)
    with pytest.raises(ConfigError, match=name):
        LOADERS[name](tmp_path / name)


# --- files that people bring ----------------------------------------------------------------------------------------

CELL: Final = (
    st.sampled_from(NASTY[:-1])
    | st.sampled_from([cpf(1), email_of(1), "(27) 98100-0001", "all", "Email", "letter", "2025-01-05", "0001-01-01"])
    | st.text(max_size=10)
)
HEADERS: Final = {
    "opt-outs": ["cpf", "phone", "email", "channel", "source"],
    "consents": ["cpf", "phone", "email", "source", "date", "text_version"],
}
GOOD_LINES: Final = {
    "opt-outs": [cpf(1), "", email_of(1), "all", "letter"],
    "consents": [cpf(1), "", email_of(1), "form", "2025-01-05", "v1"],
}


def bring(office: Office, kind: str, path: Path) -> int:
    importer = Importer(office.ledger, HASHER, office.policy.placeholders)
    return importer.opt_outs(path) if kind == "opt-outs" else importer.consents(path)


def taken(office: Office) -> int:
    with office.ledger._database.read() as connection:
        consented = connection.execute(select(func.count()).select_from(consents)).scalar_one()
    return office.ledger.people.opt_outs().height + consented


@pytest.mark.parametrize("kind", HEADERS)
@FEW
@given(place=st.integers(0, 5), cell=CELL, more=st.lists(st.lists(CELL, max_size=7), max_size=2))
def test_a_file_of_people_is_taken_whole_or_refused_line_by_line(
    office: Office, kind: str, place: int, cell: str, more: list[list[str]]
) -> None:
    emptied(office)
    spoilt = list(GOOD_LINES[kind])
    spoilt[place % len(spoilt)] = cell
    path = office.home / "people.csv"
    with path.open("w", encoding="utf-8", errors="replace", newline="") as file:
        csv.writer(file).writerows([HEADERS[kind], GOOD_LINES[kind], spoilt, *more])
    new = 0
    with refused(BadFile, rf"^people\.csv: (?!.*{re.escape(email_of(1))})"):
        new = bring(office, kind, path)
        assert new >= 2
    assert taken(office) == new


@pytest.mark.parametrize("kind", HEADERS)
def test_what_no_database_keeps_is_refused_by_its_line(office_on_postgresql: Office, kind: str) -> None:
    path = office_on_postgresql.home / "people.csv"
    spoilt = [cell.replace("letter", "let\0ter").replace("form", "fo\0rm") for cell in GOOD_LINES[kind]]
    path.write_text("\n".join(",".join(line) for line in (HEADERS[kind], spoilt)), encoding="utf-8")
    with pytest.raises(BadFile, match="line 2: source: holds characters"):
        bring(office_on_postgresql, kind, path)


@pytest.mark.parametrize("kind", HEADERS)
@settings(FEW, max_examples=15)
@given(content=st.binary(max_size=80))
def test_bytes_that_are_no_file_of_people_are_refused(office: Office, kind: str, content: bytes) -> None:
    path = office.home / "people.csv"
    path.write_bytes(content)
    with pytest.raises(BadFile, match=r"people\.csv"):
        bring(office, kind, path)


# --- what Track.co answers ------------------------------------------------------------------------------------------

WORD: Final = st.sampled_from(
    ["", "\0", "\ud800", "s" * 10_000, "http://x/\ud800", "http://x y", "http://x/\0", "https://x/ok", "javascript:1"]
)
KEY: Final = st.sampled_from(
    ["data", "uuid", "id", "invalid", "index", "send_id", "reason", "links", "link", "url", "surveys", "name", "status"]
)
JSON: Final = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | WORD | st.text(max_size=10),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(KEY, inner, max_size=4),
    max_leaves=10,
)
ANSWER: Final = (
    JSON.map(lambda document: json.dumps(document).encode())
    | st.binary(max_size=30)
    | st.sampled_from([b"", b"[" * 100_000, b"9" * 5_000, b'"\\ud800"', b"\xef\xbb\xbf{}", b"NaN", b'{"uuid": 1e999}'])
)


class Unlimited:
    """A budget in which there always is room."""

    def acquire(self, timeout: float) -> bool:  # noqa: ARG002 - the port's name
        return True


class Canned(TrackApi):
    """A Track.co that answers everything with the same bytes."""

    def __init__(self, content: bytes) -> None:
        super().__init__("http://127.0.0.1:9", "org", "token", budget=Unlimited(), require_loopback=True)
        self.content = content

    def exchange(self, call: Call) -> bytes:  # noqa: ARG002 - as TrackApi
        return self.content


class AboutEachLine(Canned):
    """Puts a value of the answer where Track.co would speak of a line, and of the whole."""

    def exchange(self, call: Call) -> bytes:
        value = json_of(self.content)
        lines: Any = (call.body or {})["import_lines"]
        entries = [{"send_id": line["send_id"], "link": value, "reason": value} for line in lines]
        return json.dumps({"links": entries, "invalid": entries[:1], "uuid": value}).encode()


@pytest.mark.parametrize("channel", [Channel.EMAIL, Channel.LINK])
@pytest.mark.parametrize("kind", [Canned, AboutEachLine])
@settings(FEW, max_examples=20)
@given(answer=ANSWER | WORD.map(lambda word: json.dumps(word).encode()))
def test_whatever_a_request_is_answered_every_line_has_its_outcome(
    office: Office, channel: Channel, kind: type[Canned], answer: bytes
) -> None:
    emptied(office)
    office.plan({"channel": channel}, {"channel": channel})
    mailroom = TrackSender(kind(answer), office.catalog, office.policy, lambda: office.now)

    Dispatcher(replace(office.outbox, sender=mailroom)).dispatch(Partition(hospital(), DAY, AREA, channel), "run")

    funnel = office.funnel()
    # Of a link that nobody could read nobody knows whether it was made; a message was taken, readable answer or not.
    assert funnel.get("sent", 0) + funnel.get("rejected", 0) + funnel.get("unknown:no_link", 0) == 2
    assert channel == "link" or "unknown" not in funnel
    made = office.lake.find(SURVEY_LINK, AREA, DAY, "HMS")
    links = [] if made is None else made.get_column("link").to_list()
    assert channel != "link" or len(links) == funnel.get("sent", 0)
    assert all(re.fullmatch(r"https?://[!-~]+", link) for link in links)


@settings(FEW, max_examples=40)
@given(answer=ANSWER)
def test_whatever_is_read_back_is_read_or_one_failure(office: Office, answer: bytes) -> None:
    emptied(office)
    track = Canned(answer)
    source = TrackAnswers(track, load_mapping())
    reader = FeedbackReader(source, office.ledger, HASHER, office.policy, lambda: NINE, AlertList())
    with suppress(SendFailure):
        assert isinstance(track.surveys(), list)
    with suppress(SendFailure):
        reader.refresh()
    with suppress(SendFailure):
        Reconciler(source, office.ledger, office.policy, lambda: NINE).reconcile()
    assert taken(office) == 0


def read_back(value: object, spoilt: str, good: str) -> bytes:
    """All that Track.co tells, in the shapes that the mapping expects; the value is in every field of one send."""
    now = NINE.isoformat()

    def interaction(send_id: str, typed: object) -> dict[str, object]:
        answer = {"type": "nps", "answer": {"response": typed, "comment": typed}}
        return {
            "uuid": typed, "status": 3, "answered_at": now, "attributes": {"send_id": send_id}, "answers": [answer]
        }  # fmt: skip

    statuses = [
        {"send_id": spoilt, "history": [{"status": value, "date": now, "text": value}]},
        {"send_id": good, "history": [{"status": "bounced", "date": now}]},
    ]
    opt_outs = [{"send_id": value, "email": value, "phone": value, "channel": value}, {"send_id": good}]
    document = {
        "interactions": [interaction(spoilt, value), interaction(good, 9)],
        "statuses": statuses,
        "opt_outs": opt_outs,
        "distributions": [{"uuid": value}],
        "total": 2,
    }
    return json.dumps(document).encode()


@settings(FEW, max_examples=25)
@given(value=WORD | JSON)
def test_whatever_stands_in_what_is_read_back_the_rest_is_taken(office_on_postgresql: Office, value: object) -> None:
    office = office_on_postgresql
    emptied(office)
    office.plan({}, {})
    office.dispatch()
    source = TrackAnswers(Canned(read_back(value, office.send_id(1), office.send_id(2))), load_mapping())

    FeedbackReader(source, office.ledger, HASHER, office.policy, lambda: NINE, AlertList()).refresh()
    Reconciler(source, office.ledger, office.policy, lambda: NINE + timedelta(hours=1)).reconcile()

    assert office.ledger.encounters.history("HMS", 2).answers
    assert set(keys_of(2).values()) <= set(office.ledger.people.opt_outs().get_column("person_key"))


HEAD: Final = st.sampled_from(
    [
        b"HTTP/1.1 200 OK\r\n",
        b"HTTP/1.1 201 Created\r\nContent-Length: 5\r\n",
        b"HTTP/1.1 201 Created\r\nContent-Length: -5\r\n",
        b"HTTP/1.1 201 Created\r\nTransfer-Encoding: chunked\r\n",
        b"HTTP/1.1 201 Created\r\nContent-Encoding: gzip\r\n",
        b"HTTP/1.1 429 Slow\r\nRetry-After: \xb2\r\n",
        b"HTTP/1.1 503 No\r\nRetry-After: Fri, 99 Feb 99999 99:99:99 GMT\r\n",
        b"HTTP/1.1 429 Slow\r\nRetry-After: Fri, 31 Dec 9999 23:59:59 -2359\r\n",
        b"HTTP/1.1 99999 What\r\n",
        b"HTTP/9.9 -1 What\r\n",
        b"HTTP/1.1 302 Found\r\nLocation: http://x\xff\r\n",
        b"HTTP/1.1 200 OK\r\n" + b"X: y\r\n" * 200,
        b"HTTP/1.1 200 OK\r\nX: " + b"y" * 70_000 + b"\r\n",
        b"",
    ]
)


@settings(FEW, max_examples=40)
@given(head=HEAD, rest=st.binary(max_size=30))
def test_whatever_comes_over_the_wire_a_request_ends_in_a_receipt_or_a_failure(head: bytes, rest: bytes) -> None:
    patience = Patience(connect=2, read=2, budget=1, attempts=1)
    with FakeTrack([raw(head + b"\r\n" + rest)]) as server:
        track = TrackApi(server.url, "org", "token", budget=Unlimited(), patience=patience, require_loopback=True)
        with suppress(SendFailure):
            assert track.create_distribution(
                Distribution("survey", Channel.EMAIL, ({"send_id": "s"},), datetime.now(UTC))
            )
        track.close()
