"""Meanings of the reasons of outcomes, and what must change for an encounter to be sent.

One text per reason of `domain.outcomes`. Meanings start in lower case and have no full stop; the caller adds them.
"""

from collections.abc import Mapping
from typing import Final

from track_pipeline.domain.outcomes import Deferral, Exclusion, Outcome, OutcomeKind, Suppression, Withheld

# Why an encounter is excluded, and what must change for it to be planned. `{hospital}` is the hospital's code.
EXCLUSIONS: Final[Mapping[Exclusion, tuple[str, str]]] = {
    Exclusion.CANCELLED: (
        "the hospital cancelled the encounter",
        "The hospital must undo the cancellation; then extract the day again.",
    ),
    Exclusion.OTHER_DAY: (
        "a rule matches it, but the date that counts (attendance or discharge) is not this day",
        "Nothing on this day: it belongs to the day of that date, once the hospital has entered the date.",
    ),
    Exclusion.UNCLASSIFIED: (
        "no rule of the hospital matches it",
        "A rule in rules/{hospital}.toml must match it (try: track plan --rules), or the codes must be corrected.",
    ),
    Exclusion.DECEASED: (
        "the patient died, by the discharge motive, the result or the death flag of this or another encounter",
        "Nothing. If the hospital recorded the death by mistake and corrects it, extract the day again.",
    ),
    Exclusion.NEWBORN: (
        "it is a newborn's own encounter",
        "Nothing: the mother is invited for her own encounter.",
    ),
    Exclusion.MINOR: (
        "the patient is a minor",
        'The contacts must be those of guardians, and hospitals.toml must have minors = "guardian_contact".',
    ),
    Exclusion.OBSTETRIC_LOSS: (
        "the diagnosis of this encounter, or of another one of the person that day, is an obstetric loss",
        "Nothing, unless obstetric_loss_cid in policy.toml is wrong.",
    ),
    Exclusion.PSYCHIATRIC: (
        "the principal diagnosis of this encounter, or of another one of the person that day, is psychiatric",
        "psychiatric_cid in policy.toml must no longer include the diagnosis.",
    ),
    Exclusion.CUSTODY: (
        "the diagnosis of this encounter, or of another one of the person that day, is a code for imprisonment",
        "custody_cid in policy.toml must no longer include the diagnosis.",
    ),
    Exclusion.TEST_PATIENT: (
        "the name is that of a test patient",
        "test_patient_words in policy.toml must no longer include the word, or the hospital must correct the name.",
    ),
    Exclusion.NO_SURVEY: (
        "its unit has no survey for its area",
        "The unit's survey must be in hospitals.toml and in the file that TRACK_SURVEYS_FILE names.",
    ),
    Exclusion.OPTED_OUT: (
        "the person opted out",
        "The person must ask to be contacted again; then run track opt-out remove.",
    ),
    Exclusion.SHARED_CONTACT: (
        "too many patients of that day share the contact (shared_contact_limit in policy.toml)",
        "The front desk must register the patient's own contact.",
    ),
    Exclusion.PLACEHOLDER_CONTACT: (
        "the contact is a placeholder that front desks type when the patient has none",
        "The front desk must register a real contact.",
    ),
    Exclusion.FOREIGN: (
        "the phone is not Brazilian, and there is no usable e-mail",
        "The front desk must register an e-mail or a Brazilian mobile.",
    ),
    Exclusion.INVALID_CONTACT: (
        "neither the e-mail nor the phone is usable: mistyped, or a landline",
        "The front desk must correct the e-mail or register a mobile.",
    ),
    Exclusion.NO_CONTACT: (
        "there is neither e-mail nor phone",
        "The front desk must register a contact, or hospitals.toml must turn on personal links (links).",
    ),
    Exclusion.NO_CONSENT: (
        "there is only a mobile, and no evidence that the person agreed to WhatsApp",
        "The evidence must be imported: track consent import.",
    ),
    Exclusion.STALE: (
        "the day was older than max_age_days in hospitals.toml when the plan was made",
        "Nothing: the encounter is too old.",
    ),
    Exclusion.DUPLICATE_ENCOUNTER: (
        "another row of the same encounter is planned",
        "Nothing: an encounter is sent once.",
    ),
    Exclusion.ALREADY_ASKED: (
        "it was sent under another day or area",
        "Nothing: it was sent.",
    ),
    Exclusion.SAME_PERSON: (
        "the same person is invited for another encounter of that day",
        "Nothing: a person is invited once a day, for the encounter with the highest priority.",
    ),
    Exclusion.QUARANTINE: (
        "the person was invited or answered too recently ([quarantine] in policy.toml)",
        "The last invitation or answer must be older, or the quarantine in policy.toml shorter.",
    ),
    Exclusion.SAMPLED_OUT: (
        "it was not drawn: the hospital invites a sample",
        "sample in hospitals.toml must be larger.",
    ),
}

# Why a planned line is deferred, and what it needs.
DEFERRALS: Final[Mapping[Deferral, tuple[str, str]]] = {
    Deferral.NOT_DISPATCHED: ("its dispatch has not run yet", "Materialise the dispatch of its area and channel."),
    Deferral.DRY_RUN: ("TRACK_DISPATCH is dry-run", "Set TRACK_DISPATCH=live; the next dispatch sends it."),
    Deferral.WINDOW: ("the send window was closed", "Nothing: it is sent when the window opens."),
    Deferral.PAUSED: ("sending is paused", "End the pause (track pause list, track pause remove); then it is sent."),
    Deferral.BUDGET: ("the request budget was used up", "Nothing: the sweep sends it."),
    Deferral.BUSY: ("Track.co was busy", "Run the dispatch again; the sweep also does it."),
    Deferral.UNREACHABLE: ("Track.co could not be reached", "Run the dispatch again once Track.co answers."),
    Deferral.TOKEN_REFUSED: ("Track.co refused the token", "Set a valid API_TOKEN, then run the dispatch again."),
    Deferral.THROTTLED: (
        "Track.co throttled all sending (405)",
        "Solve the captcha at Track.co, then run track pause remove all.",
    ),
    Deferral.GATE: (
        "a gate held back the whole partition",
        "Read the message of the dispatch; if the day is right, run it with approve_gates and a reason.",
    ),
}

# Why a planned line was suppressed when it was due to be sent. A suppressed line is never sent.
SUPPRESSIONS: Final[Mapping[Suppression, str]] = {
    Suppression.OPTED_OUT: "the person had opted out by then",
    Suppression.QUARANTINE: "the person had been invited for another encounter by then",
    Suppression.ALREADY_ASKED: "the encounter had been sent by then",
    Suppression.STALE: "the encounter was too old by then (max_age_days in hospitals.toml)",
    Suppression.ANSWERED: "the encounter had been answered by then",
    Suppression.DECEASED: "the patient was known to have died by then",
    Suppression.TOO_MANY: "the encounter already has the maximum number of reminders",
}
# Why a reminder is withheld.
WITHHELD: Final[Mapping[Withheld, str]] = {
    Withheld.ANSWERED: "the survey has been answered",
    Withheld.OPTED_OUT: "the person has opted out since",
    Withheld.DECEASED: "the patient has died since",
    Withheld.RETURNED: "the person has returned to a hospital since",
    Withheld.BOUNCED: "the messages did not arrive",
    Withheld.TRACKS_OWN: "Track.co sends the reminders of this hospital itself",
    Withheld.LATE: "it was too late for it (catch_up_days in policy.toml)",
    Withheld.TOO_SOON: "the other reminder was sent just before",
    Withheld.NO_CONTACT: "the lake no longer had a usable contact",
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
    """Return the meaning of a reason of an excluded, deferred or suppressed outcome; else the reason itself."""
    return _MEANINGS[OutcomeKind(kind)].get(reason, reason) if kind in _MEANINGS else reason


def meaning_of(text: str) -> str:
    """Return the meaning of a printed outcome, such as `excluded:no_contact`; empty for any other text."""
    try:
        outcome = Outcome.parse(text)
    except ValueError:
        return ""
    return _MEANINGS.get(outcome.kind, {}).get(outcome.reason, "")
