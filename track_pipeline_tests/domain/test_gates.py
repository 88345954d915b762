"""Gates before a dispatch: the values that pass each gate, and the values that stop it."""

from datetime import date

import polars as pl
import pytest

from track_pipeline.domain.gates import Finding, contact_share, death_flag, doubts, invariants, volume, volume_days
from track_pipeline.domain.outcomes import EXCLUDED, Exclusion
from track_pipeline.domain.policy import GatePolicy
from track_pipeline_tests.support.builders import DAY, Row, encounters, planned

POLICY = GatePolicy(min_contact_share=0.2, min_rows=20, max_volume_ratio=3.0, volume_weeks=4)


def excluded(reason: str | None) -> Row:
    return {"result": EXCLUDED, "reason": reason, "channel": None, "email_address": None, "phone_e164": None}


def tripped(findings: list[Finding]) -> list[str]:
    return [finding.gate for finding in findings if not finding.passed]


def pending(plan: pl.DataFrame) -> pl.DataFrame:
    """The lines of a plan of which nothing has left yet."""
    return plan.filter(pl.col("result") == "planned")


def extract(rows: int) -> pl.DataFrame:
    return encounters(*[{}] * rows)


def test_a_plan_of_its_extract_keeps_the_invariants() -> None:
    plan = planned({}, {"channel": "whatsapp", "email_address": None}, {"channel": "link"}, excluded("minor"))

    findings = invariants(plan, extract(4), pending(plan), is_of_extract=True)

    assert tripped(findings) == []
    assert not any(finding.waivable for finding in findings)


@pytest.mark.parametrize(
    ("rows", "gate"),
    [
        ([{"encounter_id": 1}, {"encounter_id": 1}], "no_duplicate_encounter"),
        ([{"email_address": None}], "every_line_can_be_sent"),
        ([{"channel": "whatsapp", "phone_e164": None}], "every_line_can_be_sent"),
        ([{"survey_uuid": None}], "every_line_can_be_sent"),
        ([{"channel": None}], "every_line_can_be_sent"),
        ([excluded(None)], "plan_covers_extract"),
    ],
)
def test_a_broken_invariant_trips_its_gate(rows: list[Row], gate: str) -> None:
    plan = planned(*rows)
    assert tripped(invariants(plan, extract(len(rows)), pending(plan), is_of_extract=True)) == [gate]


def test_a_line_that_left_may_have_lost_its_contact_since() -> None:
    plan = planned({"email_address": None}, {})
    assert tripped(invariants(plan, extract(2), pending(plan).tail(1), is_of_extract=True)) == []


def test_the_same_encounter_of_another_database_or_excluded_is_no_duplicate() -> None:
    rows: list[Row] = [
        {"encounter_id": 1},
        {"encounter_id": 1, "database": "HSL"},
        {"encounter_id": 1} | excluded("duplicate_encounter"),
    ]

    plan = planned(*rows)
    assert tripped(invariants(plan, extract(3), pending(plan), is_of_extract=True)) == []


def test_a_plan_of_an_earlier_extract_trips_however_alike_the_two_are() -> None:
    plan = planned({})
    findings = invariants(plan, extract(1), pending(plan), is_of_extract=False)
    assert tripped(findings) == ["plan_is_of_extract"]


@pytest.mark.parametrize("rows", [0, 2])
def test_a_plan_with_more_or_fewer_rows_than_its_extract_trips(rows: int) -> None:
    plan = planned({})
    [finding] = [each for each in invariants(plan, extract(rows), pending(plan), is_of_extract=True) if not each.passed]

    assert finding.gate == "plan_covers_extract"
    assert f"{rows} extracted, 1 decided" in finding.detail


@pytest.mark.parametrize(
    ("reachable", "unreachable", "passes"),
    [
        pytest.param(4, 16, True, id="exactly the share"),
        pytest.param(4, 17, False, id="just below the share"),
        pytest.param(0, 20, False, id="nobody"),
        pytest.param(0, 19, True, id="too few rows to say"),
        pytest.param(0, 0, True, id="no rows"),
    ],
)
def test_the_contact_share_trips_below_its_limit(reachable: int, unreachable: int, passes: bool) -> None:
    plan = planned(*[{}] * reachable, *[excluded(Exclusion.NO_CONTACT)] * unreachable)

    assert contact_share(plan, POLICY).passed is passes


def test_the_contact_share_is_of_those_who_could_be_asked() -> None:
    contact_reasons = ["shared_contact", "placeholder_contact", "foreign", "invalid_contact", "no_contact"]
    plan = planned({}, *(excluded(reason) for reason in [*contact_reasons, "deceased", "minor", "quarantine"]))

    assert contact_share(plan, POLICY).detail == "1 of 6 have a usable contact (17%)"


@pytest.mark.parametrize(
    ("rows", "earlier", "passes"),
    [
        pytest.param(300, [100, 90, 110], True, id="exactly the ratio"),
        pytest.param(301, [100, 90, 110], False, id="just above the ratio"),
        pytest.param(301, [], True, id="no history"),
        pytest.param(301, [0, 0], True, id="history of days without rows"),
        pytest.param(301, [0, 0, 110], True, id="days without rows do not count"),
        pytest.param(19, [1], True, id="too few rows to say"),
        pytest.param(20, [1], False, id="enough rows to say"),
    ],
)
def test_the_volume_trips_above_its_ratio_to_the_usual(rows: int, earlier: list[int], passes: bool) -> None:
    volumes = {DAY.replace(day=place): count for place, count in enumerate(earlier, start=1)}

    assert volume(rows, volumes, POLICY).passed is passes


@pytest.mark.parametrize(
    ("missing", "delivered", "uncoded", "passes"),
    [
        pytest.param(20, 0, 5, False, id="no flag on any coded row"),
        pytest.param(20, 1, 0, True, id="one flag is enough"),
        pytest.param(19, 0, 99, True, id="too few coded rows to say"),
        pytest.param(0, 0, 99, True, id="nothing coded"),
        pytest.param(0, 0, 0, True, id="no rows"),
    ],
)
def test_the_death_flag_trips_when_it_is_never_delivered(
    missing: int, delivered: int, uncoded: int, passes: bool
) -> None:
    rows: list[Row] = [{"death_flag_missing": True}] * missing + [{"death_flag_missing": False}] * delivered

    finding = death_flag(encounters(*rows, *[{}] * uncoded), POLICY)

    assert finding.passed is passes
    assert finding.detail == f"{missing} of {missing + delivered} coded results have no death flag"


def test_doubts_may_be_waived_and_come_in_one_list() -> None:
    findings = doubts(planned({}), extract(1), {}, POLICY)

    assert [finding.gate for finding in findings] == ["contact_share", "volume", "death_flag"]
    assert all(finding.waivable and finding.passed for finding in findings)


def test_the_volume_is_compared_with_the_same_weekday_of_the_weeks_before() -> None:
    assert volume_days(DAY, POLICY) == [date(2025, 3, 3), date(2025, 2, 24), date(2025, 2, 17), date(2025, 2, 10)]
