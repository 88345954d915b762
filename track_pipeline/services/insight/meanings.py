"""What the reasons of outcomes mean, in plain words, and what would have to be otherwise for an encounter to be sent.

One sentence per word of `domain.outcomes`; who uses them puts the capital letter and the full stop.
"""

from collections.abc import Mapping
from typing import Final

from track_pipeline.domain.outcomes import Deferral, Exclusion, Outcome, OutcomeKind, Suppression, Withheld

# Why somebody is not asked, and what would have to be otherwise. `{hospital}` is the hospital's code.
EXCLUSIONS: Final[Mapping[Exclusion, tuple[str, str]]] = {
    Exclusion.CANCELLED: (
        "the hospital cancelled the visit",
        "The hospital would have to take the cancellation back; then extract the day again.",
    ),
    Exclusion.OTHER_DAY: (
        "a rule takes it, but by the date that decides (attendance or discharge) it is not of this day",
        "Nothing on this day: it is asked about on the day of its deciding date, once the hospital has typed it.",
    ),
    Exclusion.UNCLASSIFIED: (
        "no rule of the hospital takes it",
        "A rule in rules/{hospital}.toml would have to take it (see track plan --rules), or the codes be mended.",
    ),
    Exclusion.DECEASED: (
        "the patient died, say the discharge motive, the result or the death flag, of this encounter or another one",
        "Nothing should. If the hospital typed it wrongly and corrects it, extract the day again.",
    ),
    Exclusion.NEWBORN: (
        "it is a newborn's own encounter",
        "Nothing: the mother is asked about hers.",
    ),
    Exclusion.MINOR: (
        "the patient is a minor",
        'The contacts would have to be guardians\', and hospitals.toml say so: minors = "guardian_contact".',
    ),
    Exclusion.OBSTETRIC_LOSS: (
        "the diagnosis, of this encounter or another one of the day, is an obstetric loss",
        "Nothing should, unless obstetric_loss_cid in policy.toml is wrong.",
    ),
    Exclusion.PSYCHIATRIC: (
        "the principal diagnosis, of this encounter or another one of the day, is psychiatric",
        "psychiatric_cid in policy.toml would have to leave the diagnosis out.",
    ),
    Exclusion.CUSTODY: (
        "the diagnosis, of this encounter or another one of the day, codes imprisonment",
        "custody_cid in policy.toml would have to leave the diagnosis out.",
    ),
    Exclusion.TEST_PATIENT: (
        "the name is that of a test patient",
        "test_patient_words in policy.toml would have to leave the word out, or the hospital to correct the name.",
    ),
    Exclusion.NO_SURVEY: (
        "its unit has no survey for its area",
        "The unit's survey would have to be in hospitals.toml and in the file of TRACK_SURVEYS_FILE.",
    ),
    Exclusion.OPTED_OUT: (
        "the person does not want to be written to",
        "Only the person can: track opt-out remove, when they ask for it.",
    ),
    Exclusion.SHARED_CONTACT: (
        "too many patients of that day have the contact (shared_contact_limit in policy.toml): it is nobody's own",
        "The front desk would have to register a contact of the patient's own.",
    ),
    Exclusion.PLACEHOLDER_CONTACT: (
        "the contact is one that front desks type when there is none",
        "The front desk would have to register a real contact.",
    ),
    Exclusion.FOREIGN: (
        "the telephone is not Brazilian, and there is no usable e-mail",
        "The front desk would have to register an e-mail or a Brazilian mobile.",
    ),
    Exclusion.INVALID_CONTACT: (
        "neither e-mail nor telephone can be written to: mistyped, or a landline",
        "The front desk would have to correct the e-mail or register a mobile.",
    ),
    Exclusion.NO_CONTACT: (
        "there is neither e-mail nor telephone",
        "The front desk would have to register a contact, or hospitals.toml give personal links (links).",
    ),
    Exclusion.NO_CONSENT: (
        "there is only a mobile, and no evidence that the person agreed to WhatsApp",
        "Evidence would have to be brought in: track consent import.",
    ),
    Exclusion.STALE: (
        "the day was older than max_age_days in hospitals.toml when the plan was made",
        "Nothing any more: the visit is too long ago.",
    ),
    Exclusion.DUPLICATE_ENCOUNTER: (
        "another row of the same encounter is asked",
        "Nothing: the encounter is asked once.",
    ),
    Exclusion.ALREADY_ASKED: (
        "it was asked under another day or area",
        "Nothing: it was asked.",
    ),
    Exclusion.SAME_PERSON: (
        "the same person is asked about another encounter of that day",
        "Nothing: a person is asked once a day, about the encounter that goes first.",
    ),
    Exclusion.QUARANTINE: (
        "the person was invited, or answered, too short a time ago ([quarantine] in policy.toml)",
        "The last invitation or answer would have to be longer ago, or the cooldowns in policy.toml shorter.",
    ),
    Exclusion.SAMPLED_OUT: (
        "it was not drawn: the hospital asks a sample",
        "sample in hospitals.toml would have to be larger.",
    ),
}

# Why a planned line waits, and what it waits for.
DEFERRALS: Final[Mapping[Deferral, tuple[str, str]]] = {
    Deferral.NOT_DISPATCHED: ("its dispatch has not run yet", "Materialise the dispatch of its area and channel."),
    Deferral.DRY_RUN: ("TRACK_DISPATCH is dry-run", "Set TRACK_DISPATCH=live; the next dispatch sends it."),
    Deferral.WINDOW: ("the send window was closed", "Nothing to do: it goes when the window opens."),
    Deferral.PAUSED: ("sending is paused", "End the pause (track pause list, track pause remove); then it goes."),
    Deferral.BUDGET: ("the request budget was used up", "Nothing to do: the sweep sends it."),
    Deferral.BUSY: ("Track.co was busy", "Run the dispatch again; the sweep does it too."),
    Deferral.UNREACHABLE: ("Track.co could not be reached", "Run the dispatch again once Track.co answers."),
    Deferral.TOKEN_REFUSED: ("Track.co refused the token", "Put a valid API_TOKEN, then run the dispatch again."),
    Deferral.THROTTLED: (
        "Track.co throttled all sending (405)",
        "Solve the captcha at Track.co, then track pause remove all.",
    ),
    Deferral.GATE: (
        "a gate held the whole partition back",
        "Look at what the dispatch's message says; if the day is right, run it with approve_gates and a reason.",
    ),
}

# Why a planned line was dropped at the moment of sending; that is for good.
SUPPRESSIONS: Final[Mapping[Suppression, str]] = {
    Suppression.OPTED_OUT: "the person had opted out by then",
    Suppression.QUARANTINE: "the person had been invited for another encounter by then",
    Suppression.ALREADY_ASKED: "the encounter had been asked by then",
    Suppression.STALE: "the visit was too long ago by then (max_age_days in hospitals.toml)",
    Suppression.ANSWERED: "the encounter had been answered by then",
    Suppression.DECEASED: "the patient was known to have died by then",
    Suppression.TOO_MANY: "the encounter has had all the reminders it may get",
}
WITHHELD: Final[Mapping[Withheld, str]] = {
    Withheld.ANSWERED: "the survey has been answered",
    Withheld.OPTED_OUT: "the person has opted out since",
    Withheld.DECEASED: "the patient has died since",
    Withheld.RETURNED: "the person has come back to a hospital since",
    Withheld.BOUNCED: "the messages did not arrive",
    Withheld.TRACKS_OWN: "Track.co reminds this hospital's patients itself",
    Withheld.LATE: "it was too late for it (catch_up_days in policy.toml)",
    Withheld.TOO_SOON: "the other reminder had just gone",
    Withheld.NO_CONTACT: "there was no usable contact in the lake any more",
}

_MEANINGS: Final[Mapping[OutcomeKind, Mapping[str, str]]] = {
    OutcomeKind.EXCLUDED: {reason.value: meaning for reason, (meaning, _) in EXCLUSIONS.items()},
    OutcomeKind.DEFERRED: {reason.value: meaning for reason, (meaning, _) in DEFERRALS.items()},
    OutcomeKind.SUPPRESSED: {
        **{reason.value: meaning for reason, meaning in WITHHELD.items()},
        **{reason.value: meaning for reason, meaning in SUPPRESSIONS.items()},
    },
}


def meaning(kind: str, reason: str) -> str:
    """The meaning of a reason of what was excluded, deferred or suppressed; the reason itself where it has none."""
    return _MEANINGS[OutcomeKind(kind)].get(reason, reason) if kind in _MEANINGS else reason


def meaning_of(text: str) -> str:
    """The meaning of a printed outcome, such as `excluded:no_contact`; empty where it has none, or is no outcome."""
    try:
        outcome = Outcome.parse(text)
    except ValueError:
        return ""
    return _MEANINGS.get(outcome.kind, {}).get(outcome.reason, "")
