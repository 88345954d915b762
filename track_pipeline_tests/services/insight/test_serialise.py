"""Results as JSON: keys in the order of the fields, dates as ISO text, counts with their parts."""

from dataclasses import dataclass, field
from datetime import UTC, date, datetime

import pytest

from track_pipeline.domain.outcomes import Outcome, OutcomeKind
from track_pipeline.services.insight.serialise import INLINE, Counted, to_json


@dataclass(frozen=True)
class Inner:
    at: datetime
    outcome: Outcome | None


@dataclass(frozen=True)
class Outer:
    day: date
    inner: Inner = field(metadata=INLINE)
    excluded: Counted
    parts: tuple[Inner, ...]


def test_a_result_is_an_object_with_its_fields_in_order() -> None:
    inner = Inner(datetime(2025, 3, 11, 12, tzinfo=UTC), Outcome(OutcomeKind.EXCLUDED, "no_contact"))
    outer = Outer(date(2025, 3, 10), inner, Counted(2, {"no_contact": 2}), (Inner(inner.at, None),))

    told = to_json(outer)

    assert told == {
        "day": "2025-03-10",
        "at": "2025-03-11T12:00:00+00:00",
        "outcome": "excluded:no_contact",
        "excluded": 2,
        "excluded_by": {"no_contact": 2},
        "parts": [{"at": "2025-03-11T12:00:00+00:00", "outcome": None}],
    }
    assert isinstance(told, dict)
    assert list(told) == ["day", "at", "outcome", "excluded", "excluded_by", "parts"]


def test_a_value_of_another_kind_is_refused() -> None:
    with pytest.raises(TypeError, match="set cannot be written as JSON"):
        to_json({1})
