"""The quality of the contacts of a hospital-day: shares and trend, without personal data."""

from datetime import date, timedelta
from pathlib import Path

import polars as pl
import pytest

from track_pipeline.adapters.lake import Lake
from track_pipeline.config.policy import load_policy
from track_pipeline.domain.areas import UNCLASSIFIED, Area
from track_pipeline.services.daily.extraction import EXTRACT
from track_pipeline.services.insight.contact_quality import QUALITY, ContactQuality
from track_pipeline_tests.support.builders import DAY, Row, encounters, hospital

WITHOUT_EMAIL: Row = {"email": None}
LANDLINE: Row = {"phone_number": "33334444"}
HIDDEN = None


@pytest.fixture
def lake(tmp_path: Path) -> Lake:
    return Lake(tmp_path)


def extract(lake: Lake, rows: list[Row], day: date = DAY, area: str = Area.INTERNACAO) -> None:
    label = None if area == UNCLASSIFIED else Area(area).label
    lake.write(encounters(*({"area": label} | row for row in rows)), EXTRACT, area, day, "HMS")


def quality(lake: Lake, days: int = 28) -> pl.DataFrame:
    frame = ContactQuality(lake, load_policy()).of(hospital(), DAY, days)
    assert frame.schema == QUALITY
    return frame


def of(frame: pl.DataFrame, contact: str, column: str = "count") -> dict[str, float | None]:
    """Verdict to a number; what nobody has is left out."""
    rows = frame.filter(pl.col("contact") == contact, pl.col(column).ne_missing(0))
    return dict(rows.select("verdict", column).iter_rows())


def test_every_contact_of_a_day_has_a_verdict_and_its_share(lake: Lake) -> None:
    extract(lake, [{} for _ in range(12)] + [WITHOUT_EMAIL | LANDLINE for _ in range(8)])

    frame = quality(lake)

    assert of(frame, "email") == {"ok": 12, "missing": 8}
    assert of(frame, "phone") == {"ok": 12, "landline": 8}
    assert of(frame, "phone", "share") == {"ok": 0.6, "landline": 0.4}
    assert set(frame.get_column("encounters")) == {20}
    assert set(frame.select("date", "hospital", "area").unique().rows()) == {(DAY, "HMS", "internacao")}


def test_an_address_can_be_neither_foreign_nor_a_landline(lake: Lake) -> None:
    extract(lake, [{} for _ in range(12)])
    verdicts = quality(lake).group_by("contact").agg("verdict")
    email, phone = (set(dict(verdicts.iter_rows())[contact]) for contact in ("email", "phone"))
    assert phone - email == {"landline", "foreign"}


def test_areas_are_told_apart_and_who_is_in_none_counts_only_as_sharing(lake: Lake) -> None:
    number = {"phone_number": "981234567"}
    extract(lake, [number | {"person": person} for person in range(1, 4)] + [{} for _ in range(6)])
    extract(lake, [number | {"person": 50 + person} for person in range(3)], area=UNCLASSIFIED)
    extract(lake, [{"person": 70 + person} for person in range(6)], area=Area.EXAMES)

    frame = quality(lake)

    assert dict(frame.group_by("area").agg(pl.col("encounters").first()).iter_rows()) == {"internacao": 9, "exames": 6}
    assert of(frame.filter(pl.col("area") == "exames"), "phone") == {"ok": 6}
    assert of(frame.filter(pl.col("area") == "internacao"), "phone") == {"ok": HIDDEN, "shared": HIDDEN}


def test_the_trend_is_against_the_days_before(lake: Lake) -> None:
    extract(lake, [{} for _ in range(10)] + [WITHOUT_EMAIL for _ in range(10)])
    for back, missing in ((1, 10), (2, 0)):
        good: list[Row] = [{} for _ in range(20 - missing)]
        extract(lake, good + [WITHOUT_EMAIL for _ in range(missing)], DAY - timedelta(days=back))

    assert of(quality(lake, days=28), "email", "previous_share") == {
        "ok": 0.75, "missing": 0.25
    }  # fmt: skip
    assert of(quality(lake, days=28), "email", "change") == {"ok": -0.25, "missing": 0.25}
    assert of(quality(lake, days=1), "email", "previous_share") == {"ok": 0.5, "missing": 0.5}


def test_without_earlier_days_there_is_no_trend(lake: Lake) -> None:
    extract(lake, [{} for _ in range(10)])
    assert quality(lake).get_column("change").is_null().all()


def test_a_few_people_are_not_shown(lake: Lake) -> None:
    extract(lake, [{} for _ in range(20)] + [WITHOUT_EMAIL, LANDLINE, LANDLINE])

    frame = quality(lake)

    assert of(frame, "email") == {"ok": HIDDEN, "missing": HIDDEN}
    assert of(frame, "email", "share") == {"ok": HIDDEN, "missing": HIDDEN}
    assert of(frame, "phone") == {"ok": HIDDEN, "landline": HIDDEN}


def test_what_is_hidden_cannot_be_had_by_subtraction(lake: Lake) -> None:
    bad = [WITHOUT_EMAIL for _ in range(6)] + [{"email": "naotem@naotem.com"} for _ in range(3)]
    extract(lake, [{} for _ in range(20)] + bad)

    frame = quality(lake)

    assert of(frame, "email") == {"ok": 20, "missing": HIDDEN, "placeholder": HIDDEN}


def test_several_hidden_numbers_cover_each_other(lake: Lake) -> None:
    bad = [WITHOUT_EMAIL for _ in range(4)] + [{"email": "naotem@naotem.com"} for _ in range(4)]
    extract(lake, [{} for _ in range(20)] + bad)
    assert of(quality(lake), "email") == {"ok": 20, "missing": HIDDEN, "placeholder": HIDDEN}


def test_of_an_area_with_a_few_encounters_nothing_is_shown(lake: Lake) -> None:
    extract(lake, [{}, {}, WITHOUT_EMAIL])
    frame = quality(lake)
    assert frame.select(pl.col("encounters", "count", "share", "change").is_null().all()).row(0) == (True,) * 4


def test_a_day_that_the_lake_does_not_have_gives_no_rows(lake: Lake) -> None:
    extract(lake, [{} for _ in range(10)], DAY - timedelta(days=1))
    assert quality(lake).is_empty()
