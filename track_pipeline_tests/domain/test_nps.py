"""Scores: they add up over any columns, stay inside their interval, and are hidden when there are few answers."""

from datetime import date, timedelta
from typing import Any

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from track_pipeline.config.policy import load_policy
from track_pipeline.domain.nps import COUNTS, SCORES, band, scores
from track_pipeline.domain.policy import NpsPolicy

Row = dict[str, Any]

POLICY = load_policy().nps
KEYS = ("date", "hospital", "unit", "area", "channel")
HIDDEN = ("promoters", "passives", "detractors", "nps", "low", "high")


def counts(*rows: Row) -> pl.DataFrame:
    """A frame of `COUNTS`: inpatients of HMS by e-mail; `answered` is the sum of the bands unless it is given."""
    return pl.DataFrame([_counted(row) for row in rows], schema=COUNTS)


def _counted(row: Row) -> Row:
    bands = {"promoters": 0, "passives": 0, "detractors": 0} | row
    answered = bands["promoters"] + bands["passives"] + bands["detractors"]
    place = {"date": date(2025, 3, 10), "hospital": "HMS", "unit": "HMS", "area": "internacao", "channel": "email"}
    return place | {"sent": 100, "delivered": None, "answered": answered} | bands


def score(promoters: int, passives: int, detractors: int, **fields: Any) -> Row:
    row = {"promoters": promoters, "passives": passives, "detractors": detractors} | fields
    return scores(counts(row), ["hospital"], POLICY).row(0, named=True)


@pytest.mark.parametrize(
    ("answers", "expected"),
    [(range(7), "detractor"), (range(7, 9), "passive"), (range(9, 11), "promoter")],
)
def test_nine_and_ten_promote_and_six_and_less_detract(answers: range, expected: str) -> None:
    assert {band(answer) for answer in answers} == {expected}


@pytest.mark.parametrize("answer", [-1, 11])
def test_an_answer_that_the_question_does_not_offer_has_no_band(answer: int) -> None:
    with pytest.raises(ValueError, match="0 to 10"):
        band(answer)


# Worked by hand: n = 10 with 6, 2 and 2 becomes m = 13 with 6.75 and 2.75, so the centre is 4/13, the variance
# 9.5/13 - 16/169 = 107.5/169 and the margin 1.959964 sqrt(107.5/169/13) = 0.43355. Of n = 100 with 50, 30 and 20:
# m = 103, centre 30/103, variance 71.5/103 - 900/10609 = 6464.5/10609, margin 1.959964 sqrt(6464.5/10609/103) =
# 0.15075.
@pytest.mark.parametrize(
    ("bands", "nps", "low", "high"),
    [((6, 2, 2), 40, -12.586, 74.124), ((50, 30, 20), 30, 14.051, 44.201), ((20, 30, 50), -30, -44.201, -14.051)],
)
def test_a_score_and_its_interval_are_those_of_the_adjusted_wald_method(
    bands: tuple[int, int, int], nps: float, low: float, high: float
) -> None:
    row = score(*bands)

    assert (row["nps"], row["scored"]) == (nps, sum(bands))
    assert (row["low"], row["high"]) == (pytest.approx(low, abs=0.005), pytest.approx(high, abs=0.005))


def test_five_answers_that_agree_do_not_make_a_certain_score() -> None:
    row = score(5, 0, 0)

    assert (row["nps"], row["high"]) == (100, 100)
    assert row["low"] < 20


@given(st.integers(0, 300), st.integers(0, 300), st.integers(0, 300))
@settings(max_examples=200, deadline=None)
def test_a_score_lies_inside_its_interval_and_that_inside_the_possible(
    promoters: int, passives: int, detractors: int
) -> None:
    strictest = NpsPolicy(min_answers_shown=2, min_answers_firm=30)
    frame = counts({"promoters": promoters, "passives": passives, "detractors": detractors})

    row = scores(frame, ["unit"], strictest).row(0, named=True)

    if promoters + passives + detractors < 2:
        assert [row[name] for name in HIDDEN] == [None] * len(HIDDEN)
    else:
        assert -100 <= row["low"] <= row["nps"] <= row["high"] <= 100


def test_more_answers_of_the_same_kind_narrow_the_interval() -> None:
    widths = [row["high"] - row["low"] for row in (score(6 * n, 2 * n, 2 * n) for n in (1, 5, 25))]

    assert widths == sorted(widths, reverse=True)


# What is shown.


def test_of_fewer_than_five_answers_nothing_tells_what_they_were() -> None:
    row = score(3, 0, 1, answered=9)

    assert [row[name] for name in HIDDEN] == [None] * len(HIDDEN)
    assert (row["sent"], row["answered"], row["scored"]) == (100, 9, 4), "an answer without a score counts as answered"
    assert score(3, 1, 1)["nps"] == 40


@pytest.mark.parametrize(("promoters", "preliminary"), [(4, True), (29, True), (30, False)])
def test_a_score_of_fewer_than_thirty_answers_is_preliminary(promoters: int, preliminary: bool) -> None:
    assert score(promoters, 0, 0)["preliminary"] is preliminary


def test_small_groups_are_shown_once_they_are_taken_together() -> None:
    frame = counts({"unit": "OTOA", "promoters": 3}, {"unit": "OTOM", "detractors": 3})

    assert scores(frame, ["unit"], POLICY).get_column("nps").to_list() == [None, None]
    assert scores(frame, ["hospital"], POLICY).get_column("nps").to_list() == [0]


# Rates and sums.


def test_the_response_rate_is_of_what_was_sent() -> None:
    assert score(10, 5, 5, sent=80)["response_rate"] == 0.25
    assert score(0, 0, 0, sent=0)["response_rate"] is None


def test_deliveries_are_those_that_somebody_reported() -> None:
    frame = counts({"channel": "email"}, {"channel": "whatsapp", "delivered": 90}, {"area": "exames", "delivered": 7})

    assert scores(frame, ["channel"], POLICY).get_column("delivered").to_list() == [7, 90]
    assert scores(frame.head(1), [], POLICY).get_column("delivered").to_list() == [None]
    assert scores(frame, [], POLICY).get_column("delivered").to_list() == [97]


def test_without_columns_there_is_one_row_over_everything() -> None:
    frame = scores(counts({"promoters": 6}, {"hospital": "HMC", "detractors": 2}), [], POLICY)

    assert frame.schema == SCORES
    assert frame.select("sent", "nps").rows() == [(200, 50)]


def test_no_counts_have_no_scores() -> None:
    frame = scores(counts(), ["date", "channel"], POLICY)

    assert frame.is_empty()
    assert frame.columns == ["date", "channel", *SCORES]


_NUMBERS = st.integers(0, 40)
_COUNTS = st.lists(
    st.fixed_dictionaries(
        {
            "date": st.integers(0, 2).map(lambda days: date(2025, 3, 10) + timedelta(days=days)),
            "hospital": st.sampled_from(["HMS", "OTO_ING"]),
            "unit": st.sampled_from(["OTOA", "OTOM"]),
            "area": st.sampled_from(["exames", "internacao"]),
            "channel": st.sampled_from(["email", "whatsapp", "link"]),
            "delivered": st.none() | _NUMBERS,
            "promoters": _NUMBERS,
            "passives": _NUMBERS,
            "detractors": _NUMBERS,
        }
    ),
    min_size=1,
    max_size=12,
).map(lambda rows: counts(*rows))


@given(_COUNTS, st.lists(st.sampled_from(KEYS), unique=True))
@settings(max_examples=80, deadline=None)
def test_by_whatever_columns_the_same_was_sent_and_answered(frame: pl.DataFrame, by: list[str]) -> None:
    added = ("sent", "delivered", "answered", "scored")
    table = scores(frame, by, POLICY)

    assert table.columns == [*by, *SCORES]
    assert table.select(by).equals(frame.select(by).unique().sort(by))
    assert table.select(added).sum().rows() == scores(frame, [], POLICY).select(pl.col(added).fill_null(0)).rows()
    shown = table.filter(pl.col("nps").is_not_null())
    assert (shown.get_column("promoters") + shown.get_column("passives") + shown.get_column("detractors")).equals(
        shown.get_column("scored")
    )
    assert table.filter(pl.col("nps").is_null()).get_column("scored").max() in (None, 0, 1, 2, 3, 4)
