"""The plan of a hospital-day: all areas together, the same on every replay, and a record of every extracted person."""

from collections.abc import Iterator
from datetime import date, timedelta
from pathlib import Path

import polars as pl
import pytest
from polars.testing import assert_frame_equal

from track_pipeline.adapters.lake import NotInLake
from track_pipeline.config.hospitals import load_registry
from track_pipeline.config.rules import load_rulebook
from track_pipeline.domain.areas import AREAS, UNCLASSIFIED, Area
from track_pipeline.domain.channels import Channel, OptOutChannel
from track_pipeline.ports import Answer
from track_pipeline.services.daily.dispatch import Dispatcher
from track_pipeline.services.daily.extraction import EXTRACT, extract_of
from track_pipeline.services.daily.invitation import INVITATION, Planner
from track_pipeline.services.daily.sending import Partition
from track_pipeline.services.insight.status import status, why
from track_pipeline_tests.support.builders import DAY, HASHER, Row, email_of, encounters, keys_of, phone_of
from track_pipeline_tests.support.installation import AREA, Office

RULES = load_rulebook(load_registry().only(("HMS",)))
# Rows by area key; an area that is not named was not extracted.
Rows = dict[str, list[Row]]
# A row that no rule took.
NOBODYS: Row = {"area": None, "setor": None, "rule": None, "reason": "unclassified", "encounter_id": 900}


@pytest.fixture
def office(tmp_path: Path) -> Iterator[Office]:
    office = Office(tmp_path)
    yield office
    office.ledger.close()


def planner(office: Office) -> Planner:
    surveys = office.catalog.survey_uuids()
    return Planner(office.lake, office.ledger, RULES, office.policy, surveys, HASHER, lambda: office.now)


def extract(office: Office, areas: Rows, day: date = DAY) -> None:
    """Puts rows into the lake and the ledger, as an extraction does."""
    for name, rows in areas.items():
        label = None if name == UNCLASSIFIED else Area(name).label
        frame = encounters(*({"area": label} | row for row in rows))
        office.lake.write(frame, EXTRACT, name, day, "HMS")
        found = frame.select(
            "database", "encounter_id", "unit", "setor", "reason", "rule",
            result=pl.when(pl.col("area").is_null()).then(pl.lit("excluded")).otherwise(pl.lit("planned")),
            rules_version=pl.lit("rules"),
        )  # fmt: skip
        office.ledger.encounters.record_extract("HMS", day, name, found)


def invite(office: Office, *areas: Area, day: date = DAY) -> dict[Area, pl.DataFrame]:
    return planner(office).invite(office.hospital, day, areas or AREAS)


def whole_day(**areas: list[Row]) -> Rows:
    return {area.value: [] for area in AREAS} | areas


def reasons(plan: pl.DataFrame) -> dict[int, str | None]:
    return dict(plan.select("encounter_id", "reason").iter_rows())


# --- which areas ----------------------------------------------------------------------------------------------------


def test_every_area_has_its_plan_in_the_lake_and_in_the_ledger_also_an_empty_one(office: Office) -> None:
    extract(office, whole_day(internacao=[{}, {"email": None, "phone_number": None}]))

    plans = invite(office)

    assert {area: plan.height for area, plan in plans.items() if plan.height} == {AREA: 2}
    for area, plan in plans.items():
        assert_frame_equal(office.lake.read(INVITATION, area, DAY, "HMS"), plan)
    assert reasons(plans[AREA]) == {1: None, 2: "no_contact"}
    assert office.funnel() == {"deferred": 1, "deferred:not_dispatched": 1}


def test_a_person_of_two_areas_is_asked_in_the_first_also_when_only_the_other_is_planned(office: Office) -> None:
    same = {"person": 1, "encounter_id": 7}
    extract(office, {"internacao": [{}], "exames": [same]})

    assert set(invite(office, Area.EXAMES)) == {Area.EXAMES}
    assert reasons(office.lake.read(INVITATION, Area.EXAMES, DAY, "HMS")) == {7: "same_person"}
    assert office.lake.find(INVITATION, AREA, DAY, "HMS") is None


def test_areas_that_were_not_extracted_do_not_stand_in_the_way_of_those_that_were(office: Office) -> None:
    extract(office, {"exames": [{"encounter_id": 7}]})
    assert reasons(invite(office, Area.EXAMES)[Area.EXAMES]) == {7: None}


def test_an_area_that_was_not_extracted_cannot_be_planned(office: Office) -> None:
    extract(office, {"exames": [{}]})
    with pytest.raises(NotInLake, match="extract/internacao"):
        invite(office, AREA)


def test_a_telephone_that_people_without_an_area_have_too_is_nobodys_own(office: Office) -> None:
    number = {"email": None, "phone_number": phone_of(77).removeprefix("+5527")}
    strangers = [NOBODYS | number | {"encounter_id": 900 + place, "person": 50 + place} for place in range(3)]
    extract(office, whole_day(internacao=[number], unclassified=strangers))
    assert reasons(invite(office)[AREA]) == {1: "shared_contact"}


# --- replays --------------------------------------------------------------------------------------------------------


def test_planning_again_with_the_same_ledger_gives_the_same_plan(office: Office) -> None:
    extract(office, whole_day(internacao=[{} for _ in range(20)], exames=[{"person": 3, "encounter_id": 99}]))

    first, second = invite(office), invite(office)

    for area in AREAS:
        assert_frame_equal(first[area], second[area])


def test_what_was_sent_stays_in_the_plan_and_is_not_sent_again(office: Office) -> None:
    extract(office, whole_day(internacao=[{}, {}]))
    invite(office)
    office.dispatch()
    extract(office, whole_day(internacao=[{"died": True}, {}, {}]))

    assert reasons(invite(office)[AREA]) == {1: None, 2: None, 3: None}
    assert office.dispatch().sent == 1
    assert office.track.accepted_encounters() == ["1", "2", "3"]


def test_planning_again_at_the_same_instant_gives_the_same_plan_whoever_opted_out_later(office: Office) -> None:
    extract(office, whole_day(internacao=[{}, {"person": 2}], exames=[{"person": 2, "encounter_id": 99}]))
    first = invite(office)
    office.now += timedelta(days=2)
    office.ledger.people.opt_out(first[AREA].get_column("cpf_key")[1], OptOutChannel.ALL, "track")

    assert reasons(invite(office)[Area.EXAMES]) == {99: "opted_out"}
    office.now -= timedelta(days=2)

    for area, plan in invite(office).items():
        assert_frame_equal(plan, first[area])
    office.dispatch()
    assert office.funnel() == {"sent": 1, "suppressed": 1, "suppressed:opted_out": 1}


def test_a_death_in_another_hospital_excludes_and_one_seen_after_the_plan_suppresses(office: Office) -> None:
    extract(office, whole_day(internacao=[{}, {}, {}]))
    office.see(900, key=str(keys_of(1)["email_key"]), days=-2, died=True)
    assert reasons(invite(office)[AREA]) == {1: "deceased", 2: None, 3: None}

    office.see(901, key=str(keys_of(2)["cpf_key"]), days=0, died=True, code="HAT")
    office.dispatch()

    assert office.track.accepted_encounters() == ["3"]
    assert office.funnel() == {"sent": 1, "suppressed": 1, "suppressed:deceased": 1}


def test_a_plan_that_is_made_while_a_turn_is_waited_for_holds(office: Office) -> None:
    extract(office, whole_day(internacao=[{}, {}, {}]))
    invite(office)

    def somebody_plans_again() -> None:
        extract(office, whole_day(internacao=[{}, {"died": True}, {"encounter_id": 4, "person": 4}]))
        invite(office)

    office.track.on_turn = somebody_plans_again
    report = office.dispatch()

    assert office.track.accepted_encounters() == ["1"]
    assert (report.sent, report.held) == (1, {"withdrawn": 2})
    assert office.funnel() == {"sent": 1, "deferred": 1, "deferred:not_dispatched": 1}


@pytest.mark.parametrize(
    ("now", "area", "outcome"),
    [
        ({"exames": [{"encounter_id": 1}]}, "exames", "sent"),
        ({"internacao": [{"died": True}]}, "internacao", "sent"),
        ({UNCLASSIFIED: [NOBODYS | {"encounter_id": 1}]}, "unclassified", "sent"),
        ({}, "internacao", "sent"),
    ],
    ids=["in another area", "dead", "in no area", "gone"],
)
def test_what_was_sent_is_told_wherever_the_hospital_puts_the_encounter_later(
    office: Office, now: Rows, area: str, outcome: str
) -> None:
    extract(office, whole_day(internacao=[{}]))
    invite(office)
    office.dispatch()

    extract(office, whole_day() | {UNCLASSIFIED: []} | now)
    invite(office)

    story = why(office.ledger, "HMS", 1)
    assert (story.area, str(story.outcome)) == (area, outcome)
    sent = {row.area: row.sent for row in status(office.ledger, (DAY, DAY)) if row.extracted}
    assert sent == ({area: 1} if now else {})


def test_an_encounter_that_waits_under_one_day_and_was_sent_under_another_has_a_name_there(office: Office) -> None:
    extract(office, whole_day(internacao=[{}]))
    invite(office)
    extract(office, whole_day(internacao=[{}]), NEXT_DAY)
    invite(office, day=NEXT_DAY)
    office.dispatch()

    Dispatcher(office.outbox).dispatch(Partition(office.hospital, NEXT_DAY, AREA, Channel.EMAIL), "run")

    held = [row.held_by for row in status(office.ledger, (NEXT_DAY, NEXT_DAY)) if row.extracted]
    assert held == [{"suppressed:already_asked": 1}]
    assert office.track.accepted_encounters() == ["1"]


def test_the_cooldown_after_an_answer_that_came_late_is_as_long_as_any(office: Office) -> None:
    extract(office, whole_day(internacao=[{}]), DAY - timedelta(days=75))
    office.now -= timedelta(days=75)
    invite(office, day=DAY - timedelta(days=75))
    Dispatcher(office.outbox).dispatch(Partition(office.hospital, DAY - timedelta(days=75), AREA, Channel.EMAIL), "run")
    office.later(days=28)
    office.reader.answered = [Answer(office.send_id(1), office.now, "done", 9, None, None)]
    office.later(days=47)
    extract(office, whole_day(internacao=[{"encounter_id": 2, "person": 1}]))

    assert reasons(invite(office)[AREA]) == {2: "quarantine"}


def test_looking_at_a_plan_writes_nothing(office: Office) -> None:
    extract(office, whole_day(internacao=[{}, {"died": True}]))
    before = office.ledger.counts.outcomes().to_dicts(), office.ledger.encounters.history("HMS", 1).decisions

    encounters_of_day = extract_of(office.lake, office.hospital, DAY)
    assert encounters_of_day is not None
    plan = planner(office).as_if_unsent(office.hospital, DAY, encounters_of_day)

    assert reasons(plan) == {1: None, 2: "deceased"}
    assert (office.ledger.counts.outcomes().to_dicts(), office.ledger.encounters.history("HMS", 1).decisions) == before
    assert office.lake.find(INVITATION, AREA, DAY, "HMS") is None


# --- whom the hospital saw, as far as reminders of older visits need to know -----------------------------------------


def remind_after(office: Office, areas: Rows, day: date = DAY) -> dict[str, int]:
    """Invites persons 1 and 2, plans what was extracted afterwards, and reminds a week after the invitation."""
    extract(office, whole_day(internacao=[{}, {}]))
    invite(office)
    office.dispatch()
    extract(office, areas, day)
    invite(office, *(Area(name) for name in areas if name != UNCLASSIFIED), day=day)
    office.later(days=7)
    return office.remind().results


def test_who_died_in_the_very_encounter_is_not_reminded_whatever_contacts_it_has_now(office: Office) -> None:
    dead = {"encounter_id": 1, "person": 60, "area": None, "rule": None, "reason": "other_day", "died": True}
    keyless = dead | {"email": None, "phone_number": None, "cpf": None, "encounter_id": 2}
    areas = {area.value: list[Row]() for area in AREAS} | {UNCLASSIFIED: [dead, keyless]}

    assert remind_after(office, areas, DAY + timedelta(days=4)) == {"withheld:deceased": 2}


NEXT_DAY = DAY + timedelta(days=1)


def test_who_is_extracted_again_as_dead_is_not_reminded(office: Office) -> None:
    dead = whole_day(internacao=[{"died": True}, {}])
    assert remind_after(office, dead) == {"due": 1, "withheld:deceased": 1}


def test_who_lost_the_area_because_of_a_death_is_not_reminded(office: Office) -> None:
    dead = NOBODYS | {"encounter_id": 1, "person": 1, "reason": "deceased"}
    alive = {"encounter_id": 2, "person": 2}
    assert remind_after(office, whole_day(internacao=[alive], unclassified=[dead])) == {
        "due": 1, "withheld:deceased": 1
    }  # fmt: skip


@pytest.mark.parametrize(
    "known_by", [{"phone_number": None, "cpf": None, "email": email_of(1).upper()}, {"email": None, "cpf": None}]
)
def test_who_comes_back_is_known_by_any_contact_also_without_an_area(office: Office, known_by: Row) -> None:
    back = NOBODYS | {"person": 1} | known_by
    assert remind_after(office, {"exames": [], "unclassified": [back]}, NEXT_DAY) == {"due": 1, "withheld:returned": 1}


def test_a_cancelled_visit_is_no_return(office: Office) -> None:
    cancelled = NOBODYS | {"person": 1, "reason": "cancelled"}
    assert remind_after(office, {"exames": [], "unclassified": [cancelled]}, NEXT_DAY) == {"due": 2}


def test_the_same_encounter_on_a_corrected_day_is_no_return(office: Office) -> None:
    moved = {"encounter_id": 1, "person": 1}
    assert remind_after(office, {"internacao": [moved]}, NEXT_DAY) == {"due": 2}


def test_what_was_seen_is_replaced_when_the_day_is_planned_again(office: Office) -> None:
    extract(office, {"exames": [{"encounter_id": 50}]}, NEXT_DAY)
    invite(office, Area.EXAMES, day=NEXT_DAY)
    assert remind_after(office, {"exames": []}, NEXT_DAY) == {"due": 2}
