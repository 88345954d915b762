"""The reactions of the demo's patients: the same for the same seed, in the configured shares."""

import subprocess
import sys
from collections import Counter
from datetime import UTC, datetime, timedelta

import pytest

from track_pipeline.demo.feedback import Feedback, Recipient
from track_pipeline.demo.respondents import AnswerModel, Reaction

MODEL = AnswerModel(seed=1)
MANY = [f"s-{number}" for number in range(5_000)]


def reactions(model: AnswerModel, channel: str = "email", *, reminder: bool = False) -> list[Reaction]:
    return [model.reaction(send_id, channel, reminder=reminder) for send_id in MANY]


def share(model: AnswerModel, channel: str, *, reminder: bool = False) -> float:
    kinds = Counter(reaction.kind for reaction in reactions(model, channel, reminder=reminder))
    return (kinds["answered"] + kinds["partial"]) / len(MANY)


def test_the_same_seed_and_send_id_react_the_same_in_any_process() -> None:
    program = (
        "from track_pipeline.demo.respondents import AnswerModel\n"
        "print([AnswerModel(1).reaction(f's-{n}', 'email', reminder=False) for n in range(50)])"
    )
    told = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True).stdout
    assert told.strip() == repr(reactions(MODEL)[:50])


def test_another_seed_is_another_population() -> None:
    assert reactions(MODEL) != reactions(AnswerModel(seed=2))


def test_a_changed_rate_changes_nobody_else() -> None:
    before, after = reactions(MODEL), reactions(AnswerModel(seed=1, bounce_rate=0.2))
    assert all(now == then or now.kind == "bounced" for then, now in zip(before, after, strict=True))


@pytest.mark.parametrize(
    ("channel", "reminder", "expected"),
    [("email", False, 0.24), ("whatsapp", False, 0.34), ("link", False, 0.25), ("email", True, 0.48)],
)
def test_response_rates_are_those_of_the_channel_and_twice_as_high_for_a_reminder(
    channel: str, reminder: bool, expected: float
) -> None:
    assert share(MODEL, channel, reminder=reminder) == pytest.approx(expected, abs=0.03)


def test_scores_are_those_of_a_good_hospital() -> None:
    scores = [reaction.score for reaction in reactions(MODEL) if reaction.score is not None]
    assert sum(score >= 9 for score in scores) / len(scores) == pytest.approx(0.60, abs=0.05)
    assert sum(score <= 6 for score in scores) / len(scores) == pytest.approx(0.15, abs=0.05)
    assert set(scores) == set(range(11))


def test_nobody_reacts_at_once_or_after_the_survey_has_ended() -> None:
    delays = [reaction.after for reaction in reactions(MODEL) if reaction.kind != "bounced"]
    assert timedelta(minutes=10) <= min(delays) < max(delays) <= timedelta(days=13)


def test_links_neither_bounce_nor_are_opted_out_of() -> None:
    model = AnswerModel(seed=1, bounce_rate=1, opt_out_rate=1)
    assert {reaction.kind for reaction in reactions(model, "link")} <= {"silent", "answered", "partial"}


def test_a_second_message_about_the_same_visit_is_a_reminder_and_a_link_is_not() -> None:
    at = datetime(2026, 3, 2, tzinfo=UTC)
    reached = []
    for first in ("email", "link"):
        feedback = Feedback(AnswerModel(seed=1, response_rate=0.3))
        for wave, channel in (("a", first), ("b", "email")):
            for number in range(1_000):
                line = {"send_id": f"{wave}-{number}", "cd_atendimento": number}
                feedback.accept(Recipient("org-1", wave, "survey-1", channel, line, at))
        shown = feedback.answers_shown("org-1", None, at + timedelta(days=14))
        reached.append(sum(each["attributes"]["send_id"].startswith("b") for each in shown))

    assert reached[0] == pytest.approx(2 * reached[1], rel=0.15)
