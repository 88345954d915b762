"""The explanation of an encounter in sentences: in order, with every rule, and with what would change the decision."""

from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from track_pipeline.config.hospitals import load_registry
from track_pipeline.config.policy import load_policy
from track_pipeline.config.rules import load_rulebook
from track_pipeline.domain.channels import OptOutChannel
from track_pipeline.domain.outcomes import Deferral, Exclusion, Suppression, Withheld
from track_pipeline.domain.ruleset import RuleSet
from track_pipeline.domain.sends import Verdict
from track_pipeline.ports import Answer, Refused, Unknown
from track_pipeline.services.daily.extraction import Extractor
from track_pipeline.services.daily.invitation import Planner
from track_pipeline.services.daily.sending import DispatchStopped
from track_pipeline.services.insight.explain import Explainer, Explanation, PathStep
from track_pipeline.services.insight.meanings import DEFERRALS, EXCLUSIONS, SUPPRESSIONS, WITHHELD, meaning
from track_pipeline.services.insight.status import why
from track_pipeline_tests.support.builders import DAY, HASHER, Row, cpf, email_of, key_of, raw_encounters
from track_pipeline_tests.support.fake_reader import FakeHospitals
from track_pipeline_tests.support.installation import Office

RULES = load_rulebook(load_registry().only(("HMS",)))
VERSION = RULES["HMS"].version


@pytest.fixture
def office(tmp_path: Path) -> Iterator[Office]:
    office = Office(tmp_path)
    yield office
    office.ledger.close()


def morning(office: Office, *rows: Row) -> None:
    """The day is extracted and planned."""
    hospitals = FakeHospitals({"HMS": [raw_encounters(*rows)]})
    Extractor(hospitals, RULES, office.lake, office.ledger).extract(office.hospital, DAY)
    plan(office)


def plan(office: Office) -> None:
    surveys = office.catalog.survey_uuids()
    planner = Planner(office.lake, office.ledger, RULES, office.policy, surveys, HASHER, lambda: office.now)
    planner.invite(office.hospital, DAY)


def explain(office: Office, encounter: int = 1, rules: RuleSet = RULES["HMS"], **policy: Any) -> Explanation:
    story = why(office.ledger, "HMS", encounter)
    explainer = Explainer(office.lake, {"HMS": rules}, office.policy.model_copy(update=policy))
    return explainer.explain(office.hospital, story)


def told(explanation: Explanation) -> list[str]:
    return [event.text for event in explanation.events]


def steps(explanation: Explanation, kind: str) -> list[tuple[str, str]]:
    return [(step.rule, step.result) for step in explanation.path if step.step == kind]


# --- what happened --------------------------------------------------------------------------------------------------


def test_the_events_are_told_in_the_order_in_which_they_happened(office: Office) -> None:
    morning(office, {})
    office.now += timedelta(minutes=5)
    office.dispatch()
    office.later(days=7)
    office.remind()
    office.reader.answered = [Answer(office.send_id(1, "reminder_7d"), office.now, "done", 9, None, None)]
    office.later(hours=2)

    explanation = explain(office)

    assert told(explanation) == [
        "extracted for 2025-03-10, area internacao",
        "planned",
        "invitation by e-mail: Track.co accepted it",
        "reminder after 7 days by WhatsApp: Track.co accepted it",
        "answered the reminder after 7 days",
    ]
    assert explanation.events[0].by == f"inpatient, rules {VERSION}"
    assert explanation.events[1].by == f"inpatient, policy {load_policy().version}"
    assert explanation.outcome == "sent"
    assert "no patient is invited twice" in explanation.change_needed


def test_a_line_that_waited_and_was_settled_by_hand_is_told(office: Office) -> None:
    office.sends = False
    morning(office, {})
    office.dispatch()
    assert explain(office).outcome == "deferred: TRACK_DISPATCH is dry-run"
    assert "TRACK_DISPATCH=live" in explain(office).change_needed

    office.sends = True
    office.now += timedelta(minutes=5)
    office.track.script = [Unknown("timeout", "No answer.")]
    with pytest.raises(DispatchStopped):
        office.dispatch()
    assert explain(office).change_needed.startswith(
        "Look for it at Track.co: track resolve HMS 1 sent closes it, not_sent"
    )

    office.now += timedelta(minutes=5)
    office.ledger.sends.resolve([office.send_id(1)], Verdict.NOT_SENT, "not in the list", by="operator")
    assert told(explain(office))[2:] == [
        "invitation waits: TRACK_DISPATCH is dry-run",
        "resolved by an operator as not sent: not in the list",
    ]


def test_what_was_dropped_or_refused_says_that_it_is_for_good(office: Office) -> None:
    morning(office, {}, {})
    office.now += timedelta(minutes=5)
    office.ledger.people.opt_out(key_of("cpf", cpf(1)), OptOutChannel.ALL, "test")
    office.track.script = [Refused("http_400", "It was refused.")]
    office.dispatch()

    assert explain(office, 1).outcome == "suppressed: the person had opted out by then"
    assert explain(office, 2).outcome == "Track.co refused it (http_400)"
    assert all(explain(office, number).change_needed.startswith("Nothing") for number in (1, 2))
    assert told(explain(office, 1))[-1] == "no invitation: the person had opted out by then"


def test_an_encounter_that_was_never_extracted_has_neither_events_nor_a_path(office: Office) -> None:
    explanation = explain(office)
    assert (explanation.outcome, explanation.events, explanation.path) == ("never extracted", (), ())


# --- the path through the rules -------------------------------------------------------------------------------------


def test_the_path_has_every_rule_up_to_the_one_that_took_it(office: Office) -> None:
    morning(office, {})

    explanation = explain(office)

    assert steps(explanation, "classification") == [
        ("emergency", "passed"), ("maternity", "passed"), ("inpatient", "took")
    ]  # fmt: skip
    said = next(step.text for step in explanation.path if step.rule == "inpatient")
    assert said.startswith("internacao on the day of discharge, when tp_atendimento in I; unless cd_atendimento_pai is")
    assert {result for _, result in steps(explanation, "eligibility")} == {"passed"}
    assert PathStep("contact", "", "fact", "e-mail: ok, phone: ok") in explanation.path
    assert steps(explanation, "plan")[-1] == ("sampled_out", "passed")
    assert explanation.path_note == ""


def test_a_row_that_no_rule_takes_has_been_through_all_of_them(office: Office) -> None:
    morning(office, {"tp_atendimento": "X"})

    explanation = explain(office)

    looked_at = steps(explanation, "classification")
    assert looked_at == [*((rule.id, "passed") for rule in RULES["HMS"].rules), ("", "excluded")]
    assert explanation.path[-1].text == "no rule of the hospital matches it"
    assert "rules/HMS.toml" in explanation.change_needed


def test_a_bar_that_may_have_excluded_it_is_marked(office: Office) -> None:
    morning(office, {"cd_mot_alt": 6})
    possible = [rule for rule, result in steps(explain(office), "classification") if result == "possible"]
    assert possible == ["emergency", "maternity", "inpatient"]


def test_the_only_rule_that_says_so_is_the_one_that_excluded_it(office: Office) -> None:
    morning(office, {"cd_atendimento_pai": 99})
    assert ("inpatient", "excluded") in steps(explain(office), "classification")


def test_eligibility_ends_at_the_rule_that_holds(office: Office) -> None:
    morning(office, {"cd_cid": "F20"})

    explanation = explain(office)

    assert steps(explanation, "eligibility")[-2:] == [("obstetric_loss@1", "passed"), ("psychiatric@1", "excluded")]
    assert steps(explanation, "contact") == []
    assert explanation.outcome == (
        "excluded: the principal diagnosis of this encounter, or of another one of the person that day, is psychiatric"
    )


def test_what_another_encounter_says_of_the_person_is_told_apart_from_the_encounter_s_own(office: Office) -> None:
    morning(office, {"tp_mot_alta": "O", "cd_mot_alt": 1}, {"nr_cpf": cpf(1)})

    explanation = explain(office, 2)

    assert ("deceased@1", "passed") in steps(explanation, "eligibility")
    assert explanation.path[-1] == PathStep(
        "plan", "deceased", "excluded", "because of another encounter of the person"
    )


@pytest.mark.parametrize(
    ("row", "verdicts", "reason"),
    [
        ({"email": "naotem@naotem.com", "nr_celular": None}, "e-mail: placeholder, phone: missing", "placeholder"),
        ({"email": "ana souza@x.com", "nr_celular": "33334444"}, "e-mail: invalid, phone: landline", "invalid"),
    ],
)
def test_the_verdicts_on_contacts_are_told_and_no_contact_is(
    office: Office, row: Row, verdicts: str, reason: str
) -> None:
    morning(office, row)

    explanation = explain(office)

    assert [step.text for step in explanation.path if step.step == "contact"] == [verdicts]
    assert explanation.path[-1].result == "excluded"
    assert explanation.path[-1].rule == f"{reason}_contact"


def test_nobody_is_named(office: Office) -> None:
    morning(office, {})
    office.dispatch()
    text = str(explain(office))
    assert not [value for value in ("Pessoa", email_of(1), cpf(1), "981000001") if value in text]


def test_the_checks_of_the_plan_end_at_the_one_that_holds(office: Office) -> None:
    morning(office, {}, {"nr_cpf": cpf(1)})
    assert steps(explain(office, 2), "plan")[-2:] == [("already_asked", "passed"), ("same_person", "excluded")]


def test_a_day_that_is_not_planned_yet_ends_at_the_contacts(office: Office) -> None:
    Extractor(FakeHospitals({"HMS": [raw_encounters({})]}), RULES, office.lake, office.ledger).extract(
        office.hospital, DAY
    )
    explanation = explain(office)
    assert explanation.path[-1].step == "contact"
    assert explanation.outcome == "deferred: its dispatch has not run yet"


# --- what keeps the path from being told ----------------------------------------------------------------------------


def test_a_path_whose_extract_is_purged_is_said_to_be_gone(office: Office) -> None:
    morning(office, {})
    for path in office.lake.root.glob("extract/*/*/*.parquet"):
        path.unlink()

    explanation = explain(office)

    assert explanation.path == ()
    assert explanation.path_note.startswith("not available: the lake keeps extracts for 30 days")
    assert told(explanation) == ["extracted for 2025-03-10, area internacao", "planned"]


def test_changed_rules_are_not_taken_for_those_of_the_day(office: Office) -> None:
    morning(office, {})

    explanation = explain(office, rules=RULES["HMS"].model_copy(update={"version": "changed"}))

    assert steps(explanation, "classification") == [("inpatient", "took")]
    assert f"the rules have changed since ({VERSION} then, changed now)" in explanation.path[0].text


def test_a_changed_policy_is_said(office: Office) -> None:
    morning(office, {})
    assert "is changed now" in explain(office, version="changed").path_note


def test_what_was_asked_before_the_data_changed_is_said_to_stay(office: Office) -> None:
    morning(office, {})
    office.dispatch()
    morning(office, {"tp_mot_alta": "O", "cd_mot_alt": 1})

    explanation = explain(office)

    assert explanation.outcome == "sent"
    assert steps(explanation, "eligibility") == [("deceased@1", "excluded")]
    assert "a sent or suppressed line stays so" in explanation.path_note


# --- words ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("words", "known"),
    [(Exclusion, EXCLUSIONS), (Deferral, DEFERRALS), (Suppression, SUPPRESSIONS), (Withheld, WITHHELD)],
)
def test_every_reason_there_is_has_a_meaning(words: Any, known: Any) -> None:
    assert set(words) == set(known)


def test_a_word_that_is_not_ours_stands_for_itself() -> None:
    assert meaning("rejected", "http_400") == "http_400"
    assert meaning("excluded", "no_contact") == "there is neither e-mail nor phone"
