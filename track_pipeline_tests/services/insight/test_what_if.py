"""The decisions of other rules or another policy: the counts match a known change, and nothing is written."""

import re
import shutil
from collections.abc import Iterator
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from track_pipeline.config.files import package_file
from track_pipeline.config.hospitals import load_registry
from track_pipeline.config.policy import load_policy
from track_pipeline.config.rules import load_rulebook, load_rules
from track_pipeline.domain.channels import Channel, OptOutChannel
from track_pipeline.errors import ConfigError
from track_pipeline.ports import Answer, Refused, SourceError
from track_pipeline.services.daily.dispatch import Dispatcher
from track_pipeline.services.daily.extraction import Extractor
from track_pipeline.services.daily.invitation import Planner
from track_pipeline.services.daily.sending import Partition
from track_pipeline.services.insight.serialise import to_object
from track_pipeline.services.insight.what_if import Candidate, WhatIf, candidate_rules
from track_pipeline_tests.support.builders import DAY, HASHER, Row, cpf, key_of, raw_encounters
from track_pipeline_tests.support.fake_reader import FakeHospitals
from track_pipeline_tests.support.installation import AREA, Office

RULES = load_rulebook(load_registry().only(("HMS",)))
# A clinic's patient by the rules of HMS, and one that none of them takes.
CLINIC: Row = {"tp_atendimento": "A", "cd_ser_dis": 1}
NOBODYS: Row = {"tp_atendimento": "X"}


@pytest.fixture
def office(tmp_path: Path) -> Iterator[Office]:
    office = Office(tmp_path)
    yield office
    office.ledger.close()


@pytest.fixture
def hospitals() -> FakeHospitals:
    return FakeHospitals()


def planner(office: Office) -> Planner:
    surveys = office.catalog.survey_uuids()
    return Planner(office.lake, office.ledger, RULES, office.policy, surveys, HASHER, lambda: office.now)


def what_if(office: Office, hospitals: FakeHospitals, candidate: Candidate = Candidate()) -> dict[str, Any]:  # noqa: B008 - frozen
    return to_object(WhatIf(planner(office), hospitals).compare(office.hospital, DAY, candidate))


def live(office: Office, hospitals: FakeHospitals, day: date = DAY) -> None:
    """Extracts, plans and sends a day, as every morning."""
    Extractor(hospitals, RULES, office.lake, office.ledger).extract(office.hospital, day)
    planner(office).invite(office.hospital, day)
    Dispatcher(office.outbox).dispatch(Partition(office.hospital, day, AREA, Channel.EMAIL), "run")


def rules(tmp_path: Path, pattern: str, replacement: str) -> Candidate:
    """The rules of HMS with one change."""
    folder = tmp_path / "rules"
    shutil.copytree(package_file("rules"), folder)
    path = folder / "HMS.toml"
    text, count = re.subn(pattern, replacement, path.read_text(encoding="utf-8"))
    assert count == 1
    path.write_text(text, encoding="utf-8")
    return Candidate(rules=load_rules(load_registry().hospital("HMS"), folder))


def policy(tmp_path: Path, old: str, new: str) -> Candidate:
    path = tmp_path / "policy.toml"
    text = package_file("policy.toml").read_text(encoding="utf-8")
    assert text.count(old) == 1
    path.write_text(text.replace(old, new), encoding="utf-8")
    return Candidate(policy=load_policy(path))


def deaths_are_18(tmp_path: Path) -> Candidate:
    """The only motive that excludes is 18."""
    return rules(tmp_path, r"death_motives = \[.*\]", "death_motives = [18]")


def told(result: dict[str, Any], *names: str) -> dict[str, Any]:
    return {name: result[name] for name in names}


# --- a known change ---------------------------------------------------------------------------------------------------


def test_a_changed_list_of_codes_adds_and_removes_whom_it_should(
    office: Office, hospitals: FakeHospitals, tmp_path: Path
) -> None:
    dead, transferred = {"cd_mot_alt": 6}, {"cd_mot_alt": 40}
    hospitals.batches["HMS"] = [raw_encounters({}, dead, dead, transferred)]

    candidate = rules(tmp_path, r"death_motives = \[6, 7", "death_motives = [40, 7")
    result = what_if(office, hospitals, candidate)

    assert told(result, "added_by", "removed_by", "changed_by") == {
        "added_by": {"deceased": 2},
        "removed_by": {"deceased": 1},
        "changed_by": {},
    }
    assert [(row["encounter"], row["database"], row["change"]) for row in result["encounters"]] == [
        (2, "HMS", "added"),
        (3, "HMS", "added"),
        (4, "HMS", "removed"),
    ]
    assert (result["present"]["planned"], result["candidate"]["planned"]) == (2, 3)
    assert result["candidate"]["planned_by"] == {"internacao by email": 3}
    assert result["rules"]["present"] != result["rules"]["candidate"]
    assert result["policy"]["present"] == result["policy"]["candidate"]


def test_an_encounter_that_moves_is_changed_in_every_field_that_moves(
    office: Office, hospitals: FakeHospitals, tmp_path: Path
) -> None:
    hospitals.batches["HMS"] = [raw_encounters({}, CLINIC, NOBODYS)]

    candidate = rules(tmp_path, r'id = "ambulatory"\narea = "ambulatorio"', 'id = "ambulatory"\narea = "exames"')
    result = what_if(office, hospitals, candidate)

    assert told(result, "added", "removed", "changed", "changed_by") == {
        "added": 0, "removed": 0, "changed": 1, "changed_by": {"area: ambulatorio -> exames": 1}
    }  # fmt: skip
    [row] = result["encounters"]
    assert (row["present"]["area"], row["candidate"]["area"]) == ("ambulatorio", "exames")


def test_another_reason_for_who_stays_excluded_is_told_too(
    office: Office, hospitals: FakeHospitals, tmp_path: Path
) -> None:
    unreachable = {"email": None, "nr_celular": None}
    hospitals.batches["HMS"] = [raw_encounters({"cd_mot_alt": 6} | unreachable)]

    result = what_if(office, hospitals, deaths_are_18(tmp_path))

    assert told(result, "added", "changed") == {"added": 0, "changed": 1}
    assert result["changed_by"]["reason: deceased -> no_contact"] == 1


def test_the_same_rules_differ_in_nothing(office: Office, hospitals: FakeHospitals) -> None:
    hospitals.batches["HMS"] = [raw_encounters({}, NOBODYS)]

    result = what_if(office, hospitals)

    assert told(result, "added", "removed", "changed", "encounters") == {
        "added": 0, "removed": 0, "changed": 0, "encounters": []
    }  # fmt: skip
    assert result["present"] == result["candidate"]
    assert result["present"]["excluded_by"] == {"unclassified": 1}


def test_another_policy_judges_what_the_lake_has_without_asking_the_hospital(
    office: Office, hospitals: FakeHospitals, tmp_path: Path
) -> None:
    hospitals.batches["HMS"] = [raw_encounters({}, {"cd_cid": "F20"}, {"cd_cid": "A00"})]
    Extractor(hospitals, RULES, office.lake, office.ledger).extract(office.hospital, DAY)
    hospitals.batches["HMS"] = SourceError("HMS", "it is down", "wait")

    result = what_if(office, hospitals, policy(tmp_path, 'psychiatric_cid = ["F"]', 'psychiatric_cid = ["A"]'))

    assert told(result, "source", "added_by", "removed_by") == {
        "source": "lake", "added_by": {"psychiatric": 1}, "removed_by": {"psychiatric": 1}
    }  # fmt: skip


def test_a_day_that_the_lake_no_longer_has_is_read_again(
    office: Office, hospitals: FakeHospitals, tmp_path: Path
) -> None:
    hospitals.batches["HMS"] = [raw_encounters({"cd_cid": "A00"})]
    result = what_if(office, hospitals, policy(tmp_path, 'psychiatric_cid = ["F"]', 'psychiatric_cid = ["A"]'))
    assert told(result, "source", "removed") == {"source": "hospital", "removed": 1}


# --- days on which people were asked ----------------------------------------------------------------------------------


def test_a_rule_that_was_wrong_and_live_is_measured_by_who_was_asked(
    office: Office, hospitals: FakeHospitals, tmp_path: Path
) -> None:
    hospitals.batches["HMS"] = [raw_encounters({}, {"cd_mot_alt": 40}, {"cd_mot_alt": 40, "email": None})]
    live(office, hospitals)

    result = what_if(office, hospitals, rules(tmp_path, r"death_motives = \[6", "death_motives = [40, 6"))

    assert told(result, "removed", "asked", "asked_not_planned_by") == {
        "removed": 2, "asked": 2, "asked_not_planned_by": {"deceased": 1}
    }  # fmt: skip
    assert [(row["encounter"], row["asked"]) for row in result["encounters"]] == [(2, True), (3, False)]


def test_what_has_an_outcome_keeps_no_place_that_the_policy_does_not_give_it(
    office: Office, hospitals: FakeHospitals, tmp_path: Path
) -> None:
    hospitals.batches["HMS"] = [raw_encounters({"cd_cid": "A00"}, {"cd_cid": "A00"})]
    Extractor(hospitals, RULES, office.lake, office.ledger).extract(office.hospital, DAY)
    planner(office).invite(office.hospital, DAY)
    office.ledger.people.opt_out(key_of("cpf", cpf(2)), OptOutChannel.ALL, "before the dispatch")
    office.dispatch()
    assert office.funnel() == {"sent": 1, "suppressed": 1, "suppressed:opted_out": 1}

    result = what_if(office, hospitals, policy(tmp_path, 'psychiatric_cid = ["F"]', 'psychiatric_cid = ["A"]'))

    assert told(result, "removed_by", "asked_not_planned_by") == {
        "removed_by": {"psychiatric": 2}, "asked_not_planned_by": {"psychiatric": 1}
    }  # fmt: skip


def test_a_rule_that_was_mended_since_shows_whom_it_should_not_have_let_through(
    office: Office, hospitals: FakeHospitals
) -> None:
    hospitals.batches["HMS"] = [raw_encounters({}, {})]
    live(office, hospitals)
    hospitals.batches["HMS"] = [raw_encounters({}, {"cd_mot_alt": 6})]

    result = what_if(office, hospitals)

    assert told(result, "removed", "asked", "asked_not_planned_by") == {
        "removed": 0, "asked": 2, "asked_not_planned_by": {"deceased": 1}
    }  # fmt: skip
    assert [row["encounter"] for row in result["encounters"]] == [2]


def test_who_was_asked_and_is_no_longer_in_the_hospitals_day_is_told(office: Office, hospitals: FakeHospitals) -> None:
    hospitals.batches["HMS"] = [raw_encounters({}, {})]
    live(office, hospitals)
    hospitals.batches["HMS"] = [raw_encounters({})]
    assert what_if(office, hospitals)["asked_not_planned_by"] == {"not_read": 1}


def test_a_refused_invitation_asked_nobody(office: Office, hospitals: FakeHospitals) -> None:
    hospitals.batches["HMS"] = [raw_encounters({}, {})]
    office.track.script = [Refused("http_400", "It was refused.")]
    live(office, hospitals)
    assert what_if(office, hospitals)["asked"] == 0


def test_an_old_day_is_judged_as_of_the_morning_after_it(office: Office, hospitals: FakeHospitals) -> None:
    hospitals.batches["HMS"] = [raw_encounters({}, {}, {})]
    office.now -= timedelta(hours=2)
    office.ledger.people.opt_out(key_of("cpf", cpf(2)), OptOutChannel.ALL, "early")
    office.now += timedelta(hours=2)
    live(office, hospitals)
    office.now += timedelta(days=90)
    office.ledger.people.opt_out(key_of("cpf", cpf(3)), OptOutChannel.ALL, "because of the survey")

    result = what_if(office, hospitals)

    assert result["present"]["excluded_by"] == {"opted_out": 1}
    assert result["as_of"] == "2025-03-11T08:00:00-03:00"
    assert result["asked_not_planned"] == 0


def test_an_answer_that_came_later_puts_nobody_into_quarantine(office: Office, hospitals: FakeHospitals) -> None:
    earlier = DAY - timedelta(days=10)
    office.now -= timedelta(days=10)
    hospitals.batches["HMS"] = [raw_encounters({"cd_atendimento": 50}, day=earlier)]
    live(office, hospitals, earlier)
    office.later(days=14)
    office.reader.answered = [Answer(office.send_id(50), office.now, "done", 9, None, None)]
    office.later(hours=2)

    hospitals.batches["HMS"] = [raw_encounters(CLINIC)]
    assert what_if(office, hospitals)["present"]["planned_by"] == {"ambulatorio by email": 1}


def test_a_day_that_is_not_over_is_judged_as_of_now(office: Office, hospitals: FakeHospitals) -> None:
    office.now = datetime(2025, 3, 10, 18, tzinfo=UTC)
    hospitals.batches["HMS"] = [raw_encounters({})]
    assert what_if(office, hospitals)["as_of"] == "2025-03-10T15:00:00-03:00"


# --- what it leaves alone ---------------------------------------------------------------------------------------------


def test_nothing_is_written_to_ledger_or_lake(office: Office, hospitals: FakeHospitals, tmp_path: Path) -> None:
    hospitals.batches["HMS"] = [raw_encounters({}, {"cd_mot_alt": 6}, NOBODYS)]
    live(office, hospitals)
    lake = {path: path.read_bytes() for path in office.lake.root.rglob("*.parquet")}
    before = [office.ledger.encounters.history("HMS", encounter) for encounter in (1, 2, 3)]
    sent = office.track.accepted_encounters()

    what_if(office, hospitals, deaths_are_18(tmp_path))

    assert {path: path.read_bytes() for path in office.lake.root.rglob("*.parquet")} == lake
    assert [office.ledger.encounters.history("HMS", encounter) for encounter in (1, 2, 3)] == before
    assert office.track.accepted_encounters() == sent


def test_nobody_is_named(office: Office, hospitals: FakeHospitals, tmp_path: Path) -> None:
    frame = raw_encounters({"cd_mot_alt": 6}, {}, {})
    hospitals.batches["HMS"] = [frame]
    text = str(what_if(office, hospitals, deaths_are_18(tmp_path)))
    personal = [value for row in frame.select("nm_paciente", "email", "nr_celular", "nr_cpf").rows() for value in row]
    assert len(personal) == 12
    assert not [value for value in personal if value in text]


# --- rules that cannot be tried ---------------------------------------------------------------------------------------


def test_rules_of_a_database_that_is_not_read_are_refused(
    office: Office, hospitals: FakeHospitals, tmp_path: Path
) -> None:
    candidate = rules(tmp_path, r'id = "ambulatory"', 'id = "ambulatory"\ndatabase = "HSL"')
    with pytest.raises(ConfigError, match="HMS: the rules need the database HSL"):
        what_if(office, hospitals, candidate)


def test_a_database_that_the_candidate_no_longer_reads_is_not_counted_as_its_own(
    office: Office, hospitals: FakeHospitals, tmp_path: Path
) -> None:
    now = rules(tmp_path, r'id = "ambulatory"', 'id = "ambulatory"\ndatabase = "HSL"').rules
    assert now is not None
    hospitals.batches["HMS"] = [raw_encounters({}, {"database": "HSL"} | CLINIC)]
    present = planner(office)
    present = Planner(**{**vars(present), "rules": {"HMS": now}})

    result: dict[str, Any] = to_object(
        WhatIf(present, hospitals).compare(office.hospital, DAY, Candidate(rules=RULES["HMS"]))
    )

    assert told(result, "added", "removed_by") == {"added": 0, "removed_by": {"not_read": 1}}


def test_a_folder_of_rules_may_have_those_of_some_hospitals(tmp_path: Path) -> None:
    for name in ("_shared.toml", "HMC.toml"):
        shutil.copy(package_file("rules") / name, tmp_path / name)
    assert set(candidate_rules(load_registry(), tmp_path)) == {"HMC"}


def test_a_folder_without_rules_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="has no rules"):
        candidate_rules(load_registry(), tmp_path)
