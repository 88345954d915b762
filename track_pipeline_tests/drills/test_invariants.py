"""The checks of the drills: correct evidence passes, and each violation that a test adds is found."""

from collections.abc import Callable
from dataclasses import replace

import pytest

from track_pipeline.domain.funnel import Funnel
from track_pipeline_tests.support.drills.invariants import (
    End,
    Evidence,
    OptOut,
    Row,
    Send,
    violations,
    violations_of_calm,
    violations_of_reconciled,
    violations_of_reminded,
)
from track_pipeline_tests.support.drills.remembering_track import Accepted

DAY, AREA, WAVE = "2025-03-10", "internacao", "reminder_7d"


def evidence() -> Evidence:
    """A day in order: 1 was sent by e-mail and has a link beside, 2 is unknown, 3 was refused, 4 waits, 5 has died."""
    return Evidence(
        accepted=[
            Accepted(1, "survey", "email", "invite", "one"),
            Accepted(1, "survey", "link", "invite", "link"),
            Accepted(2, "survey", "whatsapp", "invite", "two"),
        ],
        refused={"three"},
        sends=[
            Send("one", 1, "survey", "email", "invite", "sent", "calm"),
            Send("link", 1, "survey", "link", "invite", "sent", "calm", extra=True),
            Send("two", 2, "survey", "whatsapp", "invite", "claimed", "killed"),
            Send("three", 3, "survey", "email", "invite", "rejected", "calm"),
        ],
        rows=[
            Row(1, DAY, AREA, "planned"),
            Row(2, DAY, AREA, "planned"),
            Row(3, DAY, AREA, "planned"),
            Row(4, DAY, AREA, "planned", held="deferred:window"),
            Row(5, DAY, AREA, "excluded", "deceased"),
        ],
        funnels=[
            Funnel(
                DAY, "HMS", AREA, extracted=5, excluded=1, planned=4, sent=1, rejected=1, unknown=1, deferred=1,
                excluded_by={"deceased": 1},
            )
        ],
        extracted={(DAY, AREA): frozenset(range(1, 6))},
        people={number: f"person {number}" for number in range(1, 6)},
        calm={"calm"},
    )  # fmt: skip


def found(law: Callable[[Evidence], list[str]], seen: Evidence) -> str:
    """What a law has to say, as one text."""
    return "\n".join(law(seen))


def with_funnel(seen: Evidence, **numbers: int) -> Evidence:
    return replace(seen, funnels=[replace(seen.funnels[0], **numbers)])  # type: ignore[arg-type]


def test_a_day_in_order_breaks_no_law() -> None:
    assert violations(evidence()) == []


# --- nobody twice ---------------------------------------------------------------------------------------------------


def test_a_send_accepted_twice_is_caught() -> None:
    seen = evidence()
    seen.accepted.append(replace(seen.accepted[0], send_id="once more"))
    assert "accepted 2 times: (1, 'survey', 'email', 'invite')" in found(violations, seen)


def test_the_very_same_line_accepted_twice_is_caught() -> None:
    seen = evidence()
    seen.accepted.append(seen.accepted[0])
    assert "accepted 2 times" in found(violations, seen)


def test_an_encounter_asked_by_a_second_channel_is_caught() -> None:
    seen = evidence()
    seen.accepted.append(Accepted(1, "survey", "whatsapp", "invite", "again"))
    seen.sends.append(Send("again", 1, "survey", "whatsapp", "invite", "sent"))
    told = found(violations, seen)
    assert "encounter written to 2 times" in told
    assert "encounter 1 has 2 standing invitations" in told


def test_a_person_asked_about_two_encounters_is_caught() -> None:
    seen = evidence()
    seen.people[2] = seen.people[1]
    assert "one person invited 2 times: person 1" in found(violations, seen)


def test_two_reminders_are_enough() -> None:
    seen = evidence()
    for number, wave in enumerate((WAVE, "reminder_14d", "reminder_21d")):
        assert violations(seen) == []
        seen.accepted.append(Accepted(1, "survey", "whatsapp", wave, f"again {number}"))
        seen.sends.append(Send(f"again {number}", 1, "survey", "whatsapp", wave, "sent"))
    assert violations(seen) == ["encounter 1 reminded 3 times"]


# --- nobody in silence, nobody lost ----------------------------------------------------------------------------------


def test_a_send_that_the_ledger_knows_nothing_of_is_caught() -> None:
    seen = evidence()
    seen.accepted.append(Accepted(4, "survey", "email", "invite", "silent"))
    assert "the ledger knows nothing of it" in found(violations, seen)


@pytest.mark.parametrize("change", [{"survey": "another"}, {"encounter": 4}, {"channel": "email"}, {"wave": WAVE}])
def test_a_send_that_the_ledger_keeps_as_something_else_is_caught(change: dict[str, str]) -> None:
    seen = evidence()
    seen.sends[2] = replace(seen.sends[2], **change)  # type: ignore[arg-type]
    assert "accepted as" in found(violations, seen)


def test_a_send_that_was_accepted_and_is_called_rejected_is_caught() -> None:
    seen = evidence()
    seen.sends[2] = replace(seen.sends[2], state="rejected")
    assert "the ledger calls it rejected" in found(violations, seen)


def test_a_send_that_is_called_sent_and_was_never_accepted_is_caught() -> None:
    seen = evidence()
    del seen.accepted[0]
    assert "called sent, and never accepted" in found(violations, seen)


def test_a_rejection_that_nobody_pronounced_is_caught() -> None:
    assert "called rejected, and never refused" in found(violations, replace(evidence(), refused=set()))


def test_a_lost_row_is_caught() -> None:
    seen = evidence()
    del seen.rows[3]
    assert "of 5 rows of ('2025-03-10', 'internacao') the ledger has 4" in found(violations, seen)


def test_a_stranger_in_the_place_of_a_lost_row_is_caught() -> None:
    seen = evidence()
    seen.rows[3] = replace(seen.rows[3], encounter=44)
    assert "differ in [4, 44]" in found(violations, seen)


@pytest.mark.parametrize("reason", ["deceased", "unclassified"])
def test_a_line_whose_row_says_that_nobody_was_to_be_asked_is_caught(reason: str) -> None:
    seen = evidence()
    seen.rows[0] = replace(seen.rows[0], result="excluded", reason=reason)
    assert f"accepted, and its row says excluded:{reason}" in found(violations, seen)
    seen.rows[0] = replace(seen.rows[0], reason="already_asked")
    assert violations(seen) == []


def test_a_line_of_somebody_else_is_caught() -> None:
    seen = evidence()
    seen.accepted[0] = replace(seen.accepted[0], cpf="person 1")
    assert violations(seen) == []
    seen.accepted[0] = replace(seen.accepted[0], cpf="person 2")
    assert "a line of somebody else" in found(violations, seen)


@pytest.mark.parametrize("held", ["suppressed:", "deferred:because", "suppressed:gate of heaven"])
def test_a_reason_that_is_none_is_caught(held: str) -> None:
    seen = evidence()
    seen.rows[3] = replace(seen.rows[3], held=held)
    assert f"encounter 4 has no outcome but {held!r}" in found(violations, seen)


def test_an_open_funnel_is_caught() -> None:
    assert "does not close" in found(violations, with_funnel(evidence(), deferred=0))


def test_a_funnel_that_closes_on_the_wrong_numbers_is_caught() -> None:
    assert "its rows" in found(violations, with_funnel(evidence(), sent=2, unknown=0))


def test_a_missing_funnel_is_caught() -> None:
    assert "the funnel 0" in found(violations, replace(evidence(), funnels=[]))


def test_a_row_without_a_name_is_caught() -> None:
    seen = evidence()
    seen.rows[3] = replace(seen.rows[3], held="somewhere")
    seen.rows[4] = replace(seen.rows[4], reason="")
    told = found(violations, seen)
    assert "encounter 4 has no outcome but 'somewhere'" in told
    assert "encounter 5 is excluded without a reason" in told


# --- nobody who said no, no error without a word ----------------------------------------------------------------------


@pytest.mark.parametrize("channel", ["all", "email"])
def test_a_line_to_somebody_who_has_opted_out_is_caught(channel: str) -> None:
    seen = replace(evidence(), opt_outs=[OptOut("person 1", channel, before=0)])
    assert f"opted out of {channel}" in found(violations, seen)


@pytest.mark.parametrize("opt_out", [OptOut("person 1", "whatsapp", 0), OptOut("person 1", "all", 3)])
def test_another_channel_and_a_later_no_are_no_offence(opt_out: OptOut) -> None:
    assert violations(replace(evidence(), opt_outs=[opt_out])) == []


@pytest.mark.parametrize("word", ["answered", "died"])
def test_a_reminder_after_the_end_is_caught(word: str) -> None:
    seen = replace(evidence(), ends=[End(1, word, before=3), End(2, word, before=3)])
    assert violations(seen) == []

    seen.accepted.append(Accepted(1, "survey", "whatsapp", WAVE, "late"))
    seen.sends.append(Send("late", 1, "survey", "whatsapp", WAVE, "sent"))
    assert f"accepted after the person had {word}" in found(violations, seen)


def test_an_error_that_tells_the_operator_nothing_is_caught() -> None:
    assert "KeyError" in found(violations, replace(evidence(), faults=["KeyError: 'unit'"]))


# --- after the faults -------------------------------------------------------------------------------------------------


def test_what_still_waits_after_a_calm_run_is_caught() -> None:
    assert found(violations_of_calm, evidence()) == "encounter 4 still waits: deferred:window"


def test_a_calm_run_that_leaves_something_unknown_is_caught() -> None:
    seen = evidence()
    seen.sends[2] = replace(seen.sends[2], run_id="calm")
    assert "send two of a calm run is claimed" in found(violations_of_calm, seen)


def test_who_was_never_asked_is_caught_in_the_end() -> None:
    told = found(violations_of_reconciled, evidence())
    assert "encounter 4 was planned, and its person never asked" in told
    assert "send two is still claimed" in told
    assert told.count("\n") == 1


def test_a_link_beside_an_invitation_asks_nobody() -> None:
    seen = evidence()
    del seen.accepted[0]
    assert "encounter 1 was planned, and its person never asked" in found(violations_of_reconciled, seen)


def test_who_is_neither_reminded_nor_named_is_caught() -> None:
    seen = evidence()
    assert "encounter 1: nobody says why" in "\n".join(violations_of_reminded(seen, WAVE))

    seen.noted.add((1, WAVE))
    assert violations_of_reminded(seen, WAVE) == []
