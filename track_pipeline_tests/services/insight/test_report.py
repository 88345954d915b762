"""The tables of a day: outcomes of all encounters, and scores that identify no person."""

from collections.abc import Iterator
from datetime import date, timedelta
from pathlib import Path

import pytest

from track_pipeline.config.policy import load_policy
from track_pipeline.domain.channels import Channel
from track_pipeline.ports import Answer
from track_pipeline.services.insight.report import SCORE_DAYS, DayReport, Table, day_report
from track_pipeline_tests.support.builders import DAY, Row
from track_pipeline_tests.support.installation import Office

BY_WHATSAPP: Row = {"channel": "whatsapp"}


@pytest.fixture
def office(tmp_path: Path) -> Iterator[Office]:
    office = Office(tmp_path)
    yield office
    office.ledger.close()


def invite(office: Office, *rows: Row) -> None:
    office.plan(*rows)
    for channel in (Channel.EMAIL, Channel.WHATSAPP):
        office.dispatch(channel)


def answer(office: Office, *scores: int) -> None:
    """The first encounters answer with those scores."""
    office.reader.answered = [
        Answer(office.send_id(place), office.now, "done", score, None, None) for place, score in enumerate(scores, 1)
    ]
    office.refresh()


def report(office: Office, day: date = DAY) -> DayReport:
    return day_report(office.ledger, load_policy(), day)


def rows(table: Table) -> dict[str, dict[str, str]]:
    """A table by its last name: a hospital, an area or a channel."""
    return {line[table.words - 1]: dict(zip(table.header, line, strict=True)) for line in table.rows}


def by_area(made: DayReport) -> dict[str, dict[str, str]]:
    return rows(made.tables[1])


def by_channel(made: DayReport) -> dict[str, dict[str, str]]:
    return rows(made.tables[2])


def test_the_funnel_has_a_line_per_hospital_and_the_totals_agree(office: Office) -> None:
    excluded = {"result": "excluded", "reason": "no_contact", "channel": None}
    invite(office, {}, {}, excluded)

    made = report(office)

    assert dict(made.totals) | {"extracted": 3, "excluded": 1, "planned": 2, "sent": 2} == made.totals
    assert rows(made.tables[0])["HMS"] == {"hospital": "HMS"} | {word: str(n) for word, n in made.numbers.items()}


def test_a_day_on_which_nothing_happened_has_empty_tables(office: Office) -> None:
    made = report(office)
    assert set(made.totals.values()) == {0}
    assert [rows(table) for table in made.tables] == [{}, {}, {}]
    assert made.chart_data.contacts.is_empty()
    assert made.chart_data.trend.is_empty()


def test_from_five_answers_on_a_score_is_shown_and_below_thirty_it_is_preliminary(office: Office) -> None:
    invite(office, *({} for _ in range(10)))
    answer(office, 10, 10, 10, 8, 0)

    [line] = by_area(report(office)).values()

    assert (line["enviados"], line["respondidos"], line["taxa de resposta"]) == ("10", "5", "0,50")
    assert (line["NPS"], line["preliminar"]) == ("40,00", "sim")
    assert float(line["limite inferior"].replace(",", ".")) < 40 < float(line["limite superior"].replace(",", "."))


def test_a_score_of_fewer_than_five_answers_is_hidden_in_every_table(office: Office) -> None:
    invite(office, *({} for _ in range(10)))
    answer(office, 0, 0, 0, 0)

    made = report(office)

    for table in (by_area(made), by_channel(made)):
        [line] = table.values()
        assert (line["enviados"], line["respondidos"]) == ("10", "4")
        assert (line["NPS"], line["limite inferior"], line["limite superior"]) == ("–", "–", "–")
    assert made.chart_data.scores_by_hospital.get_column("nps").to_list() == [None]


def test_a_hidden_score_cannot_be_told_from_the_other_table(office: Office) -> None:
    invite(office, *({} for _ in range(10)), BY_WHATSAPP, BY_WHATSAPP)
    answer(office, *([10] * 10), 0, 0)

    made = report(office)

    # Beside the area's score, that of the e-mails would give away what the two by WhatsApp said.
    assert by_area(made)["internacao"]["NPS"] == "66,67"
    assert {line["NPS"] for line in by_channel(made).values()} == {"–"}


def test_scores_are_of_the_cohorts_of_a_month(office: Office) -> None:
    invite(office, *({} for _ in range(5)))
    answer(office, 10, 10, 10, 10, 10)
    last = DAY + timedelta(days=SCORE_DAYS - 1)
    assert by_area(report(office, last))["internacao"]["NPS"] == "100,00"
    assert by_area(report(office, last + timedelta(days=1))) == {}
    assert by_area(report(office, DAY - timedelta(days=1))) == {}


def test_contacts_are_counted_among_those_who_could_have_been_asked(office: Office) -> None:
    def excluded(reason: str) -> Row:
        return {"result": "excluded", "reason": reason, "channel": None}

    invite(office, {}, {}, excluded("no_contact"), excluded("shared_contact"), excluded("deceased"))

    [line] = report(office).chart_data.contacts.to_dicts()

    assert (line["hospital"], line["candidates"]) == ("HMS", 4)
    assert (line["no_contact"], line["shared_contact"], line["invalid_contact"]) == (1, 1, 0)


def test_outcomes_of_the_day_are_by_area_over_all_hospitals(office: Office) -> None:
    invite(office, {}, {}, {"result": "excluded", "reason": "deceased", "channel": None})

    [line] = report(office).chart_data.outcomes.to_dicts()

    assert (line["area"], line["sent"], line["excluded"]) == ("internacao", 2, 1)
