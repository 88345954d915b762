"""The invariants of every run, with any fault: compare the server's record with ledger, plan and funnel.

The functions here only judge the evidence. `scene` reads it, independent of the package.
"""

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Final

from track_pipeline.domain.funnel import Funnel
from track_pipeline.domain.outcomes import PLANNED_KINDS, Deferral, Exclusion, Suppression
from track_pipeline_tests.support.drills.remembering_track import Accepted

# The states of a send that may have reached the person. The funnel counts them as `unknown`.
OPEN: Final = ("claimed", "unknown")
MOST_REMINDERS: Final = 2
_REASONS: Final = frozenset([*Deferral, *Suppression])


@dataclass(frozen=True)
class Send:
    """A row of the ledger's `sends`. `day` is the date of the encounter's partition; empty matches any."""

    send_id: str
    encounter: int
    survey: str
    channel: str
    wave: str
    state: str
    run_id: str = ""
    extra: bool = False
    day: str = ""

    @property
    def what(self) -> tuple[int, str, str, str]:
        """The identity of the send: encounter, survey, channel, wave."""
        return (self.encounter, self.survey, self.channel, self.wave)


@dataclass(frozen=True)
class Row:
    """A row of the ledger's `encounters`. `held` is the outcome of a line that was not claimed."""

    encounter: int
    day: str
    area: str
    result: str
    reason: str = ""
    held: str = ""


@dataclass(frozen=True)
class OptOut:
    """The opt-out of a person from a channel (or `all`), recorded when `before` lines had been accepted."""

    cpf: str
    channel: str
    before: int


@dataclass(frozen=True)
class End:
    """The end of the messages for an encounter, when `before` lines had been accepted: `answered` or `died`."""

    encounter: int
    word: str
    before: int


@dataclass
class Evidence:
    """The state of ledger, lake and server after a run.

    people: encounter to CPF, of every person who was extracted.
    extracted: encounters of the extracts by day and area.
    calm: runs without faults.
    noted: (encounter, reminder wave) with an entry in the journal.
    faults: exceptions that are not errors of the package.
    """

    accepted: list[Accepted] = field(default_factory=list)
    refused: set[str] = field(default_factory=set)
    sends: list[Send] = field(default_factory=list)
    rows: list[Row] = field(default_factory=list)
    funnels: list[Funnel] = field(default_factory=list)
    extracted: dict[tuple[str, str], frozenset[int]] = field(default_factory=dict)
    people: dict[int, str] = field(default_factory=dict)
    opt_outs: list[OptOut] = field(default_factory=list)
    ends: list[End] = field(default_factory=list)
    calm: set[str] = field(default_factory=set)
    noted: set[tuple[int, str]] = field(default_factory=set)
    faults: list[str] = field(default_factory=list)

    def invitations(self) -> dict[int, list[Send]]:
        """Return the invitations of each encounter, without extra links."""
        found: dict[int, list[Send]] = {}
        for send in self.sends:
            if send.wave == "invite" and not send.extra:
                found.setdefault(send.encounter, []).append(send)
        return found


def violations(seen: Evidence) -> list[str]:
    """Return the violations after any run.

    Each person is invited at most once, ledger and server agree, each line is of the right person, no line follows an
    opt-out, an answer or a death, each encounter has one outcome, the funnel closes, and each error has a message.
    """
    return [
        *_nobody_twice(seen),
        *_ledger_and_server_agree(seen),
        *_to_whom_it_belongs(seen),
        *_no_opted_out(seen),
        *_nobody_after_the_end(seen),
        *_everybody_has_one_name(seen),
        *_the_funnel_closes(seen),
        *(f"an error without a message for the operator: {fault}" for fault in seen.faults),
    ]


def violations_of_calm(seen: Evidence) -> list[str]:
    """Return further violations after a run without faults: deferred lines, and sends of unknown outcome."""
    outcomes = _outcomes(seen)
    return [
        *(f"encounter {one} still waits: {word}" for one, word in outcomes.items() if word.startswith("deferred")),
        *(
            f"send {send.send_id} of a calm run is {send.state}"
            for send in seen.sends
            if send.run_id in seen.calm and send.state in OPEN
        ),
    ]


def violations_of_reconciled(seen: Evidence) -> list[str]:
    """Return the violations after all unknown outcomes are resolved and sent again: each planned person is invited."""
    asked = {seen.people[line.encounter] for line in _written(seen) if line.wave == "invite"}
    opted_out = {opt_out.cpf for opt_out in seen.opt_outs}
    refused = {seen.people[send.encounter] for send in seen.sends if send.state == "rejected"}
    wanted = {seen.people[row.encounter]: row.encounter for row in seen.rows if row.result == "planned"}
    return [
        *(
            f"encounter {encounter} was planned, and its person never asked"
            for cpf, encounter in wanted.items()
            if cpf not in asked | opted_out | refused
        ),
        *(f"send {send.send_id} is still {send.state}" for send in seen.sends if send.state in OPEN),
    ]


def violations_of_reminded(seen: Evidence, wave: str) -> list[str]:
    """Return the invited encounters without a reminder of the wave and without a reason for that in the journal."""
    reminded = {send.encounter for send in seen.sends if send.wave == wave}
    planned = {row.encounter for row in seen.rows if row.result == "planned"}
    return [
        f"encounter {encounter}: nobody says why there was no {wave}"
        for encounter, invitations in seen.invitations().items()
        if encounter in planned - reminded
        and (encounter, wave) not in seen.noted
        and any(send.state == "sent" and send.channel != "link" for send in invitations)
    ]


def _nobody_twice(seen: Evidence) -> Iterator[str]:
    same = Counter((line.encounter, line.survey, line.channel, line.wave) for line in seen.accepted)
    yield from (f"accepted {count} times: {what}" for what, count in same.items() if count > 1)
    written = _written(seen)
    encounters = Counter((line.encounter, line.wave) for line in written)
    yield from (f"encounter written to {count} times: {what}" for what, count in encounters.items() if count > 1)
    reminded = Counter(line.encounter for line in written if line.wave != "invite")
    yield from (f"encounter {one} reminded {count} times" for one, count in reminded.items() if count > MOST_REMINDERS)
    people = Counter(seen.people[line.encounter] for line in written if line.wave == "invite")
    yield from (f"one person invited {count} times: {cpf}" for cpf, count in people.items() if count > 1)


def _written(seen: Evidence) -> list[Accepted]:
    """Return the accepted lines without extra links, because a link notifies no one."""
    extra = {send.send_id for send in seen.sends if send.extra}
    return [line for line in seen.accepted if line.send_id not in extra]


def _ledger_and_server_agree(seen: Evidence) -> Iterator[str]:
    known = {send.send_id: send for send in seen.sends}
    accepted = {line.send_id: line for line in seen.accepted}
    for send_id, line in accepted.items():
        send = known.get(send_id)
        if send is None:
            yield f"accepted, and the ledger knows nothing of it: {line}"
        elif send.what != (line.encounter, line.survey, line.channel, line.wave):
            yield f"accepted as {line}, kept as {send}"
        elif send.state not in ("sent", *OPEN):
            yield f"accepted, and the ledger calls it {send.state}: {line}"
    for send in known.values():
        if send.state == "sent" and send.send_id not in accepted:
            yield f"called sent, and never accepted: {send}"
        if send.state == "rejected" and send.send_id not in seen.refused:
            yield f"called rejected, and never refused: {send}"


def _to_whom_it_belongs(seen: Evidence) -> Iterator[str]:
    """Yield lines that belong to another person, and lines of encounters that the plan excludes."""
    rows = {row.encounter: row for row in seen.rows}
    for line in seen.accepted:
        if line.cpf and line.cpf != seen.people[line.encounter]:
            yield f"a line of somebody else: {line}"
    # Extra links are allowed for a person in quarantine, so they are not checked here.
    for line in _written(seen):
        row = rows.get(line.encounter)
        # A row that was sent before for another area has the reason `already_asked`.
        if row is not None and row.result == "excluded" and row.reason != Exclusion.ALREADY_ASKED:
            yield f"accepted, and its row says excluded:{row.reason}: {line}"


def _no_opted_out(seen: Evidence) -> Iterator[str]:
    for opt_out in seen.opt_outs:
        for line in seen.accepted[opt_out.before :]:
            if seen.people[line.encounter] == opt_out.cpf and opt_out.channel in ("all", line.channel):
                yield f"accepted after the person opted out of {opt_out.channel}: {line}"


def _nobody_after_the_end(seen: Evidence) -> Iterator[str]:
    for end in seen.ends:
        for line in seen.accepted[end.before :]:
            if line.encounter == end.encounter:
                yield f"accepted after the person had {end.word}: {line}"


def _outcomes(seen: Evidence) -> dict[int, str]:
    """Return the outcome of each encounter that was planned or sent, from the rows of the ledger alone."""
    invitations = seen.invitations()
    words = {}
    for row in seen.rows:
        sends = [send for send in invitations.get(row.encounter, ()) if send.day in ("", row.day)]
        if row.result == "planned" or sends:
            states = {send.state for send in sends}
            open_or_refused = "unknown" if states & set(OPEN) else "rejected" if states else ""
            waits = row.held or "deferred:not_dispatched"
            words[row.encounter] = "sent" if "sent" in states else open_or_refused or waits
    return words


def _everybody_has_one_name(seen: Evidence) -> Iterator[str]:
    for row in seen.rows:
        if row.result == "excluded" and not row.reason:
            yield f"encounter {row.encounter} is excluded without a reason"
    for encounter, word in _outcomes(seen).items():
        outcome, _, reason = word.partition(":")
        if outcome not in PLANNED_KINDS or (reason and reason not in _REASONS) or word.endswith(":"):
            yield f"encounter {encounter} has no outcome but {word!r}"
    for encounter, invitations in seen.invitations().items():
        standing = [send for send in invitations if send.state != "rejected"]
        if len(standing) > 1:
            yield f"encounter {encounter} has {len(standing)} standing invitations"


def _the_funnel_closes(seen: Evidence) -> Iterator[str]:
    outcomes = _outcomes(seen)
    told = {(funnel.date, funnel.area): funnel for funnel in seen.funnels}
    for place, encounters in seen.extracted.items():
        rows = [row for row in seen.rows if (row.day, row.area) == place]
        funnel = told.get(place, Funnel(place[0], "", place[1]))
        words = Counter(outcomes[row.encounter].partition(":")[0] for row in rows if row.encounter in outcomes)
        if not funnel.closes:
            yield f"the funnel of {place} does not close: {funnel}"
        count = len(encounters)
        if count != funnel.extracted or count != len(rows):
            yield f"of {count} rows of {place} the ledger has {len(rows)} and the funnel {funnel.extracted}"
        if strangers := {row.encounter for row in rows} ^ encounters:
            yield f"extract and ledger of {place} differ in {sorted(strangers)}"
        if any(words[name] != getattr(funnel, name) for name in PLANNED_KINDS):
            yield f"the funnel of {place} tells {funnel}, its rows {dict(words)}"
