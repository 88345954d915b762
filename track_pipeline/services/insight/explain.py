"""The history of an encounter in plain sentences: what was decided when, by which rule, and what must change.

This module decides nothing and names no patient. It describes the records of the ledger, and applies the rules again
if the lake still has the extracted row.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import date, datetime
from typing import Final

import polars as pl

from track_pipeline.adapters.lake import Lake
from track_pipeline.domain.channels import Channel
from track_pipeline.domain.contacts import mark_shared
from track_pipeline.domain.eligibility import ELIGIBILITY_RULES
from track_pipeline.domain.hospital import Hospital
from track_pipeline.domain.identity import with_cleaned_contacts
from track_pipeline.domain.outcomes import EXCLUDED, PLANNED, Deferral, Exclusion, OutcomeKind
from track_pipeline.domain.policy import Policy
from track_pipeline.domain.ruleset import Condition, Rule, RuleSet
from track_pipeline.domain.sends import SendState
from track_pipeline.domain.waves import INVITE, Wave, is_reminder
from track_pipeline.services.daily.extraction import extract_of
from track_pipeline.services.insight.meanings import DEFERRALS, EXCLUSIONS, meaning
from track_pipeline.services.insight.status import Story, StoryDecision

# The checks of a plan after eligibility, in order. The key names the check, the values are its reasons; a plan gives at
# most one reason about contacts.
_LATER_CHECKS: Final[Mapping[Exclusion, Sequence[Exclusion]]] = {
    Exclusion.NO_SURVEY: (Exclusion.NO_SURVEY,),
    Exclusion.NO_CONTACT: (
        *(Exclusion.OPTED_OUT, Exclusion.NO_CONSENT, Exclusion.SHARED_CONTACT, Exclusion.PLACEHOLDER_CONTACT),
        *(Exclusion.FOREIGN, Exclusion.INVALID_CONTACT, Exclusion.NO_CONTACT),
    ),
    **{
        reason: (reason,)
        for reason in (
            *(Exclusion.STALE, Exclusion.DUPLICATE_ENCOUNTER, Exclusion.ALREADY_ASKED, Exclusion.SAME_PERSON),
            *(Exclusion.QUARANTINE, Exclusion.SAMPLED_OUT),
        )
    },
}
_OF_PERSON: Final = frozenset(rule.reason for rule in ELIGIBILITY_RULES if rule.of_person)
_CODES_SHOWN: Final = 6


@dataclass(frozen=True)
class PathStep:
    """One check on the path of an encounter.

    step: `classification`, `eligibility`, `contact` or `plan`. result: `passed` (the rule did not hold), `took` (the
    rule matched), `excluded`, `possible` (this or another `possible` rule excluded it; the lake does not keep the codes
    that would tell) or `fact`.
    """

    step: str
    rule: str
    result: str
    text: str


@dataclass(frozen=True)
class Event:
    """A decision or send of the encounter; `at` is in the hospital's time zone, `by` is what decided it, or empty."""

    at: datetime
    text: str
    by: str = ""


@dataclass(frozen=True)
class Explanation:
    """An explained history: events oldest first, the path through the rules with a note on it, what must change."""

    outcome: str
    events: tuple[Event, ...]
    path: tuple[PathStep, ...]
    path_note: str
    change_needed: str


@dataclass(frozen=True)
class _Extracted:
    """An encounter as extracted; `holds` has the ids of the eligibility rules that exclude it."""

    database: str
    unit: str | None
    rule: str | None
    reason: str | None
    email_verdict: str
    phone_verdict: str
    holds: frozenset[str]


@dataclass(frozen=True)
class Explainer:
    """Explains the histories of encounters."""

    lake: Lake
    rules: Mapping[str, RuleSet]
    policy: Policy

    def explain(self, hospital: Hospital, story: Story) -> Explanation:
        """Return a history (`status.why`) in sentences. Raises LakeError when the extract is damaged."""
        outcome, change_needed = _outcome(hospital, story)
        path, note = self._path(hospital, story)
        happened = sorted(_events(self.rules[hospital.code], story), key=lambda event: event.at)
        events = tuple(replace(event, at=event.at.astimezone(hospital.zone)) for event in happened)
        return Explanation(outcome, events, tuple(path), note, change_needed)

    def _path(self, hospital: Hospital, story: Story) -> tuple[list[PathStep], str]:
        decisions = _decisions_that_count(story)
        if not decisions:
            return [], ""
        day = decisions[0].date
        row = self._row(hospital, day, decisions[0].database, story.encounter)
        if row is None:
            days = self.policy.retention_days
            return [], f"not available: the lake keeps extracts for {days} days, and {day} has no row of this encounter"
        path = [*_classification(hospital, self.rules[hospital.code], row, decisions)]
        if row.rule is not None:
            path += _eligibility(row) or [*_contacts_and_plan(row, decisions)]
        return path, self._note(story, path, decisions)

    def _row(self, hospital: Hospital, day: date, database: str, encounter: int) -> _Extracted | None:
        """Return the encounter as extracted, with the verdicts on its contacts and of each eligibility rule."""
        extract = extract_of(self.lake, hospital, day)
        if extract is None:
            return None
        judged = with_cleaned_contacts(extract, self.policy.placeholders)
        judged = mark_shared(judged, self.policy.eligibility.shared_contact_limit)
        found = judged.filter(pl.col("database") == database, pl.col("encounter_id") == encounter)
        verdicts = [
            rule.holds(self.policy.eligibility, hospital).fill_null(value=False).alias(rule.id)
            for rule in ELIGIBILITY_RULES
        ]
        columns = ("database", "unit", "rule", "reason", "email_verdict", "phone_verdict")
        rows = found.sort("rule", nulls_last=True).select(*columns, *verdicts)
        if rows.is_empty():
            return None
        row = rows.row(0, named=True)
        holds = frozenset(rule.id for rule in ELIGIBILITY_RULES if row[rule.id])
        return _Extracted(**{name: row[name] for name in columns}, holds=holds)

    def _note(self, story: Story, path: Sequence[PathStep], decisions: Sequence[StoryDecision]) -> str:
        """Return how the path may differ from the one applied at the time; empty when it cannot."""
        notes = []
        versions = [each.version for each in decisions if each.step == "invitation"]
        if versions and self.policy.version not in versions:
            notes.append(
                f"the policy was {versions[-1]} then and is {self.policy.version} now; the path uses the present one"
            )
        is_out = any(step.result == EXCLUDED for step in path)
        if is_out and not (story.outcome and story.outcome.kind == EXCLUDED):
            notes.append("the hospital's data or the policy has changed since; a sent or suppressed line stays so")
        return "; ".join(notes)


def _decisions_that_count(story: Story) -> list[StoryDecision]:
    """Return the decisions of extract and invitation on the most relevant hospital-day of the encounter."""
    decisions = [each for each in story.decisions if each.step in ("extract", "invitation")]
    if not decisions:
        return []
    most_relevant = max(
        decisions, key=lambda each: (each.result == PLANNED, each.reason != Exclusion.OTHER_DAY, each.date)
    )
    relevant = (most_relevant.date, most_relevant.database)
    return [each for each in decisions if (each.date, each.database) == relevant]


def _classification(
    hospital: Hospital, rules: RuleSet, row: _Extracted, decisions: Sequence[StoryDecision]
) -> Iterator[PathStep]:
    """Yield the hospital's rules in the order in which they are tried, up to the one that matched the encounter."""
    if row.unit is None:
        yield PathStep("classification", "", EXCLUDED, f"its company belongs to no unit of {hospital.code}")
        return
    extracted = [each for each in decisions if each.step == "extract"]
    if rules.version not in {each.version for each in extracted}:
        versions = f"{extracted[-1].version if extracted else 'unknown'} then, {rules.version} now"
        text = f"the rules have changed since ({versions}), so the rules tried before this one are unknown"
        yield _end_of_classification(row, text)
        return
    mine = [rule for rule in rules.rules if rule.database == (row.database if _is_other(rules, row) else None)]
    reason = None if row.rule else row.reason
    suspects = [exclusion for exclusion in rules.exclusions if exclusion.reason == reason]
    barring = [rule for rule in mine if reason is not None and any(bar.reason == reason for bar in rule.unless)]
    suspected = EXCLUDED if len(suspects) + len(barring) == 1 else "possible"
    for exclusion in rules.exclusions:
        result = suspected if exclusion in suspects else "passed"
        text = f"{exclusion.reason} in every area, when {_all_of(exclusion.when)}"
        yield PathStep("classification", "exclusion", result, text)
    for rule in mine:
        if rule.id == row.rule:
            yield PathStep("classification", rule.id, "took", _described(rule))
            return
        yield PathStep("classification", rule.id, suspected if rule in barring else "passed", _described(rule))
    yield _end_of_classification(row, "")


def _is_other(rules: RuleSet, row: _Extracted) -> bool:
    return row.database in rules.other_databases


def _end_of_classification(row: _Extracted, text: str) -> PathStep:
    if row.rule is not None:
        return PathStep("classification", row.rule, "took", text)
    meaning = EXCLUSIONS[Exclusion(str(row.reason))][0]
    return PathStep("classification", "", EXCLUDED, f"{meaning}; {text}" if text else meaning)


def _described(rule: Rule) -> str:
    unless = f"; unless {' or '.join(_condition(bar) for bar in rule.unless)}" if rule.unless else ""
    return f"{rule.area} on the day of {rule.day_of}, when {_all_of(rule.when)}{unless}"


def _all_of(conditions: Sequence[Condition]) -> str:
    return " and ".join(_condition(condition) for condition in conditions)


def _condition(condition: Condition) -> str:
    if condition.in_set is not None:
        return f"{condition.column} in {condition.in_set}"
    if condition.listed is not None:
        more = ", ..." if len(condition.listed) > _CODES_SHOWN else ""
        return f"{condition.column} in {', '.join(map(str, condition.listed[:_CODES_SHOWN]))}{more}"
    if condition.below is not None:
        return f"{condition.column} below {condition.below}"
    if condition.starts_with is not None:
        return f"{condition.column} starts with {condition.starts_with}"
    return f"{condition.column} is {condition.state}"


def _eligibility(row: _Extracted) -> list[PathStep]:
    """Return the eligibility rules up to the first that holds; an empty list when none holds."""
    ids = [rule.id for rule in ELIGIBILITY_RULES]
    holding = next((index for index, name in enumerate(ids) if name in row.holds), None)
    if holding is None:
        return []
    return [
        PathStep("eligibility", rule.id, EXCLUDED if index == holding else "passed", EXCLUSIONS[rule.reason][0])
        for index, rule in enumerate(ELIGIBILITY_RULES[: holding + 1])
    ]


def _contacts_and_plan(row: _Extracted, decisions: Sequence[StoryDecision]) -> Iterator[PathStep]:
    """Yield the path of an eligible encounter: its contacts, and the plan's checks up to the one that excluded it."""
    for rule in ELIGIBILITY_RULES:
        yield PathStep("eligibility", rule.id, "passed", EXCLUSIONS[rule.reason][0])
    verdicts = f"e-mail: {row.email_verdict}, phone: {row.phone_verdict}"
    yield PathStep("contact", "", "fact", verdicts)
    planned = [each for each in decisions if each.step == "invitation"]
    if not planned:
        return
    reason = planned[-1].reason
    if reason in _OF_PERSON:
        yield PathStep("plan", reason, EXCLUDED, "because of another encounter of the person")
        return
    for name, reasons in _LATER_CHECKS.items():
        if reason in reasons:
            yield PathStep("plan", reason, EXCLUDED, EXCLUSIONS[Exclusion(reason)][0])
            return
        yield PathStep("plan", str(name), "passed", EXCLUSIONS[name][0])


def _events(rules: RuleSet, story: Story) -> Iterator[Event]:
    for each in story.decisions:
        yield Event(each.at, _decision_text(rules, each), _decided_by(each))
    for send in story.sends:
        wave = Wave.parse(send.wave).label
        text = f"{wave} by {Channel(send.channel).label}: {_state_text(send.state, send.reason)}"
        yield Event(send.at, text, f"send {send.send_id}")
        if send.answered_at:
            yield Event(send.answered_at, f"answered the {wave}")


def _decided_by(decision: StoryDecision) -> str:
    kind = {"extract": "rules", "invitation": "policy"}.get(decision.step)
    version = f"{kind} {decision.version}" if kind and decision.version else ""
    return ", ".join(filter(None, [decision.rule, version]))


def _decision_text(rules: RuleSet, decision: StoryDecision) -> str:
    step, result = decision.step, decision.result
    why = meaning(result, decision.reason)
    if step == "extract":
        area = next((f", area {rule.area}" for rule in rules.rules if rule.id == decision.rule), "")
        return f"extracted for {decision.date}{f', in no area: {why}' if result == EXCLUDED else area}"
    if step == "invitation":
        return f"excluded: {why}" if result == EXCLUDED else "planned"
    if step == "resolve":
        return f"resolved by an operator as {result.replace('_', ' ')}: {why}"
    wave = Wave.parse(step) if is_reminder(step) else INVITE
    return f"{wave.label} waits: {why}" if result == OutcomeKind.DEFERRED else f"no {wave.label}: {why}"


def _state_text(state: str, reason: str) -> str:
    why = f" ({reason})" if reason else ""
    return {
        SendState.SENT: "Track.co accepted it",
        SendState.REJECTED: f"Track.co refused it{why}",
        SendState.UNKNOWN: f"its outcome is unknown{why}",
        SendState.CLAIMED: "being sent, or its process ended before it recorded the outcome",
    }[SendState(state)]


def _outcome(hospital: Hospital, story: Story) -> tuple[str, str]:
    """Return the outcome of the encounter as text, and what must change for it to be sent."""
    code, number, found = hospital.code, story.encounter, story.outcome
    if found is None:
        return "never extracted", f"Extract the day of the encounter, and check that the number belongs to {code}."
    why = meaning(found.kind, found.reason)
    refused = f"Track.co refused it ({found.reason})"
    settle = f"Look for it at Track.co: track resolve {code} {number} sent closes it, not_sent allows a new send."
    texts: dict[OutcomeKind, Callable[[], tuple[str, str]]] = {
        OutcomeKind.EXCLUDED: lambda: (f"excluded: {why}", EXCLUSIONS[Exclusion(found.reason)][1]),
        OutcomeKind.SENT: lambda: ("sent", "Nothing: it was sent, and no patient is invited twice for it."),
        OutcomeKind.REJECTED: lambda: (refused, "Nothing: what Track.co refused is not sent again."),
        OutcomeKind.UNKNOWN: lambda: ("its outcome is unknown", settle),
        OutcomeKind.DEFERRED: lambda: (f"deferred: {why}", DEFERRALS[Deferral(found.reason)][1]),
        OutcomeKind.SUPPRESSED: lambda: (f"suppressed: {why}", "Nothing: a suppressed line is never sent."),
    }
    outcome, needed = texts[found.kind]()
    return outcome, needed.replace("{hospital}", code)
