"""The report page: self-contained, escaped, with all given data, and with a message where there is none."""

import re
import stat
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from track_pipeline.config.policy import load_policy
from track_pipeline.reporting.charts import charts
from track_pipeline.reporting.page import data_uri, write_page
from track_pipeline.services.insight.report import DayReport, day_report
from track_pipeline_tests.support.builders import DAY
from track_pipeline_tests.support.installation import Office

PNG = b"\x89PNG\r\n\x1a\n"


@pytest.fixture
def office(tmp_path: Path) -> Iterator[Office]:
    office = Office(tmp_path)
    yield office
    office.ledger.close()


def report(office: Office) -> DayReport:
    return day_report(office.ledger, load_policy(), DAY)


def test_every_chart_is_a_picture_also_of_a_day_on_which_nothing_happened(office: Office) -> None:
    empty = charts(report(office))
    office.plan({}, {}, {"result": "excluded", "reason": "no_contact", "channel": None})
    office.dispatch()
    full = charts(report(office))

    assert list(full) == list(empty)
    assert all(png.startswith(PNG) for png in (*full.values(), *empty.values()))
    # What was sent is seen: the funnel, the contacts, the trend and the responses are other pictures now.
    assert sum(full[title] != empty[title] for title in full) >= 4


def test_the_page_fetches_nothing_and_holds_every_chart_and_table(office: Office) -> None:
    office.plan({}, {})
    office.dispatch()
    made = report(office)

    page = write_page(made, charts(made), office.home)

    text = page.read_text(encoding="utf-8")
    assert page == office.home / "reports" / f"{DAY}.html"
    assert text.count("data:image/png;base64,") == len(charts(made))
    assert all(table.title in text for table in made.tables)
    assert not re.findall(r"""(?:src|href)=["'](?!data:)|https?://|@import|<script""", text)
    assert sys.platform == "win32" or stat.S_IMODE(page.stat().st_mode) == 0o600


def test_a_picture_is_in_its_address() -> None:
    assert data_uri(b"PNG") == "data:image/png;base64,UE5H"
