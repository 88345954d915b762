"""Erasure of one person: complete, and of no other person. Counts stay, and the person gets no more messages."""

from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import polars as pl
import pytest

from track_pipeline.domain.identity import KEY_COLUMNS
from track_pipeline.ports import Answer
from track_pipeline.services.operator.erasure import Eraser
from track_pipeline.services.operator.people import person_keys
from track_pipeline_tests.services.daily.test_invitation import extract, invite, whole_day
from track_pipeline_tests.support.builders import DAY, HASHER, cpf, email_of, encounters, phone_of
from track_pipeline_tests.support.installation import AREA, Office


@pytest.fixture
def office(tmp_path: Path) -> Iterator[Office]:
    office = Office(tmp_path)
    extract(office, whole_day(internacao=[{}, {}, {"died": True}]))
    invite(office)
    office.dispatch()
    yield office
    office.ledger.close()


def erase(office: Office, **contacts: str) -> dict[str, int]:
    keys = person_keys(HASHER, office.policy.placeholders, **contacts)
    return Eraser(office.lake, office.ledger, office.policy, HASHER).erase(keys)


def everything_in_the_lake(office: Office) -> str:
    return "\n".join(str(office.lake.read(*place).rows()) for place in office.lake.places())


def test_nothing_of_the_person_is_left_in_the_lake_and_everything_of_the_others_is(office: Office) -> None:
    others = {name for name in (cpf(2), email_of(2), cpf(3)) if name in everything_in_the_lake(office)}
    assert cpf(1) in everything_in_the_lake(office)

    assert erase(office, cpf=cpf(1))["lake_rows"] == 2

    left = everything_in_the_lake(office)
    assert not any(secret in left for secret in (cpf(1), email_of(1), phone_of(1)))
    assert others
    assert all(other in left for other in others)


def test_a_person_is_found_by_any_contact_also_where_only_another_one_was_used(office: Office) -> None:
    office.lake.write(encounters({"person": 1, "encounter_id": 77, "cpf": None}), "extract", AREA, DAY, "HMC")

    assert erase(office, cpf=cpf(1))["lake_rows"] == 3
    assert email_of(1) not in everything_in_the_lake(office)


@pytest.mark.parametrize("now", [{"encounter_id": 99, "person": 50}, {"person": 50}], ids=["gone", "other contacts"])
def test_what_was_planned_and_linked_before_the_day_was_read_again_is_found_too(
    office: Office, now: dict[str, int]
) -> None:
    links = encounters({}).select("encounter_id", "database", "patient_name", link=pl.lit("http://127.0.0.1/personal"))
    office.lake.write(links, "survey_link", AREA, DAY, "HMS")
    extract(office, {AREA.value: [now, {}, {"died": True}]})

    erase(office, cpf=cpf(1))

    left = everything_in_the_lake(office)
    assert not any(secret in left for secret in (cpf(1), email_of(1), "Pessoa Exemplo 1'", "personal"))


def test_the_others_of_a_partition_still_go_and_the_person_is_suppressed(office: Office) -> None:
    extract(office, whole_day(internacao=[{}, {}, {"died": True}, {}, {}]))
    invite(office)
    erase(office, cpf=cpf(4))

    assert office.dispatch().sent == 1
    assert office.track.accepted_encounters() == ["1", "2", "5"]
    assert office.funnel() == {"sent": 3, "suppressed": 1, "suppressed:opted_out": 1}


def test_the_ledger_forgets_who_it_was_and_what_they_wrote_and_not_that_they_were_asked(office: Office) -> None:
    office.reader.answered = [Answer(office.send_id(1), office.now, "done", 2, "Sou a Fulana", None)]
    office.refresh()
    before = office.funnel()

    forgotten = erase(office, cpf=cpf(1))

    assert (forgotten["sends"], forgotten["comments"]) == (1, 1)
    assert office.ledger.sends.keys_of([office.send_id(1)]).select(KEY_COLUMNS).row(0) == (None, None, None)
    assert office.funnel() == before


def test_an_erased_person_is_not_written_to_when_the_day_is_read_again(office: Office) -> None:
    erase(office, cpf=cpf(1))
    day = DAY + timedelta(days=1)
    extract(office, whole_day(internacao=[{"person": 1, "encounter_id": 50}, {"person": 9, "encounter_id": 51}]), day)

    plan = invite(office, day=day)[AREA]

    assert plan.filter(pl.col("encounter_id") == 50).get_column("reason").to_list() == ["opted_out"]


def test_erasing_again_touches_nothing_more(office: Office) -> None:
    erase(office, cpf=cpf(1))
    left = everything_in_the_lake(office)

    assert set(erase(office, cpf=cpf(1)).values()) == {0}
    assert everything_in_the_lake(office) == left


def test_somebody_unknown_is_only_opted_out(office: Office) -> None:
    forgotten = erase(office, cpf=cpf(8))

    assert forgotten == dict.fromkeys(forgotten, 0) | {"opt_outs": 1}
