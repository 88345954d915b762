"""Ledger and dispatcher against a model: in any order of events no person is invited twice and no outcome is missing.

The model records which lines Track.co accepted, and the opt-outs. A planner that does not read the ledger draws random
plans, so that only the ledger prevents repeats. Dispatch, reminders, feedback and reconciliation are real.
"""

import shutil
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import date, datetime, timedelta
from functools import partial
from itertools import combinations
from pathlib import Path
from typing import Final, NamedTuple
from uuid import uuid4

import polars as pl
import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule, run_state_machine_as_test
from sqlalchemy import delete, select

from track_pipeline.adapters.ledger import open_ledger, tables
from track_pipeline.adapters.ledger.frames import fetch
from track_pipeline.adapters.ledger.queries import IS_INVITATION
from track_pipeline.adapters.track.requests import Distribution as Request
from track_pipeline.adapters.track.requests import LinkList
from track_pipeline.config.policy import load_policy
from track_pipeline.domain.areas import Area
from track_pipeline.domain.calendar import window_opens_at
from track_pipeline.domain.channels import Channel, OptOutChannel
from track_pipeline.domain.funnel import Funnel, funnels
from track_pipeline.domain.outcomes import EXCLUDED, PLANNED
from track_pipeline.domain.reminders import due_date
from track_pipeline.domain.sends import Verdict
from track_pipeline.domain.waves import INVITE, Wave
from track_pipeline.errors import TrackPipelineError
from track_pipeline.ports import (
    Answer,
    DeliveryStatus,
    KnownDistribution,
    NotSent,
    Refused,
    RefusedInPart,
    Stopped,
    Unknown,
)
from track_pipeline.services.daily.dispatch import Dispatcher
from track_pipeline.services.daily.extraction import EXTRACT
from track_pipeline.services.daily.invitation import INVITATION
from track_pipeline.services.daily.reminders import Reminder
from track_pipeline.services.daily.sending import Partition
from track_pipeline_tests.support.builders import (
    cpf,
    email_of,
    encounters,
    hospital,
    key_of,
    keys_of,
    phone_of,
    planned,
    survey_of,
)
from track_pipeline_tests.support.fake_reader import FakeReader
from track_pipeline_tests.support.fake_sender import FakeSender
from track_pipeline_tests.support.installation import NINE, Office

CODE: Final = "HMS"
AREAS: Final = (Area.INTERNACAO, Area.EXAMES)
# Encounter to the person whose it is: four people have two.
PERSON_OF: Final = {encounter: encounter for encounter in range(1, 11)} | {2: 1, 4: 3, 6: 5, 8: 7}

# Nobody sees the outcome of these, though Track.co took the lines.
LOST: Final = "the answer is lost"
KILLED_AFTER: Final = "killed after the lines were taken"


class Killed(BaseException):
    """The end of the process, in mid-flight."""


# What Track.co does with a request, apart from taking all of it or all but some lines.
FAILURES: Final[Mapping[str, Callable[[], BaseException]]] = {
    "refused whole": lambda: RefusedInPart("http_422", "refused"),
    "refused at once": lambda: Refused("http_400", "refused"),
    "throttled": lambda: Stopped("throttled", "captcha"),
    "token refused": lambda: Stopped("token_refused", "token"),
    "unreachable": lambda: NotSent("unreachable", "down"),
    "busy": lambda: NotSent("busy", "busy"),
    "no budget": lambda: NotSent("budget", "budget"),
    "lost on the way": lambda: Unknown("timeout", "lost"),
    LOST: lambda: Unknown("connection_lost", "lost"),
    "killed before they left": Killed,
    KILLED_AFTER: Killed,
}
# Requests are of few lines: one that refuses every second has some of both.
EVERY_SECOND: Final = "some lines refused"
Behaviour = str | None
Script = list[Behaviour] | None
SCRIPT: Final = st.lists(st.sampled_from([None, EVERY_SECOND, LOST, *FAILURES]), min_size=1, max_size=3)
# Whatever happens, a dispatch may follow; its script is what Track.co does with the first requests.
MAYBE: Final = st.none() | SCRIPT

ENCOUNTER: Final = st.sampled_from(sorted(PERSON_OF))
REFUSABLE: Final = st.sampled_from(OptOutChannel)
SCOPE: Final = st.sampled_from(["all", f"hospital:{CODE}", "channel:email", "channel:whatsapp"])
WAIT: Final = st.sampled_from(
    [*(timedelta(hours=hours) for hours in (1, 12, -1, -24)), *(timedelta(days=days) for days in (1, 4, 7, 7, 7))]
)


class Row(NamedTuple):
    """What a plan says of an encounter; a later one may say otherwise. No channel: excluded."""

    days_ago: int
    area: Area
    channel: Channel | None


CHANNEL: Final = st.sampled_from([Channel.EMAIL, *Channel, None])
ROWS: Final = st.dictionaries(
    ENCOUNTER, st.builds(Row, st.sampled_from([1, 1, 1, 2]), st.sampled_from(AREAS), CHANNEL), min_size=1, max_size=6
)


@dataclass(frozen=True)
class Taken:
    """A line that Track.co took: the truth about who was written to. `extra`: a link beside the invitation."""

    encounter: int
    survey: str
    wave: Wave
    channel: str
    send_id: str
    on: date
    extra: bool


@dataclass
class RememberingTrack(FakeSender):
    """A Track.co that does as `behaviours` say, first to last, and tells `on_taken` of every line that it took."""

    behaviours: list[Behaviour] = field(default_factory=list)
    on_taken: Callable[[int, str, str, str], None] = lambda *_: None

    def _answer(self, request: Request | LinkList) -> Mapping[str, str]:
        behaviour = self.behaviours.pop(0) if self.behaviours else None
        lines = {str(line["send_id"]): int(str(line["cd_atendimento"])) for line in request.lines}
        refused = dict.fromkeys([*lines][::2], "bad_line") if behaviour == EVERY_SECOND else {}
        if behaviour in (None, EVERY_SECOND, LOST, KILLED_AFTER):
            channel = "link" if isinstance(request, LinkList) else request.channel
            for send_id, encounter in lines.items():
                if send_id not in refused:
                    self.on_taken(encounter, request.survey_uuid, channel, send_id)
        if fails := FAILURES.get(behaviour or ""):
            raise fails()
        return refused


class HospitalAtWork(RuleBasedStateMachine):
    """One hospital whose plans are sent and people reminded; `office` is emptied for every history."""

    def __init__(self, office: Office) -> None:
        super().__init__()
        self.office = office
        self.quarantine = office.policy.quarantine
        # Partitions, and the channel of each encounter in them.
        self.plans: dict[tuple[date, Area], dict[int, Channel | None]] = {}
        self.taken: list[Taken] = []
        self.refused: set[tuple[int, OptOutChannel]] = set()
        self.answered: set[int] = set()
        self.wave = INVITE

    @initialize(
        links=st.sampled_from(["off", "all"]),
        rows=ROWS,
        script=st.just([LOST]) | SCRIPT,
        refuses=st.booleans(),
        reminds=st.booleans(),
    )
    def a_hospital_opens(
        self, links: str, rows: dict[int, Row], script: list[Behaviour], *, refuses: bool, reminds: bool
    ) -> None:
        office = self.office
        office.now = NINE
        office.hospital = hospital(links=links)
        office.track = self.track = RememberingTrack(on_taken=self._is_taken)
        office.reader = FakeReader()
        with office.ledger._database.write() as connection:
            for table in tables.metadata.sorted_tables:
                connection.execute(delete(table))
        shutil.rmtree(office.lake.root, ignore_errors=True)
        # Two encounters of one person, alike, and one of another, who may refuse, besides those that are drawn.
        self.a_plan_is_made(rows | dict.fromkeys((1, 2, 10), Row(1, AREAS[0], Channel.EMAIL)), script=None)
        if refuses:
            self._refuses(10, OptOutChannel.EMAIL)
        self._dispatch(script)
        if reminds:
            self.reminders_fall_due(rows, load_policy().waves[0], fresh=True, late=0, script=[None])

    # --- what happens -----------------------------------------------------------------------------------------------

    @rule(rows=ROWS, script=MAYBE)
    def a_plan_is_made(self, rows: dict[int, Row], script: Script) -> None:
        """An encounter may be on another day, or in another area or channel, than the plan before said."""
        changed = set()
        for encounter, row in rows.items():
            for place, plan in self.plans.items():
                if encounter in plan:
                    del plan[encounter]
                    changed.add(place)
            place = (self.office.now.date() - timedelta(days=row.days_ago), row.area)
            channel = row.channel
            if channel is Channel.LINK and self.office.hospital.links == "all":
                channel = Channel.EMAIL
            self.plans.setdefault(place, {})[encounter] = channel
            changed.add(place)
        for place in sorted(changed):
            self._plan(*place)
        self._dispatch(script)

    @rule(wait=WAIT, script=MAYBE)
    def time_passes(self, wait: timedelta, script: Script) -> None:
        self.office.now += wait
        self._dispatch(script)

    @rule(rows=ROWS, encounter=ENCOUNTER, channel=REFUSABLE, script=SCRIPT)
    def a_person_opts_out(
        self, rows: dict[int, Row], encounter: int, channel: OptOutChannel, script: list[Behaviour]
    ) -> None:
        """Between a plan and its dispatch: somebody of the plan, if the drawn one is in it."""
        self.a_plan_is_made(rows, script=None)
        self._refuses(PERSON_OF[encounter if encounter in rows else min(rows)], channel)
        self._dispatch(script)

    @rule(place=st.integers(0, 3))
    def a_person_comes_back(self, place: int) -> None:
        if self.refused:
            person, channel = sorted(self.refused)[place % len(self.refused)]
            self.office.ledger.people.opt_in(key_of("cpf", cpf(person)), channel)
            self.refused.discard((person, channel))

    @rule(
        rows=ROWS,
        wave=st.sampled_from(load_policy().waves),
        fresh=st.sampled_from([True, True, True, False]),
        late=st.sampled_from([0, 0, 1, None]),
        script=SCRIPT,
    )
    def reminders_fall_due(
        self, rows: dict[int, Row], wave: Wave, *, fresh: bool, late: int | None, script: list[Behaviour]
    ) -> None:
        """On the day on which the newest invitation has its reminder; of two days' work, so that there is one.

        Late answers come while a turn is waited for: it is decided who is due by then, and nobody is claimed.
        """
        self.a_plan_is_made(rows, script=[])
        if invited := [each.on for each in self.taken if each.wave == INVITE]:
            self.office.now = datetime.combine(due_date(invited[-1], wave), NINE.timetz())
        if fresh:
            self.office.refresh()
        self.track.behaviours, self.wave = script, wave
        if late is not None:
            self.track.on_turn = lambda: self._answers(late, self._not_reminded(wave))
        reminder = Reminder(self.office.outbox)
        for day, area in sorted(self.plans):
            self._survives(partial(reminder.remind, self.office.hospital, day, area, wave, "reminder-run"))
        self.track.behaviours, self.track.on_turn, self.wave = [], lambda: None, INVITE

    @rule(rows=ROWS, scope=SCOPE)
    def nothing_leaves_while_it_is_paused(self, rows: dict[int, Row], scope: str) -> None:
        self.a_plan_is_made(rows, script=None)
        self.office.ledger.pauses.add(scope, "test", "test")
        before = len(self.taken)
        self._dispatch([])
        stopped = scope.removeprefix("channel:")
        assert not [each for each in self.taken[before:] if stopped in (scope, each.channel)]
        self.office.ledger.pauses.remove(scope)

    @rule(encounter=ENCOUNTER, late=st.booleans(), script=MAYBE)
    def an_operator_looks_after_it(self, encounter: int, *, late: bool, script: Script) -> None:
        """An hour later ledger and Track.co are compared, and what is still unknown of an encounter is looked up."""
        self.office.now += timedelta(hours=1)
        self._compare(late=late)
        self.office.ledger.pauses.remove("all")
        self._resolve(encounter)
        self._dispatch(script)

    @rule(place=st.integers(0, 3), script=MAYBE)
    def somebody_answers(self, place: int, script: Script) -> None:
        self._answers(place, self.taken)
        self._dispatch(script)

    @rule()
    def the_dust_settles(self) -> None:
        """No pauses, an open window, operators who know, a Track.co that takes everything: nobody waits any more."""
        self._compare(late=True)
        self.office.ledger.pauses.remove("all")
        self.office.now = window_opens_at(self.office.hospital.send_window, self.office.now)
        self._resolve()
        self._dispatch([])
        assert [funnel for funnel in self._funnels() if funnel.unknown or funnel.deferred] == []

    # --- what must always hold --------------------------------------------------------------------------------------

    @invariant()
    def nobody_is_asked_twice(self) -> None:
        invitations = [each for each in self.taken if each.wave == INVITE and not each.extra]
        for most, counted in (
            (1, Counter((each.encounter, each.survey, each.wave, each.channel) for each in self.taken)),
            (1, Counter((each.encounter, each.wave) for each in self.taken if not each.extra)),
            (2, Counter(each.encounter for each in self.taken if each.wave != INVITE)),
        ):
            assert not [what for what, count in counted.items() if count > most]
        # Every two invitations of one person are as far apart as the quarantine wants.
        for one, other in combinations(invitations, 2):
            if PERSON_OF[one.encounter] == PERSON_OF[other.encounter]:
                days = abs((one.on - other.on).days)
                assert days >= self.quarantine.any_survey_after_invite
                assert days >= self.quarantine.this_survey_after_invite or one.survey != other.survey

    @invariant()
    def the_ledger_knows_what_was_taken(self) -> None:
        taken = {each.send_id for each in self.taken}
        with self.office.ledger._database.read() as connection:
            states = dict(fetch(connection, select(tables.sends.c.send_id, tables.sends.c.state)).iter_rows())
        assert taken <= states.keys()
        for send_id, state in states.items():
            assert state in ("claimed", "unknown", "sent" if send_id in taken else "rejected")

    @invariant()
    def every_row_is_counted_once_and_the_funnel_closes(self) -> None:
        found = self._funnels()
        assert [funnel for funnel in found if not funnel.closes] == []
        counted = {(funnel.date, funnel.area): (funnel.extracted, funnel.excluded) for funnel in found}
        for (day, area), plan in self.plans.items():
            # What left has left, whatever a later plan says.
            left = set(self.office.ledger.sends.invitations(CODE, day).get_column("encounter_id"))
            excluded = sum(channel is None for encounter, channel in plan.items() if encounter not in left)
            assert counted.get((day.isoformat(), area), (0, 0)) == (len(plan), excluded)

    # --- how it is done ---------------------------------------------------------------------------------------------

    def _plan(self, day: date, area: Area) -> None:
        """Puts the plan of a partition, and an extract of as many rows, into lake and ledger."""
        plan = planned(*(_planned(encounter, channel) for encounter, channel in self.plans[day, area].items()))
        plan = plan.with_columns(area=pl.lit(area.value), survey_uuid=pl.lit(survey_of(CODE, area)))
        self.office.lake.write(encounters(*({} for _ in range(plan.height))), EXTRACT, area, day, CODE)
        made_of = self.office.lake.digest(EXTRACT, area, day, CODE)
        self.office.lake.write(plan, INVITATION, area, day, CODE, made_of=made_of)
        versions = {"rules_version": pl.lit("rules-1"), "policy_version": pl.lit("policy-1")}
        self.office.ledger.encounters.record_plan(CODE, day, area, plan.with_columns(**versions, rule="decided_by"))

    def _dispatch(self, script: Script) -> None:
        """Dispatches all that is planned, if at all; unless the process was killed, every line has a name then."""
        if script is None:
            return
        self.track.behaviours = [*script]
        dispatcher = Dispatcher(self.office.outbox)
        beside: set[Channel] = {Channel.LINK} if self.office.hospital.links == "all" else set()
        ended: dict[str, Partition] = {}
        for (day, area), plan in sorted(self.plans.items()):
            channels: list[Channel] = sorted(beside.union(filter(None, plan.values())))
            for channel in channels if plan else ():
                partition, run = Partition(self.office.hospital, day, area, channel), uuid4().hex
                if self._survives(partial(dispatcher.dispatch, partition, run)):
                    ended[run] = partition
        self.track.behaviours = []
        assert ended.keys().isdisjoint(self._claimed().get_column("run_id"))
        assert not {(each.day, each.area, each.channel) for each in ended.values()} & self._unnamed()

    def _refuses(self, person: int, channel: OptOutChannel) -> None:
        self.office.ledger.people.opt_out(key_of("cpf", cpf(person)), channel, "test")
        self.refused.add((person, channel))

    def _survives(self, run: Callable[[], object]) -> bool:
        """Runs it; whether it lived to say what became of every line, be it by an error of this project's own."""
        try:
            run()
        except TrackPipelineError:
            return True
        except Killed:
            return False
        return True

    def _unnamed(self) -> set[tuple[date, str, str]]:
        """Day, area and channel of planned encounters of which nothing is said, neither by a send nor by a word."""
        rows = tables.encounters.c
        statement = select(rows.cohort_date, rows.area, rows.channel).where(
            rows.result == PLANNED,
            rows.held == "",
            rows.encounter_id.not_in(select(tables.sends.c.encounter_id).where(IS_INVITATION)),
        )
        with self.office.ledger._database.read() as connection:
            return set(fetch(connection, statement).rows())

    def _claimed(self) -> pl.DataFrame:
        """Sends that a run claimed and left at that."""
        return self.office.ledger.sends.unresolved(CODE).filter(pl.col("state") == "claimed")

    def _compare(self, *, late: bool) -> None:
        """Ledger and Track.co; a list that is late lacks just those messages of which nobody saw the outcome."""
        unseen = set(self.office.ledger.sends.unresolved(CODE).get_column("send_id")) if late else set()
        self.office.reader.listed = [KnownDistribution("distribution-1")]
        self.office.reader.delivered["distribution-1"] = [
            DeliveryStatus(each.send_id, "sent", self.office.now, "sent")
            for each in self.taken
            if each.channel != "link" and each.send_id not in unseen
        ]
        self.office.reconcile()

    def _resolve(self, encounter: int | None = None) -> None:
        """An operator looks up at Track.co what is unknown (of one encounter, or all), and says what is true."""
        taken = {each.send_id for each in self.taken}
        for send_id in self.office.ledger.sends.unresolved(CODE, encounter_id=encounter).get_column("send_id"):
            verdict = Verdict.SENT if send_id in taken else Verdict.NOT_SENT
            self.office.ledger.sends.resolve([send_id], verdict, "looked it up", by="operator")

    def _is_taken(self, number: int, survey: str, channel: str, send_id: str) -> None:
        """Called at the very moment when somebody is written to."""
        person = PERSON_OF[number]
        assert not {(person, "all"), (person, channel)} & self.refused, f"{person} refuses {channel}"
        assert number not in self.answered, f"{number} has answered"
        extra = channel == "link" and self.office.hospital.links == "all"
        self.taken.append(Taken(number, survey, self.wave, channel, send_id, self.office.now.date(), extra))

    def _not_reminded(self, wave: Wave) -> list[Taken]:
        """Invitations of the newest's day without answer and that reminder; whose turn is next comes last."""
        done = {each.encounter for each in self.taken if each.wave == wave} | self.answered
        invited = [each for each in self.taken if each.wave == INVITE and not each.extra]
        return [each for each in reversed(invited) if each.on == invited[-1].on and each.encounter not in done]

    def _answers(self, place: int, taken: list[Taken]) -> None:
        """Somebody answers one of the lines, counted from the last, and the ledger hears of it."""
        if taken:
            got = taken[-1 - place % len(taken)]
            self.office.reader.answered.append(Answer(got.send_id, self.office.now, "done", 9, None, None))
            self.office.refresh()
            self.answered.add(got.encounter)

    def _funnels(self) -> list[Funnel]:
        return funnels(self.office.ledger.counts.outcomes(), self.office.ledger.counts.extracted())


def _planned(encounter: int, channel: Channel | None) -> dict[str, object]:
    person = PERSON_OF[encounter]
    decided: dict[str, object] = {"channel": channel}
    if channel is None:
        decided |= {"result": EXCLUDED, "reason": "cancelled", "decided_by": "cancelled"}
    contacts = {"email_address": email_of(person), "phone_e164": phone_of(person), "cpf_digits": cpf(person)}
    return {"encounter_id": encounter} | contacts | keys_of(person) | decided


@pytest.mark.parametrize("database", ["sqlite", "postgresql"])
def test_whatever_happens_nobody_is_asked_twice_or_lost(
    database: str, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    office = Office(tmp_path, batch_size=3)
    if database == "postgresql":
        office.ledger.close()
        office.ledger = open_ledger(request.getfixturevalue("postgres_url"), clock=lambda: office.now)
    budget = settings(
        derandomize=True,
        database=None,
        deadline=None,
        # A transaction of PostgreSQL takes longer.
        max_examples=12 if database == "sqlite" else 8,
        stateful_step_count=11,
        suppress_health_check=list(HealthCheck),
    )
    try:
        make: Callable[[], RuleBasedStateMachine] = partial(HospitalAtWork, office)
        run_state_machine_as_test(make, settings=budget)  # type: ignore[arg-type]  # any maker of machines will do
    finally:
        office.ledger.close()
