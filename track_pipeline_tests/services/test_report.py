"""The day's tables: what became of everybody, and scores that are nobody's in particular."""

from collections.abc import Iterator
from datetime import date, timedelta
from pathlib import Path

import pytest

from track_pipeline.adapters.track_answers import Answer
from track_pipeline.policy import load_policy
from track_pipeline.services.report import SCORE_DAYS, DayReport, day_report
from track_pipeline_tests.builders import DAY, Row
from track_pipeline_tests.office import Office

BY_WHATSAPP: Row = {"channel": "whatsapp"}


@pytest.fixture
def office(tmp_path: Path) -> Iterator[Office]:
    office = Office(tmp_path)
    yield office
    office.ledger.close()


def invite(office: Office, *rows: Row) -> None:
    office.plan(*rows)
    for channel in ("email", "whatsapp"):
        office.dispatch(channel)


def answer(office: Office, *scores: int) -> None:
    """The first encounters answer with those scores."""
    office.reader.answered = [
        Answer(office.send_id(place), office.now, "done", score, None, None) for place, score in enumerate(scores, 1)
    ]
    office.refresh()


def report(office: Office, day: date = DAY) -> DayReport:
    return day_report(office.ledger, load_policy(), day)


def rows(table: str) -> dict[str, dict[str, str]]:
    """A Markdown table by its second column (an area or channel), else by its first."""
    header, _, *lines = [[cell.strip() for cell in line.strip("|").split("|")] for line in table.splitlines()]
    key = 0 if header[1] == "extracted" else 1
    return {line[key]: dict(zip(header, line, strict=True)) for line in lines}


def test_the_funnel_has_a_line_per_hospital_and_the_totals_agree(office: Office) -> None:
    excluded = {"result": "excluded", "reason": "no_contact", "channel": None}
    invite(office, {}, {}, excluded)

    made = report(office)

    assert made.totals | {"extracted": 3, "excluded": 1, "planned": 2, "sent": 2} == made.totals
    assert rows(made.funnel)["HMS"] == {"hospital": "HMS"} | {name: str(n) for name, n in made.totals.items()}


def test_a_day_on_which_nothing_happened_has_empty_tables(office: Office) -> None:
    made = report(office)
    assert set(made.totals.values()) == {0}
    assert rows(made.funnel) == rows(made.scores_by_area) == {}


def test_from_five_answers_on_a_score_is_shown_and_below_thirty_it_is_preliminary(office: Office) -> None:
    invite(office, *({} for _ in range(10)))
    answer(office, 10, 10, 10, 8, 0)

    [line] = rows(report(office).scores_by_area).values()

    assert (line["sent"], line["answered"], line["response_rate"]) == ("10", "5", "0.50")
    assert (line["nps"], line["preliminary"]) == ("40.00", "True")
    assert float(line["low"]) < 40 < float(line["high"])


def test_a_score_of_fewer_than_five_answers_is_hidden_in_every_table(office: Office) -> None:
    invite(office, *({} for _ in range(10)))
    answer(office, 0, 0, 0, 0)

    made = report(office)

    for table in (made.scores_by_area, made.scores_by_channel):
        [line] = rows(table).values()
        assert (line["sent"], line["answered"]) == ("10", "4")
        assert (line["nps"], line["low"], line["high"]) == ("–", "–", "–")


def test_a_hidden_score_cannot_be_told_from_the_other_table(office: Office) -> None:
    invite(office, *({} for _ in range(10)), BY_WHATSAPP, BY_WHATSAPP)
    answer(office, *([10] * 10), 0, 0)

    made = report(office)

    # Beside the area's score, that of the e-mails would give away what the two by WhatsApp said.
    assert rows(made.scores_by_area)["internacao"]["nps"] == "66.67"
    assert {line["nps"] for line in rows(made.scores_by_channel).values()} == {"–"}


def test_scores_are_of_the_cohorts_of_a_month(office: Office) -> None:
    invite(office, *({} for _ in range(5)))
    answer(office, 10, 10, 10, 10, 10)
    last = DAY + timedelta(days=SCORE_DAYS - 1)
    assert rows(report(office, last).scores_by_area)["internacao"]["nps"] == "100.00"
    assert rows(report(office, last + timedelta(days=1)).scores_by_area) == {}
    assert rows(report(office, DAY - timedelta(days=1)).scores_by_area) == {}
